//! A machine that refuses: a full disk, a read-only folder, files that may not be read.
//!
//! These tests make their own mounts and drop their own rights with `unshare` and `setpriv` of util-linux, which every
//! Debian has; where the system forbids that they fail and say so.

use std::process::Command;

use crate::fixture::{Project, Ran, wrapped};

/// Runs a script in a mount namespace of its own, with the binary's path as `$TIDEMILL`.
fn in_namespace(project: &Project, script: &str) -> Ran {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-euc", script]).current_dir(project.root());
    command.env("TIDEMILL", env!("CARGO_BIN_EXE_tidemill")).env("NO_COLOR", "1").env("USER", "tester");
    let output =
        command.output().unwrap_or_else(|error| panic!("this test needs `unshare` of util-linux: {error}"));
    let ran = Ran::of(&output);
    assert!(!ran.stderr.contains("unshare:"), "this system does not let tests make mounts: {ran}");
    ran
}

/// Runs the binary without root's right to read everything.
fn unprivileged(project: &Project, args: &[&str]) -> Ran {
    let mut command = if rustix::process::geteuid().is_root() {
        wrapped(&["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"])
    } else {
        crate::fixture::tidemill()
    };
    Ran::of(&command.args(args).current_dir(project.root()).output().unwrap())
}

fn forbid(project: &Project, name: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(project.path(name), std::fs::Permissions::from_mode(0o000)).unwrap();
}

fn noise(length: usize) -> Vec<u8> {
    crate::shared_store::noise(88_172_645_463_325_252, length)
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let project = Project::new("{project: full}");
    project.write("small.bin", vec![1; 100_000]);
    project.write("large.bin", noise(6_000_000));
    let ran = in_namespace(
        &project,
        "mkdir disk; mount -t tmpfs -o size=3m tmpfs disk
         echo '{project: full}' > disk/tidemill.yaml
         \"$TIDEMILL\" data add small small.bin -C disk
         if \"$TIDEMILL\" data add large large.bin -C disk; then exit 9; fi
         echo after >&2
         \"$TIDEMILL\" data ls -C disk
         \"$TIDEMILL\" data verify -C disk
         \"$TIDEMILL\" log verify -C disk
         \"$TIDEMILL\" data get small --out disk/back.bin -C disk
         cmp small.bin disk/back.bin",
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    let (during, _) = ran.stderr.split_once("after").unwrap();
    assert!(during.contains("the disk is full"), "{ran}");
    assert!(!ran.stdout.contains("large") && ran.stdout.contains("the store is intact"), "{ran}");
    assert!(!ran.stderr.contains("panicked"), "{ran}");
}

#[test]
fn a_full_disk_during_a_run_loses_nothing() {
    let project = Project::empty();
    project.write("large.bin", noise(5_000_000));
    let ran = in_namespace(
        &project,
        "mkdir disk; mount -t tmpfs -o size=8m tmpfs disk
         cat > disk/tidemill.yaml <<'END'
project: full
pipeline:
  small: {run: echo 1 > small.txt, outs: [small.txt], sandbox: off}
  big: {run: cp ../large.bin big.bin, deps: [small.txt], outs: [big.bin], sandbox: off}
END
         if \"$TIDEMILL\" run -C disk; then exit 9; fi
         echo --- >&2
         \"$TIDEMILL\" data verify -C disk
         \"$TIDEMILL\" log verify -C disk
         mount -o remount,size=64m disk
         \"$TIDEMILL\" run -C disk
         cmp large.bin disk/big.bin
         rm disk/big.bin
         \"$TIDEMILL\" run -C disk
         cmp large.bin disk/big.bin",
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    let (during, _) = ran.stderr.split_once("---").unwrap();
    assert!(during.contains("the disk is full"), "{ran}");
    assert!(ran.stdout.contains("the store is intact"), "{ran}");
    assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("is kept"), "{ran}");
}

#[test]
fn a_full_disk_in_front_of_a_store_loses_nothing() {
    let project = Project::empty();
    project.write("small.bin", vec![1; 100_000]);
    project.write("large.bin", noise(6_000_000));
    project.write("there/keep", "");
    // The other machine has room.
    let ran = in_namespace(
        &project,
        "mkdir disk other; mount -t tmpfs -o size=3m tmpfs disk
         for at in disk other; do
           echo \"{project: full, store: {url: \\\"file://$PWD/there\\\"}}\" > $at/tidemill.yaml
         done
         \"$TIDEMILL\" data add small small.bin -C disk
         if \"$TIDEMILL\" data add large large.bin -C disk; then exit 9; fi
         echo after >&2
         \"$TIDEMILL\" data add large large.bin -C other
         \"$TIDEMILL\" data ls -C disk
         \"$TIDEMILL\" data verify -C disk
         \"$TIDEMILL\" log verify -C disk
         \"$TIDEMILL\" data get small --out disk/back.bin -C disk
         cmp small.bin disk/back.bin
         rm disk/back.bin
         \"$TIDEMILL\" data get large --out other/back.bin -C other
         cmp large.bin other/back.bin
         # With a largest size the folder is not too small for it.
         echo \"{project: full, store: {url: \\\"file://$PWD/there\\\", cache_size: 1 MB}}\" > disk/tidemill.yaml
         \"$TIDEMILL\" data add large2 large.bin -C disk
         \"$TIDEMILL\" data verify --remote -C disk",
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    let (during, _) = ran.stderr.split_once("after").unwrap();
    assert!(during.contains("the disk is full"), "{ran}");
    assert!(ran.stdout.contains("the store is intact") && ran.stdout.contains("is intact:"), "{ran}");
    assert!(!ran.stderr.contains("panicked"), "{ran}");
}

#[test]
fn a_read_only_folder_in_front_of_a_store_can_still_be_read() {
    let there = tempfile::tempdir().unwrap();
    let text = format!("{{project: ro, store: {{url: \"file://{}\"}}}}", there.path().display());
    let (writer, reader) = (Project::new(&text), Project::new(&text));
    writer.write("data.bin", noise(300_000));
    writer.run(&["data", "add", "big", "data.bin"]).good();
    // It knows the name, and has not got the content.
    reader.run(&["data", "ls"]).good().says(&["big"]);
    let ran = in_namespace(
        &reader,
        "mkdir out; mount --bind .tidemill/store .tidemill/store
         mount -o remount,ro,bind .tidemill/store
         \"$TIDEMILL\" data get big --out out/big.bin
         if \"$TIDEMILL\" data add other out/big.bin; then exit 9; fi",
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(fs_err::read(reader.path("out/big.bin")).unwrap(), noise(300_000));
    assert!(ran.stderr.contains("read-only") && !ran.stderr.contains("panicked"), "{ran}");
}

#[test]
fn a_read_only_folder_is_named() {
    let project = Project::new("{project: ro, pipeline: {a: {run: echo 1 > a, outs: [a]}}}");
    let ran = in_namespace(
        &project,
        "mount --bind . .; mount -o remount,ro,bind .; cd \"$PWD\"
         if \"$TIDEMILL\" run; then exit 9; fi",
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("read-only file system") && ran.stderr.contains(".tidemill"), "{ran}");
    assert!(!project.has(".tidemill") && !project.has("a"));
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let project =
        Project::new("{project: x, pipeline: {a: {run: cat in.txt > a, deps: [in.txt], outs: [a]}}}");
    project.write("in.txt", "x");
    project.write("data/in.txt", "x");
    forbid(&project, "in.txt");
    forbid(&project, "data/in.txt");
    unprivileged(&project, &["run"]).fails(1, &["in.txt", "ermission denied"]);
    unprivileged(&project, &["data", "add", "x", "in.txt"]).fails(1, &["in.txt", "ermission denied"]);
    unprivileged(&project, &["data", "add", "x", "data"]).fails(1, &["in.txt", "ermission denied"]);
    assert!(!project.has("a") && !project.has("tidemill.lock"));
    forbid(&project, "tidemill.yaml");
    unprivileged(&project, &["run"]).fails(2, &["tidemill.yaml", "ermission denied"]);
}
