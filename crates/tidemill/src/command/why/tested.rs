//! The tests of a version's model, in whichever runs they were: a later run may test what an earlier one has made.

use std::collections::BTreeMap;

use anyhow::Context as _;
use tidemill_core::{Digest, Event, EventKind, RunId};
use tidemill_db::delivery::Release;
use tidemill_db::models::ModelVersion;
use tidemill_db::{EventFilter, Order};
use tidemill_server::delivery::MODEL_TESTS;

use super::{Chain, PAGE, Part};
use crate::output::plural;

/// The most tests of all models that are looked through, newest first; those of the version's own runs are found besides.
const MOST: usize = 10_000;

/// Where a version's model comes from, as far as its tests are found by it.
pub(super) struct Made {
    /// The runs that it came of, the innermost first.
    pub(super) runs: Vec<RunId>,
    /// What its step wrote, where that was recorded.
    pub(super) content: Option<Digest>,
}

/// The results that the gate of a release rests on.
struct Used {
    release: Digest,
    evidence: Digest,
    /// The event with which the release was made.
    made: u64,
}

/// A test that is told.
#[derive(Debug, PartialEq)]
struct Told {
    /// Its place among all of the model.
    at: usize,
    is_newest: bool,
    /// The releases whose gates used its results.
    gates: Vec<Digest>,
}

impl Chain<'_, '_> {
    /// The tests of the model: the newest, those of the runs that it came of, and those that the gates of its releases used.
    pub(super) fn tested(
        &mut self,
        version: &ModelVersion,
        made: &Made,
        releases: &[Release],
    ) -> anyhow::Result<()> {
        let (own, others) = self.own_tests(made)?;
        let tests = self.tests(made, own)?;
        let used = self.used(releases)?;
        let told = told(&tests, &made.runs, &used);
        for one in &told {
            let event = &tests[one.at];
            self.event(Part::Tests, event, words(event, one, tests.len()));
        }
        for used in used.iter().filter(|used| told.iter().all(|one| !one.gates.contains(&used.release))) {
            let (release, evidence) = (used.release.short(), used.evidence.short());
            let what =
                format!("the gate of release {release} used results that no test in the log has: {evidence}");
            self.fact(Part::Tests, version.created_at, what);
        }
        match tests.len() - told.len() {
            0 => {}
            more => {
                let more = plural(more as u64, "older test");
                let what =
                    format!("{more} of it in other runs; `tidemill log --kind model.tested` lists all");
                self.fact(Part::Tests, version.created_at, what);
            }
        }
        if tests.is_empty() {
            let other = others.map(|other| format!(": its run tested another one, {}", other.short()));
            let what = format!("the model was not tested{}", other.unwrap_or_default());
            self.fact(Part::Tests, version.created_at, what);
        }
        Ok(())
    }

    /// Tests in the runs that the version came of, by their number, and what else than its model was tested there.
    fn own_tests(&self, made: &Made) -> anyhow::Result<(BTreeMap<u64, Event>, Option<Digest>)> {
        let (mut own, mut other) = (BTreeMap::new(), None);
        for run in &made.runs {
            for event in self.events(&format!("run:{run}"), Some("model.tested"))? {
                let tested = content(&event);
                if tested.is_some() && made.content.is_some() && tested != made.content {
                    other = tested;
                } else {
                    own.insert(event.seq, event);
                }
            }
        }
        Ok((own, other))
    }

    /// Adds the tests of exactly this model in any run; oldest first.
    fn tests(&self, made: &Made, mut found: BTreeMap<u64, Event>) -> anyhow::Result<Vec<Event>> {
        let (mut before, mut looked) = (None, 0);
        while made.content.is_some() && looked < MOST {
            let filter = EventFilter {
                kind: Some("model.tested".to_owned()),
                before,
                limit: Some(PAGE),
                order: Order::NewestFirst,
                ..EventFilter::default()
            };
            let page = self.app.block(self.app.db()?.events(&filter))?;
            let is_last = page.len() < PAGE;
            before = page.last().map(|event| event.seq);
            looked += page.len();
            let same = page.into_iter().filter(|event| content(event) == made.content);
            found.extend(same.map(|event| (event.seq, event)));
            if is_last {
                break;
            }
        }
        Ok(found.into_values().collect())
    }

    /// The results that releases carry, for those that carry any.
    fn used(&self, releases: &[Release]) -> anyhow::Result<Vec<Used>> {
        let mut used = Vec::new();
        for release in releases {
            let body: tidemill_deliver::release::Release = serde_json::from_str(&release.body)
                .with_context(|| format!("release {} cannot be read", release.digest))?;
            let Some((_, evidence)) = body.evidence.into_iter().find(|(name, _)| name == MODEL_TESTS) else {
                continue;
            };
            let created = self.events(&format!("release:{}", release.digest), Some("release.created"))?;
            let made = created.first().map_or(u64::MAX, |event| event.seq);
            used.push(Used { release: release.digest, evidence, made });
        }
        Ok(used)
    }
}

/// What was tested, where that was recorded.
fn content(event: &Event) -> Option<Digest> {
    match event.kind {
        EventKind::ModelTested { content, .. } => content,
        _ => None,
    }
}

/// Which of the tests are told. Results are known again by a later run, so those that a gate used are the last ones before it.
fn told(tests: &[Event], runs: &[RunId], used: &[Used]) -> Vec<Told> {
    let is_of = |event: &Event, used: &Used| match event.kind {
        EventKind::ModelTested { evidence, .. } => evidence == used.evidence && event.seq < used.made,
        _ => false,
    };
    let gates: Vec<(Option<usize>, Digest)> =
        used.iter().map(|used| (tests.iter().rposition(|event| is_of(event, used)), used.release)).collect();
    let one = |(at, event): (usize, &Event)| {
        let gates = gates.iter().filter(|(place, _)| *place == Some(at)).map(|(_, release)| *release);
        let one = Told { at, is_newest: at + 1 == tests.len(), gates: gates.collect() };
        let is_own = matches!(event.kind, EventKind::ModelTested { run, .. } if runs.contains(&run));
        (is_own || one.is_newest || !one.gates.is_empty()).then_some(one)
    };
    tests.iter().enumerate().filter_map(one).collect()
}

/// A test in words; of several it is said which is the newest.
fn words(event: &Event, told: &Told, tests: usize) -> String {
    let EventKind::ModelTested { run, passed, failed, not_judged, evidence, .. } = &event.kind else {
        return String::new();
    };
    let open = not_judged.filter(|open| *open > 0);
    let open = open.map(|open| format!(", {open} not judged")).unwrap_or_default();
    let mut parts = vec![format!(
        "tests of the model: {passed} passed, {failed} failed{open}, evidence {}, in run {}",
        evidence.short(),
        run.short()
    )];
    if told.is_newest && tests > 1 {
        parts.push("the newest".to_owned());
    }
    parts.extend(
        told.gates.iter().map(|release| format!("the gate of release {} used them", release.short())),
    );
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use tidemill_core::{Actor, Timestamp};

    use super::*;

    fn run(name: u8) -> RunId {
        RunId::from_entropy([name; 16])
    }

    /// A test in a run, with results that are called so.
    fn test(seq: u64, name: u8, results: &str) -> Event {
        let kind = EventKind::ModelTested {
            run: run(name),
            evidence: Digest::of(results.as_bytes()),
            passed: 2,
            failed: 1,
            not_judged: Some(3),
            waiting: None,
            content: None,
        };
        Event { seq, at: Timestamp::from_millis(1), actor: Actor::system("test"), kind, cause: None }
    }

    fn used(release: &str, results: &str, made: u64) -> Used {
        let digest = |text: &str| Digest::of(text.as_bytes());
        Used { release: digest(release), evidence: digest(results), made }
    }

    #[test]
    fn the_newest_its_own_and_what_gates_used_are_told() {
        let tests = [
            test(10, 1, "first"),
            test(20, 2, "second"),
            test(30, 3, "first"),
            test(40, 4, "third"),
            test(50, 5, "fourth"),
        ];
        let releases = [
            used("early", "first", 15),
            used("late", "first", 45),
            used("again", "first", 46),
            // Made before its results were recorded, which cannot be, and of results that nobody has.
            used("odd", "third", 40),
            used("lost", "nothing", 60),
        ];
        let of = |at, is_newest, gates: &[&str]| Told {
            at,
            is_newest,
            gates: gates.iter().map(|gate| Digest::of(gate.as_bytes())).collect(),
        };
        let all = told(&tests, &[run(2)], &releases);
        let wanted =
            [of(0, false, &["early"]), of(1, false, &[]), of(2, false, &["late", "again"]), of(4, true, &[])];
        assert_eq!(all, wanted);
        assert!(told(&[], &[run(1)], &releases).is_empty());
    }

    #[test]
    fn a_test_in_words() {
        let event = test(1, 7, "results");
        let digest = Digest::of(b"results").short();
        let alone = words(&event, &Told { at: 0, is_newest: true, gates: Vec::new() }, 1);
        let plain = format!(
            "tests of the model: 2 passed, 1 failed, 3 not judged, evidence {digest}, in run 07070707"
        );
        assert_eq!(alone, plain);
        let release = Digest::of(b"release");
        let of_two = words(&event, &Told { at: 1, is_newest: true, gates: vec![release] }, 2);
        assert_eq!(of_two, format!("{plain}; the newest; the gate of release {} used them", release.short()));
    }
}
