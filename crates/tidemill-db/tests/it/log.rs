//! The log as a list and as a Merkle tree, held against `ct-merkle` and against Python.

use std::fmt::Write as _;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::Sha256;
use tidemill_core::{Actor, Cancel, Event, EventKind, NewEvent, Quiet, canonical_json};
use tidemill_db::{ConsistencyProof, Error, EventFilter, InclusionProof, Order};

use crate::fixture::{Fixture, at, begun, digest, event, on_both, pushed, run_id, step, step_finished};

on_both!(
    filters,
    growth_is_told_after_the_commit,
    lines_are_the_canonical_json_of_the_events,
    the_head_is_the_root_of_the_reference_implementation,
    a_whole_log_is_found_whole,
    proofs_are_those_of_the_reference_implementation,
    a_proof_of_something_else_does_not_hold,
    ranges_that_are_not_there,
    the_log_cannot_be_changed_by_accident,
    python_agrees,
);

/// Texts that are hard to carry through JSON and SQL.
const HARD: [&str; 6] =
    ["plain", "quote \" ' \\ /", "line\nfeed\ttab\u{1}\u{1f}\u{7f}", "é 漢 \u{1F30A}", "\u{2028}", ""];

async fn append(f: &Fixture, events: Vec<NewEvent>) -> Vec<u64> {
    f.db.begin().await.unwrap().commit(events).await.unwrap()
}

async fn append_many(f: &Fixture, count: u64) {
    append(f, (0..count).map(|i| pushed(&format!("{} {i}", HARD[i as usize % HARD.len()]), i)).collect())
        .await;
}

async fn filters(f: Fixture) {
    let run = begun(&f.db, 1, 10).await;
    append(&f, vec![pushed("x", 20), step_finished(&step(run, "a")), pushed("y", 30)]).await;
    let run_subject = format!("run:{run}");
    let all = EventFilter::default();
    let cases = [
        (all.clone(), vec![1, 2, 3, 4]),
        (EventFilter { order: Order::NewestFirst, ..all.clone() }, vec![4, 3, 2, 1]),
        (EventFilter { order: Order::NewestFirst, limit: Some(2), ..all.clone() }, vec![4, 3]),
        (EventFilter { limit: Some(0), ..all.clone() }, vec![]),
        (EventFilter { limit: Some(usize::MAX), after: Some(2), ..all.clone() }, vec![3, 4]),
        (EventFilter { after: Some(u64::MAX), ..all.clone() }, vec![]),
        (EventFilter { subject: Some(run_subject.clone()), ..all.clone() }, vec![1, 3]),
        (EventFilter { subject: Some("store".to_owned()), since: Some(at(21)), ..all.clone() }, vec![4]),
        (EventFilter { kind: Some("store.pushed".to_owned()), until: Some(at(30)), ..all.clone() }, vec![2]),
        (EventFilter { kind: Some("' OR TRUE --".to_owned()), ..all.clone() }, vec![]),
        (EventFilter { since: Some(at(20)), until: Some(at(21)), ..all }, vec![2, 3]),
    ];
    for (filter, expected) in cases {
        let seqs: Vec<u64> = f.db.events(&filter).await.unwrap().iter().map(|event| event.seq).collect();
        assert_eq!(seqs, expected, "{filter:?}");
    }
    let newest = async |kind, limit| {
        let found = f.db.newest_events(kind, limit).await.unwrap();
        found.iter().map(|event| event.seq).collect::<Vec<u64>>()
    };
    assert_eq!(newest("store.pushed", 9).await, [4]);
    assert_eq!(newest("run.started", 9).await, [1]);
    assert!(newest("run.started", 0).await.is_empty());
}

async fn growth_is_told_after_the_commit(f: Fixture) {
    let mut growth = f.db.clone().log_growth();
    assert!(!growth.has_changed().unwrap());
    append(&f, vec![pushed("x", 20), pushed("y", 30)]).await;
    growth.changed().await.unwrap();
    assert_eq!(*growth.borrow_and_update(), 2);
    // Nobody is told of what was not committed, nor of a commit without events.
    drop(f.db.begin().await.unwrap());
    append(&f, Vec::new()).await;
    assert!(!growth.has_changed().unwrap());
    f.db.ingest().events(vec![pushed("z", 40)]).await.unwrap();
    assert_eq!(*growth.borrow_and_update(), 3);
}

async fn lines_are_the_canonical_json_of_the_events(f: Fixture) {
    let mut expected = Vec::new();
    for (i, text) in HARD.into_iter().enumerate() {
        let kind = EventKind::ProjectOpened { project: text.to_owned() };
        let new = NewEvent {
            at: at(i as i64 - 3),
            actor: Actor::system(text),
            kind,
            cause: (i > 0).then_some(i as u64),
        };
        assert_eq!(append(&f, vec![new.clone()]).await, [i as u64 + 1]);
        expected.push(Event {
            seq: i as u64 + 1,
            at: new.at,
            actor: new.actor,
            kind: new.kind,
            cause: new.cause,
        });
    }
    assert_eq!(f.db.events(&EventFilter::default()).await.unwrap(), expected);
    let lines = f.db.log_lines(0, 100).await.unwrap();
    let json: Vec<_> =
        expected.iter().map(|e| String::from_utf8(canonical_json(e).unwrap()).unwrap()).collect();
    assert_eq!(lines, json);
    assert_eq!(f.db.log_lines(2, 1).await.unwrap(), json[2..3]);
    assert!(f.db.log_lines(u64::MAX, 9).await.unwrap().is_empty());
    // What has not happened cannot be the cause.
    for cause in [0, HARD.len() as u64 + 1, u64::MAX] {
        let new = NewEvent { cause: Some(cause), ..pushed("x", 1) };
        let refused = f.db.begin().await.unwrap().commit(vec![new.clone()]).await;
        assert!(matches!(refused, Err(Error::NotFound { what: "earlier event", .. })), "{refused:?}");
        assert!(matches!(f.db.ingest().events(vec![new]).await, Err(Error::NotFound { .. })));
    }
}

async fn reference(f: &Fixture) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    for line in f.db.log_lines(0, usize::MAX).await.unwrap() {
        tree.push(line.into_bytes());
    }
    tree
}

async fn the_head_is_the_root_of_the_reference_implementation(f: Fixture) {
    assert_eq!(
        f.db.log_head().await.unwrap().root.to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for count in [1, 1, 1, 60, 200, 1, 300] {
        append_many(&f, count).await;
        let (head, tree) = (f.db.log_head().await.unwrap(), reference(&f).await);
        assert_eq!(head.size, tree.len());
        assert_eq!(head.root.as_bytes().as_slice(), tree.root().as_bytes().as_slice());
    }
}

async fn a_whole_log_is_found_whole(f: Fixture) {
    for count in [0, 1, 255, 256, 2000, 100] {
        append_many(&f, count).await;
        let verdict = f.db.verify_log(&Quiet).await.unwrap();
        assert_eq!(verdict.first_bad, None);
        assert_eq!(verdict.head, f.db.log_head().await.unwrap());
        assert_eq!(verdict.checked, verdict.head.size);
    }
    let cancel = Cancel::new();
    cancel.cancel();
    assert!(matches!(f.db.verify_log(&cancel).await, Err(Error::Cancelled)));
}

async fn proofs_are_those_of_the_reference_implementation(f: Fixture) {
    append_many(&f, 700).await;
    let sizes = [1, 2, 3, 255, 256, 257, 300, 511, 512, 513, 600, 699, 700];
    let lines = f.db.log_lines(0, 700).await.unwrap();
    for size in sizes {
        let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        lines.iter().take(size).for_each(|line| tree.push(line.clone().into_bytes()));
        for seq in [1, 2, size / 2, size].into_iter().filter(|seq| (1..=size).contains(seq)) {
            let proof = f.db.inclusion_proof(seq as u64, size as u64).await.unwrap();
            assert_eq!(proof.head.root.as_bytes().as_slice(), tree.root().as_bytes().as_slice());
            let path: Vec<u8> = proof.path.iter().flat_map(|hash| *hash.as_bytes()).collect();
            assert_eq!(path, tree.prove_inclusion(seq - 1).as_bytes(), "{seq} in {size}");
            proof.verify(lines[seq - 1].as_bytes()).unwrap();
        }
        for old in sizes.into_iter().filter(|old| *old <= size) {
            let proof = f.db.consistency_proof(old as u64, size as u64).await.unwrap();
            if old < size {
                let path: Vec<u8> = proof.path.iter().flat_map(|hash| *hash.as_bytes()).collect();
                assert_eq!(path, tree.prove_consistency(size - old).as_bytes(), "{old} in {size}");
            }
            proof.verify().unwrap();
            let text = serde_json::to_string(&proof).unwrap();
            serde_json::from_str::<ConsistencyProof>(&text).unwrap().verify().unwrap();
        }
    }
}

async fn a_proof_of_something_else_does_not_hold(f: Fixture) {
    append_many(&f, 20).await;
    let lines = f.db.log_lines(0, 20).await.unwrap();
    let good = f.db.inclusion_proof(7, 20).await.unwrap();
    good.verify(lines[6].as_bytes()).unwrap();
    good.verify(lines[7].as_bytes()).unwrap_err();
    let other = f.db.inclusion_proof(8, 20).await.unwrap();
    for bad in [
        InclusionProof { seq: 8, ..good.clone() },
        InclusionProof { seq: 0, ..good.clone() },
        InclusionProof { path: other.path, ..good.clone() },
        InclusionProof { path: Vec::new(), ..good.clone() },
        InclusionProof { head: tidemill_db::LogHead { size: u64::MAX, ..good.head }, ..good.clone() },
        InclusionProof { head: tidemill_db::LogHead { root: good.leaf, ..good.head }, ..good.clone() },
    ] {
        bad.verify(lines[6].as_bytes()).unwrap_err();
    }
    let good = f.db.consistency_proof(7, 20).await.unwrap();
    for bad in [
        ConsistencyProof { old: good.new, new: good.old, ..good.clone() },
        ConsistencyProof { old: tidemill_db::LogHead { root: good.new.root, ..good.old }, ..good.clone() },
        ConsistencyProof { old: tidemill_db::LogHead { size: 0, ..good.old }, ..good.clone() },
        ConsistencyProof { path: good.path[1..].to_vec(), ..good.clone() },
        ConsistencyProof {
            old: tidemill_db::LogHead { size: 20, ..good.old },
            path: Vec::new(),
            ..good.clone()
        },
    ] {
        bad.verify().unwrap_err();
    }
}

async fn ranges_that_are_not_there(f: Fixture) {
    append_many(&f, 3).await;
    for (seq, size) in [(0, 3), (4, 3), (1, 4), (1, 0), (4, 4), (1, u64::MAX)] {
        let asked = f.db.inclusion_proof(seq, size).await;
        assert!(matches!(asked, Err(Error::ProofRange { size: 3, .. })), "{seq} {size}");
    }
    for (old, new) in [(0, 3), (3, 2), (1, 4), (u64::MAX, u64::MAX)] {
        let asked = f.db.consistency_proof(old, new).await;
        assert!(matches!(asked, Err(Error::ProofRange { size: 3, .. })), "{old} {new}");
    }
}

async fn the_log_cannot_be_changed_by_accident(f: Fixture) {
    append_many(&f, 3).await;
    for sql in ["UPDATE event SET at = 0", "DELETE FROM event WHERE seq = 3"] {
        let error = f.try_sql(sql).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
    assert_eq!(f.db.log_lines(0, 9).await.unwrap().len(), 3);
}

/// The program in the documentation, run as it stands there, gives the same root.
async fn python_agrees(f: Fixture) {
    begun(&f.db, 1, 10).await;
    append_many(&f, 300).await;
    append(
        &f,
        vec![event(
            3,
            EventKind::RunFinished {
                run: run_id(1),
                state: tidemill_core::RunState::Failed,
                lock: Some(digest("x")),
            },
        )],
    )
    .await;
    let text =
        fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/concepts/event-log.md"))
            .unwrap();
    let program = text.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(program.lines().count() <= 20);
    let directory = tempfile::tempdir().unwrap();
    let (script, log) = (directory.path().join("verify.py"), directory.path().join("log.jsonl"));
    fs_err::write(&script, program).unwrap();
    let mut lines = f.db.log_lines(0, usize::MAX).await.unwrap();
    let verify = |lines: &[String]| {
        let mut text = String::new();
        lines.iter().for_each(|line| writeln!(text, "{line}").unwrap());
        fs_err::write(&log, text).unwrap();
        let output =
            std::process::Command::new(tidemill_testkit::python()).arg(&script).arg(&log).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let head = f.db.log_head().await.unwrap();
    let expected = format!("{} {}\n", head.size, head.root);
    assert_eq!(verify(&lines), (expected.clone(), String::new()));
    lines[7] = lines[7].replace("ana", "bob");
    assert_ne!(verify(&lines).0, expected);
    lines.remove(9);
    assert!(verify(&lines).1.contains("entry 10 is missing"));
}
