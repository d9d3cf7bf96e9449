//! The names of column types as people write them, and the comparison of two schemas. Nothing here looks at values.

use std::fmt;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use serde::{Deserialize, Serialize};

/// The type of a column in the words of a project file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Whole numbers.
    Int,
    /// Numbers.
    Float,
    /// Text.
    String,
    /// `true` and `false`.
    Bool,
    /// A date and a time of day.
    Timestamp,
    /// A date.
    Date,
    /// Anything else: lists, structs, binary, durations.
    Other,
}

impl ColumnType {
    /// The types that a project file can name.
    pub const NAMED: [(&'static str, Self); 6] = [
        ("int", Self::Int),
        ("float", Self::Float),
        ("string", Self::String),
        ("bool", Self::Bool),
        ("timestamp", Self::Timestamp),
        ("date", Self::Date),
    ];

    /// The type called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, found)| *found)
    }

    /// The class of an Arrow type.
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Dictionary(_, values) => Self::of(values),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::String,
            DataType::Boolean => Self::Bool,
            DataType::Timestamp(_, _) => Self::Timestamp,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Decimal32(_, _)
            | DataType::Decimal64(_, _)
            | DataType::Decimal128(_, _)
            | DataType::Decimal256(_, _) => Self::Float,
            other if other.is_integer() => Self::Int,
            other if other.is_floating() => Self::Float,
            _ => Self::Other,
        }
    }

    /// The Arrow type that text of this type is read as.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::String | Self::Other => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Date => DataType::Date32,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Other => "other",
            named => Self::NAMED.iter().find(|(_, known)| known == named).map_or("other", |(name, _)| name),
        })
    }
}

/// A column and its exact type, in Arrow's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaField {
    /// The name.
    pub name: String,
    /// The type as Arrow writes it, for example `Int64`.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// How two schemas differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDiff {
    /// Columns that only the new table has.
    pub added: Vec<SchemaField>,
    /// Columns that only the old table has.
    pub removed: Vec<SchemaField>,
    /// Columns of both whose types differ: the old field and the new type.
    pub retyped: Vec<(SchemaField, String)>,
    /// Whether the columns that both have stand in another order.
    pub reordered: bool,
}

impl SchemaDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares two schemas by name. Nullability and metadata do not count.
pub fn compare_schemas(old: &Schema, new: &Schema) -> SchemaDiff {
    fn columns(schema: &Schema) -> Vec<(&str, &DataType)> {
        schema.fields().iter().map(|field| (field.name().as_str(), field.data_type())).collect()
    }
    compare_columns(&columns(old), &columns(new))
}

/// The same of names with their types.
pub(crate) fn compare_columns<T: PartialEq + fmt::Display>(
    old: &[(&str, T)],
    new: &[(&str, T)],
) -> SchemaDiff {
    fn find<'a, T>(side: &'a [(&str, T)], name: &str) -> Option<&'a T> {
        side.iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }
    let field = |name: &str, kind: &T| SchemaField { name: name.to_owned(), data_type: kind.to_string() };
    let missing = |from: &[(&str, T)], inside: &[(&str, T)]| -> Vec<SchemaField> {
        let missing = from.iter().filter(|(name, _)| find(inside, name).is_none());
        missing.map(|(name, kind)| field(name, kind)).collect()
    };
    let shared = |from: &[(&str, T)], inside: &[(&str, T)]| -> Vec<String> {
        let both = from.iter().filter(|(name, _)| find(inside, name).is_some());
        both.map(|(name, _)| (*name).to_owned()).collect()
    };
    let retyped = old.iter().filter_map(|(name, before)| {
        let after = find(new, name)?;
        (before != after).then(|| (field(name, before), after.to_string()))
    });
    SchemaDiff {
        added: missing(new, old),
        removed: missing(old, new),
        retyped: retyped.collect(),
        reordered: shared(old, new) != shared(new, old),
    }
}
