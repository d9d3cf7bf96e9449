//! Users, roles and permissions, as the client of MLflow's authentication plugin asks for them. Who may ask what is decided by
//! `access`; a server without users has none of these routes.

mod roles;
mod users;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::routing::{delete, get, patch, post};
use serde_json::Value;
use tidemill_core::Actor;
use tidemill_registry::access::{Access, Grant, Role, User};
use tidemill_registry::{Code, Error};

use super::entity::Object;
use super::failure::Failure;
use crate::App;
use crate::access::Caller;

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    Router::new()
        .route("/mlflow/users/create", post(users::create))
        .route("/mlflow/users/get", get(users::read))
        .route("/mlflow/users/list", get(users::list))
        .route("/mlflow/users/current", get(users::current))
        .route("/mlflow/users/update-password", patch(users::set_password))
        .route("/mlflow/users/update-admin", patch(users::set_admin))
        .route("/mlflow/users/delete", delete(users::remove))
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
        .route("/mlflow/users/current/permissions", get(users::own_permissions))
        .route("/mlflow/users/permissions/list", get(users::permissions))
        .route("/mlflow/users/permissions/grant", post(users::grant))
        .route("/mlflow/users/permissions/revoke", post(users::revoke))
        .route("/mlflow/users/permissions/get", get(users::permission))
        .route("/mlflow/users/roles/list", get(users::roles))
        .route("/mlflow/roles/create", post(roles::create))
        .route("/mlflow/roles/get", get(roles::read))
        .route("/mlflow/roles/list", get(roles::list))
        .route("/mlflow/roles/update", patch(roles::update))
        .route("/mlflow/roles/delete", delete(roles::remove))
        .route("/mlflow/roles/assign", post(roles::assign))
        .route("/mlflow/roles/unassign", delete(roles::unassign))
        .route("/mlflow/roles/users/list", get(roles::members))
        .route("/mlflow/roles/permissions/add", post(roles::add_permission))
        .route("/mlflow/roles/permissions/list", get(roles::permissions))
        .route("/mlflow/roles/permissions/update", patch(roles::update_permission))
        .route("/mlflow/roles/permissions/remove", delete(roles::remove_permission))
}

/// The users of this server, and who asks.
pub(super) struct People {
    access: Access,
    caller: Caller,
    actor: Actor,
}

impl FromRequestParts<App> for People {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        // The pages take this for a server without accounts.
        let none = || Error::new(Code::EndpointNotFound, "This server has no user accounts.");
        let access = app.config().access.clone().ok_or_else(none)?;
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(none)?;
        let actor = caller.actor();
        Ok(Self { access, caller, actor })
    }
}

impl People {
    /// The name of the user who asks; none for the server's own token.
    fn name(&self) -> Option<&str> {
        self.caller.person().map(|person| person.name.as_str())
    }

    /// Those of some roles of a user that whoever asks may know of: all of one's own, else those of workspaces that they look after.
    fn known(&self, of: &str, mut roles: Vec<Role>) -> Vec<Role> {
        if let Some(person) = self.caller.person().filter(|person| !person.admin && person.name != of) {
            roles.retain(|role| person.manages.contains(&role.workspace));
        }
        roles
    }
}

fn user(user: &User) -> Object {
    Object::default().set("id", user.id).set("username", user.name.as_str()).set("is_admin", user.admin)
}

fn role(role: &Role) -> Value {
    Object::default()
        .set("id", role.id)
        .set("name", role.name.as_str())
        .set("workspace", role.workspace.as_str())
        .set("description", role.description.clone().map_or(Value::Null, Value::from))
        .set("permissions", role.grants.iter().map(grant).collect::<Vec<Value>>())
        .done()
}

fn grant(grant: &Grant) -> Value {
    Object::default()
        .set("id", grant.id)
        .set("role_id", grant.role)
        .set("resource_type", grant.resource_type.as_str())
        .set("resource_pattern", grant.resource_pattern.as_str())
        .set("permission", grant.permission.as_str())
        .done()
}
