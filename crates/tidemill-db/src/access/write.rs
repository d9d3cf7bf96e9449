//! Changing users, roles and permissions. Numbers and the count of changes are one: each thing that is made or changed takes
//! the next one.

use tidemill_core::Timestamp;

use super::{PasswordHash, User};
use crate::backend::on;
use crate::{Result, Tx};

/// Runs one statement of a transaction; gives the number of rows that it changed.
macro_rules! change {
    ($tx:expr, $what:literal, $sql:expr $(, $value:expr)*) => {{
        let ctx = $tx.transact.ctx.clone();
        let done = on!($tx.transact.conn(), c => sqlx::query($sql)$(.bind($value))*
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail($what))?;
        $tx.changed |= done > 0;
        done
    }};
}

impl Tx {
    /// Counts a change; the number belongs to what is made by it.
    async fn next_access(&mut self) -> Result<i64> {
        const SQL: &str =
            "UPDATE access_revision SET revision = revision + 1 WHERE id = 1 RETURNING revision";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query_scalar(SQL).fetch_one(c).await)
            .map_err(ctx.fail("count a change of users"))
    }

    /// Makes a user, whose name must be free.
    pub async fn add_access_user(
        &mut self,
        name: &str,
        password: &PasswordHash,
        admin: bool,
        at: Timestamp,
    ) -> Result<User> {
        const SQL: &str =
            "INSERT INTO access_user (id, name, password, admin, created_at) VALUES ($1, $2, $3, $4, $5)";
        let id = self.next_access().await?;
        change!(self, "make a user", SQL, id, name, password.reveal(), i64::from(admin), at.millis());
        Ok(User { id, name: name.to_owned(), password: password.clone(), admin })
    }

    /// Gives a user another password.
    pub async fn set_access_password(&mut self, user: i64, password: &PasswordHash) -> Result<()> {
        const SQL: &str = "UPDATE access_user SET password = $1 WHERE id = $2";
        self.next_access().await?;
        change!(self, "change a user", SQL, password.reveal(), user);
        Ok(())
    }

    /// Says whether everything is permitted to a user.
    pub async fn set_access_admin(&mut self, user: i64, admin: bool) -> Result<()> {
        const SQL: &str = "UPDATE access_user SET admin = $1 WHERE id = $2";
        self.next_access().await?;
        change!(self, "change a user", SQL, i64::from(admin), user);
        Ok(())
    }

    /// Removes a user with everything that was granted to them alone.
    pub async fn remove_access_user(&mut self, user: i64) -> Result<()> {
        const SQL: &str = "DELETE FROM access_user WHERE id = $1";
        self.next_access().await?;
        change!(self, "remove a user", SQL, user);
        Ok(())
    }

    /// Makes a role, whose name must be free in its workspace; gives its number.
    pub async fn add_access_role(
        &mut self,
        workspace: &str,
        name: &str,
        description: Option<&str>,
        owner: Option<i64>,
    ) -> Result<i64> {
        const SQL: &str = "INSERT INTO access_role (id, workspace, name, description, owner_id)
            VALUES ($1, $2, $3, $4, $5)";
        let id = self.next_access().await?;
        change!(self, "make a role", SQL, id, workspace, name, description, owner);
        Ok(id)
    }

    /// Gives a role another name or description; what is `None` stays.
    pub async fn change_access_role(
        &mut self,
        role: i64,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<()> {
        const SQL: &str = "UPDATE access_role SET name = COALESCE($1, name),
            description = COALESCE($2, description) WHERE id = $3";
        self.next_access().await?;
        change!(self, "change a role", SQL, name, description, role);
        Ok(())
    }

    /// Removes a role with its permissions; those who had it have it no more.
    pub async fn remove_access_role(&mut self, role: i64) -> Result<()> {
        const SQL: &str = "DELETE FROM access_role WHERE id = $1";
        self.next_access().await?;
        change!(self, "remove a role", SQL, role);
        Ok(())
    }

    /// Adds a permission to a role that has none on this; gives its number.
    pub async fn add_access_grant(
        &mut self,
        role: i64,
        resource_type: &str,
        resource_pattern: &str,
        permission: &str,
    ) -> Result<i64> {
        const SQL: &str =
            "INSERT INTO access_grant (id, role_id, resource_type, resource_pattern, permission)
            VALUES ($1, $2, $3, $4, $5)";
        let id = self.next_access().await?;
        change!(self, "grant a permission", SQL, id, role, resource_type, resource_pattern, permission);
        Ok(id)
    }

    /// Changes a permission of a role.
    pub async fn set_access_grant(&mut self, grant: i64, permission: &str) -> Result<()> {
        const SQL: &str = "UPDATE access_grant SET permission = $1 WHERE id = $2";
        self.next_access().await?;
        change!(self, "change a permission", SQL, permission, grant);
        Ok(())
    }

    /// Removes a permission of a role.
    pub async fn remove_access_grant(&mut self, grant: i64) -> Result<()> {
        const SQL: &str = "DELETE FROM access_grant WHERE id = $1";
        self.next_access().await?;
        change!(self, "revoke a permission", SQL, grant);
        Ok(())
    }

    /// Gives a role to a user who does not have it; gives the number of that.
    pub async fn add_access_member(&mut self, user: i64, role: i64) -> Result<i64> {
        const SQL: &str = "INSERT INTO access_member (id, user_id, role_id) VALUES ($1, $2, $3)";
        let id = self.next_access().await?;
        change!(self, "give a role", SQL, id, user, role);
        Ok(id)
    }

    /// Takes a role from a user; `false` if they do not have it.
    pub async fn remove_access_member(&mut self, user: i64, role: i64) -> Result<bool> {
        const SQL: &str = "DELETE FROM access_member WHERE user_id = $1 AND role_id = $2";
        self.next_access().await?;
        Ok(change!(self, "take a role", SQL, user, role) > 0)
    }

    /// Takes back what was granted to single users on a thing that is gone, so that the next one of its name begins anew.
    pub async fn forget_access(&mut self, resource_type: &str, resource_pattern: &str) -> Result<()> {
        const SQL: &str = "DELETE FROM access_grant WHERE resource_type = $1 AND resource_pattern = $2
            AND role_id IN (SELECT id FROM access_role WHERE owner_id IS NOT NULL)";
        if change!(self, "revoke permissions", SQL, resource_type, resource_pattern) > 0 {
            self.next_access().await?;
        }
        Ok(())
    }

    /// Lets what was granted to single users on a thing follow it to another name.
    pub async fn rename_access(&mut self, resource_type: &str, from: &str, to: &str) -> Result<()> {
        const SQL: &str = "UPDATE access_grant SET resource_pattern = $1
            WHERE resource_type = $2 AND resource_pattern = $3
            AND role_id IN (SELECT id FROM access_role WHERE owner_id IS NOT NULL)";
        self.forget_access(resource_type, to).await?;
        if change!(self, "rename permissions", SQL, to, resource_type, from) > 0 {
            self.next_access().await?;
        }
        Ok(())
    }
}
