//! The page of a run: what went in, what came out, its curves and its files.

use tidemill_core::RunId;
use tidemill_db::DatasetVersion;
use tidemill_db::logged_models::LoggedModel;
use tidemill_db::tracking::{InputDataset, Run, Stage};
use tidemill_registry::{Error, Question, View};
use tidemill_ui::chart::spark;
use tidemill_ui::{
    Area, Badge, Block, Cell, Control, Crumb, Empty, Facts, Figure, Link, Page, Section, Tab, Table, Tone,
    count, href, markdown,
};

use super::Made;
use super::ask::Ask;
use super::curves::{self, Shape};
use super::words::{find, run_badge, run_link, took};
use super::{files, inputs, steps};
use crate::mlflow::is_system;

/// Curves that a browser gets at once; those after them when they come into view.
const DRAWN: usize = 6;
/// Curves of one page.
const CURVES: usize = 60;
/// Packages that are listed.
const PACKAGES: usize = 200;
/// Registered versions that are listed.
const VERSIONS: i64 = 50;
/// Characters of a tag that are shown: it may be a document.
const LONGEST: usize = 2_000;
/// Small curves in the table of metrics.
const SPARKS: usize = 40;

pub(super) async fn run(ask: Ask) -> Made {
    let id = ask.run_id()?;
    let found = ask.app.registry().db().tracked_run(id).await?;
    let run = found.ok_or_else(|| Error::missing(format!("there is no run `{id}`")))?;
    let experiment = ask.app.registry().db().experiment(run.info.experiment).await?;
    let tab = ask.get("tab").unwrap_or("overview").to_owned();
    let blocks = match tab.as_str() {
        "metrics" => metrics(&ask, &run, false).await?,
        "system" => metrics(&ask, &run, true).await?,
        "files" => files::files(&ask, &run).await?,
        "log" => log(&ask, &run).await?,
        _ => overview(&ask, &run).await?,
    };
    let system = run.metrics.iter().filter(|metric| is_system(&metric.key)).count();
    let own = run.metrics.len() - system;
    let address = |tab: &str| href(&["runs", &id.to_string()], &[("tab", tab)]);
    let mut tabs = vec![
        Tab::new(href(&["runs", &id.to_string()], &[]), "Overview", tab == "overview"),
        Tab::new(address("metrics"), format!("Curves ({own})"), tab == "metrics"),
    ];
    if system > 0 {
        tabs.push(Tab::new(address("system"), format!("System ({system})"), tab == "system"));
    }
    tabs.push(Tab::new(address("files"), "Files", tab == "files"));
    if step(&run).is_some() {
        tabs.push(Tab::new(address("log"), "Log", tab == "log"));
    }
    let running = run.info.ended_at.is_none() && run_badge(run.info.status).tone == Tone::Busy;
    let mut badges = vec![run_badge(run.info.status)];
    if run.info.stage == Stage::Deleted {
        badges.push(Badge::new(Tone::Warn, "deleted"));
    }
    let above = experiment.map(|experiment| {
        Crumb::new(href(&["experiments", &experiment.id.to_string()], &[]), experiment.name)
    });
    Ok(Page {
        title: run_link(&run.info).text,
        area: Area::Experiments,
        crumbs: std::iter::once(Crumb::new("/experiments", "Experiments")).chain(above).collect(),
        badges,
        tabs,
        blocks,
        live: vec![
            "tracking.run.moved",
            "tracking.run.created",
            "logged_model.created",
            "logged_model.moved",
            "version.created",
            "version.deleted",
            "alias.moved",
        ],
        growing: running,
        ..Page::default()
    })
}

/// The run of the pipeline and the step of it that a run is.
fn step(run: &Run) -> Option<(&str, &str)> {
    let found = find(&run.tags, "tidemill.run").zip(find(&run.tags, "tidemill.step"));
    found.filter(|(_, step)| !step.is_empty())
}

/// What the step printed that the run is of.
async fn log(ask: &Ask, run: &Run) -> Result<Vec<Block>, Error> {
    let printed = match step(run) {
        Some((pipeline, step)) => steps::printed(ask, pipeline, step).await?,
        None => None,
    };
    let empty = Empty::new(
        "Nothing that it printed is known",
        "What steps of the pipeline print is kept; a program that ran elsewhere logs files with mlflow.log_artifact.",
    );
    let block = printed.unwrap_or(Block::Empty(empty));
    Ok(vec![Block::Section(Section::new("output", "What it printed", vec![block]))])
}

async fn overview(ask: &Ask, run: &Run) -> Result<Vec<Block>, Error> {
    let id = run.info.id;
    let info = &run.info;
    let mut blocks = Vec::new();
    if let Some(note) = find(&run.tags, "mlflow.note.content") {
        blocks.push(Block::Markup(markdown(note)));
    }
    let facts = Facts::new("run")
        .with("Began", info.started_at.map_or(Cell::None, |at| Cell::Time(at, None)))
        .with("Took", took(info.started_at, info.ended_at, ask.now))
        .with("By", Cell::text(info.user.clone()))
        .maybe("Source", find(&run.tags, "mlflow.source.name").map(Cell::text))
        .maybe("Commit", find(&run.tags, "mlflow.source.git.commit").map(|commit| Cell::Code(commit.into())))
        .maybe("Failure", find(&run.tags, "tidemill.failure").map(|text| Cell::Pre(text.into())))
        .with("Identifier", Cell::Pre(id.to_string()))
        .with("Files", Cell::text(info.artifact_uri.clone()));
    let params = Table::new("params", "Parameters", &["parameter", "value"])
        .with(run.params.iter().map(|pair| vec![Cell::text(pair.key.clone()), Cell::Pre(pair.value.clone())]))
        .or(Empty::new(
            "No parameters",
            "A program logs them with mlflow.log_params, a step names them under `params:`.",
        ));
    let left = vec![
        Block::Section(Section::new("facts", "", vec![Block::Facts(facts)])),
        Block::Section(Section::new("parameters", "Parameters", vec![Block::Table(params)])),
    ];
    let mut right = vec![Block::Section(metric_table(ask, run).await?)];
    let models = files::models(ask, run).await?;
    right.extend(lineage(ask, run, &models).await?);
    right.extend(registered(ask, run).await?.map(Block::Section));
    if let Some(model) = models.first() {
        right.extend(environment(ask, model).await.map(Block::Section));
    }
    blocks.push(Block::Columns(vec![left, right]));
    let shown = |key: &str| key != "mlflow.note.content" && key != "mlflow.runName";
    let tags = Table::new("tags", "Tags", &["tag", "value"])
        .with(
            run.tags
                .iter()
                .filter(|tag| shown(&tag.key))
                .map(|tag| vec![Cell::text(tag.key.clone()), Cell::Pre(cut(&tag.value))]),
        )
        .or(Empty::new("No tags", "mlflow.set_tag gives a run words to be found by."));
    blocks.push(Block::Section(Section::new("tag-list", "Tags", vec![Block::Table(tags)])));
    Ok(blocks)
}

/// A value as far as it is shown, and how long it is where that is not all of it.
fn cut(value: &str) -> String {
    let all = value.chars().count();
    if all <= LONGEST {
        return value.to_owned();
    }
    let shown: String = value.chars().take(LONGEST).collect();
    format!("{shown}… (the first {} of {} characters)", count(LONGEST as u64), count(all as u64))
}

async fn metric_table(ask: &Ask, run: &Run) -> Result<Section, Error> {
    let id = run.info.id.to_string();
    let own: Vec<_> = run.metrics.iter().filter(|metric| !is_system(&metric.key)).collect();
    let mut rows = Vec::with_capacity(own.len());
    let stepped: Vec<&str> =
        own.iter().filter(|metric| metric.step != 0).map(|metric| metric.key.as_str()).collect();
    let has_more = stepped.len() > SPARKS;
    let keys = &stepped[..stepped.len().min(SPARKS)];
    let sparks = ask.app.registry().db().metric_sparks(run.info.id, keys, 60).await?;
    for metric in own {
        let values = sparks.get(&metric.key).filter(|values| values.len() > 1);
        let address = href(&["runs", &id, "curves", &metric.key], &[]);
        let small = values.map_or(Cell::None, |values| {
            let (name, what) = (figure_id(&metric.key), format!("{} over steps", metric.key));
            spark(format!("small-{name}"), &what, address.clone(), values)
        });
        rows.push(vec![
            Cell::link(address, metric.key.clone()),
            Cell::Number(metric.value),
            curves::step(metric.step),
            small,
        ]);
    }
    let table = Table::new("metrics", "Newest value of each metric", &["metric", "value", "step", "curve"])
        .with(rows)
        .or(Empty::new(
            "No metrics",
            "A program logs them with mlflow.log_metric; built-in trainings log theirs.",
        ));
    let section = Section::new("metrics", "Metrics", vec![Block::Table(table)]);
    Ok(if has_more {
        section.note(format!("The first {SPARKS} curves are drawn here; each name leads to its own."))
    } else {
        section
    })
}

/// Where the run stands among others: the pipeline, parents and children, data in, models out.
async fn lineage(ask: &Ask, run: &Run, models: &[LoggedModel]) -> Result<Vec<Block>, Error> {
    let db = ask.app.registry().db();
    let id = run.info.id;
    let mut blocks = Vec::new();
    let mut facts = Facts::new("lineage");
    if let Some(pipeline) = find(&run.tags, "tidemill.run") {
        let step = find(&run.tags, "tidemill.step").unwrap_or_default();
        let text =
            if step.is_empty() { "its steps, plan and logs".to_owned() } else { format!("step {step}") };
        facts = facts
            .with("Run of the pipeline", Cell::link(href(&["pipelines", pipeline], &[("step", step)]), text));
    }
    if let Some(parent) =
        find(&run.tags, "mlflow.parentRunId").and_then(|parent| parent.parse::<RunId>().ok())
        && let Some(info) = db.tracked_run_info(parent).await?
    {
        facts = facts.with("Part of", Cell::Link(run_link(&info)));
    }
    let children = Question {
        experiments: vec![run.info.experiment.to_string()],
        filter: format!("tags.mlflow.parentRunId = '{id}'"),
        order_by: vec!["attributes.start_time ASC".into()],
        view: View::Active,
        max_results: 50,
        page_token: String::new(),
    };
    let children = ask.app.registry().search_runs(&children).await?;
    if !children.items.is_empty() {
        let links: Vec<Link> = children.items.iter().map(|child| run_link(&child.info)).collect();
        facts = facts.with("Parts", links.into());
    }
    if !facts.items.is_empty() {
        blocks.push(Block::Section(Section::new("line", "Lineage", vec![Block::Facts(facts)])));
    }
    if !run.datasets.is_empty() {
        let own = db.latest_dataset_versions().await?;
        let rows = run.datasets.iter().map(|dataset| {
            let context = find(&dataset.tags, "mlflow.data.context").unwrap_or_default();
            vec![
                dataset_cell(dataset, &own),
                Cell::text(context),
                Cell::Code(dataset.digest.clone()),
                Cell::text(dataset.source_type.clone()),
            ]
        });
        let table =
            Table::new("datasets", "Datasets that it read", &["dataset", "used for", "digest", "from"]);
        blocks.push(Block::Section(Section::new(
            "inputs",
            "Data that it read",
            vec![Block::Table(table.with(rows))],
        )));
    }
    if !models.is_empty() {
        let rows = models.iter().map(|model| {
            vec![
                Cell::link(files::of_model(run, model), model.name.clone()),
                Cell::text(model.model_type.clone()),
                Cell::Code(model.id.clone()),
                Cell::Time(model.created_at, Some(ask.now)),
            ]
        });
        let table =
            Table::new("logged_models", "Models that it made", &["model", "kind", "identifier", "made"]);
        blocks.push(Block::Section(Section::new(
            "outputs",
            "Models that it made",
            vec![Block::Table(table.with(rows))],
        )));
    }
    Ok(blocks)
}

/// The name of a dataset; it leads to the versions where what a step read is versioned here: by its path, or by its content.
fn dataset_cell(dataset: &InputDataset, own: &[DatasetVersion]) -> Cell {
    let is_it =
        |latest: &&DatasetVersion| latest.source == dataset.name || inputs::is_content(dataset, latest);
    match own.iter().find(is_it).filter(|_| dataset.source_type == "tidemill") {
        Some(latest) => Cell::link(href(&["data", latest.dataset.as_str()], &[]), dataset.name.clone()),
        None => Cell::text(dataset.name.clone()),
    }
}

/// The versions of registered models that came of the run; nothing where there are none.
async fn registered(ask: &Ask, run: &Run) -> Result<Option<Section>, Error> {
    let filter = format!("run_id = '{}'", run.info.id);
    let found = ask.app.registry().search_versions(&filter, &[], Some(VERSIONS), None).await?;
    if found.items.is_empty() {
        return Ok(None);
    }
    let rows = found.items.iter().map(|version| {
        let number = version.version.to_string();
        vec![
            Cell::link(
                href(&["models", &version.model, &number], &[]),
                format!("{} v{number}", version.model),
            ),
            Cell::text(version.aliases.join(", ")),
            Cell::Time(version.created_at, Some(ask.now)),
        ]
    });
    let columns = ["version", "aliases", "registered"];
    let table = Table::new("versions", "Registered versions", &columns).with(rows);
    Ok(Some(Section::new("registered", "Registered versions", vec![Block::Table(table)])))
}

/// The environment of a model, as the client noted it: Python and the packages with their versions.
async fn environment(ask: &Ask, model: &LoggedModel) -> Option<Section> {
    let packages = files::text(ask, &model.artifact_uri, "requirements.txt").await?;
    let python = files::text(ask, &model.artifact_uri, "python_env.yaml").await.unwrap_or_default();
    let python = python.lines().find_map(|line| line.strip_prefix("python:")).map(str::trim);
    let lines = packages.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rows = python.map(|version| ("Python", version)).into_iter().chain(lines.map(|line| {
        // The first sign that can follow a name (PEP 508).
        let end = line.find(['=', '<', '>', '!', '~', ';', '@', ' ']).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        (name, rest.strip_prefix("==").unwrap_or(rest).trim())
    }));
    let rows = rows.take(PACKAGES).map(|(name, version)| vec![Cell::text(name), Cell::text(version)]);
    let table = Table::new("environment", "Environment", &["package", "version"]).with(rows);
    let note = format!("What the model {} needs, as it was when it was logged.", model.name);
    Some(Section::new("environment", "Environment", vec![Block::Table(table)]).note(note))
}

async fn metrics(ask: &Ask, run: &Run, system: bool) -> Result<Vec<Block>, Error> {
    let shape = Shape::of(ask);
    let id = run.info.id;
    if let Some(key) = ask.get("curve") {
        return curve(ask, run, key, &shape).await;
    }
    let wanted = ask.get("name").unwrap_or_default();
    let keys = run.metrics.iter().filter(|metric| is_system(&metric.key) == system);
    let keys = keys.filter(|metric| metric.key.to_lowercase().contains(&wanted.to_lowercase()));
    // Those with several steps first: a single value is no curve.
    let mut keys: Vec<(bool, &str)> = keys.map(|metric| (metric.step == 0, metric.key.as_str())).collect();
    keys.sort_unstable();
    let keys: Vec<&str> = keys.into_iter().map(|(_, key)| key).collect();
    let from = ask.get("from").and_then(|from| from.parse::<usize>().ok()).unwrap_or(0).min(keys.len());
    let here = &keys[from..keys.len().min(from + CURVES)];
    let mut figures = Vec::with_capacity(here.len());
    for (at, key) in here.iter().enumerate() {
        let (name, alone) = (figure_id(key), alone(ask, id, key, &[]));
        if at < DRAWN || ask.needs(&name) {
            let history = curves::read(&ask.app, id, key, &shape).await?;
            let figure = curves::figure(&name, key, &[(run_link(&run.info).text, history)], &shape);
            figures.push(Figure { numbers: Some(alone.clone()), address: Some(alone), ..figure });
        } else {
            let title = (*key).to_owned();
            let later = self::alone(ask, id, key, &[("among", "all")]);
            figures.push(Figure {
                id: name,
                title,
                later: Some(later),
                address: Some(alone),
                ..Figure::default()
            });
        }
    }
    let tab = if system { "system" } else { "metrics" };
    let others = vec![
        Control::Hidden { name: "tab".into(), value: tab.into() },
        Control::Line {
            name: "name".into(),
            label: "Metrics".into(),
            value: wanted.to_owned(),
            example: "part of a name".into(),
            wide: false,
        },
    ];
    let mut blocks = vec![Block::Filter(shape.filter(href(&["runs", &id.to_string()], &[]), others))];
    if shape.range.is_some() {
        blocks.push(Block::Links(vec![Link::new(ask.with(&[("x", "")]), "See all steps")]));
    }
    if figures.is_empty() {
        let empty = Empty::new(
            "No metric to draw",
            "A program logs points with mlflow.log_metric(key, value, step=…).",
        );
        blocks.push(Block::Empty(empty));
    }
    blocks.push(Block::Figures(figures));
    if here.len() < keys.len() {
        blocks.push(Block::Text(format!(
            "{} of {} curves.",
            count(here.len() as u64),
            count(keys.len() as u64)
        )));
        let (first, next) = (ask.with(&[("from", "")]), (from + CURVES).to_string());
        let mut links = Vec::new();
        if from > 0 {
            links.push(Link::new(first, "First curves"));
        }
        if from + CURVES < keys.len() {
            links.push(Link::new(ask.with(&[("from", &next)]), "More curves →"));
        }
        blocks.push(Block::Links(links));
    }
    Ok(blocks)
}

/// The page of one curve, whose address says the run and the metric: it and its picture stay where they are.
pub(super) async fn curve_page(ask: Ask) -> Made {
    let id = ask.run_id()?;
    let key = ask.part(1).to_owned();
    let found = ask.app.registry().db().tracked_run(id).await?;
    let run = found.ok_or_else(|| Error::missing(format!("there is no run `{id}`")))?;
    let blocks = curve(&ask, &run, &key, &Shape::of(&ask)).await?;
    let running = run.info.ended_at.is_none() && run_badge(run.info.status).tone == Tone::Busy;
    Ok(Page {
        title: key,
        area: Area::Experiments,
        crumbs: vec![Crumb::new("/experiments", "Experiments"), run_link(&run.info)],
        blocks,
        live: vec!["tracking.run.moved"],
        growing: running,
        ..Page::default()
    })
}

/// One curve, wide, with its numbers; as one among all what is fetched when it comes into view.
async fn curve(ask: &Ask, run: &Run, key: &str, shape: &Shape) -> Result<Vec<Block>, Error> {
    let id = run.info.id;
    if !run.metrics.iter().any(|metric| metric.key == key) {
        return Err(Error::missing(format!("the run has no metric `{key}`")));
    }
    let history = curves::read(&ask.app, id, key, shape).await?;
    let mut figure = curves::figure(&figure_id(key), key, &[(run_link(&run.info).text, history)], shape);
    figure.address = Some(alone(ask, id, key, &[]));
    if ask.get("among") == Some("all") {
        figure.numbers.clone_from(&figure.address);
        return Ok(vec![Block::Figure(Box::new(figure))]);
    }
    let tab = if is_system(key) { "system" } else { "metrics" };
    let all = [("tab", tab)].into_iter().chain(shape_of(ask)).collect::<Vec<_>>();
    figure.links = vec![Link::new(href(&["runs", &id.to_string()], &all), "among all")];
    let filter = shape.filter(href(&["runs", &id.to_string(), "curves", key], &[]), Vec::new());
    let mut blocks = vec![Block::Filter(filter)];
    if shape.range.is_some() {
        blocks.push(Block::Links(vec![Link::new(ask.with(&[("x", "")]), "See all steps")]));
    }
    blocks.push(Block::Figure(Box::new(figure)));
    Ok(blocks)
}

/// How curves are shown, as the address says it.
fn shape_of(ask: &Ask) -> impl Iterator<Item = (&str, &str)> {
    ["x", "over", "smooth", "log"].into_iter().filter_map(move |key| Some((key, ask.get(key)?)))
}

/// The address of a curve and of its picture: by run and metric, and by how it is shown.
fn alone(ask: &Ask, run: RunId, key: &str, more: &[(&str, &str)]) -> String {
    let query: Vec<(&str, &str)> = shape_of(ask).chain(more.iter().copied()).collect();
    href(&["runs", &run.to_string(), "curves", key], &query)
}

/// The name of a curve within a page, which is another one for each metric. Names of metrics may hold anything; what stands in no plain
/// word is written by its bytes.
fn figure_id(key: &str) -> String {
    let mut id = "curve-".to_owned();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => id.push(char::from(byte)),
            _ => id.push_str(&format!(".{byte:02x}")),
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::{cut, figure_id};

    #[test]
    fn of_a_long_value_it_is_said_how_long_it_is() {
        assert_eq!(cut(&"é".repeat(2_000)), "é".repeat(2_000));
        assert!(cut(&"é".repeat(2_001)).ends_with("é… (the first 2000 of 2001 characters)"));
    }

    #[test]
    fn each_metric_has_a_name_of_its_own() {
        assert_eq!(figure_id("val_loss-2"), "curve-val_loss-2");
        assert_eq!(figure_id("a/b c"), "curve-a.2fb.20c");
        assert_ne!(figure_id("a.2fb"), figure_id("a/b"));
        assert_eq!(figure_id("é<"), "curve-.c3.a9.3c");
    }
}
