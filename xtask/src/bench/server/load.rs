//! Load in a closed loop: every client sends its next request when it has the answer to the last one.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use nix::sys::resource::{UsageWho, getrusage};

use crate::bench::measure::Sample;
use crate::bench::report::number;
use crate::bench::server::crowd::{Crowd, Work};
use crate::bench::server::{Client, Grpc, Server};

/// Makes a connection to a server.
pub(crate) type Connect<'a> = &'a (dyn Fn(&Server) -> Connection + Sync);

/// A connection of a client, over either protocol.
pub(crate) enum Connection {
    /// HTTP/1.1.
    Http(Client),
    /// gRPC.
    Grpc(Grpc),
}

impl Connection {
    /// Sends a request and returns the body of the answer, which must be a good one.
    pub(crate) fn send(&mut self, request: &[u8]) -> Result<&[u8]> {
        match self {
            Self::Http(client) => client.send(request),
            Self::Grpc(client) => client.send(request),
        }
    }
}

/// Requests of one kind for a fixed time, after a warm-up.
pub(crate) struct Window<'a> {
    /// Connections, each with one request at a time.
    pub(crate) clients: usize,
    /// Makes one.
    pub(crate) connect: Connect<'a>,
    /// How long the load goes on before anything counts.
    pub(crate) warm: Duration,
    /// How long it counts.
    pub(crate) time: Duration,
    /// The request of a client; the second number is another one every time.
    pub(crate) request: &'a (dyn Fn(usize, u64) -> Vec<u8> + Sync),
    /// Whether an answer is what it has to be.
    pub(crate) check: &'a (dyn Fn(&[u8]) -> Result<()> + Sync),
}

/// What happened in a window.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Its length in seconds.
    seconds: f64,
    /// Seconds from sending to the whole answer, of each request that was answered, sorted.
    latencies: Vec<f64>,
    /// Seconds of CPU of the server.
    cpu: f64,
    /// The server's largest memory in bytes.
    peak: u64,
    /// Seconds of CPU of the clients, which share the machine with the server.
    load_cpu: f64,
}

const WARM: u8 = 0;
const COUNTS: u8 = 1;
const ENDS: u8 = 2;

impl Window<'_> {
    /// Puts the load on a server.
    pub(crate) fn measure(&self, server: &Server, numbers: &AtomicU64) -> Result<Taken> {
        let one = (self.connect)(server);
        let together = self.clients > 1 && matches!(one, Connection::Http(_));
        let threads = if together { 1 } else { self.clients };
        let (phase, barrier) = (AtomicU8::new(WARM), Barrier::new(threads + 1));
        let own = || OfWindow { window: self, numbers, phase: &phase, latencies: Vec::new() };
        let one_client = |index| -> Result<Vec<f64>> {
            let (mut client, mut own) = ((self.connect)(server), own());
            barrier.wait();
            while let Some(request) = own.request(index) {
                let sent = Instant::now();
                own.answer(sent, client.send(&request)?)?;
            }
            Ok(own.latencies)
        };
        let crowd = |address: &str| -> Result<Vec<f64>> {
            let (crowd, mut own) = (Crowd::connect(address, self.clients), own());
            barrier.wait();
            crowd?.run(&mut own)?;
            Ok(own.latencies)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = match &one {
                Connection::Http(client) if together => vec![scope.spawn(|| crowd(client.address()))],
                _ => (0..threads).map(|index| scope.spawn(move || one_client(index))).collect(),
            };
            barrier.wait();
            std::thread::sleep(self.warm);
            let watch = server.tree().watch()?;
            let (begin, own) = (Instant::now(), own_cpu()?);
            phase.store(COUNTS, Ordering::Relaxed);
            std::thread::sleep(self.time);
            phase.store(ENDS, Ordering::Relaxed);
            let seconds = begin.elapsed().as_secs_f64();
            let load_cpu = own_cpu()? - own;
            let (cpu, peak) = watch.end()?;
            let mut latencies = Vec::new();
            for thread in threads {
                latencies.extend(thread.join().ok().context("a client panicked")??);
            }
            Taken::new(seconds, latencies, (cpu, peak), load_cpu)
        })
    }
}

/// What clients do in a window.
struct OfWindow<'a> {
    window: &'a Window<'a>,
    numbers: &'a AtomicU64,
    phase: &'a AtomicU8,
    latencies: Vec<f64>,
}

impl Work for OfWindow<'_> {
    fn request(&mut self, client: usize) -> Option<Vec<u8>> {
        let ends = self.phase.load(Ordering::Relaxed) == ENDS;
        (!ends).then(|| (self.window.request)(client, self.numbers.fetch_add(1, Ordering::Relaxed)))
    }

    fn answer(&mut self, sent: Instant, body: &[u8]) -> Result<()> {
        // Whatever is answered in the window counts, whenever it was sent; the rest evens out at its ends.
        if self.phase.load(Ordering::Relaxed) == COUNTS {
            self.latencies.push(sent.elapsed().as_secs_f64());
        }
        (self.window.check)(body)
    }
}

impl Taken {
    /// Of a window of so many seconds, with what the server used and the seconds of CPU of the clients.
    pub(super) fn new(
        seconds: f64,
        mut latencies: Vec<f64>,
        (cpu, peak): (f64, u64),
        load_cpu: f64,
    ) -> Result<Self> {
        ensure!(!latencies.is_empty(), "no request was answered within {seconds:.1} s");
        latencies.sort_by(f64::total_cmp);
        Ok(Self { seconds, latencies, cpu, peak, load_cpu })
    }

    /// What `per` requests took.
    pub(crate) fn sample(&self, per: f64) -> Sample {
        let share = per / self.latencies.len() as f64;
        Sample { wall: self.seconds * share, cpu: self.cpu * share, peak: self.peak }
    }

    /// Throughput and latencies for people; each request holds `each` things.
    pub(crate) fn note(&self, each: f64, things: &str) -> String {
        let rate = self.latencies.len() as f64 * each / self.seconds;
        format!(
            "{} {things}/s, p50 {} ms, p99 {} ms",
            number(rate),
            number(self.percentile(0.50) * 1e3),
            number(self.percentile(0.99) * 1e3)
        )
    }

    /// Microseconds of CPU that the clients spend on a request.
    pub(crate) fn load_micros(&self) -> f64 {
        self.load_cpu / self.latencies.len() as f64 * 1e6
    }

    /// Things per second.
    pub(crate) fn rate(&self, each: f64) -> f64 {
        self.latencies.len() as f64 * each / self.seconds
    }

    /// Seconds within which that share of the requests was answered.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let rank = (share * self.latencies.len() as f64).ceil() as usize;
        self.latencies[rank.clamp(1, self.latencies.len()) - 1]
    }
}

/// Seconds of CPU of this process so far.
pub(crate) fn own_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("the kernel reports no resource usage")?;
    let of = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

/// A fixed amount of work, shared by several clients.
pub(crate) struct Bulk<'a> {
    /// Connections.
    pub(crate) clients: usize,
    /// The numbers of what is to be done.
    pub(crate) numbers: std::ops::Range<u64>,
    /// Does one of it.
    pub(crate) work: &'a (dyn Fn(&mut Client, u64) -> Result<()> + Sync),
}

impl Bulk<'_> {
    /// Does everything; what it took.
    pub(crate) fn measure(&self, server: &Server) -> Result<Sample> {
        let next = AtomicU64::new(self.numbers.start);
        let one_client = || -> Result<()> {
            let mut client = Client::new(server.url());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.numbers.end {
                    return Ok(());
                }
                (self.work)(&mut client, number)?;
            }
        };
        let watch = server.tree().watch()?;
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients).map(|_| scope.spawn(one_client)).collect();
            clients
                .into_iter()
                .try_for_each(|client| client.join().ok().context("a client panicked").flatten())
        })?;
        let wall = begin.elapsed().as_secs_f64();
        let (cpu, peak) = watch.end()?;
        Ok(Sample { wall, cpu, peak })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_percentiles() {
        let taken = Taken {
            seconds: 2.0,
            latencies: (1..=100).map(|ms| f64::from(ms) / 1e3).collect(),
            cpu: 0.5,
            peak: 7,
            load_cpu: 0.01,
        };
        assert_eq!(taken.note(10.0, "metrics"), "500 metrics/s, p50 50 ms, p99 99 ms");
        assert!((taken.load_micros() - 100.0).abs() < 1e-9);
        let sample = taken.sample(1000.0);
        assert!((sample.wall - 20.0).abs() < 1e-9 && (sample.cpu - 5.0).abs() < 1e-9, "{sample:?}");
    }
}
