//! Registered models, versions and aliases.

use tidemill_core::EventKind;
use tidemill_db::models::{AliasChange, ModelQuery, NewVersion, Staged, VersionStage};
use tidemill_db::search::{Condition, Field, Op, Operand, OrderBy};
use tidemill_db::tracking::KeyValue;
use tidemill_db::{Db, Error, Tx};

use crate::fixture::{Fixture, at, digest, event, on_both};

on_both!(
    a_model_is_made_once,
    numbers_of_versions_are_never_used_again,
    all_fields_of_a_version_come_back,
    the_latest_of_each_stage,
    stages_move_and_others_are_archived,
    a_deleted_version_says_nothing_any_more,
    tags_say_whether_they_changed,
    renaming_takes_versions_and_aliases_along,
    deleting_a_model_gives_its_aliases,
    aliases_move,
    the_history_of_an_alias_is_in_the_log,
    the_history_follows_a_renamed_model,
    a_change_of_a_model_needs_an_event,
    models_are_searched,
    versions_are_searched,
    many_versions_come_in_parts,
);

fn kv(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value.to_owned() }
}

fn new_version(model: &str) -> NewVersion {
    NewVersion {
        model: model.to_owned(),
        number: None,
        description: Some("d".to_owned()),
        user: None,
        source: "models:/m-1".to_owned(),
        storage_location: Some("mlflow-artifacts:/1/models/m-1/artifacts".to_owned()),
        run: Some("0f".repeat(16)),
        run_link: Some("http://l".to_owned()),
        logged_model: Some("m-1".to_owned()),
        content: Some(digest("model")),
        created_at: at(100),
        tags: vec![kv("a", "1"), kv("b", ""), kv("a", "2")],
    }
}

/// Commits with some event of the model.
async fn commit(tx: Tx, model: &str, millis: i64) {
    tx.commit(vec![event(millis, EventKind::ModelDescribed { model: model.to_owned(), version: None })])
        .await
        .unwrap();
}

async fn register(db: &Db, model: &str, millis: i64) {
    let mut tx = db.begin().await.unwrap();
    assert!(tx.create_model(model, None, &[], at(millis)).await.unwrap());
    tx.commit(vec![event(millis, EventKind::ModelRegistered { model: model.to_owned() })]).await.unwrap();
}

async fn put(db: &Db, model: &str) -> u64 {
    let mut tx = db.begin().await.unwrap();
    let number = tx.put_model_version(&new_version(model)).await.unwrap().unwrap();
    commit(tx, model, 100).await;
    number
}

async fn point(db: &Db, model: &str, alias: &str, to: Option<u64>, millis: i64) -> AliasChange {
    let mut tx = db.begin().await.unwrap();
    let change = match to {
        Some(version) => tx.set_alias(model, alias, version).await.unwrap().unwrap(),
        None => tx.remove_alias(model, alias).await.unwrap().unwrap(),
    };
    let AliasChange { from, to } = change;
    let kind = EventKind::AliasMoved { model: model.to_owned(), alias: alias.to_owned(), from, to };
    tx.commit(if from == to { vec![] } else { vec![event(millis, kind)] }).await.unwrap();
    change
}

async fn rename(db: &Db, model: &str, to: &str, millis: i64) {
    let mut tx = db.begin().await.unwrap();
    assert!(tx.rename_model(model, to, at(millis)).await.unwrap());
    let kind = EventKind::ModelRenamed { model: model.to_owned(), to: to.to_owned() };
    tx.commit(vec![event(millis, kind)]).await.unwrap();
}

async fn a_model_is_made_once(f: Fixture) {
    let mut tx = f.db.begin().await.unwrap();
    let tags = [kv("z", "1"), kv("a", "x"), kv("z", "2")];
    assert!(tx.create_model("m", Some("d"), &tags, at(5)).await.unwrap());
    assert!(!tx.create_model("m", None, &[], at(6)).await.unwrap());
    commit(tx, "m", 5).await;
    let model = f.db.registered_model("m").await.unwrap().unwrap();
    assert_eq!(model.description.as_deref(), Some("d"));
    assert_eq!((model.created_at, model.updated_at), (at(5), at(5)));
    assert_eq!(model.tags, [kv("a", "x"), kv("z", "2")]);
    assert!(model.latest.is_empty() && model.aliases.is_empty());
    assert!(f.db.registered_model("M").await.unwrap().is_none(), "names are told apart by case");
}

async fn numbers_of_versions_are_never_used_again(f: Fixture) {
    register(&f.db, "m", 1).await;
    register(&f.db, "n", 1).await;
    assert_eq!((put(&f.db, "m").await, put(&f.db, "m").await, put(&f.db, "n").await), (1, 2, 1));
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.delete_model_version("m", 2, at(9)).await.unwrap().is_some());
    assert!(tx.delete_model_version("m", 2, at(9)).await.unwrap().is_none());
    commit(tx, "m", 9).await;
    assert_eq!(put(&f.db, "m").await, 3);
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.put_model_version(&new_version("nobody")).await.unwrap(), None);
}

async fn all_fields_of_a_version_come_back(f: Fixture) {
    register(&f.db, "m", 1).await;
    put(&f.db, "m").await;
    point(&f.db, "m", "champion", Some(1), 5).await;
    let version = f.db.model_version("m", 1).await.unwrap().unwrap();
    let new = new_version("m");
    assert_eq!((version.model.as_str(), version.version, version.stage), ("m", 1, VersionStage::None));
    assert_eq!((&version.description, &version.source), (&new.description, &new.source));
    assert_eq!((&version.storage_location, &version.run), (&new.storage_location, &new.run));
    assert_eq!((&version.run_link, &version.logged_model), (&new.run_link, &new.logged_model));
    assert_eq!((version.content, version.status.as_str()), (new.content, "READY"));
    assert_eq!((version.created_at, version.updated_at), (at(100), at(100)));
    assert_eq!(version.tags, [kv("a", "2"), kv("b", "")]);
    assert_eq!(version.aliases, ["champion"]);
    assert_eq!(
        f.db.registered_model("m").await.unwrap().unwrap().updated_at,
        at(100),
        "the model changed too"
    );
    for (model, number) in [("m", 2), ("n", 1), ("m", u64::MAX)] {
        assert!(f.db.model_version(model, number).await.unwrap().is_none(), "{model} {number}");
    }
}

async fn the_latest_of_each_stage(f: Fixture) {
    register(&f.db, "m", 1).await;
    register(&f.db, "n", 1).await;
    for _ in 0..4 {
        put(&f.db, "m").await;
        put(&f.db, "n").await;
    }
    let mut tx = f.db.begin().await.unwrap();
    for (version, stage) in [(1, VersionStage::Production), (2, VersionStage::Production)] {
        tx.stage_model_version("m", version, stage, false, at(7)).await.unwrap().unwrap();
    }
    tx.delete_model_version("m", 4, at(8)).await.unwrap().unwrap();
    commit(tx, "m", 8).await;
    let latest = f.db.registered_model("m").await.unwrap().unwrap().latest;
    let latest: Vec<_> = latest.iter().map(|v| (v.version, v.stage, v.tags.len())).collect();
    assert_eq!(latest, [(2, VersionStage::Production, 2), (3, VersionStage::None, 2)]);
}

async fn stages_move_and_others_are_archived(f: Fixture) {
    use VersionStage::{Archived, None, Production};
    register(&f.db, "m", 1).await;
    for _ in 0..3 {
        put(&f.db, "m").await;
    }
    let mut tx = f.db.begin().await.unwrap();
    for version in [1, 2] {
        let moved = tx.stage_model_version("m", version, Production, false, at(7)).await.unwrap().unwrap();
        assert_eq!(moved, [Staged { version, from: None, to: Production }]);
    }
    let moved = tx.stage_model_version("m", 3, Production, true, at(9)).await.unwrap().unwrap();
    assert_eq!(
        moved,
        [
            Staged { version: 1, from: Production, to: Archived },
            Staged { version: 2, from: Production, to: Archived },
            Staged { version: 3, from: None, to: Production },
        ]
    );
    assert_eq!(tx.stage_model_version("m", 3, Production, true, at(11)).await.unwrap().unwrap(), []);
    assert_eq!(tx.stage_model_version("m", 9, Production, true, at(11)).await.unwrap(), Option::None);
    commit(tx, "m", 9).await;
    let times: Vec<_> = [1, 3].map(|version| f.db.model_version("m", version)).into_iter().collect();
    let mut stages = Vec::new();
    for version in times {
        let version = version.await.unwrap().unwrap();
        stages.push((version.stage, version.updated_at));
    }
    assert_eq!(stages, [(Archived, at(9)), (Production, at(11))]);
}

async fn a_deleted_version_says_nothing_any_more(f: Fixture) {
    register(&f.db, "m", 1).await;
    put(&f.db, "m").await;
    put(&f.db, "m").await;
    for (alias, version) in [("b", 1), ("a", 1), ("c", 2)] {
        point(&f.db, "m", alias, Some(version), 5).await;
    }
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.delete_model_version("m", 1, at(9)).await.unwrap().unwrap(), ["a", "b"]);
    commit(tx, "m", 9).await;
    assert!(f.db.model_version("m", 1).await.unwrap().is_none());
    assert!(f.db.aliased_version("m", "a").await.unwrap().is_none());
    assert_eq!(f.db.aliased_version("m", "c").await.unwrap().unwrap().version, 2);
    // The row is kept for its number only.
    f.sql(
        "CREATE TABLE seen AS SELECT 1 AS x FROM model_version WHERE version = 1 AND source = 'REDACTED-SOURCE-PATH'
            AND run_uuid = 'REDACTED-RUN-ID' AND description IS NULL AND content IS NULL AND storage_location IS NULL;
         CREATE UNIQUE INDEX one ON seen (x)",
    )
    .await;
    assert!(f.try_sql("INSERT INTO seen VALUES (1)").await.is_err(), "the row is there and redacted");
}

async fn tags_say_whether_they_changed(f: Fixture) {
    register(&f.db, "m", 1).await;
    put(&f.db, "m").await;
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.tag_model("m", "k", "v").await.unwrap(), Some(true));
    assert_eq!(tx.tag_model("m", "k", "v").await.unwrap(), Some(false));
    assert_eq!(tx.tag_model("m", "k", "w").await.unwrap(), Some(true));
    assert_eq!(tx.tag_model("n", "k", "w").await.unwrap(), None);
    assert_eq!(tx.model_tag("m", "k").await.unwrap().as_deref(), Some("w"));
    assert_eq!(tx.untag_model("m", "k").await.unwrap(), Some(true));
    assert_eq!(tx.untag_model("m", "k").await.unwrap(), Some(false));
    assert_eq!(tx.untag_model("n", "k").await.unwrap(), None);
    assert_eq!(tx.tag_model_version("m", 1, "a", "2").await.unwrap(), Some(false));
    assert_eq!(tx.tag_model_version("m", 1, "a", "3").await.unwrap(), Some(true));
    assert_eq!(tx.tag_model_version("m", 2, "a", "3").await.unwrap(), None);
    assert_eq!(tx.untag_model_version("m", 1, "b").await.unwrap(), Some(true));
    assert_eq!(tx.untag_model_version("m", 1, "b").await.unwrap(), Some(false));
    assert_eq!(tx.model_version("m", 1).await.unwrap().unwrap().tags, [kv("a", "3")]);
}

async fn renaming_takes_versions_and_aliases_along(f: Fixture) {
    register(&f.db, "m", 1).await;
    register(&f.db, "taken", 1).await;
    put(&f.db, "m").await;
    point(&f.db, "m", "champion", Some(1), 5).await;
    rename(&f.db, "m", "n", 50).await;
    assert!(f.db.registered_model("m").await.unwrap().is_none());
    let model = f.db.registered_model("n").await.unwrap().unwrap();
    assert_eq!((model.updated_at, model.latest[0].model.as_str()), (at(50), "n"));
    assert_eq!((model.latest[0].updated_at, model.aliases[0].version), (at(50), 1));
    let mut tx = f.db.begin().await.unwrap();
    assert!(!tx.rename_model("m", "o", at(60)).await.unwrap());
    let taken = tx.rename_model("n", "taken", at(60)).await.unwrap_err();
    assert!(matches!(taken, Error::Exists { .. }), "{taken}");
}

async fn deleting_a_model_gives_its_aliases(f: Fixture) {
    register(&f.db, "m", 1).await;
    put(&f.db, "m").await;
    point(&f.db, "m", "b", Some(1), 5).await;
    point(&f.db, "m", "a", Some(1), 5).await;
    let mut tx = f.db.begin().await.unwrap();
    let aliases = tx.delete_model("m").await.unwrap().unwrap();
    assert_eq!(
        aliases.iter().map(|a| (a.alias.as_str(), a.version)).collect::<Vec<_>>(),
        [("a", 1), ("b", 1)]
    );
    assert!(tx.delete_model("m").await.unwrap().is_none());
    commit(tx, "m", 9).await;
    assert!(f.db.model_version("m", 1).await.unwrap().is_none());
    register(&f.db, "m", 10).await;
    assert_eq!(put(&f.db, "m").await, 1, "a new model of that name begins anew");
}

async fn aliases_move(f: Fixture) {
    register(&f.db, "m", 1).await;
    put(&f.db, "m").await;
    put(&f.db, "m").await;
    let change = |from, to| AliasChange { from, to };
    assert_eq!(point(&f.db, "m", "c", Some(1), 5).await, change(None, Some(1)));
    assert_eq!(point(&f.db, "m", "c", Some(2), 6).await, change(Some(1), Some(2)));
    assert_eq!(point(&f.db, "m", "c", Some(2), 7).await, change(Some(2), Some(2)));
    assert_eq!(f.db.aliased_version("m", "c").await.unwrap().unwrap().version, 2);
    assert_eq!(point(&f.db, "m", "c", None, 8).await, change(Some(2), None));
    assert_eq!(point(&f.db, "m", "c", None, 9).await, change(None, None));
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.set_alias("m", "c", 3).await.unwrap(), None);
    assert_eq!(tx.set_alias("n", "c", 1).await.unwrap(), None);
    assert_eq!(tx.remove_alias("n", "c").await.unwrap(), None);
}

async fn history(db: &Db, model: &str, alias: &str) -> Vec<(i64, Option<u64>, Option<u64>)> {
    let moves = db.alias_history(model, alias).await.unwrap();
    moves.iter().map(|one| (one.at.millis(), one.from, one.to)).collect()
}

async fn the_history_of_an_alias_is_in_the_log(f: Fixture) {
    register(&f.db, "m", 1).await;
    put(&f.db, "m").await;
    put(&f.db, "m").await;
    for (alias, to, millis) in [
        ("c", Some(1), 200),
        ("other", Some(2), 250),
        ("c", Some(2), 300),
        ("c", None, 400),
        ("c", Some(1), 500),
    ] {
        point(&f.db, "m", alias, to, millis).await;
    }
    assert_eq!(
        history(&f.db, "m", "c").await,
        [(200, None, Some(1)), (300, Some(1), Some(2)), (400, Some(2), None), (500, None, Some(1))]
    );
    for (millis, expected) in
        [(0, None), (199, None), (200, Some(1)), (299, Some(1)), (300, Some(2)), (400, None), (501, Some(1))]
    {
        assert_eq!(f.db.alias_at_time("m", "c", at(millis)).await.unwrap(), expected, "at {millis}");
    }
    let moves = f.db.alias_history("m", "c").await.unwrap();
    for one in &moves {
        assert_eq!(f.db.alias_at_seq("m", "c", one.seq).await.unwrap(), one.to);
        assert_eq!(f.db.alias_at_seq("m", "c", one.seq - 1).await.unwrap(), one.from);
    }
    assert_eq!((moves[0].actor.name.as_str(), moves[0].model.as_str()), ("ana", "m"));
    assert!(history(&f.db, "m", "nobody").await.is_empty());
}

async fn the_history_follows_a_renamed_model(f: Fixture) {
    // `b` was another model once, which went away under the name `old`.
    register(&f.db, "b", 1).await;
    put(&f.db, "b").await;
    point(&f.db, "b", "c", Some(1), 10).await;
    rename(&f.db, "b", "old", 20).await;
    // What is now `b` was `a` before.
    register(&f.db, "a", 30).await;
    put(&f.db, "a").await;
    put(&f.db, "a").await;
    point(&f.db, "a", "c", Some(2), 40).await;
    rename(&f.db, "a", "b", 50).await;
    point(&f.db, "b", "c", Some(1), 60).await;
    assert_eq!(history(&f.db, "b", "c").await, [(40, None, Some(2)), (60, Some(2), Some(1))]);
    assert_eq!(history(&f.db, "old", "c").await, [(10, None, Some(1))]);
    // Under the name `a` the alias was to be found until the renaming.
    assert_eq!(history(&f.db, "a", "c").await, [(40, None, Some(2)), (50, Some(2), None)]);
    assert_eq!(f.db.alias_at_time("a", "c", at(45)).await.unwrap(), Some(2));
    assert_eq!(f.db.alias_at_time("a", "c", at(55)).await.unwrap(), None);
    // A new `a` goes on with the history of the name.
    register(&f.db, "a", 70).await;
    put(&f.db, "a").await;
    point(&f.db, "a", "c", Some(1), 80).await;
    assert_eq!(
        history(&f.db, "a", "c").await,
        [(40, None, Some(2)), (50, Some(2), None), (80, None, Some(1))]
    );
}

async fn a_change_of_a_model_needs_an_event(f: Fixture) {
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.create_model("m", None, &[], at(1)).await.unwrap());
    assert!(matches!(tx.commit(vec![]).await, Err(Error::NoEvent)));
    assert!(f.db.registered_model("m").await.unwrap().is_none());
    let mut tx = f.db.begin().await.unwrap();
    assert!(!tx.describe_model("m", None, at(1)).await.unwrap());
    tx.commit(vec![]).await.unwrap();
}

fn attribute(name: &str, op: Op, value: Operand) -> Condition {
    Condition { field: Field::Attribute(name.to_owned()), op, value }
}

fn tagged(key: &str, op: Op, value: &str) -> Condition {
    Condition { field: Field::Tag(key.to_owned()), op, value: text(value) }
}

fn text(value: &str) -> Operand {
    Operand::Text(value.to_owned())
}

fn by(name: &str, descending: bool) -> OrderBy {
    OrderBy { field: Field::Attribute(name.to_owned()), descending }
}

async fn models_are_searched(f: Fixture) {
    for (name, millis, tag) in [("b", 30, "x"), ("a", 20, "y"), ("Ab", 10, "x")] {
        let mut tx = f.db.begin().await.unwrap();
        assert!(tx.create_model(name, None, &[kv("t", tag), kv(name, "")], at(millis)).await.unwrap());
        commit(tx, name, millis).await;
    }
    let find = async |query: ModelQuery| {
        let query = ModelQuery { limit: if query.limit == 0 { 10 } else { query.limit }, ..query };
        let found = f.db.search_registered_models(&query).await.unwrap();
        found.into_iter().map(|model| model.name).collect::<Vec<_>>().join(" ")
    };
    let which = |conditions: Vec<Condition>| ModelQuery { conditions, ..ModelQuery::default() };
    for (query, names) in [
        (which(vec![]), "Ab a b"),
        (which(vec![attribute("name", Op::Eq, text("a"))]), "a"),
        (which(vec![attribute("name", Op::Like, text("a%"))]), "a"),
        (which(vec![attribute("name", Op::ILike, text("a%"))]), "Ab a"),
        (which(vec![attribute("name", Op::NotIn, Operand::List(vec!["a".to_owned()]))]), "Ab b"),
        (which(vec![tagged("t", Op::Eq, "x")]), "Ab b"),
        (which(vec![tagged("t", Op::Eq, "x"), tagged("b", Op::Eq, "")]), "b"),
        (which(vec![tagged("b", Op::Ne, "x")]), "b"),
        (which(vec![tagged("t", Op::Eq, "x"), tagged("t", Op::Eq, "y")]), ""),
        (ModelQuery { without: Some(kv("t", "x")), ..which(vec![]) }, "a"),
        (ModelQuery { order: vec![by("last_updated_timestamp", true)], ..which(vec![]) }, "b a Ab"),
        (ModelQuery { order: vec![by("name", true)], offset: 1, limit: 1, ..which(vec![]) }, "a"),
    ] {
        assert_eq!(find(query.clone()).await, names, "{query:?}");
        // All pages together.
        let all = if query.limit == 0 { names.split_whitespace().count() as u64 } else { 3 };
        assert_eq!(f.db.count_registered_models(&query, 10).await.unwrap(), all, "{query:?}");
        assert_eq!(f.db.count_registered_models(&query, 1).await.unwrap(), all.min(1), "{query:?}");
    }
}

async fn versions_are_searched(f: Fixture) {
    for model in ["m", "n"] {
        register(&f.db, model, 1).await;
    }
    let run = "0f".repeat(16);
    for (model, run, millis) in
        [("m", Some(run.clone()), 10), ("m", None, 30), ("n", None, 20), ("m", None, 40)]
    {
        let mut tx = f.db.begin().await.unwrap();
        let new = NewVersion { run, created_at: at(millis), ..new_version(model) };
        tx.put_model_version(&new).await.unwrap().unwrap();
        commit(tx, model, millis).await;
    }
    let mut tx = f.db.begin().await.unwrap();
    tx.delete_model_version("m", 3, at(50)).await.unwrap().unwrap();
    tx.tag_model_version("n", 1, "hide", "yes").await.unwrap();
    commit(tx, "m", 50).await;
    let find = async |conditions: Vec<Condition>, order: Vec<OrderBy>, without| {
        let query = ModelQuery { conditions, order, without, limit: 10, offset: 0 };
        let found = f.db.search_model_versions(&query).await.unwrap();
        found
            .iter()
            .map(|version| format!("{}{}", version.model, version.version))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let number = |value: f64| Operand::Number(value);
    for (conditions, order, found) in [
        (vec![], vec![], "m2 m1 n1"),
        (vec![], vec![by("last_updated_timestamp", true)], "m2 n1 m1"),
        (vec![], vec![by("version_number", false)], "m1 n1 m2"),
        (vec![attribute("name", Op::Eq, text("m"))], vec![], "m2 m1"),
        (vec![attribute("run_id", Op::Eq, text(&run))], vec![], "m1"),
        (vec![attribute("run_id", Op::Ne, text(&run))], vec![], "m2 n1"),
        (vec![attribute("run_id", Op::Eq, text(""))], vec![], "m2 n1"),
        (vec![attribute("run_id", Op::In, Operand::List(vec![run.clone()]))], vec![], "m1"),
        (vec![attribute("version_number", Op::Gt, number(1.0))], vec![], "m2"),
        (vec![attribute("creation_timestamp", Op::Le, number(20.0))], vec![], "m1 n1"),
        (vec![attribute("source_path", Op::Like, text("models:/%"))], vec![], "m2 m1 n1"),
        (vec![tagged("a", Op::Eq, "2"), attribute("name", Op::Eq, text("n"))], vec![], "n1"),
        (vec![attribute("nothing", Op::Eq, text("n"))], vec![], ""),
    ] {
        assert_eq!(find(conditions.clone(), order, None).await, found, "{conditions:?}");
    }
    assert_eq!(find(vec![], vec![], Some(kv("hide", "yes"))).await, "m2 m1");
}

async fn many_versions_come_in_parts(f: Fixture) {
    register(&f.db, "a", 1).await;
    f.sql(
        "INSERT INTO model_version (model_id, version, stage, source, status, created_at, updated_at)
        SELECT m.id, n.i, 'None', 's', 'READY', 0, 0 FROM registered_model m,
            (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) SELECT i FROM n) n",
    )
    .await;
    let query = ModelQuery { limit: 1400, ..ModelQuery::default() };
    let whole = f.db.search_model_versions(&query).await.unwrap();
    let mut found = f.db.find_model_versions(&query).await.unwrap();
    assert!(found.more);
    let (first, second) = (found.part().await.unwrap(), found.part().await.unwrap());
    assert_eq!((first.len(), second.len()), (1000, 400));
    assert_eq!([first, second].concat(), whole);
    assert!(found.part().await.unwrap().is_empty());
    let all = ModelQuery { limit: 1500, ..ModelQuery::default() };
    assert!(!f.db.find_model_versions(&all).await.unwrap().more);
    assert_eq!(f.db.version_numbers("a").await.unwrap().len(), 1500);
}
