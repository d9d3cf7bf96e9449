//! Where a server keeps its things: `.tidemill/` of a project, or a folder that was named.

use std::path::{Path, PathBuf};

use crate::app::{self, App, reason};
use crate::cli::Global;
use crate::failure::Failure;
use crate::output::Console;

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
                Ok(Self { project: Some(app.root), ..home })
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
        Ok(Self { dir, store, database, project: None, named_database: global.database.clone() })
    }

    /// Makes the folder if it is not there.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        app::make_home(&self.dir)
    }

    /// The database's file, where it is one.
    pub(crate) fn database_file(&self) -> Option<&Path> {
        let url = self.database.as_str();
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
        (!path.contains("://")).then(|| Path::new(path))
    }
}

fn absolute(dir: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(dir).map_err(|error| {
        Failure::usage(format!("cannot use the folder `{}`: {}", dir.display(), reason(&error))).into()
    })
}
