//! What training stored of a model: what decisions cost at every threshold, whether probabilities mean what they say, which columns
//! count, and where it decides otherwise than the champion.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tidemill_db::models::ModelVersion;
use tidemill_registry::{Code, Error};
use tidemill_serve::gateway::settings::ServingSettings;
use tidemill_train::fit::{CostCurve, Flips, PREDICTIONS_KEY, cost_curve, flips};
use tidemill_train::report::{REPORT_VERSION, Report};
use tidemill_ui::chart::{Bar, Bars, LineChart, Series};
use tidemill_ui::{Block, Cell, Empty, Figure, Section, Table, number};
use tokio::task::spawn_blocking;

use super::ask::Ask;
use super::slices;
use crate::RegistrySource;

/// Bytes of stored predictions that a page reads.
const LARGEST: usize = 64 << 20;
/// Columns whose importance is drawn.
const COLUMNS: usize = 25;

/// A file of a version; nothing where it is not there, or lies where this server does not read.
async fn file(ask: &Ask, version: &ModelVersion, name: &str) -> Option<Vec<u8>> {
    let config = ask.app.config();
    let source = RegistrySource::new(
        ask.app.registry().clone(),
        config.artifact_roots.clone(),
        config.scratch.clone(),
        ServingSettings::default(),
    );
    match source.file(&version.model, &version.version.to_string(), name).await {
        Ok(found) => found,
        Err(why) => {
            tracing::debug!(model = version.model, version = version.version, %why, "no file of a version");
            None
        }
    }
}

/// What training said of a version; nothing where it was not trained here.
pub(super) async fn report(ask: &Ask, version: &ModelVersion) -> Option<Report> {
    let bytes = file(ask, version, "report.json").await?;
    serde_json::from_slice(&bytes).ok().filter(|report: &Report| report.version == REPORT_VERSION)
}

/// The test rows with their answers.
pub(super) async fn predictions(ask: &Ask, version: &ModelVersion) -> Result<Option<RecordBatch>, Error> {
    let about = file(ask, version, "decision.json").await.and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(about) = about.filter(|about| !about.is_empty()) else { return Ok(None) };
    let Some(bytes) = file(ask, version, "predictions.parquet").await else { return Ok(None) };
    if bytes.len() > LARGEST {
        return Ok(None);
    }
    blocking(move || read(bytes, about)).await.map(Some)
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Error> {
    let internal =
        |why: String| Error::new(Code::InternalError, format!("stored predictions cannot be read: {why}"));
    spawn_blocking(work).await.map_err(|error| internal(error.to_string()))?.map_err(internal)
}

fn read(bytes: Vec<u8>, about: String) -> Result<RecordBatch, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| error.to_string())?;
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let schema = batches.first().ok_or("it has no rows")?.schema();
    let whole = concat_batches(&schema, &batches).map_err(|error| error.to_string())?;
    let schema = schema.as_ref().clone().with_metadata(HashMap::from([(PREDICTIONS_KEY.to_owned(), about)]));
    whole.with_schema(Arc::new(schema)).map_err(|error| error.to_string())
}

/// All that is known of how a version answers.
pub(super) async fn sections(ask: &Ask, version: &ModelVersion) -> Result<Vec<Block>, Error> {
    let Some(report) = report(ask, version).await else {
        let empty = Empty::new(
            "No evaluation is stored with this version",
            "Steps of the kind `train` leave their test rows, calibration and importance beside the model; other programs log \
                what they like as metrics and files.",
        );
        return Ok(vec![Block::Section(Section::new("evaluation", "Evaluation", vec![Block::Empty(empty)]))]);
    };
    let own = predictions(ask, version).await?;
    let mut figures = Vec::new();
    if let Some(own) = own.clone()
        && let Some(curve) = blocking(move || cost_curve(&own).map_err(|error| error.to_string())).await?
    {
        figures.push(costs(&curve));
    }
    figures.extend(calibration(&report));
    figures.extend(importance(&report));
    let mut blocks = Vec::new();
    if !figures.is_empty() {
        blocks.push(Block::Figures(figures));
    }
    blocks.extend(confusion(&report).map(Block::Table));
    let note = format!(
        "On {} test rows that the model did not learn from.",
        tidemill_ui::count(report.split.test_rows)
    );
    let mut sections = vec![Block::Section(Section::new("evaluation", "Evaluation", blocks).note(note))];
    if let Some(own) = own {
        sections.push(Block::Section(slices::section(ask, &report, own.clone()).await?));
        sections.push(Block::Section(against(ask, version, own).await?));
    }
    Ok(sections)
}

fn costs(curve: &CostCurve) -> Figure {
    let unit = curve.currency.as_deref().unwrap_or("units of the cost matrix");
    let points = curve.points.iter().map(|point| (point.threshold, point.cost));
    let mut uprights = vec![(curve.chosen.threshold, format!("chosen {}", number(curve.chosen.threshold)))];
    uprights.extend(curve.calibrated.map(|at| (at, format!("if calibrated {}", number(at)))));
    let (low, high) = curve.flat;
    let chart = LineChart {
        title: "Cost against threshold".into(),
        x: "threshold (probability from which on is acted)".into(),
        y: format!("cost per decision ({unit})"),
        series: vec![Series { name: "cost".into(), points: points.collect() }],
        regions: vec![(low, high, "flat region".into())],
        uprights: uprights.into_iter().filter(|(at, _)| (0.0..=1.0).contains(at)).collect(),
        size: (560.0, 300.0),
        ..LineChart::default()
    };
    let rows = curve.points.iter().map(|point| {
        vec![Cell::Number(point.threshold), Cell::Number(point.cost), Cell::Number(point.acted)]
    });
    let columns = ["threshold", "cost per decision", "share acted on"];
    Figure {
        id: "cost-curve".into(),
        title: "Cost against threshold".into(),
        note: format!(
            "Cheapest at {}: {} {unit} per decision. From {} to {} the cost cannot be told from that on so many rows, so any \
                threshold there is as good. The model decides at {}, which costs {} {unit}.",
            number(curve.best.value),
            number(curve.best.cost),
            number(low),
            number(high),
            number(curve.chosen.threshold),
            number(curve.chosen.cost),
        ),
        picture: chart.draw(),
        table: Table::new("cost_curve", "Cost against threshold", &columns).with(rows),
        ..Figure::default()
    }
}

fn calibration(report: &Report) -> Option<Figure> {
    let bins = &report.calibration;
    let points: Vec<(f64, f64)> =
        bins.iter().filter_map(|bin| Some((bin.mean_probability?, bin.observed?))).collect();
    if points.is_empty() {
        return None;
    }
    let chart = LineChart {
        title: "Calibration".into(),
        x: "mean predicted probability".into(),
        y: "share that came true".into(),
        series: vec![
            Series { name: "model".into(), points },
            Series { name: "perfect".into(), points: vec![(0.0, 0.0), (1.0, 1.0)] },
        ],
        size: (560.0, 300.0),
        ..LineChart::default()
    };
    let cell = |value: Option<f64>| value.map_or(Cell::None, Cell::Number);
    let rows = bins.iter().map(|bin| {
        vec![
            Cell::Number(bin.lower),
            Cell::Number(bin.upper),
            Cell::Count(bin.rows),
            cell(bin.mean_probability),
            cell(bin.observed),
        ]
    });
    let columns = ["from", "to", "rows", "mean probability", "came true"];
    Some(Figure {
        id: "calibration".into(),
        title: "Calibration".into(),
        note: "Where the curve is above the diagonal, things come true more often than the model says."
            .into(),
        picture: chart.draw(),
        table: Table::new("calibration", "Calibration", &columns).with(rows),
        ..Figure::default()
    })
}

fn importance(report: &Report) -> Option<Figure> {
    if report.importance.is_empty() {
        return None;
    }
    let metric = tidemill_train::metric::name(report.importance_metric);
    let shown = &report.importance[..report.importance.len().min(COLUMNS)];
    let bars = shown.iter().map(|one| Bar { name: one.column.clone(), value: one.mean });
    let chart = Bars {
        title: "Importance".into(),
        unit: format!("loss of {metric} when the column is shuffled"),
        bars: bars.collect(),
    };
    let rows = report
        .importance
        .iter()
        .map(|one| vec![Cell::text(one.column.clone()), Cell::Number(one.mean), Cell::Number(one.std)]);
    let columns = ["column", "mean loss", "standard deviation"];
    Some(Figure {
        id: "importance".into(),
        title: "Importance of columns".into(),
        note: match report.importance.len().checked_sub(COLUMNS) {
            None | Some(0) => String::new(),
            Some(more) => format!("The {COLUMNS} that matter most; {more} more stand in the numbers."),
        },
        picture: chart.draw(),
        table: Table::new("importance", "Importance", &columns).with(rows),
        ..Figure::default()
    })
}

/// What was true against what was answered, in weights of the test rows.
fn confusion(report: &Report) -> Option<Table> {
    if report.confusion.is_empty() {
        return None;
    }
    let classes: Vec<String> = report.task.classes.iter().map(|class| class.class.to_string()).collect();
    let heads: Vec<String> = classes.iter().map(|class| format!("answered {class}")).collect();
    let heads: Vec<&str> = std::iter::once("was").chain(heads.iter().map(String::as_str)).collect();
    let rows = report.confusion.iter().zip(&classes).map(|(row, class)| {
        let cells = row.iter().map(|weight| Cell::Number(*weight));
        std::iter::once(Cell::text(class.clone())).chain(cells).collect()
    });
    Some(Table::new("confusion", "What was true against what was answered", &heads).with(rows))
}

/// The same rows answered by the champion.
async fn against(ask: &Ask, version: &ModelVersion, own: RecordBatch) -> Result<Section, Error> {
    let section = |blocks| Section::new("flips", "Against the champion", blocks);
    let empty = |title: &str, text: &str| section(vec![Block::Empty(Empty::new(title, text))]);
    let Some(champion) = ask.app.registry().db().aliased_version(&version.model, "champion").await? else {
        return Ok(empty(
            "There is no champion to compare with",
            "Point the alias champion at the version that others must beat, on the page of the model.",
        ));
    };
    if champion.version == version.version {
        return Ok(empty(
            "This version is the champion",
            "Pages of other versions show where they decide otherwise.",
        ));
    }
    let Some(old) = predictions(ask, &champion).await? else {
        return Ok(empty(
            "The champion has no stored predictions",
            "Only models that were trained here have them.",
        ));
    };
    let found = spawn_blocking(move || flips(&own, &old)).await;
    let found = found.map_err(|error| Error::new(Code::InternalError, error.to_string()))?;
    Ok(match found {
        Ok(found) => section(vec![Block::Table(matrix(&found, champion.version))]).note(format!(
            "Rows that v{} and v{} answer differently: {} got better, {} got worse.",
            champion.version,
            version.version,
            tidemill_ui::count(found.rows[0][1]),
            tidemill_ui::count(found.rows[1][0]),
        )),
        Err(why) => empty("The two were not tested on the same rows", &why.to_string()),
    })
}

fn matrix(found: &Flips, champion: u64) -> Table {
    let heads = ["rows", "", "this version wrong", "this version right"];
    let of = |name: &str, counts: &[[u64; 2]; 2]| {
        [(0, "wrong"), (1, "right")].map(|(old, word)| {
            vec![
                Cell::text(name),
                Cell::Text(format!("v{champion} {word}")),
                Cell::Count(counts[old][0]),
                Cell::Count(counts[old][1]),
            ]
        })
    };
    let all = of("all", &found.rows);
    let classes = found.by_class.iter().flat_map(|(class, counts)| of(&format!("that were {class}"), counts));
    let mut table =
        Table::new("flips", "Decisions that flipped", &heads).with(all.into_iter().chain(classes));
    table.columns[1] = tidemill_ui::Column::new("champion");
    table
}
