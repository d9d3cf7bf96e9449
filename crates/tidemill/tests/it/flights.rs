//! The shipped example, end to end.

use crate::fixture::{Project, copy, repository};

fn example() -> Project {
    let project = Project::empty();
    copy(&repository().join("examples/flights"), project.root());
    for out in ["features.parquet", "traffic.parquet", "tidemill.lock"] {
        let _ = fs_err::remove_file(project.path(out));
    }
    for out in ["model", "simple", ".tidemill"] {
        let _ = fs_err::remove_dir_all(project.path(out));
    }
    project
}

#[test]
fn the_example_runs_and_only_what_changed_runs_again() {
    let project = example();
    let ran = project.run(&["run"]).good();
    let ran = ran.says(&["4 ran", "roc_auc", "EUR", "never acting", "tests of train", "outputs in"]);
    assert!(!ran.stdout.contains('✗'), "{ran}");
    let first = project.files();

    project.run(&["run"]).good().says(&["nothing to do: 4 steps up to date", "roc_auc"]);

    // One line of one query: what it reaches runs, the rest does not.
    let sql = project.read("sql/features.sql");
    project.write("sql/features.sql", sql.replace("  f.minute,\n", ""));
    let states = project.states(&[]);
    let expected = [("features", "ran"), ("simple", "ran"), ("traffic", "unchanged"), ("train", "ran")];
    let mut sorted = states.clone();
    sorted.sort();
    assert_eq!(sorted, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));

    // And back: nothing runs, every byte is as before.
    project.write("sql/features.sql", sql);
    let states = project.states(&[]);
    assert!(states.iter().all(|(_, state)| state != "ran"), "{states:?}");
    assert_eq!(project.files(), first);

    a_page_is_kept_with_its_pictures(&project);

    project.run(&["reproduce", "last"]).good().says(&["identical: 4 outputs of 4 steps"]);
    project.run(&["log", "verify"]).good();
    project.run(&["data", "verify"]).good();
}

/// Of the version that the first run registered, where no server ever ran.
fn a_page_is_kept_with_its_pictures(project: &Project) {
    let page = "http://127.0.0.1:5000/models/flights-late/1";
    project.run(&["report", page, "--out", "kept"]).good().says(&["wrote kept/report.md with "]);
    let text = project.read("kept/report.md");
    assert!(text.starts_with("# flights-late v1\n") && text.contains("](cost-curve.svg)"), "{text}");
    for line in text.lines().filter(|line| line.starts_with("![")) {
        let name = line.rsplit_once('(').unwrap().1.trim_end_matches(')');
        let picture = project.read(&format!("kept/{name}"));
        assert!(
            picture.starts_with("<svg xmlns=") && picture.trim_end().ends_with("</svg>"),
            "{name}: {picture}"
        );
        assert!(!picture.contains("var(--"), "{name}: {picture}");
    }
    project.run(&["report", "/nowhere", "--out", "none"]).fails(2, &["there is no page `/nowhere`"]);
    assert!(!project.path("none").exists());
}
