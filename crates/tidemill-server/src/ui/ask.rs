//! What a page is asked for: the parts of its path, its query, who asks, and in which form the answer should be.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use tidemill_core::{Actor, RunId, Timestamp};
use tidemill_registry::Error;
use tidemill_ui::{Field, Pager, Total, Viewer, href};
use url::form_urlencoded;

use crate::App;

/// In which form a page is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Html,
    Json,
    /// Of this table, or the first.
    Csv(Option<String>),
    Markdown,
    /// The picture of this figure, or the first.
    Svg(Option<String>),
}

/// What the form of the answer depends on.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) form: Form,
    pub(super) viewer: Viewer,
    pub(super) gzip: bool,
}

/// A question for a page.
pub(super) struct Ask {
    pub(super) app: App,
    pub(super) now: Timestamp,
    parts: Vec<String>,
    path: String,
    query: Vec<(String, String)>,
    shown: Shown,
}

impl Shown {
    pub(super) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let query: Vec<(String, String)> = pairs(uri);
        let find = |key: &str| query.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
        let accept = text(headers, header::ACCEPT);
        let [table, figure] = ["table", "figure"].map(|key| find(key).map(str::to_owned));
        let form = match find("format") {
            Some("json") => Form::Json,
            Some("csv") => Form::Csv(table),
            Some("md") => Form::Markdown,
            Some("svg") => Form::Svg(figure),
            _ if accept.contains("text/html") => Form::Html,
            _ if accept.contains("application/json") => Form::Json,
            _ if accept.contains("text/csv") => Form::Csv(table),
            _ if accept.contains("text/markdown") => Form::Markdown,
            _ if accept.contains("image/svg+xml") => Form::Svg(figure),
            _ => Form::Html,
        };
        let kept = query.iter().filter(|(key, _)| !["format", "table", "figure"].contains(&key.as_str()));
        let kept: Vec<(&str, &str)> = kept.map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let address = format!("{}{}", uri.path(), href(&[], &kept).trim_start_matches('/'));
        let viewer = Viewer { address, ..Viewer::default() };
        Self { form, viewer, gzip: takes_gzip(headers) }
    }
}

/// A header as text; empty where it is not there.
fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether an answer may be compressed.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    text(headers, header::ACCEPT_ENCODING).contains("gzip")
}

fn pairs(uri: &Uri) -> Vec<(String, String)> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

impl FromRequestParts<App> for Ask {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        let found = RawPathParams::from_request_parts(parts, app).await;
        let found = found.map(|params| params.iter().map(|(_, value)| value.to_owned()).collect());
        let mut shown = Shown::of(&parts.uri, &parts.headers);
        let actor = parts.extensions.get::<Actor>().cloned().unwrap_or_else(|| Actor::user("anonymous"));
        shown.viewer.csrf = app.forms().token(&actor);
        if app.config().token.is_some() {
            shown.viewer.name = Some(actor.name.clone());
        }
        Ok(Self {
            app: app.clone(),
            now: app.registry().clock().now(),
            parts: found.unwrap_or_default(),
            path: parts.uri.path().to_owned(),
            query: pairs(&parts.uri),
            shown,
        })
    }
}

impl Ask {
    pub(super) fn shown(&self) -> Shown {
        self.shown.clone()
    }

    /// Whether this figure is needed now even where a browser fetches it only when it comes into view: programs do not scroll.
    pub(super) fn needs(&self, figure: &str) -> bool {
        match &self.shown.form {
            Form::Html => false,
            Form::Csv(Some(wanted)) | Form::Svg(Some(wanted)) => wanted == figure,
            Form::Json | Form::Csv(None) | Form::Markdown | Form::Svg(None) => true,
        }
    }

    /// The token that forms of this page carry.
    pub(super) fn csrf(&self) -> String {
        self.shown.viewer.csrf.clone()
    }

    /// A form of this page that changes something.
    pub(super) fn form(
        &self,
        action: String,
        label: &str,
        button: &str,
        fields: Vec<Field>,
    ) -> tidemill_ui::Form {
        tidemill_ui::Form {
            action,
            label: label.into(),
            token: self.csrf(),
            fields,
            button: button.into(),
            error: String::new(),
        }
    }

    /// Why nothing can be looked up: no database takes this character.
    pub(super) fn refused(&self) -> Option<Error> {
        let mut texts = self.parts.iter().chain(self.query.iter().flat_map(|(key, value)| [key, value]));
        texts
            .any(|text| text.contains('\0'))
            .then(|| Error::invalid("the address holds the character NUL, which stands in no name"))
    }

    /// A part of the path that is named in the route.
    pub(super) fn part(&self, at: usize) -> &str {
        self.parts.get(at).map_or("", String::as_str)
    }

    /// A run that the path names.
    pub(super) fn run_id(&self) -> Result<RunId, Error> {
        let text = self.part(0);
        text.parse().map_err(|_| Error::missing(format!("there is no run `{text}`")))
    }

    /// A value of the query; empty ones count as absent.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == key).map(|(_, value)| value.trim());
        found.filter(|value| !value.is_empty())
    }

    /// All values of the query with this key.
    pub(super) fn all(&self, key: &str) -> Vec<&str> {
        let found = self.query.iter().filter(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty()).collect()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The same page with some keys of the query replaced, or left out where the value is empty. What says which part of a
    /// list is shown does not outlive another question, so `page` goes unless it is given.
    pub(super) fn with(&self, changes: &[(&str, &str)]) -> String {
        let changed = |key: &str| changes.iter().any(|(changed, _)| *changed == key);
        let kept = self.query.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let kept = kept.filter(|(key, value)| {
            !changed(key)
                && !value.is_empty()
                && !matches!(*key, "page" | "format" | "table" | "figure" | "finding")
        });
        let added = changes.iter().copied().filter(|(_, value)| !value.is_empty());
        let pairs: Vec<(&str, &str)> = kept.chain(added).collect();
        format!("{}{}", self.path, href(&[], &pairs).trim_start_matches('/'))
    }

    /// Where the shown part of a list begins, as `read` understands it; nothing where that is the first part.
    pub(super) fn place<T>(&self, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(text) = self.get("page") else { return Ok(None) };
        let found = read(text).ok_or_else(|| Error::invalid(format!("`{text}` is no page of this list")))?;
        Ok(Some(found))
    }

    /// The way to the pages beside this one of a list; `next` is by what the next one is asked for.
    /// What one row is called and several are, and how many there are on all pages, where that is known.
    pub(super) fn pager(
        &self,
        next: Option<&str>,
        here: usize,
        total: Option<Total>,
        what: [&str; 2],
    ) -> Pager {
        // A single page holds all there is.
        let is_all = next.is_none() && !self.has("page");
        let total = total.or_else(|| is_all.then_some(Total::Exactly(here as u64)));
        Pager {
            first: self.has("page").then(|| self.with(&[])),
            next: next.map(|next| self.with(&[("page", next)])),
            ..Pager::of(here, total, what)
        }
    }
}
