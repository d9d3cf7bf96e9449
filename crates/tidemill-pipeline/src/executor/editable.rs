//! Where Python packages that were installed to be edited lie: their source is no part of the environment, and what uses
//! the environment reads it.
//!
//! An installation leaves a file `NAME.pth` with the source's folder, or one that imports a module `__editable__…` whose text
//! holds the folders.

use std::path::{Path, PathBuf};

use fs_err as fs;

/// Larger files are not such files.
const LARGEST: u64 = 1 << 20;

/// The folders that packages of the environment at `prefix` name.
pub(super) fn sources(prefix: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for lib in ["lib", "lib64"] {
        let Ok(entries) = fs::read_dir(prefix.join(lib)) else { continue };
        for python in entries.flatten().filter(|entry| starts_with(&entry.file_name(), "python")) {
            for packages in ["site-packages", "dist-packages"] {
                in_folder(&python.path().join(packages), &mut found);
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn starts_with(name: &std::ffi::OsStr, beginning: &str) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(beginning))
}

fn in_folder(packages: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(packages) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let (list, finder) =
            (name.ends_with(".pth"), name.starts_with("__editable__") && name.ends_with(".py"));
        if !(list || finder) || entry.metadata().map_or(0, |metadata| metadata.len()) > LARGEST {
            continue;
        }
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let named = if list { lines(&text) } else { quoted(&text) };
        found.extend(named.into_iter().filter(|path| path.is_absolute() && path.exists()));
    }
}

/// The lines of a list of folders.
fn lines(text: &str) -> Vec<PathBuf> {
    text.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from).collect()
}

/// The texts in a module that are absolute paths.
fn quoted(text: &str) -> Vec<PathBuf> {
    let pieces = ['\'', '"'].into_iter().flat_map(|quote| text.split(quote).skip(1).step_by(2));
    pieces.filter(|piece| piece.starts_with('/') && !piece.contains('\n')).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_packages_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let packages = root.join("env/lib/python3.11/site-packages");
        fs::create_dir_all(&packages).unwrap();
        for source in ["one", "two/src", "three"] {
            fs::create_dir_all(root.join(source)).unwrap();
        }
        let at = |path: &str| root.join(path).display().to_string();
        fs::write(packages.join("one.pth"), format!("# a comment\n{}\nrelative\n", at("one"))).unwrap();
        let finder =
            format!("MAPPING: dict[str, str] = {{'two': '{}', \"x\": \"/gone/x\"}}\n", at("two/src"));
        fs::write(packages.join("__editable___two_0_1_finder.py"), finder).unwrap();
        fs::write(packages.join("__editable__.two-0.1.pth"), "import __editable___two_0_1_finder\n").unwrap();
        fs::write(packages.join("other.py"), format!("X = '{}'", at("three"))).unwrap();
        assert_eq!(sources(&root.join("env")), [root.join("one"), root.join("two/src")]);
        assert_eq!(sources(&root.join("nothing")), Vec::<PathBuf>::new());
    }
}
