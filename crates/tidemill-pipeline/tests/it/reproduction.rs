//! A recorded run can be repeated from what the store kept, and a difference is found where it begins.

use fs_err as fs;
use tidemill_core::declare::Step;
use tidemill_core::{Cancel, Digest, RunId};
use tidemill_pipeline::{Dag, Difference, RunOptions, compare, materialise};

use crate::support::{Project, options, states, step};

fn steps(last: &str) -> Vec<Step> {
    vec![
        step("prepare", "mkdir -p parts && cp data/*.csv parts", &["data"], &["parts"]),
        step("train", last, &["parts", "train.txt"], &["model"]),
        step("report", "cat model/x > report.txt", &["model"], &["report.txt"]),
    ]
}

const STEADY: &str = "mkdir -p model && cat parts/*.csv train.txt > model/x && echo same > model/y";
const SHAKY: &str =
    "mkdir -p model && cat parts/*.csv train.txt > model/x && echo $TIDEMILL_RUN_ID > model/y";

#[test]
fn a_steady_run_repeats_to_the_byte_from_the_store_alone() {
    let project = Project::new();
    project.write("data/1.csv", "1\n").write("data/sub/2.csv", "2\n").write("train.txt", "fit\n");
    let lock = project.run(&steps(STEADY)).lock;
    for gone in ["data", "parts", "model"] {
        fs::remove_dir_all(project.root.join(gone)).unwrap();
    }
    fs::remove_file(project.root.join("train.txt")).unwrap();
    let clean = project.root.parent().unwrap().join("clean");
    materialise(&lock, &project.contents, &clean, &Cancel::new()).unwrap();
    let again = Project::at(&clean);
    let report = again.run(&steps(STEADY));
    assert_eq!(states(&report), ["prepare Ran", "train Ran", "report Ran"]);
    let dag = Dag::new(&steps(STEADY)).unwrap();
    assert_eq!(compare(&lock, &report.lock, &dag, Some(&project.contents)).unwrap(), []);
    let error = materialise(&lock, &project.contents, &clean, &Cancel::new()).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` is not empty", clean.display()));
}

#[test]
fn the_first_step_and_file_that_differ_are_named() {
    let project = Project::new();
    project.write("data/1.csv", "1\n").write("train.txt", "fit\n");
    let run = |byte: u8| RunOptions { run: RunId::from_entropy([byte; 16]), force: true, ..options() };
    let lock = project.execute(&steps(SHAKY), &run(0x01)).unwrap().lock;
    let repeated = project.execute(&steps(SHAKY), &run(0x11)).unwrap().lock;
    let dag = Dag::new(&steps(SHAKY)).unwrap();
    // The run ids are 0101… and 1111…
    let expected = Difference {
        step: "train".to_owned(),
        file: "model/y".to_owned(),
        recorded: Some(Digest::of(format!("{}\n", "01".repeat(16)).as_bytes())),
        repeated: Some(Digest::of(format!("{}\n", "11".repeat(16)).as_bytes())),
        offset: Some(0),
    };
    assert_eq!(compare(&lock, &repeated, &dag, Some(&project.contents)).unwrap(), [expected]);
    let found = compare(&lock, &repeated, &dag, None).unwrap();
    assert_eq!((found.len(), found[0].file.as_str(), found[0].offset), (1, "model", None));
}

#[test]
fn inputs_that_the_store_has_lost_are_named() {
    let project = Project::new();
    project.write("data/1.csv", "1\n").write("train.txt", "fit\n");
    let lock = project.run(&steps(STEADY)).lock;
    project.contents.remove(&lock.steps["train"].record.deps["train.txt"]);
    let clean = project.root.parent().unwrap().join("clean");
    let error = materialise(&lock, &project.contents, &clean, &Cancel::new()).unwrap_err();
    let id = Digest::of(b"fit\n");
    assert_eq!(error.to_string(), format!("`train.txt` as step `train` had it ({id}) is not in the store"));
    assert!(fs::read_dir(&clean).unwrap().next().is_none());
}
