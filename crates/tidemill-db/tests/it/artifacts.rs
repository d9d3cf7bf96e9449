//! Paths of logged files: writing, listing, deleting, uploads in parts.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_core::{EventKind, Sha256};
use tidemill_db::Error;
use tidemill_db::artifacts::{Artifact, PageItem, Part, Upload};

use crate::fixture::{Fixture, at, digest, event, on_both};

on_both!(
    what_is_written_is_read_and_replaced,
    files_and_folders_exclude_each_other,
    two_servers_do_not_write_a_file_and_a_folder_of_one_path,
    a_folder_is_listed_without_what_lies_below,
    listing_is_what_a_walk_gives,
    deleting_takes_what_lies_below_and_nothing_else,
    uploads_in_parts,
    roots_are_what_is_in_use,
    orphans_go_and_what_has_an_owner_stays,
);

fn artifact(path: &str) -> Artifact {
    Artifact {
        path: path.to_owned(),
        digest: digest(path),
        bytes: path.len() as u64,
        sha256: None,
        at: at(7),
    }
}

async fn put(f: &Fixture, paths: &[&str]) {
    let artifacts: Vec<Artifact> = paths.iter().map(|path| artifact(path)).collect();
    f.db.put_artifacts(&artifacts).await.unwrap();
}

async fn paths(f: &Fixture, folder: &str) -> Vec<String> {
    let found = f.db.artifacts_below(folder, None, usize::MAX).await.unwrap();
    found.into_iter().map(|artifact| artifact.path).collect()
}

/// All pages of a folder: `name/` for folders, `name` for files.
async fn list(f: &Fixture, folder: &str, limit: usize) -> Vec<String> {
    let (mut names, mut from) = (Vec::new(), None);
    loop {
        let page = f.db.list_artifacts(folder, from.as_deref(), limit).await.unwrap();
        assert!(page.items.len() <= limit && (page.next.is_none() || page.items.len() == limit));
        names.extend(page.items.into_iter().map(|PageItem { name, bytes }| match bytes {
            Some(_) => name,
            None => format!("{name}/"),
        }));
        from = page.next;
        if from.is_none() {
            return names;
        }
    }
}

async fn what_is_written_is_read_and_replaced(f: Fixture) {
    f.db.put_artifacts(&[]).await.unwrap();
    let first =
        Artifact { sha256: Some(Sha256::from_bytes([7; 32])), ..artifact("1/run/artifacts/a b/ü.txt") };
    f.db.put_artifacts(std::slice::from_ref(&first)).await.unwrap();
    assert_eq!(f.db.artifact(&first.path).await.unwrap(), Some(first.clone()));
    assert_eq!(f.db.artifact("1/run/artifacts/a b").await.unwrap(), None);
    assert!(f.db.is_artifact_folder("1/run/artifacts/a b").await.unwrap());
    assert!(!f.db.is_artifact_folder("1/run/artifacts/a").await.unwrap());
    // Of several with one path the last counts, within one call too.
    let mut newer = first.clone();
    (newer.digest, newer.bytes, newer.sha256, newer.at) = (digest("newer"), 3, None, at(9));
    let other = artifact("x");
    f.db.put_artifacts(&[first.clone(), other.clone(), newer.clone()]).await.unwrap();
    assert_eq!(f.db.artifact(&first.path).await.unwrap(), Some(newer));
    assert_eq!(f.db.artifact("x").await.unwrap(), Some(other));
}

async fn files_and_folders_exclude_each_other(f: Fixture) {
    put(&f, &["a/b/c", "d"]).await;
    for (paths, obstacle) in [
        (vec!["a"], "a"),
        (vec!["a/b"], "a/b"),
        (vec!["a/b/c/d"], "a/b/c"),
        (vec!["d/e/f"], "d"),
        (vec!["n", "new", "new/x"], "new"),
    ] {
        let artifacts: Vec<Artifact> = paths.iter().map(|path| artifact(path)).collect();
        let error = f.db.put_artifacts(&artifacts).await.unwrap_err();
        let Error::Exists { name, .. } = error else { panic!("{error}") };
        assert_eq!(name, obstacle);
    }
    assert_eq!(paths(&f, "").await, ["a/b/c", "d"]);
    // Names that only begin alike are no obstacle.
    put(&f, &["a-", "a.txt", "a0", "a/b.c", "a/b0", "dd", "a/b/d"]).await;
}

async fn two_servers_do_not_write_a_file_and_a_folder_of_one_path(f: Fixture) {
    let other = crate::fixture::open(&f.url).await;
    for i in 0..20 {
        let (file, below) = ([artifact(&format!("{i}/a"))], [artifact(&format!("{i}/a/b"))]);
        let (one, two) = tokio::join!(f.db.put_artifacts(&file), other.put_artifacts(&below));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
    assert_eq!(paths(&f, "").await.len(), 20);
}

async fn a_folder_is_listed_without_what_lies_below(f: Fixture) {
    let deep: Vec<String> = (0..3000).map(|i| format!("r/deep/{}/{i}", i % 7)).collect();
    let deep: Vec<&str> = deep.iter().map(String::as_str).collect();
    put(&f, &deep).await;
    put(&f, &["r/a", "r/deep.txt", "r/deep-er/x", "r/z/1", "r/z/2", "r/é/x", "r0", "q/x", "top"]).await;
    let expected = ["a", "deep-er/", "deep.txt", "deep/", "z/", "é/"];
    for limit in [1, 2, 3, 5, 6, 7, 1000] {
        assert_eq!(list(&f, "r", limit).await, expected, "pages of {limit}");
        assert_eq!(list(&f, "", limit).await, ["q/", "r/", "r0", "top"]);
    }
    assert_eq!(list(&f, "r/deep", 3).await, ["0/", "1/", "2/", "3/", "4/", "5/", "6/"]);
    assert_eq!(list(&f, "r/deep/3", 100).await.len(), 3000_usize.div_ceil(7));
    assert_eq!(list(&f, "r/a", 10).await, Vec::<String>::new());
    assert_eq!(list(&f, "nothing", 10).await, Vec::<String>::new());
    let page = f.db.list_artifacts("r", None, 10).await.unwrap();
    assert_eq!(page.items[0], PageItem { name: "a".into(), bytes: Some(3) });
    assert_eq!(page.items[3], PageItem { name: "deep".into(), bytes: None });
}

async fn listing_is_what_a_walk_gives(f: Fixture) {
    // Every path of up to three names from a few that sort around the slash, as far as they fit beside each other.
    let names = ["a", "a-", "a.b", "a0", "\u{10FFFD}", "ä", "A"];
    let mut files: BTreeSet<String> = BTreeSet::new();
    for (i, one) in names.iter().enumerate() {
        for (j, two) in names.iter().enumerate() {
            match (i + j) % 3 {
                0 => drop(files.insert(format!("{one}/{two}"))),
                1 => files.extend(names.iter().map(|three| format!("{one}/{two}/{three}"))),
                _ => {}
            }
        }
    }
    files.insert("b".to_owned());
    let artifacts: Vec<Artifact> = files.iter().map(|path| artifact(path)).collect();
    f.db.put_artifacts(&artifacts).await.unwrap();
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in &files {
        let mut at = 0;
        for (slash, _) in file.match_indices('/') {
            folders
                .entry(file[..at].trim_end_matches('/').to_owned())
                .or_default()
                .insert(file[at..=slash].to_owned());
            at = slash + 1;
        }
        folders.entry(file[..at].trim_end_matches('/').to_owned()).or_default().insert(file[at..].to_owned());
    }
    for (folder, items) in folders {
        for limit in [1, 3, 100] {
            let items: Vec<String> = items.iter().cloned().collect();
            assert_eq!(list(&f, &folder, limit).await, items, "`{folder}` in pages of {limit}");
        }
    }
    let all = paths(&f, "").await;
    assert_eq!(all, files.iter().cloned().collect::<Vec<_>>());
    let later = f.db.artifacts_below("", Some(&all[4]), 2).await.unwrap();
    assert_eq!(later.iter().map(|artifact| &artifact.path).collect::<Vec<_>>(), [&all[5], &all[6]]);
}

async fn deleting_takes_what_lies_below_and_nothing_else(f: Fixture) {
    put(&f, &["a/b", "a/c/d", "a-", "a0", "a.b/c", "b"]).await;
    let deleted = |path: &str, files| event(1, EventKind::ArtifactsDeleted { path: path.to_owned(), files });
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.delete_artifacts("a").await.unwrap(), 2);
    assert!(matches!(tx.commit(vec![]).await, Err(Error::NoEvent)));
    assert_eq!(paths(&f, "a").await.len(), 2, "without its event nothing is deleted");
    for (path, files) in [("a", 2), ("b", 1), ("nothing", 0)] {
        let mut tx = f.db.begin().await.unwrap();
        assert_eq!(tx.delete_artifacts(path).await.unwrap(), files);
        tx.commit(vec![deleted(path, files)]).await.unwrap();
    }
    assert_eq!(paths(&f, "").await, ["a-", "a.b/c", "a0"]);
}

async fn uploads_in_parts(f: Fixture) {
    let upload = Upload { id: "u1".into(), path: "a/b".into(), parts: 2, at: at(5) };
    f.db.start_upload(&upload).await.unwrap();
    assert_eq!(f.db.upload("u1").await.unwrap(), Some(upload.clone()));
    assert_eq!(f.db.upload("u2").await.unwrap(), None);
    let part = |number: u64, name: &str| Part { number, digest: digest(name), bytes: number };
    for part in [part(2, "second"), part(1, "wrong"), part(1, "first")] {
        f.db.put_part("u1", &part).await.unwrap();
    }
    assert!(matches!(f.db.put_part("u2", &part(1, "x")).await, Err(Error::NotFound { .. })));
    assert_eq!(f.db.upload_parts("u1").await.unwrap(), [part(1, "first"), part(2, "second")]);
    assert_eq!(f.db.artifact("a/b").await.unwrap(), None, "nothing is there until the end");
    let roots = f.db.artifact_roots().await.unwrap();
    assert_eq!(roots.len(), 2, "parts are in use");

    // What cannot be written leaves the upload as it is.
    put(&f, &["a/b/c"]).await;
    assert!(matches!(f.db.finish_upload("u1", &artifact("a/b")).await, Err(Error::Exists { .. })));
    assert!(f.db.upload("u1").await.unwrap().is_some());
    let mut tx = f.db.begin().await.unwrap();
    tx.delete_artifacts("a/b").await.unwrap();
    tx.commit(vec![event(1, EventKind::ArtifactsDeleted { path: "a/b".into(), files: 1 })]).await.unwrap();
    f.db.finish_upload("u1", &artifact("a/b")).await.unwrap();
    assert_eq!(f.db.artifact("a/b").await.unwrap(), Some(artifact("a/b")));
    assert_eq!(f.db.upload_parts("u1").await.unwrap(), []);
    assert!(matches!(f.db.finish_upload("u1", &artifact("a/b")).await, Err(Error::NotFound { .. })));

    f.db.start_upload(&upload).await.unwrap();
    assert!(f.db.abort_upload("u1").await.unwrap());
    assert!(!f.db.abort_upload("u1").await.unwrap());
    for (id, millis) in [("old", 10), ("new", 20)] {
        f.db.start_upload(&Upload { id: id.into(), at: at(millis), ..upload.clone() }).await.unwrap();
    }
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.drop_uploads(at(20)).await.unwrap(), 1);
    tx.commit(vec![]).await.unwrap();
    assert!(f.db.upload("old").await.unwrap().is_none() && f.db.upload("new").await.unwrap().is_some());
}

async fn roots_are_what_is_in_use(f: Fixture) {
    let same = |path: &str| Artifact { digest: digest("same"), ..artifact(path) };
    f.db.put_artifacts(&[same("2/x"), same("1/x"), artifact("y")]).await.unwrap();
    let mut roots = f.db.artifact_roots().await.unwrap();
    roots.sort();
    let mut expected = vec![(digest("same"), "1/x".to_owned()), (digest("y"), "y".to_owned())];
    expected.sort();
    assert_eq!(roots, expected);
}

async fn orphans_go_and_what_has_an_owner_stays(f: Fixture) {
    let (run, gone) = ("0".repeat(32), "1".repeat(32));
    f.sql(&format!(
        "INSERT INTO experiment (id, name, artifact_location, stage, created_at, updated_at)
            VALUES (3, 'e', 'mlflow-artifacts:/3', 'active', 0, 0);
         INSERT INTO run (uuid, experiment_id, name, user_name, status, stage, artifact_uri)
            VALUES ('{run}', 3, 'n', 'u', 'FINISHED', 'deleted', 'mlflow-artifacts:/3/{run}/artifacts');
         INSERT INTO logged_model (uuid, experiment_id, name, model_type, status, stage, artifact_uri, created_at,
                updated_at)
            VALUES ('m-1', 3, 'n', 't', 's', 'active', 'mlflow-artifacts:/3/models/m-1/artifacts', 0, 0),
                ('m-2', 3, 'n', 't', 's', 'deleted', 'x', 0, 0)"
    ))
    .await;
    let uri = format!("mlflow-artifacts:/3/{run}/artifacts");
    assert_eq!(f.db.run_artifact_uri(&run).await.unwrap(), Some(uri));
    assert_eq!(f.db.run_artifact_uri(&gone).await.unwrap(), None);
    let model = f.db.logged_model_artifact_uri("m-1").await.unwrap();
    assert_eq!(model.as_deref(), Some("mlflow-artifacts:/3/models/m-1/artifacts"));
    assert_eq!(f.db.logged_model_artifact_uri("m-2").await.unwrap(), None);

    let stay = [
        format!("3/{run}/artifacts/a"),
        "3/models/m-1/artifacts/MLmodel".to_owned(),
        "3/models/m-2/artifacts/MLmodel".to_owned(),
        "3/models/readme".to_owned(),
        "3/traces/tr-1/artifacts/traces.json".to_owned(),
        "shared/x".to_owned(),
        format!("shared/{gone}/artifacts/a"),
    ];
    let go = [
        format!("3/{gone}/artifacts/a"),
        format!("3/{gone}/artifacts/b/c"),
        "3/models/m-3/artifacts/MLmodel".to_owned(),
        format!("9/{gone}/artifacts/a"),
    ];
    let all: Vec<&str> = stay.iter().chain(&go).map(String::as_str).collect();
    put(&f, &all).await;
    let mut tx = f.db.begin().await.unwrap();
    let removed = tx.delete_orphaned_artifacts().await.unwrap();
    assert_eq!(tx.artifact_roots().await.unwrap().len(), stay.len());
    assert_eq!(removed, [(format!("3/{gone}"), 2), (format!("9/{gone}"), 1), ("3/models/m-3".to_owned(), 1)]);
    let events = removed
        .into_iter()
        .map(|(path, files)| event(1, EventKind::ArtifactsDeleted { path, files }))
        .collect();
    tx.commit(events).await.unwrap();
    let mut left = stay.to_vec();
    left.sort();
    assert_eq!(paths(&f, "").await, left);
}
