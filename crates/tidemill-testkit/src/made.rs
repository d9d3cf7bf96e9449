//! What is slow to make and the same for many tests: made by the first process that asks for it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use fs_err as fs;

/// A folder below `target/tmp/made` that `make` filled, once for all test processes and for as long as its `recipe` stays: the text of
/// all that decides what is in it. Nobody may change what is there. What fails while it is made is made anew.
///
/// # Panics
/// If the folder cannot be written, and as `make`.
pub fn made_once(name: &str, recipe: &str, make: impl FnOnce(&Path)) -> PathBuf {
    // Tests are in `target/debug/deps`.
    let program = std::env::current_exe().expect("where the test's program is");
    let target = program.ancestors().nth(3).expect("the build's folder").to_owned();
    made_in(&target.join("tmp/made"), name, recipe, make)
}

fn made_in(root: &Path, name: &str, recipe: &str, make: impl FnOnce(&Path)) -> PathBuf {
    fs::create_dir_all(root).expect("a folder for what tests share");
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let place = root.join(format!("{name}-{:016x}", hasher.finish()));
    let lock = fs::File::create(root.join(format!("{name}.lock"))).expect("a lock for what tests share");
    let (lock, _) = lock.into_parts();
    lock.lock().expect("the lock of what tests share");
    if !place.exists() {
        let begun = root.join(format!("{name}.begun"));
        if begun.exists() {
            fs::remove_dir_all(&begun).expect("what was made half is removed");
        }
        fs::create_dir(&begun).expect("a folder for what tests share");
        make(&begun);
        fs::rename(&begun, &place).expect("what was made is moved to its place");
    }
    place
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn once_for_a_recipe_and_whole_or_not_at_all() {
        let root = std::env::temp_dir().join(format!("tidemill-made-{}", std::process::id()));
        let times = Cell::new(0);
        let get = |recipe: &str, is_broken: bool| {
            made_in(&root, "loaf", recipe, |place| {
                times.set(times.get() + 1);
                fs::write(place.join(format!("{}", times.get())), recipe).unwrap();
                assert!(!is_broken, "burnt");
            })
        };
        assert!(catch_unwind(AssertUnwindSafe(|| get("rye", true))).is_err());
        let rye = get("rye", false);
        assert_eq!(get("rye", true), rye, "it is there");
        let wheat = get("wheat", false);
        assert_eq!(times.get(), 3);
        let found = |place: &Path| -> Vec<_> {
            fs::read_dir(place)
                .unwrap()
                .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
                .collect()
        };
        assert_eq!((found(&rye), found(&wheat)), (vec!["rye".to_owned()], vec!["wheat".to_owned()]));
        fs::remove_dir_all(root).unwrap();
    }
}
