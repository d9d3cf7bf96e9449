//! Trained models as ONNX, with the pre-processing inside the graph.

use crate::model::TrainedModel;
use crate::{Error, Result};

/// The model as the bytes of an ONNX file.
pub fn to_onnx(model: &TrainedModel) -> Result<Vec<u8>> {
    let _ = model;
    Err(Error::Export("not yet".into()))
}
