//! Curves of metrics: read with their peaks, within a range of steps where one looks closer.

use tidemill_core::RunId;
use tidemill_db::tracking::{Curve, HistoryPoint, Smoothing};
use tidemill_registry::Error;
use tidemill_ui::chart::{LineChart, Series};
use tidemill_ui::{Cell, Choice, Control, Figure, FilterBox, Table};

use super::ask::Ask;
use crate::App;

/// Parts of a curve, of each of which the lowest and the highest point are kept.
const BUCKETS: usize = 250;

/// How curves are shown, as the address of the page says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    /// Only steps from here to there.
    pub(super) range: Option<(i64, i64)>,
    pub(super) log: bool,
    pub(super) smoothing: f64,
    /// Seconds since the start instead of steps.
    pub(super) by_time: bool,
}

impl Shape {
    pub(super) fn of(ask: &Ask) -> Self {
        let range = ask.get("x").and_then(|text| {
            let (from, to) = text.split_once("..")?;
            Some((from.parse().ok()?, to.parse().ok()?))
        });
        let smoothing = ask.get("smooth").and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let by_time = ask.get("over") == Some("time");
        Self {
            range: range.filter(|(from, to)| from <= to && !by_time),
            log: ask.has("log"),
            smoothing: if (0.0..1.0).contains(&smoothing) { smoothing } else { 0.0 },
            by_time,
        }
    }

    /// What can be chosen above curves.
    pub(super) fn controls(&self) -> Vec<Control> {
        let range = self.range.map(|(from, to)| format!("{from}..{to}")).unwrap_or_default();
        let smooth =
            [("", "as measured"), ("0.6", "smoothed"), ("0.9", "smoothed a lot"), ("0.97", "smoothed most")];
        let chosen = |value: &str| value.parse().unwrap_or(0.0) == self.smoothing;
        let smooth = smooth.map(|(value, text)| Choice::new(value, text, chosen(value))).to_vec();
        let over = [("", "steps", !self.by_time), ("time", "seconds since the start", self.by_time)];
        vec![
            Control::Line {
                name: "x".into(),
                label: "Steps".into(),
                value: range,
                example: "100..200".into(),
                wide: false,
            },
            Control::Select {
                name: "over".into(),
                label: "Over".into(),
                choices: over.map(|(value, text, chosen)| Choice::new(value, text, chosen)).to_vec(),
            },
            Control::Select { name: "smooth".into(), label: "Curves".into(), choices: smooth },
            Control::Tick { name: "log".into(), label: "logarithmic".into(), chosen: self.log },
        ]
    }

    /// The box with [`Self::controls`] and others.
    pub(super) fn filter(&self, action: String, others: Vec<Control>) -> FilterBox {
        FilterBox {
            action,
            label: "How curves are shown".into(),
            controls: others.into_iter().chain(self.controls()).collect(),
            button: "Show".into(),
            help: "Drag over a curve to look closer, double-click to see all of it again. Every curve is read anew for the \
                range, with its peaks."
                .into(),
            ..FilterBox::default()
        }
    }
}

/// A history for a curve, thinned out, with what it is when smoothed.
pub(super) async fn read(app: &App, run: RunId, key: &str, shape: &Shape) -> Result<Curve, Error> {
    let range = shape.range.unwrap_or((i64::MIN, i64::MAX));
    let smoothing = Smoothing { weight: shape.smoothing, by_time: shape.by_time };
    let smoothing = (shape.smoothing > 0.0).then_some(smoothing);
    Ok(app.registry().db().metric_curve(run, key, range, smoothing, BUCKETS).await?)
}

/// Points in a plane, in the order of x: steps, or seconds since the first of `all`.
fn points(history: &[HistoryPoint], all: &[HistoryPoint], shape: &Shape) -> Vec<(f64, f64)> {
    if !shape.by_time {
        return history.iter().map(|point| (point.step as f64, point.value)).collect();
    }
    let start = all.iter().map(|point| point.at).min().unwrap_or_default();
    let seconds = |point: &HistoryPoint| point.at.since(start).as_secs_f64();
    let mut points: Vec<(f64, f64)> = history.iter().map(|point| (seconds(point), point.value)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// A metric's curve of one or several runs, with its numbers.
pub(super) fn figure(id: &str, key: &str, curves: &[(String, Curve)], shape: &Shape) -> Figure {
    let series = curves.iter().map(|(name, curve)| Series {
        name: name.clone(),
        points: points(&curve.points, &curve.points, shape),
    });
    let smooth = curves.iter().map(|(_, curve)| points(&curve.smooth, &curve.points, shape));
    let chart = LineChart {
        title: key.to_owned(),
        x: if shape.by_time { "time since the start (s)" } else { "step" }.to_owned(),
        y: key.to_owned(),
        series: series.collect(),
        log: shape.log,
        smooth: if shape.smoothing > 0.0 { smooth.collect() } else { Vec::new() },
        zoom: if shape.by_time { "" } else { "x" },
        ..LineChart::default()
    };
    let several = curves.len() > 1;
    let columns: &[&str] = if several { &["run", "step", "value", "at"] } else { &["step", "value", "at"] };
    let rows = curves.iter().flat_map(|(name, curve)| {
        curve.points.iter().map(move |point| {
            let row = vec![step(point.step), Cell::Number(point.value), Cell::Time(point.at, None)];
            if several { [vec![Cell::text(name.clone())], row].concat() } else { row }
        })
    });
    let table = Table::new(id, format!("Points of {key}"), columns).with(rows);
    Figure { id: id.to_owned(), title: key.to_owned(), picture: chart.draw(), table, ..Figure::default() }
}

/// Steps are whole numbers that may be negative.
pub(super) fn step(step: i64) -> Cell {
    u64::try_from(step).map_or_else(|_| Cell::Text(step.to_string()), Cell::Count)
}
