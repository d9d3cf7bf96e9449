//! What an endpoint asks of whoever releases to it. A plan comes from the file of whoever sends it, so what was asked before is asked again
//! until people have agreed, under it, to ask for less.

use serde::{Deserialize, Serialize};

use super::guards::Guards;
use super::plan::{Plan, Stage};
use crate::approval::Rule;

/// An agreement that is asked for, and how many requests a candidate may have had by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Who must agree.
    pub rule: Rule,
    /// The largest share of requests before it, in ten thousandths.
    pub share: u32,
}

/// What a rollout says of agreements and of what protects to the one after it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// What the project file asks for.
    pub asks: Vec<Asked>,
    /// What was asked for before and is not by the file; it is kept until the rollout is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keeps: Vec<Asked>,
    /// What the project file protects with beside agreements; what the plan does where not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guards: Option<Guards>,
    /// What the rollout before it had others held to; it counts until this one is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Guards>,
}

impl Asked {
    /// In words, for example `2 of owner (ada, bob, cid)`.
    pub fn words(&self) -> String {
        let Rule { role, people, count, authenticated, .. } = &self.rule;
        let people = if people.is_empty() { String::new() } else { format!(" ({})", people.join(", ")) };
        let signed_in = if *authenticated { ", signed in" } else { "" };
        let before = match self.share {
            0 => String::new(),
            share => format!(" after {} %", f64::from(share) / 100.0),
        };
        format!("{count} of {role}{people}{signed_in}{before}")
    }

    /// Those of stages, in order.
    pub fn of(stages: &[Stage]) -> Vec<Self> {
        let (mut share, mut asked) = (0, Vec::new());
        for stage in stages {
            match stage {
                Stage::Gate { approve } => asked.push(Self { rule: approve.clone(), share }),
                Stage::Canary { share: of_stage, .. } => share = share.max(*of_stage),
                Stage::Shadow { .. } | Stage::Full { .. } => {}
            }
        }
        asked
    }

    /// Whether it asks for as much as `other`: the same role, nobody who has not had it, as many people, as early, and for as short a time.
    fn is_as_strict_as(&self, other: &Self) -> bool {
        let (own, before) = (&self.rule, &other.rule);
        let is_narrow = before.people.is_empty()
            || !own.people.is_empty() && own.people.iter().all(|person| before.people.contains(person));
        let is_short = match (own.expires, before.expires) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(before)) => own <= before,
        };
        own.role == before.role
            && is_narrow
            && is_short
            && (own.authenticated || !before.authenticated)
            && own.count >= before.count
            && self.share <= other.share
    }
}

impl Plan {
    /// The agreements that it asks for, in order.
    pub fn gates(&self) -> impl Iterator<Item = &Rule> {
        self.stages.iter().filter_map(|stage| match stage {
            Stage::Gate { approve } => Some(approve),
            _ => None,
        })
    }

    /// What the next rollout of the endpoint asks for at least: what the project file of this one asked for, and, until it is complete, which
    /// means that people have agreed to it, also what was asked for before.
    pub fn asks(&self, is_complete: bool) -> Vec<Asked> {
        match &self.policy {
            Some(policy) if is_complete => policy.asks.clone(),
            Some(policy) => policy.asks.iter().chain(&policy.keeps).cloned().collect(),
            None => {
                // The gate before what is outside of an envelope is no policy.
                let is_fenced =
                    self.envelope.is_some() && matches!(self.stages.first(), Some(Stage::Gate { .. }));
                Asked::of(&self.stages[usize::from(is_fenced)..])
            }
        }
    }

    /// What was asked for and is not asked for any more, by rules that are each as strict.
    pub fn lacks(&self, before: &[Asked]) -> Vec<Asked> {
        let mut own = Asked::of(&self.stages);
        let mut lacking = Vec::new();
        for asked in before {
            match own.iter().position(|one| one.is_as_strict_as(asked)) {
                // Each stands for one: who is asked twice agrees twice.
                Some(at) => drop(own.remove(at)),
                None => lacking.push(asked.clone()),
            }
        }
        lacking
    }

    /// Holds it to what was asked for before: what it lacks is asked for before the first request, or in its place for the words of
    /// `instead`. Gives what it lacks.
    pub fn hold_to(&mut self, before: &[Asked], instead: Option<Rule>) -> Vec<Asked> {
        let lacking = self.lacks(before);
        if lacking.is_empty() {
            return lacking;
        }
        let gates = match instead {
            Some(approve) => vec![Stage::Gate { approve }],
            None => lacking.iter().map(|asked| Stage::Gate { approve: asked.rule.clone() }).collect(),
        };
        self.stages.splice(0..0, gates);
        self.policy.get_or_insert_default().keeps.clone_from(&lacking);
        lacking
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rule(role: &str, people: &[&str], count: u32, expires: Option<u64>) -> Rule {
        let people = people.iter().map(|name| (*name).to_owned()).collect();
        let expires = expires.map(Duration::from_secs);
        Rule { role: role.into(), people, count, expires, authenticated: false }
    }

    fn asked(rule: Rule, share: u32) -> Asked {
        Asked { rule, share }
    }

    #[test]
    fn what_is_as_strict() {
        let before = asked(rule("owner", &["ada", "bob"], 1, Some(10)), 500);
        for (now, is_so) in [
            (asked(rule("owner", &["ada", "bob"], 1, Some(10)), 500), true),
            (asked(rule("owner", &["ada"], 2, Some(5)), 0), true),
            (asked(rule("owner", &[], 1, Some(10)), 500), false),
            (asked(rule("owner", &["ada", "eve"], 1, Some(10)), 500), false),
            (asked(rule("owner", &["ada"], 0, Some(10)), 500), false),
            (asked(rule("owner", &["ada"], 1, None), 500), false),
            (asked(rule("owner", &["ada"], 1, Some(11)), 500), false),
            (asked(rule("owner", &["ada"], 1, Some(10)), 501), false),
            (asked(rule("viewer", &["ada"], 1, Some(10)), 500), false),
        ] {
            assert_eq!(now.is_as_strict_as(&before), is_so, "{now:?}");
        }
        assert_eq!(before.words(), "1 of owner (ada, bob) after 5 %");
        let anybody = asked(rule("owner", &[], 1, None), 0);
        assert!(asked(rule("owner", &["eve"], 1, None), 0).is_as_strict_as(&anybody), "fewer people");
        let proven = Asked { rule: Rule { authenticated: true, ..anybody.rule.clone() }, share: 0 };
        assert!(proven.is_as_strict_as(&anybody) && !anybody.is_as_strict_as(&proven));
        assert_eq!(proven.words(), "1 of owner, signed in");
    }
}
