//! A process that adds and collects is killed at any point, many times; nothing that was there may suffer.

use std::path::Path;
use std::time::Duration;

use tidemill_core::{Digest, Quiet};
use tidemill_store::{Entry, Error, Root, Store};

use crate::support::{Lab, noise, open};
use crate::support_child::{add_line, is_at_work, lines, orders, start};

const KILLS: u64 = 25;

/// Adds files and collects; each entry is recorded in `log` once it is in the store.
fn work(dir: &Path, rounds: u64) {
    let store = open(&dir.join("store"));
    let log = dir.join("log");
    let began = entries(&log).len() as u64;
    let input = |round: u64| {
        let path = dir.join("work").join("input");
        fs_err::write(&path, noise(round, 1000 + (round as usize % 7) * 100_000)).unwrap();
        path
    };
    // The one before may have been killed between collecting the last entry and adding it again.
    if began > 0 {
        store.add(&input(began - 1), None, &Quiet).unwrap();
    }
    for round in began..began + rounds {
        let path = input(round);
        let hold = store.hold().unwrap();
        let entry = store.add(&path, None, &Quiet).unwrap();
        add_line(&log, &serde_json::to_string(&entry).unwrap());
        drop(hold);
        // What the log names last goes every time, so that there is something to collect.
        if round % 2 == 0 {
            let roots = || Ok(entries(&log).iter().rev().skip(1).map(Root::from).collect());
            store.gc_with(roots, false, &Quiet).unwrap();
            store.add(&path, None, &Quiet).unwrap();
        }
    }
}

fn entries(log: &Path) -> Vec<Entry> {
    lines(log).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn check(store: &Store, dir: &Path) {
    let mut entries = entries(&dir.join("log"));
    // The last one may be at the point between collection and being added again.
    entries.pop();
    let roots: Vec<Root> = entries.iter().map(Root::from).collect();
    assert_eq!(store.verify(&roots, &Quiet).unwrap(), vec![]);
    for (round, entry) in entries.iter().enumerate() {
        assert_eq!(entry.digest, Digest::of(&noise(round as u64, 1000 + (round % 7) * 100_000)));
        assert!(store.has(entry).unwrap());
    }
}

#[test]
fn worker() {
    if let Some(dir) = orders() {
        return work(&dir, u64::MAX / 2);
    }
    let lab = Lab::new();
    work(lab.dir.path(), 6);
    check(&lab.store, lab.dir.path());
}

#[test]
fn killed_at_any_point() {
    let lab = Lab::new();
    lab.write("first", noise(1000, 300_000));
    work(lab.dir.path(), 1);
    let mut done = 0;
    for kill in 0..KILLS {
        let before = entries(&lab.dir.path().join("log")).len();
        let mut child = start("crash::worker", lab.dir.path());
        // It is at work as soon as it has recorded something; then it gets a while that differs each time.
        while entries(&lab.dir.path().join("log")).len() == before {
            is_at_work(&mut child, lab.dir.path());
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(kill * kill * 97 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(lab.store.dir());
        check(&store, lab.dir.path());
        done = entries(&lab.dir.path().join("log")).len();
    }
    assert!(done as u64 > KILLS);
    // What the crashes left behind goes with the next collection, and only that.
    let mut kept = entries(&lab.dir.path().join("log"));
    kept.pop();
    let roots: Vec<Root> = kept.iter().map(Root::from).collect();
    lab.store.gc(&roots, false, &Quiet).unwrap();
    check(&lab.store, lab.dir.path());
    assert!(lab.files("tmp").is_empty());
    assert!(matches!(lab.store.get(&Digest::of(b"never added")), Err(Error::Missing { .. })));
}
