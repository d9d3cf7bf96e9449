//! One request on its way through the gateway.

mod abandoned;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tidemill_core::Timestamp;
use tidemill_runtime::Tensor;

use self::abandoned::Waiting;
use super::decision::{self, DECISION, Said};
use super::endpoint::{ArmState, Endpoint};
use super::metrics::{ArmMeter, is_failure, is_refusal};
use super::model::Loaded;
use super::route::{Choice, Keys, Why, find, route};
use super::shadow::{Shown, failure, name_outputs, named_inputs};
use super::slices::Mark;
use super::trace::{Context, Marks, Phase, RequestSpan, Traced};
use super::units::Units;
use super::{Found, Gateway, Inner, id};
use crate::inference_record::EVENT_TIME_HEADER;
use crate::{InferError, Named, Record, Request, Response, Status};

/// A place among the requests that are being answered.
struct Place<'a>(&'a Inner);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let before = self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.0.is_draining.load(Ordering::SeqCst) {
            self.0.all_gone.notify_waiters();
        }
    }
}

/// What is kept of a request for the record and for shadows, before its model takes it.
struct Kept {
    id: String,
    is_recorded: bool,
    entity: Option<Arc<str>>,
    headers: Vec<(Arc<str>, String)>,
    time: Timestamp,
    /// The groups that it is counted in; none where nobody wants to know.
    mark: Option<Mark>,
    /// The key that it was drawn to its arm by; none where nobody wants to know, or where it was not drawn.
    unit: Option<(Arc<Units>, u64)>,
    /// Whether the caller chose the arm, so that it says nothing of shares.
    is_asked: bool,
}

/// What a model made of a request.
struct Outcome {
    answer: Result<Vec<Tensor>, InferError>,
    loaded: Option<Arc<Loaded>>,
    meter: Arc<ArmMeter>,
    notes: Vec<String>,
    originals: Option<Vec<Named>>,
    names: Vec<String>,
    tensors: Option<Vec<Tensor>>,
    marks: Marks,
}

impl Gateway {
    pub(super) async fn answer(&self, mut request: Request) -> Result<Response, InferError> {
        let begun = Instant::now();
        let _place = self.enter()?;
        let Found { endpoint, arm: asked, is_new } = self.find(&request.model, request.version.as_deref());
        let request_id = request.id.take().unwrap_or_else(id::fresh);
        let choice = choose(&endpoint, asked, &request, &request_id);
        let Some(arm) = endpoint.arms.get(choice.arm) else {
            return Err(InferError::Internal("the routing table names an arm that is not there".to_owned()));
        };
        let traced = self.traced(&request, begun);
        let span_id = traced.map(|_| request_id.clone());
        let kept = self.keep(&endpoint, &request, request_id, choice);
        let rows = request.inputs.first().map_or(0, |input| input.tensor.rows());
        let shown = self.for_shadows(&endpoint, choice, &request.inputs);
        let limit = begun + endpoint.timeout.unwrap_or(self.inner.settings.timeout);
        let deadline = request.deadline.map_or(limit, |deadline| deadline.min(limit));
        let inputs = std::mem::take(&mut request.inputs);
        let is_direct = endpoint.table.is_none();
        let params = request.params.take();
        let waiting = Waiting::new(self, &endpoint, arm, &kept, begun);
        let outcome =
            self.ask(&endpoint, arm, (inputs, params), (begun, deadline), is_direct, traced.is_some()).await;
        waiting.is_over();
        if is_new && outcome.loaded.is_some() {
            self.remember(&endpoint, request.version.as_deref());
        }
        let (marks, answered) = (outcome.marks, traced.map(|_| begun.elapsed()));
        let finished = self.finish(&endpoint, arm, &mut request, kept, rows, outcome, begun, shown);
        if let (Some(traced), Some(id), Some(answered)) = (traced, span_id, answered) {
            self.tell(traced, &endpoint, id, rows, &finished, marks.phases(answered, begun.elapsed()));
        }
        finished
    }

    /// A request that the tracer wants to hear of.
    fn traced(&self, request: &Request, begun: Instant) -> Option<Traced> {
        let tracer = self.inner.tracer.get()?;
        let context = Context::of(request.headers.get("traceparent"));
        context.wanted(&**tracer).then(|| Traced { context, begun, start: self.inner.clock.now() })
    }

    fn tell(
        &self,
        traced: Traced,
        endpoint: &Endpoint,
        request_id: String,
        rows: usize,
        finished: &Result<Response, InferError>,
        phases: Vec<Phase>,
    ) {
        let Some(tracer) = self.inner.tracer.get() else { return };
        let response = finished.as_ref().ok();
        tracer.span(RequestSpan {
            trace: traced.context.trace,
            span: id::span(),
            parent: traced.context.parent,
            start: traced.start,
            took: traced.begun.elapsed(),
            endpoint: endpoint.name.to_string(),
            arm: response.and_then(|response| response.arm.clone()),
            version: response.map(|response| response.version.clone()).unwrap_or_default(),
            request_id,
            rows,
            error: finished.as_ref().err().map(ToString::to_string),
            phases,
        });
    }

    fn enter(&self) -> Result<Place<'_>, InferError> {
        self.inner.in_flight.fetch_add(1, Ordering::SeqCst);
        let place = Place(&self.inner);
        if self.inner.is_draining.load(Ordering::SeqCst) {
            let message = "the server is stopping".to_owned();
            // Another one takes its place, or this one comes back.
            return Err(InferError::Unavailable { message, retry_after: Some(Duration::from_secs(1)) });
        }
        Ok(place)
    }

    fn keep(&self, endpoint: &Endpoint, request: &Request, id: String, choice: Choice) -> Kept {
        let recorder = self.inner.stage.recorder.as_ref();
        let is_recorded = recorder.is_some_and(|recorder| recorder.wants(&endpoint.name, &id));
        let spec = endpoint.spec.as_ref();
        let keys = Keys { request: &id, headers: &request.headers, inputs: &request.inputs };
        let entity = spec.and_then(|spec| find(spec.entity.as_ref()?, keys));
        let entity = entity.map(|entity| match entity {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes).into(),
            Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into(),
        });
        let headers = endpoint.keep_headers.iter();
        let mut headers: Vec<(Arc<str>, String)> = headers
            .filter_map(|name| Some((Arc::clone(name), request.headers.get(&**name)?.clone())))
            .collect();
        if let Some(event_time) = request.headers.get(EVENT_TIME_HEADER)
            && headers.iter().all(|(name, _)| &**name != EVENT_TIME_HEADER)
        {
            headers.push((EVENT_TIME_HEADER.into(), event_time.clone()));
        }
        let slices = self.inner.slices.load();
        let is_asked = choice.why == Why::Asked;
        let sliced = slices.get(&*endpoint.name).filter(|_| !is_asked);
        let mark = sliced.map(|slices| slices.mark(&request.inputs));
        let is_drawn = matches!(choice.why, Why::Sticky | Why::Split);
        let units = self.inner.units.load();
        let unit =
            units.get(&*endpoint.name).filter(|_| is_drawn).map(|units| (Arc::clone(units), choice.unit));
        Kept { id, is_recorded, entity, headers, time: self.inner.clock.now(), mark, unit, is_asked }
    }

    /// Copies of the inputs for the shadows that have room for them; the others are counted.
    fn for_shadows(&self, endpoint: &Endpoint, choice: Choice, inputs: &[Named]) -> Vec<(usize, Vec<Named>)> {
        if choice.shadows == 0 {
            return Vec::new();
        }
        let mut shown = Vec::new();
        for (at, arm) in endpoint.arms.iter().enumerate() {
            let Some(shadow) = arm.shadow.as_ref().filter(|_| choice.shadows & 1 << at != 0) else {
                continue;
            };
            if shadow.has_room() {
                shown.push((at, inputs.to_vec()));
            } else {
                shadow.drop_one();
            }
        }
        shown
    }

    /// Asks the model of an arm.
    async fn ask(
        &self,
        endpoint: &Endpoint,
        arm: &ArmState,
        (inputs, params): (Vec<Named>, Option<Arc<str>>),
        (begun, deadline): (Instant, Instant),
        is_direct: bool,
        is_traced: bool,
    ) -> Outcome {
        let stage = &self.inner.stage;
        // Nobody else wants to know, and each is a look at the clock.
        let mark = || is_traced.then(|| begun.elapsed());
        let ready = match stage.models.loaded(&arm.model, &arm.which, begun) {
            Some(loaded) => Ok(loaded),
            // In a box, since it is large and rare: what is asked is as large as its largest part.
            None => Box::pin(stage.models.ready(&arm.model, &arm.which, is_direct, deadline)).await,
        };
        let loaded = match ready {
            Ok(loaded) => loaded,
            Err(error) => {
                // Names that nobody has would each be a row of metrics for ever.
                let is_unknown = is_direct && matches!(error, InferError::NotFound(_));
                let meter = if is_unknown { Arc::default() } else { endpoint.unbound(arm, &stage.metrics) };
                return Outcome {
                    answer: Err(error),
                    loaded: None,
                    meter,
                    notes: Vec::new(),
                    originals: Some(inputs),
                    names: Vec::new(),
                    tensors: None,
                    marks: Marks::default(),
                };
            }
        };
        let ready = mark();
        let bound = endpoint.bound(arm, &loaded, &stage.metrics);
        let mut outcome = Outcome {
            answer: Err(InferError::Internal("the model was not asked".to_owned())),
            loaded: None,
            meter: Arc::clone(&bound.meter),
            notes: Vec::new(),
            originals: None,
            names: Vec::new(),
            tensors: None,
            marks: Marks { ready, ..Marks::default() },
        };
        let takes_params = params.is_none() || loaded.lane.session().takes_params();
        match loaded.plan.prepare(inputs) {
            Ok(mut prepared) => {
                bound.checker.look(&prepared.tensors, loaded.plan.is_matrix(), &mut prepared.violations);
                bound.meter.violated(&prepared.violations);
                outcome.names = prepared.names;
                outcome.originals = prepared.originals;
                outcome.marks.checked = mark();
                // After the layout, so that what is recorded are columns whose names are known.
                match bound.checker.judge(&prepared.violations) {
                    Ok(_) if !takes_params => {
                        let why =
                            format!("model `{}` takes no `params`: its signature names none", loaded.model);
                        outcome.answer = Err(InferError::Invalid(why));
                        outcome.tensors = Some(prepared.tensors);
                    }
                    Ok(notes) => {
                        outcome.notes = notes;
                        let ran =
                            loaded.lane.run_with(prepared.tensors, prepared.rows, params, deadline).await;
                        outcome.answer = ran.answer;
                        outcome.marks.called = ran.called.map(|at| at.saturating_duration_since(begun));
                        outcome.marks.ran = mark();
                        outcome.tensors = ran.inputs;
                    }
                    Err(refusal) => {
                        outcome.answer = Err(refusal);
                        outcome.tensors = Some(prepared.tensors);
                    }
                }
            }
            Err(error) => outcome.answer = Err(error),
        }
        outcome.loaded = Some(loaded);
        outcome
    }

    /// Counts, records and shows a request, and makes its answer.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, taken apart once")]
    fn finish(
        &self,
        endpoint: &Arc<Endpoint>,
        arm: &ArmState,
        request: &mut Request,
        kept: Kept,
        rows: usize,
        outcome: Outcome,
        begun: Instant,
        shown: Vec<(usize, Vec<Named>)>,
    ) -> Result<Response, InferError> {
        let Outcome { answer, loaded, meter, mut notes, originals, names, tensors, .. } = outcome;
        let latency = begun.elapsed();
        let loaded = loaded.as_deref();
        // Names that nobody has would each be a folder of the inference log for ever.
        let is_unknown = endpoint.spec.is_none() && matches!(answer, Err(InferError::NotFound(_)));
        // What no version answered for is counted of none, but for what was refused before one was there.
        if let (Some(mark), Some(arm)) = (&kept.mark, &arm.name)
            && (loaded.is_some() || answer.as_ref().is_err_and(is_refusal))
        {
            mark.count(arm, answer.as_ref().err(), latency);
        }
        if let (Some((units, unit)), Some(arm)) = (&kept.unit, &arm.name)
            && answer.as_ref().err().is_none_or(is_failure)
        {
            units.count(*unit, endpoint.revision, arm);
        }
        match &answer {
            _ if kept.is_asked => {}
            Ok(_) => arm.counted.answered(latency),
            Err(error) => arm.counted.failed(error, latency),
        }
        let (outputs, status) = match answer {
            Ok(tensors) => {
                meter.answered(latency);
                let outputs = loaded.map(|loaded| name_outputs(loaded, tensors));
                (Ok(outputs.unwrap_or_default()), Status::Answered)
            }
            Err(error) => {
                let fallback = endpoint.spec.as_ref().and_then(|spec| spec.fallback.as_ref());
                match fallback.filter(|fallback| fallback.covers(&error) && fallback.fits(rows)) {
                    Some(fallback) => {
                        meter.fell_back(&error, latency);
                        notes.push(format!("the declared fallback answered: {error}"));
                        let slots = loaded.map(|loaded| loaded.lane.session().outputs()).unwrap_or_default();
                        (Ok(fallback.answer(rows, slots)), Status::FellBack(failure(&error)))
                    }
                    None => {
                        meter.failed(&error, latency);
                        let status = Status::Failed(failure(&error));
                        (Err(error), status)
                    }
                }
            }
        };
        let version: Arc<str> = loaded.map_or_else(|| "".into(), |loaded| Arc::clone(&loaded.version));
        let is_shown = !shown.is_empty();
        let asks = request.outputs.iter().any(|name| name == DECISION);
        let is_told = asks || endpoint.spec.as_ref().is_some_and(|spec| spec.answer_decision);
        let is_wanted = is_shown || arm.threshold.is_some() && (is_told || kept.is_recorded);
        let said = outputs.as_deref().ok().filter(|_| is_wanted);
        let said = said.and_then(|outputs| Said::of(outputs, arm.threshold));
        let decision = said.as_ref().and_then(Said::output);
        let record_id: Option<Arc<str>> = (kept.is_recorded || is_shown).then(|| kept.id.as_str().into());
        if let Some(id) = &record_id
            && is_shown
        {
            // A fallback is not what the arm's model says.
            let said = said.filter(|_| status == Status::Answered).map(Arc::new);
            self.show(endpoint, id, &kept, shown, said.as_ref());
        }
        if let (Some(recorder), Some(id)) = (self.inner.stage.recorder.as_ref(), record_id)
            && kept.is_recorded
            && !is_unknown
        {
            recorder.record(Record {
                id,
                time: kept.time,
                endpoint: Arc::clone(&endpoint.name),
                model: Arc::clone(&arm.model),
                version: Arc::clone(&version),
                release: loaded.map_or_else(|| "".into(), |loaded| Arc::clone(&loaded.release)),
                arm: arm.name.clone(),
                is_shadow: false,
                latency,
                inputs: match (&originals, loaded, &tensors) {
                    (None, Some(loaded), Some(tensors)) if loaded.plan.is_matrix() => {
                        tensors.first().map(|matrix| loaded.plan.split(matrix)).unwrap_or_default()
                    }
                    _ => named_inputs(originals, names, tensors),
                },
                outputs: {
                    let mut recorded = outputs.as_ref().cloned().unwrap_or_default();
                    decision::add(&mut recorded, decision.as_ref());
                    recorded
                },
                status,
                warnings: notes.clone(),
                entity: kept.entity,
                headers: kept.headers,
            });
        }
        let mut outputs = outputs?;
        decision::add(&mut outputs, decision.as_ref().filter(|_| is_told));
        Ok(Response {
            model: std::mem::take(&mut request.model),
            version: version.to_string(),
            id: kept.id,
            outputs: wanted(outputs, &request.outputs)?,
            arm: arm.name.clone(),
            warnings: notes,
        })
    }

    fn show(
        &self,
        endpoint: &Endpoint,
        id: &Arc<str>,
        kept: &Kept,
        shown: Vec<(usize, Vec<Named>)>,
        said: Option<&Arc<Said>>,
    ) {
        for (at, inputs) in shown {
            let Some(arm) = endpoint.arms.get(at) else { continue };
            let Some(shadow) = &arm.shadow else { continue };
            let one = Shown {
                id: Arc::clone(id),
                time: kept.time,
                inputs,
                entity: kept.entity.clone(),
                headers: kept.headers.clone(),
                is_recorded: kept.is_recorded,
                mark: kept.mark.clone(),
                said: said.cloned(),
            };
            if !shadow.show(one) {
                shadow.drop_one();
            }
        }
    }
}

fn choose(endpoint: &Endpoint, asked: Option<usize>, request: &Request, id: &str) -> Choice {
    match (&endpoint.table, asked) {
        (Some(table), None) => {
            route(table, Keys { request: id, headers: &request.headers, inputs: &request.inputs })
        }
        // Who asks for a version gets it, and no shadow is shown what did not come by the endpoint's rules.
        (_, asked) => Choice { arm: asked.unwrap_or_default(), why: Why::Asked, shadows: 0, unit: 0 },
    }
}

/// The outputs that the caller wants, in its order; all in the model's order where it names none.
fn wanted(mut outputs: Vec<Named>, names: &[String]) -> Result<Vec<Named>, InferError> {
    if names.is_empty() {
        return Ok(outputs);
    }
    let mut chosen = Vec::with_capacity(names.len());
    for name in names {
        let Some(at) = outputs.iter().position(|output| output.name == *name) else {
            if name == DECISION {
                let why = "nothing decides here: the release that answered has no threshold, or its answer no score";
                return Err(InferError::Invalid(why.to_owned()));
            }
            let known = outputs.iter().map(|output| output.name.as_str());
            let hint = tidemill_core::did_you_mean(name, known).map(|hint| format!("; {hint}"));
            let hint = hint.unwrap_or_default();
            return Err(InferError::Invalid(format!("the model has no output `{name}`{hint}")));
        };
        chosen.push(outputs.swap_remove(at));
    }
    Ok(chosen)
}
