//! Garbage collection: what goes, what stays, and who may run beside it.

use std::time::Duration;

use tidemill_core::Quiet;
use tidemill_store::{Error, Root, Store, StoreOptions};

use crate::support::{Lab, noise, open, snapshot};

fn disk_use(lab: &Lab) -> u64 {
    lab.files("packs").iter().map(|path| fs_err::metadata(path).unwrap().len()).sum()
}

#[test]
fn only_what_roots_reach_stays() {
    let lab = Lab::new();
    lab.write("keep/large", noise(1, 3_000_000));
    lab.write("keep/small", "small");
    lab.write("drop/large", noise(2, 4_000_000));
    lab.write("drop/small", "small");
    let (keep, dropped) = (lab.add("keep"), lab.add("drop"));
    let before = disk_use(&lab);
    let planned = lab.store.gc(&[Root::from(&keep)], true, &Quiet).unwrap();
    assert_eq!(disk_use(&lab), before);
    assert!(lab.store.has(&dropped).unwrap());
    let done = lab.store.gc(&[Root::from(&keep)], false, &Quiet).unwrap();
    assert_eq!(planned, done);
    assert!(done.removed_objects > 10 && done.freed_bytes > 3_900_000, "{done:?}");
    // Rewriting may make one pack of two, each of which has a few bytes of its own.
    assert!((before - disk_use(&lab)).abs_diff(done.freed_bytes) < 64, "{done:?}");
    assert!(!lab.store.has(&dropped).unwrap());
    for store in [lab.store.clone(), open(lab.store.dir())] {
        assert!(store.has(&keep).unwrap());
        assert_eq!(store.verify(&[Root::from(&keep)], &Quiet).unwrap(), vec![]);
        assert_eq!(store.stats().objects, done.kept_objects);
    }
    let out = lab.checkout(&keep, "out");
    assert_eq!(snapshot(&out), snapshot(&lab.path("keep")));
    // What was removed can be added again, in full.
    assert_eq!(lab.add("drop"), dropped);
    assert!(lab.store.has(&dropped).unwrap());
    let again = lab.store.gc(&[Root::from(&keep), Root::from(&dropped)], false, &Quiet).unwrap();
    assert_eq!((again.removed_objects, again.missing), (0, 0));
}

#[test]
fn many_small_packs_become_one() {
    let lab = Lab::new();
    let entries: Vec<_> = (0..20)
        .map(|i| {
            lab.write(&format!("f{i}"), noise(i, 2000));
            lab.add(&format!("f{i}"))
        })
        .collect();
    assert_eq!(lab.files("packs").len(), 20);
    let roots: Vec<Root> = entries.iter().map(Root::from).collect();
    let report = lab.store.gc(&roots, false, &Quiet).unwrap();
    assert_eq!((report.repacked, report.removed_objects), (20, 0));
    assert_eq!((lab.files("packs").len(), lab.files("index").len()), (1, 1));
    // A reader that opened the store before still finds everything.
    assert!(entries.iter().all(|entry| lab.store.get(&entry.digest).unwrap().len() == 2000));
}

#[test]
fn a_reader_opened_before_finds_what_was_moved() {
    let lab = Lab::new();
    lab.write("keep", noise(1, 30_000));
    lab.write("drop", noise(2, 60_000));
    let path = [lab.path("keep"), lab.path("drop")];
    let options = tidemill_store::AddOptions::default();
    let entries = lab.store.add_many(&path, &options, &Quiet).unwrap();
    let reader = open(lab.store.dir());
    let cold = open(lab.store.dir());
    assert_eq!(reader.get(&entries[0].digest).unwrap().len(), 30_000);
    lab.store.gc(&[Root::from(&entries[0])], false, &Quiet).unwrap();
    assert_eq!(cold.get(&entries[0].digest).unwrap().len(), 30_000);
    assert_eq!(reader.get(&entries[0].digest).unwrap().len(), 30_000);
    assert!(matches!(cold.get(&entries[1].digest), Err(Error::Missing { .. })));
}

#[test]
fn leftovers_of_crashed_writers_go() {
    let lab = Lab::new();
    lab.write("keep", "keep");
    let keep = lab.add("keep");
    fs_err::write(lab.store.dir().join("tmp/.99-1.pack"), vec![0; 1000]).unwrap();
    let orphan = format!("packs/{}.pack", "ab".repeat(32));
    fs_err::write(lab.store.dir().join(&orphan), vec![0; 500]).unwrap();
    let report = lab.store.gc(&[Root::from(&keep)], false, &Quiet).unwrap();
    assert_eq!((report.freed_bytes, report.removed_packs), (1500, 1));
    assert!(lab.files("tmp").is_empty());
    assert_eq!(lab.files("packs").len(), 1);
}

#[test]
fn writers_keep_collection_away() {
    let lab = Lab::new();
    lab.write("f", "f");
    let options = StoreOptions { lock_wait: Duration::from_millis(30), ..StoreOptions::default() };
    let store = Store::open(lab.store.dir(), options).unwrap();
    let hold = lab.store.hold().unwrap();
    let entry = lab.add("f");
    assert!(matches!(store.gc(&[], false, &Quiet), Err(Error::Busy { .. })));
    assert!(store.gc(&[], true, &Quiet).is_ok());
    drop(hold);
    assert_eq!(store.gc_with(|| Ok(vec![Root::from(&entry)]), false, &Quiet).unwrap().removed_objects, 0);
    assert_eq!(store.gc(&[], false, &Quiet).unwrap().removed_objects, 1);
    assert_eq!(store.stats().objects, 0);
    assert!(lab.files("packs").is_empty() && lab.files("index").is_empty());
}

#[test]
fn what_is_missing_is_counted() {
    let lab = Lab::new();
    lab.write("f", "f");
    let entry = lab.add("f");
    let absent = tidemill_store::hash(&lab.write("g", "g"), None, &Quiet).unwrap();
    let report = lab.store.gc(&[Root::from(&entry), Root::from(&absent)], false, &Quiet).unwrap();
    assert_eq!((report.missing, report.kept_objects), (1, 1));
}
