//! The two folders of migrations give the same schema.

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection};

use crate::fixture::{Fixture, sqlite};

/// `table.column type null-or-not`, index columns, and triggers, in words common to both databases.
type Schema = BTreeSet<String>;

#[tokio::test]
async fn both_databases_have_the_same_schema() {
    let (lite, pg) = (Fixture::sqlite().await, Fixture::postgres().await);
    let (lite, pg) = (sqlite_schema(&lite.url).await, postgres_schema(&pg.url).await);
    assert_eq!(lite.difference(&pg).collect::<Vec<_>>(), Vec::<&String>::new(), "only in SQLite");
    assert_eq!(pg.difference(&lite).collect::<Vec<_>>(), Vec::<&String>::new(), "only in PostgreSQL");
    assert!(lite.len() > 80, "{}", lite.len());
}

#[test]
fn both_folders_have_the_same_files() {
    let names = |folder: &str| -> Vec<_> {
        let path = format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
        let mut names: Vec<_> = fs_err::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert_eq!(
        names("sqlite"),
        [
            "0001_start.sql",
            "0002_tracking.sql",
            "0003_search.sql",
            "0004_models.sql",
            "0005_artifacts.sql",
            "0006_traces.sql",
            "0007_endpoints.sql",
            "0008_records.sql",
            "0009_end_time.sql",
            "0010_profiles.sql",
            "0011_delivery.sql",
            "0012_triggers.sql",
            "0013_monitoring.sql",
            "0014_quarantine_words.sql",
            "0015_contests.sql",
            "0016_restated.sql",
            "0017_outcomes_once.sql",
            "0018_causes.sql",
            "0019_access.sql",
            "0020_outcome_tables.sql",
            "0023_event_times.sql",
        ]
    );
}

async fn sqlite_schema(path: &str) -> Schema {
    let mut c = sqlite(path).await;
    let columns: Vec<(String, String, String, i64, i64)> = sqlx::query_as(
        "SELECT t.name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_schema t, pragma_table_info(t.name) c
         WHERE t.type = 'table'",
    )
    .fetch_all(&mut c)
    .await
    .unwrap();
    let indexes: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT t.name, i.\"unique\", (SELECT group_concat(c.name, ',') FROM pragma_index_info(i.name) c)
         FROM sqlite_schema t, pragma_index_list(t.name) i WHERE t.type = 'table' AND i.origin <> 'pk'",
    )
    .fetch_all(&mut c)
    .await
    .unwrap();
    let keys: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT t.name, k.\"from\", k.\"table\", k.on_delete FROM sqlite_schema t, pragma_foreign_key_list(t.name) k",
    )
    .fetch_all(&mut c)
    .await
    .unwrap();
    let triggers: Vec<(String, String)> =
        sqlx::query_as("SELECT tbl_name, name FROM sqlite_schema WHERE type = 'trigger'")
            .fetch_all(&mut c)
            .await
            .unwrap();
    let columns = columns.into_iter().map(|(table, column, kind, not_null, pk)| {
        let kind = match kind.as_str() {
            "INTEGER" => "BIGINT",
            "REAL" => "DOUBLE PRECISION",
            other => other,
        };
        describe_column(&table, &column, kind, not_null == 1 || pk > 0, pk > 0)
    });
    let indexes =
        indexes.into_iter().map(|(table, unique, columns)| format!("{table} index {unique} {columns}"));
    let keys = keys.into_iter().map(|(table, from, to, delete)| format!("{table}.{from} -> {to} {delete}"));
    let triggers = triggers.into_iter().map(|(table, name)| format!("{table} trigger {name}"));
    columns.chain(indexes).chain(keys).chain(triggers).collect()
}

async fn postgres_schema(url: &str) -> Schema {
    let mut c = PgConnection::connect(url).await.unwrap();
    let columns: Vec<(String, String, String, bool, bool)> = sqlx::query_as(
        "SELECT t.relname::text, a.attname::text, upper(format_type(a.atttypid, a.atttypmod)), a.attnotnull,
            EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indisprimary AND a.attnum = ANY(i.indkey))
         FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid
         WHERE t.relnamespace = 'public'::regnamespace AND t.relkind = 'r' AND a.attnum > 0",
    )
    .fetch_all(&mut c)
    .await
    .unwrap();
    let indexes: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT t.relname::text, i.indisunique::int::bigint, (SELECT string_agg(a.attname, ',' ORDER BY k.n)
            FROM unnest(i.indkey) WITH ORDINALITY k(num, n)
            JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.num)
         FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
         WHERE t.relnamespace = 'public'::regnamespace AND NOT i.indisprimary",
    )
    .fetch_all(&mut c)
    .await
    .unwrap();
    let keys: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT t.relname::text, a.attname::text, f.relname::text,
            CASE k.confdeltype WHEN 'c' THEN 'CASCADE' ELSE 'NO ACTION' END
         FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY(k.conkey) WHERE k.contype = 'f'",
    )
    .fetch_all(&mut c)
    .await
    .unwrap();
    let triggers: Vec<(String, String)> =
        sqlx::query_as("SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger WHERE NOT tgisinternal")
            .fetch_all(&mut c)
            .await
            .unwrap();
    let columns = columns
        .into_iter()
        .map(|(table, column, kind, not_null, pk)| describe_column(&table, &column, &kind, not_null, pk));
    let indexes =
        indexes.into_iter().map(|(table, unique, columns)| format!("{table} index {unique} {columns}"));
    let keys = keys.into_iter().map(|(table, from, to, delete)| format!("{table}.{from} -> {to} {delete}"));
    let triggers = triggers.into_iter().map(|(table, name)| format!("{table} trigger {name}"));
    columns.chain(indexes).chain(keys).chain(triggers).collect()
}

fn describe_column(table: &str, column: &str, kind: &str, not_null: bool, primary: bool) -> String {
    format!("{table}.{column} {kind} not null: {not_null} primary: {primary}")
}
