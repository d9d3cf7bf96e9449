//! A condition on single rows, computed batch by batch. No tables, no aggregates.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;

use crate::Error;

/// A parsed condition.
pub(crate) struct Predicate {
    text: String,
    expression: Expr,
    context: SessionContext,
    bound: Option<Arc<dyn PhysicalExpr>>,
}

impl Predicate {
    /// Parses `text` over the columns of `schema`.
    ///
    /// # Errors
    /// What the engine says, and a condition that is not true or false.
    pub(crate) fn parse(text: &str, schema: &Schema) -> Result<Self, Error> {
        let context = SessionContext::new();
        let known = DFSchema::try_from(schema.clone()).map_err(|error| refuse(text, &error))?;
        let expression = context.parse_sql_expr(text, &known).map_err(|error| refuse(text, &error))?;
        let mut predicate = Self { text: text.to_owned(), expression, context, bound: None };
        predicate.bind(&Arc::new(schema.clone()))?;
        Ok(predicate)
    }

    /// The names of the columns that it looks at.
    pub(crate) fn columns(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.expression.column_refs().into_iter().map(|column| column.name.clone()).collect();
        names.sort();
        names
    }

    /// Prepares it for batches of this schema.
    ///
    /// # Errors
    /// A condition that is not true or false.
    pub(crate) fn bind(&mut self, schema: &SchemaRef) -> Result<(), Error> {
        let known =
            DFSchema::try_from(schema.as_ref().clone()).map_err(|error| refuse(&self.text, &error))?;
        let bound = self
            .context
            .create_physical_expr(self.expression.clone(), &known)
            .map_err(|error| refuse(&self.text, &error))?;
        let kind = bound.data_type(schema).map_err(|error| refuse(&self.text, &error))?;
        if kind != DataType::Boolean {
            return Err(Error::Unusable(format!(
                "the condition `{}` is {kind}, not true or false",
                self.text
            )));
        }
        self.bound = Some(bound);
        Ok(())
    }

    /// The rows for which it holds; null is no.
    ///
    /// # Errors
    /// What the engine says.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        let Some(bound) = &self.bound else {
            return Err(Error::Unusable(format!("the condition `{}` is not prepared", self.text)));
        };
        let value = bound.evaluate(batch).map_err(|error| refuse(&self.text, &error))?;
        let array = value.into_array(batch.num_rows()).map_err(|error| refuse(&self.text, &error))?;
        let truths = array.as_boolean();
        Ok(match truths.nulls() {
            None => truths.clone(),
            Some(nulls) => BooleanArray::new(truths.values() & nulls.inner(), None),
        })
    }
}

fn refuse(text: &str, error: &datafusion::error::DataFusionError) -> Error {
    Error::Unusable(format!("the condition `{text}` cannot be used: {}", error.strip_backtrace()))
}
