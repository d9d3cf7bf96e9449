//! Kinds of work on a server, each of which remembers what was acknowledged and can check that all of it is there.
//!
//! A request without an answer may or may not have been performed, but never half.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use super::client::Client;

/// One client's endless work.
pub(super) trait Load: Send {
    /// The next request or two. An error means that the connection broke.
    fn turn(&mut self, client: &mut Client) -> io::Result<()>;
    /// Compares what is there with what was acknowledged.
    fn check(&self, client: &mut Client);
    /// How many writes were acknowledged.
    fn acknowledged(&self) -> usize;
}

/// A counter that says which writes were sent and which were acknowledged.
#[derive(Default)]
struct Writes {
    sent: usize,
    acknowledged: Vec<usize>,
}

impl Writes {
    /// The number of the next write.
    fn next(&mut self) -> usize {
        self.sent += 1;
        self.sent - 1
    }

    /// Checks that all acknowledged writes are among those found, once each, and that nothing was found that nobody sent.
    #[track_caller]
    fn check(&self, what: &str, found: &[usize]) {
        let mut sorted = found.to_vec();
        sorted.sort_unstable();
        let all = sorted.len();
        sorted.dedup();
        assert_eq!(sorted.len(), all, "{what}: something is there twice");
        let lost: Vec<_> =
            self.acknowledged.iter().filter(|write| sorted.binary_search(write).is_err()).collect();
        assert!(lost.is_empty(), "{what}: lost {lost:?} of {}", self.acknowledged.len());
        assert!(
            sorted.last().is_none_or(|last| *last < self.sent),
            "{what}: nobody wrote {:?}",
            sorted.last()
        );
    }
}

/// A new run in the experiment `Default`.
fn run(client: &mut Client) -> String {
    let made = client.call("POST", "runs/create", &json!({"experiment_id": "0"})).unwrap();
    made["run"]["info"]["run_id"].as_str().unwrap().to_owned()
}

fn data(client: &mut Client, run: &str) -> Value {
    client.call("GET", &format!("runs/get?run_id={run}"), &Value::Null).unwrap()["run"]["data"].clone()
}

/// Keys and values of a list of params or tags.
fn pairs(list: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = list.as_array().into_iter().flatten();
    list.map(|pair| (text(&pair["key"]), text(&pair["value"]))).collect()
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

/// One metric in a request.
pub(super) struct Metrics {
    run: String,
    writes: Writes,
}

impl Metrics {
    pub(super) fn new(client: &mut Client) -> Self {
        Self { run: run(client), writes: Writes::default() }
    }
}

impl Load for Metrics {
    fn turn(&mut self, client: &mut Client) -> io::Result<()> {
        let step = self.writes.next();
        let body =
            json!({"run_id": self.run, "key": "m", "value": step * 2, "timestamp": step, "step": step});
        client.call("POST", "runs/log-metric", &body)?;
        self.writes.acknowledged.push(step);
        Ok(())
    }

    fn check(&self, client: &mut Client) {
        let path = format!("metrics/get-history?run_id={}&metric_key=m", self.run);
        let answer = client.call("GET", &path, &Value::Null).unwrap();
        let points = answer["metrics"].as_array().unwrap();
        for point in points {
            assert_eq!(point["value"].as_f64().unwrap(), (index(&point["step"]) * 2) as f64);
        }
        self.writes.check("metrics", &points.iter().map(|point| index(&point["step"])).collect::<Vec<_>>());
        let latest = points.iter().map(|point| index(&point["step"])).max().unwrap();
        assert_eq!(data(client, &self.run)["metrics"][0]["step"], latest, "the latest metric");
    }

    fn acknowledged(&self) -> usize {
        self.writes.acknowledged.len()
    }
}

/// Batches of 40 metrics, two params and a tag.
pub(super) struct Batches {
    run: String,
    writes: Writes,
}

impl Batches {
    const METRICS: usize = 40;

    pub(super) fn new(client: &mut Client) -> Self {
        Self { run: run(client), writes: Writes::default() }
    }
}

impl Load for Batches {
    fn turn(&mut self, client: &mut Client) -> io::Result<()> {
        let number = self.writes.next();
        let metric = |i| json!({"key": "b", "value": i, "timestamp": number, "step": number});
        let param = |name| json!({"key": format!("{name}{number}"), "value": number.to_string()});
        let body = json!({
            "run_id": self.run,
            "metrics": (0..Self::METRICS).map(metric).collect::<Vec<_>>(),
            "params": [param("p"), param("q")],
            "tags": [{"key": format!("t{number}"), "value": number.to_string()}],
        });
        client.call("POST", "runs/log-batch", &body)?;
        self.writes.acknowledged.push(number);
        Ok(())
    }

    fn check(&self, client: &mut Client) {
        let path = format!("metrics/get-history?run_id={}&metric_key=b", self.run);
        let answer = client.call("GET", &path, &Value::Null).unwrap();
        let mut metrics: BTreeMap<usize, usize> = BTreeMap::new();
        for point in answer["metrics"].as_array().unwrap() {
            *metrics.entry(index(&point["step"])).or_default() += 1;
        }
        let whole = metrics.iter().filter(|(_, count)| **count != Self::METRICS).collect::<Vec<_>>();
        assert!(whole.is_empty(), "batches that are there in part: {whole:?}");
        let found: Vec<usize> = metrics.into_keys().collect();
        self.writes.check("batches", &found);
        let data = data(client, &self.run);
        let (params, tags) = (pairs(&data["params"]), pairs(&data["tags"]));
        let there = |map: &BTreeMap<String, String>, prefix: &str| {
            let numbers = map.iter().filter_map(|(key, value)| {
                let number = key.strip_prefix(prefix)?.parse::<usize>().ok()?;
                assert_eq!(*value, number.to_string());
                Some(number)
            });
            let mut numbers: Vec<usize> = numbers.collect();
            numbers.sort_unstable();
            numbers
        };
        for (map, prefix) in [(&params, "p"), (&params, "q"), (&tags, "t")] {
            assert_eq!(there(map, prefix), found, "`{prefix}` of the batches");
        }
    }

    fn acknowledged(&self) -> usize {
        self.writes.acknowledged.len()
    }
}

/// A parameter and a tag that counts up.
pub(super) struct Words {
    run: String,
    params: Writes,
    tags: Writes,
}

impl Words {
    pub(super) fn new(client: &mut Client) -> Self {
        Self { run: run(client), params: Writes::default(), tags: Writes::default() }
    }
}

impl Load for Words {
    fn turn(&mut self, client: &mut Client) -> io::Result<()> {
        let number = self.params.next();
        let body = json!({"run_id": self.run, "key": format!("p{number}"), "value": number.to_string()});
        client.call("POST", "runs/log-parameter", &body)?;
        self.params.acknowledged.push(number);
        let number = self.tags.next();
        let body = json!({"run_id": self.run, "key": "counter", "value": number.to_string()});
        client.call("POST", "runs/set-tag", &body)?;
        self.tags.acknowledged.push(number);
        Ok(())
    }

    fn check(&self, client: &mut Client) {
        let data = data(client, &self.run);
        let params: Vec<usize> =
            pairs(&data["params"]).into_values().map(|value| value.parse().unwrap()).collect();
        self.params.check("params", &params);
        let counter: usize = pairs(&data["tags"])["counter"].parse().unwrap();
        let last = *self.tags.acknowledged.last().unwrap();
        assert!((last..self.tags.sent).contains(&counter), "the tag is {counter} after {last}");
    }

    fn acknowledged(&self) -> usize {
        self.params.acknowledged.len() + self.tags.acknowledged.len()
    }
}

/// Runs that are made, and finished.
pub(super) struct Runs {
    experiment: String,
    writes: Writes,
    made: Vec<(String, usize)>,
    finished: Vec<String>,
}

impl Runs {
    pub(super) fn new(client: &mut Client) -> Self {
        let made =
            client.call("POST", "experiments/create", &json!({"name": "runs of the crash test"})).unwrap();
        let experiment = made["experiment_id"].as_str().unwrap().to_owned();
        Self { experiment, writes: Writes::default(), made: Vec::new(), finished: Vec::new() }
    }
}

impl Load for Runs {
    fn turn(&mut self, client: &mut Client) -> io::Result<()> {
        let number = self.writes.next();
        let tag = |key: &str| json!({"key": key, "value": number.to_string()});
        let body = json!({
            "experiment_id": self.experiment, "run_name": format!("run {number}"), "start_time": number,
            "tags": [tag("a"), tag("b")],
        });
        let run = client.call("POST", "runs/create", &body)?;
        let id = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
        self.writes.acknowledged.push(number);
        self.made.push((id.clone(), number));
        let body = json!({"run_id": id, "status": "FINISHED", "end_time": number + 1});
        client.call("POST", "runs/update", &body)?;
        self.finished.push(id);
        Ok(())
    }

    fn check(&self, client: &mut Client) {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let body = json!({"experiment_ids": [self.experiment], "max_results": 500, "page_token": token});
            let page = client.call("POST", "runs/search", &body).unwrap();
            for run in page["runs"].as_array().into_iter().flatten() {
                let number = index(&run["info"]["start_time"]);
                let tags = pairs(&run["data"]["tags"]);
                let text = number.to_string();
                assert_eq!((tags["a"].as_str(), tags["b"].as_str()), (&*text, &*text), "tags of {run}");
                assert_eq!(tags["mlflow.runName"], format!("run {number}"));
                found.push(number);
            }
            page["next_page_token"].as_str().unwrap_or_default().clone_into(&mut token);
            if token.is_empty() {
                break;
            }
        }
        self.writes.check("runs", &found);
        for (id, number) in &self.made {
            let run = client.call("GET", &format!("runs/get?run_id={id}"), &Value::Null).unwrap();
            let info = &run["run"]["info"];
            assert_eq!(info["run_name"], format!("run {number}"));
            if self.finished.contains(id) {
                assert_eq!((&info["status"], index(&info["end_time"])), (&json!("FINISHED"), number + 1));
            }
        }
    }

    fn acknowledged(&self) -> usize {
        self.made.len() + self.finished.len()
    }
}

/// Uploads of artifacts, every third one over an older one.
pub(super) struct Uploads {
    run: String,
    root: String,
    /// By name: the number of what was acknowledged last, and of everything that was sent after it.
    files: BTreeMap<usize, (Option<usize>, Vec<usize>)>,
    sent: usize,
}

impl Uploads {
    pub(super) fn new(client: &mut Client) -> Self {
        let run = run(client);
        let listed = client.call("GET", &format!("artifacts/list?run_id={run}"), &Value::Null).unwrap();
        let uri = listed["root_uri"].as_str().unwrap();
        let root = format!(
            "/api/2.0/mlflow-artifacts/artifacts/{}",
            uri.strip_prefix("mlflow-artifacts:/").unwrap().trim_start_matches('/')
        );
        Self { run, root, files: BTreeMap::new(), sent: 0 }
    }

    fn content(number: usize) -> Vec<u8> {
        format!("{number:09}\n").repeat(2_000 + number * 37 % 9_000).into_bytes()
    }
}

impl Load for Uploads {
    fn turn(&mut self, client: &mut Client) -> io::Result<()> {
        let number = self.sent;
        self.sent += 1;
        let name = if number % 3 == 2 { number / 2 } else { number };
        let file = self.files.entry(name).or_default();
        file.1.push(number);
        let path = format!("{}/dir/{name}.bin", self.root);
        let answer = client.send("PUT", &path, "application/octet-stream", &Self::content(number))?;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        *file = (Some(number), Vec::new());
        Ok(())
    }

    fn check(&self, client: &mut Client) {
        let path = format!("artifacts/list?run_id={}&path=dir", self.run);
        let listed = client.call("GET", &path, &Value::Null).unwrap();
        let names: Vec<&str> =
            listed["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
        for (name, (acknowledged, sent)) in &self.files {
            let answer = client.send("GET", &format!("{}/dir/{name}.bin", self.root), "", &[]).unwrap();
            let there = names.contains(&&*format!("dir/{name}.bin"));
            assert_eq!(there, answer.status == 200, "{name} is listed: {there}");
            if answer.status == 200 {
                let mut candidates = acknowledged.iter().chain(sent);
                let whole = candidates.any(|number| Self::content(*number) == answer.body);
                assert!(whole, "artifact {name} is neither {acknowledged:?} nor one of {sent:?}");
            } else {
                assert_eq!((answer.status, acknowledged), (404, &None), "artifact {name}");
            }
        }
    }

    fn acknowledged(&self) -> usize {
        self.files.values().filter(|(acknowledged, _)| acknowledged.is_some()).count()
    }
}

/// Versions of a model, and an alias that moves to the newest one.
pub(super) struct Registrations {
    run: String,
    versions: Vec<String>,
    sent: usize,
    alias: (Option<String>, String),
}

impl Registrations {
    const NAME: &str = "crash";

    pub(super) fn new(client: &mut Client) -> Self {
        client.call("POST", "registered-models/create", &json!({"name": Self::NAME})).unwrap();
        Self { run: run(client), versions: Vec::new(), sent: 0, alias: (None, String::new()) }
    }
}

impl Load for Registrations {
    fn turn(&mut self, client: &mut Client) -> io::Result<()> {
        self.sent += 1;
        let body = json!({
            "name": Self::NAME, "source": format!("runs:/{}/model", self.run), "run_id": self.run,
            "tags": [{"key": "k", "value": "v"}],
        });
        let made = client.call("POST", "model-versions/create", &body)?;
        let version = made["model_version"]["version"].as_str().unwrap().to_owned();
        self.versions.push(version.clone());
        self.alias.1.clone_from(&version);
        let body = json!({"name": Self::NAME, "alias": "newest", "version": version});
        client.call("POST", "registered-models/alias", &body)?;
        self.alias.0 = Some(version);
        Ok(())
    }

    fn check(&self, client: &mut Client) {
        let path = "model-versions/search?max_results=10000&filter=name%3D%27crash%27";
        let answer = client.call("GET", path, &Value::Null).unwrap();
        let versions = answer["model_versions"].as_array().unwrap();
        for version in versions {
            assert_eq!(pairs(&version["tags"])["k"], "v", "{version}");
        }
        let mut there: Vec<u64> =
            versions.iter().map(|version| version["version"].as_str().unwrap().parse().unwrap()).collect();
        there.sort_unstable();
        let count = there.len() as u64;
        assert_eq!(there, (1..=count).collect::<Vec<_>>(), "version numbers have no gaps");
        assert!((self.versions.len()..=self.sent).contains(&there.len()), "{} of {}", there.len(), self.sent);
        for version in &self.versions {
            assert!(there.contains(&version.parse().unwrap()), "version {version} was lost");
        }
        let path = format!("registered-models/alias?name={}&alias=newest", Self::NAME);
        let answer = client.call("GET", &path, &Value::Null).unwrap();
        let newest = answer["model_version"]["version"].as_str().unwrap();
        assert!(
            self.alias.0.as_deref() == Some(newest) || self.alias.1 == newest,
            "the alias is at {newest}, not at {:?}",
            self.alias
        );
    }

    fn acknowledged(&self) -> usize {
        self.versions.len()
    }
}
