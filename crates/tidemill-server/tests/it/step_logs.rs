//! What steps of the pipeline printed: the end of it on pages, all of it from the API.

use tidemill_core::{Actor, Digest, EventKind, NewEvent, RunId, StepState, Timestamp};
use tidemill_db::{NewRun, Owner, StepRun};
use tidemill_server::App;

use crate::client::Server;
use crate::ui::page;

fn lines(count: usize) -> String {
    (1..=count).map(|n| format!("line {n} of a log that is long\n")).collect()
}

/// A run with a step that ended, whose stored log is `text`.
async fn ended(server: &Server, run: RunId, log: Digest) {
    let at = Timestamp::from_millis(1_700_000_000_000);
    let mut tx = server.db.begin().await.unwrap();
    let owner = Owner { host: "h".into(), pid: 1, boot: String::new(), started: 1 };
    let new = NewRun {
        id: run,
        project: "flights".into(),
        plan: Digest::of(b"plan"),
        commit: None,
        started_at: at,
        cause: None,
        owner,
    };
    tx.start_run(&new).await.unwrap();
    let step = StepRun {
        run,
        step: "train/a".into(),
        key: Digest::of(b"key"),
        state: StepState::Ran,
        attempt: 1,
        exit_code: Some(0),
        outputs: None,
        log: Some(log),
        started_at: at,
        ended_at: at,
        reason: None,
    };
    tx.finish_step(&step, None).await.unwrap();
    let kind = EventKind::ExperimentCreated { experiment: 9, name: "any".into() };
    tx.commit(vec![NewEvent { at, actor: Actor::system("test"), kind, cause: None }]).await.unwrap();
}

#[tokio::test]
async fn a_long_log_shows_its_end_with_the_right_numbers_and_all_of_it_elsewhere() {
    let logs = tempfile::tempdir().unwrap();
    let mut store = None;
    let server = Server::start_app(|registry, mut config| {
        config.step_logs = Some(logs.path().to_owned());
        store = Some(registry.store().clone());
        App::new(registry, config)
    })
    .await;
    let run: RunId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    let (stored, whole) = (lines(20_000), format!("/api/v1/pipeline-runs/{run}/steps/train%2Fa/log"));
    ended(&server, run, store.unwrap().put(stored.as_bytes()).unwrap()).await;
    let shown = page(&server, &format!("/pipelines/{run}")).await;
    shown.is(200, &["from line 18001", "<ol start=\"18001\"><li>line 18001 of", "The whole log", &whole]);
    let reply = server.get(&whole).await;
    reply.is(200, &[]);
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(reply.body.contains("line 1 of") && reply.body.contains("line 20000 of"));

    // One that is at work prints into a file.
    let folder = logs.path().join(run.to_string());
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("slow.log"), lines(30_000)).unwrap();
    let shown = page(&server, &format!("/pipelines/{run}?step=slow")).await;
    shown.is(200, &["being written", "from line 28001", "<ol start=\"28001\"><li>line 28001 of"]);
    let slow = format!("/api/v1/pipeline-runs/{}/steps/slow/log", &run.to_string()[..8]);
    server.get(&slow).await.is(200, &["line 1 of", "line 30000 of"]);
    let none = server.get(&slow.replace("slow", "none")).await;
    none.is(404, &["nothing is known that step `none`", "hint"]);
    let other = page(&server, &format!("/pipelines/{run}?step=none")).await;
    other.is(200, &["It printed nothing"]);
    assert!(!other.body.contains("The whole log"));
}
