//! Who somebody is and what was granted to them, kept in memory so that a request costs neither a slow comparison of passwords nor
//! a read of the database.
//!
//! What is kept of people is dropped when this server changes a user, a role or a permission, and within [`LOOK`] when another
//! server on the same database does. That a password was found right is remembered until the password changes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use tidemill_core::RunId;
use tidemill_db::Db;
use tidemill_db::access::{PasswordHash, Role, User};
use tokio::sync::Semaphore;

use super::need::Held;
use super::permission::{Permission, Resource};
use super::roles::WORKSPACE;
use super::{ROUNDS, password};
use crate::fresh::random_bytes;
use crate::{Code, Error, Registry, Result, validate};

/// How long another server may go on with what was changed.
const LOOK: Duration = Duration::from_secs(1);
/// People, passwords and runs that are kept in memory; beyond it is begun anew.
const MOST: usize = 10_000;
/// Passwords that are compared at once; each takes a core.
const AT_ONCE: usize = 2;

/// Users, roles and permissions of one database. Clones share what is kept.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    default: Permission,
    rounds: NonZeroU32,
    /// What passwords that were found right are remembered by: another key in each process.
    key: hmac::Key,
    nobody: PasswordHash,
    turns: Semaphore,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What the database counted when it was looked at last.
    revision: Option<i64>,
    looked_at: Option<Instant>,
    /// Counts what this process changed.
    changes: u64,
    people: HashMap<String, Arc<Person>>,
    /// What was last given and found right, by what the database keeps of the password.
    proofs: HashMap<PasswordHash, hmac::Tag>,
    /// The experiments of runs, which never move.
    runs: HashMap<RunId, i64>,
}

/// The administrator that a server makes when it starts with a database that has none of this name.
#[derive(Clone)]
pub struct Admin {
    /// The name.
    pub name: String,
    /// The password; needed where the user is not there yet.
    pub password: Option<String>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admin({})", self.name)
    }
}

/// Somebody who signed in.
pub struct Person {
    /// Their number.
    pub id: i64,
    /// Their name.
    pub name: String,
    /// Whether everything is permitted to them.
    pub admin: bool,
    /// What was granted to them.
    pub held: Held,
    /// The workspaces in which they have a role.
    pub present: BTreeSet<String>,
    /// Of these, the ones in which it is not only their own.
    pub shares: BTreeSet<String>,
    /// The workspaces that they look after.
    pub manages: BTreeSet<String>,
    password: PasswordHash,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Person({})", self.name)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access(by default {})", self.inner.default)
    }
}

impl Person {
    fn of(user: User, roles: &[Role], default: Permission) -> Self {
        let manages = |role: &&Role| {
            let word = (Resource::Workspace.word(), Permission::Manage.word());
            role.grants.iter().any(|grant| (grant.resource_type.as_str(), grant.permission.as_str()) == word)
        };
        let name = |role: &Role| role.workspace.clone();
        let counting = roles.iter().filter(|role| role.workspace == WORKSPACE);
        let grants = counting.flat_map(|role| &role.grants).filter_map(|grant| {
            let resource = Resource::from_word(&grant.resource_type)?;
            Some((resource, grant.resource_pattern.clone(), Permission::from_word(&grant.permission)?))
        });
        Self {
            id: user.id,
            name: user.name,
            admin: user.admin,
            held: Held::new(grants.collect(), default),
            present: roles.iter().map(name).collect(),
            shares: roles.iter().filter(|role| role.owner.is_none()).map(name).collect(),
            manages: roles.iter().filter(manages).map(name).collect(),
            password: user.password,
        }
    }

    /// What sessions of browsers are signed with: another one after each change of the password.
    pub fn session_key(&self) -> &[u8] {
        self.password.reveal().as_bytes()
    }
}

impl Access {
    /// Users of a registry's database. `default` is what everybody has on what nothing was granted on.
    pub fn new(registry: Registry, default: Permission) -> Result<Self> {
        Self::with_rounds(registry, default, ROUNDS)
    }

    /// As [`Self::new`], with other rounds for new passwords; tests take few.
    pub fn with_rounds(registry: Registry, default: Permission, rounds: NonZeroU32) -> Result<Self> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random_bytes::<32>()?);
        let nobody = password::nobodys(rounds)?;
        let inner = Inner {
            registry,
            default,
            rounds,
            key,
            nobody,
            turns: Semaphore::new(AT_ONCE),
            known: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What everybody has on what nothing was granted on.
    pub fn default_permission(&self) -> Permission {
        self.inner.default
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    pub(super) fn db(&self) -> &Db {
        &self.inner.registry.db
    }

    /// The user of this name, whoever asks.
    pub async fn person(&self, name: &str) -> Result<Option<Arc<Person>>> {
        let (revision, changes) = self.look().await?;
        let found = self.known().people.get(name).cloned();
        if found.is_some() {
            return Ok(found);
        }
        let Some((user, roles)) = self.db().access_of(name).await? else { return Ok(None) };
        let person = Arc::new(Person::of(user, &roles, self.inner.default));
        let mut known = self.known();
        if (known.revision, known.changes) == (Some(revision), changes) {
            keep(&mut known.people, name.to_owned(), Arc::clone(&person));
        }
        Ok(Some(person))
    }

    /// The user of this name, if it is this password. A wrong name takes as long as a wrong password.
    pub async fn sign_in(&self, name: &str, password: &str) -> Result<Option<Arc<Person>>> {
        let person = self.person(name).await?;
        let proven = |person: &Person| {
            let proof = self.known().proofs.get(&person.password).copied();
            proof.is_some_and(|tag| hmac::verify(&self.inner.key, password.as_bytes(), tag.as_ref()).is_ok())
        };
        if let Some(person) = person.as_ref().filter(|person| proven(person)) {
            return Ok(Some(Arc::clone(person)));
        }
        // Until what comes of it is kept: whoever waits may be the same client.
        let _turn = self.inner.turns.acquire().await.map_err(|error| broken(&error))?;
        if let Some(person) = person.as_ref().filter(|person| proven(person)) {
            return Ok(Some(Arc::clone(person)));
        }
        let kept = person.as_ref().map_or(&self.inner.nobody, |person| &person.password).clone();
        let secret = password.to_owned();
        let compared = tokio::task::spawn_blocking(move || password::matches(&kept, &secret)).await;
        let right = compared.map_err(|error| broken(&error))?;
        let Some(person) = person.filter(|_| right) else { return Ok(None) };
        let given = hmac::sign(&self.inner.key, password.as_bytes());
        keep(&mut self.known().proofs, person.password.clone(), given);
        Ok(Some(person))
    }

    /// What is to be kept of a new password.
    pub(super) async fn hash(&self, password: &str) -> Result<PasswordHash> {
        password::check(password)?;
        let turn = self.inner.turns.acquire().await.map_err(|error| broken(&error))?;
        let (secret, rounds) = (password.to_owned(), self.inner.rounds);
        let made = tokio::task::spawn_blocking(move || password::hash(&secret, rounds)).await;
        drop(turn);
        made.map_err(|error| broken(&error))?
    }

    /// The experiment of a run; `None` where there is no such run.
    pub async fn experiment_of_run(&self, run: &str) -> Result<Option<i64>> {
        let Ok(id) = validate::run_id(run) else { return Ok(None) };
        let found = self.known().runs.get(&id).copied();
        if found.is_some() {
            return Ok(found);
        }
        let Some(info) = self.db().tracked_run_info(id).await? else { return Ok(None) };
        keep(&mut self.known().runs, id, info.experiment);
        Ok(Some(info.experiment))
    }

    /// Drops what is kept of people, after a change.
    pub fn forget(&self) {
        let mut known = self.known();
        known.people.clear();
        known.revision = None;
        known.looked_at = None;
        known.changes += 1;
    }

    /// Looks whether another server changed something; gives what the database and this process counted.
    async fn look(&self) -> Result<(i64, u64)> {
        let changes = {
            let known = self.known();
            if let (Some(revision), Some(at)) = (known.revision, known.looked_at)
                && at.elapsed() < LOOK
            {
                return Ok((revision, known.changes));
            }
            known.changes
        };
        let revision = self.db().access_revision().await?;
        let mut known = self.known();
        if known.changes == changes {
            if known.revision != Some(revision) {
                known.people.clear();
            }
            known.revision = Some(revision);
            known.looked_at = Some(Instant::now());
        }
        Ok((revision, changes))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps something in a map, which is begun anew when it is full.
fn keep<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= MOST {
        map.clear();
    }
    map.insert(key, value);
}

fn broken(error: &dyn std::error::Error) -> Error {
    Error {
        code: Code::InternalError,
        message: "the server cannot compare passwords at present".to_owned(),
        source: Some(error.to_string().into()),
    }
}
