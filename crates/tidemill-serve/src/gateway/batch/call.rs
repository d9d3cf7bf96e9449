//! One call of a session for one or several requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tidemill_runtime::{RunError, Session, Tensor};

use crate::InferError;

/// What a request gets of a call.
pub type Answer = Result<Vec<Tensor>, InferError>;

/// Calls a session. A panic in it becomes an error.
pub fn call(session: &dyn Session, inputs: &[Tensor]) -> Answer {
    call_with(session, inputs, None, None)
}

/// Calls a session, perhaps with parameters, perhaps for a caller that waits until a moment.
pub fn call_with(
    session: &dyn Session,
    inputs: &[Tensor],
    params: Option<&str>,
    until: Option<Instant>,
) -> Answer {
    let run = || match (params, until) {
        (params, Some(until)) => session.run_until(inputs, params, until),
        (Some(params), None) => session.run_with(inputs, params),
        (None, None) => session.run(inputs),
    };
    let outputs = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outputs) => outputs.map_err(failed)?,
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("nothing");
            tracing::error!(panic = said, runtime = session.runtime(), "a model panicked");
            return Err(InferError::Model(
                "the model failed: it panicked; the server's log says how".to_owned(),
            ));
        }
    };
    let expected = session.outputs().len();
    if outputs.len() == expected {
        return Ok(outputs);
    }
    let given = outputs.len();
    Err(InferError::Model(format!("the model gave {given} outputs and has {expected}")))
}

/// Calls a session once for all requests and gives each its rows. Where that fails, each is asked alone, so that one
/// request that cannot be answered does not take the others with it. `until` is when the last caller gives up.
pub fn call_joined(session: &dyn Session, requests: &[&[Tensor]], until: Option<Instant>) -> Vec<Answer> {
    if let [one] = requests {
        return vec![call_with(session, one, None, until)];
    }
    match joined(session, requests, until) {
        Some(answers) => answers.into_iter().map(Ok).collect(),
        None => requests.iter().map(|inputs| call_with(session, inputs, None, until)).collect(),
    }
}

fn joined(session: &dyn Session, requests: &[&[Tensor]], until: Option<Instant>) -> Option<Vec<Vec<Tensor>>> {
    let count = requests.first()?.len();
    let mut inputs = Vec::with_capacity(count);
    for at in 0..count {
        let parts: Vec<&Tensor> = requests.iter().map(|request| request.get(at)).collect::<Option<_>>()?;
        inputs.push(Tensor::join(&parts).ok()?);
    }
    let rows: Vec<usize> = requests.iter().map(|request| rows_of(request)).collect();
    let outputs = call_with(session, &inputs, None, until).ok()?;
    let all: usize = rows.iter().sum();
    if outputs.iter().any(|output| output.shape().is_empty() || output.rows() != all) {
        return None;
    }
    let mut from = 0;
    let answers = rows.into_iter().map(|rows| {
        let to = from + rows;
        let answer = outputs.iter().map(|output| output.slice(from, to)).collect();
        from = to;
        answer
    });
    Some(answers.collect())
}

/// Whether the rows of two requests may stand in one call.
pub fn can_join(first: &[Tensor], other: &[Tensor]) -> bool {
    first.len() == other.len()
        && first.iter().zip(other).all(|(a, b)| {
            !b.shape().is_empty() && a.element() == b.element() && a.shape().get(1..) == b.shape().get(1..)
        })
}

fn rows_of(inputs: &[Tensor]) -> usize {
    inputs.first().map_or(0, Tensor::rows)
}

fn failed(error: RunError) -> InferError {
    match error {
        RunError::Input { .. } | RunError::InputCount { .. } => InferError::Invalid(error.to_string()),
        _ => InferError::Model(error.to_string()),
    }
}
