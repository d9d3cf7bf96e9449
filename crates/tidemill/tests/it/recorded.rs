//! The inference log as an input of a step: what is new runs it again, and what it read can be had again.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray as _;
use arrow::datatypes::{Float64Type, Int64Type};
use tidemill_core::{Actor, FixedClock, Timestamp};
use tidemill_data::Table;
use tidemill_db::Db;
use tidemill_db::outcomes::Outcome;
use tidemill_runtime::{Tensor, Values};
use tidemill_serve::record::outcome::{Matcher, OutcomeRules};
use tidemill_serve::record::{InferenceLog, LogSettings, Reader, Roller, Rules};
use tidemill_serve::{Named, Record, Recorder as _, Status};
use tidemill_store::{Store, StoreOptions};

use crate::fixture::Project;

const FILE: &str = "
project: recorded
pipeline:
  tally:
    sql: select count(*) as requests, sum(outcome_label) as good from asked where input_age > 20
    inputs: [{asked: 'records:loans'}]
    outs: [tally.parquet]
";
const DAY: i64 = 86_400_000;

/// What a server would have left behind after two requests of a day, of which the first turned out well.
fn asked(project: &Project, day: i64) {
    let clock = Arc::new(FixedClock::new(Timestamp::from_millis((day + 1) * DAY)));
    let named = |name: &str, value: f64| Named {
        name: name.into(),
        tensor: Tensor::vector(Values::F64(vec![value])),
    };
    let record = |number: i64| Record {
        id: format!("request-{day}-{number}").into(),
        time: Timestamp::from_millis(day * DAY + number),
        endpoint: "loans".into(),
        model: "risk".into(),
        version: "1".into(),
        release: "b3:00".into(),
        arm: None,
        is_shadow: false,
        latency: Duration::from_micros(100),
        inputs: vec![named("age", 30.0)],
        outputs: vec![named("score", 0.5)],
        status: Status::Answered,
        warnings: Vec::new(),
        entity: None,
        headers: Vec::new(),
    };
    let outcome = Outcome {
        endpoint: "loans".into(),
        name: "label".into(),
        number: Some(1.0),
        request_id: Some(format!("request-{day}-0")),
        received_at: Timestamp::from_millis(day * DAY + 1_000),
        ..Outcome::default()
    };
    let home = project.path(".tidemill");
    fs_err::create_dir_all(&home).unwrap();
    let work = async {
        let db = Db::open(home.join("tidemill.db").to_str().unwrap(), clock.clone()).await.unwrap();
        let store = Store::open(&home.join("store"), StoreOptions::default()).unwrap();
        let open = || {
            InferenceLog::open(LogSettings::new(home.join("records")), Rules::default(), clock.clone())
                .unwrap()
        };
        let log = open();
        (0..2).for_each(|number| log.record(record(number)));
        log.flush().unwrap();
        log.close();
        let log = open();
        Roller::new(log.clone(), db.clone(), store.clone(), clock.clone()).roll().await.unwrap();
        log.close();
        db.add_outcomes(&Actor::user("ana"), &[outcome]).await.unwrap();
        let reader = Reader::of_parts(db.clone(), store);
        let matcher = Matcher::new(db.clone(), reader, clock.clone(), Duration::from_secs(1));
        assert_eq!(matcher.pass("loans", OutcomeRules::default()).await.unwrap().matched, 1);
        db.close().await.unwrap();
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

/// Requests and how many turned out well, as the step counted them.
fn tally(project: &Project) -> (i64, f64) {
    let table = Table::open(&[project.path("tally.parquet")], None).unwrap();
    let batch = table.batches(None).unwrap().next().unwrap().unwrap();
    let good = batch.column(1).as_primitive::<Float64Type>().value(0);
    (batch.column(0).as_primitive::<Int64Type>().value(0), good)
}

#[test]
fn new_records_run_a_step_again_and_old_ones_do_not() {
    let project = Project::new(FILE);
    project.run(&["run"]).fails(1, &["step `tally` reads `records:loans`", "the store holds none"]);
    asked(&project, 20_000);
    project.run(&["run"]).good();
    assert_eq!(tally(&project), (2, 1.0));
    assert!(project.read("tidemill.lock").contains(" .tidemill/inputs/records/loans\n"));
    project.run(&["run"]).good().says(&["nothing to do"]);

    asked(&project, 20_001);
    project.run(&["status"]).good().says(&["`records:loans` changed"]);
    project.run(&["run", "--dry-run"]).good().says(&["`records:loans` changed"]);
    project.run(&["run"]).good();
    assert_eq!(tally(&project), (4, 2.0));

    // Its inputs are in the store, so it does not matter what became of the files or the log.
    fs_err::remove_dir_all(project.path(".tidemill/inputs")).unwrap();
    project.run(&["reproduce", "last"]).good().says(&["identical: 1 output of 1 step"]);
    project.run(&["run"]).good().says(&["nothing to do"]);
    // A range of days is another input, and the days outside of it are none of it.
    project.write("tidemill.yaml", FILE.replace("records:loans", "records:loans@2024-10-05.."));
    project.run(&["run"]).good();
    assert_eq!(tally(&project), (2, 1.0));
}
