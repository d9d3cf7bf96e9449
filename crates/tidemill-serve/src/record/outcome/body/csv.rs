//! CSV with a header, record by record.

use serde_json::{Map, Value};

use super::{Kind, MAX_LINE, OutcomeReader, Rejected};
use crate::record::LogError;

/// Columns of CSV.
const MAX_FIELDS: usize = 1024;

/// A record that may have begun.
pub(super) struct Csv {
    reader: csv_core::Reader,
    output: Vec<u8>,
    ends: Vec<usize>,
    written: usize,
    fields: usize,
    header: Option<Vec<String>>,
}

impl Csv {
    pub(super) fn new() -> Self {
        Self {
            reader: csv_core::Reader::new(),
            output: vec![0; 4096],
            ends: vec![0; 64],
            written: 0,
            fields: 0,
            header: None,
        }
    }
}

impl OutcomeReader {
    pub(super) fn csv(&mut self, mut bytes: &[u8]) -> Result<(), LogError> {
        use csv_core::ReadRecordResult;
        let Kind::Csv(mut csv) = std::mem::replace(&mut self.kind, Kind::Lines(Vec::new())) else {
            return Ok(());
        };
        while !bytes.is_empty() {
            let (outputs, ends) = (csv.output.get_mut(csv.written..), csv.ends.get_mut(csv.fields..));
            let (Some(output), Some(ends)) = (outputs, ends) else { break };
            let (result, read, written, fields) = csv.reader.read_record(bytes, output, ends);
            bytes = bytes.get(read..).unwrap_or_default();
            csv.written += written;
            csv.fields += fields;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
                ReadRecordResult::OutputFull if csv.output.len() < MAX_LINE => {
                    let longer = csv.output.len() * 2;
                    csv.output.resize(longer, 0);
                }
                ReadRecordResult::OutputEndsFull if csv.ends.len() < MAX_FIELDS => {
                    let longer = csv.ends.len() * 2;
                    csv.ends.resize(longer, 0);
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Err(LogError::Unusable(format!(
                        "row {} has more than {MAX_LINE} bytes or {MAX_FIELDS} fields",
                        self.row + 1
                    )));
                }
                ReadRecordResult::Record => {
                    let mut start = 0;
                    let mut fields = Vec::with_capacity(csv.fields);
                    for end in csv.ends.iter().take(csv.fields) {
                        let field = csv.output.get(start..*end).unwrap_or_default();
                        fields.push(String::from_utf8_lossy(field).into_owned());
                        start = *end;
                    }
                    (csv.written, csv.fields) = (0, 0);
                    self.csv_row(&mut csv, fields);
                }
            }
        }
        self.kind = Kind::Csv(csv);
        Ok(())
    }

    fn csv_row(&mut self, csv: &mut Csv, fields: Vec<String>) {
        let Some(header) = &csv.header else {
            let name = |name: String| name.trim_start_matches('\u{feff}').trim().to_owned();
            csv.header = Some(fields.into_iter().map(name).collect());
            return;
        };
        if header.len() != fields.len() {
            self.row += 1;
            let why = format!("it has {} fields and the header {}", fields.len(), header.len());
            self.rejected.push(Rejected { row: self.row, why });
            return;
        }
        let fields: Map<String, Value> =
            header.iter().zip(fields).map(|(name, field)| (name.clone(), csv_value(name, field))).collect();
        self.value(Value::Object(fields));
    }
}

/// Keys stay texts, whatever they look like; values are numbers and truth values where they read as such.
fn csv_value(name: &str, field: String) -> Value {
    if field.is_empty() {
        return Value::Null;
    }
    if ["request_id", "entity", "name"].contains(&name) {
        return Value::String(field);
    }
    match field.as_str() {
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(whole) = field.parse::<i64>() {
        return Value::from(whole);
    }
    match field.parse::<f64>() {
        Ok(number) if number.is_finite() => Value::from(number),
        _ => Value::String(field),
    }
}
