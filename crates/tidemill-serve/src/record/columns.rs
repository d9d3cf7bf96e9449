//! Which columns the rows of records have: fixed ones, then headers, inputs and outputs with the types of the
//! model's tensors.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidemill_runtime::ElementType;

use crate::element::arrow_type;

use super::codec::{Layout, Raw, View};

/// Names of the fixed columns, in their order.
pub(crate) mod fixed {
    pub(crate) const TIME: &str = "time";
    pub(crate) const REQUEST_ID: &str = "request_id";
    pub(crate) const ROW: &str = "row";
    pub(crate) const ENDPOINT: &str = "endpoint";
    pub(crate) const MODEL: &str = "model";
    pub(crate) const VERSION: &str = "version";
    pub(crate) const RELEASE: &str = "release";
    pub(crate) const ARM: &str = "arm";
    pub(crate) const SHADOW: &str = "shadow";
    pub(crate) const LATENCY_US: &str = "latency_us";
    pub(crate) const STATUS: &str = "status";
    pub(crate) const ERROR_KIND: &str = "error_kind";
    pub(crate) const ERROR: &str = "error";
    pub(crate) const WARNINGS: &str = "warnings";
    pub(crate) const ENTITY: &str = "entity";
}

/// The fixed columns.
pub(crate) fn fixed_fields() -> Vec<Field> {
    use fixed::{
        ARM, ENDPOINT, ENTITY, ERROR, ERROR_KIND, LATENCY_US, MODEL, RELEASE, REQUEST_ID, ROW, SHADOW,
        STATUS, TIME, VERSION, WARNINGS,
    };
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    vec![
        Field::new(TIME, time_type(), true),
        text(REQUEST_ID),
        Field::new(ROW, DataType::Int32, true),
        text(ENDPOINT),
        text(MODEL),
        text(VERSION),
        text(RELEASE),
        text(ARM),
        Field::new(SHADOW, DataType::Boolean, true),
        Field::new(LATENCY_US, DataType::Int64, true),
        text(STATUS),
        text(ERROR_KIND),
        text(ERROR),
        Field::new(WARNINGS, list_of(DataType::Utf8), true),
        text(ENTITY),
    ]
}

pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

pub(crate) fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// How the values of one column are nested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Nesting {
    /// One value in a row.
    Flat,
    /// A tensor of two dimensions with one column: one value in a row, unless others of its name have more.
    Single,
    /// Lists in lists, so deep.
    Deep(usize),
}

impl Nesting {
    fn of(raw: &Raw<'_>) -> Self {
        match raw.rank {
            0 | 1 => Self::Flat,
            2 if raw.row_len() == 1 => Self::Single,
            rank => Self::Deep(rank - 1),
        }
    }

    fn merge(self, other: Self) -> Option<Self> {
        match (self, other) {
            (one, same) if one == same => Some(one),
            (Self::Single, Self::Flat) | (Self::Flat, Self::Single) => Some(Self::Flat),
            (Self::Single, Self::Deep(1)) | (Self::Deep(1), Self::Single) => Some(Self::Deep(1)),
            _ => None,
        }
    }

    const fn depth(self) -> usize {
        match self {
            Self::Flat | Self::Single => 0,
            Self::Deep(depth) => depth,
        }
    }
}

/// One column of tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// `input_NAME` or `output_NAME`.
    pub(crate) name: String,
    pub(crate) element: ElementType,
    nesting: Nesting,
}

impl Column {
    pub(crate) const fn depth(&self) -> usize {
        self.nesting.depth()
    }
}

/// The columns that a set of records has beside the fixed ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    /// `header_NAME`.
    pub(crate) headers: Vec<String>,
    pub(crate) inputs: Vec<Column>,
    pub(crate) outputs: Vec<Column>,
}

/// How the tensors of a record are nested: what, beside its layout, decides its columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Form(Vec<Nesting>);

impl Form {
    pub(crate) fn of(view: &View<'_>) -> Self {
        Self(view.tensors.iter().map(Nesting::of).collect())
    }
}

impl Columns {
    /// Takes the columns of a record in, unless one of them has another type here already.
    pub(crate) fn admit(&mut self, layout: &Layout, form: &Form) -> bool {
        let named = |prefix: &str, columns: &[super::codec::Column], forms: &[Nesting]| -> Vec<Column> {
            columns
                .iter()
                .zip(forms)
                .map(|(column, nesting)| Column {
                    name: format!("{prefix}{}", column.name),
                    element: column.element,
                    nesting: *nesting,
                })
                .collect()
        };
        let (inputs, outputs) = form.0.split_at(layout.inputs.len().min(form.0.len()));
        let inputs = merged(&self.inputs, named(INPUT, &layout.inputs, inputs));
        let outputs = merged(&self.outputs, named(OUTPUT, &layout.outputs, outputs));
        let (Some(inputs), Some(outputs)) = (inputs, outputs) else { return false };
        (self.inputs, self.outputs) = (inputs, outputs);
        for header in &layout.headers {
            let name = format!("{HEADER}{header}");
            if let Err(place) = self.headers.binary_search(&name) {
                self.headers.insert(place, name);
            }
        }
        true
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        let mut fields = fixed_fields();
        fields.extend(self.headers.iter().map(|name| Field::new(name, DataType::Utf8, true)));
        for column in self.inputs.iter().chain(&self.outputs) {
            let mut kind = arrow_type(column.element);
            for _ in 0..column.depth() {
                kind = list_of(kind);
            }
            fields.push(Field::new(&column.name, kind, true));
        }
        Arc::new(Schema::new(fields))
    }
}

pub(crate) const HEADER: &str = "header_";
pub(crate) const INPUT: &str = "input_";
pub(crate) const OUTPUT: &str = "output_";

/// Both lists in one: in the model's order where both have the same columns in the same order, else by name. So what
/// the columns are does not depend on how records are spread over segments.
fn merged(held: &[Column], new: Vec<Column>) -> Option<Vec<Column>> {
    if held.is_empty() {
        return Some(new);
    }
    let is_same = held.iter().map(|column| &column.name).eq(new.iter().map(|column| &column.name));
    let mut columns = held.to_vec();
    for column in new {
        match columns.iter_mut().find(|held| held.name == column.name) {
            None => columns.push(column),
            Some(held) if held.element == column.element => {
                held.nesting = held.nesting.merge(column.nesting)?;
            }
            Some(_) => return None,
        }
    }
    if !is_same {
        columns.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Some(columns)
}
