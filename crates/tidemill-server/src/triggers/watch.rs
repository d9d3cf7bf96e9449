//! Hears from the system that something in a folder was written.
//!
//! It does not matter what: whoever hears looks at the files himself. Where the system tells nothing (this is Linux's
//! inotify), one is told never, and looks now and then.

use std::collections::BTreeSet;

use super::Folder;

/// Folders that are watched.
#[derive(Default)]
pub(super) struct Watch {
    #[cfg(target_os = "linux")]
    linux: Option<linux::Inotify>,
}

impl Watch {
    /// Watches these folders. What cannot be watched is in the server's log.
    pub(super) fn new(folders: &BTreeSet<Folder>) -> Self {
        #[cfg(target_os = "linux")]
        if !folders.is_empty() {
            match linux::Inotify::new(folders) {
                Ok(linux) => return Self { linux: Some(linux) },
                Err(error) => {
                    tracing::warn!(%error, "files cannot be watched and are looked at now and then instead");
                }
            }
        }
        let _ = folders;
        Self::default()
    }

    /// Resolves when something was written since it resolved last.
    pub(super) async fn written(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(linux) = &mut self.linux {
            match linux.written().await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "files are no longer watched"),
            }
            self.linux = None;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
    use rustix::io::Errno;

    use crate::triggers::Folder;

    /// How often the kernel is asked. Waiting for it needs `unsafe` or a thread that nothing can wake.
    const ASK: Duration = Duration::from_millis(25);
    /// The most folders; each costs the kernel about a kilobyte.
    const MOST: usize = 10_000;

    pub(in crate::triggers) struct Inotify {
        queue: OwnedFd,
        /// Folders whose new folders are to be watched too, by the kernel's number.
        below: BTreeMap<i32, PathBuf>,
        /// All folders, by the same number.
        watched: BTreeSet<i32>,
    }

    impl Inotify {
        pub(super) fn new(folders: &BTreeSet<Folder>) -> io::Result<Self> {
            let queue = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let mut watch = Self { queue, below: BTreeMap::new(), watched: BTreeSet::new() };
            for folder in folders {
                watch.add(&folder.path, folder.below);
            }
            Ok(watch)
        }

        fn add(&mut self, path: &Path, below: bool) {
            if self.watched.len() >= MOST {
                return;
            }
            let wanted = WatchFlags::CREATE
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::MODIFY
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::DELETE
                | WatchFlags::ONLYDIR;
            let number = match add_watch(&self.queue, path, wanted) {
                Ok(number) => number,
                Err(error) => {
                    // A folder that is gone again is no loss.
                    if !matches!(error, Errno::NOENT | Errno::NOTDIR) {
                        tracing::warn!(folder = %path.display(), %error, "a folder cannot be watched");
                    }
                    return;
                }
            };
            self.watched.insert(number);
            if !below {
                return;
            }
            self.below.insert(number, path.to_owned());
            let Ok(entries) = fs_err::read_dir(path) else { return };
            for entry in entries.flatten() {
                // Links are not followed: they may lead in circles.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    self.add(&entry.path(), true);
                }
            }
        }

        pub(super) async fn written(&mut self) -> io::Result<()> {
            loop {
                let Told { heard, new, gone } = drain(&self.queue, &self.below)?;
                for number in gone {
                    self.watched.remove(&number);
                    self.below.remove(&number);
                }
                for folder in new {
                    self.add(&folder, true);
                }
                if heard {
                    return Ok(());
                }
                tokio::time::sleep(ASK).await;
            }
        }
    }

    /// What the kernel had to tell.
    #[derive(Default)]
    struct Told {
        /// Whether there was anything.
        heard: bool,
        /// Folders that are new.
        new: Vec<PathBuf>,
        /// Numbers of folders that are no longer there.
        gone: Vec<i32>,
    }

    /// Reads all that the kernel has to tell.
    fn drain(queue: &OwnedFd, below: &BTreeMap<i32, PathBuf>) -> io::Result<Told> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(queue, &mut buffer);
        let mut told = Told::default();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(told),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            told.heard = true;
            if event.events().contains(ReadFlags::IGNORED) {
                told.gone.push(event.wd());
                continue;
            }
            let made = ReadFlags::CREATE | ReadFlags::MOVED_TO;
            if event.events().contains(ReadFlags::ISDIR)
                && event.events().intersects(made)
                && let (Some(parent), Some(name)) = (below.get(&event.wd()), event.file_name())
            {
                use std::os::unix::ffi::OsStrExt as _;
                told.new.push(parent.join(std::ffi::OsStr::from_bytes(name.to_bytes())));
            }
        }
    }
}
