//! Collecting at a remote, as a person does it.

use crate::fixture::Project;

const STEP: &str =
    "{project: data, pipeline: {a: {run: cat in.txt > out.txt, deps: [in.txt], outs: [out.txt]}}}";

#[test]
fn a_collection_at_a_remote_keeps_versions_and_the_newest_lock_files() {
    let remote = tempfile::tempdir().unwrap();
    let url = format!("file://{}", remote.path().display());
    let here = Project::new(STEP);
    here.write("table.csv", "id\n1\n");
    here.run(&["data", "add", "table", "table.csv"]).good();
    here.run(&["data", "push", "table", "--remote", &url]).good();
    for text in ["one\n", "two\n"] {
        here.write("in.txt", text);
        here.run(&["run"]).good();
        here.run(&["data", "push", "--remote", &url]).good();
    }
    // The same lock file again is one record still.
    here.run(&["data", "push", "--remote", &url]).good();
    let locks = || fs_err::read_dir(remote.path().join("refs/locks/data")).unwrap().count();
    assert_eq!(locks(), 2);

    let gc = ["gc", "--remote", &url, "--keep-runs", "1"];
    let told = here.run(&gc).good().says(&["would be removed", "would be forgotten"]);
    assert!(told.stderr.contains("add `--yes` to do it"), "{told}");
    assert_eq!(locks(), 2);
    let grace = [&gc[..], &["--yes", "--json"]].concat();
    let done = here.run(&grace).good().json();
    assert_eq!(
        (&done["forgotten_locks"], &done["report"]["removed_packs"]),
        (&1.into(), &0.into()),
        "{done}"
    );
    assert!(done["report"]["young_packs"].as_u64().unwrap() > 0, "{done}");
    let at_once = [&gc[..], &["--yes", "--grace", "0s", "--json"]].concat();
    let done = here.run(&at_once).good().json();
    assert!(done["report"]["removed_bytes"].as_u64().unwrap() > 0, "{done}");
    assert_eq!((locks(), &done["report"]["missing"]), (1, &0.into()), "{done}");
    here.run(&["log"]).good().says(&["store.remote_swept"]);

    // A fresh clone finds the version and the outputs of the newest run.
    let there = Project::new(STEP);
    there.write("tidemill.lock", here.read("tidemill.lock"));
    there.run(&["data", "pull", "--remote", &url]).good();
    there.run(&["data", "get", "table@1", "--out", "t.csv"]).good();
    there.write("in.txt", "two\n");
    assert_eq!(there.states(&[]), [("a".to_owned(), "restored".to_owned())]);
    // Who needs what went sends it again.
    here.write("in.txt", "one\n");
    here.run(&["run"]).good();
    here.run(&["data", "push", "--remote", &url]).good();
    here.run(&gc).good();
}

#[test]
fn a_remote_that_does_not_say_what_it_is_for_is_left_alone() {
    let remote = tempfile::tempdir().unwrap();
    let url = format!("file://{}", remote.path().display());
    let here = Project::new(STEP);
    here.write("in.txt", "in\n");
    here.run(&["run"]).good();
    here.run(&["gc", "--remote", &url]).fails(1, &["nothing at file://", "data push"]);
    here.run(&["data", "push", "--remote", &url]).good();
    fs_err::create_dir_all(remote.path().join("refs/plans")).unwrap();
    fs_err::write(remote.path().join("refs/plans/x.json"), "{}").unwrap();
    here.run(&["gc", "--remote", &url, "--yes"]).fails(1, &["`plans/x.json`", "update Tidemill"]);
    fs_err::remove_dir_all(remote.path().join("refs/plans")).unwrap();
    fs_err::write(remote.path().join("refs/locks/data/00000000000001-x.json"), "{").unwrap();
    here.run(&["gc", "--remote", &url, "--yes"]).fails(1, &["00000000000001-x.json"]);
    here.run(&["gc", "--grace", "1h"]).fails(2, &["--remote"]);
}
