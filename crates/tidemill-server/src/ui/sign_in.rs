//! Signing in and out, where the server has a token.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
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
    Ok(form(&ask.csrf(), ask.get("next").unwrap_or("/"), ""))
}

fn form(token: &str, next: &str, error: &str) -> Page {
    let field = |name: &str, label: &str, value: &str, kind| Field {
        name: name.into(),
        label: label.into(),
        value: value.into(),
        kind,
        choices: Vec::new(),
    };
    let form = Form {
        action: "/ui/login".into(),
        label: "Sign in".into(),
        token: token.into(),
        fields: vec![
            field("name", "Your name, for the log", "", "text"),
            field("secret", "The server's token", "", "password"),
            field("next", "", next, "hidden"),
        ],
        button: "Sign in".into(),
        error: error.into(),
    };
    let lead = "This server was started with --auth-token-file. Whoever knows what is in that file may look at everything \
        and change it; what you change is recorded under your name.";
    Page { title: "Sign in".into(), lead: lead.into(), blocks: vec![Block::Form(form)], ..Page::default() }
}

/// Sends a browser that nobody knows to the page that asks for the token, and back afterwards.
pub(crate) fn to_sign_in(uri: &Uri) -> Response {
    let wanted = uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    let mut response = see(&href(&["login"], &[("next", wanted)]));
    answer::guard(response.headers_mut());
    response
}

/// Goes on to another page.
pub(super) fn see(address: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(address) = HeaderValue::from_str(address) {
        response.headers_mut().insert(header::LOCATION, address);
    }
    response
}

/// The fields of a form that one of our own pages sent; a refusal for any other.
pub(super) fn fields(
    app: &App,
    actor: &Actor,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<(String, String)>, Error> {
    let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    if !session::is_own_form(headers) || !app.forms().knows(actor, value(&fields, "csrf")) {
        let why = "the form was not sent by a page of this server, or the page is from before the server was started";
        return Err(Error::new(Code::PermissionDenied, why));
    }
    Ok(fields)
}

/// A value of a form; empty where it is not there.
pub(super) fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
}

pub(super) async fn sign_in(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut shown = Shown::of(&uri, &headers);
    shown.viewer.csrf = app.forms().token(&actor);
    let fields = match fields(&app, &actor, &headers, &body) {
        Ok(fields) => fields,
        Err(error) => return answer::answer(&shown, Err(error)),
    };
    let next = own_address(value(&fields, "next"));
    let mut response = match &app.config().token {
        None => see(next),
        Some(token) if token.matches(value(&fields, "secret")) => {
            let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
            let name = crate::shell::user_name(value(&fields, "name"));
            let now = app.registry().clock().now();
            let cookie = session::begin(token, &name, now, proto == Some("https"));
            let mut response = see(next);
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Some(_) => {
            tracing::warn!("refused a token on the sign-in page");
            let page = form(&shown.viewer.csrf, next, "that is not the server's token");
            answer::html(&shown, StatusCode::FORBIDDEN, &page)
        }
    };
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

pub(super) async fn sign_out(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(error) = fields(&app, &actor, &headers, &body) {
        return answer::answer(&Shown::of(&uri, &headers), Err(error));
    }
    let mut response = see("/login");
    if let Ok(cookie) = HeaderValue::from_str(&session::end()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer::guard(response.headers_mut());
    response
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
