//! Assessments: feedback on traces, what traces should have given, issues that they show.

use serde_json::{Map, Value};
use tidemill_core::Timestamp;
use tidemill_db::traces::{Assessment, AssessmentKind};

use crate::traces::span::without_nul;
use crate::traces::text::spaced;
use crate::traces::{missing, random_hex};
use crate::{Error, Registry, Result};

/// Who says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// `HUMAN`, `LLM_JUDGE` or `CODE`.
    pub kind: String,
    /// Who.
    pub id: Option<String>,
}

/// An assessment as a client sends it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewAssessment {
    /// Its identifier, where the client has given one.
    pub id: Option<String>,
    /// What is judged.
    pub name: String,
    /// The judgement, where it is feedback.
    pub feedback: Option<Value>,
    /// Why there is no judgement: an object.
    pub error: Option<Value>,
    /// The judgement, where it is what was expected.
    pub expectation: Option<Value>,
    /// The name of an issue.
    pub issue: Option<String>,
    /// Who says it.
    pub source: Source,
    /// When, if not now.
    pub created_at: Option<Timestamp>,
    /// When it was last changed, if not now.
    pub updated_at: Option<Timestamp>,
    /// Why.
    pub rationale: Option<String>,
    /// More about it.
    pub metadata: Map<String, Value>,
    /// The span that it is about.
    pub span: Option<String>,
    /// The assessment that it replaces.
    pub overrides: Option<String>,
    /// Whether it counts.
    pub is_valid: bool,
}

/// What is to be changed of an assessment; nothing where it stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AssessmentChange {
    /// What is judged.
    pub name: Option<String>,
    /// The judgement of feedback, and why there is none.
    pub feedback: Option<(Value, Option<Value>)>,
    /// What was expected.
    pub expectation: Option<Value>,
    /// Why.
    pub rationale: Option<String>,
    /// Added to what is there.
    pub metadata: Option<Map<String, Value>>,
}

impl NewAssessment {
    /// The row for a trace.
    pub fn of_trace(self, trace: &str, now: Timestamp) -> Result<Assessment> {
        let (kind, value) = match (self.feedback, self.expectation, self.issue) {
            (Some(value), None, None) => (AssessmentKind::Feedback, value),
            (None, Some(value), None) => (AssessmentKind::Expectation, value),
            (None, None, Some(issue)) => {
                let fields = [("issue_name".to_owned(), Value::from(issue))];
                (AssessmentKind::Issue, Value::Object(fields.into_iter().collect()))
            }
            (None, None, None) => return Err(Error::invalid("Unknown assessment type: None")),
            _ => {
                return Err(Error::invalid(
                    "An assessment is either feedback, an expectation or an issue, not several of them.",
                ));
            }
        };
        if self.name.chars().count() > 250 {
            return Err(Error::invalid("'assessment_name' exceeds the maximum length of 250 characters"));
        }
        let (number, is_number) = number(&value);
        let run =
            self.metadata.get("mlflow.assessment.sourceRunId").and_then(Value::as_str).map(str::to_owned);
        let clean = |text: Option<String>| text.map(|text| without_nul(&text));
        Ok(Assessment {
            id: match self.id.filter(|id| !id.is_empty()) {
                Some(id) => without_nul(&id),
                None => format!("a-{}", random_hex()?),
            },
            trace: trace.to_owned(),
            kind,
            name: without_nul(&self.name),
            value: spaced(&value),
            number,
            is_number,
            error: self.error.map(|error| spaced(&error)),
            source_kind: without_nul(&self.source.kind),
            source: clean(self.source.id),
            run: clean(run),
            span: clean(self.span),
            rationale: clean(self.rationale),
            overrides: clean(self.overrides),
            is_valid: self.is_valid,
            metadata: (!self.metadata.is_empty()).then(|| spaced(&self.metadata)),
            created_at: self.created_at.unwrap_or(now),
            updated_at: self.updated_at.unwrap_or(now),
        })
    }
}

/// A judgement as a number for charts, and whether it is one itself: yes and true are 1.
fn number(value: &Value) -> (Option<f64>, bool) {
    match value {
        Value::Bool(flag) => (Some(f64::from(u8::from(*flag))), false),
        Value::Number(number) => {
            let number = number.as_f64().filter(|number| number.is_finite());
            (number, number.is_some())
        }
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "yes" => (Some(1.0), false),
            "no" => (Some(0.0), false),
            _ => (None, false),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => (None, false),
    }
}

impl Registry {
    /// Adds an assessment to a trace; one that it overrides no longer counts.
    pub async fn create_assessment(&self, trace: &str, new: NewAssessment) -> Result<Assessment> {
        let assessment = new.of_trace(trace, self.clock.now())?;
        self.db.create_assessment(&assessment).await.map_err(|error| match error {
            tidemill_db::Error::NotFound { what: "trace", .. } => missing(trace),
            tidemill_db::Error::NotFound { name, .. } => no_assessment(trace, &name),
            other => other.into(),
        })?;
        Ok(assessment)
    }

    /// An assessment of a trace.
    pub async fn assessment(&self, trace: &str, id: &str) -> Result<Assessment> {
        match self.db.assessment(trace, id).await? {
            Some(assessment) => Ok(assessment),
            None if self.db.has_trace(trace).await? => Err(no_assessment(trace, id)),
            None => Err(Error::missing(format!("Trace with request_id '{trace}' not found"))),
        }
    }

    /// Changes what an assessment says. Who says it and what about stays.
    pub async fn update_assessment(
        &self,
        trace: &str,
        id: &str,
        change: AssessmentChange,
    ) -> Result<Assessment> {
        let before = self.assessment(trace, id).await?;
        if change.expectation.is_some() && change.feedback.is_some() {
            return Err(Error::invalid("Cannot specify both `expectation` and `feedback` parameters."));
        }
        if change.expectation.is_some() && before.kind != AssessmentKind::Expectation {
            return Err(Error::invalid("Cannot update expectation value on a Feedback assessment."));
        }
        if change.feedback.is_some() && before.kind != AssessmentKind::Feedback {
            return Err(Error::invalid("Cannot update feedback value on an Expectation assessment."));
        }
        let now = self.clock.now();
        let changed =
            self.db.change_assessment(trace, id, |assessment| change.apply(assessment, now)).await?;
        changed.ok_or_else(|| no_assessment(trace, id))
    }

    /// Removes an assessment where it is there; one that it overrode counts again.
    pub async fn delete_assessment(&self, trace: &str, id: &str) -> Result<()> {
        Ok(self.db.delete_assessment(trace, id).await?)
    }
}

impl AssessmentChange {
    fn apply(self, assessment: &mut Assessment, now: Timestamp) {
        if let Some(name) = self.name.filter(|name| !name.is_empty()) {
            assessment.name = without_nul(&name).chars().take(250).collect();
        }
        let value = match self.feedback {
            Some((value, error)) => {
                assessment.error = error.map(|error| spaced(&error));
                Some(value)
            }
            None => self.expectation,
        };
        if let Some(value) = value {
            (assessment.number, assessment.is_number) = number(&value);
            assessment.value = spaced(&value);
        }
        if let Some(rationale) = self.rationale {
            assessment.rationale = Some(without_nul(&rationale));
        }
        if let Some(metadata) = self.metadata {
            let before = assessment.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
            let mut merged: Map<String, Value> = before.unwrap_or_default();
            merged.extend(metadata);
            assessment.metadata = (!merged.is_empty()).then(|| spaced(&merged));
        }
        assessment.updated_at = now;
    }
}

fn no_assessment(trace: &str, id: &str) -> Error {
    Error::missing(format!("Assessment with ID '{id}' not found for trace '{trace}'"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_counts_as_a_number() {
        for (value, expected) in [
            (json!(true), (Some(1.0), false)),
            (json!(0.7), (Some(0.7), true)),
            (json!("Yes "), (Some(1.0), false)),
            (json!("no"), (Some(0.0), false)),
            (json!("maybe"), (None, false)),
            (json!({"a": 1}), (None, false)),
            (json!(null), (None, false)),
        ] {
            assert_eq!(number(&value), expected, "{value}");
        }
    }

    #[test]
    fn an_assessment_is_one_thing() {
        let now = Timestamp::from_millis(5);
        let feedback = NewAssessment { feedback: Some(json!(1.0)), ..NewAssessment::default() };
        let row = feedback.clone().of_trace("tr-1", now).unwrap();
        assert_eq!((row.value.as_str(), row.created_at, row.number), ("1.0", now, Some(1.0)));
        assert!(row.id.starts_with("a-") && row.id.len() == 34, "{}", row.id);
        let both = NewAssessment { expectation: Some(json!(1)), ..feedback };
        assert!(both.of_trace("tr-1", now).is_err());
        let none = NewAssessment::default().of_trace("tr-1", now).unwrap_err();
        assert_eq!(none.message, "Unknown assessment type: None");
    }
}
