//! Approvals: who may agree to what, and which of them count. The one place where that is decided.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, Identity, Timestamp};

/// Who must agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The role that approvers have.
    pub role: String,
    /// Who has the role; everybody who can be told from the author where nobody is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    /// How many of them; at least 1.
    pub count: u32,
    /// How long an approval holds; for ever where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Duration>,
    /// Whether only those count who have signed in at a server with a password of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub authenticated: bool,
}

/// A person's agreement to exactly what `inputs` names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// The role in which they agreed.
    pub role: String,
    /// Digest of everything that was agreed to: release, plan and evidence.
    pub inputs: Digest,
    /// When.
    pub at: Timestamp,
    /// How it is known who they are.
    #[serde(default, skip_serializing_if = "Identity::is_unknown")]
    pub identity: Identity,
}

/// Why an approval is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The author would approve their own work.
    #[error("`{0}` made this release or set it off, and cannot approve it")]
    Author(String),
    /// The person has not the role.
    #[error("approving takes the role `{needed}`")]
    Role {
        /// The role that is needed.
        needed: String,
    },
    /// It is not proven who it is.
    #[error(
        "agreeing takes a user who has signed in at the server with a password of their own, and `{by}` is known {}",
        how.words()
    )]
    Unproven {
        /// Who it would be.
        by: String,
        /// How that is known.
        how: Identity,
    },
    /// What was looked at is not what is released.
    #[error("the approval is of {given}, but what waits is {expected}: something changed in between")]
    Changed {
        /// What was approved.
        given: Digest,
        /// What waits.
        expected: Digest,
    },
    /// The same person again.
    #[error("`{0}` has approved already")]
    Twice(String),
    /// Nothing waits for an approval.
    #[error("nothing waits for an approval")]
    NotAwaited,
}

impl Rule {
    /// Whether somebody may agree in this role.
    pub fn is_held_by(&self, person: &str) -> bool {
        self.people.is_empty() || self.people.iter().any(|one| one == person)
    }

    /// Whether it is proven well enough who somebody is.
    ///
    /// # Errors
    ///
    /// Says why not.
    pub fn knows(&self, by: &str, how: Identity) -> Result<(), Refusal> {
        if self.authenticated && !how.is_proven() {
            return Err(Refusal::Unproven { by: by.to_owned(), how });
        }
        Ok(())
    }
}

/// Whether an approval may be recorded.
///
/// # Errors
///
/// Says why not.
pub fn admit(
    rule: &Rule,
    author: &str,
    inputs: Digest,
    recorded: &[Approval],
    new: &Approval,
) -> Result<(), Refusal> {
    if new.by == author {
        return Err(Refusal::Author(author.to_owned()));
    }
    if new.role != rule.role || !rule.is_held_by(&new.by) {
        return Err(Refusal::Role { needed: rule.role.clone() });
    }
    rule.knows(&new.by, new.identity)?;
    if new.inputs != inputs {
        return Err(Refusal::Changed { given: new.inputs, expected: inputs });
    }
    if counting(rule, author, inputs, recorded, new.at).contains(new.by.as_str()) {
        return Err(Refusal::Twice(new.by.clone()));
    }
    Ok(())
}

/// The people whose approvals count now: not the author's, not those of other inputs, not expired ones, each person once.
pub fn counting<'a>(
    rule: &Rule,
    author: &str,
    inputs: Digest,
    recorded: &'a [Approval],
    now: Timestamp,
) -> BTreeSet<&'a str> {
    recorded
        .iter()
        .filter(|approval| {
            approval.by != author
                && approval.role == rule.role
                && rule.is_held_by(&approval.by)
                && rule.knows(&approval.by, approval.identity).is_ok()
                && approval.inputs == inputs
                && rule.expires.is_none_or(|expires| now.since(approval.at) < expires)
        })
        .map(|approval| approval.by.as_str())
        .collect()
}

/// Whether enough people agree.
pub fn enough(rule: &Rule, author: &str, inputs: Digest, recorded: &[Approval], now: Timestamp) -> bool {
    counting(rule, author, inputs, recorded, now).len() >= rule.count.max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(hours * 3_600_000)
    }

    fn by(name: &str, role: &str, inputs: &[u8], hours: i64) -> Approval {
        let identity = Identity::Password;
        Approval { by: name.into(), role: role.into(), inputs: Digest::of(inputs), at: at(hours), identity }
    }

    #[test]
    fn what_counts() {
        let rule = Rule {
            role: "owner".into(),
            people: vec![],
            count: 2,
            expires: Some(Duration::from_secs(72 * 3600)),
            authenticated: false,
        };
        let inputs = Digest::of(b"release");
        let recorded = [
            by("ada", "owner", b"release", 0),
            by("ada", "owner", b"release", 1),
            by("author", "owner", b"release", 1),
            by("eve", "viewer", b"release", 1),
            by("bob", "owner", b"another", 1),
            by("cid", "owner", b"release", 70),
        ];
        let people = |now| counting(&rule, "author", inputs, &recorded, now).into_iter().collect::<Vec<_>>();
        assert_eq!(people(at(71)), ["ada", "cid"]);
        assert!(enough(&rule, "author", inputs, &recorded, at(71)));
        assert_eq!(people(at(80)), ["cid"], "expired");
        assert!(!enough(&rule, "author", inputs, &recorded, at(80)));
        assert!(!enough(&rule, "author", Digest::of(b"changed"), &recorded, at(71)), "void");
    }

    #[test]
    fn what_is_refused() {
        let rule =
            Rule { role: "owner".into(), people: vec![], count: 1, expires: None, authenticated: false };
        let inputs = Digest::of(b"release");
        let recorded = [by("ada", "owner", b"release", 0)];
        let refused = |new: Approval| admit(&rule, "author", inputs, &recorded, &new).unwrap_err();
        assert_eq!(refused(by("author", "owner", b"release", 1)), Refusal::Author("author".into()));
        assert_eq!(refused(by("bob", "viewer", b"release", 1)), Refusal::Role { needed: "owner".into() });
        assert!(matches!(refused(by("bob", "owner", b"old", 1)), Refusal::Changed { .. }));
        assert_eq!(refused(by("ada", "owner", b"release", 1)), Refusal::Twice("ada".into()));
        let named = Rule { people: vec!["ada".into()], ..rule.clone() };
        let stranger = admit(&named, "author", inputs, &[], &by("bob", "owner", b"release", 1));
        assert_eq!(stranger, Err(Refusal::Role { needed: "owner".into() }));
        assert_eq!(admit(&rule, "author", inputs, &recorded, &by("bob", "owner", b"release", 1)), Ok(()));
    }

    #[test]
    fn who_is_known_by_a_name_alone_does_not_count_where_that_is_declared() {
        let rule =
            Rule { role: "owner".into(), people: vec![], count: 1, expires: None, authenticated: true };
        let inputs = Digest::of(b"release");
        for (identity, is_taken) in [
            (Identity::Password, true),
            (Identity::SharedSecret, false),
            (Identity::Account, false),
            (Identity::Claimed, false),
            (Identity::Unknown, false),
        ] {
            let new = Approval { identity, ..by("bob", "owner", b"release", 1) };
            let taken = admit(&rule, "author", inputs, &[], &new);
            assert_eq!(taken.is_ok(), is_taken, "{taken:?}");
            if let Err(refusal) = taken {
                let said = refusal.to_string();
                assert!(said.ends_with(&format!("`bob` is known {}", identity.words())), "{said}");
            }
            // What was taken before the rule asked for it does not count either.
            assert_eq!(enough(&rule, "author", inputs, std::slice::from_ref(&new), at(2)), is_taken);
            let any = Rule { authenticated: false, ..rule.clone() };
            assert!(enough(&any, "author", inputs, &[new], at(2)));
        }
    }
}
