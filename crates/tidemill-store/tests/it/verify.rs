//! A flipped byte anywhere is found and named, and never becomes wrong content.

use tidemill_core::{Digest, Quiet};
use tidemill_store::{Checkout, Entry, Error, Remote, Root, Store, StoreOptions};

use crate::remote::block;
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

/// A lab whose packs hold everything as it is.
fn plain() -> Lab {
    let lab = Lab::new();
    let options = StoreOptions { compress: false, ..StoreOptions::default() };
    Lab { store: Store::open(lab.store.dir(), options).unwrap(), ..lab }
}

/// Flips a byte of every pack that holds these bytes as they are; whether there was one.
fn flip(lab: &Lab, bytes: &[u8]) -> bool {
    let mut found = false;
    for pack in lab.files("packs") {
        let mut content = fs_err::read(&pack).unwrap();
        if let Some(at) = content.windows(bytes.len()).position(|window| window == bytes) {
            content[at + bytes.len() / 2] ^= 1;
            fs_err::write(&pack, content).unwrap();
            found = true;
        }
    }
    found
}

#[test]
fn chunks_and_listings_come_back_from_files_and_from_a_remote() {
    let lab = plain();
    let entry = sample(&lab);
    let root = Root::labelled(&entry, "data");
    let remote = Remote::in_memory();
    block(lab.store.push(&remote, std::slice::from_ref(&root), &Quiet)).unwrap();
    let chunked = noise(2, 150_000);
    let sub = lab.store.tree(&entry.digest).unwrap().get(b"sub").unwrap().node.entry().unwrap();
    let listing = lab.store.get(&sub.digest).unwrap();
    for (bytes, from_remote) in
        [(&chunked[..400], false), (&chunked[149_000..149_400], true), (&listing[..40], false)]
    {
        assert!(flip(&lab, bytes));
        let store = open(lab.store.dir());
        let damage = verify(&store, &entry);
        assert!(!damage.is_empty());
        assert!(store.discard(&damage).unwrap() > 0);
        assert!(!store.has(&entry).unwrap());
        if from_remote {
            block(store.pull(&remote, std::slice::from_ref(&root), &Quiet)).unwrap();
        } else {
            assert_eq!(store.add(&lab.path("data"), None, &Quiet).unwrap(), entry);
        }
        assert_eq!(verify(&store, &entry), vec![]);
    }
}

#[test]
fn what_is_damaged_below_an_entry_is_taken_out() {
    let lab = Lab::new();
    let entry = sample(&lab);
    assert_eq!(lab.store.mend(&entry, &Quiet).unwrap(), 0);
    let chunked = noise(2, 150_000);
    assert!(flip(&lab, &chunked[..400]) && flip(&lab, &chunked[149_000..149_400]));
    assert!(flip(&lab, &noise(1, 3000)));
    let store = open(lab.store.dir());
    // A writer beside it is no obstacle, so that a run can do it while it keeps collections away.
    let _held = store.hold().unwrap();
    assert!(store.mend(&entry, &Quiet).unwrap() >= 2);
    assert_eq!(store.mend(&entry, &Quiet).unwrap(), 0);
    assert!(!store.has(&entry).unwrap());
    store.add(&lab.path("data"), None, &Quiet).unwrap();
    assert_eq!(verify(&store, &entry), vec![]);
    for pack in lab.files("packs") {
        fs_err::remove_file(pack).unwrap();
    }
    let store = open(lab.store.dir());
    assert!(store.mend(&entry, &Quiet).unwrap() > 0);
    store.add(&lab.path("data"), None, &Quiet).unwrap();
    assert_eq!(verify(&store, &entry), vec![]);
}

#[test]
fn an_index_that_cannot_be_read_is_made_again_from_its_packs() {
    let lab = Lab::new();
    let entry = sample(&lab);
    let index = lab.files("index").pop().unwrap();
    let mut bad = fs_err::read(&index).unwrap();
    bad[40] ^= 1;
    fs_err::write(&index, &bad).unwrap();
    let store = open(lab.store.dir());
    assert!(!store.has(&entry).unwrap() && !verify(&store, &entry).is_empty());
    assert!(store.reindex(&Quiet).unwrap() > 4);
    assert_eq!(store.reindex(&Quiet).unwrap(), 0);
    for store in [store, open(lab.store.dir())] {
        assert!(store.has(&entry).unwrap());
        assert_eq!(verify(&store, &entry), vec![]);
    }
}

#[test]
fn whether_something_is_a_folder_shows_in_its_first_and_last_bytes() {
    let lab = plain();
    let entry = sample(&lab);
    assert!(lab.store.is_tree(&entry.digest).unwrap());
    assert_eq!(lab.store.entry(&entry.digest).unwrap(), entry);
    let like = lab.store.put(b"{\"items\":[{\"kind\":\"nothing\"}],\"tree\":1}").unwrap();
    assert!(!lab.store.is_tree(&like).unwrap());
    assert!(!lab.store.is_tree(&lab.store.put(b"").unwrap()).unwrap());
    let chunked = noise(3, 2_000_000);
    lab.write("chunked", &chunked);
    let large = lab.add("chunked");
    assert_eq!(lab.store.entry(&large.digest).unwrap(), large);
    // What lies between is not read.
    assert!(flip(&lab, &chunked[1_000_000..1_000_400]));
    let store = open(lab.store.dir());
    assert!(!store.is_tree(&large.digest).unwrap());
    assert!(matches!(store.get(&large.digest), Err(Error::Damaged { .. })));
    // A listing that is damaged is not taken for a file.
    assert!(flip(&lab, &lab.store.get(&entry.digest).unwrap()[..60]));
    assert!(matches!(open(lab.store.dir()).is_tree(&entry.digest), Err(Error::Damaged { .. })));
}

#[test]
fn users_of_a_store_are_known_until_they_are_gone() {
    let lab = Lab::new();
    assert_eq!(lab.store.users().unwrap(), []);
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    for (user, text) in [(&a, "old"), (&b, "there"), (&a, "new")] {
        lab.store.register(user, text.as_bytes()).unwrap();
    }
    let mut expected = vec![(a, b"new".to_vec()), (b, b"there".to_vec())];
    expected.sort();
    assert_eq!(open(lab.store.dir()).users().unwrap(), expected);
    lab.store.unregister(&a).unwrap();
    assert_eq!(lab.store.users().unwrap(), [(b, b"there".to_vec())]);
    // A collection leaves them alone.
    lab.store.gc(&[], false, &Quiet).unwrap();
    assert_eq!(lab.store.users().unwrap().len(), 1);
}
