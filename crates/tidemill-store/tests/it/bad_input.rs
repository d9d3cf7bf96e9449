//! What cannot be stored, and what stands in the way: clear messages, and nothing lost.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use tidemill_core::{Cancel, Quiet};
use tidemill_store::{Checkout, Error, Root, Store, StoreOptions};

use crate::support::{Lab, message, noise, open};
use crate::support_child::{orders, with_args};

#[test]
fn what_cannot_be_stored_is_named() {
    let lab = Lab::new();
    lab.write("outside", "x");
    for (name, target, text) in [
        ("out", "../outside", "leads out of the folder"),
        ("absolute", "/etc/hostname", "is absolute, so it would mean something else elsewhere"),
        ("self", "self", "leads in a circle"),
        ("above", "../data", "leads out of the folder"),
        ("here", ".", "leads to a folder that contains it"),
    ] {
        let _ = fs_err::remove_dir_all(lab.path("data"));
        fs_err::create_dir(lab.path("data")).unwrap();
        symlink(target, lab.path("data").join(name)).unwrap();
        let error = lab.try_add("data").unwrap_err();
        assert_eq!(
            message(&lab, &error),
            format!(
                "the link `DIR/work/data/{name}` -> `{target}` {text} | \
                 replace the link by the file it means, or make it relative and inside the folder"
            )
        );
    }
    fs_err::remove_dir_all(lab.path("data")).unwrap();
    fs_err::create_dir_all(lab.path("data/deep")).unwrap();
    symlink("..", lab.path("data/deep/loop")).unwrap();
    assert!(lab.try_add("data").unwrap_err().to_string().ends_with("leads to a folder that contains it"));
    fs_err::remove_file(lab.path("data/deep/loop")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(lab.path("data/talk")).unwrap();
    assert_eq!(
        message(&lab, &lab.try_add("data").unwrap_err()),
        "`DIR/work/data/talk` is a socket, which cannot be stored | \
         move it out of the folder, or add the files beside it one by one"
    );
    fs_err::remove_file(lab.path("data/talk")).unwrap();
    let made = Command::new("mkfifo").arg(lab.path("data/pipe")).status().unwrap();
    assert!(made.success());
    assert!(
        lab.try_add("data").unwrap_err().to_string().ends_with("is a named pipe, which cannot be stored")
    );
    assert_eq!(
        message(&lab, &lab.try_add("nothing here").unwrap_err()),
        "`DIR/work/nothing here` does not exist | check the spelling, relative to the current folder"
    );
    symlink("nowhere", lab.path("broken")).unwrap();
    assert!(lab.try_add("broken").unwrap_err().to_string().ends_with("leads to nothing"));
    assert_eq!(lab.store.stats().objects, 0);
}

#[test]
fn a_link_as_the_path_itself_is_followed() {
    let lab = Lab::new();
    lab.write("real/file", "x");
    symlink("real", lab.path("alias")).unwrap();
    symlink("real/file", lab.path("file alias")).unwrap();
    assert_eq!(lab.add("alias"), lab.add("real"));
    assert_eq!(lab.add("file alias"), lab.add("real/file"));
}

#[test]
fn folders_that_are_no_store() {
    let lab = Lab::new();
    lab.write("notes.txt", "mine");
    let error = Store::open(&lab.path(""), StoreOptions::default()).unwrap_err();
    assert!(
        message(&lab, &error)
            .starts_with("`DIR/work/` is not a store: it holds `notes.txt` but no file `format`")
    );
    let format = lab.store.dir().join("format");
    let good = fs_err::read_to_string(&format).unwrap();
    fs_err::write(&format, good.replace(r#""tidemill_store":1"#, r#""tidemill_store":2"#)).unwrap();
    let error = Store::open(lab.store.dir(), StoreOptions::default()).unwrap_err();
    assert_eq!(
        message(&lab, &error),
        "the store in `DIR/store` has format 2, and this version reads formats up to 1 | \
         update tidemill on this machine"
    );
    for bad in ["", "{}", "garbage", &good.replace("65536", "65537")] {
        fs_err::write(&format, bad).unwrap();
        assert!(
            matches!(Store::open(lab.store.dir(), StoreOptions::default()), Err(Error::NotAStore { .. })),
            "{bad}"
        );
    }
    // Large files were cut twice as coarsely at first.
    for known in [good.replace("131072", "262144"), good] {
        fs_err::write(&format, known).unwrap();
        open(lab.store.dir());
    }
    let file = lab.write("file", "");
    assert!(matches!(Store::open(&file, StoreOptions::default()), Err(Error::Io { .. })));
}

#[test]
fn a_store_whose_making_was_interrupted_is_completed() {
    let lab = Lab::new();
    fs_err::remove_file(lab.store.dir().join("format")).unwrap();
    fs_err::remove_dir(lab.store.dir().join("tmp")).unwrap();
    open(lab.store.dir());
    lab.write("x", "x");
    lab.add("x");
}

#[test]
fn cancelling_leaves_nothing() {
    let lab = Lab::new();
    lab.write("large", noise(1, 5_000_000));
    let cancel = Cancel::new();
    cancel.cancel();
    assert!(matches!(lab.store.add(&lab.path("large"), None, &cancel), Err(Error::Cancelled)));
    assert!(lab.files("packs").is_empty() && lab.files("tmp").is_empty() && lab.files("index").is_empty());
}

/// Runs the test `name` as a child with a file system of its own of 4 MiB, mounted at `dir`; `then` runs before it.
fn in_small_file_system(name: &str, dir: &Path, then: &str) {
    let script = format!("mount -t tmpfs -o size=4m tmpfs \"$1\" && {then} shift && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"]).arg(dir);
    command.arg(std::env::current_exe().unwrap());
    with_args(&mut command, name, dir);
    let output = command.output().unwrap_or_else(|error| panic!("the program `unshare` is needed: {error}"));
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let Some(dir) = orders() else {
        let dir = tempfile::tempdir().unwrap();
        return in_small_file_system("bad_input::a_full_disk_is_named_and_loses_nothing", dir.path(), "");
    };
    let store = open(&dir.join("store"));
    let outside = tempfile::tempdir().unwrap();
    let (small, large) = (outside.path().join("small"), outside.path().join("large"));
    fs_err::write(&small, noise(1, 100_000)).unwrap();
    fs_err::write(&large, noise(2, 9_000_000)).unwrap();
    let kept = store.add(&small, None, &Quiet).unwrap();
    let error = store.add(&large, None, &Quiet).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot write to `") && text.ends_with("`: the disk is full"), "{text}");
    let hint = tidemill_core::Hint::hint(&error).unwrap();
    assert!(hint.starts_with("free some space on the disk of `"), "{hint}");
    // What had been written of it is gone, so that there is room again.
    let left = |folder: &str| fs_err::read_dir(store.dir().join(folder)).unwrap().count();
    assert_eq!((left("tmp"), left("packs"), left("index")), (0, 1, 1));
    assert_eq!(store.verify(&[Root::from(&kept)], &Quiet).unwrap(), vec![]);
    assert_eq!(store.get(&kept.digest).unwrap(), noise(1, 100_000));
    // Checking out to a full disk leaves no half file and does not touch what was there.
    let other = open(&outside.path().join("other"));
    let large = other.add(&large, None, &Quiet).unwrap();
    let target = dir.join("out");
    fs_err::write(&target, "before").unwrap();
    let options = Checkout { force: true, ..Checkout::default() };
    let error = other.checkout(&large, &target, &options, &Quiet).unwrap_err();
    assert!(error.to_string().ends_with("the disk is full"), "{error}");
    assert_eq!(fs_err::read(&target).unwrap(), b"before");
    assert_eq!(fs_err::read_dir(&dir).unwrap().count(), 2);
}

#[test]
fn a_read_only_store_can_be_read_and_says_why_it_cannot_be_written() {
    let Some(dir) = orders() else {
        let dir = tempfile::tempdir().unwrap();
        let name = "bad_input::a_read_only_store_can_be_read_and_says_why_it_cannot_be_written";
        return in_small_file_system(name, dir.path(), "");
    };
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("file");
    fs_err::write(&file, "content").unwrap();
    let entry = open(&dir.join("store")).add(&file, None, &Quiet).unwrap();
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&dir).status().unwrap();
    assert!(status.success());
    let store = open(&dir.join("store"));
    assert_eq!(store.get(&entry.digest).unwrap(), b"content");
    assert_eq!(store.verify(&[Root::from(&entry)], &Quiet).unwrap(), vec![]);
    fs_err::write(&file, "other").unwrap();
    let error = store.add(&file, None, &Quiet).unwrap_err();
    assert!(error.to_string().ends_with("`: the file system is read-only"), "{error}");
    let hint = tidemill_core::Hint::hint(&error).unwrap();
    assert!(hint.ends_with("is mounted read-only: choose another folder or mount it writable"), "{hint}");
}

#[test]
fn files_without_permission_are_named() {
    if let Some(dir) = orders() {
        let store = open(&dir.join("mine/store"));
        for name in ["secret", "folder"] {
            let error = store.add(&dir.join(name), None, &Quiet).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(name) && text.ends_with("permission denied"), "{text}");
            assert!(tidemill_core::Hint::hint(&error).unwrap().starts_with("check who owns `"));
        }
        assert_eq!(store.stats().objects, 0);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mode =
        |path: &Path, mode| fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    fs_err::write(dir.path().join("secret"), "x").unwrap();
    fs_err::create_dir(dir.path().join("folder")).unwrap();
    fs_err::create_dir(dir.path().join("mine")).unwrap();
    let binary = dir.path().join("binary");
    fs_err::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    mode(&binary, 0o755);
    mode(&dir.path().join("secret"), 0o000);
    mode(&dir.path().join("folder"), 0o000);
    mode(&dir.path().join("mine"), 0o777);
    mode(dir.path(), 0o755);
    let mut command = Command::new(&binary);
    with_args(&mut command, "bad_input::files_without_permission_are_named", dir.path());
    if rustix::process::geteuid().is_root() {
        // Permissions do not bind root, so the child is somebody else.
        command.uid(65_534).gid(65_534);
    }
    let output = command.current_dir(dir.path()).output().unwrap();
    mode(&dir.path().join("folder"), 0o755);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
