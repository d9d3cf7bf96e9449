//! CSV of a request: a row of names, and a row of values for each row, read as pandas reads them.

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::cell::Cell;
use super::failure::Failure;
use super::table::Table;
use crate::{ModelMetadata, Named};

/// What stands for a missing value (`pandas.read_csv`, argument `na_values`).
const MISSING: [&str; 19] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// Reads a request for a model.
pub(super) fn decode(body: &[u8], metadata: &ModelMetadata) -> Result<Vec<Named>, Failure> {
    let text = std::str::from_utf8(body).map_err(|_| Failure::bad("the CSV is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut records = Records::of(text);
    let Some(names) = records.next()? else { return Err(Failure::bad("the CSV has no row of column names")) };
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut table = Table::new(metadata);
    let places = table.header(Some(&names), names.len())?;
    let mut line = 1;
    while let Some(fields) = records.next()? {
        line += 1;
        if fields.len() > names.len() {
            return Err(Failure::bad(format!(
                "the CSV has {} fields in row {line} and {} columns",
                fields.len(),
                names.len()
            )));
        }
        for (field, place) in fields.iter().zip(&places) {
            if let Some(place) = place {
                table.push(*place, cell(field))?;
            }
        }
        table.end_row()?;
    }
    table.finish()
}

fn cell(field: &str) -> Cell<'_> {
    if MISSING.contains(&field) { Cell::Missing } else { Cell::Field(field) }
}

/// The rows of a text, each as its fields.
struct Records<'a> {
    reader: csv_core::Reader,
    rest: &'a [u8],
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl<'a> Records<'a> {
    fn of(text: &'a str) -> Self {
        // Fields are no longer than the text, so the buffers grow to what is there.
        let text_size = text.len().clamp(64, 4_096);
        Self {
            reader: ReaderBuilder::new().build(),
            rest: text.as_bytes(),
            text: vec![0; text_size],
            ends: vec![0; 64],
        }
    }

    fn next(&mut self) -> Result<Option<Vec<&str>>, Failure> {
        let (mut written, mut ended) = (0, 0);
        loop {
            let (text, ends) = (self.text.get_mut(written..), self.ends.get_mut(ended..));
            let (result, read, wrote, finished) =
                self.reader.read_record(self.rest, text.unwrap_or_default(), ends.unwrap_or_default());
            self.rest = self.rest.get(read..).unwrap_or_default();
            written += wrote;
            ended += finished;
            match result {
                // With nothing left, an empty input says that the end is there.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        let mut begin = 0;
        let mut fields = Vec::with_capacity(ended);
        for end in self.ends.iter().take(ended) {
            let field = self.text.get(begin..*end).and_then(|field| std::str::from_utf8(field).ok());
            fields.push(field.ok_or_else(|| Failure::bad("the CSV is not UTF-8"))?);
            begin = *end;
        }
        Ok(Some(fields))
    }
}
