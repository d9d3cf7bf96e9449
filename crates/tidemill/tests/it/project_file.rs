//! Errors of project files as users see them.

use crate::fixture::Project;

#[test]
fn several_errors_at_once_with_places_and_hints() {
    let project = Project::new(
        "project: x
pipline:
  a: {run: echo}
pipeline:
  b: {run: echo, outs: [../outside.txt]}
  c: {rn: echo}
",
    );
    project.run(&["status"]).fails(
        2,
        &[
            "tidemill.yaml:2:1",
            "unknown key `pipline`",
            "tidemill.yaml:6:7",
            "unknown key `rn`",
            "did you mean `run`?",
        ],
    );
    assert!(!project.has(".tidemill"));
}

#[test]
fn errors_as_json() {
    let project = Project::new("{project: x, pipelin: {}}");
    let ran = project.run(&["status", "--json"]);
    assert_eq!(ran.code, Some(2));
    let first = &ran.json()["error"]["diagnostics"][0];
    assert_eq!((&first["line"], &first["column"]), (&1.into(), &14.into()), "{ran}");
}

#[test]
fn a_cycle_is_named() {
    let project = Project::new(
        "{project: x, pipeline: {
  a: {run: cat b > a, deps: [b], outs: [a]},
  b: {run: cat a > b, deps: [a], outs: [b]}}}",
    );
    project.run(&["run"]).fails(2, &["a ← b ← a"]);
}

#[test]
fn two_writers_of_one_output() {
    let project = Project::new(
        "{project: x, pipeline: {a: {run: echo > o, outs: [o]}, b: {run: echo > o, outs: [o]}}}",
    );
    project.run(&["run"]).fails(2, &["`o`", "`a`"]);
}

#[test]
fn a_missing_dependency() {
    let project =
        Project::new("{project: x, pipeline: {a: {run: cat sorce.txt > a, deps: [sorce.txt], outs: [a]}}}");
    project.write("source.txt", "x");
    project.run(&["run"]).fails(1, &["`sorce.txt`", "did you mean `source.txt`?"]);
}

#[test]
fn no_project_and_no_text() {
    let project = Project::empty();
    project.run(&["run"]).fails(2, &["there is no `tidemill.yaml`", "tidemill init"]);
    project.write("tidemill.yaml", b"\xff\xfe\x00");
    project.run(&["run"]).fails(2, &["tidemill.yaml", "UTF-8"]);
    project.write("tidemill.yaml", "");
    project.run(&["run"]).fails(2, &["tidemill.yaml"]);
}

#[test]
fn the_schema_is_json_schema() {
    let schema = Project::empty().run(&["schema"]).good().json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["pipeline"].is_object());
}

#[test]
fn a_lock_file_edited_by_hand() {
    let project = Project::new("{project: x, pipeline: {a: {run: echo 1 > a, outs: [a]}}}");
    project.run(&["run"]).good();
    let lock = project.read("tidemill.lock");
    let broken = lock.replacen("b3:", "b3:zz", 1);
    assert_ne!(lock, broken);
    project.write("tidemill.lock", &broken);
    project.run(&["run"]).fails(1, &["tidemill.lock:", "delete `tidemill.lock`"]);
    project.write("tidemill.lock", format!("<<<<<<< ours\n{lock}=======\n>>>>>>> theirs\n"));
    project.run(&["status"]).fails(1, &["tidemill.lock:1", "merge"]);
    fs_err::remove_file(project.path("tidemill.lock")).unwrap();
    project.run(&["run"]).good();
    assert_eq!(project.read("tidemill.lock"), lock);
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let text = Project::empty().run(&["completions", shell]).good().stdout;
        assert!(text.contains("tidemill"), "{shell}");
    }
}
