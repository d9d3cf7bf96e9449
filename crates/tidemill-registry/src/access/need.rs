//! What a request needs, and whether what was granted to somebody meets it. Pure.
//!
//! A need names a thing and an action. Things inside of another one, such as runs in an experiment, are granted as a whole;
//! where somebody has no grant on them, what they have on the thing around it decides instead. The first thing on which there is
//! any grant decides alone: one on all runs can give more than the experiment does, and less.

use std::collections::BTreeSet;

use tidemill_db::search::{Condition, Field, Op, Operand};

use super::permission::{Action, EVERY, Permission, Resource};

/// One thing that a request does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need(Vec<(Resource, String, Action)>);

impl Need {
    /// To do this with a thing.
    pub fn to(action: Action, resource: Resource, id: impl Into<String>) -> Self {
        Self(vec![(resource, id.into(), action)])
    }

    /// To do this with things of a kind, wherever they are.
    pub fn to_any(action: Action, resource: Resource) -> Self {
        Self::to(action, resource, EVERY)
    }

    /// Where nothing was granted on the thing, this is asked instead.
    #[must_use]
    pub fn or(mut self, action: Action, resource: Resource, id: impl Into<String>) -> Self {
        self.0.push((resource, id.into(), action));
        self
    }
}

/// What somebody may see of a kind of thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All.
    #[default]
    All,
    /// These only.
    Only(Vec<String>),
    /// All but these.
    Except(Vec<String>),
}

impl Scope {
    /// What a search has to ask besides, of the attribute that names the things.
    pub(crate) fn condition(&self, attribute: &str) -> Option<Condition> {
        let (op, ids) = match self {
            Self::All => return None,
            Self::Only(ids) => (Op::In, ids),
            Self::Except(ids) => (Op::NotIn, ids),
        };
        let field = Field::Attribute(attribute.to_owned());
        Some(Condition { field, op, value: Operand::List(ids.clone()) })
    }

    /// Whether a thing is seen.
    pub fn shows(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.iter().any(|known| known == id),
            Self::Except(ids) => ids.iter().all(|known| known != id),
        }
    }
}

/// What somebody may see of registered models, and of prompts, which are kept among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelScope {
    /// Of registered models that are none.
    pub models: Scope,
    /// Of prompts.
    pub prompts: Scope,
}

/// What was granted to somebody in all of their roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    grants: Vec<(Resource, String, Permission)>,
    default: Permission,
    everything: bool,
}

impl Held {
    /// From the grants, and what everybody has on what nothing was granted on.
    pub fn new(grants: Vec<(Resource, String, Permission)>, default: Permission) -> Self {
        let everything = grants.iter().any(|(resource, _, permission)| {
            (*resource, *permission) == (Resource::Workspace, Permission::Manage)
        });
        Self { grants, default, everything }
    }

    /// Whether they look after the whole workspace.
    pub fn manages_everything(&self) -> bool {
        self.everything
    }

    /// The permission on a thing as it is told to people: what was granted, or what everybody has.
    pub fn on(&self, resource: Resource, id: &str) -> Permission {
        if self.everything {
            return Permission::Manage;
        }
        self.granted(resource, id).map_or(self.default, |granted| granted.at_least(self.default))
    }

    /// Whether a need is met.
    pub fn meets(&self, need: &Need) -> bool {
        if self.everything {
            return true;
        }
        let found =
            need.0.iter().find_map(|(resource, id, action)| Some((self.granted(*resource, id)?, *action)));
        let (permission, action) = match (found, need.0.last()) {
            (Some((granted, action)), _) => (granted.at_least(self.default), action),
            (None, Some((_, _, action))) => (self.default, *action),
            (None, None) => return false,
        };
        permission.allows(action)
    }

    /// Whether all needs are met.
    pub fn meets_all(&self, needs: &[Need]) -> bool {
        needs.iter().all(|need| self.meets(need))
    }

    /// Which things of a kind may be looked at, where those of the kind `inside` are what is shown of them.
    pub fn scope(&self, resource: Resource, inside: Option<Resource>) -> Scope {
        if self.everything {
            return Scope::All;
        }
        if inside.is_some_and(|inside| !self.meets(&Need::to_any(Action::NotDenied, inside))) {
            return Scope::Only(Vec::new());
        }
        let of_kind = || self.grants.iter().filter(move |(kind, _, _)| *kind == resource);
        let (mut seen, mut hidden) = (BTreeSet::new(), BTreeSet::new());
        for (_, id, permission) in of_kind().filter(|(_, id, _)| id != EVERY) {
            if *permission == Permission::Deny {
                hidden.insert(id.clone())
            } else {
                seen.insert(id.clone())
            };
        }
        let all = match self.granted(resource, EVERY) {
            // It denies each of them, whatever was granted on one.
            Some(Permission::Deny) => return Scope::Only(Vec::new()),
            Some(_) => true,
            None => self.default.allows(Action::Read),
        };
        match (all, hidden.is_empty()) {
            (true, true) => Scope::All,
            (true, false) => Scope::Except(hidden.into_iter().collect()),
            (false, _) => Scope::Only(seen.difference(&hidden).cloned().collect()),
        }
    }

    /// What was granted on a thing, or on all of its kind: the greatest, unless one denies.
    fn granted(&self, resource: Resource, id: &str) -> Option<Permission> {
        let fits = |(kind, pattern, _): &&(Resource, String, Permission)| {
            *kind == resource && (pattern == EVERY || pattern == id && resource.has_single_ones())
        };
        let granted = self.grants.iter().filter(fits).map(|(_, _, permission)| *permission);
        let all: Vec<Permission> = granted.collect();
        if all.contains(&Permission::Deny) { Some(Permission::Deny) } else { all.into_iter().max() }
    }
}

/// What requests need, in words of things that lie in an experiment or a registered model.
pub mod needs {
    use super::{Action, Need, Resource};

    /// To do something with an experiment itself.
    pub fn experiment(action: Action, id: i64) -> Need {
        Need::to(action, Resource::Experiment, id.to_string())
    }

    /// To do something with all of a kind; where nothing was granted on them, `around` with their experiment.
    fn within(action: Action, kind: Resource, around: Action, experiment: i64) -> Need {
        Need::to_any(action, kind).or(around, Resource::Experiment, experiment.to_string())
    }

    /// To do something with what lies in an experiment: its runs, traces, logged models.
    pub fn inside(action: Action, kind: Resource, experiment: i64) -> Vec<Need> {
        vec![self::experiment(Action::Read, experiment), within(action, kind, action, experiment)]
    }

    /// To make something in an experiment.
    pub fn create(kind: Resource, experiment: i64) -> Vec<Need> {
        vec![self::experiment(Action::Update, experiment), Need::to_any(Action::NotDenied, kind)]
    }

    /// To delete an experiment with everything in it, or to take it back.
    pub fn whole_experiment(experiment: i64) -> Vec<Need> {
        let inside = [
            Resource::Run,
            Resource::Trace,
            Resource::LoggedModel,
            Resource::Assessment,
            Resource::ReviewQueue,
            Resource::Scorer,
            Resource::ScorerVersion,
        ];
        let inside = inside.map(|kind| within(Action::Delete, kind, Action::Delete, experiment));
        std::iter::once(self::experiment(Action::Delete, experiment)).chain(inside).collect()
    }

    /// To delete traces of an experiment, with their assessments.
    pub fn delete_traces(experiment: i64) -> Vec<Need> {
        vec![
            self::experiment(Action::Read, experiment),
            within(Action::Delete, Resource::Trace, Action::Delete, experiment),
            within(Action::Delete, Resource::Assessment, Action::Update, experiment),
        ]
    }

    /// To do something with an assessment of a trace. Deleting one asks no more of whoever may change the experiment.
    pub fn assessment(action: Action, experiment: i64) -> Vec<Need> {
        let around = if action == Action::Delete { Action::Update } else { action };
        let mut needs = inside(Action::Read, Resource::Trace, experiment);
        needs.push(within(action, Resource::Assessment, around, experiment));
        needs
    }
}
