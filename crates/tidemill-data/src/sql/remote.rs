//! Tables in object stores: which store they are in, with credentials from the environment, and copies of objects.
//! What an address means is in `place`.

mod place;

use std::path::Path;
use std::sync::Arc;

use datafusion::execution::object_store::ObjectStoreUrl;
use futures::StreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;
use url::{Position, Url};

use tidemill_core::Digest;

use self::place::Place;
use super::session::Session;
use super::tables::{engine, open_files};
use crate::{Error, Format, Table};

/// Whether a path is an address.
pub(super) fn is_remote(path: &str) -> bool {
    ["s3://", "s3a://", "gs://", "az://", "azure://", "abfs://", "abfss://"]
        .iter()
        .any(|scheme| path.starts_with(scheme))
}

/// The objects of a table and the store that they are in.
pub(super) struct Found {
    pub(super) root: ObjectStoreUrl,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) objects: Vec<ObjectMeta>,
}

/// The objects that `addresses` name, in order; those of a pattern or folder in order of their names.
async fn find(addresses: &[String]) -> Result<Found, Error> {
    let mut found: Option<Found> = None;
    for address in addresses {
        let place = Place::parse(address)?;
        let url = place.url()?;
        let root = ObjectStoreUrl::parse(&url[..Position::BeforePath]).map_err(engine)?;
        let found = match &mut found {
            Some(first) if first.root == root => first,
            Some(_) => {
                return Err(Error::Unusable(
                    "the files of one table must be in one bucket or container".to_owned(),
                ));
            }
            None => found.insert(Found { root, store: connect(&url)?, objects: Vec::new() }),
        };
        let objects = place.objects(found.store.as_ref()).await?;
        found.objects.extend(objects);
    }
    found.ok_or(Error::NoFiles(None))
}

/// [`find`], and the store is known to the engine from now on.
pub(super) async fn objects(session: &Session, addresses: &[String]) -> Result<Found, Error> {
    let found = find(addresses).await?;
    session.runtime().register_object_store(found.root.as_ref(), found.store.clone());
    Ok(found)
}

/// What the store says of the objects at an address, as a digest that changes when one of them does: sizes and entity
/// tags, or the times of the last change where the store gives no tag.
///
/// # Errors
/// An address of no known kind, missing credentials, an object that is not there.
pub async fn identify(address: &str) -> Result<Digest, Error> {
    let found = find(&[address.to_owned()]).await?;
    let plain = found.objects.len() == 1 && !Place::parse(address)?.is_pattern();
    let mut text = String::new();
    for object in found.objects {
        let tag = object.e_tag.unwrap_or_else(|| object.last_modified.to_rfc3339());
        let version = object.version.unwrap_or_default();
        if !plain {
            text.push_str(&format!("{}\n", object.location));
        }
        text.push_str(&format!("{}\n{tag}\n{version}", object.size));
    }
    Ok(Digest::of(text.as_bytes()))
}

/// Opens objects as one table over copies in `scratch`, which go away with the table. `format` is told by the name of
/// the first object where it is not given.
///
/// # Errors
/// As [`identify`], and what reading the copies gives.
pub async fn open(addresses: &[String], format: Option<Format>, scratch: &Path) -> Result<Table, Error> {
    let found = find(addresses).await?;
    let Some(format) = format.or_else(|| format_of(&found.objects)) else {
        return Err(Error::UnknownFormat(addresses.first().cloned().unwrap_or_default().into()));
    };
    fs_err::create_dir_all(scratch).map_err(Error::io("create", scratch))?;
    let copies = fetch(&found, scratch).await?;
    let paths = copies.iter().map(|copy| copy.to_path_buf()).collect();
    Ok(open_files(paths, Some(format)).await?.keeping(copies))
}

/// The format that the name of the first object tells.
pub(super) fn format_of(objects: &[ObjectMeta]) -> Option<Format> {
    Format::of_name(Path::new(objects.first()?.location.as_ref()))
}

/// Copies objects to files in `scratch` that go away with their handles.
async fn fetch(found: &Found, scratch: &Path) -> Result<Vec<TempPath>, Error> {
    let mut copies = Vec::with_capacity(found.objects.len());
    for object in &found.objects {
        let address = format!("{}{}", found.root.as_str(), object.location);
        let file = tempfile::Builder::new().prefix(".tidemill-").tempfile_in(scratch);
        let (file, path) = file.map_err(Error::io("write", scratch))?.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let mut bytes =
            found.store.get(&object.location).await.map_err(|error| failed(&address, &error))?.into_stream();
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(|error| failed(&address, &error))?;
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
            let builder = AmazonS3Builder::from_env().with_url(address);
            // A server that is addressed without TLS, as the usual ones for tests are, was chosen so on purpose.
            let plain = builder
                .get_config_value(&AmazonS3ConfigKey::Endpoint)
                .is_some_and(|endpoint| endpoint.starts_with("http://"));
            builder.with_allow_http(plain).build().map(|store| Arc::new(store) as _)
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
