//! `--users`: who signs in with a password, and the first administrator.

use tidemill_registry::Registry;
use tidemill_registry::access::{Access, Admin, Permission};

use super::secret;
use crate::cli::UserOptions;
use crate::failure::Failure;
use crate::output::Console;

/// Where the administrator's password is, where no file is named: as MLflow's own server has it.
const PASSWORD: &str = "MLFLOW_AUTH_ADMIN_PASSWORD";

/// The users of a registry's database, where the server has any; the administrator is made if there is none of this name.
pub(super) async fn open(
    options: &UserOptions,
    registry: &Registry,
    console: &Console,
) -> anyhow::Result<Option<Access>> {
    if !options.users {
        return Ok(None);
    }
    let default = Permission::from_word(&options.default_permission).unwrap_or(Permission::NoPermissions);
    let access = Access::new(registry.clone(), default)?;
    let password = match &options.admin_password_file {
        Some(file) => Some(secret::line(file, "password", console)?),
        None => std::env::var(PASSWORD).ok().filter(|password| !password.is_empty()),
    };
    let admin = Admin { name: options.admin.clone(), password };
    match access.prepare(&admin).await {
        Ok(true) => tracing::info!(user.name = admin.name, "made the administrator"),
        Ok(false) => {}
        Err(error) => {
            return Err(Failure::usage(format!("cannot make the administrator `{}`: {error}", admin.name))
                .hint(format!("name a file that holds a password of 12 characters or more with --admin-password-file FILE, or set {PASSWORD}"))
                .into());
        }
    }
    Ok(Some(access))
}

/// Predictions over gRPC know the server's token only.
pub(super) fn check(options: Option<&UserOptions>, grpc: bool, token: bool) -> anyhow::Result<()> {
    if grpc && !token && options.is_some_and(|options| options.users) {
        return Err(Failure::usage("--grpc lets everybody in where there are --users and no token")
            .hint("name a file that holds a secret for its clients with --auth-token-file FILE")
            .into());
    }
    Ok(())
}
