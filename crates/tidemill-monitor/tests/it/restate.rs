//! Windows whose outcomes came after they were judged.

use std::time::Duration;

use tidemill_core::Timestamp;
use tidemill_core::declare::Objective;
use tidemill_monitor::alert::{Change, Phase};
use tidemill_monitor::window::Window;
use tidemill_monitor::{
    Again, AnsweredBy, Exposure, Kind, Labels, Memory, Monitor, QualitySeen, Seen, State, Verdict, Watch,
    judge, restate, turn,
};

const FILE: &str = "project: flights
objective:
  task: {kind: classification, target: late, positive: 1}
  kpi: {name: money, better: lower}
  costs: {currency: EUR, false_negative: 120, false_positive: 15}
monitors:
  - quality: {metric: accuracy, min: 0.7, outcomes: {delay: 12h}}
  - kpi: {name: money, restate: 7d}
  - drift: {window: 1d}
";

fn series(name: &str) -> (Watch, Option<Objective>) {
    let project = tidemill_project::parse(FILE, "tidemill.yaml").unwrap();
    let declared = tidemill_monitor::Declaration {
        project: "flights".to_owned(),
        endpoint: "late".to_owned(),
        objective: project.objective,
        monitors: project.monitors,
        receivers: Vec::new(),
        redact: Vec::new(),
    };
    let watch = declared.watches().into_iter().find(|watch| watch.id == name).unwrap();
    (watch, declared.objective)
}

fn day(number: i64) -> Window {
    Window::containing(Timestamp::from_millis(number * 86_400_000), Duration::from_secs(86_400))
}

fn exposure() -> Exposure {
    Exposure { decisions: 400, cost_per_decision: Some(1.0) }
}

/// So many labels of 400 predictions, of which so many were answered rightly.
fn labelled(labels: usize, right: usize) -> Seen {
    let positive: Vec<bool> = (0..labels).map(|row| row % 2 == 0).collect();
    let said = positive.iter().enumerate().map(|(row, truth)| *truth == (row < right)).collect();
    Seen::Quality(QualitySeen {
        predictions: 400,
        labels: Labels::Classes { scores: vec![0.5; labels], positive, said },
        estimated: None,
        version: Some(("late".to_owned(), "1".to_owned())),
    })
}

fn money(mean: f64, outcomes: u64) -> Seen {
    Seen::Kpi(vec![AnsweredBy {
        model: "late".to_owned(),
        version: "1".to_owned(),
        sum: mean * outcomes as f64,
        outcomes,
    }])
}

/// A series in which every window was judged, and those of them that are judged again.
struct Story {
    watch: Watch,
    objective: Option<Objective>,
    memory: Memory,
    verdicts: Vec<Verdict>,
}

impl Story {
    fn new(name: &str) -> Self {
        let (watch, objective) = series(name);
        Self { watch, objective, memory: Memory::default(), verdicts: Vec::new() }
    }

    /// The next day.
    fn judge(&mut self, seen: &Seen) -> Option<Change> {
        let window = day(self.verdicts.len() as i64);
        let found = judge(&self.watch, &self.memory, window, seen, self.objective.as_ref(), exposure());
        self.memory = found.memory;
        self.verdicts.push(found.verdict);
        found.change
    }

    /// A day again; what became of it and of the alert.
    fn restate(&mut self, number: usize, seen: &Seen) -> Option<(State, Option<Change>)> {
        let again = Again {
            watch: &self.watch,
            window: day(number as i64),
            seen,
            objective: self.objective.as_ref(),
            exposure: exposure(),
            before: &self.verdicts[number],
            judged_at: day(number as i64 + 1).to,
            at: day(20).from,
        };
        let mut verdict = restate(&mut self.memory, &again)?;
        let mut states: Vec<(State, Window)> =
            (0..).zip(&self.verdicts).map(|(number, verdict)| (verdict.counts(), day(number))).collect();
        states[number].0 = verdict.counts();
        let change = turn(&mut self.memory, &states, self.watch.hold(), &mut [&mut verdict]);
        let text = serde_json::to_string(&verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
        let state = verdict.state;
        self.verdicts[number] = verdict;
        Some((state, change))
    }
}

#[test]
fn late_labels_restate_a_window_and_its_alert_follows_once() {
    let mut story = Story::new("quality:accuracy");
    assert_eq!(story.judge(&labelled(60, 30)), Some(Change::Firing));
    assert_eq!(story.restate(0, &labelled(60, 30)), None, "it is the same");
    assert_eq!(story.restate(0, &labelled(55, 50)), None, "labels that are gone say nothing anew");
    assert_eq!(story.restate(0, &labelled(200, 180)), Some((State::Ok, Some(Change::Resolved))));
    let verdict = &story.verdicts[0];
    assert!(
        verdict.why.contains("200 of 400 predictions have a label (50.0 %)")
            && verdict.why.ends_with("restated: at first broken with 0.5000 by 60 outcomes"),
        "{}",
        verdict.why
    );
    let restated = verdict.restated.unwrap();
    assert_eq!((restated.first.state, restated.first.outcomes, restated.times), (State::Broken, 60, 1));
    assert_eq!((restated.first.at, restated.at), (day(1).to, day(20).from));
    // What the window cost is counted as it is now, and once.
    let releases = story.memory.releases.in_order();
    assert_eq!(releases.iter().map(|release| release.answered.outcomes).collect::<Vec<_>>(), [200]);
    // It wavers: figures follow, the alert does not.
    assert_eq!(story.restate(0, &labelled(400, 200)), Some((State::Broken, None)));
    let restated = story.verdicts[0].restated.unwrap();
    assert_eq!((restated.times, restated.first.outcomes, restated.before.outcomes), (2, 60, 200));
    assert_eq!(story.memory.phase, Phase::Quiet);
    let ago = story.memory.restated.as_ref().unwrap();
    assert_eq!((ago.window, ago.times), (day(0), 2));
    // The next window speaks for itself.
    assert_eq!(story.judge(&labelled(400, 200)), Some(Change::Firing));
}

#[test]
fn an_alert_is_about_how_it_stands_now() {
    let mut story = Story::new("quality:accuracy");
    for labels in [100, 20, 100] {
        assert_eq!(story.judge(&labelled(labels, labels * 9 / 10)), None);
    }
    // The past was bad, and is over.
    assert_eq!(story.restate(0, &labelled(300, 100)), Some((State::Broken, None)));
    // A window of which nothing could be said, between good ones.
    assert_eq!(story.restate(1, &labelled(300, 100)), Some((State::Broken, None)));
    // The last one.
    assert_eq!(story.restate(2, &labelled(300, 100)), Some((State::Broken, Some(Change::Firing))));
    assert!(matches!(story.memory.phase, Phase::Firing { .. }));
    // What fired before the windows that are looked at goes on.
    let mut memory = story.memory.clone();
    assert_eq!(turn(&mut memory, &[(State::NoData, day(9))], Duration::ZERO, &mut []), None);
    assert!(matches!(memory.phase, Phase::Firing { .. }));
}

#[test]
fn a_business_number_is_restated_by_the_windows_before_it() {
    let mut story = Story::new("kpi:money");
    for number in 0..8_u32 {
        story.judge(&money(5.0 + f64::from(number % 3) / 10.0, 40));
    }
    let sum = |story: &Story| {
        let releases = story.memory.releases.in_order();
        (releases[0].answered.sum, releases[0].answered.outcomes)
    };
    let (before, outcomes) = sum(&story);
    assert_eq!(outcomes, 320);
    let mean = 5.0 + f64::from(6_u32 % 3) / 10.0;
    assert_eq!(story.restate(6, &money(9.0, 60)), Some((State::Broken, None)));
    assert!(story.verdicts[6].why.contains("restated: at first ok with 5.0000 by 40 outcomes"));
    let (after, outcomes) = sum(&story);
    assert!((after - (before - mean * 40.0 + 540.0)).abs() < 1e-9 && outcomes == 340, "{after} {before}");
    // The last window turns the alert, and one bad window does not become what is usual.
    assert_eq!(story.restate(7, &money(9.0, 60)), Some((State::Broken, Some(Change::Firing))));
    assert_eq!(story.judge(&money(9.0, 60)), None, "it fires already");
    assert_eq!(story.verdicts[8].state, State::Broken, "{}", story.verdicts[8].why);
}

#[test]
fn how_long_windows_are_judged_again_is_declared() {
    let days = |name: &str| series(name).0.restates().map(|length| length.as_secs() / 86_400);
    assert_eq!((days("quality:accuracy"), days("kpi:money"), days("drift")), (Some(30), Some(7), None));
    let mut never = series("quality:accuracy").0;
    let Kind::Monitor(Monitor::Quality(rule)) = &mut never.kind else { panic!() };
    rule.restate = Some(tidemill_project::Period(Duration::ZERO));
    assert_eq!(never.restates(), None);
}
