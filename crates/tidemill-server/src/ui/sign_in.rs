//! Signing in and out, where the server has a token.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tidemill_core::Actor;
use tidemill_registry::{Code, Error};
use tidemill_ui::{Block, Field, Form, Page, href};
use url::form_urlencoded;

use super::ask::{Ask, Shown};
use super::{Made, answer, session};
use crate::App;

/// The page that asks for the token.
pub(super) async fn page(ask: Ask) -> Made {
    let users = ask.app.config().access.is_some();
    Ok(form(users, &ask.csrf(), ask.get("next").unwrap_or("/"), ""))
}

fn form(users: bool, token: &str, next: &str, error: &str) -> Page {
    let (name, secret) =
        if users { ("Your name", "Your password") } else { ("Your name, for the log", "The server's token") };
    let form = Form {
        action: "/ui/login".into(),
        label: "Sign in".into(),
        token: token.into(),
        fields: vec![
            Field::new("name", name, "text"),
            Field::new("secret", secret, "password"),
            Field { value: next.into(), ..Field::new("next", "", "hidden") },
        ],
        button: "Sign in".into(),
        error: error.into(),
    };
    let lead = if users {
        "This server was started with --users. You may look at what was permitted to you; what you change is recorded under \
            your name."
    } else {
        "This server was started with --auth-token-file. Whoever knows what is in that file may look at everything \
            and change it; what you change is recorded under your name."
    };
    Page { title: "Sign in".into(), lead: lead.into(), blocks: vec![Block::Form(form)], ..Page::default() }
}

/// Sends a browser that nobody knows to the page that asks for the token, and back afterwards.
pub(crate) fn to_sign_in(uri: &Uri) -> Response {
    let wanted = uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    see(&href(&["login"], &[("next", wanted)]))
}

/// Goes on to another page.
pub(super) fn see(address: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    answer::guard(response.headers_mut());
    if let Ok(address) = HeaderValue::from_str(address) {
        response.headers_mut().insert(header::LOCATION, address);
    }
    response
}

/// Goes on to another page with a cookie.
fn see_with(address: &str, cookie: &str) -> Response {
    let mut response = see(address);
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// A form that somebody sent.
pub(super) struct Sent {
    pub(super) app: App,
    pub(super) actor: Actor,
    /// What the form of the answer depends on.
    pub(super) shown: Shown,
    headers: HeaderMap,
    body: Bytes,
}

impl FromRequest<App> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Self::Rejection> {
        type Parts = (Extension<Actor>, Uri, HeaderMap, Bytes);
        let (Extension(actor), uri, headers, body) =
            <Parts as FromRequest<App>>::from_request(request, app).await?;
        let mut shown = Shown::of(&uri, &headers);
        shown.viewer.csrf = app.forms().token(&actor);
        Ok(Self { app: app.clone(), actor, shown, headers, body })
    }
}

impl Sent {
    /// The fields, where one of our own pages sent the form; a refusal for any other.
    pub(super) fn fields(&self) -> Result<Vec<(String, String)>, Error> {
        let fields: Vec<(String, String)> = form_urlencoded::parse(&self.body).into_owned().collect();
        let known = self.app.forms().knows(&self.actor, value(&fields, "csrf"));
        if !session::is_own_form(&self.headers) || !known {
            let why = "the form was not sent by a page of this server, or the page is from before the server was started";
            return Err(Error::new(Code::PermissionDenied, why));
        }
        Ok(fields)
    }
}

/// A value of a form; empty where it is not there.
pub(super) fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
}

pub(super) async fn sign_in(sent: Sent) -> Response {
    let fields = match sent.fields() {
        Ok(fields) => fields,
        Err(error) => return answer::answer(&sent.shown, Err(error)),
    };
    let next = own_address(value(&fields, "next"));
    let (given, secret) = (value(&fields, "name"), value(&fields, "secret"));
    let config = sent.app.config();
    let begin = |key: &[u8], name: &str| {
        let proto = sent.headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        let now = sent.app.registry().clock().now();
        see_with(next, &session::begin(key, name, now, proto == Some("https")))
    };
    let wrong = match (&config.access, &config.token) {
        (Some(access), _) => match access.sign_in(given, secret).await {
            Ok(Some(person)) => return begin(person.session_key(), &person.name),
            Ok(None) => "that is not a user's name with their password",
            Err(error) => return answer::answer(&sent.shown, Err(error)),
        },
        (None, None) => return see(next),
        (None, Some(token)) if token.matches(secret) => {
            return begin(token.key(), &crate::shell::user_name(given));
        }
        (None, Some(_)) => "that is not the server's token",
    };
    tracing::warn!("refused to sign somebody in on the sign-in page");
    let page = form(config.access.is_some(), &sent.shown.viewer.csrf, next, wrong);
    let mut response = answer::html(&sent.shown, StatusCode::FORBIDDEN, &page);
    answer::guard(response.headers_mut());
    response
}

/// Where to go after signing in: somewhere on this server, whatever the address says.
fn own_address(next: &str) -> &str {
    let own = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    if own { next } else { "/" }
}

pub(super) async fn sign_out(sent: Sent) -> Response {
    match sent.fields() {
        Ok(_) => see_with("/login", &session::end()),
        Err(error) => answer::answer(&sent.shown, Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::own_address;

    #[test]
    fn signing_in_leads_nowhere_else() {
        for (next, expect) in [
            ("/runs/1?a=b", "/runs/1?a=b"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("", "/"),
            ("/a\r\nset-cookie: x", "/"),
        ] {
            assert_eq!(own_address(next), expect);
        }
    }
}
