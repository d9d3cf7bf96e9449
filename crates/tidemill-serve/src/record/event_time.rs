//! When what a record is about happened: what the caller said, else when the request came.

use arrow::array::{Array as _, AsArray as _, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, TimestampMillisecondType};
use tidemill_core::Timestamp;

use super::columns::fixed;

/// The column of the times that callers said.
pub const EVENT_TIME_COLUMN: &str = "header_tidemill-event-time";

/// The times of the rows of a batch of records.
#[derive(Clone, Copy, Debug)]
pub struct EventTimes<'a> {
    arrived: &'a TimestampMillisecondArray,
    said: Option<&'a StringArray>,
}

impl<'a> EventTimes<'a> {
    /// Of a batch with the column `time`, and the times that callers said where the batch has them. `None` without the former.
    pub fn of(batch: &'a RecordBatch) -> Option<Self> {
        let arrived = batch.column_by_name(fixed::TIME)?.as_primitive_opt::<TimestampMillisecondType>()?;
        let said = batch.column_by_name(EVENT_TIME_COLUMN).filter(|said| *said.data_type() == DataType::Utf8);
        Some(Self { arrived, said: said.map(|said| said.as_string::<i32>()) })
    }

    /// When the request of a row came.
    pub fn arrived(&self, row: usize) -> Timestamp {
        Timestamp::from_millis(self.arrived.value(row))
    }

    /// What its caller said, where that is a time.
    pub fn said(&self, row: usize) -> Option<Timestamp> {
        let said = self.said.filter(|said| said.is_valid(row))?;
        Timestamp::parse(said.value(row))
    }

    /// What its caller said, else when the request came.
    pub fn of_row(&self, row: usize) -> Timestamp {
        self.said(row).unwrap_or_else(|| self.arrived(row))
    }
}
