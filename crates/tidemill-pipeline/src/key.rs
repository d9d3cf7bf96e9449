//! The cache key of a step: what it was keyed on as a canonical record, and what differs between two records.
//!
//! Not in the record, so not in the key: time, host, description, retries, timeout, jobs, the sandbox, the values of
//! secrets, which outputs are metrics or persist.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidemill_core::declare::{Action, DataFormat, EnvSource, RecordsInput, Step};
use tidemill_core::{Digest, canonical_json};

use crate::Content;

/// Version of the record's form. A change makes every step run again, so it is made only when the meaning changes.
pub const KEY_FORMAT: u32 = 1;

/// BLAKE3-256 of the canonical JSON of an [`ActionRecord`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CacheKey(Digest);

impl CacheKey {
    /// The digest, as the journal and the log use it.
    pub const fn digest(self) -> Digest {
        self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a step does, as it stands in the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionText {
    /// A command line.
    Run(String),
    /// The text of a query.
    Sql(String),
    /// The path of a file with a query, whose content is among the dependencies.
    SqlFile(String),
    /// The declaration of a training.
    Train(Value),
}

/// An environment variable, as it stands in the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvRecord {
    /// Its declared value.
    Value(String),
    /// Digest of the inherited value; `None` where it was not set.
    Inherited(Option<Digest>),
    /// Only its name counts.
    Secret,
}

/// Everything that a step's result depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionRecord {
    /// What it does.
    pub action: ActionText,
    /// Version of the built-in body; `None` for commands.
    pub builtin: Option<String>,
    /// Declared paths of the named tables.
    pub inputs: BTreeMap<String, Vec<String>>,
    /// Declared formats of the named tables that have one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub formats: BTreeMap<String, DataFormat>,
    /// Content of everything it reads, by path; patterns are expanded.
    pub deps: BTreeMap<String, Content>,
    /// The parameters that it names.
    pub params: BTreeMap<String, Value>,
    /// Its declared environment.
    pub env: BTreeMap<String, EnvRecord>,
    /// Paths of its outputs.
    pub outs: BTreeSet<String>,
}

impl ActionRecord {
    /// The record of a step whose dependencies have these contents.
    ///
    /// `env` gives the value of a variable of Tidemill's own environment.
    pub fn new(
        step: &Step,
        deps: BTreeMap<String, Content>,
        builtin: Option<String>,
        env: &dyn Fn(&str) -> Option<Vec<u8>>,
    ) -> Self {
        let action = match &step.action {
            Action::Run { command } => ActionText::Run(command.clone()),
            Action::Sql { file: Some(file), .. } => ActionText::SqlFile(file.clone()),
            Action::Sql { text, .. } => ActionText::Sql(text.clone()),
            // A training is plain data with text keys, which always has a JSON form.
            Action::Train(training) => {
                ActionText::Train(serde_json::to_value(training).unwrap_or(Value::Null))
            }
        };
        let env = step.env.iter().map(|(name, source)| {
            let record = match source {
                EnvSource::Value(value) => EnvRecord::Value(value.clone()),
                EnvSource::Inherit => EnvRecord::Inherited(env(name).map(|value| Digest::of(&value))),
                EnvSource::Secret => EnvRecord::Secret,
            };
            (name.clone(), record)
        });
        Self {
            action,
            builtin,
            inputs: step.inputs.iter().map(|input| (input.table.clone(), input.paths.clone())).collect(),
            formats: step
                .inputs
                .iter()
                .filter_map(|input| Some((input.table.clone(), input.format?)))
                .collect(),
            deps,
            params: step.params.clone(),
            env: env.collect(),
            outs: step.outs.iter().map(|out| out.path.clone()).collect(),
        }
    }

    /// The record's key.
    pub fn key(&self) -> CacheKey {
        let deps: BTreeMap<&str, String> =
            self.deps.iter().map(|(path, c)| (path.as_str(), format!("{} {}", c.kind, c.digest))).collect();
        let mut record = json!({
            "format": KEY_FORMAT,
            "action": self.action,
            "builtin": self.builtin,
            "inputs": self.inputs,
            "deps": deps,
            "params": self.params,
            "env": self.env,
            "outs": self.outs,
        });
        if !self.formats.is_empty() {
            record["formats"] = json!(self.formats);
        }
        // A JSON value always has canonical bytes; the fallback only keeps this function total.
        CacheKey(Digest::of(&canonical_json(&record).unwrap_or_default()))
    }

    /// What differs from an earlier record, in a fixed order.
    pub fn changes_since(&self, old: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.action != old.action {
            changes.push(match (&self.action, &old.action) {
                (ActionText::Run(_), ActionText::Run(_)) => Change::Command,
                (ActionText::Sql(_), ActionText::Sql(_)) => Change::Sql,
                (ActionText::Train(new), ActionText::Train(old)) => {
                    Change::Training { keys: differing(new, old) }
                }
                _ => Change::Action,
            });
        }
        if let (Some(new), old) = (&self.builtin, &old.builtin)
            && Some(new) != old.as_ref()
        {
            changes.push(Change::Builtin { new: new.clone(), old: old.clone() });
        }
        for (path, content) in &self.deps {
            match old.deps.get(path) {
                None => changes.push(Change::DepAdded { path: path.clone() }),
                Some(before) if (before.digest, before.kind) != (content.digest, content.kind) => {
                    changes.push(Change::Dep { path: path.clone() });
                }
                Some(_) => {}
            }
        }
        let gone = old.deps.keys().filter(|path| !self.deps.contains_key(*path));
        changes.extend(gone.map(|path| Change::DepRemoved { path: path.clone() }));
        let names: BTreeSet<&String> = self.params.keys().chain(old.params.keys()).collect();
        for name in names {
            let (new, old) = (self.params.get(name), old.params.get(name));
            if new != old {
                changes.push(Change::Param { name: name.clone(), old: old.cloned(), new: new.cloned() });
            }
        }
        let names: BTreeSet<&String> = self.env.keys().chain(old.env.keys()).collect();
        let env = names.into_iter().filter(|name| self.env.get(*name) != old.env.get(*name));
        changes.extend(env.map(|name| Change::Env { name: name.clone() }));
        if self.inputs != old.inputs || self.formats != old.formats {
            changes.push(Change::Inputs);
        }
        if self.outs != old.outs {
            changes.push(Change::Outs);
        }
        changes
    }
}

/// Names of the top-level keys in which two JSON objects differ.
fn differing(new: &Value, old: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let (new, old) = (new.as_object().unwrap_or(&empty), old.as_object().unwrap_or(&empty));
    let keys: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    keys.into_iter().filter(|key| new.get(*key) != old.get(*key)).cloned().collect()
}

/// One difference between two records of the same step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    /// Another command line.
    Command,
    /// Another inline query.
    Sql,
    /// Another training declaration.
    Training {
        /// The keys that differ.
        keys: Vec<String>,
    },
    /// Another kind of action.
    Action,
    /// The built-in body has another version.
    Builtin {
        /// The version now.
        new: String,
        /// The version before.
        old: Option<String>,
    },
    /// Other content at a path.
    Dep {
        /// The path.
        path: String,
    },
    /// A path that was not read before.
    DepAdded {
        /// The path.
        path: String,
    },
    /// A path that is not read any more.
    DepRemoved {
        /// The path.
        path: String,
    },
    /// Another value of a parameter, or one more or less.
    Param {
        /// The parameter.
        name: String,
        /// The value before.
        old: Option<Value>,
        /// The value now.
        new: Option<Value>,
    },
    /// Another declared variable or value.
    Env {
        /// The variable.
        name: String,
    },
    /// Other tables or paths of tables.
    Inputs,
    /// Other declared outputs.
    Outs,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command => f.write_str("command changed"),
            Self::Sql => f.write_str("query changed"),
            Self::Training { keys } if keys.is_empty() => f.write_str("training changed"),
            Self::Training { keys } => {
                let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                write!(f, "training changed: {}", keys.join(", "))
            }
            Self::Action => f.write_str("kind of step changed"),
            Self::Builtin { new, old: Some(old) } => write!(f, "built-in changed {old} → {new}"),
            Self::Builtin { new, old: None } => write!(f, "built-in is now {new}"),
            Self::Dep { path } => write!(f, "`{}` changed", shown(path)),
            Self::DepAdded { path } => write!(f, "`{}` is new", shown(path)),
            Self::DepRemoved { path } => write!(f, "`{}` is no longer read", shown(path)),
            Self::Param { name, old: Some(old), new: Some(new) } => {
                write!(f, "parameter `{name}` changed {} → {}", plain(old), plain(new))
            }
            Self::Param { name, old: None, new: Some(new) } => {
                write!(f, "parameter `{name}` is new: {}", plain(new))
            }
            Self::Param { name, .. } => write!(f, "parameter `{name}` is no longer used"),
            Self::Env { name } => write!(f, "environment variable `{name}` changed"),
            Self::Inputs => f.write_str("declared inputs changed"),
            Self::Outs => f.write_str("declared outputs changed"),
        }
    }
}

/// What a step reads as it stands in the project file.
fn shown(path: &str) -> String {
    RecordsInput::of_path(path).map_or_else(|| path.to_owned(), |records| records.to_string())
}

/// A parameter's value for people: text without quotes unless that would hide its type, long ones shortened.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text)
            if !text.is_empty()
                && serde_json::from_str::<Value>(text).is_err()
                && !text.contains(['\n', ' ']) =>
        {
            text.clone()
        }
        other => other.to_string(),
    };
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests;
