//! Object-store addresses: which store they are in, with credentials from the environment, and copies of objects.

use std::path::Path;
use std::sync::Arc;

use datafusion::execution::object_store::ObjectStoreUrl;
use futures::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;
use url::{Position, Url};

use super::session::Session;
use super::tables::engine;
use tidemill_core::Digest;

use crate::Error;

/// Whether a path is an address.
pub(super) fn is_remote(path: &str) -> bool {
    ["s3://", "s3a://", "gs://", "az://", "azure://", "abfs://", "abfss://"]
        .iter()
        .any(|scheme| path.starts_with(scheme))
}

/// The store of all `addresses`, known to the engine from now on, and their objects.
pub(super) async fn objects(
    session: &Session,
    addresses: &[String],
) -> Result<(ObjectStoreUrl, Arc<dyn ObjectStore>, Vec<ObjectMeta>), Error> {
    let mut found: Option<(ObjectStoreUrl, Arc<dyn ObjectStore>)> = None;
    let mut objects = Vec::with_capacity(addresses.len());
    for address in addresses {
        let url = Url::parse(address).map_err(|error| failed(address, &error))?;
        let root = ObjectStoreUrl::parse(&url[..Position::BeforePath]).map_err(engine)?;
        let (_, path) = ObjectStoreScheme::parse(&url).map_err(|error| failed(address, &error))?;
        let store = match &found {
            Some((first, store)) if *first == root => store,
            Some(_) => {
                return Err(Error::Unusable(
                    "the files of one table must be in one bucket or container".to_owned(),
                ));
            }
            None => {
                let store = connect(&url)?;
                session.runtime().register_object_store(root.as_ref(), store.clone());
                &found.insert((root, store)).1
            }
        };
        objects.push(store.head(&path).await.map_err(|error| failed(address, &error))?);
    }
    let (root, store) = found.ok_or(Error::NoFiles(None))?;
    Ok((root, store, objects))
}

/// What the store says of the object at an address, as a digest that changes when the object does: its size and entity
/// tag, or the time of its last change where the store gives no tag.
///
/// # Errors
/// An address of no known kind, missing credentials, an object that is not there.
pub async fn identify(address: &str) -> Result<Digest, Error> {
    if !is_remote(address) {
        return Err(failed(address, &"the address begins with none of `s3://`, `gs://`, `az://`"));
    }
    let url = Url::parse(address).map_err(|error| failed(address, &error))?;
    let (_, path) = ObjectStoreScheme::parse(&url).map_err(|error| failed(address, &error))?;
    let found = connect(&url)?.head(&path).await.map_err(|error| failed(address, &error))?;
    let tag = found.e_tag.unwrap_or_else(|| found.last_modified.to_rfc3339());
    let version = found.version.unwrap_or_default();
    Ok(Digest::of(format!("{}\n{tag}\n{version}", found.size).as_bytes()))
}

/// Copies objects to files in `scratch` that go away with their handles.
pub(super) async fn fetch(
    session: &Session,
    addresses: &[String],
    scratch: &Path,
) -> Result<Vec<TempPath>, Error> {
    let (_, store, objects) = objects(session, addresses).await?;
    let mut copies = Vec::with_capacity(objects.len());
    for (object, address) in objects.iter().zip(addresses) {
        let file = tempfile::Builder::new().prefix(".tidemill-").tempfile_in(scratch);
        let (file, path) = file.map_err(Error::io("write", scratch))?.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let mut bytes =
            store.get(&object.location).await.map_err(|error| failed(address, &error))?.into_stream();
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(|error| failed(address, &error))?;
            file.write_all(&chunk).await.map_err(Error::io("write", &*path))?;
        }
        file.flush().await.map_err(Error::io("write", &*path))?;
        copies.push(path);
    }
    Ok(copies)
}

fn connect(url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    let address = url.as_str();
    let store: Result<Arc<dyn ObjectStore>, object_store::Error> = match url.scheme() {
        "s3" | "s3a" => {
            AmazonS3Builder::from_env().with_url(address).build().map(|store| Arc::new(store) as _)
        }
        "gs" => {
            GoogleCloudStorageBuilder::from_env().with_url(address).build().map(|store| Arc::new(store) as _)
        }
        _ => MicrosoftAzureBuilder::from_env().with_url(address).build().map(|store| Arc::new(store) as _),
    };
    store.map_err(|error| failed(address, &error))
}

fn failed(address: &str, error: &dyn std::fmt::Display) -> Error {
    // Without user, password and query, which may hold credentials.
    let shown = Url::parse(address).map_or_else(
        |_| "an address that is not a URL".to_owned(),
        |url| format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path()),
    );
    Error::Remote { url: shown, why: error.to_string() }
}
