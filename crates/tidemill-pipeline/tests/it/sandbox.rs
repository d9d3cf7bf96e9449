//! Undeclared reads and writes are refused and named; what a step needs to work is not.

use fs_err as fs;
use tidemill_core::declare::{Sandbox, Step};
use tidemill_pipeline::{Executor, LocalExecutor, RunOptions, SandboxSupport};

use crate::support::{Project, failure, options, states, step};

/// The tests of this module mean nothing where the kernel has no Landlock, and say so.
pub(crate) fn project() -> Project {
    let support = LocalExecutor::new(std::path::Path::new(".")).sandbox();
    assert_eq!(support, SandboxSupport::Available, "these tests need a kernel with Landlock (Linux 5.13)");
    Project::new()
}

pub(crate) fn python() -> String {
    let named = std::env::var("TIDEMILL_TEST_PYTHON").map(std::path::PathBuf::from);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = named.unwrap_or_else(|_| root.join(".venv/bin/python"));
    let path = if path.is_relative() { root.join(path) } else { path };
    assert!(path.exists(), "{} is missing: run `cargo xtask setup`", path.display());
    path.to_str().unwrap().to_owned()
}

fn message(project: &Project, step: Step) -> (String, String) {
    let name = step.name.clone();
    let failure = failure(&project.run(&[step]), &name);
    let hint = failure.hint.unwrap();
    (failure.message, hint.split("; run just this step").next().unwrap().to_owned())
}

#[test]
fn an_undeclared_read_is_named_with_the_line_to_add() {
    let project = project();
    project.write("data/x.csv", "1").write("data/y.csv", "1");
    let found =
        message(&project, step("train", "cat data/y.csv data/x.csv > o.txt", &["data/y.csv"], &["o.txt"]));
    let expected = (
        "step `train` tried to read `data/x.csv`, which it does not declare".to_owned(),
        "add `data/x.csv` to `deps:` of step `train` (tidemill.yaml:12)".to_owned(),
    );
    assert_eq!(found, expected);
    // A failed step leaves nothing behind.
    assert!(!project.exists("o.txt") || project.read("o.txt") == "1");
    let declared = step("train", "cat data/y.csv data/x.csv > o.txt", &["data"], &["o.txt"]);
    assert_eq!(project.states(&[declared]), ["train Ran"]);
    let open = step("train", "cat data/x.csv > o.txt", &[], &["o.txt"]);
    assert_eq!(project.states(&[Step { sandbox: Sandbox::Off, ..open.clone() }]), ["train Ran"]);
    let report = project.execute(&[open], &RunOptions { sandbox: false, force: true, ..options() }).unwrap();
    assert_eq!(states(&report), ["train Ran"]);
}

#[test]
fn an_undeclared_write_is_named() {
    let project = project();
    project.write("in.txt", "1");
    let found = message(&project, step("w", "echo x > other.txt", &["in.txt"], &["o.txt"]));
    let expected = (
        "step `w` tried to write `other.txt`, which it does not declare".to_owned(),
        "add `other.txt` to `outs:` of step `w` (tidemill.yaml:12), or write temporary files to `$TMPDIR`"
            .to_owned(),
    );
    assert_eq!(found, expected);
    assert!(!project.exists("other.txt") && !project.exists("o.txt"));
    let found = message(&project, step("w", "echo x > in.txt", &["in.txt"], &["o.txt"]));
    assert_eq!(found.0, "step `w` tried to change `in.txt`, which it declares as something it reads");
    assert_eq!(project.read("in.txt"), "1");
    let outside = project.root.parent().unwrap().join("outside.txt");
    let command = format!("echo x > {}", outside.display());
    let found = message(&project, step("w", &command, &[], &["o.txt"]));
    let expected =
        format!("step `w` tried to write `{}`, which is outside of the project folder", outside.display());
    assert_eq!(found.0, expected);
    assert!(!outside.exists());
}

#[test]
fn the_store_and_other_outputs_are_out_of_reach() {
    let project = project();
    let steps =
        [step("a", "echo a > a.txt", &[], &["a.txt"]), step("b", "cat a.txt > b.txt", &[], &["b.txt"])];
    let report = project.run(&steps);
    assert_eq!(states(&report), ["a Ran", "b Failed"]);
    assert_eq!(failure(&report, "b").message, "step `b` tried to read `a.txt`, which it does not declare");
    let peek = step("c", "cat .tidemill/journal > c.txt", &[], &["c.txt"]);
    assert_eq!(failure(&project.run(&[peek]), "c").message, "step `c` was refused access to a file");
}

#[test]
fn outputs_may_be_written_in_the_usual_ways() {
    let project = project();
    project.write("in.txt", "x");
    for (at, (command, out)) in [
        ("cp in.txt OUT", "copy.txt"),
        ("cat in.txt > $TMPDIR/t && cat $TMPDIR/t > OUT", "scratch.txt"),
        ("cat in.txt > $TMPDIR/t && cp $TMPDIR/t OUT", "copied.txt"),
        ("mkdir -p OUT/deep && cp in.txt OUT/deep && mv OUT/deep/in.txt OUT/x && rmdir OUT/deep", "folder"),
        // The name of each of these says the wrong thing about what it will be.
        ("cp in.txt OUT && [ -f OUT ]", "Makefile"),
        ("cat in.txt > OUT", "out/vocabulary"),
        ("mkdir -p OUT && cp in.txt OUT/x", "model.v2"),
        ("ls . > OUT", "listing.txt"),
        ("echo > /dev/null && head -c 3 /dev/urandom > $TMPDIR/r && cat in.txt | tee OUT", "devices.txt"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("s{at}");
        let report = project.run(&[step(&name, &command.replace("OUT", out), &["in.txt"], &[out])]);
        assert_eq!(states(&report), [format!("{name} Ran")], "{command}: {:?}", report.steps[0].failure);
    }
}

#[test]
fn a_place_that_is_taken_says_by_whom() {
    let project = project();
    let found = message(&project, step("m", "mkdir model && echo > model/x", &[], &["model"]));
    let hint = "Tidemill has made a place for the output `model`: use `mkdir -p`, or write into it";
    assert_eq!(found, ("step `m` failed with exit code 1".to_owned(), hint.to_owned()));
    assert!(!project.exists("model"));
}

#[test]
fn scripts_and_tools_inside_the_project_work() {
    let project = project();
    project
        .write("run.sh", "#!/bin/sh\n. ./lib.sh\nsay > o.txt\n")
        .write("lib.sh", "say() { .tools/hello; }\n");
    project.write(".tools/hello", "#!/bin/sh\necho hello\n");
    for script in ["run.sh", ".tools/hello"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(project.root.join(script), mode).unwrap();
    }
    let run = step("run", "./run.sh", &["run.sh", "lib.sh"], &["o.txt"]);
    assert_eq!(project.states(&[run]), ["run Ran"]);
    assert_eq!(project.read("o.txt"), "hello\n");
    let run = step("run", "./run.sh", &["lib.sh"], &["o.txt"]);
    assert_eq!(message(&project, run).0, "step `run` tried to read `run.sh`, which it does not declare");
}

#[test]
fn python_works_and_its_undeclared_files_are_named() {
    let (project, python) = (project(), python());
    project
        .write("helpers.py", "def load(path):\n    return open(path).read()\n")
        .write("data/x.csv", "1,2\n");
    let source = "import json, tempfile, multiprocessing\nfrom helpers import load\n\
                  tempfile.NamedTemporaryFile().write(b'x')\n\
                  lock = multiprocessing.Lock()\n\
                  json.dump(load('data/x.csv'), open('o.json', 'w'))\n";
    project.write("train.py", source);
    let command = format!("{python} train.py");
    let all = ["train.py", "helpers.py", "data/x.csv"];
    assert_eq!(project.states(&[step("train", &command, &all, &["o.json"])]), ["train Ran"]);
    assert!(!project.exists("__pycache__"));
    for (missing, deps) in
        [("data/x.csv", &all[..2]), ("train.py", &all[1..]), ("helpers.py", &["train.py", "data"])]
    {
        let found = message(&project, step("train", &command, deps, &["o.json"]));
        assert_eq!(found.0, format!("step `train` tried to read `{missing}`, which it does not declare"));
    }
    // An environment inside the project works, whatever its name.
    for name in [".venv", "env"] {
        let made = std::process::Command::new(&python)
            .args(["-m", "venv", "--without-pip", name])
            .current_dir(&project.root)
            .status();
        assert!(made.unwrap().success());
        let command = format!("{name}/bin/python train.py");
        let step = step(name, &command, &all, &["o.json"]);
        assert_eq!(project.states(&[step]), [format!("{name} Ran")]);
    }
}

#[test]
fn no_thread_of_ours_stays_restricted() {
    let project = project();
    project.write("in.txt", "1");
    assert_eq!(project.states(&[step("a", "cat in.txt > a.txt", &["in.txt"], &["a.txt"])]), ["a Ran"]);
    fs::write(project.root.join("undeclared.txt"), "written by the test itself").unwrap();
    assert_eq!(project.read("undeclared.txt"), "written by the test itself");
}
