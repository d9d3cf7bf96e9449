//! Adding, reading, identity, sharing between versions.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::slice::from_ref;

use tidemill_core::{Digest, Quiet};
use tidemill_store::{
    AddOptions, EntryKind, Root, StatCache, Store, StoreOptions, TreePath, hash, hash_with,
};

use crate::support::{Lab, noise, open, snapshot};

#[test]
fn a_file_is_named_by_the_blake3_of_its_content() {
    let lab = Lab::new();
    for length in [0, 1, 65_536, 65_537, 3_000_000] {
        let bytes = noise(length as u64, length);
        lab.write("file", &bytes);
        let entry = lab.add("file");
        // The `blake3` crate is what `b3sum` prints.
        assert_eq!(entry.digest.hex(), blake3::hash(&bytes).to_hex().as_str());
        assert_eq!((entry.bytes, entry.files), (length as u64, 1));
        assert_eq!(hash(&lab.path("file"), None, &Quiet).unwrap(), entry);
        assert_eq!(lab.store.get(&entry.digest).unwrap(), bytes);
        let mut read = Vec::new();
        lab.store.read(&entry.digest).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        assert!(lab.store.has(&entry).unwrap());
    }
}

#[test]
fn sha256_comes_when_asked_for() {
    let lab = Lab::new();
    // `printf abc | sha256sum`
    let path = lab.write("abc", "abc");
    let options = AddOptions { sha256: true, ..AddOptions::default() };
    let entry = lab.store.add_many(from_ref(&path), &options, &Quiet).unwrap()[0];
    let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(entry.sha256.unwrap().to_string(), expected);
    assert_eq!(hash(&path, None, &Quiet).unwrap().sha256, None);
    assert_eq!(hash_with(&path, &options, &Quiet).unwrap(), entry);
}

#[test]
fn a_folder_comes_back_as_it_was() {
    let lab = Lab::new();
    lab.write("data/a.csv", "x,y\n1,2\n".repeat(1000));
    lab.write("data/deep/er/b", noise(1, 200_000));
    lab.write("data/ space\nand newline ", "odd");
    lab.write("data/empty", "");
    fs_err::create_dir(lab.path("data/nothing")).unwrap();
    let script = lab.write("data/run.sh", "#!/bin/sh\n");
    fs_err::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let raw = std::ffi::OsStr::from_bytes(b"not \xff\xfe text");
    fs_err::write(lab.path("data").join(raw), "raw").unwrap();
    symlink("deep/er", lab.path("data/shortcut")).unwrap();
    symlink("../a.csv", lab.path("data/deep/up")).unwrap();
    symlink("not there yet", lab.path("data/dangling")).unwrap();
    let entry = lab.add("data");
    assert_eq!(entry.kind, EntryKind::Tree);
    assert_eq!((entry.bytes, entry.files), (8000 + 200_000 + 3 + 10 + 3, 6));
    assert_eq!(hash(&lab.path("data"), None, &Quiet).unwrap(), entry);
    let out = lab.checkout(&entry, "out");
    assert_eq!(snapshot(&out), snapshot(&lab.path("data")));
    assert_eq!(lab.add("out").digest, entry.digest);
    let files: Vec<String> = lab
        .store
        .files(&entry)
        .unwrap()
        .into_iter()
        .map(|(path, _)| path.to_string_lossy().into_owned())
        .collect();
    assert_eq!(files.len(), 6);
    assert!(files.contains(&"deep/er/b".to_owned()));
}

#[test]
fn a_second_version_costs_only_what_differs() {
    let lab = Lab::new();
    let stored = |store: &Store| store.stats().stored_bytes;
    let mut bytes = noise(7, 20 << 20);
    lab.write("table", &bytes);
    lab.add("table");
    let first = stored(&lab.store);
    assert!(first < (20 << 20) + 100_000);
    bytes.extend(noise(8, 200_000));
    lab.write("table", &bytes);
    lab.add("table");
    let second = stored(&lab.store);
    assert!(second - first < 200_000 + 600_000, "{}", second - first);
    bytes.splice(9_000_000..9_000_000, noise(9, 4096));
    lab.write("table", &bytes);
    lab.add("table");
    let third = stored(&lab.store);
    assert!(third - second < 500_000, "{}", third - second);
    lab.add("table");
    assert_eq!(stored(&lab.store), third);
}

#[test]
fn compression_is_used_where_it_pays() {
    let lab = Lab::new();
    lab.write("text", "2013,1,1,517,515,2,830,819,11,UA\n".repeat(100_000));
    let text = lab.add("text");
    let stats = lab.store.stats();
    assert!(stats.stored_bytes * 10 < stats.raw_bytes, "{stats:?}");
    assert_eq!(lab.store.get(&text.digest).unwrap(), fs_err::read(lab.path("text")).unwrap());
    let plain = StoreOptions { compress: false, ..StoreOptions::default() };
    let other = Store::open(&lab.dir.path().join("plain"), plain).unwrap();
    other.add(&lab.path("text"), None, &Quiet).unwrap();
    assert!(other.stats().stored_bytes >= other.stats().raw_bytes);
}

#[test]
fn many_small_files_share_few_packs() {
    let lab = Lab::new();
    for i in 0..2000_u64 {
        lab.write(&format!("many/{}/{i}", i % 10), noise(i, 1000));
    }
    let entry = lab.add("many");
    assert_eq!(entry.files, 2000);
    assert!(lab.store.stats().packs <= 4, "{:?}", lab.store.stats());
    let again = open(lab.store.dir());
    assert!(again.has(&entry).unwrap());
    assert_eq!(again.stats(), lab.store.stats());
}

#[test]
fn a_session_that_publishes_in_between_stores_the_same() {
    let lab = Lab::new();
    for i in 0..300_u64 {
        lab.write(&format!("many/{i}"), noise(i % 250, 800));
    }
    lab.write("many/large", noise(1000, 6_000_000));
    let options = StoreOptions { publish_every: 40, pack_size: 500_000, ..StoreOptions::default() };
    let store = Store::open(&lab.dir.path().join("small steps"), options).unwrap();
    let entry = store.add(&lab.path("many"), None, &Quiet).unwrap();
    assert_eq!(entry, lab.add("many"));
    assert_eq!(store.stats().objects, lab.store.stats().objects);
    assert!(store.stats().packs > 12);
    assert_eq!(store.verify(&[Root::from(&entry)], &Quiet).unwrap(), vec![]);
}

#[test]
fn composing_gives_what_adding_gives() {
    let lab = Lab::new();
    lab.write("d/x/1", "one");
    lab.write("d/2", "two");
    let whole = lab.add("d");
    let items = ["x/1", "2"].map(|name| (TreePath::new(name).unwrap(), lab.add(&format!("d/{name}"))));
    assert_eq!(lab.store.add_tree(items.to_vec()).unwrap(), whole);
    let folder = [(TreePath::new("x").unwrap(), lab.add("d/x")), items[1].clone()];
    assert_eq!(lab.store.add_tree(folder.to_vec()).unwrap(), whole);
    let absent = tidemill_store::Entry { digest: Digest::of(b"absent"), ..items[0].1 };
    let error = lab.store.add_tree(vec![(TreePath::new("a").unwrap(), absent)]).unwrap_err();
    assert!(error.to_string().contains("is not in the store"), "{error}");
}

#[test]
fn put_and_get_bytes_of_any_size() {
    let lab = Lab::new();
    for length in [0, 10, 65_537, 2_000_000] {
        let bytes = noise(1, length);
        let digest = lab.store.put(&bytes).unwrap();
        assert_eq!(digest, Digest::of(&bytes));
        assert_eq!(open(lab.store.dir()).get(&digest).unwrap(), bytes);
    }
    assert!(!lab.store.contains(&Digest::of(b"nothing")).unwrap());
    let error = lab.store.get(&Digest::of(b"nothing")).unwrap_err().to_string();
    assert!(error.contains("is not in the store"), "{error}");
}

#[test]
fn what_is_not_synced_yet_is_visible_and_can_be_synced() {
    let lab = Lab::new();
    let options = AddOptions { durable: false, ..AddOptions::default() };
    let mut entries = Vec::new();
    for i in 0..40 {
        let path = lab.write(&format!("f{i}"), noise(i, 100));
        entries.extend(lab.store.add_many(&[path], &options, &Quiet).unwrap());
    }
    let other = open(lab.store.dir());
    assert!(entries.iter().all(|entry| other.has(entry).unwrap()));
    lab.store.sync().unwrap();
    let names: BTreeSet<String> = lab
        .files("index")
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().all(|name| !name.contains("unsynced")), "{names:?}");
    // Forty small indexes have been merged.
    assert_eq!(names.len(), 1);
    assert!(entries.iter().all(|entry| open(lab.store.dir()).has(entry).unwrap()));
    assert!(entries.iter().all(|entry| other.has(entry).unwrap()));
}

#[test]
fn after_a_power_failure_only_whole_unsynced_objects_count() {
    let lab = Lab::new();
    let options = AddOptions { durable: false, ..AddOptions::default() };
    let add = |name: &str, seed| {
        let path = lab.write(name, noise(seed, 5000));
        lab.store.add_many(&[path], &options, &Quiet).unwrap()[0]
    };
    let (whole, torn) = (add("whole", 1), add("torn", 2));
    // As after a restart: the indexes carry another boot's name, and one pack has lost its bytes.
    for path in lab.files("index") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let stem = name.split_once('-').unwrap().0;
        fs_err::rename(&path, path.with_file_name(format!("{stem}-00ff00ff00ff00ff.unsynced.idx"))).unwrap();
    }
    let pack = lab.files("packs").into_iter().find(|path| {
        let bytes = fs_err::read(path).unwrap();
        bytes.windows(32).any(|window| window == torn.digest.as_bytes())
    });
    fs_err::write(pack.unwrap(), vec![0; 5060]).unwrap();
    let store = open(lab.store.dir());
    assert!(store.has(&whole).unwrap());
    assert!(!store.has(&torn).unwrap());
    store.add(&lab.path("torn"), None, &Quiet).unwrap();
    assert!(store.has(&torn).unwrap());
    assert_eq!(store.verify(&[Root::from(&whole), Root::from(&torn)], &Quiet).unwrap(), vec![]);
}

#[test]
fn the_stat_cache_spares_reading_and_notices_changes() {
    let lab = Lab::new();
    let file = lab.dir.path().join("stat");
    let cache = StatCache::open(&file).unwrap();
    let path = lab.write("data", "first");
    // Files that were changed just now are not remembered: wait until the clock has moved on.
    let wait = || {
        while cache.lookup(&fs_err::metadata(&path).unwrap()).is_none() {
            lab.store.add(&path, Some(&cache), &Quiet).unwrap();
            std::thread::yield_now();
        }
    };
    wait();
    cache.save().unwrap();
    let cache2 = StatCache::open(&file).unwrap();
    assert_eq!(cache2.len(), 1);
    let known = cache2.lookup(&fs_err::metadata(&path).unwrap()).unwrap();
    assert_eq!(known.digest, Digest::of(b"first"));
    fs_err::write(&path, "later").unwrap();
    assert_eq!(cache2.lookup(&fs_err::metadata(&path).unwrap()), None);
    assert_eq!(lab.store.add(&path, Some(&cache2), &Quiet).unwrap().digest, Digest::of(b"later"));
    // A cache that knows a file does not make the store believe that it has it.
    let other = open(&lab.dir.path().join("other"));
    wait();
    let entry = other.add(&path, Some(&cache), &Quiet).unwrap();
    assert_eq!(other.get(&entry.digest).unwrap(), b"later");
    fs_err::write(&file, b"rubbish").unwrap();
    assert!(StatCache::open(&file).unwrap().is_empty());
}

#[test]
fn du_counts_shared_objects_once() {
    let lab = Lab::new();
    lab.write("a", noise(1, 10_000));
    lab.write("both/a", noise(1, 10_000));
    lab.write("both/b", noise(2, 20_000));
    let (a, both) = (lab.add("a"), lab.add("both"));
    let usage = lab.store.du(&[Root::from(&a), Root::from(&both)]).unwrap();
    assert_eq!(usage.objects, 3);
    assert!((30_000..31_000).contains(&usage.raw_bytes), "{usage:?}");
    assert_eq!(lab.store.du(&[Root::from(&a)]).unwrap().raw_bytes, 10_000);
}

#[test]
fn an_entry_is_readable_json() {
    let lab = Lab::new();
    lab.write("abc", "abc");
    let entry = lab.add("abc");
    let text = serde_json::to_string(&entry).unwrap();
    let digest = blake3::hash(b"abc").to_hex();
    assert_eq!(text, format!(r#"{{"digest":"b3:{digest}","kind":"file","bytes":3,"files":1}}"#));
    assert_eq!(serde_json::from_str::<tidemill_store::Entry>(&text).unwrap(), entry);
}
