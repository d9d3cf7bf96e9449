//! Release and monitors.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemill_core::declare::{MOST_SLICED, Metric};
use tidemill_core::{Name, did_you_mean};

use super::path::clean;
use super::{Check, metric_named};
use crate::node::{Cursor, Span};
use crate::{
    AgreementLimits, AgreementOf, Approve, Canary, Champion, Detector, Envelope, GitRecord, Judge,
    JudgeLimits, JudgeMetric, JudgeWord, KpiMonitor, ModelTest, Monitor, Period, RateLimits, Receiver,
    Reference, Release, RequiredTests, Rollout, Route, Stage, StreamMonitor, StreamOf, Windows,
};

/// The most routes of a rollout; the endpoint's own rules have room beside them.
const MOST_ROUTES: usize = 16;
/// Windows of a season: hours of two weeks.
const MOST_OF_SEASON: u128 = 336;

fn is_header(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.bytes().all(is_part)
}

impl Check<'_> {
    pub(super) fn release(&mut self) {
        let Some(release) = &self.project.release else { return };
        let at = self.root().key("release");
        self.released_step(release, &at);
        self.required(release, &at.key("require"));
        if let Some(envelope) = &release.envelope {
            self.envelope(envelope, &at.key("envelope"));
        }
        if let Some(git) = &release.git {
            self.git_record(git, &at.key("git"));
        }
        let all = at.key("environments");
        if let Some(Champion::Of(environment)) = &release.champion {
            let declared = release.environments.keys().map(|known| known.as_str());
            self.known("environment", environment.as_str(), declared, &at.key("champion").span);
        }
        if release.environments.is_empty() {
            self.add(&all.key, "there are no environments", "at least one, for example `prod: {}`", None);
        }
        for (name, environment) in &release.environments {
            let at = all.key(name.as_str());
            if let Approve::People(people) = &environment.approve
                && people.by.trim().is_empty()
            {
                self.add(
                    &at.key("approve").key("by").span,
                    "the role is empty",
                    "a role such as `owner`",
                    None,
                );
            }
            if let Some(rollout) = &environment.rollout {
                self.rollout(rollout, &at.key("rollout"));
            }
            if let Some(envelope) = &environment.envelope {
                self.envelope(envelope, &at.key("envelope"));
            }
            if let Some(git) = &environment.git {
                self.git_record(git, &at.key("git"));
            }
        }
        let mut files = BTreeMap::new();
        for (name, environment) in &release.environments {
            let Some(git) = environment.git.as_ref().or(release.git.as_ref()) else { continue };
            let place = (git.branch.clone(), git.push.clone(), git.file(name));
            if let Some(other) = files.insert(place, name) {
                let message = format!("`{other}` and `{name}` are both written to `{}`", git.file(name));
                let hint = "let `path` contain `{environment}`".to_owned();
                self.add(&all.key(name.as_str()).key, message, "a file for each environment", Some(hint));
            }
        }
    }

    /// Tests that are asked for must be there.
    fn required(&mut self, release: &Release, at: &Cursor<'_>) {
        let project = self.project;
        for (i, tests) in release.require.iter().flatten().enumerate() {
            let (missing, where_from) = match tests {
                RequiredTests::ModelTests => (project.tests.is_empty(), "tests of the model below `tests:`"),
                RequiredTests::DataTests => {
                    (project.data.values().all(|data| data.expect.is_empty()), "expectations below `data:`")
                }
            };
            if missing {
                let message = "nothing can pass: the project declares none of these tests";
                self.add(&at.item(i).span, message, where_from, None);
            }
        }
    }

    fn git_record(&mut self, git: &GitRecord, at: &Cursor<'_>) {
        if let Some(wrong) = no_branch(&git.branch) {
            self.add(&at.key("branch").span, wrong, "a branch such as `main`", None);
        }
        let is_name =
            |name: &str| Name::new(name.replace('/', ".")).is_ok() && !name.contains("..") && name != ".";
        if let Some(remote) = git.push.as_ref().filter(|remote| !is_name(remote)) {
            let hint = "`git remote add NAME ADDRESS` gives an address a name".to_owned();
            let message = format!("`{remote}` is not the name of a remote");
            self.add(&at.key("push").span, message, "a name such as `origin`", Some(hint));
        }
        if let Some(path) = &git.path
            && let Err((message, hint)) = clean(path)
        {
            self.add(&at.key("path").span, message, "", hint);
        }
    }

    fn envelope(&mut self, envelope: &Envelope, at: &Cursor<'_>) {
        for (i, name) in envelope.data.iter().flatten().enumerate() {
            // Patterns and paths are of what only a run knows.
            if !name.contains(['*', '/', '.']) {
                let datasets = self.project.data.keys().map(|known| known.as_str());
                self.known("dataset", name, datasets, &at.key("data").item(i).span);
            }
        }
        for (name, between) in &envelope.params {
            self.bounds(between.min, between.max, &at.key("params").key(name));
        }
        for (name, between) in &envelope.metrics {
            let at = at.key("metrics").key(name);
            self.metric(name, &at.key);
            self.bounds(between.min, between.max, &at);
        }
        let is_measured = self.project.tests.iter().any(|test| matches!(test, ModelTest::Flips(_)));
        if envelope.flips.is_some() && !is_measured {
            let hint = "add `- flips: {max: 2%}` to `tests:`".to_owned();
            self.add(&at.key("flips").key, "no test measures flips", "", Some(hint));
        }
        if envelope.expires.is_some() && envelope.ends().is_none() {
            let expected = "a day such as `2027-06-01`, or a time such as `2027-06-01T12:00:00Z`";
            self.add(&at.key("expires").span, "the envelope ends at no time", expected, None);
        }
    }

    /// Which step's model a run registers must be plain before anything runs.
    fn released_step(&mut self, release: &Release, at: &Cursor<'_>) {
        let steps = &self.project.pipeline;
        if let Some(name) = &release.step {
            let span = &at.key("step").span;
            // The steps of a matrix have names that only resolving tells.
            let declared = name.split_once('@').map_or(name.as_str(), |(declared, _)| declared);
            self.known("step", declared, steps.keys().map(|known| known.as_str()), span);
            if steps.iter().any(|(known, step)| known.as_str() == declared && step.sql.is_some()) {
                let hint = "name the step that trains, or one with `run:` that writes the model".to_owned();
                self.add(span, format!("step `{name}` writes a table, not a model"), "", Some(hint));
            }
            return;
        }
        let trainings: Vec<&str> =
            steps.iter().filter(|(_, step)| step.train.is_some()).map(|(name, _)| name.as_str()).collect();
        if trainings.len() > 1 && !trainings.contains(&"train") {
            let named = trainings.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let hint = format!("say which: `release: {{model: {}, step: {}}}`", release.model, trainings[0]);
            let message = format!("{named} all train, and nothing says whose model is released");
            self.add(&at.key, message, "`step:` below `release:`", Some(hint));
        }
    }

    /// Each looks at one thing of a request, by a name that a request can have.
    fn routes(&mut self, routes: &[Route], at: &Cursor<'_>) {
        if routes.len() > MOST_ROUTES {
            let expected = format!("at most {MOST_ROUTES}");
            self.add(&at.span, format!("there are {} routes", routes.len()), &expected, None);
        }
        for (i, route) in routes.iter().enumerate() {
            let at = at.item(i);
            let hint = || Some("for example `{header: X-Preview, one_of: [on]}`".to_owned());
            match (&route.header, &route.input) {
                (Some(_), Some(_)) => {
                    self.add(&at.span, "a route by two things", "`header` or `input`", hint());
                }
                (None, None) => {
                    self.add(&at.span, "a route by nothing", "`header` or `input`", hint());
                }
                (Some(header), None) if !is_header(header) => {
                    let expected = "letters, digits, and `-` or `_`";
                    self.add(&at.key("header").span, "no header field has this name", expected, hint());
                }
                (None, Some(input)) if input.is_empty() => {
                    self.add(&at.key("input").span, "the name is empty", "an input of the model", None);
                }
                _ => {}
            }
        }
    }

    fn rollout(&mut self, rollout: &Rollout, at: &Cursor<'_>) {
        let stages = at.key("stages");
        if rollout.stages.is_empty() {
            self.add(&stages.span, "there are no stages", "at least `{full: {}}`", None);
        }
        let mut reached = 0.0;
        let rest = 1.0 - rollout.holdout.map_or(0.0, |holdout| holdout.0);
        if rest <= 0.0 {
            self.add(&at.key("holdout").span, "everybody is held out", "less than 100%", None);
        }
        for (i, stage) in rollout.stages.iter().enumerate() {
            let at = stages.item(i);
            let last = i + 1 == rollout.stages.len();
            match stage {
                Stage::Shadow(_) if reached > 0.0 => {
                    self.add(&at.span, "a shadow stage after a canary", "shadow stages first", None);
                }
                Stage::Shadow(_) => {}
                Stage::Canary(canary) => {
                    let share = canary.share().0;
                    if share <= reached || share >= rest {
                        let message = format!("a canary stage of {}%", share * 100.0);
                        let expected =
                            format!("more than {}% and less than {}%", reached * 100.0, rest * 100.0);
                        self.add(&at.key("canary").span, message, &expected, None);
                    }
                    reached = share;
                }
                Stage::Gate(people) if people.by.trim().is_empty() => {
                    let by = at.key("gate").key("by");
                    self.add(&by.span, "the role is empty", "a role such as `owner`", None);
                }
                Stage::Gate(_) => {}
                Stage::Full(_) if !last => {
                    self.add(&at.span, "stages after `full`", "`full` as the last stage", None);
                }
                Stage::Full(_) => {}
            }
        }
        self.routes(&rollout.routes, &at.key("routes"));
        if let Some(power) = &rollout.power {
            let at = at.key("power");
            if power.decide_within.0.is_zero() {
                self.add(&at.key("decide_within").span, "no time at all", "a length of time above 0", None);
            }
            if rollout.judge.is_none() {
                let hint = "add `judge:` beside `stages:`".to_owned();
                self.add(&at.key, "nothing decides here, so nothing can be late", "", Some(hint));
            }
        }
        if let Some(windows) = &rollout.windows {
            self.windows(windows, &at.key("windows").key("allow"));
        }
        let judged = || rollout.judge.iter().flat_map(|judge| &judge.metrics).map(JudgeMetric::word);
        if rollout.winner.is_some_and(|winner| !judged().any(|word| word == winner)) {
            let hint = "add it to `metrics:` of `judge`".to_owned();
            self.add(&at.key("winner").span, "the judge does not measure it", "", Some(hint));
        }
        let Some(judge) = &rollout.judge else { return };
        let at = at.key("judge");
        if !(judge.error_budget > 0.0 && judge.error_budget < 1.0) {
            let message = format!("an error budget of {}", judge.error_budget);
            self.add(&at.key("error_budget").span, message, "a probability above 0 and below 1", None);
        }
        if judge.metrics.is_empty() {
            self.add(
                &at.key("metrics").span,
                "nothing is judged",
                "at least one of `errors`, `latency`, `cost`, `quality`, `kpi`, `agreement`",
                None,
            );
        }
        let has_shadow = rollout.stages.iter().any(|stage| matches!(stage, Stage::Shadow(_)));
        let agrees = judge.metrics.iter().position(|metric| metric.word() == JudgeWord::Agreement);
        if let Some(place) = agrees.filter(|_| !has_shadow) {
            let hint = "add `- shadow: {samples: 2000}` to `stages`".to_owned();
            let message = "nothing is answered twice, so nothing can agree";
            self.add(&at.key("metrics").item(place).span, message, "a shadow stage", Some(hint));
        }
        self.judged(judge, &at);
        self.too_short(rollout, judge, &stages);
        if let Some(slices) = &judge.slices {
            self.slices(&slices.by, &at.key("slices").key("by"));
        }
    }

    /// A stage that is over before an outcome is there is never decided.
    fn too_short(&mut self, rollout: &Rollout, judge: &Judge, stages: &Cursor<'_>) {
        for (i, stage) in rollout.stages.iter().enumerate() {
            let (name, max, delay) = match stage {
                // A shadow changes nothing in the world, so it waits for labels alone.
                Stage::Shadow(shadow) if shadow.until.is_some() => {
                    ("shadow", shadow.max, judge.labels_after())
                }
                Stage::Canary(Canary::Stage(canary)) => {
                    ("canary", canary.max, judge.labels_after().max(judge.kpi_after()))
                }
                _ => continue,
            };
            if let (Some(max), Some(delay)) = (max, delay)
                && max.0 <= delay
            {
                let delay = Period(delay);
                let message = format!("it is over after {max}, and a request is judged {delay} after it");
                let is_own = judge.kpi_delay() == Some(delay.0);
                let whose = if is_own { "`kpi`" } else { "the judge's `outcomes`" };
                let expected = format!("more than the `delay` of {whose}, {delay}");
                self.add(&stages.item(i).key(name).key("max").span, message, &expected, None);
            }
        }
    }

    fn windows(&mut self, windows: &Windows, allow: &Cursor<'_>) {
        if windows.allow.is_empty() {
            let expected = "at least one, for example `Mon-Thu 09:00-16:00 Europe/Prague`";
            self.add(&allow.span, "it would never be the time", expected, None);
        }
        for (i, window) in windows.allow.iter().enumerate() {
            self.timezone(&window.zone, &allow.item(i));
        }
    }

    fn slices(&mut self, by: &[String], at: &Cursor<'_>) {
        if by.is_empty() || by.len() > MOST_SLICED {
            let expected = format!("1 to {MOST_SLICED} inputs of the model");
            self.add(&at.span, format!("slices by {} inputs", by.len()), &expected, None);
        }
        if let Some((i, column)) = by.iter().enumerate().find(|(i, column)| by[..*i].contains(column)) {
            self.add(&at.item(i).span, format!("`{column}` is named twice"), "each input once", None);
        }
    }

    /// What the judge's metrics need of the objective, and limits that contradict each other.
    fn judged(&mut self, judge: &Judge, at: &Cursor<'_>) {
        let objective = self.project.objective.as_ref();
        let has_classes = objective.is_some_and(|o| o.task.positive.is_some());
        for (i, metric) in judge.metrics.iter().enumerate() {
            let at = at.key("metrics").item(i);
            let (missing, what, place) = match metric.word() {
                JudgeWord::Cost if objective.is_none_or(|o| o.costs.is_none()) => {
                    (true, "costs", "objective")
                }
                JudgeWord::Cost | JudgeWord::Quality => (!has_classes, "positive", "objective.task"),
                JudgeWord::Kpi => (objective.is_none_or(|o| o.kpi.is_none()), "kpi", "objective"),
                JudgeWord::Agreement if decides(metric) => (!has_classes, "positive", "objective.task"),
                JudgeWord::Errors | JudgeWord::Latency | JudgeWord::Agreement => (false, "", ""),
            };
            if missing {
                let hint = format!("add `{what}:` to `{place}`");
                self.add(&at.span, format!("the objective names no {what}"), "", Some(hint));
            }
            if judge.metrics[..i].iter().any(|before| before.word() == metric.word()) {
                self.add(&at.span, "a metric is named twice", "each metric once", None);
            }
            let limits = match metric {
                JudgeMetric::Word(_) => (None, None),
                JudgeMetric::Limits(JudgeLimits::Errors(limits) | JudgeLimits::Latency(limits)) => {
                    self.rate(
                        limits,
                        &at.key(if metric.word() == JudgeWord::Errors { "errors" } else { "latency" }),
                    );
                    (None, None)
                }
                JudgeMetric::Limits(JudgeLimits::Cost(limits)) => (limits.tolerate, limits.reject),
                JudgeMetric::Limits(JudgeLimits::Quality(limits)) => (limits.tolerate, limits.reject),
                JudgeMetric::Limits(JudgeLimits::Agreement(limits)) => {
                    self.agreement(limits, &at.key("agreement"));
                    (None, None)
                }
                JudgeMetric::Limits(JudgeLimits::Kpi(limits)) => {
                    (limits.tolerate.map(|share| share.0), limits.reject.map(|share| share.0))
                }
            };
            if let (tolerate, Some(reject)) = (limits.0.unwrap_or(0.0), limits.1)
                && reject < tolerate
            {
                let message = format!("`reject` is {reject}, below `tolerate`, which is {tolerate}");
                self.add(&at.span, message, "`reject` at or above `tolerate`", None);
            }
        }
    }

    /// Limits of how far a shadow may be from the incumbent.
    fn agreement(&mut self, limits: &AgreementLimits, at: &Cursor<'_>) {
        let tolerate = limits.tolerate.map_or(AgreementLimits::TOLERATE, |share| share.0);
        let reject = limits.reject.map_or(AgreementLimits::REJECT, |share| share.0);
        if !(tolerate > 0.0 && reject > tolerate && reject < 1.0) {
            let message = format!("`tolerate` is {tolerate} and `reject` is {reject}");
            let expected = "more than 0 to tolerate, more than that to reject, and less than 100 %";
            self.add(&at.span, message, expected, None);
        }
    }

    /// Limits of a rate, which are multiples of the incumbent's.
    fn rate(&mut self, limits: &RateLimits, at: &Cursor<'_>) {
        let tolerate = limits.tolerate.unwrap_or(RateLimits::TOLERATE);
        let reject = limits.reject.unwrap_or(RateLimits::REJECT);
        if !(tolerate >= 1.0 && reject > tolerate && reject.is_finite()) {
            let message =
                format!("`tolerate` is {tolerate} and `reject` is {reject} times the incumbent's rate");
            self.add(&at.span, message, "1 or more to tolerate, and more than that to reject", None);
        }
        if let Some(share) = limits.negligible
            && !(share.0 > 0.0 && share.0 < 1.0)
        {
            self.add(
                &at.key("negligible").span,
                "not a rate",
                "above 0 and below 100 %, for example `0.1%`",
                None,
            );
        }
    }

    pub(super) fn monitors(&mut self) {
        let project = self.project;
        for (i, monitor) in project.monitors.iter().enumerate() {
            let at = self.root().key("monitors").item(i).key(monitor.name());
            self.reference(monitor, &at);
            match monitor {
                Monitor::Drift(drift) => {
                    if drift.share.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
                        self.add(
                            &at.key("share").span,
                            "not a share of columns",
                            "a number above 0 and at most 1",
                            None,
                        );
                    }
                    self.window(Some(drift.window), &at);
                }
                Monitor::PredictionDrift(drift) => self.window(Some(drift.window), &at),
                Monitor::Quality(quality) => {
                    let span = at.key("metric").span;
                    self.metric(&quality.metric, &span);
                    self.measured_on_windows(&quality.metric, &span);
                    self.bounds(quality.min, quality.max, &at);
                    if quality.min_labelled.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
                        let wanted = "a number above 0 and at most 1";
                        self.add(&at.key("min_labelled").span, "not a share of predictions", wanted, None);
                    }
                    self.window(quality.window, &at);
                }
                Monitor::Kpi(kpi) => {
                    let known = project.objective.as_ref().and_then(|o| o.kpi.as_ref());
                    match known {
                        Some(known) => {
                            self.known("KPI", &kpi.name, [known.name.as_str()], &at.key("name").span);
                        }
                        None => {
                            let hint = Some("add `kpi:` to `objective`".to_owned());
                            self.add(&at.key("name").span, "the objective names no KPI", "", hint);
                        }
                    }
                    self.window(kpi.window, &at);
                    self.season(kpi, &at);
                }
                Monitor::Service(service) => {
                    if service.p99_ms.is_none() && service.error_rate.is_none() {
                        self.add(&at.key, "nothing is watched", "`p99_ms`, `error_rate` or both", None);
                    }
                    if service.error_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
                        self.add(
                            &at.key("error_rate").span,
                            "not a share of requests",
                            "a number from 0 to 1",
                            None,
                        );
                    }
                    if service.p99_ms.is_some_and(|p99| p99 <= 0.0) {
                        self.add(&at.key("p99_ms").span, "not a time", "milliseconds above 0", None);
                    }
                    self.window(service.window, &at);
                }
                Monitor::Inputs(inputs) => {
                    for (key, share) in [("violations", inputs.violations), ("not_finite", inputs.not_finite)]
                    {
                        if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                            self.add(&at.key(key).span, "not a share", "a number from 0 to 1", None);
                        }
                    }
                    self.window(inputs.window, &at);
                }
                Monitor::Stale(stale) => {
                    if stale.max_age.0.is_zero() {
                        self.add(
                            &at.key("max_age").span,
                            "every model is older than that",
                            "a longer time",
                            None,
                        );
                    }
                }
                Monitor::Stream(stream) => self.stream(stream, &at),
            }
        }
    }

    /// What windows are compared with: a word, or a version of a dataset, which only the database knows.
    fn reference(&mut self, monitor: &Monitor, at: &Cursor<'_>) {
        let Some(reference) = monitor.against() else { return };
        let Reference::Dataset(text) = reference else { return };
        let span = at.key("against").span;
        let name = text.split('@').next().unwrap_or_default();
        if matches!(monitor, Monitor::PredictionDrift(_)) {
            let hint = did_you_mean(text, Reference::WORDS)
                .or_else(|| Some("a dataset holds no answers of the model".to_owned()));
            self.add(
                &span,
                format!("answers are not compared with `{text}`"),
                "`training` or `previous`",
                hint,
            );
        } else if reference.version().is_none() {
            let is_dataset = self.project.data.keys().any(|known| known.as_str() == name);
            let hint = if is_dataset {
                Some(format!("`{name}@1` names its first version; `tidemill data ls {name}` lists them"))
            } else {
                did_you_mean(text, Reference::WORDS)
            };
            let wanted = "`training`, `previous`, or a version of a dataset such as `flights@3`";
            self.add(&span, format!("windows cannot be compared with `{text}`"), wanted, hint);
        }
    }

    fn season(&mut self, kpi: &KpiMonitor, at: &Cursor<'_>) {
        let window = kpi.window.map_or(86_400_000, |window| window.0.as_millis());
        if let Some(season) = kpi.season.map(|season| season.0.as_millis())
            && window > 0
            && (season % window != 0 || !(2..=MOST_OF_SEASON).contains(&(season / window)))
        {
            let wanted = format!("2 to {MOST_OF_SEASON} whole windows");
            self.add(&at.key("season").span, "windows do not fit into the season", &wanted, None);
        }
        if kpi.false_alarms.is_some_and(|chance| !(chance > 0.0 && chance < 0.5)) {
            self.add(&at.key("false_alarms").span, "not a chance", "a number above 0 and below 0.5", None);
        }
    }

    fn stream(&mut self, stream: &StreamMonitor, at: &Cursor<'_>) {
        let delta = stream.delta.filter(|_| stream.detector == Detector::Adwin);
        if delta.is_some_and(|delta| !(delta > 0.0 && delta < 1.0)) {
            self.add(&at.key("delta").span, "not a chance", "a number above 0 and below 1", None);
        }
        if stream.detector == Detector::PageHinkley && stream.delta.is_some_and(|delta| delta < 0.0) {
            self.add(&at.key("delta").span, "not a distance", "0 or more", None);
        }
        match (stream.detector, stream.threshold) {
            (Detector::Adwin, Some(_)) => {
                let hint = Some("`delta` says how sure `adwin` must be".to_owned());
                self.add(&at.key("threshold").span, "`adwin` has no threshold", "`page_hinkley`", hint);
            }
            (Detector::PageHinkley, Some(threshold)) if threshold <= 0.0 => {
                self.add(&at.key("threshold").span, "always reached", "a number above 0", None);
            }
            _ => {}
        }
        if stream.every.is_some_and(|every| every.0 < Duration::from_secs(1)) {
            self.add(&at.key("every").span, "too short", "one second or more", None);
        }
        if stream.outcomes.is_some() && !matches!(stream.of, StreamOf::Outcome(_)) {
            let hint = Some("`of: {outcome: NAME}` watches what becomes known later".to_owned());
            self.add(&at.key("outcomes").span, "this stream waits for no outcomes", "", hint);
        }
    }

    pub(super) fn receivers(&mut self) {
        let project = self.project;
        for (i, receiver) in project.alerts.iter().enumerate() {
            let at = self.root().key("alerts").item(i).key(receiver.kind());
            let url = match receiver {
                Receiver::Webhook(webhook) => Some(&webhook.url),
                Receiver::Cloudevents(cloudevents) => Some(&cloudevents.url),
                Receiver::Alertmanager(alertmanager) => Some(&alertmanager.url),
                Receiver::Slack(_) => None,
                Receiver::Email(email) => {
                    if email.to.is_empty() {
                        self.add(&at.key("to").span, "nobody gets it", "at least one address", None);
                    }
                    if email.user.is_some() != email.password_env.is_some() {
                        let hint = Some("name both, or neither for a server that asks for none".to_owned());
                        self.add(&at.key, "only one of `user` and `password_env`", "", hint);
                    }
                    None
                }
            };
            if url.is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
                let expected = "a URL that begins with `https://` or `http://`";
                self.add(&at.key("url").span, "not a URL", expected, None);
            }
        }
    }

    /// A metric that a window of production has no figure of would never fire.
    fn measured_on_windows(&mut self, name: &str, span: &Span) {
        if metric_named(name) == Some(Metric::CalibrationError) {
            let hint = "watch `brier` or `log_loss`: both get worse where scores are no longer calibrated, and \
                `tests: - metric: {name: calibration_error, max: …}` looks at it before a release";
            let message =
                "`calibration_error` is not measured on windows of production, so this would never judge";
            self.add(span, message, "", Some(hint.to_owned()));
        }
    }

    fn window(&mut self, window: Option<crate::Period>, at: &Cursor<'_>) {
        if window.is_some_and(|window| window.0.is_zero()) {
            self.add(&at.key("window").span, "the window is empty", "a length of time above 0", None);
        }
    }
}

/// Whether a metric of agreement is about decisions, which need a class to act on.
fn decides(metric: &JudgeMetric) -> bool {
    match metric {
        JudgeMetric::Limits(JudgeLimits::Agreement(limits)) => limits.of == AgreementOf::Decisions,
        _ => true,
    }
}

/// Why a text is no name of a branch.
fn no_branch(name: &str) -> Option<String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
    let is_wrong = name.is_empty()
        || name.starts_with(['-', '/', '.'])
        || name.ends_with(['/', '.'])
        || ["..", "//", "/.", "@{", ".lock/"].iter().any(|part| name.contains(part))
        || name.strip_suffix(".lock").is_some()
        || name.contains(is_odd);
    is_wrong.then(|| format!("`{name}` is no name of a branch"))
}
