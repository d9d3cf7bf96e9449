//! Stores on other machines: pack files and small named documents behind `object_store`.

use crate::Error;

/// A place to push to and pull from; cheap to clone.
#[derive(Clone, Debug)]
pub struct Remote;

/// What a push or pull moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Objects (chunks, listings) that were missing on the other side.
    pub objects: u64,
    /// Objects that were there already.
    pub present: u64,
    /// Bytes sent or received, after compression.
    pub bytes: u64,
    /// Pack files written or read from.
    pub packs: u64,
}

impl Remote {
    /// Opens `file:///folder`, `s3://bucket/prefix`, `gs://…`, `az://…` or `memory:///name`. Credentials and
    /// endpoints come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_…`, `AZURE_…`). No
    /// request is made yet.
    pub fn open(url: &str) -> Result<Self, Error> {
        let _ = url;
        todo!()
    }

    /// The address without credentials.
    pub fn url(&self) -> &str {
        todo!()
    }

    /// Writes a small named document (at most 16 MiB), for example `datasets/flights/3.json`, replacing what is there.
    pub async fn put_ref(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let _ = (name, bytes);
        todo!()
    }

    /// Reads a named document; `None` if there is none.
    pub async fn get_ref(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let _ = name;
        todo!()
    }

    /// The names of all documents that begin with the folder `prefix` (empty for all), sorted.
    pub async fn list_refs(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let _ = prefix;
        todo!()
    }
}
