//! A process that writes is killed again and again; what it said was written is there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use tidemill_core::{EventKind, Quiet, RunId};
use tidemill_db::EventFilter;
use tidemill_db::tracking::{Batch, RunStatus};

use crate::fixture::{
    Fixture, created, experiment, metric, moved, new_tracked, open, pair, pushed, run_id, tracked,
};

/// Names the database to the child process, which is this same test.
const ROLE: &str = "TIDEMILL_TEST_CRASH";
const ROUNDS: usize = 12;

#[test]
fn sqlite() {
    killed_again_and_again("crash::sqlite", Fixture::sqlite());
}

#[test]
fn postgres() {
    killed_again_and_again("crash::postgres", Fixture::postgres());
}

/// Writes until it is killed; says `event SEQ NAME`, `point KEY STEP` and `run ID STATUS` after each acknowledgement.
async fn write(url: &str) {
    let db = open(url).await;
    let start = db.log_head().await.unwrap().size;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_i64 {
        let (db, ingest) = (db.clone(), db.ingest());
        tasks.spawn(async move {
            for i in 0_i64.. {
                let name = format!("{start}/{task}/{i}");
                let said = match task {
                    0 => {
                        let tx = db.begin().await.unwrap();
                        format!("event {} {name}", tx.commit(vec![pushed(&name, 1)]).await.unwrap()[0])
                    }
                    1 | 2 => {
                        format!("event {} {name}", ingest.events(vec![pushed(&name, 1)]).await.unwrap()[0])
                    }
                    3..=5 => {
                        let shared = metric("shared", start as i64 * 100 + task, i, 1.0);
                        let batch = Batch {
                            metrics: vec![metric(&name, i, i, i as f64), shared],
                            params: vec![pair(&name, "1")],
                            tags: vec![pair(&name, "1")],
                            ..Batch::default()
                        };
                        ingest.log(run(), batch).await.unwrap();
                        format!("point {name} {i}")
                    }
                    _ => {
                        let id = RunId::from_entropy(
                            (u128::from(start) << 64 | (task as u128) << 32 | i as u128).to_le_bytes(),
                        );
                        let new = new_tracked(id, 1);
                        let event = created(&new);
                        let begun = Batch { tags: vec![pair("t", "1")], ..Batch::default() };
                        ingest.create_run(new, begun, event).await.unwrap();
                        let done = Batch { status: Some(RunStatus::Finished), ..Batch::default() };
                        ingest.update_run(id, done, moved(id, RunStatus::Finished)).await.unwrap();
                        format!("run {id} FINISHED")
                    }
                };
                let mut out = std::io::stdout().lock();
                writeln!(out, "{said}").unwrap();
                out.flush().unwrap();
            }
        });
    }
    tasks.join_all().await;
}

fn run() -> RunId {
    run_id(5)
}

fn killed_again_and_again(test: &str, fixture: impl Future<Output = Fixture>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(url) = std::env::var(ROLE) {
        return runtime.block_on(write(&url));
    }
    let f = runtime.block_on(fixture);
    runtime.block_on(async {
        experiment(&f.db, 1).await;
        tracked(&f.db, run(), 1).await;
    });
    let mut said = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(ROLE, &f.url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let is_word = |line: &String| ["event ", "point ", "run "].iter().any(|word| line.starts_with(word));
        let enough = 1 + round * 37 % 150;
        let before = said.len();
        said.extend(lines.by_ref().filter(is_word).take(enough));
        child.kill().unwrap();
        child.wait().unwrap();
        // What was on its way through the pipe was said too; only a line cut short was not.
        said.extend(lines.filter(is_word).filter(|line| line.split(' ').count() == 3));
        assert!(said.len() >= before + enough, "the writer ended by itself in round {round}");
    }
    runtime.block_on(check(&f, &said));
}

async fn check(f: &Fixture, said: &[String]) {
    let db = open(&f.url).await;
    let verdict = db.verify_log(&Quiet).await.unwrap();
    assert_eq!(verdict.first_bad, None);
    let lines = db.log_lines(0, usize::MAX).await.unwrap();
    let whole = db.tracked_run(run()).await.unwrap().unwrap();
    let (mut events, mut points, mut runs) = (0, 0, 0);
    for line in said {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "event" => {
                let seq: usize = words[1].parse().unwrap();
                let entry = lines.get(seq - 1).map(String::as_str).unwrap_or_default();
                assert!(entry.contains(&format!("\"remote\":\"{}\"", words[2])), "{line}: {entry}");
                events += 1;
            }
            "point" => {
                let own = whole.metrics.iter().find(|metric| metric.key == words[1]);
                assert!(own.is_some_and(|metric| metric.step.to_string() == words[2]), "{line}");
                points += 1;
            }
            _ => {
                let info = db.tracked_run_info(words[1].parse().unwrap()).await.unwrap();
                assert!(info.is_some_and(|info| info.status == RunStatus::Finished), "{line}");
                runs += 1;
            }
        }
    }
    assert!(events > 50 && points > 50 && runs > 20, "{events} {points} {runs}");
    // A call is written as a whole: each own point has its companion, its parameter and its tag.
    let own: Vec<&str> =
        whole.metrics.iter().map(|metric| metric.key.as_str()).filter(|key| *key != "shared").collect();
    let keys = |pairs: &[tidemill_db::tracking::KeyValue]| -> Vec<String> {
        pairs.iter().map(|pair| pair.key.clone()).collect()
    };
    assert_eq!(own.len(), db.metric_history(run(), "shared", None, usize::MAX).await.unwrap().len());
    assert_eq!(own, keys(&whole.params));
    assert_eq!(own, keys(&whole.tags));
    for key in own {
        assert_eq!(db.metric_history(run(), key, None, 10).await.unwrap().len(), 1, "{key}");
    }
    // No run without its event, no event without its run, and likewise for their statuses.
    let (mut begun, mut ended) = (0, 0);
    for event in db.events(&EventFilter::default()).await.unwrap() {
        match event.kind {
            EventKind::TrackingRunCreated { run, .. } => {
                begun += 1;
                let whole = db.tracked_run(run).await.unwrap().unwrap();
                ended += usize::from(whole.info.status == RunStatus::Finished);
                assert!(run == self::run() || whole.tags.len() == 1);
            }
            EventKind::TrackingRunMoved { .. } => ended -= 1,
            _ => {}
        }
    }
    assert_eq!(ended, 0);
    let count = f.rows("SELECT CAST(COUNT(*) AS TEXT) FROM run").await;
    assert_eq!(count, [begun.to_string()]);
}
