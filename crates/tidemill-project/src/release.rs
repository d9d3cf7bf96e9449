//! How a model gets to production: environments, approvals, rollouts.

use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_core::Name;
use tidemill_core::declare::Window;

use crate::{Envelope, Period, Share};

/// How a model gets to production.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The registered model.
    pub model: Name,
    /// The step whose model `tidemill run` registers as a new version: a training, or a command that writes a `.onnx` file or a
    /// model's folder. Where not given, the only training, or the one called `train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The endpoint that serves it; the model's name where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Name>,
    /// The environment that the alias `champion` of the model follows: when a rollout to it is complete, the alias is moved to the
    /// version. Where not given, `prod`, or else the last environment; `false` leaves the alias alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<Champion>,
    /// The tests that a version must have passed to be released: `model_tests` (those below `tests:`), `data_tests` (the expectations of the
    /// datasets that it was made of). Where not given, all that the project declares; `[]` asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Vec<RequiredTests>>,
    /// Who is told what the release that answered decides by its threshold: `asked` (callers who ask for the output `decision`) or `always`
    /// (it is in every answer, those of `/invocations` among them); `asked` where not given. The log has it in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<TellDecision>,
    /// What triggers may release without anybody who looks. They release everything where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Envelope>,
    /// Where in Git it is written what environments run; nowhere where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitRecord>,
    /// Environments by name, in the order of promotion.
    pub environments: IndexMap<Name, Environment>,
}

impl Release {
    /// The environment that the alias `champion` of the model follows, where it follows one.
    pub fn champion_follows(&self) -> Option<&Name> {
        match &self.champion {
            Some(Champion::Word(false)) => None,
            Some(Champion::Of(environment)) => Some(environment),
            Some(Champion::Word(true)) | None => {
                let mut names = self.environments.keys();
                names.clone().find(|name| name.as_str() == "prod").or(names.next_back())
            }
        }
    }
}

/// Who is told what a release decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TellDecision {
    /// Callers who ask for it.
    Asked,
    /// Everybody.
    Always,
}

/// Tests that a version must have passed to be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequiredTests {
    /// Those of the model.
    ModelTests,
    /// The expectations of the datasets that it was made of.
    DataTests,
}

/// The environment that the alias `champion` follows, or whether it follows one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Champion {
    /// `false`: none.
    Word(bool),
    /// The environment.
    Of(Name),
}

/// One environment of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Who must agree.
    #[serde(default)]
    pub approve: Approve,
    /// How the release gets traffic; all at once where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What triggers may release here without anybody who looks, in place of what the release says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Envelope>,
    /// Where in Git it is written what this one runs, in place of what the release says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitRecord>,
}

/// A file in Git that says what an environment runs. The server commits it when a rollout is complete or has gone back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitRecord {
    /// The branch that says what environments run, which must be there.
    pub branch: String,
    /// A remote of the project's repository, by its name: commits are made on its branch and pushed, and no branch here is touched.
    /// Where not given, the branch of the repository itself, which must not be checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<String>,
    /// Whether each change gets a branch of its own, `tidemill/ENVIRONMENT/RELEASE-ROLLOUT`, which somebody merges into `branch`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pull_request: bool,
    /// The file, from the project's folder, with `{environment}` for the name; `environments/{environment}.yaml` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl GitRecord {
    /// The file of an environment, from the project's folder.
    pub fn file(&self, environment: &Name) -> String {
        let path = self.path.as_deref().unwrap_or("environments/{environment}.yaml");
        path.replace("{environment}", environment.as_str())
    }
}

/// Who must agree: `auto`, or so many people of a role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Approve {
    /// Nobody.
    Word(ApproveWord),
    /// People.
    People(Approval),
}

impl Default for Approve {
    fn default() -> Self {
        Self::Word(ApproveWord::Auto)
    }
}

/// `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApproveWord {
    /// The gates decide alone.
    Auto,
}

/// So many people of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The role, for example `owner`.
    pub by: String,
    /// How many of them.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub count: u32,
    /// Who has the role; everybody but the release's author where nobody is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    /// How long an agreement holds; for ever where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Period>,
    /// Whether only those count who have signed in at the server with a password of their own: neither a name of the command line nor one
    /// that came with the server's one token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub authenticated: bool,
}

fn one() -> u32 {
    1
}

/// How a release gets traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// What decides between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Judge>,
    /// Whether recent traffic is enough to decide in the time that there is, looked at before the first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<Power>,
    /// The part of requests that stays with the release before until the rollout is complete; nobody where not given. With a sticky key it
    /// is the same people or things in every stage and every rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout: Option<Share>,
    /// Requests that the release answers from the first stage on, a shadow among them, whatever its share: those of testers, or of a cohort
    /// that agreed. They are not drawn by lot, so they are not judged. Of several candidates the first answers them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// When the release may get more requests; at any time where not given. Going back is never held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Windows>,
    /// By which metric of the judge the best of several candidates is chosen; the first of `cost`, `quality` and `kpi` that needs proof
    /// where not given, else the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<JudgeWord>,
}

/// Requests with certain values of a header field or of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The header field that is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The model's input that is looked at, by its value in the first row; one of `header` and `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The values, as text; any value where not given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
}

/// When a release may get more requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// In one of these hours of the week, for example `Mon-Thu 09:00-16:00 Europe/Prague`.
    pub allow: Vec<Window>,
}

/// A gate before the first request: the plan is played on recent traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// In so long four of five healthy candidates must have passed all stages.
    pub decide_within: Period,
    /// What happens where they would not.
    #[serde(default, rename = "else")]
    pub otherwise: PowerElse,
}

/// What happens to a rollout that recent traffic cannot decide in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PowerElse {
    /// It begins, and the gate says how long it will take.
    #[default]
    Warn,
    /// It does not begin.
    Refuse,
}

/// One stage of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It answers copies of requests, and nobody sees the answers.
    Shadow(Shadow),
    /// It answers a share of requests: `5%`, or `{share: 5%, for: 1h}`.
    Canary(Canary),
    /// People must agree.
    Gate(Approval),
    /// It answers all requests.
    Full(Full),
}

/// What a stage waits for beside its other conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// The judge says `advance`.
    Verdict,
}

/// It answers copies of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// At least so many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// At least so long.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Period>,
    /// `verdict`: until the judge has proof from copies and outcomes. Where not given, only harm ends it early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<WaitFor>,
    /// After so long without being over, a person decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Period>,
}

/// A share of requests, or that with conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Canary {
    /// The share.
    Share(Share),
    /// The share and how long it lasts at least.
    Stage(CanaryStage),
}

impl Canary {
    /// The share of requests.
    pub fn share(&self) -> Share {
        match self {
            Self::Share(share) => *share,
            Self::Stage(stage) => stage.share,
        }
    }
}

/// A share of requests and how long it lasts at least.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryStage {
    /// The share of requests.
    pub share: Share,
    /// At least so many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// At least so long.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Period>,
    /// After so long without being over, a person decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Period>,
}

/// It answers all requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Full {
    /// How long the release before it is kept ready for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Period>,
}

/// What decides between stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// Probability of a wrong verdict over the whole rollout, above 0 and below 1.
    pub error_budget: f64,
    /// What must not get worse.
    pub metrics: Vec<JudgeMetric>,
    /// What becomes known of requests later, for `cost`, `quality` and `kpi`: within one day where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<JudgeOutcomes>,
    /// Groups of requests that are judged by themselves, too, so that harm to few is not lost among many; none where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<JudgeSlices>,
}

impl Judge {
    /// How long after a request it is judged by its label, where that is looked at.
    pub fn labels_after(&self) -> Option<Duration> {
        let is_later = |metric: &JudgeMetric| matches!(metric.word(), JudgeWord::Cost | JudgeWord::Quality);
        self.metrics.iter().any(is_later).then(|| self.delay())
    }

    /// How long after a request it is judged by its business value, where that is looked at.
    pub fn kpi_after(&self) -> Option<Duration> {
        let is_judged = self.metrics.iter().any(|metric| metric.word() == JudgeWord::Kpi);
        is_judged.then(|| self.kpi_delay().unwrap_or_else(|| self.delay()))
    }

    /// The delay that the business value has of its own.
    pub fn kpi_delay(&self) -> Option<Duration> {
        self.metrics.iter().find_map(|metric| match metric {
            JudgeMetric::Limits(JudgeLimits::Kpi(limits)) => limits.delay.map(|Period(delay)| delay),
            _ => None,
        })
    }

    /// When outcomes are known, where a metric does not say otherwise.
    fn delay(&self) -> Duration {
        const DAY: Duration = Duration::from_secs(86_400);
        self.outcomes.as_ref().map_or(DAY, |outcomes| outcomes.delay.0)
    }
}

/// Groups of requests that are judged by themselves. They only look for harm: half of the error budget is for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgeSlices {
    /// Inputs of the model. Each value of one is a group, up to 50; all others of it are one.
    pub by: Vec<String>,
    /// From so many requests of candidate and incumbent each on a group is judged.
    #[serde(default = "enough")]
    #[schemars(range(min = 1))]
    pub min_samples: u64,
}

fn enough() -> u64 {
    300
}

/// What becomes known of requests later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgeOutcomes {
    /// How long after a request its outcomes are known, by the slowest of them but for a KPI with a `delay` of its own. A request is judged
    /// when this has passed; an outcome that comes later is counted as late.
    pub delay: Period,
    /// The name under which the label is sent; that of the objective's target where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// What must not get worse during a rollout: a word, or a word with its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum JudgeMetric {
    /// With the limits that it has by itself.
    Word(JudgeWord),
    /// With limits.
    Limits(JudgeLimits),
}

impl JudgeMetric {
    /// What is measured.
    pub fn word(&self) -> JudgeWord {
        match self {
            Self::Word(word) => *word,
            Self::Limits(JudgeLimits::Errors(_)) => JudgeWord::Errors,
            Self::Limits(JudgeLimits::Latency(_)) => JudgeWord::Latency,
            Self::Limits(JudgeLimits::Cost(_)) => JudgeWord::Cost,
            Self::Limits(JudgeLimits::Quality(_)) => JudgeWord::Quality,
            Self::Limits(JudgeLimits::Kpi(_)) => JudgeWord::Kpi,
            Self::Limits(JudgeLimits::Agreement(_)) => JudgeWord::Agreement,
        }
    }
}

/// What must not get worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JudgeWord {
    /// Failed requests.
    Errors,
    /// Slow requests.
    Latency,
    /// The cost per decision, by the objective's costs and the outcomes.
    Cost,
    /// How far answers are from outcomes.
    Quality,
    /// The objective's KPI, which is sent as an outcome of its name.
    Kpi,
    /// What the shadow says against what the incumbent answered, on the same request; no outcome is needed.
    Agreement,
}

/// What must not get worse, with its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JudgeLimits {
    /// Failed requests.
    Errors(RateLimits),
    /// Slow requests.
    Latency(RateLimits),
    /// The cost per decision.
    Cost(CostLimits),
    /// How far answers are from outcomes.
    Quality(QualityLimits),
    /// The objective's KPI.
    Kpi(KpiLimits),
    /// What the shadow says against what the incumbent answered.
    Agreement(AgreementLimits),
}

/// Limits of the rate of failed or of slow requests, as multiples of the incumbent's rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    /// More than so many times the incumbent's rate is harm, 1 or more; 1.25 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerate: Option<f64>,
    /// So many times the incumbent's rate must be disproved before it gets more traffic, above `tolerate`; 2 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject: Option<f64>,
    /// A rate that is proven to be below this is no harm, whatever it is a multiple of; `0.5%` of failed and `2%` of slow requests
    /// where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negligible: Option<Share>,
}

impl RateLimits {
    /// `tolerate` where it is not given.
    pub const TOLERATE: f64 = 1.25;
    /// `reject` where it is not given.
    pub const REJECT: f64 = 2.0;
}

/// Limits of the cost per decision, in the objective's currency.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostLimits {
    /// More than this much dearer is harm; 0 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerate: Option<f64>,
    /// This much dearer must be disproved before it gets more traffic; a hundredth of the dearest error where not given. 0 asks for
    /// proof that it is cheaper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject: Option<f64>,
}

/// By what answers are measured; lower is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QualityMetric {
    /// The squared distance of the score from the outcome, 0 to 1.
    #[default]
    Brier,
    /// The negated logarithm of the score of what came true, 0 to 6.91: scores are drawn to 0.001 and 0.999.
    LogLoss,
    /// The share of wrong decisions.
    ErrorRate,
}

/// Limits of quality, in the metric's unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QualityLimits {
    /// By what answers are measured.
    #[serde(default)]
    pub metric: QualityMetric,
    /// More than this much worse is harm; 0 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerate: Option<f64>,
    /// This much worse must be disproved before it gets more traffic; a hundredth of the metric's range where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject: Option<f64>,
}

/// Limits of the KPI, as parts of the incumbent's mean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KpiLimits {
    /// More than this much worse is harm; `0%` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerate: Option<Share>,
    /// This much worse must be disproved before it gets more traffic; `5%` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject: Option<Share>,
    /// How long after a request its value is known, where that is another time than the `delay` of the judge's `outcomes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Period>,
}

/// Limits of how far a shadow may be from what the incumbent answered to the same requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgreementLimits {
    /// What is compared.
    #[serde(default)]
    pub of: AgreementOf,
    /// More than this part of decisions that differ, or this mean difference of scores, is harm; `2%` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerate: Option<Share>,
    /// This much must be disproved before it gets requests, where the shadow waits for a verdict; `5%` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject: Option<Share>,
}

impl AgreementLimits {
    /// `tolerate` where it is not given.
    pub const TOLERATE: f64 = 0.02;
    /// `reject` where it is not given.
    pub const REJECT: f64 = 0.05;
}

/// What of two answers is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgreementOf {
    /// Decisions, each by the threshold of its release: the part that differs.
    #[default]
    Decisions,
    /// Scores from 0 to 1: how far they are apart in the mean.
    Scores,
}

#[cfg(test)]
mod tests {
    use crate::{FILE_NAME, parse};

    #[test]
    fn whom_the_champion_follows() {
        for (champion, environments, follows) in [
            ("", "{dev: {}, prod: {}, mirror: {}}", Some("prod")),
            ("", "{only: {}}", Some("only")),
            ("", "{test: {}, live: {}}", Some("live")),
            ("champion: test, ", "{test: {}, live: {}}", Some("test")),
            ("champion: true, ", "{test: {}, live: {}}", Some("live")),
            ("champion: false, ", "{dev: {}, prod: {}}", None),
        ] {
            let text = format!("project: p\nrelease: {{model: m, {champion}environments: {environments}}}\n");
            let release = parse(&text, FILE_NAME).unwrap().release.unwrap();
            assert_eq!(release.champion_follows().map(|name| name.as_str()), follows, "{text}");
        }
    }

    /// A label of a day and a business value of a month are judged each in its own time.
    #[test]
    fn when_requests_are_judged() {
        for (metrics, outcomes, days) in [
            ("[errors, agreement]", "", (None, None)),
            ("[cost, kpi]", "", (Some(1), Some(1))),
            ("[cost, kpi]", ", outcomes: {delay: 2d}", (Some(2), Some(2))),
            ("[cost, {kpi: {delay: 30d}}]", ", outcomes: {delay: 2d}", (Some(2), Some(30))),
            ("[{kpi: {delay: 30d}}]", "", (None, Some(30))),
        ] {
            let text = format!(
                "project: p\nobjective:\n  task: {{kind: classification, target: late, positive: 1}}\n  costs: {{currency: EUR, false_negative: 9, false_positive: 1}}\n  kpi: {{name: money, better: higher}}\nrelease:\n  model: m\n  environments:\n    prod:\n      rollout:\n        stages: [{{shadow: {{samples: 9}}}}, {{canary: 5%}}]\n        judge: {{error_budget: 0.01, metrics: {metrics}{outcomes}}}\n"
            );
            let release = parse(&text, FILE_NAME).unwrap().release.unwrap();
            let judge = release.environments[0].rollout.as_ref().unwrap().judge.clone().unwrap();
            let of = |after: Option<std::time::Duration>| after.map(|after| after.as_secs() / 86_400);
            assert_eq!((of(judge.labels_after()), of(judge.kpi_after())), days, "{metrics}");
        }
    }

    #[test]
    fn the_file_of_an_environment() {
        for (git, file) in [
            ("{branch: main}", "environments/prod.yaml"),
            ("{branch: main, path: 'deploy/{environment}/runs.yaml'}", "deploy/prod/runs.yaml"),
        ] {
            let text =
                format!("project: p\nrelease: {{model: m, git: {git}, environments: {{prod: {{}}}}}}\n");
            let release = parse(&text, FILE_NAME).unwrap().release.unwrap();
            assert_eq!(release.git.unwrap().file(&release.environments.keys()[0]), file);
        }
    }
}
