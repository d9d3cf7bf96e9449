//! What the databases do for the statements of a search: each is driven by an index, and none reads a whole table.

use std::sync::Arc;

use sqlx::Connection as _;
use tidemill_core::SystemClock;
use tidemill_testkit::Postgres;

use crate::Db;
use crate::backend::Either;
use crate::search::page::Place;
use crate::search::runs::key::{Key, Of, keys};
use crate::search::runs::need::{Need, needs};
use crate::search::runs::query::{Driver, Scope, Stretch, push_ahead, push_length, push_search};
use crate::search::{Condition, Field, Op, Operand, OrderBy, Sql};

/// A statement with its name and the index that has to drive it.
struct Case {
    name: String,
    sql: Sql,
    index: &'static str,
}

fn scope() -> Scope {
    Scope { experiments: vec![1], stages: vec!["active".to_owned()] }
}

/// All keys of an order by one field, ascending.
fn order(field: Field) -> Vec<Key> {
    keys(&[OrderBy { field, descending: false }])
}

fn place(key: &Key) -> Place {
    match key.of {
        Of::Metric(_) => Place::Float(0.99_f64.to_bits()),
        Of::Pair(..) | Of::Property(_, false) => Place::Text("x".to_owned()),
        Of::Property(_, true) => Place::Int(4_950),
    }
}

/// The needs of `field = value`.
fn need(field: Field, value: &str) -> Vec<Need> {
    needs(&[Condition { field, op: Op::Eq, value: Operand::Text(value.to_owned()) }])
}

fn cases(new: impl Fn() -> Sql) -> Vec<Case> {
    let attribute = |name: &str| Field::Attribute(name.to_owned());
    let (metric, param, tag) =
        (Field::Metric("m".to_owned()), Field::Param("p".to_owned()), Field::Tag("t".to_owned()));
    let mut cases = Vec::new();
    for (field, index) in [
        (attribute("start_time"), "run_started|run_time"),
        (attribute("end_time"), "run_ended"),
        (metric.clone(), "series_value"),
        (param.clone(), "run_param_value"),
        (tag.clone(), "run_tag_value"),
    ] {
        let keys = order(field);
        let stretch = Stretch { from: Some((place(&keys[0]), true)), to: None };
        let mut sql = new();
        push_search(&mut sql, &scope(), &Driver::Stretch(&stretch), &[], &keys, None, 100);
        cases.push(Case { name: format!("a stretch of {:?}", keys[0].of), sql, index });
        let group = matches!(keys[0].of, Of::Property(..)).then_some((1, "active"));
        let mut sql = new();
        push_ahead(&mut sql, &keys[0], &stretch, &[], group, 256);
        cases.push(Case { name: format!("how far a stretch of {:?} goes", keys[0].of), sql, index });
        if keys[0].is_value() {
            let mut sql = new();
            push_length(&mut sql, &keys[0], 256);
            cases.push(Case { name: format!("how many values {:?} has", keys[0].of), sql, index });
        }
    }
    let missing = order(attribute("end_time"))[0].need(&Place::Missing);
    let above = Condition { field: metric, op: Op::Gt, value: Operand::Number(0.99) };
    for (needs, index) in [
        (needs(&[above]), "series_value"),
        (need(param, "x"), "run_param_value"),
        (need(tag, "x"), "run_tag_value"),
        (need(attribute("run_id"), "0123"), "uuid"),
        (vec![missing], "run_ended"),
    ] {
        let mut sql = new();
        push_search(
            &mut sql,
            &scope(),
            &Driver::Need(&needs[0]),
            &needs,
            &order(attribute("run_id")),
            None,
            100,
        );
        cases.push(Case { name: format!("what meets {:?}", needs[0]), sql, index });
        let mut sql = new();
        scope().push_count(&mut sql, 100);
        needs[0].push_count(&mut sql, 1, &scope(), 100);
        cases.push(Case { name: format!("how many meet {:?}", needs[0]), sql, index });
    }
    cases
}

/// Enough for the planner of PostgreSQL to tell the indexes apart.
const ROWS: &str = "
    INSERT INTO experiment (id, name, artifact_location, stage, created_at, updated_at)
        VALUES (1, 'many', 'mlflow-artifacts:/1', 'active', 1, 1);
    INSERT INTO run (id, uuid, experiment_id, name, user_name, status, stage, artifact_uri, started_at, ended_at)
        SELECT n, md5(n::text), 1, 'run', 'ada', 'FINISHED', 'active', 'mlflow-artifacts:/1/' || n, n, n
        FROM generate_series(1, 5000) AS g(n);
    INSERT INTO run_param (run_id, key, value) SELECT n, 'p', n::text FROM generate_series(1, 5000) AS g(n);
    INSERT INTO run_tag (run_id, key, value) SELECT n, 't', n::text FROM generate_series(1, 5000) AS g(n);
    INSERT INTO series (run_id, name, last_step, last_at, last_value, last_is_nan, ordered)
        SELECT n, 'm', 1, n, n / 5000.0, 0, 1 FROM generate_series(1, 5000) AS g(n);
    ANALYZE;";

async fn check(db: &Db, words: &'static str, whole_table: &[&str]) {
    let mut tx = db.snapshot().await.unwrap();
    let is_sqlite = matches!(tx.conn(), Either::Sqlite(_));
    if let Either::Postgres(c) = tx.conn() {
        // The tables are small, so that reading them whole may be the cheapest. What is asked is what happens where it is
        // not.
        sqlx::raw_sql("SET LOCAL enable_seqscan = off").execute(c).await.unwrap();
    }
    let all = {
        let conn = tx.conn();
        cases(|| {
            let mut sql = Sql::new(&conn);
            sql.push(words);
            sql
        })
    };
    for Case { name, sql, index } in all {
        let lines: Vec<String> = if is_sqlite {
            let rows: Vec<(i64, i64, i64, String)> = sql.fetch(tx.conn()).await.unwrap();
            rows.into_iter().map(|(_, _, _, line)| line).collect()
        } else {
            sql.fetch::<(String,)>(tx.conn()).await.unwrap().into_iter().map(|(line,)| line).collect()
        };
        let plan = lines.join("\n");
        let used = index.split('|').any(|index| plan.contains(index));
        assert!(used, "{name} does not use `{index}`:\n{plan}\n{}", sql.shown());
        for scan in whole_table {
            assert!(!plan.contains(scan), "{name} reads a whole table:\n{plan}\n{}", sql.shown());
        }
        // Read in the order of the index, a stretch ends with the last run that is wanted. PostgreSQL may find a few rows faster sorted.
        let ordered = ["a stretch of Metric", "a stretch of Pair"].iter().any(|of| name.starts_with(of));
        let sorts_all = is_sqlite && plan.contains("B-TREE FOR ORDER BY");
        assert!(!ordered || !sorts_all, "{name} sorts all of it:\n{plan}\n{}", sql.shown());
    }
}

#[tokio::test]
async fn searches_use_their_indexes_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("t.db");
    let db = Db::open(file.to_str().unwrap(), Arc::new(SystemClock)).await.unwrap();
    check(&db, "EXPLAIN QUERY PLAN ", &["SCAN t", "SCAN d", "SCAN c", "SCAN k"]).await;
    db.close().await.unwrap();
}

#[tokio::test]
async fn searches_use_their_indexes_on_postgres() {
    let database = Postgres::shared().database();
    let db = Db::open(database.url(), Arc::new(SystemClock)).await.unwrap();
    let mut c = sqlx::PgConnection::connect(database.url()).await.unwrap();
    sqlx::raw_sql(ROWS).execute(&mut c).await.unwrap();
    check(&db, "EXPLAIN ", &["Seq Scan"]).await;
    db.close().await.unwrap();
}
