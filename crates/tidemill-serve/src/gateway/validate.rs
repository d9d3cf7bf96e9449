//! Looks at the values of a request: what the model was not trained for is ignored, counted, told or refused, as the
//! endpoint declares.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use tidemill_runtime::{Tensor, Values};
use utoipa::ToSchema;

use super::signature::Signature;
use crate::InferError;

/// What can be wrong with a request that could be answered all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A required input is not there.
    Missing,
    /// An input is there that the model does not know.
    Extra,
    /// Numbers have another type than the model takes, without loss.
    WrongType,
    /// A category that training did not have.
    UnknownCategory,
    /// Text is empty, which stands for nothing.
    Null,
    /// A number is NaN, which stands for nothing.
    Nan,
    /// A number is outside of what training had.
    OutOfRange,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Missing,
        Self::Extra,
        Self::WrongType,
        Self::UnknownCategory,
        Self::Null,
        Self::Nan,
        Self::OutOfRange,
    ];

    /// As in metrics and settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::WrongType => "wrong_type",
            Self::UnknownCategory => "unknown_category",
            Self::Null => "null",
            Self::Nan => "nan",
            Self::OutOfRange => "out_of_range",
        }
    }
}

/// What is done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ViolationPolicy)]
pub enum Policy {
    /// Nothing; it is not even looked for.
    Ignore,
    /// It is counted.
    #[default]
    Count,
    /// It is counted, and the answer says so.
    Warn,
    /// It is counted and the request refused.
    Refuse,
}

/// What is done about each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = ValidationPolicies)]
pub struct Policies {
    /// A required input is not there. Where it is not refused, NaN or empty text stands for it.
    pub missing: Policy,
    /// An input that the model does not know.
    pub extra: Policy,
    /// Numbers of another type, converted without loss.
    pub wrong_type: Policy,
    /// A category that training did not have.
    pub unknown_category: Policy,
    /// Empty text.
    pub null: Policy,
    /// NaN.
    pub nan: Policy,
    /// A number outside of what training had.
    pub out_of_range: Policy,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            missing: Policy::Refuse,
            extra: Policy::Count,
            wrong_type: Policy::Ignore,
            unknown_category: Policy::Count,
            null: Policy::Ignore,
            nan: Policy::Ignore,
            out_of_range: Policy::Count,
        }
    }
}

impl Policies {
    const fn of(self, kind: Kind) -> Policy {
        match kind {
            Kind::Missing => self.missing,
            Kind::Extra => self.extra,
            Kind::WrongType => self.wrong_type,
            Kind::UnknownCategory => self.unknown_category,
            Kind::Null => self.null,
            Kind::Nan => self.nan,
            Kind::OutOfRange => self.out_of_range,
        }
    }
}

/// The least and the greatest value of a column, where an endpoint declares them itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ColumnBounds)]
pub struct Bounds {
    /// The least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// Something that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What.
    pub kind: Kind,
    /// In which input.
    pub column: String,
    /// In how many rows; 0 where it is not a matter of rows.
    pub rows: usize,
    /// The first value of that kind.
    pub example: Option<String>,
}

impl Violation {
    /// Of an input as a whole.
    pub fn of(kind: Kind, column: &str) -> Self {
        Self { kind, column: column.to_owned(), rows: 0, example: None }
    }

    /// In words, for the caller.
    pub fn text(&self) -> String {
        let Self { kind, column, rows, example } = self;
        let example = example.as_deref().unwrap_or_default();
        let more = if *rows > 1 { format!(" ({rows} rows)") } else { String::new() };
        match kind {
            Kind::Missing => format!("input `{column}` is missing"),
            Kind::Extra => format!("input `{column}` is not known to the model"),
            Kind::WrongType => format!("input `{column}` has another type than the model takes"),
            Kind::UnknownCategory => {
                format!("input `{column}`: the category `{example}` was not in training{more}")
            }
            Kind::Null => format!("input `{column}` is empty{more}"),
            Kind::Nan => format!("input `{column}` is NaN{more}"),
            Kind::OutOfRange => {
                format!("input `{column}`: {example} is outside of the range of training{more}")
            }
        }
    }
}

/// What is known of the columns of a model; made once for a model and an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    policies: Policies,
    columns: Vec<Column>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    texts: Option<HashSet<Vec<u8>>>,
    /// Categories that are numbers, by their bits.
    numbers: Option<HashSet<u64>>,
    range: Option<(f64, f64)>,
}

impl Checker {
    /// For the inputs `names`, in the order in which they are laid out.
    pub fn new(
        policies: Policies,
        names: &[&str],
        signature: Option<&Signature>,
        bounds: &BTreeMap<String, Bounds>,
    ) -> Self {
        let columns = names.iter().map(|name| {
            let fields = signature.map(|signature| signature.inputs.as_slice()).unwrap_or_default();
            let field = fields.iter().find(|field| field.name.as_deref() == Some(name));
            let categories = field.map(|field| field.categories.as_slice()).filter(|list| !list.is_empty());
            let numbers = categories.map(|list| {
                list.iter().filter_map(|text| text.parse::<f64>().ok()).map(f64::to_bits).collect()
            });
            let known = field.and_then(|field| field.range);
            let declared = bounds
                .get(*name)
                .map(|bounds| (bounds.min.unwrap_or(f64::NEG_INFINITY), bounds.max.unwrap_or(f64::INFINITY)));
            Column {
                name: (*name).to_owned(),
                texts: categories.map(|list| list.iter().map(|text| text.clone().into_bytes()).collect()),
                numbers,
                range: declared.or(known),
            }
        });
        Self { policies, columns: columns.collect() }
    }

    /// Looks at laid-out inputs: a tensor a column, or one matrix of all columns. What is found is added to
    /// `violations`, which keeps only kinds that are not ignored.
    pub fn look(&self, tensors: &[Tensor], is_matrix: bool, violations: &mut Vec<Violation>) {
        violations.retain(|violation| self.policies.of(violation.kind) != Policy::Ignore);
        for (at, column) in self.columns.iter().enumerate() {
            let (tensor, start, step) =
                if is_matrix { (tensors.first(), at, self.columns.len()) } else { (tensors.get(at), 0, 1) };
            let Some(tensor) = tensor else { continue };
            // A tensor that is no column has nothing that was declared of its values.
            if is_matrix || tensor.row_len() == 1 {
                self.column(column, tensor.values(), start, step, violations);
            }
        }
    }

    /// What the endpoint does about violations: notes for the caller, or a refusal.
    ///
    /// # Errors
    ///
    /// With the text of the first violation that is refused.
    pub fn judge(&self, violations: &[Violation]) -> Result<Vec<String>, InferError> {
        let mut notes = Vec::new();
        for violation in violations {
            match self.policies.of(violation.kind) {
                Policy::Refuse => return Err(InferError::Invalid(violation.text())),
                Policy::Warn => notes.push(violation.text()),
                Policy::Ignore | Policy::Count => {}
            }
        }
        Ok(notes)
    }

    fn column(&self, column: &Column, values: &Values, start: usize, step: usize, into: &mut Vec<Violation>) {
        macro_rules! numbers {
            ($values:expr, $to:expr) => {
                self.numbers(column, $values.iter().skip(start).step_by(step).map($to), into)
            };
        }
        match values {
            Values::F32(values) => numbers!(values, |value| f64::from(*value)),
            Values::F64(values) => numbers!(values, |value| *value),
            Values::I64(values) => numbers!(values, |value| *value as f64),
            Values::I32(values) => numbers!(values, |value| f64::from(*value)),
            Values::U64(values) => numbers!(values, |value| *value as f64),
            Values::U32(values) => numbers!(values, |value| f64::from(*value)),
            Values::I16(values) => numbers!(values, |value| f64::from(*value)),
            Values::U16(values) => numbers!(values, |value| f64::from(*value)),
            Values::I8(values) => numbers!(values, |value| f64::from(*value)),
            Values::U8(values) => numbers!(values, |value| f64::from(*value)),
            Values::F16(values) => numbers!(values, |value| value.to_f64()),
            Values::Bf16(values) => numbers!(values, |value| value.to_f64()),
            Values::Bytes(values) => self.texts(column, values.iter().skip(start).step_by(step), into),
            Values::Bool(_) => {}
        }
    }

    fn numbers(&self, column: &Column, values: impl Iterator<Item = f64>, into: &mut Vec<Violation>) {
        let wants = |kind: Kind| self.policies.of(kind) != Policy::Ignore;
        let range = column.range.filter(|_| wants(Kind::OutOfRange));
        let known = column.numbers.as_ref().filter(|_| wants(Kind::UnknownCategory));
        let nan = wants(Kind::Nan);
        if range.is_none() && known.is_none() && !nan {
            return;
        }
        let (mut out, mut unknown, mut missing) = (Tally::default(), Tally::default(), Tally::default());
        for value in values {
            if value.is_nan() {
                missing.add(|| "NaN".to_owned());
                continue;
            }
            if range.is_some_and(|(min, max)| value < min || value > max) {
                out.add(|| value.to_string());
            }
            if known.is_some_and(|known| !known.contains(&value.to_bits())) {
                unknown.add(|| value.to_string());
            }
        }
        out.report(Kind::OutOfRange, column, into);
        unknown.report(Kind::UnknownCategory, column, into);
        if nan {
            missing.report(Kind::Nan, column, into);
        }
    }

    fn texts<'a>(
        &self,
        column: &Column,
        values: impl Iterator<Item = &'a Vec<u8>>,
        into: &mut Vec<Violation>,
    ) {
        let wants = |kind: Kind| self.policies.of(kind) != Policy::Ignore;
        let known = column.texts.as_ref().filter(|_| wants(Kind::UnknownCategory));
        let null = wants(Kind::Null);
        if known.is_none() && !null {
            return;
        }
        let (mut unknown, mut empty) = (Tally::default(), Tally::default());
        for value in values {
            if value.is_empty() {
                empty.add(String::new);
            } else if known.is_some_and(|known| !known.contains(value)) {
                unknown.add(|| String::from_utf8_lossy(value).chars().take(64).collect());
            }
        }
        unknown.report(Kind::UnknownCategory, column, into);
        if null {
            empty.report(Kind::Null, column, into);
        }
    }
}

/// How often, with the first example.
#[derive(Default)]
struct Tally {
    rows: usize,
    example: Option<String>,
}

impl Tally {
    fn add(&mut self, example: impl FnOnce() -> String) {
        if self.rows == 0 {
            self.example = Some(example());
        }
        self.rows += 1;
    }

    fn report(self, kind: Kind, column: &Column, into: &mut Vec<Violation>) {
        if self.rows > 0 {
            into.push(Violation {
                kind,
                column: column.name.clone(),
                rows: self.rows,
                example: self.example,
            });
        }
    }
}

#[cfg(test)]
mod tests;
