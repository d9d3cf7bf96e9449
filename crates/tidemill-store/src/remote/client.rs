//! The address of a remote, its named documents, and the few requests the transfers need.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Location;
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig, WriteMultipart,
};
use std::time::Duration;
use tidemill_core::Digest;

use crate::Error;

/// Named documents and index files are read whole up to this size.
const LARGEST_DOCUMENT: u64 = 16 << 20;

/// Bytes of a part of a multipart upload; files up to this size go in one request.
pub(crate) const PART: u64 = 8 << 20;

/// Documents written or read at a time.
const AT_ONCE: usize = 16;

/// Something that lies at a remote.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Relative to the remote.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// When it was written, by the remote's clock, in milliseconds.
    pub(crate) modified: i64,
}

/// A place to push to and pull from; cheap to clone.
#[derive(Clone, Debug)]
pub struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: Location,
    url: String,
    /// The folder, if the remote is one of this machine.
    pub(crate) folder: Option<PathBuf>,
}

impl Remote {
    /// Opens `file:///folder` (or an absolute path), `s3://bucket/prefix`, `gs://…`, `az://…` or `memory:///`.
    /// Credentials and endpoints come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_…`,
    /// `AZURE_…`). No request is made yet.
    pub fn open(url: &str) -> Result<Self, Error> {
        Self::open_with(url, &BTreeMap::new())
    }

    /// [`Remote::open`] with settings that win over the environment, by the names that `object_store` knows, for
    /// example `endpoint` and `region`.
    pub fn open_with(url: &str, options: &BTreeMap<String, String>) -> Result<Self, Error> {
        let bad = |why: String| Error::BadRemote { url: url.to_owned(), why };
        if url.starts_with('/') {
            return Self::open_folder(url, url);
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("it has no scheme".into()))?;
        if rest.split('/').next().is_some_and(|host| host.contains('@')) && scheme != "abfss" {
            // The address is shown in messages and written into files.
            return Err(Error::BadRemote {
                url: format!("{scheme}://…"),
                why: "credentials belong into the environment, not into the address".into(),
            });
        }
        let failed = |error: object_store::Error| bad(error.to_string());
        let bucket = || match rest.split_once('/') {
            _ if rest.is_empty() || rest.starts_with('/') => Err(bad("it names no bucket".into())),
            Some((bucket, prefix)) => Ok((format!("{scheme}://{bucket}"), prefix)),
            None => Ok((url.to_owned(), "")),
        };
        let retry =
            RetryConfig { max_retries: 6, retry_timeout: Duration::from_mins(1), ..RetryConfig::default() };
        match scheme {
            "file" | "memory" if !options.is_empty() => Err(bad("a folder has no options".into())),
            "file" => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                let path =
                    decode_percent(path).ok_or_else(|| bad("it is not properly percent-encoded".into()))?;
                Self::open_folder(url, &path)
            }
            "memory" => Ok(Self::new(Arc::new(InMemory::new()), Location::default(), url, None)),
            "s3" | "s3a" => {
                let (address, prefix) = bucket()?;
                let mut builder = AmazonS3Builder::from_env().with_url(address).with_retry(retry);
                for (key, value) in known::<AmazonS3ConfigKey>(url, options)? {
                    builder = builder.with_config(key, value);
                }
                // A server that is addressed without TLS, as the usual ones for tests are, was chosen so on purpose.
                let plain = builder
                    .get_config_value(&AmazonS3ConfigKey::Endpoint)
                    .is_some_and(|endpoint| endpoint.starts_with("http://"));
                let builder = builder.with_client_options(client(plain));
                Self::with_prefix(Arc::new(builder.build().map_err(failed)?), prefix, url)
            }
            "gs" => {
                let (address, prefix) = bucket()?;
                let mut builder = GoogleCloudStorageBuilder::from_env().with_url(address).with_retry(retry);
                for (key, value) in known::<GoogleConfigKey>(url, options)? {
                    builder = builder.with_config(key, value);
                }
                Self::with_prefix(Arc::new(builder.build().map_err(failed)?), prefix, url)
            }
            "az" | "abfs" | "abfss" | "azure" | "adl" => {
                let (address, prefix) = bucket()?;
                let mut builder = MicrosoftAzureBuilder::from_env().with_url(address).with_retry(retry);
                for (key, value) in known::<AzureConfigKey>(url, options)? {
                    builder = builder.with_config(key, value);
                }
                let plain = builder
                    .get_config_value(&AzureConfigKey::Endpoint)
                    .is_some_and(|endpoint| endpoint.starts_with("http://"));
                let builder = builder.with_client_options(client(plain));
                Self::with_prefix(Arc::new(builder.build().map_err(failed)?), prefix, url)
            }
            other => Err(bad(format!("the scheme `{other}` is not known"))),
        }
    }

    /// A remote in memory, for tests; clones share it.
    pub fn in_memory() -> Self {
        Self::new(Arc::new(InMemory::new()), Location::default(), "memory:///", None)
    }

    fn open_folder(url: &str, path: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::BadRemote { url: url.to_owned(), why: why.into() };
        if !path.starts_with('/') {
            return Err(bad("the folder must be absolute"));
        }
        let prefix = Location::from_absolute_path(path).map_err(|error| bad(&error.to_string()))?;
        let url = if url.starts_with('/') { format!("file://{url}") } else { url.to_owned() };
        Ok(Self::new(Arc::new(LocalFileSystem::new()), prefix, &url, Some(path.into())))
    }

    fn with_prefix(store: Arc<dyn ObjectStore>, prefix: &str, url: &str) -> Result<Self, Error> {
        let prefix = Location::parse(prefix.trim_matches('/'))
            .map_err(|error| Error::BadRemote { url: url.to_owned(), why: error.to_string() })?;
        Ok(Self::new(store, prefix, url, None))
    }

    fn new(store: Arc<dyn ObjectStore>, prefix: Location, url: &str, folder: Option<PathBuf>) -> Self {
        Self { store, prefix, url: url.trim_end_matches('/').to_owned(), folder }
    }

    /// The address without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes a small named document (at most 16 MiB), for example `datasets/flights/3.json`, replacing what is there.
    pub async fn put_ref(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        check_document(name, bytes)?;
        self.put(&format!("refs/{name}"), bytes.to_vec()).await?;
        self.sync().await
    }

    /// [`Self::put_ref`] of many.
    pub async fn put_refs(&self, documents: &[(String, Vec<u8>)]) -> Result<(), Error> {
        for some in documents.chunks(AT_ONCE) {
            let mut writing = Vec::with_capacity(some.len());
            for (name, bytes) in some {
                check_document(name, bytes)?;
                writing.push(async move { self.put(&format!("refs/{name}"), bytes.clone()).await });
            }
            futures::future::try_join_all(writing).await?;
        }
        self.sync().await
    }

    /// Reads many named documents; `None` for those that are not there.
    pub async fn get_refs(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let mut found = Vec::with_capacity(names.len());
        for some in names.chunks(AT_ONCE) {
            let mut reading = Vec::with_capacity(some.len());
            for name in some {
                reading.push(self.get_ref(name));
            }
            found.extend(futures::future::try_join_all(reading).await?);
        }
        Ok(found)
    }

    /// Writes a named document that is not there yet. Gives `None` where it is written now, and otherwise what is
    /// there: of two that write at once, one is told of the other.
    pub async fn create_ref(&self, name: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        check_document(name, bytes)?;
        let object = format!("refs/{name}");
        if let Some(there) = self.get(&object).await? {
            return Ok(Some(there));
        }
        let payload = PutPayload::from(bytes.to_vec());
        match self.store.put_opts(&self.location(&object), payload, PutMode::Create.into()).await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. }) => return self.get(&object).await,
            // A store that cannot refuse: the one who wrote last is there, and the other one reads it.
            Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
                self.put(&object, bytes.to_vec()).await?;
                let there = self.get(&object).await?;
                if there.as_deref() != Some(bytes) {
                    return Ok(there);
                }
            }
            Err(error) => return Err(self.error("write", &object)(error)),
        }
        self.sync().await.map(|()| None)
    }

    /// Reads a named document; `None` if there is none.
    pub async fn get_ref(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        check_name(name)?;
        self.get(&format!("refs/{name}")).await
    }

    /// Removes a named document; that there is none is no error.
    pub async fn delete_ref(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        self.delete(&format!("refs/{name}")).await?;
        self.sync().await
    }

    /// The names of all documents that begin with the folder `prefix` (empty for all), sorted.
    pub async fn list_refs(&self, prefix: &str) -> Result<Vec<String>, Error> {
        Ok(self.list_refs_by_time(prefix).await?.into_iter().map(|(name, _)| name).collect())
    }

    /// [`Self::list_refs`] with the times when they were written, by the remote's clock in milliseconds.
    pub async fn list_refs_by_time(&self, prefix: &str) -> Result<Vec<(String, i64)>, Error> {
        let prefix = prefix.trim_matches('/');
        let folder = if prefix.is_empty() {
            "refs".to_owned()
        } else {
            check_name(prefix)?;
            format!("refs/{prefix}")
        };
        let found = self.list(&folder).await?;
        let named = |found: Found| Some((found.name.strip_prefix("refs/")?.to_owned(), found.modified));
        let mut names: Vec<(String, i64)> = found.into_iter().filter_map(named).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Every object here and below: its name, its size in bytes, and a text that changes when its content does.
    /// Tells by looking whether something has changed, where nothing tells it.
    pub async fn stamps(&self) -> Result<Vec<(String, u64, String)>, Error> {
        let mut found = Vec::new();
        let mut stream = self.store.list(Some(&self.prefix)).boxed();
        while let Some(meta) = stream.try_next().await.map_err(self.error("list", ""))? {
            let stamp = meta.e_tag.unwrap_or_else(|| meta.last_modified.to_rfc3339());
            found.push((meta.location.to_string(), meta.size, stamp));
        }
        found.sort();
        Ok(found)
    }

    /// Distinguishes remotes in file names.
    pub(crate) fn id(&self) -> String {
        Digest::of(self.url.as_bytes()).short()
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        self.store.as_ref()
    }

    pub(crate) fn location(&self, name: &str) -> Location {
        name.split('/').fold(self.prefix.clone(), Location::join)
    }

    pub(crate) fn error(
        &self,
        action: &'static str,
        name: &str,
    ) -> impl FnOnce(object_store::Error) -> Error {
        let location = format!("{}/{name}", self.url);
        move |source| Error::Remote { action, location, source: Box::new(source) }
    }

    pub(crate) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let payload = PutPayload::from(bytes);
        self.store.put(&self.location(name), payload).await.map_err(self.error("write", name))?;
        Ok(())
    }

    /// Writes a file of any size.
    pub(crate) async fn put_large(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        if bytes.len() as u64 <= PART {
            return self.put(name, bytes).await;
        }
        let upload =
            self.store.put_multipart(&self.location(name)).await.map_err(self.error("write", name))?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART as usize);
        for piece in PutPayload::from(bytes) {
            parts.put(piece);
        }
        parts.finish().await.map_err(self.error("write", name))?;
        Ok(())
    }

    /// Removes a file; that there is none is no error.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Error> {
        match self.store.delete(&self.location(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error("remove", name)(error)),
        }
    }

    /// The time by the remote's clock, in milliseconds: that of a file that is written for it, and a second more, since
    /// some servers tell it without the fraction that their listings have.
    pub(crate) async fn now(&self) -> Result<i64, Error> {
        const NAME: &str = "clock";
        self.put(NAME, b"{}".to_vec()).await?;
        let meta = self.store.head(&self.location(NAME)).await.map_err(self.error("inspect", NAME))?;
        Ok(meta.last_modified.timestamp_millis() + 1000)
    }

    /// A small file; `None` if there is none.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let found = match self.store.get(&self.location(name)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.error("read", name)(error)),
        };
        if found.meta.size > LARGEST_DOCUMENT {
            return Err(Error::malformed("document", format!("`{name}` is larger than 16 MiB")));
        }
        found.bytes().await.map(|bytes| Some(bytes.to_vec())).map_err(self.error("read", name))
    }

    /// Everything in a folder and below it.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<Found>, Error> {
        let below = self.location(folder);
        let mut found = Vec::new();
        let mut stream = self.store.list(Some(&below)).boxed();
        while let Some(meta) = stream.try_next().await.map_err(self.error("list", folder))? {
            let parts = meta
                .location
                .prefix_match(&self.prefix)
                .map(|parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"));
            let modified = meta.last_modified.timestamp_millis();
            found.extend(parts.map(|name| Found { name, bytes: meta.size, modified }));
        }
        Ok(found)
    }

    /// For a folder of this machine: makes what was written durable.
    pub(crate) async fn sync(&self) -> Result<(), Error> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        blocking(move || crate::disk::sync_file_system(&folder)).await
    }
}

/// Runs work that blocks away from the threads of the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Internal("a background task failed"))?
}

/// The settings by their keys; a key that the object store does not have is an error.
fn known<K: FromStr>(url: &str, options: &BTreeMap<String, String>) -> Result<Vec<(K, String)>, Error> {
    let one = |(name, value): (&String, &String)| match name.to_ascii_lowercase().parse() {
        Ok(key) => Ok((key, value.clone())),
        Err(_) => {
            let why = format!("this object store has no option `{name}`");
            Err(Error::BadRemote { url: url.to_owned(), why })
        }
    };
    options.iter().map(one).collect()
}

fn client(allow_http: bool) -> ClientOptions {
    ClientOptions::new().with_allow_http(allow_http).with_timeout(Duration::from_mins(2))
}

fn check_document(name: &str, bytes: &[u8]) -> Result<(), Error> {
    check_name(name)?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        let why = "it is larger than 16 MiB";
        return Err(Error::BadName { what: "document", name: name.to_owned(), why });
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Error> {
    let why = match name {
        "" => "it is empty",
        _ if name.len() > 512 => "it is longer than 512 bytes",
        _ if name.split('/').any(|part| matches!(part, "" | "." | "..")) => {
            "a part of it is empty, `.` or `..`"
        }
        _ if name.chars().any(|c| c.is_control() || "\\%#?*\"<>|[]{}^`~".contains(c)) => {
            "it has a character that some object stores do not take"
        }
        _ => return Ok(()),
    };
    Err(Error::BadName { what: "document name", name: name.to_owned(), why })
}

fn decode_percent(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push((digit()? << 4 | digit()?) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (url, shown) in [
            ("file:///tmp/a%20b/", "file:///tmp/a%20b"),
            ("/tmp/x", "file:///tmp/x"),
            ("memory:///", "memory:"),
        ] {
            assert_eq!(Remote::open(url).unwrap().url(), shown);
        }
        assert_eq!(Remote::open("file:///tmp/a%20b").unwrap().folder, Some(PathBuf::from("/tmp/a b")));
        for (url, why) in [
            ("data/remote", "it has no scheme"),
            ("ftp://host/x", "the scheme `ftp` is not known"),
            ("s3://", "it names no bucket"),
            ("s3:///x", "it names no bucket"),
            ("file://host/x", "the folder must be absolute"),
            ("s3://key:secret@bucket/x", "credentials belong into the environment, not into the address"),
        ] {
            let error = Remote::open(url).unwrap_err().to_string();
            assert!(error.ends_with(why) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn options_win_over_the_environment() {
        let options = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let remote = Remote::open_with(
            "s3://b/p",
            &options(&[("region", "eu-north-1"), ("Endpoint", "http://[::1]:1")]),
        );
        let shown = format!("{:?}", remote.unwrap().store);
        assert!(shown.contains("eu-north-1") && shown.contains("http://[::1]:1"), "{shown}");
        Remote::open_with("az://c/p", &options(&[("account_name", "mill")])).unwrap();
        let error = Remote::open_with("s3://b/p", &options(&[("regoin", "x")])).unwrap_err().to_string();
        assert!(error.ends_with("this object store has no option `regoin`"), "{error}");
    }

    #[test]
    fn document_names() {
        for good in ["datasets/flights/3.json", "a", "ä b/c"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "../x", "a/../b", "a\nb", "a%2Fb"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
