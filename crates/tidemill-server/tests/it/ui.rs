//! The web pages: what they show, that nothing unescaped gets out, who may see them, and what forms may do.

use serde_json::{Value, json};
use tidemill_server::Token;

use crate::client::{Reply, Server};

const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml");
/// What a user might call things.
pub(crate) const HOSTILE: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>";

pub(crate) async fn page(server: &Server, path: &str) -> Reply {
    server.ask("GET", path, &[HTML], "").await
}

pub(crate) async fn post(server: &Server, path: &str, body: &Value) -> Value {
    let reply = server.ask("POST", path, &[], &body.to_string()).await;
    assert_eq!(reply.status, 200, "{path} {body}: {reply:?}");
    reply.json()
}

/// Encoded as a part of a path or a query.
pub(crate) fn part(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// An experiment with two runs in which everything is called by `word`; gives the experiment and the runs.
async fn filled(server: &Server, word: &str) -> (String, Vec<String>) {
    let made = post(server, "/api/2.0/mlflow/experiments/create", &json!({"name": word})).await;
    let experiment = made["experiment_id"].as_str().unwrap().to_owned();
    let mut runs = Vec::new();
    for n in 0..2 {
        let body = json!({"experiment_id": experiment, "run_name": word, "start_time": 1_699_999_990_000_i64 + n,
            "tags": [{"key": "note", "value": word}, {"key": "mlflow.note.content", "value": word}]});
        let run = post(server, "/api/2.0/mlflow/runs/create", &body).await;
        let run = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
        let metric = |step: i64| json!({"key": "loss", "value": 1.0 / (step + n + 1) as f64, "timestamp": step, "step": step});
        let metrics: Vec<Value> = (0..50).map(metric).collect();
        let params =
            json!([{"key": "depth", "value": n.to_string()}, {"key": "kind", "value": format!("{word}{n}")}]);
        post(
            server,
            "/api/2.0/mlflow/runs/log-batch",
            &json!({"run_id": run, "metrics": metrics, "params": params}),
        )
        .await;
        runs.push(run);
    }
    (experiment, runs)
}

/// Whether markup that a user wrote is among the markup of a page.
#[track_caller]
pub(crate) fn is_tame(reply: &Reply) {
    for bad in ["<script>alert", "<img src=x", "onerror=alert(1)>"] {
        assert!(!reply.body.contains(bad), "`{bad}` got out: {}", reply.body);
    }
    let policy = reply.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{reply:?}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(reply.header("x-frame-options"), Some("DENY"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn empty_pages_say_what_to_do_next() {
    let server = Server::start().await;
    for (path, texts) in [
        ("/", &["<h1>", "Nothing moves", "tidemill run"][..]),
        ("/experiments", &["Default"]),
        ("/experiments/0", &["No run was logged yet", "MLFLOW_TRACKING_URI"]),
        ("/compare", &["Nothing to compare"]),
        ("/pipelines", &["The pipeline has not run yet"]),
        ("/data", &["tidemill data add"]),
        ("/models", &["No model is registered yet"]),
        ("/delivery", &["Nothing was released yet", "tidemill release"]),
        ("/owner", &["No model is registered yet"]),
        ("/serving", &["No endpoint yet"]),
        ("/log", &["Root of the Merkle tree"]),
        ("/log/1", &["Event 1", "it is entry 1 of the log"]),
    ] {
        let reply = page(&server, path).await;
        reply.is(200, texts);
        is_tame(&reply);
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_on_a_page_to_browsers_and_in_json_to_programs() {
    let server = Server::start().await;
    for path in [
        "/runs/nothing",
        "/runs/00000000000000000000000000000000",
        "/experiments/77",
        "/pipelines/ffff",
        "/data/none",
        "/models/none",
        "/models/none/1",
        "/serving/none",
        "/log/99999",
        "/log/0",
        "/no/such/page",
    ] {
        let reply = page(&server, path).await;
        reply.is(404, &["<!doctype html>", "Not found"]);
        is_tame(&reply);
    }
    let reply = server.ask("GET", "/runs/nothing", &[("accept", "application/json")], "").await;
    assert_eq!((reply.status, reply.json()["code"].clone()), (404, json!("not_found")));
    page(&server, "/log?kind=%00").await.is(400, &["Not understood"]);
    // Clients of MLflow go on to be answered in its words.
    let reply = server.ask("GET", "/api/2.0/mlflow/nothing", &[HTML], "").await;
    assert!(reply.body.contains("ENDPOINT_NOT_FOUND"), "{reply:?}");
}

#[tokio::test]
async fn nothing_that_a_user_wrote_becomes_markup() {
    let server = Server::start().await;
    let (experiment, runs) = filled(&server, HOSTILE).await;
    let note = part(HOSTILE);
    for path in [
        "/".to_owned(),
        "/experiments".to_owned(),
        format!("/experiments/{experiment}"),
        format!(
            "/experiments/{experiment}?column={}&group={}",
            part(&format!("tags.{HOSTILE}")),
            part("params.kind")
        ),
        format!("/experiments/{experiment}?filter={note}&order={}", part("attributes.start_time DESC")),
        format!("/experiments/{experiment}?order={note}"),
        format!("/runs/{}", runs[0]),
        format!("/runs/{}?tab=metrics&name={note}&x={note}&smooth={note}", runs[0]),
        format!("/runs/{}?tab=files&path={note}", runs[0]),
        format!("/runs/{}?tab=metrics&curve={note}", runs[0]),
        format!("/compare?run={}&run={}&axis={}", runs[0], runs[1], part("params.kind")),
        format!("/compare?experiment={experiment}&filter={note}"),
        format!("/log?subject={note}&kind={note}&since={note}"),
        format!("/log?page={note}"),
        format!("/models?filter={note}"),
        format!("/models/{note}"),
        format!("/models/{note}/{note}"),
        format!("/data/{note}"),
        format!("/data/{note}/difference?from={note}"),
        format!("/runs/{}/curves/{note}", runs[0]),
        format!("/experiments/{experiment}?keys={note}&group={note}&slice={note}"),
        format!("/serving/{note}"),
        format!("/pipelines/{note}"),
        format!("/pipelines?page={note}"),
        format!("/login?next={note}"),
        format!("/{note}"),
    ] {
        let reply = page(&server, &path).await;
        assert!(matches!(reply.status, 200 | 400 | 404), "{path}: {reply:?}");
        is_tame(&reply);
    }
}

#[tokio::test]
async fn the_table_of_runs_is_searched_sorted_and_cut_by_the_server() {
    let server = Server::start().await;
    let (experiment, runs) = filled(&server, "tides").await;
    let table = page(&server, &format!("/experiments/{experiment}")).await;
    table.is(200, &["tides", "loss", "depth", "Compare the ticked", "0.02", "2 runs"]);

    let filter = |text: &str| format!("/experiments/{experiment}?filter={}", part(text));
    let json = async |path: String| server.get(&format!("{path}&format=json")).await.json()["data"].clone();
    let found = json(filter("params.depth = '1'")).await;
    let rows = found["runs"]["rows"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0]["run_id"].as_str()), (1, Some(runs[1].as_str())));
    page(&server, &filter("params.depth === '1'")).await.is(200, &["filter-error", "aria-invalid"]);

    let sorted = json(format!("/experiments/{experiment}?order={}", part("metrics.`loss` ASC"))).await;
    let ids: Vec<&str> = sorted["runs"]["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["run_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [&runs[1], &runs[0]]);

    let grouped = json(format!("/experiments/{experiment}?group=params.kind")).await;
    assert_eq!(grouped["groups"]["rows"].as_array().unwrap().len(), 2);
    let csv = server.get(&format!("/experiments/{experiment}?format=csv")).await;
    assert!(
        csv.body.starts_with("Run,Status,Began,Took,") || csv.body.starts_with("Run,,Status"),
        "{}",
        csv.body
    );
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
}

#[tokio::test]
async fn a_long_list_has_pages() {
    let server = Server::start().await;
    let made = post(&server, "/api/2.0/mlflow/experiments/create", &json!({"name": "many"})).await;
    let experiment = made["experiment_id"].as_str().unwrap();
    for n in 0..130 {
        let body = json!({"experiment_id": experiment, "run_name": format!("run-{n}"), "start_time": n});
        post(&server, "/api/2.0/mlflow/runs/create", &body).await;
    }
    let first = server.get(&format!("/experiments/{experiment}?format=json")).await.json();
    let runs = &first["data"]["runs"];
    assert_eq!(runs["rows"].as_array().unwrap().len(), 100);
    let next = runs["next"].as_str().unwrap();
    let second = server.get(&format!("{next}&format=json")).await.json();
    let rows = second["data"]["runs"]["rows"].as_array().unwrap();
    assert_eq!((rows.len(), rows[29]["Run"].as_str()), (30, Some("run-0")));
    assert_eq!(second["data"]["runs"].get("next"), None);
}

#[tokio::test]
async fn a_run_shows_its_curves_and_their_numbers() {
    let server = Server::start().await;
    let (_, runs) = filled(&server, "tides").await;
    let run = &runs[0];
    page(&server, &format!("/runs/{run}"))
        .await
        .is(200, &["tides", "depth", "svg class=\"spark\"", "Curves (1)"]);
    let curves = page(&server, &format!("/runs/{run}?tab=metrics&x=10..20&log=1")).await;
    curves.is(200, &["data-zoom=\"x\"", "data-ylog", "See all steps"]);
    let found = server.get(&format!("/runs/{run}?tab=metrics&curve=loss&x=10..20&format=json")).await.json();
    let (_, curve) = found["data"].as_object().unwrap().iter().next().unwrap();
    let rows = curve["rows"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0]["step"].as_u64()), (11, Some(10)));
    page(&server, &format!("/compare?run={run}&run={}", runs[1]))
        .await
        .is(200, &["parallel", "params.depth", "Side by side"]);

    // The small curve in the table leads to the large one, and is a file with numbers as well.
    let address = format!("/runs/{run}");
    let overview = page(&server, &address).await;
    let link = format!("<a class=\"to-curve\" href=\"{address}/curves/loss\">");
    overview.is(200, &[&link, "aria-label=\"loss over steps: from 1 to 0.02, lowest 0.02, highest 1\""]);
    let svg = server.get(&format!("{address}?format=svg&figure=small-curve-loss")).await;
    assert_eq!((svg.status, svg.header("content-type")), (200, Some("image/svg+xml")));
    assert!(svg.body.contains("loss over steps: from 1 to 0.02"), "{svg:?}");
    assert_eq!(server.get(&format!("{address}?format=svg&figure=small-curve-none")).await.status, 404);
    let written = page(&server, &format!("{address}?format=md")).await.body;
    assert!(written.contains(&format!("]({address}?format=svg&figure=small-curve-loss)")), "{written}");
    let numbers = server.get(&format!("{address}?format=json")).await.json();
    let values = numbers["data"]["metrics"]["rows"][0]["curve"].as_array().unwrap().clone();
    assert_eq!((values.first(), values.last()), (Some(&json!(1.0)), Some(&json!(0.02))));
}

#[tokio::test]
async fn files_of_a_run_are_looked_into() {
    let server = Server::start().await;
    let (experiment, runs) = filled(&server, "tides").await;
    let put = |path: &str, body: &'static str| {
        let path = format!("/api/2.0/mlflow-artifacts/artifacts/{experiment}/{}/artifacts/{path}", runs[0]);
        let server = &server;
        async move { assert_eq!(server.ask("PUT", &path, &[], body).await.status, 200, "{path}") }
    };
    put("notes/a.md", "The **first** <script>alert('x')</script>").await;
    put("table.csv", "a,b\n1,<img src=x onerror=alert(1)>\n").await;
    put("page.html", "<script>alert('x')</script>").await;
    put("conf.json", "{\"b\":1}").await;
    let run = format!("/runs/{}?tab=files", runs[0]);
    page(&server, &run).await.is(200, &["notes/", "table.csv", "7 B"]);
    for (path, text) in [
        ("notes", "a.md"),
        ("notes/a.md", "<strong>first</strong>"),
        ("table.csv", "<td>"),
        ("page.html", "&#60;script&#62;"),
        ("conf.json", "&#34;b&#34;: 1"),
    ] {
        let reply = page(&server, &format!("{run}&path={path}")).await;
        reply.is(200, &[text]);
        is_tame(&reply);
    }
    page(&server, &format!("{run}&path=none.txt")).await.is(404, &["No such artifact"]);
    page(&server, &format!("{run}&path=../x")).await.is(400, &["Not understood"]);
}

#[tokio::test]
async fn files_of_the_pages_are_kept_by_browsers() {
    let server = Server::start().await;
    let text = page(&server, "/").await.body;
    let style = text.split("<link rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let reply = server.get(style).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert!(reply.header("cache-control").unwrap().contains("immutable"), "{reply:?}");
    assert_eq!(server.get("/ui/static/app-0.css").await.status, 404);
    assert_eq!(page(&server, "/").await.header("cache-control"), Some("no-store"));
    // No page says anything in line: the policy would not let it.
    assert!(!text.contains(" style=") && !text.contains("<style") && !text.contains(" onclick"), "{text}");
}

#[tokio::test]
async fn packed_pages_are_small() {
    let server = Server::start().await;
    let (experiment, _) = filled(&server, "tides").await;
    let path = format!("/experiments/{experiment}");
    let plain = page(&server, &path).await;
    let packed = server.ask("GET", &path, &[HTML, ("accept-encoding", "gzip, br")], "").await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let length: usize = packed.header("content-length").unwrap().parse().unwrap();
    assert!(length * 2 < plain.body.len(), "{length} of {}", plain.body.len());
}

/// A browser's form.
pub(crate) async fn form(
    server: &Server,
    path: &str,
    fields: &[(&str, &str)],
    headers: &[(&str, &str)],
) -> Reply {
    let body: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={}", part(value))).collect();
    let all = [&[HTML, ("origin", "http://localhost")], headers].concat();
    server.ask("POST", path, &all, &body.join("&")).await
}

pub(crate) fn csrf(page: &Reply) -> String {
    let token =
        page.body.split("name=\"csrf\" value=\"").nth(1).unwrap_or_else(|| panic!("no form: {page:?}"));
    token.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_browser_signs_in_with_the_token() {
    let server = Server::start_with(|config| config.token = Some(Token::new("s3cret"))).await;
    let sent = page(&server, "/models?filter=x").await;
    assert_eq!((sent.status, sent.header("location")), (303, Some("/login?next=%2Fmodels%3Ffilter%3Dx")));
    // Programs are told as before.
    assert_eq!(server.get("/api/v1/models").await.status, 401);
    assert_eq!(server.ask("GET", "/models", &[("accept", "application/json")], "").await.status, 401);

    let login = page(&server, "/login?next=%2Fmodels").await;
    login.is(200, &["The server's token".replace('\'', "&#39;").as_str()]);
    let token = csrf(&login);
    let fields = |secret: &'static str| {
        [
            ("csrf", token.clone()),
            ("name", "ada".to_owned()),
            ("secret", secret.to_owned()),
            ("next", "/models".to_owned()),
        ]
    };
    let send = |fields: [(&'static str, String); 4], headers: Vec<(&'static str, &'static str)>| {
        let server = &server;
        async move {
            let fields: Vec<(&str, &str)> =
                fields.iter().map(|(key, value)| (*key, value.as_str())).collect();
            form(server, "/ui/login", &fields, &headers).await
        }
    };
    send(fields("wrong"), vec![]).await.is(403, &["that is not the server"]);
    let mut stale = fields("s3cret");
    stale[0].1 = "other".to_owned();
    send(stale, vec![]).await.is(403, &["Refused"]);
    send(fields("s3cret"), vec![("sec-fetch-site", "cross-site")]).await.is(403, &["Refused"]);

    let good = send(fields("s3cret"), vec![]).await;
    assert_eq!((good.status, good.header("location")), (303, Some("/models")));
    let cookie = good.header("set-cookie").unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains("s3cret"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap();
    let with = [HTML, ("cookie", cookie)];
    server.ask("GET", "/models", &with, "").await.is(200, &["Sign out ada"]);
    assert_eq!(server.ask("GET", "/api/v1/models", &with, "").await.status, 200);
    // A cookie changes nothing through the API: any page of the same site could make a browser send it.
    let create = server.ask("POST", "/api/2.0/mlflow/experiments/create", &with, "{\"name\": \"x\"}").await;
    assert_eq!(create.status, 401);

    let home = server.ask("GET", "/", &with, "").await;
    let out = form(&server, "/ui/logout", &[("csrf", &csrf(&home))], &[("cookie", cookie)]).await;
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"), "{out:?}");
    assert_eq!(form(&server, "/ui/logout", &[("csrf", "x")], &[("cookie", cookie)]).await.status, 403);
}

#[tokio::test]
async fn an_alias_is_moved_by_a_form_of_our_own_page_only() {
    let server = Server::start().await;
    post(&server, "/api/2.0/mlflow/registered-models/create", &json!({"name": "churn"})).await;
    for _ in 0..2 {
        let body = json!({"name": "churn", "source": "s3://models/churn"});
        post(&server, "/api/2.0/mlflow/model-versions/create", &body).await;
    }
    let model = page(&server, "/models/churn").await;
    model.is(200, &["v1", "v2", "Point the alias there"]);
    let token = csrf(&model);
    let fields = [("csrf", token.as_str()), ("alias", "champion"), ("version", "2")];
    for (fields, headers) in [
        (&fields[1..], &[][..]),
        (&fields[..], &[("sec-fetch-site", "cross-site")]),
        (&[("csrf", "x"), fields[1], fields[2]], &[]),
    ] {
        form(&server, "/ui/models/churn/alias", fields, headers).await.is(403, &["Refused"]);
    }
    let other = [HTML, ("origin", "http://localhost:9999")];
    let body = format!("csrf={token}&alias=champion&version=2");
    assert_eq!(server.ask("POST", "/ui/models/churn/alias", &other, &body).await.status, 403);
    assert!(!page(&server, "/models/churn").await.body.contains("champion</span>"));

    let moved = form(&server, "/ui/models/churn/alias", &fields, &[]).await;
    assert_eq!((moved.status, moved.header("location")), (303, Some("/models/churn#aliases")));
    page(&server, "/models/churn").await.is(200, &["champion", "user:grace"]);
    page(&server, "/models/churn/2").await.is(200, &["churn v2", "champion", "No endpoint routes"]);
    page(&server, "/log?kind=alias.moved").await.is(200, &["alias champion", "1 event"]);
    let wrong = [fields[0], fields[1], ("version", "99")];
    form(&server, "/ui/models/churn/alias", &wrong, &[]).await.is(404, &["Not found"]);
}

/// A repository with two commits, of which the second changes a file by lines that a page could mistake for markup.
fn repository() -> (tempfile::TempDir, [String; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(folder.path())
            .args(["-c", "user.name=ada", "-c", "user.email=ada@example.com"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    let commits = ["depth = 3\n", &format!("depth = 5\n# {HOSTILE}\n")].map(|text| {
        fs_err::write(folder.path().join("train.py"), text).unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "-m", "a change"]);
        git(&["rev-parse", "HEAD"])
    });
    (folder, commits)
}

#[tokio::test]
async fn the_code_of_two_runs_is_compared() {
    let (folder, [first, second]) = repository();
    let root = folder.path().to_owned();
    let server = Server::start_with(|config| {
        config.about = Some(tidemill_server::About { root: Some(root), ..tidemill_server::About::default() });
    })
    .await;
    let run = async |commit: &str| {
        let body =
            json!({"experiment_id": "0", "tags": [{"key": "mlflow.source.git.commit", "value": commit}]});
        let made = post(&server, "/api/2.0/mlflow/runs/create", &body).await;
        made["run"]["info"]["run_id"].as_str().unwrap().to_owned()
    };
    let (before, after) = (run(&first).await, run(&second).await);
    let reply = page(&server, &format!("/compare?run={before}&run={after}")).await;
    reply.is(200, &["Files that differ", "train.py", "-depth = 3", "+depth = 5"]);
    is_tame(&reply);
    let numbers = page(&server, &format!("/compare?run={before}&run={after}&format=json")).await.json();
    assert_eq!(
        numbers["data"]["code"]["rows"],
        json!([{"file": "train.py", "lines added": 2, "lines removed": 1}])
    );
    let same = run(&second).await;
    let reply = page(&server, &format!("/compare?run={after}&run={same}")).await;
    assert!(!reply.body.contains("Files that differ"), "{reply:?}");
    let unknown = run("0123456789abcdef0123456789abcdef01234567").await;
    let reply = page(&server, &format!("/compare?run={after}&run={unknown}")).await;
    reply.is(200, &["does not have both commits", "Fetch the branch"]);
    // What is no commit is never handed to Git.
    let other = run("--output=/tmp/x").await;
    let reply = page(&server, &format!("/compare?run={after}&run={other}")).await;
    assert!(reply.status == 200 && !reply.body.contains("Code</h2>"), "{reply:?}");
}

#[tokio::test]
async fn a_page_can_be_kept_as_markdown() {
    let server = Server::start().await;
    let (_, runs) = filled(&server, HOSTILE).await;
    let reply = page(&server, &format!("/runs/{}?format=md", runs[0])).await;
    assert_eq!(reply.header("content-type"), Some("text/markdown; charset=utf-8"));
    assert!(reply.body.starts_with("# "), "{reply:?}");
    for part in ["\n## Parameters\n", "| parameter | value |", "| depth | 0 |", "| loss | 0.02 |"] {
        assert!(reply.body.contains(part), "{part}: {}", reply.body);
    }
    is_tame(&reply);
}

#[tokio::test]
async fn pages_look_again_while_something_is_at_work_and_only_then() {
    let server = Server::start().await;
    let (experiment, runs) = filled(&server, "tides").await;
    let (table, growing) = (format!("/experiments/{experiment}"), "<body data-live=\"tracking.run.created");
    // What a run measures is no event.
    page(&server, &table).await.is(200, &[growing, " data-growing>"]);
    for run in &runs {
        post(&server, "/api/2.0/mlflow/runs/update", &json!({"run_id": run, "status": "FINISHED"})).await;
    }
    let ended = page(&server, &table).await;
    ended.is(200, &[growing]);
    assert!(!ended.body.contains("data-growing"));
    // The log follows everything, but not while the whole of it is hashed for an answer.
    page(&server, "/log").await.is(200, &["data-live=\""]);
    let verified = page(&server, "/log?verify=1").await;
    verified.is(200, &["intact"]);
    assert!(!verified.body.contains("data-live"));
}
