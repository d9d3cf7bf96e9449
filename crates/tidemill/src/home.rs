//! Where a server keeps its things: `.tidemill/` of a project, or a folder that was named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::SystemClock;
use tidemill_db::Db;
use tidemill_registry::Registry;
use tidemill_store::{Remote, Store, StoreOptions};
use tokio::runtime::Runtime;

use crate::app::{self, App, reason};
use crate::cli::Global;
use crate::failure::Failure;
use crate::output::Console;
use crate::users::{self, User};

/// The folder of a database and a store.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    pub(crate) store: PathBuf,
    /// The database's address.
    pub(crate) database: String,
    /// The folder of the project, where the home is that of one.
    pub(crate) project: Option<PathBuf>,
    /// The database that was named, for commands that work on the project.
    pub(crate) named_database: Option<String>,
    /// What the project says about records of requests.
    pub(crate) records: Option<tidemill_project::RecordDefaults>,
    /// What the project watches at the endpoint of its last environment.
    pub(crate) watched: Option<tidemill_monitor::Declaration>,
    /// What the project says of itself.
    pub(crate) about: Option<tidemill_server::About>,
    /// The store that the folder is a cache of.
    pub(crate) behind: Option<Behind>,
}

impl Home {
    /// The named folder; or that of the project here; or `.tidemill` in the current folder, where there is no project.
    pub(crate) fn find(named: Option<&Path>, global: &Global, console: &Console) -> anyhow::Result<Self> {
        if let Some(dir) = named {
            return Self::at(absolute(dir)?, None, global);
        }
        match app::find_root(global.project.as_deref()) {
            Ok(root) => {
                let app = App::open_at(root, global.database.clone(), console)?;
                let store = app.project.store.as_ref().and_then(|store| store.path.as_deref());
                let home = Self::at(app.inside(""), store.map(|path| app.root.join(path)), global)?;
                let records = app.project.serving.as_ref().and_then(|serving| serving.records.clone());
                let watched = crate::monitors::in_production(&app.project);
                let about = Some(about(&app.project, &app.root));
                let behind = behind(&app.project, &app.root)?;
                Ok(Self { project: Some(app.root), records, watched, about, behind, ..home })
            }
            // With `-C` somebody meant a project.
            Err(error) if global.project.is_some() => Err(error),
            Err(_) => {
                let home = Self::at(absolute(Path::new(".tidemill"))?, None, global)?;
                console
                    .note(format!("there is no project here; keeping everything in {}", home.dir.display()));
                Ok(home)
            }
        }
    }

    fn at(dir: PathBuf, store: Option<PathBuf>, global: &Global) -> anyhow::Result<Self> {
        let database = match &global.database {
            Some(url) => url.clone(),
            None => app::utf8(&dir.join("tidemill.db"))?.to_owned(),
        };
        let store = store.unwrap_or_else(|| dir.join("store"));
        Ok(Self {
            dir,
            store,
            database,
            project: None,
            named_database: global.database.clone(),
            records: None,
            watched: None,
            about: None,
            behind: None,
        })
    }

    /// A home of its own in a folder of this one, which is made where it is not there.
    pub(crate) fn inside(&self, folder: &str) -> anyhow::Result<Self> {
        self.make()?;
        let dir = self.dir.join(folder);
        let database = app::utf8(&dir.join("tidemill.db"))?.to_owned();
        let store = dir.join("store");
        Ok(Self { store, database, dir, watched: None, about: None, behind: None, ..self.clone() })
    }

    /// Makes the folder if it is not there.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        app::make_home(&self.dir)
    }

    /// The database's file, where it is one.
    pub(crate) fn database_file(&self) -> Option<&Path> {
        users::file_of(&self.database)
    }

    /// The store, with a note in it that this home uses it.
    pub(crate) fn open_store(&self) -> anyhow::Result<Store> {
        let store = open(&self.store, self.behind.clone())?;
        let project = self.about.as_ref().map_or("", |about| &about.project);
        users::register(&store, User::new(&self.dir, project, Some(&self.database)).as_ref())?;
        Ok(store)
    }
}

/// A store at an address.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    remote: Remote,
    /// The largest size of the folder in front of it, in bytes.
    cache_size: Option<u64>,
}

/// Opens a folder as a store, or as the cache of one.
pub(crate) fn open(folder: &Path, behind: Option<Behind>) -> Result<Store, tidemill_store::Error> {
    match behind {
        Some(Behind { remote, cache_size }) => {
            Store::open_before(folder, StoreOptions { cache_size, ..StoreOptions::default() }, remote)
        }
        None => Store::open(folder, StoreOptions::default()),
    }
}

/// The store that a project's folder is a cache of, where `store.url` names one.
pub(crate) fn behind(project: &tidemill_project::Project, root: &Path) -> anyhow::Result<Option<Behind>> {
    let Some(store) = &project.store else { return Ok(None) };
    let Some(url) = &store.url else { return Ok(None) };
    let cache_size = store.cache_size.map(|size| size.0);
    Ok(Some(Behind { remote: remote(root, url, &store.options)?, cache_size }))
}

/// A remote by its address, or by a folder relative to the project.
pub(crate) fn remote(root: &Path, url: &str, options: &BTreeMap<String, String>) -> anyhow::Result<Remote> {
    if url.contains("://") {
        return Ok(Remote::open_with(url, options)?);
    }
    let path = std::path::absolute(root.join(url))?;
    Ok(Remote::open_with(&format!("file://{}", path.display()), options)?)
}

/// What a project says of itself, for pages.
pub(crate) fn about(project: &tidemill_project::Project, root: &Path) -> tidemill_server::About {
    tidemill_server::About {
        project: project.project.to_string(),
        root: Some(root.to_owned()),
        team: project.owner.as_ref().map(|owner| owner.team.clone()),
        contact: project.owner.as_ref().and_then(|owner| owner.contact.clone()),
        objective: project.objective.clone(),
        hidden: project.data.iter().map(|(name, data)| (name.to_string(), data.redact.clone())).collect(),
        data: project
            .data
            .iter()
            .map(|(name, data)| {
                let about = tidemill_server::AboutData {
                    key: data.key.clone(),
                    format: data.format,
                    paths: data.path.as_slice().to_vec(),
                };
                (name.to_string(), about)
            })
            .collect(),
        model: project.release.as_ref().map(|release| release.model.to_string()),
    }
}

/// Database and store of a home, for commands that need no project.
pub(crate) struct Opened {
    pub(crate) runtime: Runtime,
    pub(crate) registry: Registry,
    pub(crate) home: Home,
}

impl Opened {
    /// Opens what is in a home, made where it is not there.
    pub(crate) fn at(named: Option<&Path>, global: &Global, console: &Console) -> anyhow::Result<Self> {
        let home = Home::find(named, global, console)?;
        home.make()?;
        let runtime = app::runtime()?;
        let clock = Arc::new(SystemClock);
        let db = runtime.block_on(Db::open(&home.database, clock.clone()))?;
        let store = home.open_store()?;
        Ok(Self { runtime, registry: Registry::new(db, store, clock), home })
    }

    /// Runs asynchronous work to its end.
    pub(crate) fn block<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

fn absolute(dir: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(dir).map_err(|error| {
        Failure::usage(format!("cannot use the folder `{}`: {}", dir.display(), reason(&error))).into()
    })
}
