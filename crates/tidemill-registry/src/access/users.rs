//! Making, changing and removing users.

use std::collections::HashMap;

use tidemill_core::{Actor, EventKind};
use tidemill_db::Tx;
use tidemill_db::access::{Members, Role, Roles, User};

use super::people::{Access, Admin};
use crate::{Code, Error, Result};

/// Bytes of a user's name, which stands in the log with everything that they do.
const NAME: usize = 128;
/// What older versions of MLflow gave every administrator, so everybody knows it.
const KNOWN: &str = "password1234";

impl Access {
    /// Makes the administrator, if there is no user of this name; `true` if it was made. Whoever has the name already is left as
    /// they are.
    pub async fn prepare(&self, admin: &Admin) -> Result<bool> {
        check_name(&admin.name)?;
        if self.db().access_of(&admin.name).await?.is_some() {
            return Ok(false);
        }
        let Some(password) = &admin.password else {
            return Err(Error::invalid(format!(
                "there is no user `{}` yet, and no password to make this administrator with",
                admin.name
            )));
        };
        if password == KNOWN {
            return Err(Error::invalid(
                "this password came with older versions of MLflow, so everybody knows it",
            ));
        }
        let made = self.create_user(&Actor::system("tidemill"), &admin.name, password, true).await;
        match made {
            Ok(_) => Ok(true),
            // Another server on the same database was faster.
            Err(error) if error.code == Code::ResourceAlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a user.
    pub async fn create_user(&self, actor: &Actor, name: &str, password: &str, admin: bool) -> Result<User> {
        check_name(name)?;
        let hash = self.hash(password).await?;
        let mut tx = self.db().begin().await?;
        if tx.access_user(name).await?.is_some() {
            return Err(Error::exists(format!("User (username={name}) already exists.")));
        }
        let user = tx.add_access_user(name, &hash, admin, self.registry().clock.now()).await?;
        self.done(tx, actor, vec![changed(name, "created")]).await?;
        Ok(user)
    }

    /// The user of a name.
    pub async fn user(&self, name: &str) -> Result<User> {
        Ok(self.user_and_roles(name).await?.0)
    }

    /// The user of a name, and the roles that they have.
    pub async fn user_and_roles(&self, name: &str) -> Result<(User, Vec<Role>)> {
        self.db().access_of(name).await?.ok_or_else(|| no_user(name))
    }

    /// All users with the roles that they have, in the order in which they were made.
    pub async fn users(&self) -> Result<Vec<(User, Vec<Role>)>> {
        let users = self.db().access_users().await?;
        let roles = self.db().access_roles(&Roles::All).await?;
        let roles: HashMap<i64, Role> = roles.into_iter().map(|role| (role.id, role)).collect();
        let mut of_user: HashMap<i64, Vec<Role>> = HashMap::new();
        for member in self.db().access_members(Members::All).await? {
            if let Some(role) = roles.get(&member.role) {
                of_user.entry(member.user).or_default().push(role.clone());
            }
        }
        let with_roles = |user: User| {
            let roles = of_user.remove(&user.id).unwrap_or_default();
            (user, roles)
        };
        Ok(users.into_iter().map(with_roles).collect())
    }

    /// Gives a user another password.
    pub async fn set_password(&self, actor: &Actor, name: &str, password: &str) -> Result<()> {
        self.user(name).await?;
        let hash = self.hash(password).await?;
        let mut tx = self.db().begin().await?;
        let user = here(&mut tx, name).await?;
        tx.set_access_password(user.id, &hash).await?;
        self.done(tx, actor, vec![changed(name, "password")]).await
    }

    /// Says whether everything is permitted to a user.
    pub async fn set_admin(&self, actor: &Actor, name: &str, admin: bool) -> Result<()> {
        let mut tx = self.db().begin().await?;
        let user = here(&mut tx, name).await?;
        tx.set_access_admin(user.id, admin).await?;
        self.done(tx, actor, vec![changed(name, if admin { "admin" } else { "no admin" })]).await
    }

    /// Removes a user. What they made stays.
    pub async fn delete_user(&self, actor: &Actor, name: &str) -> Result<()> {
        let mut tx = self.db().begin().await?;
        let user = here(&mut tx, name).await?;
        tx.remove_access_user(user.id).await?;
        self.done(tx, actor, vec![changed(name, "deleted")]).await
    }

    /// Ends a change.
    pub(super) async fn done(&self, tx: Tx, actor: &Actor, kinds: Vec<EventKind>) -> Result<()> {
        let events = kinds.into_iter().map(|kind| self.registry().event(actor, kind)).collect();
        tx.commit(events).await?;
        self.forget();
        Ok(())
    }
}

/// The user of a name, as it stands in this transaction.
pub(super) async fn here(tx: &mut Tx, name: &str) -> Result<User> {
    tx.access_user(name).await?.ok_or_else(|| no_user(name))
}

pub(super) fn no_user(name: &str) -> Error {
    Error::missing(format!("User with username={name} not found"))
}

fn changed(user: &str, change: &str) -> EventKind {
    EventKind::UserChanged { user: user.to_owned(), change: change.to_owned() }
}

/// A name must get through basic authentication, where a colon ends it, and into the log.
fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::invalid("Username cannot be empty."));
    }
    if name.len() > NAME || name.contains(':') || name.contains(char::is_control) {
        return Err(Error::invalid(format!(
            "Username '{}' is invalid: it must have at most {NAME} bytes, no colon and no control characters.",
            name.escape_debug()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_of_users() {
        for good in ["ada", "ada@example.com", "Ada Lovelace", "ä", &"x".repeat(128)] {
            check_name(good).unwrap();
        }
        for bad in ["", " ", "a:b", "a\nb", "a\0", &"x".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
