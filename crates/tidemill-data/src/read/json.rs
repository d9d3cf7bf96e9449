//! JSON lines as a table: one pass over all files finds the types, later passes read batches.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::json::ReaderBuilder;
use indexmap::IndexMap;
use serde_json::Value;

use super::scalar::{Class, classify};
use super::text::{self, Text};
use super::{Reader, Source};
use crate::value::shorten;
use crate::{BATCH_ROWS, Error, JsonOptions, Table};

/// Longest line.
const LONGEST: u64 = 64 << 20;
/// Text of a batch after which it ends early.
const BATCH_BYTES: usize = 16 << 20;
/// Deepest nesting of lists and objects.
const DEEPEST: usize = 32;

/// One file.
pub(crate) struct JsonFile {
    pub(crate) path: PathBuf,
}

/// Finds the types of all columns of all files.
pub(super) fn open(paths: Vec<PathBuf>, options: &JsonOptions) -> Result<Table, Error> {
    let mut columns: IndexMap<String, Shape> = IndexMap::new();
    let mut rows = 0;
    for path in &paths {
        let mut lines = Lines::open(path)?;
        while let Some(object) = lines.object()? {
            rows += 1;
            for (name, value) in object {
                if options.types.contains_key(&name) {
                    columns.entry(name).or_insert(Shape::Null);
                    continue;
                }
                let shape = lines.shape(&name, &value)?;
                let before = columns.get(&name).cloned().unwrap_or(Shape::Null);
                let merged = before.clone().merge(shape.clone()).ok_or_else(|| {
                    let why =
                        format!("column `{name}` holds {} here and {} before", shape.name(), before.name());
                    lines.error(
                        why,
                        Some(format!("correct it, or declare the type: `types: {{{name}: string}}`")),
                    )
                })?;
                columns.insert(name, merged);
            }
        }
    }
    if let Some(unknown) = options.types.keys().find(|name| !columns.contains_key(*name) && rows > 0) {
        let known = columns.keys().cloned().collect();
        return Err(Error::UnknownColumn { column: unknown.clone(), table: None, known });
    }
    let field = |(name, shape): (String, Shape)| {
        let kind = options.types.get(&name).map_or_else(|| shape.arrow(), |declared| declared.arrow());
        Field::new(name, kind, true)
    };
    let schema = Arc::new(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()));
    let files = paths.into_iter().map(|path| Source::Json(JsonFile { path })).collect();
    Ok(Table::new(schema, rows, files))
}

/// The rows, with the columns of `wanted`.
pub(super) fn read(file: &JsonFile, wanted: &SchemaRef) -> Result<Reader, Error> {
    let lines = Lines::open(&file.path)?;
    Ok(Box::new(JsonBatches { lines, schema: wanted.clone(), ended: false }))
}

/// The type of a value, before it is an Arrow type.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Null,
    Bool,
    Int,
    Float,
    /// Text that looks like dates or times as long as every value does.
    Text(Class),
    List(Box<Shape>),
    Object(IndexMap<String, Shape>),
}

impl Shape {
    /// The shape of a value; `None` where it is nested too deeply.
    fn of(value: &Value, depth: usize) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_i64() => Self::Int,
            Value::Number(_) => Self::Float,
            Value::String(text) => Self::Text(match classify(text) {
                // Only at the top: text in lists and objects stays text.
                class @ (Class::Date | Class::Local | Class::Instant) if depth == 0 => class,
                _ => Class::Text,
            }),
            _ if depth == DEEPEST => return None,
            Value::Array(items) => {
                let mut shape = Self::Null;
                for item in items {
                    shape = shape.merge(Self::of(item, depth + 1)?)?;
                }
                Self::List(Box::new(shape))
            }
            Value::Object(fields) => {
                let shape =
                    |(name, value): (&String, &Value)| Some((name.clone(), Self::of(value, depth + 1)?));
                Self::Object(fields.iter().map(shape).collect::<Option<_>>()?)
            }
        })
    }

    /// The shape that holds both; `None` where there is none.
    fn merge(self, other: Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Null, shape) | (shape, Self::Null) => shape,
            (Self::Int | Self::Float, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            (Self::Text(a), Self::Text(b)) => Self::Text(match (a, b) {
                (a, b) if a == b => a,
                (Class::Date, Class::Local) | (Class::Local, Class::Date) => Class::Local,
                _ => Class::Text,
            }),
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.merge(*b)?)),
            (Self::Object(mut a), Self::Object(b)) => {
                for (name, shape) in b {
                    let before = a.get(&name).cloned().unwrap_or(Self::Null);
                    a.insert(name, before.merge(shape)?);
                }
                Self::Object(a)
            }
            (a, b) if a == b => a,
            _ => return None,
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a truth value",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    fn arrow(&self) -> DataType {
        let item = |name: &str, shape: &Self| Field::new(name, shape.arrow(), true);
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Text(Class::Date) => DataType::Date32,
            Self::Text(Class::Local) => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Text(Class::Instant) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Null | Self::Text(_) => DataType::Utf8,
            Self::List(shape) => DataType::List(Arc::new(item("item", shape))),
            Self::Object(fields) => {
                DataType::Struct(fields.iter().map(|(name, shape)| item(name, shape)).collect::<Fields>())
            }
        }
    }
}

/// The lines of one file that are not blank.
struct Lines {
    path: PathBuf,
    text: BufReader<Text>,
    line: u64,
    bytes: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            text: BufReader::new(text::open(path)?),
            line: 0,
            bytes: Vec::new(),
        })
    }

    fn error(&self, why: String, hint: Option<String>) -> Error {
        Error::Line { path: self.path.clone(), line: self.line, why, hint }
    }

    /// Reads the next line into `bytes`; false at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        loop {
            self.bytes.clear();
            let read = self.text.by_ref().take(LONGEST).read_until(b'\n', &mut self.bytes);
            let read = read.map_err(|error| text::failed(&self.path, error))?;
            if read == 0 {
                return Ok(false);
            }
            self.line += 1;
            if read as u64 == LONGEST && self.bytes.last() != Some(&b'\n') {
                return Err(self.error(format!("the line is longer than {} MiB", LONGEST >> 20), None));
            }
            if !self.bytes.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn object(&mut self) -> Result<Option<IndexMap<String, Value>>, Error> {
        if !self.advance()? {
            return Ok(None);
        }
        match serde_json::from_slice(&self.bytes) {
            Ok(object) => Ok(Some(object)),
            Err(error) => {
                let whole = serde_json::from_slice::<Value>(&self.bytes);
                let (why, hint) = match whole {
                    Ok(_) => ("not a JSON object".to_owned(), "write one object a line"),
                    Err(_) if error.is_eof() => (
                        "the object does not end on its line".to_owned(),
                        "write one object a line, without line ends in it",
                    ),
                    Err(_) => (format!("not JSON at column {}", error.column()), "write one object a line"),
                };
                Err(self.error(why, Some(hint.to_owned())))
            }
        }
    }

    fn shape(&self, name: &str, value: &Value) -> Result<Shape, Error> {
        Shape::of(value, 0).ok_or_else(|| {
            let text = shorten(value.to_string());
            self.error(format!("the value of `{name}` is a mixed or too deeply nested list: `{text}`"), None)
        })
    }
}

struct JsonBatches {
    lines: Lines,
    schema: SchemaRef,
    ended: bool,
}

impl JsonBatches {
    fn batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        let mut text = Vec::new();
        let mut ends: Vec<(usize, u64)> = Vec::new();
        while ends.len() < BATCH_ROWS && text.len() < BATCH_BYTES && self.lines.advance()? {
            text.extend_from_slice(&self.lines.bytes);
            text.push(b'\n');
            ends.push((text.len(), self.lines.line));
        }
        if ends.is_empty() {
            return Ok(None);
        }
        match decode(&self.schema, &text, ends.len()) {
            Ok(batch) => Ok(Some(batch)),
            Err(error) => Err(self.blame(&text, &ends, &error)),
        }
    }

    /// The first line that cannot be read alone.
    fn blame(&self, text: &[u8], ends: &[(usize, u64)], error: &arrow::error::ArrowError) -> Error {
        let mut start = 0;
        for &(end, line) in ends {
            if let Err(error) = decode(&self.schema, &text[start..end], 1) {
                let hint = Some("correct the value, or declare the column's type as `string`".to_owned());
                return Error::Line { path: self.lines.path.clone(), line, why: error.to_string(), hint };
            }
            start = end;
        }
        Error::Corrupt { path: self.lines.path.clone(), format: "JSON lines", why: error.to_string() }
    }
}

fn decode(schema: &SchemaRef, text: &[u8], rows: usize) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut decoder = ReaderBuilder::new(schema.clone())
        .with_batch_size(rows)
        .with_coerce_primitive(true)
        .build_decoder()?;
    let mut position = 0;
    while position < text.len() {
        let read = decoder.decode(&text[position..])?;
        if read == 0 {
            break;
        }
        position += read;
    }
    match decoder.flush()? {
        Some(batch) if batch.num_rows() == rows => Ok(batch),
        _ => Err(arrow::error::ArrowError::JsonError("the number of objects and of lines differ".to_owned())),
    }
}

impl Iterator for JsonBatches {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.batch().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
