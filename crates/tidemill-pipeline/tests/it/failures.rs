//! Steps and projects that go wrong: what is said, what goes on, and that nothing is lost.

use fs_err as fs;
use tidemill_core::declare::{Sandbox, Step};
use tidemill_core::{Hint, RunState};
use tidemill_pipeline::{LOCK_FILE, Lock, RunOptions};

use crate::support::{Project, failure, options, states, step};

fn fan() -> Vec<Step> {
    vec![
        step("bad", "exit 1", &[], &["bad.txt"]),
        step("after", "cat bad.txt", &["bad.txt"], &[]),
        step("later", "true", &["after.txt"], &[]),
        step("between", "echo > after.txt", &["bad.txt"], &["after.txt"]),
        step("free", "echo ok > free.txt", &[], &["free.txt"]),
    ]
}

#[test]
fn dependants_of_a_failed_step_are_skipped() {
    let project = Project::new();
    let report = project.run(&fan());
    let expected = ["bad Failed", "after Skipped", "between Skipped", "later Skipped", "free Skipped"];
    assert_eq!(states(&report), expected);
    let reason = |step: &str| report.steps.iter().find(|r| r.step == step).unwrap().reasons.clone();
    assert_eq!(reason("later"), ["step `bad`, which it needs, did not succeed"]);
    assert_eq!(reason("free"), ["step `bad` failed"]);
    let report = project.execute(&fan(), &RunOptions { keep_going: true, ..options() }).unwrap();
    let expected = ["bad Failed", "after Skipped", "between Skipped", "later Skipped", "free Ran"];
    assert_eq!(states(&report), expected);
    assert_eq!(report.state, RunState::Failed);
}

#[test]
fn fail_fast_stops_what_is_running() {
    let project = Project::new();
    let wait_and_fail = "until [ -e started ]; do sleep 0.01; done; exit 1";
    let mut steps = vec![
        step("bad", wait_and_fail, &[], &[]),
        step("long", "echo > started; sleep 1000", &[], &["started"]),
    ];
    for step in &mut steps {
        step.sandbox = Sandbox::Off;
    }
    let report = project.execute(&steps, &RunOptions { jobs: 2, fail_fast: true, ..options() }).unwrap();
    assert_eq!(states(&report), ["bad Failed", "long Cancelled"]);
    assert_eq!(report.state, RunState::Failed);
}

#[test]
fn what_succeeded_before_a_failure_is_kept() {
    let project = Project::new();
    let steps = [
        step("good", "echo ok > good.txt", &[], &["good.txt"]),
        step("bad", "cat good.txt > bad.txt; exit 1", &["good.txt"], &["bad.txt"]),
    ];
    assert_eq!(project.states(&steps), ["good Ran", "bad Failed"]);
    let names: Vec<String> = Lock::read(&project.root).unwrap().steps.into_keys().collect();
    assert_eq!(names, ["good"]);
    assert_eq!(project.states(&steps), ["good Unchanged", "bad Failed"]);
}

#[test]
fn an_output_that_was_not_written_is_named() {
    let project = Project::new();
    for sandbox in [Sandbox::On, Sandbox::Off] {
        let lazy = Step { sandbox, ..step("lazy", "echo x > a.txt", &[], &["a.txt", "b.txt", "out/model"]) };
        let report = project.run(&[lazy]);
        let failure = failure(&report, "lazy");
        let message = "step `lazy` ended without writing its output `b.txt`, `out/model`";
        assert_eq!(failure.message, message);
        let hint =
            "write it, or remove `b.txt` from `outs:` of the step (tidemill.yaml:12); run just this step";
        assert!(failure.hint.clone().unwrap().starts_with(hint), "{failure:?}");
        assert!(!project.exists("b.txt") && !project.exists("out/model"), "{sandbox:?}");
    }
    // An output that the step leaves empty is there all the same.
    let empty = step("empty", ": > e.txt; mkdir -p d && touch d/x", &[], &["e.txt", "d"]);
    assert_eq!(project.states(&[empty]), ["empty Ran"]);
}

#[test]
fn outputs_of_an_earlier_run_are_removed_first() {
    let project = Project::new();
    project.write("in.txt", "1").write("out/stale", "x");
    let steps =
        [step("make", "[ -e out/stale ] && exit 9; mkdir -p out; cp in.txt out", &["in.txt"], &["out"])];
    assert_eq!(project.states(&steps), ["make Ran"]);
    assert!(!project.exists("out/stale"));
}

#[test]
fn a_dependency_that_changes_while_it_is_read_is_noticed() {
    let project = Project::new();
    project.write("in.txt", "before");
    let changing = Step {
        sandbox: Sandbox::Off,
        ..step("race", "cat in.txt > out.txt; echo after > in.txt", &["in.txt"], &["out.txt"])
    };
    let report = project.run(&[changing]);
    assert_eq!(failure(&report, "race").message, "`in.txt` changed while step `race` ran");
    assert!(!project.exists(LOCK_FILE) || !project.read(LOCK_FILE).contains("step race"));
}

#[test]
fn a_damaged_lock_file_stops_the_run_before_it_begins() {
    let project = Project::new();
    project.write(LOCK_FILE, "version 1\n\nstep a\n  keys x\n");
    let error = project.execute(&[step("a", "echo > x", &[], &["x"])], &options()).unwrap_err();
    assert_eq!(error.to_string(), "tidemill.lock:4: unknown field `keys` of step `a`; did you mean `key`?");
    assert!(error.hint().unwrap().contains("git checkout tidemill.lock"));
    assert!(!project.exists("x"));
}

#[test]
fn odd_file_names_and_link_loops() {
    use std::os::unix::ffi::OsStrExt;
    let project = Project::new();
    project.write("data/a b\nc.csv", "1").write("data/é\".csv", "2");
    fs::os::unix::fs::symlink("loop", project.root.join("data/loop")).unwrap();
    fs::os::unix::fs::symlink("..", project.root.join("data/up")).unwrap();
    let steps = [step("sum", "cat data/*.csv > sum", &["data/**/*.csv"], &["sum"])];
    assert_eq!(project.states(&steps), ["sum Ran"]);
    assert_eq!(project.states(&steps), ["sum Unchanged"]);
    assert_eq!(project.read("sum"), "12");
    let name = std::ffi::OsStr::from_bytes(b"data/\xff.csv");
    fs::write(project.root.join(name), "3").unwrap();
    let error = project.execute(&steps, &options()).unwrap_err();
    assert_eq!(error.to_string(), "`data/\u{fffd}.csv` matches `data/**/*.csv`, but its name is not UTF-8");
}

#[test]
fn an_output_behind_a_link_out_of_the_project_is_refused() {
    let project = Project::new();
    let outside = project.root.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("x"), "precious").unwrap();
    fs::os::unix::fs::symlink(&outside, project.root.join("out")).unwrap();
    let report = project.run(&[step("leak", "echo > out/x", &[], &["out/x"])]);
    let message = "its output `out/x` is outside of the project folder, behind a symbolic link";
    assert_eq!(failure(&report, "leak").message, message);
    assert_eq!(fs::read_to_string(outside.join("x")).unwrap(), "precious");
}
