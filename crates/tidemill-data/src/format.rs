//! Which formats there are and how a file's name and first bytes tell them. Reading is elsewhere.

use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tidemill_core::declare::DataFormat;

use crate::ColumnType;

/// The format of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Delimited text, also compressed with gzip or Zstandard.
    Csv(CsvOptions),
    /// One JSON object a line, also compressed with gzip or Zstandard.
    JsonLines(JsonOptions),
    /// Arrow IPC, the file format (Feather version 2).
    Arrow,
}

/// How delimited text is read. What is `None` is found out from the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CsvOptions {
    /// One ASCII character between fields; sniffed among `,`, `;`, tab and `|` where not given.
    pub delimiter: Option<char>,
    /// Whether the first record names the columns; where not given, it does unless one of its fields is a
    /// number, a date or a truth value.
    pub header: Option<bool>,
    /// The ASCII character around fields that hold delimiters or line ends; `"` where not given. It is
    /// doubled inside such a field.
    pub quote: Option<char>,
    /// Texts that mean null; [`CsvOptions::DEFAULT_NULLS`] where not given.
    pub nulls: Option<Vec<String>>,
    /// Declared types by column; the others are inferred from the whole file.
    pub types: IndexMap<String, ColumnType>,
}

impl CsvOptions {
    /// The texts that mean null unless others are declared.
    pub const DEFAULT_NULLS: [&'static str; 7] = ["", "NA", "N/A", "NULL", "null", "NaN", "nan"];
}

/// How JSON lines are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JsonOptions {
    /// Declared types by column; the others are inferred from the whole file.
    pub types: IndexMap<String, ColumnType>,
}

impl Format {
    /// The format that a file's name tells, for example `Csv` for `a/b.csv.gz`.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        Some(match name.rsplit_once('.')?.1 {
            "parquet" | "pq" => Self::Parquet,
            "csv" => Self::Csv(CsvOptions::default()),
            "tsv" | "tab" => Self::Csv(CsvOptions { delimiter: Some('\t'), ..CsvOptions::default() }),
            "jsonl" | "ndjson" => Self::JsonLines(JsonOptions::default()),
            "arrow" | "feather" | "ipc" => Self::Arrow,
            _ => return None,
        })
    }

    /// The format that a project file declares.
    pub fn declared(format: DataFormat) -> Self {
        match format {
            DataFormat::Parquet => Self::Parquet,
            DataFormat::Csv => Self::Csv(CsvOptions::default()),
            DataFormat::Tsv => Self::Csv(CsvOptions { delimiter: Some('\t'), ..CsvOptions::default() }),
            DataFormat::Jsonl => Self::JsonLines(JsonOptions::default()),
            DataFormat::Arrow => Self::Arrow,
        }
    }

    /// The format that a project file declares for a dataset whose files are at `paths`, as far as it is meant for what came from
    /// `source`: a version from before the dataset had another format is read as its name says.
    pub fn meant(format: DataFormat, paths: &[String], source: &str) -> Option<Self> {
        let format = Self::declared(format);
        let is_meant = match Self::of_name(Path::new(source)) {
            None => true,
            Some(named) => named.name() == format.name() || paths.iter().any(|path| path == source),
        };
        is_meant.then_some(format)
    }

    /// The format's name for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Csv(_) => "CSV",
            Self::JsonLines(_) => "JSON lines",
            Self::Arrow => "Arrow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        for (name, format) in [
            ("a.parquet", Some("Parquet")),
            ("x/2013-01.CSV", Some("CSV")),
            ("a.csv.gz", Some("CSV")),
            ("a.tsv.zst", Some("CSV")),
            ("a.ndjson", Some("JSON lines")),
            ("a.feather", Some("Arrow")),
            ("a.gz", None),
            ("parquet", None),
            ("a.txt", None),
        ] {
            assert_eq!(Format::of_name(Path::new(name)).map(|f| f.name()), format, "{name}");
        }
    }

    #[test]
    fn a_declared_format_is_for_the_files_that_it_was_declared_for() {
        let meant =
            |source: &str| Format::meant(DataFormat::Tsv, &["data/a.csv".to_owned()], source).is_some();
        assert!(meant("data/export") && meant("data/a.csv") && meant("old.tsv"));
        assert!(!meant("old.parquet"));
    }
}
