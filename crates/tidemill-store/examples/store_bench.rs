//! Measures the store: seconds, stored bytes and peak memory of each main operation.
//!
//! `cargo run --release -p tidemill-store --example store_bench -- DIR [MEGABYTES [FILES]]` works in the folder DIR,
//! which is emptied first, with one file of MEGABYTES (default 2000) and FILES files of 10 KB (default 20,000). Each
//! operation runs in a process of its own, so that its peak memory (VmHWM) is its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tidemill_core::Quiet;
use tidemill_store::{Checkout, Entry, Error, Remote, Root, StatCache, Store, StoreOptions, hash};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let dir = PathBuf::from(args.first().ok_or("usage: store_bench DIR [MEGABYTES [FILES]]")?);
    if let Some(step) = std::env::var_os("STORE_BENCH_STEP") {
        return run(&dir, &step.to_string_lossy());
    }
    let megabytes: u64 = args.get(1).map_or(Ok(2000), |text| text.parse())?;
    let files: u64 = args.get(2).map_or(Ok(20_000), |text| text.parse())?;
    let _ = fs_err::remove_dir_all(&dir);
    fs_err::create_dir_all(dir.join("many"))?;
    fill(&dir.join("large"), 1, megabytes * 1_000_000)?;
    for i in 0..files {
        fill(&dir.join("many").join(format!("{i:05}.bin")), 1000 + i, 10_000)?;
    }
    rustix::fs::syncfs(fs_err::File::open(&dir)?)?;
    show(&format!("{:<28} {:>8} {:>14} {:>10}", "step", "seconds", "new bytes", "peak MB"))?;
    step(&dir, "add large, cold store")?;
    step(&dir, "add large again")?;
    step(&dir, "hash large")?;
    append(&dir.join("large"), megabytes * 10_000)?;
    step(&dir, "add large, 1 % appended")?;
    insert(&dir.join("large"), &dir.join("new"))?;
    step(&dir, "add large, 4 KB inserted")?;
    step(&dir, "checkout large")?;
    step(&dir, "add many")?;
    step(&dir, "add many again, stat cache")?;
    step(&dir, "add many again, warm cache")?;
    step(&dir, "open and has many")?;
    step(&dir, "checkout many")?;
    step(&dir, "push many")?;
    step(&dir, "push many again")?;
    step(&dir, "pull many")?;
    step(&dir, "verify")?;
    step(&dir, "gc")
}

fn step(dir: &Path, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let status = Command::new(std::env::current_exe()?).arg(dir).env("STORE_BENCH_STEP", name).status()?;
    if status.success() { Ok(()) } else { Err(format!("{name} failed").into()) }
}

fn run(dir: &Path, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (large, many) = (dir.join("large"), dir.join("many"));
    let saved: Vec<Entry> = fs_err::read(dir.join("entries"))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let before = used(&dir.join("store"));
    let began = Instant::now();
    let store = Store::open(&dir.join("store"), StoreOptions::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut entry = None;
    match name {
        "hash large" => entry = Some(hash(&large, None, &Quiet)?),
        "checkout large" => checkout(&store, saved.last(), &dir.join("large.out"))?,
        "add many" => entry = Some(store.add(&many, None, &Quiet)?),
        "add many again, stat cache" | "add many again, warm cache" => {
            let stat = StatCache::open(&dir.join("stat"))?;
            store.add(&many, Some(&stat), &Quiet)?;
            stat.save()?;
        }
        "open and has many" => {
            if !store.has(saved.last().ok_or("nothing saved")?)? {
                return Err("missing".into());
            }
        }
        "checkout many" => checkout(&store, saved.last(), &dir.join("many.out"))?,
        "push many" | "push many again" => {
            let remote = remote(dir)?;
            runtime.block_on(store.push(&remote, &roots(saved.last()), &Quiet))?;
        }
        "pull many" => {
            let other = Store::open(&dir.join("other"), StoreOptions::default())?;
            runtime.block_on(other.pull(&remote(dir)?, &roots(saved.last()), &Quiet))?;
        }
        "verify" => {
            let damage = store.verify(&roots(saved.last()), &Quiet)?;
            if !damage.is_empty() {
                return Err(format!("{damage:?}").into());
            }
        }
        "gc" => drop(store.gc(&roots(saved.last()), false, &Quiet)?),
        _ => entry = Some(store.add(&large, None, &Quiet)?),
    }
    let seconds = began.elapsed().as_secs_f64();
    let grown = used(&dir.join("store")) as i64 - before as i64;
    show(&format!("{name:<28} {seconds:>8.3} {grown:>14} {:>10.1}", peak_megabytes()))?;
    let mut saved = saved;
    saved.extend(entry);
    fs_err::write(dir.join("entries"), serde_json::to_vec(&saved)?)?;
    Ok(())
}

fn checkout(store: &Store, entry: Option<&Entry>, dest: &Path) -> Result<(), Error> {
    match entry {
        Some(entry) => store.checkout(entry, dest, &Checkout::default(), &Quiet),
        None => Ok(()),
    }
}

fn remote(dir: &Path) -> Result<Remote, Error> {
    Remote::open(&format!("file://{}", dir.join("remote").display()))
}

fn roots(entry: Option<&Entry>) -> Vec<Root> {
    entry.into_iter().map(Root::from).collect()
}

fn show(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

/// Bytes of the packs and indexes.
fn used(store: &Path) -> u64 {
    let size = |folder: &str| -> u64 {
        let entries = fs_err::read_dir(store.join(folder)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
    };
    size("packs") + size("index")
}

fn peak_megabytes() -> f64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Bytes that do not compress, a function of `seed` alone.
fn fill(path: &Path, seed: u64, bytes: u64) -> std::io::Result<()> {
    let mut file = fs_err::File::create(path)?;
    write_noise(&mut file, seed, bytes)
}

fn write_noise(out: &mut impl Write, seed: u64, bytes: u64) -> std::io::Result<()> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut noise = blake3::Hasher::new_keyed(&key).finalize_xof();
    let mut buffer = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(buffer.len() as u64) as usize;
        noise.fill(&mut buffer[..now]);
        out.write_all(&buffer[..now])?;
        left -= now as u64;
    }
    Ok(())
}

fn append(path: &Path, bytes: u64) -> std::io::Result<()> {
    write_noise(&mut fs_err::OpenOptions::new().append(true).open(path)?, 2, bytes)
}

/// Puts 4 KB into the middle of a file.
fn insert(path: &Path, new: &Path) -> std::io::Result<()> {
    let mut from = fs_err::File::open(path)?;
    let half = from.metadata()?.len() / 2;
    let mut to = fs_err::File::create(new)?;
    std::io::copy(&mut std::io::Read::by_ref(&mut from).take(half), &mut to)?;
    write_noise(&mut to, 3, 4096)?;
    std::io::copy(&mut from, &mut to)?;
    to.sync_all()?;
    fs_err::rename(new, path)
}
