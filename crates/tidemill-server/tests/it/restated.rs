//! Windows whose outcomes came after they were judged.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidemill_core::{Actor, Clock as _, Digest, EventKind, FixedClock, Name, NewEvent, Timestamp};
use tidemill_data::{Profile, Table};
use tidemill_db::monitoring::{AlertFilter, JudgedFilter};
use tidemill_db::outcomes::{Match, Outcome, OutcomeState};
use tidemill_db::{Db, EventFilter, NewDatasetVersion};
use tidemill_monitor::Declaration;
use tidemill_registry::Registry;
use tidemill_runtime::{Tensor, Values};
use tidemill_serve::record::{InferenceLog, LogSettings, Reader, Rules};
use tidemill_serve::{Named, Record, Recorder as _, Status};
use tidemill_server::monitoring::{Driver, declare, standing};
use tidemill_server::{App, Config};
use tidemill_store::{Store, StoreOptions};
use tidemill_testkit::AnyDatabase;

const ROWS: usize = 200;

/// An endpoint that is watched, and its log.
struct Lab {
    db: Db,
    store: Store,
    clock: Arc<FixedClock>,
    log: InferenceLog,
    driver: Driver,
    _database: AnyDatabase,
    _dir: TempDir,
}

impl Lab {
    async fn new(monitors: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp::parse("2026-03-01T10:00:00Z").unwrap()));
        let database = AnyDatabase::at(&dir.path().join("t.db"));
        let db = Db::open(&database.url, clock.clone()).await.unwrap();
        let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
        let settings =
            LogSettings { flush: Duration::from_millis(20), ..LogSettings::new(dir.path().join("records")) };
        let log = InferenceLog::open(settings, Rules::default(), clock.clone()).unwrap();
        let reader = Reader::new(db.clone(), store.clone(), dir.path().join("records"));
        let registry = Registry::new(db.clone(), store.clone(), clock.clone());
        let app = App::new(registry, Config::new(dir.path().to_owned()));
        let declaration: Declaration = serde_json::from_value(json!({
            "project": "flights",
            "endpoint": "late",
            "objective": {"task": {"kind": "classification", "target": "late", "positive": 1}},
            "monitors": monitors,
            "receivers": [{"webhook": {"url": "http://localhost:9/told"}}],
        }))
        .unwrap();
        declare(&db, &*clock, &Actor::system("test"), &declaration).await.unwrap();
        let driver = Driver::new(app, reader, log.clone());
        Self { db, store, clock, log, driver, _database: database, _dir: dir }
    }

    /// One request of many rows, all of which are answered with the positive class.
    fn ask(&self, id: &str) {
        let named = |name: &str, tensor| Named { name: name.to_owned(), tensor };
        self.log.record(Record {
            id: id.into(),
            time: self.clock.now(),
            endpoint: "late".into(),
            model: "late".into(),
            version: "1".into(),
            release: "b3:00".into(),
            arm: None,
            is_shadow: false,
            latency: Duration::from_millis(1),
            inputs: vec![named("x", Tensor::vector(Values::F64(vec![0.5; ROWS])))],
            outputs: vec![
                named("label", Tensor::vector(Values::I64(vec![1; ROWS]))),
                named("probability", Tensor::vector(Values::F64(vec![0.8; ROWS]))),
            ],
            status: Status::Answered,
            warnings: Vec::new(),
            entity: None,
            headers: Vec::new(),
        });
        self.log.flush().unwrap();
    }

    /// What became of rows of a request that came at `at`: of these, so many are as they were answered.
    async fn tell(&self, id: &str, at: Timestamp, rows: std::ops::Range<u64>, right: u64) {
        let outcome = |row: u64| Outcome {
            endpoint: "late".to_owned(),
            name: "late".to_owned(),
            request_id: Some(id.to_owned()),
            row: Some(row),
            number: Some(f64::from(u8::from(row - rows.start < right))),
            received_at: self.clock.now(),
            ..Outcome::default()
        };
        let all: Vec<Outcome> = rows.clone().map(outcome).collect();
        self.db.add_outcomes(&Actor::user("ana"), &all).await.unwrap();
        let mut waiting = self.db.outcomes("late", Some(OutcomeState::Waiting), 0, 10_000).await.unwrap();
        for outcome in &mut waiting {
            outcome.matched = Some(Match { request_id: id.to_owned(), row: outcome.row, at });
        }
        self.db.settle_outcomes("late", &waiting, self.clock.now()).await.unwrap();
    }

    async fn windows(&self, watch: &str) -> Vec<Value> {
        let filter = JudgedFilter { watch: Some(watch.to_owned()), ..JudgedFilter::default() };
        let found = self.db.judged_windows(&filter, 100).await.unwrap();
        found.iter().rev().map(|judged| serde_json::from_str(&judged.made.verdict).unwrap()).collect()
    }

    async fn alerts(&self) -> Vec<(String, String)> {
        let found = self.db.alerts(&AlertFilter::default(), 100).await.unwrap();
        found.into_iter().map(|alert| (alert.made.watch, alert.state)).collect()
    }

    async fn events(&self) -> Vec<EventKind> {
        let found = self.db.events(&EventFilter::default()).await.unwrap();
        found.into_iter().map(|event| event.kind).collect()
    }
}

#[tokio::test]
async fn outcomes_that_come_later_restate_their_window_and_end_its_alert() {
    let mut lab = Lab::new(json!([
        {"quality": {"metric": "accuracy", "min": 0.7, "window": "1h", "outcomes": {"delay": "1h"}}},
        {"quality": {"metric": "brier", "max": 0.9, "window": "1h", "restate": "0s"}},
    ]))
    .await;
    lab.clock.advance(Duration::from_secs(600));
    let came = lab.clock.now();
    lab.ask("r1");
    lab.tell("r1", came, 0..60, 30).await;
    lab.clock.advance(Duration::from_secs(3 * 3_600));
    lab.driver.look().await.unwrap();
    let judged = lab.windows("quality:accuracy").await;
    assert_eq!((judged.len(), &judged[0]["state"]), (1, &json!("broken")), "{judged:?}");
    assert_eq!(lab.alerts().await, [("quality:accuracy".to_owned(), "firing".to_owned())]);
    let never = lab.windows("quality:brier").await;
    let (head, first) = (lab.db.log_head().await.unwrap().size, judged[0]["why"].clone());
    lab.driver.look().await.unwrap();
    assert_eq!(lab.db.log_head().await.unwrap().size, head, "no outcome came, so nothing is judged again");

    lab.clock.advance(Duration::from_secs(600));
    lab.tell("r1", came, 60..ROWS as u64, 140).await;
    lab.driver.look().await.unwrap();
    let judged = lab.windows("quality:accuracy").await;
    let (verdict, restated) = (&judged[0], &judged[0]["restated"]);
    assert_eq!((judged.len(), &verdict["state"], &verdict["value"]), (1, &json!("ok"), &json!(0.85)));
    assert_eq!(verdict["evidence"]["labelled"], 200, "it is more mature: {verdict}");
    assert_eq!((&restated["first"]["state"], &restated["first"]["outcomes"]), (&json!("broken"), &json!(60)));
    assert_eq!(restated["first"]["value"], 0.5, "{restated}");
    assert_ne!(verdict["why"], first);
    assert_eq!(lab.alerts().await, [("quality:accuracy".to_owned(), "resolved".to_owned())]);
    let events = lab.events().await;
    let again: Vec<&EventKind> = events.iter().filter(|kind| kind.name() == "windows.restated").collect();
    let [EventKind::WindowsRestated { watch, windows: 1, .. }] = again.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(watch, "quality:accuracy");
    let resolved = events.iter().find_map(|kind| match kind {
        EventKind::AlertResolved { why, .. } => Some(why.clone()),
        _ => None,
    });
    assert!(resolved.unwrap().contains("restated: at first broken"), "the alert says why it is over");
    assert_eq!(lab.windows("quality:brier").await, never, "it was declared that this one is not");

    let stand = standing(&lab.db, None).await.unwrap();
    let one = stand.iter().find(|one| one.watch == "quality:accuracy").unwrap();
    assert_eq!((one.windows, one.restated.as_ref().map(|ago| ago.times)), (1, Some(1)));
    // All that came counts, and nothing is read again for nothing.
    let head = lab.db.log_head().await.unwrap().size;
    lab.driver.look().await.unwrap();
    assert_eq!(lab.db.log_head().await.unwrap().size, head);
}

/// Labels that are corrected are as many as before, and the window says otherwise.
#[tokio::test]
async fn outcomes_that_are_corrected_restate_their_window() {
    let mut lab = Lab::new(json!([
        {"quality": {"metric": "accuracy", "min": 0.7, "window": "1h", "outcomes": {"delay": "1h"}}},
        {"kpi": {"name": "late", "window": "1h", "outcomes": {"delay": "1h"}}},
    ]))
    .await;
    lab.clock.advance(Duration::from_secs(600));
    let came = lab.clock.now();
    lab.ask("r1");
    lab.tell("r1", came, 0..ROWS as u64, 180).await;
    lab.clock.advance(Duration::from_secs(3 * 3_600));
    lab.driver.look().await.unwrap();
    assert_eq!(lab.windows("quality:accuracy").await[0]["value"], 0.9);
    let revenue = lab.windows("kpi:late").await[0].clone();

    // Of the 180 that were said to be late 80 were not: what was said of them first stands no longer.
    lab.clock.advance(Duration::from_secs(600));
    lab.tell("r1", came, 100..180, 0).await;
    let counts = lab.db.outcome_counts("late").await.unwrap();
    assert_eq!((counts.matched, counts.corrected, counts.duplicate), (200, 80, 0));
    lab.driver.look().await.unwrap();
    let judged = lab.windows("quality:accuracy").await;
    let (verdict, restated) = (&judged[0], &judged[0]["restated"]);
    assert_eq!((judged.len(), &verdict["state"], &verdict["value"]), (1, &json!("broken"), &json!(0.5)));
    assert_eq!(verdict["evidence"]["labelled"], 200, "{verdict}");
    assert_eq!((&restated["first"]["value"], &restated["first"]["outcomes"]), (&json!(0.9), &json!(200)));
    assert_eq!(lab.alerts().await, [("quality:accuracy".to_owned(), "firing".to_owned())]);
    assert_ne!(lab.windows("kpi:late").await[0]["counted"], revenue["counted"], "its mean is another");
    let corrected = lab.events().await.into_iter().find_map(|kind| match kind {
        EventKind::OutcomesJoined { corrected, .. } => corrected,
        _ => None,
    });
    assert_eq!(corrected, Some(80));

    // The same corrections once more are no news.
    lab.clock.advance(Duration::from_secs(600));
    lab.tell("r1", came, 100..180, 0).await;
    assert_eq!(lab.db.outcome_counts("late").await.unwrap().duplicate, 80);
    let head = lab.db.log_head().await.unwrap().size;
    lab.driver.look().await.unwrap();
    assert_eq!(lab.db.log_head().await.unwrap().size, head);
}

#[tokio::test]
async fn windows_that_are_too_old_or_were_restated_just_now_wait() {
    let monitors = json!([
        {"quality": {"metric": "accuracy", "min": 0.7, "window": "1h", "outcomes": {"delay": "1h"}, "restate": "6h"}},
    ]);
    let mut lab = Lab::new(monitors).await;
    let came = lab.clock.now();
    lab.ask("r1");
    lab.tell("r1", came, 0..60, 55).await;
    lab.clock.advance(Duration::from_secs(3 * 3_600));
    lab.driver.look().await.unwrap();
    let times = async |lab: &Lab| {
        let stand = standing(&lab.db, None).await.unwrap();
        let one = stand.into_iter().find(|one| one.watch == "quality:accuracy").unwrap();
        one.restated.map_or(0, |ago| ago.times)
    };
    lab.tell("r1", came, 60..80, 20).await;
    lab.driver.look().await.unwrap();
    assert_eq!(times(&lab).await, 1);
    // Labels that trickle in are taken together.
    lab.tell("r1", came, 80..90, 10).await;
    lab.driver.look().await.unwrap();
    assert_eq!(times(&lab).await, 1);
    lab.clock.advance(Duration::from_secs(150));
    lab.driver.look().await.unwrap();
    assert_eq!(times(&lab).await, 2);
    // After the declared time it stays as it is.
    lab.clock.advance(Duration::from_secs(6 * 3_600));
    lab.tell("r1", came, 90..200, 0).await;
    lab.driver.look().await.unwrap();
    assert_eq!(times(&lab).await, 2);
    assert_eq!(lab.windows("quality:accuracy").await[0]["evidence"]["labelled"], 90);
}

#[tokio::test]
async fn windows_are_compared_with_a_version_of_a_dataset() {
    let mut lab = Lab::new(json!([{"drift": {"window": "1h", "against": "rows@1"}}])).await;
    lab.ask("r1");
    lab.clock.advance(Duration::from_secs(2 * 3_600));
    lab.driver.look().await.unwrap();
    let why = lab.windows("drift").await[0]["why"].clone();
    assert!(why.as_str().unwrap().starts_with("there is no `rows@1` to compare with"), "{why}");

    // The version, then its profile.
    let values =
        |from: f64| Arc::new((0..1_000).map(|row| from + f64::from(row) / 1_000.0).collect::<Float64Array>());
    let batch =
        RecordBatch::try_from_iter([("x", values(0.0) as ArrayRef), ("target", values(3.0) as ArrayRef)])
            .unwrap();
    let content = Digest::of(b"rows");
    let new = NewDatasetVersion {
        dataset: Name::new("rows").unwrap(),
        content,
        kind: "file".to_owned(),
        bytes: 1,
        files: 1,
        rows: Some(1_000),
        schema: None,
        source: "rows.csv".to_owned(),
        message: None,
        created_at: lab.clock.now(),
        actor: Actor::system("test"),
    };
    let event = |kind| NewEvent { at: lab.clock.now(), actor: Actor::system("test"), kind, cause: None };
    let mut tx = lab.db.begin().await.unwrap();
    tx.put_dataset_version(&new).await.unwrap();
    tx.commit(vec![event(EventKind::ProjectOpened { project: "rows".to_owned() })]).await.unwrap();
    lab.ask("r2");
    lab.clock.advance(Duration::from_secs(3_700));
    lab.driver.look().await.unwrap();
    let why = lab.windows("drift").await[1]["why"].clone();
    assert!(why.as_str().unwrap().ends_with("`tidemill data profile rows@1` makes it"), "{why}");
    let table = Table::from_batches(batch.schema(), vec![batch]).unwrap();
    let digest = lab.store.put(&Profile::of(&table).unwrap().to_bytes()).unwrap();
    let mut tx = lab.db.begin().await.unwrap();
    tx.put_profile(content, "2", digest, lab.clock.now()).await.unwrap();
    tx.commit(Vec::new()).await.unwrap();

    lab.ask("r3");
    lab.clock.advance(Duration::from_secs(3_700));
    lab.driver.look().await.unwrap();
    let verdict = lab.windows("drift").await[2].clone();
    assert_eq!(verdict["state"], "broken", "{verdict}");
    let evidence = &verdict["evidence"];
    assert_eq!(
        (&evidence["against"], &evidence["rows_reference"]),
        (&json!("the dataset rows@1"), &json!(1_000))
    );
    assert_eq!(evidence["columns"][0]["column"], "x");
    assert_eq!(evidence["skipped"], json!([]), "a model never sees the target");
}
