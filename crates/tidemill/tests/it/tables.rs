//! Where tables come from: declared formats, addresses of files.

use crate::fixture::Project;

#[test]
fn a_declared_format_holds_everywhere() {
    // The ending says nothing, and the separator would be guessed wrong.
    let text = "
project: formats
objective: {task: {kind: regression, target: y}}
data:
  t: {path: raw/t.txt, format: tsv, expect: [{not_null: [id]}, {row_count: {min: 40}}]}
pipeline:
  q: {sql: 'select id, note, y from t where id > 1 order by id', inputs: [t], outs: [q.parquet]}
  train:
    train: {algorithm: ridge, features: t, drop: [id, note], seed: 1}
    outs: [model]
";
    let project = Project::new(text);
    let rows: String = (1..=60).map(|i| format!("{i}\ta,b;c|d\t{}\t{}\n", i % 7, 3 * (i % 7) + 1)).collect();
    project.write("raw/t.txt", format!("id\tnote\tx\ty\n{rows}"));
    project.run(&["check"]).good().says(&["2 of 2 expectations hold on 60 rows"]);
    project.run(&["run"]).good();
    let lines = project.run(&["data", "diff", "q.parquet", "raw/t.txt"]);
    assert!(project.has("q.parquet") && project.has("model/model.onnx"), "{lines}");
    assert!(project.read("tidemill.lock").contains("format t tsv"));
    project.run(&["run"]).good().says(&["nothing to do"]);

    // Another format is another meaning of the same bytes.
    project.write("tidemill.yaml", text.replace("format: tsv, ", ""));
    project.run(&["run", "q"]).fails(1, &["raw/t.txt", "the format of", "declare the format"]);
    project.write("tidemill.yaml", text.replace("tsv", "csv"));
    let plan = project.run(&["run", "--dry-run", "q", "--no-tests"]).good().stdout;
    assert!(plan.contains("declared inputs changed"), "{plan}");
}

#[test]
fn files_outside_of_the_project_are_read_by_address() {
    let outside = tempfile::tempdir().unwrap();
    for month in ["01", "02"] {
        fs_err::write(outside.path().join(format!("m{month}.csv")), format!("id,month\n{month},{month}\n"))
            .unwrap();
    }
    let text = format!(
        "
project: outside
data:
  months: {{path: 'file://{}/m*.csv', expect: [{{row_count: {{min: 2}}}}]}}
pipeline:
  q: {{sql: 'select count(*) as n from months', inputs: [months], outs: [q.parquet]}}
",
        outside.path().display()
    );
    let project = Project::new(&text);
    project.run(&["run"]).good();
    project.run(&["run"]).good().says(&["nothing to do"]);
    fs_err::write(outside.path().join("m03.csv"), "id,month\n03,03\n").unwrap();
    assert_eq!(project.states(&[]), [("q".to_owned(), "ran".to_owned())]);
    project.write("tidemill.yaml", text.replace("min: 2", "min: 9"));
    project.run(&["check"]).fails(1, &[]).says(&["broken", "row_count"]);
    project.write("tidemill.yaml", text.replace("m*.csv", "none*.csv"));
    project.run(&["run"]).fails(1, &["none*.csv"]);
}

#[test]
fn a_store_in_a_bucket_is_a_remote() {
    let project = Project::new("project: x\nstore: {path: 's3://bucket/x'}\n");
    project.run(&["check"]).fails(2, &["tidemill.yaml:2", "the local store is a folder", "remotes"]);
    let remote = "project: x\nstore: {remotes: {main: {url: 's3://bucket/x', options: {regoin: eu}}}}\n";
    let project = Project::new(remote);
    project.run(&["data", "push"]).fails(1, &["this object store has no option `regoin`"]);
}
