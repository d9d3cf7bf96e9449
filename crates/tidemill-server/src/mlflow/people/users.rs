//! `users/…`

use axum::Json;
use serde_json::{Value, json};
use tidemill_registry::access::{Action, Role};
use tidemill_registry::{Code, Error};

use super::super::entity::Object;
use super::super::wire::{Answer, Call, nothing};
use super::{People, role, user};

pub(super) async fn create(people: People, Call { fields, .. }: Call) -> Answer {
    let (name, password) = (fields.str("username")?, fields.str("password")?);
    let made = people.access.create_user(&people.actor, name, password, false).await?;
    Ok(Json(json!({"user": user(&made).done()})))
}

pub(super) async fn read(people: People, Call { fields, .. }: Call) -> Answer {
    let found = people.access.user(fields.str("username")?).await?;
    Ok(Json(json!({"user": user(&found).done()})))
}

pub(super) async fn list(people: People, _: Call) -> Answer {
    let users = people.access.users().await?.into_iter().map(|(found, roles)| {
        let roles: Vec<Value> = people.known(&found.name, roles).iter().map(role).collect();
        user(&found).set("roles", roles).done()
    });
    Ok(Json(json!({"users": users.collect::<Vec<Value>>()})))
}

/// Whoever asks with the server's token is nobody's account, and may do everything.
pub(super) async fn current(people: People, _: Call) -> Answer {
    let shown = match people.name() {
        Some(name) => user(&people.access.user(name).await?).done(),
        None => json!({"id": 0, "username": people.actor.name, "is_admin": true}),
    };
    Ok(Json(json!({"user": shown, "is_basic_auth": true})))
}

pub(super) async fn set_password(people: People, Call { fields, .. }: Call) -> Answer {
    let (name, password) = (fields.str("username")?, fields.str("password")?);
    if people.name() == Some(name) {
        // Somebody at another's open browser must not lock them out.
        let now = fields.any_text("current_password")?;
        if now.is_empty() {
            return Err(
                Error::invalid("Current password is required when changing your own password.").into()
            );
        }
        if people.access.sign_in(name, now).await?.is_none() {
            return Err(Error::invalid("Current password does not match.").into());
        }
        if now == password {
            return Err(Error::invalid("New password must differ from the current password.").into());
        }
    }
    people.access.set_password(&people.actor, name, password).await?;
    nothing()
}

pub(super) async fn set_admin(people: People, Call { fields, .. }: Call) -> Answer {
    let admin = fields.opt_bool("is_admin")?.ok_or_else(|| fields.missing("is_admin"))?;
    people.access.set_admin(&people.actor, fields.str("username")?, admin).await?;
    nothing()
}

pub(super) async fn remove(people: People, Call { fields, .. }: Call) -> Answer {
    let name = fields.str("username")?;
    if people.name() == Some(name) {
        let why = "Users cannot delete their own account. Another administrator can.";
        return Err(Error::new(Code::BadRequest, why).into());
    }
    people.access.delete_user(&people.actor, name).await?;
    nothing()
}

pub(super) async fn roles(people: People, Call { fields, .. }: Call) -> Answer {
    let name = fields.str("username")?;
    let (_, roles) = people.access.user_and_roles(name).await?;
    let roles: Vec<Value> = people.known(name, roles).iter().map(role).collect();
    Ok(Json(json!({"roles": roles})))
}

pub(super) async fn permissions(people: People, Call { fields, .. }: Call) -> Answer {
    held(&people, fields.str("username")?).await
}

pub(super) async fn own_permissions(people: People, _: Call) -> Answer {
    match people.name() {
        Some(name) => held(&people, name).await,
        None => Ok(Json(json!({"is_admin": true, "permissions": []}))),
    }
}

/// What a user holds in all of their roles, a row each.
async fn held(people: &People, name: &str) -> Answer {
    let (found, roles) = people.access.user_and_roles(name).await?;
    let roles = people.known(name, roles);
    let permissions: Vec<Value> = roles.iter().flat_map(rows).collect();
    Ok(Json(json!({"is_admin": found.admin, "permissions": permissions})))
}

fn rows(role: &Role) -> Vec<Value> {
    let row = |grant: &tidemill_registry::access::Grant| {
        Object::default()
            .set("role_id", role.id)
            .set("role_name", role.name.as_str())
            .set("workspace", role.workspace.as_str())
            .set("resource_type", grant.resource_type.as_str())
            .set("resource_pattern", grant.resource_pattern.as_str())
            .set("permission", grant.permission.as_str())
            .done()
    };
    role.grants.iter().map(row).collect()
}

pub(super) async fn grant(people: People, Call { fields, .. }: Call) -> Answer {
    let (kind, id) = (fields.str("resource_type")?, fields.str("resource_id")?);
    let (name, permission) = (fields.str("username")?, fields.str("permission")?);
    people.access.grant(&people.actor, name, kind, id, permission).await?;
    nothing()
}

pub(super) async fn revoke(people: People, Call { fields, .. }: Call) -> Answer {
    let (kind, id) = (fields.str("resource_type")?, fields.str("resource_id")?);
    people.access.revoke(&people.actor, fields.str("username")?, kind, id).await?;
    nothing()
}

pub(super) async fn permission(people: People, Call { fields, .. }: Call) -> Answer {
    let (kind, id) = (fields.str("resource_type")?, fields.str("resource_id")?);
    let found = people.access.permission_of(fields.str("username")?, kind, id).await?;
    Ok(Json(json!({"allowed": found.allows(Action::Use), "permission": found.word()})))
}
