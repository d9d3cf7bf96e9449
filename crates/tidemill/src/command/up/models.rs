//! Where the gateway's models come from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tidemill_serve::gateway::folder;
use tidemill_serve::gateway::settings::ServingSettings;
use tidemill_server::Remote;

use super::secret;
use crate::cli::Serve;
use crate::failure::Failure;
use crate::home::Home;
use crate::output::Console;

/// Where the gateway's models come from.
pub(super) enum Models {
    /// The registry of the home.
    Registry,
    /// Folders of this machine, by name.
    Folders(BTreeMap<String, PathBuf>),
    /// Another server.
    Server(Arc<Remote>),
}

impl Models {
    /// As the options say.
    pub(super) fn of(args: &Serve, home: &Home, console: &Console) -> anyhow::Result<Self> {
        if let Some(url) = &args.server {
            if !(url.starts_with("http://") || url.starts_with("https://")) {
                return Err(Failure::usage(format!("`{url}` is no address of a server"))
                    .hint("as in `--server http://models.example.com:5000`")
                    .into());
            }
            let token =
                args.server_token_file.as_deref().map(|file| secret::text(file, console)).transpose()?;
            let kept = home.dir.join("server");
            return Ok(Self::Server(Arc::new(Remote::new(url, token, kept, ServingSettings::default())?)));
        }
        if args.models.is_none() && args.model.is_empty() {
            return Ok(Self::Registry);
        }
        let mut found = match &args.models {
            Some(folder) => folder::models(folder).map_err(|error| {
                Failure::usage(format!("cannot read the folder `{}`: {error}", folder.display()))
            })?,
            None => BTreeMap::new(),
        };
        for (name, path) in &args.model {
            if !path.exists() {
                return Err(Failure::usage(format!("there is nothing at `{}`", path.display()))
                    .hint("name an ONNX file or the folder of a model")
                    .into());
            }
            found.insert(name.clone(), path.clone());
        }
        if found.is_empty() {
            let folder =
                args.models.as_deref().map(|folder| folder.display().to_string()).unwrap_or_default();
            return Err(Failure::usage(format!("there is no model in `{folder}`"))
                .hint("each folder in it, or file `NAME.onnx`, is one")
                .into());
        }
        Ok(Self::Folders(found))
    }
}
