//! A version that is one endpoint's primary and another one's shadow: what the shadow does is not felt by callers.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tidemill_core::SystemClock;

use super::*;
use crate::gateway::endpoint::EndpointSpec;
use crate::gateway::loader::Loader;
use crate::gateway::settings::Settings;
use crate::gateway::source::ModelBundle;
use crate::gateway::testing::{Kept, Shelf};
use crate::gateway::{Gateway, Parts};
use crate::{Inference as _, Named, Request, Response, Status};

/// How long anything that goes well may take on a busy machine; a call that hangs lasts as long.
const LONG: Duration = Duration::from_secs(60);

/// Loads the models of the tests by their names, with one worker each, and remembers them.
#[derive(Default)]
struct Loads(Mutex<Vec<(String, Arc<PythonSession>)>>);

impl Loader for Loads {
    fn load(&self, bundle: &ModelBundle) -> Result<Arc<dyn Session>, String> {
        let settings = PythonSettings { call_timeout: LONG, ..settings() };
        let session = PythonSession::load(&models().join(&bundle.model), settings);
        let session = Arc::new(session.map_err(|error| error.to_string())?);
        self.0.lock().unwrap().push((bundle.model.clone(), Arc::clone(&session)));
        Ok(session)
    }
}

impl Loads {
    fn session(&self, model: &str) -> Arc<PythonSession> {
        let sessions = self.0.lock().unwrap();
        sessions.iter().find(|(name, _)| name == model).map(|(_, session)| Arc::clone(session)).unwrap()
    }
}

async fn ask(gateway: &Gateway, endpoint: &str, session: &PythonSession, first: f64) -> Response {
    let inputs = session.inputs().iter().zip(naughty(first));
    let inputs = inputs.map(|(slot, tensor)| Named { name: slot.name.clone(), tensor }).collect();
    let request = Request { model: endpoint.to_owned(), inputs, ..Request::default() };
    gateway.infer(request).await.unwrap()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG * 2, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_takes_no_worker_from_callers_of_the_same_version() {
    let (loads, kept) = (Arc::new(Loads::default()), Arc::new(Kept::default()));
    let gateway = Gateway::new(Parts {
        source: Arc::new(Shelf::of(&[("naughty", &["1"]), ("series", &["1"])])),
        loader: loads.clone(),
        recorder: Some(kept.clone()),
        clock: Arc::new(SystemClock),
        settings: Settings { timeout: LONG, ..Settings::default() },
    });
    let primary = json!({"arms": [{"name": "a", "model": "naughty", "version": "1", "weight": 1}]});
    let other = json!({"arms": [{"name": "a", "model": "series", "version": "1", "weight": 1},
        {"name": "s", "model": "naughty", "version": "1", "weight": 100, "shadow": true}]});
    for (name, spec) in [("primary", primary), ("other", other)] {
        let spec: EndpointSpec = serde_json::from_value(spec).unwrap();
        gateway.set_endpoint(name, 1, spec.settle(None).unwrap()).unwrap();
    }
    let fine = async |session: &PythonSession| {
        let begun = Instant::now();
        let answer = ask(&gateway, "primary", session, 5.0).await;
        assert_eq!(shown(&answer.outputs[0].tensor), json!([5.0]));
        begun.elapsed()
    };
    let described = load("naughty");
    fine(&described).await;
    let session = loads.session("naughty");
    let pids = session.idle_pids();
    assert_eq!(
        session.idle_shadow_pids(),
        Vec::<u32>::new(),
        "it costs nothing while nobody is shown anything"
    );
    let alone = session.memory_bytes();

    // One that crashes is started again, and no other.
    ask(&gateway, "other", &described, 2000.0).await;
    until("the shadow's crash is recorded", || !kept.of_shadows().is_empty()).await;
    let Status::Failed(why) = kept.of_shadows().remove(0).status else { panic!("{:?}", kept.of_shadows()) };
    assert!(why.message.contains("the worker ended"), "{}", why.message);
    assert_eq!((session.idle_pids(), session.restarts()), (pids.clone(), 0));
    until("the shadow's worker is there again", || session.idle_shadow_pids().len() == 1).await;
    assert!(session.memory_bytes() > alone, "the shadow's worker is counted");
    assert!(niceness(session.idle_shadow_pids()[0]) > niceness(pids[0]), "callers come first");

    // While one hangs, callers of the same version are answered as if it were not there.
    ask(&gateway, "other", &described, 3000.0).await;
    until("the shadow is at work", || session.idle_shadow_pids().is_empty()).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        slowest = slowest.max(fine(&described).await);
    }
    assert!(slowest < LONG / 4, "{slowest:?}");
    assert_eq!(kept.of_shadows().len(), 1, "it hangs still");
    assert_eq!((session.idle_pids(), session.restarts()), (pids, 0));
}

#[test]
fn the_worker_for_shadows_ends_when_no_shadow_asks_any_more() {
    let rests = PythonSettings { shadow_rest: Duration::from_secs(1), ..settings() };
    let session = PythonSession::load(&models().join("naughty"), rests).unwrap();
    let shadows = session.for_shadows().unwrap();
    for _ in 0..2 {
        assert_eq!(shown(&shadows.run(&naughty(5.0)).unwrap()[0]), json!([5.0]));
        let begun = Instant::now();
        while !session.idle_shadow_pids().is_empty() {
            assert!(begun.elapsed() < LONG, "it is still there");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    assert_eq!(session.idle_pids().len(), 1, "that of callers stays");
}

/// The priority of a process: larger is later.
fn niceness(pid: u32) -> i32 {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may hold anything, come the other fields from the third on.
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}
