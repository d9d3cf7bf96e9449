//! Rollouts with several candidates: what page and API show of each, and how one is taken out.

use std::time::Duration;

use serde_json::{Value, json};
use tidemill_core::{Clock as _, Digest, Identity};
use tidemill_deliver::approval::Approval;
use tidemill_deliver::judge::{Look, Observation, Sample, Traffic};
use tidemill_deliver::rollout::{Input, LookAt};

use crate::client::Server;
use crate::ui::{HOSTILE, csrf, is_tame, page};
use crate::ui_delivery::{act, data, done, rollout_of, step};

/// A rollout of three, past its gate: each answers a fifth.
async fn three(server: &Server, word: &str) -> (u64, Vec<Digest>) {
    let (id, releases) = rollout_of(server, word, 3).await;
    let (role, inputs, at) = (word.to_owned(), Digest::of(b"inputs"), server.clock.now());
    let approval = Approval { by: "ada".to_owned(), role, inputs, at, identity: Identity::Password };
    step(server, id, Input::Approve { approval }).await;
    done(server, id).await;
    (id, releases)
}

/// Each candidate that is named had so many failures of 500 requests.
async fn look(server: &Server, id: u64, seq: u64, word: &str, seen: &[(Digest, u64)]) {
    server.clock.advance(Duration::from_secs(60));
    let counts = |n, events| Sample::Counts { n, events };
    let looks = seen.iter().map(|(candidate, failures)| {
        let (one, baseline) = (counts(500, *failures), counts(1_000, 10));
        let observations =
            vec![Observation { metric: word.to_owned(), slice: None, candidate: one, baseline }];
        let traffic = Traffic { stratum: 1, share: Some(1.0 / 3.0) };
        let look = Look { traffic, assigned: Some((500, 1_000)), observations };
        LookAt { candidate: *candidate, requests: 500, look }
    });
    step(server, id, Input::Looks { seq, looks: looks.collect() }).await;
    done(server, id).await;
}

async fn api(server: &Server, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = server.ask(method, path, &[("content-type", "application/json")], &body).await;
    (reply.status, reply.json())
}

#[tokio::test]
async fn each_candidate_is_shown_and_leaves_alone() {
    let server = Server::start().await;
    let (id, releases) = three(&server, "tides").await;
    let path = format!("/delivery/rollouts/{id}");
    look(&server, id, 1, "tides", &[(releases[1], 5), (releases[2], 60), (releases[3], 5)]).await;
    let going = page(&server, &path).await;
    going.is(200, &["tides v2 and 2 more", "Verdict on tides@2", "Verdict on tides@4", "canary 20 % each"]);
    going.is(200, &["dropped", "is proven to be harmed; the others go on", "Take a candidate out"]);
    let numbers = data(&server, &path).await;
    let rows = numbers["candidates"]["rows"].as_array().unwrap();
    let states: Vec<&str> = rows.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["in", "dropped", "in"]);
    assert_eq!(numbers["cone_0_2"]["rows"][0]["harm"].as_f64(), Some(12.0));
    assert_eq!(numbers["cone_0_1"]["rows"][0]["harm"].as_f64(), Some(1.0));
    page(&server, "/delivery").await.is(200, &["tides v2", "tides v4", "40 %"]);
    page(&server, "/owner").await.is(200, &["Nothing needs a decision"]);
    let dropped = page(&server, &format!("/delivery/releases/{}", releases[2])).await;
    dropped.is(200, &["dropped: ", "is proven to be harmed"]);

    let address = format!("/api/v1/rollouts/{id}");
    let (_, shown) = api(&server, "GET", &address, &Value::Null).await;
    let fates: Vec<&str> = shown["data"]["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["fate"].as_str().unwrap())
        .collect();
    assert_eq!(fates, ["in", "dropped", "in"]);
    assert_eq!(
        (&shown["data"]["chosen_by"], shown["data"]["rivals"].as_array().unwrap().len()),
        (&json!("tides"), 2)
    );
    assert_eq!(shown["data"]["candidates"][0]["share"], 0.2);
    let actions = format!("{address}/actions");
    for (body, status) in [
        (json!({"action": "drop", "reason": "slow"}), 400),
        (json!({"action": "drop", "candidate": "tides@9", "reason": "slow"}), 400),
        (json!({"action": "drop", "candidate": "tides@2"}), 400),
        (json!({"action": "drop", "candidate": "tides@3", "reason": "slow"}), 409),
    ] {
        assert_eq!(api(&server, "POST", &actions, &body).await.0, status, "{body}");
    }

    // By the form: with two left one may go, and the last one stands alone.
    let token = csrf(&going);
    let fields = [("csrf", token.as_str()), ("candidate", "tides@4"), ("harm", "no")];
    act(&server, id, "drop", &fields).await.is(400, &["a reason is missing"]);
    let gone =
        act(&server, id, "drop", &[fields.as_slice(), &[("reason", "callers complain")]].concat()).await;
    assert_eq!(gone.status, 303, "{gone:?}");
    done(&server, id).await;
    let alone = page(&server, &path).await;
    alone.is(200, &["tides@4 is out: ", "callers complain"]);
    assert!(!alone.body.contains("Take a candidate out"), "the last one leaves with the rollout");
    let last = json!({"action": "drop", "candidate": "tides@2", "reason": "enough"});
    let (status, ended) = api(&server, "POST", &actions, &last).await;
    assert_eq!((status, &ended["data"]["phase"]), (200, &json!("rolling-back")));
    done(&server, id).await;
    page(&server, &path).await.is(200, &["aborted"]);
}

#[tokio::test]
async fn the_best_is_marked_and_said_with_its_numbers() {
    let server = Server::start().await;
    let (id, releases) = three(&server, "tides").await;
    for seq in 1..=40 {
        look(&server, id, seq, "tides", &[(releases[1], 5), (releases[2], 6), (releases[3], 2)]).await;
    }
    let path = format!("/delivery/rollouts/{id}");
    let over = page(&server, &path).await;
    over.is(200, &["tides v4 at tides", "tides@4 was chosen by", "0.400 against tides@2 1.00, tides@3 1.20"]);
    over.is(200, &["not chosen", "complete"]);
    assert!(!over.body.contains("in quarantine"), "nobody did harm");
}

#[tokio::test]
async fn nothing_of_several_candidates_becomes_markup() {
    let server = Server::start().await;
    let (id, releases) = three(&server, HOSTILE).await;
    look(&server, id, 1, HOSTILE, &[(releases[1], 5), (releases[2], 60), (releases[3], 5)]).await;
    for path in ["/delivery".to_owned(), format!("/delivery/rollouts/{id}"), "/owner".to_owned()] {
        let reply = page(&server, &path).await;
        reply.is(200, &[]);
        is_tame(&reply);
    }
}
