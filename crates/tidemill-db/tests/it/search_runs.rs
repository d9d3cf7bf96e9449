//! Searches over runs against a plain evaluation in memory: random runs, random questions, every page.

use std::cmp::Ordering;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tidemill_core::RunId;
use tidemill_db::search::{Condition, Cursor, Effort, Field, Op, Operand, OrderBy, RunSearch};
use tidemill_db::tracking::{
    Batch, Experiment, InputDataset, KeyValue, Metric, NewTrackedRun, Removal, Run, RunStatus, Stage,
};
use tidemill_db::{Db, Error};

use crate::fixture::{Fixture, at, metric, on_both, open, pushed};

on_both!(
    random_searches_find_what_a_plain_evaluation_finds,
    a_long_page_comes_in_parts,
    pages_go_on_where_they_ended_while_runs_come_and_go,
    runs_without_a_metric_are_remembered_as_they_come_and_go,
    no_run_without_a_metric_is_missed_while_several_servers_make_them,
    places_of_another_search_are_refused,
);

/// A run that is to be made.
#[derive(Clone, Debug)]
struct Made {
    experiment: i64,
    started: Option<i64>,
    ended: Option<i64>,
    status: RunStatus,
    user: String,
    deleted: bool,
    metrics: Vec<(String, f64)>,
    params: Vec<(String, String)>,
    tags: Vec<(String, String)>,
    datasets: Vec<(String, String, Option<String>)>,
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "mlflow.runName"]).prop_map(str::to_owned)
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => prop::sample::select(vec![-1.0, 0.0, 0.5, 1.0, 2.0]),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-300, -0.0]),
    ]
}

/// Few different ones, with what patterns and indexes may trip over.
fn text() -> impl Strategy<Value = String> {
    let long = "long ".repeat(14);
    prop::sample::select(vec![
        String::new(),
        "x".to_owned(),
        "X".to_owned(),
        "xy".to_owned(),
        "x*y".to_owned(),
        "[x]".to_owned(),
        "50%".to_owned(),
        "50_".to_owned(),
        "a\\b".to_owned(),
        "Ä".to_owned(),
        "ä".to_owned(),
        "line\nbreak".to_owned(),
        format!("{long}1"),
        format!("{long}2"),
    ])
}

fn time() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![6 => (0_i64..6).prop_map(Some), 1 => Just(None)]
}

fn made() -> impl Strategy<Value = Made> {
    let pairs = || prop::collection::btree_map(key(), text(), 0..3).prop_map(|map| map.into_iter().collect());
    let metrics = prop::collection::btree_map(key(), number(), 0..3)
        .prop_map(|map| map.into_iter().collect::<Vec<_>>());
    let datasets = prop::collection::vec(
        (
            prop::sample::select(vec!["d", "e"]).prop_map(str::to_owned),
            prop::sample::select(vec!["1", "2"]).prop_map(str::to_owned),
            prop::option::of(prop::sample::select(vec!["train", "test"]).prop_map(str::to_owned)),
        ),
        0..2,
    );
    (
        1_i64..4,
        time(),
        time(),
        prop::sample::select(RunStatus::ALL.to_vec()),
        text(),
        prop::bool::weighted(0.2),
        metrics,
        pairs(),
        pairs(),
        datasets,
    )
        .prop_map(
            |(experiment, started, ended, status, user, deleted, metrics, params, tags, datasets)| Made {
                experiment,
                started,
                ended,
                status,
                user,
                deleted,
                metrics,
                params,
                tags,
                datasets,
            },
        )
}

fn operand() -> impl Strategy<Value = (Op, Operand)> {
    let pattern = prop::sample::select(vec![
        "%",
        "x%",
        "%y",
        "_",
        "x_y",
        "[x]",
        "50%",
        "50\\%",
        "a\\b",
        "Ä",
        "x*y",
        "",
        "long %1",
        "X%",
        "%\n%",
        "long_long%",
    ]);
    prop_oneof![
        (prop::sample::select(vec![Op::Eq, Op::Ne]), text().prop_map(Operand::Text)),
        (
            prop::sample::select(vec![Op::Like, Op::ILike]),
            pattern.prop_map(|text| Operand::Text(text.to_owned()))
        ),
        (
            prop::sample::select(vec![Op::In, Op::NotIn]),
            prop::collection::vec(text(), 0..3).prop_map(Operand::List)
        ),
        prop::sample::select(vec![Op::IsNull, Op::IsNotNull]).prop_map(|op| (op, Operand::Nothing)),
    ]
}

fn comparison() -> impl Strategy<Value = Op> {
    prop::sample::select(vec![Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge])
}

fn condition() -> impl Strategy<Value = Condition> {
    let finite = number().prop_filter("filters have numbers", |number| !number.is_nan());
    let named = |names: &'static [&'static str]| {
        prop::sample::select(names).prop_map(|name: &str| Field::Attribute(name.to_owned()))
    };
    let of = |(field, (op, value)): (Field, (Op, Operand))| Condition { field, op, value };
    prop_oneof![
        3 => (key(), comparison(), finite).prop_map(|(key, op, number)| Condition {
            field: Field::Metric(key),
            op,
            value: Operand::Number(number)
        }),
        2 => (key().prop_map(Field::Param), operand()).prop_map(of),
        2 => (key().prop_map(Field::Tag), operand()).prop_map(of),
        1 => (named(&["run_name", "status", "user_id", "artifact_uri"]), operand())
            .prop_filter("never missing", |(_, (op, _))| !matches!(op, Op::IsNull | Op::IsNotNull))
            .prop_map(of),
        1 => (named(&["start_time", "end_time"]), comparison(), prop::sample::select(vec![0.0, 2.0, 2.5, 9.0]))
            .prop_map(|(field, op, number)| Condition { field, op, value: Operand::Number(number) }),
        1 => (prop::sample::select(vec!["name", "digest", "context"]), prop::sample::select(vec!["d", "1", "train"]),
                prop::sample::select(vec![Op::Eq, Op::Ne, Op::Like, Op::In]))
            .prop_map(|(name, value, op)| Condition {
                field: Field::Dataset(name.to_owned()),
                op,
                value: if op == Op::In { Operand::List(vec![value.to_owned()]) } else { Operand::Text(value.to_owned()) },
            }),
    ]
}

fn order() -> impl Strategy<Value = OrderBy> {
    let field = prop_oneof![
        3 => key().prop_map(Field::Metric),
        2 => key().prop_map(Field::Param),
        2 => key().prop_map(Field::Tag),
        3 => prop::sample::select(vec!["start_time", "end_time", "status", "run_name", "run_id", "user_id"])
            .prop_map(|name| Field::Attribute(name.to_owned())),
    ];
    (field, any::<bool>()).prop_map(|(field, descending)| OrderBy { field, descending })
}

fn search() -> impl Strategy<Value = RunSearch> {
    (
        prop::sample::subsequence(vec![1_i64, 2, 3, 9], 1..=4),
        prop::sample::subsequence(vec![Stage::Active, Stage::Deleted], 1..=2),
        prop::collection::vec(condition(), 0..4),
        prop::collection::vec(order(), 0..3),
        1_usize..9,
    )
        .prop_map(|(experiments, stages, conditions, order, limit)| RunSearch {
            experiments,
            stages,
            conditions,
            order,
            limit,
            after: None,
        })
}

/// Limits that make small tables go through every way.
fn effort() -> impl Strategy<Value = Effort> {
    (
        prop::sample::select(vec![0_usize, 3, 4_000]),
        prop::sample::select(vec![1_usize, 4, 16_384]),
        prop::sample::select(vec![8_usize, 20_000]),
        prop::sample::select(vec![0_usize, 4, 1_000]),
        prop::sample::select(vec![1_usize, 16]),
    )
        .prop_map(|(few, stretch, patience, common, groups)| Effort {
            few,
            stretch,
            least: stretch.min(256),
            patience,
            many: 131_072,
            common,
            groups,
        })
}

async fn random_searches_find_what_a_plain_evaluation_finds(fixture: Fixture) {
    let db = &fixture.db;
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let runs = prop::collection::vec(made(), 70).new_tree(&mut runner).unwrap().current();
    let runs = fill(db, &runs).await;
    // A page is many round trips to a server.
    let searches = if fixture.is_postgres() { 80 } else { 300 };
    for _ in 0..searches {
        let (search, effort) = (search(), effort()).new_tree(&mut runner).unwrap().current();
        let found = all_pages(db, &search, effort).await;
        let expected = expected(&runs, &search, !fixture.is_postgres());
        let ids = |runs: &[Run]| runs.iter().map(|run| run.info.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(&found), ids(&expected), "{search:#?} {effort:?}");
        assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{search:#?}");
        // The same runs are counted, or, where too many would have to be looked at, none.
        assert_eq!(db.count_runs(&search, 1_000).await.unwrap(), Some(expected.len()), "{search:#?}");
        assert_eq!(db.count_runs(&search, 3).await.unwrap(), Some(expected.len().min(3)), "{search:#?}");
        let few = db.count_runs_with(&search, 1_000, 1).await.unwrap();
        assert!(few.is_none_or(|few| few == expected.len()), "{search:#?}");
    }
}

/// Writes the runs and reads them back whole.
async fn fill(db: &Db, runs: &[Made]) -> Vec<Run> {
    for id in 1..4 {
        make_experiment(db, id).await;
    }
    let mut ids = Vec::new();
    for (i, made) in runs.iter().enumerate() {
        ids.push(make(db, i, made).await);
    }
    let all = db.tracked_runs(&ids).await.unwrap();
    assert_eq!(all.len(), runs.len());
    all
}

async fn make_experiment(db: &Db, id: i64) {
    let mut tx = db.begin().await.unwrap();
    tx.create_experiment(&Experiment {
        id,
        name: format!("experiment {id}"),
        artifact_location: format!("mlflow-artifacts:/{id}"),
        stage: Stage::Active,
        created_at: at(id),
        updated_at: at(id),
        tags: Vec::new(),
    })
    .await
    .unwrap();
    tx.commit(vec![pushed("x", 1)]).await.unwrap();
}

async fn make(db: &Db, number: usize, made: &Made) -> RunId {
    let mut entropy = [0_u8; 16];
    entropy[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let id = RunId::from_entropy(entropy);
    let pairs = |pairs: &[(String, String)]| {
        pairs
            .iter()
            .map(|(key, value)| KeyValue { key: key.clone(), value: value.clone() })
            .collect::<Vec<_>>()
    };
    let new = NewTrackedRun {
        id,
        experiment: made.experiment,
        name: format!("run {}", number % 7),
        user: made.user.clone(),
        status: made.status,
        started_at: made.started.map(at),
        ended_at: made.ended.map(at),
        artifact_uri: None,
    };
    let batch = Batch {
        params: pairs(&made.params),
        tags: pairs(&made.tags),
        metrics: made
            .metrics
            .iter()
            .map(|(key, value)| Metric {
                key: key.clone(),
                value: *value,
                at: at(1),
                step: 0,
                dataset_name: None,
                dataset_digest: None,
                model_id: None,
                run_id: None,
            })
            .collect(),
        datasets: made
            .datasets
            .iter()
            .map(|(name, digest, context)| InputDataset {
                name: name.clone(),
                digest: digest.clone(),
                source_type: "local".to_owned(),
                source: "s".to_owned(),
                schema: None,
                profile: None,
                tags: context
                    .iter()
                    .map(|value| KeyValue { key: "mlflow.data.context".to_owned(), value: value.clone() })
                    .collect(),
            })
            .collect(),
        ..Batch::default()
    };
    db.ingest().create_run(new, batch, pushed("x", 2)).await.unwrap();
    if made.deleted {
        let mut tx = db.begin().await.unwrap();
        tx.move_tracked_run(id, Stage::Deleted, at(3)).await.unwrap();
        tx.commit(vec![pushed("x", 3)]).await.unwrap();
    }
    id
}

async fn all_pages(db: &Db, search: &RunSearch, effort: Effort) -> Vec<Run> {
    let mut search = search.clone();
    let mut all = Vec::new();
    loop {
        let page = db.search_runs_with(&search, effort).await.unwrap();
        assert!(page.items.len() <= search.limit);
        assert!(page.next.is_none() || page.items.len() == search.limit, "{search:#?}");
        all.extend(page.items);
        match page.next {
            // As a client would bring it back.
            Some(next) => {
                let text = serde_json::to_string(&next).unwrap();
                search.after = Some(serde_json::from_str::<Cursor>(&text).unwrap());
            }
            None => return all,
        }
        assert!(all.len() <= 200, "{search:#?}");
    }
}

/// `letters` says whether `ILIKE` knows more than the letters of ASCII: the test servers have the locale C.
fn expected(runs: &[Run], search: &RunSearch, letters: bool) -> Vec<Run> {
    let mut found: Vec<Run> = runs
        .iter()
        .filter(|run| {
            search.experiments.contains(&run.info.experiment) && search.stages.contains(&run.info.stage)
        })
        .filter(|run| search.conditions.iter().all(|condition| holds(run, condition, letters)))
        .cloned()
        .collect();
    found.sort_by(|a, b| {
        let mut keys = search.order.clone();
        keys.push(OrderBy { field: Field::Attribute("start_time".to_owned()), descending: true });
        keys.push(OrderBy { field: Field::Attribute("run_id".to_owned()), descending: false });
        let by = |key: &OrderBy| compare(&value(a, &key.field), &value(b, &key.field), key.descending);
        keys.iter().map(by).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    found
}

#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Value {
    Text(String),
    Number(f64),
}

fn pair(pairs: &[KeyValue], key: &str) -> Option<Value> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| Value::Text(pair.value.clone()))
}

fn value(run: &Run, field: &Field) -> Option<Value> {
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    match field {
        Field::Metric(key) => {
            run.metrics.iter().find(|metric| metric.key == *key).map(|metric| Value::Number(metric.value))
        }
        Field::Param(key) => pair(&run.params, key),
        Field::Tag(key) => pair(&run.tags, key),
        Field::Attribute(name) => match name.as_str() {
            "run_id" => text(&run.info.id.to_string()),
            "run_name" => text(&run.info.name),
            "status" => text(run.info.status.word()),
            "user_id" => text(&run.info.user),
            "artifact_uri" => text(&run.info.artifact_uri),
            "start_time" => run.info.started_at.map(|at| Value::Number(at.millis() as f64)),
            "end_time" => run.info.ended_at.map(|at| Value::Number(at.millis() as f64)),
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Numbers, then NaN, then what is missing, in both directions.
fn compare(a: &Option<Value>, b: &Option<Value>, descending: bool) -> Ordering {
    let rank = |value: &Option<Value>| match value {
        None => 2,
        Some(Value::Number(number)) if number.is_nan() => 1,
        Some(_) => 0,
    };
    let order = match (a, b) {
        (Some(a), Some(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        _ => Ordering::Equal,
    };
    rank(a).cmp(&rank(b)).then(if descending { order.reverse() } else { order })
}

fn holds(run: &Run, condition: &Condition, letters: bool) -> bool {
    match &condition.field {
        Field::Dataset(name) => run.datasets.iter().any(|dataset| {
            let values: Vec<String> = match name.as_str() {
                "name" => vec![dataset.name.clone()],
                "digest" => vec![dataset.digest.clone()],
                _ => dataset.tags.iter().map(|tag| tag.value.clone()).collect(),
            };
            values.into_iter().any(|value| meets(Some(Value::Text(value)), condition, letters))
        }),
        Field::Attribute(name) if name == "run_name" => {
            meets(pair(&run.tags, "mlflow.runName"), condition, letters)
        }
        field => meets(value(run, field), condition, letters),
    }
}

fn meets(value: Option<Value>, condition: &Condition, letters: bool) -> bool {
    let Some(value) = value else { return condition.op == Op::IsNull };
    match (value, &condition.value) {
        (_, Operand::Nothing) => condition.op == Op::IsNotNull,
        (Value::Number(value), Operand::Number(bound)) => match condition.op {
            Op::Eq => value == *bound,
            Op::Ne => value != *bound,
            Op::Lt => value < *bound,
            Op::Le => value <= *bound,
            Op::Gt => value > *bound,
            Op::Ge => value >= *bound,
            other => panic!("{other:?}"),
        },
        (Value::Text(value), Operand::Text(bound)) => match condition.op {
            Op::Eq => value == *bound,
            Op::Ne => value != *bound,
            Op::Like => fits(&value.chars().collect::<Vec<_>>(), &bound.chars().collect::<Vec<_>>()),
            Op::ILike => {
                let all = letters && !bound.is_ascii();
                let lower = |text: &str| {
                    let text = if all { text.to_lowercase() } else { text.to_ascii_lowercase() };
                    text.chars().collect::<Vec<_>>()
                };
                fits(&lower(&value), &lower(bound))
            }
            other => panic!("{other:?}"),
        },
        (Value::Text(value), Operand::List(list)) => match condition.op {
            Op::In => list.contains(&value),
            Op::NotIn => !list.contains(&value),
            other => panic!("{other:?}"),
        },
        (value, other) => panic!("{value:?} {other:?}"),
    }
}

fn fits(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|skipped| fits(&text[skipped..], rest)),
        Some(('_', rest)) => !text.is_empty() && fits(&text[1..], rest),
        Some((c, rest)) => text.first() == Some(c) && fits(&text[1..], rest),
    }
}

/// The same runs, whether they come at once or in parts.
async fn a_long_page_comes_in_parts(fixture: Fixture) {
    let db = &fixture.db;
    make_experiment(db, 1).await;
    let many = 601;
    let values: Vec<String> =
        (0..many).map(|i| format!("('{i:032x}', 1, 'n', 'u', 'FINISHED', 'active', 'x', {i})")).collect();
    let columns = "uuid, experiment_id, name, user_name, status, stage, artifact_uri, started_at";
    fixture.sql(&format!("INSERT INTO run ({columns}) VALUES {}", values.join(","))).await;
    let mut search = RunSearch {
        experiments: vec![1],
        stages: vec![Stage::Active],
        conditions: Vec::new(),
        order: Vec::new(),
        limit: many - 1,
        after: None,
    };
    let whole = db.search_runs(&search).await.unwrap();
    let mut found = db.find_runs(&search).await.unwrap();
    assert_eq!(found.next, whole.next);
    let (mut runs, mut parts) = (Vec::new(), Vec::new());
    loop {
        let part = found.part().await.unwrap();
        if part.is_empty() {
            break;
        }
        parts.push(part.len());
        runs.extend(part);
    }
    assert_eq!((runs, parts), (whole.items, vec![250, 250, 100]));
    search.limit = 0;
    assert!(db.find_runs(&search).await.unwrap().part().await.unwrap().is_empty());
}

/// A run with a metric `m`, or without.
fn measured(metric: Option<f64>) -> Made {
    Made {
        experiment: 1,
        started: Some(5),
        ended: None,
        status: RunStatus::Finished,
        user: String::new(),
        deleted: false,
        metrics: metric.map(|value| ("m".to_owned(), value)).into_iter().collect(),
        params: Vec::new(),
        tags: Vec::new(),
        datasets: Vec::new(),
    }
}

/// Runs of an experiment in the order of the metric.
fn in_order(limit: usize) -> RunSearch {
    RunSearch {
        experiments: vec![1],
        stages: vec![Stage::Active],
        conditions: Vec::new(),
        order: vec![OrderBy { field: Field::Metric("m".to_owned()), descending: false }],
        limit,
        after: None,
    }
}

async fn runs_without_a_metric_are_remembered_as_they_come_and_go(fixture: Fixture) {
    let db = &fixture.db;
    make_experiment(db, 1).await;
    let search = in_order(3);
    // Nothing is few enough to be looked at as a whole.
    let effort = Effort { few: 0, ..Effort::default() };
    let found = async || -> Vec<RunId> {
        all_pages(db, &search, effort).await.iter().map(|run| run.info.id).collect()
    };
    let mut expected = Vec::new();
    for i in 0..7 {
        expected.push(make(db, i, &measured(Some(i as f64))).await);
    }
    assert_eq!(found().await, expected);
    let without = make(db, 7, &measured(None)).await;
    assert_eq!(found().await, [expected.clone(), vec![without]].concat());
    // It gets the metric after it was remembered as one without.
    let points = Batch { metrics: vec![metric("m", 0, 1, 7.0)], ..Batch::default() };
    db.ingest().log(without, points).await.unwrap();
    expected.push(without);
    assert_eq!(found().await, expected);
    // The last row goes, and what comes after it has its number, in SQLite.
    let mut tx = db.begin().await.unwrap();
    tx.move_tracked_run(without, Stage::Deleted, at(9)).await.unwrap();
    let wanted =
        Removal { before: at(10), runs: vec![without], experiments: Vec::new(), logged_models: Vec::new() };
    let removed = tx.removable(&wanted).await.unwrap();
    tx.remove(&removed).await.unwrap();
    tx.commit(vec![pushed("x", 9)]).await.unwrap();
    expected.pop();
    let next = make(db, 8, &measured(None)).await;
    assert_eq!(found().await, [expected, vec![next]].concat());
}

/// What is remembered holds for all runs with smaller numbers, whoever of several servers made them and in whatever order they are committed.
async fn no_run_without_a_metric_is_missed_while_several_servers_make_them(fixture: Fixture) {
    const SERVERS: usize = 3;
    const EACH: usize = 40;
    make_experiment(&fixture.db, 1).await;
    let effort = Effort { few: 0, ..Effort::default() };
    let made = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for server in 0..SERVERS {
        let (db, made) = (open(&fixture.url).await, std::sync::Arc::clone(&made));
        tasks.spawn(async move {
            for i in 0..EACH {
                let metric = (i % 4 == 0).then_some(i as f64);
                let run = make(&db, server * EACH + i, &measured(metric)).await;
                made.lock().unwrap().push(run);
            }
        });
    }
    let mut searches = 0;
    while searches < 10 || !tasks.is_empty() {
        let before = made.lock().unwrap().clone();
        let found = all_pages(&fixture.db, &in_order(500), effort).await;
        let found: std::collections::HashSet<RunId> = found.iter().map(|run| run.info.id).collect();
        assert!(before.iter().all(|run| found.contains(run)), "search {searches}");
        searches += 1;
        while let Some(done) = tasks.try_join_next() {
            done.unwrap();
        }
    }
    assert_eq!(made.lock().unwrap().len(), SERVERS * EACH);
}

async fn pages_go_on_where_they_ended_while_runs_come_and_go(fixture: Fixture) {
    let db = &fixture.db;
    make_experiment(db, 1).await;
    let run = |metric: f64| measured(Some(metric));
    let mut ids = Vec::new();
    for i in 0..6 {
        ids.push(make(db, i, &run(i as f64)).await);
    }
    let mut search = in_order(2);
    let first = db.search_runs(&search).await.unwrap();
    assert_eq!(first.items.iter().map(|run| run.info.id).collect::<Vec<_>>(), ids[..2]);
    // One comes before the place, the one that the place was taken from is deleted, another comes behind.
    make(db, 10, &run(0.5)).await;
    let mut tx = db.begin().await.unwrap();
    tx.move_tracked_run(ids[1], Stage::Deleted, at(9)).await.unwrap();
    tx.commit(vec![pushed("x", 9)]).await.unwrap();
    let late = make(db, 11, &run(1.5)).await;
    search.after = first.next;
    let second = db.search_runs(&search).await.unwrap();
    assert_eq!(second.items.iter().map(|run| run.info.id).collect::<Vec<_>>(), [late, ids[2]]);
}

async fn places_of_another_search_are_refused(fixture: Fixture) {
    let db = &fixture.db;
    let mut search = RunSearch {
        experiments: vec![1],
        stages: vec![Stage::Active],
        conditions: Vec::new(),
        order: Vec::new(),
        limit: 2,
        after: None,
    };
    for place in [
        "[]",
        r#"[{"i":1}]"#,
        r#"[{"t":"x"},{"t":"y"}]"#,
        r#"["n",{"t":"y"}]"#,
        r#"[{"i":1},"m"]"#,
        r#"[{"i":1},{"t":"y"},{"t":"y"}]"#,
    ] {
        search.after = Some(serde_json::from_str(place).unwrap());
        assert!(matches!(db.search_runs(&search).await, Err(Error::Cursor)), "{place}");
    }
    search.after = Some(serde_json::from_str(r#"[{"i":1},{"t":"y"}]"#).unwrap());
    assert_eq!(db.search_runs(&search).await.unwrap().items, []);
}
