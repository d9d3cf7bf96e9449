//! Profiles of stored content: made when a version is added that is not large, or at the first use, and kept in the store by the content's digest.

use std::cell::RefCell;
use std::collections::{HashMap, hash_map};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::Schema;
use tidemill_core::{Digest, Progress};
use tidemill_data::expect::Others;
use tidemill_data::profile::SAMPLED;
use tidemill_data::{Error, Format, Profile, ProfileOptions, Table};
use tidemill_db::DatasetVersion;
use tidemill_project::{Dataset, Resolved};
use tidemill_store::{Checkout, Entry, Store};

use crate::app::App;

/// Layout and fineness of the profiles that are kept; another number makes them anew.
const FORM: &str = "4";

/// Scratch folders made by this process.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A table, or anything else that a version holds, and what it is called.
pub(crate) struct Source {
    /// `flights@3`, or a path.
    pub(crate) label: String,
    /// Columns that identify a row, as the project declares them.
    pub(crate) key: Vec<String>,
    /// Columns whose values are not shown.
    pub(crate) redact: Vec<String>,
    /// The content, as the store names it.
    pub(crate) entry: Entry,
    /// Whether it is a version of a dataset and not a path.
    pub(crate) stored: bool,
    /// The format, where the project declares one that is meant for it; told by the file's name otherwise.
    pub(crate) format: Option<Format>,
    path: PathBuf,
    /// Goes with the value, and the files in it too.
    scratch: Option<Scratch>,
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is under .tidemill/tmp, where the next run clears it.
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

impl Source {
    /// Whether the text means a path, and no version of a dataset.
    pub(crate) fn is_path(text: &str) -> bool {
        text.contains('/') || Path::new(text).exists()
    }

    /// NAME, NAME@VERSION, or a path.
    pub(crate) fn find(text: &str, app: &App<'_>) -> anyhow::Result<Self> {
        let path = PathBuf::from(text);
        if Self::is_path(text) {
            let entry = tidemill_store::hash(&path, Some(app.stat()?), &app.bar())?;
            app.stat()?.save()?;
            return Ok(Self {
                label: text.to_owned(),
                key: Vec::new(),
                redact: Vec::new(),
                entry,
                stored: false,
                format: declared_at(text, app),
                path,
                scratch: None,
            });
        }
        let (dataset, version) = crate::command::data::reference(text)?;
        let found = crate::command::data::find(app, &dataset, version)?;
        Ok(Self::of_version(&found, app.project.data.get(dataset.as_str())))
    }

    /// A version of a dataset, of which the project says this.
    pub(crate) fn of_version(found: &DatasetVersion, declared: Option<&Dataset>) -> Self {
        // The reader knows a format by the file's name.
        let file = Path::new(&found.source).file_name().unwrap_or_else(|| "data".as_ref());
        Self {
            label: format!("{}@{}", found.dataset, found.version),
            key: declared.map(|d| d.key.clone()).unwrap_or_default(),
            redact: declared.map(|d| d.redact.clone()).unwrap_or_default(),
            entry: crate::command::data::entry(found),
            stored: true,
            format: declared.and_then(|declared| meant_format(declared, &found.source)),
            path: PathBuf::from(file),
            scratch: None,
        }
    }

    /// The column that alone identifies a row: it is different in every table, and says nothing of a distribution.
    pub(crate) fn identifier(&self) -> Option<String> {
        self.key.first().filter(|_| self.key.len() == 1).cloned()
    }

    /// What the content is called by.
    pub(crate) fn digest(&self) -> Digest {
        self.entry.digest
    }

    /// Where it can be read. A stored version is checked out to a scratch folder that goes with this value.
    pub(crate) fn path(&mut self, app: &App<'_>) -> anyhow::Result<&Path> {
        if self.stored && self.scratch.is_none() {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let folder = app.inside("tmp").join(format!("data-{}-{number}", std::process::id()));
            self.lay_out(&folder, app.store()?, &app.bar())?;
        }
        Ok(&self.path)
    }

    /// Checks a stored version out into a folder, which is made and goes with this value.
    pub(crate) fn lay_out(
        &mut self,
        folder: &Path,
        store: &Store,
        progress: &dyn Progress,
    ) -> anyhow::Result<()> {
        fs_err::create_dir_all(folder)?;
        let scratch = Scratch(folder.to_owned());
        let path = scratch.0.join(&self.path);
        store.checkout(&self.entry, &path, &Checkout::default(), progress)?;
        (self.path, self.scratch) = (path, Some(scratch));
        Ok(())
    }

    /// The rows of what lies at its path.
    pub(crate) fn rows(&self) -> Result<Table, Error> {
        Table::open(std::slice::from_ref(&self.path), self.format.clone())
    }

    /// The rows.
    pub(crate) fn open(&mut self, app: &App<'_>) -> anyhow::Result<Table> {
        self.path(app)?;
        Ok(self.rows()?)
    }

    /// The profile: the one kept for this content, or a new one, which is then kept if the content is in the store.
    pub(crate) fn profile(&mut self, app: &App<'_>) -> anyhow::Result<Profile> {
        let form = form(&self.key, self.format.as_ref(), app);
        if let Some(known) = app.block(app.db()?.profile(self.digest(), &form))?
            && app.store()?.contains(&known)?
        {
            let bytes = app.store()?.get(&known)?;
            match Profile::from_bytes(&bytes) {
                Ok(profile) => return Ok(profile),
                // One of another version of the program; the rows are here to make it anew.
                Err(error) => tracing::debug!(error = %error, "a kept profile is made anew"),
            }
        }
        let path = self.path(app)?.to_owned();
        let target = app.project.objective.as_ref().map(|objective| objective.task.target.clone());
        let options = |schema: &Schema| {
            let known = |name: &String| schema.index_of(name).is_ok();
            ProfileOptions {
                target: target.clone().filter(known),
                key: if self.key.iter().all(known) { self.key.clone() } else { Vec::new() },
                sample: SAMPLED,
                ..ProfileOptions::dataset()
            }
        };
        let bar = app.bar();
        let profile = Profile::of_file(&path, self.format.as_ref(), &options, &bar)?;
        drop(bar);
        if self.stored {
            keep(app, self.digest(), &form, &profile)?;
        }
        Ok(profile)
    }
}

/// The format that the project declares for a dataset, as far as it is meant for what lies at `source`: a version from before the dataset
/// had another format is read as its name says.
pub(crate) fn declared_format(dataset: &str, source: &str, app: &App<'_>) -> Option<Format> {
    meant_format(app.project.data.get(dataset)?, source)
}

fn meant_format(declared: &Dataset, source: &str) -> Option<Format> {
    Format::meant(declared.format?, declared.path.as_slice(), source)
}

/// The format that the project declares for the dataset with this very path.
fn declared_at(path: &str, app: &App<'_>) -> Option<Format> {
    let found =
        app.project.data.values().find(|data| data.path.as_slice().iter().any(|known| known == path))?;
    found.format.map(Format::declared)
}

/// What a kept profile depends on beside the content.
fn form(key: &[String], format: Option<&Format>, app: &App<'_>) -> String {
    let target = app.project.objective.as_ref().map_or("", |objective| objective.task.target.as_str());
    // Read as the name says is as good as declared.
    let format = format.map(|format| format!("\u{0}{}", format.name())).unwrap_or_default();
    let rest = format!("{}\u{0}{target}{format}", key.join("\u{0}"));
    format!("{FORM}-{}", Digest::of(rest.as_bytes()).short())
}

fn keep(app: &App<'_>, content: Digest, form: &str, profile: &Profile) -> anyhow::Result<()> {
    let store = app.store()?;
    // Garbage collection in another process must not take what no row refers to yet.
    let held = store.hold()?;
    let digest = store.put(&profile.to_bytes())?;
    let db = app.db()?;
    app.block(async {
        let mut tx = db.begin().await?;
        tx.put_profile(content, form, digest, app.clock.now()).await?;
        tx.commit(vec![]).await
    })?;
    drop(held);
    Ok(())
}

/// The datasets that expectations name: stored versions by `NAME@VERSION`, what the project declares by its name.
pub(crate) struct Datasets<'a, 'b> {
    app: &'a App<'b>,
    declared: &'a Resolved,
    /// Stored versions by the name that rules give them: open tables read from their scratch folders, and one that is
    /// asked for again is not checked out again.
    kept: RefCell<HashMap<String, Source>>,
    /// Profiles by the name that rules give them: each is made or read once, however many rules compare with it.
    profiles: RefCell<HashMap<String, Profile>>,
}

impl<'a, 'b> Datasets<'a, 'b> {
    pub(crate) fn new(app: &'a App<'b>, declared: &'a Resolved) -> Self {
        Self { app, declared, kept: RefCell::default(), profiles: RefCell::default() }
    }

    fn stored<T>(&self, name: &str, read: impl Fn(&mut Source) -> anyhow::Result<T>) -> Result<T, Error> {
        let mut kept = self.kept.borrow_mut();
        let source = match kept.entry(name.to_owned()) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(free) => {
                free.insert(Source::find(name, self.app).map_err(|error| plain(&error))?)
            }
        };
        read(source).map_err(|error| plain(&error))
    }

    fn workspace(&self, name: &str) -> Result<Option<Table>, Error> {
        let Some(dataset) = self.declared.datasets.get(name).filter(|_| !name.contains('@')) else {
            return Ok(None);
        };
        let handle = self.app.runtime().handle();
        let table = crate::table::open(&self.app.root, handle, &dataset.paths, dataset.format);
        table.map(Some).map_err(|error| plain(&error))
    }
}

impl Others for Datasets<'_, '_> {
    fn table(&self, name: &str) -> Result<Table, Error> {
        match self.workspace(name)? {
            Some(table) => Ok(table),
            None => self.stored(name, |source| source.open(self.app)),
        }
    }

    fn profile(&self, name: &str) -> Result<Profile, Error> {
        if let Some(known) = self.profiles.borrow().get(name) {
            return Ok(known.clone());
        }
        let profile = match self.workspace(name)? {
            Some(table) => Profile::build(&table, &ProfileOptions::columns(), &self.app.bar())?,
            None => self.stored(name, |source| source.profile(self.app))?,
        };
        self.profiles.borrow_mut().insert(name.to_owned(), profile.clone());
        Ok(profile)
    }
}

/// An error of ours as one of the crate that asked; a rule shows it in a line.
fn plain(error: &anyhow::Error) -> Error {
    let hint = crate::failure::hint_of(error).map(|hint| format!(" ({hint})")).unwrap_or_default();
    Error::Unusable(format!("{error}{hint}"))
}
