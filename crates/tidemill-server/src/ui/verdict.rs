//! The verdict of a rollout's judge in pictures and numbers: cones, evidence, and whether requests fell as planned.

use tidemill_core::Timestamp;
use tidemill_db::delivery::RolloutTransition;
use tidemill_deliver::judge::{
    AGREEMENT, Cone as Verdict, Course, Decision, MetricView, Reading, SCORES_APART, Standing,
};
use tidemill_deliver::outcome::{COST, KPI, PAIRED_COST};
use tidemill_deliver::rollout::Plan;
use tidemill_ui::chart::{Cone, ConeLimit, ConePoint, LineChart, Series};
use tidemill_ui::{Badge, Block, Cell, Empty, Figure, Section, Table, Tone, count, moment, number};

use super::ask::Ask;
use super::words::long;

/// In which unit the time axis of a rollout is.
struct Clock {
    from: Timestamp,
    unit: &'static str,
    millis: f64,
}

impl Clock {
    fn of(from: Timestamp, until: Timestamp) -> Self {
        let (unit, millis) = match until.since(from).as_secs() {
            0..600 => ("s", 1_000.0),
            600..36_000 => ("min", 60_000.0),
            36_000..864_000 => ("h", 3_600_000.0),
            _ => ("d", 86_400_000.0),
        };
        Self { from, unit, millis }
    }

    fn place(&self, at: Timestamp) -> f64 {
        (at.millis() - self.from.millis()) as f64 / self.millis
    }

    fn label(&self) -> String {
        format!("time since the rollout began ({})", self.unit)
    }
}

/// How a metric stands.
pub(super) fn standing_badge(standing: Standing) -> Badge {
    match standing {
        Standing::NoData => Badge::new(Tone::Plain, "nothing seen"),
        Standing::Open => Badge::new(Tone::Busy, "open"),
        Standing::Certified => Badge::new(Tone::Good, "safe"),
        Standing::Harmful => Badge::new(Tone::Bad, "harmful"),
    }
}

/// Of whom a verdict is, where there are several: the number of the candidate, from 1, and its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) number: usize,
    pub(super) name: &'a str,
}

/// What is put behind the names of sections and tables to tell those of candidates apart.
fn suffix(about: Option<About<'_>>) -> String {
    about.map(|about| format!("_{}", about.number)).unwrap_or_default()
}

/// Everything about the verdict on a candidate; the phases are where stages changed.
pub(super) fn sections(
    ask: &Ask,
    (cone, is_whole): (&Verdict, bool),
    units: &Units,
    about: Option<About<'_>>,
    began: Timestamp,
    phases: &[RolloutTransition],
) -> Vec<Block> {
    let courses = cone.courses();
    let (end, of) = (suffix(about), about.map(|about| format!(" on {}", about.name)).unwrap_or_default());
    let last = courses.iter().filter_map(|course| course.readings.last()).map(|reading| reading.at).max();
    let clock = Clock::of(began, last.unwrap_or(began));
    let mut figures = Vec::new();
    for (at, course) in courses.iter().enumerate() {
        figures.push(figure(at, course, (&clock, units), phases, &end));
        // Of several candidates each has its cones; the evidence stands in their tables.
        if about.is_none() {
            figures.push(evidence(at, course, &clock));
        }
    }
    let numbers = vec![Block::Table(table(ask, &courses, units, &end))];
    let mut section = Section::new(format!("verdict{end}"), format!("Verdict{of}"), numbers).note(
        "Harm is proven where the whole interval is above what is tolerated, safety where it is below what is rejected. The \
            interval holds at every look at once, so looking often costs nothing.",
    );
    if !is_whole {
        section.blocks.push(Block::Text(
            "There is more to read than one look at this page takes; it goes on by itself.".into(),
        ));
    }
    let seen = courses.iter().any(|course| !course.readings.is_empty());
    if seen {
        section.blocks.push(Block::Figures(figures));
    } else {
        section.blocks.push(Block::Empty(Empty::new(
            "The judge has seen nothing yet",
            "Looks begin with the first request that candidate or incumbent answers while the rollout is in a stage.",
        )));
    }
    let slices = slices(cone, (&end, &of)).map(Block::Section);
    let split = Block::Section(split(cone, (&end, &of)));
    [Block::Section(section)].into_iter().chain(slices).chain([split]).collect()
}

/// Slices that are judged, those with the most evidence of harm first; none where nobody wants any.
fn slices(cone: &Verdict, (end, of): (&str, &str)) -> Option<Section> {
    let judge = cone.judge();
    let limits = judge.spec().slices.as_ref()?;
    let views = MetricView::of_slices(judge.view());
    let rows = views.iter().map(|view| {
        vec![
            Cell::text(view.metric.clone()),
            Cell::text(view.slice.as_ref().map(ToString::to_string).unwrap_or_default()),
            Cell::Badge(standing_badge(view.standing)),
            Cell::Count(view.candidate),
            Cell::Count(view.baseline),
            view.harm.map_or(Cell::None, Cell::Number),
            Cell::Text(format!("{:.0} %", (100.0 * view.harm_proven()).clamp(0.0, 100.0))),
        ]
    });
    let columns = ["metric", "slice", "state", "candidate", "incumbent", "harm", "harm proven"];
    let table =
        Table::new(format!("slices{end}"), "Slices of the judge", &columns).with(rows).or(Empty::new(
            "No slice has had enough requests yet",
            format!(
                "A slice is judged when candidate and incumbent have answered {} requests of it each.",
                count(limits.min_samples)
            ),
        ));
    let note = "Slices only look for harm, with half of the error budget; advancing does not wait for proof of each.";
    let title = format!("Slices{of}");
    Some(Section::new(format!("slices{end}"), title, vec![Block::Table(table)]).note(note))
}

/// In what harm is counted, beside ratios.
#[derive(Clone, Debug, Default)]
pub(super) struct Units {
    money: Option<String>,
    kpi: Option<String>,
}

impl Units {
    /// Of what a plan measures; what the business number is in says the project of this server, where it is the same number.
    pub(super) fn of(ask: &Ask, plan: &Plan) -> Self {
        let measures = plan.measures.as_ref();
        let money = measures.and_then(|measures| measures.costs.as_ref()?.currency.clone());
        let name = measures.and_then(|measures| measures.kpi.as_deref());
        let about = ask.app.config().about.as_ref();
        let kpi = about.and_then(|about| about.objective.as_ref()?.kpi.as_ref());
        let kpi = kpi.filter(|kpi| name == Some(kpi.name.as_str())).and_then(|kpi| kpi.unit.clone());
        Self { money, kpi }
    }

    fn text(&self, course: &Course) -> String {
        if course.is_ratio {
            return "ratio, candidate : incumbent".to_owned();
        }
        let money = self.money.as_deref().unwrap_or("units of the cost matrix");
        match course.now.metric.as_str() {
            COST | PAIRED_COST => format!("{money} more a decision"),
            KPI => match &self.kpi {
                Some(unit) => format!("harm, {unit} a request"),
                None => "harm a request".to_owned(),
            },
            AGREEMENT => "share decided otherwise".to_owned(),
            SCORES_APART => "difference of scores".to_owned(),
            _ => "harm, in the metric's unit".to_owned(),
        }
    }
}

fn figure(
    at: usize,
    course: &Course,
    (clock, units): (&Clock, &Units),
    phases: &[RolloutTransition],
    end: &str,
) -> Figure {
    let points = course.readings.iter().map(|reading| ConePoint {
        x: clock.place(reading.at),
        value: reading.harm,
        low: reading.low,
        high: reading.high,
    });
    let limit = |name: &str, value: Option<f64>, tone| {
        value.map(|value| ConeLimit { name: name.into(), value, tone })
    };
    let limits = [limit("tolerate", course.tolerate, Tone::Warn), limit("reject", course.reject, Tone::Bad)];
    let forecast = course.forecast.as_ref().and_then(|forecast| {
        let word = if forecast.decision == Decision::Rollback { "harm" } else { "safe" };
        Some((clock.place(forecast.at?), format!("{word} ≈ {}", moment(forecast.at?).get(5..16)?)))
    });
    let marks = phases.iter().map(|phase| (clock.place(phase.at), phase.to.clone()));
    let picture = Cone {
        title: format!("Verdict on {}", course.now.metric),
        x: clock.label(),
        y: units.text(course),
        points: points.collect(),
        limits: limits.into_iter().flatten().collect(),
        none: if course.is_ratio { 1.0 } else { 0.0 },
        least: course.is_ratio.then_some(0.0),
        forecast,
        marks: marks.collect(),
    };
    let columns = ["at", "looks", "candidate", "incumbent", "harm", "low", "high", "ln_harm", "ln_safe"];
    let cell = |value: Option<f64>| value.map_or(Cell::None, Cell::Number);
    let rows = course.readings.iter().map(|reading| {
        vec![
            Cell::Time(reading.at, None),
            Cell::Count(reading.looks),
            Cell::Count(reading.candidate),
            Cell::Count(reading.baseline),
            cell(reading.harm),
            cell(reading.low),
            cell(reading.high),
            Cell::Number(reading.ln_harm),
            Cell::Number(reading.ln_safe),
        ]
    });
    let table =
        Table::new(format!("cone_{at}{end}"), format!("Looks at {}", course.now.metric), &columns).with(rows);
    Figure {
        id: format!("cone-{at}{end}"),
        title: format!("{}: estimate and interval", course.now.metric),
        note: note(course),
        picture: picture.draw(),
        table,
        ..Figure::default()
    }
}

/// What should be known to read a cone.
fn note(course: &Course) -> String {
    let last = course.readings.last();
    let open = last.is_some_and(|reading| reading.high.is_none() || reading.harm.is_none());
    match (course.now.standing, last) {
        (_, None) => "Nothing was seen yet.".into(),
        (Standing::Certified, Some(last))
            if last.high.zip(course.reject).is_none_or(|(high, reject)| high > reject) =>
        {
            "It is safe because the candidate's rate alone is proven to be negligible; the ratio stays open."
                .into()
        }
        _ if open => "Without such an event at the incumbent there is no ratio to estimate yet.".into(),
        _ => String::new(),
    }
}

fn evidence(at: usize, course: &Course, clock: &Clock) -> Figure {
    let series = |name: &str, pick: fn(&Reading) -> f64| Series {
        name: name.into(),
        points: course
            .readings
            .iter()
            .map(|reading| (clock.place(reading.at), pick(reading).max(0.0)))
            .collect(),
    };
    let ends = || course.readings.first().into_iter().chain(course.readings.last());
    let needed = |name: &str, value: f64| Series {
        name: name.into(),
        points: ends().map(|reading| (clock.place(reading.at), value)).collect(),
    };
    let chart = LineChart {
        title: format!("Evidence on {}", course.now.metric),
        x: clock.label(),
        y: "evidence (natural logarithm)".into(),
        series: vec![
            series("of safety", |reading| reading.ln_safe),
            series("of harm", |reading| reading.ln_harm.min(1e6)),
            needed("safe from here", course.now.ln_safe_needed),
            needed("harm from here", course.now.ln_harm_needed),
        ],
        size: (560.0, 290.0),
        ..LineChart::default()
    };
    let rows = course.readings.iter().map(|reading| {
        let numbers =
            [reading.ln_safe, course.now.ln_safe_needed, reading.ln_harm, course.now.ln_harm_needed];
        std::iter::once(Cell::Time(reading.at, None)).chain(numbers.map(Cell::Number)).collect()
    });
    let columns = ["at", "of safety", "safe from here", "of harm", "harm from here"];
    Figure {
        id: format!("evidence-{at}"),
        title: format!("{}: evidence", course.now.metric),
        note: "Each curve is the largest evidence so far; the flat lines are what is needed.".into(),
        picture: chart.draw(),
        table: Table::new(format!("evidence_{at}"), format!("Evidence on {}", course.now.metric), &columns)
            .with(rows),
        ..Figure::default()
    }
}

fn table(ask: &Ask, courses: &[Course], units: &Units, end: &str) -> Table {
    let cell = |value: Option<f64>| value.map_or(Cell::None, Cell::Number);
    let part = |have: f64, need: f64| Cell::Text(format!("{:.0} %", (100.0 * have / need).clamp(0.0, 100.0)));
    let rows = courses.iter().map(|course| {
        let (now, last) = (&course.now, course.readings.last());
        vec![
            Cell::text(now.metric.clone()),
            Cell::Badge(standing_badge(now.standing)),
            Cell::Count(now.candidate),
            Cell::Count(now.baseline),
            cell(now.harm),
            cell(last.and_then(|last| last.low)),
            cell(last.and_then(|last| last.high)),
            cell(course.tolerate),
            cell(course.reject),
            part(now.ln_harm, now.ln_harm_needed),
            part(now.ln_safe, now.ln_safe_needed),
            Cell::text(forecast(ask, course)),
            if course.is_ratio { Cell::text("ratio") } else { Cell::Text(units.text(course)) },
        ]
    });
    let columns = [
        "metric",
        "state",
        "candidate",
        "incumbent",
        "harm",
        "at least",
        "at most",
        "tolerate",
        "reject",
        "harm proven",
        "safety proven",
        "decided",
        "unit of harm",
    ];
    Table::new(format!("metrics{end}"), "Metrics of the judge", &columns).with(rows)
}

/// When a metric will be decided, in words.
fn forecast(ask: &Ask, course: &Course) -> String {
    match (&course.forecast, course.now.standing) {
        (_, Standing::Certified | Standing::Harmful) => "it is".into(),
        (None, Standing::NoData) => "nothing seen yet".into(),
        (None, Standing::Open) => "not foreseeable from what was seen".into(),
        (Some(forecast), Standing::NoData | Standing::Open) => {
            let word = if forecast.decision == Decision::Rollback { "as harmful" } else { "as safe" };
            let requests = count(forecast.requests);
            match forecast.at.filter(|at| *at > ask.now) {
                Some(at) => {
                    let left = long(at.since(ask.now));
                    format!("{word} after {requests} more requests, in about {left}")
                }
                None => format!("{word} after {requests} more requests"),
            }
        }
    }
}

/// Whether requests fell to the arms as planned.
fn split(cone: &Verdict, (end, of): (&str, &str)) -> Section {
    let (ln_ratio, needed) = cone.ratio();
    let rows = cone.splits().iter().map(|split| {
        let both = split.candidate + split.baseline;
        let seen = if both > 0 { Cell::Number(split.candidate as f64 / both as f64) } else { Cell::None };
        vec![
            Cell::Text(format!("change {}", split.stratum)),
            Cell::Number(split.share),
            seen,
            Cell::Count(split.candidate),
            Cell::Count(split.baseline),
        ]
    });
    let columns = ["traffic", "planned share", "seen share", "candidate", "incumbent"];
    let table = Table::new(format!("split{end}"), "Requests by arm, or keys where they are kept together", &columns).with(rows).or(Empty::new(
        "No split to check",
        "Shares are compared while candidate and incumbent both answer: those of requests, or of keys where a sticky key keeps requests together.",
    ));
    let badge = if ln_ratio >= needed {
        Badge::new(Tone::Bad, "not as planned: no comparison can be trusted")
    } else {
        Badge::new(
            Tone::Good,
            format!(
                "as planned (evidence against it {} of {})",
                number(ln_ratio.max(0.0).round()),
                number(needed.round())
            ),
        )
    };
    let shown = if cone.splits().is_empty() {
        Vec::new()
    } else {
        vec![Block::Facts(
            tidemill_ui::Facts::new(format!("ratio{end}")).with("Split of requests", Cell::Badge(badge)),
        )]
    };
    Section::new(format!("ratio{end}"), format!("Sample ratio{of}"), [shown, vec![Block::Table(table)]].concat())
        .note("Candidate and incumbent must get the shares of requests that the plan gives them, or their metrics are of different requests.")
}

/// The numbers of a moment: what every metric was at the last look until then.
pub(super) fn at_moment(courses: &[Course], at: Timestamp) -> String {
    let texts = courses.iter().filter_map(|course| {
        let reading = course.readings.iter().rev().find(|reading| reading.at <= at)?;
        let end = |value: Option<f64>, none: &str| value.map_or_else(|| none.to_owned(), number);
        let harm = reading.harm.map_or_else(|| "unknown".to_owned(), number);
        Some(format!(
            "{} {harm} [{}, {}] of {} and {}",
            course.now.metric,
            end(reading.low, "−∞"),
            end(reading.high, "∞"),
            count(reading.candidate),
            count(reading.baseline),
        ))
    });
    texts.collect::<Vec<_>>().join("; ")
}
