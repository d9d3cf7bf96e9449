//! A DataFusion session with bounded memory and nothing in it but the declared tables.

use std::path::Path;
use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::{SqlTable, scan, tables};
use crate::{Error, Table};

/// Rows of a batch in the engine. Fixed, because sums of floats depend on it.
const BATCH_ROWS: usize = 8192;

/// One session; made anew for every query, which takes about a millisecond.
pub(super) struct Session {
    context: SessionContext,
}

impl Session {
    /// A session that may use `memory` bytes and spills below `spill`, or the system's temporary folder.
    pub(super) fn new(memory: usize, spill: Option<&Path>) -> Result<Self, Error> {
        let mode = match spill {
            Some(folder) => {
                fs_err::create_dir_all(folder).map_err(Error::io("create", folder))?;
                DiskManagerMode::Directories(vec![folder.to_owned()])
            }
            None => DiskManagerMode::OsTmpDirectory,
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(memory)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
            .build_arc()
            .map_err(|error| Error::Unusable(format!("cannot start the query engine: {error}")))?;
        let state = SessionStateBuilder::new()
            .with_config(config())
            .with_runtime_env(runtime)
            .with_default_features()
            .build();
        Ok(Self { context: SessionContext::new_with_state(state) })
    }

    pub(super) fn state(&self) -> SessionState {
        self.context.state()
    }

    pub(super) fn task(&self) -> Arc<TaskContext> {
        self.context.task_ctx()
    }

    pub(super) fn runtime(&self) -> Arc<RuntimeEnv> {
        self.context.runtime_env()
    }

    /// Makes files known under their tables' names; remote text files are copied to `scratch` first.
    pub(super) async fn register(&self, tables: &[SqlTable], scratch: &Path) -> Result<(), Error> {
        for table in tables {
            let provider = tables::open(self, table, scratch).await?;
            self.put(&table.name, provider)?;
        }
        Ok(())
    }

    /// Makes an open table known.
    pub(super) fn register_open(&self, name: &str, table: &Table) -> Result<(), Error> {
        self.put(name, Arc::new(scan::OpenTable::new(table.clone())))
    }

    fn put(&self, name: &str, provider: Arc<dyn datafusion::catalog::TableProvider>) -> Result<(), Error> {
        let reference = datafusion::common::TableReference::bare(name.to_owned());
        match self.context.register_table(reference, provider) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Error::Unusable(format!("two tables are called `{name}`"))),
            Err(error) => Err(Error::Unusable(format!("cannot use the table `{name}`: {error}"))),
        }
    }

    /// The names of the tables, sorted.
    pub(super) fn table_names(&self) -> Vec<String> {
        let schema = self.context.catalog("datafusion").and_then(|catalog| catalog.schema("public"));
        let mut names = schema.map(|schema| schema.table_names()).unwrap_or_default();
        names.sort();
        names
    }
}

/// One partition, so that no operator sees rows in an order that threads decide; see `order`.
fn config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        .with_repartition_file_scans(false)
        .with_repartition_sorts(false)
        .with_collect_statistics(true);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.execution.planning_concurrency = 1;
    options.execution.enable_file_stream_work_stealing = false;
    options.optimizer.enable_round_robin_repartition = false;
    options.execution.spill_compression = datafusion::config::SpillCompression::Lz4Frame;
    config
}
