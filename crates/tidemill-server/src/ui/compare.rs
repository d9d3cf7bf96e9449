//! Runs beside each other: through all axes, one value against another, curves over each other, and what differs.

use std::collections::BTreeSet;

use tidemill_core::RunId;
use tidemill_db::tracking::Run;
use tidemill_registry::{Question, View};
use tidemill_ui::chart::{Axis, Dot, Parallel, Scatter, Strand};
use tidemill_ui::{
    Area, Block, Cell, Choice, Column, Control, Crumb, Empty, Figure, FilterBox, Page, Section, Table, href,
};

use super::Made;
use super::ask::Ask;
use super::curves::{self, Shape};
use super::runs::Key;
use super::words::{run_badge, run_link, took};
use super::{code, inputs};
use crate::mlflow::is_system;

/// Runs that are drawn through all axes.
const MOST: usize = 500;
/// Runs that have a column each.
const COLUMNS: usize = 12;
/// Runs whose curves are drawn over each other.
const CURVES: usize = 8;
/// Axes, unless others are chosen.
const AXES: usize = 8;

pub(super) async fn compare(ask: Ask) -> Made {
    let (runs, left_out) = find(&ask).await?;
    let mut page = Page {
        title: "Compare runs".into(),
        area: Area::Experiments,
        crumbs: vec![Crumb::new("/experiments", "Experiments")],
        ..Page::default()
    };
    if let Some(experiment) = runs.first().map(|run| run.info.experiment.to_string()) {
        page.crumbs
            .push(Crumb::new(href(&["experiments", &experiment], &[]), format!("Experiment {experiment}")));
    }
    if runs.len() < 2 {
        let text = "Tick two runs or more in the table of an experiment, and press `Compare the ticked`.";
        page.lead = left_out;
        page.blocks =
            vec![Block::Empty(Empty::new("Nothing to compare", text).link("/experiments", "Experiments"))];
        return Ok(page);
    }
    page.lead = format!("{} runs. Points and lines lead to their run.", runs.len());
    if !left_out.is_empty() {
        page.lead += &format!(" {left_out}");
    }
    let keys: BTreeSet<Key> = runs.iter().flat_map(keys_of).collect();
    let metrics: Vec<&Key> = keys.iter().filter(|key| matches!(key, Key::Metric(_))).collect();
    let differing: Vec<&Key> = keys.iter().filter(|key| differs(&runs, key)).collect();
    let axes = axes(&ask, &runs, &differing);
    page.blocks.push(Block::Filter(choices(&ask, &runs, &differing, &metrics, &axes)));
    if axes.len() >= 2 {
        page.blocks.push(Block::Figure(Box::new(parallel(&runs, &axes))));
    }
    if let Some(figure) = scatter(&ask, &runs, &differing) {
        page.blocks.push(Block::Figure(Box::new(figure)));
    }
    if let Some(figure) = curve(&ask, &runs, &metrics).await? {
        page.blocks.push(Block::Figure(Box::new(figure)));
    }
    let all = ask.has("all");
    let shown: Vec<&Key> = if all { keys.iter().collect() } else { differing };
    let mut section =
        Section::new("side-by-side", "Side by side", vec![Block::Table(side_by_side(&ask, &runs, &shown))]);
    let (address, text) = if all {
        (ask.with(&[("all", "")]), "Only what differs")
    } else {
        (ask.with(&[("all", "1")]), "All, also what is the same")
    };
    section = section.more(address, text);
    if runs.len() > COLUMNS {
        section = section.note(format!("The first {COLUMNS} of {} runs have a column each.", runs.len()));
    }
    page.blocks.push(Block::Section(section));
    page.blocks.extend(inputs::section(&ask, &runs).await?.map(Block::Section));
    page.blocks.extend(code::section(&ask, &runs).await?.map(Block::Section));
    Ok(page)
}

/// The runs that are named, or those of an experiment that a filter finds; and what of them is left out, in words.
async fn find(ask: &Ask) -> Result<(Vec<Run>, String), tidemill_registry::Error> {
    // In the order in which they are named, each once.
    let mut seen = BTreeSet::new();
    let named: Vec<&str> = ask.all("run").into_iter().filter(|id| seen.insert(*id)).collect();
    if !named.is_empty() {
        let known: Vec<RunId> = named.iter().filter_map(|id| id.parse().ok()).take(MOST).collect();
        let runs = ask.app.registry().db().tracked_runs(&known).await?;
        let left_out = match named.len() - runs.len() {
            0 => String::new(),
            _ if named.len() > MOST => {
                format!("Of {} runs that are named the first {MOST} are compared.", named.len())
            }
            1 => "One run that is named is not there.".to_owned(),
            gone => format!("{gone} runs that are named are not there."),
        };
        return Ok((runs, left_out));
    }
    let Some(experiment) = ask.get("experiment") else { return Ok((Vec::new(), String::new())) };
    let question = Question {
        experiments: vec![experiment.to_owned()],
        filter: ask.get("filter").unwrap_or_default().to_owned(),
        order_by: Vec::new(),
        view: View::Active,
        max_results: MOST as i64,
        page_token: String::new(),
    };
    let found = ask.app.registry().search_runs(&question).await?;
    let left_out = match found.next_page_token {
        Some(_) => format!("The filter finds more; the first {MOST} are compared."),
        None => String::new(),
    };
    Ok((found.items, left_out))
}

fn keys_of(run: &Run) -> Vec<Key> {
    let metrics = run.metrics.iter().filter(|metric| !is_system(&metric.key));
    let metrics = metrics.map(|metric| Key::Metric(metric.key.clone()));
    metrics.chain(run.params.iter().map(|pair| Key::Param(pair.key.clone()))).collect()
}

fn differs(runs: &[Run], key: &Key) -> bool {
    let mut cells = runs.iter().map(|run| key.cell(run));
    let first = cells.next();
    cells.any(|cell| Some(cell) != first)
}

/// The axes that were asked for; without any, parameters that differ and then metrics.
fn axes(ask: &Ask, runs: &[Run], differing: &[&Key]) -> Vec<Key> {
    let asked: Vec<Key> = ask.all("axis").into_iter().filter_map(Key::parse).take(16).collect();
    if !asked.is_empty() {
        return asked;
    }
    // What most runs do not have would break most lines, and what all have alike says nothing.
    let most = |key: &&&Key| {
        let known: Vec<Cell> =
            runs.iter().map(|run| key.cell(run)).filter(|cell| *cell != Cell::None).collect();
        known.len() * 2 >= runs.len() && known.iter().any(|cell| *cell != known[0])
    };
    let common = || differing.iter().filter(most);
    let params = common().filter(|key| matches!(key, Key::Param(_))).take(AXES / 2);
    let metrics = common().filter(|key| matches!(key, Key::Metric(_))).take(AXES / 2);
    params.chain(metrics).map(|key| (*key).clone()).collect()
}

fn number(run: &Run, key: &Key) -> Option<f64> {
    match key.cell(run) {
        Cell::Number(value) => Some(value),
        Cell::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn parallel(runs: &[Run], axes: &[Key]) -> Figure {
    let mut drawn = Vec::new();
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for key in axes {
        let texts: Vec<Option<String>> = runs.iter().map(|run| text(run, key)).collect();
        let all_numbers =
            runs.iter().zip(&texts).all(|(run, text)| text.is_none() || number(run, key).is_some());
        let (words, values): (Vec<String>, Vec<f64>) = if all_numbers {
            (Vec::new(), runs.iter().map(|run| number(run, key).unwrap_or(f64::NAN)).collect())
        } else {
            let words: Vec<String> =
                texts.iter().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect();
            let place = |text: &Option<String>| {
                let at = text.as_ref().and_then(|text| words.iter().position(|word| word == text));
                at.map_or(f64::NAN, |at| at as f64)
            };
            let values = texts.iter().map(place).collect();
            (words, values)
        };
        let log = words.is_empty() && spans_powers(&values);
        drawn.push(Axis { name: key.key().to_owned(), words, log });
        columns.push(values);
    }
    let strands = runs.iter().enumerate().map(|(at, run)| {
        let link = run_link(&run.info);
        Strand { name: link.text, href: link.href, values: columns.iter().map(|column| column[at]).collect() }
    });
    let chart = Parallel { axes: drawn, strands: strands.collect() };
    let heads = std::iter::once(Column::new("run")).chain(axes.iter().map(|key| Column {
        label: key.key().to_owned(),
        key: key.text(),
        ..Column::default()
    }));
    let rows = runs.iter().map(|run| {
        let cells = axes.iter().map(|key| key.cell(run));
        std::iter::once(Cell::Link(run_link(&run.info))).chain(cells).collect()
    });
    let table =
        Table { columns: heads.collect(), ..Table::new("axes", "Values of the axes", &[]) }.with(rows);
    Figure {
        id: "parallel".into(),
        title: "Parameters and metrics, a line for each run".into(),
        note: "The pattern of a line goes by the last axis: dotted for the lowest fifth, whole for the highest two.".into(),
        picture: chart.draw(),
        table,
        wide: true,
        ..Figure::default()
    }
}

/// Learning rates and the like are chosen by factors.
fn spans_powers(values: &[f64]) -> bool {
    let mut finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    finite.sort_by(f64::total_cmp);
    matches!((finite.first(), finite.last()), (Some(low), Some(high)) if *low > 0.0 && high / low >= 100.0)
}

fn text(run: &Run, key: &Key) -> Option<String> {
    match key.cell(run) {
        Cell::Number(value) => Some(value.to_string()),
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

fn scatter(ask: &Ask, runs: &[Run], differing: &[&Key]) -> Option<Figure> {
    let is_numeric = |key: &&Key| runs.iter().filter(|run| number(run, key).is_some()).count() >= 2;
    let numeric: Vec<&Key> = differing.iter().copied().filter(is_numeric).collect();
    let asked = |name: &str| ask.get(name).and_then(Key::parse);
    let param = numeric.iter().find(|key| matches!(key, Key::Param(_))).or_else(|| numeric.first());
    let x = asked("across").or_else(|| param.map(|key| (*key).clone()))?;
    let metric = numeric.iter().find(|key| matches!(key, Key::Metric(_)) && ***key != x);
    let y = asked("up").or_else(|| metric.map(|key| (*key).clone()))?;
    let values =
        |key: &Key| -> Vec<f64> { runs.iter().map(|run| number(run, key).unwrap_or(f64::NAN)).collect() };
    let (xs, ys) = (values(&x), values(&y));
    let dots = runs.iter().zip(xs.iter().zip(&ys)).map(|(run, (x, y))| {
        let link = run_link(&run.info);
        Dot { x: *x, y: *y, name: link.text, href: link.href }
    });
    let chart = Scatter {
        title: format!("{} against {}", y.key(), x.key()),
        x: x.key().to_owned(),
        y: y.key().to_owned(),
        dots: dots.collect(),
        log_x: spans_powers(&xs),
        log_y: spans_powers(&ys),
    };
    let rows = runs.iter().map(|run| vec![Cell::Link(run_link(&run.info)), x.cell(run), y.cell(run)]);
    let table = Table::new("scatter", "Points", &["run", x.key(), y.key()]).with(rows);
    Some(Figure {
        id: "scatter".into(),
        title: chart.title.clone(),
        picture: chart.draw(),
        table,
        wide: true,
        ..Figure::default()
    })
}

async fn curve(
    ask: &Ask,
    runs: &[Run],
    metrics: &[&Key],
) -> Result<Option<Figure>, tidemill_registry::Error> {
    let has_curve =
        |run: &Run, key: &Key| run.metrics.iter().any(|metric| metric.key == key.key() && metric.step > 0);
    let curves_of = |key: &Key| runs.iter().take(CURVES).filter(|run| has_curve(run, key)).count();
    let asked = ask.get("curve").and_then(Key::parse);
    // The one that most of the drawn runs have; the first by name where several are alike.
    let best = metrics.iter().rev().max_by_key(|key| curves_of(key)).filter(|key| curves_of(key) > 0);
    let Some(key) = asked.or_else(|| best.map(|key| (*key).clone())) else {
        return Ok(None);
    };
    let shape = Shape::of(ask);
    let mut drawn = Vec::new();
    for run in runs.iter().take(CURVES) {
        let history = curves::read(&ask.app, run.info.id, key.key(), &shape).await?;
        if !history.points.is_empty() {
            drawn.push((run_link(&run.info).text, history));
        }
    }
    if drawn.is_empty() {
        return Ok(None);
    }
    let mut figure = curves::figure("curves", key.key(), &drawn, &shape);
    figure.wide = true;
    if runs.len() > CURVES {
        figure.note = format!("The first {CURVES} of {} runs are drawn.", runs.len());
    }
    Ok(Some(figure))
}

fn choices(ask: &Ask, runs: &[Run], differing: &[&Key], metrics: &[&Key], axes: &[Key]) -> FilterBox {
    let select = |name: &str, label: &str, keys: &[&Key]| {
        let chosen = ask.get(name).unwrap_or_default();
        let choices = keys.iter().map(|key| Choice::new(key.text(), key.text(), key.text() == chosen));
        let choices =
            std::iter::once(Choice::new("", "by itself", chosen.is_empty())).chain(choices).collect();
        Control::Select { name: name.into(), label: label.into(), choices }
    };
    let several =
        differing.iter().map(|key| Choice::new(key.text(), key.text(), axes.contains(key))).collect();
    let mut controls = Vec::new();
    for key in ["experiment", "filter"] {
        controls.extend(ask.get(key).map(|value| Control::Hidden { name: key.into(), value: value.into() }));
    }
    if !ask.has("experiment") {
        controls.extend(
            runs.iter().map(|run| Control::Hidden { name: "run".into(), value: run.info.id.to_string() }),
        );
    }
    controls.push(Control::Several {
        name: "axis".into(),
        label: "Axes".into(),
        choices: several,
        find: None,
    });
    controls.push(select("across", "Across", differing));
    controls.push(select("up", "Up", differing));
    controls.push(select("curve", "Curve of", metrics));
    let shape = Shape::of(ask);
    controls.extend(shape.controls());
    FilterBox {
        action: "/compare".into(),
        label: "What is compared".into(),
        controls,
        button: "Show".into(),
        ..FilterBox::default()
    }
}

fn side_by_side(ask: &Ask, runs: &[Run], keys: &[&Key]) -> Table {
    let runs = &runs[..runs.len().min(COLUMNS)];
    let mut columns = vec![Column::new("")];
    columns[0].key = "what".into();
    columns.extend(runs.iter().map(|run| Column {
        label: run_link(&run.info).text,
        key: run.info.id.to_string(),
        ..Column::default()
    }));
    let fixed: [(&str, &dyn Fn(&Run) -> Cell); 5] = [
        ("page", &|run| Cell::Link(run_link(&run.info))),
        ("status", &|run| Cell::Badge(run_badge(run.info.status))),
        ("began", &|run| run.info.started_at.map_or(Cell::None, |at| Cell::Time(at, None))),
        ("took", &|run| took(run.info.started_at, run.info.ended_at, ask.now)),
        ("commit", &|run| {
            let commit = super::words::find(&run.tags, "mlflow.source.git.commit");
            commit.map_or(Cell::None, |commit| Cell::Code(commit.to_owned()))
        }),
    ];
    let mut rows: Vec<Vec<Cell>> = fixed
        .iter()
        .map(|(name, cell)| std::iter::once(Cell::text(*name)).chain(runs.iter().map(cell)).collect())
        .collect();
    let data = |run: &Run| {
        let parts = run.datasets.iter().map(|d| Cell::Text(format!("{} {:.8}", d.name, d.digest)));
        let parts: Vec<Cell> = parts.collect();
        if parts.is_empty() { Cell::None } else { Cell::Many(parts) }
    };
    rows.push(std::iter::once(Cell::text("data")).chain(runs.iter().map(data)).collect());
    for key in keys {
        let cells = runs.iter().map(|run| key.cell(run));
        rows.push(std::iter::once(Cell::text(key.text())).chain(cells).collect());
    }
    let mut table = Table::new("side_by_side", "Runs side by side", &[]).with(rows);
    table.columns = columns;
    table.pinned = true;
    table
}
