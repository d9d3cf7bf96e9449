//! A folder with a largest size in front of a store: what leaves it, what stays, and that nothing is lost.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use tidemill_core::{Digest, Quiet};
use tidemill_store::{AddOptions, Checkout, Entry, Remote, Root, Store, StoreOptions};

use crate::support::{Lab, list, noise, snapshot};
use crate::support_child::{add_line, is_at_work, lines, orders, start};

const LIMIT: u64 = 4_000_000;

/// A folder in front of the store `there`; as a process of its own would open it.
fn cache(dir: &Path, name: &str) -> Store {
    let there = dir.join("there");
    fs_err::create_dir_all(&there).unwrap();
    let remote = Remote::open(&format!("file://{}", there.display())).unwrap();
    let options = StoreOptions { cache_size: Some(LIMIT), ..StoreOptions::default() };
    Store::open_before(&dir.join(name), options, remote).unwrap()
}

fn size(dir: &Path) -> u64 {
    let entries = fs_err::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.fold(0, |sum, entry| {
        // What is evicted in this moment has no size.
        let Ok(metadata) = entry.metadata() else { return sum };
        sum + if metadata.is_dir() { size(&entry.path()) } else { metadata.len() }
    })
}

#[track_caller]
fn fits(store: &Store) {
    let size = size(store.dir());
    assert!(size <= LIMIT, "{size} bytes");
}

#[test]
fn a_folder_smaller_than_its_data_works() {
    let lab = Lab::new();
    let dir = lab.dir.path();
    lab.write("data/large", noise(1, 9_000_000));
    for i in 0..300 {
        lab.write(&format!("data/small/{}/{i}", i % 7), noise(100 + i, 20_000));
    }
    let here = cache(dir, "here");
    let entry = here.add(&lab.path("data"), None, &Quiet).unwrap();
    fits(&here);
    assert!(here.has(&entry).unwrap());
    // Again with nothing new: what left the folder is not sent once more.
    let packs = list(&dir.join("there/packs"));
    assert!(cache(dir, "here").add(&lab.path("data"), None, &Quiet).unwrap().same_content(&entry));
    assert_eq!(list(&dir.join("there/packs")), packs);
    fits(&here);
    for (name, store) in [("one", here.clone()), ("two", cache(dir, "another"))] {
        let out = lab.path(name);
        store.checkout(&entry, &out, &Checkout::default(), &Quiet).unwrap();
        assert_eq!(snapshot(&out), snapshot(&lab.path("data")));
        // A folder that exists is compared and mended.
        fs_err::remove_dir_all(out.join("small/3")).unwrap();
        fs_err::write(out.join("large"), noise(1, 9_000_000).split_off(1000)).unwrap();
        let options = Checkout { force: true, ..Checkout::default() };
        store.checkout(&entry, &out, &options, &Quiet).unwrap();
        assert_eq!(snapshot(&out), snapshot(&lab.path("data")));
        let large = store.tree(&entry.digest).unwrap().items()[0].node.entry().unwrap();
        assert_eq!(store.get(&large.digest).unwrap(), noise(1, 9_000_000));
        let mut text = Vec::new();
        store.read(&large.digest).unwrap().read_to_end(&mut text).unwrap();
        assert_eq!(text, noise(1, 9_000_000));
        let mut part = Vec::new();
        for chunk in store.chunks(&large.digest, 4_000_000..7_500_000).unwrap() {
            part.extend_from_slice(chunk.unwrap().as_slice());
        }
        assert_eq!(part, noise(1, 9_000_000)[4_000_000..7_500_000]);
        assert_eq!(store.files(&entry).unwrap().len(), 301);
        assert_eq!(store.verify(&[Root::from(&entry)], &Quiet).unwrap(), []);
        fits(&store);
    }
}

#[test]
fn what_was_used_longest_ago_leaves_first() {
    let lab = Lab::new();
    let dir = lab.dir.path();
    let here = cache(dir, "here");
    let first = here.put(&noise(0, 50_000)).unwrap();
    let second = here.put(&noise(1, 50_000)).unwrap();
    let mut last = first;
    for seed in 2..130 {
        last = here.put(&noise(seed, 50_000)).unwrap();
        // As another process reads it.
        assert_eq!(cache(dir, "here").get(&first).unwrap(), noise(0, 50_000));
        fits(&here);
    }
    let other = cache(dir, "here");
    assert!(other.is_here(&first).unwrap() && other.is_here(&last).unwrap());
    assert!(!other.is_here(&second).unwrap());
    // What left comes back when it is asked for, and stays then.
    assert_eq!(other.get(&second).unwrap(), noise(1, 50_000));
    assert!(other.is_here(&second).unwrap());
}

#[test]
fn what_was_not_sent_stays() {
    let lab = Lab::new();
    let dir = lab.dir.path();
    let here = cache(dir, "here");
    let options = AddOptions { durable: false, ..AddOptions::default() };
    let entries: Vec<Entry> = (0..30)
        .map(|seed| {
            let path = lab.write("out", noise(seed, 200_000));
            let entry = here.add_many(&[path], &options, &Quiet).unwrap()[0];
            if seed == 0 {
                // File systems note times in steps.
                std::thread::sleep(Duration::from_millis(50));
            }
            entry
        })
        .collect();
    assert!(entries.iter().all(|entry| here.is_here(&entry.digest).unwrap()));
    assert!(size(here.dir()) > LIMIT);
    assert!(!cache(dir, "other").has(&entries[0]).unwrap());
    here.sync().unwrap();
    fits(&here);
    assert!(!here.is_here(&entries[0].digest).unwrap());
    for (seed, entry) in entries.iter().enumerate() {
        assert_eq!(cache(dir, "other").get(&entry.digest).unwrap(), noise(seed as u64, 200_000));
        assert_eq!(here.get(&entry.digest).unwrap(), noise(seed as u64, 200_000));
    }
    fits(&here);
}

#[test]
fn what_is_pinned_stays() {
    let lab = Lab::new();
    let dir = lab.dir.path();
    let (here, beside) = (cache(dir, "here"), cache(dir, "here"));
    let before = here.put(&noise(99, 50_000)).unwrap();
    // File systems note times in steps.
    std::thread::sleep(Duration::from_millis(50));
    let pin = here.pin().unwrap();
    let all: Vec<Digest> = (0..60).map(|seed| beside.put(&noise(seed, 100_000)).unwrap()).collect();
    assert!(all.iter().all(|digest| here.is_here(digest).unwrap()));
    assert!(!here.is_here(&before).unwrap());
    assert!(size(here.dir()) > LIMIT);
    drop(pin);
    fits(&here);
    assert!(list(&here.dir().join("pins")).is_empty());
    // One who was killed pins nothing any more.
    fs_err::write(here.dir().join("pins/left.pin"), "").unwrap();
    for seed in 100..160 {
        here.put(&noise(seed, 100_000)).unwrap();
    }
    fits(&here);
    assert!(list(&here.dir().join("pins")).is_empty());
}

#[test]
fn several_at_once_share_a_small_folder() {
    let lab = Lab::new();
    let dir = lab.dir.path();
    cache(dir, "here");
    let length = |seed: u64| 20_000 + (seed as usize % 5) * 90_000;
    let all: Vec<Digest> = std::thread::scope(|scope| {
        let work: Vec<_> = (0..4_u64)
            .map(|worker| {
                scope.spawn(move || {
                    let store = cache(dir, "here");
                    let mut own = Vec::new();
                    for seed in worker * 100..worker * 100 + 20 {
                        let digest = store.put(&noise(seed, length(seed))).unwrap();
                        own.push(digest);
                        let old = own.len() / 2;
                        let seed = worker * 100 + old as u64;
                        assert_eq!(store.get(&own[old]).unwrap(), noise(seed, length(seed)));
                    }
                    own
                })
            })
            .collect();
        work.into_iter().flat_map(|handle| handle.join().unwrap()).collect()
    });
    let store = cache(dir, "here");
    store.put(b"the last").unwrap();
    fits(&store);
    for (at, digest) in all.iter().enumerate() {
        let seed = (at / 20 * 100 + at % 20) as u64;
        assert_eq!(store.get(digest).unwrap(), noise(seed, length(seed)));
    }
    assert_eq!(store.verify(&[], &Quiet).unwrap(), []);
    fits(&store);
}

/// Adds and reads until it is killed; each content is in the log once it was acknowledged.
fn work(dir: &Path) {
    let store = cache(dir, "here");
    let log = dir.join("log");
    for round in acknowledged(&log).len() as u64.. {
        let entry = {
            let path = dir.join("work/input");
            fs_err::write(&path, noise(round, 10_000 + (round as usize % 5) * 250_000)).unwrap();
            store.add(&path, None, &Quiet).unwrap()
        };
        add_line(&log, &entry.digest.hex());
        let old = round / 2;
        let bytes = store.get(&acknowledged(&log)[old as usize]).unwrap();
        assert_eq!(bytes, noise(old, 10_000 + (old as usize % 5) * 250_000));
    }
}

fn acknowledged(log: &Path) -> Vec<Digest> {
    lines(log).iter().map(|line| Digest::from_hex(line).unwrap()).collect()
}

#[test]
fn killed_at_any_point() {
    if let Some(dir) = orders() {
        return work(&dir);
    }
    let lab = Lab::new();
    let dir = lab.dir.path();
    for kill in 0..12_u64 {
        let before = acknowledged(&dir.join("log")).len();
        let mut child = start("cache::killed_at_any_point", dir);
        while acknowledged(&dir.join("log")).len() < before + 3 {
            is_at_work(&mut child, dir);
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_micros(kill * kill * 397 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = cache(dir, "here");
        assert_eq!(store.verify(&[], &Quiet).unwrap(), []);
        // What was left is gone with the first who opens the folder.
        let packs = list(&store.dir().join("packs")).len() as u64;
        assert_eq!((packs, list(&store.dir().join("tmp")).len()), (store.stats().packs, 0));
        store.put(format!("after {kill}").as_bytes()).unwrap();
        fits(&store);
    }
    let all = acknowledged(&dir.join("log"));
    assert!(all.len() >= 36);
    let fresh = cache(dir, "fresh");
    for (round, digest) in all.iter().enumerate() {
        let expected = noise(round as u64, 10_000 + (round % 5) * 250_000);
        assert_eq!(fresh.get(digest).unwrap(), expected, "round {round}");
    }
    fits(&fresh);
}

#[test]
fn a_plain_store_has_no_limit() {
    let lab = Lab::new();
    let options = StoreOptions { cache_size: Some(100_000), ..StoreOptions::default() };
    let store = Store::open(&lab.dir.path().join("plain"), options).unwrap();
    let _pin = store.pin().unwrap();
    for seed in 0..10 {
        let digest = store.put(&noise(seed, 60_000)).unwrap();
        assert!(store.is_here(&digest).unwrap());
    }
    assert_eq!(store.stats().objects, 10);
}
