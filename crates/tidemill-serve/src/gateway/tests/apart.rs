//! Models whose calls take places from each other, as workers of Python do: shadows have places of their own.

use tidemill_runtime::{RunError, Session, Slot};

use super::*;

/// Answers one call at a time, and hangs for a while on 99.
#[derive(Debug)]
struct Narrow {
    fake: Fake,
    place: Mutex<()>,
    apart: Option<Box<Narrow>>,
}

impl Narrow {
    fn new(apart: Option<Box<Self>>) -> Self {
        Self { fake: Fake::slow(Duration::from_millis(1)), place: Mutex::new(()), apart }
    }
}

impl Session for Narrow {
    fn runtime(&self) -> &'static str {
        "narrow"
    }

    fn inputs(&self) -> &[Slot] {
        self.fake.inputs()
    }

    fn outputs(&self) -> &[Slot] {
        self.fake.outputs()
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        let _place = self.place.lock().unwrap();
        if *inputs[0].values() == Values::F32(vec![99.0]) {
            std::thread::sleep(HANGS);
        }
        self.fake.run(inputs)
    }

    fn for_shadows(&self) -> Option<&dyn Session> {
        self.apart.as_deref().map(|apart| apart as &dyn Session)
    }

    fn memory_bytes(&self) -> u64 {
        100
    }
}

const HANGS: Duration = Duration::from_secs(4);

struct Narrows;

impl Loader for Narrows {
    fn load(&self, bundle: &source::ModelBundle) -> Result<Arc<dyn Session>, String> {
        let session: Arc<dyn Session> = match bundle.model.as_str() {
            "m" => Arc::new(Narrow::new(Some(Box::new(Narrow::new(None))))),
            _ => Arc::new(Fake::quick()),
        };
        Ok(session)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_that_hangs_keeps_no_place_from_callers_of_the_same_version() {
    let kept = Arc::new(Kept::default());
    let gateway = Gateway::new(Parts {
        source: Arc::new(Shelf::of(&[("m", &["1"]), ("other", &["1"])])),
        loader: Arc::new(Narrows),
        recorder: Some(kept.clone()),
        clock: Arc::new(FixedClock::new(Timestamp::from_millis(1_000))),
        settings: Settings::default(),
    });
    let primary = json!({"arms": [{"name": "a", "model": "m", "version": "1", "weight": 1}]});
    let other = json!({"arms": [{"name": "a", "model": "other", "version": "1", "weight": 1},
        {"name": "s", "model": "m", "version": "1", "weight": 100, "shadow": true}]});
    for (name, spec) in [("primary", primary), ("e", other)] {
        let spec: EndpointSpec = serde_json::from_value(spec).unwrap();
        gateway.set_endpoint(name, 1, spec.settle(None).unwrap()).unwrap();
    }
    let shadows = || kept.of_shadows().len();
    assert_eq!(value(&gateway.infer(request("primary", None, &[10.0])).await.unwrap()), 20.0);
    assert_eq!(value(&gateway.infer(request("e", None, &[10.0])).await.unwrap()), 20.0);
    for _ in 0..400 {
        if shadows() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(shadows(), 1, "it is shown what callers ask");
    gateway.infer(request("e", None, &[99.0])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(value(&gateway.infer(request("primary", None, &[10.0])).await.unwrap()), 20.0);
    }
    assert!(begun.elapsed() < HANGS / 2, "{:?}", begun.elapsed());
    assert_eq!(shadows(), 1, "it hangs still");
}
