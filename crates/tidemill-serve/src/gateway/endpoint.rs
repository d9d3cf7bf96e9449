//! Endpoints: what is declared of one, and its form in which requests find their way.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::allot::{Stretch, reallot, shares};
use super::fallback::Fallback;
use super::metrics::{ArmLabels, ArmMeter, Metrics};
use super::model::Loaded;
use super::route::{Arm, Key, Rule, Table, check};
use super::shadow::Shadow;
use super::source::Which;
use super::validate::{Bounds, Checker, Policies};
use crate::record::RecordsSpec;
use crate::record::outcome::OutcomesSpec;

/// What an endpoint is declared to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointSpec {
    /// The model versions behind it.
    #[schema(min_items = 1, max_items = 16)]
    pub arms: Vec<Arm>,
    /// Rules that come before the split, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Requests with the same key go to the same arm as long as shares do not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Key>,
    /// What is done about values that the model was not trained for.
    #[serde(default)]
    pub validation: Policies,
    /// The range of columns, where it is not the training's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bounds: BTreeMap<String, Bounds>,
    /// What is answered where the model is not able to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// What a request is about: outcomes can be joined by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<Key>,
    /// Header fields that are kept in the inference log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_headers: Vec<String>,
    /// What is kept of its requests in the inference log, and for how long.
    #[serde(default, skip_serializing_if = "RecordsSpec::is_empty")]
    pub records: RecordsSpec,
    /// How outcomes are joined with its requests.
    #[serde(default, skip_serializing_if = "OutcomesSpec::is_empty")]
    pub outcomes: OutcomesSpec,
    /// Whether every answer holds the output `decision` of the release that answered. Where not, it is answered to who asks for an output of
    /// that name. The log has it in any case.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answer_decision: bool,
    /// How long a request may take, in milliseconds; the server's limit where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3_600_000)]
    pub timeout_ms: Option<u64>,
    /// Which slots of the key space belong to which arm. Worked out by the server; what is sent is not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allotment: Vec<Stretch>,
}

impl EndpointSpec {
    /// Checks a declaration and works out its slots, moving as few keys as possible from what was declared `before`.
    ///
    /// # Errors
    ///
    /// Says what cannot be.
    pub fn settle(mut self, before: Option<&Self>) -> Result<Self, String> {
        check(&self.arms, &self.rules)?;
        if let Some(millis) = self.timeout_ms
            && !(1..=3_600_000).contains(&millis)
        {
            return Err(format!("`timeout_ms` is {millis}; expected 1 to 3600000"));
        }
        if self.keep_headers.len() > 32 {
            return Err(format!("at most 32 header fields are kept, not {}", self.keep_headers.len()));
        }
        if let Some(name) = self.keep_headers.iter().find(|name| is_secret(name)) {
            return Err(format!("the header field `{name}` carries credentials and is never kept"));
        }
        if let Some(fallback) = &self.fallback {
            fallback.check()?;
        }
        self.records.check()?;
        self.outcomes.check()?;
        let weights: Vec<f64> =
            self.arms.iter().map(|arm| if arm.shadow { 0.0 } else { arm.weight }).collect();
        let wanted: Vec<(&str, u32)> =
            self.arms.iter().map(|arm| arm.name.as_str()).zip(shares(&weights)).collect();
        self.allotment = reallot(before.map_or(&[], |before| &before.allotment), &wanted);
        Ok(self)
    }

    /// The models behind it.
    pub fn targets(&self) -> impl Iterator<Item = (&str, Which)> {
        self.arms.iter().map(|arm| (arm.model.as_str(), Which::parse(arm.version.as_deref())))
    }

    /// Slots of each arm that answers, of ten thousand.
    pub fn shares(&self) -> BTreeMap<&str, u32> {
        let mut shares: BTreeMap<&str, u32> = BTreeMap::new();
        for stretch in &self.allotment {
            *shares.entry(stretch.arm.as_str()).or_default() += stretch.slots;
        }
        shares
    }
}

/// Credentials stay out of logs whatever an endpoint declares.
fn is_secret(name: &str) -> bool {
    ["authorization", "cookie", "proxy-authorization", "x-api-key"]
        .contains(&name.to_ascii_lowercase().as_str())
}

/// An endpoint as requests find it. It never changes; a change makes another one.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name; the model's where a model is asked directly.
    pub name: Arc<str>,
    /// Counts the changes of its declaration; 0 for models that are asked directly.
    pub revision: u64,
    /// As declared; none for models that are asked directly.
    pub spec: Option<EndpointSpec>,
    /// Where requests go; none where there is only one way.
    pub table: Option<Table>,
    /// In the order of the declaration.
    pub arms: Vec<ArmState>,
    /// What is kept of headers.
    pub keep_headers: Vec<Arc<str>>,
    /// How long a request may take, where it is declared.
    pub timeout: Option<Duration>,
}

/// An arm with what belongs to it while it is there.
#[derive(Debug)]
pub struct ArmState {
    /// Its name; none where a model is asked directly.
    pub name: Option<Arc<str>>,
    /// The model.
    pub model: Arc<str>,
    /// Which version.
    pub which: Which,
    /// From which score on somebody acts.
    pub threshold: Option<f64>,
    /// What was counted of the requests that this declaration led to it, whenever they ended; those of callers who named it are not among
    /// them. Unlike the counters of [`Metrics`], which go on from declaration to declaration, these are about one table of shares.
    pub counted: Arc<ArmMeter>,
    /// The queue of what it is shown, of a shadow.
    pub(super) shadow: Option<Shadow>,
    bound: ArcSwapOption<Bound>,
}

/// An arm together with the release that answers for it now.
#[derive(Debug)]
pub struct Bound {
    serial: u64,
    /// Its counters.
    pub meter: Arc<ArmMeter>,
    /// What its requests are looked at for.
    pub checker: Checker,
}

impl Endpoint {
    /// From a settled declaration. `shadow` starts the queue of an arm that is one.
    ///
    /// # Errors
    ///
    /// Where the declaration was not settled.
    pub(super) fn new(
        name: &str,
        revision: u64,
        spec: EndpointSpec,
        shadow: impl Fn(&Arm, &Arc<str>, &Arc<ArmMeter>) -> Shadow,
    ) -> Result<Self, String> {
        let table = Table::new(name, &spec.arms, &spec.rules, spec.sticky.as_ref(), &spec.allotment)?;
        let name: Arc<str> = name.into();
        let arms = spec.arms.iter().map(|arm| {
            let counted = Arc::default();
            ArmState {
                name: Some(arm.name.as_str().into()),
                model: arm.model.as_str().into(),
                which: Which::parse(arm.version.as_deref()),
                threshold: arm.threshold,
                shadow: arm.shadow.then(|| shadow(arm, &name, &counted)),
                counted,
                bound: ArcSwapOption::empty(),
            }
        });
        Ok(Self {
            arms: arms.collect(),
            table: Some(table),
            keep_headers: spec.keep_headers.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
            timeout: spec.timeout_ms.map(Duration::from_millis),
            name,
            revision,
            spec: Some(spec),
        })
    }

    /// The way to a model without an endpoint.
    pub fn direct(model: &str, which: Which) -> Self {
        let name: Arc<str> = model.into();
        let arm = ArmState {
            name: None,
            model: Arc::clone(&name),
            which,
            threshold: None,
            counted: Arc::default(),
            shadow: None,
            bound: ArcSwapOption::empty(),
        };
        Self {
            name,
            revision: 0,
            spec: None,
            table: None,
            arms: vec![arm],
            keep_headers: Vec::new(),
            timeout: None,
        }
    }

    /// The arm that a caller means who asks for a version of the endpoint: the arm of that name, or with that version.
    pub fn arm_of(&self, version: &str) -> Option<usize> {
        let answers = |arm: &&ArmState| arm.shadow.is_none();
        let by_name = |arm: &ArmState| arm.name.as_deref() == Some(version);
        let wanted = Which::parse(Some(version));
        let arms = || self.arms.iter().filter(answers);
        let found = arms().find(|arm| by_name(arm)).or_else(|| arms().find(|arm| arm.which == wanted))?;
        self.arms.iter().position(|arm| std::ptr::eq(arm, found))
    }

    /// The arm with the most requests: what the endpoint's metadata describe.
    pub fn main_arm(&self) -> usize {
        let Some(spec) = &self.spec else { return 0 };
        let shares = spec.shares();
        let share =
            |arm: &ArmState| arm.name.as_deref().and_then(|name| shares.get(name)).copied().unwrap_or(0);
        let first = (0..self.arms.len()).rev().max_by_key(|at| self.arms.get(*at).map_or(0, share));
        first.unwrap_or(0)
    }

    /// The names of the models behind it.
    pub fn models(&self) -> HashSet<&str> {
        self.arms.iter().map(|arm| &*arm.model).collect()
    }

    /// Counters and checks of an arm for the release that answers now; made once for each release.
    pub fn bound(&self, arm: &ArmState, loaded: &Loaded, metrics: &Metrics) -> Arc<Bound> {
        if let Some(bound) = &*arm.bound.load()
            && bound.serial == loaded.serial
        {
            return Arc::clone(bound);
        }
        let labels = ArmLabels {
            endpoint: Arc::clone(&self.name),
            arm: arm.name.clone().unwrap_or_default(),
            model: Arc::clone(&loaded.model),
            version: Arc::clone(&loaded.version),
        };
        let names: Vec<&str> = loaded.plan.inputs.iter().map(|slot| slot.name.as_str()).collect();
        let default = EndpointSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&default);
        let checker = Checker::new(spec.validation, &names, loaded.signature.as_ref(), &spec.bounds);
        let bound = Arc::new(Bound { serial: loaded.serial, meter: metrics.arm(&labels), checker });
        arm.bound.store(Some(Arc::clone(&bound)));
        bound
    }

    /// Counters of an arm whose model is not loaded.
    pub fn unbound(&self, arm: &ArmState, metrics: &Metrics) -> Arc<ArmMeter> {
        metrics.arm(&ArmLabels {
            endpoint: Arc::clone(&self.name),
            arm: arm.name.clone().unwrap_or_default(),
            model: Arc::clone(&arm.model),
            version: "".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(arms: &[(&str, f64)]) -> EndpointSpec {
        let arm = |(name, weight): &(&str, f64)| Arm {
            name: (*name).to_owned(),
            model: "m".to_owned(),
            version: Some((*name).to_owned()),
            weight: *weight,
            shadow: false,
            threshold: None,
        };
        EndpointSpec { arms: arms.iter().map(arm).collect(), ..EndpointSpec::default() }
    }

    #[test]
    fn a_declaration_is_settled_on_what_was_before() {
        let first = spec(&[("1", 100.0), ("2", 0.0)]).settle(None).unwrap();
        assert_eq!(first.shares(), BTreeMap::from([("1", 10_000)]));
        let mut second = spec(&[("1", 75.0), ("2", 25.0)]);
        second.allotment = vec![Stretch { arm: "2".into(), slots: 10_000 }];
        let second = second.settle(Some(&first)).unwrap();
        assert_eq!(second.shares(), BTreeMap::from([("1", 7_500), ("2", 2_500)]));
        assert_eq!(second.allotment[0].arm, "1", "what is sent as allotment is not looked at");

        let endpoint = Endpoint::new("e", 2, second, |_, _, _| unreachable!("no shadow")).unwrap();
        assert_eq!((endpoint.main_arm(), endpoint.arm_of("2"), endpoint.arm_of("3")), (0, Some(1), None));
    }

    #[test]
    fn what_cannot_be_declared() {
        let with = |change: fn(&mut EndpointSpec)| {
            let mut spec = spec(&[("a", 1.0)]);
            change(&mut spec);
            spec.settle(None).unwrap_err()
        };
        assert!(with(|spec| spec.timeout_ms = Some(0)).contains("`timeout_ms` is 0"));
        let secret = with(|spec| spec.keep_headers = vec!["x-team".into(), "Authorization".into()]);
        assert!(secret.contains("`Authorization` carries credentials"), "{secret}");
        assert!(with(|spec| spec.arms.clear()).contains("1 to 16 arms"));
        assert!(with(|spec| spec.records.sample = Some(2.0)).contains("`records.sample` is 2"));
        assert!(with(|spec| spec.outcomes.late_after_s = Some(0)).contains("`outcomes.late_after_s` is 0"));
        let unknown = serde_json::from_str::<EndpointSpec>(r#"{"arms": [], "wieghts": 1}"#).unwrap_err();
        assert!(unknown.to_string().contains("wieghts"), "{unknown}");
    }

    #[test]
    fn the_form_of_a_declaration() {
        let text = r#"{"arms": [{"name": "champion", "model": "churn", "version": "@champion", "weight": 95},
              {"name": "next", "model": "churn", "version": "7", "weight": 5},
              {"name": "idea", "model": "idea", "weight": 20, "shadow": true}],
            "rules": [{"key": {"header": "x-tier"}, "one_of": ["gold"], "arm": "next"}],
            "sticky": {"input": "customer"}, "validation": {"nan": "refuse"}, "bounds": {"age": {"min": 0}},
            "fallback": {"outputs": {"label": 0}}, "entity": {"input": "customer"},
            "records": {"sample": 0.1, "redact": {"customer": "hash"}, "keep_days": 90},
            "outcomes": {"late_after_s": 86400}, "timeout_ms": 100}"#;
        let spec: EndpointSpec = serde_json::from_str(text).unwrap();
        let spec = spec.settle(None).unwrap();
        assert_eq!(spec.shares(), BTreeMap::from([("champion", 9_500), ("next", 500)]));
        let again: EndpointSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
    }
}
