//! The gateway as a whole, over fakes.

mod apart;
mod decided;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tidemill_core::{FixedClock, Timestamp};
use tidemill_runtime::{Tensor, Values};

use super::testing::{Fake, Kept, Loads, Shelf, Work};
use super::validate::Kind;
use super::*;
use crate::{Named, Record, Status};

struct Lab {
    gateway: Gateway,
    shelf: Arc<Shelf>,
    kept: Arc<Kept>,
}

impl Lab {
    fn new(loads: Loads) -> Self {
        let shelf = Arc::new(Shelf::of(&[("m", &["1", "2", "3"]), ("other", &["1"])]));
        let kept = Arc::new(Kept::default());
        let gateway = Gateway::new(Parts {
            source: shelf.clone(),
            loader: Arc::new(loads),
            recorder: Some(kept.clone()),
            clock: Arc::new(FixedClock::new(Timestamp::from_millis(1_000))),
            settings: Settings { shadow_queue: 4, ..Settings::default() },
        });
        Self { gateway, shelf, kept }
    }

    /// Version N multiplies by N.
    fn plain() -> Self {
        Self::new(Loads::new(|bundle| Ok(Fake::times(bundle.version.parse().unwrap()))))
    }

    fn set(&self, name: &str, revision: u64, spec: serde_json::Value) {
        let spec: EndpointSpec = serde_json::from_value(spec).unwrap();
        let before = self.gateway.endpoint(name).and_then(|endpoint| endpoint.spec.clone());
        self.gateway.set_endpoint(name, revision, spec.settle(before.as_ref()).unwrap()).unwrap();
    }

    async fn ask(&self, model: &str, version: Option<&str>) -> Result<Response, InferError> {
        self.gateway.infer(request(model, version, &[10.0])).await
    }

    fn records(&self) -> Vec<Record> {
        self.kept.0.lock().unwrap().clone()
    }
}

fn request(model: &str, version: Option<&str>, values: &[f32]) -> Request {
    let tensor = Tensor::new(vec![values.len(), 1], Values::F32(values.to_vec())).unwrap();
    Request {
        model: model.to_owned(),
        version: version.map(str::to_owned),
        inputs: vec![Named { name: "x".to_owned(), tensor }],
        ..Request::default()
    }
}

fn value(response: &Response) -> f32 {
    match response.outputs[0].tensor.values() {
        Values::F32(values) => values[0],
        other => panic!("{other:?}"),
    }
}

fn two_arms(first: f64, second: f64) -> serde_json::Value {
    json!({"arms": [{"name": "a", "model": "m", "version": "1", "weight": first},
                    {"name": "b", "model": "m", "version": "2", "weight": second}],
           "sticky": {"header": "x-user"}})
}

#[tokio::test]
async fn models_answer_directly_and_through_endpoints() {
    let lab = Lab::plain();
    let newest = lab.ask("m", None).await.unwrap();
    assert_eq!((value(&newest), newest.version.as_str(), newest.arm), (30.0, "3", None));
    assert_eq!(value(&lab.ask("m", Some("2")).await.unwrap()), 20.0);
    lab.shelf.point("m", "champion", "1");
    assert_eq!(value(&lab.ask("m", Some("@champion")).await.unwrap()), 10.0);
    for (model, version) in [("none", None), ("m", Some("9")), ("m", Some("@none"))] {
        let why = lab.ask(model, version).await.unwrap_err();
        assert!(matches!(why, InferError::NotFound(_)), "{why:?}");
    }

    lab.set("e", 1, two_arms(0.0, 1.0));
    let answer = lab.ask("e", None).await.unwrap();
    assert_eq!((value(&answer), answer.arm.as_deref(), answer.model.as_str()), (20.0, Some("b"), "e"));
    assert_eq!(value(&lab.ask("e", Some("a")).await.unwrap()), 10.0, "an arm by name");
    assert_eq!(value(&lab.ask("e", Some("1")).await.unwrap()), 10.0, "an arm by version");
    assert_eq!(lab.gateway.metadata("e", None).await.unwrap().name, "e");
    lab.gateway.remove_endpoint("e");
    assert!(matches!(lab.ask("e", None).await, Err(InferError::NotFound(_))));
}

#[tokio::test]
async fn a_record_says_what_happened() {
    let lab = Lab::plain();
    let mut spec = two_arms(1.0, 0.0);
    spec["entity"] = json!({"header": "x-user"});
    spec["keep_headers"] = json!(["X-Team", "x-none"]);
    lab.set("e", 1, spec);
    let mut asked = request("e", None, &[10.0, 11.0]);
    asked.id = Some("r-1".to_owned());
    asked.headers = [("x-user", "ada"), ("x-team", "tide"), ("x-else", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let answer = lab.gateway.infer(asked.clone()).await.unwrap();
    assert_eq!(answer.id, "r-1");
    let [record] = lab.records().try_into().unwrap();
    assert_eq!((&*record.id, &*record.endpoint, &*record.model, &*record.version), ("r-1", "e", "m", "1"));
    assert_eq!((record.arm.as_deref(), record.entity.as_deref()), (Some("a"), Some("ada")));
    assert_eq!(record.headers, [("x-team".into(), "tide".to_owned())]);
    assert_eq!((record.inputs, record.outputs), (asked.inputs, answer.outputs));
    assert_eq!(
        (record.status, record.is_shadow, record.time),
        (Status::Answered, false, Timestamp::from_millis(1_000))
    );
    assert!(record.release.starts_with("b3:"), "{}", record.release);

    let mut wrong = request("e", None, &[1.0]);
    wrong.inputs[0].name = "z".to_owned();
    let why = lab.gateway.infer(wrong).await.unwrap_err();
    assert_eq!(why.to_string(), "input `x` is missing");
    let failed = lab.records().pop().unwrap();
    assert!(matches!(failed.status, Status::Failed(failure) if failure.kind == "invalid"));
    let mut asked = request("e", None, &[1.0]);
    asked.outputs = vec!["z".to_owned()];
    assert!(lab.gateway.infer(asked).await.unwrap_err().to_string().contains("no output `z`"));
}

#[tokio::test]
async fn values_that_are_not_of_training_are_told_counted_or_refused() {
    let lab = Lab::plain();
    let mut spec = two_arms(1.0, 0.0);
    spec["bounds"] = json!({"x": {"min": 0.0, "max": 20.0}});
    spec["validation"] = json!({"out_of_range": "warn", "nan": "refuse"});
    lab.set("e", 1, spec);
    let answer = lab.gateway.infer(request("e", None, &[10.0, 30.0])).await.unwrap();
    assert_eq!(answer.warnings, ["input `x`: 30 is outside of the range of training"]);
    let why = lab.gateway.infer(request("e", None, &[f32::NAN])).await.unwrap_err();
    assert_eq!(why.to_string(), "input `x` is NaN");
    let endpoint = lab.gateway.endpoint("e").unwrap();
    let loaded = lab.gateway.models().loaded("m", &Which::Version("1".into()), Instant::now()).unwrap();
    let bound = endpoint.bound(&endpoint.arms[0], &loaded, lab.gateway.metrics());
    assert_eq!((bound.meter.violations(Kind::OutOfRange), bound.meter.violations(Kind::Nan)), (1, 1));
    assert_eq!(bound.meter.answers(), 1);
}

#[tokio::test]
async fn the_fallback_answers_where_the_model_fails_and_says_so() {
    let lab = Lab::new(Loads::new(|bundle| match bundle.version.as_str() {
        "1" => Ok(Fake { work: Work::Fails, ..Fake::quick() }),
        _ => Err("broken".to_owned()),
    }));
    for (arm, text) in
        [("1", "the declared fallback answered: the model failed: always"), ("2", "cannot be loaded")]
    {
        let spec = json!({"arms": [{"name": "a", "model": "m", "version": arm, "weight": 1}],
            "fallback": {"outputs": {"y": 0.5}}});
        lab.set(arm, 1, spec);
        let answer = lab.gateway.infer(request(arm, None, &[1.0, 2.0])).await.unwrap();
        assert_eq!(answer.outputs[0].tensor.rows(), 2);
        assert!(answer.warnings[0].contains(text), "{:?}", answer.warnings);
        let record = lab.records().pop().unwrap();
        assert!(matches!(record.status, Status::FellBack(_)), "{record:?}");
    }
    assert!(matches!(lab.ask("m", Some("1")).await, Err(InferError::Model(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_is_shown_requests_and_answers_nobody() {
    let lab = Lab::plain();
    lab.set(
        "e",
        1,
        json!({"arms": [{"name": "a", "model": "m", "version": "1", "weight": 1},
                        {"name": "s", "model": "m", "version": "3", "weight": 100, "shadow": true}]}),
    );
    for i in 0..20 {
        let mut asked = request("e", None, &[10.0]);
        asked.id = Some(i.to_string());
        assert_eq!(value(&lab.gateway.infer(asked).await.unwrap()), 10.0);
        // Half a minute: a thread that gives way may get little of a busy machine.
        for _ in 0..6_000 {
            if lab.records().len() == 2 * (i + 1) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let (shadows, answers): (Vec<Record>, Vec<Record>) =
        lab.records().into_iter().partition(|one| one.is_shadow);
    let ids = |records: &[Record]| records.iter().map(|one| one.id.clone()).collect::<BTreeSet<_>>();
    assert_eq!((shadows.len(), ids(&shadows)), (20, ids(&answers)));
    let outputs: Vec<_> = shadows.iter().map(|one| one.outputs[0].tensor.values().clone()).collect();
    assert!(outputs.iter().all(|values| *values == Values::F32(vec![30.0])), "{outputs:?}");
    assert!(shadows.iter().all(|one| one.arm.as_deref() == Some("s") && &*one.version == "3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_that_hangs_or_crashes_does_not_touch_callers() {
    let lab = Lab::new(Loads::new(|bundle| match (bundle.model.as_str(), bundle.version.as_str()) {
        ("other", _) => Ok(Fake { work: Work::Picky, ..Fake::quick() }),
        (_, "3") => Ok(Fake::slow(Duration::from_secs(3))),
        _ => Ok(Fake::quick()),
    }));
    lab.set(
        "e",
        1,
        json!({"arms": [{"name": "a", "model": "m", "version": "1", "weight": 1},
                        {"name": "hangs", "model": "m", "version": "3", "weight": 100, "shadow": true},
                        {"name": "crashes", "model": "other", "weight": 100, "shadow": true}]}),
    );
    lab.ask("e", None).await.unwrap();
    let begun = Instant::now();
    for _ in 0..200 {
        assert_eq!(value(&lab.gateway.infer(request("e", None, &[13.0])).await.unwrap()), 26.0);
    }
    // One shadow that a caller waited for would take three seconds.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let endpoint = lab.gateway.endpoint("e").unwrap();
    let drops = endpoint.unbound(&endpoint.arms[1], lab.gateway.metrics()).drops();
    assert!(drops > 150, "{drops} were dropped");
    let crashed =
        |record: &Record| matches!(&record.status, Status::Failed(why) if why.message.contains("panicked"));
    // Shadows give way to all other work, so this may take long on a busy machine.
    for _ in 0..6_000 {
        if lab.records().iter().any(crashed) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the crash was not recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_fails_while_routing_changes_and_models_are_loaded_again() {
    let lab = Arc::new(Lab::plain());
    lab.set("e", 1, two_arms(1.0, 0.0));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (gateway, stop) = (lab.gateway.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answered = BTreeMap::<String, u64>::new();
                let mut asked = request("e", None, &[10.0]);
                asked.headers.insert("x-user".to_owned(), format!("user {client}"));
                while !stop.load(Ordering::Relaxed) {
                    let answer = gateway.infer(asked.clone()).await.unwrap();
                    let arm = answer.arm.as_deref().unwrap();
                    assert_eq!(value(&answer), if arm == "a" { 10.0 } else { 20.0 });
                    *answered.entry(arm.to_owned()).or_default() += 1;
                    tokio::task::yield_now().await;
                }
                answered
            })
        })
        .collect();
    for round in 2..60 {
        let share = f64::from(round % 5) * 25.0;
        lab.set("e", u64::try_from(round).unwrap(), two_arms(100.0 - share, share));
        if round % 10 == 0 {
            lab.gateway.load("e").await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut arms = BTreeMap::<String, u64>::new();
    for client in clients {
        for (arm, count) in client.await.unwrap() {
            *arms.entry(arm).or_default() += count;
        }
    }
    assert!(arms["a"] > 100 && arms["b"] > 100, "{arms:?}");
    // A change that arrives late by another way is not taken.
    lab.set("e", 3, two_arms(0.0, 1.0));
    assert_eq!(lab.gateway.endpoint("e").unwrap().revision, 59);
}

/// A request counts by the declaration that it came by, also where another one is in effect when it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_counts_under_the_shares_that_drew_it() {
    let lab = Arc::new(Lab::new(Loads::new(|_| Ok(Fake::slow(Duration::from_millis(400))))));
    lab.set("e", 1, two_arms(1.0, 0.0));
    lab.gateway.load("e").await.unwrap();
    let units = lab.gateway.units("e", 7);
    let ask = |user: &'static str| {
        let gateway = lab.gateway.clone();
        tokio::spawn(async move {
            let mut asked = request("e", None, &[10.0]);
            asked.headers.insert("x-user".to_owned(), user.to_owned());
            gateway.infer(asked).await.unwrap()
        })
    };
    let (one, again) = (ask("ada"), ask("ada"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = lab.gateway.endpoint("e").unwrap();
    lab.set("e", 2, two_arms(0.0, 1.0));
    let after = lab.gateway.endpoint("e").unwrap();
    for answer in [one, again, ask("bob"), ask("ada")] {
        answer.await.unwrap();
    }
    // Who names an arm was not drawn to it.
    lab.ask("e", Some("a")).await.unwrap();
    let counted = |endpoint: &endpoint::Endpoint| -> Vec<u64> {
        endpoint.arms.iter().map(|arm| arm.counted.answers()).collect()
    };
    assert_eq!((counted(&before), counted(&after)), (vec![2, 0], vec![0, 2]));
    let keys = |revision| ["a", "b"].map(|arm| units.counted(revision, arm));
    assert_eq!((keys(1), keys(2)), ([1, 0], [0, 1]), "ada came before");
    assert!(Arc::ptr_eq(&units, &lab.gateway.units("e", 7)));
    assert!(!Arc::ptr_eq(&units, &lab.gateway.units("e", 8)), "another one counts from the beginning");
    lab.gateway.keep_units(|name| name != "e");
    assert_eq!(lab.gateway.units("e", 7).counted(2, "b"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_waits_for_what_has_begun_and_refuses_what_comes() {
    let lab = Arc::new(Lab::new(Loads::new(|_| Ok(Fake::slow(Duration::from_millis(800))))));
    lab.gateway.load("m").await.unwrap();
    assert!(lab.gateway.is_ready());
    let running = {
        let lab = Arc::clone(&lab);
        tokio::spawn(async move { lab.ask("m", None).await })
    };
    while lab.gateway.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(!lab.gateway.drain(Duration::from_millis(5)).await, "it takes longer");
    assert!(!lab.gateway.is_ready());
    let refused = lab.ask("m", None).await;
    assert!(matches!(refused, Err(InferError::Unavailable { retry_after: Some(_), .. })), "{refused:?}");
    assert!(lab.gateway.drain(Duration::from_secs(5)).await);
    running.await.unwrap().unwrap();
    assert_eq!(lab.gateway.in_flight(), 0);
}

#[tokio::test]
async fn the_index_and_states() {
    let lab = Lab::plain();
    lab.set("e", 1, two_arms(0.0, 1.0));
    assert_eq!(lab.gateway.model_state("e", None).await.unwrap(), ModelState::Loading);
    lab.ask("e", None).await.unwrap();
    assert_eq!(lab.gateway.model_state("e", None).await.unwrap(), ModelState::Ready);
    assert!(matches!(lab.gateway.model_state("none", None).await, Err(InferError::NotFound(_))));
    let names = |entries: Vec<IndexEntry>| -> Vec<String> {
        entries.into_iter().map(|one| format!("{}@{} {:?}", one.name, one.version, one.state)).collect()
    };
    assert_eq!(
        names(lab.gateway.index(false).await.unwrap()),
        ["m@1 Loading", "m@2 Ready", "m@3 Loading", "other@1 Loading", "e@2 Ready"]
    );
    assert_eq!(names(lab.gateway.index(true).await.unwrap()), ["m@2 Ready", "e@2 Ready"]);
    lab.gateway.unload("e").await.unwrap();
    assert!(names(lab.gateway.index(true).await.unwrap()).is_empty());
}

/// Keeps spans, of every request unless its caller decided otherwise.
#[derive(Default)]
struct Spans(Mutex<Vec<trace::RequestSpan>>);

impl trace::Tracer for Spans {
    fn wants(&self, sampled: Option<bool>) -> bool {
        sampled.unwrap_or(true)
    }

    fn span(&self, span: trace::RequestSpan) {
        self.0.lock().unwrap().push(span);
    }
}

#[tokio::test]
async fn a_request_is_a_span_of_its_callers_trace() {
    let lab = Lab::plain();
    let spans = Arc::new(Spans::default());
    lab.gateway.trace(spans.clone());
    let ask = async |traceparent: &str, model: &str| {
        let mut request = request(model, Some("2"), &[10.0]);
        request.headers.insert("traceparent".to_owned(), traceparent.to_owned());
        lab.gateway.infer(request).await
    };
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";
    ask(&format!("{trace}1"), "m").await.unwrap();
    ask(&format!("{trace}0"), "m").await.unwrap();
    ask("", "nobody").await.unwrap_err();
    let spans = spans.0.lock().unwrap();
    let [answered, failed] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((answered.trace[0], answered.parent.unwrap()[7]), (0x4b, 0xb7));
    assert_eq!((answered.endpoint.as_str(), answered.version.as_str(), answered.rows), ("m", "2", 1));
    let names: Vec<&str> = answered.phases.iter().map(|phase| phase.name).collect();
    assert_eq!(names, ["load", "validate", "queue", "run", "record"]);
    let in_order = answered.phases.windows(2).all(|pair| pair[0].to <= pair[1].from);
    assert!(in_order && answered.phases[4].to <= answered.took, "{answered:?}");
    assert!(failed.parent.is_none() && failed.error.as_ref().unwrap().contains("nobody"), "{failed:?}");
}

/// HTTP drops what answers a caller who has gone; a model that hangs must show all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_is_counted_and_recorded() {
    let lab = Lab::new(Loads::new(|_| Ok(Fake::slow(Duration::from_millis(500)))));
    lab.set("e", 1, two_arms(1.0, 0.0));
    lab.gateway.load("e").await.unwrap();
    let asked = lab.gateway.infer(request("e", None, &[10.0]));
    assert!(tokio::time::timeout(Duration::from_millis(100), asked).await.is_err());
    let [record] = lab.records().try_into().unwrap();
    assert!(matches!(&record.status, Status::Failed(failure) if failure.kind == "cancelled"), "{record:?}");
    assert!(record.latency >= Duration::from_millis(100) && &*record.version == "1", "{record:?}");
    let endpoint = lab.gateway.endpoint("e").unwrap();
    let counted = &endpoint.arms[0].counted;
    let timed: u64 = counted.latencies().iter().map(|(_, count)| count).sum();
    assert_eq!((counted.answers(), counted.failures(), timed), (0, 0, 1));
    assert_eq!(lab.gateway.in_flight(), 0);
}

#[tokio::test]
async fn what_is_refused_is_no_fast_answer() {
    let lab = Lab::plain();
    lab.set("e", 1, two_arms(1.0, 0.0));
    let mut wrong = request("e", None, &[1.0]);
    wrong.inputs[0].name = "z".to_owned();
    for _ in 0..10 {
        lab.gateway.infer(wrong.clone()).await.unwrap_err();
    }
    lab.ask("e", None).await.unwrap();
    let endpoint = lab.gateway.endpoint("e").unwrap();
    let timed: u64 = endpoint.arms[0].counted.latencies().iter().map(|(_, count)| count).sum();
    assert_eq!(timed, 1);
}
