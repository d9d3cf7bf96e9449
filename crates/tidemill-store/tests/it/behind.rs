//! A store at a remote, with folders that are caches of it.

use std::slice::from_ref;

use tidemill_core::Quiet;
use tidemill_store::{AddOptions, Checkout, Error, Remote, Root, Store, StoreOptions};

use crate::remote::block;
use crate::support::{Lab, list, noise, open, snapshot};

fn cache(lab: &Lab, name: &str) -> Store {
    let folder = lab.dir.path().join("there");
    fs_err::create_dir_all(&folder).unwrap();
    let remote = Remote::open(&format!("file://{}", folder.display())).unwrap();
    Store::open_before(&lab.dir.path().join(name), StoreOptions::default(), remote).unwrap()
}

#[test]
fn what_one_machine_added_another_one_has() {
    let lab = Lab::new();
    let here = cache(&lab, "here");
    lab.write("data/large", noise(1, 900_000));
    lab.write("data/below/small", "small");
    let entry = here.add(&lab.path("data"), None, &Quiet).unwrap();
    let note = here.put(b"a note").unwrap();
    // It was sent before it was acknowledged: a folder that is lost takes nothing along.
    fs_err::remove_dir_all(lab.dir.path().join("here")).unwrap();
    for name in ["other", "here"] {
        let other = cache(&lab, name);
        assert!(other.has(&entry).unwrap() && other.contains(&note).unwrap());
        assert!(!other.is_here(&note).unwrap());
        assert_eq!(other.get(&note).unwrap(), b"a note");
        assert!(other.is_here(&note).unwrap() && other.is_tree(&entry.digest).unwrap());
        let out = lab.path(name);
        other.checkout(&entry, &out, &Checkout::default(), &Quiet).unwrap();
        assert_eq!(snapshot(&out), snapshot(&lab.path("data")));
        assert_eq!(other.verify(&[Root::from(&entry)], &Quiet).unwrap(), []);
    }
}

#[test]
fn what_was_added_without_syncing_is_there_after_a_sync() {
    let lab = Lab::new();
    let here = cache(&lab, "here");
    lab.write("out", noise(3, 20_000));
    let options = AddOptions { durable: false, ..AddOptions::default() };
    let entry = here.add_many(&[lab.path("out")], &options, &Quiet).unwrap()[0];
    let other = cache(&lab, "other");
    assert!(!other.has(&entry).unwrap());
    here.sync().unwrap();
    let packs = || list(&lab.dir.path().join("there/packs")).len();
    assert_eq!(packs(), 1);
    assert!(cache(&lab, "third").has(&entry).unwrap());
    // Nothing is sent twice, whoever adds it.
    here.sync().unwrap();
    let third = cache(&lab, "fourth");
    third.add(&lab.path("out"), None, &Quiet).unwrap();
    cache(&lab, "here").put(&noise(3, 20_000)).unwrap();
    assert_eq!(packs(), 1);
}

#[test]
fn what_neither_has_is_missing_and_what_only_the_remote_has_is_not() {
    let lab = Lab::new();
    let here = cache(&lab, "here");
    lab.write("gone", "gone");
    let gone = lab.add("gone");
    let error = here.get(&gone.digest).unwrap_err();
    assert!(matches!(error, Error::Missing { digest, .. } if digest == gone.digest), "{error}");
    lab.write("kept", "kept");
    let kept = here.add(&lab.path("kept"), None, &Quiet).unwrap();
    let other = cache(&lab, "other");
    let damage = other.verify(&[Root::from(&kept), Root::labelled(&gone, "gone")], &Quiet).unwrap();
    assert_eq!(damage.len(), 1);
    assert_eq!(damage[0].needed_by, ["gone"]);
    // A collection in a cache takes what can be fetched again.
    here.gc(&[], false, &Quiet).unwrap();
    assert!(!here.is_here(&kept.digest).unwrap());
    assert_eq!(here.get(&kept.digest).unwrap(), b"kept");
    // From a cache to a third place goes also what is not here.
    let third = Remote::in_memory();
    block(other.push(&third, from_ref(&Root::from(&kept)), &Quiet)).unwrap();
    block(open(&lab.dir.path().join("plain")).pull(&third, &[Root::from(&kept)], &Quiet)).unwrap();
}

#[test]
fn a_remote_that_cannot_be_reached_acknowledges_nothing() {
    let lab = Lab::new();
    lab.write("there", "a file, not a folder");
    let remote = Remote::open(&format!("file://{}", lab.path("there/below").display())).unwrap();
    let here = Store::open_before(&lab.dir.path().join("here"), StoreOptions::default(), remote).unwrap();
    lab.write("data", "data");
    here.add(&lab.path("data"), None, &Quiet).unwrap_err();
}

#[test]
fn a_cache_may_be_used_and_dropped_among_tasks() {
    let lab = Lab::new();
    block(async {
        let here = cache(&lab, "here");
        let digest = here.put(b"from a task").unwrap();
        drop(here);
        assert_eq!(cache(&lab, "other").get(&digest).unwrap(), b"from a task");
    });
}
