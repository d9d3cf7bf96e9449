//! Datasets that a project declares as outcomes of endpoints: which they are, whether their newest versions have the columns, and how far
//! they are read.

use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_core::{Digest, Name};
use tidemill_db::outcomes::{OutcomeCounts, OutcomeTable, TableKey};
use tidemill_db::{DatasetVersion, Db};
use tidemill_project::{Dataset, OutcomeColumns, Project, check_outcome_columns};

use crate::app::App;
use crate::output::{count, plural};
use crate::profile::Source;

/// A dataset whose rows are outcomes of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) endpoint: String,
    /// Its place among those of the endpoint.
    number: usize,
    pub(crate) dataset: Name,
    /// What the project says of the dataset.
    pub(crate) data: Option<Dataset>,
    pub(crate) columns: OutcomeColumns,
    /// A digest of the columns: what was read under others is read again.
    pub(crate) declaration: String,
}

impl Declared {
    /// A version of it, as the database knows it; 0 is the declaration itself, where there was no version yet.
    pub(crate) fn key(&self, version: u64) -> TableKey {
        TableKey {
            endpoint: self.endpoint.clone(),
            dataset: self.dataset.clone(),
            declaration: self.declaration.clone(),
            version,
        }
    }
}

/// All that a project declares.
pub(crate) fn declared(project: &Project) -> Vec<Declared> {
    let endpoints = project.serving.iter().flat_map(|serving| &serving.endpoints);
    let each = endpoints.flat_map(|(name, endpoint)| {
        endpoint.outcomes.iter().enumerate().map(move |(number, table)| (name, number, table))
    });
    each.map(|(name, number, table)| {
        let columns = table.columns();
        let said = json!([columns.keys, columns.time, columns.values]).to_string();
        let mut declaration = Digest::of(said.as_bytes()).hex();
        declaration.truncate(32);
        Declared {
            endpoint: name.to_string(),
            number,
            dataset: table.from.clone(),
            data: project.data.get(table.from.as_str()).cloned(),
            columns,
            declaration,
        }
    })
    .collect()
}

/// That the newest version of each dataset has the columns that are named. One without a version is told of.
///
/// # Errors
/// Every column that is not there, with its place in the project file.
pub(crate) fn check(app: &App<'_>) -> anyhow::Result<()> {
    for table in declared(&app.project) {
        let (dataset, db) = (&table.dataset, app.db()?);
        let Some(newest) = app.block(db.dataset_version(dataset, None))? else {
            app.console.note(format!(
                "`{dataset}`, from which outcomes of `{}` come, has no version yet; `tidemill data add {dataset} PATH` \
                 stores one, which `tidemill up` then joins",
                table.endpoint
            ));
            continue;
        };
        let label = format!("{dataset}@{}", newest.version);
        let columns = columns_of(app, &newest, table.data.as_ref())?;
        let columns: Vec<_> = columns.iter().map(|(name, kind)| (name.as_str(), kind.as_deref())).collect();
        check_outcome_columns(&app.project, (&table.endpoint, table.number), &label, &columns)?;
    }
    Ok(())
}

/// The columns of a version, each with its type in words where it can hold no outcome. They are kept with most versions; a large file of
/// text is looked into.
fn columns_of(
    app: &App<'_>,
    version: &DatasetVersion,
    declared: Option<&Dataset>,
) -> anyhow::Result<Vec<(String, Option<String>)>> {
    #[derive(Deserialize)]
    struct Field {
        name: String,
        r#type: String,
    }
    let kept = version.schema.as_deref().and_then(|text| serde_json::from_str::<Vec<Field>>(text).ok());
    if let Some(fields) = kept {
        let nested = ["List", "LargeList", "FixedSizeList", "Struct", "Map", "Union"];
        let is_nested = |kind: &str| nested.iter().any(|word| kind.starts_with(word));
        let column = |Field { name, r#type: kind }| {
            let kind = is_nested(&kind).then_some(kind);
            (name, kind)
        };
        return Ok(fields.into_iter().map(column).collect());
    }
    let mut source = Source::of_version(version, declared);
    let table = source.open(app)?;
    let fields = table.schema().fields().iter().map(|field| {
        let kind = field.data_type();
        (field.name().clone(), kind.is_nested().then(|| kind.to_string()))
    });
    Ok(fields.collect())
}

/// How far a dataset is read as outcomes of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    endpoint: String,
    dataset: String,
    /// Its newest version.
    newest: Option<u64>,
    /// The version that was read last, or is being read, and what its new outcomes are by now.
    table: Option<(OutcomeTable, OutcomeCounts)>,
}

/// How far the datasets are read that a project declares.
pub(crate) async fn standing(db: &Db, declared: &[Declared]) -> anyhow::Result<Vec<Standing>> {
    let keys: Vec<TableKey> = declared.iter().map(|of| of.key(0)).collect();
    let tables = db.outcome_tables_of(&keys).await?;
    let mut all = Vec::with_capacity(declared.len());
    for of in declared {
        let table = tables.iter().find(|table| of.key(table.key.version) == table.key);
        all.push(Standing::of(db, &of.endpoint, &of.dataset, table).await?);
    }
    Ok(all)
}

/// How far all datasets are read that ever were, of one endpoint or of all: where there is no project file to say which they are.
pub(crate) async fn standing_of_all(db: &Db, endpoint: Option<&str>) -> anyhow::Result<Vec<Standing>> {
    let mut tables = db.outcome_tables().await?;
    tables.retain(|table| endpoint.is_none_or(|endpoint| endpoint == table.key.endpoint));
    let mut all = Vec::new();
    // Of several declarations of a dataset the last one counts, which is the one that was begun last.
    let is_same = |one: &OutcomeTable, other: &OutcomeTable| {
        (&one.key.endpoint, &one.key.dataset) == (&other.key.endpoint, &other.key.dataset)
    };
    for last in tables.chunk_by(is_same).filter_map(<[_]>::last) {
        all.push(Standing::of(db, &last.key.endpoint, &last.key.dataset, Some(last)).await?);
    }
    Ok(all)
}

impl Standing {
    /// Of a dataset, by what is noted of the version of it that was begun last.
    async fn of(
        db: &Db,
        endpoint: &str,
        dataset: &Name,
        noted: Option<&OutcomeTable>,
    ) -> anyhow::Result<Self> {
        let newest = db.dataset_version(dataset, None).await?.map(|newest| newest.version);
        let table = match noted.filter(|table| table.key.version > 0) {
            Some(table) => Some((table.clone(), db.outcome_counts_between(endpoint, table.numbers).await?)),
            None => None,
        };
        Ok(Self { endpoint: endpoint.to_owned(), dataset: dataset.to_string(), newest, table })
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let Self { endpoint, dataset, newest, table } = self;
        let newer =
            newest.filter(|newest| table.as_ref().is_none_or(|(table, _)| table.key.version < *newest));
        let newer = newer.map(|newest| format!("{dataset}@{newest} is not read yet, `tidemill up` reads it"));
        let said = match table {
            None => newer.unwrap_or_else(|| format!("{dataset} has no version yet")),
            Some((table, counts)) => {
                let version = table.key.version;
                let said = match (&table.error, table.ended_at) {
                    (Some(why), _) => format!("{dataset}@{version} cannot be read: {why}"),
                    (None, None) => format!("{dataset}@{version} is being read"),
                    (None, Some(_)) => format!(
                        "{dataset}@{version}: {}, {} joined ({} late), {} waiting, {} duplicate, {} corrected, {} unmatched",
                        plural(table.read.rows, "row"),
                        count(counts.matched),
                        count(counts.late),
                        count(counts.waiting),
                        count(counts.duplicate),
                        count(counts.corrected),
                        count(counts.unmatched)
                    ),
                };
                match newer {
                    Some(newer) => format!("{said}; {newer}"),
                    None => said,
                }
            }
        };
        format!("outcomes of {endpoint}: {said}")
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let read = self.table.as_ref().map(|(table, counts)| {
            json!({
                "version": table.key.version,
                "begun_at": table.begun_at.to_string(),
                "ended_at": table.ended_at.map(|at| at.to_string()),
                "error": table.error,
                "rows": table.read.rows,
                "skipped": table.read.skipped,
                "accepted": table.read.accepted,
                "known": table.read.known,
                "rejected": table.read.rejected,
                "joined": counts.matched,
                "late": counts.late,
                "waiting": counts.waiting,
                "duplicate": counts.duplicate,
                "corrected": counts.corrected,
                "unmatched": counts.unmatched,
            })
        });
        json!({"endpoint": self.endpoint, "dataset": self.dataset, "newest": self.newest, "read": read})
    }
}
