//! Caching, restoring, failing, retrying, stopping: `tidemill run` on small shell pipelines.

use std::time::Instant;

use crate::fixture::{Project, wait_for};

const CHAIN: &str = r"
project: chain
params: {word: hello}
pipeline:
  first:
    run: printf '%s\n' ${word} > first.txt; cat source.txt >> first.txt
    deps: [source.txt]
    outs: [first.txt]
  second:
    run: tr a-z A-Z < first.txt > second.txt
    deps: [first.txt]
    outs: [second.txt]
  apart:
    run: echo apart > apart.txt
    outs: [apart.txt]
";

fn chain() -> Project {
    let project = Project::new(CHAIN);
    project.write("source.txt", "one\n");
    project
}

fn states(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(step, state)| ((*step).to_owned(), (*state).to_owned())).collect()
}

#[test]
fn a_second_run_does_nothing() {
    let project = chain();
    assert_eq!(project.states(&[]), states(&[("first", "ran"), ("second", "ran"), ("apart", "ran")]));
    assert_eq!(project.read("second.txt"), "HELLO\nONE\n");
    let lock = project.read("tidemill.lock");
    project.run(&["run"]).good().says(&["nothing to do", "3 steps up to date"]);
    assert_eq!(project.read("tidemill.lock"), lock);
}

#[test]
fn a_change_runs_what_it_reaches_and_going_back_restores() {
    let project = chain();
    project.run(&["run"]).good();
    let (first, second) = (project.read("first.txt"), project.read("second.txt"));
    project.write("source.txt", "two\n");
    assert_eq!(project.states(&[]), states(&[("first", "ran"), ("second", "ran"), ("apart", "unchanged")]));
    assert_eq!(project.read("second.txt"), "HELLO\nTWO\n");
    project.write("source.txt", "one\n");
    assert_eq!(
        project.states(&[]),
        states(&[("first", "restored"), ("second", "restored"), ("apart", "unchanged")])
    );
    assert_eq!((project.read("first.txt"), project.read("second.txt")), (first, second));
}

#[test]
fn touching_a_file_runs_nothing() {
    let project = chain();
    project.run(&["run"]).good();
    let text = project.read("source.txt");
    project.write("source.txt", text);
    project.run(&["run"]).good().says(&["nothing to do"]);
}

#[test]
fn the_same_output_again_stops_the_wave() {
    let project = chain();
    project.run(&["run"]).good();
    // The command changes, its output does not.
    let text = project.read("tidemill.yaml").replace("printf '%s", "true; printf '%s");
    project.write("tidemill.yaml", text);
    assert_eq!(
        project.states(&[]),
        states(&[("first", "ran"), ("second", "unchanged"), ("apart", "unchanged")])
    );
}

#[test]
fn a_lost_or_changed_output_is_restored() {
    let project = chain();
    project.run(&["run"]).good();
    fs_err::remove_file(project.path("first.txt")).unwrap();
    project.write("apart.txt", "tampered\n");
    assert_eq!(
        project.states(&[]),
        states(&[("first", "restored"), ("second", "unchanged"), ("apart", "restored")])
    );
    assert_eq!(project.read("apart.txt"), "apart\n");
}

#[test]
fn work_by_hand_is_kept_and_comes_back() {
    let project = chain();
    project.run(&["run"]).good();
    project.write("apart.txt", "by hand\n");
    let ran = project.run(&["run"]).good();
    assert_eq!(project.read("apart.txt"), "apart\n");
    let (_, line) =
        ran.stderr.split_once("`apart.txt` was not what step `apart` wrote; it is kept: ").unwrap();
    let digest = line.split_whitespace().find(|word| word.starts_with("b3:")).unwrap();
    // No collection takes it, however few runs stay.
    project.run(&["gc", "--yes", "--keep-runs", "0"]).good();
    project.run(&["data", "get", digest]).fails(2, &["--out PATH"]);
    project.run(&["data", "get", digest, "--out", "back.txt"]).good().says(&["back.txt", "8 B in 1 file"]);
    assert_eq!(project.read("back.txt"), "by hand\n");
    // What is known is not kept once more.
    project.write("apart.txt", "by hand\n");
    let again = project.run(&["run"]).good();
    assert!(!again.stderr.contains("is kept"), "{again}");
}

#[test]
fn edited_outputs_of_the_lock_file_are_not_believed() {
    let project = chain();
    project.run(&["run"]).good();
    let lock = project.read("tidemill.lock");
    let line = lock.lines().find(|line| line.contains(" out ") && line.ends_with("apart.txt")).unwrap();
    let other = lock.lines().find(|line| line.contains(" out ") && line.ends_with("first.txt")).unwrap();
    project.write("tidemill.lock", lock.replace(line, &other.replace("first.txt", "apart.txt")));
    project.run(&["run"]).fails(1, &["tidemill.lock:", "outputs of step `apart`", "were they edited?"]);
    // One that is older and has no checksums is read.
    let older: Vec<&str> = lock.lines().filter(|line| !line.contains(" check ")).collect();
    project.write("tidemill.lock", older.join("\n") + "\n");
    project.run(&["run"]).good().says(&["nothing to do"]);
}

#[test]
fn a_lock_file_that_was_left_behind_is_written_again() {
    let project = chain();
    project.run(&["run"]).good();
    let old = project.read("tidemill.lock");
    project.write("source.txt", "two\n");
    project.run(&["run"]).good();
    let new = project.read("tidemill.lock");
    assert_ne!(old, new);
    // As a kill between the last step and the lock file leaves it.
    project.write("tidemill.lock", old);
    project.write(".tidemill.lock.4711.tmp", "half");
    assert!(project.states(&[]).iter().all(|(_, state)| state == "unchanged"));
    assert_eq!(project.read("tidemill.lock"), new);
    assert!(!project.has(".tidemill.lock.4711.tmp"));
}

#[test]
fn no_collection_comes_between_a_run() {
    use tidemill_core::Quiet;
    use tidemill_store::{Error, Store, StoreOptions};

    let project = Project::new(
        "
project: held
pipeline:
  slow: {run: touch started; while ! test -e go; do sleep 0.01; done; cat in.txt > out.txt, deps: [in.txt], outs: [out.txt], sandbox: off}
",
    );
    project.write("in.txt", "an input\n");
    let run = project
        .command(&["run"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the start of the step", || project.has("started"));
    let options = StoreOptions { lock_wait: std::time::Duration::from_millis(20), ..StoreOptions::default() };
    let store = Store::open(&project.path(".tidemill/store"), options).unwrap();
    assert!(matches!(store.gc(&[], false, &Quiet), Err(Error::Busy { .. })));
    // Saying what would go needs nobody to wait.
    project.run(&["gc"]).good();
    project.write("go", "");
    assert!(run.wait_with_output().unwrap().status.success());
    project.run(&["gc", "--yes"]).good();
    // The input is there, which only the lock file names.
    project.run(&["data", "verify"]).good().says(&["the store is intact"]);
}

#[test]
fn what_a_killed_run_held_is_free() {
    use tidemill_core::Quiet;
    use tidemill_store::{Store, StoreOptions};

    let project = Project::new(
        "{project: held, pipeline: {slow: {run: touch started; sleep 300, outs: [out], sandbox: off}}}",
    );
    let mut run = project
        .command(&["run"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the start of the step", || project.has("started"));
    run.kill().unwrap();
    run.wait().unwrap();
    let options = StoreOptions { lock_wait: std::time::Duration::from_millis(20), ..StoreOptions::default() };
    let store = Store::open(&project.path(".tidemill/store"), options).unwrap();
    store.gc(&[], false, &Quiet).unwrap();
    // The next run ends what is left of the step.
    let text = project.read("tidemill.yaml").replace("sleep 300", "touch out");
    project.write("tidemill.yaml", text);
    project.run(&["run"]).good();
}

#[test]
fn tools_of_the_project_are_there_when_a_run_is_repeated() {
    use std::os::unix::fs::PermissionsExt as _;

    let project = Project::new(
        "
project: tools
pipeline:
  made: {run: env/bin/make-it > out.txt, deps: [in.txt], outs: [out.txt]}
",
    );
    project.write("in.txt", "1\n");
    project.write("env/pyvenv.cfg", "");
    project.write("env/bin/make-it", "#!/bin/sh\ncat in.txt in.txt\n");
    fs_err::set_permissions(project.path("env/bin/make-it"), std::fs::Permissions::from_mode(0o755)).unwrap();
    project.run(&["run"]).good();
    project.run(&["reproduce", "last"]).good().says(&["identical: 1 output of 1 step"]);
    assert!(project.has("env/bin/make-it"));
}

#[test]
fn parameters_count_only_where_they_are_named() {
    let project = chain();
    project.run(&["run"]).good();
    let ran = project.states(&["--param", "word=bye"]);
    assert_eq!(ran, states(&[("first", "ran"), ("second", "ran"), ("apart", "unchanged")]));
    project
        .run(&["run", "--param", "wrod=bye"])
        .fails(2, &["there is no parameter `wrod`", "did you mean `word`?"]);
}

#[test]
fn a_dry_run_prints_the_plan_with_reasons() {
    let project = chain();
    let plan = project.run(&["run", "--dry-run"]).good().stdout;
    assert!(plan.contains("never run"), "{plan}");
    assert!(!project.has("first.txt") && !project.has("tidemill.lock"));
    project.run(&["run"]).good();
    project.write("source.txt", "two\n");
    let plan = project.run(&["run", "--dry-run"]).good().stdout;
    let lines: Vec<&str> = plan.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "first   run        `source.txt` changed",
            "second  may run    depends on the outcome of `first`",
            "apart   unchanged",
        ]
    );
}

#[test]
fn named_steps_bring_what_they_need() {
    let project = chain();
    assert_eq!(project.states(&["second"]), states(&[("first", "ran"), ("second", "ran")]));
    project.run(&["run", "secnd"]).fails(1, &["there is no step `secnd`", "did you mean `second`?"]);
}

#[test]
fn force_runs_what_is_up_to_date() {
    let project = chain();
    project.run(&["run"]).good();
    assert_eq!(project.states(&["--force", "apart"]), states(&[("apart", "ran")]));
}

#[test]
fn a_failed_step_says_why_and_how_to_go_on() {
    let project = Project::new(
        "
project: failing
pipeline:
  good: {run: echo good > good.txt, outs: [good.txt]}
  bad:
    run: echo before; echo the reason >&2; exit 3
    deps: [good.txt]
    outs: [bad.txt]
  after: {run: cat bad.txt > after.txt, deps: [bad.txt], outs: [after.txt]}
",
    );
    let ran = project.run(&["run"]).fails(1, &["the reason", "exit code 3", "tidemill run bad"]);
    assert!(ran.stdout.contains("1 ran") && ran.stdout.contains("1 failed"), "{ran}");
    assert!(ran.stdout.contains("1 skipped"), "{ran}");
    // What was finished stays finished.
    let text = project.read("tidemill.yaml").replace("exit 3", "echo done > bad.txt");
    project.write("tidemill.yaml", text);
    assert_eq!(project.states(&[]), states(&[("good", "unchanged"), ("bad", "ran"), ("after", "ran")]));
}

#[test]
fn an_output_that_is_not_written_is_an_error() {
    let project = Project::new("{project: x, pipeline: {a: {run: 'true', outs: [a.txt]}}}");
    project.run(&["run"]).fails(1, &["`a.txt`"]);
}

#[test]
fn retries_and_then_succeeds() {
    let project = Project::new(
        "
project: retry
pipeline:
  flaky:
    run: test -e mark && echo ok > out.txt || { touch mark; exit 1; }
    outs: [out.txt]
    retries: {times: 2, backoff: 10ms}
    sandbox: off
",
    );
    let ran = project.run(&["run"]).good();
    assert!(ran.stderr.contains("attempt 1 failed"), "{ran}");
}

#[test]
fn a_timeout_kills_the_whole_process_group() {
    let project = Project::new(
        "
project: slow
pipeline:
  slow:
    run: sleep 300 & echo $! > child; sleep 300
    outs: [never]
    timeout: 300ms
    sandbox: off
",
    );
    let start = Instant::now();
    project.run(&["run"]).fails(1, &["timeout", "within 300ms"]);
    assert!(start.elapsed().as_secs() < 15);
    let child = project.read("child").trim().to_owned();
    wait_for("the end of the child", || !alive(&child));
}

fn alive(pid: &str) -> bool {
    let Ok(stat) = fs_err::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

#[test]
fn ctrl_c_stops_the_steps_and_the_next_run_goes_on() {
    let project = Project::new(
        "
project: stop
pipeline:
  quick: {run: echo 1 > quick.txt, outs: [quick.txt]}
  slow:
    run: echo $$ > pid; sleep 300; echo 2 > slow.txt
    deps: [quick.txt]
    outs: [slow.txt]
    sandbox: off
",
    );
    let mut child = project.command(&["run"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_for("the start of the slow step", || project.path("pid").metadata().is_ok_and(|m| m.len() > 0));
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let pid = project.read("pid").trim().to_owned();
    wait_for("the end of the step", || !alive(&pid));
    let text = project.read("tidemill.yaml").replace("sleep 300; ", "");
    project.write("tidemill.yaml", text);
    assert_eq!(project.states(&[]), states(&[("quick", "unchanged"), ("slow", "ran")]));
}

#[test]
fn two_runs_at_once_are_told_apart() {
    let project = Project::new(
        "
project: busy
pipeline:
  slow: {run: touch started; while ! test -e go; do sleep 0.02; done; echo 1 > out.txt, outs: [out.txt], sandbox: off}
",
    );
    let first = project
        .command(&["run"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the start of the first run", || project.has("started"));
    project.run(&["run"]).fails(1, &["another run", &first.id().to_string(), "--wait"]);
    let second = project.command(&["run", "--wait"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    project.write("go", "");
    assert!(first.wait_with_output().unwrap().status.success());
    let second = second.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&second.stdout).into_owned();
    assert!(second.status.success() && text.contains("nothing to do"), "{text}");
}

#[test]
fn parallel_steps_run_at_the_same_time() {
    // Each waits for the other, so that one at a time would never end.
    let project = Project::new(
        "
project: parallel
pipeline:
  a: {run: touch a.mark; while ! test -e b.mark; do sleep 0.01; done; echo a > a.txt, outs: [a.txt], sandbox: off, timeout: 15s}
  b: {run: touch b.mark; while ! test -e a.mark; do sleep 0.01; done; echo b > b.txt, outs: [b.txt], sandbox: off, timeout: 15s}
",
    );
    project.run(&["run", "--jobs", "2"]).good();
}

#[test]
fn an_undeclared_read_is_caught_and_named() {
    let project = Project::new("{project: x, pipeline: {a: {run: cat secret.txt > a.txt, outs: [a.txt]}}}");
    project.write("secret.txt", "not declared\n");
    project.run(&["run"]).fails(1, &["`a`", "secret.txt", "deps"]);
    project.write(
        "tidemill.yaml",
        "{project: x, pipeline: {a: {run: cat secret.txt > a.txt, deps: [secret.txt], outs: [a.txt]}}}",
    );
    project.run(&["run"]).good();
    assert_eq!(project.read("a.txt"), "not declared\n");
}

#[test]
fn steps_see_declared_variables_only() {
    let project = Project::new(
        "
project: env
pipeline:
  a:
    run: env > a.txt
    outs: [a.txt]
    env: {GIVEN: x, TAKEN: {inherit: true}, HIDDEN: {secret: true}}
",
    );
    let output = project
        .command(&["run", "--json"])
        .env("TAKEN", "taken")
        .env("HIDDEN", "hidden")
        .env("OTHER", "other")
        .output()
        .unwrap();
    assert!(output.status.success());
    let env = project.read("a.txt");
    assert!(env.contains("GIVEN=x") && env.contains("TAKEN=taken") && env.contains("HIDDEN=hidden"), "{env}");
    assert!(!env.contains("OTHER="), "{env}");
    // A secret is in no record.
    assert!(!project.read("tidemill.lock").contains("hidden"));
    let log = project.run(&["log", "export"]).good().stdout;
    assert!(!log.contains("hidden"));
}

#[test]
fn a_matrix_makes_steps() {
    let project = Project::new(
        "
project: matrix
pipeline:
  each:
    matrix: {word: [a, b], n: [1, 2]}
    run: echo ${matrix.word}${matrix.n} > out-${matrix.word}${matrix.n}.txt
    outs: ['out-${matrix.word}${matrix.n}.txt']
",
    );
    let ran = project.states(&["--jobs", "1"]);
    let names: Vec<&str> = ran.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["each@word=a,n=1", "each@word=a,n=2", "each@word=b,n=1", "each@word=b,n=2"]);
    assert_eq!(project.read("out-b2.txt"), "b2\n");
}

#[test]
fn a_sweep_runs_once_for_each_value() {
    let project = Project::new(
        "
project: sweep
params: {x: 1}
pipeline:
  square:
    run: 'echo {\\\"y\\\": $((${x} * ${x}))} > metrics.json'
    metrics: [metrics.json]
",
    );
    project.run(&["run", "--sweep", "x=2,3"]).good().says(&["x=2", "square.y=4", "x=3", "square.y=9"]);
    let dry = project.run(&["run", "--sweep", "x=2,5", "--dry-run", "--json"]).good().json();
    let parts = |i: usize| (dry[i]["parameters"][0].clone(), dry[i]["steps"][0]["decision"].clone());
    assert_eq!(parts(0), ("x=2".into(), "restore".into()));
    assert_eq!(parts(1), ("x=5".into(), "run".into()));
    // A value that ran before is restored.
    let again = project.run(&["run", "--json", "--param", "x=2"]).good().json();
    assert_eq!(again["run"]["steps"][0]["state"], "restored");
    assert_eq!(again["metrics"][0]["value"], 4.0);
}

#[test]
fn status_and_diff_say_what_changed() {
    let project = chain();
    project.run(&["run"]).good();
    project.write("source.txt", "two\n");
    project.run(&["status"]).good().says(&["`source.txt` changed"]);
    project.run(&["diff"]).good().says(&["changed first", "`source.txt` changed"]);
    project.run(&["run"]).good();
    let runs = project.run(&["log", "runs", "--json"]).good().json();
    let id = |i: usize| runs[i]["id"].as_str().unwrap().to_owned();
    let diff = project.run(&["diff", &id(1), &id(0)]).good();
    diff.says(&["changed first", "output first.txt", "changed second", "output second.txt"]);
}

#[test]
fn reproduce_repeats_a_run_byte_by_byte() {
    let project = chain();
    project.run(&["run"]).good();
    project.write("source.txt", "changed since\n");
    project.run(&["reproduce", "last"]).good().says(&["identical: 3 outputs of 3 steps"]);
    assert_eq!(project.read("source.txt"), "changed since\n");
}

#[test]
fn reproduce_names_the_first_step_and_file_that_differ() {
    let project = Project::new(
        "
project: random
pipeline:
  stable: {run: echo 1 > stable.txt, outs: [stable.txt]}
  random:
    run: mkdir out; echo same > out/a.txt; echo same; head -c 16 /dev/urandom | od -An -tx1 > out/b.txt
    deps: [stable.txt]
    outs: [out]
  after: {run: cat out/b.txt > after.txt, deps: [out], outs: [after.txt]}
",
    );
    project.run(&["run"]).good();
    let ran = project.run(&["reproduce", "last"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stdout.contains("first difference: step `random`, file `out/b.txt`"), "{ran}");
    assert!(ran.stdout.contains("also: step `after`, file `after.txt`"), "{ran}");
}

#[test]
fn what_a_step_printed_can_be_read_later() {
    let project = Project::new(
        "
project: logs
pipeline:
  talks: {run: 'echo first line; echo second line >&2; cp in.txt out.txt', deps: [in.txt], outs: [out.txt]}
  silent: {run: 'cp out.txt done.txt', deps: [out.txt], outs: [done.txt]}
  breaks: {run: 'echo it will not work; exit 4', deps: [out.txt], outs: [never.txt]}
",
    );
    project.write("in.txt", "1\n");
    let first = project.run(&["run", "--json", "--keep-going"]);
    assert_eq!(first.code, Some(1), "{first}");
    let run = first.json()["run"]["id"].as_str().unwrap().to_owned();
    // The next run is another one, and the files of the first are gone.
    project.write("in.txt", "2\n");
    project.run(&["run", "--keep-going", "talks"]).good();
    fs_err::remove_dir_all(project.path(".tidemill/runs")).unwrap();
    let shown = project.run(&["log", "step", &run, "talks"]).good();
    assert_eq!(shown.stdout, "first line\nsecond line\n");
    project.run(&["log", "step", &run[..8], "breaks"]).good().says(&["it will not work"]);
    let silent = project.run(&["log", "step", &run, "silent"]).good();
    assert!(silent.stdout.is_empty() && silent.stderr.contains("printed nothing"), "{silent}");
    let value = project.run(&["log", "step", &run, "breaks", "--json"]).good().json();
    assert_eq!((value["exit_code"].as_i64(), value["text"].as_str()), (Some(4), Some("it will not work\n")));
    project.run(&["log", "step", &run, "talk"]).fails(1, &["`talk`", "did you mean `talks`?"]);
    project.run(&["log", "step", &run]).good().says(&["talks", "silent", "breaks", "failed"]);
    assert_eq!(
        project.run(&["log", "step", &run, "--json"]).good().json()["steps"].as_array().unwrap().len(),
        3
    );

    // A collection keeps the logs of the runs that it keeps, and takes those of the others with them.
    project.run(&["gc", "--yes"]).good();
    project.run(&["log", "step", &run, "talks"]).good().says(&["first line"]);
    project.write("in.txt", "3\n");
    project.run(&["run", "talks"]).good();
    let files = || fs_err::read_dir(project.path(".tidemill/runs")).unwrap().count();
    assert_eq!(files(), 1);
    project.write("in.txt", "4\n");
    project.run(&["run", "talks"]).good();
    assert_eq!(files(), 2);
    project.run(&["gc", "--yes", "--keep-runs", "1"]).good();
    assert_eq!(files(), 1);
    project.run(&["log", "step", &run, "talks"]).fails(1, &["no run"]);
    project.run(&["log", "step", "last", "talks"]).good().says(&["second line"]);
}

#[test]
fn a_refused_file_is_named_from_where_the_step_was() {
    let project = Project::new(
        "
project: folders
pipeline:
  a: {run: 'cd sub && cat notes.txt > ../o.txt', outs: [o.txt]}
",
    );
    // The same name is in both folders; the step meant the one in `sub`.
    project.write("notes.txt", "outer");
    project.write("sub/notes.txt", "inner");
    project.run(&["run"]).fails(1, &["tried to read `sub/notes.txt`", "add `sub/notes.txt` to `deps:`"]);
    project.write(
        "tidemill.yaml",
        project.read("tidemill.yaml").replace("outs:", "deps: [sub/notes.txt], outs:"),
    );
    project.run(&["run"]).good();
    assert_eq!(project.read("o.txt"), "inner");
}

/// `git`, which must succeed.
fn git(project: &Project, args: &[&str]) {
    let mut command = std::process::Command::new("git");
    command.current_dir(project.root()).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null");
    // The merge driver is called by its name.
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_tidemill")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(binary.to_owned()).chain(std::env::split_paths(&path)));
    let output = command.env("PATH", path.unwrap()).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn two_branches_that_ran_different_steps_merge_without_conflict() {
    let project = Project::empty();
    git(&project, &["init", "--quiet", "--initial-branch", "main"]);
    git(&project, &["config", "user.name", "tester"]);
    git(&project, &["config", "user.email", "tester@example.com"]);
    project.run(&["init", "--name", "merge"]).good();
    let text = "
project: merge
pipeline:
  a: {run: cp a.txt a.out, deps: [a.txt], outs: [a.out]}
  b: {run: cp b.txt b.out, deps: [b.txt], outs: [b.out]}
";
    project.write("tidemill.yaml", text);
    project.write("a.txt", "1\n");
    project.write("b.txt", "1\n");
    project.write(".gitignore", "/.tidemill/\n*.out\n");
    project.run(&["run"]).good();
    git(&project, &["add", "."]);
    git(&project, &["commit", "--quiet", "-m", "start"]);
    git(&project, &["checkout", "--quiet", "-b", "other"]);
    project.write("b.txt", "2\n");
    project.run(&["run"]).good();
    git(&project, &["commit", "--quiet", "-am", "b"]);
    git(&project, &["checkout", "--quiet", "main"]);
    project.write("a.txt", "2\n");
    project.run(&["run"]).good();
    git(&project, &["commit", "--quiet", "-am", "a"]);
    git(&project, &["merge", "--quiet", "-m", "both", "other"]);
    // The merged file says what is true of both: nothing has to run, at most be brought back.
    let states = project.states(&[]);
    assert!(states.iter().all(|(_, state)| state != "ran"), "{states:?}");
    assert_eq!((project.read("a.out"), project.read("b.out")), ("2\n".to_owned(), "2\n".to_owned()));
}
