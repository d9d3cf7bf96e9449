//! Which records are asked for.

use arrow::array::{
    Array as _, AsArray as _, BooleanArray, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::compute::kernels::cmp;
use arrow::compute::{and, prep_null_mask_filter};
use tidemill_core::Timestamp;

use super::columns::fixed;
use super::plan::HOUR_MS;

/// Which records are asked for. What is absent restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Of this endpoint.
    pub endpoint: Option<String>,
    /// At or after this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// Answered by this registered model.
    pub model: Option<String>,
    /// Answered by this version.
    pub version: Option<String>,
    /// Answered by this arm.
    pub arm: Option<String>,
    /// Of this request.
    pub id: Option<String>,
    /// About this entity, as it stands in the log (hashed where it is redacted).
    pub entity: Option<String>,
    /// `answered`, `fell_back` or `failed`.
    pub status: Option<String>,
    /// Answers of shadows only, or none of them.
    pub shadow: Option<bool>,
    /// These columns, in the log's order; all where absent.
    pub columns: Option<Vec<String>>,
    /// Only parts that were listed after the one of this number, and what is not listed yet.
    pub after_part: i64,
}

impl Query {
    /// Records of an endpoint in `from..to`.
    pub fn of(endpoint: impl Into<String>, from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        Self { endpoint: Some(endpoint.into()), from, to, ..Self::default() }
    }

    fn texts(&self) -> [(&'static str, Option<&str>); 6] {
        [
            (fixed::REQUEST_ID, self.id.as_deref()),
            (fixed::MODEL, self.model.as_deref()),
            (fixed::VERSION, self.version.as_deref()),
            (fixed::ARM, self.arm.as_deref()),
            (fixed::ENTITY, self.entity.as_deref()),
            (fixed::STATUS, self.status.as_deref()),
        ]
    }

    /// The columns that decide which rows fit.
    pub(super) fn deciding(&self) -> Vec<&'static str> {
        let mut columns: Vec<&'static str> =
            self.texts().into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name).collect();
        if self.from.is_some() || self.to.is_some() {
            columns.push(fixed::TIME);
        }
        if self.shadow.is_some() {
            columns.push(fixed::SHADOW);
        }
        columns
    }

    /// Which rows fit.
    pub(super) fn mask(&self, batch: &RecordBatch) -> Result<BooleanArray, arrow::error::ArrowError> {
        let mut mask = BooleanArray::from(vec![true; batch.num_rows()]);
        let mut keep = |fits: BooleanArray| -> Result<(), arrow::error::ArrowError> {
            let fits = if fits.null_count() > 0 { prep_null_mask_filter(&fits) } else { fits };
            mask = and(&mask, &fits)?;
            Ok(())
        };
        for (name, value) in self.texts() {
            if let (Some(value), Some(column)) = (value, batch.column_by_name(name)) {
                keep(cmp::eq(&column.as_string::<i32>(), &StringArray::new_scalar(value))?)?;
            }
        }
        if let Some(time) = batch.column_by_name(fixed::TIME) {
            let scalar = |at: Timestamp| {
                let array = TimestampMillisecondArray::from_value(at.millis(), 1).with_timezone("UTC");
                arrow::array::Scalar::new(array)
            };
            if let Some(from) = self.from {
                keep(cmp::gt_eq(time, &scalar(from))?)?;
            }
            if let Some(to) = self.to {
                keep(cmp::lt(time, &scalar(to))?)?;
            }
        }
        if let (Some(shadow), Some(column)) = (self.shadow, batch.column_by_name(fixed::SHADOW)) {
            keep(cmp::eq(&column.as_boolean(), &BooleanArray::new_scalar(shadow))?)?;
        }
        Ok(mask)
    }

    pub(super) fn overlaps(&self, hour: i64) -> bool {
        let (start, end) = (hour.saturating_mul(HOUR_MS), hour.saturating_add(1).saturating_mul(HOUR_MS));
        self.from.is_none_or(|from| from.millis() < end) && self.to.is_none_or(|to| to.millis() > start)
    }
}
