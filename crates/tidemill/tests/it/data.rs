//! Versions of data: add, list, get, compare, push, pull, collect, verify.

use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;

use crate::fixture::{Project, copy, repository};

fn project() -> Project {
    Project::new("{project: data}")
}

#[test]
fn versions_come_and_go_back() {
    let project = project();
    project.write("table.csv", "id,x\n1,10\n2,20\n");
    project.run(&["data", "add", "table", "table.csv", "-m", "first"]).good().says(&["table@1", "2 rows"]);
    project.run(&["data", "add", "table", "table.csv"]).good().says(&["table@1 holds this already"]);
    project.write("table.csv", "id,x\n1,11\n3,30\n");
    project.run(&["data", "add", "table", "table.csv"]).good().says(&["table@2"]);
    project.run(&["data", "ls"]).good().says(&["table", "2"]);
    project.run(&["data", "ls", "table"]).good().says(&["first", "tester"]);
    project.run(&["data", "get", "table@1", "--out", "old.csv"]).good();
    assert_eq!(project.read("old.csv"), "id,x\n1,10\n2,20\n");
    project.run(&["data", "diff", "table@1", "table@2", "--key", "id"]).good().says(&[
        "rows     2 → 2",
        "1 added",
        "1 removed",
        "1 changed",
    ]);
    let diff = project.run(&["data", "diff", "table@1", "--key", "id", "--json"]).good().json();
    assert_eq!(diff["table"]["changed_cells"]["x"], 1);
    project
        .run(&["data", "get", "tabel"])
        .fails(1, &["there is no dataset `tabel`", "did you mean `table`?"]);
    project.run(&["data", "get", "table@9"]).fails(1, &["no version 9", "1 to 2"]);
}

#[test]
fn folders_keep_odd_names_links_and_modes() {
    use std::os::unix::fs::PermissionsExt as _;

    let project = project();
    project.write("in/with space.txt", "1");
    project.write("in/two\nlines.txt", "2");
    project.write("in/sub/tool.sh", "#!/bin/sh\n");
    fs_err::set_permissions(project.path("in/sub/tool.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let odd = std::ffi::OsString::from_vec(b"in/not-\xff-utf8".to_vec());
    fs_err::write(project.path(&odd), "3").unwrap();
    symlink("sub/tool.sh", project.path("in/link")).unwrap();
    project.run(&["data", "add", "odd", "in"]).good().says(&["4 files"]);
    project.run(&["data", "get", "odd", "--out", "out"]).good();
    for (name, text) in [("with space.txt", "1"), ("two\nlines.txt", "2"), ("link", "#!/bin/sh\n")] {
        assert_eq!(project.read(&format!("out/{name}")), text);
    }
    assert_eq!(
        fs_err::read(project.path(std::ffi::OsString::from_vec(b"out/not-\xff-utf8".to_vec()))).unwrap(),
        b"3"
    );
    assert_eq!(fs_err::read_link(project.path("out/link")).unwrap().to_str(), Some("sub/tool.sh"));
    assert_ne!(project.path("out/sub/tool.sh").metadata().unwrap().permissions().mode() & 0o100, 0);
}

#[test]
fn a_loop_of_links_is_named() {
    let project = project();
    project.write("in/a.txt", "1");
    symlink("loop", project.path("in/loop")).unwrap();
    project.run(&["data", "add", "looped", "in"]).fails(1, &["in/loop", "leads in a circle"]);
    fs_err::remove_file(project.path("in/loop")).unwrap();
    symlink("/etc", project.path("in/outside")).unwrap();
    project.run(&["data", "add", "outside", "in"]).fails(1, &["outside"]);
    project.run(&["data", "ls"]).good();
}

#[test]
fn content_is_shared_between_versions() {
    let project = project();
    let mut bytes: Vec<u8> = Vec::new();
    let mut state = 1_u64;
    while bytes.len() < 8 << 20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    project.write("big.bin", &bytes);
    let first = project.run(&["data", "add", "big", "big.bin", "--json"]).good().json();
    assert!(first["stored_bytes"].as_u64().unwrap() > 8_000_000);
    bytes.splice(3 << 20..3 << 20, [7; 4096]);
    project.write("big.bin", &bytes);
    let second = project.run(&["data", "add", "big", "big.bin", "--json"]).good().json();
    assert!(second["stored_bytes"].as_u64().unwrap() < 700_000, "{second}");
}

#[test]
fn push_and_pull_through_a_folder() {
    let remote = tempfile::tempdir().unwrap();
    let url = format!("file://{}", remote.path().display());
    let here = Project::new(
        "{project: data, pipeline: {a: {run: cat in.txt > out.txt, deps: [in.txt], outs: [out.txt]}}}",
    );
    here.write("in.txt", "in\n");
    here.write("table.csv", "id\n1\n");
    here.run(&["run"]).good();
    here.run(&["data", "add", "table", "table.csv"]).good();
    here.write("table.csv", "id\n1\n2\n");
    here.run(&["data", "add", "table", "table.csv"]).good();
    here.run(&["data", "push", "--remote", &url]).good().says(&["sent"]);
    here.run(&["data", "push", "--remote", &url]).good().says(&["sent 0 B"]);

    // A fresh clone has the project file and the lock file only.
    let there = Project::new(&here.read("tidemill.yaml"));
    there.write("tidemill.lock", here.read("tidemill.lock"));
    there.run(&["data", "pull", "--remote", &url]).good();
    there.run(&["data", "get", "table@2", "--out", "t.csv"]).good();
    assert_eq!(there.read("t.csv"), "id\n1\n2\n");
    there.run(&["data", "pull", "table@1", "--remote", &url]).good();
    there.run(&["data", "get", "table@1", "--out", "t1.csv"]).good();
    assert_eq!(there.read("t1.csv"), "id\n1\n");
    there.run(&["log", "verify"]).good();

    // One clone with everything: also the older version, and the outputs without running.
    let whole = Project::new(&here.read("tidemill.yaml"));
    whole.write("tidemill.lock", here.read("tidemill.lock"));
    whole.run(&["data", "pull", "--remote", &url]).good();
    whole.run(&["data", "get", "table@1", "--out", "t1.csv"]).fails(1, &[]);
    whole.run(&["data", "pull", "--all-versions", "--remote", &url]).good();
    whole.run(&["data", "get", "table@1", "--out", "t1.csv"]).good();
    whole.write("in.txt", "in\n");
    assert_eq!(whole.states(&[]), [("a".to_owned(), "restored".to_owned())]);

    there.run(&["data", "pull", "tabel", "--remote", &url]).fails(1, &["tabel", "did you mean `table`?"]);
    there.run(&["data", "pull"]).fails(2, &["no remote store is named", "--remote"]);

    // The other side moves on, and both add a third version: the second to push is told.
    for (project, text) in [(&here, "id\n3\n"), (&there, "id\n4\n")] {
        project.write("table.csv", text);
        project.run(&["data", "add", "table", "table.csv"]).good();
    }
    here.run(&["data", "push", "--remote", &url]).good();
    there.run(&["data", "push", "--remote", &url]).fails(1, &["table@3"]);
}

#[test]
fn collection_keeps_what_is_referred_to() {
    let project = Project::new(
        "{project: data, pipeline: {a: {run: cat in.txt > out.txt, deps: [in.txt], outs: [out.txt]}}}",
    );
    for i in 0..4 {
        project.write("in.txt", format!("{i}\n"));
        project.run(&["run"]).good();
    }
    project.write("kept.txt", "kept\n");
    project.run(&["data", "add", "kept", "kept.txt"]).good();
    let dry = project.run(&["gc", "--keep-runs", "1", "--json"]).good().json();
    let removed = dry["report"]["removed_objects"].as_u64().unwrap();
    assert!(removed > 0, "{dry}");
    project.run(&["gc", "--keep-runs", "1"]).good().says(&["would remove"]);
    let swept = project.run(&["gc", "--keep-runs", "1", "--yes", "--json"]).good().json();
    assert_eq!(swept["report"]["removed_objects"].as_u64(), Some(removed));
    project.run(&["data", "get", "kept", "--out", "k.txt"]).good();
    fs_err::remove_file(project.path("out.txt")).unwrap();
    assert_eq!(project.states(&[])[0].1, "restored");
    // An earlier input's output is gone from the store: the step runs.
    project.write("in.txt", "0\n");
    assert_eq!(project.states(&[])[0].1, "ran");
    project.run(&["data", "verify"]).good().says(&["the store is intact"]);
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let project = project();
    project.write("in/one.txt", "one ".repeat(1000));
    project.write("in/two.txt", "two ".repeat(1000));
    project.run(&["data", "add", "texts", "in"]).good();
    let packs: Vec<_> = fs_err::read_dir(project.path(".tidemill/store/packs")).unwrap().collect();
    let pack =
        packs.into_iter().map(|p| p.unwrap().path()).max_by_key(|p| p.metadata().unwrap().len()).unwrap();
    let bytes = fs_err::read(&pack).unwrap();
    let mut named = 0;
    for at in (0..bytes.len()).step_by(bytes.len() / 7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let mut permissions = pack.metadata().unwrap().permissions();
        #[expect(clippy::permissions_set_readonly_false, reason = "a file of this test")]
        permissions.set_readonly(false);
        fs_err::set_permissions(&pack, permissions).unwrap();
        fs_err::write(&pack, &damaged).unwrap();
        let ran = project.run(&["data", "verify"]);
        assert_eq!(ran.code, Some(1), "byte {at}: {ran}");
        named += usize::from(ran.stdout.contains("texts@1"));
        // Wrong bytes are never handed out.
        let got = project.run(&["data", "get", "texts", "--out", "out", "--force"]);
        if got.code == Some(0) {
            assert_eq!(project.read("out/one.txt"), "one ".repeat(1000));
            assert_eq!(project.read("out/two.txt"), "two ".repeat(1000));
        }
    }
    assert!(named >= 2, "damage was traced to the dataset {named} times");
    fs_err::write(&pack, &bytes).unwrap();
    project.run(&["data", "verify"]).good();
}

#[test]
fn flights_of_two_months_side_by_side() {
    let project = project();
    let data = repository().join("examples/flights/data/flights");
    copy(&data, &project.path("flights"));
    project.write("flights.parquet", fs_err::read(data.join("2013-01.parquet")).unwrap());
    project.run(&["data", "add", "month", "flights.parquet"]).good().says(&["27,004 rows"]);
    project.write("flights.parquet", fs_err::read(data.join("2013-02.parquet")).unwrap());
    project.run(&["data", "add", "month", "flights.parquet"]).good().says(&["24,951 rows"]);
    let diff = project.run(&["data", "diff", "month@1", "month@2", "--json"]).good().json();
    assert_eq!(diff["table"]["rows"]["old"], 27_004);
    assert_eq!(diff["table"]["rows"]["added"], 24_951);
    project.run(&["data", "add", "year", "flights"]).good().says(&["12 files", "336,776 rows"]);
}

#[test]
fn collection_keeps_artifacts_but_not_those_of_nobody() {
    use tidemill_core::{Digest, SystemClock, Timestamp};
    use tidemill_db::artifacts::{Artifact, Part, Upload};

    let project = project();
    project.write("kept.txt", "kept\n");
    project.run(&["data", "add", "kept", "kept.txt"]).good();
    let store = tidemill_store::Store::open(
        &project.path(".tidemill/store"),
        tidemill_store::StoreOptions::default(),
    )
    .unwrap();
    let nobody = format!("9/{}/artifacts/model.bin", "a".repeat(32));
    let contents = ["of nobody", "of somebody", "a part", "an old part"];
    let entries = store.put_many(&contents, false).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = project.path(".tidemill/tidemill.db").to_str().unwrap().to_owned();
    let open = || tidemill_db::Db::open(&database, std::sync::Arc::new(SystemClock));
    let now = tidemill_core::Clock::now(&SystemClock);
    runtime.block_on(async {
        let db = open().await.unwrap();
        let artifact = |path: &str, at: usize| Artifact {
            path: path.to_owned(),
            digest: entries[at].digest,
            bytes: entries[at].bytes,
            sha256: None,
            at: now,
        };
        db.put_artifacts(&[artifact(&nobody, 0), artifact("shared/model.bin", 1)]).await.unwrap();
        for (id, at, part) in [("new", now, 2), ("old", Timestamp::from_millis(0), 3)] {
            let upload = Upload { id: id.to_owned(), path: "shared/large".to_owned(), parts: 1, at };
            db.start_upload(&upload).await.unwrap();
            let part = Part { number: 1, digest: entries[part].digest, bytes: entries[part].bytes };
            db.put_part(id, &part).await.unwrap();
        }
        db.close().await.unwrap();
    });
    let there = || {
        let store =
            tidemill_store::Store::open(store.dir(), tidemill_store::StoreOptions::default()).unwrap();
        contents.map(|text| store.contains(&Digest::of(text.as_bytes())).unwrap())
    };
    let dry = project.run(&["gc", "--json"]).good().json();
    assert_eq!(dry["artifacts"], 1);
    assert_eq!(there(), [true; 4]);
    project.run(&["gc"]).good().says(&["would remove 1 artifacts"]);
    let swept = project.run(&["gc", "--yes", "--json"]).good().json();
    assert_eq!(swept["artifacts"], 1);
    assert_eq!(swept["report"]["removed_objects"], dry["report"]["removed_objects"]);
    assert_eq!(there(), [false, true, true, false]);
    let left = runtime.block_on(async {
        let db = open().await.unwrap();
        let left = db.artifacts_below("", None, 10).await.unwrap();
        db.close().await.unwrap();
        left
    });
    assert_eq!(left.iter().map(|artifact| artifact.path.as_str()).collect::<Vec<_>>(), ["shared/model.bin"]);
    project.run(&["log", "--json"]).good().says(&["artifacts_deleted"]);
    project.run(&["log", "verify"]).good();
    project.run(&["data", "verify"]).good();
}

/// What clients deleted goes for good: not at once, not without `--yes`, and by name also at once.
#[test]
fn collection_takes_what_was_deleted() {
    use tidemill_core::{Actor, Clock as _, SystemClock};
    use tidemill_db::artifacts::Artifact;
    use tidemill_registry::{NewRun, Registry};

    let project = project();
    project.write("kept.txt", "kept\n");
    project.run(&["data", "add", "kept", "kept.txt"]).good();
    let options = tidemill_store::StoreOptions::default;
    let store = tidemill_store::Store::open(&project.path(".tidemill/store"), options()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = project.path(".tidemill/tidemill.db").to_str().unwrap().to_owned();
    let clock = std::sync::Arc::new(SystemClock);
    let entry = store.put_many(&["of a run"], false).unwrap()[0];
    let [run, other] = runtime.block_on(async {
        let db = tidemill_db::Db::open(&database, clock.clone()).await.unwrap();
        let registry = Registry::new(db.clone(), store, clock.clone());
        let actor = Actor::user("ana");
        let experiment = registry.create_experiment(&actor, "tries", None, Vec::new()).await.unwrap();
        let new = || NewRun { experiment: experiment.to_string(), ..NewRun::default() };
        let run = registry.create_run(&actor, new()).await.unwrap().info.id.to_string();
        let other = registry.create_run(&actor, new()).await.unwrap().info.id.to_string();
        let path = format!("{experiment}/{run}/artifacts/a");
        let artifact =
            Artifact { path, digest: entry.digest, bytes: entry.bytes, sha256: None, at: clock.now() };
        db.put_artifacts(&[artifact]).await.unwrap();
        registry.delete_run(&actor, &run).await.unwrap();
        db.close().await.unwrap();
        [run, other]
    });
    let none = serde_json::json!(
        {"experiments": 0, "runs": 0, "logged_models": 0, "files": 0, "in_use": 0}
    );
    let gc = |more: &[&str]| {
        let mut arguments = vec!["--json", "gc"];
        arguments.extend(more);
        project.run(&arguments).good().json()["deleted"].clone()
    };
    assert_eq!(gc(&["--yes"]), none, "it was deleted just now");
    project.run(&["gc", "--run", &other]).fails(1, &["cannot be removed", "deleted before"]);
    project.run(&["gc", "--experiment", "no such"]).fails(1, &["there is no experiment `no such`"]);
    for yes in [&["--older-than", "0s"][..], &["--run", &run], &["--run", &run, "--yes"]] {
        let gone = gc(yes);
        assert_eq!((&gone["runs"], &gone["files"]), (&1.into(), &1.into()), "{yes:?}");
    }
    assert_eq!(gc(&["--older-than", "0s", "--yes"]), none);
    project.run(&["log"]).good().says(&["tracking.run.removed"]);
    project.run(&["log", "verify"]).good();
    let store = tidemill_store::Store::open(&project.path(".tidemill/store"), options()).unwrap();
    assert!(!store.contains(&entry.digest).unwrap());
}

#[test]
fn damage_is_taken_out_and_what_it_hit_comes_back() {
    let project = project();
    let text = "a line that is in one pack only\n";
    project.write("in/one.txt", text);
    project.run(&["data", "add", "texts", "in"]).good();
    flip(&project.path(".tidemill/store"), text);
    project
        .run(&["data", "verify"])
        .fails(1, &["data verify --repair"])
        .says(&["damaged", "needed by texts@1/one.txt"]);
    // Adding again does not help as long as the damaged object counts as there.
    project
        .run(&["data", "verify", "--repair"])
        .fails(1, &["data pull", "data add"])
        .says(&["1 damaged object taken out"]);
    project
        .run(&["data", "verify"])
        .fails(1, &["data add"])
        .says(&["it is missing", "needed by texts@1/one.txt"]);
    project.run(&["data", "add", "texts", "in"]).good().says(&["texts@1 holds this already"]);
    project.run(&["data", "verify"]).good();
    project.run(&["data", "get", "texts", "--out", "out"]).good();
    assert_eq!(project.read("out/one.txt"), text);
}

#[test]
fn a_damaged_output_runs_its_step_again() {
    let project = Project::new(
        "{project: data, pipeline: {a: {run: cat x.txt y.txt > out.txt, deps: [x.txt, y.txt], outs: [out.txt]}}}",
    );
    project.write("x.txt", "a line of one\n");
    project.write("y.txt", "other words\n");
    project.run(&["run"]).good();
    flip(&project.path(".tidemill/store"), "a line of one\nother words\n");
    fs_err::remove_file(project.path("out.txt")).unwrap();
    let ran = project.run(&["run"]).good();
    assert!(ran.stderr.contains("`out.txt` cannot be restored, so step `a` runs again"), "{ran}");
    fs_err::remove_file(project.path("out.txt")).unwrap();
    assert_eq!(project.states(&[])[0].1, "restored");
    project.run(&["data", "verify"]).good();
}

/// Flips a byte of what a store has of a text.
fn flip(store: &std::path::Path, text: &str) {
    let mut found = false;
    for pack in fs_err::read_dir(store.join("packs")).unwrap() {
        let path = pack.unwrap().path();
        let mut bytes = fs_err::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
            bytes[at] ^= 1;
            fs_err::remove_file(&path).unwrap();
            fs_err::write(&path, bytes).unwrap();
            found = true;
        }
    }
    assert!(found, "`{text}` is in no pack");
}

#[test]
fn what_a_remote_says_does_not_choose_the_place() {
    let remote = tempfile::tempdir().unwrap();
    let url = format!("file://{}", remote.path().display());
    let here = project();
    here.write("table.csv", "id\n1\n");
    here.run(&["data", "add", "table", "table.csv"]).good();
    here.run(&["data", "push", "--remote", &url]).good();
    let document = remote.path().join("refs/datasets/table/00000001.json");
    let text = fs_err::read_to_string(&document).unwrap();
    fs_err::write(&document, text.replace("\"table.csv\"", "\"../stolen.csv\"")).unwrap();
    let there = project();
    there.run(&["data", "pull", "--remote", &url]).good();
    there.run(&["data", "get", "table"]).fails(1, &["`../stolen.csv`", "data get table@1 --out PATH"]);
    assert!(!there.root().join("../stolen.csv").exists());
    there.run(&["data", "get", "table", "--out", "t.csv"]).good();
    assert_eq!(there.read("t.csv"), "id\n1\n");
}

#[test]
fn a_collection_keeps_what_other_projects_need() {
    let shared = tempfile::tempdir().unwrap();
    let new = |name: &str| {
        let store = shared.path().join("store");
        Project::new(&format!("{{project: {name}, store: {{path: '{}'}}}}", store.display()))
    };
    let (one, two) = (new("one"), new("two"));
    for (project, text) in [(&one, "of one\n"), (&two, "of two\n")] {
        project.write("t.txt", text);
        project.run(&["data", "add", "t", "t.txt"]).good();
    }
    let swept = one.run(&["gc", "--yes", "--json"]).good().json();
    assert_eq!(swept["report"]["removed_objects"], 0);
    two.run(&["data", "get", "t", "--out", "back.txt"]).good();
    // One that is there and cannot be asked stops it, and says how to go on.
    let database = two.path(".tidemill/tidemill.db");
    let good = fs_err::read(&database).unwrap();
    fs_err::write(&database, "no database").unwrap();
    let folder = fs_err::canonicalize(two.root()).unwrap();
    let folder = folder.to_str().unwrap();
    one.run(&["gc", "--yes"]).fails(1, &["project `two`", folder, "--without"]);
    let without = one.run(&["gc", "--without", folder, "--json"]).good().json();
    assert_eq!(without["report"]["removed_objects"], 1);
    fs_err::write(&database, good).unwrap();
    two.run(&["data", "verify"]).good();
    // One that is gone needs nothing any more.
    drop(two);
    let ran = one.run(&["gc", "--yes", "--json"]).good();
    assert!(ran.stderr.contains("project `two`") && ran.stderr.contains("is gone"), "{ran}");
    assert_eq!(ran.json()["report"]["removed_objects"], 1);
    assert!(!one.run(&["gc"]).good().stderr.contains("is gone"));
}
