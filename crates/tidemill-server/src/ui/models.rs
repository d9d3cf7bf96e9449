//! Registered models: the list, and one with its versions and where its aliases pointed over time.

use axum::extract::Path;
use axum::response::Response;
use tidemill_core::EventKind;
use tidemill_db::models::{ModelVersion, RegisteredModel};
use tidemill_db::tracking::KeyValue;
use tidemill_db::{EventFilter, Listed, Order};
use tidemill_registry::Error;
use tidemill_ui::{
    Area, Block, Cell, Choice, Control, Crumb, Empty, Field, FilterBox, Form, Link, Page, Section, Table,
    Tone, href, markdown,
};

use super::ask::Ask;
use super::experiments::{is_question, not_understood};
use super::sign_in::{Sent, see, value};
use super::{Made, ageing, answer, total};

const PAGE: i64 = 100;
/// Versions of one page.
const VERSIONS: usize = 200;
/// Aliases whose moves are listed.
const ALIASES: usize = 50;
/// Moves among which aliases that were deleted are looked for.
const MOVES: usize = 1000;

pub(super) async fn list(ask: Ask) -> Made {
    let filter = ask.get("filter").unwrap_or_default().to_owned();
    let found = ask.app.registry().search_models(&filter, &[], Some(PAGE), ask.get("page")).await;
    let (items, next, error) = match found {
        Ok(found) => (found.items, found.next, String::new()),
        Err(error) if is_question(&error) => (Vec::new(), None, error.message),
        Err(error) => return Err(error),
    };
    let rows = items.iter().map(|model| {
        let newest = model.latest.iter().map(|version| version.version).max();
        vec![
            Cell::link(href(&["models", &model.name], &[]), model.name.clone()),
            newest.map_or(Cell::None, |newest| Cell::Text(format!("v{newest}"))),
            aliases(model),
            model.description.clone().map_or(Cell::None, |text| Cell::Rich(markdown(&text), text)),
            Cell::Time(model.updated_at, Some(ask.now)),
        ]
    });
    let empty = if !error.is_empty() {
        not_understood()
    } else if filter.is_empty() {
        Empty::new(
            "No model is registered yet",
            "Registering gives a trained model a name and a number, by which endpoints and people refer to it:",
        )
        .code("mlflow.register_model(\"models:/m-…\", \"flights-late\")")
    } else {
        Empty::new("No model fits", "Change the filter, or leave it empty to see all.")
    };
    let mut table =
        Table::new("models", "Models", &["model", "newest version", "aliases", "what it is", "changed"])
            .with(rows)
            .or(empty);
    let total = if error.is_empty() { total::of_models(&ask, &filter).await? } else { None };
    table.pager = Some(ask.pager(next.as_deref(), items.len(), total, ["model", "models"]));
    let filter = FilterBox {
        action: "/models".into(),
        label: "Filter models".into(),
        controls: vec![Control::Line {
            name: "filter".into(),
            label: "Filter".into(),
            value: filter,
            example: "name LIKE 'flights%' AND tags.team = 'tides'".into(),
            wide: true,
        }],
        error,
        button: "Filter".into(),
        ..FilterBox::default()
    };
    Ok(Page {
        title: "Models".into(),
        area: Area::Models,
        lead: "Registered models, their versions, and the aliases by which others refer to them.".into(),
        blocks: vec![
            Block::Filter(filter),
            Block::Section(Section::new("list", "", vec![Block::Table(table)])),
        ],
        live: LIVE.to_vec(),
        ..Page::default()
    })
}

/// Events after which pages of models are not up to date.
pub(super) const LIVE: [&str; 8] = [
    "model.registered",
    "model.renamed",
    "model.described",
    "model.deleted",
    "version.created",
    "version.staged",
    "version.deleted",
    "alias.moved",
];

fn aliases(model: &RegisteredModel) -> Cell {
    let links = model.aliases.iter().map(|alias| {
        let version = alias.version.to_string();
        Link::new(href(&["models", &model.name, &version], &[]), format!("{} → v{version}", alias.alias))
    });
    let links: Vec<Link> = links.collect();
    if links.is_empty() { Cell::None } else { links.into() }
}

/// The tags of a model or a version; nothing where it has none.
pub(super) fn tags(tags: &[KeyValue]) -> Option<Block> {
    if tags.is_empty() {
        return None;
    }
    let rows = tags.iter().map(|tag| vec![Cell::text(tag.key.clone()), Cell::Pre(tag.value.clone())]);
    let table = Table::new("tags", "Tags", &["tag", "value"]).with(rows);
    Some(Block::Section(Section::new("tag-list", "Tags", vec![Block::Table(table)])))
}

pub(super) async fn model(ask: Ask) -> Made {
    let model = ask.app.registry().model(ask.part(0)).await?;
    let before = ask.place(|text| text.parse::<u64>().ok())?;
    let db = ask.app.registry().db();
    let mut versions = db.model_versions_before(&model.name, before, VERSIONS + 1).await?;
    let more = versions.len() > VERSIONS;
    versions.truncate(VERSIONS);
    let rows = versions.iter().map(|version| row(&ask, version));
    let columns = ["version", "aliases", "status", "made by", "run", "made", "tags", "content"];
    let mut table = Table::new("versions", "Versions", &columns).with(rows).or(Empty::new(
        "The model has no version yet",
        "Register what a run trained, with mlflow.register_model or on the page of a run in MLflow's pages.",
    ));
    let next = versions.last().filter(|_| more).map(|last| last.version.to_string());
    let total = total::of(&ask, Listed::VersionsOf(&model.name)).await?;
    table.pager = Some(ask.pager(next.as_deref(), versions.len(), total, ["version", "versions"]));
    let mut blocks = Vec::new();
    if let Some(text) = model.description.as_deref().filter(|text| !text.is_empty()) {
        blocks.push(Block::Markup(markdown(text)));
    }
    blocks.push(Block::Section(Section::new("versions-list", "Versions", vec![Block::Table(table)])));
    if before.is_none() {
        blocks.extend(ageing::of_model(&ask, &versions).await?);
    }
    let history = history(&ask, &model).await?;
    let mut section = Section::new("aliases", "Aliases", vec![Block::Table(history)])
        .note("A name such as champion that points at one version. Endpoints that route by it follow when it is moved.");
    if !versions.is_empty() {
        section.blocks.push(Block::Form(form(&ask, &model, &versions)));
    }
    blocks.push(Block::Section(section));
    blocks.extend(tags(&model.tags));
    Ok(Page {
        title: model.name.clone(),
        area: Area::Models,
        crumbs: vec![Crumb::new("/models", "Models")],
        blocks,
        live: LIVE.to_vec(),
        ..Page::default()
    })
}

fn row(ask: &Ask, version: &ModelVersion) -> Vec<Cell> {
    let number = version.version.to_string();
    let badges =
        version.aliases.iter().map(|alias| Cell::badge(Tone::Plain, alias.clone())).collect::<Vec<_>>();
    let tone = if version.status == "READY" { Tone::Good } else { Tone::Warn };
    let tags = version.tags.iter().map(|tag| format!("{}: {}", tag.key, tag.value)).collect::<Vec<_>>();
    vec![
        Cell::link(href(&["models", &version.model, &number], &[]), format!("v{number}")),
        if badges.is_empty() { Cell::None } else { Cell::Many(badges) },
        Cell::badge(tone, version.status.to_lowercase()),
        Cell::text(version.user.clone().unwrap_or_default()),
        run_cell(version),
        Cell::Time(version.created_at, Some(ask.now)),
        Cell::text(tags.join(", ")),
        version.content.map_or(Cell::None, |digest| Cell::Code(digest.to_string())),
    ]
}

/// The run that made a version.
pub(super) fn run_cell(version: &ModelVersion) -> Cell {
    let run = version.run.as_deref().filter(|run| !run.is_empty());
    run.map_or(Cell::None, |run| {
        Cell::link(href(&["runs", run], &[]), run.chars().take(10).collect::<String>())
    })
}

/// Every move of every alias that the model has or had, the newest first.
async fn history(ask: &Ask, model: &RegisteredModel) -> Result<Table, Error> {
    let mut names: Vec<String> = model.aliases.iter().map(|alias| alias.alias.clone()).collect();
    // Only the log still knows those that were deleted.
    let filter = EventFilter {
        kind: Some("alias.moved".into()),
        subject: Some(format!("model:{}", model.name)),
        limit: Some(MOVES),
        order: Order::NewestFirst,
        ..EventFilter::default()
    };
    for event in ask.app.registry().db().events(&filter).await? {
        if let EventKind::AliasMoved { alias, .. } = event.kind
            && !names.contains(&alias)
        {
            names.push(alias);
        }
    }
    let mut moves = Vec::new();
    for alias in names.iter().take(ALIASES) {
        for one in ask.app.registry().alias_history(&model.name, alias).await? {
            moves.push((alias.clone(), one));
        }
    }
    moves.sort_by_key(|(_, one)| std::cmp::Reverse(one.seq));
    let version = |number: Option<u64>| number.map_or(Cell::None, |number| Cell::Text(format!("v{number}")));
    let rows = moves.iter().take(200).map(|(alias, one)| {
        vec![
            Cell::badge(Tone::Plain, alias.clone()),
            version(one.from),
            version(one.to),
            Cell::text(one.actor.to_string()),
            Cell::Time(one.at, Some(ask.now)),
            Cell::link(href(&["log", &one.seq.to_string()], &[]), format!("event {}", one.seq)),
        ]
    });
    Ok(Table::new("alias_moves", "Moves of aliases", &["alias", "from", "to", "by", "when", "in the log"])
        .with(rows)
        .or(Empty::new(
            "No alias was set",
            "Set one below, or with MlflowClient().set_registered_model_alias.",
        )))
}

fn form(ask: &Ask, model: &RegisteredModel, versions: &[ModelVersion]) -> Form {
    let choices = versions.iter().map(|version| {
        let number = version.version.to_string();
        Choice::new(number.clone(), format!("v{number}"), false)
    });
    let fields = vec![
        Field::new("alias", "Alias", "text"),
        Field { choices: choices.collect(), ..Field::new("version", "Version", "text") },
    ];
    let action = href(&["ui", "models", &model.name, "alias"], &[]);
    ask.form(action, "Point an alias at a version", "Point the alias there", fields)
}

/// Points an alias at a version, for a form of the model's page.
pub(super) async fn set_alias(Path(name): Path<String>, sent: Sent) -> Response {
    let done = async {
        let fields = sent.fields()?;
        let (alias, version) = (value(&fields, "alias").trim(), value(&fields, "version"));
        if [name.as_str(), alias, version].iter().any(|text| text.contains('\0')) {
            return Err(Error::invalid("the form holds the character NUL, which stands in no name"));
        }
        sent.app.registry().set_alias(&sent.actor, &name, alias, version).await
    };
    match done.await {
        Ok(()) => see(&(href(&["models", &name], &[]) + "#aliases")),
        Err(error) => answer::answer(&sent.shown, Err(error)),
    }
}
