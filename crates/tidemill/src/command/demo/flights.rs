//! The shipped data: unpacked into a folder, read as flights, and asked about.

use std::ops::Range;
use std::path::Path;

use anyhow::Context as _;
use arrow::array::{Array as _, AsArray as _, Float64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMillisecondType};
use tidemill_core::Timestamp;
use tidemill_data::Table;

macro_rules! data {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../../../examples/flights/data/", $name)).as_slice())),*]
    };
}

/// All tables, 4.9 MB: the demo needs nothing but the binary.
const DATA: &[(&str, &[u8])] = data![
    "flights/2013-01.parquet",
    "flights/2013-02.parquet",
    "flights/2013-03.parquet",
    "flights/2013-04.parquet",
    "flights/2013-05.parquet",
    "flights/2013-06.parquet",
    "flights/2013-07.parquet",
    "flights/2013-08.parquet",
    "flights/2013-09.parquet",
    "flights/2013-10.parquet",
    "flights/2013-11.parquet",
    "flights/2013-12.parquet",
    "weather.parquet",
    "planes.parquet",
];
const PROJECT: &str = include_str!("project/tidemill.yaml");
const FEATURES: &str = include_str!("project/features.sql");
const TRAFFIC: &str = include_str!("../../../../../examples/flights/sql/traffic.sql");

/// Writes the project with its data.
pub(super) fn unpack(root: &Path) -> anyhow::Result<()> {
    for folder in ["data/flights", "sql"] {
        fs_err::create_dir_all(root.join(folder))?;
    }
    for (name, bytes) in DATA {
        fs_err::write(root.join("data").join(name), bytes)?;
    }
    fs_err::write(root.join("sql/features.sql"), FEATURES)?;
    fs_err::write(root.join("sql/traffic.sql"), TRAFFIC)?;
    fs_err::write(root.join(crate::app::PROJECT_FILE), PROJECT)?;
    Ok(())
}

/// Flights of the year in the order of their departure.
pub(super) struct Flights {
    pub(super) rows: RecordBatch,
    pub(super) ids: StringArray,
    /// The hour of departure.
    pub(super) hours: Vec<Timestamp>,
    /// When it is known whether they were late.
    pub(super) known: Vec<Timestamp>,
    pub(super) late: Vec<bool>,
    inputs: Vec<(String, Column)>,
}

enum Column {
    Number(Float64Array),
    Text(StringArray),
}

impl Flights {
    /// Reads the table `replay.parquet`, with the inputs that a model of the folder `model` wants.
    pub(super) fn read(table: &Path, model: &Path) -> anyhow::Result<Self> {
        let rows = whole(table)?;
        let column = |name: &str| {
            rows.column_by_name(name).with_context(|| format!("the flights have no column `{name}`"))
        };
        let number = |name: &str| -> anyhow::Result<Vec<i64>> {
            let numbers = cast(column(name)?, &DataType::Int64)?;
            Ok(numbers.as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default).collect())
        };
        let text = |name: &str| -> anyhow::Result<StringArray> {
            Ok(cast(column(name)?, &DataType::Utf8)?.as_string::<i32>().clone())
        };
        let at = column("sched_dep")?;
        let millis = match at.data_type() {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
            _ => DataType::Timestamp(TimeUnit::Millisecond, None),
        };
        let at = cast(at, &millis)?;
        let hours: Vec<Timestamp> = at
            .as_primitive::<TimestampMillisecondType>()
            .iter()
            .map(|at| Timestamp::from_millis(at.unwrap_or_default()))
            .collect();
        let known = hours
            .iter()
            .zip(number("known_after")?)
            .map(|(hour, minutes)| Timestamp::from_millis(hour.millis() + minutes.max(1) * 60_000))
            .collect();
        let late = number("late")?.into_iter().map(|late| late == 1).collect();
        let signature = fs_err::read(model.join("signature.json"))?;
        let signature: serde_json::Value = serde_json::from_slice(&signature)?;
        let names = signature["inputs"].as_array().context("the model's signature names no inputs")?;
        let mut inputs = Vec::with_capacity(names.len());
        for name in names.iter().filter_map(|input| input["name"].as_str()) {
            let is_number = column(name)?.data_type().is_numeric();
            let values = if is_number {
                let numbers = cast(column(name)?, &DataType::Float64)?;
                Column::Number(numbers.as_primitive::<Float64Type>().clone())
            } else {
                Column::Text(text(name)?)
            };
            inputs.push((name.to_owned(), values));
        }
        let ids = text("flight_id")?;
        Ok(Self { rows, ids, hours, known, late, inputs })
    }

    /// The request about a flight, in the Open Inference Protocol.
    pub(super) fn request(&self, at: usize) -> String {
        let inputs: Vec<serde_json::Value> = self
            .inputs
            .iter()
            .map(|(name, column)| {
                let (datatype, value) = match column {
                    Column::Number(numbers) => {
                        ("FP64", numbers.is_valid(at).then(|| numbers.value(at)).into())
                    }
                    Column::Text(texts) if texts.is_valid(at) => ("BYTES", texts.value(at).into()),
                    Column::Text(_) => ("BYTES", "".into()),
                };
                let value: serde_json::Value = value;
                serde_json::json!({"name": name, "shape": [1, 1], "datatype": datatype, "data": [value]})
            })
            .collect();
        serde_json::json!({"id": self.ids.value(at), "inputs": inputs}).to_string()
    }

    /// How many months there are from `first` on.
    pub(super) fn months(&self, first: usize) -> usize {
        let last = self.hours.last().copied().unwrap_or_default();
        (first..=12).take_while(|month| super::month_begin(*month) <= last).count()
    }

    /// All from a time on.
    pub(super) fn from(&self, begin: Timestamp) -> Range<usize> {
        self.between(begin, Timestamp::from_millis(i64::MAX))
    }

    /// The rows of flights that depart from `from` to before `to`.
    pub(super) fn between(&self, from: Timestamp, to: Timestamp) -> Range<usize> {
        let place = |at: Timestamp| self.hours.partition_point(|hour| *hour < at);
        place(from)..place(to)
    }

    /// A table of some of them, for batch scoring.
    pub(super) fn write(&self, rows: &Range<usize>, path: &Path) -> anyhow::Result<()> {
        let part = self.rows.slice(rows.start, rows.len());
        let batches = std::iter::once(Ok(part));
        tidemill_data::write_parquet_deterministic(&self.rows.schema(), batches, path)?;
        Ok(())
    }
}

fn whole(path: &Path) -> anyhow::Result<RecordBatch> {
    crate::table::whole(&Table::open(&[path.to_owned()], None)?)
}

/// The scores of the positive class in a table of answers.
pub(super) fn scores(path: &Path) -> anyhow::Result<Vec<f64>> {
    let answers = whole(path)?;
    let column = answers.column_by_name("probabilities").context("there are no probabilities")?;
    let lists = cast(column, &DataType::new_list(DataType::Float64, true))?;
    let lists = lists.as_list::<i32>();
    let last = |at: usize| {
        let list = lists.value(at);
        let list = list.as_primitive::<Float64Type>();
        list.len().checked_sub(1).map_or(f64::NAN, |last| list.value(last))
    };
    Ok((0..lists.len()).map(last).collect())
}
