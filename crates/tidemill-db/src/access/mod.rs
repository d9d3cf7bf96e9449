//! Users with passwords, roles, and what a role permits.
//!
//! Rows only: which permissions there are, and what follows from them, is the registry's matter. What was granted to one user
//! alone stands in a role that this user owns.

mod read;
mod write;

use std::fmt;

/// Somebody who signs in with a name and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Never given twice.
    pub id: i64,
    /// Unique.
    pub name: String,
    /// What is kept of the password.
    pub password: PasswordHash,
    /// Whether everything is permitted.
    pub admin: bool,
}

/// What is kept of a password. Never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for comparing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A name for permissions that several users may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Never given twice.
    pub id: i64,
    /// Where it counts.
    pub workspace: String,
    /// Unique in its workspace.
    pub name: String,
    /// What it is for, in people's words.
    pub description: Option<String>,
    /// The user whose own permissions it holds.
    pub owner: Option<i64>,
    /// What it permits, in the order in which it was granted.
    pub grants: Vec<Grant>,
}

/// A permission of a role on one thing, or on all of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Never given twice.
    pub id: i64,
    /// The role.
    pub role: i64,
    /// The kind of thing, for example `experiment`.
    pub resource_type: String,
    /// Which one; `*` for all.
    pub resource_pattern: String,
    /// For example `READ`.
    pub permission: String,
}

/// A user has a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Never given twice.
    pub id: i64,
    /// The user.
    pub user: i64,
    /// The role.
    pub role: i64,
}

/// Which roles are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roles {
    /// All.
    All,
    /// Those of these workspaces.
    In(Vec<String>),
    /// Those that a user has.
    Of(i64),
    /// One.
    One(i64),
}

/// Which members are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Members {
    /// Those of all roles.
    All,
    /// Those of a role.
    Of(i64),
}
