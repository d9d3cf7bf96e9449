//! What the folders in front of a store say that they need, and collections at the store.

use std::path::Path;
use std::time::Duration;

use tidemill_core::{Digest, Progress, Quiet, Unit};
use tidemill_store::{Entry, Error, Holder, Remote, RemoteGc, Root, Store, StoreOptions};

use crate::remote::block;
use crate::support::{Lab, list, noise};

const NONE: Duration = Duration::ZERO;
const DAY: Duration = Duration::from_secs(24 * 3600);

fn cache(dir: &Path, name: &str) -> Store {
    let there = dir.join("there");
    fs_err::create_dir_all(&there).unwrap();
    let remote = Remote::open(&format!("file://{}", there.display())).unwrap();
    Store::open_before(&dir.join(name), StoreOptions::default(), remote).unwrap()
}

/// A collection there, that keeps what everybody says.
fn collect(store: &Store, grace: Duration) -> RemoteGc {
    let remote = store.behind().unwrap().clone();
    let inventory = block(store.inventory(&remote, false)).unwrap();
    let roots: Vec<Root> =
        store.holders(&Quiet).unwrap().into_iter().flat_map(|holder| holder.roots).collect();
    block(store.sweep(&remote, &inventory, &roots, grace, false, &Quiet)).unwrap()
}

/// Both collections that it takes.
fn collect_twice(store: &Store) {
    for _ in 0..2 {
        collect(store, NONE);
    }
}

fn has(dir: &Path, digest: &Digest) -> bool {
    let name = format!("look-{}-{}", digest.short(), list(dir).len());
    match cache(dir, &name).get(digest) {
        Ok(_) => true,
        Err(Error::Missing { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

fn root(digest: Digest) -> Root {
    Root { digest, tree: false, label: String::new() }
}

/// Says that this is all that the folder needs.
fn declare(store: &Store, needs: &[Digest]) {
    let claims = store.own_claims().unwrap();
    let needs: Vec<Root> = needs.iter().copied().map(root).collect();
    store.declare(&needs, &claims, NONE).unwrap();
}

#[test]
fn what_is_acknowledged_is_kept_until_the_folder_says_otherwise() {
    let lab = Lab::new();
    let dir = lab.dir.path();
    let (one, other) = (cache(dir, "one"), cache(dir, "other"));
    let kept = one.put(&noise(1, 30_000)).unwrap();
    let dropped = one.put(&noise(2, 30_000)).unwrap();
    let theirs = other.put(&noise(3, 30_000)).unwrap();
    lab.write("data/a", noise(4, 300_000));
    let tree: Entry = other.add(&lab.path("data"), None, &Quiet).unwrap();
    // Claims alone keep everything, from whichever machine it is collected.
    collect_twice(&one);
    assert!([kept, dropped, theirs].iter().all(|digest| has(dir, digest)));
    declare(&one, &[kept]);
    collect_twice(&other);
    assert!(has(dir, &kept) && has(dir, &theirs));
    assert!(!has(dir, &dropped));
    assert!(cache(dir, "third").has(&tree).unwrap());
    let holders = one.holders(&Quiet).unwrap();
    let label = |holder: &Holder| holder.folder.rsplit('/').next().unwrap().to_owned();
    let mut labels: Vec<String> = holders.iter().map(label).collect();
    labels.sort();
    assert_eq!(labels, ["one", "other"]);
    // A machine that is gone is forgotten by its name.
    let gone = holders.iter().find(|holder| holder.folder.ends_with("/other")).unwrap();
    assert_eq!(other.holder().unwrap().as_ref(), Some(&gone.id));
    one.forget_holder(&gone.id).unwrap();
    collect_twice(&one);
    assert!(has(dir, &kept) && !has(dir, &theirs) && !cache(dir, "fourth").has(&tree).unwrap());
}

#[test]
fn what_was_found_there_is_claimed_too() {
    let lab = Lab::new();
    let dir = lab.dir.path();
    let (one, other) = (cache(dir, "one"), cache(dir, "other"));
    lab.write("out", noise(5, 200_000));
    let entry = one.add(&lab.path("out"), None, &Quiet).unwrap();
    // The other one restores the result and records that.
    assert!(other.has(&entry).unwrap());
    other.put(b"a lock file that names it").unwrap();
    declare(&one, &[]);
    collect_twice(&one);
    assert!(has(dir, &entry.digest));
    declare(&other, &[]);
    collect_twice(&one);
    assert!(!has(dir, &entry.digest));
}

#[test]
fn what_was_collected_there_and_is_still_here_is_sent_once_more() {
    let lab = Lab::new();
    let dir = lab.dir.path();
    let one = cache(dir, "one");
    lab.write("data/file", noise(6, 400_000));
    let entry = one.add(&lab.path("data"), None, &Quiet).unwrap();
    let note = one.put(&noise(7, 30_000)).unwrap();
    for round in 0..2 {
        declare(&one, &[]);
        collect_twice(&one);
        assert!(!has(dir, &note) && one.is_here(&note).unwrap(), "round {round}");
        // In this process, and in one that only knows what earlier ones noted.
        let again = if round == 0 { one.clone() } else { cache(dir, "one") };
        again.put(&noise(7, 30_000)).unwrap();
        assert!(again.add(&lab.path("data"), None, &Quiet).unwrap().same_content(&entry));
        assert!(has(dir, &note) && cache(dir, &format!("other{round}")).has(&entry).unwrap());
    }
}

#[test]
fn nothing_goes_that_is_younger_than_the_grace_period() {
    let lab = Lab::new();
    let dir = lab.dir.path();
    let one = cache(dir, "one");
    let young = one.put(&noise(8, 30_000)).unwrap();
    // Its claim is young, too, so it stays whatever the folder says that it needs.
    let claims = one.own_claims().unwrap();
    one.declare(&[], &claims, DAY).unwrap();
    assert_eq!(one.own_claims().unwrap().len(), claims.len());
    let swept = collect(&one, DAY);
    assert_eq!((swept.condemned_packs, swept.removed_packs), (0, 0), "{swept:?}");
    assert!(has(dir, &young));
}

#[test]
fn a_condemned_pack_is_not_relied_on() {
    let lab = Lab::new();
    let dir = lab.dir.path();
    let (one, other) = (cache(dir, "one"), cache(dir, "other"));
    let digest = one.put(&noise(9, 30_000)).unwrap();
    declare(&one, &[]);
    let condemned = collect(&other, NONE);
    assert!(condemned.condemned_packs > 0, "{condemned:?}");
    // It can be read still, and whoever adds it sends it into another pack.
    assert!(has(dir, &digest));
    cache(dir, "third").put(&noise(9, 30_000)).unwrap();
    assert!(collect(&other, NONE).removed_packs > 0);
    assert!(has(dir, &digest));
}

#[test]
fn what_cannot_be_understood_stops_a_collection() {
    let lab = Lab::new();
    let dir = lab.dir.path();
    let one = cache(dir, "one");
    one.put(b"x").unwrap();
    let claims = dir.join("there/refs/claims").join(one.holder().unwrap().unwrap());
    fs_err::write(claims.join("newer.json"), "{\"format\":9,\"host\":\"h\",\"folder\":\"f\"}").unwrap();
    let error = one.holders(&Quiet).unwrap_err().to_string();
    assert!(error.contains("newer.json") && error.contains("form 9"), "{error}");
    struct Stop;
    impl Progress for Stop {
        fn begin(&self, _: &str, _: Option<u64>, _: Unit) {}
        fn advance(&self, _: u64) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    assert!(matches!(one.holders(&Stop), Err(Error::Cancelled)));
}
