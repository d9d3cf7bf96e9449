//! Outcomes from the bytes of a body: JSON, JSON lines, CSV or Parquet, read as they arrive.
//!
//! A row names its request (`request_id`, `row`) or what it is about (`entity`, `time`). Its value is `value`, called
//! `name` (`label` where absent); every other field is an outcome of that field's name. Empty fields are none.

mod csv;

use std::io::{Seek as _, SeekFrom, Write as _};

use arrow::json::LineDelimitedWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};
use tidemill_core::Timestamp;
use tidemill_db::outcomes::Outcome;

use crate::record::LogError;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// One JSON object, or a list of them.
    Json,
    /// One JSON object a line.
    JsonLines,
    /// Delimited by commas, with a header.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl BodyFormat {
    /// From a content type; parameters are ignored.
    pub fn of_content_type(text: &str) -> Option<Self> {
        Some(match text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Self::Json,
            "application/jsonl" | "application/x-ndjson" | "application/ndjson" | "application/jsonlines" => {
                Self::JsonLines
            }
            "text/csv" => Self::Csv,
            "application/vnd.apache.parquet" | "application/x-parquet" | "application/parquet" => {
                Self::Parquet
            }
            _ => return None,
        })
    }
}

/// A row that holds no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The row of the body, from 1; a header is none.
    pub row: u64,
    /// What is wrong with it.
    pub why: String,
}

/// A line, or a body that must be held as a whole, has at most so many bytes.
const MAX_LINE: usize = 1 << 20;
const MAX_JSON: usize = 4 << 20;

/// Why a row is rejected that says only what it is about.
const NO_ENTITIES: &str =
    "records of the endpoint keep no entity (`redact: {entity: drop}`); name the request by `request_id`";

/// Reads a body bit by bit. What it holds at a time is a line, except for Parquet, which goes through a temporary file.
pub struct OutcomeReader {
    endpoint: String,
    received_at: Timestamp,
    /// Whether the log keeps what requests are about.
    has_entities: bool,
    kind: Kind,
    row: u64,
    outcomes: Vec<Outcome>,
    rejected: Vec<Rejected>,
}

enum Kind {
    Json(Vec<u8>),
    Lines(Vec<u8>),
    Csv(Box<csv::Csv>),
    Parquet(std::fs::File),
}

impl OutcomeReader {
    /// For the outcomes of an endpoint that arrive now.
    ///
    /// # Errors
    ///
    /// Where no temporary file can be made.
    pub fn new(endpoint: &str, format: BodyFormat, received_at: Timestamp) -> Result<Self, LogError> {
        let kind = match format {
            BodyFormat::Json => Kind::Json(Vec::new()),
            BodyFormat::JsonLines => Kind::Lines(Vec::new()),
            BodyFormat::Csv => Kind::Csv(Box::new(csv::Csv::new())),
            BodyFormat::Parquet => {
                let file = tempfile::tempfile().map_err(scratch)?;
                Kind::Parquet(file)
            }
        };
        Ok(Self {
            endpoint: endpoint.to_owned(),
            received_at,
            has_entities: true,
            kind,
            row: 0,
            outcomes: Vec::new(),
            rejected: Vec::new(),
        })
    }

    /// Rejects rows that name an entity alone: the log keeps none, so they would never find their requests.
    #[must_use]
    pub fn without_entities(self) -> Self {
        Self { has_entities: false, ..self }
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    ///
    /// A line or a body that is too long to be held.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        match &mut self.kind {
            Kind::Json(held) => {
                if held.len() + bytes.len() > MAX_JSON {
                    return Err(LogError::Unusable(format!(
                        "a JSON body has at most {MAX_JSON} bytes; send JSON lines (`application/jsonl`) instead"
                    )));
                }
                held.extend_from_slice(bytes);
                Ok(())
            }
            Kind::Lines(held) => {
                let mut held = std::mem::take(held);
                let mut rest = bytes;
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let (line, after) = rest.split_at(end);
                    rest = after.get(1..).unwrap_or_default();
                    if held.is_empty() {
                        self.line(line);
                    } else {
                        held.extend_from_slice(line);
                        self.line(&held);
                        held.clear();
                    }
                }
                if held.len() + rest.len() > MAX_LINE {
                    return Err(LogError::Unusable(format!(
                        "row {} has more than {MAX_LINE} bytes",
                        self.row + 1
                    )));
                }
                held.extend_from_slice(rest);
                self.kind = Kind::Lines(held);
                Ok(())
            }
            Kind::Csv(_) => self.csv(bytes),
            Kind::Parquet(file) => file.write_all(bytes).map_err(scratch),
        }
    }

    /// The outcomes and the rejected rows so far, which the reader forgets.
    pub fn take(&mut self) -> (Vec<Outcome>, Vec<Rejected>) {
        (std::mem::take(&mut self.outcomes), std::mem::take(&mut self.rejected))
    }

    /// How many outcomes wait to be taken.
    pub fn waiting(&self) -> usize {
        self.outcomes.len() + self.rejected.len()
    }

    /// The body is complete. Calls `full` with what was read each time that so much has come together.
    ///
    /// # Errors
    ///
    /// A body that is not of its format, and what `full` refuses.
    pub fn finish(
        mut self,
        every: usize,
        full: &mut dyn FnMut(Vec<Outcome>, Vec<Rejected>) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        match std::mem::replace(&mut self.kind, Kind::Lines(Vec::new())) {
            Kind::Json(held) => match serde_json::from_slice(&held) {
                Ok(Value::Array(rows)) => rows.into_iter().for_each(|row| self.value(row)),
                Ok(row) => self.value(row),
                Err(error) => return Err(LogError::Unusable(format!("the body is no JSON: {error}"))),
            },
            Kind::Lines(held) => {
                if !held.is_empty() {
                    self.line(&held);
                }
            }
            Kind::Csv(csv) => {
                self.kind = Kind::Csv(csv);
                // An end of line that the last row may lack, then the end.
                self.csv(b"\n")?;
            }
            Kind::Parquet(file) => self.parquet(file, every, full)?,
        }
        let (outcomes, rejected) = self.take();
        full(outcomes, rejected)
    }

    fn parquet(
        &mut self,
        mut file: std::fs::File,
        every: usize,
        full: &mut dyn FnMut(Vec<Outcome>, Vec<Rejected>) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let foreign =
            |error: String| LogError::Unusable(format!("the body is no readable Parquet file: {error}"));
        file.seek(SeekFrom::Start(0)).map_err(scratch)?;
        // The decoder panics on some damage.
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            ParquetRecordBatchReaderBuilder::try_new(file)
                .and_then(|builder| builder.with_batch_size(1024).build())
        }));
        let mut batches = opened
            .map_err(|_| foreign("it is damaged".to_owned()))?
            .map_err(|error| foreign(error.to_string()))?;
        loop {
            let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| batches.next()));
            let Some(batch) = next.map_err(|_| foreign("it is damaged".to_owned()))? else { return Ok(()) };
            let mut lines = Vec::new();
            let mut writer = LineDelimitedWriter::new(&mut lines);
            writer.write(&batch.map_err(|error| foreign(error.to_string()))?)?;
            writer.finish()?;
            lines
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .for_each(|line| self.line(line));
            if self.waiting() >= every {
                let (outcomes, rejected) = self.take();
                full(outcomes, rejected)?;
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match serde_json::from_slice(line) {
            Ok(row) => self.value(row),
            Err(error) => {
                self.row += 1;
                self.rejected.push(Rejected { row: self.row, why: format!("it is no JSON: {error}") });
            }
        }
    }

    fn value(&mut self, row: Value) {
        self.row += 1;
        let found = match row {
            Value::Object(fields) => outcomes_of(fields, &self.endpoint, self.received_at),
            _ => Err("it is no object".to_owned()),
        };
        let is_lost = |outcome: &Outcome| !self.has_entities && outcome.request_id.is_none();
        let found = match found {
            Ok(found) if found.iter().any(is_lost) => Err(NO_ENTITIES.to_owned()),
            found => found,
        };
        match found {
            Ok(mut found) => self.outcomes.append(&mut found),
            Err(why) => self.rejected.push(Rejected { row: self.row, why }),
        }
    }
}

/// The outcomes of one row.
fn outcomes_of(
    mut fields: Map<String, Value>,
    endpoint: &str,
    received_at: Timestamp,
) -> Result<Vec<Outcome>, String> {
    let request_id = key(&mut fields, "request_id")?;
    let entity = key(&mut fields, "entity")?;
    let name = key(&mut fields, "name")?;
    let row =
        match fields.remove("row") {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_u64().filter(|row| *row < 1 << 31).ok_or_else(|| {
                format!("`row` is {value}; it is the number of a row of the request, from 0")
            })?),
        };
    let occurred_at = match fields.remove("time") {
        None | Some(Value::Null) => None,
        Some(value) => Some(time(&value)?),
    };
    if request_id.is_none() && entity.is_none() {
        return Err("it has neither `request_id` nor `entity`".to_owned());
    }
    let base = Outcome {
        endpoint: endpoint.to_owned(),
        request_id,
        row,
        entity,
        occurred_at,
        received_at,
        ..Outcome::default()
    };
    let mut outcomes = Vec::new();
    let mut add = |name: String, value: Value| -> Result<(), String> {
        let (number, text) = match value {
            Value::Null => return Ok(()),
            Value::Bool(flag) => (Some(f64::from(u8::from(flag))), None),
            Value::Number(number) => (number.as_f64(), None),
            Value::String(text) if text.len() > 4096 => {
                return Err(format!("`{name}` has more than 4096 bytes"));
            }
            Value::String(text) => (None, Some(text)),
            Value::Array(_) | Value::Object(_) => {
                return Err(format!("`{name}` is neither number, text nor truth value"));
            }
        };
        outcomes.push(Outcome { name, number, text, ..base.clone() });
        Ok(())
    };
    if let Some(value) = fields.remove("value") {
        add(name.unwrap_or_else(|| "label".to_owned()), value)?;
    }
    for (name, value) in fields {
        add(name, value)?;
    }
    if outcomes.is_empty() {
        return Err("it has no value; give `value`, or a field with the outcome's name".to_owned());
    }
    Ok(outcomes)
}

fn key(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    let text = match fields.remove(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => return Err(format!("`{name}` is {other}; it is a text")),
    };
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > 1024 { Err(format!("`{name}` has more than 1024 bytes")) } else { Ok(Some(text)) }
}

/// RFC 3339 (UTC where no offset is given), a day, or milliseconds since 1970.
fn time(value: &Value) -> Result<Timestamp, String> {
    let parsed = match value {
        Value::Number(number) => number.as_i64().map(Timestamp::from_millis),
        Value::String(text) => {
            let text = text.trim().replacen(' ', "T", 1);
            let day = (text.len() == 10).then(|| format!("{text}T00:00:00Z"));
            Timestamp::parse(day.as_deref().unwrap_or(&text))
                .or_else(|| Timestamp::parse(&format!("{text}Z")))
        }
        _ => None,
    };
    parsed.ok_or_else(|| {
        format!(
            "`time` is {value}; give RFC 3339 as in 2026-11-26T04:30:00Z, a day, or milliseconds since 1970"
        )
    })
}

fn scratch(source: std::io::Error) -> LogError {
    LogError::Io { action: "use a temporary file in", path: std::env::temp_dir(), source }
}

#[cfg(test)]
mod tests;
