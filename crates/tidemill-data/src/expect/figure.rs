//! Rules on figures of columns. One profile of all columns that they name serves them together.

use std::collections::BTreeSet;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use tidemill_core::declare::{Bounds, Rule, age};

use super::{CheckResult, Refused, Surroundings, shift, within};
use crate::profile::{ColumnStats, ProfileBuilder};
use crate::{ColumnType, Error, Profile, ProfileOptions, Table};

/// Profiles at work: one for every condition.
#[derive(Default)]
pub(super) struct Figures {
    groups: Vec<Group>,
}

struct Group {
    condition: Option<usize>,
    /// Places in the table.
    columns: BTreeSet<usize>,
    /// Places in the batches, and the profile.
    work: Option<(Vec<usize>, ProfileBuilder)>,
}

impl Figures {
    /// Asks for these columns; tells the group.
    pub(super) fn want(&mut self, condition: Option<usize>, columns: Vec<usize>) -> usize {
        let known = self.groups.iter().position(|group| group.condition == condition);
        let place = known.unwrap_or_else(|| {
            self.groups.push(Group { condition, columns: BTreeSet::new(), work: None });
            self.groups.len() - 1
        });
        self.groups[place].columns.extend(columns);
        place
    }

    pub(super) fn columns(&self) -> Vec<usize> {
        self.groups.iter().flat_map(|group| group.columns.iter().copied()).collect()
    }

    /// `read` are the places in the table of the batches' columns.
    pub(super) fn bind(&mut self, schema: &SchemaRef, read: &[usize]) -> Result<(), Error> {
        for group in &mut self.groups {
            let places: Vec<usize> =
                group.columns.iter().filter_map(|column| read.binary_search(column).ok()).collect();
            let part: Schema = schema.project(&places).map_err(Error::arrow("select columns"))?;
            group.work = Some((places, ProfileBuilder::new(&part, &ProfileOptions::columns())?));
        }
        Ok(())
    }

    pub(super) fn see(&mut self, batch: &RecordBatch, masks: &[BooleanArray]) -> Result<(), Error> {
        for group in &mut self.groups {
            let Some((places, builder)) = &mut group.work else { continue };
            let part = batch.project(places).map_err(Error::arrow("select columns"))?;
            let part = match group.condition.and_then(|place| masks.get(place)) {
                Some(mask) => filter_record_batch(&part, mask).map_err(Error::arrow("select rows"))?,
                None => part,
            };
            builder.update(&part)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<Profile>, Error> {
        let schema = Schema::empty();
        self.groups
            .into_iter()
            .map(|group| match group.work {
                Some((_, builder)) => builder.finish(),
                None => ProfileBuilder::new(&schema, &ProfileOptions::columns())?.finish(),
            })
            .collect()
    }
}

/// The columns whose figures the rule needs; `None` for rules of another kind.
pub(super) fn columns(
    rule: &Rule,
    table: &Table,
    around: &Surroundings<'_>,
) -> Result<Option<Vec<usize>>, Refused> {
    let numbers =
        |place: usize| matches!(table.kind(place), ColumnType::Int | ColumnType::Float | ColumnType::Bool);
    match rule {
        Rule::MeanBetween(Bounds { column, .. })
        | Rule::StdBetween(Bounds { column, .. })
        | Rule::SumBetween(Bounds { column, .. })
        | Rule::QuantileBetween { column, .. } => {
            let place = table.column(column)?;
            if !numbers(place) {
                let kind = table.kind(place);
                return Err(Refused::because(format!("column `{column}` is {kind}, not a number")));
            }
            Ok(Some(vec![place]))
        }
        Rule::NullShare(Bounds { column, .. }) | Rule::DistinctCount(Bounds { column, .. }) => {
            Ok(Some(vec![table.column(column)?]))
        }
        Rule::Freshness { column, max_age } => {
            let place = table.column(column)?;
            let kind = table.kind(place);
            if !matches!(kind, ColumnType::Timestamp | ColumnType::Date) {
                return Err(Refused::because(format!("column `{column}` is {kind}, not a time")));
            }
            if age(max_age).is_none() {
                return Err(Refused::because(format!("`{max_age}` is no age such as `36h` or `2d`")));
            }
            if around.now.is_none() {
                return Err(Refused::because("the time is not known here".to_owned()));
            }
            Ok(Some(vec![place]))
        }
        Rule::DriftBelow { columns, .. } if columns.is_empty() => {
            Ok(Some((0..table.schema().fields().len()).collect()))
        }
        Rule::NoNewCategories { columns, .. } | Rule::DriftBelow { columns, .. } => {
            let places = columns.iter().map(|name| table.column(name)).collect::<Result<_, _>>()?;
            Ok(Some(places))
        }
        _ => Ok(None),
    }
}

/// Judges a rule on the figures of its columns.
pub(super) fn judge(
    rule: &Rule,
    profile: &Profile,
    around: &Surroundings<'_>,
    redact: &[String],
    result: &mut CheckResult,
) -> Result<(), Refused> {
    result.checked = profile.rows();
    let stats = |column: &str| {
        let found = profile.describe_column(column);
        found.ok_or_else(|| Refused::because(format!("there is no column `{column}`")))
    };
    let figure = |result: &mut CheckResult, what: &str, found: Option<f64>, bounds: &Bounds| {
        let Some(found) = found else {
            result.judge(false, format!("`{}` has no numbers, so there is no {what}", bounds.column));
            return;
        };
        let (passed, beyond) = within(found, bounds.min, bounds.max);
        result.observed = Some(found);
        result.judge(passed, format!("the {what} of `{}` is {}{beyond}", bounds.column, shown(found)));
    };
    match rule {
        Rule::MeanBetween(bounds) => figure(result, "mean", stats(&bounds.column)?.mean, bounds),
        Rule::StdBetween(bounds) => figure(result, "standard deviation", stats(&bounds.column)?.std, bounds),
        Rule::SumBetween(bounds) => {
            let stats = stats(&bounds.column)?;
            let finite = stats.count - stats.nan - stats.positive_infinite - stats.negative_infinite;
            figure(result, "sum", stats.mean.map(|mean| mean * finite as f64), bounds);
        }
        Rule::DistinctCount(bounds) => {
            let distinct = stats(&bounds.column)?.distinct;
            figure(result, "number of different values", Some(distinct.estimate as f64), bounds);
            if !distinct.exact {
                result.message.push_str(&format!(", within {:.1} %", distinct.relative_error * 200.0));
            }
        }
        Rule::NullShare(bounds) => {
            let stats = stats(&bounds.column)?;
            let rows = (stats.count + stats.nulls).max(1);
            figure(result, "share of nulls", Some(stats.nulls as f64 / rows as f64), bounds);
        }
        Rule::QuantileBetween { column, quantile, min, max } => {
            if !(0.0..=1.0).contains(quantile) {
                return Err(Refused::because(format!("the quantile {quantile} is not between 0 and 1")));
            }
            let bounds = Bounds { column: column.clone(), min: *min, max: *max };
            let (found, error) = profile.quantile(column, *quantile).unzip();
            let what = match *quantile {
                0.0 => "least value".to_owned(),
                0.5 => "median".to_owned(),
                1.0 => "largest value".to_owned(),
                quantile => format!("quantile {quantile}"),
            };
            figure(result, &what, found, &bounds);
            if let Some(error) = error.filter(|error| *error > 0.0) {
                result.message.push_str(&format!(", its rank within {:.2} %", error * 100.0));
            }
        }
        Rule::Freshness { column, max_age } => {
            freshness(&stats(column)?, max_age, around, redact.contains(column), result);
        }
        Rule::NoNewCategories { columns, against } => {
            shift::categories(columns, &around.others.profile(against)?, profile, redact, result)?;
        }
        Rule::DriftBelow { against, columns, level } => {
            let others = around.others.profile(against)?;
            shift::drift(columns, *level, &others, profile, redact, result)?;
        }
        _ => {}
    }
    Ok(())
}

fn freshness(
    stats: &ColumnStats,
    max_age: &str,
    around: &Surroundings<'_>,
    is_hidden: bool,
    result: &mut CheckResult,
) {
    let newest = stats.max.as_ref().and_then(|max| max.as_str().map(str::to_owned));
    let micros = newest.as_deref().and_then(crate::read::scalar::parse_moment);
    let (Some(newest), Some(micros), Some(now), Some(limit)) = (newest, micros, around.now, age(max_age))
    else {
        return result.judge(false, format!("`{}` has no time", stats.name));
    };
    let seconds = (now.millis() as f64 - micros as f64 / 1000.0) / 1000.0;
    let passed = seconds <= limit.as_secs_f64();
    if is_hidden {
        // An age tells the time as well as the time itself does.
        let words = if passed { "no older" } else { "older" };
        let message =
            format!("the newest `{}` is {words} than {max_age}; its values are not shown", stats.name);
        return result.judge(passed, message);
    }
    result.observed = Some(seconds);
    let beyond = if passed { String::new() } else { format!(", more than {max_age}") };
    result.judge(passed, format!("the newest `{}` is {newest}, {} old{beyond}", stats.name, span(seconds)));
}

/// A length of time in one unit.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 0.0 => format!("{} not yet", span(-s)),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// A figure with six digits.
pub(super) fn shown(value: f64) -> String {
    if value == 0.0 || (value.fract() == 0.0 && value.abs() < 1e15) {
        return value.to_string();
    }
    let digits = (5 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
