//! Which arm of an endpoint answers a request: a pure function of the endpoint's table and the request's keys.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use tidemill_runtime::{Tensor, Values};
use twox_hash::XxHash3_64;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::allot::{SLOTS, Stretch, shares};
use crate::Named;

/// The most arms of an endpoint.
pub const MOST_ARMS: usize = 16;
/// The most rules of an endpoint.
pub const MOST_RULES: usize = 64;
/// The most values that one rule looks for.
const MOST_VALUES: usize = 10_000;

/// A model version that an endpoint may send requests to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EndpointArm)]
pub struct Arm {
    /// Its name in the endpoint, for example `champion`.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// The registered model.
    #[schema(min_length = 1)]
    pub model: String,
    /// A version (`3`) or an alias (`@champion`); the model's default where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its part of the requests, relative to the other arms'. Of a shadow: the percentage of requests that it is shown.
    #[serde(default)]
    #[schema(minimum = 0.0)]
    pub weight: f64,
    /// Whether it is only shown requests and its answers are only recorded.
    #[serde(default)]
    pub shadow: bool,
    /// From which score of the positive class on somebody acts: by it the output `decision` is made, and kept in the inference log. Rollouts
    /// set it to that of the release; nobody decides where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

/// Where a key is found in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// A header field.
    Header(String),
    /// An input; the value in the first row.
    Input(String),
}

impl PartialSchema for Key {
    /// Written out, since it must say that there is one field and no other.
    fn schema() -> RefOr<Schema> {
        let text =
            |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
        let one = |name: &str, description: &str| {
            ObjectBuilder::new()
                .property(name, text(description))
                .required(name)
                .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
        };
        OneOfBuilder::new()
            .item(one("header", "A header field"))
            .item(one("input", "An input; the value in the first row"))
            .description(Some("Where a key is found in a request"))
            .into()
    }
}

impl ToSchema for Key {
    fn name() -> Cow<'static, str> {
        "RequestKey".into()
    }
}

/// Requests with certain values of a key go to one arm: a header rule, or a cohort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RoutingRule)]
pub struct Rule {
    /// Which value is looked at.
    pub key: Key,
    /// The values; any value where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
    /// Where such requests go.
    pub arm: String,
    /// Whether shadows are shown them, too.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub shadows: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_yes(given: &bool) -> bool {
    *given
}

/// A routing table that can be asked. It never changes; a change makes another one.
#[derive(Clone, Debug)]
pub struct Table {
    /// The arm of each slot.
    slots: Box<[u8]>,
    rules: Vec<Compiled>,
    sticky: Option<Key>,
    /// Place and slots of each shadow.
    shadows: Vec<(usize, u32)>,
    seed: u64,
}

#[derive(Clone, Debug)]
struct Compiled {
    key: Key,
    one_of: HashSet<Vec<u8>>,
    arm: usize,
    shadows: bool,
}

/// What of a request is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// The request's id: what decides where no sticky key is found.
    pub request: &'a str,
    /// Header fields by name in lower case.
    pub headers: &'a BTreeMap<String, String>,
    /// Inputs.
    pub inputs: &'a [Named],
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The place of the arm that answers.
    pub arm: usize,
    /// Why.
    pub why: Why,
    /// The places of the shadows that are shown it, as bits.
    pub shadows: u32,
    /// The hash of what it is drawn by: of its sticky key, or of its id.
    pub unit: u64,
}

/// Why an arm was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The rule at this place.
    Rule(usize),
    /// The slot of its sticky key.
    Sticky,
    /// The slot of its id.
    Split,
    /// The caller asked for a model or a version, and nothing was chosen.
    Asked,
}

impl Table {
    /// Compiles a table. `name` is the endpoint's: the same key lands on other slots in another endpoint.
    ///
    /// # Errors
    ///
    /// Says what in the declaration cannot be.
    pub fn new(
        name: &str,
        arms: &[Arm],
        rules: &[Rule],
        sticky: Option<&Key>,
        allotment: &[Stretch],
    ) -> Result<Self, String> {
        check(arms, rules)?;
        let place = |wanted: &str| arms.iter().position(|arm| arm.name == wanted);
        let mut slots = Vec::with_capacity(SLOTS as usize);
        for stretch in allotment {
            let arm = place(&stretch.arm)
                .ok_or_else(|| format!("slots belong to an unknown arm `{}`", stretch.arm))?;
            let room = SLOTS as usize - slots.len().min(SLOTS as usize);
            slots.extend(std::iter::repeat_n(arm as u8, room.min(stretch.slots as usize)));
        }
        if slots.len() != SLOTS as usize {
            return Err(format!("{} of {SLOTS} slots have an arm", slots.len()));
        }
        let compiled = rules.iter().map(|rule| {
            let arm = place(&rule.arm).unwrap_or_default();
            let one_of = rule.one_of.iter().map(|value| value.clone().into_bytes()).collect();
            Compiled { key: lower(&rule.key), one_of, arm, shadows: rule.shadows }
        });
        let shadows = arms.iter().enumerate().filter(|(_, arm)| arm.shadow).map(|(at, arm)| {
            let slots = arm.weight / 100.0 * f64::from(SLOTS);
            (at, slots.round().clamp(0.0, f64::from(SLOTS)) as u32)
        });
        Ok(Self {
            slots: slots.into_boxed_slice(),
            rules: compiled.collect(),
            sticky: sticky.map(lower),
            shadows: shadows.collect(),
            seed: XxHash3_64::oneshot(name.as_bytes()),
        })
    }

    /// Of a key, with the seed of the endpoint.
    fn hash(&self, key: &[u8], salt: u64) -> u64 {
        XxHash3_64::oneshot_with_seed(self.seed.wrapping_add(salt), key)
    }
}

/// The slot of a hash.
fn slot(hash: u64) -> u32 {
    ((u128::from(hash) * u128::from(SLOTS)) >> 64) as u32
}

/// Chooses an arm.
pub fn route(table: &Table, keys: Keys<'_>) -> Choice {
    let sticky = table.sticky.as_ref().and_then(|key| find(key, keys));
    let is_sticky = sticky.is_some();
    let key = sticky.unwrap_or(Cow::Borrowed(keys.request.as_bytes()));
    let shadows = table.shadows.iter().fold(0, |bits, (at, slots)| {
        // A salt of its own: a shadow sees all arms' requests, not one arm's first.
        let is_shown = *slots == SLOTS || slot(table.hash(&key, 1 + *at as u64)) < *slots;
        if is_shown { bits | 1 << at } else { bits }
    });
    let unit = table.hash(&key, 0);
    for (at, rule) in table.rules.iter().enumerate() {
        let value = find(&rule.key, keys);
        if value.is_some_and(|value| rule.one_of.is_empty() || rule.one_of.contains(value.as_ref())) {
            let shadows = if rule.shadows { shadows } else { 0 };
            return Choice { arm: rule.arm, why: Why::Rule(at), shadows, unit };
        }
    }
    let arm = table.slots.get(slot(unit) as usize).copied().unwrap_or_default();
    Choice { arm: usize::from(arm), why: if is_sticky { Why::Sticky } else { Why::Split }, shadows, unit }
}

/// The value of a key in a request.
pub fn find<'a>(key: &Key, keys: Keys<'a>) -> Option<Cow<'a, [u8]>> {
    match key {
        Key::Header(name) => keys.headers.get(name).map(|value| Cow::Borrowed(value.as_bytes())),
        Key::Input(name) => first(&keys.inputs.iter().find(|input| input.name == *name)?.tensor),
    }
}

/// The first value as text, the same whatever type a client gave a number.
pub(super) fn first(tensor: &Tensor) -> Option<Cow<'_, [u8]>> {
    macro_rules! number {
        ($values:expr) => {
            $values.first()?.to_string()
        };
    }
    let text = match tensor.values() {
        Values::Bytes(values) => return values.first().map(|value| Cow::Borrowed(value.as_slice())),
        Values::Bool(values) => number!(values),
        Values::U8(values) => number!(values),
        Values::U16(values) => number!(values),
        Values::U32(values) => number!(values),
        Values::U64(values) => number!(values),
        Values::I8(values) => number!(values),
        Values::I16(values) => number!(values),
        Values::I32(values) => number!(values),
        Values::I64(values) => number!(values),
        Values::F16(values) => number!(values),
        Values::Bf16(values) => number!(values),
        Values::F32(values) => number!(values),
        Values::F64(values) => number!(values),
    };
    Some(Cow::Owned(text.into_bytes()))
}

fn lower(key: &Key) -> Key {
    match key {
        Key::Header(name) => Key::Header(name.to_ascii_lowercase()),
        Key::Input(name) => Key::Input(name.clone()),
    }
}

/// What an endpoint's arms and rules must be, whoever declares them.
pub fn check(arms: &[Arm], rules: &[Rule]) -> Result<(), String> {
    if arms.is_empty() || arms.len() > MOST_ARMS {
        return Err(format!("an endpoint has 1 to {MOST_ARMS} arms, not {}", arms.len()));
    }
    if rules.len() > MOST_RULES {
        return Err(format!("an endpoint has at most {MOST_RULES} rules, not {}", rules.len()));
    }
    let mut names = HashSet::new();
    for arm in arms {
        let Arm { name, model, weight, shadow, threshold, .. } = arm;
        tidemill_core::Name::new(name.as_str()).map_err(|error| format!("the arm `{name}`: {error}"))?;
        if !names.insert(name.as_str()) {
            return Err(format!("there are two arms `{name}`"));
        }
        if model.is_empty() {
            return Err(format!("the arm `{name}` names no model"));
        }
        if !(weight.is_finite() && *weight >= 0.0) {
            return Err(format!(
                "the weight of `{name}` is {weight}; expected a number that is not negative"
            ));
        }
        if let Some(threshold) = threshold.filter(|threshold| !threshold.is_finite()) {
            return Err(format!("the threshold of `{name}` is {threshold}; expected a number"));
        }
        if *shadow && *weight > 100.0 {
            return Err(format!(
                "the shadow `{name}` is shown {weight} percent of the requests; expected 0 to 100"
            ));
        }
    }
    let answering: Vec<f64> = arms.iter().map(|arm| if arm.shadow { 0.0 } else { arm.weight }).collect();
    if shares(&answering).iter().all(|slots| *slots == 0) {
        return Err("no arm that answers has a weight above 0".to_owned());
    }
    for (at, rule) in rules.iter().enumerate() {
        match arms.iter().find(|arm| arm.name == rule.arm) {
            None => return Err(format!("rule {} sends to an unknown arm `{}`", at + 1, rule.arm)),
            Some(arm) if arm.shadow => {
                return Err(format!(
                    "rule {} sends to the shadow `{}`, which answers nobody",
                    at + 1,
                    rule.arm
                ));
            }
            Some(_) => {}
        }
        if rule.one_of.len() > MOST_VALUES {
            return Err(format!("rule {} looks for more than {MOST_VALUES} values", at + 1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
