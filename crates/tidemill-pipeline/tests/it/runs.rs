//! What runs, what is restored, what stays, and what is left in the project afterwards.

use std::collections::BTreeMap;

use fs_err as fs;
use tidemill_core::RunState;
use tidemill_core::declare::{EnvSource, Step};
use tidemill_pipeline::{Dag, Decision, LOCK_FILE, Lock, RunOptions, Selection, Workspace, plan};

use crate::support::{FakeBuiltin, Project, failure, options, query, states, step};

/// Two branches that meet: `a` from a source, `b` and `c` from `a`, `d` from both.
fn diamond() -> Vec<Step> {
    vec![
        step("d", "cat b.txt c.txt > d.txt", &["b.txt", "c.txt"], &["d.txt"]),
        step("a", "cat in.txt > a.txt", &["in.txt"], &["a.txt"]),
        step("b", "head -c 1 a.txt > b.txt", &["a.txt"], &["b.txt"]),
        step("c", "mkdir -p c && cat a.txt > c/x && cat c/x > c.txt", &["a.txt"], &["c.txt", "c"]),
    ]
}

#[test]
fn only_what_a_change_reaches_runs() {
    let project = Project::new();
    project.write("in.txt", "hello");
    let steps = diamond();
    assert_eq!(project.states(&steps), ["a Ran", "b Ran", "c Ran", "d Ran"]);
    assert_eq!(project.read("d.txt"), "hhello");
    assert_eq!(project.states(&steps), ["a Unchanged", "b Unchanged", "c Unchanged", "d Unchanged"]);

    // Touching changes nothing.
    project.write("in.txt", "hello");
    assert_eq!(project.states(&steps), ["a Unchanged", "b Unchanged", "c Unchanged", "d Unchanged"]);

    // `b` keeps only the first letter, so what follows from it alone would stop there.
    project.write("in.txt", "howdy");
    assert_eq!(project.states(&steps), ["a Ran", "b Ran", "c Ran", "d Ran"]);
    let only = [steps[1].clone(), steps[2].clone(), step("e", "cat b.txt > e.txt", &["b.txt"], &["e.txt"])];
    project.run(&only);
    project.write("in.txt", "horse");
    assert_eq!(project.states(&only), ["a Ran", "b Ran", "e Unchanged"]);

    // Going back restores without running.
    project.write("in.txt", "hello");
    assert_eq!(project.states(&steps), ["a Restored", "b Unchanged", "c Restored", "d Restored"]);
    assert_eq!((project.read("d.txt"), project.read("c/x")), ("hhello".to_owned(), "hello".to_owned()));
}

#[test]
fn lost_and_modified_outputs_come_back_from_the_store() {
    let project = Project::new();
    project.write("in.txt", "hello");
    let steps = diamond();
    let lock = project.run(&steps).lock;
    fs::remove_file(project.root.join("a.txt")).unwrap();
    fs::remove_dir_all(project.root.join("c")).unwrap();
    project.write("d.txt", "by hand");
    let report = project.run(&steps);
    assert_eq!(states(&report), ["a Restored", "b Unchanged", "c Restored", "d Restored"]);
    assert_eq!(report.steps[3].reasons, ["output `d.txt` was modified"]);
    assert_eq!((project.read("a.txt"), project.read("d.txt")), ("hello".to_owned(), "hhello".to_owned()));
    assert_eq!(report.lock, lock);
    // What the store has lost is made again, and what follows stays.
    project.contents.remove(&lock.steps["a"].outs["a.txt"]);
    fs::remove_file(project.root.join("a.txt")).unwrap();
    assert_eq!(project.states(&steps), ["a Ran", "b Unchanged", "c Unchanged", "d Unchanged"]);
}

#[test]
fn a_fresh_clone_restores_everything_by_its_lock_file() {
    let project = Project::new();
    project.write("in.txt", "hello");
    let steps = diamond();
    project.run(&steps);
    for gone in ["a.txt", "b.txt", "c.txt", "d.txt", ".tidemill/journal"] {
        fs::remove_file(project.root.join(gone)).unwrap();
    }
    let clone = Project::at(&project.root);
    assert_eq!(clone.states(&steps), ["a Restored", "b Restored", "c Restored", "d Restored"]);
    // And without the lock file, by the journal's memory of actions.
    let project = Project::new();
    project.write("in.txt", "hello");
    project.run(&steps);
    fs::remove_file(project.root.join(LOCK_FILE)).unwrap();
    assert_eq!(project.states(&steps), ["a Unchanged", "b Unchanged", "c Unchanged", "d Unchanged"]);
    assert!(project.exists(LOCK_FILE));
}

#[test]
fn the_lock_file_keeps_what_was_not_run_and_drops_what_is_gone() {
    let project = Project::new();
    project.write("in.txt", "hello");
    let steps = diamond();
    let all = project.run(&steps).lock;
    project.write("in.txt", "howdy");
    let selection = Selection { steps: vec!["b".to_owned()], downstream: false };
    let report = project.execute(&steps, &RunOptions { selection, ..options() }).unwrap();
    assert_eq!(states(&report), ["a Ran", "b Ran"]);
    let lock = Lock::read(&project.root).unwrap();
    assert_eq!(lock.steps["d"], all.steps["d"]);
    assert_ne!(lock.steps["a"], all.steps["a"]);
    project.run(&steps[1..2]);
    let names: Vec<String> = Lock::read(&project.root).unwrap().steps.into_keys().collect();
    assert_eq!(names, ["a"]);
}

#[test]
fn a_process_sees_only_what_is_declared() {
    let project = Project::new();
    let mut print =
        step("env", "env | sort > env.txt; ls \"$TMPDIR\" && touch \"$TMPDIR/x\"", &[], &["env.txt"]);
    print.params = BTreeMap::from([("rate".to_owned(), serde_json::json!(0.5))]);
    print.env.insert("MODE".to_owned(), EnvSource::Value("fast".to_owned()));
    print.env.insert("ABSENT".to_owned(), EnvSource::Inherit);
    let mut options = options();
    options.environment.insert("LC_ALL".to_owned(), "C.UTF-8".into());
    options.extra_env.insert("MLFLOW_TRACKING_URI".to_owned(), "http://127.0.0.1:5000".into());
    let report = project.execute(&[print.clone()], &options).unwrap();
    assert_eq!(report.state, RunState::Succeeded);
    let text = project.read("env.txt");
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // PWD, OLDPWD, SHLVL and _ are the shell's own.
    let names: Vec<&str> =
        names.into_iter().filter(|n| !["PWD", "OLDPWD", "SHLVL", "_"].contains(n)).collect();
    let expected = [
        "LC_ALL",
        "MLFLOW_TRACKING_URI",
        "MODE",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "TIDEMILL_PARAMS",
        "TIDEMILL_PROJECT_DIR",
        "TIDEMILL_RUN_ID",
        "TIDEMILL_STEP",
        "TMPDIR",
        "TRACKED",
    ];
    assert_eq!(names, expected);
    assert!(text.contains("TRACKED=run of env\n"), "{text}");
    assert!(text.contains("TIDEMILL_PARAMS={\"rate\":0.5}\n"), "{text}");
    let left: Vec<_> = fs::read_dir(project.root.join(".tidemill/tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");

    print.env.insert("SECRET_OF_MINE".to_owned(), EnvSource::Secret);
    project.execute(&[print.clone()], &options).unwrap();
    assert!(project.read("env.txt").contains("SECRET_OF_MINE=hidden"));
    assert!(!project.read(LOCK_FILE).contains("hidden"));
    assert!(!project.read(".tidemill/journal").contains("hidden"));
    print.env.insert("NOT_SET".to_owned(), EnvSource::Secret);
    let report = project.execute(&[print], &options).unwrap();
    assert_eq!(failure(&report, "env").message, "the secret `NOT_SET` is not set in Tidemill's environment");
}

#[test]
fn patterns_follow_the_files_that_are_there() {
    let project = Project::new();
    project.write("data/1.csv", "1").write("data/2.csv", "2").write("data/x.txt", "no");
    let steps = [
        step("split", "mkdir -p parts && cp data/*.csv parts", &["data/*.csv"], &["parts"]),
        step("sum", "cat parts/*.csv > sum", &["parts/*.csv"], &["sum"]),
    ];
    assert_eq!(project.states(&steps), ["split Ran", "sum Ran"]);
    assert_eq!(project.read("sum"), "12");
    project.write("data/x.txt", "other");
    assert_eq!(project.states(&steps), ["split Unchanged", "sum Unchanged"]);
    project.write("data/3 three.csv", "3");
    let report = project.run(&steps);
    assert_eq!(states(&report), ["split Ran", "sum Ran"]);
    assert_eq!(report.steps[0].reasons, ["`data/3 three.csv` is new"]);
    assert_eq!(report.steps[1].reasons, ["`parts/3 three.csv` is new"]);
    assert_eq!(project.read("sum"), "123");
}

#[test]
fn persistent_outputs_are_given_to_the_step() {
    let project = Project::new();
    let mut count = step("count", "echo x >> log.txt", &["in.txt"], &["log.txt"]);
    count.outs[0].persist = true;
    for version in ["1", "2", "3"] {
        project.write("in.txt", version);
        assert_eq!(project.states(std::slice::from_ref(&count)), ["count Ran"]);
    }
    assert_eq!(project.read("log.txt"), "x\nx\nx\n");
    count.outs[0].persist = false;
    project.write("in.txt", "4");
    project.run(std::slice::from_ref(&count));
    assert_eq!(project.read("log.txt"), "x\n");
}

#[test]
fn steps_run_side_by_side() {
    let project = Project::new();
    // Each waits for the other's sign, which only works if both run at once.
    project.write("signs/none", "");
    let meet = |own: &str, other: &str| {
        format!("echo > signs/{own}; until [ -e signs/{other} ]; do sleep 0.01; done; echo ok > {own}.txt")
    };
    let mut steps = [
        step("one", &meet("one", "two"), &[], &["one.txt"]),
        step("two", &meet("two", "one"), &[], &["two.txt"]),
    ];
    for step in &mut steps {
        step.sandbox = tidemill_core::declare::Sandbox::Off;
        step.timeout = Some(std::time::Duration::from_secs(30));
    }
    let report = project.execute(&steps, &RunOptions { jobs: 2, ..options() }).unwrap();
    assert_eq!(states(&report), ["one Ran", "two Ran"]);
}

#[test]
fn force_runs_again_and_a_plan_without_running_changes_nothing() {
    let project = Project::new();
    project.write("in.txt", "hello");
    let steps = diamond();
    project.run(&steps);
    let report = project.execute(&steps, &RunOptions { force: true, ..options() }).unwrap();
    assert_eq!(states(&report), ["a Ran", "b Ran", "c Ran", "d Ran"]);
    project.write("in.txt", "other");
    let lock = Lock::read(&project.root).unwrap();
    let (cancel, options) = (tidemill_core::Cancel::new(), options());
    let view = Workspace {
        root: &project.root,
        contents: &project.contents,
        journal: &project.journal,
        builtin: &FakeBuiltin,
        env: &options.environment,
        lock: &lock,
        cancel: &cancel,
    };
    let plan = plan(&Dag::new(&steps).unwrap(), &view, &Selection::default(), false).unwrap();
    assert_eq!((plan.count(Decision::Run), plan.count(Decision::MayRun)), (1, 3));
    assert_eq!(plan.steps[0].reasons[0].to_string(), "`in.txt` changed");
    assert_eq!(project.read("a.txt"), "hello");
}

#[test]
fn built_in_steps_run_in_this_process() {
    let project = Project::new();
    let steps = [
        query("q", "select 1", "q.parquet"),
        step("use", "cat q.parquet > u.txt", &["q.parquet"], &["u.txt"]),
    ];
    assert_eq!(project.states(&steps), ["q Ran", "use Ran"]);
    assert_eq!(project.read("u.txt"), "select 1");
    assert_eq!(*project.told.lines.lock().unwrap(), ["q: query: select 1"]);
    assert_eq!(project.states(&steps), ["q Unchanged", "use Unchanged"]);
}

#[test]
fn a_tracker_sees_the_bodies_that_run_and_nothing_else() {
    let project = Project::new();
    let steps = [
        step("good", "echo a > a.txt", &[], &["a.txt"]),
        step("bad", "test -e now && echo b > b.txt", &["a.txt"], &["b.txt"]),
        step("after", "cat b.txt > c.txt", &["b.txt"], &["c.txt"]),
    ];
    let report = project.run(&steps);
    assert_eq!(report.state, RunState::Failed);
    let told = project.told.tracked.lock().unwrap().clone();
    assert_eq!(
        told,
        [
            "begin good",
            "end good Ran [\"a.txt\"], no failure",
            "begin bad",
            "end bad Failed [], step `bad` failed with exit code 1",
        ]
    );
    project.execute(&steps[..1], &options()).unwrap();
    assert_eq!(*project.told.tracked.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_step_that_cannot_be_tracked_fails_with_the_reason() {
    let project = Project::new();
    let report = project.run(&[step("untrackable", "echo a > a.txt", &[], &["a.txt"])]);
    assert_eq!(failure(&report, "untrackable").message, "no run for it");
    assert!(!project.exists("a.txt"));
    let report = project.run(&[step("unrecordable", "echo a > a.txt", &[], &["a.txt"])]);
    assert_eq!(failure(&report, "unrecordable").message, "its end is not recorded");
}

#[test]
fn built_in_steps_share_the_cores() {
    let project = Project::new();
    let with = |jobs, force| RunOptions { cores: 8, jobs, force, ..options() };
    project.execute(&[query("alone", "threads", "alone.txt")], &with(8, false)).unwrap();
    assert_eq!(project.read("alone.txt"), "8");
    let both = [query("a", "threads", "a.txt"), query("b", "threads", "b.txt")];
    project.execute(&both, &with(8, false)).unwrap();
    assert_eq!((project.read("a.txt"), project.read("b.txt")), ("4".to_owned(), "4".to_owned()));
    // One at a time each has all of them, and what is up to date takes none.
    project.execute(&both, &with(1, true)).unwrap();
    assert_eq!((project.read("a.txt"), project.read("b.txt")), ("8".to_owned(), "8".to_owned()));
    let more = [both.as_slice(), &[query("c", "threads", "c.txt")]].concat();
    project.execute(&more, &with(8, false)).unwrap();
    assert_eq!(project.read("c.txt"), "8");
}
