//! What a command may read outside of its project folder, opened for the rules of a sandbox and kept open between the commands
//! of a run.
//!
//! Rules only ever allow, and for everything below a folder. So what surrounds the project is allowed piece by piece, in each
//! folder on the way from `/` to the project and to the user's folder:
//!
//! - of `/` everything but the places where people and data live: programs lie wherever an administrator put them;
//! - in the system's folders everything;
//! - elsewhere what belongs to tools: names that begin with a dot (settings, caches, environments, `.git`), environments of
//!   Python, conda and Node, files that say how a repository is built; and of the user's folder some names that installers give.
//!
//! That may be hundreds of entries, and most runs start many commands, so a folder is looked through again only when it changed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;
use landlock::{Access as _, AccessFs, BitFlags, PathFd, RulesetError};

use super::Access;
use super::editable;
use super::sandbox::{RIGHTS, open};
use crate::settled::{Stamp, settled};

/// Where programs keep temporary files whatever `TMPDIR` says.
const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// Of `/`: where people and data live.
const DATA: [&str; 18] = [
    "data", "datasets", "efs", "export", "fsx", "gpfs", "home", "lake", "lustre", "media", "mnt", "net",
    "nfs", "root", "scratch", "srv", "storage", "volumes",
];
/// Of `/`: what holds programs, and nobody's data.
const SYSTEM: [&str; 19] = [
    "bin", "boot", "dev", "etc", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "opt", "proc", "run",
    "sbin", "snap", "sw", "sys", "usr", "var",
];
/// Of the user's folder: what installers of programs and libraries make without a dot.
const TOOLS: [&str; 28] = [
    "R",
    "anaconda",
    "anaconda3",
    "bin",
    "conda",
    "go",
    "include",
    "julia",
    "lib",
    "lib64",
    "libexec",
    "mamba",
    "mambaforge",
    "micromamba",
    "miniconda",
    "miniconda3",
    "miniforge3",
    "nltk_data",
    "opt",
    "perl5",
    "scikit_learn_data",
    "seaborn-data",
    "snap",
    "software",
    "spack",
    "sw",
    "tensorflow_datasets",
    "texmf",
];
/// Files around a project that tools read to know what it is.
const BUILD: [&str; 28] = [
    "Cargo.lock",
    "Cargo.toml",
    "DESCRIPTION",
    "Makefile",
    "Manifest.toml",
    "Pipfile",
    "Pipfile.lock",
    "Project.toml",
    "environment.yaml",
    "environment.yml",
    "go.mod",
    "go.sum",
    "go.work",
    "justfile",
    "mise.toml",
    "package-lock.json",
    "package.json",
    "pixi.lock",
    "pixi.toml",
    "poetry.lock",
    "pyproject.toml",
    "renv.lock",
    "requirements.txt",
    "rust-toolchain.toml",
    "setup.cfg",
    "setup.py",
    "tsconfig.json",
    "uv.lock",
];
/// More than so many open files are not kept.
const KEPT: usize = 384;

/// Neighbours of the project, and of the folders around it and around the user's.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    folders: Mutex<Vec<Folder>>,
    /// Of environments outside of the project: what their packages name elsewhere.
    sources: Mutex<HashMap<PathBuf, Vec<PathBuf>>>,
    /// Environments outside of the project and folders for temporary files, with the device and inode that they had.
    opened: Mutex<HashMap<PathBuf, ((u64, u64), Opened)>>,
}

/// A path as a rule takes it, and what it allows there.
type Opened = (PathFd, BitFlags<AccessFs>);

/// One folder on the way to the project or to the user's folder.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// As it was when it was looked through; none where it had not settled.
    seen: Option<Stamp>,
    neighbours: Vec<Opened>,
}

/// What is called for each path that is allowed.
type Rule<'a> = &'a mut dyn FnMut(&PathFd, BitFlags<AccessFs>) -> Result<(), RulesetError>;

/// What decides about a neighbour.
struct Around<'a> {
    root: &'a Path,
    home: Option<&'a Path>,
    /// The folders that are looked through. None of them is allowed as a whole.
    ways: Vec<PathBuf>,
}

impl<'a> Around<'a> {
    fn new(root: &'a Path, home: Option<&'a Path>) -> Self {
        // What is in the project is for its declarations to say.
        let home = home.filter(|home| home.is_absolute() && !home.starts_with(root));
        let mut ways: Vec<PathBuf> = root.ancestors().skip(1).map(Path::to_owned).collect();
        for folder in home.into_iter().flat_map(Path::ancestors) {
            if !ways.iter().any(|way| way == folder) {
                ways.push(folder.to_owned());
            }
        }
        Self { root, home, ways }
    }

    /// Whether what is called `name` in `folder` may be read by every command.
    fn admits(&self, folder: &Path, name: &OsStr) -> bool {
        let Some(text) = name.to_str() else { return false };
        let at_home = self.home.is_some_and(|home| folder.starts_with(home));
        if !at_home {
            if TEMPORARY.iter().any(|tmp| folder.starts_with(tmp)) {
                return true;
            }
            match folder.components().nth(1).map(|first| first.as_os_str()) {
                None => return !DATA.contains(&text),
                Some(first) if SYSTEM.iter().any(|system| first == *system) => return true,
                Some(_) => {}
            }
        }
        text.starts_with('.')
            || BUILD.contains(&text)
            || text.starts_with("requirements") && has_extension(text, "txt")
            || self.home == Some(folder) && TOOLS.contains(&text)
            || is_environment(&folder.join(name))
    }
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

/// Whether a folder holds the programs or packages of an environment.
fn is_environment(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new("node_modules"))
        || path.join("pyvenv.cfg").exists()
        || path.join("conda-meta").exists()
}

impl Surroundings {
    /// Calls `rule` for everything outside of the project that a command may read or write.
    pub(super) fn each(&self, access: &Access, rule: Rule<'_>) -> Result<(), RulesetError> {
        let root = access.root.as_path();
        let around = Around::new(root, access.home.as_deref());
        let mut known = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        for path in &around.ways {
            let place = match known.iter().position(|folder| folder.path == *path) {
                Some(place) if known[place].seen.is_some() && known[place].seen == settled(path) => place,
                Some(place) => {
                    known[place] = Folder::look(path, &around);
                    place
                }
                None => {
                    known.push(Folder::look(path, &around));
                    known.len() - 1
                }
            };
            for (opened, rights) in &known[place].neighbours {
                rule(opened, *rights)?;
            }
        }
        for tmp in TEMPORARY.map(Path::new).iter().filter(|tmp| !root.starts_with(tmp)) {
            self.opened(tmp, AccessFs::from_all(RIGHTS), rule)?;
        }
        let mut kept = 0;
        known.retain(|folder| {
            kept += folder.neighbours.len();
            kept <= KEPT
        });
        drop(known);
        for prefix in &access.prefixes {
            for path in std::iter::once(prefix.clone()).chain(self.sources(root, prefix)) {
                // What is in the project, or holds it, is for declarations to say.
                if path.starts_with(root) || root.starts_with(&path) {
                    continue;
                }
                self.opened(&path, AccessFs::from_read(RIGHTS), rule)?;
            }
        }
        Ok(())
    }

    /// Calls `rule` for a path, if it is there. What many commands use stays open as long as it is the same.
    fn opened(&self, path: &Path, rights: BitFlags<AccessFs>, rule: Rule<'_>) -> Result<(), RulesetError> {
        let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
        let identity = (metadata.dev(), metadata.ino());
        let mut known = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, (opened, rights))) = known.get(path).filter(|(was, _)| *was == identity) {
            return rule(opened, *rights);
        }
        let Some(opened) = open(path, rights) else { return Ok(()) };
        rule(&opened.0, opened.1)?;
        if known.len() < KEPT {
            known.insert(path.to_owned(), (identity, opened));
        }
        Ok(())
    }

    /// What packages of an environment name elsewhere. One in the project may be made by a step, so it is asked each time.
    fn sources(&self, root: &Path, prefix: &Path) -> Vec<PathBuf> {
        if prefix.starts_with(root) {
            return editable::sources(prefix);
        }
        let mut known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(prefix.to_owned()).or_insert_with(|| editable::sources(prefix)).clone()
    }
}

impl Folder {
    /// Looks through `path`, which holds the project or the user's folder or is the latter.
    fn look(path: &Path, around: &Around<'_>) -> Self {
        // Before the entries are read: whatever comes later makes another stamp.
        let seen = settled(path);
        let temporary = TEMPORARY.iter().any(|tmp| path.starts_with(tmp));
        let rights_of = |neighbour: &Path| {
            let all = temporary || TEMPORARY.iter().any(|tmp| Path::new(tmp) == neighbour);
            if all { AccessFs::from_all(RIGHTS) } else { AccessFs::from_read(RIGHTS) }
        };
        let neighbours = neighbours(path, around);
        let opened = neighbours.iter().filter_map(|neighbour| open(neighbour, rights_of(neighbour)));
        Self { path: path.to_path_buf(), seen, neighbours: opened.collect() }
    }
}

/// What is in `folder` and may be read by every command. Links that lead to the project, into it or to a folder on the way are
/// left out, since a rule holds for what a link leads to; and links at the top to where data live.
fn neighbours(folder: &Path, around: &Around<'_>) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let harmless = |entry: &fs::DirEntry| {
        let path = entry.path();
        if path == around.root || around.ways.contains(&path) || !around.admits(folder, &entry.file_name()) {
            return false;
        }
        if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            return true;
        }
        fs::canonicalize(&path).is_ok_and(|to| {
            let first = to.components().nth(1).map(|first| first.as_os_str());
            let is_data = first.is_some_and(|first| DATA.iter().any(|name| first == *name));
            let to_data = is_data && folder == Path::new("/");
            !(to.starts_with(around.root) || to_data || around.ways.contains(&to))
        })
    };
    entries.flatten().filter(harmless).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settled::SETTLED;

    fn access(root: &Path) -> Access {
        Access { root: root.to_owned(), ..Access::default() }
    }

    /// Neighbours in the folder `around`; other tests change the folders around that.
    fn count(surroundings: &Surroundings, root: &Path) -> usize {
        surroundings.each(&access(root), &mut |_, _| Ok(())).unwrap();
        let folders = surroundings.folders.lock().unwrap();
        folders.iter().find(|folder| folder.path.ends_with("around")).unwrap().neighbours.len()
    }

    #[test]
    fn a_new_neighbour_is_found_and_an_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("around/project");
        fs::create_dir_all(&root).unwrap();
        let surroundings = Surroundings::default();
        let before = count(&surroundings, &root);
        fs::create_dir(folder.path().join("around/data")).unwrap();
        assert_eq!(count(&surroundings, &root), before + 1);
        std::thread::sleep(SETTLED * 2);
        assert_eq!(count(&surroundings, &root), before + 1);
        let kept = surroundings
            .folders
            .lock()
            .unwrap()
            .iter()
            .any(|f| f.seen.is_some() && f.path.ends_with("around"));
        assert!(kept);
        fs::write(folder.path().join("around/notes"), "").unwrap();
        assert_eq!(count(&surroundings, &root), before + 2);
        // A link into the project is no neighbour.
        std::os::unix::fs::symlink(&root, folder.path().join("around/link")).unwrap();
        assert_eq!(count(&surroundings, &root), before + 2);
    }

    #[test]
    fn what_a_command_may_read_around_its_project() {
        let around = |root: &'static str, home: &'static str| {
            move |path: &str| {
                let path = Path::new(path);
                let (folder, name) = (path.parent().unwrap(), path.file_name().unwrap());
                Around::new(Path::new(root), Some(Path::new(home))).admits(folder, name)
            }
        };
        let mine = around("/users/me/code/project", "/users/me");
        for good in [
            "/usr",
            "/opt",
            "/cluster",
            "/nix",
            "/users/me/.cache",
            "/users/me/.ssh",
            "/users/me/miniconda3",
            "/users/me/R",
            "/users/me/code/.git",
            "/users/me/code/.venv",
            "/users/me/code/pyproject.toml",
            "/users/me/code/requirements-dev.txt",
            "/users/me/code/node_modules",
        ] {
            assert!(mine(good), "{good}");
        }
        for bad in [
            "/data",
            "/mnt",
            "/users/you",
            "/users/me/data",
            "/users/me/Downloads",
            "/users/me/notes.csv",
            "/users/me/code/R",
            "/users/me/code/other",
            "/users/me/code/data.csv",
        ] {
            assert!(!mine(bad), "{bad}");
        }
        let elsewhere = around("/workspace/team/project", "/var/lib/agent");
        for good in
            ["/workspace/.cache", "/workspace/team/uv.lock", "/var/log", "/opt", "/var/lib/agent/.config"]
        {
            assert!(elsewhere(good), "{good}");
        }
        for bad in ["/workspace/data", "/workspace/team/other", "/var/lib/agent/data", "/root"] {
            assert!(!elsewhere(bad), "{bad}");
        }
        assert!(around("/tmp/x/project", "/nonexistent")("/tmp/x/other"));
        // A home in the project, or none that is a path, changes nothing.
        assert_eq!(Around::new(Path::new("/a/b"), Some(Path::new("/a/b/home"))).ways.len(), 2);
        assert_eq!(Around::new(Path::new("/a/b"), Some(Path::new(""))).ways.len(), 2);
    }
}
