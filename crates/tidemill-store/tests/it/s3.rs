//! Push and pull over HTTP to a server that speaks S3, in this process, on a free loopback port. The client is a child
//! process, because it takes address and credentials from its environment.

use tidemill_core::Quiet;
use tidemill_store::{Remote, Root};
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
        let sent = store.push(&remote, std::slice::from_ref(&root), &Quiet).await.unwrap();
        assert!(sent.objects > 2000 && sent.bytes > 24_000_000, "{sent:?}");
        let again = store.push(&remote, std::slice::from_ref(&root), &Quiet).await.unwrap();
        assert_eq!((again.objects, again.present), (0, sent.objects));
        let got = other.pull(&remote, std::slice::from_ref(&root), &Quiet).await.unwrap();
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
    assert!(text.starts_with("cannot list `s3://mill/x/index`: "), "{text}");
    let hint = tidemill_core::Hint::hint(&error).unwrap();
    assert!(hint.starts_with("check the credentials in the environment"), "{hint}");
    assert!(!text.contains("wrong"), "{text}");
}
