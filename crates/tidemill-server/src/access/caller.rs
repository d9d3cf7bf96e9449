//! Who sends a request to a server that has users.

use std::sync::Arc;

use axum::http::{HeaderMap, Method};
use tidemill_core::Actor;
use tidemill_registry::Result;
use tidemill_registry::access::{Access, Person};

use crate::shell::{Credentials, Token, bearer};
use crate::{App, ui};

/// Who sends a request. On every request that the gate sees.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Whoever knows the server's own token, or asks for what everybody may see.
    Server,
    /// A user who signed in.
    Person(Arc<Person>),
}

impl Caller {
    /// The user, if it is one.
    pub(crate) fn person(&self) -> Option<&Person> {
        match self {
            Self::Server => None,
            Self::Person(person) => Some(person),
        }
    }

    /// Whether everything is permitted.
    pub(crate) fn is_admin(&self) -> bool {
        self.person().is_none_or(|person| person.admin)
    }

    /// Under which name it is recorded what they do.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Server => bearer(),
            Self::Person(person) => Actor::user(person.name.clone()),
        }
    }
}

/// Who sends a request, or nobody whom we know: the server's token, a name with its password, or the session of a browser.
pub(crate) async fn find(
    app: &App,
    access: &Access,
    (method, path): (&Method, &str),
    headers: &HeaderMap,
) -> Result<Option<Caller>> {
    let token = app.config().token.as_ref();
    match Credentials::of(headers) {
        Some(Credentials::Bearer(secret)) => {
            Ok(token.filter(|token: &&Token| token.matches(&secret)).map(|_| Caller::Server))
        }
        Some(Credentials::Basic { user, password }) => {
            Ok(access.sign_in(&user, &password).await?.map(Caller::Person))
        }
        None => {
            let Some(claim) = ui::claim(method, path, headers) else { return Ok(None) };
            let person = access.person(claim.name()).await?;
            let now = app.registry().clock().now();
            Ok(person.filter(|person| claim.holds(person.session_key(), now)).map(Caller::Person))
        }
    }
}
