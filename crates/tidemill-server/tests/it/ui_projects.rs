//! The home page where several projects share a server, and the page of each.

use serde_json::Value;
use tidemill_core::{Actor, Clock as _, Digest, EventKind, NewEvent, RunId, RunState};
use tidemill_db::{NewRun, Owner};

use crate::client::Server;
use crate::ui::{HOSTILE, is_tame, page, part};

/// A run of a project's pipeline that ended so, or goes on.
async fn run(server: &Server, number: u8, project: &str, state: Option<RunState>) {
    let (id, at) = (RunId::from_entropy([number; 16]), server.clock.now());
    let event = |kind| NewEvent { at, actor: Actor::user("ada"), kind, cause: None };
    let plan = Digest::of(b"plan");
    let mut tx = server.db.begin().await.unwrap();
    let owner = Owner { host: "h".into(), pid: 1, boot: "b".into(), started: 1 };
    let new = NewRun { id, project: project.into(), plan, commit: None, started_at: at, cause: None, owner };
    tx.start_run(&new).await.unwrap();
    if let Some(state) = state {
        tx.finish_run(id, state, None, at).await.unwrap();
    }
    tx.commit(vec![event(EventKind::RunStarted { run: id, commit: None, plan })]).await.unwrap();
    server.clock.advance(std::time::Duration::from_secs(1));
}

/// Projects by their numbers whose pipeline ran once and well, in this order.
async fn projects(server: &Server, numbers: std::ops::RangeInclusive<u16>) {
    let plan = Digest::of(b"plan");
    let mut tx = server.db.begin().await.unwrap();
    let mut events = Vec::new();
    for number in numbers {
        let mut bytes = [7; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        let (id, at) = (RunId::from_entropy(bytes), server.clock.now());
        let owner = Owner { host: "h".into(), pid: 1, boot: "b".into(), started: 1 };
        let project = format!("project {number:03}");
        let new = NewRun { id, project, plan, commit: None, started_at: at, cause: None, owner };
        tx.start_run(&new).await.unwrap();
        tx.finish_run(id, RunState::Succeeded, None, at).await.unwrap();
        let kind = EventKind::RunStarted { run: id, commit: None, plan };
        events.push(NewEvent { at, actor: Actor::user("ada"), kind, cause: None });
        server.clock.advance(std::time::Duration::from_secs(1));
    }
    tx.commit(events).await.unwrap();
}

async fn data(server: &Server, path: &str) -> Value {
    server.get(path).await.json()["data"].clone()
}

#[tokio::test]
async fn each_project_has_a_river_and_what_needs_attention_stands_first() {
    let server = Server::start().await;
    run(&server, 1, "tides", Some(RunState::Succeeded)).await;
    // One project has the one river that there is.
    let one = page(&server, "/").await;
    one.is(200, &["<h1>tides</h1>", "id=\"loop\""]);
    assert!(!one.body.contains("id=\"projects\""));
    for (number, project) in [(2, "moons"), (3, "winds"), (4, HOSTILE), (5, "waves")] {
        let state = if project == "moons" { RunState::Failed } else { RunState::Succeeded };
        run(&server, number, project, Some(state)).await;
    }
    run(&server, 6, "ships", None).await;
    let home = page(&server, "/").await;
    home.is(
        200,
        &["4 of 6 projects", "id=\"loop_0\"", "id=\"loop_3\"", "/projects/moons", "The loop of moons"],
    );
    is_tame(&home);
    let found = data(&server, "/?format=json").await;
    let rows = found["projects"]["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["project"].as_str().unwrap()).collect();
    // What failed, what is at work, and then what ran last.
    assert_eq!(names[..3], ["moons", "ships", "waves"]);
    assert_eq!(found["loop_0"]["rows"][1]["state"], "last run failed");
    // What waits is said with its project, also where another project ran since.
    run(&server, 7, "moons", Some(RunState::Interrupted)).await;
    run(&server, 8, "waves", Some(RunState::Succeeded)).await;
    let waits = data(&server, "/?format=json").await["blocked"]["rows"].clone();
    assert_eq!(waits.as_array().unwrap().len(), 1, "{waits}");
    assert!(waits[0]["why"].as_str().unwrap().starts_with("moons: its process ended early"), "{waits}");
    let next = found["projects"]["next"].as_str().unwrap();
    let rest = data(&server, &format!("{next}&format=json")).await;
    assert_eq!(rest["projects"]["rows"].as_array().unwrap().len(), 2);
    assert!(rest.get("loop_4").is_some() && rest.get("loop_0").is_none(), "{rest}");
}

/// However many projects ran since, the one that failed stands first; what it waits for is said, and its tests are its own.
#[tokio::test]
async fn of_many_projects_those_that_need_attention_stand_first() {
    let server = Server::start().await;
    run(&server, 1, "old and failed", Some(RunState::Failed)).await;
    run(&server, 2, "old and interrupted", Some(RunState::Interrupted)).await;
    let tested = |run: u8, failed: u64| {
        let run = RunId::from_entropy([run; 16]);
        let body = serde_json::json!({"kind": "model_tested", "run": run, "evidence": Digest::of(b"none"),
            "passed": 3, "failed": failed});
        let (at, kind) = (server.clock.now(), serde_json::from_value(body).unwrap());
        NewEvent { at, actor: Actor::user("ada"), kind, cause: None }
    };
    for number in 3..=60 {
        run(&server, number, &format!("project {number:02}"), Some(RunState::Succeeded)).await;
    }
    server.db.begin().await.unwrap().commit(vec![tested(5, 2), tested(6, 0)]).await.unwrap();
    let found = data(&server, "/?format=json").await;
    let names = |data: &Value| {
        let rows = data["projects"]["rows"].as_array().unwrap().iter();
        rows.map(|row| row["project"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // What is wrong, the newest first; then what is to be looked at; then what ran last.
    assert_eq!(names(&found), ["project 05", "old and failed", "old and interrupted", "project 60"]);
    assert_eq!(found["projects"]["total"], 60);
    assert_eq!(found["loop_0"]["rows"][2]["figure"], "3/5");
    assert_eq!(found["loop_1"]["rows"][2]["state"], "none judged yet");
    // The last page of the list has the rest, each once.
    let mut seen = names(&found);
    let mut next = found["projects"]["next"].as_str().map(str::to_owned);
    while let Some(path) = next {
        let more = data(&server, &format!("{path}&format=json")).await;
        seen.extend(names(&more));
        next = more["projects"]["next"].as_str().map(str::to_owned);
    }
    let all: std::collections::BTreeSet<&String> = seen.iter().collect();
    assert_eq!((seen.len(), all.len()), (60, 60));
}

/// Where there are more than are looked at, the page says so; where there are just as many, it says how many.
#[tokio::test]
async fn of_more_projects_than_are_looked_at_there_are_more() {
    let server = Server::start().await;
    projects(&server, 1..=500).await;
    let home = page(&server, "/").await;
    home.is(200, &["4 of 500 projects"]);
    assert!(!home.body.contains("of more than") && !home.body.contains("Looked at are"), "{}", home.body);
    let list = data(&server, "/?format=json").await["projects"].clone();
    assert_eq!((&list["total"], list.get("more_than")), (&Value::from(500), None));

    projects(&server, 501..=501).await;
    let home = page(&server, "/").await;
    home.is(200, &["4 of more than 500 projects", "Looked at are the 500 whose pipeline ran last"]);
    let list = data(&server, "/?format=json").await["projects"].clone();
    assert_eq!((list.get("total"), &list["more_than"]), (None, &Value::from(500)));
    assert_eq!(list["rows"][0]["project"], "project 501");
    // The list ends with the last that is looked at; the one before it has its page all the same.
    let last = data(&server, "/?page=496&format=json").await["projects"].clone();
    let names: Vec<&str> =
        last["rows"].as_array().unwrap().iter().map(|row| row["project"].as_str().unwrap()).collect();
    assert_eq!(names, ["project 005", "project 004", "project 003", "project 002"]);
    assert_eq!(last.get("next"), None);
    page(&server, "/projects/project%20001").await.is(200, &["<h1>project 001</h1>"]);
    page(&server, "/pipelines").await.is(200, &["href=\"/projects/project%20501\""]);
}

#[tokio::test]
async fn a_project_has_a_page() {
    let server = Server::start().await;
    run(&server, 1, "tides", Some(RunState::Succeeded)).await;
    run(&server, 2, HOSTILE, Some(RunState::Failed)).await;
    let tides = page(&server, "/projects/tides").await;
    tides.is(200, &["<h1>tides</h1>", "Nothing is blocked", "Last runs of the pipeline", "as it should be"]);
    assert_eq!(
        data(&server, "/projects/tides?format=json").await["runs"]["rows"].as_array().unwrap().len(),
        1
    );
    let reply = page(&server, &format!("/projects/{}", part(HOSTILE))).await;
    reply.is(200, &["failed"]);
    is_tame(&reply);
    page(&server, "/projects/none").await.is(404, &["Not found"]);
}
