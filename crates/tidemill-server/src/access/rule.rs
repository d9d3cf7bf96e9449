//! What each route needs. Pure: a method and the path of a route to a rule.

use axum::http::Method;
use tidemill_registry::access::Action;

/// What a request for a route needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Whoever signed in may.
    Anyone,
    /// Administrators only.
    Admin,
    /// Those who look after the workspace.
    Manager,
    /// Those who may look at everything there is: what is shown knows no experiments.
    Observer,
    /// An endpoint that answers requests for predictions.
    Endpoint(Action),
    /// Agreeing to a rollout is for whoever sees it, since its plan names the roles; all else is not.
    ActOnRollout,
    /// The same for a form of a page.
    RolloutForm,

    CreateExperiment,
    Experiment(Action),
    ExperimentByName,
    WholeExperiment,
    /// All of several, of which there must be one.
    Experiments(Action),
    SearchExperiments,

    CreateRun,
    Run(Action),
    /// All runs of a list by this name.
    Runs(&'static str),
    /// A run, and the logged model that the metric is about.
    LogMetric,
    /// A run, and the logged models that its metrics are about.
    LogBatch,
    /// A run, and the logged models that it read or made.
    LogModels,
    RunFiles,
    /// What pages upload.
    UploadFile,
    SearchRuns,

    CreateLoggedModel,
    LoggedModel(Action),
    LoggedModelFiles,
    SearchLoggedModels,

    CreateModel,
    Model(Action),
    WholeModel,
    Alias(Action),
    CreateVersion,
    ReadVersion,
    Version(Action),
    SearchModels,

    /// A trace as older clients begin it.
    BeginTrace,
    StartTrace,
    /// By the field of this name.
    Trace(&'static str, Action),
    Traces,
    SearchTraces,
    SearchOldTraces,
    ChartTraces,
    DeleteTraces,
    LinkTraces,
    TraceFile,
    CreateAssessment,
    Assessment(Action),
    /// Spans over OTLP, whose experiment is in a header.
    Spans,

    Dataset(Action),
    AttachDataset,

    /// Artifacts by path; the path follows this text in the address, or is a field.
    Files(&'static str, Action),
    ListFiles,
    FilesInParts(&'static str),
    Part,

    Themselves,
    CreateUser,
    ViewUser,
    CreateRole,
    ViewRole,
    ListRoles,
    ManageRole,
    Grant,
    ViewPermission,
}

/// What of a request is read to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// Nothing but its address and headers.
    Nothing,
    /// Its query; the handler reads that itself.
    Query,
    /// Its fields, which the handler then gets.
    Fields,
    /// Its JSON body, which the handler reads once more in its own way.
    Body,
}

impl Rule {
    /// What has to be read.
    pub(super) fn reads(&self) -> Reads {
        match self {
            Self::Anyone
            | Self::Admin
            | Self::Manager
            | Self::Observer
            | Self::Endpoint(_)
            | Self::RolloutForm
            | Self::Spans
            | Self::Files(..)
            | Self::Part => Reads::Nothing,
            Self::ListFiles | Self::UploadFile => Reads::Query,
            Self::LogMetric | Self::LogBatch | Self::ActOnRollout => Reads::Body,
            _ => Reads::Fields,
        }
    }
}

/// The rule of a route; nothing where nobody said one.
pub(super) fn of(method: &Method, template: &str) -> Option<Rule> {
    let api = ["/ajax-api", "/api"].iter().find_map(|prefix| template.strip_prefix(prefix));
    let (version, path) = match api {
        None => ("2.0", template),
        Some(rest) if rest.starts_with("/2.0/") => ("2.0", &rest[4..]),
        Some(rest) if rest.starts_with("/3.0/") => ("3.0", &rest[4..]),
        Some(_) => return own_api(method, template),
    };
    let found = if api.is_none() { outside(method, path) } else { None };
    found.or_else(|| mlflow(method, version, path)).or_else(|| people(method, path))
}

/// Tidemill's own API.
fn own_api(method: &Method, template: &str) -> Option<Rule> {
    let look = matches!(*method, Method::GET | Method::HEAD);
    Some(match template.strip_prefix("/api/v1/")? {
        "info" | "openapi.json" if look => Rule::Anyone,
        "endpoints/{name}/outcomes" if !look => Rule::Endpoint(Action::Use),
        "rollouts/{id}/actions" if !look => Rule::ActOnRollout,
        _ if look => Rule::Observer,
        _ => Rule::Manager,
    })
}

/// Pages, predictions, and what else is not below `/api`.
fn outside(method: &Method, path: &str) -> Option<Rule> {
    let look = matches!(*method, Method::GET | Method::HEAD);
    let predictions = path == "/invocations" || path.starts_with("/endpoints/") || path.starts_with("/v2");
    Some(match path {
        "/login" | "/ui/login" | "/ui/logout" | "/ui/static/{file}" => Rule::Anyone,
        "/health" | "/version" | "/ping" | "/v2" | "/v2/" | "/v2/health/live" | "/v2/health/ready" => {
            Rule::Anyone
        }
        // Its signature is looked at.
        "/hooks/{name}" => Rule::Anyone,
        "/mlflow" | "/mlflow/" | "/mlflow/static-files/{*path}" => Rule::Anyone,
        "/v1/traces" => Rule::Spans,
        "/get-artifact" => Rule::RunFiles,
        "/model-versions/get-artifact" => Rule::ReadVersion,
        "/graphql" => Rule::Anyone,
        "/metrics" => Rule::Observer,
        _ if predictions && path.contains("/models/{name}") || path.ends_with("/invocations") => {
            let asks = ["/infer", "/generate", "/generate_stream", "/invocations"];
            let asks = asks.iter().any(|end| path.ends_with(end));
            let loads = path.starts_with("/v2/repository/");
            match (loads, asks) {
                (true, _) => Rule::Manager,
                (false, true) => Rule::Endpoint(Action::Use),
                (false, false) => Rule::Endpoint(Action::Read),
            }
        }
        _ if predictions && look => Rule::Observer,
        _ if predictions => Rule::Manager,
        _ if path.starts_with("/mlflow") => return None,
        _ if look => Rule::Observer,
        "/ui/rollouts/{id}/{action}" => Rule::RolloutForm,
        _ if path.starts_with("/ui/") => Rule::Manager,
        _ => return None,
    })
}

/// MLflow's API.
fn mlflow(method: &Method, version: &str, path: &str) -> Option<Rule> {
    use Action::{Delete, Manage, Read, Update};
    let old = version == "2.0";
    Some(match (method.as_str(), path) {
        ("GET" | "HEAD", "/mlflow/server-info" | "/mlflow/server-features" | "/mlflow/gateway-proxy") => {
            Rule::Anyone
        }
        ("GET" | "HEAD" | "POST", "/mlflow/ui-telemetry" | "/mlflow/mcp-servers") => Rule::Anyone,
        ("POST", "/mlflow/gateway-proxy") => Rule::Anyone,
        ("GET" | "HEAD", "/mlflow/assistant/config" | "/mlflow/assistant/providers") => Rule::Anyone,
        // Lists of what this server does not keep.
        (
            "GET" | "HEAD",
            "/mlflow/scorers/list"
            | "/mlflow/label-schemas/list"
            | "/mlflow/review-queues/list"
            | "/mlflow/gateway/endpoints/list"
            | "/mlflow/gateway/secrets/list",
        ) => Rule::Anyone,
        (_, path) if path.starts_with("/mlflow/webhooks") => Rule::Admin,

        ("POST", "/mlflow/experiments/create") => Rule::CreateExperiment,
        ("GET" | "HEAD", "/mlflow/experiments/get") => Rule::Experiment(Read),
        ("GET" | "HEAD", "/mlflow/experiments/get-by-name") => Rule::ExperimentByName,
        (
            "POST",
            "/mlflow/experiments/update"
            | "/mlflow/experiments/set-experiment-tag"
            | "/mlflow/experiments/delete-experiment-tag",
        ) => Rule::Experiment(Update),
        ("POST", "/mlflow/experiments/delete" | "/mlflow/experiments/restore") => Rule::WholeExperiment,
        ("GET" | "HEAD" | "POST", "/mlflow/experiments/search") => Rule::SearchExperiments,
        ("POST", "/mlflow/experiments/search-datasets") => Rule::Experiments(Read),

        ("POST", "/mlflow/runs/create") => Rule::CreateRun,
        ("GET" | "HEAD", "/mlflow/runs/get" | "/mlflow/metrics/get-history") => Rule::Run(Read),
        (
            "POST",
            "/mlflow/runs/update"
            | "/mlflow/runs/log-parameter"
            | "/mlflow/runs/set-tag"
            | "/mlflow/runs/delete-tag"
            | "/mlflow/runs/log-model",
        ) => Rule::Run(Update),
        ("POST", "/mlflow/runs/delete" | "/mlflow/runs/restore") => Rule::Run(Delete),
        ("POST", "/mlflow/runs/log-metric") => Rule::LogMetric,
        ("POST", "/mlflow/runs/log-batch") => Rule::LogBatch,
        ("POST", "/mlflow/runs/log-inputs" | "/mlflow/runs/outputs") => Rule::LogModels,
        ("POST", "/mlflow/runs/search") => Rule::SearchRuns,
        ("GET" | "HEAD", "/mlflow/metrics/get-history-bulk") => Rule::Runs("run_id"),
        ("GET" | "HEAD", "/mlflow/metrics/get-history-bulk-interval") => Rule::Runs("run_ids"),
        ("GET" | "HEAD", "/mlflow/artifacts/list") => Rule::RunFiles,
        ("POST", "/mlflow/upload-artifact") => Rule::UploadFile,

        ("POST", "/mlflow/logged-models") => Rule::CreateLoggedModel,
        ("POST", "/mlflow/logged-models/search") => Rule::SearchLoggedModels,
        ("GET" | "HEAD", "/mlflow/logged-models/{model_id}") => Rule::LoggedModel(Read),
        ("PATCH", "/mlflow/logged-models/{model_id}" | "/mlflow/logged-models/{model_id}/tags") => {
            Rule::LoggedModel(Update)
        }
        ("POST", "/mlflow/logged-models/{model_id}/params") => Rule::LoggedModel(Update),
        (
            "DELETE",
            "/mlflow/logged-models/{model_id}" | "/mlflow/logged-models/{model_id}/tags/{*tag_key}",
        ) => Rule::LoggedModel(Delete),
        (
            "GET" | "HEAD",
            "/mlflow/logged-models/{model_id}/artifacts/directories"
            | "/mlflow/logged-models/{model_id}/artifacts/files",
        ) => Rule::LoggedModelFiles,

        ("POST", "/mlflow/registered-models/create") => Rule::CreateModel,
        ("GET" | "HEAD", "/mlflow/registered-models/get") => Rule::Model(Read),
        ("POST", "/mlflow/registered-models/rename" | "/mlflow/registered-models/set-tag") => {
            Rule::Model(Update)
        }
        ("PATCH", "/mlflow/registered-models/update") => Rule::Model(Update),
        ("DELETE", "/mlflow/registered-models/delete-tag") => Rule::Model(Update),
        ("DELETE", "/mlflow/registered-models/delete") => Rule::WholeModel,
        ("GET" | "HEAD", "/mlflow/registered-models/search" | "/mlflow/model-versions/search") => {
            Rule::SearchModels
        }
        ("GET" | "HEAD" | "POST", "/mlflow/registered-models/get-latest-versions") => Rule::ReadVersion,
        ("GET" | "HEAD", "/mlflow/registered-models/alias") => Rule::ReadVersion,
        ("POST", "/mlflow/registered-models/alias") => Rule::Alias(Update),
        ("DELETE", "/mlflow/registered-models/alias") => Rule::Alias(Delete),
        ("POST", "/mlflow/model-versions/create") => Rule::CreateVersion,
        ("GET" | "HEAD", "/mlflow/model-versions/get" | "/mlflow/model-versions/get-download-uri") => {
            Rule::ReadVersion
        }
        ("PATCH", "/mlflow/model-versions/update") => Rule::Version(Update),
        ("POST", "/mlflow/model-versions/transition-stage" | "/mlflow/model-versions/set-tag") => {
            Rule::Version(Update)
        }
        ("DELETE", "/mlflow/model-versions/delete" | "/mlflow/model-versions/delete-tag") => {
            Rule::Version(Delete)
        }

        ("GET" | "HEAD", "/mlflow/traces") if old => Rule::SearchOldTraces,
        ("POST", "/mlflow/traces") if old => Rule::BeginTrace,
        ("POST", "/mlflow/traces") => Rule::StartTrace,
        ("PATCH", "/mlflow/traces/{trace_id}") => Rule::Trace("trace_id", Update),
        (
            "GET" | "HEAD",
            "/mlflow/traces/{trace_id}/info" | "/mlflow/traces/{trace_id}" | "/mlflow/traces/get",
        ) => Rule::Trace("trace_id", Read),
        ("POST", "/mlflow/traces/search") => Rule::SearchTraces,
        ("GET" | "HEAD", "/mlflow/traces/batchGet") | ("POST", "/mlflow/traces/batchGetInfos") => {
            Rule::Traces
        }
        ("POST", "/mlflow/traces/metrics") => Rule::ChartTraces,
        ("POST", "/mlflow/traces/delete-traces") => Rule::DeleteTraces,
        ("POST", "/mlflow/traces/link-to-run") => Rule::LinkTraces,
        ("POST", "/mlflow/traces/link-prompts") => Rule::Trace("trace_id", Update),
        ("PATCH" | "DELETE", "/mlflow/traces/{trace_id}/tags") => Rule::Trace("trace_id", Update),
        ("POST", "/mlflow/traces/{trace_id}/assessments") => Rule::CreateAssessment,
        ("GET" | "HEAD", "/mlflow/traces/{trace_id}/assessments/{assessment_id}") => Rule::Assessment(Read),
        ("PATCH", "/mlflow/traces/{trace_id}/assessments/{assessment_id}") => Rule::Assessment(Update),
        ("DELETE", "/mlflow/traces/{trace_id}/assessments/{assessment_id}") => Rule::Assessment(Delete),
        ("GET" | "HEAD", "/mlflow/get-trace-artifact") => Rule::TraceFile,

        ("POST", "/mlflow/datasets/create") => Rule::Experiments(Update),
        ("POST", "/mlflow/datasets/search") => Rule::Experiments(Read),
        ("POST", "/mlflow/datasets/{dataset_id}/add-experiments") => Rule::AttachDataset,
        ("DELETE", "/mlflow/datasets/{dataset_id}") => Rule::Dataset(Delete),
        (method, path) if path.starts_with("/mlflow/datasets/{dataset_id}") => {
            Rule::Dataset(if matches!(method, "GET" | "HEAD") { Read } else { Update })
        }

        ("GET" | "HEAD", "/mlflow-artifacts/artifacts" | "/mlflow-artifacts/artifacts/") => Rule::ListFiles,
        (_, "/mlflow-artifacts/artifacts" | "/mlflow-artifacts/artifacts/") => Rule::Admin,
        (method, "/mlflow-artifacts/artifacts/{*artifact_path}") => {
            let action = match method {
                "GET" | "HEAD" => Read,
                "PUT" => Update,
                "DELETE" => Manage,
                _ => return None,
            };
            Rule::Files("/mlflow-artifacts/artifacts", action)
        }
        ("GET" | "HEAD", "/mlflow-artifacts/presigned/{*artifact_path}") => {
            Rule::Files("/mlflow-artifacts/presigned", Read)
        }
        ("POST", "/mlflow-artifacts/mpu/create/{*artifact_path}" | "/mlflow-artifacts/mpu/create") => {
            Rule::FilesInParts("/mlflow-artifacts/mpu/create")
        }
        ("POST", "/mlflow-artifacts/mpu/complete/{*artifact_path}" | "/mlflow-artifacts/mpu/complete") => {
            Rule::FilesInParts("/mlflow-artifacts/mpu/complete")
        }
        ("POST", "/mlflow-artifacts/mpu/abort/{*artifact_path}" | "/mlflow-artifacts/mpu/abort") => {
            Rule::FilesInParts("/mlflow-artifacts/mpu/abort")
        }
        ("PUT", "/mlflow-artifacts/mpu/part/{upload}/{number}") => Rule::Part,
        _ => return None,
    })
}

/// Users, roles and permissions themselves.
fn people(method: &Method, path: &str) -> Option<Rule> {
    Some(match (method.as_str(), path) {
        (
            "GET" | "HEAD",
            "/mlflow/users/current" | "/mlflow/users/current/permissions" | "/mlflow/users/list",
        ) => Rule::Anyone,
        ("POST", "/mlflow/users/create") => Rule::CreateUser,
        ("GET" | "HEAD", "/mlflow/users/get") | ("PATCH", "/mlflow/users/update-password") => {
            Rule::Themselves
        }
        ("PATCH", "/mlflow/users/update-admin") | ("DELETE", "/mlflow/users/delete") => Rule::Admin,
        ("GET" | "HEAD", "/mlflow/users/roles/list" | "/mlflow/users/permissions/list") => Rule::ViewUser,
        ("GET" | "HEAD", "/mlflow/users/permissions/get") => Rule::ViewPermission,
        ("POST", "/mlflow/users/permissions/grant" | "/mlflow/users/permissions/revoke") => Rule::Grant,
        ("POST", "/mlflow/roles/create") => Rule::CreateRole,
        ("GET" | "HEAD", "/mlflow/roles/get" | "/mlflow/roles/permissions/list") => Rule::ViewRole,
        ("GET" | "HEAD", "/mlflow/roles/list") => Rule::ListRoles,
        ("GET" | "HEAD", "/mlflow/roles/users/list")
        | ("POST", "/mlflow/roles/permissions/add" | "/mlflow/roles/assign")
        | ("PATCH", "/mlflow/roles/update" | "/mlflow/roles/permissions/update")
        | (
            "DELETE",
            "/mlflow/roles/delete" | "/mlflow/roles/permissions/remove" | "/mlflow/roles/unassign",
        ) => Rule::ManageRole,
        _ => return None,
    })
}

#[cfg(test)]
#[path = "../../tests/it/routes.rs"]
mod routes;

#[cfg(test)]
mod tests {
    use super::*;

    /// A route that nobody said a rule for is refused; here it is found before somebody misses it.
    #[test]
    fn every_route_of_mlflow_has_a_rule() {
        let found = routes::of_mlflow();
        assert!(found.len() > 100, "{}", found.len());
        let mut without = Vec::new();
        for (path, methods) in &found {
            assert!(!methods.is_empty(), "{path}");
            for method in methods {
                let below = ["/api/2.0", "/api/3.0", "/ajax-api/2.0", "/ajax-api/3.0", ""];
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                if below.iter().all(|prefix| of(&method, &format!("{prefix}{path}")).is_none()) {
                    without.push(format!("{method} {path}"));
                }
            }
        }
        assert_eq!(without, Vec::<String>::new());
    }

    #[test]
    fn rules_of_some_routes() {
        for (method, path, rule) in [
            (Method::POST, "/api/2.0/mlflow/runs/search", Some(Rule::SearchRuns)),
            (Method::POST, "/mlflow/runs/search", Some(Rule::SearchRuns)),
            (Method::POST, "/ajax-api/2.0/mlflow/traces", Some(Rule::BeginTrace)),
            (Method::POST, "/api/3.0/mlflow/traces", Some(Rule::StartTrace)),
            (Method::DELETE, "/api/2.0/mlflow/webhooks/{webhook_id}", Some(Rule::Admin)),
            (
                Method::GET,
                "/api/2.0/mlflow-artifacts/artifacts/{*artifact_path}",
                Some(Rule::Files("/mlflow-artifacts/artifacts", Action::Read)),
            ),
            (Method::POST, "/v2/models/{name}/versions/{version}/infer", Some(Rule::Endpoint(Action::Use))),
            (Method::POST, "/invocations", Some(Rule::Endpoint(Action::Use))),
            (Method::GET, "/v2/models/{name}/ready", Some(Rule::Endpoint(Action::Read))),
            (Method::POST, "/v2/repository/models/{name}/load", Some(Rule::Manager)),
            (Method::POST, "/v2/repository/index", Some(Rule::Manager)),
            (Method::GET, "/experiments/{id}", Some(Rule::Observer)),
            (Method::GET, "/api/v1/experiments", Some(Rule::Observer)),
            (Method::PUT, "/api/v1/endpoints/{name}", Some(Rule::Manager)),
            (Method::POST, "/api/v1/rollouts/{id}/actions", Some(Rule::ActOnRollout)),
            (Method::POST, "/ui/freezes", Some(Rule::Manager)),
            (Method::POST, "/ui/rollouts/{id}/{action}", Some(Rule::RolloutForm)),
            (Method::POST, "/api/2.0/mlflow/something/new", None),
            (Method::POST, "/something/new", None),
        ] {
            assert_eq!(of(&method, path), rule, "{method} {path}");
        }
    }
}
