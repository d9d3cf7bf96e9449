//! Logging single metrics and batches: what training loops call all the time.
//!
//! A request in the form in which MLflow's own client sends it is read in one pass into a type. Everything else that
//! is allowed (camelCase, enums by number, texts for numbers inside of texts) takes the way of all other requests,
//! which also finds the words for what is not allowed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use axum::extract::State;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use tidemill_core::Timestamp;
use tidemill_db::tracking::{KeyValue, Metric};
use tidemill_registry::{Result, batch_size};

use crate::App;
use crate::mlflow::experiments::pairs;
use crate::mlflow::wire::{Answer, Fields, NUL, RawCall, float_text, nothing, nul};

pub(super) async fn metric(State(app): State<App>, RawCall(body): RawCall) -> Answer {
    let (run, metric) = match OneMetric::read(&body) {
        Some(read) => read,
        None => {
            let fields = Fields::from_body(&body)?;
            (fields.run_id()?.to_owned(), metric_of(&fields)?)
        }
    };
    let others = [&metric.dataset_name, &metric.dataset_digest, &metric.model_id];
    if [&run, &metric.key].into_iter().chain(others.into_iter().flatten()).any(|text| text.contains(NUL)) {
        return Err(nul().into());
    }
    app.registry().log_metric(&run, metric).await?;
    nothing()
}

pub(super) async fn batch(State(app): State<App>, RawCall(body): RawCall) -> Answer {
    let Batch { run_id, metrics, params, tags } = match OneBatch::read(&body) {
        Some(read) => read,
        None => {
            BatchSize::check(&body)?;
            Batch::of(&Fields::from_body(&body)?)?
        }
    };
    // Keys are held to a pattern that has no such character.
    let of_metrics = metrics.iter().flat_map(|metric| {
        [&metric.dataset_name, &metric.dataset_digest, &metric.model_id].into_iter().flatten()
    });
    let values = params.iter().chain(&tags).map(|pair| &pair.value);
    if of_metrics.chain(values).chain([&run_id]).any(|text| text.contains(NUL)) {
        return Err(nul().into());
    }
    app.registry().log_batch(&run_id, metrics, params, tags).await?;
    nothing()
}

/// Items that any list of a batch may have.
const BATCH: usize = 1000;

/// A batch as the registry takes it.
struct Batch {
    run_id: String,
    metrics: Vec<Metric>,
    params: Vec<KeyValue>,
    tags: Vec<KeyValue>,
}

impl Batch {
    fn of(fields: &Fields) -> Result<Self> {
        let run_id = fields.text("run_id")?.to_owned();
        let metrics = fields.messages("metrics")?.iter().map(metric_of).collect::<Result<_>>()?;
        Ok(Self { run_id, metrics, params: pairs(fields, "params")?, tags: pairs(fields, "tags")? })
    }
}

fn metric_of(fields: &Fields) -> Result<Metric> {
    let text = |name: &str| -> Result<Option<String>> {
        Ok(fields.opt_str(name)?.filter(|text| !text.is_empty()).map(str::to_owned))
    };
    Ok(Metric {
        key: fields.text("key")?.to_owned(),
        value: fields.float("value")?,
        at: Timestamp::from_millis(fields.int("timestamp")?),
        step: fields.opt_int("step")?.unwrap_or_default(),
        dataset_name: text("dataset_name")?,
        dataset_digest: text("dataset_digest")?,
        model_id: text("model_id")?,
        run_id: None,
    })
}

/// A metric inside of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Point<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    value: Float,
    timestamp: Int,
    #[serde(default)]
    step: Int,
    #[serde(borrow, default)]
    dataset_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    dataset_digest: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    model_id: Option<Cow<'a, str>>,
    /// The client repeats the run in each.
    #[serde(borrow, default, rename = "run_id")]
    _run_id: Option<Cow<'a, str>>,
}

/// The body of `log-metric`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneMetric<'a> {
    #[serde(borrow)]
    run_id: Cow<'a, str>,
    #[serde(borrow, default, rename = "run_uuid")]
    _run_uuid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    value: Float,
    timestamp: Int,
    #[serde(default)]
    step: Int,
    #[serde(borrow, default)]
    dataset_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    dataset_digest: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    model_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Option<Cow<'a, str>>,
}

/// The body of `log-batch`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneBatch<'a> {
    #[serde(borrow)]
    run_id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "bounded")]
    metrics: Vec<Point<'a>>,
    #[serde(borrow, default, deserialize_with = "bounded")]
    params: Vec<Pair<'a>>,
    #[serde(borrow, default, deserialize_with = "bounded")]
    tags: Vec<Pair<'a>>,
}

/// A list that is no longer than a batch may be.
fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Read<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Read<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() == BATCH {
                    return Err(A::Error::custom("more than a batch may hold"));
                }
                list.push(item);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(Read(PhantomData))
}

/// How many items the lists of a batch have. Nothing of the items is kept.
#[derive(Default, Deserialize)]
#[serde(default)]
struct BatchSize {
    metrics: Items,
    params: Items,
    tags: Items,
}

#[derive(Default)]
struct Items(usize);

impl BatchSize {
    /// Refuses a batch that is too large in the words of the registry, before any of its items is made. What is wrong
    /// with a body otherwise is found later.
    fn check(body: &[u8]) -> Result<()> {
        let size: Self = serde_json::from_slice(body).unwrap_or_default();
        batch_size(size.metrics.0, size.params.0, size.tags.0)
    }
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Items;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_unit<E>(self) -> Result<Items, E> {
                Ok(Items(0))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Items, A::Error> {
                let mut count = 0;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Items(count))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl OneMetric<'_> {
    /// None where the body does not have this form.
    fn read(body: &[u8]) -> Option<(String, Metric)> {
        let OneMetric { run_id, key, value, timestamp, step, dataset_name, dataset_digest, model_id, .. } =
            serde_json::from_slice(body).ok()?;
        let point =
            Point { key, value, timestamp, step, dataset_name, dataset_digest, model_id, _run_id: None };
        (!run_id.is_empty()).then_some((run_id.into_owned(), point.metric()?))
    }
}

impl OneBatch<'_> {
    fn read(body: &[u8]) -> Option<Batch> {
        let OneBatch { run_id, metrics, params, tags } = serde_json::from_slice(body).ok()?;
        if run_id.is_empty() {
            return None;
        }
        Some(Batch {
            run_id: run_id.into_owned(),
            metrics: metrics.into_iter().map(Point::metric).collect::<Option<_>>()?,
            params: params.into_iter().map(Pair::pair).collect::<Option<_>>()?,
            tags: tags.into_iter().map(Pair::pair).collect::<Option<_>>()?,
        })
    }
}

impl Point<'_> {
    /// None where the key is empty, which counts as missing.
    fn metric(self) -> Option<Metric> {
        let text = |text: Option<Cow<'_, str>>| text.filter(|text| !text.is_empty()).map(Cow::into_owned);
        (!self.key.is_empty()).then(|| Metric {
            key: self.key.into_owned(),
            value: self.value.0,
            at: Timestamp::from_millis(self.timestamp.0),
            step: self.step.0,
            dataset_name: text(self.dataset_name),
            dataset_digest: text(self.dataset_digest),
            model_id: text(self.model_id),
            run_id: None,
        })
    }
}

impl Pair<'_> {
    fn pair(self) -> Option<KeyValue> {
        let value = self.value.map(Cow::into_owned).unwrap_or_default();
        (!self.key.is_empty()).then(|| KeyValue { key: self.key.into_owned(), value })
    }
}

/// A number, or the text of one: `"NaN"`, `"Infinity"`, `"-Infinity"`.
struct Float(f64);

/// An integer, or the text of one.
#[derive(Default)]
struct Int(i64);

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Float;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_f64<E>(self, value: f64) -> Result<Float, E> {
                Ok(Float(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Float, E> {
                Ok(Float(value as f64))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Float, E> {
                Ok(Float(value as f64))
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Float, E> {
                float_text(value).map(Float).ok_or_else(|| E::custom("not a number"))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Int;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }
            fn visit_i64<E>(self, value: i64) -> Result<Int, E> {
                Ok(Int(value))
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Int, E> {
                i64::try_from(value).map(Int).map_err(E::custom)
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Int, E> {
                value.parse().map(Int).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways through the same body.
    fn read(body: &str) -> (bool, Result<Batch>) {
        let typed = OneBatch::read(body.as_bytes());
        let tolerant = Fields::from_body(body.as_bytes()).and_then(|fields| Batch::of(&fields));
        if let (Some(typed), Ok(tolerant)) = (&typed, &tolerant) {
            assert_eq!(typed.run_id, tolerant.run_id);
            assert_eq!(format!("{:?}", typed.metrics), format!("{:?}", tolerant.metrics));
            assert_eq!((&typed.params, &typed.tags), (&tolerant.params, &tolerant.tags));
        }
        assert!(typed.is_none() || tolerant.is_ok(), "{body}");
        (typed.is_some(), tolerant)
    }

    #[test]
    fn both_ways_of_reading_agree() {
        for (body, typed) in [
            (
                r#"{"run_id": "r", "metrics": [{"key": "m", "value": 0.5, "timestamp": 7, "step": 3}],
                "params": [{"key": "p", "value": "é\n"}], "tags": [{"key": "t"}]}"#,
                true,
            ),
            (r#"{"run_id": "r"}"#, true),
            (r#"{"run_id": "r", "metrics": [{"key": "m", "value": "NaN", "timestamp": "7"}]}"#, true),
            (
                r#"{"run_id": "r", "metrics": [{"key": "m", "value": 1, "timestamp": 7, "model_id": "m-1", "dataset_name":
                "d", "dataset_digest": "", "run_id": "r"}]}"#,
                true,
            ),
            (r#"{"runId": "r", "metrics": [{"key": "m", "value": 1, "timestamp": 7}]}"#, false),
            (
                r#"{"run_id": "r", "metrics": [{"key": "m", "value": 1, "timestamp": 7, "modelId": "m"}]}"#,
                false,
            ),
            (r#"{"run_id": "r", "unknown": [1], "params": [{"key": "p", "value": null}]}"#, false),
            (r#"{"run_id": "r", "metrics": null}"#, false),
            (r#""{\"run_id\": \"r\"}""#, false),
        ] {
            let (was_typed, read) = read(body);
            assert_eq!(was_typed, typed, "{body}");
            assert!(read.is_ok(), "{body}");
        }
    }

    /// A body in which nothing but the count is wrong has a small typed form; any other one is counted before its tree.
    #[test]
    fn a_batch_is_counted_before_it_is_made() {
        let list = |name: &str, item: &str, count: usize| {
            format!(r#"{{"run_id": "r", "{name}": [{}]}}"#, vec![item; count].join(","))
        };
        let point = r#"{"key": "m", "value": 1, "timestamp": 7}"#;
        assert!(OneBatch::read(list("metrics", point, BATCH).as_bytes()).is_some());
        for (body, what) in [
            (list("metrics", point, BATCH + 1), "at most 1000 metrics. Got 1001 metrics."),
            (list("metrics", "{}", 300_000), "at most 1000 metrics. Got 300000 metrics."),
            (list("params", "{}", 101), "at most 100 params. Got 101 params."),
        ] {
            assert!(OneBatch::read(body.as_bytes()).is_none());
            let message = BatchSize::check(body.as_bytes()).unwrap_err().message;
            assert!(message.contains(what), "{message}");
        }
        BatchSize::check(br#"{"metrics": null, "tags": 1}"#).unwrap();
    }

    #[test]
    fn what_is_not_allowed_has_its_words() {
        const HINT: &str = "See the API docs for more information about request parameters.";
        for (body, start) in [
            (r"{}", "Missing value for required parameter 'run_id'."),
            (
                r#"{"run_id": "r", "metrics": [{"key": "", "value": 1, "timestamp": 7}]}"#,
                "Missing value for required parameter 'metrics[0].key'.",
            ),
            (
                r#"{"run_id": "r", "metrics": [{"key": "m", "timestamp": 7}]}"#,
                "Missing value for required parameter 'metrics[0].value'.",
            ),
            (
                r#"{"run_id": "r", "params": [{"value": "x"}]}"#,
                "Missing value for required parameter 'params[0].key'.",
            ),
        ] {
            let (typed, read) = read(body);
            let message = read.map(drop).unwrap_err().message;
            assert!(!typed && message == format!("{start} {HINT}"), "{body}: {message}");
        }
        let (_, wrong) =
            read(r#"{"run_id": "r", "metrics": [{"key": "m", "value": "abc", "timestamp": 7}]}"#);
        let message = wrong.map(drop).unwrap_err().message;
        assert!(
            message.starts_with("Invalid value \"abc\" for parameter 'metrics[0].value' supplied:"),
            "{message}"
        );
        assert!(read("not json").1.is_err());
    }
}
