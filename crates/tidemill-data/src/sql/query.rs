//! From the text of a query to a plan that may run: what is allowed and what is not. Running is in `mod`.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use tidemill_core::did_you_mean;

use super::fail::Text;
use super::order;
use super::session::Session;
use crate::Error;

/// The one query in `text`.
pub(super) fn parse(text: &Text<'_>) -> Result<Statement, Error> {
    let mut parser = DFParserBuilder::new(text.text)
        .with_dialect(&GenericDialect {})
        .build()
        .map_err(|error| text.engine(&error))?;
    let mut statements = parser.parse_statements().map_err(|error| text.engine(&error))?;
    let hint = || Some("write one `select` or `with` query; its result becomes the step's output".to_owned());
    let Some(statement) = statements.pop_front() else {
        return Err(text.error(None, "there is no query".to_owned(), hint()));
    };
    if !statements.is_empty() {
        return Err(text.error(
            None,
            format!("{} statements instead of one query", statements.len() + 1),
            hint(),
        ));
    }
    match &statement {
        Statement::Statement(inner) if matches!(**inner, SqlStatement::Query(_)) => Ok(statement),
        other => {
            let shown = other.to_string();
            let verb = shown.split_whitespace().next().unwrap_or_default().to_uppercase();
            Err(text.error(text.find(&verb), format!("`{verb}` is not allowed in a query"), hint()))
        }
    }
}

/// Plans a parsed query so that its rows come in one order only.
pub(super) async fn plan(
    session: &Session,
    text: &Text<'_>,
    statement: Statement,
    threads: usize,
) -> Result<Arc<dyn ExecutionPlan>, Error> {
    let state = session.state();
    let known = session.table_names();
    let references = state.resolve_table_references(&statement).map_err(|error| text.engine(&error))?;
    for reference in references {
        let name = reference.table();
        if reference.schema().is_some() || !known.iter().any(|table| table == name) {
            let shown = reference.to_string();
            return Err(text.error(
                text.find(name),
                format!("there is no table `{shown}`"),
                did_you_mean(name, known.iter().map(String::as_str))
                    .map(|hint| format!("{hint}; a query reads only the tables in `inputs`")),
            ));
        }
    }
    let logical = state.statement_to_plan(statement).await.map_err(|error| text.engine(&error))?;
    datafusion::prelude::SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&logical)
        .map_err(|error| text.engine(&error))?;
    if let Some(names) = unrepeatable(&logical).map_err(|error| text.engine(&error))? {
        let written = names.iter().find_map(|name| Some((name, text.find(name)?)));
        let (name, place) = written.map_or((&names[0], None), |(name, place)| (name, Some(place)));
        let hint = match names[0].as_str() {
            "random" | "uuid" => Some("derive the value from a column, for example `sha256(id)`".to_owned()),
            "now" | "current_date" | "current_time" => Some(
                "give the time as a parameter: `params: {today: 2013-01-01}` and `${today}` in the query"
                    .to_owned(),
            ),
            _ => None,
        };
        let why =
            format!("`{name}` does not give the same answer every time, so the step could not be repeated");
        return Err(text.error(place, why, hint));
    }
    let physical = state.create_physical_plan(&logical).await.map_err(|error| text.engine(&error))?;
    order::fix(physical, threads).map_err(|error| text.engine(&error))
}

/// The names of a function in the plan whose result is not fixed by its arguments.
fn unrepeatable(plan: &LogicalPlan) -> datafusion::error::Result<Option<Vec<String>>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                let Expr::ScalarFunction(call) = part else { return Ok(TreeNodeRecursion::Continue) };
                if call.func.signature().volatility == Volatility::Immutable {
                    return Ok(TreeNodeRecursion::Continue);
                }
                let names =
                    std::iter::once(call.func.name()).chain(call.func.aliases().iter().map(String::as_str));
                found = Some(names.map(str::to_owned).collect());
                Ok(TreeNodeRecursion::Stop)
            })
        })
    })?;
    Ok(found)
}
