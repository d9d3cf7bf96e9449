//! The handle to an open database.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use rusqlite::Connection;
use tidemill_core::Clock;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::backend::{Context, Either, Hand, Pools, Reader, Transact};
use crate::ingest::{Ingest, Queue};
use crate::traces::TraceQueue;
use crate::tracking::load::LoadError;
use crate::{Result, Tx, open};

/// A database. Clones share its connections.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    pools: Arc<Pools>,
    ctx: Arc<Context>,
    queue: Queue,
    traces: TraceQueue,
}

/// Settings that have good defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long to wait for another process's write lock.
    pub busy_timeout: Duration,
    /// The largest number of connections that read at once; on SQLite of those for long pages, and of those for all else.
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
    /// `url` is a file path, `sqlite:///absolute/path.db`, or `postgres://user:password@host:port/name`. A path is
    /// taken as it stands, without decoding. The directory must exist.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(url, clock, Options::default()).await
    }

    /// [`Db::open`] with other settings.
    pub async fn open_with(url: &str, clock: Arc<dyn Clock>, options: Options) -> Result<Self> {
        let (pools, ctx) = open::open(url, clock.as_ref(), options).await?;
        let pools = Arc::new(pools);
        let queue = Queue::new(Arc::clone(&pools), Arc::clone(&ctx));
        let traces = TraceQueue::new(Arc::clone(&pools), Arc::clone(&ctx));
        Ok(Self { inner: Arc::new(Inner { pools, ctx, queue, traces }) })
    }

    /// Starts the one writer; waits while another one, here or in another process, is at work.
    pub async fn begin(&self) -> Result<Tx> {
        Tx::begin(&self.inner.pools, &self.inner.ctx).await
    }

    /// Changes with every commit of events through this handle or a clone of it, and holds the number of the last of
    /// them; 0 before the first. What other processes append is not told: a reader of the log looks at it from time to time
    /// as well.
    pub fn log_growth(&self) -> watch::Receiver<u64> {
        self.inner.ctx.grown.subscribe()
    }

    /// The group-commit writer.
    pub fn ingest(&self) -> Ingest {
        self.inner.queue.handle()
    }

    /// Writes what waits in the [`Ingest`] queue and closes all connections; other clones fail from then on.
    pub async fn close(self) -> Result<()> {
        self.inner.queue.finish().await;
        self.inner.traces.finish().await;
        match self.inner.pools.as_ref() {
            Either::Sqlite(pools) => {
                pools.read.close().await;
                pools.direct.close().await;
                pools.write.close().await;
            }
            Either::Postgres(pool) => pool.close().await,
        }
        Ok(())
    }

    pub(crate) fn trace_queue(&self) -> &TraceQueue {
        &self.inner.traces
    }

    pub(crate) fn ctx(&self) -> &Arc<Context> {
        &self.inner.ctx
    }

    pub(crate) fn pools(&self) -> &Pools {
        &self.inner.pools
    }

    pub(crate) async fn reader(&self) -> Result<Reader> {
        Reader::acquire(&self.inner.pools, &self.inner.ctx).await
    }

    /// Reads very many rows with one view of the database; on SQLite on a thread where `work` waits for nothing.
    pub(crate) async fn view<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl for<'h> FnOnce(Hand<'h>) -> BoxFuture<'h, Result<T, LoadError>> + Send + 'static,
    ) -> Result<T> {
        match self.pools() {
            Either::Sqlite(pools) => {
                let runtime = Handle::current();
                let work = move |c: &mut Connection| runtime.block_on(work(Hand::Direct(c)));
                pools.direct.read(self.ctx(), action, work).await
            }
            Either::Postgres(_) => {
                let mut tx = self.snapshot().await?;
                work(tx.conn().into()).await.map_err(LoadError::sort(self.ctx(), action))
            }
        }
    }

    /// A write transaction without the log: for bookkeeping that is no change of state.
    pub(crate) async fn write(&self) -> Result<Transact> {
        Transact::write(&self.inner.pools, &self.inner.ctx).await
    }

    pub(crate) async fn snapshot(&self) -> Result<Transact> {
        Transact::snapshot(&self.inner.pools, &self.inner.ctx).await
    }
}
