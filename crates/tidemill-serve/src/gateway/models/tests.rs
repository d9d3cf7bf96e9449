//! The life of models: loaded once, loaded again, unloaded, refused. Sources and runtimes are fakes.

use super::super::golden::Golden;
use super::super::settings::ServingSettings;
use super::super::testing::{Ends, Fake, Loads, Shelf};
use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

struct Lab {
    models: Arc<Models>,
    shelf: Arc<Shelf>,
    loads: Arc<Loads>,
}

impl Lab {
    fn new(shelf: Shelf, settings: Settings, loads: Loads) -> Self {
        let (shelf, loads) = (Arc::new(shelf), Arc::new(loads));
        let models = Models::new(shelf.clone(), loads.clone(), settings, Arc::default());
        Self { models, shelf, loads }
    }

    fn plain(models: &[(&str, &[&str])]) -> Self {
        Self::new(Shelf::of(models), Settings::default(), Loads::new(|_| Ok(Fake::quick())))
    }

    async fn ready(&self, model: &str, which: Which) -> Result<Arc<Loaded>, InferError> {
        self.models.ready(model, &which, true, soon()).await
    }

    fn count(&self) -> usize {
        self.loads.count.load(Ordering::SeqCst)
    }

    fn states(&self) -> Vec<(String, ModelState)> {
        let shown = |status: ModelStatus| (format!("{}@{}", status.model, status.version), status.state);
        self.models.statuses().into_iter().map(shown).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_that_ask_at_once_load_once() {
    let loads = Loads::new(|_| {
        std::thread::sleep(Duration::from_millis(30));
        Ok(Fake::quick())
    });
    let lab = Arc::new(Lab::new(Shelf::of(&[("m", &["1"])]), Settings::default(), loads));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let lab = Arc::clone(&lab);
            tokio::spawn(async move { lab.ready("m", Which::Default).await.unwrap().serial })
        })
        .collect();
    let mut serials = Vec::new();
    for task in tasks {
        serials.push(task.await.unwrap());
    }
    serials.dedup();
    assert_eq!((serials.len(), lab.count()), (1, 1));
}

#[tokio::test]
async fn a_caller_in_a_hurry_does_not_stop_the_load() {
    let loads = Loads::new(|_| {
        std::thread::sleep(Duration::from_millis(600));
        Ok(Fake::quick())
    });
    let lab = Lab::new(Shelf::of(&[("m", &["1"])]), Settings::default(), loads);
    let hurry = Instant::now() + Duration::from_millis(10);
    let why = lab.models.ready("m", &Which::Default, true, hurry).await.unwrap_err();
    assert!(
        matches!(&why, InferError::Unavailable { message, retry_after: Some(_) } if message.contains("is being loaded"))
    );
    lab.ready("m", Which::Default).await.unwrap();
    assert_eq!(lab.count(), 1);
}

#[tokio::test]
async fn a_failed_load_is_not_tried_again_by_every_request() {
    let settings = Settings { load_pause: Duration::from_secs(1), ..Settings::default() };
    let loads = Loads::new(|_| Err("no runtime".to_owned()));
    let lab = Lab::new(Shelf::of(&[("m", &["1"])]), settings, loads);
    for _ in 0..3 {
        let why = lab.ready("m", Which::Default).await.unwrap_err();
        let InferError::Unavailable { message, retry_after: Some(_) } = why else { panic!("{why:?}") };
        assert_eq!(message, "model `m` version `1` cannot be loaded: no runtime");
    }
    assert_eq!(lab.count(), 1);
    assert!(matches!(&lab.states()[0].1, ModelState::Failed(why) if why.contains("no runtime")));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    lab.ready("m", Which::Default).await.unwrap_err();
    assert_eq!(lab.count(), 2);
}

#[tokio::test]
async fn a_moved_alias_takes_requests_along_only_when_the_new_version_can_answer() {
    let loads = Loads::new(|bundle| match bundle.version.as_str() {
        "3" => Err("broken".to_owned()),
        _ => Ok(Fake::quick()),
    });
    let lab = Lab::new(Shelf::of(&[("m", &["1", "2", "3"])]), Settings::default(), loads);
    lab.shelf.point("m", "champion", "1");
    let champion = || Which::Alias("champion".to_owned());
    assert_eq!(&*lab.ready("m", champion()).await.unwrap().version, "1");

    lab.shelf.point("m", "champion", "3");
    lab.models.refresh("m").await;
    assert_eq!(&*lab.ready("m", champion()).await.unwrap().version, "1", "the new one cannot be loaded");

    lab.shelf.point("m", "champion", "2");
    lab.models.refresh("m").await;
    let ready = lab.models.loaded("m", &champion(), Instant::now()).unwrap();
    assert_eq!(&*ready.version, "2", "it is loaded before requests come to it");
    assert_eq!(lab.states(), [("m@2".to_owned(), ModelState::Ready)], "the old ones are gone");

    lab.shelf.models.lock().unwrap().get_mut("m").unwrap().clear();
    lab.shelf.aliases.lock().unwrap().clear();
    lab.models.refresh("m").await;
    assert!(matches!(lab.ready("m", champion()).await, Err(InferError::NotFound(_))));
}

#[tokio::test]
async fn models_are_loaded_again_and_unloaded_on_request() {
    let lab = Lab::plain(&[("m", &["1"])]);
    let first = lab.ready("m", Which::Default).await.unwrap();
    let second = lab.models.load("m", &Which::Default, true).await.unwrap();
    assert_ne!(first.serial, second.serial);
    assert_eq!(lab.ready("m", Which::Default).await.unwrap().serial, second.serial);

    lab.models.unload("m").await.unwrap();
    let why = lab.ready("m", Which::Default).await.unwrap_err();
    assert!(why.to_string().contains("was unloaded; ask to load it first"), "{why}");
    assert_eq!(lab.states()[0].1, ModelState::Unloaded);
    lab.models.load("m", &Which::Default, true).await.unwrap();
    lab.ready("m", Which::Default).await.unwrap();
    assert!(matches!(lab.models.unload("none").await, Err(InferError::NotFound(_))));
    assert!(matches!(lab.ready("none", Which::Default).await, Err(InferError::NotFound(_))));
}

#[tokio::test]
async fn the_least_recently_used_models_make_room() {
    let loads = Loads::new(|bundle| {
        let memory = if bundle.model == "huge" { 1_000 } else { 100 };
        Ok(Fake { memory, ..Fake::quick() })
    });
    let settings = Settings { memory_budget: Some(250), ..Settings::default() };
    let shelf = Shelf::of(&[("a", &["1"]), ("b", &["1"]), ("c", &["1"]), ("huge", &["1"])]);
    let lab = Lab::new(shelf, settings, loads);
    let use_one = async |model: &str| {
        tokio::time::sleep(Duration::from_millis(15)).await;
        lab.ready(model, Which::Default).await.map(|loaded| loaded.serial)
    };
    let a = use_one("a").await.unwrap();
    use_one("b").await.unwrap();
    assert_eq!(use_one("a").await.unwrap(), a, "still there, and used after b");
    use_one("c").await.unwrap();
    let ready: Vec<_> = lab.states().into_iter().filter(|(_, state)| *state == ModelState::Ready).collect();
    assert_eq!(ready.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a@1", "c@1"]);
    use_one("b").await.unwrap();
    assert_ne!(use_one("a").await.unwrap(), a, "it had to make room and came back");
    let why = use_one("huge").await.unwrap_err();
    assert!(why.to_string().contains("1000 bytes and all models together may occupy 250"), "{why}");
    assert_eq!(
        lab.states().iter().filter(|(_, state)| *state == ModelState::Ready).count(),
        2,
        "none left for it"
    );
}

#[tokio::test]
async fn ways_that_no_endpoint_uses_are_forgotten() {
    let lab = Lab::plain(&[("m", &["1", "2"])]);
    let version = |text: &str| Which::Version(text.to_owned());
    lab.models.ready("m", &version("1"), false, soon()).await.unwrap();
    lab.ready("m", version("2")).await.unwrap();
    lab.models.keep(|_, which| *which == version("1"));
    assert_eq!(lab.states().len(), 2);
    lab.models.keep(|_, _| false);
    assert_eq!(lab.states(), [("m@2".to_owned(), ModelState::Ready)], "what callers ask for directly stays");
}

#[tokio::test]
async fn parity_is_checked_at_load() {
    struct WithGolden(Shelf);
    #[async_trait::async_trait]
    impl ModelSource for WithGolden {
        async fn list(&self) -> Result<Vec<super::super::source::Listed>, SourceError> {
            self.0.list().await
        }
        async fn resolve(&self, model: &str, which: &Which) -> Result<String, SourceError> {
            self.0.resolve(model, which).await
        }
        async fn versions(&self, model: &str) -> Result<Vec<String>, SourceError> {
            self.0.versions(model).await
        }
        async fn fetch(
            &self,
            model: &str,
            version: &str,
        ) -> Result<super::super::source::ModelBundle, SourceError> {
            let mut bundle = self.0.fetch(model, version).await?;
            let tensor = tidemill_runtime::Tensor::vector(tidemill_runtime::Values::F64(vec![1.0, 2.0]));
            let inputs = vec![crate::Named { name: "x".into(), tensor }];
            bundle.golden = Some(Golden { inputs, answers: vec![vec![2.0], vec![4.0]] });
            bundle.serving = ServingSettings { parity_tolerance: 1e-6, ..bundle.serving };
            Ok(bundle)
        }
    }
    let source = Arc::new(WithGolden(Shelf::of(&[("good", &["1"]), ("bad", &["1"])])));
    let loads = Loads::new(|bundle| Ok(Fake::times(if bundle.model == "good" { 2.0 } else { 2.1 })));
    let models = Models::new(source, Arc::new(loads), Settings::default(), Arc::default());
    models.ready("good", &Which::Default, true, soon()).await.unwrap();
    let why = models.ready("bad", &Which::Default, true, soon()).await.unwrap_err();
    assert!(why.to_string().contains("golden row 1, output `y`, column 0"), "{why}");
}

#[tokio::test]
async fn what_endpoints_use_makes_no_room_while_it_is_warm() {
    let settings =
        Settings { memory_budget: Some(250), keep_warm: Duration::from_millis(400), ..Settings::default() };
    let shelf = Shelf::of(&[("a", &["1"]), ("b", &["1"]), ("c", &["1"]), ("d", &["1"])]);
    let lab = Lab::new(shelf, settings, Loads::new(|_| Ok(Fake::quick())));
    let ready = async |model: &str| {
        tokio::time::sleep(Duration::from_millis(15)).await;
        lab.ready(model, Which::Default).await.map(|loaded| loaded.serial)
    };
    let loaded = || -> Vec<String> {
        lab.states()
            .into_iter()
            .filter(|(_, state)| *state == ModelState::Ready)
            .map(|(name, _)| name)
            .collect()
    };
    lab.models.route([("a", &Which::Default)].into_iter());
    ready("a").await.unwrap();
    ready("b").await.unwrap();
    ready("c").await.unwrap();
    assert_eq!(loaded(), ["a@1", "c@1"], "the incumbent stays, though it was used first");
    lab.models.route([("a", &Which::Default), ("c", &Which::Default)].into_iter());
    let why = ready("b").await.unwrap_err().to_string();
    assert!(why.contains("the models that endpoints use now 200") && why.contains("--model-memory"), "{why}");
    assert_eq!(loaded(), ["a@1", "c@1"]);
    tokio::time::sleep(Duration::from_millis(450)).await;
    ready("c").await.unwrap();
    ready("d").await.unwrap();
    assert_eq!(loaded(), ["c@1", "d@1"], "what was idle for long makes room");
}

/// A model whose end takes long, as that of workers which are just starting.
#[tokio::test(flavor = "current_thread")]
async fn a_model_that_ends_slowly_holds_nobody_up() {
    let settings = Settings { memory_budget: Some(150), ..Settings::default() };
    let loads = Loads::new(|bundle| {
        let ends = (bundle.model == "slow").then_some(Duration::from_secs(2));
        Ok(Fake { ends: Ends(ends), ..Fake::quick() })
    });
    let lab = Lab::new(Shelf::of(&[("slow", &["1"]), ("b", &["1"])]), settings, loads);
    drop(lab.ready("slow", Which::Default).await.unwrap());
    let begun = Instant::now();
    lab.ready("b", Which::Default).await.unwrap();
    lab.models.keep(|_, _| false);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
