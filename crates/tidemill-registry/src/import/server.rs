//! A running MLflow server, read through its own HTTP interface.

use std::time::Duration;

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tidemill_db::tracking::{InputDataset, KeyValue, ModelOutput, RunStatus};

use super::source::{
    Behind, Source, SourceExperiment, SourceFile, SourceLoggedModel, SourceModel, SourceModelPoint,
    SourcePoint, SourceRun, SourceVersion,
};
use crate::artifacts::ArtifactWriter;
use crate::{Code, Error, Result};

/// Waits at most so long for an answer to begin; downloads may take as long as bytes keep coming.
const PATIENCE: Duration = Duration::from_secs(60);
/// Attempts at a request that the network or a busy server lets down.
const ATTEMPTS: u32 = 4;
const PAGE: u64 = 1000;
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How the server is told who asks. Never shown.
#[derive(Clone, Default)]
pub enum Credentials {
    /// It does not ask.
    #[default]
    None,
    /// A token.
    Bearer(String),
    /// A user and a password.
    Basic(String, String),
}

/// A server.
pub struct Server {
    client: Client,
    base: String,
    credentials: Credentials,
}

impl Server {
    /// Asks whether a server answers at `address`. A user and a password in the address count as credentials.
    pub async fn connect(address: &str, credentials: Credentials) -> Result<Self> {
        let mut url = url::Url::parse(address)
            .map_err(|error| Error::invalid(format!("`{address}` is not an address: {error}")))?;
        let mut credentials = credentials;
        if let Some(password) = url.password() {
            credentials = Credentials::Basic(decoded(url.username()), decoded(password));
        }
        let plain = url.set_username("").and_then(|()| url.set_password(None));
        if plain.is_err() || url.host().is_none() {
            return Err(Error::invalid(format!("`{}` names no server", url.scheme())));
        }
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(PATIENCE)
            .user_agent(concat!("tidemill/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::new(Code::InternalError, format!("cannot make requests: {error}")))?;
        let server = Self { client, base: url.as_str().trim_end_matches('/').to_owned(), credentials };
        server.post("experiments/search", &json!({"max_results": 1})).await?;
        Ok(server)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.credentials {
            Credentials::None => request,
            Credentials::Bearer(token) => request.bearer_auth(token),
            Credentials::Basic(user, password) => request.basic_auth(user, Some(password)),
        }
    }

    /// Sends a request, several times where the network or a busy server lets it down.
    async fn send(&self, make: impl Fn() -> RequestBuilder) -> Result<Response> {
        let mut attempt = 1;
        loop {
            let answer = make().send().await;
            let passing = match &answer {
                Ok(response) => matches!(response.status().as_u16(), 408 | 429 | 500 | 502 | 503 | 504),
                Err(error) => error.is_connect() || error.is_timeout() || error.is_request(),
            };
            if passing && attempt < ATTEMPTS {
                tokio::time::sleep(Duration::from_millis(250) * 2u32.pow(attempt)).await;
                attempt += 1;
                continue;
            }
            let response = answer.map_err(|error| self.unreachable(&error))?;
            if response.status().is_success() {
                return Ok(response);
            }
            return Err(self.refused(response).await);
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let mut reason = String::new();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
        while let Some(inner) = cause {
            reason = inner.to_string();
            cause = inner.source();
        }
        Error::new(Code::TemporarilyUnavailable, format!("no answer from `{}`: {reason}", self.base))
    }

    async fn refused(&self, response: Response) -> Error {
        let status = response.status();
        let code = match status {
            StatusCode::NOT_FOUND => Code::ResourceDoesNotExist,
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::FORBIDDEN => Code::PermissionDenied,
            status if status.is_server_error() => Code::TemporarilyUnavailable,
            _ => Code::BadRequest,
        };
        let text = response.text().await.unwrap_or_default();
        let said = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()))
            .unwrap_or_else(|| text.lines().next().unwrap_or_default().chars().take(200).collect());
        Error::new(code, format!("`{}` answered {status}: {said}", self.base))
    }

    async fn json(&self, make: impl Fn() -> RequestBuilder) -> Result<Value> {
        let response = self.send(make).await?;
        response.json().await.map_err(|error| {
            Error::new(Code::BadRequest, format!("`{}` did not answer as MLflow does: {error}", self.base))
        })
    }

    async fn post(&self, route: &str, body: &Value) -> Result<Value> {
        self.json(|| self.request(Method::POST, &format!("/api/2.0/mlflow/{route}")).json(body)).await
    }

    /// Something that only newer servers know; nothing of those that do not.
    async fn newer(&self, route: &str, body: &Value) -> Result<Option<Value>> {
        let asked = self.json(|| self.request(Method::POST, &format!("/api/3.0/mlflow/{route}")).json(body));
        match asked.await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if matches!(error.code, Code::ResourceDoesNotExist | Code::BadRequest) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, route: &str, query: &[(&str, String)]) -> Result<Value> {
        self.json(|| self.request(Method::GET, &format!("/api/2.0/mlflow/{route}")).query(query)).await
    }

    /// What is kept of each item of all pages of a search by POST.
    async fn post_pages<T>(
        &self,
        route: &str,
        mut body: Value,
        list: &str,
        keep: impl Fn(&Value) -> T + Send,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        loop {
            let mut page = self.post(route, &body).await?;
            all.extend(items(&mut page, list).iter().map(&keep));
            match next_token(&page) {
                Some(token) => body["page_token"] = token.into(),
                None => return Ok(all),
            }
        }
    }

    /// All pages of a search by GET.
    async fn get_pages(&self, route: &str, query: &[(&str, String)], list: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut query = query.to_vec();
        loop {
            let mut page = self.get(route, &query).await?;
            all.extend(items(&mut page, list));
            query.retain(|(key, _)| *key != "page_token");
            match next_token(&page) {
                Some(token) => query.push(("page_token", token)),
                None => return Ok(all),
            }
        }
    }
}

#[async_trait]
impl Source for Server {
    fn place(&self) -> String {
        self.base.clone()
    }

    async fn experiments(&self) -> Result<Vec<SourceExperiment>> {
        let body = json!({"max_results": PAGE, "view_type": "ALL"});
        let mut found: Vec<SourceExperiment> = self
            .post_pages("experiments/search", body, "experiments", |experiment| SourceExperiment {
                id: text(experiment, "experiment_id"),
                name: text(experiment, "name"),
                deleted: text(experiment, "lifecycle_stage") == "deleted",
                created_at: number(experiment, "creation_time").unwrap_or_default(),
                updated_at: number(experiment, "last_update_time").unwrap_or_default(),
                tags: pairs(experiment, "tags"),
            })
            .await?;
        found.sort_by(|a, b| (a.id.len(), &a.id).cmp(&(b.id.len(), &b.id)));
        Ok(found)
    }

    async fn runs(&self, experiment: &SourceExperiment) -> Result<Vec<String>> {
        let body = json!({
            "experiment_ids": [experiment.id], "run_view_type": "ALL", "max_results": PAGE,
            "order_by": ["attributes.start_time ASC"],
        });
        // Only the identifiers stay: a page of whole runs may be as large as all that is imported of them.
        self.post_pages("runs/search", body, "runs", |run| text(&run["info"], "run_id")).await
    }

    async fn run(&self, _: &SourceExperiment, id: &str) -> Result<SourceRun> {
        let answer = self.get("runs/get", &[("run_id", id.to_owned())]).await?;
        let run = &answer["run"];
        let (info, data) = (&run["info"], &run["data"]);
        let list = |part: &Value, name: &str| part[name].as_array().cloned().unwrap_or_default();
        Ok(SourceRun {
            id: text(info, "run_id"),
            name: text(info, "run_name"),
            user: text(info, "user_id"),
            status: RunStatus::from_word(&text(info, "status")).unwrap_or(RunStatus::Finished),
            deleted: text(info, "lifecycle_stage") == "deleted",
            started_at: number(info, "start_time"),
            ended_at: number(info, "end_time"),
            artifact_uri: text(info, "artifact_uri"),
            params: pairs(data, "params"),
            tags: pairs(data, "tags"),
            metrics: list(data, "metrics").iter().map(|metric| text(metric, "key")).collect(),
            datasets: list(&run["inputs"], "dataset_inputs").iter().map(dataset).collect(),
            model_inputs: list(&run["inputs"], "model_inputs")
                .iter()
                .map(|model| text(model, "model_id"))
                .collect(),
            model_outputs: list(&run["outputs"], "model_outputs")
                .iter()
                .map(|model| ModelOutput {
                    model_id: text(model, "model_id"),
                    step: number(model, "step").unwrap_or_default(),
                })
                .collect(),
        })
    }

    async fn history(&self, _: &SourceExperiment, run: &str, key: &str) -> Result<Vec<SourcePoint>> {
        let query =
            [("run_id", run.to_owned()), ("metric_key", key.to_owned()), ("max_results", "25000".to_owned())];
        let points = self.get_pages("metrics/get-history", &query, "metrics").await?;
        Ok(points
            .iter()
            .map(|point| SourcePoint {
                at: number(point, "timestamp").unwrap_or_default(),
                value: float(&point["value"]),
                step: number(point, "step").unwrap_or_default(),
            })
            .collect())
    }

    async fn logged_models(&self, experiment: &SourceExperiment) -> Result<Vec<SourceLoggedModel>> {
        let body = json!({"experiment_ids": [experiment.id], "max_results": 50});
        let keep = |model: &Value| {
            let info = &model["info"];
            let at = |name: &str| number(info, name).unwrap_or_default();
            SourceLoggedModel {
                id: text(info, "model_id"),
                name: text(info, "name"),
                model_type: text(info, "model_type"),
                status: text(info, "status"),
                source_run: some(info, "source_run_id"),
                artifact_uri: text(info, "artifact_uri"),
                created_at: at("creation_timestamp_ms"),
                updated_at: at("last_updated_timestamp_ms"),
                params: pairs(&model["data"], "params"),
                tags: pairs(info, "tags"),
            }
        };
        let mut models = match self.post_pages("logged-models/search", body, "models", keep).await {
            Ok(found) => found,
            // Servers before 3.0 have none.
            Err(error) if error.code == Code::ResourceDoesNotExist => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        models.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(models)
    }

    async fn model_points(&self, _: &SourceExperiment, model: &str) -> Result<Vec<SourceModelPoint>> {
        let answer = self.get(&format!("logged-models/{}", utf8_percent_encode(model, PATH)), &[]).await?;
        let points = answer["model"]["data"]["metrics"].as_array();
        let point = |metric: &Value| SourceModelPoint {
            key: text(metric, "key"),
            point: SourcePoint {
                at: number(metric, "timestamp").unwrap_or_default(),
                value: float(&metric["value"]),
                step: number(metric, "step").unwrap_or_default(),
            },
            run: some(metric, "run_id"),
            dataset_name: some(metric, "dataset_name"),
            dataset_digest: some(metric, "dataset_digest"),
        };
        Ok(points.into_iter().flatten().map(point).collect())
    }

    async fn models(&self) -> Result<Vec<SourceModel>> {
        let found = self
            .get_pages("registered-models/search", &[("max_results", PAGE.to_string())], "registered_models")
            .await?;
        let mut models = Vec::with_capacity(found.len());
        for model in found {
            let name = text(&model, "name");
            let mut query = vec![("max_results", PAGE.to_string())];
            query.extend(name_filter(&name).map(|filter| ("filter", filter)));
            let found = self.get_pages("model-versions/search", &query, "model_versions").await?;
            let of_model = found.iter().filter(|version| text(version, "name") == name);
            let mut versions: Vec<SourceVersion> = of_model.filter_map(version).collect();
            versions.sort_by_key(|version| version.number);
            let aliases = model["aliases"].as_array().cloned().unwrap_or_default();
            models.push(SourceModel {
                name,
                description: text(&model, "description"),
                created_at: number(&model, "creation_timestamp").unwrap_or_default(),
                tags: pairs(&model, "tags"),
                aliases: aliases
                    .iter()
                    .filter_map(|alias| Some((text(alias, "alias"), text(alias, "version").parse().ok()?)))
                    .collect(),
                versions,
            });
        }
        Ok(models)
    }

    async fn files(&self, uri: &str) -> Result<Option<Vec<SourceFile>>> {
        let Some(root) = proxied(uri) else { return Ok(None) };
        let mut found = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let path = format!("{root}/{folder}");
            let query = [("path", path.trim_end_matches('/').to_owned())];
            let route = "/api/2.0/mlflow-artifacts/artifacts";
            let answer = self.json(|| self.request(Method::GET, route).query(&query)).await?;
            for file in answer["files"].as_array().into_iter().flatten() {
                let path = format!("{folder}{}", text(file, "path"));
                if file["is_dir"].as_bool() == Some(true) {
                    folders.push(format!("{path}/"));
                } else {
                    let bytes = number(file, "file_size").and_then(|size| u64::try_from(size).ok());
                    found.push(SourceFile { path, bytes });
                }
            }
        }
        found.sort();
        Ok(Some(found))
    }

    async fn behind(&self, experiments: &[SourceExperiment]) -> Result<Behind> {
        let mut behind = Behind::default();
        // As many experiments as MLflow's own server takes at once.
        for some in experiments.chunks(50) {
            let ids: Vec<&str> = some.iter().map(|experiment| experiment.id.as_str()).collect();
            let traces = json!({
                "experiment_ids": ids, "view_type": "TRACES", "metric_name": "trace_count",
                "aggregations": [{"aggregation_type": "COUNT"}],
            });
            if let Some(found) = self.newer("traces/metrics", &traces).await? {
                let count = found.pointer("/data_points/0/values/COUNT").and_then(Value::as_f64);
                behind.traces += count.map_or(0, |count| count as u64);
            }
        }
        let mut datasets = json!({"max_results": PAGE});
        while let Some(mut page) = self.newer("datasets/search", &datasets).await? {
            behind.evaluation_datasets += items(&mut page, "datasets").len() as u64;
            match next_token(&page) {
                Some(token) => datasets["page_token"] = token.into(),
                None => break,
            }
        }
        Ok(behind)
    }

    async fn fetch(&self, uri: &str, file: &SourceFile, into: &mut ArtifactWriter) -> Result<()> {
        let root =
            proxied(uri).ok_or_else(|| Error::invalid(format!("`{uri}` is not behind this server")))?;
        let path = format!("{root}/{}", file.path);
        let route = format!("/api/2.0/mlflow-artifacts/artifacts/{}", utf8_percent_encode(&path, PATH));
        let mut response = self.send(|| self.request(Method::GET, &route)).await?;
        while let Some(bytes) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            into.write(bytes).await?;
        }
        Ok(())
    }
}

/// The path below the artifact proxy that an address names.
fn proxied(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
        None => rest,
    };
    Some(path.trim_matches('/').to_owned())
}

fn dataset(input: &Value) -> InputDataset {
    let dataset = &input["dataset"];
    let optional = |name: &str| dataset[name].as_str().map(str::to_owned);
    InputDataset {
        name: text(dataset, "name"),
        digest: text(dataset, "digest"),
        source_type: text(dataset, "source_type"),
        source: text(dataset, "source"),
        schema: optional("schema"),
        profile: optional("profile"),
        tags: pairs(input, "tags"),
    }
}

fn version(version: &Value) -> Option<SourceVersion> {
    let stage = text(version, "current_stage");
    Some(SourceVersion {
        number: text(version, "version").parse().ok()?,
        created_at: number(version, "creation_timestamp").unwrap_or_default(),
        description: text(version, "description"),
        stage: if stage.is_empty() { "None".to_owned() } else { stage },
        source: text(version, "source"),
        storage: None,
        run: some(version, "run_id"),
        tags: pairs(version, "tags"),
    })
}

/// Finds the versions of a model. Nothing escapes a quote in MLflow's filters, so it takes the other kind of them; of a
/// name with both kinds there is no filter, and the versions of all models are gone through.
fn name_filter(name: &str) -> Option<String> {
    ['\'', '"']
        .into_iter()
        .find(|quote| !name.contains(*quote))
        .map(|quote| format!("name={quote}{name}{quote}"))
}

/// Text that is there and not empty.
fn some(object: &Value, name: &str) -> Option<String> {
    Some(text(object, name)).filter(|text| !text.is_empty())
}

/// Text, also where a number stands; empty where nothing does.
fn text(object: &Value, name: &str) -> String {
    match &object[name] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn number(object: &Value, name: &str) -> Option<i64> {
    object[name].as_i64().or_else(|| object[name].as_str()?.parse().ok())
}

/// A value as MLflow's JSON writes it.
fn float(value: &Value) -> f64 {
    let number = match value {
        Value::String(text) if text == "NaN" => f64::NAN,
        Value::String(text) => text.parse().unwrap_or(f64::NAN),
        other => other.as_f64().unwrap_or(f64::NAN),
    };
    if number == f64::MAX {
        return f64::INFINITY;
    }
    if number == f64::MIN { f64::NEG_INFINITY } else { number }
}

fn pairs(object: &Value, name: &str) -> Vec<KeyValue> {
    let list = object[name].as_array();
    list.into_iter()
        .flatten()
        .map(|pair| KeyValue { key: text(pair, "key"), value: text(pair, "value") })
        .collect()
}

fn items(page: &mut Value, list: &str) -> Vec<Value> {
    match page.get_mut(list).map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn next_token(page: &Value) -> Option<String> {
    page["next_page_token"].as_str().filter(|token| !token.is_empty()).map(str::to_owned)
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_behind_the_proxy() {
        assert_eq!(proxied("mlflow-artifacts:/1/r/artifacts").as_deref(), Some("1/r/artifacts"));
        assert_eq!(proxied("mlflow-artifacts://host:5000/1/r/").as_deref(), Some("1/r"));
        assert_eq!(proxied("s3://bucket/1"), None);
    }

    #[test]
    fn versions_are_found_whatever_their_model_is_called() {
        assert_eq!(name_filter("a b").as_deref(), Some("name='a b'"));
        assert_eq!(name_filter("it's").as_deref(), Some("name=\"it's\""));
        assert_eq!(name_filter("6\" it's"), None);
        // Our own server reads what another one of MLflow's does.
        assert!(crate::filter::model_versions("name=\"it's\"").is_ok());
    }

    #[test]
    fn numbers_that_json_cannot_hold() {
        assert!(float(&json!("NaN")).is_nan());
        assert_eq!(float(&json!(f64::MAX)), f64::INFINITY);
        assert_eq!(float(&json!(0.5)), 0.5);
    }
}
