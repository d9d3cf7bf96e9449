//! Nothing is lost: work by hand in the place of an output, and outputs that the store cannot read any more.

use std::io::Read;

use fs_err as fs;
use tidemill_core::Digest;
use tidemill_pipeline::Contents;

use crate::store::{Stored, prepared, steps};
use crate::support::{states, step};

/// What was set aside so far: paths and texts.
fn aside(stored: &Stored) -> Vec<(String, String)> {
    let aside = stored.project.journal.aside.lock().unwrap();
    let read = |digest: Digest| {
        let mut text = String::new();
        stored.contents.open(digest).unwrap().read_to_string(&mut text).unwrap();
        text
    };
    aside.iter().map(|one| (one.path.clone(), read(one.content.digest))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn work_by_hand_is_kept_before_a_run_replaces_it() {
    let stored = prepared();
    stored.project.write("sum.txt", "mine, before the first run\n");
    assert_eq!(states(&stored.run(&steps())), ["split Ran", "use Ran", "sum Ran"]);
    let mut expected = vec![("sum.txt", "mine, before the first run\n")];
    assert_eq!(aside(&stored), pairs(&expected));
    // Restored over it, and run over it.
    stored.project.write("used.txt", "edited\n");
    assert_eq!(states(&stored.run(&steps())), ["split Unchanged", "use Restored", "sum Unchanged"]);
    expected.push(("used.txt", "edited\n"));
    stored.project.write("sum.txt", "edited, too\n").write("data/1.csv", "one\n");
    assert_eq!(states(&stored.run(&steps())), ["split Ran", "use Ran", "sum Ran"]);
    expected.push(("sum.txt", "edited, too\n"));
    assert_eq!(aside(&stored), pairs(&expected));
    assert_eq!(stored.project.read("sum.txt"), "one\n2\n");
    // What some run wrote is known: going back and forth keeps nothing.
    for text in ["1\n", "one\n", "1\n"] {
        stored.project.write("data/1.csv", text);
        stored.run(&steps());
    }
    stored.project.write("sum.txt", "one\n2\n");
    stored.run(&steps());
    assert_eq!(aside(&stored).len(), 3);
}

#[test]
fn what_a_failed_step_left_is_nobodys_work() {
    let stored = prepared();
    let broken = [step("broken", "echo half > out.txt; exit 1", &["tool.sh"], &["out.txt"])];
    for _ in 0..2 {
        assert_eq!(states(&stored.run(&broken)), ["broken Failed"]);
        assert_eq!(stored.project.read("out.txt"), "half\n");
    }
    assert_eq!(aside(&stored), []);
    stored.project.write("out.txt", "then by hand\n");
    stored.run(&broken);
    assert_eq!(aside(&stored), pairs(&[("out.txt", "then by hand\n")]));
}

/// Flips a byte of what is stored of a text.
fn damage(stored: &Stored, text: &str) {
    let packs = stored.project.root.join(".tidemill/objects/packs");
    let mut found = false;
    for pack in fs::read_dir(packs).unwrap() {
        let path = pack.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            found = true;
        }
    }
    assert!(found, "`{text}` is in no pack");
}

#[test]
fn a_step_runs_again_where_its_stored_output_is_damaged() {
    let stored = prepared();
    let sum = stored.project.root.join("sum.txt");
    stored.project.write("data/1.csv", "a line of its own\n");
    stored.run(&steps());
    damage(&stored, "a line of its own\n2\n");
    fs::remove_file(&sum).unwrap();
    let report = stored.run(&steps());
    assert_eq!(states(&report), ["split Unchanged", "use Unchanged", "sum Ran"]);
    assert_eq!(
        report.steps[2].reasons,
        ["output `sum.txt` is missing", "output `sum.txt` is damaged in the store"]
    );
    assert_eq!(stored.project.read("sum.txt"), "a line of its own\n2\n");
    // The copy that it stored is whole.
    fs::remove_file(&sum).unwrap();
    assert_eq!(states(&stored.run(&steps())), ["split Unchanged", "use Unchanged", "sum Restored"]);
}
