//! Numbers for charts over traces, spans and assessments: which there are, and what they can be told apart by.

use std::collections::BTreeMap;

use tidemill_core::Timestamp;
use tidemill_db::traces::{Bucket, Chart, ChartFilter, Dimension, Measure, View};

use crate::{Error, Registry, Result, validate};

/// A chart as a client asks for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChartRequest {
    /// In which experiments.
    pub experiments: Vec<String>,
    /// `TRACES`, `SPANS` or `ASSESSMENTS`.
    pub view: String,
    /// For example `latency`.
    pub metric: String,
    /// `COUNT`, `SUM`, `AVG`, `MIN`, `MAX`, or `PERCENTILE` with its number.
    pub aggregations: Vec<(String, Option<f64>)>,
    /// For example `trace_name`.
    pub dimensions: Vec<String>,
    /// For example `trace.status = 'OK'`.
    pub filters: Vec<String>,
    /// The length of a stretch of time.
    pub interval_seconds: Option<i64>,
    /// From this time on, in milliseconds.
    pub from_ms: Option<i64>,
    /// Up to and with this time, in milliseconds.
    pub to_ms: Option<i64>,
    /// The largest number of answers.
    pub limit: usize,
}

/// The numbers of one stretch of time and one value of each dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// With `time_bucket`, where there are stretches of time.
    pub dimensions: BTreeMap<String, String>,
    /// By aggregation, for example `COUNT` or `P99.0`.
    pub values: BTreeMap<String, f64>,
}

struct Metric {
    name: &'static str,
    measure: Measure,
    aggregations: &'static [&'static str],
    dimensions: &'static [&'static str],
}

const COUNTED: &[&str] = &["COUNT"];
const MEASURED: &[&str] = &["AVG", "MAX", "MIN", "PERCENTILE"];
const SUMMED: &[&str] = &["AVG", "MAX", "MIN", "PERCENTILE", "SUM"];
const NAMED: &[&str] = &["trace_name"];
const PRICED: &[&str] = &["span_model_name", "span_model_provider"];

const fn metric(
    name: &'static str,
    measure: Measure,
    aggregations: &'static [&'static str],
    dimensions: &'static [&'static str],
) -> Metric {
    Metric { name, measure, aggregations, dimensions }
}

const TRACES: &[Metric] = &[
    metric("trace_count", Measure::Count, COUNTED, &["trace_name", "trace_status"]),
    metric("session_count", Measure::Sessions, COUNTED, &[]),
    metric("latency", Measure::Duration, MEASURED, NAMED),
    metric("input_tokens", Measure::Tokens(0), SUMMED, NAMED),
    metric("output_tokens", Measure::Tokens(1), SUMMED, NAMED),
    metric("total_tokens", Measure::Tokens(2), SUMMED, NAMED),
    metric("cache_read_input_tokens", Measure::Tokens(3), SUMMED, NAMED),
    metric("cache_creation_input_tokens", Measure::Tokens(4), SUMMED, NAMED),
];
const SPANS: &[Metric] = &[
    metric(
        "span_count",
        Measure::Count,
        COUNTED,
        &["span_model_name", "span_model_provider", "span_name", "span_status", "span_type"],
    ),
    metric("latency", Measure::Duration, MEASURED, &["span_name", "span_status"]),
    metric("input_cost", Measure::Cost(0), SUMMED, PRICED),
    metric("output_cost", Measure::Cost(1), SUMMED, PRICED),
    metric("total_cost", Measure::Cost(2), SUMMED, PRICED),
];
const ASSESSMENTS: &[Metric] = &[
    metric("assessment_count", Measure::Count, COUNTED, &["assessment_name", "assessment_value"]),
    metric("assessment_value", Measure::Value, MEASURED, &["assessment_name"]),
];

impl Registry {
    /// The numbers of a chart, by time, then by dimensions.
    pub async fn trace_chart(&self, request: &ChartRequest) -> Result<Vec<Numbers>> {
        let chart = request.read()?;
        let mut buckets = self.db.trace_chart(&chart).await?;
        // Nothing at all is a count of nothing, unless it is told apart by something.
        if buckets.is_empty() && chart.dimensions.is_empty() && chart.bucket_ms.is_none() {
            let nothing = Bucket {
                at_ms: None,
                dimensions: Vec::new(),
                count: 0,
                sum: 0.0,
                min: 0.0,
                max: 0.0,
                percentiles: Vec::new(),
            };
            buckets.extend(matches!(chart.measure, Measure::Count | Measure::Sessions).then_some(nothing));
        }
        Ok(buckets.into_iter().map(|bucket| request.numbers(bucket)).collect())
    }
}

impl ChartRequest {
    fn read(&self) -> Result<Chart> {
        let (view, metrics) = match self.view.as_str() {
            "TRACES" => (View::Traces, TRACES),
            "SPANS" => (View::Spans, SPANS),
            "ASSESSMENTS" => (View::Assessments, ASSESSMENTS),
            other => {
                return Err(Error::invalid(format!(
                    "view_type must be one of ['TRACES', 'SPANS', 'ASSESSMENTS'], got '{other}'"
                )));
            }
        };
        let metric = metrics.iter().find(|metric| metric.name == self.metric).ok_or_else(|| {
            let names: Vec<&str> = metrics.iter().map(|metric| metric.name).collect();
            Error::invalid(format!("metric_name must be one of {}, got '{}'", list(&names), self.metric))
        })?;
        let mut percentiles = Vec::new();
        for (name, percentile) in &self.aggregations {
            if !metric.aggregations.contains(&name.as_str()) {
                return Err(Error::invalid(format!(
                    "Found invalid aggregation_type(s): ['{name}']. Supported aggregation types: {}",
                    list(metric.aggregations)
                )));
            }
            match (name.as_str(), percentile) {
                ("PERCENTILE", Some(value)) if (0.0..=100.0).contains(value) => percentiles.push(*value),
                ("PERCENTILE", Some(value)) => {
                    return Err(Error::invalid(format!(
                        "Percentile value must be between 0 and 100, got {value:?}"
                    )));
                }
                ("PERCENTILE", None) => {
                    return Err(Error::invalid("Percentile value is required for PERCENTILE aggregation"));
                }
                (name, Some(_)) => {
                    return Err(Error::invalid(format!(
                        "Percentile value is only allowed for PERCENTILE aggregation type, got {name}"
                    )));
                }
                (_, None) => {}
            }
        }
        if let Some(wrong) = self.dimensions.iter().find(|name| !metric.dimensions.contains(&name.as_str())) {
            return Err(Error::invalid(format!(
                "Found invalid dimension(s): ['{wrong}']. Supported dimensions: {}",
                list(metric.dimensions)
            )));
        }
        if self.interval_seconds.is_some_and(|seconds| seconds != 0)
            && (self.from_ms.is_none() || self.to_ms.is_none())
        {
            return Err(Error::invalid(
                "start_time_ms and end_time_ms are required if time_interval_seconds is set",
            ));
        }
        let seconds = self.interval_seconds.filter(|seconds| *seconds > 0);
        Ok(Chart {
            experiments: self
                .experiments
                .iter()
                .map(|id| validate::experiment_id(id))
                .collect::<Result<_>>()?,
            view,
            measure: metric.measure,
            dimensions: self.dimensions.iter().filter_map(|name| dimension(name)).collect(),
            filters: self.filters.iter().map(|text| filter(text, view)).collect::<Result<_>>()?,
            from_ms: self.from_ms,
            to_ms: self.to_ms,
            bucket_ms: seconds.map(|seconds| seconds.saturating_mul(1000)),
            percentiles,
            limit: self.limit,
        })
    }

    fn numbers(&self, bucket: Bucket) -> Numbers {
        let mut dimensions: BTreeMap<String, String> =
            self.dimensions.iter().cloned().zip(bucket.dimensions).collect();
        if let Some(at) = bucket.at_ms {
            let text = Timestamp::from_millis(at).to_string().replace('Z', "+00:00");
            dimensions.insert("time_bucket".to_owned(), text);
        }
        let mut percentiles = bucket.percentiles.into_iter();
        let mut values = BTreeMap::new();
        for (name, percentile) in &self.aggregations {
            let (name, value) = match name.as_str() {
                "SUM" => (name.clone(), bucket.sum),
                "AVG" => (name.clone(), bucket.sum / (bucket.count as f64).max(1.0)),
                "MIN" => (name.clone(), bucket.min),
                "MAX" => (name.clone(), bucket.max),
                "PERCENTILE" => {
                    let name = format!("P{:?}", percentile.unwrap_or_default());
                    (name, percentiles.next().unwrap_or_default())
                }
                _ => (name.clone(), bucket.count as f64),
            };
            values.insert(name, value);
        }
        Numbers { dimensions, values }
    }
}

fn dimension(name: &str) -> Option<Dimension> {
    Some(match name {
        "trace_name" => Dimension::TraceName,
        "trace_status" => Dimension::TraceState,
        "span_name" => Dimension::SpanName,
        "span_type" => Dimension::SpanKind,
        "span_status" => Dimension::SpanStatus,
        "span_model_name" => Dimension::SpanModel,
        "span_model_provider" => Dimension::SpanProvider,
        "assessment_name" => Dimension::AssessmentName,
        "assessment_value" => Dimension::AssessmentValue,
        _ => return None,
    })
}

/// Reads a filter: one comparison with `=`.
fn filter(text: &str, view: View) -> Result<ChartFilter> {
    let (left, op, right) = split(text)
        .ok_or_else(|| Error::invalid(format!("Invalid filter: '{text}'. Expected one filter clause.")))?;
    let (kind, entity, key) = identifier(left)?;
    if op != "=" {
        return Err(Error::invalid(format!("Invalid comparator: '{op}', only '=' operator is supported")));
    }
    let value = quoted(right, entity)?;
    let only = |views: &str, needed: View| {
        if view == needed {
            return Ok(());
        }
        let got = match view {
            View::Traces => "TRACES",
            View::Spans => "SPANS",
            View::Assessments => "ASSESSMENTS",
        };
        Err(Error::invalid(format!("Filtering by {kind} is only supported for {views} view type, got {got}")))
    };
    match kind {
        "span" => only("SPANS", View::Spans)?,
        "assessment" => only("ASSESSMENTS", View::Assessments)?,
        _ => {}
    }
    let key = key.unwrap_or_default();
    Ok(match (kind, entity) {
        ("trace", "status") => ChartFilter::State(value),
        ("trace", "tag") => ChartFilter::Tag(key, value),
        ("trace", _) => ChartFilter::Metadata(key, value),
        ("span", "name") => ChartFilter::SpanName(value),
        ("span", "status") => ChartFilter::SpanStatus(value),
        ("span", _) => ChartFilter::SpanKind(value),
        (_, "name") => ChartFilter::AssessmentName(value),
        _ => ChartFilter::AssessmentKind(value),
    })
}

/// The sides of a comparison and what stands between them. What is in quotes or backticks is one piece.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let mut open = None;
    for (at, c) in text.char_indices() {
        match open {
            Some(quote) if quote == c => open = None,
            Some(_) => {}
            None if matches!(c, '`' | '\'' | '"') => open = Some(c),
            None => {
                let rest = &text[at..];
                let op = ["!=", "<=", ">=", "<>", "=", "<", ">"].into_iter().find(|op| rest.starts_with(op));
                if let Some(op) = op {
                    let right = rest[op.len()..].trim();
                    return (at > 0 && !right.is_empty()).then_some((text[..at].trim(), op, right));
                }
            }
        }
    }
    None
}

fn identifier(text: &str) -> Result<(&'static str, &'static str, Option<String>)> {
    const KINDS: [(&str, &[(&str, bool)]); 3] = [
        ("trace", &[("status", false), ("tag", true), ("metadata", true)]),
        ("span", &[("name", false), ("status", false), ("type", false)]),
        ("assessment", &[("name", false), ("type", false)]),
    ];
    let mut parts = text.splitn(3, '.');
    let (Some(kind), Some(entity)) = (parts.next(), parts.next()) else {
        return Err(Error::invalid(format!(
            "Invalid identifier '{text}'. Columns should be specified as 'trace.<key>', 'span.<key>', \
             'assessment.<key>'."
        )));
    };
    let bare = |text: &str| text.trim_matches(|c| matches!(c, '`' | '"' | '\'')).to_owned();
    let found = KINDS.iter().find(|(name, _)| *name == bare(kind));
    let Some((kind, entities)) = found else {
        return Err(Error::invalid(format!(
            "Invalid view type '{kind}'. Valid values are dict_keys(['trace', 'span', 'assessment'])"
        )));
    };
    let Some((entity, with_key)) = entities.iter().find(|(name, _)| *name == entity) else {
        let names: Vec<&str> = entities.iter().map(|(name, _)| *name).collect();
        return Err(Error::invalid(format!(
            "Invalid entity '{entity}' specified for view type '{kind}'. Valid entities are {}",
            list(&names)
        )));
    };
    match (parts.next(), with_key) {
        (None, true) => Err(Error::invalid(format!(
            "Filtering by {entity} requires a key, e.g. '{kind}.{entity}.<key> = <value>'"
        ))),
        (Some(_), false) => Err(Error::invalid(format!(
            "Filtering by {entity} does not require a key, use '{kind}.{entity}' instead"
        ))),
        (key, _) => Ok((kind, entity, key.map(bare))),
    }
}

fn quoted(text: &str, entity: &str) -> Result<String> {
    let wrong = || {
        Error::invalid(format!(
            "Expected a quoted string value for {entity} value (e.g. 'my-value'). Got value {text}"
        ))
    };
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or_else(wrong)?;
    let rest = &text[1..];
    let end = rest.find(quote).ok_or_else(wrong)?;
    let behind = rest[end + 1..].trim();
    if let Some(word) = behind.split_whitespace().next() {
        return Err(Error::invalid(format!("Invalid clause(s) in filter string: {word}")));
    }
    Ok(rest[..end].to_owned())
}

fn list(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("[{}]", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_their_refusals() {
        let read = |text: &str| filter(text, View::Spans).map_err(|error| error.message);
        assert_eq!(read("trace.status = 'OK'"), Ok(ChartFilter::State("OK".to_owned())));
        assert_eq!(
            read("trace.tag.`a = b` = \"x 'y'\""),
            Ok(ChartFilter::Tag("a = b".to_owned(), "x 'y'".to_owned()))
        );
        assert_eq!(
            read("trace.metadata.mlflow.trace.session='s'"),
            Ok(ChartFilter::Metadata("mlflow.trace.session".to_owned(), "s".to_owned()))
        );
        assert_eq!(read("span.type = 'LLM'"), Ok(ChartFilter::SpanKind("LLM".to_owned())));
        for (text, expected) in [
            ("", "Invalid filter: ''."),
            ("trace.status", "Invalid filter: 'trace.status'."),
            ("trace.status > 1", "Invalid comparator: '>', only '=' operator is supported"),
            ("trace.status != 'OK'", "Invalid comparator: '!=', only '=' operator is supported"),
            ("x.y = 1", "Invalid view type 'x'."),
            ("trace.tag = 1", "Filtering by tag requires a key, e.g. 'trace.tag.<key> = <value>'"),
            (
                "trace.status.a = 'x'",
                "Filtering by status does not require a key, use 'trace.status' instead",
            ),
            ("trace.foo = 'x'", "Invalid entity 'foo' specified for view type 'trace'."),
            ("status = 'OK'", "Invalid identifier 'status'."),
            (
                "trace.status = 5",
                "Expected a quoted string value for status value (e.g. 'my-value'). Got value 5",
            ),
            ("trace.status = 'OK' AND trace.status = 'OK'", "Invalid clause(s) in filter string: AND"),
            (
                "assessment.name = 'x'",
                "Filtering by assessment is only supported for ASSESSMENTS view type, got SPANS",
            ),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.starts_with(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_metric_has_its_aggregations_and_dimensions() {
        let request = |metric: &str, aggregation: (&str, Option<f64>), dimensions: &[&str]| ChartRequest {
            view: "TRACES".to_owned(),
            metric: metric.to_owned(),
            aggregations: vec![(aggregation.0.to_owned(), aggregation.1)],
            dimensions: dimensions.iter().map(|name| (*name).to_owned()).collect(),
            ..ChartRequest::default()
        };
        assert!(request("latency", ("PERCENTILE", Some(99.9)), &["trace_name"]).read().is_ok());
        for (request, expected) in [
            (
                request("bad", ("COUNT", None), &[]),
                "metric_name must be one of ['trace_count', 'session_count', ",
            ),
            (
                request("latency", ("COUNT", None), &[]),
                "Found invalid aggregation_type(s): ['COUNT']. Supported aggregation types: ['AVG', 'MAX', 'MIN', \
                 'PERCENTILE']",
            ),
            (
                request("latency", ("AVG", None), &["span_name"]),
                "Found invalid dimension(s): ['span_name']. Supported dimensions: ['trace_name']",
            ),
            (request("latency", ("PERCENTILE", None), &[]), "Percentile value is required"),
            (
                request("latency", ("PERCENTILE", Some(101.0)), &[]),
                "Percentile value must be between 0 and 100",
            ),
            (request("latency", ("AVG", Some(1.0)), &[]), "Percentile value is only allowed"),
        ] {
            let message = request.read().unwrap_err().message;
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
