//! Processes: output, exit, timeouts, cancellation, children that stay behind.

use std::time::{Duration, Instant};

use fs_err as fs;
use tidemill_core::RunState;
use tidemill_core::declare::{Retry, Sandbox, Step};
use tidemill_pipeline::RunOptions;

use crate::support::{Project, failure, options, query, states, step};

fn open(name: &str, command: &str, outs: &[&str]) -> Step {
    Step { sandbox: Sandbox::Off, ..step(name, command, &[], outs) }
}

/// Whether a process is there and not a zombie.
fn alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Waits until the process is gone; a killed process takes a moment to be reaped.
fn assert_gone(pid: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while alive(pid) {
        assert!(Instant::now() < until, "process {pid} is still there");
        std::thread::yield_now();
    }
}

#[test]
fn output_is_logged_and_streamed_and_its_end_shown_on_failure() {
    let project = Project::new();
    let steps = [open("noisy", "for i in $(seq 30); do echo line $i; done; echo oops >&2; exit 3", &[])];
    let report = project.run(&steps);
    assert_eq!(report.state, RunState::Failed);
    let failure = failure(&report, "noisy");
    assert_eq!(failure.message, "step `noisy` failed with exit code 3");
    assert_eq!(failure.exit_code, Some(3));
    assert_eq!(failure.tail.len(), 20);
    assert_eq!(failure.tail.last().map(String::as_str), Some("oops"));
    let log = report.steps[0].log.clone().unwrap();
    let hint = format!("run just this step with `tidemill run noisy`; its log is `{log}`");
    assert_eq!(failure.hint, Some(hint));
    assert_eq!(project.read(&log).lines().count(), 31);
    assert_eq!(project.told.lines.lock().unwrap().len(), 31);
    assert_eq!(project.told.lines.lock().unwrap()[0], "noisy: line 1");
}

#[test]
fn binary_output_and_endless_lines_do_no_harm() {
    let project = Project::new();
    let report = project.run(&[open("blob", "head -c 3000000 /dev/zero; printf '\\377\\376\\n'", &[])]);
    assert_eq!(states(&report), ["blob Ran"]);
    let log = project.root.join(report.steps[0].log.clone().unwrap());
    assert_eq!(fs::metadata(log).unwrap().len(), 3_000_003);
    assert!(project.told.lines.lock().unwrap().iter().all(|line| line.len() <= 8192 * 3 + 6));
}

#[test]
fn names_of_steps_make_safe_log_files() {
    let project = Project::new();
    let report = project.run(&[open("train@a=../x,b=é y", "echo hi", &[])]);
    let log = report.steps[0].log.clone().unwrap();
    assert!(log.ends_with("/train@a=..%2Fx,b=%C3%A9%20y.log"), "{log}");
    assert_eq!(project.read(&log), "hi\n");
}

#[test]
fn a_timeout_kills_the_whole_group() {
    let project = Project::new();
    // The shell ignores SIGTERM and so does its child, which inherits that: only SIGKILL ends them.
    let mut stubborn = open("slow", "trap '' TERM; sleep 1000 & echo $! > pid; wait; sleep 1000", &["pid"]);
    stubborn.timeout = Some(Duration::from_millis(300));
    let started = Instant::now();
    let report = project.run(&[stubborn]);
    let failure = failure(&report, "slow");
    assert_eq!(failure.message, "step `slow` did not end within 300ms and was killed");
    assert!(failure.hint.unwrap().starts_with("raise `timeout:` of the step (tidemill.yaml:12)"));
    assert!(started.elapsed() >= Duration::from_millis(600) && started.elapsed() < Duration::from_mins(1));
    assert_gone(&project.read("pid"));
}

#[test]
fn a_timeout_leaves_time_to_tidy_up() {
    let project = Project::new();
    let command = "trap 'echo tidied > note; exit 0' TERM; echo > ready; while :; do sleep 0.01; done";
    let mut polite = open("polite", command, &["ready"]);
    polite.timeout = Some(Duration::from_millis(200));
    let report =
        project.execute(&[polite], &RunOptions { grace: Duration::from_mins(1), ..options() }).unwrap();
    assert_eq!(states(&report), ["polite Failed"]);
    assert_eq!(project.read("note"), "tidied\n");
}

#[test]
fn a_request_to_stop_ends_commands_and_the_run() {
    let mut project = Project::new();
    let cancel = tidemill_core::Cancel::new();
    project.told.cancel_on = Some(("ready".to_owned(), cancel.clone()));
    let steps = [
        open("long", "sleep 1000 & echo $! > pid; echo ready; wait", &["pid"]),
        step("after", "true", &["pid"], &[]),
    ];
    let report = project.execute(&steps, &RunOptions { cancel, ..options() }).unwrap();
    assert_eq!(states(&report), ["long Cancelled", "after Skipped"]);
    assert_eq!(report.state, RunState::Cancelled);
    assert_gone(&project.read("pid"));
}

#[test]
fn children_that_stay_behind_are_killed_with_the_step() {
    let project = Project::new();
    // The child keeps our pipe open, which must not keep the step from ending.
    let report = project.run(&[open("daemon", "sleep 1000 & echo $! > pid", &["pid"])]);
    assert_eq!(states(&report), ["daemon Ran"]);
    assert_gone(&project.read("pid"));
    // A process that left the group is beyond our reach, but the step ends all the same.
    let report = project.run(&[open("escaped", "setsid sleep 20 & echo $! > pid2", &["pid2"])]);
    assert_eq!(states(&report), ["escaped Ran"]);
    let pid = project.read("pid2").trim().parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

#[test]
fn a_step_killed_by_a_signal_says_so() {
    let project = Project::new();
    let report = project.run(&[open("suicide", "kill -9 $$", &[])]);
    let message = "step `suicide` was killed by signal 9 (SIGKILL; perhaps the system ran out of memory)";
    assert_eq!(failure(&report, "suicide").message, message);
    let report = project.run(&[open("typo", "pyhton train.py", &[])]);
    let message = "step `typo` failed with exit code 127 (command not found)";
    assert_eq!(failure(&report, "typo").message, message);
    let report = project.run(&[open("nul", "echo \0", &[])]);
    assert!(failure(&report, "nul").message.starts_with("step `nul` could not be run: "));
}

#[test]
fn failures_are_tried_again_with_growing_waits() {
    let project = Project::new();
    let mut flaky =
        open("flaky", "echo try >> tries; [ $(wc -l < tries) -ge 3 ] && echo ok > out.txt", &["out.txt"]);
    flaky.retry = Retry { times: 4, backoff: Duration::from_millis(10) };
    let report = project.run(&[flaky.clone()]);
    assert_eq!((states(&report), report.steps[0].attempts), (vec!["flaky Ran".to_owned()], 3));
    let events = project.told.events.lock().unwrap().clone();
    assert_eq!(events, ["start flaky Run", "retry flaky 1 10ms", "retry flaky 2 20ms", "end flaky Ran"]);
    flaky.retry.times = 1;
    let never = Step { action: open("", "exit 1", &[]).action, ..flaky };
    let report = project.run(&[never]);
    assert_eq!((states(&report), report.steps[0].attempts), (vec!["flaky Failed".to_owned()], 2));
}

#[test]
fn a_wait_for_another_attempt_can_be_stopped() {
    let mut project = Project::new();
    let cancel = tidemill_core::Cancel::new();
    project.told.cancel_on = Some(("failing".to_owned(), cancel.clone()));
    let mut hopeless = open("hopeless", "echo failing; exit 1", &[]);
    hopeless.retry = Retry { times: 9, backoff: Duration::from_secs(1000) };
    let report = project.execute(&[hopeless], &RunOptions { cancel, ..options() }).unwrap();
    assert_eq!(states(&report), ["hopeless Cancelled"]);
}

#[test]
fn built_in_steps_fail_stop_and_even_panic_in_good_order() {
    let project = Project::new();
    let steps = [query("wrong", "wrong", "a"), query("panic", "panic", "b"), query("late", "forever", "c")];
    let mut steps = steps.to_vec();
    steps[2].timeout = Some(Duration::from_millis(100));
    let report = project.execute(&steps, &RunOptions { keep_going: true, ..options() }).unwrap();
    assert_eq!(states(&report), ["wrong Failed", "panic Failed", "late Failed"]);
    let wrong = failure(&report, "wrong");
    assert_eq!(wrong.message, "step `wrong` failed: there is no table `x`");
    assert!(wrong.hint.unwrap().starts_with("did you mean `y`?; run just this step with"));
    assert_eq!(wrong.tail, ["query: wrong"]);
    let message = "step `panic` failed: the built-in step panicked; this is a bug in Tidemill";
    assert_eq!(failure(&report, "panic").message, message);
    assert_eq!(failure(&report, "late").message, "step `late` did not end within 100ms and was killed");
}
