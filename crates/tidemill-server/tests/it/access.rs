//! Users with permissions: who gets in, what each may do, and that nobody gets past it on any route.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidemill_db::EventFilter;
use tidemill_registry::access::{Access, Admin, Permission};
use tidemill_server::{App, Token};

use crate::client::{Reply, Server};
use crate::routes;

const ADMIN: &str = "admin-password";
const PASSWORD: &str = "a-long-password";
const TOKEN: &str = "the-servers-own-token";

/// A server with an administrator.
struct Lab {
    server: Server,
    access: Access,
}

impl Lab {
    async fn new(default: Permission) -> Self {
        let mut kept = None;
        let server = Server::start_app(|registry, mut config| {
            // As few rounds as that would be no protection.
            let rounds = NonZeroU32::new(10).unwrap();
            let access = Access::with_rounds(registry.clone(), default, rounds).unwrap();
            kept = Some(access.clone());
            config.access = Some(access);
            config.token = Some(Token::new(TOKEN));
            App::new(registry, config)
        })
        .await;
        let access = kept.unwrap();
        let admin = Admin { name: "admin".to_owned(), password: Some(ADMIN.to_owned()) };
        assert!(access.prepare(&admin).await.unwrap());
        Self { server, access }
    }

    /// Users without permissions of their own.
    async fn with(default: Permission, names: &[&str]) -> Self {
        let lab = Self::new(default).await;
        for name in names {
            let body = json!({"username": name, "password": PASSWORD});
            lab.admin("POST", "/api/2.0/mlflow/users/create", &body).await.is(200, &[]);
        }
        lab
    }

    async fn ask(&self, user: &str, method: &str, path: &str, body: &Value) -> Reply {
        let password = if user == "admin" { ADMIN } else { PASSWORD };
        self.ask_with(&basic(user, password), method, path, body).await
    }

    async fn ask_with(&self, authorization: &str, method: &str, path: &str, body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server.ask(method, path, &[("authorization", authorization)], &body).await
    }

    async fn admin(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.ask("admin", method, path, body).await
    }

    async fn get(&self, user: &str, path: &str) -> Reply {
        self.ask(user, "GET", path, &Value::Null).await
    }

    async fn post(&self, user: &str, path: &str, body: Value) -> Reply {
        self.ask(user, "POST", path, &body).await
    }

    /// An experiment of somebody's; its number.
    async fn experiment(&self, user: &str, name: &str) -> String {
        let made = self.post(user, "/api/2.0/mlflow/experiments/create", json!({"name": name})).await;
        made.is(200, &[]);
        made.json()["experiment_id"].as_str().unwrap().to_owned()
    }

    async fn grant(&self, user: &str, kind: &str, id: &str, permission: &str) {
        let body =
            json!({"username": user, "resource_type": kind, "resource_id": id, "permission": permission});
        let path = "/api/3.0/mlflow/users/permissions/grant";
        self.admin("POST", path, &body).await.is(200, &[]);
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[track_caller]
fn denied(reply: &Reply) {
    assert_eq!((reply.status, reply.body.as_str()), (403, "Permission denied"), "{reply:?}");
}

#[tokio::test]
async fn who_gets_in() {
    let lab = Lab::with(Permission::Read, &["ada"]).await;
    let path = "/api/2.0/mlflow/users/current";
    for (authorization, status) in [
        (basic("ada", PASSWORD), 200),
        (basic("ada", "another-password"), 401),
        (basic("ada", ADMIN), 401),
        (basic("nobody", PASSWORD), 401),
        // The server's token is no password of a user.
        (basic("ada", TOKEN), 401),
        (format!("Bearer {TOKEN}"), 200),
        (format!("Bearer {PASSWORD}"), 401),
        ("Basic ***".to_owned(), 401),
    ] {
        let reply = lab.ask_with(&authorization, "GET", path, &Value::Null).await;
        assert_eq!(reply.status, status, "{authorization}: {reply:?}");
        if status == 401 {
            assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"mlflow\""));
        }
    }
    lab.server.get(path).await.is(401, &["You are not authenticated. Please set MLFLOW_TRACKING_USERNAME"]);
    lab.server.get("/health").await.is(200, &[]);
    let me = lab.get("ada", path).await.json();
    assert_eq!(me["user"]["username"], "ada");
    assert_eq!((&me["user"]["is_admin"], &me["is_basic_auth"]), (&json!(false), &json!(true)));

    // Another password counts at once, and the old one no more.
    let changed = json!({"username": "ada", "password": "another-password", "current_password": PASSWORD});
    lab.ask("ada", "PATCH", "/api/2.0/mlflow/users/update-password", &changed).await.is(200, &[]);
    lab.get("ada", path).await.is(401, &[]);
    lab.ask_with(&basic("ada", "another-password"), "GET", path, &Value::Null).await.is(200, &[]);
    // Whoever is deleted is nobody.
    lab.admin("DELETE", "/api/2.0/mlflow/users/delete", &json!({"username": "ada"})).await.is(200, &[]);
    lab.ask_with(&basic("ada", "another-password"), "GET", path, &Value::Null).await.is(401, &[]);
}

#[tokio::test]
async fn users_are_made_and_changed() {
    let lab = Lab::with(Permission::Read, &["ada"]).await;
    let create = "/api/2.0/mlflow/users/create";
    for (body, status, says) in [
        (json!({"username": "bob", "password": "short"}), 400, "at least 12 characters"),
        (json!({"username": "", "password": PASSWORD}), 400, "Username cannot be empty"),
        (json!({"username": "a:b", "password": PASSWORD}), 400, "Username 'a:b' is invalid"),
        (json!({"username": "bob"}), 400, "Missing value for required parameter 'password'"),
        (json!({"username": "ada", "password": PASSWORD}), 400, "RESOURCE_ALREADY_EXISTS"),
    ] {
        lab.admin("POST", create, &body).await.is(status, &[says]);
    }
    denied(&lab.post("ada", create, json!({"username": "bob", "password": PASSWORD})).await);
    let listed = lab.get("ada", "/ajax-api/2.0/mlflow/users/list").await.json();
    let names: Vec<&str> =
        listed["users"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap()).collect();
    assert_eq!(names, ["admin", "ada"]);
    denied(&lab.get("ada", "/api/2.0/mlflow/users/get?username=admin").await);
    let shown = lab.get("ada", "/api/2.0/mlflow/users/get?username=ada").await.json();
    assert_eq!(shown["user"], json!({"id": shown["user"]["id"], "username": "ada", "is_admin": false}));
    lab.get("admin", "/api/2.0/mlflow/users/get?username=x").await.is(404, &["RESOURCE_DOES_NOT_EXIST"]);

    let own = "/api/2.0/mlflow/users/update-password";
    for (body, says) in [
        (json!({"username": "ada", "password": "another-password"}), "Current password is required"),
        (
            json!({"username": "ada", "password": "another-password", "current_password": "x"}),
            "does not match",
        ),
        (json!({"username": "ada", "password": PASSWORD, "current_password": PASSWORD}), "must differ"),
    ] {
        lab.ask("ada", "PATCH", own, &body).await.is(400, &[says]);
    }
    let others = json!({"username": "admin", "password": "another-password"});
    denied(&lab.ask("ada", "PATCH", own, &others).await);

    let admin = "/api/2.0/mlflow/users/update-admin";
    denied(&lab.ask("ada", "PATCH", admin, &json!({"username": "ada", "is_admin": true})).await);
    lab.admin("PATCH", admin, &json!({"username": "ada", "is_admin": true})).await.is(200, &[]);
    lab.ask("ada", "PATCH", admin, &json!({"username": "ada", "is_admin": false})).await.is(200, &[]);
    let delete = "/api/2.0/mlflow/users/delete";
    denied(&lab.ask("ada", "DELETE", delete, &json!({"username": "admin"})).await);
    lab.admin("DELETE", delete, &json!({"username": "admin"})).await.is(400, &["own account"]);

    let said: Vec<String> = lab
        .server
        .db
        .events(&EventFilter { kind: Some("user.changed".to_owned()), ..EventFilter::default() })
        .await
        .unwrap()
        .iter()
        .map(|event| format!("{} {:?}", event.actor, event.kind))
        .collect();
    let count = |text: &str| said.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("created"), count("\"admin\""), count("no admin")), (2, 2, 1), "{said:#?}");
    assert!(said.iter().all(|line| !line.contains(PASSWORD) && !line.contains("pbkdf2")), "{said:#?}");
}

#[tokio::test]
async fn experiments_and_runs() {
    let lab = Lab::with(Permission::NoPermissions, &["ada", "bob"]).await;
    let experiment = lab.experiment("ada", "hers").await;
    let run = json!({"experiment_id": experiment, "run_name": "first"});
    let made = lab.post("ada", "/api/2.0/mlflow/runs/create", run.clone()).await;
    made.is(200, &[]);
    let id = made.json()["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    let metric = json!({"run_id": id, "key": "m", "value": 1.5, "timestamp": 1});
    lab.post("ada", "/api/2.0/mlflow/runs/log-metric", metric.clone()).await.is(200, &[]);

    let read = format!("/api/2.0/mlflow/runs/get?run_id={id}");
    let search = json!({"experiment_ids": [experiment, "0"]});
    let log = "/api/2.0/mlflow/runs/log-metric";
    // What bob may do with each permission: see, change, make a run, delete one.
    for (permission, sees, writes, deletes) in [
        (None, false, false, false),
        (Some("READ"), true, false, false),
        (Some("USE"), true, false, false),
        (Some("EDIT"), true, true, false),
        (Some("MANAGE"), true, true, true),
        (Some("DENY"), false, false, false),
    ] {
        if let Some(permission) = permission {
            let revoke = json!({"username": "bob", "resource_type": "experiment", "resource_id": experiment});
            lab.admin("POST", "/api/3.0/mlflow/users/permissions/revoke", &revoke).await;
            lab.grant("bob", "experiment", &experiment, permission).await;
        }
        let expect = |reply: &Reply, may: bool| {
            assert_eq!(reply.status, if may { 200 } else { 403 }, "{permission:?}: {reply:?}");
        };
        expect(&lab.get("bob", &read).await, sees);
        let by_name = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=hers";
        expect(&lab.get("bob", by_name).await, sees);
        expect(&lab.post("bob", log, metric.clone()).await, writes);
        let batch = json!({"run_id": id, "params": [{"key": "p", "value": "x"}]});
        expect(&lab.post("bob", "/api/2.0/mlflow/runs/log-batch", batch).await, writes);
        expect(&lab.post("bob", "/api/2.0/mlflow/runs/create", run.clone()).await, writes);
        let found = lab.post("bob", "/api/2.0/mlflow/runs/search", search.clone()).await;
        found.is(200, &[]);
        assert_eq!(found.body.contains(&id), sees, "{permission:?}: {found:?}");
        let found = lab.post("bob", "/api/2.0/mlflow/experiments/search", json!({"max_results": 10})).await;
        assert_eq!(found.body.contains("hers"), sees, "{permission:?}: {found:?}");
        expect(&lab.post("bob", "/api/2.0/mlflow/runs/delete", json!({"run_id": id})).await, deletes);
        if deletes {
            lab.post("ada", "/api/2.0/mlflow/runs/restore", json!({"run_id": id})).await.is(200, &[]);
        }
    }
    // Spelling and place of a field make no difference.
    for body in [
        json!({"runId": id, "key": "m", "value": 1, "timestamp": 1}),
        json!({"run_uuid": id, "key": "m", "value": 1, "timestamp": 1}),
        json!(json!({"run_id": id, "key": "m", "value": 1, "timestamp": 1}).to_string()),
    ] {
        denied(&lab.post("bob", log, body).await);
    }
    // Nobody learns which runs there are.
    denied(&lab.get("bob", "/api/2.0/mlflow/runs/get?run_id=00000000000000000000000000000000").await);
    denied(&lab.get("bob", "/api/2.0/mlflow/runs/get?run_id=nonsense").await);
    // A run of one's own is no way to the logged model of others.
    let own = lab.experiment("bob", "his").await;
    let made = lab.post("bob", "/api/2.0/mlflow/runs/create", json!({"experiment_id": own})).await.json();
    let his = made["run"]["info"]["run_id"].as_str().unwrap();
    let model = json!({"experiment_id": experiment, "name": "m", "source_run_id": id});
    let model = lab.post("ada", "/api/2.0/mlflow/logged-models", model).await.json();
    let model = model["model"]["info"]["model_id"].as_str().unwrap();
    let about = json!({"run_id": his, "key": "m", "value": 1, "timestamp": 1, "model_id": model});
    denied(&lab.post("bob", log, about).await);
    let about =
        json!({"run_id": his, "metrics": [{"key": "m", "value": 1, "timestamp": 1, "modelId": model}]});
    denied(&lab.post("bob", "/api/2.0/mlflow/runs/log-batch", about).await);
    let about = json!({"run_id": his, "models": [{"model_id": model}]});
    denied(&lab.post("bob", "/api/2.0/mlflow/runs/log-inputs", about).await);
}

/// A page is as long as was asked for, and the pages together are all that may be seen, however much lies between.
#[tokio::test]
async fn pages_of_searches_hold_what_may_be_seen() {
    let lab = Lab::with(Permission::Read, &["ada"]).await;
    let mut expected = BTreeSet::from(["Default".to_owned()]);
    for number in 0..9 {
        let id = lab.experiment("admin", &format!("e{number}")).await;
        let name = format!("m{number}");
        lab.admin("POST", "/api/2.0/mlflow/registered-models/create", &json!({"name": name}))
            .await
            .is(200, &[]);
        let version = json!({"name": name, "source": "s3://bucket/model"});
        lab.admin("POST", "/api/2.0/mlflow/model-versions/create", &version).await.is(200, &[]);
        if number % 3 == 0 {
            lab.grant("ada", "experiment", &id, "DENY").await;
            lab.grant("ada", "registered_model", &name, "DENY").await;
        } else {
            expected.insert(format!("e{number}"));
        }
    }
    let models: BTreeSet<String> =
        expected.iter().filter(|name| *name != "Default").map(|name| name.replace('e', "m")).collect();
    for (path, list, expected) in [
        ("/api/2.0/mlflow/experiments/search?max_results=2", "experiments", &expected),
        ("/api/2.0/mlflow/registered-models/search?max_results=2", "registered_models", &models),
        ("/api/2.0/mlflow/model-versions/search?max_results=2", "model_versions", &models),
    ] {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = lab.get("ada", &format!("{path}&page_token={token}")).await.json();
            let names = page[list].as_array().cloned().unwrap_or_default();
            found.extend(names.iter().map(|one| one["name"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_page_token"].as_str() else { break };
            assert_eq!(names.len(), 2, "{path}");
            token = next.replace('+', "%2B").replace('=', "%3D");
        }
        assert_eq!(found.len(), expected.len(), "{path}: {found:?}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), *expected, "{path}");
    }
}

#[tokio::test]
async fn registered_models_and_prompts() {
    let lab = Lab::with(Permission::NoPermissions, &["ada", "bob"]).await;
    let create = "/api/2.0/mlflow/registered-models/create";
    lab.post("ada", create, json!({"name": "m"})).await.is(200, &[]);
    let prompt = json!({"name": "p", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]});
    lab.post("ada", create, prompt).await.is(200, &[]);
    for name in ["m", "p"] {
        let version = json!({"name": name, "source": "s3://bucket/model"});
        lab.post("ada", "/api/2.0/mlflow/model-versions/create", version).await.is(200, &[]);
    }
    let get = |name: &str| format!("/api/2.0/mlflow/registered-models/get?name={name}");
    let version = |name: &str| format!("/api/2.0/mlflow/model-versions/get?name={name}&version=1");
    // A permission on a model is none on a prompt of that name, and the other way round.
    lab.grant("bob", "registered_model", "p", "MANAGE").await;
    lab.grant("bob", "prompt", "m", "MANAGE").await;
    for name in ["m", "p"] {
        denied(&lab.get("bob", &get(name)).await);
        denied(&lab.get("bob", &version(name)).await);
    }
    lab.grant("bob", "registered_model", "m", "READ").await;
    lab.get("bob", &get("m")).await.is(200, &[]);
    lab.get("bob", &version("m")).await.is(200, &[]);
    let tag = json!({"name": "m", "key": "k", "value": "v"});
    denied(&lab.post("bob", "/api/2.0/mlflow/registered-models/set-tag", tag.clone()).await);
    lab.post("ada", "/api/2.0/mlflow/registered-models/set-tag", tag).await.is(200, &[]);
    let alias = json!({"name": "m", "alias": "champion", "version": "1"});
    denied(&lab.post("bob", "/api/2.0/mlflow/registered-models/alias", alias.clone()).await);
    lab.post("ada", "/api/2.0/mlflow/registered-models/alias", alias).await.is(200, &[]);
    denied(
        &lab.ask("bob", "DELETE", "/api/2.0/mlflow/registered-models/delete", &json!({"name": "m"})).await,
    );

    // What was granted follows a model to its new name, and ends with it.
    let rename = json!({"name": "m", "new_name": "n"});
    lab.post("ada", "/api/2.0/mlflow/registered-models/rename", rename).await.is(200, &[]);
    lab.get("bob", &get("n")).await.is(200, &[]);
    lab.ask("ada", "DELETE", "/api/2.0/mlflow/registered-models/delete", &json!({"name": "n"}))
        .await
        .is(200, &[]);
    lab.admin("POST", create, &json!({"name": "n"})).await.is(200, &[]);
    denied(&lab.get("bob", &get("n")).await);
    denied(&lab.get("ada", &get("n")).await);

    // A version must not make readable what its maker may not read.
    let experiment = lab.experiment("admin", "hidden").await;
    lab.post("bob", create, json!({"name": "own"})).await.is(200, &[]);
    for source in
        [format!("mlflow-artifacts:/{experiment}/secret"), "models:/p/1".to_owned(), "models:/n/1".to_owned()]
    {
        let version = json!({"name": "own", "source": source});
        denied(&lab.post("bob", "/api/2.0/mlflow/model-versions/create", version).await);
    }
}

#[tokio::test]
async fn roles_permit_and_deny() {
    let lab = Lab::with(Permission::NoPermissions, &["ada", "bob", "lead"]).await;
    let experiment = lab.experiment("admin", "shared").await;
    let role = json!({"workspace": "default", "name": "readers", "description": "may look"});
    denied(&lab.post("ada", "/api/3.0/mlflow/roles/create", role.clone()).await);
    let made = lab.admin("POST", "/api/3.0/mlflow/roles/create", &role).await.json()["role"].take();
    assert_eq!(
        made,
        json!({"id": made["id"], "name": "readers", "workspace": "default", "description": "may look", "permissions": []})
    );
    let id = made["id"].as_i64().unwrap();
    lab.admin("POST", "/api/3.0/mlflow/roles/create", &role).await.is(400, &["RESOURCE_ALREADY_EXISTS"]);
    let add =
        json!({"role_id": id, "resource_type": "experiment", "resource_pattern": "*", "permission": "READ"});
    let added = lab.admin("POST", "/api/3.0/mlflow/roles/permissions/add", &add).await.json();
    let grant = added["role_permission"]["id"].as_i64().unwrap();
    for (field, value) in [
        ("resource_type", "run"),
        ("resource_type", "nonsense"),
        ("permission", "NO_PERMISSIONS"),
        ("permission", "OWN"),
    ] {
        let mut bad = add.clone();
        bad["resource_pattern"] = json!("7");
        bad[field] = json!(value);
        lab.admin("POST", "/api/3.0/mlflow/roles/permissions/add", &bad)
            .await
            .is(400, &["INVALID_PARAMETER_VALUE"]);
    }
    let assign = |user: &str, role: i64| json!({"username": user, "role_id": role});
    let read = format!("/api/2.0/mlflow/experiments/get?experiment_id={experiment}");
    denied(&lab.get("ada", &read).await);
    lab.admin("POST", "/api/3.0/mlflow/roles/assign", &assign("ada", id)).await.is(200, &["\"role_id\""]);
    lab.get("ada", &read).await.is(200, &["shared"]);
    lab.get("ada", &format!("/api/3.0/mlflow/roles/get?role_id={id}")).await.is(200, &["readers"]);
    denied(&lab.get("bob", &format!("/api/3.0/mlflow/roles/get?role_id={id}")).await);
    let roles = lab.get("ada", "/api/3.0/mlflow/users/roles/list?username=ada").await.json();
    assert_eq!(roles["roles"][0]["permissions"][0]["permission"], "READ");
    let members =
        lab.admin("GET", &format!("/api/3.0/mlflow/roles/users/list?role_id={id}"), &Value::Null).await;
    assert_eq!(members.json()["assignments"].as_array().unwrap().len(), 1);

    let deny = json!({"role_permission_id": grant, "permission": "DENY"});
    lab.admin("PATCH", "/api/3.0/mlflow/roles/permissions/update", &deny).await.is(200, &["DENY"]);
    lab.grant("ada", "experiment", &experiment, "MANAGE").await;
    denied(&lab.get("ada", &read).await);
    let remove = json!({"role_permission_id": grant});
    lab.admin("DELETE", "/api/3.0/mlflow/roles/permissions/remove", &remove).await.is(200, &[]);
    lab.get("ada", &read).await.is(200, &[]);
    // Who manages a thing says who may do what with it.
    let give = json!({"username": "bob", "resource_type": "experiment", "resource_id": experiment, "permission": "READ"});
    lab.post("ada", "/api/3.0/mlflow/users/permissions/grant", give.clone()).await.is(200, &[]);
    lab.post("ada", "/api/3.0/mlflow/users/permissions/grant", give)
        .await
        .is(400, &["RESOURCE_ALREADY_EXISTS"]);
    lab.get("bob", &read).await.is(200, &[]);
    let check = format!(
        "/api/3.0/mlflow/users/permissions/get?username=bob&resource_type=experiment&resource_id={experiment}"
    );
    assert_eq!(lab.get("bob", &check).await.json(), json!({"allowed": false, "permission": "READ"}));
    denied(&lab.get("ada", &check).await);
    let every =
        json!({"username": "ada", "resource_type": "experiment", "resource_id": "*", "permission": "READ"});
    denied(&lab.post("ada", "/api/3.0/mlflow/users/permissions/grant", every).await);

    // Who looks after the workspace manages all of it, but makes nobody an administrator.
    let leads = json!({"workspace": "default", "name": "leads"});
    let leads = lab.admin("POST", "/api/3.0/mlflow/roles/create", &leads).await.json();
    let leads = leads["role"]["id"].as_i64().unwrap();
    let all = json!({"role_id": leads, "resource_type": "workspace", "resource_pattern": "*", "permission": "MANAGE"});
    lab.admin("POST", "/api/3.0/mlflow/roles/permissions/add", &all).await.is(200, &[]);
    lab.admin("POST", "/api/3.0/mlflow/roles/assign", &assign("lead", leads)).await.is(200, &[]);
    lab.get("lead", &read).await.is(200, &[]);
    lab.post("lead", "/api/3.0/mlflow/roles/assign", assign("bob", id)).await.is(200, &[]);
    lab.ask("lead", "DELETE", "/api/3.0/mlflow/roles/unassign", &assign("bob", id)).await.is(200, &[]);
    lab.ask("lead", "DELETE", "/api/3.0/mlflow/roles/delete", &json!({"role_id": id})).await.is(200, &[]);
    let promote = json!({"username": "lead", "is_admin": true});
    denied(&lab.ask("lead", "PATCH", "/api/2.0/mlflow/users/update-admin", &promote).await);
    denied(&lab.get("lead", "/api/2.0/mlflow/webhooks").await);

    let own = lab.get("ada", "/api/3.0/mlflow/users/current/permissions").await.json();
    assert_eq!(own["permissions"][0]["resource_type"], "experiment");
    assert!(own["permissions"][0]["role_name"].as_str().unwrap().starts_with("__user_"));
}

#[tokio::test]
async fn what_is_denied_is_not_named_beside_what_is_not() {
    let lab = Lab::with(Permission::Read, &["ada"]).await;
    let experiment = lab.experiment("admin", "shared").await;
    let run = json!({"experiment_id": experiment, "run_name": "made"});
    let run = lab.admin("POST", "/api/2.0/mlflow/runs/create", &run).await.json();
    let run = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    let logged = json!({"experiment_id": experiment, "name": "logged", "source_run_id": run});
    let logged = lab.admin("POST", "/api/2.0/mlflow/logged-models", &logged).await.json();
    let logged = logged["model"]["info"]["model_id"].as_str().unwrap().to_owned();
    let metric = json!({"run_id": run, "key": "m", "value": 1.0, "timestamp": 1, "model_id": logged});
    lab.admin("POST", "/api/2.0/mlflow/runs/log-metric", &metric).await.is(200, &[]);
    let made = json!({"run_id": run, "models": [{"model_id": logged, "step": 0}]});
    lab.admin("POST", "/api/2.0/mlflow/runs/outputs", &made).await.is(200, &[]);
    let name = json!({"name": "served"});
    lab.admin("POST", "/api/2.0/mlflow/registered-models/create", &name).await.is(200, &[]);
    let version = json!({"name": "served", "source": "s3://bucket/model", "run_id": run, "run_link": "https://example.com/run",
        "model_id": logged});
    lab.admin("POST", "/api/2.0/mlflow/model-versions/create", &version).await.is(200, &[]);
    let trace = "tr-00000000000000000000000000000001";
    let info = json!({"trace": {"trace_info": {"trace_id": trace, "request_time": "2026-01-01T00:00:00Z", "state": "OK",
        "trace_metadata": {"mlflow.sourceRun": run, "mlflow.modelId": logged, "who": "ada"},
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}}}});
    lab.admin("POST", "/api/3.0/mlflow/traces", &info).await.is(200, &[]);

    let versions = [
        "/api/2.0/mlflow/model-versions/get?name=served&version=1",
        "/api/2.0/mlflow/model-versions/search?filter=name%3D%27served%27",
        "/api/2.0/mlflow/registered-models/get?name=served",
        "/api/2.0/mlflow/registered-models/search",
        "/api/2.0/mlflow/registered-models/get-latest-versions?name=served",
    ];
    let logged_model = format!("/api/2.0/mlflow/logged-models/{logged}");
    let old_trace = format!("/api/2.0/mlflow/traces?experiment_ids={experiment}");
    let one_trace = format!("/api/3.0/mlflow/traces/{trace}");
    let of_run = format!("/api/2.0/mlflow/runs/get?run_id={run}");
    let by_run = format!("/api/2.0/mlflow/model-versions/search?filter=run_id%3D%27{run}%27");
    let locations = json!([{"mlflow_experiment": {"experiment_id": experiment}}]);
    let search_traces = "/api/3.0/mlflow/traces/search";
    let by_source =
        json!({"locations": locations, "filter": format!("metadata.`mlflow.sourceRun` = '{run}'")});

    // Nothing is denied: everything is named.
    for path in versions.into_iter().chain([one_trace.as_str(), &old_trace]) {
        lab.get("ada", path).await.is(200, &[&run, &logged]);
    }
    let files = format!("/api/2.0/mlflow-artifacts/artifacts?path={experiment}");
    let file = format!("/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/a.txt");
    lab.server.ask("PUT", &file, &[("authorization", &basic("admin", ADMIN))], "text").await.is(200, &[]);
    let file = format!("/api/2.0/mlflow-artifacts/artifacts/{experiment}/models/{logged}/artifacts/a.txt");
    lab.server.ask("PUT", &file, &[("authorization", &basic("admin", ADMIN))], "text").await.is(200, &[]);
    lab.get("ada", &files).await.is(200, &[&run, "models"]);
    lab.get("ada", &logged_model).await.is(200, &[&run]);
    lab.get("ada", &of_run).await.is(200, &[&logged]);
    lab.get("ada", &by_run).await.is(200, &["served"]);
    lab.post("ada", search_traces, by_source.clone()).await.is(200, &[trace, &run]);

    let without = async |path: &str, named: &str, hidden: &str, kept: &str| {
        let reply = lab.get("ada", path).await;
        reply.is(200, &[named, kept]);
        assert!(!reply.body.contains(hidden), "{path}: {reply:?}");
    };
    lab.grant("ada", "run", "*", "DENY").await;
    denied(&lab.get("ada", &of_run).await);
    for path in versions {
        without(path, &logged, &run, "s3://bucket/model").await;
        without(path, &logged, "example.com", "served").await;
    }
    without(&logged_model, &logged, &run, "logged").await;
    for path in [&one_trace, &old_trace] {
        without(path, &logged, &run, "ada").await;
    }
    denied(&lab.get("ada", &by_run).await);
    denied(&lab.post("ada", search_traces, by_source.clone()).await);
    let all = lab.post("ada", search_traces, json!({"locations": locations})).await;
    all.is(200, &[trace]);
    assert!(!all.body.contains(&run), "{all:?}");
    let models = json!({"experiment_ids": [experiment], "filter": format!("source_run_id = '{run}'")});
    denied(&lab.post("ada", "/api/2.0/mlflow/logged-models/search", models).await);
    let models = json!({"experiment_ids": [experiment]});
    let models = lab.post("ada", "/api/2.0/mlflow/logged-models/search", models).await;
    models.is(200, &[&logged]);
    assert!(!models.body.contains(&run), "{models:?}");
    let files = lab.get("ada", &files).await;
    files.is(200, &["models"]);
    assert!(!files.body.contains(&run), "{files:?}");
    // It is there for others.
    lab.admin("GET", versions[0], &Value::Null).await.is(200, &[&run, &logged]);

    let role = json!({"username": "ada", "resource_type": "run", "resource_id": "*"});
    lab.admin("POST", "/api/3.0/mlflow/users/permissions/revoke", &role).await.is(200, &[]);
    lab.grant("ada", "logged_model", "*", "DENY").await;
    denied(&lab.get("ada", &logged_model).await);
    for path in versions {
        let reply = lab.get("ada", path).await;
        reply.is(200, &[&run]);
        assert!(!reply.body.contains(&logged), "{path}: {reply:?}");
    }
    for path in [&one_trace, &old_trace, &of_run] {
        let reply = lab.get("ada", path).await;
        reply.is(200, &[&run]);
        assert!(!reply.body.contains(&logged), "{path}: {reply:?}");
    }
    lab.post("ada", search_traces, by_source).await.is(200, &[trace]);
    let found = lab.post("ada", "/api/2.0/mlflow/runs/search", json!({"experiment_ids": [experiment]})).await;
    found.is(200, &[&run]);
    assert!(!found.body.contains(&logged), "{found:?}");
}

#[tokio::test]
async fn traces_are_shown_without_assessments_where_these_are_denied() {
    let lab = Lab::with(Permission::Read, &["ada"]).await;
    let experiment = lab.experiment("admin", "shared").await;
    let trace = "tr-00000000000000000000000000000001";
    let info = json!({"trace": {"trace_info": {"trace_id": trace, "request_time": "2026-01-01T00:00:00Z", "state": "OK",
        "tags": {"feedback": "kept", "assessments": "kept"},
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}}}});
    lab.admin("POST", "/api/3.0/mlflow/traces", &info).await.is(200, &[]);
    let assessment = json!({"assessment": {"assessment_name": "polite", "trace_id": trace, "rationale": "because",
        "feedback": {"value": "yes"}}});
    let assessments = format!("/api/3.0/mlflow/traces/{trace}/assessments");
    let assessment = lab.admin("POST", &assessments, &assessment).await.json();
    let one = format!("{assessments}/{}", assessment["assessment"]["assessment_id"].as_str().unwrap());
    let locations = json!([{"mlflow_experiment": {"experiment_id": experiment}}]);
    let search = |filter: &str| json!({"locations": locations, "filter": filter});
    let chart = |metric: &str, view: &str| {
        json!({"experiment_ids": [experiment], "view_type": view, "metric_name": metric,
            "aggregations": [{"aggregation_type": "COUNT"}]})
    };
    let (search_path, chart_path) = ("/api/3.0/mlflow/traces/search", "/api/3.0/mlflow/traces/metrics");
    let shown = async || {
        let ids = json!({"trace_ids": [trace]});
        [
            lab.get("ada", &format!("/api/3.0/mlflow/traces/{trace}")).await,
            lab.post("ada", "/api/3.0/mlflow/traces/batchGetInfos", ids).await,
            lab.post("ada", search_path, search("")).await,
            lab.post("ada", search_path, search("tags.feedback = 'kept'")).await,
        ]
    };
    for reply in shown().await {
        reply.is(200, &[trace, "kept", "because"]);
    }
    let by_feedback = search("feedback.polite = 'yes'");
    lab.get("ada", &one).await.is(200, &["because"]);
    lab.post("ada", search_path, by_feedback.clone()).await.is(200, &[trace]);
    lab.post("ada", chart_path, chart("assessment_count", "ASSESSMENTS"))
        .await
        .is(200, &["assessment_count"]);

    lab.grant("ada", "assessment", "*", "DENY").await;
    for reply in shown().await {
        reply.is(200, &[trace, "kept"]);
        assert!(!reply.body.contains("because") && !reply.body.contains("polite"), "{reply:?}");
    }
    denied(&lab.get("ada", &one).await);
    for filter in
        ["feedback.polite = 'yes'", "`feedback`.polite = 'yes'", "expectation.x = 'y'", "issue.id = 'y'"]
    {
        denied(&lab.post("ada", search_path, search(filter)).await);
    }
    denied(&lab.post("ada", chart_path, chart("assessment_count", "ASSESSMENTS")).await);
    lab.post("ada", chart_path, chart("trace_count", "TRACES")).await.is(200, &["trace_count"]);
    // They are there for others.
    lab.admin("GET", &one, &Value::Null).await.is(200, &["because"]);
}

#[tokio::test]
async fn pages_and_our_own_api_are_for_those_from_whom_nothing_is_hidden() {
    let lab = Lab::with(Permission::Read, &["ada", "bob"]).await;
    let experiment = lab.experiment("admin", "e").await;
    lab.grant("bob", "experiment", &experiment, "DENY").await;
    for path in ["/", "/experiments", "/api/v1/experiments", "/api/v1/events", "/metrics"] {
        assert_eq!(lab.get("ada", path).await.status, 200, "{path}");
        assert_eq!(lab.get("bob", path).await.status, 403, "{path}");
    }
    lab.get("bob", "/api/v1/info").await.is(200, &[]);
    let freeze = json!({"reason": "holidays"});
    lab.post("ada", "/api/v1/freezes", freeze).await.is(403, &["\"code\":\"forbidden\""]);

    // A browser signs in with the user's password, and is out when that changes.
    let page = lab.server.ask("GET", "/login", &[("accept", "text/html")], "").await;
    page.is(200, &["Your password"]);
    let csrf = page.body.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let sign_in = async |password: &str| {
        let form = format!("csrf={csrf}&name=ada&secret={password}&next=/experiments");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let length = form.len().to_string();
        let headers = [headers[0], ("content-length", length.as_str())];
        let mut stream = lab.server.send("POST", "/ui/login", &headers, "").await;
        let mut bytes = Vec::new();
        tokio::io::AsyncWriteExt::write_all(&mut stream, form.as_bytes()).await.unwrap();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    assert!(sign_in("wrong-password").await.starts_with("HTTP/1.1 403"));
    let signed_in = sign_in(PASSWORD).await;
    let cookie = signed_in.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let with_cookie = [("cookie", cookie)];
    assert_eq!(lab.server.ask("GET", "/experiments", &with_cookie, "").await.status, 200);
    let changed = json!({"username": "ada", "password": "another-password"});
    lab.admin("PATCH", "/api/2.0/mlflow/users/update-password", &changed).await.is(200, &[]);
    assert_eq!(lab.server.ask("GET", "/experiments", &with_cookie, "").await.status, 401);
}

/// What stands in everything that the walk must not show.
const SECRET: &str = "s3cr3t-content";

/// Everything there is, made by the administrator; the values that requests name it by.
async fn world(lab: &Lab) -> Value {
    let tags = json!([{"key": "t", "value": SECRET}]);
    let create = json!({"name": format!("name {SECRET}"), "tags": tags});
    let experiment = lab.admin("POST", "/api/2.0/mlflow/experiments/create", &create).await.json();
    let experiment = experiment["experiment_id"].as_str().unwrap();
    let run = json!({"experiment_id": experiment, "run_name": SECRET, "tags": tags});
    let run = lab.admin("POST", "/api/2.0/mlflow/runs/create", &run).await.json();
    let run = run["run"]["info"]["run_id"].as_str().unwrap();
    let batch = json!({"run_id": run, "metrics": [{"key": "m", "value": 424_242.5, "timestamp": 1}],
        "params": [{"key": "p", "value": SECRET}]});
    lab.admin("POST", "/api/2.0/mlflow/runs/log-batch", &batch).await.is(200, &[]);
    let logged = json!({"experiment_id": experiment, "name": SECRET, "source_run_id": run, "tags": tags});
    let logged = lab.admin("POST", "/api/2.0/mlflow/logged-models", &logged).await.json();
    let logged = logged["model"]["info"]["model_id"].as_str().unwrap();
    let file = format!("/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/a.txt");
    let put = lab.server.ask("PUT", &file, &[("authorization", &basic("admin", ADMIN))], SECRET).await;
    put.is(200, &[]);
    let model = json!({"name": "guarded", "description": SECRET, "tags": tags});
    lab.admin("POST", "/api/2.0/mlflow/registered-models/create", &model).await.is(200, &[]);
    let version =
        json!({"name": "guarded", "source": "s3://bucket/model", "description": SECRET, "tags": tags});
    lab.admin("POST", "/api/2.0/mlflow/model-versions/create", &version).await.is(200, &[]);
    let alias = json!({"name": "guarded", "alias": "champion", "version": "1"});
    lab.admin("POST", "/api/2.0/mlflow/registered-models/alias", &alias).await.is(200, &[]);
    let trace = "tr-00000000000000000000000000000001";
    let info = json!({"trace": {"trace_info": {"trace_id": trace, "request_time": "2026-01-01T00:00:00Z", "state": "OK",
        "request_preview": SECRET, "tags": {"t": SECRET},
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}}}});
    lab.admin("POST", "/api/3.0/mlflow/traces", &info).await.is(200, &[]);
    let assessment = json!({"assessment": {"assessment_name": "a", "trace_id": trace, "rationale": SECRET,
        "source": {"source_type": "HUMAN", "source_id": "x"}, "feedback": {"value": true}}});
    let path = format!("/api/3.0/mlflow/traces/{trace}/assessments");
    let assessment = lab.admin("POST", &path, &assessment).await.json();
    let assessment = assessment["assessment"]["assessment_id"].as_str().unwrap();
    let dataset = json!({"name": SECRET, "experiment_ids": [experiment]});
    let dataset = lab.admin("POST", "/api/3.0/mlflow/datasets/create", &dataset).await.json();
    let dataset = dataset["dataset"]["dataset_id"].as_str().unwrap();
    let hook = json!({"name": "hook", "url": "https://example.com/s3cr3t-content", "events": [{"entity": "MODEL_VERSION", "action": "CREATED"}]});
    let hook = lab.admin("POST", "/api/2.0/mlflow/webhooks", &hook).await.json();
    let hook = hook["webhook"]["webhook_id"].as_str().unwrap_or("none").to_owned();
    let role = json!({"workspace": "default", "name": "readers", "description": SECRET});
    let role = lab.admin("POST", "/api/3.0/mlflow/roles/create", &role).await.json();
    let upload = json!({"path": "part.bin", "num_parts": 1});
    let path = format!("/api/2.0/mlflow-artifacts/mpu/create/{experiment}/{run}/artifacts");
    let upload = lab.admin("POST", &path, &upload).await.json();
    let tracked = json!({
        "experiment_id": experiment, "experiment_ids": [experiment], "experiment_name": format!("name {SECRET}"),
        "run_id": run, "run_uuid": run, "run_ids": [run], "model_id": logged, "source_run_id": run,
        "name": "guarded", "new_name": "taken", "version": "1", "alias": "champion", "stage": "Production",
        "source": "s3://bucket/other", "key": "t", "tag_key": "t", "value": "changed", "metric_key": "m",
        "max_results": 100, "timestamp": 5, "status": "FINISHED", "description": "changed",
    });
    let traced = json!({
        "trace_id": trace, "request_id": trace, "trace_ids": [trace], "request_ids": [trace],
        "max_timestamp_millis": 9_000_000_000_000_i64, "timestamp_ms": 5,
        "locations": [{"mlflow_experiment": {"experiment_id": experiment}}],
        "trace": {"trace_info": {"trace_id": "tr-00000000000000000000000000000002", "request_time": "2026-01-01T00:00:00Z",
            "state": "OK", "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}}},
        "view_type": 1, "metric_name": "trace_count", "aggregations": [{"aggregation_type": "COUNT"}],
        "assessment_id": assessment, "assessment": {"assessment_name": "a", "feedback": {"value": false}}, "update_mask": "feedback",
        "dataset_id": dataset, "records": "[]", "tags": [{"key": "t", "value": "changed"}], "webhook_id": hook,
    });
    let rest = json!({
        "path": format!("{experiment}/{run}/artifacts"), "artifact_path": format!("{experiment}/{run}/artifacts/a.txt"),
        "artifact_file_path": "a.txt", "upload": upload["upload_id"], "number": "1", "upload_id": upload["upload_id"],
        "models": [{"model_id": logged}], "params": [{"key": "q", "value": "x"}],
        "model_json": "{\"artifact_path\": \"a\", \"flavors\": {}, \"run_id\": \"x\", \"utc_time_created\": \"x\"}",
        "username": "admin", "password": "another-password", "is_admin": true,
        "role_id": role["role"]["id"], "workspace": "default", "resource_type": "experiment", "resource_id": experiment,
        "resource_pattern": experiment, "permission": "MANAGE",
        "query": format!("{{ mlflowGetRun(input: {{runId: \"{run}\"}}) {{ run {{ info {{ runName }} }} apiError {{ message }} }} }}"),
    });
    let all = [tracked, traced, rest].into_iter().filter_map(|part| part.as_object().cloned());
    Value::Object(all.flatten().collect())
}

/// An address with its parameters in it, and everything else that a request may name as a query.
fn filled(path: &str, values: &Value) -> String {
    let mut address = String::new();
    for (at, part) in path.split(['{', '}']).enumerate() {
        let text = |name: &str| values[name.trim_start_matches('*')].as_str().unwrap_or("none").to_owned();
        address.push_str(&if at % 2 == 0 { part.to_owned() } else { text(part) });
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in values.as_object().unwrap() {
        match value {
            Value::String(text) => drop(query.append_pair(name, text)),
            Value::Number(number) => drop(query.append_pair(name, &number.to_string())),
            Value::Array(items) => items.iter().filter_map(Value::as_str).for_each(|item| {
                query.append_pair(name, item);
            }),
            _ => {}
        }
    }
    format!("{address}?{}", query.finish())
}

/// Routes that a user without any permission gets an answer from.
const ANSWERED: [&str; 24] = [
    "GET /mlflow/assistant/config",
    "GET /mlflow/assistant/providers",
    "GET /mlflow/experiments/search",
    "GET /mlflow/gateway-proxy",
    "GET /mlflow/gateway/endpoints/list",
    "GET /mlflow/gateway/secrets/list",
    "GET /mlflow/label-schemas/list",
    "GET /mlflow/mcp-servers",
    "GET /mlflow/model-versions/search",
    "GET /mlflow/registered-models/search",
    "GET /mlflow/review-queues/list",
    "GET /mlflow/scorers/list",
    "GET /mlflow/server-features",
    "GET /mlflow/server-info",
    "GET /mlflow/ui-telemetry",
    "GET /mlflow/users/current",
    "GET /mlflow/users/current/permissions",
    "GET /mlflow/users/list",
    "POST /graphql",
    "POST /mlflow/experiments/create",
    "POST /mlflow/experiments/search",
    "POST /mlflow/logged-models/search",
    "POST /mlflow/runs/search",
    "POST /mlflow/ui-telemetry",
];

#[tokio::test]
async fn no_route_lets_anybody_past_their_permissions() {
    let lab = Lab::with(Permission::NoPermissions, &["eve"]).await;
    let values = world(&lab).await;
    let before = lab.server.db.log_head().await.unwrap().size;
    let mut answered = BTreeSet::new();
    let mut asked = 0;
    for (path, methods) in routes::of_mlflow() {
        for method in &methods {
            let mut was_there = false;
            for prefix in ["/api/2.0", "/api/3.0", "/ajax-api/2.0", "/ajax-api/3.0", ""] {
                let address = filled(&format!("{prefix}{path}"), &values);
                let mut body = if method == "GET" { Value::Null } else { values.clone() };
                if path.starts_with("/mlflow/datasets") && method != "GET" {
                    body["tags"] = json!("{\"t\": \"changed\"}");
                }
                let reply = lab.ask("eve", method, &address, &body).await;
                if reply.status == 404 && reply.body.contains("There is no route") || reply.status == 405 {
                    continue;
                }
                was_there = true;
                asked += 1;
                let what = format!("{method} {prefix}{path}");
                assert!(!reply.body.contains(SECRET) && !reply.body.contains("424242"), "{what}: {reply:?}");
                // A field of another route may be in the way of what one of these expects.
                assert!(matches!(reply.status, 200 | 400 | 403 | 404), "{what}: {reply:?}");
                if reply.status == 200 {
                    answered.insert(format!("{method} {path}"));
                } else if reply.status == 403 {
                    denied(&reply);
                }
                lab.server.ask(method, &address, &[], "").await.is(401, &[]);
            }
            // MLflow's own pages are served where somebody asks for that.
            assert!(
                was_there || path == "/mlflow" || path.starts_with("/mlflow/static") || path == "/mlflow/",
                "{path}"
            );
        }
    }
    assert!(asked > 200, "{asked}");
    let expected: BTreeSet<String> = ANSWERED.iter().map(|route| (*route).to_owned()).collect();
    let more: Vec<_> = answered.difference(&expected).collect();
    assert!(more.is_empty(), "answered too: {more:#?}");

    // Nothing was changed but what eve may make.
    let events =
        lab.server.db.events(&EventFilter { after: Some(before), ..EventFilter::default() }).await.unwrap();
    let kinds: BTreeSet<&str> = events.iter().map(|event| event.kind.name()).collect();
    assert!(kinds.is_subset(&BTreeSet::from(["experiment.created", "permission.changed"])), "{kinds:?}");
    let run = values["run_id"].as_str().unwrap();
    let left = lab.get("admin", &format!("/api/2.0/mlflow/runs/get?run_id={run}")).await;
    left.is(200, &[SECRET, "424242"]);
    assert!(!left.body.contains("changed"), "{left:?}");
    // Spans over OTLP and a prediction are no way round it either.
    let eve = basic("eve", PASSWORD);
    let headers = [
        ("authorization", eve.as_str()),
        ("x-mlflow-experiment-id", values["experiment_id"].as_str().unwrap()),
    ];
    denied(&lab.server.ask("POST", "/v1/traces", &headers, "{}").await);
    assert!(lab.access.person("eve").await.unwrap().is_some_and(|eve| !eve.admin));
}
