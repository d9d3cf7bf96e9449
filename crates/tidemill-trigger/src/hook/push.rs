//! The bodies of push webhooks, as far as GitHub, GitLab and Gitea agree: `ref`, `after` and who pushed.

use serde_json::Value;

use crate::{Details, detail};

/// A branch was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The branch.
    pub branch: String,
    /// The commit that it is at now; `None` where it was deleted.
    pub commit: Option<String>,
    /// What the log says of it.
    pub details: Details,
}

/// Why a body is no push.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPush {
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    Json(String),
    /// It is JSON without what a push has.
    #[error("the body is no push: it has no `{0}`")]
    Missing(&'static str),
}

/// Whether this is the whole name of a commit.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What a request says was pushed; `None` where it is about something else, for example a ping or a tag.
///
/// # Errors
/// Where it says that it is a push and is none.
pub fn pushes(header: super::Header<'_>, body: &[u8]) -> Result<Option<Push>, NoPush> {
    let event = ["x-github-event", "x-forgejo-event", "x-gitea-event", "x-gitlab-event"]
        .iter()
        .find_map(|name| header(name));
    if event.is_some_and(|event| !matches!(event, "push" | "Push Hook")) {
        return Ok(None);
    }
    // GitHub may send a form whose one field is the JSON.
    let form =
        header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let field = form.then(|| body.strip_prefix(b"payload=")).flatten();
    let json: Value = match field {
        Some(encoded) => {
            let spaced: Vec<u8> = encoded.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
            let text: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
            serde_json::from_slice(&text)
        }
        None => serde_json::from_slice(body),
    }
    .map_err(|error| NoPush::Json(error.to_string()))?;
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str);
    let name = text("/ref").ok_or(NoPush::Missing("ref"))?;
    let Some(branch) = name.strip_prefix("refs/heads/") else { return Ok(None) };
    let after = text("/after").ok_or(NoPush::Missing("after"))?;
    if !is_commit(after) {
        return Err(NoPush::Missing("after"));
    }
    let commit = after.bytes().any(|b| b != b'0').then(|| after.to_ascii_lowercase());
    let who = ["/pusher/username", "/pusher/name", "/pusher/login", "/user_username", "/user_name"];
    let place = ["/repository/full_name", "/project/path_with_namespace"];
    let first = |pointers: &[&str]| pointers.iter().find_map(|pointer| text(pointer)).map(detail);
    let details = [("pusher", first(&who)), ("repository", first(&place)), ("commit", commit.clone())]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect();
    Ok(Some(Push { branch: branch.to_owned(), commit, details }))
}
