//! Garbage collection at a remote: what goes, what a push beside it keeps, and what an interruption leaves.

use std::path::{Path, PathBuf};
use std::slice::from_ref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tidemill_core::{Progress, Quiet, Unit};
use tidemill_store::{Error, Remote, RemoteGc, Root, Store};

use crate::remote::block;
use crate::support::{Lab, list, noise, open};

const NONE: Duration = Duration::ZERO;
const DAY: Duration = Duration::from_secs(24 * 3600);

struct Place {
    folder: PathBuf,
    remote: Remote,
}

impl Place {
    fn new(lab: &Lab, name: &str) -> Self {
        let folder = lab.dir.path().join(name);
        fs_err::create_dir_all(&folder).unwrap();
        Self::at(&folder)
    }

    fn at(folder: &Path) -> Self {
        let remote = Remote::open(&format!("file://{}", folder.display())).unwrap();
        Self { folder: folder.to_owned(), remote }
    }

    fn sweep(&self, store: &Store, roots: &[Root], grace: Duration) -> RemoteGc {
        self.try_sweep(store, roots, grace, false, &Quiet).unwrap()
    }

    fn try_sweep(
        &self,
        store: &Store,
        roots: &[Root],
        grace: Duration,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<RemoteGc, Error> {
        block(async {
            let inventory = store.inventory(&self.remote, dry_run).await?;
            store.sweep(&self.remote, &inventory, roots, grace, dry_run, progress).await
        })
    }

    fn push(&self, store: &Store, root: &Root) -> u64 {
        block(store.push(&self.remote, from_ref(root), &Quiet)).unwrap().objects
    }

    /// Whether a machine that has nothing yet gets all of it.
    fn gives(&self, roots: &[Root]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        block(store.pull(&self.remote, roots, &Quiet)).is_ok()
            && store.verify(roots, &Quiet).unwrap().is_empty()
    }

    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let folder = self.folder.join(kind);
        if folder.exists() { list(&folder) } else { Vec::new() }
    }

    /// Makes everything of a kind as old as this.
    fn age(&self, kind: &str, by: Duration) {
        for path in self.files(kind) {
            let file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            file.file().set_modified(modified.checked_sub(by).unwrap_or(SystemTime::UNIX_EPOCH)).unwrap();
        }
    }
}

/// A folder whose listing is in chunks, with a file that is, too.
fn sample(lab: &Lab, name: &str, seed: u64) -> Root {
    for i in 0..900_u64 {
        lab.write(
            &format!("{name}/{}-{i}", "a long name that makes the listing of the folder large".repeat(2)),
            [seed as u8, i as u8, (i >> 8) as u8],
        );
    }
    lab.write(&format!("{name}/large"), noise(seed, 1_500_000));
    lab.write(&format!("{name}/below/one more"), noise(seed + 1, 2_000));
    Root::labelled(&lab.add(name), name)
}

#[test]
fn what_no_root_needs_goes_after_the_grace_period() {
    let lab = Lab::new();
    let (keep, dropped) = (sample(&lab, "keep", 10), sample(&lab, "drop", 20));
    let place = Place::new(&lab, "there");
    place.push(&lab.store, &keep);
    place.push(&lab.store, &dropped);
    let before = place.files("packs").len();
    // What was only just sent may be about to be named.
    let young = place.sweep(&lab.store, from_ref(&keep), DAY);
    assert!(young.young_packs > 0 && young.condemned_packs == 0 && young.missing == 0, "{young:?}");
    place.age("packs", DAY);
    place.age("index", DAY);
    let planned = place.try_sweep(&lab.store, from_ref(&keep), DAY, true, &Quiet).unwrap();
    assert!(place.files("condemned").is_empty());
    let marked = place.sweep(&lab.store, from_ref(&keep), DAY);
    assert_eq!(planned, marked);
    assert!(marked.condemned_bytes > 1_400_000 && marked.removed_packs == 0, "{marked:?}");
    let waiting = place.sweep(&lab.store, from_ref(&keep), DAY);
    assert_eq!((waiting.waiting_packs, waiting.removed_packs), (marked.condemned_packs, 0));
    assert!(place.gives(from_ref(&dropped)), "nothing is gone before its time");
    place.age("condemned", DAY);
    let gone = place.sweep(&lab.store, from_ref(&keep), DAY);
    assert_eq!((gone.removed_packs, gone.removed_bytes), (marked.condemned_packs, marked.condemned_bytes));
    assert!(place.files("packs").len() < before && place.files("condemned").is_empty());
    assert!(place.gives(from_ref(&keep)) && !place.gives(from_ref(&dropped)));
    // A machine without anything collects as well, and finds nothing to do.
    let other = Lab::new();
    let again = place.sweep(&other.store, from_ref(&keep), NONE);
    assert_eq!((again.removed_packs, again.condemned_packs, again.missing), (0, 0, 0));
    assert_eq!(again.kept_objects, gone.kept_objects);
}

#[test]
fn a_push_loses_nothing_to_a_collection_beside_it() {
    let lab = Lab::new();
    let (keep, wanted) = (sample(&lab, "keep", 10), sample(&lab, "wanted", 20));
    let place = Place::new(&lab, "there");
    place.push(&lab.store, &keep);
    let sent = place.push(&lab.store, &wanted);
    place.sweep(&lab.store, from_ref(&keep), NONE);
    // The push that looked before names it now: it is spared, whatever the grace period is.
    let both = [keep.clone(), wanted.clone()];
    let spared = place.sweep(&lab.store, &both, NONE);
    assert!(spared.spared_packs > 0 && spared.removed_packs == 0 && spared.missing == 0, "{spared:?}");
    assert_eq!(place.push(&lab.store, &wanted), 0);
    // One that looks after it does not count on it, and its copy stays where the other goes.
    place.sweep(&lab.store, from_ref(&keep), NONE);
    let again = place.push(&lab.store, &wanted);
    assert!(again > 900 && again <= sent, "{again} of {sent}");
    let gone = place.sweep(&lab.store, &both, NONE);
    assert!(gone.removed_packs > 0 && gone.missing == 0, "{gone:?}");
    assert!(place.gives(from_ref(&keep)) && place.gives(from_ref(&wanted)));
    assert_eq!(place.push(&lab.store, &wanted), 0);
}

#[test]
fn what_is_needed_of_a_pack_of_which_little_is_moves_into_a_new_one() {
    let lab = Lab::new();
    let whole = sample(&lab, "whole", 10);
    let part = Root::from(&lab.add("whole/below"));
    let place = Place::new(&lab, "there");
    place.push(&lab.store, &whole);
    let copied = place.sweep(&lab.store, from_ref(&part), NONE);
    assert_eq!((copied.copied_packs, copied.removed_packs), (copied.condemned_packs, 0));
    assert!(place.gives(from_ref(&part)) && place.gives(from_ref(&whole)));
    let gone = place.sweep(&lab.store, from_ref(&part), NONE);
    assert!(gone.removed_bytes > 1_400_000 && gone.copied_packs == 0, "{gone:?}");
    assert!(place.gives(from_ref(&part)) && !place.gives(from_ref(&whole)));
    assert_eq!(place.files("packs").len(), 1);
}

/// Asks to stop when it was asked so many times.
struct StopAt {
    after: usize,
    asked: AtomicUsize,
}

impl Progress for StopAt {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) {}
    fn advance(&self, _: u64) {}

    fn cancelled(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) + 1 >= self.after
    }
}

#[test]
fn an_interruption_at_any_point_leaves_what_is_needed() {
    let lab = Lab::new();
    let place = Place::new(&lab, "there");
    let mut roots = Vec::new();
    for seed in 0..3_u64 {
        lab.write(&format!("{seed}/a"), noise(seed, 150_000));
        lab.write(&format!("{seed}/b/c"), noise(10 + seed, 3_000));
        let root = Root::from(&lab.add(&seed.to_string()));
        place.push(&lab.store, &root);
        roots.push(root);
    }
    let kept = [Root::from(&lab.add("0/b")), roots[2].clone()];
    let mut ended = false;
    for stop in 1..40 {
        let copy = Place::new(&lab, &format!("copy-{stop}"));
        copy_folder(&place.folder, &copy.folder);
        for _ in 0..2 {
            let progress = StopAt { after: stop, asked: AtomicUsize::new(0) };
            ended = copy.try_sweep(&lab.store, &kept, NONE, false, &progress).is_ok();
            assert!(copy.gives(&kept), "stopped at {stop}");
        }
        for _ in 0..2 {
            copy.sweep(&lab.store, &kept, NONE);
        }
        assert!(copy.gives(&kept), "stopped at {stop}");
        if ended {
            break;
        }
    }
    assert!(ended, "it was never left to its end");
}

fn copy_folder(from: &Path, to: &Path) {
    for path in list(from) {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs_err::create_dir_all(&target).unwrap();
            copy_folder(&path, &target);
        } else {
            fs_err::copy(&path, &target).unwrap();
        }
    }
}
