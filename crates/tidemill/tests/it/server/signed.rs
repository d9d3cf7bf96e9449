//! Webhooks and CloudEvents that are signed, and events that wait for others while the server is killed.

use serde_json::json;

use super::triggers::{Lab, STEP, post, signed};

const SECRET: &str = "a secret of forty characters or so, of ours";

#[test]
fn webhooks_and_cloud_events_are_believed_by_their_signature() {
    let lab = Lab::new(&format!(
        "{STEP}triggers:\n\
         - {{when: {{webhook: retrain}}, actions: [check], secret: {{file: secret}}}}\n\
         - {{name: ready, when: {{cloudevent: com.example.ready}}, actions: [check], secret: {{file: secret}}}}\n"
    ));
    lab.write("secret", SECRET);
    let server = lab.place.serve();
    let event = |id: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/s", "type": "com.example.ready", "data": {"rows": 3}})
            .to_string()
    };
    let deliveries = [
        (
            "/hooks/retrain",
            "application/json",
            "{\"why\": \"new data\"}".to_owned(),
            "{\"why\": \"new dat\"}".to_owned(),
        ),
        ("/hooks/ready", "application/cloudevents+json", event("e1"), event("e2")),
    ];
    for (before, (path, kind, body, other)) in deliveries.into_iter().enumerate() {
        let send = |signature: Option<&str>, body: &str| {
            let kind = ("Content-Type", kind);
            match signature {
                Some(signature) => post(&server, path, &[kind, ("X-Hub-Signature-256", signature)], body),
                None => post(&server, path, &[kind], body),
            }
        };
        let right = signed(SECRET, &body);
        assert_eq!(send(None, &body).0, 401, "{path}: not signed");
        assert_eq!(send(Some(&signed("another secret", &body)), &body).0, 401, "{path}: by somebody else");
        assert_eq!(send(Some(&right), &other).0, 401, "{path}: another text");
        assert_eq!(send(Some("sha256=00"), &body).0, 401, "{path}: no signature");
        let (status, said) = send(Some(&right), &body);
        assert_eq!((status, said["data"]["events"].as_array().unwrap().len()), (202, 1), "{path}: {said}");
        let log = lab.wait(&server, path, |log| log.ended("succeeded") == before + 1);
        assert_eq!(log.chain("trigger_fired"), ["trigger_fired", "source_changed"]);
        // The same delivery again is known.
        assert_eq!(send(Some(&right), &body).1["data"]["repeated"], 1, "{path}");
    }
    let log = lab.log();
    assert_eq!((log.count("source_changed"), log.count("trigger_fired")), (2, 2), "{log}");
    assert!(!log.to_string().contains(SECRET) && !server.said().contains(SECRET));
    server.stop();
}

#[test]
fn events_that_wait_for_others_are_not_lost_with_the_server() {
    let lab =
        Lab::new(&format!("{STEP}triggers: [{{when: {{webhook: go}}, actions: [check], debounce: 2s}}]\n"));
    let server = lab.place.serve();
    for _ in 0..2 {
        assert_eq!(post(&server, "/hooks/go", &[], "").0, 202);
    }
    server.kill();
    let server = lab.place.serve();
    let log = lab.wait(&server, "one job of both", |log| log.ended("succeeded") == 1);
    assert_eq!((log.count("source_changed"), log.count("trigger_fired")), (2, 1), "{log}");
    assert_eq!(log.of("trigger_fired").next().unwrap()["events"], 2, "{log}");
    log.acted_once();
    server.stop();
}
