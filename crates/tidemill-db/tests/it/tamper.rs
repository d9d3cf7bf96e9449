//! Somebody with the rights of the owner changes the log; the check names the first entry that is not right.

use serde_json::json;
use tidemill_core::Quiet;

use crate::fixture::{Fixture, on_both, pushed};

on_both!(
    content,
    columns,
    missing,
    exchanged,
    truncated,
    added,
    rewritten_with_its_hash,
    head,
    checkpoints,
    the_end_cut_off_with_the_head,
);

/// 600 entries: two checkpoints (256 and 512) and 88 more. Applies `sql`; gives the first bad entry as JSON.
async fn found(f: &Fixture, sql: &str) -> serde_json::Value {
    f.db.begin()
        .await
        .unwrap()
        .commit((1..=600).map(|i| pushed(&format!("r{i}"), i)).collect())
        .await
        .unwrap();
    f.unguard().await;
    f.sql(sql).await;
    let verdict = f.db.verify_log(&Quiet).await.unwrap();
    if let Some(bad) = &verdict.first_bad {
        assert!(verdict.checked < 600 || bad.seq <= 601, "{verdict:?}");
        assert!(bad.to_string().contains(&bad.seq.to_string()), "{bad}");
    }
    serde_json::to_value(verdict.first_bad).unwrap()
}

/// Several changes of one kind, each on a log of its own.
async fn expect(f: Fixture, cases: &[(&str, serde_json::Value)]) {
    let postgres = f.is_postgres();
    let mut fixture = Some(f);
    for (sql, expected) in cases {
        let f = match fixture.take() {
            Some(f) => f,
            None if postgres => Fixture::postgres().await,
            None => Fixture::sqlite().await,
        };
        assert_eq!(found(&f, sql).await, *expected, "{sql}");
    }
}

fn bad(seq: u64, fault: &str) -> serde_json::Value {
    json!({ "seq": seq, "fault": { "fault": fault } })
}

async fn content(f: Fixture) {
    let cases = [
        ("UPDATE event SET at = at + 1 WHERE seq = 300", bad(300, "altered")),
        ("UPDATE event SET actor = 'bob' WHERE seq = 1", bad(1, "altered")),
        ("UPDATE event SET actor_kind = 'system' WHERE seq = 600", bad(600, "altered")),
        ("UPDATE event SET cause = 4 WHERE seq = 7", bad(7, "altered")),
        ("UPDATE event SET body = replace(body, 'r9', 'q9') WHERE seq >= 9", bad(9, "altered")),
        ("UPDATE event SET body = '{' WHERE seq = 8", bad(8, "altered")),
        // These would give the same entry if they were only parsed.
        ("UPDATE event SET body = ' ' || body WHERE seq = 8", bad(8, "altered")),
        ("UPDATE event SET body = '{\"at\":8,' || substr(body, 2) WHERE seq = 8", bad(8, "altered")),
        ("UPDATE event SET leaf = upper(leaf) WHERE seq = 599", bad(599, "altered")),
        ("UPDATE event SET leaf = '' WHERE seq = 599", bad(599, "altered")),
    ];
    expect(f, &cases).await;
}

async fn columns(f: Fixture) {
    let fault = |column: &str, expected: &str| json!({ "seq": 5, "fault": { "fault": "column", "column": column, "stored": "x", "expected": expected } });
    let cases = [
        ("UPDATE event SET kind = 'x' WHERE seq = 5", fault("kind", "store.pushed")),
        ("UPDATE event SET subject = 'x' WHERE seq = 5", fault("subject", "store")),
    ];
    expect(f, &cases).await;
}

async fn missing(f: Fixture) {
    let cases = [
        ("DELETE FROM event WHERE seq = 1", bad(1, "missing")),
        ("DELETE FROM event WHERE seq = 77", bad(77, "missing")),
        ("DELETE FROM event WHERE seq BETWEEN 256 AND 258", bad(256, "missing")),
        ("DELETE FROM event", bad(1, "missing")),
    ];
    expect(f, &cases).await;
}

async fn exchanged(f: Fixture) {
    let moved = json!({ "seq": 40, "fault": { "fault": "moved", "from": 90 } });
    let numbers = "UPDATE event SET seq = 1000 WHERE seq = 40; UPDATE event SET seq = 40 WHERE seq = 90;
        UPDATE event SET seq = 90 WHERE seq = 1000;";
    let contents = "CREATE TABLE old AS SELECT * FROM event;
        UPDATE event SET body = (SELECT body FROM old WHERE old.seq = 130 - event.seq),
            at = (SELECT at FROM old WHERE old.seq = 130 - event.seq) WHERE seq IN (40, 90);
        DROP TABLE old;";
    expect(f, &[(numbers, moved.clone()), (contents, moved)]).await;
}

async fn truncated(f: Fixture) {
    let cases = [
        ("DELETE FROM event WHERE seq = 600", bad(600, "missing")),
        ("DELETE FROM event WHERE seq > 512", bad(513, "missing")),
    ];
    expect(f, &cases).await;
}

async fn added(f: Fixture) {
    let copy = |seq: &str| {
        format!(
            "INSERT INTO event (seq, at, actor_kind, actor, kind, subject, body, cause, leaf)
             SELECT {seq}, at, actor_kind, actor, kind, subject, body, cause, leaf FROM event WHERE seq = 600"
        )
    };
    let cases = [
        (copy("601"), bad(601, "unexpected")),
        (copy("700"), bad(601, "unexpected")),
        (copy("0"), bad(0, "unexpected")),
        (copy("-5"), bad(0, "unexpected")),
    ];
    let cases: Vec<_> = cases.iter().map(|(sql, bad)| (sql.as_str(), bad.clone())).collect();
    expect(f, &cases).await;
}

/// Content and leaf hash fit each other: only the tree can tell.
async fn rewritten_with_its_hash(f: Fixture) {
    let forged = |seq: u64| {
        let mut event = tidemill_core::Event {
            seq,
            at: tidemill_core::Timestamp::from_millis(seq as i64),
            actor: tidemill_core::Actor::user("mallory"),
            kind: pushed(&format!("r{seq}"), seq).kind,
            cause: None,
        };
        event.cause = None;
        let bytes = tidemill_core::canonical_json(&event).unwrap();
        let leaf = {
            use sha2::Digest as _;
            sha2::Sha256::new().chain_update([0]).chain_update(&bytes).finalize()
        };
        let leaf: String = leaf.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("UPDATE event SET actor = 'mallory', leaf = '{leaf}' WHERE seq = {seq}")
    };
    let rewritten = |seq, to| json!({ "seq": seq, "fault": { "fault": "rewritten", "to": to } });
    let cases = [
        (forged(100), rewritten(1, 256)),
        (forged(257), rewritten(257, 512)),
        (forged(600), rewritten(513, 600)),
    ];
    let cases: Vec<_> = cases.iter().map(|(sql, bad)| (sql.as_str(), bad.clone())).collect();
    expect(f, &cases).await;
}

async fn head(f: Fixture) {
    let fault =
        |seq: u64, detail: &str| json!({ "seq": seq, "fault": { "fault": "head", "detail": detail } });
    let root = format!("UPDATE log_head SET root = '{}'", "0".repeat(64));
    let cases = [
        ("DELETE FROM log_head", fault(600, "it is missing")),
        ("UPDATE log_head SET root = 'x'", fault(600, "its size or root cannot be read")),
        (root.as_str(), fault(600, "its root does not fit the entries")),
        ("UPDATE log_head SET frontier = ''", fault(600, "its frontier does not fit the entries")),
        ("UPDATE log_head SET size = 601", bad(601, "missing")),
        ("UPDATE log_head SET size = 599", bad(600, "unexpected")),
    ];
    expect(f, &cases).await;
}

async fn checkpoints(f: Fixture) {
    let cases = [
        ("DELETE FROM log_checkpoint WHERE size = 512", bad(512, "no_checkpoint")),
        (
            "UPDATE log_checkpoint SET node = root WHERE size = 512",
            json!({ "seq": 257, "fault": { "fault": "rewritten", "to": 512 } }),
        ),
    ];
    expect(f, &cases).await;
}

/// The end is cut off and the head is made anew, as if less had ever happened: a checkpoint gives it away.
async fn the_end_cut_off_with_the_head(f: Fixture) {
    let short = if f.is_postgres() { Fixture::postgres().await } else { Fixture::sqlite().await };
    short
        .db
        .begin()
        .await
        .unwrap()
        .commit((1..=300).map(|i| pushed(&format!("r{i}"), i)).collect())
        .await
        .unwrap();
    let (root, frontier) = short.head_row().await;
    let sql = format!(
        "DELETE FROM event WHERE seq > 300; UPDATE log_head SET size = 300, root = '{root}', frontier = '{frontier}'"
    );
    assert_eq!(found(&f, &sql).await, bad(301, "missing"));
}
