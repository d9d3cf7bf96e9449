//! What must stay in a store: everything that databases, lock files and kept work refer to.

use std::collections::BTreeMap;
use std::path::Path;

use tidemill_core::Digest;
use tidemill_db::{Db, Keep};
use tidemill_pipeline::{Content, ContentKind, Lock};
use tidemill_store::{Root, Store, Stored};

use crate::app::{App, LOCK_FILE};
use crate::failure::Failure;
use crate::users::{User, Whereabouts};

/// Where roots come from.
struct Source<'a> {
    /// The metadata; `None` where there are none, or where they were asked already.
    db: Option<&'a Db>,
    /// The project's folder.
    root: &'a Path,
    /// Its `.tidemill`.
    home: &'a Path,
    keep: Keep<'a>,
    /// Whether what cannot be read is passed over, rather than ending the search: for a look that removes nothing.
    lenient: bool,
    /// Whether only what is in the folder counts, whatever a store behind it has.
    here: bool,
}

/// What this project needs of what is in the store's folder, whether or not it can be read.
pub(crate) fn own(app: &App<'_>) -> anyhow::Result<Vec<Root>> {
    all_own(app, true)
}

/// What this project needs, wherever the store has it.
pub(crate) fn own_everywhere(app: &App<'_>) -> anyhow::Result<Vec<Root>> {
    all_own(app, false)
}

fn all_own(app: &App<'_>, here: bool) -> anyhow::Result<Vec<Root>> {
    let db = app.db()?;
    let mut roots = collect(app, &Source { here, ..source(app, Keep::default(), true)? })?;
    roots.extend(app.block(db.artifact_roots())?.into_iter().map(artifact));
    Ok(roots)
}

/// What this project needs when only this many of its runs stay, without artifacts.
pub(crate) fn kept(app: &App<'_>, runs: usize) -> anyhow::Result<Vec<Root>> {
    let keep = Keep { runs: Some(runs), project: Some(app.project.project.as_str()) };
    collect(app, &source(app, keep, false)?)
}

fn source<'a>(app: &'a App<'_>, keep: Keep<'a>, lenient: bool) -> anyhow::Result<Source<'a>> {
    let (root, home) = (app.root.as_path(), app.home());
    Ok(Source { db: Some(app.db()?), root, home, keep, lenient, here: false })
}

/// The root of an artifact.
pub(crate) fn artifact((digest, path): (Digest, String)) -> Root {
    Root { digest, tree: false, label: format!("artifact {path}") }
}

/// What the other users of the store need, and those who are gone.
#[derive(Default)]
pub(crate) struct Others {
    pub(crate) roots: Vec<Root>,
    pub(crate) gone: Vec<User>,
}

/// Asks everybody else who uses the store, except those in the folders `without`.
pub(crate) fn others(app: &App<'_>, without: &[std::path::PathBuf]) -> anyhow::Result<Others> {
    let own = app.user();
    let mut others = Others::default();
    for (id, document) in app.store()?.users()? {
        let user = User::read(&document).map_err(|error| {
            let name = format!("users/{}.json", id.hex());
            Failure::new(format!("`{name}` in the store, which names a project that uses it, cannot be read: {error}"))
                .hint("update Tidemill here; a file that is damaged is written again by the next command in its project")
        })?;
        let left_out = without.iter().any(|folder| {
            folder == user.folder()
                || fs_err::canonicalize(folder)
                    .is_ok_and(|folder| folder == user.folder() || folder == user.home())
        });
        if own.as_ref() == Some(&user) || left_out {
            continue;
        }
        match user.whereabouts() {
            Whereabouts::Gone => others.gone.push(user),
            Whereabouts::Elsewhere => {
                return Err(unreadable(
                    &user,
                    "its folder is not on this machine, where it may still be used from another",
                ));
            }
            Whereabouts::Here => {
                let roots = of_user(app, &user, own.as_ref());
                others.roots.extend(roots.map_err(|error| unreadable(&user, &format!("{error:#}")))?);
            }
        }
    }
    Ok(others)
}

fn unreadable(user: &User, why: &str) -> anyhow::Error {
    let folder = user.folder().display();
    Failure::new(format!(
        "{} in `{folder}` uses this store, too, and what it needs cannot be told: {why}",
        user.label()
    ))
    .hint(format!(
        "see to it and repeat, or leave it out with `--without {folder}`: what only it needs goes then"
    ))
    .into()
}

/// Everything that another user refers to: how much of it may go is for a collection there to say.
fn of_user(app: &App<'_>, user: &User, own: Option<&User>) -> anyhow::Result<Vec<Root>> {
    let address = user.database();
    let file = crate::users::file_of(&address);
    let shared = own.is_some_and(|own| own.database() == address);
    // Opening would make a database that is not there.
    let absent = file.is_some_and(|file| !file.exists());
    if absent && file != Some(user.home().join("tidemill.db").as_path()) {
        anyhow::bail!("its database `{address}` is not there");
    }
    let db = if shared || absent { None } else { Some(app.block(Db::open(&address, app.clock.clone()))?) };
    let source = Source {
        db: db.as_ref(),
        root: user.folder(),
        home: user.home(),
        keep: Keep::default(),
        lenient: false,
        here: false,
    };
    let mut roots = collect(app, &source)?;
    if let Some(db) = db {
        roots.extend(app.block(db.artifact_roots())?.into_iter().map(artifact));
        app.block(db.close())?;
    }
    Ok(roots)
}

/// Roots with what people call them, each once.
#[derive(Default)]
struct Labels(BTreeMap<(Digest, bool), String>);

impl Labels {
    fn add(&mut self, digest: Digest, tree: bool, label: String) {
        self.0.entry((digest, tree)).or_insert(label);
    }

    fn content(&mut self, content: &Content, label: String) {
        if content.kind != ContentKind::Remote {
            self.add(content.digest, content.kind == ContentKind::Folder, label);
        }
    }
}

fn collect(app: &App<'_>, source: &Source<'_>) -> anyhow::Result<Vec<Root>> {
    let store = app.store()?;
    let stored = if source.here { store.stored_here() } else { store.stored()? };
    let mut labels = Labels::default();
    let mut locks = Vec::new();
    match fs_err::read(source.root.join(LOCK_FILE)) {
        Ok(bytes) => locks.push((LOCK_FILE.to_owned(), bytes)),
        Err(error) if source.lenient || error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    if let Some(db) = source.db {
        metadata(app, source, db, &stored, &mut labels)?;
        locks.extend(locks_of_runs(app, source, db)?);
    }
    for (label, bytes) in locks {
        // A lock file that cannot be read protects nothing, and must stop a collection rather than lose data.
        for (step, locked) in &Lock::parse(&label, &bytes)?.steps {
            for (path, content) in locked.record.deps.iter().chain(&locked.outs) {
                labels.content(content, format!("{label}: {step}: {path}"));
            }
        }
    }
    for aside in crate::kept::read(source.home, app.clock.now())? {
        labels.content(&aside.content, format!("kept: {}", aside.path));
    }
    if let Some(db) = source.db {
        for (content, profile) in app.block(db.profiles())? {
            let described =
                [false, true].into_iter().find_map(|tree| labels.0.get(&(content, tree)).cloned());
            // A profile that is not here can be made again, so it is never missed.
            if let Some(label) = described.filter(|_| stored.has(&profile).unwrap_or(false)) {
                labels.0.entry((profile, false)).or_insert_with(|| format!("profile of {label}"));
            }
        }
    }
    Ok(labels.0.into_iter().map(|((digest, tree), label)| Root { digest, tree, label }).collect())
}

fn metadata(
    app: &App<'_>,
    source: &Source<'_>,
    db: &Db,
    stored: &Stored,
    labels: &mut Labels,
) -> anyhow::Result<()> {
    let store = app.store()?;
    for dataset in app.block(db.datasets())? {
        for version in app.block(db.dataset_versions(&dataset.name))? {
            let label = format!("{}@{}", dataset.name, version.version);
            labels.add(version.content, version.kind == "tree", label);
        }
    }
    for digest in app.block(db.roots(&source.keep))? {
        if stored.has(&digest)? {
            let tree = is_tree(store, &digest, source.lenient)?;
            labels.add(digest, tree, digest.short());
        }
    }
    Ok(())
}

/// What is below a listing that cannot be read cannot be told, so a collection must not go on then.
fn is_tree(store: &Store, digest: &Digest, lenient: bool) -> anyhow::Result<bool> {
    match store.is_tree(digest) {
        Err(_) if lenient => Ok(false),
        known => Ok(known?),
    }
}

fn locks_of_runs(app: &App<'_>, source: &Source<'_>, db: &Db) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let store = app.store()?;
    let mut locks = Vec::new();
    for run in app.block(db.kept_runs(&source.keep))? {
        let Some(lock) = run.lock else { continue };
        match store.get(&lock) {
            Ok(bytes) => locks.push((format!("run {}", run.id.short()), bytes)),
            Err(tidemill_store::Error::Missing { .. }) => {}
            Err(_) if source.lenient => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(locks)
}
