//! Reads outside of the project folder: what belongs to tools works, what is data is caught and named.

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use tidemill_core::declare::{Sandbox, Step};
use tidemill_pipeline::RunOptions;

use crate::sandbox::{project, python};
use crate::support::{Project, failure, options, states, step};

/// The user's folder, which holds the project.
fn home(project: &Project) -> &Path {
    project.root.parent().unwrap()
}

fn write(project: &Project, path: &str, text: &str) {
    let path = home(project).join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn at_home(project: &Project) -> RunOptions {
    let mut options = options();
    options.environment.insert("HOME".to_owned(), home(project).into());
    options
}

/// How a step went that is alone.
fn state(project: &Project, step: &Step) -> String {
    let report = project.execute(std::slice::from_ref(step), &RunOptions { force: true, ..at_home(project) });
    let report = report.unwrap();
    match &report.steps[0].failure {
        Some(failure) => format!("{}\n{}", failure.message, failure.hint.clone().unwrap_or_default()),
        None => states(&report)[0].clone(),
    }
}

#[test]
fn data_of_the_user_is_caught_and_named() {
    let project = project();
    write(&project, "other/data.csv", "1\n");
    let data = home(&project).join("other/data.csv").display().to_string();
    for command in [
        "cat ~/other/data.csv",
        "cat ../other/data.csv",
        &format!("cat {data}"),
        "cat x/../../other/data.csv",
    ] {
        project.write("x/keep", "");
        let caught = step("train", &format!("{command} > o.txt"), &["x"], &["o.txt"]);
        let report = project.execute(std::slice::from_ref(&caught), &at_home(&project)).unwrap();
        let failure = failure(&report, "train");
        assert_eq!(
            failure.message,
            format!("step `train` tried to read `{data}`, which is outside of the project folder"),
            "{command}"
        );
        let hint = failure.hint.unwrap();
        assert!(hint.contains(&format!("`sandbox: {{read: [{data}]}}`")), "{hint}");
        assert!(hint.contains("step `train` (tidemill.yaml:12)"), "{hint}");
        for reads in ["~/other", "../other/data.csv", &data] {
            let declared = Step { reads: vec![reads.to_owned()], ..caught.clone() };
            assert_eq!(state(&project, &declared), "train Ran", "{command}, {reads}");
        }
        let open = Step { sandbox: Sandbox::Off, ..caught };
        assert_eq!(state(&project, &open), "train Ran");
    }
    // What the words say is not what is allowed.
    let other = Step {
        reads: vec!["../elsewhere".to_owned()],
        ..step("train", "cat ../other/data.csv > o.txt", &[], &["o.txt"])
    };
    assert!(state(&project, &other).contains("which is outside of the project folder"));
}

#[test]
fn a_declared_link_to_data_elsewhere_is_an_input_like_any_other() {
    let project = project();
    write(&project, "other/data.csv", "1\n");
    std::os::unix::fs::symlink(home(&project).join("other/data.csv"), project.root.join("data.csv")).unwrap();
    let step = step("a", "cat data.csv > o.txt", &["data.csv"], &["o.txt"]);
    assert_eq!(state(&project, &step), "a Ran");
}

#[test]
fn settings_caches_tools_and_the_repository_around_work() {
    let project = project();
    for path in
        [".config/tool/settings.toml", ".cache/models/weights.bin", "miniconda3/lib/x", "pyproject.toml"]
    {
        write(&project, path, "x\n");
        assert_eq!(state(&project, &step("a", &format!("cat ~/{path} > o"), &[], &["o"])), "a Ran", "{path}");
    }
    // Names are no content.
    assert_eq!(state(&project, &step("a", "ls ~ .. / > o", &[], &["o"])), "a Ran");
    write(&project, "bin/tool", "#!/bin/sh\n. ~/lib/tool/common.sh\nsay\n");
    write(&project, "lib/tool/common.sh", "say() { echo hello; }\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(home(&project).join("bin/tool"), mode).unwrap();
    assert_eq!(state(&project, &step("a", "~/bin/tool > o", &[], &["o"])), "a Ran");
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@b.c"]).args(args).current_dir(home(&project));
        assert!(command.output().expect("the program `git`").status.success(), "{args:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "pyproject.toml"]);
    git(&["commit", "-qm", "x"]);
    let step = step(
        "a",
        "git rev-parse HEAD > o && git log --oneline >> o && git show HEAD:pyproject.toml >> o",
        &[],
        &["o"],
    );
    assert_eq!(state(&project, &step), "a Ran");
}

#[test]
fn an_environment_outside_of_the_project_works_and_its_scripts_are_watched() {
    let (project, python) = (project(), python());
    let made = Command::new(&python)
        .args(["-m", "venv", "--without-pip", "envs/ml"])
        .current_dir(home(&project))
        .status();
    assert!(made.unwrap().success());
    // A package that is edited where it lies.
    write(&project, "src/lib/edited.py", "def load(path):\n    return open(path).read()\n");
    let packages = home(&project).join("envs/ml/lib");
    let version = fs::read_dir(&packages).unwrap().next().unwrap().unwrap().path();
    let source = home(&project).join("src/lib");
    fs::write(version.join("site-packages/edited.pth"), format!("{}\n", source.display())).unwrap();
    write(&project, "other/data.csv", "1,2\n");
    project.write("own.csv", "3,4\n");
    project.write(
        "train.py",
        "import sys, json, ssl, sqlite3, tempfile, edited\n\
         open('o.json', 'w').write(json.dumps(edited.load(sys.argv[1])))\n",
    );
    let run = |path: &str| {
        let command = format!("~/envs/ml/bin/python train.py {path}");
        state(&project, &step("train", &command, &["train.py", "own.csv"], &["o.json"]))
    };
    assert_eq!(run("own.csv"), "train Ran");
    let data = home(&project).join("other/data.csv").display().to_string();
    let caught = run("~/other/data.csv");
    let expected = format!("step `train` tried to read `{data}`, which is outside of the project folder\n");
    assert!(caught.starts_with(&expected), "{caught}");
    // The same in an environment of the project.
    let made = Command::new(&python)
        .args(["-m", "venv", "--without-pip", ".venv"])
        .current_dir(&project.root)
        .status();
    assert!(made.unwrap().success());
    project.write("plain.py", "import json, sys\nopen('o.json', 'w').write(open(sys.argv[1]).read())\n");
    let run = |path: &str| {
        let command = format!(".venv/bin/python plain.py {path}");
        state(&project, &step("train", &command, &["plain.py", "own.csv"], &["o.json"]))
    };
    assert_eq!(run("own.csv"), "train Ran");
    assert!(run("../other/data.csv").starts_with(&expected));
}
