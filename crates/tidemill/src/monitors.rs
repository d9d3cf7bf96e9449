//! What a project watches, as the server is told.

use tidemill_monitor::Declaration;
use tidemill_project::Project;

/// What is watched at an endpoint of the project.
pub(crate) fn declaration(project: &Project, endpoint: &str) -> Declaration {
    let mut redact: Vec<String> =
        project.data.values().flat_map(|data| data.redact.iter().cloned()).collect();
    redact.sort_unstable();
    redact.dedup();
    Declaration {
        redact,
        project: project.project.to_string(),
        endpoint: endpoint.to_owned(),
        objective: project.objective.clone(),
        monitors: project.monitors.clone(),
        receivers: project.alerts.clone(),
    }
}

/// What is watched at the endpoint of the last environment, which requests find under its own name; nothing where the project
/// releases or watches nothing.
pub(crate) fn in_production(project: &Project) -> Option<Declaration> {
    let release = project.release.as_ref()?;
    let endpoint = release.endpoint.as_ref().unwrap_or(&release.model);
    (!project.monitors.is_empty()).then(|| declaration(project, endpoint.as_str()))
}
