//! A flipped byte anywhere is found and named, and never becomes wrong content.

use tidemill_core::Quiet;
use tidemill_store::{Checkout, Entry, Root, Store};

use crate::support::{Lab, noise, open, snapshot};

fn sample(lab: &Lab) -> Entry {
    lab.write("data/text.csv", "year,month,day\n2013,1,1\n".repeat(400));
    lab.write("data/sub/noise", noise(1, 3000));
    lab.write("data/chunked", noise(2, 150_000));
    lab.add("data")
}

fn verify(store: &Store, entry: &Entry) -> Vec<tidemill_store::Damage> {
    store.verify(&[Root::labelled(entry, "data")], &Quiet).unwrap()
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let lab = Lab::new();
    let entry = sample(&lab);
    assert_eq!(verify(&lab.store, &entry), vec![]);
    let noise = noise(1, 3000);
    // Two threads that add at the same time fill two packs.
    let place = |pack: &std::path::PathBuf| {
        fs_err::read(pack).unwrap().windows(3000).position(|window| window == noise)
    };
    let pack = lab.files("packs").into_iter().find(|pack| place(pack).is_some()).unwrap();
    let at = place(&pack).unwrap();
    let good = fs_err::read(&pack).unwrap();
    let mut bad = good.clone();
    bad[at + 1234] ^= 1;
    fs_err::write(&pack, &bad).unwrap();
    let damage = verify(&lab.store, &entry);
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!(damage[0].pack, pack.file_name().unwrap().to_string_lossy());
    assert_eq!(damage[0].offset, at as u64 - 52);
    assert_eq!(damage[0].object.unwrap().hex(), blake3::hash(&noise).to_hex().as_str());
    assert_eq!(damage[0].needed_by, ["data/sub/noise"]);
    let error = lab.store.checkout(&entry, &lab.path("out"), &Checkout::default(), &Quiet).unwrap_err();
    assert!(error.to_string().contains("its content does not fit its digest"), "{error}");
    assert!(!lab.path("out").exists());
    // The way back: forget the damaged object, add its file again.
    assert_eq!(lab.store.discard(&damage).unwrap(), 1);
    assert!(!lab.store.has(&entry).unwrap());
    assert_eq!(verify(&lab.store, &entry)[0].what, "it is missing");
    lab.add("data");
    assert_eq!(verify(&lab.store, &entry), vec![]);
    assert!(lab.store.has(&entry).unwrap());
}

#[test]
fn any_byte_of_any_file_of_the_store() {
    let lab = Lab::new();
    let entry = sample(&lab);
    let expected = snapshot(&lab.path("data"));
    for folder in ["packs", "index"] {
        for path in lab.files(folder) {
            let good = fs_err::read(&path).unwrap();
            // Every byte of headers and lists would take long; a stride that meets all fields of some records does.
            // A pack that ended early, as packs of busy machines do, may be shorter than that.
            let (begin, end) = (good.len().min(120), good.len().saturating_sub(100));
            for at in (0..good.len()).step_by(97).chain(0..begin).chain(end..good.len()) {
                let mut bad = good.clone();
                bad[at] ^= 0x10;
                fs_err::write(&path, &bad).unwrap();
                let store = open(lab.store.dir());
                let damage = verify(&store, &entry);
                let out = lab.path("out");
                match store.checkout(&entry, &out, &Checkout::default(), &Quiet) {
                    Ok(()) => assert_eq!(snapshot(&out), expected, "wrong bytes after a flip at {at}"),
                    Err(_) => assert!(!damage.is_empty(), "{folder}: flip at {at} not found by verify"),
                }
                let _ = fs_err::remove_dir_all(&out);
            }
            fs_err::write(&path, &good).unwrap();
        }
    }
    assert_eq!(verify(&open(lab.store.dir()), &entry), vec![]);
}

#[test]
fn missing_and_shortened_packs_are_named() {
    let lab = Lab::new();
    let entry = sample(&lab);
    let pack = lab.files("packs").pop().unwrap();
    let good = fs_err::read(&pack).unwrap();
    for length in [0, 5, 8, 100, good.len() / 2, good.len() - 1] {
        fs_err::write(&pack, &good[..length]).unwrap();
        let damage = verify(&open(lab.store.dir()), &entry);
        assert!(!damage.is_empty() && damage.iter().any(|one| !one.needed_by.is_empty()), "cut at {length}");
    }
    fs_err::remove_file(&pack).unwrap();
    let damage = verify(&open(lab.store.dir()), &entry);
    assert!(damage.iter().any(|one| one.what == "the pack file is missing" && !one.needed_by.is_empty()));
}

#[test]
fn collection_does_not_remove_what_an_unreadable_index_may_name() {
    let lab = Lab::new();
    let entry = sample(&lab);
    let index = lab.files("index").pop().unwrap();
    let good = fs_err::read(&index).unwrap();
    let mut bad = good.clone();
    bad[40] ^= 1;
    fs_err::write(&index, &bad).unwrap();
    let store = open(lab.store.dir());
    assert_eq!(store.stats().unreadable.len(), 1);
    assert!(!store.has(&entry).unwrap());
    store.gc(&[], false, &Quiet).unwrap();
    fs_err::write(&index, &good).unwrap();
    let store = open(lab.store.dir());
    assert!(store.has(&entry).unwrap());
    assert_eq!(verify(&store, &entry), vec![]);
}
