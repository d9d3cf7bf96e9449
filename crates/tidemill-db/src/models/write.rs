//! Changing models, versions, tags and aliases. Each function takes the caller's transaction, whose commit names the
//! events.

use tidemill_core::Timestamp;

use super::types::{Alias, DELETED, NewVersion, VersionStage};
use crate::backend::{Conn, on};
use crate::dialect::{self, Rows};
use crate::tracking::KeyValue;
use crate::{Error, Result, Tx};

/// What a move of an alias did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AliasChange {
    /// Where it pointed before.
    pub from: Option<u64>,
    /// Where it points now.
    pub to: Option<u64>,
}

/// A version that went to another stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// The version.
    pub version: u64,
    /// The stage before.
    pub from: VersionStage,
    /// The stage after.
    pub to: VersionStage,
}

impl Tx {
    /// Makes a model; `false` if there is one of this name. Of two tags with one key the later counts.
    pub async fn create_model(
        &mut self,
        name: &str,
        description: Option<&str>,
        tags: &[KeyValue],
        at: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "INSERT INTO registered_model (name, description, created_at, updated_at)
            VALUES ($1, $2, $3, $3) ON CONFLICT (name) DO NOTHING RETURNING id";
        const TAGS: &str =
            "INSERT INTO registered_model_tag ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
            ON CONFLICT (model_id, key) DO UPDATE SET value = excluded.value";
        let ctx = self.transact.ctx.clone();
        let id: Option<i64> = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(name).bind(description).bind(at.millis()).fetch_optional(c).await)
        .map_err(ctx.fail("create a model"))?;
        let Some(id) = id else { return Ok(false) };
        self.changed = true;
        put_tags(self.transact.conn(), TAGS, "model_id", id, tags)
            .await
            .map_err(ctx.fail("create a model"))?;
        Ok(true)
    }

    /// Gives a model another name; `false` if it is not there. Fails with [`Error::Exists`] if the name is taken.
    pub async fn rename_model(&mut self, name: &str, to: &str, at: Timestamp) -> Result<bool> {
        const SQL: &str = "UPDATE registered_model SET name = $1, updated_at = $2 WHERE id = $3";
        const VERSIONS: &str = "UPDATE model_version SET updated_at = $1 WHERE model_id = $2";
        let ctx = self.transact.ctx.clone();
        let Some(id) = self.model_id(name).await? else { return Ok(false) };
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(to).bind(at.millis()).bind(id).execute(c).await.map(drop))
        .map_err(|error| {
            if dialect::is_constraint(&error) {
                Error::Exists { what: "registered model", name: to.to_owned() }
            } else {
                ctx.fail("rename a model")(error)
            }
        })?;
        on!(self.transact.conn(), c => sqlx::query(VERSIONS).bind(at.millis()).bind(id).execute(c).await.map(drop))
            .map_err(ctx.fail("rename a model"))?;
        self.changed = true;
        Ok(true)
    }

    /// Describes a model anew; `false` if it is not there.
    pub async fn describe_model(
        &mut self,
        name: &str,
        description: Option<&str>,
        at: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE registered_model SET description = $1, updated_at = $2 WHERE name = $3";
        let ctx = self.transact.ctx.clone();
        let done = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(description).bind(at.millis()).bind(name)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("describe a model"))?;
        self.changed |= done > 0;
        Ok(done > 0)
    }

    /// Deletes a model with its versions and tags; gives the aliases that went with it, or `None` if it is not there.
    pub async fn delete_model(&mut self, name: &str) -> Result<Option<Vec<Alias>>> {
        const ALIASES: &str = "DELETE FROM model_alias WHERE model_id = $1 RETURNING alias, version";
        const SQL: &str = "DELETE FROM registered_model WHERE id = $1";
        let ctx = self.transact.ctx.clone();
        let Some(id) = self.model_id(name).await? else { return Ok(None) };
        let mut aliases: Vec<(String, i64)> =
            on!(self.transact.conn(), c => sqlx::query_as(ALIASES).bind(id).fetch_all(c).await)
                .map_err(ctx.fail("delete a model"))?;
        on!(self.transact.conn(), c => sqlx::query(SQL).bind(id).execute(c).await.map(drop))
            .map_err(ctx.fail("delete a model"))?;
        self.changed = true;
        aliases.sort();
        Ok(Some(
            aliases.into_iter().map(|(alias, version)| Alias { alias, version: version as u64 }).collect(),
        ))
    }

    /// Sets a tag of a model; says whether that changed anything, or `None` if the model is not there.
    pub async fn tag_model(&mut self, name: &str, key: &str, value: &str) -> Result<Option<bool>> {
        const SQL: &str = "INSERT INTO registered_model_tag (model_id, key, value) VALUES ($1, $2, $3)
            ON CONFLICT (model_id, key) DO UPDATE SET value = excluded.value
            WHERE registered_model_tag.value <> excluded.value";
        let Some(id) = self.model_id(name).await? else { return Ok(None) };
        self.set_tag(SQL, id, key, value).await.map(Some)
    }

    /// Removes a tag of a model; says whether it was there, or `None` if the model is not there.
    pub async fn untag_model(&mut self, name: &str, key: &str) -> Result<Option<bool>> {
        const SQL: &str = "DELETE FROM registered_model_tag WHERE model_id = $1 AND key = $2";
        let Some(id) = self.model_id(name).await? else { return Ok(None) };
        self.remove_tag(SQL, id, key).await.map(Some)
    }

    /// Adds a version to a model and gives its number: the one asked for, which must be free, or one more than any that
    /// was ever given; `None` if the model is not there.
    pub async fn put_model_version(&mut self, new: &NewVersion) -> Result<Option<u64>> {
        const TOUCH: &str = "UPDATE registered_model SET updated_at = $1 WHERE name = $2 RETURNING id";
        const SQL: &str = "INSERT INTO model_version (model_id, version, stage, description, user_name, source,
                storage_location, run_uuid, run_link, logged_model, content, status, created_at, updated_at)
            SELECT $1, COALESCE($11, MAX(version) + 1, 1), 'None', $2, $3, $4, $5, $6, $7, $8, $9, 'READY', $10, $10
            FROM model_version WHERE model_id = $1 RETURNING id, version";
        const TAGS: &str = "INSERT INTO model_version_tag ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
            ON CONFLICT (version_id, key) DO UPDATE SET value = excluded.value";
        let ctx = self.transact.ctx.clone();
        let at = new.created_at.millis();
        let model: Option<i64> = on!(self.transact.conn(), c => sqlx::query_scalar(TOUCH)
            .bind(at).bind(&new.model).fetch_optional(c).await)
        .map_err(ctx.fail("create a version"))?;
        let Some(model) = model else { return Ok(None) };
        self.changed = true;
        let content = new.content.map(|digest| digest.to_string());
        let (id, version): (i64, i64) = on!(self.transact.conn(), c => sqlx::query_as(SQL)
            .bind(model).bind(&new.description).bind(&new.user).bind(&new.source).bind(&new.storage_location)
            .bind(&new.run).bind(&new.run_link).bind(&new.logged_model).bind(&content).bind(at)
            .bind(new.number.map(|number| number as i64))
            .fetch_one(c).await)
        .map_err(ctx.fail("create a version"))?;
        put_tags(self.transact.conn(), TAGS, "version_id", id, &new.tags)
            .await
            .map_err(ctx.fail("create a version"))?;
        Ok(Some(version as u64))
    }

    /// Describes a version anew; `false` if it is not there.
    pub async fn describe_model_version(
        &mut self,
        model: &str,
        version: u64,
        description: Option<&str>,
        at: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE model_version SET description = $1, updated_at = $2 WHERE id = $3";
        let ctx = self.transact.ctx.clone();
        let Some((_, id, _)) = self.version_row(model, version).await? else { return Ok(false) };
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(description).bind(at.millis()).bind(id).execute(c).await.map(drop))
        .map_err(ctx.fail("describe a version"))?;
        self.changed = true;
        Ok(true)
    }

    /// Moves a version to a stage, and with `archive` all others of that stage to the archive; gives those that moved,
    /// or `None` if the version is not there.
    pub async fn stage_model_version(
        &mut self,
        model: &str,
        version: u64,
        stage: VersionStage,
        archive: bool,
        at: Timestamp,
    ) -> Result<Option<Vec<Staged>>> {
        const SQL: &str = "UPDATE model_version SET stage = $1, updated_at = $2 WHERE id = $3";
        const OTHERS: &str = "UPDATE model_version SET stage = $1, updated_at = $2
            WHERE model_id = $3 AND stage = $4 AND id <> $5 RETURNING version";
        const TOUCH: &str = "UPDATE registered_model SET updated_at = $1 WHERE id = $2";
        let ctx = self.transact.ctx.clone();
        let Some((owner, id, from)) = self.version_row(model, version).await? else { return Ok(None) };
        let mut moved = Vec::new();
        if archive {
            let archived = VersionStage::Archived;
            let others: Vec<i64> = on!(self.transact.conn(), c => sqlx::query_scalar(OTHERS)
                .bind(archived.word()).bind(at.millis()).bind(owner).bind(stage.word()).bind(id)
                .fetch_all(c).await)
            .map_err(ctx.fail("move versions"))?;
            moved.extend(others.iter().map(|version| Staged {
                version: *version as u64,
                from: stage,
                to: archived,
            }));
            moved.sort_by_key(|moved| moved.version);
        }
        if from != stage {
            moved.push(Staged { version, from, to: stage });
        }
        // Asked for the stage where it is, the version is marked as changed all the same, as MLflow does.
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(stage.word()).bind(at.millis()).bind(id).execute(c).await.map(drop))
        .map_err(ctx.fail("move a version"))?;
        on!(self.transact.conn(), c => sqlx::query(TOUCH).bind(at.millis()).bind(owner).execute(c).await.map(drop))
            .map_err(ctx.fail("move a version"))?;
        self.changed |= !moved.is_empty();
        Ok(Some(moved))
    }

    /// Deletes a version: its row stays without what it said. Gives the aliases that pointed at it, or `None` if it is
    /// not there.
    pub async fn delete_model_version(
        &mut self,
        model: &str,
        version: u64,
        at: Timestamp,
    ) -> Result<Option<Vec<String>>> {
        const SQL: &str = "UPDATE model_version SET stage = $1, updated_at = $2, description = NULL,
                user_name = NULL, source = 'REDACTED-SOURCE-PATH', storage_location = NULL,
                run_uuid = 'REDACTED-RUN-ID', run_link = 'REDACTED-RUN-LINK', logged_model = NULL, content = NULL,
                status_message = NULL WHERE id = $3";
        const TAGS: &str = "DELETE FROM model_version_tag WHERE version_id = $1";
        const ALIASES: &str = "DELETE FROM model_alias WHERE model_id = $1 AND version = $2 RETURNING alias";
        const TOUCH: &str = "UPDATE registered_model SET updated_at = $1 WHERE id = $2";
        let ctx = self.transact.ctx.clone();
        let fail = || ctx.fail("delete a version");
        let Some((owner, id, _)) = self.version_row(model, version).await? else { return Ok(None) };
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(DELETED).bind(at.millis()).bind(id).execute(c).await.map(drop))
        .map_err(fail())?;
        on!(self.transact.conn(), c => sqlx::query(TAGS).bind(id).execute(c).await.map(drop))
            .map_err(fail())?;
        let mut aliases: Vec<String> = on!(self.transact.conn(), c => sqlx::query_scalar(ALIASES)
            .bind(owner).bind(version as i64).fetch_all(c).await)
        .map_err(fail())?;
        on!(self.transact.conn(), c => sqlx::query(TOUCH).bind(at.millis()).bind(owner).execute(c).await.map(drop))
            .map_err(fail())?;
        self.changed = true;
        aliases.sort();
        Ok(Some(aliases))
    }

    /// Sets a tag of a version; says whether that changed anything, or `None` if the version is not there.
    pub async fn tag_model_version(
        &mut self,
        model: &str,
        version: u64,
        key: &str,
        value: &str,
    ) -> Result<Option<bool>> {
        const SQL: &str = "INSERT INTO model_version_tag (version_id, key, value) VALUES ($1, $2, $3)
            ON CONFLICT (version_id, key) DO UPDATE SET value = excluded.value
            WHERE model_version_tag.value <> excluded.value";
        let Some((_, id, _)) = self.version_row(model, version).await? else { return Ok(None) };
        self.set_tag(SQL, id, key, value).await.map(Some)
    }

    /// Removes a tag of a version; says whether it was there, or `None` if the version is not there.
    pub async fn untag_model_version(
        &mut self,
        model: &str,
        version: u64,
        key: &str,
    ) -> Result<Option<bool>> {
        const SQL: &str = "DELETE FROM model_version_tag WHERE version_id = $1 AND key = $2";
        let Some((_, id, _)) = self.version_row(model, version).await? else { return Ok(None) };
        self.remove_tag(SQL, id, key).await.map(Some)
    }

    /// Points an alias at a version; `None` if the version is not there. Nothing is written if it points there.
    pub async fn set_alias(&mut self, model: &str, alias: &str, version: u64) -> Result<Option<AliasChange>> {
        const SQL: &str = "INSERT INTO model_alias (model_id, alias, version) VALUES ($1, $2, $3)
            ON CONFLICT (model_id, alias) DO UPDATE SET version = excluded.version";
        let ctx = self.transact.ctx.clone();
        let Some((owner, _, _)) = self.version_row(model, version).await? else { return Ok(None) };
        let from = self.alias_target(owner, alias).await?;
        if from != Some(version) {
            on!(self.transact.conn(), c => sqlx::query(SQL)
                .bind(owner).bind(alias).bind(version as i64).execute(c).await.map(drop))
            .map_err(ctx.fail("set an alias"))?;
            self.changed = true;
        }
        Ok(Some(AliasChange { from, to: Some(version) }))
    }

    /// Removes an alias; `None` if the model is not there. Nothing is written if there is no such alias.
    pub async fn remove_alias(&mut self, model: &str, alias: &str) -> Result<Option<AliasChange>> {
        const SQL: &str = "DELETE FROM model_alias WHERE model_id = $1 AND alias = $2";
        let ctx = self.transact.ctx.clone();
        let Some(owner) = self.model_id(model).await? else { return Ok(None) };
        let from = self.alias_target(owner, alias).await?;
        if from.is_some() {
            on!(self.transact.conn(), c => sqlx::query(SQL).bind(owner).bind(alias).execute(c).await.map(drop))
                .map_err(ctx.fail("remove an alias"))?;
            self.changed = true;
        }
        Ok(Some(AliasChange { from, to: None }))
    }

    async fn model_id(&mut self, name: &str) -> Result<Option<i64>> {
        const SQL: &str = "SELECT id FROM registered_model WHERE name = $1";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query_scalar(SQL).bind(name).fetch_optional(c).await)
            .map_err(ctx.fail("read a model"))
    }

    /// The row of the model, the row of the version and its stage, unless it is deleted.
    async fn version_row(&mut self, model: &str, version: u64) -> Result<Option<(i64, i64, VersionStage)>> {
        const SQL: &str =
            "SELECT m.id, v.id, v.stage FROM model_version v JOIN registered_model m ON m.id = v.model_id
            WHERE m.name = $1 AND v.version = $2 AND v.stage <> $3";
        let ctx = self.transact.ctx.clone();
        let Ok(number) = i64::try_from(version) else { return Ok(None) };
        let row: Option<(i64, i64, String)> = on!(self.transact.conn(), c => sqlx::query_as(SQL)
            .bind(model).bind(number).bind(DELETED).fetch_optional(c).await)
        .map_err(ctx.fail("read a version"))?;
        row.map(|(owner, id, stage)| {
            let stage = VersionStage::from_word(&stage)
                .ok_or_else(|| Error::value("model_version", "stage", &stage, "a stage"))?;
            Ok((owner, id, stage))
        })
        .transpose()
    }

    async fn alias_target(&mut self, owner: i64, alias: &str) -> Result<Option<u64>> {
        const SQL: &str = "SELECT version FROM model_alias WHERE model_id = $1 AND alias = $2";
        let ctx = self.transact.ctx.clone();
        let found: Option<i64> =
            on!(self.transact.conn(), c => sqlx::query_scalar(SQL).bind(owner).bind(alias).fetch_optional(c).await)
                .map_err(ctx.fail("read an alias"))?;
        Ok(found.map(|version| version as u64))
    }

    async fn set_tag(&mut self, sql: &'static str, owner: i64, key: &str, value: &str) -> Result<bool> {
        let ctx = self.transact.ctx.clone();
        let done = on!(self.transact.conn(), c => sqlx::query(sql)
            .bind(owner).bind(key).bind(value).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("set a tag"))?;
        self.changed |= done > 0;
        Ok(done > 0)
    }

    async fn remove_tag(&mut self, sql: &'static str, owner: i64, key: &str) -> Result<bool> {
        let ctx = self.transact.ctx.clone();
        let done = on!(self.transact.conn(), c => sqlx::query(sql)
            .bind(owner).bind(key).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("remove a tag"))?;
        self.changed |= done > 0;
        Ok(done > 0)
    }
}

/// Writes the tags of one owner. One statement must not touch a row twice, so the last of equal keys is kept.
pub(crate) async fn put_tags(
    conn: Conn<'_>,
    sql: &'static str,
    owner_column: &'static str,
    owner: i64,
    tags: &[KeyValue],
) -> sqlx::Result<()> {
    let mut last = std::collections::BTreeMap::new();
    for tag in tags {
        last.insert(tag.key.as_str(), tag.value.as_str());
    }
    if last.is_empty() {
        return Ok(());
    }
    let rows = Rows::new(last.len())
        .int(owner_column, last.iter().map(|_| owner))
        .text("key", last.keys().copied())
        .text("value", last.values().copied());
    dialect::write_rows(conn, sql, &rows).await.map(drop)
}
