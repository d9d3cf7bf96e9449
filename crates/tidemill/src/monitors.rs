//! What a project watches, as the server is told.

use std::collections::BTreeSet;

use tidemill_monitor::Declaration;
use tidemill_project::{Project, Reference};

use crate::app::App;
use crate::profile::Source;

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
/// The versions of datasets that monitors compare with, each once, as they stand in the file.
fn references(project: &Project) -> BTreeSet<&str> {
    let dataset = |reference: &&Reference| matches!(reference, Reference::Dataset(_));
    let all = project.monitors.iter().filter_map(|monitor| monitor.against());
    all.filter(dataset).map(|reference| reference.as_str()).collect()
}

/// Says which versions of datasets that monitors compare with are not there, or have no profile yet.
///
/// # Errors
/// A version that is not there.
pub(crate) fn check_references(app: &App<'_>) -> anyhow::Result<()> {
    for text in references(&app.project) {
        let source = Source::find(text, app)?;
        if app.block(app.db()?.profiles_of(&[source.digest()]))?.is_empty() {
            app.console.note(format!(
                "`{text}`, which a monitor compares with, has no profile yet; `tidemill data profile {text}` makes it, and so does a release"
            ));
        }
    }
    Ok(())
}

/// Makes the profiles that monitors compare with where they are not kept yet, so that a server has them.
///
/// # Errors
/// A version that is not there, or that is no table.
pub(crate) fn make_references(app: &App<'_>) -> anyhow::Result<()> {
    for text in references(&app.project) {
        let mut source = Source::find(text, app)?;
        if app.block(app.db()?.profiles_of(&[source.digest()]))?.is_empty() {
            source.profile(app)?;
        }
    }
    Ok(())
}
