//! Finds what a request is about, and asks what its sender holds.
//!
//! What is not there is refused like what may not be seen, so that nobody learns which identifiers there are. Fields are read as
//! handlers read them; where one is missing, the words are the same.

use std::collections::HashMap;

use axum::http::request::Parts;
use tidemill_registry::access::{
    Access, Action, EVERY, ModelScope, Need, Person, Resource, Scope, WORKSPACE, needs,
};
use tidemill_registry::artifacts::{ArtifactPath, Place};
use tidemill_registry::traces::ARTIFACTS_TAG;
use tidemill_registry::{Code, Error, Result, experiment_id, is_prompt, model_of_source};

use super::Seen;
use super::rule::Rule;
use super::withhold;
use crate::App;
use crate::mlflow::{Fields, pairs, path_after, target};

/// What comes of a request.
pub(super) enum Verdict {
    No,
    Yes,
    /// It may ask, and sees no more than this.
    Sees(Seen),
}

impl From<bool> for Verdict {
    fn from(may: bool) -> Self {
        if may { Self::Yes } else { Self::No }
    }
}

/// One request and its sender.
pub(super) struct Judge<'a> {
    pub(super) app: &'a App,
    pub(super) access: &'a Access,
    pub(super) person: &'a Person,
    pub(super) parts: &'a Parts,
}

/// Nothing where there is no such thing.
fn there<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code == Code::ResourceDoesNotExist => Ok(None),
        Err(error) => Err(error),
    }
}

impl Judge<'_> {
    /// What comes of the request. Searches that name experiments go on with those that may be seen.
    pub(super) async fn judge(&self, rule: &Rule, fields: &mut Fields) -> Result<Verdict> {
        use Action::{NotDenied, Read, Update};
        let held = &self.person.held;
        Ok(match rule {
            Rule::Anyone => Verdict::Yes,
            Rule::Admin => Verdict::No,
            Rule::Manager => held.manages_everything().into(),
            Rule::Observer => self.sees_everything().into(),
            Rule::ActOnRollout | Rule::RolloutForm => self.acts(fields.opt_str("action")?).into(),
            Rule::Endpoint(action) => {
                let name = fields.opt_str("name")?.unwrap_or(EVERY);
                held.meets(&Need::to(*action, Resource::GatewayEndpoint, name)).into()
            }
            Rule::CreateExperiment => held.meets(&Need::to_any(NotDenied, Resource::Experiment)).into(),
            Rule::Experiment(action) => {
                let id = experiment_id(fields.text("experiment_id")?)?;
                held.meets(&needs::experiment(*action, id)).into()
            }
            Rule::ExperimentByName => {
                let name = fields.text("experiment_name")?;
                match there(self.app.registry().experiment_by_name(name).await)? {
                    Some(found) => held.meets(&needs::experiment(Read, found.id)).into(),
                    // Whoever looks whether a name is free gets the same answer as anybody.
                    None => Verdict::Yes,
                }
            }
            Rule::WholeExperiment => {
                held.meets_all(&needs::whole_experiment(experiment_id(fields.text("experiment_id")?)?)).into()
            }
            Rule::Experiments(action) => self.all_of(&experiments(fields)?, *action).into(),
            Rule::SearchExperiments => {
                let experiments = held.scope(Resource::Experiment, None);
                Verdict::Sees(Seen { experiments, ..Seen::default() })
            }
            Rule::CreateRun => self.creates(Resource::Run, fields.any_text("experiment_id")?)?,
            Rule::Run(action) => self.run(fields.run_id()?, *action).await?.into(),
            Rule::Runs(name) => {
                let runs = fields.strings(name)?;
                if runs.is_empty() {
                    return Err(fields.missing(name));
                }
                self.runs(&runs).await?.into()
            }
            Rule::LogMetric => {
                let model = fields.any_text("model_id")?;
                (self.run(fields.run_id()?, Update).await? && self.logged_models(&[model]).await?).into()
            }
            Rule::LogBatch => {
                let metrics = fields.messages("metrics")?;
                (self.run(fields.text("run_id")?, Update).await? && self.models_of(&metrics).await?).into()
            }
            Rule::LogModels => {
                let models = fields.messages("models")?;
                (self.run(fields.run_id()?, Update).await? && self.models_of(&models).await?).into()
            }
            Rule::RunFiles => self.run_files(fields.run_id()?, Read).await?.into(),
            Rule::UploadFile => self.run_files(fields.text("run_uuid")?, Update).await?.into(),
            Rule::SearchRuns => {
                self.keep_visible(fields, Resource::Run)?;
                Verdict::Yes
            }
            Rule::CreateLoggedModel => {
                let run = fields.any_text("source_run_id")?;
                let experiment = experiment_id(fields.text("experiment_id")?)?;
                (held.meets_all(&needs::create(Resource::LoggedModel, experiment))
                    && (run.is_empty() || self.run(run, Read).await?))
                    .into()
            }
            Rule::LoggedModel(action) => self.logged_model(fields.str("model_id")?, *action).await?.into(),
            Rule::LoggedModelFiles => {
                let model = fields.str("model_id")?;
                let root = there(self.app.registry().logged_model_artifact_uri(model).await)?;
                (self.logged_model(model, Read).await? && self.root(root.as_deref(), Read)?).into()
            }
            Rule::SearchLoggedModels => {
                if self.selects_denied_runs(fields, "source_run_id")? {
                    return Ok(Verdict::No);
                }
                self.keep_visible(fields, Resource::LoggedModel)?;
                Verdict::Yes
            }
            Rule::CreateModel => {
                let kind = Resource::of_model(is_prompt(&pairs(fields, "tags")?));
                held.meets(&Need::to(NotDenied, kind, fields.text("name")?)).into()
            }
            Rule::Model(action) => {
                let name = fields.text("name")?;
                let kind = self.kind(name).await?.unwrap_or(Resource::RegisteredModel);
                held.meets(&Need::to(*action, kind, name)).into()
            }
            Rule::WholeModel => {
                self.versions(fields.text("name")?, Action::Delete, Some(Action::Delete)).await?.into()
            }
            Rule::Alias(action) => self.versions(fields.text("name")?, *action, Some(Read)).await?.into(),
            Rule::ReadVersion => self.versions(fields.text("name")?, Read, None).await?.into(),
            Rule::Version(action) => self.versions(fields.text("name")?, Read, Some(*action)).await?.into(),
            Rule::CreateVersion => self.creates_version(fields).await?.into(),
            Rule::SearchModels => {
                let versions = self.parts.uri.path().ends_with("/model-versions/search");
                if versions && self.selects_denied_runs(fields, "run_id")? {
                    return Ok(Verdict::No);
                }
                let of = |kind| held.scope(kind, Some(versions_of(kind)));
                let models =
                    ModelScope { models: of(Resource::RegisteredModel), prompts: of(Resource::Prompt) };
                Verdict::Sees(Seen { models, ..Seen::default() })
            }
            Rule::BeginTrace => self.creates(Resource::Trace, fields.str("experiment_id")?)?,
            Rule::StartTrace => self.starts_trace(fields)?,
            Rule::Trace(name, action) => self.trace(fields.text(name)?, *action).await?.into(),
            Rule::Traces => {
                let ids = fields.strings("trace_ids")?;
                if ids.is_empty() {
                    return Err(fields.missing("trace_ids"));
                }
                self.traces(&ids).await?.into()
            }
            Rule::SearchTraces => {
                let mut ids = Vec::new();
                for place in fields.messages("locations")? {
                    if let Some(experiment) = place.message("mlflow_experiment")? {
                        ids.push(experiment_id(experiment.str("experiment_id")?)?);
                    }
                }
                (self.all_traces_of(&ids) && self.may_select_traces(fields, &ids)?).into()
            }
            Rule::SearchOldTraces | Rule::ChartTraces => {
                let ids = experiments(fields)?;
                (self.all_traces_of(&ids) && self.may_select_traces(fields, &ids)?).into()
            }
            Rule::DeleteTraces => {
                held.meets_all(&needs::delete_traces(experiment_id(fields.str("experiment_id")?)?)).into()
            }
            Rule::LinkTraces => {
                let traces = fields.strings("trace_ids")?;
                (self.run(fields.str("run_id")?, Update).await? && self.traces(&traces).await?).into()
            }
            Rule::TraceFile => self.trace_file(fields.text("request_id")?).await?.into(),
            Rule::CreateAssessment => self.assesses(fields.str("trace_id")?).await?.into(),
            Rule::Assessment(action) => match self.experiment_of_trace(fields.str("trace_id")?).await? {
                Some(experiment) => held.meets_all(&needs::assessment(*action, experiment)).into(),
                None => Verdict::No,
            },
            Rule::Spans => self.spans().await?,
            Rule::Dataset(action) => self.dataset(fields.str("dataset_id")?, *action).await?.into(),
            Rule::AttachDataset => (self.all_of(&experiments(fields)?, Update)
                && self.dataset(fields.str("dataset_id")?, Update).await?)
                .into(),
            Rule::Files(marker, action) => self.files(&path_after(&self.parts.uri, marker)?, *action).into(),
            Rule::ListFiles => self.files(&ArtifactPath::parse(fields.any_text("path")?)?, Read).into(),
            Rule::FilesInParts(marker) => {
                self.files(&target(&self.parts.uri, marker, fields)?, Update).into()
            }
            Rule::Part => match self.app.registry().db().upload(fields.text("upload")?).await? {
                Some(upload) => self.files(&ArtifactPath::parse(&upload.path)?, Update).into(),
                None => Verdict::No,
            },
            Rule::Themselves => (fields.str("username")? == self.person.name).into(),
            Rule::CreateUser => (!self.person.manages.is_empty()).into(),
            Rule::ViewUser => self.views(fields.str("username")?, None).await?.into(),
            Rule::CreateRole => self.person.manages.contains(fields.text("workspace")?).into(),
            Rule::ViewRole => match self.workspace(fields).await? {
                Some(workspace) => self.person.shares.contains(&workspace).into(),
                None => Verdict::No,
            },
            Rule::ListRoles => {
                let wanted = fields.strings("workspace")?;
                let shares = &self.person.shares;
                (!wanted.is_empty() && wanted.iter().all(|name| shares.contains(name.trim()))).into()
            }
            Rule::ManageRole => match self.workspace(fields).await? {
                Some(workspace) => self.person.manages.contains(&workspace).into(),
                None => Verdict::No,
            },
            Rule::Grant => self.grants(fields)?,
            Rule::ViewPermission => self.views(fields.str("username")?, Some(WORKSPACE)).await?.into(),
        })
    }

    /// What shows everything there is is for those from whom nothing is hidden.
    fn sees_everything(&self) -> bool {
        let held = &self.person.held;
        [
            (Resource::Experiment, Some(Resource::Run)),
            (Resource::Experiment, Some(Resource::Trace)),
            (Resource::Experiment, Some(Resource::Assessment)),
            (Resource::Experiment, Some(Resource::LoggedModel)),
            (Resource::RegisteredModel, Some(Resource::RegisteredModelVersion)),
            (Resource::Prompt, Some(Resource::PromptVersion)),
            (Resource::GatewayEndpoint, None),
        ]
        .into_iter()
        .all(|(kind, inside)| held.scope(kind, inside) == Scope::All)
    }

    /// Agreeing is for whoever sees the rollout: its plan says who may.
    fn acts(&self, action: Option<&str>) -> bool {
        self.person.held.manages_everything() || action == Some("approve") && self.sees_everything()
    }

    fn creates(&self, kind: Resource, experiment: &str) -> Result<Verdict> {
        Ok(self.person.held.meets_all(&needs::create(kind, experiment_id(experiment)?)).into())
    }

    async fn run(&self, run: &str, action: Action) -> Result<bool> {
        let found = self.access.experiment_of_run(run).await?;
        let may = |experiment| self.person.held.meets_all(&needs::inside(action, Resource::Run, experiment));
        Ok(found.is_some_and(may))
    }

    async fn runs(&self, runs: &[String]) -> Result<bool> {
        for run in runs {
            if !self.run(run, Action::Read).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Files of a run are where its artifacts are said to be, which may belong to others.
    async fn run_files(&self, run: &str, action: Action) -> Result<bool> {
        let root = there(self.app.registry().run_artifact_uri(run).await)?;
        Ok(self.run(run, action).await? && self.root(root.as_deref(), action)?)
    }

    fn root(&self, uri: Option<&str>, action: Action) -> Result<bool> {
        let Some(uri) = uri else { return Ok(false) };
        Ok(match Place::of(uri)? {
            Place::Proxy(path) => self.files(&path, action),
            Place::Local(_) | Place::Elsewhere(_) => true,
        })
    }

    async fn logged_model(&self, model: &str, action: Action) -> Result<bool> {
        let found = self.app.registry().db().logged_model_experiment(model).await?;
        let kind = Resource::LoggedModel;
        let may = |experiment| self.person.held.meets_all(&needs::inside(action, kind, experiment));
        Ok(found.is_some_and(may))
    }

    /// Whether all logged models may be changed; empty identifiers name none.
    async fn logged_models(&self, models: &[&str]) -> Result<bool> {
        for model in models.iter().filter(|model| !model.is_empty()) {
            if !self.logged_model(model, Action::Update).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn models_of(&self, messages: &[Fields]) -> Result<bool> {
        let mut ids =
            messages.iter().map(|message| message.any_text("model_id")).collect::<Result<Vec<_>>>()?;
        ids.sort_unstable();
        ids.dedup();
        self.logged_models(&ids).await
    }

    /// Searches that name experiments go on with those that may be looked at.
    fn keep_visible(&self, fields: &mut Fields, inside: Resource) -> Result<()> {
        let scope = self.person.held.scope(Resource::Experiment, Some(inside));
        let given = fields.strings("experiment_ids")?;
        let seen = |id: &String| experiment_id(id).map_or(true, |number| scope.shows(&number.to_string()));
        let kept = given.into_iter().filter(seen).collect();
        if fields.get("experiment_ids").is_some() {
            fields.set_strings("experiment_ids", kept);
        }
        Ok(())
    }

    /// Whether a registered model is one or a prompt; nothing where there is none.
    async fn kind(&self, name: &str) -> Result<Option<Resource>> {
        let found = self.app.registry().is_prompt_named(name).await?;
        Ok(found.map(Resource::of_model))
    }

    /// Whether this may be done with a registered model, and this with its versions; these must at least not be denied.
    async fn versions(&self, name: &str, model: Action, versions: Option<Action>) -> Result<bool> {
        let Some(kind) = self.kind(name).await? else { return Ok(false) };
        let inside = match versions {
            Some(action) => Need::to_any(action, versions_of(kind)).or(action, kind, name),
            None => Need::to_any(Action::NotDenied, versions_of(kind)),
        };
        Ok(self.person.held.meets_all(&[Need::to(model, kind, name), inside]))
    }

    /// A version lets everybody who may look at the model read files, so its maker must be allowed to.
    async fn creates_version(&self, fields: &Fields) -> Result<bool> {
        let held = &self.person.held;
        let name = fields.text("name")?;
        let Some(kind) = self.kind(name).await? else { return Ok(false) };
        let prompt = is_prompt(&pairs(fields, "tags")?);
        let asserted = if prompt { Resource::PromptVersion } else { versions_of(kind) };
        let mut may = held.meets_all(&[
            Need::to(Action::Update, kind, name),
            Need::to_any(Action::NotDenied, versions_of(kind)),
            Need::to_any(Action::NotDenied, asserted),
        ]);
        let source = fields.any_text("source")?;
        if let Some(other) = model_of_source(source) {
            // What is copied of a registered model is what it shows already.
            return Ok(may && self.versions(&other, Action::Read, None).await?);
        }
        if let Some(run) = fields.opt_str("run_id")? {
            may = may && (run.is_empty() || self.run(run, Action::Read).await?);
        }
        if let Some(model) = fields.opt_str("model_id")? {
            may = may && (model.is_empty() || self.logged_model(model, Action::Read).await?);
        }
        if !may {
            return Ok(false);
        }
        match there(self.app.registry().artifact_place(source).await) {
            Ok(Some(Place::Proxy(path))) => Ok(self.files(&path, Action::Read)),
            Ok(Some(Place::Local(_) | Place::Elsewhere(_))) => Ok(true),
            Ok(None) => Ok(false),
            Err(error) if error.code == Code::InvalidParameterValue => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn starts_trace(&self, fields: &Fields) -> Result<Verdict> {
        let trace = fields.message("trace")?.ok_or_else(|| fields.missing("trace"))?;
        let info = trace.message("trace_info")?.ok_or_else(|| trace.missing("trace_info"))?;
        let place = info.message("trace_location")?;
        let place = place.as_ref().map(|place| place.message("mlflow_experiment")).transpose()?.flatten();
        let Some(place) = place else { return Ok(Verdict::No) };
        let assessed =
            info.get("assessments").is_some_and(|list| !list.as_array().is_some_and(Vec::is_empty));
        let held = &self.person.held;
        if assessed && withhold::is_denied(held, Resource::Assessment) {
            return Ok(Verdict::No);
        }
        self.creates(Resource::Trace, place.str("experiment_id")?)
    }

    async fn experiment_of_trace(&self, trace: &str) -> Result<Option<i64>> {
        Ok(there(self.app.registry().trace_info(trace).await)?.map(|info| info.experiment))
    }

    async fn trace(&self, trace: &str, action: Action) -> Result<bool> {
        let found = self.experiment_of_trace(trace).await?;
        Ok(found.is_some_and(|experiment| self.in_traces(action, experiment)))
    }

    /// Assessments that are denied are left out of the answer.
    fn in_traces(&self, action: Action, experiment: i64) -> bool {
        self.person.held.meets_all(&needs::inside(action, Resource::Trace, experiment))
    }

    async fn traces(&self, traces: &[String]) -> Result<bool> {
        let found = self.app.registry().trace_infos(traces, None).await?;
        let found: HashMap<&str, i64> =
            found.iter().map(|info| (info.id.as_str(), info.experiment)).collect();
        let may = |experiment: &i64| self.in_traces(Action::Read, *experiment);
        Ok(traces.iter().all(|trace| found.get(trace.as_str()).is_some_and(may)))
    }

    /// Traces are searched in experiments whose traces may be read, all of them.
    fn all_traces_of(&self, experiments: &[i64]) -> bool {
        !experiments.is_empty() && experiments.iter().all(|id| self.in_traces(Action::Read, *id))
    }

    /// Whether a filter goes by runs although all of them are denied: what it finds would tell of each whether it is meant.
    fn selects_denied_runs(&self, fields: &Fields, name: &str) -> Result<bool> {
        let denied = withhold::is_denied(&self.person.held, Resource::Run);
        Ok(denied && fields.any_text("filter")?.contains(name))
    }

    /// A filter and an order by what traces say of their runs or logged models tell of these, so they must be readable as well; what
    /// goes by assessments, as some charts do, tells of those.
    fn may_select_traces(&self, fields: &Fields, experiments: &[i64]) -> Result<bool> {
        let mut asked = fields.strings("order_by")?;
        asked.extend(fields.strings("filters")?);
        asked.push(fields.any_text("filter")?.to_owned());
        let names = |name: &str| asked.iter().any(|text| text.contains(name));
        let by_assessments = fields.any_text("metric_name")?.starts_with("assessment_")
            || ["assessment", "expectation", "feedback", "issue"]
                .into_iter()
                .any(|kind| names(&format!("{kind}.")) || names(&format!("{kind}`.")));
        if by_assessments && withhold::is_denied(&self.person.held, Resource::Assessment) {
            return Ok(false);
        }
        let mut kinds = Vec::new();
        if names("run_id") || names(withhold::RUN) {
            kinds.push(Resource::Run);
        }
        if names(withhold::LOGGED_MODEL) {
            kinds.push(Resource::LoggedModel);
        }
        let reads = |kind: Resource, experiment: &i64| {
            let experiment = experiment.to_string();
            let need = Need::to_any(Action::Read, kind).or(Action::Read, Resource::Experiment, experiment);
            self.person.held.meets(&need)
        };
        Ok(kinds.into_iter().all(|kind| experiments.iter().all(|experiment| reads(kind, experiment))))
    }

    async fn trace_file(&self, trace: &str) -> Result<bool> {
        let Some(info) = there(self.app.registry().trace_info(trace).await)? else { return Ok(false) };
        let root = info.tags.iter().find(|tag| tag.key == ARTIFACTS_TAG).map(|tag| tag.value.as_str());
        let root = root.map_or(Ok(true), |root| self.root(Some(root), Action::Read))?;
        Ok(root && self.in_traces(Action::Read, info.experiment))
    }

    /// Either the experiment or its traces let somebody say something of a trace.
    async fn assesses(&self, trace: &str) -> Result<bool> {
        let Some(experiment) = self.experiment_of_trace(trace).await? else { return Ok(false) };
        let held = &self.person.held;
        let writes = held.meets(&needs::experiment(Action::Update, experiment))
            || held.meets(&Need::to_any(Action::Update, Resource::Trace));
        Ok(writes
            && held.meets_all(&needs::inside(Action::Read, Resource::Trace, experiment))
            && !withhold::is_denied(held, Resource::Assessment))
    }

    /// Spans say their experiment, and may say a run, in headers.
    async fn spans(&self) -> Result<Verdict> {
        let text = |name| self.parts.headers.get(name).and_then(|value| value.to_str().ok());
        let Some(experiment) = text(crate::otlp::EXPERIMENT) else { return Ok(Verdict::Yes) };
        let run = match text(crate::otlp::RUN).filter(|run| !run.is_empty()) {
            Some(run) => self.run(run, Action::Update).await?,
            None => true,
        };
        if run { self.creates(Resource::Trace, experiment) } else { Ok(Verdict::No) }
    }

    async fn dataset(&self, dataset: &str, action: Action) -> Result<bool> {
        let found = there(self.app.registry().evaluation_experiments(dataset).await)?;
        Ok(found.is_some_and(|ids| self.all_of(&ids, action)))
    }

    /// All of some experiments, of which there must be one.
    fn all_of(&self, experiments: &[i64], action: Action) -> bool {
        let held = &self.person.held;
        !experiments.is_empty() && experiments.iter().all(|id| held.meets(&needs::experiment(action, *id)))
    }

    /// Artifacts lie below the number of their experiment: those of a run, of logged models, of traces. What is deleted is deleted with
    /// all that is below it.
    fn files(&self, path: &ArtifactPath, action: Action) -> bool {
        let held = &self.person.held;
        let mut names = path.as_str().split('/').filter(|name| !name.is_empty());
        let experiment = names.next().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(experiment) = experiment else {
            // Of no experiment: what everybody may do, and who looks after all.
            return held.manages_everything() || self.access.default_permission().allows(action);
        };
        let whole = action == Action::Manage;
        let names: Vec<&str> = names.collect();
        let kinds: &[Resource] = match names.as_slice() {
            [] if whole => &[Resource::Run, Resource::Trace, Resource::LoggedModel],
            ["models", ..] => &[Resource::LoggedModel],
            ["traces", ..] => &[Resource::Trace],
            [first, ..] if whole || is_run(first) || names.get(1) == Some(&"artifacts") => &[Resource::Run],
            _ => &[],
        };
        if kinds.is_empty() {
            return held.meets(&Need::to(action, Resource::Experiment, experiment));
        }
        held.meets(&Need::to(Action::Read, Resource::Experiment, experiment))
            && kinds.iter().all(|kind| {
                held.meets(&Need::to_any(action, *kind).or(action, Resource::Experiment, experiment))
            })
    }

    /// Whether somebody may look at a user: it is themselves, or they look after a workspace of theirs.
    async fn views(&self, name: &str, workspace: Option<&str>) -> Result<bool> {
        if name == self.person.name {
            return Ok(true);
        }
        let Some(other) = self.access.person(name).await? else { return Ok(false) };
        let manages = &self.person.manages;
        Ok(match workspace {
            Some(workspace) => manages.contains(workspace),
            None => other.present.iter().any(|workspace| manages.contains(workspace)),
        })
    }

    /// The workspace of the role that a request is about; nothing where there is no such role.
    async fn workspace(&self, fields: &Fields) -> Result<Option<String>> {
        let role = match (fields.opt_int("role_id")?, fields.opt_int("role_permission_id")?) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("Give either role_id or role_permission_id, not both."));
            }
            (Some(role), None) => Some(role),
            (None, Some(grant)) => there(self.access.permission(grant).await)?.map(|grant| grant.role),
            (None, None) => return Err(fields.missing("role_id")),
        };
        let Some(role) = role else { return Ok(None) };
        Ok(there(self.access.role(role).await)?.map(|role| role.workspace))
    }

    /// Who manages a thing says who may do what with it.
    fn grants(&self, fields: &Fields) -> Result<Verdict> {
        let (kind, id) = (fields.str("resource_type")?, fields.str("resource_id")?);
        let held = &self.person.held;
        // A kind that is not known is told by the handler, which does nothing then.
        let Some(kind) = Resource::from_word(kind).filter(|kind| *kind != Resource::Workspace) else {
            return Ok(Verdict::Yes);
        };
        if id == EVERY {
            return Ok(self.person.manages.contains(WORKSPACE).into());
        }
        Ok(held.on(kind, id).allows(Action::Manage).into())
    }
}

/// Whether a folder among the artifacts of an experiment is that of a run.
pub(super) fn is_run(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The experiments of a request.
fn experiments(fields: &Fields) -> Result<Vec<i64>> {
    fields.strings("experiment_ids")?.iter().map(|id| experiment_id(id)).collect()
}

fn versions_of(kind: Resource) -> Resource {
    if kind == Resource::Prompt { Resource::PromptVersion } else { Resource::RegisteredModelVersion }
}
