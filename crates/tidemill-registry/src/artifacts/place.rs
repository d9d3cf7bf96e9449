//! What the artifact URI of a run, of a logged model or of a version stands for.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::artifacts::ArtifactPath;
use crate::{Error, Registry, Result};

/// Where artifacts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the store, below this path.
    Proxy(ArtifactPath),
    /// In a folder of this machine or of the client's.
    Local(PathBuf),
    /// In a place that clients talk to themselves, for example an object store.
    Elsewhere(String),
}

/// What HTTP URIs of artifacts hold before the path.
const ROUTE: &str = "/api/2.0/mlflow-artifacts/artifacts";

impl Place {
    /// Reads a URI: `mlflow-artifacts:/…` with or without a host, `http(s)://…/api/2.0/mlflow-artifacts/artifacts/…`,
    /// `file:` or a plain path; everything else is elsewhere.
    pub fn of(uri: &str) -> Result<Self> {
        let Some((scheme, rest)) = uri.split_once(':') else {
            return Ok(Self::local(uri));
        };
        match scheme {
            "mlflow-artifacts" => {
                let path = match rest.strip_prefix("//") {
                    Some(hosted) => hosted.split_once('/').map_or("", |(_, path)| path),
                    None => rest,
                };
                Ok(Self::Proxy(ArtifactPath::parse(path.trim_start_matches('/'))?))
            }
            "http" | "https" => match Url::parse(uri).ok().and_then(|url| {
                url.path().split_once(ROUTE).map(|(_, path)| path.trim_start_matches('/').to_owned())
            }) {
                Some(path) => Ok(Self::Proxy(ArtifactPath::parse(&path)?)),
                None => Ok(Self::Elsewhere(uri.to_owned())),
            },
            "file" => {
                let path =
                    percent_decode_str(rest).decode_utf8().map_err(|_| Error::invalid("Invalid path"))?;
                let path = match path.strip_prefix("//") {
                    // `file://host/path`: only this machine is meant.
                    Some(hosted) => hosted.find('/').map_or("/", |at| &hosted[at..]).to_owned(),
                    None => path.into_owned(),
                };
                Ok(Self::local(&path))
            }
            _ if uri.starts_with('/') => Ok(Self::local(uri)),
            _ => Ok(Self::Elsewhere(uri.to_owned())),
        }
    }

    fn local(path: &str) -> Self {
        Self::Local(PathBuf::from(path))
    }

    /// The same place, `below` it.
    pub fn join(&self, below: &ArtifactPath) -> Result<Self> {
        match self {
            Self::Proxy(path) => path.join(below).map(Self::Proxy),
            Self::Local(path) if below.is_root() => Ok(Self::Local(path.clone())),
            Self::Local(path) => Ok(Self::Local(path.join(below.as_str()))),
            Self::Elsewhere(uri) => {
                Ok(Self::Elsewhere(format!("{}/{}", uri.trim_end_matches('/'), below.as_str())))
            }
        }
    }

    /// The refusal for a place that this server does not read.
    pub(crate) fn elsewhere(uri: &str) -> Error {
        Error::invalid(format!(
            "The artifacts are in '{uri}', which clients read and write themselves; this server has no access to it."
        ))
    }
}

impl Registry {
    /// What any URI of artifacts stands for: as [`Place::of`], and `runs:/RUN/PATH` and `models:/m-…/PATH` are looked up.
    pub async fn artifact_place(&self, uri: &str) -> Result<Place> {
        let owned = |rest: &str| {
            let rest = rest.trim_start_matches('/');
            let (owner, path) = rest.split_once('/').unwrap_or((rest, ""));
            Ok::<_, Error>((owner.to_owned(), ArtifactPath::parse(path)?))
        };
        let (root, path) = match uri.split_once(":/") {
            Some(("runs", rest)) => {
                let (run, path) = owned(rest)?;
                (self.run_artifact_uri(&run).await?, path)
            }
            Some(("models", rest)) if rest.trim_start_matches('/').starts_with("m-") => {
                let (model, path) = owned(rest)?;
                (self.logged_model_artifact_uri(&model).await?, path)
            }
            _ => (uri.to_owned(), ArtifactPath::root()),
        };
        Place::of(&root)?.join(&path)
    }

    /// The artifact URI of a run.
    pub async fn run_artifact_uri(&self, run: &str) -> Result<String> {
        let uri = self.db.run_artifact_uri(run).await?;
        uri.ok_or_else(|| Error::missing(format!("Run with id={run} not found")))
    }

    /// The artifact URI of a logged model.
    pub async fn logged_model_artifact_uri(&self, model: &str) -> Result<String> {
        let uri = self.db.logged_model_artifact_uri(model).await?;
        uri.ok_or_else(|| Error::missing(format!("Logged model with ID '{model}' not found.")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        let proxy = |path: &str| Place::Proxy(ArtifactPath::parse(path).unwrap());
        let local = |path: &str| Place::Local(PathBuf::from(path));
        let elsewhere = |uri: &str| Place::Elsewhere(uri.to_owned());
        for (uri, place) in [
            ("mlflow-artifacts:/1/r/artifacts", proxy("1/r/artifacts")),
            ("mlflow-artifacts:///1/r/artifacts", proxy("1/r/artifacts")),
            ("mlflow-artifacts://host:5000/1/r", proxy("1/r")),
            ("mlflow-artifacts:/", proxy("")),
            ("mlflow-artifacts://host", proxy("")),
            ("http://h:5000/api/2.0/mlflow-artifacts/artifacts/1/r", proxy("1/r")),
            ("https://h/prefix/api/2.0/mlflow-artifacts/artifacts/a%20b", proxy("a b")),
            ("https://h/elsewhere", elsewhere("https://h/elsewhere")),
            ("file:///data/mlruns/1", local("/data/mlruns/1")),
            ("file://localhost/data", local("/data")),
            ("file:/data/a%20b", local("/data/a b")),
            ("/data/mlruns", local("/data/mlruns")),
            ("/data/a:b", local("/data/a:b")),
            ("mlruns/1", local("mlruns/1")),
            ("s3://bucket/1", elsewhere("s3://bucket/1")),
            ("dbfs:/1", elsewhere("dbfs:/1")),
        ] {
            assert_eq!(Place::of(uri).unwrap(), place, "{uri}");
        }
        for uri in ["mlflow-artifacts:/../x", "http://h/api/2.0/mlflow-artifacts/artifacts/a%2f..%2fb"] {
            assert!(Place::of(uri).is_err(), "{uri}");
        }
        let below = ArtifactPath::parse("m/x").unwrap();
        assert_eq!(proxy("a").join(&below).unwrap(), proxy("a/m/x"));
        assert_eq!(local("/a").join(&below).unwrap(), local("/a/m/x"));
        assert_eq!(elsewhere("s3://b/").join(&below).unwrap(), elsewhere("s3://b/m/x"));
    }
}
