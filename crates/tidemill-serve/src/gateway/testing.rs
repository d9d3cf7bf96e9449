//! Sessions, loaders and sources for tests.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use async_trait::async_trait;
use tidemill_core::Digest;
use tidemill_runtime::{Dim, ElementType, RunError, Session, Slot, Tensor, Values};

use super::loader::Loader;
use super::settings::ServingSettings;
use super::source::{Listed, ModelBundle, ModelFiles, ModelSource, SourceError, Which};
use crate::{Record, Recorder};

/// What a fake does with its input.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Multiplies it.
    Times(f32),
    /// Doubles it, but panics on 13 and fails on 7.
    Picky,
    /// Fails always.
    Fails,
    /// Doubles the first value and forgets the others.
    First,
}

/// A model with one input `x` and one output `y`, columns of floats.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) work: Work,
    pub(crate) takes: Option<Duration>,
    /// How long its end takes.
    #[expect(dead_code, reason = "it does what it does when it is dropped")]
    pub(crate) ends: Ends,
    pub(crate) memory: u64,
    pub(crate) sizes: Arc<Mutex<Vec<usize>>>,
    pub(crate) threads: Arc<Mutex<Vec<ThreadId>>>,
    pub(crate) inputs: Vec<Slot>,
    pub(crate) outputs: Vec<Slot>,
}

impl Fake {
    pub(crate) fn quick() -> Self {
        let slot = |name: &str| Slot {
            name: name.to_owned(),
            element: ElementType::F32,
            shape: vec![Dim::Any(None), Dim::Fixed(1)],
            optional: false,
        };
        Self {
            work: Work::Times(2.0),
            takes: None,
            ends: Ends::default(),
            memory: 100,
            sizes: Arc::default(),
            threads: Arc::default(),
            inputs: vec![slot("x")],
            outputs: vec![slot("y")],
        }
    }

    pub(crate) fn slow(takes: Duration) -> Self {
        Self { takes: Some(takes), ..Self::quick() }
    }

    pub(crate) fn times(factor: f32) -> Self {
        Self { work: Work::Times(factor), ..Self::quick() }
    }
}

/// Takes so long when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Ends(pub(crate) Option<Duration>);

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(ends) = self.0 {
            std::thread::sleep(ends);
        }
    }
}

impl Session for Fake {
    fn runtime(&self) -> &'static str {
        "fake"
    }

    fn inputs(&self) -> &[Slot] {
        &self.inputs
    }

    fn outputs(&self) -> &[Slot] {
        &self.outputs
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        let Values::F32(values) = inputs[0].values() else { panic!("{inputs:?}") };
        self.sizes.lock().unwrap().push(values.len());
        self.threads.lock().unwrap().push(std::thread::current().id());
        if let Some(takes) = self.takes {
            std::thread::sleep(takes);
        }
        let factor = match self.work {
            Work::Times(factor) => factor,
            Work::Picky => {
                assert!(!values.contains(&13.0), "unlucky");
                if values.contains(&7.0) {
                    return Err(RunError::Model("seven".to_owned()));
                }
                2.0
            }
            Work::Fails => return Err(RunError::Model("always".to_owned())),
            Work::First => {
                let first = values.iter().take(1).map(|value| value * 2.0).collect();
                return Ok(vec![Tensor::new(vec![1, 1], Values::F32(first))?]);
            }
        };
        let values = values.iter().map(|value| value * factor).collect();
        Ok(vec![Tensor::new(inputs[0].shape().to_vec(), Values::F32(values))?])
    }

    fn memory_bytes(&self) -> u64 {
        self.memory
    }

    fn is_quick(&self) -> bool {
        self.takes.is_none()
    }
}

pub(crate) fn bundle(model: &str, version: &str) -> ModelBundle {
    let bytes = format!("{model}@{version}").into_bytes();
    ModelBundle {
        model: model.to_owned(),
        version: version.to_owned(),
        digest: Digest::of(&bytes),
        expected: None,
        files: ModelFiles::Onnx(bytes),
        signature: None,
        golden: None,
        serving: ServingSettings::default(),
        properties: BTreeMap::new(),
    }
}

/// A loader that makes fakes.
pub(crate) struct Loads {
    make: Box<dyn Fn(&ModelBundle) -> Result<Fake, String> + Send + Sync>,
    pub(crate) count: AtomicUsize,
}

impl Loads {
    pub(crate) fn new(make: impl Fn(&ModelBundle) -> Result<Fake, String> + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), count: AtomicUsize::new(0) }
    }
}

impl Loader for Loads {
    fn load(&self, bundle: &ModelBundle) -> Result<Arc<dyn Session>, String> {
        self.count.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new((self.make)(bundle)?))
    }
}

/// Keeps every record.
#[derive(Default)]
pub(crate) struct Kept(pub(crate) Mutex<Vec<Record>>);

impl Kept {
    /// Those of shadows.
    pub(crate) fn of_shadows(&self) -> Vec<Record> {
        self.0.lock().unwrap().iter().filter(|record| record.is_shadow).cloned().collect()
    }
}

impl Recorder for Kept {
    fn record(&self, record: Record) {
        self.0.lock().unwrap().push(record);
    }
}

/// Models in memory, whose aliases can be moved.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) models: Mutex<BTreeMap<String, Vec<String>>>,
    pub(crate) aliases: Mutex<HashMap<(String, String), String>>,
    pub(crate) serving: ServingSettings,
}

impl Shelf {
    pub(crate) fn of(models: &[(&str, &[&str])]) -> Self {
        let owned = |versions: &&[&str]| versions.iter().map(|version| (*version).to_owned()).collect();
        let models = models.iter().map(|(model, versions)| ((*model).to_owned(), owned(versions))).collect();
        Self { models: Mutex::new(models), ..Self::default() }
    }

    pub(crate) fn point(&self, model: &str, alias: &str, version: &str) {
        self.aliases.lock().unwrap().insert((model.to_owned(), alias.to_owned()), version.to_owned());
    }
}

#[async_trait]
impl ModelSource for Shelf {
    async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let models = self.models.lock().unwrap();
        let listed = |(model, versions): (&String, &Vec<String>)| Listed {
            model: model.clone(),
            versions: versions.clone(),
        };
        Ok(models.iter().map(listed).collect())
    }

    async fn resolve(&self, model: &str, which: &Which) -> Result<String, SourceError> {
        let missing = || SourceError::NotFound(format!("model `{model}` has no {which}"));
        let versions = self.versions(model).await?;
        match which {
            Which::Default => versions.last().cloned().ok_or_else(missing),
            Which::Version(version) => {
                versions.into_iter().find(|known| known == version).ok_or_else(missing)
            }
            Which::Alias(alias) => {
                let aliases = self.aliases.lock().unwrap();
                aliases.get(&(model.to_owned(), alias.clone())).cloned().ok_or_else(missing)
            }
        }
    }

    async fn versions(&self, model: &str) -> Result<Vec<String>, SourceError> {
        let models = self.models.lock().unwrap();
        let missing = || SourceError::NotFound(format!("there is no model `{model}`"));
        models.get(model).cloned().ok_or_else(missing)
    }

    async fn fetch(&self, model: &str, version: &str) -> Result<ModelBundle, SourceError> {
        self.resolve(model, &Which::Version(version.to_owned())).await?;
        Ok(ModelBundle { serving: self.serving.clone(), ..bundle(model, version) })
    }
}
