//! Measures the artifact proxy over loopback: megabytes a second up and down, small files a second, and the server's
//! processor time and peak memory.
//!
//! `cargo run --release -p tidemill-server --example artifact_rate -- DIR [MEGABYTES]` works in the folder DIR, which is
//! emptied first, with files of 100 MB and of MEGABYTES (default 2000). The server is a process of its own. Uploads are
//! durable before they are answered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use tidemill_core::SystemClock;
use tidemill_db::Db;
use tidemill_registry::Registry;
use tidemill_server::{App, Config, Running};
use tidemill_store::{Store, StoreOptions};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PROXY: &str = "/api/2.0/mlflow-artifacts/artifacts";
const BLOCK: usize = 1 << 20;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let dir = PathBuf::from(args.first().ok_or("usage: artifact_rate DIR [MEGABYTES]")?);
    if std::env::var_os("ARTIFACT_RATE_SERVER").is_some() {
        return server(&dir);
    }
    let megabytes: usize = args.get(1).map_or(Ok(2000), |text| text.parse())?;
    let _ = fs_err::remove_dir_all(&dir);
    fs_err::create_dir_all(&dir)?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(&dir)
        .env("ARTIFACT_RATE_SERVER", "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let measured = measure(line.trim(), megabytes, child.id());
    child.kill()?;
    child.wait()?;
    measured
}

#[tokio::main]
async fn server(dir: &Path) -> Outcome<()> {
    let clock = Arc::new(SystemClock);
    let db = Db::open(dir.join("db").to_str().ok_or("path")?, clock.clone()).await?;
    let store = Store::open(&dir.join("store"), StoreOptions::default())?;
    let app = App::new(Registry::new(db, store, clock), Config::new(dir.join("scratch")));
    let running = Running::start(app)?;
    println!("{}", running.address());
    std::future::pending().await
}

fn measure(address: &str, megabytes: usize, server: u32) -> Outcome<()> {
    println!(
        "{:<34} {:>9} {:>10} {:>10} {:>12}",
        "what", "seconds", "per second", "server CPU", "server peak"
    );
    let mut used = cpu(server);
    let mut show = |what: &str, seconds: f64, rate: String| {
        let now = cpu(server);
        println!("{what:<34} {seconds:>9.2} {rate:>10} {:>8.2} s {:>8} MiB", now - used, peak(server));
        used = now;
    };
    let megabytes_a_second = |size: usize, seconds: f64| format!("{:.0} MB", size as f64 / seconds / 1e6);
    let block = noise();
    for size in [100_000_000, megabytes * 1_000_000] {
        let name = format!("{} MB", size / 1_000_000);
        for (i, what) in ["up", "the same up again"].into_iter().enumerate() {
            let began = Instant::now();
            upload(address, &format!("{size}/{i}"), size, &block)?;
            let seconds = began.elapsed().as_secs_f64();
            show(&format!("{name} {what}"), seconds, megabytes_a_second(size, seconds));
        }
        for what in ["down", "down again"] {
            let began = Instant::now();
            let read = download(address, &format!("{size}/0"))?;
            assert_eq!(read, size);
            let seconds = began.elapsed().as_secs_f64();
            show(&format!("{name} {what}"), seconds, megabytes_a_second(size, seconds));
        }
    }
    for threads in [1, 8, 32] {
        let files = 200 * threads;
        let began = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let block = &block;
                scope.spawn(move || small(address, thread, files / threads, block).unwrap());
            }
        });
        let seconds = began.elapsed().as_secs_f64();
        let rate = format!("{:.0}", files as f64 / seconds);
        show(&format!("{files} files of 10 KB, {threads} clients"), seconds, rate);
    }
    Ok(())
}

/// Bytes that do not compress.
fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    };
    (0..BLOCK / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// Makes a block differ from all others, in every kilobyte.
fn stamp(block: &mut [u8], seed: u64) {
    for (i, part) in block.chunks_mut(1024).enumerate() {
        let mark = (seed << 20 | i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
        part[..8].copy_from_slice(&mark);
    }
}

fn upload(address: &str, path: &str, size: usize, block: &[u8]) -> Outcome<()> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "PUT {PROXY}/{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    )?;
    let (mut block, mut sent) = (block.to_vec(), 0);
    while sent < size {
        stamp(&mut block, sent as u64);
        let now = block.len().min(size - sent);
        stream.write_all(&block[..now])?;
        sent += now;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer.into()) }
}

fn download(address: &str, path: &str) -> Outcome<usize> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {PROXY}/{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let (mut buffer, mut read, mut head) = (vec![0; BLOCK], 0, Vec::new());
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(read),
            some => read += some,
        }
    }
}

/// Small files one after another over one connection, as one thread of a client sends them.
fn small(address: &str, thread: usize, files: usize, block: &[u8]) -> Outcome<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    for file in 0..files {
        let mut body = block[..10_000].to_vec();
        stamp(&mut body, (thread * 100_000 + file) as u64);
        let mut request = format!(
            "PUT {PROXY}/small/{thread}/{file} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        stream.write_all(&request)?;
        let (mut line, mut length, mut first) = (String::new(), 0, String::new());
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line)?;
            if first.is_empty() {
                first.clone_from(&line);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut rest = vec![0; length];
        answers.read_exact(&mut rest)?;
        if !first.starts_with("HTTP/1.1 200") {
            return Err(first.into());
        }
    }
    Ok(())
}

/// Seconds of processor time that a process has taken; the kernel counts hundredths.
fn cpu(pid: u32) -> f64 {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The most memory that a process has taken, in MiB.
fn peak(pid: u32) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) >> 10
}
