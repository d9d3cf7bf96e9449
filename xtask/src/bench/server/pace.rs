//! Load in an open loop: requests come at fixed times, whether those before them were answered or not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bench::server::Server;
use crate::bench::server::load::{Connect, Taken, own_cpu};

/// Requests at a fixed rate.
pub(crate) struct Pace<'a> {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Connections; a request whose time has come waits for a free one, and its latency counts from that time.
    pub(crate) clients: usize,
    /// Makes one.
    pub(crate) connect: Connect<'a>,
    /// How long the load goes on before anything counts.
    pub(crate) warm: Duration,
    /// How long it counts.
    pub(crate) time: Duration,
    /// The request of a number.
    pub(crate) request: &'a (dyn Fn(u64) -> Vec<u8> + Sync),
}

impl Pace<'_> {
    /// Puts the load on a server.
    pub(crate) fn measure(&self, server: &Server) -> Result<Taken> {
        let (next, begin) = (AtomicU64::new(0), Instant::now() + Duration::from_millis(20));
        let end = self.warm + self.time;
        let one_client = || -> Result<Vec<f64>> {
            let mut client = (self.connect)(server);
            let mut latencies = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let due = Duration::from_secs_f64(number as f64 / self.rate);
                if due >= end {
                    return Ok(latencies);
                }
                let request = (self.request)(number);
                let due_at = begin + due;
                let early = due_at.saturating_duration_since(Instant::now());
                std::thread::sleep(early);
                // A client that was there in time wakes up a little late, which is not the server's doing.
                let from = if early.is_zero() { due_at } else { Instant::now() };
                client.send(&request)?;
                if due >= self.warm {
                    latencies.push(from.elapsed().as_secs_f64());
                }
            }
        };
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients).map(|_| scope.spawn(one_client)).collect();
            std::thread::sleep((begin + self.warm).saturating_duration_since(Instant::now()));
            let (watch, own) = (server.tree().watch()?, own_cpu()?);
            std::thread::sleep((begin + end).saturating_duration_since(Instant::now()));
            let load_cpu = own_cpu()? - own;
            let used = watch.end()?;
            let mut latencies = Vec::new();
            for client in clients {
                latencies.extend(client.join().ok().context("a client panicked")??);
            }
            Taken::new(self.time.as_secs_f64(), latencies, used, load_cpu)
        })
    }
}
