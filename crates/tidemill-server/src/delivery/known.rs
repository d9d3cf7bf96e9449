//! How it is known who sends a request. Who it is has been found out before ([`crate::shell`]); what that is worth is said here.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tidemill_core::Identity;

use crate::App;
use crate::access::Caller;

/// How the sender of a request is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known(pub(crate) Identity);

impl FromRequestParts<App> for Known {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let config = app.config();
        let asks = config.token.is_some() || config.access.is_some();
        Ok(Self(match parts.extensions.get::<Caller>() {
            Some(Caller::Person(_)) => Identity::Password,
            Some(Caller::Server) | None if asks => Identity::SharedSecret,
            Some(Caller::Server) | None => Identity::Claimed,
        }))
    }
}
