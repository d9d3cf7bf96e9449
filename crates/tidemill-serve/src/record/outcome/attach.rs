//! Outcomes as columns beside the rows of their records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use tidemill_core::Timestamp;
use tidemill_db::Db;
use tidemill_db::outcomes::Outcome;

use crate::record::LogError;
use crate::record::columns::fixed;

/// The outcomes that were joined with the requests of a stretch of time, held in memory.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// By name: whether all values are numbers.
    names: BTreeMap<String, bool>,
    values: HashMap<(String, Option<u64>), Vec<(String, Value)>>,
}

#[derive(Clone, Debug)]
enum Value {
    Number(f64),
    Text(String),
}

impl Outcomes {
    /// Those of requests of an endpoint in `from..to`.
    ///
    /// # Errors
    ///
    /// What the database refuses.
    pub async fn load(
        db: &Db,
        endpoint: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Self, LogError> {
        let from = from.unwrap_or(Timestamp::from_millis(i64::MIN));
        let to = to.unwrap_or(Timestamp::from_millis(i64::MAX));
        Ok(Self::of(db.matched_outcomes(endpoint, from, to).await?))
    }

    /// With columns for exactly these names, of which it is said whether all values are numbers: tables of parts of the log have the same columns
    /// then.
    #[must_use]
    pub fn with_names(self, names: BTreeMap<String, bool>) -> Self {
        Self { names, ..self }
    }

    fn of(outcomes: Vec<Outcome>) -> Self {
        let mut all = Self::default();
        for outcome in outcomes {
            let Some(matched) = outcome.matched else { continue };
            let value = match (outcome.number, outcome.text) {
                (_, Some(text)) => Value::Text(text),
                (Some(number), None) => Value::Number(number),
                (None, None) => continue,
            };
            *all.names.entry(outcome.name.clone()).or_insert(true) &= matches!(value, Value::Number(_));
            all.values.entry((matched.request_id, matched.row)).or_default().push((outcome.name, value));
        }
        all
    }

    /// `schema` with a column `outcome_NAME` for each name: numbers, or texts where one value is a text.
    pub fn schema(&self, schema: &SchemaRef) -> SchemaRef {
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        for (name, is_number) in &self.names {
            let kind = if *is_number { DataType::Float64 } else { DataType::Utf8 };
            fields.push(Arc::new(Field::new(format!("outcome_{name}"), kind, true)));
        }
        Arc::new(Schema::new(fields))
    }

    /// Rows with their outcomes; an outcome without a row belongs to every row of its request.
    ///
    /// # Errors
    ///
    /// Rows without the columns `request_id` and `row`.
    pub fn attach(&self, batch: &RecordBatch) -> Result<RecordBatch, LogError> {
        let column = |name: &str| {
            let missing = || LogError::Unusable(format!("outcomes need the column `{name}` of the records"));
            batch.column_by_name(name).ok_or_else(missing)
        };
        let ids = column(fixed::REQUEST_ID)?.as_string::<i32>();
        let rows = column(fixed::ROW)?.as_primitive::<Int32Type>();
        let mut columns = batch.columns().to_vec();
        for (name, is_number) in &self.names {
            let values = (0..batch.num_rows()).map(|at| {
                let id = ids.value(at).to_owned();
                let row = u64::try_from(rows.value(at)).ok();
                self.find(id, row, name)
            });
            let array: ArrayRef = if *is_number {
                Arc::new(values.map(|value| value.and_then(Value::number)).collect::<Float64Array>())
            } else {
                Arc::new(values.map(|value| value.map(Value::text)).collect::<StringArray>())
            };
            columns.push(array);
        }
        Ok(RecordBatch::try_new(self.schema(&batch.schema()), columns)?)
    }

    fn find(&self, id: String, row: Option<u64>, name: &str) -> Option<&Value> {
        let key = (id, row);
        let of = |key: &(String, Option<u64>)| {
            self.values.get(key)?.iter().find(|(held, _)| held == name).map(|(_, value)| value)
        };
        of(&key).or_else(|| of(&(key.0.clone(), None)))
    }
}

impl Value {
    const fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}
