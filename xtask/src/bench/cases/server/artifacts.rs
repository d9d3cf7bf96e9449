//! Artifacts through the proxy, up and down, small enough for memory and large. The limit is a copy through a loopback
//! connection.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::{Lines, PEER, both, run_of};
use crate::bench::inputs;
use crate::bench::measure::Sample;
use crate::bench::report::{Row, number};
use crate::bench::server::{Backend, Client, Databases, Server};
use crate::bench::session::Session;

/// Measures an upload and a download for each size.
pub(in super::super) fn measure(session: &Session, backend: Backend) -> Result<Vec<Row>> {
    let databases = Databases::new(backend);
    let servers = both(session, &databases, "artifacts")?;
    let mut runs = Vec::new();
    for server in &servers {
        runs.push(root_of(server)?);
    }
    let folder = session.folder("artifact-files")?;
    let mut rows = Vec::new();
    for bytes in [session.size(100_000_000, 1_000_000), session.size(2_000_000_000, 3_000_000)] {
        let megabytes = bytes / 1_000_000;
        let names = ["up", "down"].map(|way| backend.row(&format!("artifact-{way}-{megabytes}")));
        let (mut up, mut down) = (Lines::default(), Lines::default());
        // Three turns of two gigabytes are enough.
        let turns = if megabytes > 1000 { session.repeat.min(3) } else { session.repeat };
        for turn in 1..=turns {
            let file = folder.join("artifact.bin");
            // New bytes every turn: what is stored already would not have to be stored again.
            inputs::random_file(&file, bytes, 1000 * megabytes + turn as u64)?;
            inputs::warm(&file)?;
            let digest = digest_of(&file)?;
            for (server, root) in servers.iter().zip(&runs) {
                let path = format!("{root}/size-{megabytes}/turn-{turn}.bin");
                let mut client = Client::new(server.url());
                inputs::settle()?;
                let sample = timed(server, || client.upload(&path, &file))?;
                up.add(&names[0], turn, server.tool(), sample, &rate(bytes, sample));
                let mut hash = blake3::Hasher::new();
                let got = client.download(&path, |part| {
                    hash.update(part);
                    Ok(())
                })?;
                ensure!(got == bytes && hash.finalize() == digest, "{} changed an artifact", server.tool());
                let sample = timed(server, || client.download(&path, |_| Ok(())).map(drop))?;
                down.add(&names[1], turn, server.tool(), sample, &rate(bytes, sample));
            }
            let wall = loopback(&file, &folder.join("copy.bin"))?;
            let sample = Sample { wall, cpu: 0.0, peak: 0 };
            up.add(&names[0], turn, "loopback copy", sample, &rate(bytes, sample));
        }
        for (lines, name, way) in [(up, names[0].clone(), "upload"), (down, names[1].clone(), "download")] {
            let title = format!("{way} of an artifact of {megabytes} MB, {}", backend.shown());
            rows.push(lines.row(session, name, title).at_most(1.0 / 2.0, PEER));
        }
    }
    Ok(rows)
}

/// The path in the proxy of a new run's artifacts.
fn root_of(server: &Server) -> Result<String> {
    let run = run_of(server)?;
    let path = format!("/api/2.0/mlflow/artifacts/list?run_id={run}");
    let listed = Client::new(server.url()).json("GET", &path, "")?;
    let uri = listed["root_uri"].as_str().context("no address of the artifacts")?;
    let root = uri.strip_prefix("mlflow-artifacts:/").context("artifacts do not go through the proxy")?;
    Ok(format!("/api/2.0/mlflow-artifacts/artifacts/{}", root.trim_start_matches('/')))
}

fn timed(server: &Server, work: impl FnOnce() -> Result<()>) -> Result<Sample> {
    let watch = server.tree().watch()?;
    let begin = Instant::now();
    work()?;
    let wall = begin.elapsed().as_secs_f64();
    let (cpu, peak) = watch.end()?;
    Ok(Sample { wall, cpu, peak })
}

fn rate(bytes: u64, sample: Sample) -> String {
    format!("{} MB/s", number(bytes as f64 / 1e6 / sample.wall))
}

fn digest_of(file: &Path) -> Result<blake3::Hash> {
    let mut hash = blake3::Hasher::new();
    hash.update_reader(fs_err::File::open(file)?)?;
    Ok(hash.finalize())
}

/// Seconds to send a file through a connection to a thread that writes it to another file.
fn loopback(from: &Path, to: &Path) -> Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let target = to.to_path_buf();
    let begin = Instant::now();
    let receiver = std::thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut file = fs_err::File::create(target)?;
        pump(&mut stream, &mut file)
    });
    pump(&mut fs_err::File::open(from)?, &mut TcpStream::connect(address)?)?;
    receiver.join().ok().context("the receiver panicked")??;
    Ok(begin.elapsed().as_secs_f64())
}

fn pump(from: &mut impl std::io::Read, to: &mut impl std::io::Write) -> Result<()> {
    let mut piece = vec![0; 1 << 18];
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&piece[..count])?;
    }
}
