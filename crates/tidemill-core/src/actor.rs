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

/// How it is known who somebody is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Nobody has noted it.
    #[default]
    Unknown,
    /// A server has checked a password of their own.
    Password,
    /// A server has checked a secret that several may know, and believes the name that came with it.
    SharedSecret,
    /// A command ran under the operating system's account of that name.
    Account,
    /// It is a name out of the environment of a command, or of a request of which nothing was asked.
    Claimed,
}

impl Identity {
    /// Whether it is this person and nobody else, as far as a secret of their own can tell.
    pub fn is_proven(self) -> bool {
        self == Self::Password
    }

    /// Whether nobody has noted it.
    pub fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    /// In words, for example `signed in with a password of their own`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unknown => "how that is known was not noted",
            Self::Password => "signed in with a password of their own",
            Self::SharedSecret => "by a name that came with the server's token",
            Self::Account => "by the account of the operating system",
            Self::Claimed => "by a name that nothing proves",
        }
    }
}
