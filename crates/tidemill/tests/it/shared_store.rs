//! `store.url`: machines that share one store, each with its own database.

use crate::fixture::Project;

/// A project on a machine of its own, over the store in `folder`.
fn machine(folder: &std::path::Path) -> Project {
    let url = format!("file://{}", folder.display());
    let step = "{run: cat in.txt > out.txt, deps: [in.txt], outs: [out.txt]}";
    Project::new(&format!("{{project: shared, store: {{url: \"{url}\"}}, pipeline: {{a: {step}}}}}"))
}

#[test]
fn versions_and_results_of_one_machine_are_those_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (machine(folder.path()), machine(folder.path()));
    here.write("table.csv", "id,x\n1,2\n");
    here.run(&["data", "add", "table", "table.csv"]).good().says(&["table@1"]);
    here.write("in.txt", "in\n");
    assert_eq!(here.states(&[]), [("a".to_owned(), "ran".to_owned())]);

    // Names, content, and what a step made: without a push, without a pull.
    there.run(&["data", "ls"]).good().says(&["table"]);
    there.run(&["data", "get", "table", "--out", "t.csv"]).good();
    assert_eq!(there.read("t.csv"), "id,x\n1,2\n");
    there.write("in.txt", "in\n");
    there.run(&["status"]).good().says(&["restore"]);
    assert_eq!(there.states(&[]), [("a".to_owned(), "restored".to_owned())]);
    assert_eq!(there.read("out.txt"), "in\n");

    // Both go on: no number means two contents, and each knows both.
    there.write("table.csv", "id,x\n1,3\n");
    there.run(&["data", "add", "table", "table.csv"]).good().says(&["table@2"]);
    here.write("table.csv", "id,x\n1,4\n2,2\n");
    here.run(&["data", "add", "table", "table.csv"]).good().says(&["table@3"]);
    here.run(&["data", "add", "table", "table.csv"]).good().says(&["holds this already"]);
    there.run(&["data", "diff", "table@2", "table@3"]).good();

    // The folder is a cache: it may be collected or lost.
    there.run(&["gc", "--yes"]).good();
    fs_err::remove_dir_all(here.path(".tidemill/store")).unwrap();
    here.run(&["data", "get", "table@2", "--out", "two.csv"]).good();
    assert_eq!(here.read("two.csv"), "id,x\n1,3\n");
    for machine in [&here, &there] {
        machine.run(&["data", "verify"]).good();
        machine.run(&["log", "verify"]).good();
    }
    let url = format!("file://{}", folder.path().display());
    here.run(&["gc", "--remote", &url, "--yes"]).fails(1, &["is the store of a project"]);
}

#[test]
fn nothing_is_acknowledged_that_the_store_does_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let project = machine(&folder.path().join("file/below"));
    fs_err::write(folder.path().join("file"), "not a folder").unwrap();
    project.write("table.csv", "id\n1\n");
    project.run(&["data", "add", "table", "table.csv"]).fails(1, &["file/below"]);
    fs_err::remove_file(folder.path().join("file")).unwrap();
    project.run(&["data", "add", "table", "table.csv"]).good().says(&["table@1"]);
    let bad = Project::new("{project: bad, store: {options: {region: x}, remotes: {}}}");
    bad.run(&["check"]).fails(2, &["these options are of no address"]);
}
