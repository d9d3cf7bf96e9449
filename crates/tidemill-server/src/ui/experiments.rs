//! The list of experiments.

use tidemill_db::Listed;
use tidemill_registry::{Error, Question, View};
use tidemill_ui::{
    Area, Block, Cell, Column, Control, Empty, FilterBox, Page, Section, Sort, Table, href, markdown,
};

use super::Made;
use super::ask::Ask;
use super::total;
use super::words::find;

const PAGE: i64 = 100;

pub(super) async fn list(ask: Ask) -> Made {
    let order = ask.get("order").unwrap_or("last_update_time DESC").to_owned();
    let question = Question {
        experiments: Vec::new(),
        filter: ask.get("filter").unwrap_or_default().to_owned(),
        order_by: vec![order.clone()],
        view: if ask.has("deleted") { View::Deleted } else { View::Active },
        max_results: PAGE,
        page_token: ask.get("page").unwrap_or_default().to_owned(),
    };
    let (found, error) = match ask.app.registry().search_experiments(&question).await {
        Ok(found) => (Some(found), String::new()),
        Err(error) if is_question(&error) => (None, error.message),
        Err(error) => return Err(error),
    };
    let sorted = |label: &str, key: &str| sorted(&ask, label, key, &order);
    let mut table = Table {
        id: "experiments".into(),
        caption: "Experiments".into(),
        columns: vec![
            sorted("Experiment", "name"),
            sorted("Number", "experiment_id"),
            Column::new("What it is"),
            sorted("Made", "creation_time"),
            sorted("Changed", "last_update_time"),
        ],
        ..Table::default()
    };
    if let Some(found) = found {
        table.rows = found
            .items
            .iter()
            .map(|experiment| {
                let id = experiment.id.to_string();
                let note = find(&experiment.tags, "mlflow.note.content");
                vec![
                    Cell::link(href(&["experiments", &id], &[]), experiment.name.clone()),
                    Cell::text(id),
                    note.map_or(Cell::None, |note| Cell::Rich(markdown(note), note.to_owned())),
                    Cell::Time(experiment.created_at, Some(ask.now)),
                    Cell::Time(experiment.updated_at, Some(ask.now)),
                ]
            })
            .collect();
        let is_whole = !ask.has("filter") && !ask.has("deleted");
        let total = if is_whole { total::of(&ask, Listed::Experiments).await? } else { None };
        let next = found.next_page_token.as_deref();
        table.pager = Some(ask.pager(next, table.rows.len(), total, ["experiment", "experiments"]));
    }
    table.empty = Some(nothing(&ask, &error));
    let filter = FilterBox {
        action: "/experiments".into(),
        label: "Filter experiments".into(),
        controls: vec![
            Control::Line {
                name: "filter".into(),
                label: "Filter".into(),
                value: question.filter.clone(),
                example: "name LIKE 'flights%' AND tags.team = 'tides'".into(),
                wide: true,
            },
            Control::Tick { name: "deleted".into(), label: "deleted ones".into(), chosen: ask.has("deleted") },
            Control::Hidden { name: "order".into(), value: order },
        ],
        error,
        help: "Attributes name, creation_time and last_update_time (milliseconds), and tags.KEY; =, !=, LIKE, ILIKE, <, >; \
            joined with AND. The grammar is MLflow's."
            .into(),
        button: "Filter".into(),
    };
    Ok(Page {
        title: "Experiments".into(),
        area: Area::Experiments,
        lead: "Groups of runs: everything that was trained, with its parameters, metrics and files.".into(),
        blocks: vec![
            Block::Filter(filter),
            Block::Section(Section::new("list", "", vec![Block::Table(table)])),
        ],
        live: vec!["experiment.created", "experiment.renamed", "experiment.deleted", "experiment.restored"],
        ..Page::default()
    })
}

fn nothing(ask: &Ask, error: &str) -> Empty {
    if !error.is_empty() {
        return not_understood();
    }
    if ask.has("filter") || ask.has("deleted") {
        return Empty::new("No experiment fits", "Change the filter, or leave it empty to see all.")
            .link("/experiments", "All experiments");
    }
    first_run()
}

/// How the first run comes about.
pub(super) fn first_run() -> Empty {
    Empty::new("No run was logged yet", "Run the pipeline of a project, or log from any program with MLflow's client:").code(
        "tidemill run\n\nexport MLFLOW_TRACKING_URI=http://HOST:PORT   # the address of this page\npython train.py",
    )
}

/// Whether an error is about what was asked, so that it belongs below the filter and not on a page of its own.
pub(super) fn is_question(error: &Error) -> bool {
    matches!(error.code, tidemill_registry::Code::InvalidParameterValue | tidemill_registry::Code::BadRequest)
}

/// What stands in the place of a list whose filter has an error.
pub(super) fn not_understood() -> Empty {
    Empty::new("The filter could not be understood", "What is wrong with it stands below it.")
}

/// A column that a list can be sorted by.
pub(super) fn sorted(ask: &Ask, label: &str, key: &str, order: &str) -> Column {
    Column { label: label.to_owned(), sort: Some(sort(ask, key, order)), ..Column::default() }
}

/// The link of a column's head: by this key, or the other way round where it is already.
pub(super) fn sort(ask: &Ask, key: &str, order: &str) -> Sort {
    let now = order.strip_suffix(" DESC").map(|key| (key, true));
    let (by, descending) = now.unwrap_or((order.strip_suffix(" ASC").unwrap_or(order), false));
    let here = by == key;
    // The greatest first is what one looks for in most columns.
    let next = if here && descending { format!("{key} ASC") } else { format!("{key} DESC") };
    Sort { href: ask.with(&[("order", &next)]), descending: here.then_some(descending) }
}
