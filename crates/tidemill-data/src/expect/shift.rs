//! Rules that compare with another dataset's profile.

use tidemill_core::declare::DriftLevel;

use super::{CheckResult, Refused};
use crate::drift::{DriftOptions, Level, between_profiles};
use crate::{Error, Profile};

/// Most new values that are named.
const NAMED: usize = 5;

pub(super) fn categories(
    columns: &[String],
    before: &Profile,
    after: &Profile,
    redact: &[String],
    result: &mut CheckResult,
) -> Result<(), Refused> {
    let (mut found, mut rows) = (Vec::new(), 0);
    for column in columns {
        let known = before.columns().any(|name| name == column);
        if !known {
            return Err(Refused::because(format!("the other dataset has no column `{column}`")));
        }
        let (Some(old), Some(new)) = (before.values(column), after.values(column)) else {
            return Err(Refused::because(format!(
                "`{column}` has too many different values to count each of them"
            )));
        };
        let old: std::collections::HashSet<String> =
            old.into_iter().map(|(value, _)| value.to_string()).collect();
        let fresh: Vec<(String, u64)> = new
            .into_iter()
            .map(|(value, count)| (value.to_string(), count))
            .filter(|(value, _)| !old.contains(value))
            .collect();
        rows += fresh.iter().map(|(_, count)| count).sum::<u64>();
        if !fresh.is_empty() && redact.contains(column) {
            found.push(format!("`{column}` has {}", fresh.len()));
        } else if !fresh.is_empty() {
            let mut named: Vec<String> = fresh.iter().take(NAMED).map(|(value, _)| value.clone()).collect();
            if fresh.len() > NAMED {
                named.push(format!("{} more", fresh.len() - NAMED));
            }
            found.push(format!("`{column}` has {}", named.join(", ")));
        }
    }
    let message = if found.is_empty() {
        "every value is known".to_owned()
    } else {
        format!("{rows} rows have values that were not there: {}", found.join("; "))
    };
    result.judge(found.is_empty(), message);
    result.failed = rows;
    Ok(())
}

pub(super) fn drift(
    columns: &[String],
    level: DriftLevel,
    before: &Profile,
    after: &Profile,
    redact: &[String],
    result: &mut CheckResult,
) -> Result<(), Error> {
    let options = DriftOptions {
        columns: (!columns.is_empty()).then(|| columns.to_vec()),
        pairs: false,
        ..DriftOptions::default()
    };
    let mut report = between_profiles(before, after, &options)?;
    report.redact(redact);
    let least = match level {
        DriftLevel::Minor => Level::Minor,
        DriftLevel::Major => Level::Major,
    };
    let judged = report.verdict.columns.iter().filter(|column| column.level > Level::NotJudged).count();
    let moved: Vec<_> = report.verdict.columns.iter().filter(|column| column.level >= least).collect();
    let message = if judged == 0 {
        // No data means hold, never pass.
        "there are too few rows to judge any column".to_owned()
    } else if moved.is_empty() {
        format!("{judged} columns are distributed as before")
    } else {
        let reasons: Vec<String> = moved.iter().take(NAMED).map(|column| column.reason.clone()).collect();
        let more = moved.len().saturating_sub(NAMED);
        let more = if more > 0 { format!("; and {more} more columns") } else { String::new() };
        format!("{} of {judged} columns moved: {}{more}", moved.len(), reasons.join("; "))
    };
    result.observed = Some(report.verdict.major_share);
    result.judge(judged > 0 && moved.is_empty(), message);
    result.failed = moved.len() as u64;
    Ok(())
}
