//! Registered models, their versions, and where aliases pointed over time.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_db::models::{AliasMove, ModelVersion as StoredVersion, RegisteredModel};
use utoipa::{IntoParams, ToSchema};

use super::envelope::{One, OneAnswer, Page, PageAnswer, Path, Query, Time, one};
use super::experiments::map;
use super::pages::{ByName, ByNumber};
use super::{Failures, Problem};
use crate::App;

/// A name for versions of a model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Model {
    /// Its name.
    name: String,
    /// What it is, in people's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// When it was made.
    created_at: Time,
    /// When it or one of its versions was last changed.
    updated_at: Time,
    tags: BTreeMap<String, String>,
    /// Which version each alias points at.
    aliases: BTreeMap<String, u64>,
    /// The number of the newest version.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_version: Option<u64>,
}

/// One version of a registered model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelVersion {
    /// The model.
    model: String,
    /// From 1; numbers of deleted versions are not used again.
    #[schema(minimum = 1)]
    version: u64,
    /// Where it stands.
    #[schema(pattern = "^(None|Staging|Production|Archived)$")]
    stage: &'static str,
    /// What it is, in people's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Where it came from, as the client gave it.
    source: String,
    /// The run that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    /// The logged model that it is a version of.
    #[serde(skip_serializing_if = "Option::is_none")]
    logged_model_id: Option<String>,
    /// Digest of its files, where they are in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// When it was made.
    created_at: Time,
    /// When it was last changed.
    updated_at: Time,
    tags: BTreeMap<String, String>,
    /// Aliases that point at it.
    aliases: Vec<String>,
}

/// Where an alias points, or pointed, and how it came there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alias {
    /// The model.
    model: String,
    /// For example `champion`.
    alias: String,
    /// The version at that time; missing where it pointed nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// Every move, oldest first.
    history: Vec<Move>,
}

/// An alias was pointed at a version, moved, or removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Move {
    /// The event in the log.
    #[schema(minimum = 1)]
    seq: u64,
    /// When.
    at: Time,
    /// Who did it, for example `user:ada`.
    by: String,
    /// The version before.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    /// The version after.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
}

impl From<RegisteredModel> for Model {
    fn from(model: RegisteredModel) -> Self {
        Self {
            name: model.name,
            description: model.description,
            created_at: Time(model.created_at),
            updated_at: Time(model.updated_at),
            tags: map(model.tags),
            aliases: model.aliases.into_iter().map(|alias| (alias.alias, alias.version)).collect(),
            latest_version: model.latest.iter().map(|version| version.version).max(),
        }
    }
}

impl From<StoredVersion> for ModelVersion {
    fn from(version: StoredVersion) -> Self {
        Self {
            model: version.model,
            version: version.version,
            stage: version.stage.word(),
            description: version.description,
            source: version.source,
            run_id: version.run,
            logged_model_id: version.logged_model,
            content: version.content.map(|content| content.to_string()),
            created_at: Time(version.created_at),
            updated_at: Time(version.updated_at),
            tags: map(version.tags),
            aliases: version.aliases,
        }
    }
}

impl From<AliasMove> for Move {
    fn from(one: AliasMove) -> Self {
        Self { seq: one.seq, at: Time(one.at), by: one.actor.to_string(), from: one.from, to: one.to }
    }
}

/// Registered models, by name
#[utoipa::path(get, path = "/api/v1/models", operation_id = "listModels", tag = "models", params(ByName),
    responses((status = 200, description = "A page of models", body = Page<Model>), Failures))]
pub(super) async fn list(State(app): State<App>, Query(wanted): Query<ByName>) -> PageAnswer<Model> {
    let after = wanted.cursor.as_ref().map(|text| text.0.as_str());
    let found = app.registry().db().registered_models_after(after, wanted.limit.and_one()).await?;
    Ok(Page::of(found, wanted.limit, |model| model.name.clone(), Model::from))
}

/// One registered model
#[utoipa::path(get, path = "/api/v1/models/{name}", operation_id = "getModel", tag = "models",
    params(("name" = String, Path, description = "The model", min_length = 1)),
    responses((status = 200, description = "The model", body = One<Model>), Failures))]
pub(super) async fn get(State(app): State<App>, Path(name): Path<String>) -> OneAnswer<Model> {
    one(find(&app, &name).await?.into())
}

/// Versions of a model, newest first
#[utoipa::path(get, path = "/api/v1/models/{name}/versions", operation_id = "listVersions", tag = "models",
    params(("name" = String, Path, description = "The model", min_length = 1), ByNumber),
    responses((status = 200, description = "A page of versions", body = Page<ModelVersion>), Failures))]
pub(super) async fn versions(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(wanted): Query<ByNumber>,
) -> PageAnswer<ModelVersion> {
    find(&app, &name).await?;
    let db = app.registry().db();
    let before = wanted.cursor.map(|cursor| cursor.0);
    let found = db.model_versions_before(&name, before, wanted.limit.and_one()).await?;
    Ok(Page::of(found, wanted.limit, |version| version.version.to_string(), ModelVersion::from))
}

/// One version of a model
#[utoipa::path(get, path = "/api/v1/models/{name}/versions/{version}", operation_id = "getVersion", tag = "models",
    params(("name" = String, Path, description = "The model", min_length = 1),
        ("version" = u64, Path, description = "The version", minimum = 1, maximum = 9_007_199_254_740_991_u64)),
    responses((status = 200, description = "The version", body = One<ModelVersion>), Failures))]
pub(super) async fn version(
    State(app): State<App>,
    Path((name, version)): Path<(String, u64)>,
) -> OneAnswer<ModelVersion> {
    let found = app.registry().db().model_version(known(&name)?, version).await?;
    let missing = || {
        Problem::missing(format!("there is no version {version} of a model `{name}`"))
            .hint("`/api/v1/models/{name}/versions` lists them")
    };
    one(found.ok_or_else(missing)?.into())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedTime {
    /// Where it pointed at this time; now where not given
    #[param(value_type = Option<String>, format = DateTime)]
    at: Option<Time>,
}

/// Where an alias points or pointed, with every move
///
/// The history comes from the log, so it can be asked for after the alias or the model was deleted.
#[utoipa::path(get, path = "/api/v1/models/{name}/aliases/{alias}", operation_id = "getAlias", tag = "models",
    params(("name" = String, Path, description = "The model", min_length = 1),
        ("alias" = String, Path, description = "The alias", min_length = 1), WantedTime),
    responses((status = 200, description = "The alias", body = One<Alias>), Failures))]
pub(super) async fn alias(
    State(app): State<App>,
    Path((name, alias)): Path<(String, String)>,
    Query(wanted): Query<WantedTime>,
) -> OneAnswer<Alias> {
    let db = app.registry().db();
    let history = db.alias_history(known(&name)?, &alias).await?;
    let version = match wanted.at {
        Some(Time(at)) => history.iter().rev().find(|one| one.at <= at).and_then(|one| one.to),
        None => db.registered_model(&name).await?.and_then(|model| {
            model.aliases.iter().find(|known| known.alias == alias).map(|known| known.version)
        }),
    };
    if history.is_empty() && version.is_none() {
        let message = format!("a model `{name}` never had an alias `{alias}`");
        return Err(Problem::missing(message).hint("`/api/v1/models/{name}` shows the aliases of a model"));
    }
    let history = history.into_iter().map(Move::from).collect();
    one(Alias { model: name, alias, version, history })
}

/// What no database takes is the name of nothing.
fn known(name: &str) -> Result<&str, Problem> {
    if name.contains('\0') { Err(no_model(name)) } else { Ok(name) }
}

async fn find(app: &App, name: &str) -> Result<RegisteredModel, Problem> {
    let found = app.registry().db().registered_model(known(name)?).await?;
    found.ok_or_else(|| no_model(name))
}

fn no_model(name: &str) -> Problem {
    Problem::missing(format!("there is no registered model `{name}`")).hint("`/api/v1/models` lists them")
}
