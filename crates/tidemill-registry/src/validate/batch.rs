//! What one request to log may hold.

use std::collections::HashSet;

use tidemill_db::tracking::{Batch, Metric};

use super::quote::{python_list, python_number};
use super::{KEY, join, length, name, param, tag};
use crate::{Error, Result};

const METRICS: usize = 1000;
const PARAMS_OR_TAGS: usize = 100;
const ALL: usize = 1000;

/// A point of a metric at `at`.
pub(crate) fn metric(metric: &Metric, at: &str) -> Result<()> {
    name(&metric.key, || join(at, "name"))?;
    if metric.at.millis() < 0 {
        return Err(Error::invalid(format!(
            "Invalid value {} for parameter '{}' supplied: metric '{}' (value={}). Timestamp must be a nonnegative \
             long (64-bit integer) ",
            metric.at.millis(),
            join(at, "timestamp"),
            metric.key,
            python_number(metric.value)
        )));
    }
    length("Metric name", KEY, &metric.key)
}

/// A whole batch, in the order in which MLflow looks at it. Values that are too long are cut.
pub(crate) fn batch(batch: &mut Batch) -> Result<()> {
    for (i, metric_) in batch.metrics.iter().enumerate() {
        // The path costs more than all else, so it is made for refusals only.
        if metric(metric_, "").is_err() {
            metric(metric_, &format!("metrics[{i}]"))?;
        }
    }
    for (i, param_) in batch.params.iter_mut().enumerate() {
        param(param_, &format!("params[{i}]"))?;
    }
    for (i, tag_) in batch.tags.iter_mut().enumerate() {
        tag(tag_, &format!("tags[{i}]"))?;
    }
    batch_size(batch.metrics.len(), batch.params.len(), batch.tags.len())?;
    let mut keys = HashSet::new();
    let twice: Vec<&str> =
        batch.params.iter().map(|param| param.key.as_str()).filter(|key| !keys.insert(*key)).collect();
    if twice.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Duplicate parameter keys have been submitted: {}. Please ensure the request contains only one param value \
         per param key.",
        python_list(twice.into_iter())
    )))
}

/// Whether one request may hold so many metrics, parameters and tags.
pub fn batch_size(metrics: usize, params: usize, tags: usize) -> Result<()> {
    at_most("metrics", METRICS, metrics)?;
    at_most("params", PARAMS_OR_TAGS, params)?;
    at_most("tags", PARAMS_OR_TAGS, tags)?;
    at_most("metrics, params, and tags", ALL, metrics + params + tags)
}

fn at_most(what: &str, limit: usize, count: usize) -> Result<()> {
    if count <= limit {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "A batch logging request can contain at most {limit} {what}. Got {count} {what}. Please split up {what} \
         across multiple requests and try again."
    )))
}

#[cfg(test)]
mod tests {
    use tidemill_core::Timestamp;
    use tidemill_db::tracking::KeyValue;

    use super::*;

    fn point(key: &str, millis: i64, value: f64) -> Metric {
        Metric {
            key: key.to_owned(),
            value,
            at: Timestamp::from_millis(millis),
            step: 0,
            dataset_name: None,
            dataset_digest: None,
            model_id: None,
            run_id: None,
        }
    }

    fn pairs(count: usize) -> Vec<KeyValue> {
        (0..count).map(|i| KeyValue { key: format!("k{i}"), value: "v".to_owned() }).collect()
    }

    fn message(mut given: Batch) -> String {
        batch(&mut given).map_or_else(|error| error.message, |()| "fine".to_owned())
    }

    #[test]
    fn limits() {
        let points = |count: usize| (0..count).map(|_| point("m", 1, 1.0)).collect::<Vec<_>>();
        for (metrics, params, tags, expected) in [
            (1000, 0, 0, "fine"),
            (800, 100, 100, "fine"),
            (
                1001,
                0,
                0,
                "A batch logging request can contain at most 1000 metrics. Got 1001 metrics. Please split up metrics \
                 across multiple requests and try again.",
            ),
            (
                0,
                101,
                0,
                "A batch logging request can contain at most 100 params. Got 101 params. Please split up params \
                 across multiple requests and try again.",
            ),
            (
                0,
                0,
                101,
                "A batch logging request can contain at most 100 tags. Got 101 tags. Please split up tags across \
                 multiple requests and try again.",
            ),
            (
                900,
                100,
                1,
                "A batch logging request can contain at most 1000 metrics, params, and tags. Got 1001 metrics, \
                 params, and tags. Please split up metrics, params, and tags across multiple requests and try again.",
            ),
        ] {
            let given = Batch {
                metrics: points(metrics),
                params: pairs(params),
                tags: pairs(tags),
                ..Batch::default()
            };
            assert_eq!(message(given), expected);
        }
    }

    #[test]
    fn places_and_values_in_messages() {
        let long = "k".repeat(251);
        let with_params = |params: Vec<KeyValue>| message(Batch { params, ..Batch::default() });
        let with_metric = |metric: Metric| {
            message(Batch { metrics: vec![point("good", 1, 1.0), metric], ..Batch::default() })
        };
        assert_eq!(
            with_metric(point("m", -1, 0.5)),
            "Invalid value -1 for parameter 'metrics[1].timestamp' supplied: metric 'm' (value=0.5). Timestamp must be \
             a nonnegative long (64-bit integer) "
        );
        assert!(
            with_metric(point("a$", 1, 1.0))
                .starts_with("Invalid value \"a$\" for parameter 'metrics[1].name' supplied: Names may only")
        );
        assert_eq!(
            with_metric(point(&long, 1, 1.0)),
            "'Metric name' exceeds the maximum length of 250 characters"
        );
        let pair = |key: &str| KeyValue { key: key.to_owned(), value: "v".to_owned() };
        assert_eq!(
            with_params(vec![pair("q"), pair("r"), pair("q"), pair("r")]),
            "Duplicate parameter keys have been submitted: ['q', 'r']. Please ensure the request contains only \
             one param value per param key."
        );
        assert_eq!(
            with_params(vec![pair(&long)]),
            "'Param key' exceeds the maximum length of 250 characters"
        );
        let tags = Batch { tags: vec![pair("t"), pair(&long)], ..Batch::default() };
        assert_eq!(message(tags), "'tags[1].key' exceeds the maximum length of 250 characters");
    }

    #[test]
    fn long_values_are_cut() {
        let pair = |length| KeyValue { key: "k".to_owned(), value: "é".repeat(length) };
        let mut given = Batch { params: vec![pair(6001)], tags: vec![pair(8001)], ..Batch::default() };
        batch(&mut given).unwrap();
        assert_eq!(given.params[0].value.chars().count(), 6000);
        assert_eq!(given.tags[0].value.chars().count(), 8000);
    }
}
