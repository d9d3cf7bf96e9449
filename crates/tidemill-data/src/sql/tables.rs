//! Declared tables as the engine's tables: local files, and objects in a store. Reading them is in `scan`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::Statistics;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::{ObjectMeta, ObjectStore};

use super::scan::{OpenTable, ParquetTable};
use super::session::Session;
use super::{SqlTable, remote};
use crate::{Error, Format, Table};

/// Opens a declared table.
pub(super) async fn open(
    session: &Session,
    table: &SqlTable,
    scratch: &Path,
) -> Result<Arc<dyn TableProvider>, Error> {
    let remotes = table.paths.iter().filter(|path| remote::is_remote(path)).count();
    if remotes == 0 {
        let paths: Vec<PathBuf> = table.paths.iter().map(PathBuf::from).collect();
        return local(session, paths, table.format.clone()).await;
    }
    if remotes < table.paths.len() {
        let why = format!("the table `{}` mixes local files and object-store addresses", table.name);
        return Err(Error::Unusable(why));
    }
    let found = remote::objects(session, &table.paths).await?;
    match table.format.clone().or_else(|| remote::format_of(&found.objects)) {
        None => Err(Error::UnknownFormat(PathBuf::from(&table.paths[0]))),
        Some(Format::Parquet) => parquet(session, found.root, found.store, found.objects, None).await,
        // Text has to be read twice, Arrow files need seeks: a copy is simpler than both over a network.
        format => Ok(Arc::new(OpenTable::new(remote::open(&table.paths, format, scratch).await?))),
    }
}

/// Opens files on a thread that may wait: text is read as a whole.
pub(super) async fn open_files(paths: Vec<PathBuf>, format: Option<Format>) -> Result<Table, Error> {
    let opened = tokio::task::spawn_blocking(move || Table::open(&paths, format)).await;
    opened.map_err(|_| Error::Unusable("reading the tables stopped".to_owned()))?
}

async fn local(
    session: &Session,
    paths: Vec<PathBuf>,
    format: Option<Format>,
) -> Result<Arc<dyn TableProvider>, Error> {
    // Checks every file and names what is wrong with it before the engine sees it.
    let table = open_files(paths, format).await?;
    if !table.is_parquet() {
        return Ok(Arc::new(OpenTable::new(table)));
    }
    let mut objects = Vec::new();
    for path in table.paths() {
        let absolute = fs_err::canonicalize(path).map_err(Error::io("find", path))?;
        let Ok(location) = object_store::path::Path::from_absolute_path(&absolute) else {
            // Names that the engine cannot write are read by our own reader.
            return Ok(Arc::new(OpenTable::new(table.clone())));
        };
        let metadata = fs_err::metadata(path).map_err(Error::io("read", path))?;
        let last_modified = metadata.modified().map_err(Error::io("read", path))?.into();
        objects.push(ObjectMeta {
            location,
            last_modified,
            size: metadata.len(),
            e_tag: None,
            version: None,
        });
    }
    let url = ObjectStoreUrl::local_filesystem();
    let store = session.runtime().object_store(&url).map_err(engine)?;
    parquet(session, url, store, objects, Some(table.schema())).await
}

async fn parquet(
    session: &Session,
    url: ObjectStoreUrl,
    store: Arc<dyn ObjectStore>,
    objects: Vec<ObjectMeta>,
    schema: Option<&SchemaRef>,
) -> Result<Arc<dyn TableProvider>, Error> {
    let state = session.state();
    let format = ParquetFormat::default();
    let schema = match schema {
        Some(schema) => schema.clone(),
        None => format.infer_schema(&state, &store, &objects).await.map_err(engine)?,
    };
    let schema = views(&schema);
    let mut all = Vec::with_capacity(objects.len());
    let mut files = Vec::with_capacity(objects.len());
    for object in objects {
        let statistics = format.infer_stats(&state, &store, schema.clone(), &object).await.map_err(engine)?;
        files.push(PartitionedFile::new_from_meta(object).with_statistics(Arc::new(statistics.clone())));
        all.push(statistics);
    }
    let statistics = Statistics::try_merge_iter(&all, &schema).map_err(engine)?;
    Ok(Arc::new(ParquetTable { schema, store: url, files, statistics }))
}

/// Text and bytes as views, which joins and filters copy faster.
fn views(schema: &Schema) -> SchemaRef {
    let view = |field: &Arc<Field>| {
        let kind = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            other => other.clone(),
        };
        Arc::new(Field::new(field.name(), kind, true))
    };
    Arc::new(Schema::new(schema.fields().iter().map(view).collect::<Vec<_>>()))
}

pub(super) fn engine(error: datafusion::error::DataFusionError) -> Error {
    Error::Unusable(format!("cannot open a table: {}", error.strip_backtrace()))
}
