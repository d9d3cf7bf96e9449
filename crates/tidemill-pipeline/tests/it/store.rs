//! The same over the real store: runs, restores, reproduction, a lost object.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use fs_err as fs;
use tidemill_core::declare::Step;
use tidemill_core::{Cancel, SystemClock};
use tidemill_pipeline::{
    Contents, Dag, LocalExecutor, RunReport, Services, Silent, StoreContents, Untracked, compare, execute,
    log_file, materialise,
};
use tidemill_store::{StatCache, Store, StoreOptions};

use crate::support::{FakeBuiltin, Project, options, states, step};

pub(crate) struct Stored {
    pub(crate) project: Project,
    pub(crate) contents: StoreContents,
}

impl Stored {
    fn new() -> Self {
        let project = Project::new();
        let own = project.root.join(".tidemill");
        let store = Store::open(&own.join("objects"), StoreOptions::default()).unwrap();
        let contents = StoreContents::new(store, StatCache::open(&own.join("stat")).unwrap());
        Self { project, contents }
    }

    pub(crate) fn run(&self, steps: &[Step]) -> RunReport {
        let services = Services {
            contents: &self.contents,
            journal: &self.project.journal,
            builtin: &FakeBuiltin,
            executor: &LocalExecutor::new(&self.project.root.join(".tidemill")),
            tracker: &Untracked,
            observer: &Silent,
            clock: &SystemClock,
        };
        execute(&self.project.root, &Dag::new(steps).unwrap(), &services, &options()).unwrap()
    }
}

pub(crate) fn steps() -> Vec<Step> {
    vec![
        step(
            "split",
            "mkdir -p parts/deep && cp data/*.csv parts && cp tool.sh parts/deep",
            &["data", "tool.sh"],
            &["parts"],
        ),
        step("use", "parts/deep/tool.sh > used.txt", &["parts"], &["used.txt"]),
        step("sum", "cat parts/*.csv > sum.txt", &["parts/*.csv"], &["sum.txt"]),
    ]
}

pub(crate) fn prepared() -> Stored {
    let stored = Stored::new();
    stored
        .project
        .write("data/1.csv", "1\n")
        .write("data/2.csv", "2\n")
        .write("tool.sh", "#!/bin/sh\necho used\n");
    fs::set_permissions(stored.project.root.join("tool.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    stored
}

#[test]
fn changes_run_and_what_is_known_is_restored() {
    let stored = prepared();
    let project = &stored.project;
    let first = stored.run(&steps());
    assert_eq!(states(&first), ["split Ran", "use Ran", "sum Ran"]);
    assert_eq!(states(&stored.run(&steps())), ["split Unchanged", "use Unchanged", "sum Unchanged"]);
    project.write("data/1.csv", "one\n");
    let second = stored.run(&steps());
    assert_eq!(states(&second), ["split Ran", "use Ran", "sum Ran"]);
    assert_eq!(project.read("sum.txt"), "one\n2\n");
    project.write("data/1.csv", "1\n");
    let third = stored.run(&steps());
    assert_eq!(states(&third), ["split Restored", "use Unchanged", "sum Restored"]);
    assert_eq!(project.read("sum.txt"), "1\n2\n");
    assert_eq!(third.lock, first.lock);
    for gone in ["parts", "sum.txt", "used.txt"] {
        let path = project.root.join(gone);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    assert_eq!(states(&stored.run(&steps())), ["split Restored", "use Restored", "sum Restored"]);
    let mode = fs::metadata(project.root.join("parts/deep/tool.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o100, 0o100, "the executable bit came back");
    // A file where a folder was, and a folder where a file was.
    fs::remove_dir_all(project.root.join("parts")).unwrap();
    project.write("parts", "no folder").write("keep/x", "");
    fs::remove_file(project.root.join("sum.txt")).unwrap();
    project.write("sum.txt/x", "no file");
    assert_eq!(states(&stored.run(&steps())), ["split Restored", "use Unchanged", "sum Restored"]);
    assert_eq!(project.read("sum.txt"), "1\n2\n");
}

#[test]
fn what_steps_print_is_stored_with_their_records() {
    let stored = prepared();
    let noisy = step("noisy", "echo one; echo two >&2; cp tool.sh noisy.txt", &["tool.sh"], &["noisy.txt"]);
    let broken = step("broken", "echo about to fail; exit 3", &[], &["never.txt"]);
    let silent = step("silent", "cp tool.sh silent.txt", &["tool.sh"], &["silent.txt"]);
    let report = stored.run(&[silent, noisy, broken]);
    assert_eq!(states(&report), ["silent Ran", "noisy Ran", "broken Failed"]);
    let recorded = stored.project.journal.steps();
    let log = |name: &str| recorded.iter().find(|step| step.step == name).unwrap().stored_log;
    assert_eq!(log("silent"), None);
    for (name, text) in [("noisy", "one\ntwo\n"), ("broken", "about to fail\n")] {
        // The file may go; what the record names stays.
        fs::remove_file(stored.project.root.join(log_file(report.run, name))).unwrap();
        let mut read = String::new();
        stored.contents.open(log(name).unwrap()).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
    }
}

#[test]
fn a_recorded_run_is_repeated_from_the_store() {
    let stored = prepared();
    let lock = stored.run(&steps()).lock;
    let clean = stored.project.root.parent().unwrap().join("clean");
    materialise(&lock, &stored.contents, &clean, &Cancel::new()).unwrap();
    let again = Stored { project: Project::at(&clean), contents: stored.contents };
    let report = again.run(&steps());
    assert_eq!(states(&report), ["split Ran", "use Ran", "sum Ran"]);
    let dag = Dag::new(&steps()).unwrap();
    assert_eq!(compare(&lock, &report.lock, &dag, Some(&again.contents)).unwrap(), []);

    let other = vec![step(
        "split",
        "mkdir -p parts/deep && cp data/*.csv tool.sh parts && echo x >> parts/2.csv && cp tool.sh parts/deep",
        &["data", "tool.sh"],
        &["parts"],
    )];
    let changed = again.run(&other).lock;
    let found = compare(&lock, &changed, &dag, Some(&again.contents)).unwrap();
    let found: Vec<(&str, &str, Option<u64>)> =
        found.iter().map(|d| (d.step.as_str(), d.file.as_str(), d.offset)).collect();
    // The other two steps are gone from this pipeline, so their blocks are gone too.
    let expected = [
        ("split", "parts/2.csv", Some(2)),
        ("split", "parts/tool.sh", None),
        ("use", "used.txt", None),
        ("sum", "sum.txt", None),
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_output_that_the_store_lost_is_made_again() {
    let stored = prepared();
    stored.run(&steps());
    fs::remove_file(stored.project.root.join("sum.txt")).unwrap();
    fs::remove_dir_all(stored.project.root.join(".tidemill/objects")).unwrap();
    let own = stored.project.root.join(".tidemill");
    let store = Store::open(&own.join("objects"), StoreOptions::default()).unwrap();
    let again = Stored {
        contents: StoreContents::new(store, StatCache::in_memory()),
        project: Project::at(&stored.project.root),
    };
    let report = again.run(&steps());
    assert_eq!(states(&report), ["split Unchanged", "use Unchanged", "sum Ran"]);
    assert_eq!(
        report.steps[2].reasons,
        ["output `sum.txt` is missing", "output `sum.txt` is no longer in the store"]
    );
    assert_eq!(again.project.read("sum.txt"), "1\n2\n");
}
