//! Tests that set the model beside other versions: no worse than the champion, few flips, how fast versions age.

use tidemill_core::declare::{Better, Metric};
use tidemill_core::{AgeCurve, AgedVersion};
use tidemill_project::{ChampionTest, FlipsTest, StalenessTest};
use tidemill_stats::interval::{Conclusion, non_inferiority};
use tidemill_stats::slices::Search;
use tidemill_train::fit::flips;
use tidemill_train::metric;
use tidemill_train::probe::{Loss, compare, losses, value, worst};

use super::judged::Both;
use super::rivals::{Rival, VERSIONS, days};
use super::settle::{Found, Unusable, settled};
use super::{Case, Judged, TestResult, named};
use crate::output::{number, percent, plural};

/// How much worse still counts as no worse where nothing is declared, for metrics from 0 to 1.
pub(crate) const MARGIN: f64 = 0.005;
/// Two-sided level of the interval whose lower end decides: errs once in twenty times.
const LEVEL: f64 = 0.9;
/// Slices that a message names.
const NAMED: usize = 3;

/// The metric of a test, which must be one of the trainer's.
pub(super) fn known(name: &str) -> anyhow::Result<Metric> {
    Ok(named(name).ok_or_else(|| Unusable(format!("`{name}` is not a metric of the trainer")))?)
}

/// By how much `second` is worse than `first`; below zero it is better.
pub(super) fn lost(metric: Metric, first: f64, second: f64) -> f64 {
    match metric::better(metric) {
        Better::Higher => first - second,
        Better::Lower => second - first,
    }
}

impl Judged {
    /// The champion, and what it and this model say; or why the two cannot be compared.
    fn beside_champion<'a>(&self, case: &Case<'a>) -> anyhow::Result<Result<(&'a Rival, Both), Found>> {
        Ok(match case.rivals.champion() {
            Ok(champion) => self.beside(case, champion)?.map(|both| (champion, both)).map_err(Found::open),
            Err(why) => Err(Found::waiting(why)),
        })
    }

    /// No worse than the champion by a metric, beyond chance.
    pub(super) fn champion(&self, case: &Case<'_>, test: &ChampionTest) -> anyhow::Result<TestResult> {
        let margin = test.margin.unwrap_or(MARGIN);
        let name = format!("{} no worse than the champion (margin {})", test.metric, number(margin));
        settled(name, self.no_worse(case, test, margin))
    }

    fn no_worse(&self, case: &Case<'_>, test: &ChampionTest, margin: f64) -> anyhow::Result<Found> {
        let metric = known(&test.metric)?;
        let (champion, both) = match self.beside_champion(case)? {
            Ok(found) => found,
            Err(open) => return Ok(open),
        };
        let found = compare(&both.new, &both.old, metric, LEVEL)?;
        let concluded = non_inferiority(found.gain, margin).conclusion;
        let (good, words) = match concluded {
            Conclusion::Better => (true, "better"),
            Conclusion::NotWorse => (true, "no worse"),
            Conclusion::Worse => (false, "worse"),
            // It may be the champion itself, which is no worse by any margin.
            Conclusion::NoEvidence if found.gain.low == 0.0 && found.gain.high == 0.0 => (true, "the same"),
            Conclusion::NoEvidence => (false, "no evidence that it is no worse"),
        };
        let message = format!(
            "{words}: {} against {} of {}, gain {} ({} to {})",
            number(found.new),
            number(found.old),
            champion.name(),
            number(found.gain.estimate),
            number(found.gain.low),
            number(found.gain.high)
        );
        Ok(Found::new(good, message).compared(&found))
    }

    /// The share of rows that the champion had right and this model has wrong, and where they are.
    pub(super) fn flips(&self, case: &Case<'_>, test: &FlipsTest) -> anyhow::Result<TestResult> {
        let name = format!("at most {} right before and wrong now", percent(test.max.0));
        settled(name, self.flipped(case, test))
    }

    fn flipped(&self, case: &Case<'_>, test: &FlipsTest) -> anyhow::Result<Found> {
        let (champion, both) = match self.beside_champion(case)? {
            Ok(found) => found,
            Err(open) => return Ok(open),
        };
        let [[both_wrong, gained], [lost, both_right]] = flips(&both.new, &both.old)?.rows;
        let rows = both_wrong + gained + lost + both_right;
        if rows == 0 {
            return Ok(Found::open("there are no held-out rows"));
        }
        let share = lost as f64 / rows as f64;
        // A flip is an error now that was none before.
        let (now, before) = (losses(&both.new, Loss::Error)?, losses(&both.old, Loss::Error)?);
        let flipped: Vec<f64> =
            now.iter().zip(&before).map(|(now, before)| (now - before).max(0.0)).collect();
        let columns = case.columns(test.by.as_ref())?;
        let search = Search { difference: 0.0, ..Search::default() };
        let coded = self.coded(case, &columns, search.support)?;
        let slices = worst(&coded, &flipped, None, &search)?;
        let slices: Vec<String> = slices
            .iter()
            .filter(|slice| slice.is_flagged)
            .take(NAMED)
            .map(|slice| {
                format!("{} ({} of {})", slice.conditions, percent(slice.mean), plural(slice.rows, "row"))
            })
            .collect();
        let most = if slices.is_empty() { String::new() } else { format!("; most in {}", slices.join(", ")) };
        let message = format!(
            "{} of {} against {}: {lost} lost, {gained} gained, {both_right} right and {both_wrong} wrong both \
             times{most}",
            percent(share),
            plural(rows, "row"),
            champion.name()
        );
        Ok(Found::new(share <= test.max.0, message)
            .figure("lost_share", share)
            .figure("lost", lost as f64)
            .figure("gained", gained as f64)
            .figure("both_right", both_right as f64)
            .figure("both_wrong", both_wrong as f64))
    }

    /// Older versions on the present held-out rows.
    pub(super) fn staleness(&self, case: &Case<'_>, test: &StalenessTest) -> anyhow::Result<TestResult> {
        let name = format!(
            "versions lose at most {} of {} within {}",
            number(test.max_loss),
            test.metric,
            test.max_age
        );
        settled(name, self.aged(case, test))
    }

    fn aged(&self, case: &Case<'_>, test: &StalenessTest) -> anyhow::Result<Found> {
        let metric = known(&test.metric)?;
        let versions = match case.rivals.versions() {
            Ok(versions) => versions,
            Err(why) => return Ok(Found::waiting(why)),
        };
        let limit = days(test.max_age.0);
        let own = value(&self.predictions, metric)?;
        let mut curve = vec![format!("this one {}", number(own))];
        let (mut found, mut good, mut judged, mut unasked) = (Vec::new(), true, 0, false);
        // The model itself may be registered already; it cannot be older than itself.
        let older = versions.iter().filter(|version| version.content != Some(*case.content));
        for version in older.take(test.versions.unwrap_or(VERSIONS) as usize) {
            let age = format!("@{} ({:.1} d)", version.version, version.days);
            let both = match self.beside(case, version)? {
                Ok(both) => both,
                Err(why) => {
                    unasked |= version.days <= limit;
                    curve.push(format!("{age} not compared: {why}"));
                    continue;
                }
            };
            let then = value(&both.old, metric)?;
            let new = value(&both.new, metric)?;
            let loss = lost(metric, new, then);
            if version.days <= limit {
                judged += 1;
                good &= loss <= test.max_loss;
            }
            curve.push(format!("{age} {}", number(then)));
            found.push(AgedVersion { version: version.version, days: version.days, value: then });
        }
        let message = curve.join(", ");
        let mut result = match judged {
            0 if unasked => Found::open(format!("no other version of at most {}: {message}", test.max_age)),
            0 => Found::waiting(format!("no other version of at most {}: {message}", test.max_age)),
            _ => Found::new(good, message),
        };
        for AgedVersion { version, days, value } in &found {
            result = result
                .figure(&format!("version_{version}_days"), *days)
                .figure(&format!("version_{version}"), *value);
        }
        found.sort_by(|a, b| a.days.total_cmp(&b.days));
        let allowed = match metric::better(metric) {
            Better::Higher => own - test.max_loss,
            Better::Lower => own + test.max_loss,
        };
        let curve =
            AgeCurve { metric: test.metric.clone(), new: own, allowed, max_days: limit, versions: found };
        Ok(result.figure("new", own).aged(curve))
    }
}
