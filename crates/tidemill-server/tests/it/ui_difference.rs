//! The page on the difference of two versions of a dataset: rows by their key, columns by their profiles, and what is not shown.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidemill_core::{Actor, Clock as _, Digest, EventKind, Name, NewEvent, Quiet};
use tidemill_data::{Profile, ProfileOptions};
use tidemill_db::NewDatasetVersion;
use tidemill_registry::Registry;
use tidemill_server::{About, AboutData, App};

use crate::client::Server;
use crate::ui::{HOSTILE, is_tame, page, post};

/// A server that knows of a dataset `rows` which columns identify a row and which are not shown; and its registry.
async fn server(hidden: &[&str]) -> (Server, Registry) {
    let about = About {
        hidden: BTreeMap::from([("rows".to_owned(), hidden.iter().map(|name| (*name).to_owned()).collect())]),
        data: BTreeMap::from([(
            "rows".to_owned(),
            AboutData { key: vec!["id".into()], ..AboutData::default() },
        )]),
        ..About::default()
    };
    start(Some(about)).await
}

async fn start(about: Option<About>) -> (Server, Registry) {
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let server = Server::start_app(move |registry, mut config| {
        config.about = about;
        *keep.lock().unwrap() = Some(registry.clone());
        App::new(registry, config)
    })
    .await;
    let registry = kept.lock().unwrap().take().unwrap();
    (server, registry)
}

/// Adds a version as the command does.
async fn add(server: &Server, registry: &Registry, text: &str, has_profile: bool) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    fs_err::write(&path, text).unwrap();
    let entry = registry.store().add(&path, None, &Quiet).unwrap();
    let at = server.clock.now();
    let new = NewDatasetVersion {
        dataset: Name::new("rows").unwrap(),
        content: entry.digest,
        kind: "file".into(),
        bytes: entry.bytes,
        files: 1,
        rows: None,
        schema: None,
        source: "data/rows.csv".into(),
        message: None,
        created_at: at,
        actor: Actor::user("ada"),
    };
    let mut tx = server.db.begin().await.unwrap();
    let put = tx.put_dataset_version(&new).await.unwrap();
    if has_profile {
        let profile = Profile::of_file(&path, None, &|_| ProfileOptions::columns(), &Quiet).unwrap();
        let digest: Digest = registry.store().put(&profile.to_bytes()).unwrap();
        tx.put_profile(entry.digest, "2-x", digest, at).await.unwrap();
    }
    let kind = EventKind::DatasetVersionCreated {
        dataset: "rows".into(),
        version: put.version,
        content: entry.digest,
        bytes: entry.bytes,
        rows: None,
    };
    tx.commit(vec![NewEvent { at, actor: Actor::user("ada"), kind, cause: None }]).await.unwrap();
    put.version
}

/// Rows whose `size` lies between 0 and 9 above `base`.
fn rows(ids: std::ops::Range<u32>, base: u32, name: &str) -> String {
    let quoted = name.replace('"', "\"\"");
    let mut text = "id,size,name\n".to_owned();
    for id in ids {
        text.push_str(&format!("{id},{},\"{quoted}\"\n", base + id % 10));
    }
    text
}

async fn data(server: &Server, path: &str) -> Value {
    server.get(&format!("{path}format=json")).await.json()["data"].clone()
}

#[tokio::test]
async fn rows_and_values_of_two_versions_are_set_beside_each_other() {
    let (server, registry) = server(&[]).await;
    add(&server, &registry, &rows(0..300, 0, "a"), true).await;
    add(&server, &registry, &rows(5..310, 50, "a"), true).await;
    let shown = page(&server, "/data/rows/difference").await;
    shown.is(
        200,
        &["rows: v1 → v2", "Rows are matched by id", "moved much", "svg class=\"chart pairs\"", "300 → 305"],
    );
    let found = data(&server, "/data/rows/difference?").await;
    let count = |name: &str| found["difference"][name].as_u64().unwrap();
    assert_eq!((count("Added"), count("Removed"), count("Changed"), count("The same")), (10, 5, 295, 0));
    assert_eq!(found["added"]["rows"].as_array().unwrap().len(), 10);
    assert_eq!(found["added"]["rows"][0], json!({"id": "300", "size": "50", "name": "a"}));
    assert_eq!(found["removed"]["rows"].as_array().unwrap().len(), 5);
    let changed = &found["changed"]["rows"][0];
    assert_eq!(changed, &json!({"row": "5", "column": "size", "before": "5", "after": "55"}));
    // Columns that moved most stand first, with how many cells of matched rows changed.
    let first = &found["columns"]["rows"][0];
    assert_eq!((first["column"].as_str(), first["moved"].as_str()), (Some("size"), Some("100 %")), "{first}");
    assert_eq!((first["cells changed"].as_u64(), first["least"].as_str()), (Some(295), Some("0 → 50")));
    let shape = found["shape_0"]["rows"].as_array().unwrap();
    let sum = |side: &str| shape.iter().map(|row| row[side].as_f64().unwrap()).sum::<f64>();
    assert!((sum("share in v1") - 1.0).abs() < 0.02 && (sum("share in v2") - 1.0).abs() < 0.02, "{shape:?}");
    // The other way round, and as a table for a spreadsheet, at the same address.
    let back = data(&server, "/data/rows/difference?from=2&to=1&").await;
    assert_eq!(
        (back["difference"]["Added"].as_u64(), back["difference"]["Removed"].as_u64()),
        (Some(5), Some(10))
    );
    let csv = server.ask("GET", "/data/rows/difference?table=added", &[("accept", "text/csv")], "").await;
    assert!(csv.body.starts_with("id,size,name\r\n300,50,a\r\n"), "{}", csv.body);
    page(&server, "/data/rows/difference?from=9").await.is(404, &["has no version"]);
    // The page of the dataset leads there.
    page(&server, "/data/rows")
        .await
        .is(200, &["/data/rows/difference?from=1&#38;to=2", "What rows and values"]);
}

#[tokio::test]
async fn what_is_hidden_is_nowhere_and_what_is_hostile_is_text() {
    let (server, registry) = server(&["name"]).await;
    add(&server, &registry, &rows(0..20, 0, HOSTILE), true).await;
    add(&server, &registry, &rows(10..40, 3, "secret-word"), true).await;
    for form in ["", "&format=json", "&format=csv&table=added", "&format=csv&table=changed", "&format=md"] {
        let reply = page(&server, &format!("/data/rows/difference?from=1&to=2{form}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(
            !reply.body.contains("secret-word") && !reply.body.contains("alert"),
            "{form}: {}",
            reply.body
        );
    }
    let found = data(&server, "/data/rows/difference?").await;
    assert_eq!(found["added"]["rows"][0]["name"], "(not shown)");
    // Without the project file nobody says what may be shown.
    let (server, registry) = start(None).await;
    add(&server, &registry, &rows(0..20, 0, "secret-word"), true).await;
    add(&server, &registry, &rows(10..40, 3, "secret-word"), true).await;
    let found = data(&server, "/data/rows/difference?").await;
    assert_eq!(found["difference"]["Added"], 30);
    assert!(!found.to_string().contains("secret-word"), "{found}");
    // What may be shown is text all the same.
    let (server, registry) = self::server(&[]).await;
    add(&server, &registry, &rows(0..20, 0, HOSTILE), true).await;
    add(&server, &registry, &rows(10..40, 3, HOSTILE), true).await;
    let reply = page(&server, "/data/rows/difference").await;
    reply.is(200, &["&#60;script&#62;alert"]);
    is_tame(&reply);
}

#[tokio::test]
async fn columns_that_came_and_went_are_told_with_and_without_profiles() {
    for has_profile in [true, false] {
        let (server, registry) = server(&[]).await;
        add(&server, &registry, "id,size,old\n1,2,x\n", has_profile).await;
        add(&server, &registry, "id,size,new\n1,2.5,y\n", has_profile).await;
        let found = data(&server, "/data/rows/difference?").await;
        let rows = found["schema"]["rows"].as_array().unwrap();
        let told: Vec<(&str, &str)> = rows
            .iter()
            .map(|row| (row["change"].as_str().unwrap(), row["column"].as_str().unwrap()))
            .collect();
        assert_eq!(told, [("added", "new"), ("another type", "size"), ("removed", "old")], "{has_profile}");
        let shown = page(&server, "/data/rows/difference").await;
        let without = shown.body.contains("tidemill data profile rows@1\ntidemill data profile rows@2");
        assert_eq!(without, !has_profile, "{}", shown.body);
    }
}

#[tokio::test]
async fn data_that_compared_runs_read_lead_to_what_changed_in_them() {
    let (server, registry) = server(&[]).await;
    add(&server, &registry, "id,size\n1,2\n", false).await;
    add(&server, &registry, "id,size\n1,3\n", false).await;
    let versions = server.db.dataset_versions(&Name::new("rows").unwrap()).await.unwrap();
    let run = async |name: &str, digest: &str, source: &str| {
        let made = post(&server, "/api/2.0/mlflow/runs/create", &json!({"experiment_id": "0"})).await;
        let run = made["run"]["info"]["run_id"].as_str().unwrap().to_owned();
        let dataset = json!({"name": name, "digest": digest, "source_type": source, "source": name});
        let inputs = json!({"run_id": run, "datasets": [{"dataset": dataset, "tags": []}]});
        post(&server, "/api/2.0/mlflow/runs/log-inputs", &inputs).await;
        run
    };
    // As steps note it; the newest version stands first.
    let [newer, older] = [0, 1].map(|at: usize| versions[at].content.hex()[..32].to_owned());
    let before = run("data/rows.csv", &older, "tidemill").await;
    let after = run("data/rows.csv", &newer, "tidemill").await;
    let both = format!("/compare?run={before}&run={after}");
    let differ = ["Data that differ", "v1 → v2", "/data/rows/difference?from=1&#38;to=2"];
    page(&server, &both).await.is(200, &differ);
    let found = data(&server, &format!("{both}&")).await;
    let expected = json!([{"dataset": "data/rows.csv", "first content": older, "second content": newer,
        "contents": 2, "what changed": "v1 → v2"}]);
    assert_eq!(found["data"]["rows"], expected);
    let again = run("data/rows.csv", &older, "tidemill").await;
    let same = page(&server, &format!("/compare?run={before}&run={again}")).await;
    assert!(!same.body.contains("Data that differ"), "{same:?}");
    // What another program logged has digests, and names that are text.
    let (one, two) = (run(HOSTILE, "0a1b", "local").await, run(HOSTILE, "2c3d", "local").await);
    let reply = page(&server, &format!("/compare?run={one}&run={two}")).await;
    reply.is(200, &["Data that differ", "0a1b", "2c3d"]);
    is_tame(&reply);
}
