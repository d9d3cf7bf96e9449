//! Numbers for the charts of MLflow's web pages.

use axum::extract::State;
use tidemill_registry::traces::ChartRequest;

use crate::App;
use crate::mlflow::entity::Object;
use crate::mlflow::wire::{Answer, Call, float_value};

const VIEWS: [&str; 3] = ["TRACES", "SPANS", "ASSESSMENTS"];
const AGGREGATIONS: [&str; 6] = ["COUNT", "SUM", "AVG", "PERCENTILE", "MIN", "MAX"];

pub(super) async fn chart(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    for name in ["experiment_ids", "view_type", "metric_name", "aggregations"] {
        if fields.get(name).is_none() {
            return Err(fields.missing(name).into());
        }
    }
    let mut aggregations = Vec::new();
    for aggregation in fields.messages("aggregations")? {
        let kind = aggregation.opt_enum("aggregation_type", &AGGREGATIONS)?;
        let kind = kind.ok_or_else(|| aggregation.missing("aggregation_type"))?;
        aggregations.push((kind.to_owned(), aggregation.opt_float("percentile_value")?));
    }
    let metric = fields.str("metric_name")?.to_owned();
    let limit = fields.opt_int("max_results")?.unwrap_or(1000);
    let request = ChartRequest {
        experiments: fields.strings("experiment_ids")?,
        view: fields.opt_enum("view_type", &VIEWS)?.unwrap_or_default().to_owned(),
        metric: metric.clone(),
        aggregations,
        dimensions: fields.strings("dimensions")?,
        filters: fields.strings("filters")?,
        interval_seconds: fields.opt_int("time_interval_seconds")?,
        from_ms: fields.opt_int("start_time_ms")?,
        to_ms: fields.opt_int("end_time_ms")?,
        limit: usize::try_from(limit).unwrap_or_default().clamp(1, 10_000),
    };
    let points = app.registry().trace_chart(&request).await?;
    let points = points.into_iter().map(|point| {
        let dimensions =
            point.dimensions.into_iter().fold(Object::default(), |o, (name, value)| o.set(&name, value));
        let values = point
            .values
            .into_iter()
            .fold(Object::default(), |o, (name, value)| o.set(&name, float_value(value)));
        let dimensions = dimensions.done();
        let some = dimensions.as_object().is_some_and(|dimensions| !dimensions.is_empty());
        Object::default()
            .set("metric_name", metric.as_str())
            .opt("dimensions", some.then_some(dimensions))
            .set("values", values.done())
            .done()
    });
    Ok(axum::Json(Object::default().list("data_points", points).done()))
}
