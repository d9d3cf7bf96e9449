//! What people and programs say about traces.

use axum::extract::State;
use serde_json::json;
use tidemill_registry::traces::AssessmentChange;

use super::shape;
use crate::App;
use crate::mlflow::wire::{Answer, Call, nothing};

pub(super) async fn create(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let new = fields.message("assessment")?.ok_or_else(|| fields.missing("assessment"))?;
    let new = shape::read_assessment(&new)?;
    let assessment = app.registry().create_assessment(fields.str("trace_id")?, new).await?;
    Ok(axum::Json(json!({"assessment": shape::assessment(&assessment)})))
}

pub(super) async fn read(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let assessment = app.registry().assessment(fields.str("trace_id")?, fields.str("assessment_id")?).await?;
    Ok(axum::Json(json!({"assessment": shape::assessment(&assessment)})))
}

/// Changes what the mask names, in either spelling.
pub(super) async fn update(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let new = fields.message("assessment")?.ok_or_else(|| fields.missing("assessment"))?;
    let mut change = AssessmentChange::default();
    for path in fields.str("update_mask")?.split(',') {
        match path.trim() {
            "assessmentName" | "assessment_name" => {
                change.name = Some(new.opt_str("assessment_name")?.unwrap_or_default().to_owned());
            }
            "feedback" => {
                let feedback = new.message("feedback")?.unwrap_or_default();
                change.feedback = Some(shape::read_feedback(&feedback)?);
            }
            "expectation" => {
                let expectation = new.message("expectation")?.unwrap_or_default();
                change.expectation = Some(shape::read_expectation(&expectation)?);
            }
            "rationale" => change.rationale = Some(new.opt_str("rationale")?.unwrap_or_default().to_owned()),
            "metadata" => change.metadata = Some(shape::metadata(&new)?.unwrap_or_default()),
            _ => {}
        }
    }
    let (trace, id) = (fields.str("trace_id")?, fields.str("assessment_id")?);
    let assessment = app.registry().update_assessment(trace, id, change).await?;
    Ok(axum::Json(json!({"assessment": shape::assessment(&assessment)})))
}

pub(super) async fn remove(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    app.registry().delete_assessment(fields.str("trace_id")?, fields.str("assessment_id")?).await?;
    nothing()
}
