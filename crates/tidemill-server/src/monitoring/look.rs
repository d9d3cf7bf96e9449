//! From the rows of a window and what they are compared with to what a monitor looks at.

use std::sync::Arc;

use tidemill_core::Timestamp;
use tidemill_core::declare::Costs;
use tidemill_data::Profile;
use tidemill_data::drift::{DomainClassifier, DriftOptions, Rules, Samples, between_profiles, sampled_rows};
use tidemill_monitor::window::Window;
use tidemill_monitor::{
    Columns, Compared, Kind, Monitor, QualitySeen, Reference as Against, Seen, Side, StaleSeen, Watch,
    metric_of,
};

use super::reference::Reference;
use super::rows::{LABEL, Rows, SCORE};

/// What a window is looked at with.
pub(super) struct Look<'a> {
    pub(super) window: Window,
    /// What was counted of the window's records; none for what needs no records.
    pub(super) rows: Option<&'a Rows>,
    /// The profile of the window.
    pub(super) profile: Option<&'a Profile>,
    /// The profile of the window before, where the monitor compares with it.
    pub(super) before: Option<Profile>,
    pub(super) reference: &'a Reference,
    /// Inputs that the log hides: what was learned from holds their values, the window does not.
    pub(super) hidden: &'a [String],
    /// Inputs whose values are shown nowhere, of windows as of what was learned from.
    pub(super) secret: &'a [String],
    /// The profile of the dataset that the monitor compares with, or why there is none.
    pub(super) dataset: Option<Result<Arc<Profile>, String>>,
    /// How well the window's rows are told from those that it is compared with; [`Look::samples`] are what that is learned from.
    pub(super) classifier: Option<DomainClassifier>,
    /// The figure that was estimated before labels came.
    pub(super) estimated: Option<f64>,
    /// Whether the time of predictions is one that requests say.
    pub(super) is_dated: bool,
}

/// A window beside what it is compared with.
struct Comparison<'a> {
    reference: &'a Profile,
    current: &'a Profile,
    /// What it is compared with, in words.
    against: String,
    /// Inputs that the log hides and that cannot be compared.
    hidden: Vec<String>,
    options: DriftOptions,
}

/// The columns that a monitor names; none where it means all features.
fn listed(columns: &Columns) -> Option<Vec<String>> {
    match columns {
        Columns::Word(_) => None,
        Columns::List(columns) => Some(columns.clone()),
    }
}

impl Look<'_> {
    /// What the monitor sees.
    pub(super) fn see(self, watch: &Watch, costs: Option<&Costs>) -> Seen {
        let nothing = || Seen::Nothing("the window holds no records".to_owned());
        match &watch.kind {
            Kind::Monitor(Monitor::Stale(_)) if self.reference.name.is_empty() => {
                Seen::Nothing("no request was answered yet".to_owned())
            }
            Kind::Monitor(Monitor::Stale(_)) => Seen::Stale(self.age()),
            Kind::Monitor(Monitor::Drift(rule)) => {
                self.drift(Side::Inputs, &rule.against, listed(&rule.columns), rule.share)
            }
            Kind::Monitor(Monitor::PredictionDrift(rule)) => {
                self.drift(Side::Predictions, &rule.against, None, None)
            }
            Kind::Monitor(Monitor::Quality(_)) => self.rows.map_or_else(nothing, |rows| {
                Seen::Quality(QualitySeen {
                    predictions: rows.predictions(),
                    labels: rows.labels(),
                    estimated: self.estimated,
                    version: rows.only_version(),
                })
            }),
            Kind::Estimate(rule) => self.rows.map_or_else(nothing, |rows| {
                if rows.has_no_positive() {
                    let why =
                        "no class is the positive one of two, so nothing can be estimated without labels";
                    return Seen::Nothing(why.to_owned());
                }
                let Some(calibration) = &self.reference.calibration else {
                    return Seen::Nothing(format!(
                        "{} has no scored test rows (`predictions.parquet`) to calibrate on",
                        self.reference.name
                    ));
                };
                let Ok(metric) = metric_of(&rule.metric) else {
                    return Seen::Nothing("there is no such metric".to_owned());
                };
                Seen::Estimate(calibration.estimate(metric, &rows.scores, &rows.said, costs))
            }),
            Kind::Monitor(Monitor::Kpi(_)) => self.rows.map_or_else(nothing, |rows| Seen::Kpi(rows.kpi())),
            // That there was no request is something that is known of a service.
            Kind::Monitor(Monitor::Service(_)) => {
                Seen::Service(self.rows.map(|rows| rows.service.clone()).unwrap_or_default())
            }
            Kind::Monitor(Monitor::Stream(rule)) => {
                self.rows.map_or_else(nothing, |rows| Seen::Stream(rows.stream(&rule.of)))
            }
            Kind::Monitor(Monitor::Inputs(_)) => {
                self.rows.map_or_else(nothing, |rows| Seen::Inputs(rows.inputs))
            }
        }
    }

    /// By the rows that it learned from where predictions have times of their own, else by when it was made.
    fn age(&self) -> StaleSeen {
        let begin = match (self.is_dated, self.reference.learned_until, self.reference.made_at) {
            (true, Some(learned), _) => Some(learned),
            (false, _, made) => made,
            (true, None, _) => None,
        };
        let age = |begin: Timestamp| self.window.to.since(begin);
        StaleSeen { model: self.reference.name.clone(), age: begin.map(age) }
    }

    /// Rows of what the window is compared with and of the window, for a classifier that tells them apart; of monitors that compare no
    /// inputs there are none, nor where one side has no sample.
    pub(super) fn samples(&self, watch: &Watch) -> Option<Samples> {
        let Kind::Monitor(Monitor::Drift(rule)) = &watch.kind else { return None };
        let found = self.comparison(Side::Inputs, &rule.against, listed(&rule.columns), rule.share).ok()?;
        sampled_rows(found.reference, found.current, &found.options).ok().flatten()
    }

    /// What a window is compared with, and how; or why it cannot be.
    fn comparison(
        &self,
        side: Side,
        with: &Against,
        columns: Option<Vec<String>>,
        share: Option<f64>,
    ) -> Result<Comparison<'_>, String> {
        let is_previous = *with == Against::Previous;
        let name = &self.reference.name;
        let Some(current) = self.profile else {
            return Err("the window holds no records".to_owned());
        };
        let found = match (with, side) {
            (Against::Previous, _) => (self.before.as_ref(), "the window before".to_owned()),
            (Against::Dataset(name), _) => match &self.dataset {
                Some(Ok(profile)) => (Some(&**profile), format!("the dataset {name}")),
                Some(Err(why)) => return Err(why.clone()),
                None => (None, format!("the dataset {name}")),
            },
            (Against::Training, Side::Inputs) => {
                (self.reference.inputs.as_ref(), format!("the data that {name} was trained on"))
            }
            (Against::Training, Side::Predictions) => {
                (self.reference.predictions.as_ref(), format!("the answers of {name} on its test rows"))
            }
        };
        let (reference, against) = found;
        let Some(reference) = reference else {
            let hint = match side {
                Side::Inputs => "`against: previous` or `against: DATASET@VERSION`",
                Side::Predictions => "`against: previous`",
            };
            return Err(match with {
                Against::Previous => "there is no window before it".to_owned(),
                _ => format!(
                    "{name} says nothing of {against}: models that `train` steps make do, for others declare {hint}"
                ),
            });
        };
        let answers = [SCORE.to_owned(), LABEL.to_owned()];
        let (columns, mut skip) = match side {
            Side::Predictions => (Some(answers.to_vec()), Vec::new()),
            Side::Inputs => (columns, answers.to_vec()),
        };
        // Hashes can be compared with hashes alone, and no alert is to quote a value that the log hides.
        let hidden: Vec<String> = self.hidden.iter().filter(|_| !is_previous).cloned().collect();
        skip.extend(hidden.iter().chain(self.secret).cloned());
        // Only what both sides can have; others are told as skipped.
        let known = |column: &String| reference.columns().any(|name| name == column);
        let columns = columns.map(|columns| columns.into_iter().filter(known).collect());
        let options = DriftOptions {
            rules: Rules { major_share: share.unwrap_or(0.0), ..Rules::default() },
            columns,
            skip,
            importance: if side == Side::Inputs {
                self.reference.importance.clone()
            } else {
                std::collections::BTreeMap::new()
            },
            pairs: false,
            // Of answers there is one score or class.
            sampled: side == Side::Inputs,
            classifier: self.classifier.clone().filter(|_| side == Side::Inputs),
            ..DriftOptions::default()
        };
        Ok(Comparison { reference, current, against, hidden, options })
    }

    fn drift(self, side: Side, with: &Against, columns: Option<Vec<String>>, share: Option<f64>) -> Seen {
        let found = match self.comparison(side, with, columns, share) {
            Ok(found) => found,
            Err(why) => return Seen::Nothing(why),
        };
        let Comparison { reference, current, against, hidden, options } = found;
        let is_dataset = matches!(with, Against::Dataset(_));
        let is_answer = |column: &String| [SCORE, LABEL].contains(&column.as_str());
        let known = |column: &String| reference.columns().any(|name| name == column);
        match between_profiles(reference, current, &options) {
            Err(error) => Seen::Nothing(error.to_string()),
            Ok(report) => Seen::Drift(Compared {
                side,
                against,
                rows_reference: report.rows_reference,
                rows: report.rows_current,
                skipped: report
                    .skipped
                    .into_iter()
                    .filter(|skipped| !is_answer(&skipped.column))
                    // A dataset has columns that the model never sees.
                    .filter(|skipped| !is_dataset || current.columns().any(|name| name == skipped.column))
                    .filter(|skipped| {
                        !hidden.contains(&skipped.column) && !self.secret.contains(&skipped.column)
                    })
                    .map(|skipped| format!("{}: {}", skipped.column, skipped.reason))
                    .chain(
                        hidden.iter().map(|column| format!("{column}: `records.redact` hides it in the log")),
                    )
                    .chain(
                        self.secret
                            .iter()
                            .filter(|column| {
                                side == Side::Inputs && known(column) && !hidden.contains(column)
                            })
                            .map(|column| format!("{column}: `redact` of the data hides its values")),
                    )
                    .collect(),
                battery: report.verdict,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use tidemill_data::Table;
    use tidemill_monitor::Level;

    use super::*;

    fn profile(text: impl Fn(usize) -> String) -> Profile {
        let column = |text: &dyn Fn(usize) -> String| -> ArrayRef {
            Arc::new((0..500).map(|row| Some(text(row))).collect::<StringArray>())
        };
        let kind = |row: usize| format!("kind {}", row % 5);
        let batch = RecordBatch::try_from_iter([("email", column(&text)), ("kind", column(&kind))]).unwrap();
        Profile::of(&Table::from_batches(batch.schema(), vec![batch]).unwrap()).unwrap()
    }

    #[test]
    fn a_window_is_compared_with_a_version_of_a_dataset() {
        let kept = Arc::new(profile(|row| format!("user{}@example.org", row % 7)));
        let logged = profile(|row| format!("user{}@example.org", row % 2));
        let reference = Reference { name: "sk@1".to_owned(), ..Reference::default() };
        let seen = |with: &Against, dataset: Option<Result<Arc<Profile>, String>>| {
            let look = Look {
                window: Window { from: Timestamp::from_millis(0), to: Timestamp::from_millis(1) },
                rows: None,
                profile: Some(&logged),
                before: None,
                reference: &reference,
                hidden: &[],
                secret: &[],
                dataset,
                classifier: None,
                estimated: None,
                is_dated: false,
            };
            look.drift(Side::Inputs, with, None, None)
        };
        let with = Against::Dataset("users@2".to_owned());
        let Seen::Drift(compared) = seen(&with, Some(Ok(kept))) else { panic!() };
        assert_eq!((compared.against.as_str(), compared.rows_reference), ("the dataset users@2", 500));
        assert!(compared.battery.reason.contains("email"), "{}", compared.battery.reason);
        let why = "`users@2` has no profile yet".to_owned();
        assert_eq!(seen(&with, Some(Err(why.clone()))), Seen::Nothing(why));
        // A model without a training of ours says what can be declared.
        let Seen::Nothing(why) = seen(&Against::Training, None) else { panic!() };
        assert!(why.contains("sk@1") && why.ends_with("or `against: DATASET@VERSION`"), "{why}");
    }

    /// Rows of two numbers that correlate by about 0.8 or not at all, and of a category that goes with the first or does not.
    fn sampled(is_tied: bool, from: u32) -> Profile {
        let mut state = u64::from(from);
        // The sum of twelve even numbers is about normal.
        let mut normal = || {
            let even = (0..12).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f64 / f64::from(1_u32 << 24)
            });
            even.sum::<f64>() - 6.0
        };
        let (mut x, mut y, mut kind) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..1_500 {
            let (one, noise) = (normal(), normal());
            let other = if is_tied { one } else { normal() };
            x.push(one);
            y.push(0.8 * other + 0.6 * noise);
            kind.push(if other > 0.5 { "late" } else { "in time" });
        }
        let columns: [(&str, ArrayRef); 3] = [
            ("x", Arc::new(arrow::array::Float64Array::from(x))),
            ("y", Arc::new(arrow::array::Float64Array::from(y))),
            ("kind", Arc::new(StringArray::from(kind))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let options = tidemill_data::ProfileOptions {
            sample: tidemill_data::profile::SAMPLED,
            ..tidemill_data::ProfileOptions::window()
        };
        let table = Table::from_batches(batch.schema(), vec![batch]).unwrap();
        Profile::build(&table, &options, &tidemill_core::Quiet).unwrap()
    }

    #[test]
    fn columns_that_no_longer_go_together_are_named_though_none_moved() {
        let seen = |learned: Profile, logged: &Profile, secret: &[String]| {
            let reference = Reference { inputs: Some(learned), ..Reference::default() };
            let look = Look {
                window: Window { from: Timestamp::from_millis(0), to: Timestamp::from_millis(1) },
                rows: None,
                profile: Some(logged),
                before: None,
                reference: &reference,
                hidden: &[],
                secret,
                dataset: None,
                classifier: None,
                estimated: None,
                is_dated: false,
            };
            match look.drift(Side::Inputs, &Against::Training, None, None) {
                Seen::Drift(compared) => compared.battery,
                other => panic!("{other:?}"),
            }
        };
        let apart = seen(sampled(true, 1), &sampled(false, 2), &[]);
        assert!(apart.columns.iter().all(|column| column.level != Level::Major), "{}", apart.reason);
        assert_eq!((apart.level, apart.joint_level), (Level::Major, Level::Major));
        assert!(apart.reason.contains("the correlation of `"), "{}", apart.reason);
        let of = |one: &str, other: &str| {
            let names = [(one, other), (other, one)];
            let is_it = |columns: (&str, &str)| names.contains(&columns);
            let found =
                apart.pairs.iter().find(|pair| is_it((pair.columns.0.as_str(), pair.columns.1.as_str())));
            found.unwrap()
        };
        let numbers = of("x", "y");
        assert!(numbers.reference > 0.7 && numbers.current.abs() < 0.1, "{numbers:?}");
        let words = of("x", "kind").words();
        assert!(words.contains("`kind` = `in time`") || words.contains("`kind` = `late`"), "{words}");
        // The one that still goes with another.
        assert_eq!(of("y", "kind").level, Level::None, "{:?}", of("y", "kind"));
        let same = seen(sampled(true, 3), &sampled(true, 4), &[]);
        assert_eq!((same.joint_level, same.pairs.len()), (Level::None, 3), "{}", same.reason);
        // What is shown nowhere is in no pair, and without samples there is none.
        let secret = seen(sampled(true, 1), &sampled(false, 2), &["kind".to_owned()]);
        assert_eq!(secret.pairs.len(), 1);
        let without = seen(sampled(true, 1).without_sample(), &sampled(false, 2), &[]);
        assert_eq!((without.joint_level, without.pairs.len()), (Level::NotJudged, 0));
        // Samples survive being stored, which windows that are compared with the one before rest on.
        let stored = Profile::from_bytes(&sampled(true, 1).to_bytes()).unwrap();
        assert_eq!(seen(stored, &sampled(false, 2), &[]), apart);
    }

    #[test]
    fn what_the_log_hides_is_no_drift_and_is_not_quoted() {
        let learned = profile(|row| format!("user{}@example.org", row % 7));
        let logged = profile(|row| format!("{:016x}", row % 7));
        let reference = Reference { inputs: Some(learned), ..Reference::default() };
        let seen = |hidden: &[String]| {
            let look = Look {
                window: Window { from: Timestamp::from_millis(0), to: Timestamp::from_millis(1) },
                rows: None,
                profile: Some(&logged),
                before: None,
                reference: &reference,
                hidden,
                secret: &["kind".to_owned()],
                dataset: None,
                classifier: None,
                estimated: None,
                is_dated: false,
            };
            match look.drift(Side::Inputs, &Against::Training, None, None) {
                Seen::Drift(compared) => compared,
                other => panic!("{other:?}"),
            }
        };
        assert!(format!("{:?}", seen(&[]).battery).contains("email"));
        let compared = seen(&["email".to_owned()]);
        assert!(!format!("{:?}", compared.battery).contains("email"), "{compared:?}");
        let skipped =
            ["email: `records.redact` hides it in the log", "kind: `redact` of the data hides its values"];
        assert_eq!(compared.skipped, skipped);
    }
}
