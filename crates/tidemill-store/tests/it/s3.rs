//! Push and pull over HTTP to a server that speaks S3, in this process, on a free loopback port. The client is a child
//! process, because it takes address and credentials from its environment.

use std::slice::from_ref;
use std::time::Duration;

use tidemill_core::Quiet;
use tidemill_store::{Checkout, Remote, Root, Store, StoreOptions};
use tidemill_testkit::object_store;

use crate::remote::block;
use crate::support::{Lab, list, noise, open};
use crate::support_child::{command, orders};

fn run_child(name: &str, lab: &Lab, secret: &str) {
    let bucket = lab.dir.path().join("buckets/mill");
    fs_err::create_dir_all(&bucket).unwrap();
    let address = object_store(bucket.parent().unwrap());
    let output = command(name, lab.dir.path())
        .env("AWS_ENDPOINT_URL", format!("http://{address}"))
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_REGION", "eu-central-1")
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn two_thousand_small_files_and_a_large_one() {
    let Some(dir) = orders() else {
        let lab = Lab::new();
        for i in 0..2000_u64 {
            lab.write(&format!("data/{}/{i}", i % 20), noise(i, 2000));
        }
        lab.write("data/large", noise(77, 20_000_000));
        run_child("s3::two_thousand_small_files_and_a_large_one", &lab, "secret");
        // Hundreds of objects at most, not thousands.
        let packs = list(&lab.dir.path().join("buckets/mill/some/where/packs"));
        assert!(!packs.is_empty() && packs.len() < 10, "{packs:?}");
        return;
    };
    let store = open(&dir.join("store"));
    let root = Root::from(&store.add(&dir.join("work/data"), None, &Quiet).unwrap());
    let remote = Remote::open("s3://mill/some/where").unwrap();
    let other = open(&dir.join("other"));
    block(async {
        let sent = store.push(&remote, from_ref(&root), &Quiet).await.unwrap();
        assert!(sent.objects > 2000 && sent.bytes > 24_000_000, "{sent:?}");
        let again = store.push(&remote, from_ref(&root), &Quiet).await.unwrap();
        assert_eq!((again.objects, again.present), (0, sent.objects));
        let got = other.pull(&remote, from_ref(&root), &Quiet).await.unwrap();
        assert_eq!(got.objects, sent.objects);
        remote.put_ref("datasets/flights/1.json", b"{}").await.unwrap();
        assert_eq!(remote.list_refs("datasets").await.unwrap(), ["datasets/flights/1.json"]);
        assert_eq!(
            remote.get_ref("datasets/flights/1.json").await.unwrap().as_deref(),
            Some(b"{}".as_slice())
        );
        assert_eq!(remote.get_ref("datasets/flights/2.json").await.unwrap(), None);
    });
    assert_eq!(other.verify(&[root], &Quiet).unwrap(), vec![]);
    assert_eq!(other.stats().objects, store.stats().objects);
}

#[test]
fn a_collection_removes_what_is_not_needed() {
    let Some(dir) = orders() else {
        let lab = Lab::new();
        lab.write("keep", noise(1, 300_000));
        lab.write("drop", noise(2, 400_000));
        return run_child("s3::a_collection_removes_what_is_not_needed", &lab, "secret");
    };
    let store = open(&dir.join("store"));
    let add = |name: &str| Root::from(&store.add(&dir.join("work").join(name), None, &Quiet).unwrap());
    let (keep, dropped) = (add("keep"), add("drop"));
    let remote = Remote::open("s3://mill/some/where").unwrap();
    let other = open(&dir.join("other"));
    block(async {
        for root in [&keep, &dropped] {
            store.push(&remote, from_ref(root), &Quiet).await.unwrap();
        }
        for removed in [0, 1] {
            let there = store.inventory(&remote, false).await.unwrap();
            let swept = store.sweep(&remote, &there, from_ref(&keep), Duration::ZERO, false, &Quiet).await;
            let swept = swept.unwrap();
            assert_eq!((swept.removed_packs, swept.missing), (removed, 0), "{swept:?}");
        }
        other.pull(&remote, from_ref(&keep), &Quiet).await.unwrap();
        other.pull(&remote, from_ref(&dropped), &Quiet).await.unwrap_err();
    });
}

#[test]
fn a_store_that_is_there() {
    let Some(dir) = orders() else {
        let lab = Lab::new();
        lab.write("data/large", noise(1, 300_000));
        lab.write("data/small", "small");
        return run_child("s3::a_store_that_is_there", &lab, "secret");
    };
    let open = |name: &str| {
        let remote = Remote::open("s3://mill/some/where").unwrap();
        Store::open_before(&dir.join(name), StoreOptions::default(), remote).unwrap()
    };
    let entry = open("here").add(&dir.join("work/data"), None, &Quiet).unwrap();
    let other = open("another");
    assert!(other.has(&entry).unwrap());
    other.checkout(&entry, &dir.join("out"), &Checkout::default(), &Quiet).unwrap();
    assert_eq!(fs_err::read(dir.join("out/small")).unwrap(), b"small");
}

#[test]
fn a_small_folder_in_front_of_a_store_that_is_there() {
    let Some(dir) = orders() else {
        let lab = Lab::new();
        lab.write("data/large", noise(1, 5_000_000));
        lab.write("data/small", "small");
        return run_child("s3::a_small_folder_in_front_of_a_store_that_is_there", &lab, "secret");
    };
    let remote = Remote::open("s3://mill/some/where").unwrap();
    let cache = |name: &str| {
        let options = StoreOptions { cache_size: Some(2_000_000), ..StoreOptions::default() };
        Store::open_before(&dir.join(name), options, remote.clone()).unwrap()
    };
    let (here, other) = (cache("here"), cache("another"));
    let entry = here.add(&dir.join("work/data"), None, &Quiet).unwrap();
    let roots = [Root::labelled(&entry, "data")];
    for store in [&here, &other] {
        let bytes = |folder: &str| {
            list(&store.dir().join(folder))
                .iter()
                .map(|path| fs_err::metadata(path).unwrap().len())
                .sum::<u64>()
        };
        let out = dir.join("out");
        store.checkout(&entry, &out, &Checkout::default(), &Quiet).unwrap();
        assert_eq!(fs_err::read(out.join("large")).unwrap(), noise(1, 5_000_000));
        fs_err::remove_dir_all(out).unwrap();
        assert!(bytes("packs") + bytes("index") < 2_000_000);
    }
    let whole = block(here.verify_remote(&remote, &roots, &Quiet)).unwrap();
    assert_eq!((whole.damage.len(), whole.missing), (0, 0), "{whole:?}");
    // A byte that the server's disk turned over is named, and mended from a machine that has it.
    let packs = list(&dir.join("buckets/mill/some/where/packs"));
    let pack = packs.iter().max_by_key(|path| fs_err::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs_err::read(pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs_err::write(pack, bytes).unwrap();
    let found = block(here.verify_remote(&remote, &roots, &Quiet)).unwrap().damage;
    assert_eq!((found.len(), found[0].needed_by[0].as_str()), (1, "data/large"), "{found:?}");
    let full = open(&dir.join("full"));
    full.add(&dir.join("work/data"), None, &Quiet).unwrap();
    let repaired = block(full.repair_remote(&remote, &found, &Quiet)).unwrap();
    assert_eq!((repaired.replaced, repaired.taken_out), (1, 0));
    let whole = block(here.verify_remote(&remote, &roots, &Quiet)).unwrap();
    assert_eq!((whole.damage.len(), whole.missing), (0, 0), "{whole:?}");
    cache("third").checkout(&entry, &dir.join("third out"), &Checkout::default(), &Quiet).unwrap();
}

#[test]
fn wrong_credentials_and_wrong_buckets_are_explained() {
    let Some(dir) = orders() else {
        let lab = Lab::new();
        lab.write("file", "x");
        return run_child("s3::wrong_credentials_and_wrong_buckets_are_explained", &lab, "wrong");
    };
    let store = open(&dir.join("store"));
    let root = Root::from(&store.add(&dir.join("work/file"), None, &Quiet).unwrap());
    let remote = Remote::open("s3://mill/x").unwrap();
    let error = block(store.push(&remote, &[root], &Quiet)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot list `s3://mill/x/condemned`: "), "{text}");
    let hint = tidemill_core::Hint::hint(&error).unwrap();
    assert!(hint.starts_with("check the credentials in the environment"), "{hint}");
    assert!(!text.contains("wrong"), "{text}");
}
