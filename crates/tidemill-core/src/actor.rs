//! Who did something.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of hand acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person at a command line, page or client.
    User,
    /// A program with a token of its own.
    Service,
    /// Tidemill itself: a schedule, a rule, a retry.
    System,
}

/// Who is recorded for a state change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What kind.
    pub kind: ActorKind,
    /// The name, for example the operating system's user.
    pub name: String,
}

impl Actor {
    /// A person.
    pub fn user(name: impl Into<String>) -> Self {
        Self { kind: ActorKind::User, name: name.into() }
    }

    /// Tidemill itself.
    pub fn system(name: impl Into<String>) -> Self {
        Self { kind: ActorKind::System, name: name.into() }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ActorKind::User => "user",
            ActorKind::Service => "service",
            ActorKind::System => "system",
        };
        write!(f, "{kind}:{}", self.name)
    }
}
