//! MLflow's SQLite database, read only. Tables and columns are asked for first: they differ between MLflow's versions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tidemill_db::tracking::{InputDataset, KeyValue, ModelOutput, RunStatus};

use super::local;
use super::source::{
    Behind, Source, SourceExperiment, SourceFile, SourceLoggedModel, SourceModel, SourceModelPoint,
    SourcePoint, SourceRun, SourceVersion,
};
use crate::artifacts::ArtifactWriter;
use crate::{Code, Error, Result};

/// A database of MLflow's SQL store.
pub struct Database {
    pool: SqlitePool,
    path: PathBuf,
    /// Where `mlflow-artifacts:` addresses are on this machine, where the user said so.
    artifacts: Option<PathBuf>,
    columns: HashMap<String, BTreeSet<String>>,
}

impl Database {
    /// Opens the file `path` for reading. `artifacts` is the folder behind the server's artifact proxy, which
    /// `mlflow server` calls `--artifacts-destination`.
    pub async fn open(path: &Path, artifacts: Option<PathBuf>) -> Result<Self> {
        if !path.is_file() {
            return Err(Error::invalid(format!("there is no file `{}`", path.display())));
        }
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(|error| Error::invalid(format!("cannot open `{}`: {error}", path.display())))?;
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'",
        )
        .fetch_all(&pool)
        .await
        .map_err(|error| Error::invalid(format!("`{}` is not a SQLite database: {error}", path.display())))?;
        let mut columns: HashMap<String, BTreeSet<String>> = HashMap::new();
        for (table, column) in rows {
            columns.entry(table).or_default().insert(column);
        }
        for table in ["experiments", "runs", "metrics", "params", "tags"] {
            if !columns.contains_key(table) {
                return Err(Error::invalid(format!(
                    "`{}` is not a database of MLflow: it has no table `{table}`",
                    path.display()
                )));
            }
        }
        Ok(Self { pool, path: path.to_owned(), artifacts, columns })
    }

    fn has(&self, table: &str, column: &str) -> bool {
        self.columns.get(table).is_some_and(|columns| columns.contains(column))
    }

    /// `column` where the table has it, else `NULL`.
    fn column(&self, table: &str, column: &'static str) -> &'static str {
        if self.has(table, column) { column } else { "NULL" }
    }

    fn fail(&self) -> impl Fn(sqlx::Error) -> Error {
        let path = self.path.display().to_string();
        move |error| Error::invalid(format!("cannot read `{path}`: {error}"))
    }

    /// Pairs of one owner from a table of tags or parameters; none where there is no such table.
    async fn pairs(
        &self,
        table: &'static str,
        columns: (&'static str, &'static str),
        owner: &'static str,
        id: &str,
    ) -> Result<Vec<KeyValue>> {
        if !self.columns.contains_key(table) {
            return Ok(Vec::new());
        }
        let (key, value) = columns;
        let sql = pairs_of(table, key, value, owner);
        let rows: Vec<(String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(id)
            .fetch_all(&self.pool)
            .await
            .map_err(self.fail())?;
        Ok(rows.into_iter().map(|(key, value)| KeyValue { key, value }).collect())
    }

    async fn inputs(&self, run: &mut SourceRun, experiment: &str) -> Result<()> {
        type Row = (String, String, String, Option<String>, Option<String>, Option<String>, Option<String>);
        if !self.columns.contains_key("inputs") || !self.columns.contains_key("datasets") {
            return Ok(());
        }
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT i.input_uuid, d.name, d.digest, d.dataset_source_type, d.dataset_source, d.dataset_schema,
                d.dataset_profile
            FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id
            WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = $1
                AND d.experiment_id = $2 ORDER BY d.name, d.digest",
        )
        .bind(&run.id)
        .bind(experiment)
        .fetch_all(&self.pool)
        .await
        .map_err(self.fail())?;
        for (input, name, digest, source_type, source, schema, profile) in rows {
            let tags = self.pairs("input_tags", ("name", "value"), "input_uuid", &input).await?;
            run.datasets.push(InputDataset {
                name,
                digest,
                source_type: source_type.unwrap_or_default(),
                source: source.unwrap_or_default(),
                schema,
                profile,
                tags,
            });
        }
        let step = if self.has("inputs", "step") { "step" } else { "0" };
        let sql = format!(
            "SELECT source_type, destination_type, destination_id, {step} FROM inputs
            WHERE source_id = $1 AND source_type IN ('RUN_OUTPUT', 'RUN_INPUT') ORDER BY rowid"
        );
        let links: Vec<(String, String, String, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(&run.id)
            .fetch_all(&self.pool)
            .await
            .map_err(self.fail())?;
        for (kind, to, model_id, step) in links {
            match (kind.as_str(), to.as_str()) {
                ("RUN_OUTPUT", "MODEL_OUTPUT") => run.model_outputs.push(ModelOutput { model_id, step }),
                ("RUN_INPUT", "MODEL_INPUT") => run.model_inputs.push(model_id),
                _ => {}
            }
        }
        Ok(())
    }

    /// The folder on this machine behind an address.
    fn place_of(&self, uri: &str) -> Option<PathBuf> {
        if let Some(rest) = uri.strip_prefix("mlflow-artifacts:") {
            // `mlflow-artifacts:/path` and `mlflow-artifacts://host:port/path`.
            let path = match rest.strip_prefix("//") {
                Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
                None => rest.trim_start_matches('/'),
            };
            return self.artifacts.as_ref().map(|folder| folder.join(path));
        }
        let folder = local::folder(uri)?;
        if folder.is_absolute() {
            return Some(folder);
        }
        // A relative path is relative to where the server ran, most often beside its database.
        Some(self.path.parent().unwrap_or(Path::new("")).join(folder))
    }
}

#[async_trait]
impl Source for Database {
    fn place(&self) -> String {
        format!("sqlite:///{}", self.path.display())
    }

    async fn experiments(&self) -> Result<Vec<SourceExperiment>> {
        type Row = (i64, String, Option<String>, Option<i64>, Option<i64>);
        let sql = format!(
            "SELECT experiment_id, name, lifecycle_stage, {}, {} FROM experiments ORDER BY experiment_id",
            self.column("experiments", "creation_time"),
            self.column("experiments", "last_update_time"),
        );
        let rows: Vec<Row> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await.map_err(self.fail())?;
        let mut experiments = Vec::with_capacity(rows.len());
        for (id, name, stage, created, updated) in rows {
            let id = id.to_string();
            let tags = self.pairs("experiment_tags", ("key", "value"), "experiment_id", &id).await?;
            experiments.push(SourceExperiment {
                id,
                name,
                deleted: stage.as_deref() == Some("deleted"),
                created_at: created.unwrap_or_default(),
                updated_at: updated.or(created).unwrap_or_default(),
                tags,
            });
        }
        Ok(experiments)
    }

    async fn runs(&self, experiment: &SourceExperiment) -> Result<Vec<String>> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT run_uuid FROM runs WHERE experiment_id = $1 ORDER BY start_time, run_uuid",
        )
        .bind(&experiment.id)
        .fetch_all(&self.pool)
        .await
        .map_err(self.fail())?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    async fn run(&self, experiment: &SourceExperiment, id: &str) -> Result<SourceRun> {
        type Row = (
            Option<String>,
            Option<String>,
            Option<String>,
            Option<i64>,
            Option<i64>,
            Option<String>,
            Option<String>,
        );
        let row: Row = sqlx::query_as(
            "SELECT name, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri FROM runs
            WHERE run_uuid = $1",
        )
        .bind(id)
        .fetch_one(&self.pool)
        .await
        .map_err(self.fail())?;
        let (name, user, status, started_at, ended_at, stage, artifact_uri) = row;
        let tags = self.pairs("tags", ("key", "value"), "run_uuid", id).await?;
        let named = tags.iter().find(|tag| tag.key == "mlflow.runName").map(|tag| tag.value.clone());
        let keys: Vec<(String,)> =
            sqlx::query_as("SELECT DISTINCT \"key\" FROM metrics WHERE run_uuid = $1 ORDER BY 1")
                .bind(id)
                .fetch_all(&self.pool)
                .await
                .map_err(self.fail())?;
        let mut run = SourceRun {
            id: id.to_owned(),
            name: name.filter(|name| !name.is_empty()).or(named).unwrap_or_default(),
            user: user.unwrap_or_default(),
            status: status.as_deref().and_then(RunStatus::from_word).unwrap_or(RunStatus::Finished),
            deleted: stage.as_deref() == Some("deleted"),
            started_at,
            ended_at,
            artifact_uri: artifact_uri.unwrap_or_default(),
            params: self.pairs("params", ("key", "value"), "run_uuid", id).await?,
            tags,
            metrics: keys.into_iter().map(|(key,)| key).collect(),
            datasets: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
        };
        self.inputs(&mut run, &experiment.id).await?;
        Ok(run)
    }

    async fn history(&self, _: &SourceExperiment, run: &str, key: &str) -> Result<Vec<SourcePoint>> {
        let is_nan = if self.has("metrics", "is_nan") { "is_nan" } else { "0" };
        let step = if self.has("metrics", "step") { "step" } else { "0" };
        let sql = format!(
            "SELECT timestamp, CAST(value AS REAL), {step}, CAST({is_nan} AS INTEGER) FROM metrics
            WHERE run_uuid = $1 AND \"key\" = $2 ORDER BY timestamp, step"
        );
        let rows: Vec<(i64, f64, i64, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(run)
            .bind(key)
            .fetch_all(&self.pool)
            .await
            .map_err(self.fail())?;
        let point = |(at, value, step, is_nan)| {
            let value = if is_nan == 1 { f64::NAN } else { finite(value) };
            SourcePoint { at, value, step }
        };
        Ok(rows.into_iter().map(point).collect())
    }

    async fn logged_models(&self, experiment: &SourceExperiment) -> Result<Vec<SourceLoggedModel>> {
        type Row = (String, String, Option<String>, i64, Option<String>, String, i64, i64);
        if !self.columns.contains_key("logged_models") {
            return Ok(Vec::new());
        }
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT model_id, name, model_type, status, source_run_id, artifact_location, creation_timestamp_ms,
                last_updated_timestamp_ms
            FROM logged_models WHERE experiment_id = $1 AND lifecycle_stage <> 'deleted'
            ORDER BY creation_timestamp_ms, model_id",
        )
        .bind(&experiment.id)
        .fetch_all(&self.pool)
        .await
        .map_err(self.fail())?;
        let mut models = Vec::with_capacity(rows.len());
        for (id, name, model_type, status, source_run, artifact_uri, created_at, updated_at) in rows {
            let status = usize::try_from(status)
                .ok()
                .and_then(|status| super::MODEL_STATUS.get(status.checked_sub(1)?));
            let params =
                self.pairs("logged_model_params", ("param_key", "param_value"), "model_id", &id).await?;
            let tags = self.pairs("logged_model_tags", ("tag_key", "tag_value"), "model_id", &id).await?;
            models.push(SourceLoggedModel {
                id,
                name,
                model_type: model_type.unwrap_or_default(),
                status: (*status.unwrap_or(&super::MODEL_STATUS[1])).to_owned(),
                source_run,
                artifact_uri,
                created_at,
                updated_at,
                params,
                tags,
            });
        }
        Ok(models)
    }

    async fn model_points(&self, _: &SourceExperiment, model: &str) -> Result<Vec<SourceModelPoint>> {
        type Row = (String, i64, i64, Option<f64>, Option<String>, Option<String>, Option<String>);
        if !self.columns.contains_key("logged_model_metrics") {
            return Ok(Vec::new());
        }
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT metric_name, metric_timestamp_ms, metric_step, CAST(metric_value AS REAL), run_id, dataset_name,
                dataset_digest
            FROM logged_model_metrics WHERE model_id = $1",
        )
        .bind(model)
        .fetch_all(&self.pool)
        .await
        .map_err(self.fail())?;
        let point = |(key, at, step, value, run, dataset_name, dataset_digest): Row| SourceModelPoint {
            key,
            point: SourcePoint { at, value: value.map_or(f64::NAN, finite), step },
            run,
            dataset_name,
            dataset_digest,
        };
        Ok(rows.into_iter().map(point).collect())
    }

    async fn models(&self) -> Result<Vec<SourceModel>> {
        type ModelRow = (String, Option<i64>, Option<String>);
        type VersionRow = (
            String,
            i64,
            Option<i64>,
            Option<String>,
            Option<String>,
            Option<String>,
            Option<String>,
            Option<String>,
        );
        if !self.columns.contains_key("registered_models") {
            return Ok(Vec::new());
        }
        let rows: Vec<ModelRow> =
            sqlx::query_as("SELECT name, creation_time, description FROM registered_models ORDER BY name")
                .fetch_all(&self.pool)
                .await
                .map_err(self.fail())?;
        let sql = format!(
            "SELECT name, version, creation_time, description, current_stage, source, run_id, {}
            FROM model_versions WHERE current_stage <> 'Deleted_Internal' ORDER BY name, version",
            self.column("model_versions", "storage_location"),
        );
        let versions: Vec<VersionRow> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await.map_err(self.fail())?;
        let mut by_model: BTreeMap<String, Vec<SourceVersion>> = BTreeMap::new();
        for (name, number, created, description, stage, source, run, storage) in versions {
            let tags = self.version_tags(&name, number).await?;
            by_model.entry(name).or_default().push(SourceVersion {
                number: number.unsigned_abs(),
                created_at: created.unwrap_or_default(),
                description: description.unwrap_or_default(),
                stage: stage.unwrap_or_else(|| "None".to_owned()),
                source: source.unwrap_or_default(),
                storage,
                run: run.filter(|run| !run.is_empty()),
                tags,
            });
        }
        let mut models = Vec::with_capacity(rows.len());
        for (name, created, description) in rows {
            let tags = self.pairs("registered_model_tags", ("key", "value"), "name", &name).await?;
            let aliases = self.aliases(&name).await?;
            models.push(SourceModel {
                description: description.unwrap_or_default(),
                created_at: created.unwrap_or_default(),
                tags,
                aliases,
                versions: by_model.remove(&name).unwrap_or_default(),
                name,
            });
        }
        Ok(models)
    }

    async fn files(&self, uri: &str) -> Result<Option<Vec<SourceFile>>> {
        match self.place_of(uri) {
            Some(folder) => local::files(&folder).map(Some),
            None => Ok(None),
        }
    }

    async fn behind(&self, _: &[SourceExperiment]) -> Result<Behind> {
        let mut counts = [0, 0];
        for (count, table) in counts.iter_mut().zip(["trace_info", "evaluation_datasets"]) {
            if !self.columns.contains_key(table) {
                continue;
            }
            let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
            let found: i64 = sqlx::query_scalar(sql).fetch_one(&self.pool).await.map_err(self.fail())?;
            *count = found.unsigned_abs();
        }
        let [traces, evaluation_datasets] = counts;
        Ok(Behind { traces, evaluation_datasets })
    }

    async fn fetch(&self, uri: &str, file: &SourceFile, into: &mut ArtifactWriter) -> Result<()> {
        let folder = self
            .place_of(uri)
            .ok_or_else(|| Error::new(Code::InternalError, format!("`{uri}` is not on this machine")))?;
        local::copy(&folder, file, into).await
    }
}

/// The pairs of one owner. Every part of the text is a constant of this file. The column of the owner is compared as it is:
/// SQLite makes the text a number where the column holds such, and anything around the column would keep it from its
/// index.
fn pairs_of(table: &str, key: &str, value: &str, owner: &str) -> String {
    format!("SELECT \"{key}\", COALESCE(\"{value}\", '') FROM \"{table}\" WHERE {owner} = $1 ORDER BY 1")
}

/// MLflow stores infinities as the greatest finite numbers.
fn finite(stored: f64) -> f64 {
    match stored {
        f64::MAX => f64::INFINITY,
        f64::MIN => f64::NEG_INFINITY,
        value => value,
    }
}

impl Database {
    async fn version_tags(&self, name: &str, version: i64) -> Result<Vec<KeyValue>> {
        if !self.columns.contains_key("model_version_tags") {
            return Ok(Vec::new());
        }
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT \"key\", COALESCE(value, '') FROM model_version_tags WHERE name = $1 AND version = $2 ORDER BY 1",
        )
        .bind(name)
        .bind(version)
        .fetch_all(&self.pool)
        .await
        .map_err(self.fail())?;
        Ok(rows.into_iter().map(|(key, value)| KeyValue { key, value }).collect())
    }

    async fn aliases(&self, name: &str) -> Result<Vec<(String, u64)>> {
        if !self.columns.contains_key("registered_model_aliases") {
            return Ok(Vec::new());
        }
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT alias, version FROM registered_model_aliases WHERE name = $1 ORDER BY alias",
        )
        .bind(name)
        .fetch_all(&self.pool)
        .await
        .map_err(self.fail())?;
        Ok(rows.into_iter().map(|(alias, version)| (alias, version.unsigned_abs())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An import looks up the pairs of every run: a scan of the table for each would take hours.
    #[tokio::test]
    async fn pairs_are_found_by_an_index() {
        let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        // As MLflow makes them, with what counts here.
        for sql in [
            "CREATE TABLE params (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32), PRIMARY KEY (key, run_uuid))",
            "CREATE INDEX index_params_run_uuid ON params (run_uuid)",
            "CREATE TABLE experiment_tags (key VARCHAR(250), value VARCHAR(5000), experiment_id INTEGER,
                PRIMARY KEY (key, experiment_id))",
            "CREATE INDEX by_experiment ON experiment_tags (experiment_id)",
            "INSERT INTO experiment_tags VALUES ('k', 'v', 12)",
        ] {
            sqlx::query(sql).execute(&pool).await.unwrap();
        }
        for (table, owner) in [("params", "run_uuid"), ("experiment_tags", "experiment_id")] {
            let sql = format!("EXPLAIN QUERY PLAN {}", pairs_of(table, "key", "value", owner));
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind("12").fetch_all(&pool).await.unwrap();
            let text: String = plan.into_iter().map(|(_, _, _, detail)| detail).collect();
            assert!(text.contains("SEARCH") && text.contains(owner), "{text}");
        }
        let sql = pairs_of("experiment_tags", "key", "value", "experiment_id");
        let found: Vec<(String, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind("12").fetch_all(&pool).await.unwrap();
        assert_eq!(found, [("k".to_owned(), "v".to_owned())]);
    }
}
