//! Landlock: outside of the project folder a command may read programs and what belongs to them (`surroundings` says what
//! that is), inside of it only what is declared; and write only its outputs, its scratch folder and the system's folders for
//! temporary files.
//!
//! A Landlock domain belongs to a thread and is inherited by the processes that it starts. So each command is started
//! from a fresh thread that restricts itself first and ends at once; no other thread of ours is ever restricted.
//! This is about reproducible results, not about defending against hostile code.

use std::io;
use std::process::{Child, Command};

use super::{Access, SandboxSupport};

#[cfg(target_os = "linux")]
pub(super) use linux::{RIGHTS, Surroundings, open, spawn, support};

#[cfg(not(target_os = "linux"))]
pub(super) fn support() -> SandboxSupport {
    SandboxSupport::Unavailable("only Linux has Landlock".to_owned())
}

/// Nothing: there is no sandbox that would need it.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Default)]
pub(super) struct Surroundings;

#[cfg(not(target_os = "linux"))]
pub(super) fn spawn(mut command: Command, _: &Access, _: &Surroundings) -> io::Result<Child> {
    command.spawn()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::Path;

    use fs_err as fs;
    use landlock::{
        ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
        RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    };

    pub(in super::super) use super::super::surroundings::Surroundings;
    use super::{Access, Child, Command, SandboxSupport, io};

    /// Reading, writing, renaming between folders and truncating; weaker kernels enforce what they know of it.
    pub(in super::super) const RIGHTS: ABI = ABI::V3;

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
        surroundings.each(access, &mut |opened, rights| rules.add(opened, rights))?;
        rules.allow(Path::new("/dev"), read | AccessFs::WriteFile)?;
        // Python finds modules by listing folders, and a name alone tells no content.
        rules.allow(Path::new("/"), BitFlags::from(AccessFs::ReadDir))?;
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
            match open(path, rights) {
                Some((opened, rights)) => self.add(&opened, rights),
                None => Ok(()),
            }
        }

        fn add(&mut self, opened: &PathFd, rights: BitFlags<AccessFs>) -> Result<(), RulesetError> {
            (&mut self.ruleset).add_rule(PathBeneath::new(opened, rights)).map(drop)
        }
    }

    /// A path as a rule takes it, with those of the rights that it can have.
    pub(in super::super) fn open(
        path: &Path,
        rights: BitFlags<AccessFs>,
    ) -> Option<(PathFd, BitFlags<AccessFs>)> {
        let opened = PathFd::new(path).ok()?;
        let rights =
            if fs::metadata(path).ok()?.is_dir() { rights } else { rights & AccessFs::from_file(RIGHTS) };
        (!rights.is_empty()).then_some((opened, rights))
    }
}
