//! Landlock: a command may read everything outside of the project folder, inside of it only what is declared, and
//! write only its outputs, its scratch folder and the system's folders for temporary files.
//!
//! A Landlock domain belongs to a thread and is inherited by the processes that it starts. So each command is started
//! from a fresh thread that restricts itself first and ends at once; no other thread of ours is ever restricted.
//! This is about reproducible results, not about defending against hostile code.

use std::io;
use std::process::{Child, Command};

use super::{Access, SandboxSupport};

#[cfg(target_os = "linux")]
pub(super) use linux::{Surroundings, spawn, support};

/// Nothing has to be remembered where there is no sandbox.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Default)]
pub(super) struct Surroundings;

#[cfg(not(target_os = "linux"))]
pub(super) fn support() -> SandboxSupport {
    SandboxSupport::Unavailable("only Linux has Landlock".to_owned())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn spawn(mut command: Command, _: &Access, _: &Surroundings) -> io::Result<Child> {
    command.spawn()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::ffi::OsString;
    use std::os::unix::fs::DirEntryExt;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, PoisonError};

    use fs_err as fs;
    use landlock::{
        ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
        RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    };

    use super::{Access, Child, Command, SandboxSupport, io};

    /// Where programs keep temporary files whatever `TMPDIR` says.
    const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

    /// Reading, writing, renaming between folders and truncating; weaker kernels enforce what they know of it.
    const RIGHTS: ABI = ABI::V3;

    /// Most neighbours of one folder that are kept open: descriptors are scarce.
    const KEPT: usize = 256;

    /// What lies around projects, kept open from one command to the next, because opening it costs more than everything
    /// else about a sandbox. The folders are listed anew each time, so nothing that came or went is missed.
    #[derive(Debug, Default)]
    pub(in super::super) struct Surroundings(Mutex<HashMap<(PathBuf, PathBuf), Neighbours>>);

    /// The neighbours of a folder's entry, by name.
    type Neighbours = HashMap<OsString, Neighbour>;

    #[derive(Debug)]
    struct Neighbour {
        /// Tells an entry from a later one of the same name.
        number: u64,
        /// `None` for what needs no rule or must not have one.
        opened: Option<Opened>,
    }

    #[derive(Debug)]
    struct Opened {
        path: PathFd,
        folder: bool,
    }

    pub(in super::super) fn support() -> SandboxSupport {
        let probe = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))
            .and_then(Ruleset::create);
        match probe {
            Ok(_) => SandboxSupport::Available,
            Err(error) => SandboxSupport::Unavailable(format!("the kernel has no Landlock ({error})")),
        }
    }

    pub(in super::super) fn spawn(
        mut command: Command,
        access: &Access,
        surroundings: &Surroundings,
    ) -> io::Result<Child> {
        let ruleset = ruleset(access, surroundings).map_err(io::Error::other)?;
        std::thread::scope(|scope| {
            let thread =
                std::thread::Builder::new().name("sandbox".to_owned()).spawn_scoped(scope, move || {
                    ruleset.restrict_self().map_err(io::Error::other)?;
                    command.spawn()
                })?;
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that starts the command panicked")))
        })
    }

    fn ruleset(access: &Access, surroundings: &Surroundings) -> Result<RulesetCreated, RulesetError> {
        let mut rules =
            Rules { ruleset: Ruleset::default().handle_access(AccessFs::from_all(RIGHTS))?.create()? };
        let (read, all) = (AccessFs::from_read(RIGHTS), AccessFs::from_all(RIGHTS));
        surroundings.allow(&access.root, &mut rules)?;
        rules.allow(Path::new("/dev"), read | AccessFs::WriteFile)?;
        // Python finds modules by listing folders, and a name alone tells no content.
        rules.allow(&access.root, BitFlags::from(AccessFs::ReadDir))?;
        for path in &access.read {
            rules.allow(path, read)?;
        }
        for path in &access.write {
            rules.allow(path, all)?;
        }
        Ok(rules.ruleset)
    }

    struct Rules {
        ruleset: RulesetCreated,
    }

    impl Rules {
        /// Allows `rights` on a path and below it. What is not there or cannot be opened needs no rule.
        fn allow(&mut self, path: &Path, rights: BitFlags<AccessFs>) -> Result<(), RulesetError> {
            match Opened::new(path) {
                Some(opened) => self.allow_opened(&opened, rights),
                None => Ok(()),
            }
        }

        fn allow_opened(&mut self, opened: &Opened, rights: BitFlags<AccessFs>) -> Result<(), RulesetError> {
            let rights = if opened.folder { rights } else { rights & AccessFs::from_file(RIGHTS) };
            if rights.is_empty() {
                return Ok(());
            }
            (&mut self.ruleset).add_rule(PathBeneath::new(&opened.path, rights))?;
            Ok(())
        }
    }

    impl Opened {
        fn new(path: &Path) -> Option<Self> {
            let opened = PathFd::new(path).ok()?;
            let folder = fs::metadata(path).ok()?.is_dir();
            Some(Self { path: opened, folder })
        }
    }

    impl Surroundings {
        /// Rules only ever allow, and for everything below a folder. So what surrounds the project is allowed piece by
        /// piece: the neighbours of each folder on the way from `/` to it.
        fn allow(&self, root: &Path, rules: &mut Rules) -> Result<(), RulesetError> {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (folder, inner) in root.ancestors().skip(1).zip(root.ancestors()) {
                let temporary = TEMPORARY.iter().any(|tmp| folder.starts_with(tmp));
                let place = (folder.to_owned(), inner.to_owned());
                let mut before = known.remove(&place).unwrap_or_default();
                let mut now = Neighbours::new();
                for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                    let path = entry.path();
                    if path == inner {
                        continue;
                    }
                    let number = entry.ino();
                    let neighbour = before
                        .remove(&entry.file_name())
                        .filter(|known| known.number == number)
                        .unwrap_or_else(|| Neighbour { number, opened: open(&entry, &path, root) });
                    if let Some(opened) = &neighbour.opened {
                        let tmp = temporary || TEMPORARY.iter().any(|tmp| Path::new(tmp) == path);
                        let rights =
                            if tmp { AccessFs::from_all(RIGHTS) } else { AccessFs::from_read(RIGHTS) };
                        rules.allow_opened(opened, rights)?;
                    }
                    if now.len() < KEPT {
                        now.insert(entry.file_name(), neighbour);
                    }
                }
                known.insert(place, now);
            }
            for tmp in TEMPORARY.map(Path::new).iter().filter(|tmp| !root.starts_with(tmp)) {
                rules.allow(tmp, AccessFs::from_all(RIGHTS))?;
            }
            Ok(())
        }
    }

    /// Opens what is beside the way to a project. Links that lead to the project, into it or to a folder around it are
    /// left out, since a rule holds for what a link leads to.
    fn open(entry: &fs::DirEntry, path: &Path, root: &Path) -> Option<Opened> {
        let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let harmless = !link
            || fs::canonicalize(path).is_ok_and(|to| !root.starts_with(&to) && !to.starts_with(root));
        harmless.then(|| Opened::new(path)).flatten()
    }
}
