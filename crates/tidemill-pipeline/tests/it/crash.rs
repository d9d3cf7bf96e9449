//! A run that is killed goes on from its finished steps, and what it left running is ended.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use tidemill_pipeline::{Executor, LocalExecutor, Lock};

use crate::support::{FileJournal, Project, chain};

/// Starts the program that runs [`chain`] in `project`.
fn start(project: &Project) -> Child {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/crash_run");
    assert!(program.exists(), "{} is not built: run the tests with all targets", program.display());
    Command::new(program).arg(&project.root).stdout(Stdio::null()).spawn().unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_run_goes_on_from_its_finished_steps() {
    let expected: Vec<String> =
        (0..8).map(|at| format!("s{at}.txt {}", "x\n".repeat(at + 2).len())).collect();
    for round in 0..6_u32 {
        let project = Project::new();
        project.write("in.txt", "x\n");
        // Each round dies later than the one before; the last ones may well have ended.
        let mut finished = 0;
        for life in 0..40_u32 {
            let mut child = start(&project);
            let until = Instant::now() + Duration::from_millis(u64::from(15 + round * 23 + life * 7));
            while Instant::now() < until && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            let ended = child.try_wait().unwrap().is_some_and(|status| status.success());
            kill_if_needed(child, ended);
            let runs = FileJournal::open(project.root.join(".tidemill/journal")).runs();
            assert!(runs.len() >= finished, "finished steps were forgotten: {runs:?}");
            assert!(runs.values().all(|count| *count == 1), "a finished step ran again: {runs:?}");
            finished = runs.len();
            // Whatever instant it died at, the lock file is whole or absent.
            Lock::read(&project.root).unwrap();
            if ended {
                break;
            }
        }
        let again = Project::at(&project.root);
        let report = again.run(&chain());
        assert_eq!(report.state, tidemill_core::RunState::Succeeded, "{report:#?}");
        let sizes: Vec<String> =
            (0..8).map(|at| format!("s{at}.txt {}", project.read(&format!("s{at}.txt")).len())).collect();
        assert_eq!(sizes, expected);
        assert!(again.states(&chain()).iter().all(|state| state.ends_with("Unchanged")));
    }
}

fn kill_if_needed(child: Child, ended: bool) {
    if !ended {
        kill(child);
    }
}

#[test]
fn what_a_killed_run_left_running_is_ended_by_the_next_one() {
    let project = Project::new();
    project.write("in.txt", "x\n").write("block", "");
    let child = start(&project);
    let until = Instant::now() + Duration::from_mins(1);
    while fs::read_to_string(project.root.join("pid")).unwrap_or_default().trim().is_empty() {
        assert!(Instant::now() < until, "the step did not start");
        std::thread::yield_now();
    }
    let pid = project.read("pid").trim().to_owned();
    let alive = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    kill(child);
    assert!(alive(), "a step survives the death of Tidemill, which is what this test is about");
    assert_eq!(LocalExecutor::new(&project.root.join(".tidemill")).recover().unwrap(), 1);
    assert!(!alive(), "process {pid} is still there");
    assert_eq!(LocalExecutor::new(&project.root.join(".tidemill")).recover().unwrap(), 0);
}
