//! What MLflow's web pages ask for besides the API: GraphQL and small answers on every page.

use serde_json::{Value, json};

use crate::client::Server;

async fn graphql(server: &Server, query: &str, variables: Value) -> Value {
    let body = json!({"operationName": null, "query": query, "variables": variables}).to_string();
    let reply = server.ask("POST", "/graphql", &[], &body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn mlflow(server: &Server, path: &str, body: Value) -> Value {
    let reply = server.ask("POST", &format!("/api/2.0/mlflow/{path}"), &[], &body.to_string()).await;
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.json()
}

/// An experiment with a run of which a model version was made.
async fn tides(server: &Server) -> (String, String) {
    let experiment = mlflow(server, "experiments/create", json!({"name": "tides"})).await;
    let experiment = experiment["experiment_id"].as_str().unwrap().to_owned();
    let new = json!({"experiment_id": experiment, "start_time": 7, "run_name": "spring tide"});
    let run = mlflow(server, "runs/create", new).await["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    for (step, value) in [(0, json!(0.5)), (1, json!("NaN"))] {
        let metric = json!({"run_id": run, "key": "loss", "value": value, "timestamp": 9, "step": step});
        mlflow(server, "runs/log-metric", metric).await;
    }
    mlflow(server, "registered-models/create", json!({"name": "churn"})).await;
    let version = json!({"name": "churn", "source": format!("runs:/{run}/model"), "run_id": run});
    mlflow(server, "model-versions/create", version).await;
    (experiment, run)
}

#[tokio::test]
async fn the_four_operations() {
    let server = Server::start().await;
    let (experiment, run) = tides(&server).await;
    let found = graphql(
        &server,
        "query E($input: MlflowGetExperimentInput!) @component(name: \"x\") {
            mlflowGetExperiment(input: $input) {
                __typename apiError { code message } experiment { experimentId name lifecycleStage tags { key } }
            }
        }",
        json!({"input": {"experimentId": experiment}}),
    )
    .await;
    assert_eq!(
        found,
        json!({"data": {"mlflowGetExperiment": {
            "__typename": "MlflowGetExperimentResponse", "apiError": null,
            "experiment": {"experimentId": experiment, "name": "tides", "lifecycleStage": "active", "tags": []},
        }}, "errors": null})
    );

    let found = graphql(
        &server,
        "query GetRun($data: MlflowGetRunInput!) { mlflowGetRun(input: $data) {
            apiError { code }
            run {
                info { runName startTime endTime status }
                experiment { name }
                modelVersions { name version }
                data { metrics { key value step } params { key } }
                inputs { datasetInputs { dataset { name } } }
            }
        } }",
        json!({"data": {"runId": run}}),
    )
    .await;
    assert_eq!(
        found["data"]["mlflowGetRun"]["run"],
        json!({
            "info": {"runName": "spring tide", "startTime": "7", "endTime": null, "status": "RUNNING"},
            "experiment": {"name": "tides"},
            "modelVersions": [{"name": "churn", "version": "1"}],
            "data": {"metrics": [{"key": "loss", "value": null, "step": "1"}], "params": []},
            "inputs": {"datasetInputs": []},
        })
    );

    let found = graphql(
        &server,
        "query($data: X!) { mlflowSearchRuns(input: $data) { runs { info { runId } experiment { name } } } }",
        json!({"data": {"experimentIds": [experiment], "filter": "attributes.run_name = 'spring tide'"}}),
    )
    .await;
    let runs = json!([{"info": {"runId": run}, "experiment": {"name": "tides"}}]);
    assert_eq!(found["data"]["mlflowSearchRuns"]["runs"], runs);

    let found = graphql(
        &server,
        "query($data: X!) { mlflowGetMetricHistoryBulkInterval(input: $data) {
            metrics { key step value runId timestamp } apiError { code } } }",
        json!({"data": {"runIds": [run], "metricKey": "loss", "startStep": null, "endStep": null, "maxResults": 320}}),
    )
    .await;
    assert_eq!(
        found["data"]["mlflowGetMetricHistoryBulkInterval"],
        json!({"metrics": [
            {"key": "loss", "step": "0", "value": 0.5, "runId": run, "timestamp": "9"},
            {"key": "loss", "step": "1", "value": null, "runId": run, "timestamp": "9"},
        ], "apiError": null})
    );
}

#[tokio::test]
async fn errors_are_part_of_the_answer() {
    let server = Server::start().await;
    let missing = graphql(
        &server,
        "{ mlflowGetRun(input: {runId: \"0123\"}) { run { info { runId } } apiError { code message helpUrl } } }",
        json!({}),
    )
    .await;
    let answer = &missing["data"]["mlflowGetRun"];
    assert_eq!(
        (&answer["run"], &answer["apiError"]["code"]),
        (&Value::Null, &json!("RESOURCE_DOES_NOT_EXIST"))
    );
    for (query, error) in [
        (
            "{ mlflowGetRun(input: {runId: \"1\"}) { nonsense } }",
            "Cannot query field 'nonsense' on type 'MlflowGetRunResponse'.",
        ),
        ("{ mlflowGetRun { run { info { runId } } } }", "Field 'mlflowGetRun' needs an argument 'input'."),
        ("mutation { x }", "There is no mutation here."),
        ("{", "expected a name, but the document ends"),
    ] {
        let found = graphql(&server, query, json!({})).await;
        assert_eq!(found, json!({"data": null, "errors": [error]}), "{query}");
    }
}

#[tokio::test]
async fn small_answers() {
    let server = Server::start().await;
    for (path, status, text) in [
        ("/api/3.0/mlflow/server-info", 200, "\"store_type\":\"SqlStore\""),
        ("/ajax-api/3.0/mlflow/server-info", 200, "\"features_enabled\":"),
        ("/ajax-api/3.0/mlflow/ui-telemetry", 200, "\"disable_ui_telemetry\":true"),
        ("/ajax-api/3.0/mlflow/assistant/config", 200, "\"remote_access_allowed\":false"),
        ("/ajax-api/3.0/mlflow/assistant/providers", 200, "\"providers\":[]"),
        ("/ajax-api/3.0/mlflow/scorers/list?experiment_id=0", 200, "{}"),
        ("/ajax-api/3.0/mlflow/label-schemas/list?experiment_id=0", 200, "{}"),
        ("/ajax-api/3.0/mlflow/review-queues/list?experiment_id=0", 200, "{}"),
        ("/ajax-api/3.0/mlflow/gateway/endpoints/list", 200, "{}"),
        ("/ajax-api/3.0/mlflow/mcp-servers?max_results=25", 200, "\"mcp_servers\":[]"),
        ("/ajax-api/2.0/mlflow/gateway-proxy", 200, "\"endpoints\":[]"),
        ("/ajax-api/2.0/mlflow/users/current", 404, "ENDPOINT_NOT_FOUND"),
    ] {
        server.get(path).await.is(status, &[text]);
    }
}
