//! Artifacts: what is written is there, once, whole, and in its place.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tidemill_core::{Actor, Digest, Quiet, SystemClock};
use tidemill_db::{Db, EventFilter};
use tidemill_registry::artifacts::{ArtifactPath, Content, Listing, PartReceipt, Place};
use tidemill_registry::{Code, Error, Registry};
use tidemill_store::{Root, Store, StoreOptions};
use tidemill_testkit::{Database, Postgres};

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Lab::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Lab::postgres().await).await;
            })*
        }
    };
}

on_both!(
    what_is_written_can_be_read,
    the_same_model_twice_is_stored_once,
    many_at_once_are_grouped,
    one_that_is_refused_takes_nobody_with_it,
    an_unfinished_file_is_never_there,
    folders_are_listed_in_pages,
    a_folder_has_the_digest_of_the_same_folder_on_disk,
    a_file_in_parts,
    parts_that_do_not_fit_are_refused,
    deleting_is_an_event,
    only_what_may_be_read_is_read,
);

struct Lab {
    dir: TempDir,
    url: String,
    registry: Registry,
    _database: Option<Database>,
}

impl Lab {
    async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = dir.path().join("db").to_str().unwrap().to_owned();
        Self::over(dir, url, None).await
    }

    async fn postgres() -> Self {
        let database = Postgres::shared().database();
        let url = database.url().to_owned();
        Self::over(tempfile::tempdir().unwrap(), url, Some(database)).await
    }

    async fn over(dir: TempDir, url: String, database: Option<Database>) -> Self {
        let registry = open(&dir, &url).await;
        Self { dir, url, registry, _database: database }
    }

    async fn put(&self, at: &str, bytes: impl Into<Bytes>) -> Result<Digest, Error> {
        Ok(self.registry.put_artifact(path(at), bytes.into()).await?.digest)
    }

    async fn read(&self, at: &str) -> Result<Vec<u8>, Error> {
        let content = self.registry.artifact(&Place::Proxy(path(at)), &[], at).await?;
        let bytes = self.pieces(&content);
        assert_eq!(content.bytes(), bytes.len() as u64);
        Ok(bytes)
    }

    fn pieces(&self, content: &Content) -> Vec<u8> {
        let pieces = self.registry.pieces(content, 0..u64::MAX).unwrap();
        pieces.flat_map(|piece| piece.unwrap().to_vec()).collect()
    }

    async fn list(&self, at: &str, token: Option<&str>, limit: usize) -> Listing {
        self.registry.list_artifacts(&Place::Proxy(path(at)), &[], token, limit).await.unwrap()
    }
}

async fn open(dir: &TempDir, url: &str) -> Registry {
    let db = Db::open(url, Arc::new(SystemClock)).await.unwrap();
    let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
    Registry::new(db, store, Arc::new(SystemClock))
}

fn path(text: &str) -> ArtifactPath {
    ArtifactPath::parse(text).unwrap()
}

/// Bytes that do not compress and differ for each seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

async fn what_is_written_can_be_read(lab: Lab) {
    for (i, length) in
        [0, 1, 70_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 9_000_000].into_iter().enumerate()
    {
        let (bytes, at) = (noise(i as u64, length), format!("1/run/artifacts/f{i}"));
        for announced in [None, Some(length as u64)] {
            let mut writer = lab.registry.artifact_writer(path(&at), announced).unwrap();
            for piece in bytes.chunks(300_000) {
                writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            let artifact = writer.finish().await.unwrap();
            assert_eq!((artifact.digest, artifact.bytes), (Digest::of(&bytes), length as u64));
            assert_eq!(artifact.sha256.is_some(), announced.is_some() || length <= 1 << 20, "{length}");
            assert!(lab.read(&at).await.unwrap() == bytes, "{length}");
        }
    }
    lab.put("1/run/artifacts/f1", "replaced").await.unwrap();
    assert_eq!(lab.read("1/run/artifacts/f1").await.unwrap(), b"replaced");
    let missing = lab.read("1/run/artifacts/none").await.unwrap_err();
    assert_eq!(missing.code, Code::ResourceDoesNotExist);
    assert_eq!(missing.to_string(), "No such artifact: '1/run/artifacts/none'");
    for folder in ["1/run/artifacts", "1", ""] {
        assert_eq!(lab.read(folder).await.unwrap_err().code, Code::InvalidParameterValue, "{folder}");
    }
    assert!(lab.registry.artifact_writer(ArtifactPath::root(), None).is_err());
}

async fn the_same_model_twice_is_stored_once(lab: Lab) {
    let files = [("MLmodel", noise(1, 900)), ("model.pkl", noise(2, 5_000_000))];
    let mut objects = Vec::new();
    for model in ["1/models/m-1/artifacts", "2/models/m-2/artifacts"] {
        for (name, bytes) in &files {
            lab.put(&format!("{model}/{name}"), bytes.clone()).await.unwrap();
        }
        objects.push(lab.registry.store().stats().objects);
    }
    assert_eq!(objects[0], objects[1]);
    assert_eq!(lab.read("2/models/m-2/artifacts/model.pkl").await.unwrap(), files[1].1);
}

async fn many_at_once_are_grouped(lab: Lab) {
    let work = (0..60_u64).map(|i| {
        let registry = lab.registry.clone();
        // Some of one path, some large.
        let (at, length) = (format!("m/{}", i % 50), if i % 20 == 7 { 2_000_000 } else { 500 });
        tokio::spawn(async move { registry.put_artifact(path(&at), noise(i, length).into()).await.unwrap() })
    });
    for done in work.collect::<Vec<_>>() {
        let artifact = done.await.unwrap();
        assert!(artifact.bytes >= 500);
    }
    assert_eq!(lab.list("m", None, 100).await.files.len(), 50);
    for i in 0..50 {
        let (bytes, at) = (lab.read(&format!("m/{i}")).await.unwrap(), i as u64);
        assert!([at, at + 50].iter().any(|seed| bytes == noise(*seed, bytes.len())), "{i} is a mixture");
    }
    let packs = lab.registry.store().stats().packs;
    assert!(packs < 40, "{packs} packs: every file had a sync of its own");
}

async fn one_that_is_refused_takes_nobody_with_it(lab: Lab) {
    lab.put("a/file", "x").await.unwrap();
    let work: Vec<_> = ["a/one", "a/file/below", "a/two", "a", "a/three"]
        .map(|at| {
            let registry = lab.registry.clone();
            tokio::spawn(async move { (at, registry.put_artifact(path(at), at.into()).await) })
        })
        .into();
    for done in work {
        let (at, result) = done.await.unwrap();
        match at {
            "a/file/below" | "a" => {
                let error = result.unwrap_err();
                assert_eq!(error.code, Code::InvalidParameterValue);
                assert!(error.to_string().contains("both a file and a folder"), "{error}");
            }
            _ => assert_eq!(lab.read(at).await.unwrap(), at.as_bytes()),
        }
    }
    assert_eq!(lab.read("a/file").await.unwrap(), b"x");
}

async fn an_unfinished_file_is_never_there(lab: Lab) {
    for length in [10, 3_000_000, 20_000_000] {
        let mut writer = lab.registry.artifact_writer(path("half"), Some(length as u64 * 2)).unwrap();
        for piece in noise(9, length).chunks(100_000) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert_eq!(lab.read("half").await.unwrap_err().code, Code::ResourceDoesNotExist);
        drop(writer);
    }
    assert!(lab.list("", None, 10).await.files.is_empty());
    // What was begun does not keep a collection away for ever, and is all gone after it.
    let store = lab.registry.store().clone();
    let report = tokio::task::spawn_blocking(move || store.gc(&[], false, &Quiet).unwrap()).await.unwrap();
    assert_eq!(report.kept_objects, 0);
    assert_eq!(fs_err::read_dir(lab.dir.path().join("store/tmp")).unwrap().count(), 0);
}

async fn folders_are_listed_in_pages(lab: Lab) {
    for at in ["r/a", "r/b/x", "r/b/y", "r/c"] {
        lab.put(at, at).await.unwrap();
    }
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let page = lab.list("r", token.as_deref(), 1).await;
        seen.extend(page.files.into_iter().map(|file| (file.name, file.bytes)));
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, [("a".into(), Some(3)), ("b".into(), None), ("c".into(), Some(3))]);
    for token in ["?", "not base64!", "////"] {
        let listed = lab.registry.list_artifacts(&Place::Proxy(path("r")), &[], Some(token), 1).await;
        assert_eq!(listed.unwrap_err().to_string(), "Invalid page token, could not base64-decode");
    }
    // A token of another folder leads nowhere else.
    let foreign = lab.list("", None, 1).await.next;
    assert_eq!(foreign, None);
    let foreign = lab.list("r", None, 1).await.next.unwrap();
    assert!(lab.list("r/b", Some(&foreign), 10).await.files.len() <= 2);
}

async fn a_folder_has_the_digest_of_the_same_folder_on_disk(lab: Lab) {
    let model = lab.dir.path().join("model");
    for (name, bytes) in [("MLmodel", noise(1, 10)), ("data/a.bin", noise(2, 2_000_000)), ("data-x", vec![])]
    {
        let file = model.join(name);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(file, &bytes).unwrap();
        lab.put(&format!("1/models/m-1/artifacts/{name}"), bytes).await.unwrap();
    }
    let folder = path("1/models/m-1/artifacts");
    let digest = lab.registry.artifact_tree(&folder).await.unwrap().unwrap();
    let entry = lab.registry.store().add(&model, None, &Quiet).unwrap();
    assert_eq!(digest, entry.digest);
    let files = lab.registry.artifact_files(&folder).await.unwrap();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["MLmodel", "data-x", "data/a.bin"]);
    let file = path("1/models/m-1/artifacts/MLmodel");
    assert_eq!(lab.registry.artifact_tree(&file).await.unwrap(), Some(Digest::of(&noise(1, 10))));
    assert_eq!(lab.registry.artifact_tree(&path("none")).await.unwrap(), None);
    assert_eq!(lab.registry.artifact_files(&path("1/models/m-1/art")).await.unwrap(), []);
}

fn receipt(number: u64, tag: &str) -> PartReceipt {
    PartReceipt { number, tag: tag.to_owned() }
}

async fn part(registry: &Registry, upload: &str, number: i64, bytes: &[u8]) -> Result<String, Error> {
    let mut writer = registry.part_writer(upload, number, Some(bytes.len() as u64)).await?;
    for piece in bytes.chunks(1_000_000) {
        writer.intake().write(Bytes::copy_from_slice(piece)).await?;
    }
    writer.finish().await
}

async fn a_file_in_parts(lab: Lab) {
    let (at, whole) = (path("1/run/artifacts/large"), noise(1, 25_000_000));
    let upload = lab.registry.start_upload(&at, 3).await.unwrap();
    let parts: Vec<&[u8]> = whole.chunks(10_000_000).collect();
    let mut receipts = vec![receipt(0, ""); 3];
    for number in [3, 1] {
        let tag = part(&lab.registry, &upload, number, parts[number as usize - 1]).await.unwrap();
        receipts[number as usize - 1] = receipt(number as u64, &format!("\"{tag}\""));
    }
    assert_eq!(lab.read(at.as_str()).await.unwrap_err().code, Code::ResourceDoesNotExist);
    let roots: Vec<Root> = lab
        .registry
        .db()
        .artifact_roots()
        .await
        .unwrap()
        .into_iter()
        .map(|(digest, label)| Root { digest, tree: false, label })
        .collect();
    let store = lab.registry.store().clone();
    tokio::task::spawn_blocking(move || store.gc(&roots, false, &Quiet).unwrap()).await.unwrap();
    // Another server goes on where this one stopped.
    let other = open(&lab.dir, &lab.url).await;
    let tag = part(&other, &upload, 2, parts[1]).await.unwrap();
    receipts[1] = receipt(2, &tag);
    let before = other.store().stats().stored_bytes;
    let artifact = other.complete_upload(&at, &upload, &receipts).await.unwrap();
    let grown = other.store().stats().stored_bytes - before;
    assert!(grown < 3_000_000, "{grown} bytes were stored anew");
    assert_eq!(artifact.digest, Digest::of(&whole));
    assert!(lab.read(at.as_str()).await.unwrap() == whole);
    let again = other.complete_upload(&at, &upload, &receipts).await.unwrap_err();
    assert_eq!(again.code, Code::ResourceDoesNotExist);
}

async fn parts_that_do_not_fit_are_refused(lab: Lab) {
    let at = path("f");
    for parts in [0, -1, 10_001, i64::MIN] {
        assert_eq!(
            lab.registry.start_upload(&at, parts).await.unwrap_err().code,
            Code::InvalidParameterValue
        );
    }
    assert!(lab.registry.start_upload(&ArtifactPath::root(), 1).await.is_err());
    let upload = lab.registry.start_upload(&at, 2).await.unwrap();
    for number in [0, 3, -1] {
        assert!(part(&lab.registry, &upload, number, b"x").await.is_err(), "{number}");
    }
    assert_eq!(part(&lab.registry, "nobody", 1, b"x").await.unwrap_err().code, Code::ResourceDoesNotExist);
    let first = part(&lab.registry, &upload, 1, b"one").await.unwrap();
    let complete = |receipts: Vec<PartReceipt>| {
        let (registry, upload, at) = (lab.registry.clone(), upload.clone(), at.clone());
        async move { registry.complete_upload(&at, &upload, &receipts).await.unwrap_err().to_string() }
    };
    let error = complete(vec![receipt(1, &first)]).await;
    assert_eq!(error, "Part 2 of 2 has not arrived.");
    let second = part(&lab.registry, &upload, 2, b"two").await.unwrap();
    assert_eq!(complete(vec![receipt(1, &first)]).await, "Part 2 is missing in the list of parts.");
    let wrong = "Part 2 is not the one that was sent: its ETag differs.";
    assert_eq!(complete(vec![receipt(1, &first), receipt(2, &first)]).await, wrong);
    let elsewhere = lab.registry.complete_upload(&path("g"), &upload, &[]).await.unwrap_err();
    assert_eq!(elsewhere.code, Code::ResourceDoesNotExist);
    lab.registry.abort_upload(&path("g"), &upload).await.unwrap();
    lab.registry.complete_upload(&at, &upload, &[receipt(1, &first), receipt(2, &second)]).await.unwrap();
    assert_eq!(lab.read("f").await.unwrap(), b"onetwo");
    let given_up = lab.registry.start_upload(&at, 1).await.unwrap();
    lab.registry.abort_upload(&at, &given_up).await.unwrap();
    lab.registry.abort_upload(&at, &given_up).await.unwrap();
    assert!(part(&lab.registry, &given_up, 1, b"late").await.is_err());
}

async fn deleting_is_an_event(lab: Lab) {
    for at in ["1/r/artifacts/a", "1/r/artifacts/b/c", "1/rr/artifacts/a"] {
        lab.put(at, at).await.unwrap();
    }
    let ana = Actor::user("ana");
    assert_eq!(lab.registry.delete_artifacts(&path("1/r"), &ana).await.unwrap(), 2);
    assert_eq!(lab.registry.delete_artifacts(&path("1/r"), &ana).await.unwrap(), 0);
    assert!(lab.registry.delete_artifacts(&ArtifactPath::root(), &ana).await.is_err());
    assert_eq!(lab.read("1/rr/artifacts/a").await.unwrap(), b"1/rr/artifacts/a");
    let filter = EventFilter { kind: Some("artifacts.deleted".into()), ..EventFilter::default() };
    let events = lab.registry.db().events(&filter).await.unwrap();
    assert_eq!(events.len(), 1, "deleting nothing changes nothing");
    assert_eq!((events[0].actor.clone(), events[0].kind.subject()), (ana, "artifact:1/r".to_owned()));
}

async fn only_what_may_be_read_is_read(lab: Lab) {
    let (inside, outside) = (lab.dir.path().join("in"), lab.dir.path().join("out"));
    for folder in [&inside, &outside] {
        fs_err::create_dir_all(folder.join("sub")).unwrap();
        fs_err::write(folder.join("file"), noise(4, 2_500_000)).unwrap();
    }
    let roots = [inside.clone()];
    let place = |folder: &PathBuf, below: &str| {
        Place::of(&format!("file://{}", folder.display())).unwrap().join(&path(below)).unwrap()
    };
    let content = lab.registry.artifact(&place(&inside, "file"), &roots, "file").await.unwrap();
    assert_eq!(content.bytes(), 2_500_000);
    assert!(lab.pieces(&content) == noise(4, 2_500_000));
    let part = lab.registry.pieces(&content, 2_499_990..u64::MAX).unwrap();
    assert_eq!(part.map(|piece| piece.unwrap().len()).sum::<usize>(), 10);
    let page = lab.registry.list_artifacts(&place(&inside, ""), &roots, None, 1).await.unwrap();
    assert_eq!(page.files[0].name, "file");
    let next = page.next.unwrap();
    let page = lab.registry.list_artifacts(&place(&inside, ""), &roots, Some(&next), 1).await.unwrap();
    assert_eq!((page.files[0].name.as_str(), page.next), ("sub", None));

    let code = async |place: Place| lab.registry.artifact(&place, &roots, "x").await.unwrap_err().code;
    assert_eq!(code(place(&inside, "none")).await, Code::ResourceDoesNotExist);
    assert_eq!(code(place(&inside, "sub")).await, Code::InvalidParameterValue);
    assert_eq!(code(place(&outside, "file")).await, Code::PermissionDenied);
    let s3 = Place::of("s3://bucket/1/run/artifacts").unwrap().join(&path("m")).unwrap();
    let error = lab.registry.artifact(&s3, &roots, "m").await.unwrap_err();
    assert!(error.to_string().contains("'s3://bucket/1/run/artifacts/m'"), "{error}");
    assert!(lab.registry.list_artifacts(&s3, &roots, None, 1).await.is_err());
}
