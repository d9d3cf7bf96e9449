//! Signatures of every sender, against values that Python's `hmac` made; bodies of pushes, CloudEvents, Alertmanager.

use proptest::prelude::*;
use tidemill_core::Timestamp;
use tidemill_trigger::hook::{Push, Refusal, Verified, WINDOW, pushes, verify};
use tidemill_trigger::{alertmanager, cloudevent, detail};

const SECRET: &str = "It's a Secret to Everybody";
const BODY: &[u8] = b"Hello, World!";
/// The example of GitHub's documentation, "Validating webhook deliveries".
const GITHUB: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
/// 2026-11-26T10:00:00Z
const NOW: i64 = 1_795_687_200;

type Headers<'a> = &'a [(&'a str, &'a str)];

fn checked(headers: Headers<'_>, body: &[u8], secret: &str) -> Result<Verified, Refusal> {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    verify(&header, body, secret, Timestamp::from_millis(NOW * 1000))
}

fn github(signature: &str) -> Result<Verified, Refusal> {
    checked(&[("x-hub-signature-256", signature)], BODY, SECRET)
}

#[test]
fn signatures_of_the_body() {
    let good = github(&format!("sha256={GITHUB}")).unwrap();
    assert_eq!((good.sender, good.key.as_deref()), ("github", Some(format!("github {GITHUB}").as_str())));
    for name in ["x-gitea-signature", "x-forgejo-signature"] {
        assert_eq!(checked(&[(name, GITHUB)], BODY, SECRET).unwrap().sender, "gitea");
    }
    assert_eq!(github(&format!("sha256={}", GITHUB.replace('7', "8"))), Err(Refusal::Wrong));
    assert_eq!(github(&format!("sha1={GITHUB}")), Err(Refusal::Malformed("x-hub-signature-256")));
    assert_eq!(github("sha256=zz"), Err(Refusal::Malformed("x-hub-signature-256")));
    assert_eq!(github("sha256="), Err(Refusal::Wrong));
    assert_eq!(github(&format!("sha256={}", &GITHUB[..62])), Err(Refusal::Wrong));
    let signature = format!("sha256={GITHUB}");
    let headers = [("x-hub-signature-256", signature.as_str())];
    assert_eq!(checked(&headers, b"Hello, World", SECRET), Err(Refusal::Wrong));
    assert_eq!(checked(&headers, BODY, "another"), Err(Refusal::Wrong));
    assert_eq!(checked(&[], BODY, SECRET), Err(Refusal::Unsigned));
    // A token does not rescue a wrong signature.
    let both = [("x-hub-signature-256", "sha256=00"), ("authorization", "Bearer It's a Secret to Everybody")];
    assert_eq!(checked(&both, BODY, SECRET), Err(Refusal::Wrong));
}

/// A job that posts the same text each day means it each day; a delivery that is sent again does not.
#[test]
fn the_same_text_is_another_request_by_its_delivery_or_after_a_while() {
    let signature = format!("sha256={GITHUB}");
    let sent = |more: Headers<'_>| {
        let headers = [&[("x-hub-signature-256", signature.as_str())], more].concat();
        checked(&headers, BODY, SECRET).unwrap()
    };
    let at = |seconds: i64| Timestamp::from_millis((NOW + seconds) * 1000);
    let plain = sent(&[]);
    let key = |seconds: i64| plain.request_key(at(seconds)).unwrap();
    assert_eq!(key(0), key(WINDOW.as_secs() as i64 - 1), "sent again at once");
    assert_ne!(key(0), key(WINDOW.as_secs() as i64), "another time");
    let named = |id: &str| sent(&[("x-github-delivery", id)]).request_key(at(86_400)).unwrap();
    assert_eq!(named("d-1"), format!("github {GITHUB} d-1"));
    assert_ne!(named("d-1"), named("d-2"));
    // What stands on the signature alone, as a push does, is the same for ever.
    assert_eq!(sent(&[("x-github-delivery", "d-1")]).key, plain.key);
    let timed = Verified { sender: "standard", key: Some("m".into()), is_of_text: false, delivery: None };
    assert_eq!(timed.request_key(at(0)).as_deref(), Some("m"));
}

#[test]
fn signatures_of_identifier_time_and_body() {
    // base64(hmac.new(key, b"msg_1.1795687200.{\"a\":1}", "sha256").digest())
    const PLAIN: &str = "jNUXqekhuvYXicvzG1415ksg8DQZjvCkLSkULQ/pkBA=";
    // The same with the key that `whsec_c2VjcmV0IGtleSBvZiAyNCBieXRlcw==` stands for.
    const ENCODED: &str = "FvO0iWVSLZZqmE98vac+M1eQPr84ng85x9gO2q2thzo=";
    let body = br#"{"a":1}"#;
    let time = NOW.to_string();
    let call = |names: [&'static str; 3], signature: &str, time: &str, secret: &str| {
        checked(&[(names[0], signature), (names[1], "msg_1"), (names[2], time)], body, secret)
    };
    const STANDARD: [&str; 3] = ["webhook-signature", "webhook-id", "webhook-timestamp"];
    const MLFLOW: [&str; 3] = ["x-mlflow-signature", "x-mlflow-delivery-id", "x-mlflow-timestamp"];
    for (names, sender) in [(STANDARD, "standard"), (MLFLOW, "mlflow")] {
        let good = call(names, &format!("v1,{PLAIN}"), &time, "key").unwrap();
        assert_eq!((good.sender, good.key.as_deref()), (sender, Some("msg_1")));
    }
    let secret = "whsec_c2VjcmV0IGtleSBvZiAyNCBieXRlcw==";
    assert!(call(STANDARD, &format!("v1,{ENCODED}"), &time, secret).is_ok());
    assert!(call(STANDARD, &format!("v1a,x v1,AAAA v1,{PLAIN}"), &time, "key").is_ok(), "one of several");
    for (signature, time, expected) in [
        (format!("v1,{ENCODED}"), time.as_str(), Refusal::Wrong),
        (PLAIN.to_owned(), time.as_str(), Refusal::Wrong),
        (format!("v1,{PLAIN}"), "yesterday", Refusal::Malformed("webhook-timestamp")),
        (format!("v1,{PLAIN}"), "1795687201", Refusal::Wrong),
        (String::new(), time.as_str(), Refusal::Wrong),
    ] {
        assert_eq!(call(STANDARD, &signature, time, "key"), Err(expected), "{signature} {time}");
    }
    let unnamed = [("webhook-signature", "v1,x"), ("webhook-timestamp", time.as_str())];
    assert_eq!(checked(&unnamed, body, "key"), Err(Refusal::Malformed("webhook-id")));
}

#[test]
fn a_signature_has_its_time() {
    let header = |name: &str| match name {
        "webhook-signature" => Some("v1,jNUXqekhuvYXicvzG1415ksg8DQZjvCkLSkULQ/pkBA="),
        "webhook-id" => Some("msg_1"),
        "webhook-timestamp" => Some("1795687200"),
        _ => None,
    };
    let window = WINDOW.as_secs() as i64;
    for (away, expected) in
        [(0, true), (window, true), (-window, true), (window + 1, false), (-window - 1, false)]
    {
        let now = Timestamp::from_millis((NOW + away) * 1000);
        let said = verify(&header, br#"{"a":1}"#, "key", now);
        assert_eq!(said.is_ok(), expected, "{away} s: {said:?}");
        assert!(expected || said == Err(Refusal::Stale));
    }
}

#[test]
fn tokens() {
    let basic = "Basic YWxlcnRtYW5hZ2VyOnMzY3JldA=="; // alertmanager:s3cret
    for (headers, expected) in [
        (&[("x-gitlab-token", "s3cret")][..], Some("gitlab")),
        (&[("x-gitlab-token", "s3crets")], None),
        (&[("authorization", "Bearer s3cret")], Some("token")),
        (&[("authorization", "bearer s3cret")], Some("token")),
        (&[("authorization", basic)], Some("token")),
        (&[("authorization", "Basic s3cret")], None),
        (&[("authorization", "s3cret")], None),
        (&[("x-gitlab-token", "")], None),
    ] {
        let said = checked(headers, BODY, "s3cret");
        assert_eq!(said.as_ref().ok().map(|good| good.sender), expected, "{headers:?}: {said:?}");
    }
    let named =
        checked(&[("x-gitlab-token", "s3cret"), ("x-gitlab-event-uuid", "u-1")], BODY, "s3cret").unwrap();
    assert_eq!(named.key.as_deref(), Some("gitlab u-1"));
}

fn push(headers: Headers<'_>, body: &str) -> Option<Push> {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    pushes(&header, body.as_bytes()).unwrap()
}

#[test]
fn what_was_pushed() {
    let commit = "a".repeat(40);
    let body = |reference: &str, after: &str| {
        format!(
            r#"{{"ref":"{reference}","before":"{0}","after":"{after}","repository":{{"full_name":"team/flights"}},"pusher":{{"name":"ada"}}}}"#,
            "0".repeat(40)
        )
    };
    let good = push(&[("x-github-event", "push")], &body("refs/heads/feature/x", &commit)).unwrap();
    assert_eq!((good.branch.as_str(), good.commit.as_deref()), ("feature/x", Some(commit.as_str())));
    assert_eq!(good.details["pusher"], "ada");
    assert_eq!(good.details["repository"], "team/flights");
    let gitlab = format!(
        r#"{{"object_kind":"push","ref":"refs/heads/main","after":"{commit}","user_username":"bo","project":{{"path_with_namespace":"g/p"}}}}"#
    );
    let gitlab = push(&[("x-gitlab-event", "Push Hook")], &gitlab).unwrap();
    assert_eq!((gitlab.branch.as_str(), gitlab.details["pusher"].as_str()), ("main", "bo"));
    assert!(push(&[("x-gitea-event", "push")], &body("refs/heads/main", &commit)).is_some());
    assert_eq!(push(&[("x-github-event", "ping")], r#"{"zen":"x"}"#), None);
    assert_eq!(push(&[("x-github-event", "push")], &body("refs/tags/v1", &commit)), None);
    assert_eq!(push(&[], &body("refs/heads/gone", &"0".repeat(40))).unwrap().commit, None, "deleted");
    let form = [("content-type", "application/x-www-form-urlencoded"), ("x-github-event", "push")];
    let encoded =
        format!("payload=%7B%22ref%22%3A+%22refs%2Fheads%2Fmain%22%2C+%22after%22%3A%22{commit}%22%7D");
    assert_eq!(push(&form, &encoded).unwrap().branch, "main");
    for bad in ["", "{}", r#"{"ref":"refs/heads/main"}"#, r#"{"ref":"refs/heads/main","after":"xyz"}"#] {
        assert!(pushes(&|_| None, bad.as_bytes()).is_err(), "{bad}");
    }
}

fn events(headers: Headers<'_>, body: &str) -> Result<Vec<cloudevent::CloudEvent>, cloudevent::NoCloudEvent> {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    cloudevent::parse(&header, body.as_bytes())
}

#[test]
fn cloud_events_in_three_modes() {
    let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"com.example.ready","data":{"rows":4}}"#;
    let structured = events(&[("content-type", "application/cloudevents+json; charset=utf-8")], one).unwrap();
    assert_eq!((structured[0].key().as_str(), structured[0].kind.as_str()), ("/s 1", "com.example.ready"));
    let batch = format!("[{one},{one}]");
    assert_eq!(events(&[("content-type", "application/cloudevents-batch+json")], &batch).unwrap().len(), 2);
    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "a%20b"),
        ("ce-source", "/%C3%A9"),
        ("ce-type", "com.example.ready"),
        ("ce-subject", "flights"),
    ];
    let found = events(&binary, r#"{"rows":4}"#).unwrap().remove(0);
    assert_eq!((found.id.as_str(), found.source.as_str()), ("a b", "/é"));
    assert_eq!(found.details()["subject"], "flights");
    assert!(
        found.is("com.example.*", None) && found.is("com.example.ready", Some("/é")) && found.is("*", None)
    );
    assert!(!found.is("com.example", None) && !found.is("*", Some("/s")));
    for (headers, body, said) in [
        (&[("content-type", "application/json")][..], one, "neither"),
        (&[("content-type", "application/cloudevents+avro")], one, "only in JSON"),
        (&[("content-type", "application/cloudevents+json")], "{", "no CloudEvent in JSON"),
        (&[("content-type", "application/cloudevents+json")], r#"{"specversion":"0.3"}"#, "version 1.0"),
        (&[("content-type", "application/cloudevents+json")], r#"{"specversion":"1.0","id":""}"#, "no `id`"),
        (&[("content-type", "application/cloudevents-batch+json")], one, "a batch is a list"),
        (&[("ce-specversion", "1.0"), ("ce-id", "1")], "", "no `source`"),
    ] {
        let error = events(headers, body).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn alerts_of_alertmanager() {
    let body = r#"{"version":"4","groupKey":"g","status":"firing","alerts":[
        {"status":"firing","labels":{"alertname":"ModelLate","job":"x"},"startsAt":"2026-11-26T10:00:00Z","fingerprint":"f1"},
        {"status":"resolved","labels":{"alertname":"ModelLate"},"startsAt":"2026-11-26T09:00:00Z","fingerprint":"f2"},
        {"status":"firing","labels":{"alertname":"Disk"},"startsAt":"2026-11-26T10:00:00Z","fingerprint":"f3"}]}"#;
    let found = alertmanager::firing(body.as_bytes(), "ModelLate").unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].key.as_str(), found[0].details["job"].as_str()), ("f1 2026-11-26T10:00:00Z", "x"));
    assert_eq!(alertmanager::firing(body.as_bytes(), "*").unwrap().len(), 2);
    assert!(alertmanager::firing(body.as_bytes(), "None").unwrap().is_empty());
    for bad in ["", "[]", r#"{"version":"3","alerts":[]}"#, r#"{"version":"4"}"#] {
        assert!(alertmanager::firing(bad.as_bytes(), "*").is_err(), "{bad}");
    }
}

#[test]
fn texts_for_the_log_are_short_and_plain() {
    assert_eq!(detail("a\nb\0c"), "abc");
    let long = detail(&"é".repeat(1000));
    assert_eq!((long.len(), long.chars().count()), (256, 128));
}

proptest! {
    /// Nothing that is sent makes any of the readers panic, and nothing but the secret opens.
    #[test]
    fn whatever_is_sent(body in prop::collection::vec(any::<u8>(), 0..200), value in "\\PC{0,80}", which in 0..8_usize) {
        let names = [
            "x-hub-signature-256", "x-gitea-signature", "x-gitlab-token", "authorization", "webhook-signature",
            "x-mlflow-signature", "content-type", "ce-id",
        ];
        let header = |name: &str| match name {
            "webhook-id" | "webhook-timestamp" | "ce-specversion" => Some(value.as_str()),
            _ => (name == names[which]).then_some(value.as_str()),
        };
        let secret = "a secret that nobody guesses";
        prop_assert!(verify(&header, &body, secret, Timestamp::from_millis(NOW * 1000)).is_err());
        let _ = (pushes(&header, &body), cloudevent::parse(&header, &body), alertmanager::firing(&body, "*"));
    }
}
