//! Checking out over what is there.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tidemill_core::{Digest, Quiet};
use tidemill_store::{Checkout, Entry, EntryKind, Error, StatCache};

use crate::support::{Lab, noise, snapshot};

const FORCE: Checkout<'static> = Checkout { force: true, remove_extra: true, expected: None, stat: None };
const MIRROR: Checkout<'static> = Checkout { force: false, remove_extra: true, expected: None, stat: None };

fn versions(lab: &Lab) -> (Entry, Entry) {
    lab.write("v1/same", "same");
    lab.write("v1/changed", "old");
    lab.write("v1/gone/deep", "gone");
    lab.write("v1/turns", "into a folder");
    lab.write("v1/folder/x", "turns into a file");
    lab.write("v2/same", "same");
    lab.write("v2/changed", "new");
    lab.write("v2/fresh/deep", "fresh");
    lab.write("v2/turns/inner", "in the folder");
    lab.write("v2/folder", "now a file");
    symlink("same", lab.path("v2/link")).unwrap();
    let script = lab.path("v2/same");
    fs_err::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    (lab.add("v1"), lab.add("v2"))
}

#[test]
fn from_any_version_to_any_other() {
    let lab = Lab::new();
    let (one, two) = versions(&lab);
    let out = lab.checkout(&one, "out");
    let same = fs_err::metadata(out.join("same")).unwrap().ino();
    for (before, entry) in [(&one, &two), (&two, &one), (&one, &two)] {
        let options = Checkout { expected: Some(before), ..MIRROR };
        lab.store.checkout(entry, &out, &options, &Quiet).unwrap();
        let source = if entry == &one { "v1" } else { "v2" };
        assert_eq!(snapshot(&out), snapshot(&lab.path(source)));
    }
    assert_eq!(fs_err::metadata(out.join("same")).unwrap().ino(), same, "an equal file was written anew");
    assert!(
        crate::support::list(&lab.path(""))
            .iter()
            .all(|path| { !path.file_name().unwrap().to_string_lossy().starts_with('.') })
    );
}

#[test]
fn extra_files_stay_unless_asked_for() {
    let lab = Lab::new();
    let (one, _) = versions(&lab);
    let out = lab.checkout(&one, "out");
    lab.write("out/mine", "my notes");
    lab.store.checkout(&one, &out, &Checkout::default(), &Quiet).unwrap();
    assert_eq!(fs_err::read(out.join("mine")).unwrap(), b"my notes");
    let error = lab.store.checkout(&one, &out, &MIRROR, &Quiet).unwrap_err();
    assert!(
        matches!(&error, Error::LocalChanges { paths, count: 1, .. } if paths[0].ends_with("mine")),
        "{error}"
    );
    lab.store.checkout(&one, &out, &FORCE, &Quiet).unwrap();
    assert_eq!(snapshot(&out), snapshot(&lab.path("v1")));
}

#[test]
fn local_changes_are_kept() {
    let lab = Lab::new();
    let (one, two) = versions(&lab);
    let out = lab.checkout(&one, "out");
    lab.write("out/changed", "edited by hand");
    let before = snapshot(&out);
    let error = lab.store.checkout(&two, &out, &MIRROR, &Quiet).unwrap_err();
    let text = crate::support::message(&lab, &error);
    assert_eq!(
        text,
        "DIR/work/out would lose local changes: `changed` | \
         add them to the store first, or overwrite them with `--force`"
    );
    assert_eq!(snapshot(&out), before, "something was written before the refusal");
    // What the store holds, or what was expected to be there, may go.
    lab.add("out/changed");
    lab.store.checkout(&two, &out, &MIRROR, &Quiet).unwrap();
    assert_eq!(snapshot(&out), snapshot(&lab.path("v2")));
}

#[test]
fn expected_content_may_be_replaced_although_the_store_lacks_it() {
    let lab = Lab::new();
    lab.write("target", "target");
    let target = lab.add("target");
    let path = lab.write("file", "was here before");
    let expected = Entry {
        digest: Digest::of(b"was here before"),
        kind: EntryKind::File { executable: false },
        bytes: 15,
        files: 1,
        sha256: None,
    };
    assert!(lab.store.checkout(&target, &path, &Checkout::default(), &Quiet).is_err());
    let options = Checkout { expected: Some(&expected), ..Checkout::default() };
    lab.store.checkout(&target, &path, &options, &Quiet).unwrap();
    assert_eq!(fs_err::read(&path).unwrap(), b"target");
}

#[test]
fn a_link_in_the_way_is_not_written_through() {
    let lab = Lab::new();
    lab.write("tree/sub/file", "stored");
    let tree = lab.add("tree");
    lab.write("elsewhere/file", "precious");
    fs_err::create_dir(lab.path("out")).unwrap();
    symlink("../elsewhere", lab.path("out/sub")).unwrap();
    assert!(lab.store.checkout(&tree, &lab.path("out"), &Checkout::default(), &Quiet).is_err());
    lab.store.checkout(&tree, &lab.path("out"), &FORCE, &Quiet).unwrap();
    assert_eq!(fs_err::read(lab.path("elsewhere/file")).unwrap(), b"precious");
    assert_eq!(snapshot(&lab.path("out")), snapshot(&lab.path("tree")));
}

#[test]
fn a_linked_destination_is_followed() {
    let lab = Lab::new();
    lab.write("tree/file", "stored");
    let tree = lab.add("tree");
    fs_err::create_dir(lab.path("big disk")).unwrap();
    symlink("big disk", lab.path("data")).unwrap();
    lab.checkout(&tree, "data");
    assert_eq!(fs_err::read(lab.path("big disk/file")).unwrap(), b"stored");
    assert!(fs_err::symlink_metadata(lab.path("data")).unwrap().is_symlink());
}

#[test]
fn large_files_come_back_exactly() {
    let lab = Lab::new();
    let bytes = noise(3, 9_000_000);
    lab.write("large", &bytes);
    let entry = lab.add("large");
    let out = lab.checkout(&entry, "copy/of/large");
    assert_eq!(fs_err::read(&out).unwrap(), bytes);
    // In place of a shorter and a longer file.
    for other in [noise(4, 100), noise(5, 10_000_000)] {
        fs_err::write(&out, other).unwrap();
        lab.store.checkout(&entry, &out, &FORCE, &Quiet).unwrap();
        assert_eq!(fs_err::read(&out).unwrap(), bytes);
    }
}

#[test]
fn nothing_is_written_if_an_object_is_missing() {
    let lab = Lab::new();
    lab.write("tree/a", "a");
    let entry = lab.add("tree");
    let path = lab.write("b", "b");
    let absent = tidemill_store::hash(&path, None, &Quiet).unwrap();
    assert!(matches!(
        lab.store.checkout(&absent, &lab.path("out"), &Checkout::default(), &Quiet),
        Err(Error::Missing { .. })
    ));
    assert!(!lab.path("out").exists());
    let cancel = tidemill_core::Cancel::new();
    cancel.cancel();
    let cancelled = lab.store.checkout(&entry, &lab.path("out"), &Checkout::default(), &cancel);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert!(!lab.path("out").exists());
    assert_eq!(crate::support::list(&lab.path("")).len(), 2);
}

#[test]
fn the_stat_cache_learns_from_a_checkout_only_what_is_certain() {
    let lab = Lab::new();
    let (one, _) = versions(&lab);
    let cache = StatCache::in_memory();
    let options = Checkout { stat: Some(&cache), remove_extra: true, ..Checkout::default() };
    let out = lab.path("out");
    lab.store.checkout(&one, &out, &options, &Quiet).unwrap();
    // A change in the same tick of the clock, of the same length.
    fs_err::write(out.join("changed"), "odl").unwrap();
    assert_eq!(
        tidemill_store::hash(&out.join("changed"), Some(&cache), &Quiet).unwrap().digest,
        Digest::of(b"odl")
    );
}
