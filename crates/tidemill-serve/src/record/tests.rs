//! The log as a whole: nothing acknowledged is lost, nothing is there twice, and what is read is what was taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Int32Type, TimestampMillisecondType};
use tidemill_core::{Clock, FixedClock, Timestamp};
use tidemill_db::Db;
use tidemill_runtime::{Tensor, Values};
use tidemill_store::{Store, StoreOptions};

use super::segment::tests::record;
use super::*;
use crate::{Named, Record, Recorder};

const HOUR: i64 = plan::HOUR_MS;

pub(crate) struct Lab {
    dir: tempfile::TempDir,
    pub(crate) db: Db,
    store: Store,
    pub(crate) clock: Arc<FixedClock>,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp::from_millis(10 * HOUR)));
        let url = dir.path().join("test.db");
        let db = Db::open(url.to_str().unwrap(), clock.clone()).await.unwrap();
        let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
        Self { dir, db, store, clock }
    }

    fn settings(&self) -> LogSettings {
        LogSettings { flush: Duration::from_millis(50), ..LogSettings::new(self.dir.path().join("records")) }
    }

    fn open(&self, settings: LogSettings, rules: Rules) -> InferenceLog {
        InferenceLog::open(settings, rules, self.clock.clone()).unwrap()
    }

    pub(crate) fn log(&self) -> InferenceLog {
        self.open(self.settings(), Rules::default())
    }

    pub(crate) fn roller(&self, log: &InferenceLog) -> Roller {
        Roller::new(log.clone(), self.db.clone(), self.store.clone(), self.clock.clone())
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::new(self.db.clone(), self.store.clone(), self.dir.path().join("records"))
    }

    pub(crate) async fn rows(&self, query: &Query) -> RecordBatch {
        let found = self.reader().find(query).await.unwrap();
        let schema = found.schema();
        let batches: Vec<RecordBatch> = found.batches().map(Result::unwrap).collect();
        arrow::compute::concat_batches(&schema, &batches).unwrap()
    }

    async fn ids(&self, query: &Query) -> Vec<String> {
        let rows = self.rows(query).await;
        let ids = rows.column_by_name("request_id").unwrap().as_string::<i32>();
        ids.iter().map(|id| id.unwrap().to_owned()).collect()
    }
}

fn numbers(ids: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> =
        ids.iter().map(|id| id.rsplit('-').next().unwrap().parse().unwrap()).collect();
    numbers.dedup();
    numbers
}

#[tokio::test]
async fn what_was_taken_is_read_before_and_after_it_is_rolled() {
    let lab = Lab::new().await;
    let log = lab.log();
    for i in 0..500 {
        log.record(record(i, 9 * HOUR + i64::try_from(i).unwrap() * 10_000));
    }
    log.flush().unwrap();
    let query = Query::of("loans", None, None);
    let before = lab.rows(&query).await;
    assert_eq!(before.num_rows(), 1000);
    log.close();
    let log = lab.log();
    let rolled = lab.roller(&log).roll().await.unwrap();
    assert_eq!((rolled.segments, rolled.parts, rolled.rows), (1, 2, 1000));
    assert!(segment::list(&log.settings().dir).unwrap().is_empty());
    let after = lab.rows(&query).await;
    assert_eq!(after, before);
    // The columns have the types of the model.
    let kind = |name: &str| after.schema().field_with_name(name).unwrap().data_type().clone();
    assert_eq!(kind("input_age"), DataType::Float32);
    assert_eq!(kind("input_city"), DataType::Utf8);
    assert_eq!(kind("output_p"), columns::list_of(DataType::Float64));
    let ages = after.column_by_name("input_age").unwrap().as_primitive::<Float32Type>();
    assert_eq!((ages.value(6), ages.value(7)), (3.0, 3.5));
    let rows = after.column_by_name("row").unwrap().as_primitive::<Int32Type>();
    assert_eq!((rows.value(6), rows.value(7)), (0, 1));
    let times = after.column_by_name("time").unwrap().as_primitive::<TimestampMillisecondType>();
    assert!(times.values().windows(2).all(|pair| pair[0] <= pair[1]));
    assert_eq!(lab.roller(&log).roll().await.unwrap(), Rolled::default());
}

#[tokio::test]
async fn filters_hold_in_parts_and_segments() {
    let lab = Lab::new().await;
    let log = lab.log();
    let mut others = Vec::new();
    for i in 0..20_u64 {
        let mut it = record(i, 9 * HOUR + i64::try_from(i).unwrap() * 1000);
        it.version = if i % 2 == 0 { "3".into() } else { "4".into() };
        it.arm = Some(if i % 5 == 0 { "challenger".into() } else { "champion".into() });
        it.is_shadow = i % 5 == 0;
        others.push(Record { endpoint: "other".into(), ..it.clone() });
        log.record(it);
    }
    others.into_iter().for_each(|record| log.record(record));
    log.flush().unwrap();
    let base = || Query::of("loans", None, None);
    let text = |text: &str| Some(text.to_owned());
    let at = |seconds: i64| Some(Timestamp::from_millis(9 * HOUR + seconds * 1000));
    let check = async || {
        assert_eq!(numbers(&lab.ids(&base()).await).len(), 20);
        let even: Vec<u64> = (0..10).map(|i| i * 2).collect();
        assert_eq!(numbers(&lab.ids(&Query { version: text("3"), ..base() }).await), even);
        assert_eq!(numbers(&lab.ids(&Query { arm: text("challenger"), ..base() }).await), [0, 5, 10, 15]);
        assert_eq!(numbers(&lab.ids(&Query { shadow: Some(false), ..base() }).await).len(), 16);
        assert_eq!(numbers(&lab.ids(&Query { id: text("request-000007"), ..base() }).await), [7]);
        assert_eq!(numbers(&lab.ids(&Query { from: at(3), to: at(6), ..base() }).await), [3, 4, 5]);
        assert_eq!(numbers(&lab.ids(&Query { entity: text("customer-3"), ..base() }).await), [3, 10, 17]);
        assert_eq!(lab.ids(&Query { status: text("failed"), ..base() }).await.len(), 0);
        let everywhere = Query { id: text("request-000007"), ..Query::default() };
        assert_eq!(lab.ids(&everywhere).await.len(), 4);
        let last = lab.reader().find(&base()).await.unwrap().last(5).unwrap();
        let rows: usize = last.iter().map(RecordBatch::num_rows).sum();
        let newest = last.last().unwrap().column_by_name("request_id").unwrap();
        assert_eq!((rows, newest.as_string::<i32>().value(newest.len() - 1)), (5, "request-000019"));
        let narrow = Query { columns: Some(vec!["request_id".into(), "input_age".into()]), ..base() };
        assert_eq!(lab.rows(&narrow).await.num_columns(), 2);
    };
    check().await;
    log.close();
    drop(log);
    let log = lab.log();
    assert_eq!(lab.roller(&log).roll().await.unwrap().segments, 2);
    check().await;
    assert_eq!(lab.reader().endpoints().await.unwrap(), ["loans", "other"]);
}

#[tokio::test]
async fn a_full_queue_counts_and_never_waits() {
    let lab = Lab::new().await;
    let settings = LogSettings { queue_records: 10, flush: Duration::from_secs(60), ..lab.settings() };
    let log = lab.open(settings, Rules::default());
    let started = std::time::Instant::now();
    for i in 0..100_000 {
        log.record(record(i, 1));
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    log.flush().unwrap();
    let counts = log.counts()["loans"];
    assert_eq!(counts.recorded + counts.dropped, 100_000);
    assert!(counts.dropped > 0);
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(RecordsPage(log.clone())));
    let mut page = String::new();
    prometheus_client::encoding::prometheus_text::encode(&mut page, &registry).unwrap();
    let line = format!("tidemill_records_dropped_total{{endpoint=\"loans\"}} {}\n", counts.dropped);
    assert!(page.contains(&line), "{page}");
    let kept = numbers(&lab.ids(&Query::of("loans", None, None)).await).len() as u64;
    assert_eq!(kept, counts.recorded);
}

#[tokio::test]
async fn a_crash_at_any_point_of_rolling_leaves_each_record_once() {
    let lab = Lab::new().await;
    let log = lab.log();
    (0..50).for_each(|i| log.record(record(i, 9 * HOUR)));
    log.close();
    drop(log);
    let query = Query::of("loans", None, None);
    let expected = lab.rows(&query).await;
    let (sealed, _) = segment::list(&lab.settings().dir).unwrap().remove(0);
    let copy = fs_err::read(&sealed).unwrap();
    let log = lab.log();
    // Killed between store and table: the files are in the store already.
    let again = tempfile::tempdir().unwrap();
    let folder = again.path().join("loans");
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("x.seg"), &copy).unwrap();
    let objects = lab.store.stats().objects;
    assert_eq!(lab.roller(&log).roll().await.unwrap().segments, 1);
    let after_first = lab.store.stats().objects;
    assert!(after_first > objects);
    // Killed between table and removal: the segment is still there, and is not read beside its parts.
    fs_err::write(&sealed, &copy).unwrap();
    assert_eq!(lab.rows(&query).await, expected);
    assert_eq!(lab.roller(&log).roll().await.unwrap(), Rolled::default());
    assert!(!sealed.exists());
    assert_eq!(lab.rows(&query).await, expected);
    // The same segment under another name gives the same bytes: the store holds nothing twice.
    fs_err::write(lab.settings().dir.join("loans/0000000000001-00.seg"), &copy).unwrap();
    assert_eq!(lab.roller(&log).roll().await.unwrap().segments, 1);
    assert_eq!(lab.store.stats().objects, after_first);
}

#[tokio::test]
async fn a_column_that_changes_its_type_is_read_as_one_table() {
    let lab = Lab::new().await;
    let log = lab.log();
    let tensors = [
        Tensor::vector(Values::F32(vec![1.5])),
        Tensor::vector(Values::I64(vec![2])),
        Tensor::new(vec![1, 1], Values::I64(vec![3])).unwrap(),
        Tensor::new(vec![1, 2], Values::I64(vec![4, 5])).unwrap(),
    ];
    for (i, tensor) in tensors.into_iter().enumerate() {
        let inputs = vec![Named { name: "x".into(), tensor }];
        log.record(Record { inputs, outputs: Vec::new(), ..record(i as u64, 9 * HOUR + i as i64) });
    }
    log.flush().unwrap();
    let rows = lab.rows(&Query::of("loans", None, None)).await;
    let x = rows.column_by_name("input_x").unwrap().as_list::<i32>().clone();
    assert_eq!(x.value_type(), DataType::Float64);
    let all: Vec<Vec<f64>> = x
        .iter()
        .map(|list| list.unwrap().as_primitive::<arrow::datatypes::Float64Type>().values().to_vec())
        .collect();
    assert_eq!(all, [vec![1.5], vec![2.0], vec![3.0], vec![4.0, 5.0]]);
}

#[tokio::test]
async fn materialised_files_do_not_depend_on_how_records_were_cut() {
    let mut found = Vec::new();
    for every in [1000_u64, 7, 50] {
        let lab = Lab::new().await;
        let mut log = lab.log();
        // Not in the order of time, and with a column that only some have.
        for i in 0..300_u64 {
            let time = 8 * HOUR + i64::try_from(i * 7919 % 300).unwrap() * 30_000;
            let mut it = record(i, time);
            if i % 3 == 0 {
                it.inputs.insert(
                    0,
                    Named { name: "extra".into(), tensor: Tensor::vector(Values::I32(vec![1, 2])) },
                );
            }
            log.record(it);
            if (i + 1) % every == 0 {
                log.close();
                drop(log);
                log = lab.log();
                if i % 2 == 0 {
                    lab.roller(&log).roll().await.unwrap();
                }
            }
        }
        log.flush().unwrap();
        let out = lab.dir.path().join("out");
        let from = Some(Timestamp::from_millis(8 * HOUR + 600_000));
        let paths = lab.reader().materialise("loans", from, None, &out).await.unwrap();
        let names: Vec<String> =
            paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        assert_eq!(
            names,
            ["loans-1970-01-01T08.parquet", "loans-1970-01-01T09.parquet", "loans-1970-01-01T10.parquet"]
        );
        let bytes: Vec<Vec<u8>> = paths.iter().map(|path| fs_err::read(path).unwrap()).collect();
        let table = tidemill_data::Table::open(&paths, None).unwrap();
        assert_eq!(table.rows(), 280 * 2);
        found.push(bytes);
    }
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn old_records_leave_and_hidden_ones_never_reach_the_disk() {
    let lab = Lab::new().await;
    let rules = EndpointRules {
        keep: Some(Duration::from_secs(3600)),
        redact: [("city".to_owned(), Redact::Hash), ("age".to_owned(), Redact::Drop)].into(),
        ..EndpointRules::default()
    };
    let key = RedactKey::from_bytes([1; 32]);
    let rules: BTreeMap<String, EndpointRules> = [("loans".to_owned(), rules)].into();
    let log = lab.open(lab.settings(), Rules::new(rules.clone(), &key));
    log.record(record(1, 8 * HOUR));
    log.record(record(2, 9 * HOUR + 1));
    log.close();
    drop(log);
    let (sealed, _) = segment::list(&lab.settings().dir).unwrap().remove(0);
    let bytes = fs_err::read(&sealed).unwrap();
    assert!(!bytes.windows(4).any(|window| window == b"Oslo" || window == 1.5_f32.to_le_bytes()));
    let log = lab.open(lab.settings(), Rules::new(rules, &key));
    lab.roller(&log).roll().await.unwrap();
    let rows = lab.rows(&Query::of("loans", None, None)).await;
    assert!(rows.column_by_name("input_age").is_none());
    assert_eq!(rows.column_by_name("input_city").unwrap().as_string::<i32>().value(0), key.hash(b"Oslo"));
    assert_eq!(lab.roller(&log).sweep().await.unwrap().parts, 1);
    assert_eq!(numbers(&lab.ids(&Query::of("loans", None, None)).await), [2]);
    lab.clock.advance(Duration::from_secs(3600));
    assert_eq!(lab.roller(&log).sweep().await.unwrap().parts, 1);
}

#[tokio::test]
async fn segments_close_by_rows_and_by_age() {
    let lab = Lab::new().await;
    let roll = Roll { rows: 100, bytes: 1 << 30, age: Duration::from_secs(60) };
    let log = lab.open(LogSettings { roll, ..lab.settings() }, Rules::default());
    (0..125).for_each(|i| log.record(record(i, 9 * HOUR)));
    log.flush().unwrap();
    let sealed = || {
        let all = segment::list(&lab.settings().dir).unwrap();
        all.iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == segment::SEALED)).count()
    };
    assert_eq!(sealed(), 2);
    lab.clock.advance(Duration::from_secs(61));
    for _ in 0..200 {
        if sealed() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(sealed(), 3);
    assert!(lab.clock.now() > Timestamp::from_millis(0));
}

#[tokio::test]
async fn one_process_at_a_time_has_the_folder() {
    let lab = Lab::new().await;
    let log = lab.log();
    let second = InferenceLog::open(lab.settings(), Rules::default(), lab.clock.clone());
    assert!(matches!(second, Err(LogError::Busy(_))));
    drop(log);
    let log = lab.log();
    log.close();
    log.record(record(1, 1));
    assert_eq!(log.counts()["loans"].dropped, 1);
    assert!(matches!(log.flush(), Err(LogError::Closed)));
}

/// Reads while segments are written, closed and rolled: never a record twice, never one missing that was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_each_record_once_while_segments_roll() {
    let lab = Arc::new(Lab::new().await);
    let roll = Roll { rows: 60, ..Roll::default() };
    let log = lab.open(LogSettings { roll, ..lab.settings() }, Rules::default());
    let roller = lab.roller(&log);
    let rolling = tokio::spawn(async move {
        loop {
            roller.roll().await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let mut last = 0;
    for i in 0..40_u64 {
        for j in 0..25 {
            log.record(record(i * 25 + j, 9 * HOUR + i64::try_from(i * 25 + j).unwrap()));
        }
        let flushing = log.clone();
        tokio::task::spawn_blocking(move || flushing.flush().unwrap()).await.unwrap();
        let ids = lab.ids(&Query::of("loans", None, None)).await;
        let numbers = numbers(&ids);
        assert_eq!(ids.len(), numbers.len() * 2, "a record is there twice");
        assert!(numbers.iter().copied().eq(0..(i + 1) * 25), "{} of {}", numbers.len(), (i + 1) * 25);
        last = numbers.len();
    }
    assert_eq!(last, 1000);
    rolling.abort();
}

/// Names the folder to the child process, which is this same program.
const CHILD: &str = "TIDEMILL_TEST_RECORDS";

/// What the child does: writes until it is killed, and says after each flush how far it is.
#[test]
fn writes_until_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let settings = LogSettings { flush: Duration::from_secs(60), ..LogSettings::new(dir) };
    let clock = Arc::new(FixedClock::new(Timestamp::from_millis(10 * HOUR)));
    let log = InferenceLog::open(settings, Rules::default(), clock).unwrap();
    let held = segment::list(&log.settings().dir).unwrap();
    let mut next: u64 = held.iter().map(|(path, _)| segment::tests::read(path).len() as u64).sum();
    loop {
        for _ in 0..200 {
            log.record(record(next, 9 * HOUR));
            next += 1;
        }
        log.flush().unwrap();
        println!("flushed {next}");
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_flushed() {
    use std::io::{BufRead as _, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let (mut said, mut kept) = (0_u64, 0_u64);
    for round in 0..6_u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "record::tests::writes_until_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut flushed =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("flushed ")?.parse().ok());
        let wanted = 3 + round as usize * 2;
        said = flushed.by_ref().take(wanted).last().unwrap_or(said);
        // Somewhere in the middle of what follows.
        std::thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        segment::recover(dir.path()).unwrap();
        let mut ids: Vec<String> = Vec::new();
        for (path, _) in segment::list(dir.path()).unwrap() {
            ids.extend(segment::tests::read(&path).iter().map(|record| record.id.to_string()));
        }
        // Segments of one millisecond are in no order.
        ids.sort();
        assert_eq!(ids.len(), numbers(&ids).len(), "a record is there twice");
        let numbers = numbers(&ids);
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "a record is missing");
        kept = numbers.len() as u64;
        assert!(kept >= said, "{kept} of {said} in round {round}");
    }
    assert!(said > 2_000 && kept >= said);
}

/// As an older version wrote them: rows that only a shape counts. The segment becomes Parquet all the same, the other records whole.
#[tokio::test]
async fn rows_that_hold_nothing_do_not_stop_the_log() {
    let lab = Lab::new().await;
    let log = lab.log();
    let mut empty = record(7, 9 * HOUR);
    empty.inputs =
        vec![Named { name: "age".into(), tensor: Tensor::new(vec![9, 0], Values::F32(vec![])).unwrap() }];
    log.record(empty);
    log.record(record(8, 9 * HOUR + 1));
    log.close();
    drop(log);
    let (sealed, _) = segment::list(&lab.settings().dir).unwrap().remove(0);
    // The shape `[9, 0]` becomes one of 2^40 rows.
    segment::tests::patch(&sealed, &[9, 0], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0]);
    let log = lab.log();
    let rolled = lab.roller(&log).roll().await.unwrap();
    assert_eq!(rolled.segments, 1);
    assert!(segment::list(&lab.settings().dir).unwrap().is_empty(), "it is not tried again");
    let rows = lab.rows(&Query::of("loans", None, None)).await;
    let ids = rows.column_by_name("request_id").unwrap().as_string::<i32>();
    let ids: Vec<&str> = ids.iter().map(Option::unwrap).collect();
    assert_eq!(ids, ["request-000007", "request-000008", "request-000008"]);
    let warnings = rows.column_by_name("warnings").unwrap().as_list::<i32>().value(0);
    assert!(warnings.as_string::<i32>().value(0).contains("too many rows"));
}

#[tokio::test]
async fn a_record_of_too_many_rows_is_kept_without_them() {
    let lab = Lab::new().await;
    let log = lab.log();
    let mut long = record(7, 9 * HOUR);
    let values = Values::U8(vec![1; codec::MOST_ROWS + 1]);
    long.inputs = vec![Named { name: "age".into(), tensor: Tensor::vector(values) }];
    log.record(long);
    log.flush().unwrap();
    let rows = lab.rows(&Query::of("loans", None, None)).await;
    assert_eq!((rows.num_rows(), log.counts()["loans"].recorded), (1, 1));
    assert!(rows.column_by_name("input_age").is_none());
}
