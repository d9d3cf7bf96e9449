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
pub(super) use linux::{spawn, support};

#[cfg(not(target_os = "linux"))]
pub(super) fn support() -> SandboxSupport {
    SandboxSupport::Unavailable("only Linux has Landlock".to_owned())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn spawn(mut command: Command, _: &Access) -> io::Result<Child> {
    command.spawn()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::{Path, PathBuf};

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

    pub(in super::super) fn spawn(mut command: Command, access: &Access) -> io::Result<Child> {
        let ruleset = ruleset(access).map_err(io::Error::other)?;
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

    fn ruleset(access: &Access) -> Result<RulesetCreated, RulesetError> {
        let mut rules =
            Rules { ruleset: Ruleset::default().handle_access(AccessFs::from_all(RIGHTS))?.create()? };
        let (read, all) = (AccessFs::from_read(RIGHTS), AccessFs::from_all(RIGHTS));
        outside(&access.root, &mut rules)?;
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
            let Ok(opened) = PathFd::new(path) else { return Ok(()) };
            let rights = match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => rights,
                Ok(_) => rights & AccessFs::from_file(RIGHTS),
                Err(_) => return Ok(()),
            };
            if rights.is_empty() {
                return Ok(());
            }
            (&mut self.ruleset).add_rule(PathBeneath::new(opened, rights))?;
            Ok(())
        }
    }

    /// Rules only ever allow, and for everything below a folder. So what surrounds the project is allowed piece by
    /// piece: the neighbours of each folder on the way from `/` to it.
    fn outside(root: &Path, rules: &mut Rules) -> Result<(), RulesetError> {
        for (folder, inner) in root.ancestors().skip(1).zip(root.ancestors()) {
            let temporary = TEMPORARY.iter().any(|tmp| folder.starts_with(tmp));
            for neighbour in neighbours(folder, inner, root) {
                let tmp = temporary || TEMPORARY.iter().any(|tmp| Path::new(tmp) == neighbour);
                let rights = if tmp { AccessFs::from_all(RIGHTS) } else { AccessFs::from_read(RIGHTS) };
                rules.allow(&neighbour, rights)?;
            }
        }
        for tmp in TEMPORARY.map(Path::new).iter().filter(|tmp| !root.starts_with(tmp)) {
            rules.allow(tmp, AccessFs::from_all(RIGHTS))?;
        }
        Ok(())
    }

    /// What is in `folder` beside `inner`. Links that lead to the project, into it or to a folder around it are left
    /// out, since a rule holds for what a link leads to.
    fn neighbours(folder: &Path, inner: &Path, root: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let others = entries.flatten().filter(|entry| entry.path() != inner);
        let harmless = others.filter(|entry| {
            let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            !link
                || fs::canonicalize(entry.path())
                    .is_ok_and(|to| !root.starts_with(&to) && !to.starts_with(root))
        });
        harmless.map(|entry| entry.path()).collect()
    }
}
