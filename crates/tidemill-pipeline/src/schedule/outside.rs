//! What a step uses outside of its project folder: what it declares to read there, and the environments of its programs.
//!
//! Programs are found as a shell finds them: in the folders of `PATH`, and by the words of the command that are paths. What
//! belongs to a program lies beside its `bin`: libraries, packages, data of its own. A virtual environment names the
//! interpreter that it was made of, which lies elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;

use crate::settled::{Stamp, settled};

/// Words of a command that are looked at.
const MOST_WORDS: usize = 200;
/// Words whose places are kept.
const MOST_KNOWN: usize = 4096;
/// Beside `bin` where everything around it would be too much.
const BESIDE: [&str; 5] = ["lib", "lib64", "libexec", "share", "include"];
/// Variables that name folders of programs and libraries, one or several with colons between them.
const VARIABLES: [&str; 22] = [
    "CARGO_HOME",
    "CONDA_PREFIX",
    "CUDA_HOME",
    "CUDA_PATH",
    "GOPATH",
    "GOROOT",
    "HADOOP_HOME",
    "HF_HOME",
    "JAVA_HOME",
    "JULIA_DEPOT_PATH",
    "LD_LIBRARY_PATH",
    "NODE_PATH",
    "PERL5LIB",
    "PYTHONHOME",
    "PYTHONPATH",
    "RUSTUP_HOME",
    "R_HOME",
    "R_LIBS",
    "R_LIBS_USER",
    "SPARK_HOME",
    "TORCH_HOME",
    "VIRTUAL_ENV",
];

/// Where a step looks outside of its project.
pub(super) struct Outside {
    pub(super) home: Option<PathBuf>,
    /// What it declares, absolute.
    pub(super) reads: Vec<PathBuf>,
    /// See [`crate::Access::prefixes`].
    pub(super) prefixes: Vec<PathBuf>,
}

impl Outside {
    /// Reads the command and the environment that it runs in. `tools` are the project's own folders of tools.
    pub(super) fn new(
        root: &Path,
        command: &str,
        env: &BTreeMap<String, OsString>,
        declared: &[String],
        tools: &[String],
        programs: &Programs,
    ) -> Self {
        let home = env.get("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let reads = declared.iter().map(|path| expand(root, home.as_deref(), path)).collect();
        let mut found = Found { root, home: home.as_deref(), prefixes: Vec::new() };
        let path = folders(env.get("PATH"));
        path.iter().for_each(|folder| found.programs_in(folder));
        for variable in VARIABLES {
            for folder in folders(env.get(variable)) {
                if !found.is_too_wide(&folder) {
                    found.add(&folder);
                }
            }
        }
        let known = programs.of(&path);
        for word in words(command) {
            found.word(word, &known);
        }
        // Environments of the project.
        for tool in tools {
            found.base_of(&root.join(tool));
        }
        if let Some(home) = &home {
            found.add(&home.join(".local"));
        }
        let prefixes = found.prefixes;
        Self { home, reads, prefixes }
    }
}

/// A declared path, from the project folder.
fn expand(root: &Path, home: Option<&Path>, path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(below), Some(home)) => home.join(below),
        _ if path == "~" => home.unwrap_or(root).to_owned(),
        _ => root.join(path),
    }
}

fn folders(value: Option<&OsString>) -> Vec<PathBuf> {
    let split = value.into_iter().flat_map(std::env::split_paths);
    split.filter(|folder| folder.is_absolute()).collect()
}

/// Pieces of a command line that may be programs.
fn words(command: &str) -> impl Iterator<Item = &str> {
    command
        .split(|c: char| c.is_whitespace() || "\"'`;&|()<>={}".contains(c))
        .filter(|word| !word.is_empty() && !word.starts_with('-'))
        .take(MOST_WORDS)
}

/// Where the words of commands were found as programs. Many steps of a run ask for the same ones, so what is known is kept as long as
/// the folders of `PATH` stay as they are.
#[derive(Debug, Default)]
pub(super) struct Programs {
    known: Mutex<Arc<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// The folders of `PATH` in their order, each as it was; none for one that has just changed.
    folders: Vec<(PathBuf, Option<Stamp>)>,
    places: Mutex<HashMap<String, Option<PathBuf>>>,
}

/// Of a folder that is not there.
const MISSING: Stamp = (0, 0, 0, 0);

impl Programs {
    /// What is known of these folders.
    fn of(&self, path: &[PathBuf]) -> Arc<Known> {
        let stamp = |folder: &Path| settled(folder).or_else(|| (!folder.exists()).then_some(MISSING));
        let folders: Vec<_> = path.iter().map(|folder| (folder.clone(), stamp(folder))).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.folders != folders || folders.iter().any(|(_, stamp)| stamp.is_none()) {
            *known = Arc::new(Known { folders, places: Mutex::default() });
        }
        Arc::clone(&known)
    }
}

impl Known {
    /// The file called `word` in the first of the folders that has one.
    fn find(&self, word: &str) -> Option<PathBuf> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(word) {
            return place.clone();
        }
        let mut candidates = self.folders.iter().map(|(folder, _)| folder.join(word));
        let place = candidates.find(|place| place.is_file());
        if places.len() < MOST_KNOWN {
            places.insert(word.to_owned(), place.clone());
        }
        place
    }
}

struct Found<'a> {
    root: &'a Path,
    home: Option<&'a Path>,
    prefixes: Vec<PathBuf>,
}

impl Found<'_> {
    fn add(&mut self, path: &Path) {
        if !self.prefixes.iter().any(|known| known == path) {
            self.prefixes.push(path.to_owned());
        }
    }

    /// The environment of a folder of programs.
    fn programs_in(&mut self, folder: &Path) {
        let named = |name: &str| folder.file_name() == Some(OsStr::new(name));
        let prefix = folder.parent().filter(|_| named("bin") || named("sbin") || named("condabin"));
        match prefix {
            Some(prefix) if self.is_too_wide(prefix) => {
                self.add(folder);
                for beside in BESIDE {
                    self.add(&prefix.join(beside));
                }
            }
            Some(prefix) => {
                self.add(prefix);
                self.base_of(prefix);
            }
            None if self.is_too_wide(folder) => {}
            None => self.add(folder),
        }
    }

    /// Whether a folder holds more than programs: it is at the top, or the project or the user's folder is in it.
    fn is_too_wide(&self, folder: &Path) -> bool {
        folder.components().count() <= 2
            || self.root.starts_with(folder)
            || self.home.is_some_and(|home| home.starts_with(folder))
    }

    /// The interpreter that a virtual environment was made of.
    fn base_of(&mut self, prefix: &Path) {
        let Ok(text) = fs::read_to_string(prefix.join("pyvenv.cfg")) else { return };
        // Also one in the project: its packages may name sources elsewhere.
        self.add(prefix);
        let home = text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == "home").then(|| PathBuf::from(value.trim()))
        });
        let Some(bin) = home.filter(|bin| bin.is_absolute()) else { return };
        for bin in [fs::canonicalize(&bin).ok(), Some(bin)].into_iter().flatten() {
            let base = bin.parent().filter(|base| !self.is_too_wide(base));
            self.add(base.unwrap_or(&bin));
        }
    }

    /// A word of the command: what it runs, if it is a program.
    fn word(&mut self, word: &str, programs: &Known) {
        let home = self.home;
        let place = match word.strip_prefix("~/").or_else(|| word.strip_prefix("$HOME/")) {
            Some(below) => home.map(|home| home.join(below)),
            None if word.contains('/') => Some(self.root.join(word)),
            None => programs.find(word),
        };
        let Some(place) = place.filter(|place| is_program(place)) else { return };
        // A link to a program of another environment, as that of a virtual one is.
        for program in [fs::canonicalize(&place).ok(), Some(place)].into_iter().flatten() {
            if program.starts_with(self.root) && !program.is_symlink() {
                continue;
            }
            match program.parent().filter(|folder| folder.file_name() == Some(OsStr::new("bin"))) {
                Some(bin) => self.programs_in(bin),
                None => self.add(&program),
            }
        }
    }
}

/// A file that can be executed, and begins as programs and scripts do.
fn is_program(path: &Path) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return false;
    }
    let mut first = [0; 4];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut first));
    read.is_ok_and(|read| first[..read].starts_with(b"#!") || first[..read] == *b"\x7fELF")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settled::SETTLED;

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn outside(at: &Path, command: &str, path: &str) -> Vec<String> {
        let env = [("PATH", path.to_owned()), ("HOME", at.join("home").display().to_string())];
        let env = env.map(|(name, value)| (name.to_owned(), value.into())).into_iter().collect();
        let found = Outside::new(
            &at.join("home/project"),
            command,
            &env,
            &[],
            &[".venv".to_owned()],
            &Programs::default(),
        );
        let shown = |path: &PathBuf| path.strip_prefix(at).unwrap_or(path).display().to_string();
        found.prefixes.iter().map(shown).collect()
    }

    #[test]
    fn environments_of_programs_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(folder.path()).unwrap();
        program(&at.join("home/tools/python/bin/python3.11"));
        program(&at.join("home/bin/tool"));
        program(&at.join("home/work/go.sh"));
        fs::create_dir_all(at.join("home/envs/ml/bin")).unwrap();
        fs::create_dir_all(at.join("home/project/.venv")).unwrap();
        let linked = at.join("home/envs/ml/bin/python");
        std::os::unix::fs::symlink(at.join("home/tools/python/bin/python3.11"), &linked).unwrap();
        fs::write(at.join("home/data.csv"), "1").unwrap();
        let p = |command: &str| outside(&at, command, "");
        let usual = ["home/.local"];
        assert_eq!(p("cat ~/data.csv x"), usual);
        assert_eq!(p("~/envs/ml/bin/python train.py"), ["home/tools/python", "home/envs/ml", usual[0]]);
        assert_eq!(p("../work/go.sh"), ["home/work/go.sh", usual[0]]);
        // Not the whole of the user's folder.
        let own =
            ["home/bin", "home/lib", "home/lib64", "home/libexec", "home/share", "home/include", usual[0]];
        let bin = at.join("home/bin");
        assert_eq!(outside(&at, "tool", &bin.display().to_string()), own);
        let cfg = format!("home = {}\nversion = 3.11\n", at.join("home/tools/python/bin").display());
        fs::write(at.join("home/project/.venv/pyvenv.cfg"), cfg).unwrap();
        assert_eq!(p("make"), ["home/project/.venv", "home/tools/python", usual[0]]);
    }

    #[test]
    fn a_program_that_a_step_installs_is_found_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        fs::create_dir_all(&first).unwrap();
        program(&second.join("tool"));
        let path = [first.clone(), second.clone(), folder.path().join("missing")];
        let programs = Programs::default();
        let find = |word: &str| programs.of(&path).find(word);
        assert_eq!(find("tool"), Some(second.join("tool")));
        assert_eq!(find("other"), None);
        std::thread::sleep(SETTLED * 2);
        assert_eq!((find("tool"), find("other")), (Some(second.join("tool")), None));
        assert_eq!(programs.of(&path).places.lock().unwrap().len(), 2, "kept while nothing changes");
        program(&first.join("tool"));
        assert_eq!(find("tool"), Some(first.join("tool")));
        program(&folder.path().join("missing/other"));
        assert_eq!(find("other"), Some(folder.path().join("missing/other")));
    }

    #[test]
    fn declared_paths_are_meant_from_the_project_or_the_users_folder() {
        let (root, home) = (Path::new("/w/p"), Some(Path::new("/users/me")));
        for (path, expected) in [
            ("/data/x.csv", "/data/x.csv"),
            ("~/data", "/users/me/data"),
            ("~", "/users/me"),
            ("../shared", "/w/p/../shared"),
        ] {
            assert_eq!(expand(root, home, path), Path::new(expected));
        }
    }
}
