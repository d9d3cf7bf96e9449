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
pub(super) fn parse(_: &Session, text: &Text<'_>) -> Result<Statement, Error> {
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
    if let Some(function) = unrepeatable(&logical).map_err(|error| text.engine(&error))? {
        return Err(text.error(
            text.find(&function),
            format!("`{function}()` gives another answer every time, so the step could not be repeated"),
            Some(match function.as_str() {
                "random" | "uuid" => "derive the value from a column, for example `sha256(id)`".to_owned(),
                _ => {
                    "give the time as a parameter: `params: {today: 2013-01-01}` and `${today}` in the query"
                        .to_owned()
                }
            }),
        ));
    }
    let physical = state.create_physical_plan(&logical).await.map_err(|error| text.engine(&error))?;
    order::fix(physical, threads).map_err(|error| text.engine(&error))
}

/// A function in the plan whose result is not fixed by its arguments.
fn unrepeatable(plan: &LogicalPlan) -> datafusion::error::Result<Option<String>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                let function = match part {
                    Expr::ScalarFunction(call) => Some((call.func.name(), call.func.signature().volatility)),
                    Expr::AggregateFunction(call) => {
                        Some((call.func.name(), call.func.signature().volatility))
                    }
                    _ => None,
                };
                match function {
                    Some((name, volatility)) if volatility != Volatility::Immutable => {
                        found = Some(name.to_owned());
                        Ok(TreeNodeRecursion::Stop)
                    }
                    _ => Ok(TreeNodeRecursion::Continue),
                }
            })
        })
    })?;
    Ok(found)
}
