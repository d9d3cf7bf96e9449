//! The entry points of `fuzz/` on mutated seeds: a smoke test of what `cargo xtask fuzz` does for longer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use tidemill_testkit::Random;
use xtask::{fuzz, workspace};

#[allow(unreachable_pub, reason = "public for the fuzz targets")]
#[path = "../../../fuzz/src/lib.rs"]
mod entries;

/// How long, and how often, each entry point is called at most.
const LIMITS: (Duration, u64) = (Duration::from_secs(2), 20_000);

macro_rules! soaked {
    ($($target:literal => $entry:ident,)*) => {
        /// The targets that are tested below.
        const TESTED: &[&str] = &[$($target),*];
        $(
            #[test]
            fn $entry() {
                soak($target, entries::$entry);
            }
        )*
    };
}

soaked! {
    "arrow" => arrow,
    "chunk-list" => chunk_list,
    "csv" => csv,
    "dvc-file" => dvc_file,
    "event" => event,
    "infer-grpc" => infer_grpc,
    "infer-http" => infer_http,
    "json-lines" => json_lines,
    "kafka" => kafka,
    "lock-file" => lock_file,
    "onnx-model" => onnx_model,
    "otlp" => otlp,
    "pack-index" => pack_index,
    "pack-record" => pack_record,
    "parameter-file" => parameter_file,
    "parquet" => parquet,
    "profile" => profile,
    "project-file" => project_file,
    "scoring" => scoring,
    "search-filter" => search_filter,
    "stat-cache" => stat_cache,
    "tree" => tree,
}

#[test]
fn every_target_is_tested_and_has_seeds() {
    let root = workspace::root();
    assert_eq!(fuzz::targets(&root).unwrap(), TESTED);
    for target in TESTED {
        assert!(!seeds(&root, target).is_empty(), "put a valid input into fuzz/seeds/{target}/");
    }
}

fn seeds(root: &Path, target: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = fs_err::read_dir(root.join("fuzz/seeds").join(target)) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs_err::read(path).unwrap()).collect()
}

/// Calls `entry` with every seed as it is and then with mutations of them; the stream of mutations is always the same.
fn soak(target: &str, entry: fn(&[u8])) {
    let seeds = seeds(&workspace::root(), target);
    assert!(!seeds.is_empty(), "no seeds for `{target}`");
    for seed in &seeds {
        attempt(target, entry, seed);
    }
    let mut random = Random::new(0x5eed);
    let begin = Instant::now();
    for _ in 0..LIMITS.1 {
        if begin.elapsed() > LIMITS.0 {
            break;
        }
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut input, &seeds, &mut random);
        }
        attempt(target, entry, &input);
    }
}

fn attempt(target: &str, entry: fn(&[u8]), input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| entry(input))).is_err() {
        let shown = &input[..input.len().min(4_000)];
        panic!("`{target}` panicked on {} bytes: b\"{}\"", input.len(), shown.escape_ascii());
    }
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    const TELLING: [&[u8]; 14] = [
        b"\0",
        b"\xff",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x80",
        b"18446744073709551616",
        b"-1",
        b"1e999",
        b"\"",
        b"\n",
        b"{",
        b"[",
        b"${",
        b"../",
        b"\xc3\x28",
    ];
    let (at, length) = random.place(input);
    let way = random.below(7);
    if way == 5 {
        let other = &seeds[random.below(seeds.len())];
        let from = random.below(other.len() + 1);
        let to = from + random.below((other.len() - from).min(64) + 1);
        input.splice(at..at + length, other[from..to].iter().copied());
    } else if !random.damage(input, (at, length), way) {
        let telling = TELLING[random.below(TELLING.len())];
        input.splice(at..at + length, telling.iter().copied());
    }
}
