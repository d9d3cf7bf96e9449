//! Taking a file's bytes as they arrive, off the async threads, with bounded memory.
//!
//! A small file stays in memory. Of a large one, blocks go to a [`Writer`] on a blocking thread, one at a time, while the
//! next one arrives; no thread waits for a slow sender.

use bytes::{Bytes, BytesMut};
use tidemill_store::{Entry, Hold, Store, Writer, WriterOptions};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{Error, Result};

/// Files up to this size are gathered and stored together with others.
pub(crate) const SMALL: usize = 1 << 20;
/// Bytes that go to the writer at once.
const BLOCK: usize = 1 << 20;
/// Up to this size SHA-256 costs less than anybody notices.
const SHA256_UP_TO: u64 = 64 << 20;

/// A file that has arrived.
pub(crate) enum Received {
    /// In memory.
    Small(Bytes),
    /// In the store. What keeps garbage collection away must live until the entry is recorded.
    Stored(Entry, Hold),
}

/// A file that is arriving. Dropped, it leaves nothing.
pub struct Intake {
    store: Store,
    options: WriterOptions,
    gathered: Vec<Bytes>,
    length: usize,
    working: Option<JoinHandle<Result<Writer>>>,
}

impl Intake {
    pub(crate) fn new(store: Store, size: Option<u64>) -> Self {
        let options = WriterOptions { bytes: size, sha256: size.is_some_and(|size| size <= SHA256_UP_TO) };
        Self { store, options, gathered: Vec::new(), length: 0, working: None }
    }

    /// Takes the next bytes; waits while too many are ahead of them.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.length += bytes.len();
        self.gathered.push(bytes);
        if self.length > BLOCK {
            let (writer, gathered) = (self.writer().await?, self.take());
            self.working = Some(spawn_blocking(move || feed(writer, &gathered)));
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<Received> {
        if self.working.is_none() && self.length <= SMALL {
            let mut all = BytesMut::with_capacity(self.length);
            self.gathered.iter().for_each(|bytes| all.extend_from_slice(bytes));
            return Ok(Received::Small(all.freeze()));
        }
        let (writer, gathered, store) = (self.writer().await?, self.take(), self.store.clone());
        let done = spawn_blocking(move || {
            let writer = feed(writer, &gathered)?;
            let hold = store.hold()?;
            Ok(Received::Stored(writer.finish()?, hold))
        });
        done.await.map_err(ended)?
    }

    /// The writer, once it has done what it was given.
    async fn writer(&mut self) -> Result<Writer> {
        match self.working.take() {
            Some(working) => working.await.map_err(ended)?,
            None => Ok(self.store.writer(self.options)),
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.length = 0;
        std::mem::take(&mut self.gathered)
    }
}

fn feed(mut writer: Writer, gathered: &[Bytes]) -> Result<Writer> {
    for bytes in gathered {
        writer.write(bytes)?;
    }
    Ok(writer)
}

/// The error for work on another thread that did not come to its end.
pub(crate) fn ended(error: tokio::task::JoinError) -> Error {
    Error {
        code: crate::Code::InternalError,
        message: "the server stopped while it stored a file".to_owned(),
        source: Some(Box::new(error)),
    }
}
