//! What only counts under a name that is checked, while a server that checks names works on the project: the command signs in there and lets
//! the server do it, instead of writing a name from its environment into the database.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use reqwest::{Client, StatusCode, header, redirect};
use serde_json::Value;
use tidemill_core::Actor;

use super::up::{lock, secret};
use crate::app::{App, user_name};
use crate::failure::Failure;

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer, in bytes.
const LARGEST: usize = 1 << 20;
/// Where MLflow's clients find out who they are.
const USER: &str = "MLFLOW_TRACKING_USERNAME";
const PASSWORD: &str = "MLFLOW_TRACKING_PASSWORD";

/// Who somebody is at the server that works on the project.
#[derive(Debug, Args)]
pub(crate) struct SignIn {
    /// Where a server that asks for it works on the project: the secret, in a file; your own password, or the server's one token. Else
    /// `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD` count
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    server_token_file: Option<PathBuf>,
}

/// A server, and who somebody is there.
pub(super) struct Server {
    url: String,
    user: String,
    password: String,
}

/// The server that works on the project and asks who somebody is; nothing where there is none.
pub(super) fn server(app: &App<'_>, who: &SignIn) -> anyhow::Result<Option<Server>> {
    let Some(url) = app.database_file().and_then(|file| lock::asks(&file)) else { return Ok(None) };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable(USER);
    if let Some(file) = &who.server_token_file {
        let password = secret::text(file, app.console)?;
        return Ok(Some(Server { url, user: user.unwrap_or_else(user_name), password }));
    }
    match (user, variable(PASSWORD)) {
        (Some(user), Some(password)) => Ok(Some(Server { url, user, password })),
        _ => Err(Failure::usage(format!(
            "{url} works on this project and asks who somebody is, so the name of this command's environment counts for nothing"
        ))
        .hint(format!(
            "agree on its page, or set {USER} and {PASSWORD}; --server-token-file FILE reads the password from a file"
        ))
        .into()),
    }
}

/// Takes the name that the server has checked, where one works on the project that checks names: who has released, who has tested a commit and
/// who speaks for a release is told from whoever agrees to it.
pub(super) fn adopt(app: &mut App<'_>, who: &SignIn) -> anyhow::Result<()> {
    // What a trigger sets off is the server's own.
    if app.cause.is_some() {
        return Ok(());
    }
    let Some(server) = server(app, who)? else { return Ok(()) };
    server.check(app)?;
    app.actor = Actor::user(server.user);
    Ok(())
}

impl Server {
    /// Sends something to do; gives what the server says.
    pub(super) fn post(&self, app: &App<'_>, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (status, said) = self.ask(app, path, Some(body))?;
        if status.is_success() {
            return Ok(said);
        }
        let why = said["detail"].as_str().unwrap_or("it does not say why");
        let hint = said["hint"].as_str().map(str::to_owned);
        Err(Failure::new(format!("{} answers {status}: {why}", self.url)).hint_maybe(hint).into())
    }

    /// Whether the server takes the password. What somebody may do there is another matter.
    fn check(&self, app: &App<'_>) -> anyhow::Result<()> {
        let (status, said) = self.ask(app, "/api/v1/info", None)?;
        if status.is_success() || status == StatusCode::FORBIDDEN {
            return Ok(());
        }
        let why = said["detail"].as_str().unwrap_or("it does not say why");
        Err(Failure::new(format!("{} does not take `{}` for somebody: {status}: {why}", self.url, self.user))
            .hint(format!("{USER} is the name, and {PASSWORD} or --server-token-file the password"))
            .into())
    }

    fn ask(&self, app: &App<'_>, path: &str, body: Option<&Value>) -> anyhow::Result<(StatusCode, Value)> {
        let away = |error: reqwest::Error| Failure::new(format!("{} does not answer: {error}", self.url));
        // A password must not follow a redirect to somebody else.
        let http = Client::builder().timeout(PATIENCE).redirect(redirect::Policy::none()).build()?;
        let request = match body {
            Some(body) => http
                .post(format!("{}{path}", self.url))
                .header(header::CONTENT_TYPE, "application/json")
                .body(serde_json::to_vec(body)?),
            None => http.get(format!("{}{path}", self.url)),
        };
        let request = request.basic_auth(&self.user, Some(&self.password));
        let (status, said) = app.block(async {
            let mut answer = request.send().await.map_err(away)?;
            let status = answer.status();
            let mut said = Vec::new();
            while let Some(piece) = answer.chunk().await.map_err(away)? {
                if said.len() + piece.len() > LARGEST {
                    return Err(Failure::new(format!("{} answers over {LARGEST} bytes", self.url)));
                }
                said.extend_from_slice(&piece);
            }
            Ok::<_, Failure>((status, said))
        })?;
        Ok((status, serde_json::from_slice(&said).unwrap_or_default()))
    }
}
