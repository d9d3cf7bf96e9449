//! A server inside of another program: `tidemill run` has one for the length of a run.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{App, bind, serve};

/// A server that answers. It stops when the value is dropped, and [`Running::stop`] waits for that.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: DropGuard,
    task: JoinHandle<bool>,
}

impl Running {
    /// Starts a server on a free port of the loopback interface. Must be called inside of a runtime.
    pub fn start(app: App) -> io::Result<Self> {
        Self::start_at(app, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Duration::from_secs(30))
    }

    /// Starts a server on `address`, which drains for up to `drain` when it is stopped.
    pub fn start_at(app: App, address: SocketAddr, drain: Duration) -> io::Result<Self> {
        let listener = bind(address)?;
        let (address, stop) = (listener.local_addr()?, CancellationToken::new());
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(serve(app, listener, stopped, drain));
        Ok(Self { address, stop: stop.drop_guard(), task })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers, for clients: what `MLFLOW_TRACKING_URI` is to be.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops taking connections and finishes what has begun; `false` if something was cut off.
    pub async fn stop(self) -> bool {
        drop(self.stop);
        self.task.await.unwrap_or(false)
    }
}
