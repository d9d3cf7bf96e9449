//! `where`: the rows that a rule looks at.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use tidemill_core::declare::Expectation;

use super::Refused;
use crate::{Error, Table};

/// The different conditions of a suite; each is computed once a batch.
#[derive(Default)]
pub(super) struct Conditions {
    texts: Vec<String>,
    conditions: Vec<Condition>,
}

impl Conditions {
    /// The place of the rule's condition, if it has one.
    pub(super) fn place(
        &mut self,
        expectation: &Expectation,
        table: &Table,
    ) -> Result<Option<usize>, Refused> {
        let Some(text) = &expectation.condition else { return Ok(None) };
        if let Some(place) = self.texts.iter().position(|known| known == text) {
            return Ok(Some(place));
        }
        self.conditions.push(Condition::new(text, table)?);
        self.texts.push(text.clone());
        Ok(Some(self.texts.len() - 1))
    }

    /// Places in the table of the columns that the conditions look at.
    pub(super) fn columns(&self) -> Vec<usize> {
        self.conditions.iter().flat_map(|condition| condition.columns.iter().copied()).collect()
    }

    pub(super) fn bind(&mut self, schema: &SchemaRef) -> Result<(), Error> {
        self.conditions.iter_mut().try_for_each(|condition| condition.bind(schema))
    }

    /// For every condition, the rows for which it holds.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<Vec<BooleanArray>, Error> {
        self.conditions.iter().map(|condition| condition.evaluate(batch)).collect()
    }
}

#[cfg(feature = "sql")]
pub(super) struct Condition {
    columns: Vec<usize>,
    predicate: crate::sql::Predicate,
}

#[cfg(feature = "sql")]
impl Condition {
    fn new(text: &str, table: &Table) -> Result<Self, Refused> {
        let predicate = crate::sql::Predicate::parse(text, table.schema())?;
        let columns = predicate.columns().iter().map(|name| table.column(name)).collect::<Result<_, _>>()?;
        Ok(Self { columns, predicate })
    }

    fn bind(&mut self, schema: &SchemaRef) -> Result<(), Error> {
        self.predicate.bind(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        self.predicate.evaluate(batch)
    }
}

#[cfg(not(feature = "sql"))]
pub(super) struct Condition {
    columns: Vec<usize>,
}

#[cfg(not(feature = "sql"))]
impl Condition {
    fn new(_: &str, _: &Table) -> Result<Self, Refused> {
        Err(Refused::because("this build has no SQL engine, so `where` cannot be used".to_owned()))
    }

    fn bind(&mut self, _: &SchemaRef) -> Result<(), Error> {
        Ok(())
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        Ok(BooleanArray::from(vec![true; batch.num_rows()]))
    }
}
