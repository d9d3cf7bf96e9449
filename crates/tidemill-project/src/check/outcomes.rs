//! Outcomes from datasets: names, and the columns of a version of the dataset.

use tidemill_core::{Name, did_you_mean};

use super::Check;
use crate::node::{Cursor, Span};
use crate::outcome::{OUTCOME_FIELDS, OutcomeColumns, OutcomeKey, OutcomeTable, OutcomeValues};
use crate::{Project, Report};

/// A column of a table: its name, and its type in words where it is neither number, text nor time.
pub type TableColumn<'a> = (&'a str, Option<&'a str>);

/// That a version of a dataset has the columns that the outcomes of an endpoint name. `number` is the place of the dataset among those of the
/// endpoint, and `label` is what the version is called. What a project file does not say is known to whoever has the table.
///
/// # Errors
/// Every column that is not there or holds what can be no outcome, with its place and the name that was probably meant.
pub fn check_outcome_columns(
    project: &Project,
    (endpoint, number): (&str, usize),
    label: &str,
    columns: &[TableColumn<'_>],
) -> Result<(), Report> {
    let mut check = Check::new(project);
    let table =
        project.serving.as_ref().and_then(|serving| serving.endpoints.get(endpoint)?.outcomes.get(number));
    let at = check.root().key("serving").key("endpoints").key(endpoint).key("outcomes").item(number);
    for (span, column) in table.into_iter().flat_map(|table| named(table, &at)) {
        match columns.iter().find(|(known, _)| *known == column) {
            Some((_, None)) => {}
            Some((_, Some(kind))) => {
                let message = format!(
                    "the column `{column}` of `{label}` holds {kind}, which is neither number, text nor time"
                );
                check.add(&span, message, "", None);
            }
            None => {
                let hint = did_you_mean(column, columns.iter().map(|(known, _)| *known));
                check.add(&span, format!("`{label}` has no column `{column}`"), "", hint);
            }
        }
    }
    check.report().into_result(())
}

/// What a table declares, however it is written: a key has a short and a long form, and the order of values says nothing.
fn meant(table: &OutcomeTable) -> (&Name, OutcomeColumns) {
    let mut columns = table.columns();
    columns.values.sort();
    (&table.from, columns)
}

/// Every column that is named, and where.
fn named<'t>(table: &'t OutcomeTable, at: &Cursor<'_>) -> Vec<(Span, &'t str)> {
    let mut found = Vec::new();
    let key = at.key("key");
    match &table.key {
        OutcomeKey::Entity(column) => found.push((key.span, column.as_str())),
        OutcomeKey::Columns(keys) => {
            found.extend(keys.named().map(|(field, column)| (key.key(field).span, column)));
        }
    }
    found.extend(table.time.as_deref().map(|column| (at.key("time").span, column)));
    let values = at.key("values");
    match &table.values {
        OutcomeValues::Column(column) => found.push((values.span, column.as_str())),
        OutcomeValues::Columns(columns) => {
            found
                .extend(columns.iter().enumerate().map(|(i, column)| (values.item(i).span, column.as_str())));
        }
        OutcomeValues::Named(columns) => {
            found.extend(columns.iter().map(|(name, column)| (values.key(name).span, column.as_str())));
        }
    }
    found
}

impl Check<'_> {
    pub(super) fn outcomes(&mut self) {
        let project = self.project;
        let Some(serving) = &project.serving else { return };
        let all = self.root().key("serving").key("endpoints");
        for (name, endpoint) in &serving.endpoints {
            let at = all.key(name.as_str()).key("outcomes");
            let said: Vec<_> = endpoint.outcomes.iter().map(meant).collect();
            for (i, table) in endpoint.outcomes.iter().enumerate() {
                self.outcome_table(table, &at.item(i));
                if let Some(first) = said[..i].iter().position(|other| *other == said[i]) {
                    let place = project.source.place(&at.item(first).span);
                    let place = place.map(|(line, column)| format!(", first at {line}:{column}"));
                    let message = format!("this stands here twice{}", place.unwrap_or_default());
                    self.add(&at.item(i).span, message, "", Some("remove one".to_owned()));
                }
            }
        }
    }

    fn outcome_table(&mut self, table: &OutcomeTable, at: &Cursor<'_>) {
        let known: Vec<&str> = self.project.data.keys().map(|name| name.as_str()).collect();
        let from = table.from.as_str();
        if !known.contains(&from) {
            let hint = did_you_mean(from, known)
                .unwrap_or_else(|| format!("declare it: `data: {{{from}: {{path: …}}}}`"));
            self.add(&at.key("from").span, format!("there is no dataset `{from}`"), "", Some(hint));
        }
        if let OutcomeKey::Columns(keys) = &table.key
            && keys.entity.is_none()
            && keys.request_id.is_none()
        {
            let expected = "a column for `entity` or `request_id`";
            let hint = Some("as in `key: customer` or `key: {request_id: id, row: line}`".to_owned());
            let message = if keys.row.is_some() {
                "the number of a row alone finds no request"
            } else {
                "no column finds a request"
            };
            self.add(&at.key("key").span, message, expected, hint);
        }
        for (span, column) in named(table, at) {
            if column.trim().is_empty() {
                self.add(&span, "the name of the column is empty", "", None);
            }
        }
        let columns = table.columns();
        let values = at.key("values");
        if columns.values.is_empty() {
            self.add(&values.span, "nothing says what became known", "at least one column", None);
        }
        for (i, (name, column)) in columns.values.iter().enumerate() {
            let span = match &table.values {
                OutcomeValues::Column(_) => values.span.clone(),
                OutcomeValues::Columns(_) => values.item(i).span,
                OutcomeValues::Named(_) => values.key(name).key,
            };
            if name.is_empty() || OUTCOME_FIELDS.contains(&name.as_str()) {
                let hint = Some(format!("give it another one, as in `values: {{label: {column}}}`"));
                self.add(&span, format!("`{name}` cannot be the name of an outcome"), "", hint);
            } else if columns.values[..i].iter().any(|(other, _)| other == name) {
                self.add(&span, format!("`{name}` stands here twice"), "", Some("remove one".to_owned()));
            }
        }
    }
}
