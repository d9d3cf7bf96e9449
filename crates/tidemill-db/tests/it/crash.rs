//! A process that writes is killed again and again; what it said was written is there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use tidemill_core::{Quiet, RunId};
use tidemill_db::Point;

use crate::fixture::{Fixture, at, open, pushed, run_id};

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

/// Writes until it is killed; says `event SEQ NAME` and `point KEY STEP` after each acknowledgement.
async fn write(url: &str) {
    let db = open(url).await;
    let start = db.log_head().await.unwrap().size;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..6_i64 {
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
                    _ => {
                        let point = |key: &str| point(key, i);
                        ingest.metrics(vec![point(&name), point("shared")]).await.unwrap();
                        format!("point {name} {i}")
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

fn point(key: &str, step: i64) -> Point {
    Point { run: run(), key: key.to_owned(), step, at: at(step), value: step as f64 }
}

fn killed_again_and_again(test: &str, fixture: impl Future<Output = Fixture>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(url) = std::env::var(ROLE) {
        return runtime.block_on(write(&url));
    }
    let f = runtime.block_on(fixture);
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
        let is_word = |line: &String| line.starts_with("event ") || line.starts_with("point ");
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
    let series = db.series(run()).await.unwrap();
    let (mut events, mut points) = (0, 0);
    for line in said {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "event" {
            let seq: usize = words[1].parse().unwrap();
            let entry = lines.get(seq - 1).map(String::as_str).unwrap_or_default();
            assert!(entry.contains(&format!("\"remote\":\"{}\"", words[2])), "{line}: {entry}");
            events += 1;
        } else {
            let own = series.iter().find(|series| series.key == words[1]);
            assert!(
                own.is_some_and(|series| series.count == 1 && series.last.step.to_string() == words[2]),
                "{line}"
            );
            points += 1;
        }
    }
    assert!(events > 50 && points > 50, "{events} {points}");
    // A call is written as a whole: each own point has its companion, and the summary counts the rows.
    let own = series.iter().filter(|series| series.key != "shared").map(|series| series.count).sum::<u64>();
    let shared = series.iter().find(|series| series.key == "shared").unwrap();
    assert_eq!(own, shared.count);
    assert_eq!(db.points(run(), "shared", 0, usize::MAX).await.unwrap().len() as u64, shared.count);
}
