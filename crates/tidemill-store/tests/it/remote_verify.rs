//! Reading what is at a remote: every kind of damage is named, and mended where there is a whole copy.

use std::path::PathBuf;
use std::slice::from_ref;

use tidemill_core::{Cancel, Quiet};
use tidemill_store::{Damage, Error, Remote, RemoteCheck, Root, Store, StoreOptions};

use crate::remote::block;
use crate::support::{Lab, list, noise, open};

struct Place {
    lab: Lab,
    remote: Remote,
    roots: Vec<Root>,
}

impl Place {
    /// A remote with two packs: a large file and a small one.
    fn new() -> Self {
        let lab = Lab::new();
        // Compressed bytes may have some that mean nothing.
        let options = StoreOptions { compress: false, ..StoreOptions::default() };
        let lab = Lab { store: Store::open(&lab.dir.path().join("plain"), options).unwrap(), ..lab };
        let folder = lab.dir.path().join("there");
        fs_err::create_dir(&folder).unwrap();
        let remote = Remote::open(&format!("file://{}", folder.display())).unwrap();
        lab.write("large", noise(1, 400_000));
        lab.write("folder/small", "a small file");
        let roots: Vec<Root> =
            ["large", "folder"].map(|name| Root::labelled(&lab.add(name), name)).into_iter().collect();
        for root in &roots {
            block(lab.store.push(&remote, from_ref(root), &Quiet)).unwrap();
        }
        Self { lab, remote, roots }
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut files = list(&self.lab.dir.path().join("there").join(folder));
        files.sort_by_key(|path| std::cmp::Reverse(fs_err::metadata(path).unwrap().len()));
        files
    }

    fn check(&self) -> RemoteCheck {
        block(self.lab.store.verify_remote(&self.remote, &self.roots, &Quiet)).unwrap()
    }

    /// Repairs with what `store` has; gives what was replaced, taken out and found again.
    fn repair(&self, store: &Store, damage: &[Damage]) -> (u64, u64, u64) {
        let done = block(store.repair_remote(&self.remote, damage, &Quiet)).unwrap();
        (done.replaced, done.taken_out, done.found_again)
    }

    /// Whether a machine that has nothing yet gets everything.
    fn gives_all(&self) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        block(store.pull(&self.remote, &self.roots, &Quiet)).is_ok()
            && store.verify(&self.roots, &Quiet).unwrap().is_empty()
    }
}

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = fs_err::read(path).unwrap();
    bytes[at] ^= 1;
    fs_err::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_byte_is_named_and_mended_from_here() {
    let place = Place::new();
    let whole = place.check();
    assert_eq!((whole.packs, whole.damage.len(), whole.missing), (2, 0, 0), "{whole:?}");
    assert!(whole.objects > 4 && whole.bytes > 400_000);
    let pack = place.files("packs")[0].clone();
    flip(&pack, 200_000);
    let found = place.check().damage;
    assert_eq!(found.len(), 1, "{found:?}");
    let name = pack.file_name().unwrap().to_str().unwrap();
    assert_eq!(found[0].pack, format!("packs/{name}"));
    assert!(found[0].object.is_some() && found[0].offset < 200_000);
    assert_eq!(found[0].needed_by, ["large"]);
    assert!(!place.gives_all());
    assert_eq!(place.repair(&place.lab.store, &found), (1, 0, 0));
    assert_eq!(place.check().damage, []);
    assert!(place.gives_all());
}

#[test]
fn what_is_whole_nowhere_is_taken_out_and_can_be_sent_again() {
    let place = Place::new();
    flip(&place.files("packs")[0], 200_000);
    let found = place.check().damage;
    let empty = open(&place.lab.dir.path().join("empty"));
    assert_eq!(place.repair(&empty, &found), (0, 1, 0));
    assert_eq!(place.check().damage, []);
    // All but that one object is there still.
    let again = block(place.lab.store.push(&place.remote, &place.roots, &Quiet)).unwrap();
    assert_eq!(again.objects, 1);
    assert!(place.gives_all());
}

#[test]
fn every_byte_counts() {
    let place = Place::new();
    for (folder, file) in [("packs", 1), ("index", 1)] {
        let path = place.files(folder)[file].clone();
        for at in 0..fs_err::metadata(&path).unwrap().len() as usize {
            flip(&path, at);
            assert!(!place.check().damage.is_empty(), "byte {at} of {}", path.display());
            flip(&path, at);
        }
    }
    assert_eq!(place.check().damage, []);
}

#[test]
fn broken_files_are_named_and_mended() {
    type Break = fn(&Place);
    let cases: [(&str, Break, &str); 5] = [
        ("the pack is cut off", |p| cut(&p.files("packs")[0], 150_000), "the pack file ends too early"),
        ("the pack is empty", |p| cut(&p.files("packs")[1], 0), "the pack file ends too early"),
        (
            "the pack is gone",
            |p| fs_err::remove_file(&p.files("packs")[1]).unwrap(),
            "the pack file is missing",
        ),
        (
            "its beginning is wrong",
            |p| flip(&p.files("packs")[0], 3),
            "its first bytes are not those of a pack",
        ),
        ("its index is wrong", |p| flip(&p.files("index")[0], 40), "it does not fit its checksum"),
    ];
    for (case, damage, what) in cases {
        let place = Place::new();
        damage(&place);
        let found = place.check().damage;
        assert!(!found.is_empty() && found.iter().all(|one| one.what == what), "{case}: {found:?}");
        place.repair(&place.lab.store, &found);
        assert_eq!(place.check().damage, [], "{case}");
        block(place.lab.store.push(&place.remote, &place.roots, &Quiet)).unwrap();
        assert!(place.gives_all(), "{case}");
    }
}

fn cut(path: &PathBuf, length: u64) {
    fs_err::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn it_can_be_stopped() {
    let place = Place::new();
    let cancel = Cancel::new();
    cancel.cancel();
    let stopped = block(place.lab.store.verify_remote(&place.remote, &place.roots, &cancel));
    assert!(matches!(stopped, Err(Error::Cancelled)));
}

#[test]
fn the_store_behind_says_what_is_missing_there() {
    let place = Place::new();
    let dir = place.lab.dir.path();
    let here = Store::open_before(&dir.join("cache"), StoreOptions::default(), place.remote.clone()).unwrap();
    let check = |roots: &[Root]| block(here.verify_remote(&place.remote, roots, &Quiet)).unwrap();
    assert_eq!(check(&place.roots).missing, 0);
    let gone =
        Root::labelled(&place.lab.store.add(&place.lab.write("gone", "gone"), None, &Quiet).unwrap(), "gone");
    assert_eq!(check(&[place.roots[0].clone(), gone]).missing, 1);
}
