//! What surrounds a project folder, opened for the rules of a sandbox and kept open between the commands of a run.
//!
//! Rules only ever allow, and for everything below a folder. So what surrounds the project is allowed piece by piece:
//! the neighbours of each folder on the way from `/` to it. That may be hundreds of them, and most runs start many
//! commands, so a folder is looked through again only when it changed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use landlock::{Access as _, AccessFs, BitFlags, PathFd, RulesetError};

use super::sandbox::{RIGHTS, open};

/// Where programs keep temporary files whatever `TMPDIR` says.
const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// More than so many open files are not kept.
const KEPT: usize = 256;
/// File systems note times in steps; a folder that changed so shortly before it was looked through may have changed
/// once more within the same step.
const SETTLED: Duration = Duration::from_millis(50);

/// Neighbours of the project, and of the folders around it.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    folders: Mutex<Vec<Folder>>,
}

/// One folder around the project.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// As it was when it was looked through; none where it had not settled.
    seen: Option<Stamp>,
    neighbours: Vec<(PathFd, BitFlags<AccessFs>)>,
}

/// Device, inode and the time of the last change, in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

impl Surroundings {
    /// Calls `rule` for everything outside of the project at `root`.
    pub(super) fn each(
        &self,
        root: &Path,
        rule: &mut dyn FnMut(&PathFd, BitFlags<AccessFs>) -> Result<(), RulesetError>,
    ) -> Result<(), RulesetError> {
        let mut known = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, inner) in root.ancestors().skip(1).zip(root.ancestors()) {
            let place = match known.iter().position(|folder| folder.path == path) {
                Some(place) if known[place].seen.is_some() && known[place].seen == settled(path) => place,
                Some(place) => {
                    known[place] = Folder::look(path, inner, root);
                    place
                }
                None => {
                    known.push(Folder::look(path, inner, root));
                    known.len() - 1
                }
            };
            for (opened, rights) in &known[place].neighbours {
                rule(opened, *rights)?;
            }
        }
        for tmp in TEMPORARY.map(Path::new).iter().filter(|tmp| !root.starts_with(tmp)) {
            if let Some((opened, rights)) = open(tmp, AccessFs::from_all(RIGHTS)) {
                rule(&opened, rights)?;
            }
        }
        let mut kept = 0;
        known.retain(|folder| {
            kept += folder.neighbours.len();
            kept <= KEPT
        });
        Ok(())
    }
}

impl Folder {
    /// Looks through `path`, which holds `inner`, which is the project at `root` or holds it.
    fn look(path: &Path, inner: &Path, root: &Path) -> Self {
        // Before the entries are read: whatever comes later makes another stamp.
        let seen = settled(path);
        let temporary = TEMPORARY.iter().any(|tmp| path.starts_with(tmp));
        let rights_of = |neighbour: &Path| {
            let all = temporary || TEMPORARY.iter().any(|tmp| Path::new(tmp) == neighbour);
            if all { AccessFs::from_all(RIGHTS) } else { AccessFs::from_read(RIGHTS) }
        };
        let neighbours = neighbours(path, inner, root);
        let opened = neighbours.iter().filter_map(|neighbour| open(neighbour, rights_of(neighbour)));
        Self { path: path.to_path_buf(), seen, neighbours: opened.collect() }
    }
}

/// By which a folder that changed is told; none if it changed just now or cannot be read.
#[expect(clippy::disallowed_methods, reason = "compared with what the file system noted, never stored")]
fn settled(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    let changed = metadata.modified().ok()?;
    let is_settled = SystemTime::now().duration_since(changed).is_ok_and(|age| age > SETTLED);
    is_settled.then(|| (metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

/// What is in `folder` beside `inner`. Links that lead to the project, into it or to a folder around it are left
/// out, since a rule holds for what a link leads to.
fn neighbours(folder: &Path, inner: &Path, root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let others = entries.flatten().filter(|entry| entry.path() != inner);
    let harmless = others.filter(|entry| {
        let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        !link
            || fs::canonicalize(entry.path()).is_ok_and(|to| !root.starts_with(&to) && !to.starts_with(root))
    });
    harmless.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neighbours in the folder `around`; other tests change the folders around that.
    fn count(surroundings: &Surroundings, root: &Path) -> usize {
        surroundings.each(root, &mut |_, _| Ok(())).unwrap();
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
}
