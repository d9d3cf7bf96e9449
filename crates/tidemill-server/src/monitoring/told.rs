//! Whether a classifier tells the rows of a window from those that it is compared with.

use tidemill_core::Quiet;
use tidemill_data::drift::{DomainClassifier, Samples};
use tidemill_serve::record::LogError;
use tidemill_train::domain::tell_apart;

use super::scan::blocking;

/// Learns to tell rows of both sides apart, outside of the threads that answer requests: at most 2,000 rows of 40 columns a side, which
/// takes parts of a second. Where that fails the window is judged by its columns and pairs alone, and the log says why.
pub(super) async fn told_apart(samples: Samples) -> Result<Option<DomainClassifier>, LogError> {
    blocking(move || Ok(learned(samples))).await
}

fn learned(samples: Samples) -> Option<DomainClassifier> {
    tell_apart(samples.schema, samples.reference, samples.current, &Quiet).unwrap_or_else(|error| {
        tracing::warn!(%error, "no classifier tells the rows of a window from those of its reference");
        None
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray};
    use serde_json::json;
    use tidemill_core::Timestamp;
    use tidemill_data::profile::SAMPLED;
    use tidemill_data::{Profile, ProfileOptions, Table};
    use tidemill_monitor::alert::Change;
    use tidemill_monitor::window::Window;
    use tidemill_monitor::{
        Declaration, Evidence, Exposure, Level, Memory, Remembered, Seen, State, Verdict, Watch, judge,
    };

    use super::super::look::Look;
    use super::super::reference::Reference;
    use super::*;

    /// Even numbers between 0 and 1.
    struct Even(u64);

    impl Even {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f64 / f64::from(1_u32 << 24)
        }

        fn flag(&mut self) -> bool {
            self.next() < 0.5
        }

        /// About normal, as the sum of twelve even numbers is.
        fn normal(&mut self) -> f64 {
            (0..12).map(|_| self.next()).sum::<f64>() - 6.0
        }
    }

    fn profile(columns: [(&str, ArrayRef); 4]) -> Profile {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let options = ProfileOptions { sample: SAMPLED, ..ProfileOptions::window() };
        let table = Table::from_batches(batch.schema(), vec![batch]).unwrap();
        Profile::build(&table, &options, &Quiet).unwrap()
    }

    /// Rows of three columns and one that has nothing to do with them. Where they are `tied`, each of the three follows from the other two:
    /// no column alone and no pair shows it.
    fn flags(rows: usize, tied: bool, seed: u64) -> Profile {
        let mut even = Even(seed);
        let (mut express, mut morning, mut days, mut kinds) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rows {
            let (a, b, free, d) = (even.flag(), even.flag(), even.flag(), even.flag());
            express.push(Some(a));
            morning.push(Some(if b { "am" } else { "pm" }));
            let follows = if tied { a ^ b } else { free };
            days.push(if follows { 1.0 } else { 7.0 });
            kinds.push(Some(if d { "air" } else { "sea" }));
        }
        profile([
            ("express", Arc::new(BooleanArray::from(express))),
            ("half", Arc::new(StringArray::from(morning))),
            ("days", Arc::new(Float64Array::from(days))),
            ("kind", Arc::new(StringArray::from(kinds))),
        ])
    }

    /// Rows of numbers of which two go together and one has a tail, and of a category.
    fn usual(rows: usize, seed: u64) -> Profile {
        let mut even = Even(seed);
        let (mut x, mut y, mut tail, mut kinds) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rows {
            let one = even.normal();
            x.push(one);
            y.push(0.8 * one + 0.6 * even.normal());
            tail.push((1.5 * even.normal()).exp());
            let kind = (3.0 * even.next()) as usize;
            kinds.push(Some(["air", "rail", "sea"][kind.min(2)]));
        }
        profile([
            ("x", Arc::new(Float64Array::from(x))),
            ("y", Arc::new(Float64Array::from(y))),
            ("tail", Arc::new(Float64Array::from(tail))),
            ("kind", Arc::new(StringArray::from(kinds))),
        ])
    }

    fn watch() -> Watch {
        let declared: Declaration = serde_json::from_value(json!({
            "project": "p", "endpoint": "e", "monitors": [{"drift": {"window": "1d"}}],
        }))
        .unwrap();
        declared.watches().remove(0)
    }

    fn learned_from(inputs: Profile) -> Reference {
        Reference { name: "late@1".to_owned(), inputs: Some(inputs), ..Reference::default() }
    }

    /// Judges a day as the loop does.
    fn judged(reference: &Reference, logged: &Profile, memory: &Memory, day: i64) -> Remembered {
        let (watch, day) = (watch(), Timestamp::from_millis(day * 86_400_000));
        let window = Window::containing(day, Duration::from_secs(86_400));
        let mut look = Look {
            window,
            rows: None,
            profile: Some(logged),
            before: None,
            reference,
            hidden: &[],
            secret: &[],
            dataset: None,
            classifier: None,
            estimated: None,
            is_dated: false,
        };
        look.classifier = look.samples(&watch).and_then(learned);
        let seen = look.see(&watch, None);
        assert!(matches!(seen, Seen::Drift(_)), "{seen:?}");
        let exposure = Exposure { decisions: 1_000, cost_per_decision: Some(2.0) };
        judge(&watch, memory, window, &seen, None, exposure)
    }

    fn p_of(verdict: &Verdict) -> f64 {
        let Some(Evidence::Drift { p: Some(p), .. }) = verdict.evidence else { panic!("{verdict:?}") };
        p
    }

    #[test]
    fn a_shift_that_neither_columns_nor_pairs_show_fires_and_names_its_columns() {
        let reference = learned_from(flags(1_500, false, 1));
        let mut memory = Memory::default();
        for day in 0..3 {
            let found = judged(&reference, &flags(700, false, 10 + day as u64), &memory, day);
            assert_eq!((found.verdict.state, found.change), (State::Ok, None), "{}", found.verdict.why);
            assert!(found.verdict.classifier.is_some_and(|it| it.auc < 0.56));
            memory = found.memory;
        }
        let logged = flags(700, true, 20);
        let found = judged(&reference, &logged, &memory, 3);
        // Whoever judges it again comes to the same.
        assert_eq!(found, judged(&reference, &logged, &memory, 3));
        assert_eq!(found.change, Some(Change::Firing), "{:?}", found.verdict);
        let Some(Evidence::Drift { columns, pairs, level, .. }) = &found.verdict.evidence else { panic!() };
        assert!(columns.iter().all(|it| it.level != Level::Major), "{columns:?}");
        assert!(pairs.iter().all(|it| it.level != Level::Major), "{pairs:?}");
        let classifier = found.verdict.classifier.as_ref().unwrap();
        // Half of the cells of the reference are empty now: who knows them has an area of 3/4.
        assert!((0.68..0.8).contains(&classifier.auc) && classifier.lower > 0.6, "{classifier:?}");
        assert!(classifier.p.is_some_and(|p| p < 1e-9) && p_of(&found.verdict) < *level);
        let mut names = classifier.columns.clone();
        names.sort();
        assert_eq!(names, ["days", "express", "half"]);
        let why = &found.verdict.why;
        assert!(why.contains("a classifier tells the sides apart with an area of 0."), "{why}");
        assert!(why.contains(", by `") && !why.contains("`kind`"), "{why}");
        // Three of four columns that matter alike.
        assert_eq!((found.verdict.value, found.verdict.at_risk), (Some(0.75), Some(1_500.0)));
        let text = serde_json::to_string(&found.verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap().classifier.as_ref(), Some(classifier));
    }

    #[test]
    fn without_samples_or_with_few_rows_there_is_no_classifier() {
        let whole = learned_from(flags(1_500, false, 1));
        for (reference, logged) in [
            (learned_from(flags(1_500, false, 1).without_sample()), flags(700, true, 20)),
            (whole, flags(150, true, 20)),
        ] {
            let found = judged(&reference, &logged, &Memory::default(), 0);
            assert_eq!(found.verdict.classifier, None);
            assert_eq!(found.verdict.state, State::Ok, "{}", found.verdict.why);
        }
    }

    /// 200 monitors of three windows without drift, each with a reference of its own, judged by columns, pairs and classifier together: how
    /// many ever fire, and how often one window alone is below 5 %.
    #[test]
    fn without_drift_monitors_fire_as_seldom_as_declared() {
        let (mut fired, mut below) = (0_u32, 0_u32);
        for monitor in 0..200_u64 {
            let reference = learned_from(usual(300, 1_000_000 + monitor));
            let (mut memory, mut did) = (Memory::default(), false);
            for day in 0..3 {
                let logged = usual(220, 5_000_000 + 10 * monitor + day as u64);
                let found = judged(&reference, &logged, &memory, day);
                assert!(found.verdict.classifier.as_ref().is_some_and(|it| it.p.is_some()));
                did |= found.change == Some(Change::Firing);
                below += u32::from(day == 0 && p_of(&found.verdict) < 0.05);
                memory = found.memory;
            }
            fired += u32::from(did);
        }
        assert!(fired <= 10, "{fired} of 200 monitors fired, more than 5 %");
        // 5 % of 200 and three standard deviations.
        assert!(below <= 10 + 9, "{below} of 200 windows are below 5 %");
    }
}
