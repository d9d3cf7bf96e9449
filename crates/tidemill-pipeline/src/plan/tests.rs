//! The planner against a naive model, and its reasons in words.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;
use serde_json::json;
use tidemill_core::RunId;
use tidemill_core::declare::Action;

use super::*;
use crate::ContentKind;
use crate::testing::{sql, step};

/// A project in memory: a step's output is a function of what its record says.
#[derive(Default)]
struct World {
    files: RefCell<BTreeMap<String, String>>,
    store: RefCell<HashSet<Digest>>,
    results: RefCell<BTreeMap<Digest, CachedStep>>,
    lock: RefCell<BTreeMap<String, LockedStep>>,
}

fn content(text: &str) -> Content {
    Content { digest: Digest::of(text.as_bytes()), kind: ContentKind::File, bytes: text.len() as u64 }
}

impl CacheView for World {
    fn contents(&self, paths: &[String]) -> Result<Vec<Option<Content>>, Error> {
        Ok(paths.iter().map(|path| self.files.borrow().get(path).map(|text| content(text))).collect())
    }
    fn exists(&self, path: &str) -> Result<bool, Error> {
        Ok(self.files.borrow().keys().any(|file| crate::pattern::within(file, path)))
    }
    fn expand(&self, pattern: &str) -> Result<Vec<String>, Error> {
        let pattern = Pattern::new(pattern).unwrap();
        Ok(self.files.borrow().keys().filter(|path| pattern.matches(path)).cloned().collect())
    }
    fn remote(&self, _: &Step, url: &str) -> Result<Content, Error> {
        Ok(content(url))
    }
    fn neighbours(&self, _: &str) -> Vec<String> {
        self.files.borrow().keys().cloned().collect()
    }
    fn cached(&self, keys: &[Digest]) -> Result<Vec<Option<CachedStep>>, Error> {
        Ok(keys.iter().map(|key| self.results.borrow().get(key).cloned()).collect())
    }
    fn stored(&self, contents: &[Content]) -> Result<Vec<bool>, Error> {
        Ok(contents.iter().map(|content| self.store.borrow().contains(&content.digest)).collect())
    }
    fn last(&self, step: &str) -> Result<Option<LockedStep>, Error> {
        Ok(self.lock.borrow().get(step).cloned())
    }
    fn env(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn builtin_version(&self, step: &Step) -> Option<String> {
        matches!(step.action, Action::Sql { .. }).then(|| "sql/1".to_owned())
    }
}

impl World {
    fn with(files: &[(&str, &str)]) -> Self {
        let world = Self::default();
        for (path, text) in files {
            world.write(path, text);
        }
        world
    }

    fn write(&self, path: &str, text: &str) {
        self.files.borrow_mut().insert(path.to_owned(), text.to_owned());
    }

    /// Carries a plan out as the scheduler does; returns the steps that ran.
    fn run(&self, dag: &Dag, selection: &Selection) -> BTreeSet<String> {
        let plan = plan(dag, self, selection, false).unwrap();
        let mut progress = Progress::default();
        let mut ran = BTreeSet::new();
        for planned in &plan.steps {
            let at = dag.position(&planned.step).unwrap();
            let now = decide(dag, at, self, &progress, false).unwrap();
            let allowed = match planned.decision {
                Decision::Unchanged => now.decision == Decision::Unchanged,
                Decision::Restore => now.decision == Decision::Restore,
                Decision::Run => now.decision != Decision::MayRun,
                Decision::MayRun => now.decision != Decision::MayRun && !now.reasons.is_empty(),
            };
            assert!(allowed, "planned {planned:?}, then decided {now:?}");
            let record = now.record.clone().unwrap();
            let mut outs = now.outs.clone();
            if now.decision == Decision::Run {
                ran.insert(now.step.clone());
                for out in &dag.nodes()[at].step.outs {
                    let text = produce(&record);
                    outs.insert(out.path.clone(), content(&text));
                    self.store.borrow_mut().insert(content(&text).digest);
                    TEXTS.with_borrow_mut(|texts| texts.insert(content(&text).digest, text.clone()));
                }
                let result = CachedStep {
                    step: now.step.clone(),
                    outs: outs.clone(),
                    run: RunId::from_entropy([0; 16]),
                    finished: tidemill_core::Timestamp::default(),
                    duration_ms: 0,
                };
                self.results.borrow_mut().insert(now.key.unwrap(), result);
            }
            for (path, content) in &outs {
                let text = TEXTS.with_borrow(|texts| texts[&content.digest].clone());
                self.write(path, &text);
            }
            progress.done(&now.step, &outs);
            self.lock.borrow_mut().insert(now.step.clone(), LockedStep { record, outs });
        }
        ran
    }
}

thread_local! {
    static TEXTS: RefCell<BTreeMap<Digest, String>> = const { RefCell::new(BTreeMap::new()) };
}

/// What a step writes: everything it read, or only the parity of it where the command says so, which makes early
/// cutoff happen.
fn produce(record: &ActionRecord) -> String {
    let deps: Vec<String> = record.deps.values().map(|content| content.digest.hex()).collect();
    let text = format!("{:?} {:?} {}", record.action, record.params, deps.join(" "));
    let coarse = matches!(&record.action, crate::ActionText::Run(command) if command.contains("coarse"));
    if coarse { format!("{}", Digest::of(text.as_bytes()).as_bytes()[0] % 2) } else { text }
}

#[derive(Clone, Debug)]
enum Edit {
    Source { file: usize, version: u8 },
    Command { step: usize, version: u8, coarse: bool },
    Param { step: usize, version: u8 },
    DropOut { step: usize },
    SpoilOut { step: usize },
    Touch,
    ForgetStore { step: usize },
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        4 => (0..4_usize, 0..3_u8).prop_map(|(file, version)| Edit::Source { file, version }),
        2 => (0..8_usize, 0..3_u8, any::<bool>())
            .prop_map(|(step, version, coarse)| Edit::Command { step, version, coarse }),
        2 => (0..8_usize, 0..3_u8).prop_map(|(step, version)| Edit::Param { step, version }),
        1 => (0..8_usize).prop_map(|step| Edit::DropOut { step }),
        1 => (0..8_usize).prop_map(|step| Edit::SpoilOut { step }),
        1 => Just(Edit::Touch),
        1 => (0..8_usize).prop_map(|step| Edit::ForgetStore { step }),
    ];
    prop::collection::vec(edit, 1..12)
}

/// For each step: which sources (bits) and which earlier steps (bits) it reads.
fn graphs() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0..16_u8, any::<u8>()), 1..8)
}

fn steps_of(graph: &[(u8, u8)]) -> Vec<Step> {
    let make = |(at, (sources, needs)): (usize, &(u8, u8))| {
        let sources = (0..4).filter(|bit| sources >> bit & 1 == 1).map(|bit| format!("src/{bit}"));
        let needs = (0..at).filter(|bit| needs >> bit & 1 == 1).map(|bit| format!("out/{bit}"));
        let deps: Vec<String> = sources.chain(needs).collect();
        let deps: Vec<&str> = deps.iter().map(String::as_str).collect();
        step(&format!("s{at}"), &deps, &[&format!("out/{at}")])
    };
    graph.iter().enumerate().map(make).collect()
}

/// The naive model: runs everything in its head, and counts as "ran" what it never saw before.
#[derive(Default)]
struct Model {
    seen: BTreeMap<String, String>,
}

impl Model {
    /// What must run, given the sources; `lost` are result texts that are neither stored nor in place any more.
    fn run(&mut self, steps: &[Step], world: &World) -> BTreeSet<String> {
        let mut outs: BTreeMap<String, String> = BTreeMap::new();
        let mut ran = BTreeSet::new();
        for step in steps {
            let texts: Vec<String> = step
                .deps
                .iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .map(|dep| outs.get(dep).cloned().unwrap_or_else(|| world.files.borrow()[dep].clone()))
                .collect();
            let identity = format!("{:?} {:?} {:?} {texts:?}", step.name, step.action, step.params);
            let out = &step.outs[0].path;
            let available = self.seen.get(&identity).filter(|text| {
                let there = world.files.borrow().get(out) == Some(*text);
                there || world.store.borrow().contains(&content(text).digest)
            });
            let text = if let Some(text) = available {
                text.clone()
            } else {
                ran.insert(step.name.clone());
                let deps = step.deps.iter().collect::<BTreeSet<_>>();
                let deps = deps.into_iter().cloned().zip(texts.iter().map(|text| content(text))).collect();
                produce(&ActionRecord::new(step, deps, None, &|_| None))
            };
            self.seen.insert(identity, text.clone());
            outs.insert(out.clone(), text);
        }
        ran
    }
}

fn apply(edit: &Edit, steps: &mut [Step], world: &World) {
    let count = steps.len();
    match edit {
        Edit::Source { file, version } => world.write(&format!("src/{file}"), &format!("version {version}")),
        Edit::Command { step, version, coarse } => {
            let kind = if *coarse { "coarse" } else { "fine" };
            steps[step % count].action = Action::Run { command: format!("{kind} {version}") };
        }
        Edit::Param { step, version } => {
            steps[step % count].params.insert("p".to_owned(), json!(version));
        }
        Edit::DropOut { step } => {
            world.files.borrow_mut().remove(&format!("out/{}", step % count));
        }
        Edit::SpoilOut { step } => world.write(&format!("out/{}", step % count), "spoilt"),
        Edit::Touch => {}
        Edit::ForgetStore { step } => {
            let text = world.files.borrow().get(&format!("out/{}", step % count)).cloned();
            if let Some(text) = text {
                world.store.borrow_mut().remove(&content(&text).digest);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn exactly_the_steps_that_an_edit_reaches_run(graph in graphs(), edits in edits()) {
        let mut steps = steps_of(&graph);
        let world = World::with(&[("src/0", "a"), ("src/1", "b"), ("src/2", "c"), ("src/3", "d")]);
        let mut model = Model::default();
        let first = world.run(&Dag::new(&steps).unwrap(), &Selection::default());
        prop_assert_eq!(first, model.run(&steps, &World::with(&[("src/0", "a"), ("src/1", "b"), ("src/2", "c"), ("src/3", "d")])));
        for edit in &edits {
            apply(edit, &mut steps, &world);
            let dag = Dag::new(&steps).unwrap();
            let expected = model.run(&steps, &world);
            prop_assert_eq!(world.run(&dag, &Selection::default()), expected, "{:?}", edit);
            // Once more: nothing to do.
            let again = plan(&dag, &world, &Selection::default(), false).unwrap();
            prop_assert!(again.is_up_to_date(), "{:?}", again);
        }
    }

    #[test]
    fn going_back_restores_without_running(graph in graphs(), file in 0..4_usize) {
        let steps = steps_of(&graph);
        let dag = Dag::new(&steps).unwrap();
        let world = World::with(&[("src/0", "a"), ("src/1", "b"), ("src/2", "c"), ("src/3", "d")]);
        world.run(&dag, &Selection::default());
        let before = world.files.borrow().clone();
        world.write(&format!("src/{file}"), "changed");
        world.run(&dag, &Selection::default());
        world.files.borrow_mut().insert(format!("src/{file}"), before[&format!("src/{file}")].clone());
        prop_assert_eq!(world.run(&dag, &Selection::default()), BTreeSet::new());
        prop_assert_eq!(&*world.files.borrow(), &before);
    }
}

/// A project of three steps in a chain that has run once.
fn chain() -> (Vec<Step>, World) {
    let mut steps = vec![
        sql("features", "sql/f.sql", &["data/*.csv"], "features.parquet"),
        step("train", &["features.parquet", "train.py"], &["model"]),
        step("report", &["model"], &["report.html"]),
    ];
    steps[0].params.insert("from".to_owned(), json!("2013-01-01"));
    let world = World::with(&[
        ("sql/f.sql", "select 1"),
        ("data/1.csv", "1"),
        ("data/2.csv", "2"),
        ("train.py", "fit"),
    ]);
    world.run(&Dag::new(&steps).unwrap(), &Selection::default());
    (steps, world)
}

fn described(plan: &Plan) -> Vec<String> {
    let line = |planned: &Planned| {
        let reasons: Vec<String> = planned.reasons.iter().map(ToString::to_string).collect();
        format!("{}: {:?}, {}", planned.step, planned.decision, reasons.join("; "))
    };
    plan.steps.iter().map(line).collect()
}

type Change = fn(&mut Vec<Step>, &World);

#[test]
fn reasons_are_in_words() {
    let may = |steps: &str| format!("MayRun, depends on the outcome of {steps}");
    let (same, after_features, after_train) =
        ("Unchanged, up to date".to_owned(), may("`features`"), may("`train`"));
    let cases: [(Change, [&str; 3]); 12] = [
        (|_, _| (), [&same, &same, &same]),
        (
            |_, world| world.write("sql/f.sql", "select 2"),
            ["Run, `sql/f.sql` changed", &after_features, &after_train],
        ),
        (
            |_, world| world.write("data/3.csv", "3"),
            ["Run, `data/3.csv` is new", &after_features, &after_train],
        ),
        (
            |_, world| drop(world.files.borrow_mut().remove("data/2.csv")),
            ["Run, `data/2.csv` is no longer read", &after_features, &after_train],
        ),
        (
            |steps, _| drop(steps[0].params.insert("from".to_owned(), json!("2013-02-01"))),
            ["Run, parameter `from` changed 2013-01-01 → 2013-02-01", &after_features, &after_train],
        ),
        (
            |steps, _| steps[1].action = Action::Run { command: "other".to_owned() },
            [&same, "Run, command changed", &after_train],
        ),
        (
            |_, world| drop(world.files.borrow_mut().remove("model")),
            [&same, "Restore, output `model` is missing", &same],
        ),
        (|_, world| world.write("model", "by hand"), [&same, "Restore, output `model` was modified", &same]),
        (
            |_, world| {
                world.files.borrow_mut().remove("model");
                world.store.borrow_mut().clear();
            },
            [&same, "Run, output `model` is missing; output `model` is no longer in the store", &after_train],
        ),
        (|_, world| drop(world.lock.borrow_mut().remove("train")), [&same, &same, &same]),
        (
            |_, world| {
                world.lock.borrow_mut().clear();
                world.results.borrow_mut().clear();
            },
            [
                "Run, never run",
                "Run, never run; depends on the outcome of `features`",
                "Run, never run; depends on the outcome of `train`",
            ],
        ),
        (
            |steps, world| {
                world.write("train.py", "fit better");
                world.run(&Dag::new(steps).unwrap(), &Selection::default());
                world.write("train.py", "fit");
            },
            [
                &same,
                "Restore, `train.py` changed; an earlier run had the same inputs",
                "Restore, `model` changed; an earlier run had the same inputs",
            ],
        ),
    ];
    for (at, (change, expected)) in cases.into_iter().enumerate() {
        let (mut steps, world) = chain();
        change(&mut steps, &world);
        let plan = plan(&Dag::new(&steps).unwrap(), &world, &Selection::default(), false).unwrap();
        let expected: Vec<String> = ["features", "train", "report"]
            .iter()
            .zip(expected)
            .map(|(step, text)| format!("{step}: {text}"))
            .collect();
        assert_eq!(described(&plan), expected, "case {at}");
    }
}

#[test]
fn force_runs_what_is_up_to_date() {
    let (steps, world) = chain();
    let selection = Selection { steps: vec!["train".to_owned()], downstream: false };
    let plan = plan(&Dag::new(&steps).unwrap(), &world, &selection, true).unwrap();
    let expected = ["features: Run, forced", "train: Run, forced; depends on the outcome of `features`"];
    assert_eq!(described(&plan), expected);
}

#[test]
fn missing_dependencies_are_named_before_anything_runs() {
    let world = World::with(&[("data/flights.csv", "x")]);
    let steps = [
        step("a", &["data/flihgts.csv"], &["features.parquet"]),
        step("b", &["feature.parquet", "raw/*.csv"], &["b.txt"]),
    ];
    let error = plan(&Dag::new(&steps).unwrap(), &world, &Selection::default(), false).unwrap_err();
    let Error::Graph(problems) = error else { panic!("{error}") };
    let found: Vec<(String, Option<&str>)> =
        problems.iter().map(|problem| (problem.to_string(), problem.hint.as_deref())).collect();
    let no_match = "check the pattern and the folder it names; `*` does not match `/`";
    let expected = [
        (
            "step `a` (line 1): it reads `data/flihgts.csv`, which does not exist and is written by no step",
            "did you mean `data/flights.csv`?",
        ),
        (
            "step `b` (line 1): it reads `feature.parquet`, which does not exist and is written by no step",
            "did you mean `features.parquet`?",
        ),
        ("step `b` (line 1): no file matches `raw/*.csv`, which it reads", no_match),
    ];
    let expected: Vec<(String, Option<&str>)> =
        expected.iter().map(|(message, hint)| ((*message).to_owned(), Some(*hint))).collect();
    assert_eq!(found, expected);
}
