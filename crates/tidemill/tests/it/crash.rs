//! kill -9 at any point: nothing that was acknowledged is lost, and the next command goes on.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::fixture::Project;

#[test]
fn a_killed_run_goes_on_from_what_was_finished() {
    let mut steps = String::new();
    for i in 0..12 {
        let dep = if i == 0 { String::new() } else { format!(", deps: [s{}.txt]", i - 1) };
        writeln!(steps, "  s{i}: {{run: sleep 0.02; echo {i} > s{i}.txt{dep}, outs: [s{i}.txt]}}").unwrap();
    }
    let project = Project::new(&format!("project: crash\npipeline:\n{steps}"));
    // Deterministic delays that spread over the whole run.
    for round in 0..12_u64 {
        let mut child =
            project.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 + round * 37 % 400));
        child.kill().unwrap();
        child.wait().unwrap();
        // What the killed run left can be read at any point.
        project.run(&["status"]).good();
        project.run(&["log", "verify"]).good();
        if round % 4 == 3 {
            fs_err::remove_file(project.path("s11.txt")).ok();
            fs_err::remove_file(project.path("tidemill.lock")).ok();
        }
    }
    project.run(&["run"]).good();
    for i in 0..12 {
        assert_eq!(project.read(&format!("s{i}.txt")), format!("{i}\n"));
    }
    project.run(&["run"]).good().says(&["nothing to do"]);
    project.run(&["data", "verify"]).good();
    project.run(&["log", "verify"]).good();
    let runs = project.run(&["log", "runs", "-n", "100", "--json"]).good().json();
    let states: Vec<&str> =
        runs.as_array().unwrap().iter().map(|run| run["state"].as_str().unwrap()).collect();
    assert!(!states.contains(&"running"), "{states:?}");
}

#[test]
fn a_killed_add_leaves_no_half_version() {
    let project = Project::new("{project: crash}");
    for i in 0..400 {
        project.write(&format!("many/{i:03}.txt"), format!("{i} ").repeat(500));
    }
    let mut versions = 0;
    for round in 0..12_u64 {
        project.write("many/changing.txt", format!("{round}"));
        let mut child = project
            .command(&["data", "add", "many", "many"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(3 + round * 13 % 120));
        child.kill().unwrap();
        child.wait().unwrap();
        let list = project.run(&["data", "ls", "many", "--json"]);
        let now = if list.code == Some(0) { list.json().as_array().map_or(0, Vec::len) } else { 0 };
        assert!(now >= versions, "a version was lost");
        versions = now;
        project.run(&["data", "verify"]).good();
    }
    project.run(&["data", "add", "many", "many"]).good();
    project.run(&["data", "get", "many", "--out", "back"]).good();
    assert_eq!(project.read("back/399.txt"), "399 ".repeat(500));
    project.run(&["gc", "--yes"]).good();
    project.run(&["data", "verify"]).good();
}

#[test]
fn what_a_killed_step_left_is_nobodys_work_and_what_was_written_since_is_kept() {
    let project = Project::new(
        "project: crash
pipeline:
  slow:
    run: \"[ -e quick ] || { echo half > out.txt; exec sleep 60; }; echo whole > out.txt\"
    outs: [out.txt]
    sandbox: off
",
    );
    // Killed in the middle of its step; nothing of Tidemill ends in order.
    let kill = || {
        let _ = fs_err::remove_file(project.path("quick"));
        let _ = fs_err::remove_file(project.path("out.txt"));
        let mut child = project.command(&["run", "--force"]).stdout(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + Duration::from_mins(1);
        while !project.has("out.txt") || project.read("out.txt") != "half\n" {
            assert!(Instant::now() < until, "the step did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(60));
        child.kill().unwrap();
        child.wait().unwrap();
        project.write("quick", "");
    };
    kill();
    project.run(&["run"]).good();
    assert_eq!((project.read("out.txt"), project.has(".tidemill/kept")), ("whole\n".to_owned(), false));
    kill();
    std::thread::sleep(Duration::from_millis(600));
    project.write("out.txt", "by hand\n");
    project.run(&["run", "--force"]).good();
    assert!(project.read(".tidemill/kept").contains("out.txt"), "{}", project.read(".tidemill/kept"));
}
