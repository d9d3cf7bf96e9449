//! What is counted while models answer, for Prometheus. A request finds its counters by pointer: no label is built and
//! no lock taken on its way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::compared::{Compared, Comparison};
use super::decision::Said;
use super::validate::{Kind, Violation};
use crate::InferError;

/// Sets of labels that are kept; of those beyond, the ones that nobody uses any more are forgotten.
const MOST_SETS: usize = 2_048;

/// Counters of a gateway.
#[derive(Debug, Default)]
pub struct Metrics {
    arms: Mutex<BTreeMap<ArmLabels, Arc<ArmMeter>>>,
    lanes: Mutex<BTreeMap<LaneLabels, Weak<LaneMeter>>>,
    /// Models that were loaded.
    pub loads: AtomicU64,
    /// Loads that failed.
    pub load_failures: AtomicU64,
    /// Models that were unloaded to make room.
    pub evictions: AtomicU64,
    /// Spans of requests that a collector took.
    pub spans_sent: AtomicU64,
    /// Spans that were lost: the queue was full, or the collector did not take them.
    pub spans_dropped: AtomicU64,
}

/// What requests are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArmLabels {
    /// The endpoint, or the model that was asked directly.
    pub endpoint: Arc<str>,
    /// The arm; empty where a model was asked directly.
    pub arm: Arc<str>,
    /// The model.
    pub model: Arc<str>,
    /// Its version: the release.
    pub version: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LaneLabels {
    model: Arc<str>,
    version: Arc<str>,
}

/// Kinds of errors of the model or of the server, among [`ERROR_KINDS`]: what a rollout counts as failures.
pub const FAILURES: [&str; 4] = ["unavailable", "deadline", "model", "internal"];

/// Kinds of errors of the caller or of the rush, among [`ERROR_KINDS`]: what a rollout counts as refusals.
pub const REFUSALS: [&str; 2] = ["invalid", "too_many"];

/// Kinds of errors, as in labels and in the inference log.
pub const ERROR_KINDS: [&str; 8] =
    ["not_found", "invalid", "too_many", "unavailable", "deadline", "model", "internal", CANCELLED];

/// The kind of a request whose caller went before it was answered. Whose fault that is nobody knows, so it is no failure; how long the
/// caller waited counts as the time that the request took, since its answer would have come later still.
pub const CANCELLED: &str = "cancelled";

/// The place of an error in [`ERROR_KINDS`].
pub const fn error_kind(error: &InferError) -> usize {
    match error {
        InferError::NotFound(_) => 0,
        InferError::Invalid(_) => 1,
        InferError::TooMany { .. } => 2,
        InferError::Unavailable { .. } => 3,
        InferError::Deadline(_) => 4,
        InferError::Model(_) => 5,
        InferError::Internal(_) => 6,
    }
}

/// Whether an error is the model's or the server's: one of [`FAILURES`].
pub(super) fn is_failure(error: &InferError) -> bool {
    FAILURES.contains(&ERROR_KINDS[error_kind(error)])
}

/// Whether an error is the caller's or the rush's: one of [`REFUSALS`].
pub(super) fn is_refusal(error: &InferError) -> bool {
    REFUSALS.contains(&ERROR_KINDS[error_kind(error)])
}

/// Whether a request that ended so took its time at the model. What is refused at once says nothing of how fast a model is.
pub(super) fn is_timed(error: Option<&InferError>) -> bool {
    matches!(error, None | Some(InferError::Deadline(_) | InferError::Model(_) | InferError::Internal(_)))
}

/// The bucket of [`LATENCY`] for a request that took so long, or the one behind them.
pub(super) fn bucket(took: Duration) -> usize {
    place(micros(took), &LATENCY)
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// Between which bounds a value is.
fn place(value: u64, bounds: &[u64]) -> usize {
    bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len())
}

/// Counters of an arm with one version of a model.
#[derive(Debug, Default)]
pub struct ArmMeter {
    answered: AtomicU64,
    fell_back: AtomicU64,
    errors: [AtomicU64; ERROR_KINDS.len()],
    violations: [AtomicU64; Kind::ALL.len()],
    shadow_dropped: AtomicU64,
    latency: Histogram<{ LATENCY.len() + 1 }>,
    /// Of a shadow, what it said beside the arm that answered.
    compared: OnceLock<Box<Comparison>>,
}

impl ArmMeter {
    /// A request was answered by the model.
    pub fn answered(&self, took: Duration) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.latency.add(micros(took), &LATENCY);
    }

    /// A request was answered by the fallback.
    pub fn fell_back(&self, error: &InferError, took: Duration) {
        self.fell_back.fetch_add(1, Ordering::Relaxed);
        self.failed(error, took);
    }

    /// The model did not answer.
    pub fn failed(&self, error: &InferError, took: Duration) {
        if let Some(count) = self.errors.get(error_kind(error)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if is_timed(Some(error)) {
            self.latency.add(micros(took), &LATENCY);
        }
    }

    /// The caller went before the request was answered.
    pub fn cancelled(&self, took: Duration) {
        if let Some(count) = self.errors.last() {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.latency.add(micros(took), &LATENCY);
    }

    /// Requests that came, however they ended.
    fn came(&self) -> u64 {
        let errors = self.errors.iter().map(|count| count.load(Ordering::Relaxed));
        errors.sum::<u64>() + self.answers()
    }

    /// Adds what another gateway counted: requests that were answered, those that failed, and all of them by how long they took, in the buckets of
    /// [`LATENCY`] and one for all beyond.
    pub fn add(&self, answered: u64, failed: u64, latencies: &[u64]) {
        self.answered.fetch_add(answered, Ordering::Relaxed);
        // Which kind of failure it was does not matter to who asks for failures.
        let unavailable = ERROR_KINDS.iter().position(|known| *known == FAILURES[0]);
        if let Some(count) = unavailable.and_then(|at| self.errors.get(at)) {
            count.fetch_add(failed, Ordering::Relaxed);
        }
        for (bucket, count) in self.latency.counts.iter().zip(latencies) {
            bucket.fetch_add(*count, Ordering::Relaxed);
        }
    }

    /// A shadow answered what another arm had answered to the caller.
    pub(super) fn compare(&self, shadow: &Said, answered: &Said) {
        self.compared.get_or_init(Box::default).count(shadow, answered);
    }

    /// What a shadow said beside the arm that answered; none where nothing was compared.
    pub fn compared(&self) -> Option<Compared> {
        self.compared.get().map(|compared| compared.counted())
    }

    /// Adds what another gateway compared.
    pub fn add_compared(&self, more: &Compared) {
        self.compared.get_or_init(Box::default).add(more);
    }

    /// Adds requests that another gateway counted as refused; which kind of refusal they were does not matter to who asks for refusals.
    pub fn add_refused(&self, refused: u64) {
        let place = ERROR_KINDS.iter().position(|known| *known == REFUSALS[0]);
        if let Some(count) = place.and_then(|at| self.errors.get(at)) {
            count.fetch_add(refused, Ordering::Relaxed);
        }
    }

    /// Something was wrong with the values of a request.
    pub fn violated(&self, violations: &[Violation]) {
        for violation in violations {
            if let Some(count) = self.violations.get(violation.kind as usize) {
                count.fetch_add(violation.rows.max(1) as u64, Ordering::Relaxed);
            }
        }
    }

    /// A shadow had too much to do to be shown a request.
    pub fn shadow_dropped(&self) {
        self.shadow_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that the model answered.
    pub fn answers(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Requests that the model did not answer for a reason of its own or of the server: not those that were wrong.
    pub fn failures(&self) -> u64 {
        self.sum_of(&FAILURES)
    }

    /// Requests that were refused: wrong by what the model takes, or more than it has room for.
    pub fn refusals(&self) -> u64 {
        self.sum_of(&REFUSALS)
    }

    fn sum_of(&self, kinds: &[&str]) -> u64 {
        let at = |kind: &&str| ERROR_KINDS.iter().position(|known| known == kind);
        let counts = kinds.iter().filter_map(at).filter_map(|at| self.errors.get(at));
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Requests by how long they took: upper bounds in microseconds, the last one without, and how many.
    pub fn latencies(&self) -> Vec<(u64, u64)> {
        let bounds = LATENCY.into_iter().chain([u64::MAX]);
        bounds.zip(self.latency.counts.iter().map(|count| count.load(Ordering::Relaxed))).collect()
    }

    /// Requests that a shadow was not shown.
    pub fn drops(&self) -> u64 {
        self.shadow_dropped.load(Ordering::Relaxed)
    }

    /// Values of one kind that were wrong.
    pub fn violations(&self, kind: Kind) -> u64 {
        self.violations.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// What an arm with one version of a model counted so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArmTotals {
    /// Requests that the model answered.
    pub answered: u64,
    /// Requests that the fallback answered.
    pub fell_back: u64,
    /// Requests that the model did not answer.
    failed: u64,
    /// Values that were wrong, by kind.
    pub violations: Vec<(&'static str, u64)>,
    /// Upper bounds in seconds, the last one infinite, with how many requests took so long but longer than the bound
    /// before.
    pub latency: Vec<(f64, u64)>,
}

impl ArmTotals {
    /// Requests that came.
    pub fn requests(&self) -> u64 {
        self.answered + self.failed
    }

    /// Requests that the model did not answer.
    pub fn errors(&self) -> u64 {
        self.failed
    }

    /// A bound, in seconds, within which this share of requests was answered; none where there were none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total: u64 = self.latency.iter().map(|(_, count)| count).sum();
        let wanted = ((total as f64 * share).ceil() as u64).max(1);
        let mut sum = 0;
        self.latency.iter().find_map(|(bound, count)| {
            sum += count;
            (sum >= wanted).then_some(*bound)
        })
    }
}

/// Counters of a loaded model.
#[derive(Debug, Default)]
pub struct LaneMeter {
    rows: Histogram<10>,
    waiting: AtomicU64,
    memory: AtomicU64,
}

impl LaneMeter {
    /// A call of so many rows.
    pub fn batch(&self, rows: usize) {
        self.rows.add(rows as u64, &ROWS);
    }

    /// So many requests wait now.
    pub fn waiting(&self, requests: usize) {
        self.waiting.store(requests as u64, Ordering::Relaxed);
    }

    /// The model occupies so many bytes.
    pub fn memory(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
    }
}

/// Bounds of the histogram of times that requests took, in microseconds; the last bucket, beyond them, has none.
pub const LATENCY: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];
/// Upper bounds in rows.
const ROWS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 256, 1_024];

/// Counts by size; the last place is for what is beyond the bounds.
#[derive(Debug)]
struct Histogram<const N: usize> {
    counts: [AtomicU64; N],
    sum: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), sum: AtomicU64::new(0) }
    }
}

impl<const N: usize> Histogram<N> {
    fn add(&self, value: u64, bounds: &[u64]) {
        if let Some(count) = self.counts.get(place(value, bounds)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>, bounds: &[u64], per: f64) -> fmt::Result {
        let bounds = bounds.iter().map(|bound| *bound as f64 / per).chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.sum.load(Ordering::Relaxed) as f64 / per;
        encoder.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
    }
}

impl Metrics {
    /// The counters of an arm, made where it has none yet.
    pub fn arm(&self, labels: &ArmLabels) -> Arc<ArmMeter> {
        let mut arms = lock(&self.arms);
        if let Some(meter) = arms.get(labels) {
            return Arc::clone(meter);
        }
        if arms.len() >= MOST_SETS {
            arms.retain(|_, meter| Arc::strong_count(meter) > 1);
        }
        let meter = Arc::new(ArmMeter::default());
        arms.insert(labels.clone(), Arc::clone(&meter));
        meter
    }

    /// The counters of an arm, where it has some.
    pub fn known(&self, labels: &ArmLabels) -> Option<Arc<ArmMeter>> {
        lock(&self.arms).get(labels).map(Arc::clone)
    }

    /// New counters of a model that is being loaded; they are shown as long as it is.
    pub fn lane(&self, model: &Arc<str>, version: &Arc<str>) -> Arc<LaneMeter> {
        let meter = Arc::new(LaneMeter::default());
        let labels = LaneLabels { model: Arc::clone(model), version: Arc::clone(version) };
        lock(&self.lanes).insert(labels, Arc::downgrade(&meter));
        meter
    }

    /// What every arm counted so far.
    pub fn totals_by_arm(&self) -> Vec<(ArmLabels, ArmTotals)> {
        let arms = lock(&self.arms);
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        arms.iter()
            .map(|(labels, meter)| {
                let bounds = LATENCY.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
                let totals = ArmTotals {
                    answered: load(&meter.answered),
                    fell_back: load(&meter.fell_back),
                    failed: meter.errors.iter().map(load).sum(),
                    violations: Kind::ALL
                        .map(Kind::word)
                        .into_iter()
                        .zip(meter.violations.iter().map(load))
                        .collect(),
                    latency: bounds.zip(meter.latency.counts.iter().map(load)).collect(),
                };
                (labels.clone(), totals)
            })
            .collect()
    }
}

/// Shows the counters of a gateway to a registry of `prometheus-client`.
#[derive(Clone, Debug)]
pub struct Page(pub Arc<Metrics>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.totals(&mut encoder)?;
        self.0.lanes(&mut encoder)?;
        let arms: Vec<_> =
            lock(&self.0.arms).iter().map(|(labels, meter)| (labels.clone(), Arc::clone(meter))).collect();
        encode_arms(&mut encoder, &arms)
    }
}

impl Metrics {
    fn totals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, count) in [
            ("tidemill_model_loads", "Models that were loaded", &self.loads),
            ("tidemill_model_load_failures", "Loads of models that failed", &self.load_failures),
            ("tidemill_model_evictions", "Models that were unloaded to make room", &self.evictions),
            ("tidemill_spans_sent", "Spans of requests that a collector took", &self.spans_sent),
            ("tidemill_spans_dropped", "Spans of requests that were lost", &self.spans_dropped),
        ] {
            let mut encoder = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter(&mut encoder, count.load(Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn lanes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let lanes: Vec<(LaneLabels, Arc<LaneMeter>)> = {
            let mut lanes = lock(&self.lanes);
            lanes.retain(|_, meter| meter.strong_count() > 0);
            lanes.iter().filter_map(|(labels, meter)| Some((labels.clone(), meter.upgrade()?))).collect()
        };
        if lanes.is_empty() {
            return Ok(());
        }
        for (name, help, value) in [
            (
                "tidemill_inference_waiting",
                "Requests that wait for a call of a model",
                (|meter: &LaneMeter| &meter.waiting) as fn(&LaneMeter) -> &AtomicU64,
            ),
            ("tidemill_model_memory_bytes", "Bytes that a loaded model occupies", |meter| &meter.memory),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, meter) in &lanes {
                let value = value(meter).load(Ordering::Relaxed);
                family.encode_family(&labels.pairs())?.encode_gauge(&value)?;
            }
        }
        let name = "tidemill_inference_batch_rows";
        let mut family =
            encoder.encode_descriptor(name, "Rows of a call of a model", None, MetricType::Histogram)?;
        for (labels, meter) in &lanes {
            meter.rows.encode(family.encode_family(&labels.pairs())?, &ROWS, 1.0)?;
        }
        Ok(())
    }
}

fn encode_arms(encoder: &mut DescriptorEncoder<'_>, arms: &[(ArmLabels, Arc<ArmMeter>)]) -> fmt::Result {
    if arms.is_empty() {
        return Ok(());
    }
    for (name, help, value) in [
        (
            "tidemill_inference_requests",
            "Requests that came, however they ended",
            ArmMeter::came as fn(&ArmMeter) -> u64,
        ),
        ("tidemill_inference_answers", "Requests that a model answered", ArmMeter::answers),
        ("tidemill_inference_fallbacks", "Requests that a declared fallback answered", |meter| {
            meter.fell_back.load(Ordering::Relaxed)
        }),
        (
            "tidemill_inference_shadow_dropped",
            "Requests that a shadow was too busy to be shown",
            ArmMeter::drops,
        ),
    ] {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, meter) in arms {
            counter(&mut family.encode_family(&labels.pairs())?, value(meter))?;
        }
    }
    let kinds = Kind::ALL.map(Kind::word);
    for (name, help, words, counts) in [
        (
            "tidemill_inference_errors",
            "Requests that a model did not answer",
            &ERROR_KINDS[..],
            (|meter: &ArmMeter| &meter.errors[..]) as fn(&ArmMeter) -> &[AtomicU64],
        ),
        ("tidemill_inference_violations", "Values that the model was not trained for", &kinds[..], |meter| {
            &meter.violations[..]
        }),
    ] {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, meter) in arms {
            for (word, count) in words.iter().zip(counts(meter)) {
                // Kinds that never happened are not worth a line each.
                if count.load(Ordering::Relaxed) > 0 {
                    let [endpoint, arm, model, version] = labels.pairs();
                    let pairs = [endpoint, arm, model, version, ("kind", *word)];
                    counter(&mut family.encode_family(&pairs)?, count.load(Ordering::Relaxed))?;
                }
            }
        }
    }
    let (name, help) = ("tidemill_inference_duration", "Time from a request's arrival to its answer");
    let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (labels, meter) in arms {
        meter.latency.encode(family.encode_family(&labels.pairs())?, &LATENCY, 1e6)?;
    }
    Ok(())
}

impl ArmLabels {
    fn pairs(&self) -> [(&str, &str); 4] {
        let Self { endpoint, arm, model, version } = self;
        [("endpoint", endpoint), ("arm", arm), ("model", model), ("version", version)]
    }
}

impl LaneLabels {
    fn pairs(&self) -> [(&str, &str); 2] {
        [("model", &self.model), ("version", &self.version)]
    }
}

pub(crate) fn counter(encoder: &mut MetricEncoder<'_>, count: u64) -> fmt::Result {
    encoder.encode_counter::<[(&str, &str); 0], u64, f64>(&count, None)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn the_page() {
        let metrics = Arc::new(Metrics::default());
        let labels = ArmLabels {
            endpoint: "churn".into(),
            arm: "champion".into(),
            model: "churn-gbdt".into(),
            version: "3".into(),
        };
        let arm = metrics.arm(&labels);
        assert!(Arc::ptr_eq(&arm, &metrics.arm(&labels)));
        arm.answered(Duration::from_micros(70));
        arm.failed(&InferError::Model("no".into()), Duration::from_secs(30));
        arm.fell_back(&InferError::Deadline("no".into()), Duration::from_millis(3));
        arm.violated(&[Violation { kind: Kind::OutOfRange, column: "a".into(), rows: 4, example: None }]);
        arm.shadow_dropped();
        arm.cancelled(Duration::from_secs(4));
        let refused = InferError::TooMany { message: "no".into(), retry_after: Duration::ZERO };
        let away = InferError::Unavailable { message: "no".into(), retry_after: None };
        for error in [&refused, &away, &InferError::Invalid("no".into()), &InferError::NotFound("no".into())]
        {
            arm.failed(error, Duration::from_micros(3));
        }
        assert_eq!(arm.failures(), 3, "who goes and who is refused are no failures");
        let lane = metrics.lane(&"churn-gbdt".into(), &"3".into());
        lane.batch(5);
        lane.waiting(2);
        lane.memory(1_000);
        let show = || {
            let mut registry = Registry::default();
            registry.register_collector(Box::new(Page(Arc::clone(&metrics))));
            let mut text = String::new();
            prometheus_text::encode(&mut text, &registry).unwrap();
            text
        };
        let page = show();
        let all = r#"endpoint="churn",arm="champion",model="churn-gbdt",version="3""#;
        let lane_labels = r#"model="churn-gbdt",version="3""#;
        for line in [
            format!("tidemill_inference_requests_total{{{all}}} 8\n"),
            format!("tidemill_inference_answers_total{{{all}}} 1\n"),
            format!("tidemill_inference_errors_total{{{all},kind=\"cancelled\"}} 1\n"),
            format!("tidemill_inference_errors_total{{{all},kind=\"too_many\"}} 1\n"),
            format!("tidemill_inference_fallbacks_total{{{all}}} 1\n"),
            format!("tidemill_inference_errors_total{{{all},kind=\"model\"}} 1\n"),
            format!("tidemill_inference_errors_total{{{all},kind=\"deadline\"}} 1\n"),
            format!("tidemill_inference_violations_total{{{all},kind=\"out_of_range\"}} 4\n"),
            format!("tidemill_inference_shadow_dropped_total{{{all}}} 1\n"),
            // What was refused at once is no fast answer.
            format!("tidemill_inference_duration_seconds_count{{{all}}} 4\n"),
            format!("tidemill_inference_waiting{{{lane_labels}}} 2\n"),
            format!("tidemill_inference_batch_rows_sum{{{lane_labels}}} 5"),
            format!("tidemill_model_memory_bytes{{{lane_labels}}} 1000\n"),
        ] {
            assert!(page.contains(&line), "{line} is not in\n{page}");
        }
        for bucket in
            [r#"le="0.0001"} 1"#, r#"le="0.005"} 2"#, r#"le="2.5"} 2"#, r#"le="5"} 3"#, r#"le="+Inf"} 4"#]
        {
            assert!(page.contains(bucket), "{bucket} is not in\n{page}");
        }
        assert!(!page.contains("kind=\"nan\""), "kinds that never happened have no line");
        drop(lane);
        assert!(!show().contains("tidemill_inference_waiting"), "a model that is unloaded is not shown");
    }
}
