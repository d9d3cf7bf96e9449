//! `.ci/rustc`: what clippy and rustdoc find stops the build.

use std::path::Path;

use xtask::{ci, workspace};

/// Builds a library as `cargo xtask ci` does, and returns what cargo said when it failed.
fn refused(source: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "Cargo.toml", "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"3\"\n");
    let manifest = "[package]\nname = \"one\"\nedition = \"2024\"\n[lints.clippy]\npedantic = \"warn\"\n";
    write(folder.path(), "crates/one/Cargo.toml", manifest);
    write(folder.path(), "crates/one/src/lib.rs", source);
    let build = ["test", "--workspace", "--no-run", "--offline", "--target-dir", "built"];
    let mut cargo = workspace::cargo(folder.path(), &build);
    ci::check_as_built(&mut cargo, &workspace::root());
    let output = cargo.output().unwrap();
    let page = folder.path().join("built/doc/one/index.html");
    assert!(page.exists() || !output.status.success(), "no documentation was made");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, text).unwrap();
}

#[test]
fn lints_and_links_are_checked_by_the_build() {
    assert_eq!(refused("//! One.\n\n/// Like [`usize::MAX`].\npub const ONE: usize = 1;\n"), None);
    for (source, lint) in [
        // Of clippy as it is, of a group that the manifest names, of tests alone, and of documentation.
        (
            "//! One.\n\n/// Counts.\npub fn one(all: &Vec<u8>) -> usize {\n    all.len()\n}\n",
            "clippy::ptr-arg",
        ),
        ("//! One.\n\n/// Counts.\npub fn one() -> usize {\n    1\n}\n", "clippy::must-use-candidate"),
        ("//! One.\n\n#[cfg(test)]\nmod tests {\n    fn unused() {}\n}\n", "dead-code"),
        ("//! Two, or [`nothing`].\n", "rustdoc::broken-intra-doc-links"),
    ] {
        let said = refused(source).unwrap_or_default();
        assert!(said.contains(&format!("`-D {lint}` implied")), "{lint}: {said}");
    }
}
