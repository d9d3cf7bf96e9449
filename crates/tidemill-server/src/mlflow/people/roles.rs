//! `roles/…`

use axum::Json;
use serde_json::{Value, json};
use tidemill_registry::Error;
use tidemill_registry::access::Member;

use super::super::wire::{Answer, Call, nothing};
use super::{People, grant, role};

pub(super) async fn create(people: People, Call { fields, .. }: Call) -> Answer {
    let (workspace, name) = (fields.str("workspace")?, fields.str("name")?);
    let description = fields.opt_str("description")?;
    let made = people.access.create_role(&people.actor, workspace, name, description).await?;
    Ok(Json(json!({"role": role(&made)})))
}

pub(super) async fn read(people: People, Call { fields, .. }: Call) -> Answer {
    Ok(Json(json!({"role": role(&people.access.role(fields.int("role_id")?).await?)})))
}

pub(super) async fn list(people: People, Call { fields, .. }: Call) -> Answer {
    let workspaces = fields.strings("workspace")?;
    if workspaces.iter().any(|name| name.trim().is_empty()) {
        return Err(Error::invalid("Parameter 'workspace' must be a non-empty string when provided.").into());
    }
    let roles = people.access.roles(workspaces).await?;
    Ok(Json(json!({"roles": roles.iter().map(role).collect::<Vec<Value>>()})))
}

pub(super) async fn update(people: People, Call { fields, .. }: Call) -> Answer {
    let (name, description) = (fields.opt_str("name")?, fields.opt_str("description")?);
    if name.is_none() && description.is_none() {
        return Err(Error::invalid("At least one of 'name' and 'description' must be given.").into());
    }
    let changed = people.access.update_role(&people.actor, fields.int("role_id")?, name, description).await?;
    Ok(Json(json!({"role": role(&changed)})))
}

pub(super) async fn remove(people: People, Call { fields, .. }: Call) -> Answer {
    people.access.delete_role(&people.actor, fields.int("role_id")?).await?;
    nothing()
}

pub(super) async fn add_permission(people: People, Call { fields, .. }: Call) -> Answer {
    let (kind, pattern) = (fields.str("resource_type")?, fields.str("resource_pattern")?);
    let (id, permission) = (fields.int("role_id")?, fields.str("permission")?);
    let made = people.access.add_permission(&people.actor, id, kind, pattern, permission).await?;
    Ok(Json(json!({"role_permission": grant(&made)})))
}

pub(super) async fn permissions(people: People, Call { fields, .. }: Call) -> Answer {
    let role = people.access.role(fields.int("role_id")?).await?;
    Ok(Json(json!({"role_permissions": role.grants.iter().map(grant).collect::<Vec<Value>>()})))
}

pub(super) async fn update_permission(people: People, Call { fields, .. }: Call) -> Answer {
    let (id, permission) = (fields.int("role_permission_id")?, fields.str("permission")?);
    let changed = people.access.update_permission(&people.actor, id, permission).await?;
    Ok(Json(json!({"role_permission": grant(&changed)})))
}

pub(super) async fn remove_permission(people: People, Call { fields, .. }: Call) -> Answer {
    people.access.remove_permission(&people.actor, fields.int("role_permission_id")?).await?;
    nothing()
}

pub(super) async fn assign(people: People, Call { fields, .. }: Call) -> Answer {
    let (name, id) = (fields.str("username")?, fields.int("role_id")?);
    let made = people.access.assign_role(&people.actor, name, id).await?;
    Ok(Json(json!({"assignment": member(&made)})))
}

pub(super) async fn unassign(people: People, Call { fields, .. }: Call) -> Answer {
    let (name, id) = (fields.str("username")?, fields.int("role_id")?);
    people.access.unassign_role(&people.actor, name, id).await?;
    nothing()
}

pub(super) async fn members(people: People, Call { fields, .. }: Call) -> Answer {
    let members = people.access.members(fields.int("role_id")?).await?;
    Ok(Json(json!({"assignments": members.iter().map(member).collect::<Vec<Value>>()})))
}

fn member(member: &Member) -> Value {
    json!({"id": member.id, "user_id": member.user, "role_id": member.role})
}
