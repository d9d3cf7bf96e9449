//! Several writers, readers and a collector at once.

use std::sync::atomic::{AtomicBool, Ordering};

use tidemill_core::Quiet;
use tidemill_store::{Error, Root};

use crate::support::{Lab, noise, open};

#[test]
fn writers_in_parallel_lose_nothing() {
    let lab = Lab::new();
    for i in 0..60_u64 {
        lab.write(&format!("f{i}"), noise(i % 40, 3000 + (i % 40) as usize * 5000));
    }
    let entries: Vec<_> = std::thread::scope(|scope| {
        let work: Vec<_> = (0..6)
            .map(|worker| {
                let lab = &lab;
                scope.spawn(move || {
                    // Each has its own handle, as a process of its own would.
                    let store = open(lab.store.dir());
                    let add = |i| store.add(&lab.path(&format!("f{i}")), None, &Quiet).unwrap();
                    (0..10).map(|i| add(worker * 10 + i)).collect::<Vec<_>>()
                })
            })
            .collect();
        work.into_iter().flat_map(|handle| handle.join().unwrap()).collect()
    });
    let roots: Vec<Root> = entries.iter().map(Root::from).collect();
    assert_eq!(lab.store.verify(&roots, &Quiet).unwrap(), vec![]);
    for (i, entry) in entries.iter().enumerate() {
        assert_eq!(lab.store.get(&entry.digest).unwrap(), fs_err::read(lab.path(&format!("f{i}"))).unwrap());
    }
    lab.store.gc(&roots, false, &Quiet).unwrap();
    assert_eq!(lab.store.verify(&roots, &Quiet).unwrap(), vec![]);
}

#[test]
fn collection_beside_writers_and_readers() {
    let lab = Lab::new();
    lab.write("kept", noise(99, 400_000));
    let kept = lab.add("kept");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let store = open(lab.store.dir());
            for i in 0..12 {
                let path = lab.write(&format!("w{i}"), noise(i, 50_000));
                // The reference lives only as long as the hold, and must be intact as long.
                let hold = store.hold().unwrap();
                let entry = store.add(&path, None, &Quiet).unwrap();
                assert_eq!(store.get(&entry.digest).unwrap(), noise(i, 50_000));
                assert!(store.has(&entry).unwrap());
                drop(hold);
            }
            done.store(true, Ordering::SeqCst);
        });
        let reader = scope.spawn(|| {
            let store = open(lab.store.dir());
            while !done.load(Ordering::SeqCst) {
                assert_eq!(store.get(&kept.digest).unwrap(), noise(99, 400_000));
            }
        });
        let store = open(lab.store.dir());
        let mut collected = 0;
        while !done.load(Ordering::SeqCst) {
            match store.gc(&[Root::from(&kept)], false, &Quiet) {
                Ok(report) => collected += report.removed_objects,
                Err(Error::Busy { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let _ = collected;
        writer.join().unwrap();
        reader.join().unwrap();
    });
    lab.store.gc(&[Root::from(&kept)], false, &Quiet).unwrap();
    assert_eq!(lab.store.verify(&[Root::from(&kept)], &Quiet).unwrap(), vec![]);
    assert_eq!(lab.store.get(&kept.digest).unwrap(), noise(99, 400_000));
}
