//! Push and pull through a folder and through memory.

use std::slice::from_ref;

use tidemill_core::{Cancel, Quiet};
use tidemill_store::{Checkout, Error, Remote, Root, Store, StoreOptions, Transfer};

use crate::support::{Lab, list, noise, open, snapshot};

pub(crate) fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn folder_remote(lab: &Lab) -> Remote {
    Remote::open(&format!("file://{}", lab.dir.path().join("re mote").display()).replace(' ', "%20")).unwrap()
}

fn sample(lab: &Lab, files: u64) -> Root {
    for i in 0..files {
        lab.write(&format!("data/{}/{i}", i % 7), noise(i, 900));
    }
    lab.write("data/large", noise(1234, 3_000_000));
    lab.write("data/text", "a,b,c\n".repeat(50_000));
    Root::labelled(&lab.add("data"), "data")
}

fn pull(store: &Store, remote: &Remote, root: &Root) -> Result<Transfer, Error> {
    block(store.pull(remote, from_ref(root), &Quiet))
}

#[test]
fn there_and_back() {
    let lab = Lab::new();
    let root = sample(&lab, 700);
    let entry = lab.add("data");
    for remote in [folder_remote(&lab), Remote::in_memory()] {
        let sent = block(lab.store.push(&remote, from_ref(&root), &Quiet)).unwrap();
        assert!(sent.objects > 700 && sent.packs <= 2 && sent.present == 0, "{sent:?}");
        let again = block(lab.store.push(&remote, from_ref(&root), &Quiet)).unwrap();
        assert_eq!((again.objects, again.bytes, again.packs, again.present), (0, 0, 0, sent.objects));
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let got = pull(&store, &remote, &root).unwrap();
        assert_eq!((got.objects, got.present), (sent.objects, 0));
        assert_eq!(store.verify(from_ref(&root), &Quiet).unwrap(), vec![]);
        let out = dir.path().join("out");
        store.checkout(&entry, &out, &Checkout::default(), &Quiet).unwrap();
        assert_eq!(snapshot(&out), snapshot(&lab.path("data")));
        let nothing = pull(&store, &remote, &root).unwrap();
        assert_eq!((nothing.objects, nothing.bytes), (0, 0));
    }
}

#[test]
fn a_second_version_moves_only_what_is_new() {
    let lab = Lab::new();
    let remote = folder_remote(&lab);
    let first = sample(&lab, 200);
    block(lab.store.push(&remote, from_ref(&first), &Quiet)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    pull(&store, &remote, &first).unwrap();
    lab.write("data/3/3", "changed");
    let second = Root::from(&lab.add("data"));
    let sent = block(lab.store.push(&remote, from_ref(&second), &Quiet)).unwrap();
    // The file, the listing of its folder and that of the whole.
    assert_eq!((sent.objects, sent.packs), (3, 1));
    let got = pull(&store, &remote, &second).unwrap();
    assert_eq!(got.objects, 3);
    assert_eq!(store.verify(&[first, second], &Quiet).unwrap(), vec![]);
}

#[test]
fn damage_on_the_way_is_found_and_nothing_of_it_is_kept() {
    let lab = Lab::new();
    let root = sample(&lab, 20);
    let remote = folder_remote(&lab);
    block(lab.store.push(&remote, from_ref(&root), &Quiet)).unwrap();
    let folder = lab.dir.path().join("re mote");
    let pack = list(&folder.join("packs")).pop().unwrap();
    let good = fs_err::read(&pack).unwrap();
    for at in [60, good.len() / 3, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs_err::write(&pack, &bad).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let error = pull(&store, &remote, &root).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "flip at {at}: {error}");
        assert!(!store.contains(&root.digest).unwrap());
        assert_eq!(store.verify(&[], &Quiet).unwrap(), vec![]);
        // Once the remote is whole again, the pull goes on.
        fs_err::write(&pack, &good).unwrap();
        pull(&store, &remote, &root).unwrap();
        assert_eq!(store.verify(from_ref(&root), &Quiet).unwrap(), vec![]);
    }
    fs_err::write(&pack, &good[..good.len() / 2]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert!(pull(&open(dir.path()), &remote, &root).is_err());
}

#[test]
fn what_the_remote_lacks_is_named() {
    let lab = Lab::new();
    let root = sample(&lab, 5);
    let remote = folder_remote(&lab);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = pull(&store, &remote, &root).unwrap_err();
    assert!(error.to_string().starts_with(&format!("object {} is not in `file://", root.digest)), "{error}");
    let error = block(store.push(&remote, from_ref(&root), &Quiet)).unwrap_err();
    assert!(matches!(error, Error::Missing { digest, .. } if digest == root.digest));
    block(lab.store.push(&remote, from_ref(&root), &Quiet)).unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    assert!(matches!(block(store.pull(&remote, &[root], &cancel)), Err(Error::Cancelled)));
}

#[test]
fn an_interrupted_push_is_continued() {
    let lab = Lab::new();
    let options = StoreOptions { pack_size: 200_000, ..StoreOptions::default() };
    let store = Store::open(lab.store.dir(), options).unwrap();
    let root = sample(&lab, 300);
    let remote = folder_remote(&lab);
    let whole = block(store.push(&remote, from_ref(&root), &Quiet)).unwrap();
    assert!(whole.packs > 10);
    // As if it had ended early: half of the indexes, and one more pack that was still being written, are not there.
    let folder = lab.dir.path().join("re mote");
    let indexes = list(&folder.join("index"));
    for index in &indexes[..indexes.len() / 2] {
        fs_err::remove_file(index).unwrap();
    }
    let rest = block(store.push(&remote, from_ref(&root), &Quiet)).unwrap();
    assert!(rest.present > 0 && rest.objects > 0 && rest.objects + rest.present == whole.objects, "{rest:?}");
    let dir = tempfile::tempdir().unwrap();
    let other = open(dir.path());
    pull(&other, &remote, &root).unwrap();
    assert_eq!(other.verify(&[root], &Quiet).unwrap(), vec![]);
}

#[test]
fn a_forged_chunk_list_is_refused() {
    // A remote that answers for one file with the chunks of another must not get its bytes into the store.
    let lab = Lab::new();
    lab.write("true", noise(1, 300_000));
    let root = Root::from(&lab.add("true"));
    let remote = folder_remote(&lab);
    block(lab.store.push(&remote, from_ref(&root), &Quiet)).unwrap();
    let folder = lab.dir.path().join("re mote");
    let bytes = |name: &str| fs_err::read(list(&folder.join(name)).pop().unwrap()).unwrap();
    let (pack, index) = (bytes("packs"), bytes("index"));
    let forged =
        Root { digest: tidemill_core::Digest::of(b"something else"), tree: false, label: "forged".into() };
    let swap = |bytes: &[u8]| {
        let (from, to) = (root.digest.as_bytes(), forged.digest.as_bytes());
        let mut out = bytes.to_vec();
        for at in 0..out.len() - 32 {
            if &out[at..at + 32] == from {
                out[at..at + 32].copy_from_slice(to);
                if &out[at - 12..at - 10] == b"TR" {
                    let check = tidemill_core::Digest::of(&out[at - 12..at + 32]);
                    out[at + 32..at + 40].copy_from_slice(&check.as_bytes()[..8]);
                }
            }
        }
        out
    };
    let mut index = swap(&index);
    let end = index.len() - 32;
    let check = tidemill_core::Digest::of(&index[..end]);
    index[end..].copy_from_slice(check.as_bytes());
    fs_err::write(list(&folder.join("packs")).pop().unwrap(), swap(&pack)).unwrap();
    fs_err::write(list(&folder.join("index")).pop().unwrap(), index).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = pull(&store, &remote, &forged).unwrap_err();
    assert!(!store.contains(&forged.digest).unwrap(), "{error}");
}

#[test]
fn named_documents() {
    let lab = Lab::new();
    for remote in [folder_remote(&lab), Remote::in_memory()] {
        block(async {
            assert_eq!(remote.get_ref("datasets/a/1.json").await.unwrap(), None);
            assert_eq!(remote.list_refs("").await.unwrap(), Vec::<String>::new());
            for (name, text) in [("datasets/a/1.json", "one"), ("datasets/b/1.json", "two"), ("x", "three")] {
                remote.put_ref(name, text.as_bytes()).await.unwrap();
            }
            remote.put_ref("x", b"four").await.unwrap();
            assert_eq!(remote.get_ref("x").await.unwrap().as_deref(), Some(b"four".as_slice()));
            assert_eq!(
                remote.list_refs("datasets").await.unwrap(),
                ["datasets/a/1.json", "datasets/b/1.json"]
            );
            assert_eq!(remote.list_refs("").await.unwrap().len(), 3);
            assert!(remote.put_ref("../escape", b"").await.is_err());
        });
    }
}

#[test]
fn a_name_is_given_once() {
    let lab = Lab::new();
    for remote in [folder_remote(&lab), Remote::in_memory()] {
        let name = "datasets/flights/00000003.json";
        assert_eq!(block(remote.create_ref(name, b"mine")).unwrap(), None);
        assert_eq!(block(remote.create_ref(name, b"yours")).unwrap().as_deref(), Some(&b"mine"[..]));
        assert_eq!(block(remote.get_ref(name)).unwrap().as_deref(), Some(&b"mine"[..]));
        // Of many at once one writes, and all others are told what is there.
        let at_once = block(futures::future::join_all((0..8_u8).map(|i| {
            let remote = remote.clone();
            async move { remote.create_ref("datasets/new.json", &[i]).await.unwrap() }
        })));
        let there = block(remote.get_ref("datasets/new.json")).unwrap();
        assert_eq!(at_once.iter().filter(|other| other.is_none()).count(), 1);
        assert!(at_once.iter().flatten().all(|other| Some(other) == there.as_ref()));
    }
}
