//! Artifacts whose run or logged model is gone for good.

use std::collections::HashSet;
use std::sync::Arc;

use tidemill_core::RunId;

use crate::dialect::{self, Rows};
use crate::{Result, Tx};

impl Tx {
    /// Removes what lies in the places of runs and logged models that are not in the database any more; gives the folders
    /// with the number of their files. Only paths of the form that such places have are touched: `NUMBER/RUN/…` and
    /// `NUMBER/models/m-…`. What is only marked as deleted keeps its artifacts.
    ///
    /// Commit it with an `ArtifactsDeleted` event for each folder.
    pub async fn delete_orphaned_artifacts(&mut self) -> Result<Vec<(String, u64)>> {
        const RUNS: &str = "SELECT t.uuid FROM {rows} JOIN run t ON t.uuid = r.wanted";
        const MODELS: &str = "SELECT t.uuid FROM {rows} JOIN logged_model t ON t.uuid = r.wanted";
        let (mut runs, mut models) = (Vec::new(), Vec::new());
        for experiment in self.names_in("").await? {
            if experiment.parse::<u32>().is_err() {
                continue;
            }
            for name in self.names_in(&experiment).await? {
                if name.parse::<RunId>().is_ok() {
                    runs.push((format!("{experiment}/{name}"), name));
                }
            }
            let folder = format!("{experiment}/models");
            for name in self.names_in(&folder).await? {
                if name.starts_with("m-") {
                    models.push((format!("{folder}/{name}"), name));
                }
            }
        }
        let mut removed = Vec::new();
        for (sql, places) in [(RUNS, runs), (MODELS, models)] {
            let there = self.existing(sql, &places).await?;
            for (folder, _) in places.into_iter().filter(|(_, name)| !there.contains(name)) {
                let files = self.delete_artifacts(&folder).await?;
                removed.push((folder, files));
            }
        }
        Ok(removed)
    }

    async fn existing(&mut self, sql: &str, places: &[(String, String)]) -> Result<HashSet<String>> {
        if places.is_empty() {
            return Ok(HashSet::new());
        }
        let ctx = Arc::clone(&self.transact.ctx);
        let rows = Rows::new(places.len()).text("wanted", places.iter().map(|(_, name)| name.as_str()));
        let found: Vec<(String,)> = dialect::read_rows(self.transact.conn(), sql, &rows)
            .await
            .map_err(ctx.fail("read which artifacts are in use"))?;
        Ok(found.into_iter().map(|(name,)| name).collect())
    }
}
