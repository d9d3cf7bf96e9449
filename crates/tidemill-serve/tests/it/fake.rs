//! A fake of the gateway: models that echo, double, sleep and fail, which can be loaded and unloaded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidemill_runtime::{Dim, ElementType, Slot, Tensor, Values};
use tidemill_serve::inference::IndexEntry;
use tidemill_serve::scoring::{COLUMNS_PROPERTY, LAYOUT_PROPERTY, PREDICTION_PROPERTY};
use tidemill_serve::{InferError, Inference, ModelMetadata, ModelState, Named, Request, Response};

/// The fake. Every request that reaches it is kept.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) seen: Mutex<Vec<Request>>,
    pub(crate) draining: AtomicBool,
    unloaded: Mutex<Vec<String>>,
    count: AtomicUsize,
    /// Whether requests are kept; not while thousands are sent.
    pub(crate) forgets: AtomicBool,
}

pub(crate) const TYPES: [(&str, ElementType); 14] = [
    ("BOOL", ElementType::Bool),
    ("UINT8", ElementType::U8),
    ("UINT16", ElementType::U16),
    ("UINT32", ElementType::U32),
    ("UINT64", ElementType::U64),
    ("INT8", ElementType::I8),
    ("INT16", ElementType::I16),
    ("INT32", ElementType::I32),
    ("INT64", ElementType::I64),
    ("FP16", ElementType::F16),
    ("BF16", ElementType::Bf16),
    ("FP32", ElementType::F32),
    ("FP64", ElementType::F64),
    ("BYTES", ElementType::Bytes),
];

const MODELS: [&str; 13] = [
    "echo", "double", "bare", "slow", "busy", "loading", "broken", "failed", "table", "typed", "matrix",
    "images", "unnamed",
];

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn last(&self) -> Request {
        self.seen.lock().unwrap().last().cloned().unwrap()
    }

    fn known(&self, model: &str, version: Option<&str>) -> Result<(), InferError> {
        if !MODELS.contains(&model) {
            return Err(InferError::NotFound(format!("there is no model `{model}`")));
        }
        match version {
            None | Some("1" | "2" | "@champion") => Ok(()),
            Some(version) => Err(InferError::NotFound(format!("model `{model}` has no version `{version}`"))),
        }
    }

    fn answered(&self, request: Request, outputs: Vec<Named>) -> Response {
        let all =
            |name: &str| request.outputs.is_empty() || request.outputs.iter().any(|wanted| wanted == name);
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Response {
            version: request.version.clone().unwrap_or_else(|| "2".to_owned()),
            id: request.id.unwrap_or_else(|| format!("made-{count}")),
            outputs: outputs.into_iter().filter(|output| all(&output.name)).collect(),
            arm: request.headers.get("x-arm").map(|arm| Arc::from(arm.as_str())),
            warnings: request.headers.get("x-warn").cloned().into_iter().collect(),
            model: request.model,
        }
    }
}

fn slot(name: &str, element: ElementType, shape: &[Option<usize>]) -> Slot {
    let dim = |size: &Option<usize>| size.map_or(Dim::Any(Some("batch".to_owned())), Dim::Fixed);
    Slot { name: name.to_owned(), element, shape: shape.iter().map(dim).collect(), optional: false }
}

fn doubled(values: &Values) -> Values {
    match values {
        Values::F32(values) => Values::F32(values.iter().map(|value| value * 2.0).collect()),
        other => other.clone(),
    }
}

/// The first of 10 values of every input; what the model `double` gives beside.
fn sum(values: &Values) -> Values {
    match values {
        Values::F32(values) => Values::F64(vec![values.iter().map(|value| f64::from(*value)).sum()]),
        _ => Values::F64(vec![0.0]),
    }
}

fn wrong_input(
    request: &Request,
    name: &str,
    element: ElementType,
    width: usize,
) -> Result<Tensor, InferError> {
    let wrong = |why: String| InferError::Invalid(format!("model `{}`: {why}", request.model));
    let [input] = request.inputs.as_slice() else {
        return Err(wrong(format!("takes the input `{name}` and was given {}", request.inputs.len())));
    };
    if input.name != name {
        return Err(wrong(format!("has no input `{}`; it takes `{name}`", input.name)));
    }
    let tensor = &input.tensor;
    if tensor.element() != element || tensor.shape().len() != 2 || tensor.shape()[1] != width {
        return Err(wrong(format!(
            "input `{name}` is {element} [-1, {width}] and was given as {} {:?}",
            tensor.element(),
            tensor.shape()
        )));
    }
    Ok(tensor.clone())
}

#[async_trait]
impl Inference for Fake {
    async fn infer(&self, request: Request) -> Result<Response, InferError> {
        self.known(&request.model, request.version.as_deref())?;
        if self.unloaded.lock().unwrap().contains(&request.model) {
            let message = format!("model `{}` is unloaded", request.model);
            return Err(InferError::Unavailable { message, retry_after: None });
        }
        if !self.forgets.load(Ordering::Relaxed) {
            self.seen.lock().unwrap().push(request.clone());
        }
        let named = |name: &str, tensor| Named { name: name.to_owned(), tensor };
        match request.model.as_str() {
            "double" => {
                let input = wrong_input(&request, "x", ElementType::F32, 3)?;
                let y = Tensor::new(input.shape().to_vec(), doubled(input.values())).unwrap();
                let total = Tensor::new(vec![1], sum(input.values())).unwrap();
                Ok(self.answered(request, vec![named("y", y), named("total", total)]))
            }
            "matrix" => {
                let input = wrong_input(&request, "x", ElementType::F32, 3)?;
                let y = Tensor::new(input.shape().to_vec(), doubled(input.values())).unwrap();
                Ok(self.answered(request, vec![named("y", y)]))
            }
            "slow" => {
                tokio::time::sleep(Duration::from_secs(30)).await;
                Err(InferError::Internal("nobody waited".to_owned()))
            }
            "busy" => Err(InferError::TooMany {
                message: "model `busy` has 64 requests waiting; send fewer at once".to_owned(),
                retry_after: Duration::from_millis(1_500),
            }),
            "loading" => Err(InferError::Unavailable {
                message: "model `loading` is being loaded".to_owned(),
                retry_after: Some(Duration::from_secs(2)),
            }),
            "broken" => Err(InferError::Model("model `broken` failed: division by zero".to_owned())),
            "failed" => Err(InferError::Internal("the gateway failed".to_owned())),
            _ => {
                let outputs = request.inputs.clone();
                Ok(self.answered(request, outputs))
            }
        }
    }

    fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    async fn model_state(&self, model: &str, version: Option<&str>) -> Result<ModelState, InferError> {
        self.known(model, version)?;
        Ok(match model {
            _ if self.unloaded.lock().unwrap().iter().any(|unloaded| unloaded == model) => {
                ModelState::Unloaded
            }
            "loading" => ModelState::Loading,
            "broken" => ModelState::Failed("golden rows differ".to_owned()),
            _ => ModelState::Ready,
        })
    }

    async fn metadata(&self, model: &str, version: Option<&str>) -> Result<Arc<ModelMetadata>, InferError> {
        self.known(model, version)?;
        let all: Vec<Slot> = TYPES.iter().map(|(name, element)| slot(name, *element, &[None])).collect();
        let column = |name, element| slot(name, element, &[None]);
        let mut properties = BTreeMap::new();
        let (inputs, outputs) = match model {
            "double" => (
                vec![slot("x", ElementType::F32, &[None, Some(3)])],
                vec![
                    slot("y", ElementType::F32, &[None, Some(3)]),
                    slot("total", ElementType::F64, &[Some(1)]),
                ],
            ),
            "bare" => {
                let x = vec![slot("x", ElementType::I16, &[None, Some(2)])];
                (x.clone(), x)
            }
            "matrix" | "busy" | "loading" => {
                properties.insert(COLUMNS_PROPERTY.to_owned(), r#"["p","q","r"]"#.to_owned());
                properties.insert(PREDICTION_PROPERTY.to_owned(), "y".to_owned());
                let slot = |name| vec![slot(name, ElementType::F32, &[None, Some(3)])];
                (slot("x"), slot("y"))
            }
            "unnamed" => {
                let slot = vec![slot("x", ElementType::F32, &[None, None])];
                (slot.clone(), slot)
            }
            "table" => {
                properties.insert(LAYOUT_PROPERTY.to_owned(), "records".to_owned());
                let columns = vec![column("a", ElementType::F64), column("b", ElementType::F64)];
                (columns.clone(), columns)
            }
            "typed" => {
                properties.insert(LAYOUT_PROPERTY.to_owned(), "records".to_owned());
                let columns = vec![
                    column("d", ElementType::F64),
                    column("f", ElementType::F32),
                    column("l", ElementType::I64),
                    column("i", ElementType::I32),
                    column("b", ElementType::Bool),
                    column("s", ElementType::Bytes),
                ];
                (columns.clone(), columns)
            }
            "images" => {
                let image = vec![slot("image", ElementType::F32, &[None, Some(2), Some(2)])];
                (image.clone(), image)
            }
            _ => (all.clone(), all),
        };
        Ok(Arc::new(ModelMetadata {
            name: model.to_owned(),
            versions: vec!["1".to_owned(), "2".to_owned()],
            platform: "onnx".to_owned(),
            inputs,
            outputs,
            is_tabular: matches!(model, "table" | "typed"),
            properties,
        }))
    }

    async fn index(&self, only_ready: bool) -> Result<Vec<IndexEntry>, InferError> {
        let mut entries = Vec::new();
        for name in MODELS {
            let state = self.model_state(name, None).await?;
            if !only_ready || state == ModelState::Ready {
                entries.push(IndexEntry { name: name.to_owned(), version: "2".to_owned(), state });
            }
        }
        Ok(entries)
    }

    async fn load(&self, model: &str) -> Result<(), InferError> {
        self.known(model, None)?;
        self.unloaded.lock().unwrap().retain(|unloaded| unloaded != model);
        Ok(())
    }

    async fn unload(&self, model: &str) -> Result<(), InferError> {
        self.known(model, None)?;
        self.unloaded.lock().unwrap().push(model.to_owned());
        Ok(())
    }
}
