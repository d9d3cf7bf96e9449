//! Models and endpoints of another Tidemill server, over its API: for a gateway that stands next to the traffic.
//!
//! What was read is kept in a folder, so that the gateway goes on answering, and starts again, while the server is away.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tidemill_core::{Digest, Quiet};
use tidemill_registry::CHAMPION;
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_serve::gateway::settings::ServingSettings;
use tidemill_serve::gateway::source::{Listed, ModelBundle, ModelSource, SourceError, Which};
use tidemill_serve::gateway::{Gateway, folder};
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use super::counts::Telling;
use super::slices::SlicesWanted;
use super::source::{described, ordered};
use super::{follow, slices};

/// How long a small answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long no byte of a file or of the stream of events may come: comments come every fifteen seconds.
const SILENCE: Duration = Duration::from_secs(45);
/// How often it is told what was counted: as often as rollouts are looked at.
const TELL: Duration = Duration::from_secs(1);
/// How long to wait before the server is asked again after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest answer that is not a file, in bytes.
const LARGEST: usize = 16 << 20;
/// The most files of one model.
const MOST_FILES: usize = 10_000;

/// Another server. Clones share the connections.
#[derive(Clone)]
pub struct Remote {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    kept: PathBuf,
    serving: ServingSettings,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("base", &self.base).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct One<T> {
    data: T,
}

/// What the server says of a report.
#[derive(Deserialize)]
struct Taken {
    #[serde(default)]
    slices: Vec<SlicesWanted>,
}

#[derive(Deserialize, Serialize)]
struct Model {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    aliases: BTreeMap<String, u64>,
    #[serde(default)]
    latest_version: Option<u64>,
}

impl Model {
    /// The versions that are known with the model itself; all of them would be too many to list.
    fn versions(&self) -> Vec<String> {
        ordered(self.aliases.values().copied().chain(self.latest_version))
    }
}

#[derive(Deserialize, Serialize)]
struct Version {
    version: u64,
    source: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    run_id: Option<String>,
    #[serde(default)]
    content: Option<Digest>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// An endpoint as the server declares it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Declared {
    name: String,
    revision: u64,
    spec: EndpointSpec,
}

#[derive(Deserialize)]
struct Files {
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    path: String,
    is_dir: bool,
}

/// An event, as far as it is looked at.
#[derive(Deserialize)]
struct Happened {
    kind: String,
    subject: String,
    #[serde(default)]
    details: Value,
}

impl Remote {
    /// The server at `base`, for example `http://models.example.com:5000`. What is read of it is kept in `kept`.
    ///
    /// # Errors
    ///
    /// Where no client can be made, for example without certificates of the system.
    pub fn new(
        base: &str,
        token: Option<String>,
        kept: PathBuf,
        serving: ServingSettings,
    ) -> Result<Self, SourceError> {
        let http = reqwest::Client::builder().connect_timeout(PATIENCE).read_timeout(SILENCE).build();
        let http = http.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token, kept, serving })
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response, SourceError> {
        let mut request = self.http.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| self.away(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let why =
            match self.body(answer).await.ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok()) {
                Some(said) => said.get("detail").and_then(Value::as_str).unwrap_or_default().to_owned(),
                None => String::new(),
            };
        let why = format!("{} answers {status} to `{path}`: {why}", self.base);
        Err(if status == reqwest::StatusCode::NOT_FOUND {
            SourceError::NotFound(why)
        } else {
            SourceError::Unavailable(why)
        })
    }

    fn away(&self, error: &reqwest::Error) -> SourceError {
        SourceError::Unavailable(format!("{} does not answer: {}", self.base, cause(error)))
    }

    /// A body of bounded size.
    async fn body(&self, answer: reqwest::Response) -> Result<Vec<u8>, SourceError> {
        let mut body = Vec::new();
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.away(&error))?;
            if body.len() + piece.len() > LARGEST {
                return Err(SourceError::Unavailable(format!("{} answers over {LARGEST} bytes", self.base)));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, SourceError> {
        let read = async { self.body(self.get(path).await?).await };
        let body = tokio::time::timeout(PATIENCE, read).await;
        let body =
            body.map_err(|_| SourceError::Unavailable(format!("{} does not answer in time", self.base)))??;
        serde_json::from_slice(&body).map_err(|error| {
            SourceError::Unavailable(format!(
                "{} does not answer `{path}` as Tidemill does: {error}",
                self.base
            ))
        })
    }

    /// Every page of a list.
    async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, SourceError> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page: Page<T> = self.json(&format!("{path}?limit=1000{cursor}")).await?;
            found.extend(page.data);
            match page.next {
                Some(next) => cursor = format!("&cursor={}", encoded(&next)),
                None => return Ok(found),
            }
        }
    }

    /// What the server says now; what it said last where it is away.
    async fn known<T: DeserializeOwned + Serialize>(&self, path: &str, kept: &str) -> Result<T, SourceError> {
        let file = self.kept.join(kept);
        match self.json::<One<T>>(path).await {
            Ok(One { data }) => {
                self.keep(&file, &data);
                Ok(data)
            }
            Err(SourceError::Unavailable(why)) => {
                let text = fs_err::read(&file).map_err(|_| SourceError::Unavailable(why.clone()))?;
                serde_json::from_slice(&text).map_err(|_| SourceError::Unavailable(why))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps what was read; a disk that refuses is no reason not to answer.
    fn keep(&self, file: &Path, value: &impl Serialize) {
        let write = || -> std::io::Result<()> {
            if let Some(parent) = file.parent() {
                fs_err::create_dir_all(parent)?;
            }
            let text = serde_json::to_vec(value)?;
            if fs_err::read(file).is_ok_and(|before| before == text) {
                return Ok(());
            }
            let beside = file.with_extension(format!("{}.new", std::process::id()));
            fs_err::write(&beside, text)?;
            fs_err::rename(beside, file)
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "what the server said cannot be kept");
        }
    }

    async fn model(&self, name: &str) -> Result<Model, SourceError> {
        let missing =
            || SourceError::NotFound(format!("there is no endpoint and no registered model `{name}`"));
        let (path, kept) =
            (format!("/api/v1/models/{}", encoded(name)), format!("models/{}.json", encoded(name)));
        match self.known(&path, &kept).await {
            Err(SourceError::NotFound(_)) => Err(missing()),
            other => other,
        }
    }

    async fn version(&self, model: &str, version: &str) -> Result<Version, SourceError> {
        let missing = || SourceError::NotFound(format!("model `{model}` has no version `{version}`"));
        let number: u64 = version.parse().map_err(|_| missing())?;
        let (path, kept) = (
            format!("/api/v1/models/{}/versions/{number}", encoded(model)),
            format!("versions/{}-{number}.json", encoded(model)),
        );
        match self.known(&path, &kept).await {
            Err(SourceError::NotFound(_)) => Err(missing()),
            other => other,
        }
    }

    /// The folder of files with that content.
    fn files_of(&self, content: Digest) -> PathBuf {
        self.kept.join("files").join(content.hex())
    }

    /// The files of a version in a folder of this machine, read once for each content.
    async fn files(&self, model: &str, version: &Version) -> Result<PathBuf, SourceError> {
        let io = |error: std::io::Error| SourceError::Unavailable(error.to_string());
        let content = version.content.ok_or_else(|| {
            SourceError::Broken(format!(
                "the files of model `{model}` version `{}` are not in the server's store; log the model to its artifacts",
                version.version
            ))
        })?;
        let folder = self.files_of(content);
        if folder.is_dir() {
            return Ok(folder);
        }
        let asked = format!(
            "/api/2.0/mlflow/model-versions/get-download-uri?name={}&version={}",
            encoded(model),
            version.version
        );
        let answer: Value = self.json(&asked).await?;
        let uri = answer.get("artifact_uri").and_then(Value::as_str).unwrap_or_default();
        let root = uri.strip_prefix("mlflow-artifacts:/").ok_or_else(|| {
            SourceError::Broken(format!(
                "the files of model `{model}` are in `{uri}`, which is not the server's"
            ))
        })?;
        let parent = self.kept.join("files");
        fs_err::create_dir_all(&parent).map_err(io)?;
        let scratch = tempfile::Builder::new().prefix("new-").tempdir_in(&parent).map_err(io)?;
        self.copy(root.trim_matches('/'), scratch.path()).await?;
        // Somebody else may have been faster; the content is the same.
        if let Err(error) = fs_err::rename(scratch.path(), &folder)
            && !folder.is_dir()
        {
            return Err(io(error));
        }
        Ok(folder)
    }

    /// Copies a folder of the server's artifacts.
    async fn copy(&self, root: &str, into: &Path) -> Result<(), SourceError> {
        let io = |error: std::io::Error| SourceError::Unavailable(error.to_string());
        let (mut folders, mut count) = (vec![String::new()], 0);
        while let Some(below) = folders.pop() {
            let listed = if below.is_empty() { root.to_owned() } else { format!("{root}/{below}") };
            let path = format!("/api/2.0/mlflow-artifacts/artifacts?path={}", encoded(&listed));
            for file in self.json::<Files>(&path).await?.files {
                // Names come from elsewhere: none may lead out of the folder.
                let name = file.path.rsplit('/').next().unwrap_or_default();
                if name.is_empty() || name == "." || name == ".." || name.contains('\0') {
                    return Err(SourceError::Broken(format!("`{}` is no name of a file", file.path)));
                }
                count += 1;
                if count > MOST_FILES {
                    return Err(SourceError::Broken(format!("it has over {MOST_FILES} files")));
                }
                let inner = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
                if file.is_dir {
                    fs_err::create_dir_all(into.join(&inner)).map_err(io)?;
                    folders.push(inner);
                } else {
                    self.download(&format!("{root}/{inner}"), &into.join(&inner)).await?;
                }
            }
        }
        Ok(())
    }

    async fn download(&self, artifact: &str, into: &Path) -> Result<(), SourceError> {
        let io = |error: std::io::Error| SourceError::Unavailable(error.to_string());
        let path: Vec<String> = artifact.split('/').map(encoded).collect();
        let answer = self.get(&format!("/api/2.0/mlflow-artifacts/artifacts/{}", path.join("/"))).await?;
        let mut file = tokio::fs::File::create(into).await.map_err(io)?;
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.away(&error))?;
            file.write_all(&piece).await.map_err(io)?;
        }
        file.flush().await.map_err(io)
    }

    /// The file that endpoints are kept in.
    fn endpoints_file(&self) -> PathBuf {
        self.kept.join("endpoints.json")
    }

    /// Sets the endpoints that the server declares, and removes others; gives how many there are.
    async fn take_over(&self, gateway: &Gateway) -> Result<usize, SourceError> {
        let declared: Vec<Declared> = self.all("/api/v1/endpoints").await?;
        self.keep(&self.endpoints_file(), &declared);
        let names: HashSet<&str> = declared.iter().map(|one| one.name.as_str()).collect();
        for name in gateway.endpoints() {
            if !names.contains(&*name) {
                gateway.remove_endpoint(&name);
            }
        }
        for one in &declared {
            set(gateway, one).await;
        }
        Ok(declared.len())
    }

    /// What was declared when the server was last heard of.
    ///
    /// # Errors
    ///
    /// Where nothing is kept.
    async fn from_kept(&self, gateway: &Gateway) -> Result<usize, SourceError> {
        let nothing =
            |_| SourceError::Unavailable("nothing is known of the server's endpoints yet".to_owned());
        let text = fs_err::read(self.endpoints_file()).map_err(nothing)?;
        let declared: Vec<Declared> = serde_json::from_slice(&text)
            .map_err(|error| SourceError::Unavailable(format!("`endpoints.json` is not right: {error}")))?;
        for one in &declared {
            set(gateway, one).await;
        }
        Ok(declared.len())
    }

    /// Brings a gateway to what the server declares, or to what it declared last where it is away.
    ///
    /// # Errors
    ///
    /// Where the server does not answer and never did.
    pub async fn begin(&self, gateway: &Gateway) -> Result<usize, SourceError> {
        match self.take_over(gateway).await {
            Ok(count) => Ok(count),
            Err(error) => {
                let count = self.from_kept(gateway).await.map_err(|_| error.clone())?;
                tracing::warn!(%error, "the server is away; answering as it last declared");
                Ok(count)
            }
        }
    }

    /// Keeps a gateway at what the server declares until `stop`: the server's events say when something changed.
    pub async fn follow(&self, gateway: &Gateway, stop: CancellationToken) {
        loop {
            let round = async {
                // Opened first: what changes while endpoints are read is told of after it.
                let stream = self.get("/api/v1/events/stream").await?;
                self.take_over(gateway).await?;
                for model in gateway.models().names() {
                    gateway.refresh(&model).await;
                }
                self.listen(stream, gateway).await
            };
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = round => ended,
            };
            if let Err(error) = ended {
                tracing::warn!(%error, "the server is away; answering as it last declared");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Tells the server until `stop` what the gateway counts, so that rollouts are judged by it, too. What the server did not take is sent again.
    pub async fn tell(&self, gateway: &Gateway, stop: CancellationToken) {
        let mut telling = Telling::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TELL) => {}
            }
            let Some(report) = telling.next(gateway) else { continue };
            let mut request = self.http.post(format!("{}/api/v1/serving/counts", self.base)).json(report);
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            let sent = tokio::select! {
                () = stop.cancelled() => return,
                sent = tokio::time::timeout(PATIENCE, request.send()) => sent,
            };
            match sent {
                Ok(Ok(answer)) if answer.status().is_success() => {
                    telling.done();
                    let said = tokio::select! {
                        () = stop.cancelled() => return,
                        said = tokio::time::timeout(PATIENCE, self.body(answer)) => said,
                    };
                    // Older servers want nothing, and what cannot be read changes nothing.
                    let said = said.ok().and_then(Result::ok);
                    let said = said.and_then(|body| serde_json::from_slice::<One<Taken>>(&body).ok());
                    if let Some(One { data }) = said {
                        slices::follow(gateway, &data.slices);
                    }
                }
                // A server that is older, or does not like it, would not like it again.
                Ok(Ok(answer)) if answer.status().is_client_error() => {
                    tracing::warn!(status = %answer.status(), "the server does not take what was counted");
                    telling.done();
                }
                Ok(Ok(answer)) => {
                    tracing::debug!(status = %answer.status(), "the server takes no counts now");
                }
                Ok(Err(error)) => tracing::debug!(error = cause(&error), "the server is away"),
                Err(_) => tracing::debug!("the server does not answer in time"),
            }
        }
    }

    /// Reads events until the stream ends.
    async fn listen(&self, stream: reqwest::Response, gateway: &Gateway) -> Result<(), SourceError> {
        let mut pieces = stream.bytes_stream();
        let mut text: Vec<u8> = Vec::new();
        while let Some(piece) = pieces.next().await {
            text.extend_from_slice(&piece.map_err(|error| self.away(&error))?);
            if text.len() > LARGEST {
                return Err(SourceError::Unavailable(format!("{} sends events without an end", self.base)));
            }
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data:") else { continue };
                if let Ok(event) = serde_json::from_slice::<Happened>(data.trim_ascii()) {
                    self.perform(&event, gateway).await?;
                }
            }
        }
        Ok(())
    }

    async fn perform(&self, event: &Happened, gateway: &Gateway) -> Result<(), SourceError> {
        match event.kind.split_once('.').map_or("", |(what, _)| what) {
            "endpoint" => self.take_over(gateway).await.map(drop),
            "alias" | "version" | "model" => {
                let named = event.details.get("model").and_then(Value::as_str);
                let renamed = event.details.get("to").and_then(Value::as_str);
                let subject = event.subject.strip_prefix("model:");
                for model in named.or(subject).into_iter().chain(renamed) {
                    gateway.refresh(model).await;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Sets an endpoint after its models were loaded; one that cannot answer is set all the same, since it was decided.
async fn set(gateway: &Gateway, declared: &Declared) {
    let Declared { name, revision, spec } = declared;
    if gateway.endpoint(name).is_some_and(|known| known.revision >= *revision) {
        return;
    }
    follow::prepare(gateway, name, spec).await;
    // Slots that were too many to tell are worked out from the shares again.
    let slots: u32 = spec.allotment.iter().map(|stretch| stretch.slots).sum();
    let settled = if slots == 0 { spec.clone().settle(None) } else { Ok(spec.clone()) };
    follow::set(gateway, name, *revision, settled);
}

#[async_trait]
impl ModelSource for Remote {
    async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let models: Vec<Model> = self.all("/api/v1/models").await?;
        Ok(models.into_iter().map(|model| Listed { versions: model.versions(), model: model.name }).collect())
    }

    async fn resolve(&self, model: &str, which: &Which) -> Result<String, SourceError> {
        let missing = || SourceError::NotFound(format!("model `{model}` has no {which}"));
        if let Which::Version(version) = which {
            return Ok(self.version(model, version).await?.version.to_string());
        }
        let known = self.model(model).await?;
        let found = match which {
            Which::Alias(alias) => known.aliases.get(alias).copied(),
            Which::Default | Which::Version(_) => {
                known.aliases.get(CHAMPION).copied().or(known.latest_version)
            }
        };
        found.map(|version| version.to_string()).ok_or_else(missing)
    }

    async fn versions(&self, model: &str) -> Result<Vec<String>, SourceError> {
        let path = format!("/api/v1/models/{}/versions", encoded(model));
        match self.all::<Version>(&path).await {
            Ok(versions) => Ok(ordered(versions.iter().map(|version| version.version))),
            // For metadata only: what is known of the model is enough while the server is away.
            Err(SourceError::Unavailable(_)) => Ok(self.model(model).await?.versions()),
            Err(error) => Err(error),
        }
    }

    async fn fetch(&self, model: &str, version: &str) -> Result<ModelBundle, SourceError> {
        let (known, stored) = (self.model(model).await?, self.version(model, version).await?);
        let folder = self.files(model, &stored).await?;
        let (name, number, serving) = (model.to_owned(), version.to_owned(), self.serving.clone());
        let read = tokio::task::spawn_blocking(move || -> Result<ModelBundle, SourceError> {
            let mut bundle = folder::read(&name, &number, folder.clone(), serving)?;
            let whole = tidemill_store::hash(&folder, None, &Quiet);
            bundle.digest = whole.map_err(|error| SourceError::Unavailable(error.to_string()))?.digest;
            Ok(bundle)
        });
        let read =
            read.await.map_err(|_| SourceError::Unavailable("reading the model was cut off".to_owned()))?;
        let mut bundle = read?;
        if let Some(content) = stored.content
            && content != bundle.digest
        {
            // Damaged on the way or on this disk: the next try reads it from the server again.
            let _ = fs_err::remove_dir_all(self.files_of(content));
        }
        bundle.expected = stored.content;
        let tags = [&known.tags, &stored.tags]
            .map(|tags| tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let facts = [
            ("description", stored.description.or(known.description)),
            ("run_id", stored.run_id),
            ("source", Some(stored.source)),
        ];
        described(bundle, tags, facts)
    }
}

fn encoded(text: impl AsRef<str>) -> String {
    utf8_percent_encode(text.as_ref(), NON_ALPHANUMERIC).to_string()
}

/// The innermost reason, which names what went wrong.
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// What a gateway follows.
#[derive(Clone, Debug)]
pub enum Followed {
    /// The log of the registry that it serves from.
    Registry,
    /// Another server.
    Server(Arc<Remote>),
    /// Nothing: models in folders have no endpoints.
    Nothing,
}
