//! Who may do what: users who sign in with a name and a password, roles, and permissions on experiments, registered models and what
//! lies in them, as MLflow's authentication plugin has them.
//!
//! [`Access`] knows who somebody is and what was granted to them, and changes both. What a request needs is said by the server,
//! in terms of [`Need`]; whether that is met is decided by [`Held`], which is pure.

mod need;
mod password;
mod people;
mod permission;
mod roles;
#[cfg(test)]
mod tests;
mod users;

pub use need::{Held, ModelScope, Need, Scope, needs};
pub use password::ROUNDS;
pub use people::{Access, Admin, Person};
pub use permission::{Action, EVERY, Permission, Resource};
pub use roles::WORKSPACE;
pub(crate) use roles::give_to_maker;
pub use tidemill_db::access::{Grant, Member, Role, User};

use tidemill_db::Tx;

use crate::{Registry, Result};

impl Registry {
    /// Whether this is a prompt; `None` where there is no registered model of this name.
    pub async fn is_prompt_named(&self, name: &str) -> Result<Option<bool>> {
        let found = self.db.registered_model(name).await?;
        Ok(found.map(|model| crate::models::is_prompt(&model.tags)))
    }
}

/// Takes back what single users were granted on a registered model that is gone.
pub(crate) async fn forget_model(tx: &mut Tx, name: &str) -> Result<()> {
    for kind in [Resource::RegisteredModel, Resource::Prompt] {
        tx.forget_access(kind.word(), name).await?;
    }
    Ok(())
}

/// Lets what single users were granted on a registered model follow it to its new name.
pub(crate) async fn rename_model(tx: &mut Tx, from: &str, to: &str) -> Result<()> {
    for kind in [Resource::RegisteredModel, Resource::Prompt] {
        tx.rename_access(kind.word(), from, to).await?;
    }
    Ok(())
}
