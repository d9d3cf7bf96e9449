//! Reading users, roles and permissions.

use std::collections::HashMap;

use super::{Grant, Member, Members, PasswordHash, Role, Roles, User};
use crate::backend::{Conn, Context, on};
use crate::dialect::{self, Rows};
use crate::{Db, Result, Tx};

type UserRow = (i64, String, String, i64);
type RoleRow = (i64, String, String, Option<String>, Option<i64>);
type GrantRow = (i64, i64, String, String, String);

fn user_of((id, name, password, admin): UserRow) -> User {
    User { id, name, password: PasswordHash::new(password), admin: admin != 0 }
}

fn grant_of((id, role, resource_type, resource_pattern, permission): GrantRow) -> Grant {
    Grant { id, role, resource_type, resource_pattern, permission }
}

impl Db {
    /// Counts the changes of users, roles and permissions.
    pub async fn access_revision(&self) -> Result<i64> {
        const SQL: &str = "SELECT revision FROM access_revision WHERE id = 1";
        let mut reader = self.reader().await?;
        on!(reader.conn(), c => sqlx::query_scalar(SQL).fetch_one(c).await)
            .map_err(self.ctx().fail("read users"))
    }

    /// The user of this name, with the roles that they have.
    pub async fn access_of(&self, name: &str) -> Result<Option<(User, Vec<Role>)>> {
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        let Some(user) = user(tx.conn(), &ctx, name).await? else { return Ok(None) };
        let roles = roles(tx.conn(), &ctx, &Roles::Of(user.id)).await?;
        Ok(Some((user, roles)))
    }

    /// All users, in the order in which they were made.
    pub async fn access_users(&self) -> Result<Vec<User>> {
        const SQL: &str = "SELECT id, name, password, admin FROM access_user ORDER BY id";
        let mut reader = self.reader().await?;
        let rows: Vec<UserRow> = on!(reader.conn(), c => sqlx::query_as(SQL).fetch_all(c).await)
            .map_err(self.ctx().fail("read users"))?;
        Ok(rows.into_iter().map(user_of).collect())
    }

    /// Roles, in the order in which they were made.
    pub async fn access_roles(&self, which: &Roles) -> Result<Vec<Role>> {
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        roles(tx.conn(), &ctx, which).await
    }

    /// Who has which role, in the order in which it was given.
    pub async fn access_members(&self, which: Members) -> Result<Vec<Member>> {
        const ALL: &str = "SELECT id, user_id, role_id FROM access_member ORDER BY id";
        const OF: &str = "SELECT id, user_id, role_id FROM access_member WHERE role_id = $1 ORDER BY id";
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, i64, i64)> = match which {
            Members::All => on!(reader.conn(), c => sqlx::query_as(ALL).fetch_all(c).await),
            Members::Of(role) => on!(reader.conn(), c => sqlx::query_as(OF).bind(role).fetch_all(c).await),
        }
        .map_err(self.ctx().fail("read roles"))?;
        Ok(rows.into_iter().map(|(id, user, role)| Member { id, user, role }).collect())
    }

    /// One permission of a role.
    pub async fn access_grant(&self, id: i64) -> Result<Option<Grant>> {
        let mut reader = self.reader().await?;
        grant(reader.conn(), self.ctx(), id).await
    }
}

impl Tx {
    /// The user of this name, as it stands in this transaction.
    pub async fn access_user(&mut self, name: &str) -> Result<Option<User>> {
        let ctx = self.transact.ctx.clone();
        user(self.transact.conn(), &ctx, name).await
    }

    /// The name of the user of this number.
    pub async fn access_user_name(&mut self, user: i64) -> Result<Option<String>> {
        const SQL: &str = "SELECT name FROM access_user WHERE id = $1";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query_scalar(SQL).bind(user).fetch_optional(c).await)
            .map_err(ctx.fail("read users"))
    }

    /// The role of this number, as it stands in this transaction.
    pub async fn access_role(&mut self, id: i64) -> Result<Option<Role>> {
        let ctx = self.transact.ctx.clone();
        Ok(roles(self.transact.conn(), &ctx, &Roles::One(id)).await?.pop())
    }

    /// The number of the role of this name.
    pub async fn access_role_named(&mut self, workspace: &str, name: &str) -> Result<Option<i64>> {
        const SQL: &str = "SELECT id FROM access_role WHERE workspace = $1 AND name = $2";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(workspace).bind(name).fetch_optional(c).await)
        .map_err(ctx.fail("read roles"))
    }

    /// One permission of a role, as it stands in this transaction.
    pub async fn access_grant(&mut self, id: i64) -> Result<Option<Grant>> {
        let ctx = self.transact.ctx.clone();
        grant(self.transact.conn(), &ctx, id).await
    }

    /// Whether a user has a role.
    pub async fn has_access_role(&mut self, user: i64, role: i64) -> Result<bool> {
        const SQL: &str = "SELECT COUNT(*) FROM access_member WHERE user_id = $1 AND role_id = $2";
        let ctx = self.transact.ctx.clone();
        let count: i64 = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(user).bind(role).fetch_one(c).await)
        .map_err(ctx.fail("read roles"))?;
        Ok(count > 0)
    }
}

async fn user(conn: Conn<'_>, ctx: &Context, name: &str) -> Result<Option<User>> {
    const SQL: &str = "SELECT id, name, password, admin FROM access_user WHERE name = $1";
    let row: Option<UserRow> = on!(conn, c => sqlx::query_as(SQL).bind(name).fetch_optional(c).await)
        .map_err(ctx.fail("read users"))?;
    Ok(row.map(user_of))
}

async fn grant(conn: Conn<'_>, ctx: &Context, id: i64) -> Result<Option<Grant>> {
    const SQL: &str = "SELECT id, role_id, resource_type, resource_pattern, permission FROM access_grant
        WHERE id = $1";
    let row: Option<GrantRow> = on!(conn, c => sqlx::query_as(SQL).bind(id).fetch_optional(c).await)
        .map_err(ctx.fail("read permissions"))?;
    Ok(row.map(grant_of))
}

async fn roles(mut conn: Conn<'_>, ctx: &Context, which: &Roles) -> Result<Vec<Role>> {
    const ALL: &str = "SELECT id, workspace, name, description, owner_id FROM access_role ORDER BY id";
    const IN: &str = "SELECT t.id, t.workspace, t.name, t.description, t.owner_id
        FROM {rows} JOIN access_role t ON t.workspace = r.wanted";
    const OF: &str = "SELECT t.id, t.workspace, t.name, t.description, t.owner_id FROM access_member m
        JOIN access_role t ON t.id = m.role_id WHERE m.user_id = $1 ORDER BY t.id";
    const ONE: &str = "SELECT id, workspace, name, description, owner_id FROM access_role WHERE id = $1";
    const GRANTS: &str = "SELECT g.id, g.role_id, g.resource_type, g.resource_pattern, g.permission
        FROM {rows} JOIN access_grant g ON g.role_id = r.wanted";
    let fail = || ctx.fail("read roles");
    let mut rows: Vec<RoleRow> = match which {
        Roles::All => on!(conn.reborrow(), c => sqlx::query_as(ALL).fetch_all(c).await).map_err(fail())?,
        Roles::In(workspaces) if workspaces.is_empty() => Vec::new(),
        Roles::In(workspaces) => {
            let mut wanted = workspaces.clone();
            wanted.sort_unstable();
            wanted.dedup();
            let wanted = Rows::new(wanted.len()).text("wanted", wanted.iter().map(String::as_str));
            dialect::read_rows(conn.reborrow(), IN, &wanted).await.map_err(fail())?
        }
        Roles::Of(user) => {
            on!(conn.reborrow(), c => sqlx::query_as(OF).bind(*user).fetch_all(c).await).map_err(fail())?
        }
        Roles::One(id) => {
            on!(conn.reborrow(), c => sqlx::query_as(ONE).bind(*id).fetch_all(c).await).map_err(fail())?
        }
    };
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    rows.sort_unstable_by_key(|row| row.0);
    let wanted = Rows::new(rows.len()).int("wanted", rows.iter().map(|row| row.0));
    let mut found: Vec<GrantRow> = dialect::read_rows(conn, GRANTS, &wanted).await.map_err(fail())?;
    found.sort_unstable_by_key(|row| row.0);
    let mut grants: HashMap<i64, Vec<Grant>> = HashMap::new();
    for row in found {
        grants.entry(row.1).or_default().push(grant_of(row));
    }
    let role = |(id, workspace, name, description, owner)| {
        let grants = grants.remove(&id).unwrap_or_default();
        Role { id, workspace, name, description, owner, grants }
    };
    Ok(rows.into_iter().map(role).collect())
}
