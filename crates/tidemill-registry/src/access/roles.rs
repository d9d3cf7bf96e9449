//! Roles, who has them, and what they permit; and what is permitted to single users, which is a role of their own each.

use tidemill_core::{Actor, EventKind};
use tidemill_db::Tx;
use tidemill_db::access::{Grant, Member, Members, Role, Roles};

use super::people::{Access, Person};
use super::permission::{Permission, Resource, check_pattern, read_grantable, read_resource};
use super::users::{here, no_user};
use crate::{Error, Result};

/// The only workspace that things are in. Roles of others may be made, and permit nothing here.
pub const WORKSPACE: &str = "default";
/// What names of users' own roles begin with.
const OWN: &str = "__user_";
/// Bytes of names of roles and workspaces.
const NAME: usize = 255;
/// Bytes of a description.
const DESCRIPTION: usize = 1024;
/// Bytes of what a permission is on.
const PATTERN: usize = 255;

impl Access {
    /// Makes a role without permissions.
    pub async fn create_role(
        &self,
        actor: &Actor,
        workspace: &str,
        name: &str,
        description: Option<&str>,
    ) -> Result<Role> {
        check_length("Workspace", workspace, NAME)?;
        check_role(name, description)?;
        let mut tx = self.db().begin().await?;
        if tx.access_role_named(workspace, name).await?.is_some() {
            return Err(Error::exists(format!("Role (name={name}, workspace={workspace}) already exists.")));
        }
        let id = tx.add_access_role(workspace, name, description, None).await?;
        let role = role_here(&mut tx, id).await?;
        self.done(tx, actor, vec![changed(&role, "created")]).await?;
        Ok(role)
    }

    /// A role.
    pub async fn role(&self, id: i64) -> Result<Role> {
        self.db().access_roles(&Roles::One(id)).await?.pop().ok_or_else(|| no_role(id))
    }

    /// Roles of these workspaces; all if none is named.
    pub async fn roles(&self, workspaces: Vec<String>) -> Result<Vec<Role>> {
        let which = if workspaces.is_empty() { Roles::All } else { Roles::In(workspaces) };
        Ok(self.db().access_roles(&which).await?)
    }

    /// Gives a role another name or description.
    pub async fn update_role(
        &self,
        actor: &Actor,
        id: i64,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<Role> {
        let mut tx = self.db().begin().await?;
        let role = role_here(&mut tx, id).await?;
        check_not_own(&role)?;
        check_role(name.unwrap_or(&role.name), description)?;
        if let Some(name) = name
            && tx.access_role_named(&role.workspace, name).await?.is_some_and(|found| found != id)
        {
            let workspace = &role.workspace;
            return Err(Error::exists(format!(
                "Role with name={name} already exists in workspace={workspace}"
            )));
        }
        tx.change_access_role(id, name, description).await?;
        let role = role_here(&mut tx, id).await?;
        self.done(tx, actor, vec![changed(&role, "updated")]).await?;
        Ok(role)
    }

    /// Removes a role with its permissions.
    pub async fn delete_role(&self, actor: &Actor, id: i64) -> Result<()> {
        let mut tx = self.db().begin().await?;
        let role = role_here(&mut tx, id).await?;
        tx.remove_access_role(id).await?;
        self.done(tx, actor, vec![changed(&role, "deleted")]).await
    }

    /// Adds a permission to a role.
    pub async fn add_permission(
        &self,
        actor: &Actor,
        id: i64,
        resource: &str,
        pattern: &str,
        permission: &str,
    ) -> Result<Grant> {
        let (resource, permission) = read(resource, pattern, permission)?;
        let mut tx = self.db().begin().await?;
        let role = role_here(&mut tx, id).await?;
        if grant_on(&role, resource, pattern).is_some() {
            return Err(Error::exists(format!(
                "Role permission (role_id={id}, resource_type={}, resource_pattern={pattern}) already exists.",
                resource.word()
            )));
        }
        let number = tx.add_access_grant(id, resource.word(), pattern, permission.word()).await?;
        let grant = tx.access_grant(number).await?.ok_or_else(|| no_grant(number))?;
        let event = granted(holder(&mut tx, &role).await?, resource.word(), pattern, Some(permission));
        self.done(tx, actor, vec![event]).await?;
        Ok(grant)
    }

    /// A permission of a role.
    pub async fn permission(&self, id: i64) -> Result<Grant> {
        self.db().access_grant(id).await?.ok_or_else(|| no_grant(id))
    }

    /// Changes a permission of a role.
    pub async fn update_permission(&self, actor: &Actor, id: i64, permission: &str) -> Result<Grant> {
        let mut tx = self.db().begin().await?;
        let grant = tx.access_grant(id).await?.ok_or_else(|| no_grant(id))?;
        let permission = read_grantable(read_resource(&grant.resource_type)?, permission)?;
        tx.set_access_grant(id, permission.word()).await?;
        let role = role_here(&mut tx, grant.role).await?;
        let holder = holder(&mut tx, &role).await?;
        let event = granted(holder, &grant.resource_type, &grant.resource_pattern, Some(permission));
        self.done(tx, actor, vec![event]).await?;
        Ok(Grant { permission: permission.word().to_owned(), ..grant })
    }

    /// Takes a permission from a role.
    pub async fn remove_permission(&self, actor: &Actor, id: i64) -> Result<()> {
        let mut tx = self.db().begin().await?;
        let grant = tx.access_grant(id).await?.ok_or_else(|| no_grant(id))?;
        let role = role_here(&mut tx, grant.role).await?;
        let holder = holder(&mut tx, &role).await?;
        tx.remove_access_grant(id).await?;
        let event = granted(holder, &grant.resource_type, &grant.resource_pattern, None);
        self.done(tx, actor, vec![event]).await
    }

    /// Gives a role to a user.
    pub async fn assign_role(&self, actor: &Actor, name: &str, id: i64) -> Result<Member> {
        let mut tx = self.db().begin().await?;
        let (user, role) = (here(&mut tx, name).await?, role_here(&mut tx, id).await?);
        check_not_own(&role)?;
        if tx.has_access_role(user.id, id).await? {
            return Err(Error::exists(format!(
                "User role assignment (user_id={}, role_id={id}) already exists",
                user.id
            )));
        }
        let number = tx.add_access_member(user.id, id).await?;
        self.done(tx, actor, vec![assigned(&role, name, true)]).await?;
        Ok(Member { id: number, user: user.id, role: id })
    }

    /// Takes a role from a user.
    pub async fn unassign_role(&self, actor: &Actor, name: &str, id: i64) -> Result<()> {
        let mut tx = self.db().begin().await?;
        let user = here(&mut tx, name).await?;
        let role = tx.access_role(id).await?;
        let Some(role) = role.filter(|role| role.owner.is_none()) else {
            return Err(no_member(user.id, id));
        };
        if !tx.remove_access_member(user.id, id).await? {
            return Err(no_member(user.id, id));
        }
        self.done(tx, actor, vec![assigned(&role, name, false)]).await
    }

    /// Who has a role.
    pub async fn members(&self, id: i64) -> Result<Vec<Member>> {
        self.role(id).await?;
        Ok(self.db().access_members(Members::Of(id)).await?)
    }

    /// Grants a permission to a user alone.
    pub async fn grant(
        &self,
        actor: &Actor,
        name: &str,
        resource: &str,
        pattern: &str,
        permission: &str,
    ) -> Result<()> {
        check_not_workspace(resource)?;
        let (resource, permission) = read(resource, pattern, permission)?;
        let mut tx = self.db().begin().await?;
        let user = here(&mut tx, name).await?;
        let role = own_role(&mut tx, user.id).await?;
        if grant_on(&role, resource, pattern).is_some() {
            return Err(Error::exists(format!(
                "Permission for user={name} on resource_type={}, resource_id={pattern} already exists.",
                resource.word()
            )));
        }
        tx.add_access_grant(role.id, resource.word(), pattern, permission.word()).await?;
        let event = granted_to(name, resource, pattern, Some(permission));
        self.done(tx, actor, vec![event]).await
    }

    /// Revokes what was granted to a user alone.
    pub async fn revoke(&self, actor: &Actor, name: &str, resource: &str, pattern: &str) -> Result<()> {
        check_not_workspace(resource)?;
        let resource = read_resource(resource)?;
        let mut tx = self.db().begin().await?;
        let user = here(&mut tx, name).await?;
        let role = match tx.access_role_named(WORKSPACE, &own_name(user.id)).await? {
            Some(id) => tx.access_role(id).await?,
            None => None,
        };
        let grant = role.as_ref().and_then(|role| grant_on(role, resource, pattern)).map(|grant| grant.id);
        let Some(grant) = grant else {
            return Err(Error::missing(format!(
                "Permission for user={name} on resource_type={}, resource_id={pattern} not found.",
                resource.word()
            )));
        };
        tx.remove_access_grant(grant).await?;
        self.done(tx, actor, vec![granted_to(name, resource, pattern, None)]).await
    }

    /// What a user may do with a thing, as a request of theirs would find it. A thing of which nothing is known is like any other
    /// that nothing was granted on.
    pub async fn permission_of(&self, name: &str, resource: &str, pattern: &str) -> Result<Permission> {
        check_not_workspace(resource)?;
        let resource = read_resource(resource)?;
        check_pattern(resource, pattern)?;
        let person = self.person(name).await?.ok_or_else(|| no_user(name))?;
        Ok(person.held.on(resource, pattern))
    }
}

/// Lets whoever made a thing manage it; the event that says so.
pub(crate) async fn give_to_maker(
    tx: &mut Tx,
    maker: &Person,
    resource: Resource,
    pattern: &str,
) -> Result<EventKind> {
    let role = own_role(tx, maker.id).await?;
    let manage = Permission::Manage;
    match grant_on(&role, resource, pattern) {
        Some(grant) => tx.set_access_grant(grant.id, manage.word()).await?,
        None => {
            tx.add_access_grant(role.id, resource.word(), pattern, manage.word()).await?;
        }
    }
    Ok(granted_to(&maker.name, resource, pattern, Some(manage)))
}

/// The role that holds what is granted to one user alone.
async fn own_role(tx: &mut Tx, user: i64) -> Result<Role> {
    let name = own_name(user);
    let id = match tx.access_role_named(WORKSPACE, &name).await? {
        Some(id) => id,
        None => {
            let id = tx.add_access_role(WORKSPACE, &name, None, Some(user)).await?;
            tx.add_access_member(user, id).await?;
            id
        }
    };
    role_here(tx, id).await
}

fn own_name(user: i64) -> String {
    format!("{OWN}{user}__")
}

async fn role_here(tx: &mut Tx, id: i64) -> Result<Role> {
    tx.access_role(id).await?.ok_or_else(|| no_role(id))
}

fn grant_on<'a>(role: &'a Role, resource: Resource, pattern: &str) -> Option<&'a Grant> {
    role.grants
        .iter()
        .find(|grant| grant.resource_type == resource.word() && grant.resource_pattern == pattern)
}

fn read(resource: &str, pattern: &str, permission: &str) -> Result<(Resource, Permission)> {
    let resource = read_resource(resource)?;
    check_pattern(resource, pattern)?;
    check_length("What a permission is on", pattern, PATTERN)?;
    Ok((resource, read_grantable(resource, permission)?))
}

fn check_not_workspace(resource: &str) -> Result<()> {
    if resource == Resource::Workspace.word() {
        return Err(Error::invalid(
            "Permissions on resource_type 'workspace' are not granted to single users. Add one to a role.",
        ));
    }
    Ok(())
}

/// Roles that hold what was granted to one user are neither given to others nor called otherwise.
fn check_not_own(role: &Role) -> Result<()> {
    if role.owner.is_some() {
        return Err(Error::invalid(format!("Role '{}' holds the permissions of one user.", role.name)));
    }
    Ok(())
}

fn check_role(name: &str, description: Option<&str>) -> Result<()> {
    check_length("Role name", name, NAME)?;
    if name.starts_with(OWN) {
        return Err(Error::invalid(format!(
            "Role name '{name}' begins with '{OWN}', as those do that hold the permissions of one user."
        )));
    }
    if description.is_some_and(|description| description.len() > DESCRIPTION) {
        return Err(Error::invalid(format!("Role description must have at most {DESCRIPTION} bytes.")));
    }
    Ok(())
}

fn check_length(what: &str, text: &str, most: usize) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid(format!("{what} cannot be empty.")));
    }
    if text.len() > most {
        return Err(Error::invalid(format!("{what} must have at most {most} bytes.")));
    }
    Ok(())
}

/// Whose permissions a role holds, as the log names them.
async fn holder(tx: &mut Tx, role: &Role) -> Result<String> {
    let owner = match role.owner {
        Some(owner) => tx.access_user_name(owner).await?,
        None => None,
    };
    Ok(owner.map_or_else(|| format!("role:{}", role.name), |name| format!("user:{name}")))
}

fn granted(holder: String, resource: &str, pattern: &str, permission: Option<Permission>) -> EventKind {
    EventKind::PermissionChanged {
        holder,
        resource: resource.to_owned(),
        pattern: pattern.to_owned(),
        permission: permission.map(|permission| permission.word().to_owned()),
    }
}

fn granted_to(user: &str, resource: Resource, pattern: &str, permission: Option<Permission>) -> EventKind {
    granted(format!("user:{user}"), resource.word(), pattern, permission)
}

fn changed(role: &Role, change: &str) -> EventKind {
    EventKind::RoleChanged {
        role: role.name.clone(),
        workspace: role.workspace.clone(),
        change: change.to_owned(),
    }
}

fn assigned(role: &Role, user: &str, assigned: bool) -> EventKind {
    EventKind::RoleAssigned { role: role.name.clone(), user: user.to_owned(), assigned }
}

fn no_role(id: i64) -> Error {
    Error::missing(format!("Role with id={id} not found"))
}

fn no_grant(id: i64) -> Error {
    Error::missing(format!("Role permission with id={id} not found"))
}

fn no_member(user: i64, role: i64) -> Error {
    Error::missing(format!("User role assignment (user_id={user}, role_id={role}) not found"))
}
