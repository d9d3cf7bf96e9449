//! The composition root: finds the project, and opens database and store when a command needs them.
//!
//! This is the one place that reads the environment and decides where things lie in `.tidemill/`.

use std::cell::OnceCell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tidemill_core::{Actor, Cancel, Clock, EventKind, Identity, NewEvent, SystemClock};
use tidemill_db::Db;
use tidemill_pipeline::StoreContents;
use tidemill_project::{Project, Resolved};
use tidemill_store::{StatCache, Store};
use tokio::runtime::Runtime;

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::{Bar, Console};
use crate::users::User;

pub(crate) use tidemill_pipeline::LOCK_FILE;
pub(crate) use tidemill_project::FILE_NAME as PROJECT_FILE;

/// A commit, and who wrote what it brings, by all names under which they may be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) commit: String,
    pub(crate) authors: Vec<String>,
}

/// An opened project.
pub(crate) struct App<'a> {
    pub(crate) console: &'a Console,
    pub(crate) root: PathBuf,
    pub(crate) project: Project,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) actor: Actor,
    pub(crate) cancel: Cancel,
    /// The event that the command is a consequence of.
    pub(crate) cause: Option<u64>,
    /// The commit that this is a clean checkout of, where it is one.
    pub(crate) committed: Option<Committed>,
    home: PathBuf,
    database: Option<String>,
    runtime: Runtime,
    db: OnceCell<Db>,
    store: OnceCell<Store>,
    contents: OnceCell<StoreContents>,
}

impl<'a> App<'a> {
    /// Finds the project file in the folder given or in the current one and those above it, and parses it.
    pub(crate) fn open(global: &Global, console: &'a Console) -> anyhow::Result<Self> {
        let root = find_root(global.project.as_deref())?;
        let mut app = Self::open_at(root, global.database.clone(), console)?;
        if let Some(job) = global.job {
            crate::job::end_with(job.server);
            app.be_part_of(job.event);
        }
        Ok(app)
    }

    /// What the command records is a consequence of this event, and Tidemill itself acts.
    pub(crate) fn be_part_of(&mut self, event: u64) {
        self.cause = Some(event);
        self.actor = Actor::system("trigger");
    }

    /// The same project in another folder, with this database.
    pub(crate) fn open_beside(&self, root: PathBuf) -> anyhow::Result<Self> {
        let database = match &self.database {
            Some(url) => url.clone(),
            None => utf8(&self.inside("tidemill.db"))?.to_owned(),
        };
        let mut app = Self::open_at(root, Some(database), self.console)?;
        (app.cause, app.actor) = (self.cause, self.actor.clone());
        Ok(app)
    }

    /// Opens the project in exactly this folder.
    pub(crate) fn open_at(
        root: PathBuf,
        database: Option<String>,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let file = root.join(PROJECT_FILE);
        let bytes = fs_err::read(&file).map_err(|error| {
            Failure::usage(format!("cannot read `{}`: {}", file.display(), reason(&error)))
                .hint("check the file's permissions")
        })?;
        let project = tidemill_project::parse_bytes(&bytes, PROJECT_FILE)?;
        tracing::debug!(project.name = %project.project, project.root = %root.display(), "opened the project");
        Ok(Self {
            console,
            home: root.join(".tidemill"),
            root,
            project,
            clock: Arc::new(SystemClock),
            actor: Actor::user(user_name()),
            cancel: cancel_on_signals()?,
            cause: None,
            committed: None,
            database,
            runtime: runtime()?,
            db: OnceCell::new(),
            store: OnceCell::new(),
            contents: OnceCell::new(),
        })
    }

    /// A path below `.tidemill/`.
    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// The folder `.tidemill/`.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// This project as a user of its store.
    pub(crate) fn user(&self) -> Option<User> {
        User::new(&self.home, self.project.project.as_str(), self.database.as_deref())
    }

    /// The file of the database, where it is one.
    pub(crate) fn database_file(&self) -> Option<PathBuf> {
        match &self.database {
            Some(url) => crate::users::file_of(url).map(Path::to_owned),
            None => Some(self.inside("tidemill.db")),
        }
    }

    /// Runs asynchronous work to its end.
    pub(crate) fn block<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The runtime, for tasks that go on beside the command.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The metadata database, opened at the first use.
    pub(crate) fn db(&self) -> anyhow::Result<&Db> {
        if let Some(db) = self.db.get() {
            return Ok(db);
        }
        let db = if let Some(url) = &self.database {
            self.block(Db::open(url, self.clock.clone()))?
        } else {
            self.make_home()?;
            let file = self.inside("tidemill.db");
            self.block(Db::open(utf8(&file)?, self.clock.clone()))?
        };
        Ok(self.db.get_or_init(|| db))
    }

    /// The local store, opened at the first use.
    pub(crate) fn store(&self) -> anyhow::Result<&Store> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        self.make_home()?;
        let dir = match self.project.store.as_ref().and_then(|store| store.path.as_deref()) {
            Some(path) => self.root.join(path),
            None => self.inside("store"),
        };
        let store = crate::home::open(&dir, crate::home::behind(&self.project, &self.root)?)?;
        crate::users::register(&store, self.user().as_ref())?;
        Ok(self.store.get_or_init(|| store))
    }

    /// The store together with the digests of unchanged files, as the pipeline uses them.
    pub(crate) fn contents(&self) -> anyhow::Result<&StoreContents> {
        if let Some(contents) = self.contents.get() {
            return Ok(contents);
        }
        let stat = StatCache::open(&self.inside("stat"))?;
        let contents = StoreContents::new(self.store()?.clone(), stat);
        Ok(self.contents.get_or_init(|| contents))
    }

    /// Digests of unchanged files.
    pub(crate) fn stat(&self) -> anyhow::Result<&StatCache> {
        Ok(self.contents()?.stat())
    }

    /// A progress bar for this command.
    pub(crate) fn bar(&self) -> Bar {
        Bar::new(self.console, &self.cancel)
    }

    /// An event by this actor, now.
    pub(crate) fn event(&self, kind: EventKind) -> NewEvent {
        NewEvent { at: self.clock.now(), actor: self.actor.clone(), kind, cause: self.cause }
    }

    /// Appends events that come with no other change of state; gives their numbers.
    pub(crate) fn record(&self, events: Vec<NewEvent>) -> anyhow::Result<Vec<u64>> {
        let db = self.db()?;
        Ok(self.block(async { db.begin().await?.commit(events).await })?)
    }

    /// Parameter files read, overrides applied, templates and matrices expanded; the text of SQL files is read and
    /// templated, so that a step says all of what it does.
    pub(crate) fn resolve(&self, overrides: &[String]) -> anyhow::Result<Resolved> {
        let overrides = overrides.iter().map(|text| key_value(text)).collect::<Result<Vec<_>, _>>()?;
        let files = ProjectFiles { root: &self.root };
        let mut resolved = tidemill_project::resolve(&self.project, &files, &overrides)?;
        let scopes: Vec<_> = resolved.steps.iter().map(|step| resolved.scope(&step.name)).collect();
        for (step, scope) in resolved.steps.iter_mut().zip(&scopes) {
            crate::step::sql::read_text(&self.root, step, scope)?;
        }
        Ok(resolved)
    }

    /// The commit that the code is at, where the project is in Git.
    pub(crate) fn head_commit(&self) -> Option<String> {
        git(&self.root, &["rev-parse", "--verify", "--quiet", "HEAD"])
    }

    fn make_home(&self) -> anyhow::Result<()> {
        make_home(&self.home)
    }
}

/// Makes the folder of database and store if it is not there.
pub(crate) fn make_home(home: &Path) -> anyhow::Result<()> {
    if home.is_dir() {
        return Ok(());
    }
    fs_err::create_dir_all(home).map_err(|error| {
        Failure::new(format!("cannot create `{}`: {}", home.display(), reason(&error)))
            .hint("Tidemill keeps its database and store there; make the folder writable")
    })?;
    // Everything in it can be made again or is in the store: it never belongs in Git.
    fs_err::write(home.join(".gitignore"), "*\n")?;
    Ok(())
}

/// The path of a SQLite file as its driver wants it.
pub(crate) fn utf8(path: &Path) -> anyhow::Result<&str> {
    path.to_str().ok_or_else(|| {
        Failure::new(format!("the path `{}` is not UTF-8, and SQLite needs it to be", path.display()))
            .hint("move the project, or name a database with --database")
            .into()
    })
}

/// Runs `git` in `dir`; nothing if Git is not there or says no.
pub(crate) fn git(dir: &Path, args: &[&str]) -> Option<String> {
    let output = std::process::Command::new("git").arg("-C").arg(dir).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

/// An IO error without the path that `fs_err` puts before it, since our messages name it themselves.
pub(crate) fn reason(error: &std::io::Error) -> String {
    // `fs_err` keeps the system's own error behind the one that names the path.
    let inner =
        error.get_ref().and_then(|outer| outer.source()).and_then(|e| e.downcast_ref::<std::io::Error>());
    let text = inner.unwrap_or(error).to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

/// `key=value`.
pub(crate) fn key_value(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => {
            Err(Failure::usage(format!("`{text}` is not KEY=VALUE"))
                .hint("for example `--param train.seed=8`"))
        }
    }
}

struct ProjectFiles<'a> {
    root: &'a Path,
}

impl tidemill_project::Files for ProjectFiles<'_> {
    fn read(&self, path: &str) -> std::io::Result<String> {
        fs_err::read_to_string(self.root.join(path))
    }
}

pub(crate) fn find_root(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let start = match given {
        Some(dir) => dir.to_owned(),
        None => std::env::current_dir().context("cannot tell the current folder")?,
    };
    let start = fs_err::canonicalize(&start).map_err(|error| {
        Failure::usage(format!("cannot open the folder `{}`: {}", start.display(), reason(&error)))
            .hint("name the folder that holds `tidemill.yaml`")
    })?;
    let found = match given {
        Some(_) => start.join(PROJECT_FILE).is_file().then(|| start.clone()),
        None => start.ancestors().find(|dir| dir.join(PROJECT_FILE).is_file()).map(Path::to_owned),
    };
    found.ok_or_else(|| {
        let whereabouts = if given.is_some() { "" } else { " or in a folder above it" };
        Failure::usage(format!("there is no `{PROJECT_FILE}` in `{}`{whereabouts}", start.display()))
            .hint("`tidemill init` makes one; `-C DIR` names another folder")
            .into()
    })
}

pub(crate) fn user_name() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// How it is known who [`user_name`] is: a process runs under an account, and can be told any name.
pub(crate) fn identity() -> Identity {
    let accounts = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
    identity_of(&user_name(), rustix::process::getuid().as_raw(), &accounts)
}

fn identity_of(name: &str, uid: u32, accounts: &str) -> Identity {
    let is_own = |line: &str| {
        let mut fields = line.split(':');
        fields.next() == Some(name) && fields.nth(1).and_then(|field| field.parse().ok()) == Some(uid)
    };
    if accounts.lines().any(is_own) { Identity::Account } else { Identity::Claimed }
}

pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")
}

/// The first SIGINT or SIGTERM asks the work to stop, the second ends the process.
pub(crate) fn cancel_on_signals() -> anyhow::Result<Cancel> {
    let cancel = Cancel::new();
    let flag = cancel.clone();
    let mut signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ])
    .context("cannot handle signals")?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                if flag.is_cancelled() {
                    std::process::exit(crate::failure::Exit::Cancelled as i32);
                }
                flag.cancel();
            }
        })
        .context("cannot start a thread")?;
    Ok(cancel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_the_account_or_a_claim() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/users/ada:/bin/sh\nbroken\n";
        for (name, uid, wanted) in [
            ("ada", 1000, Identity::Account),
            ("ada", 1001, Identity::Claimed),
            ("bob", 1000, Identity::Claimed),
            ("root", 0, Identity::Account),
            ("broken", 0, Identity::Claimed),
            ("", 0, Identity::Claimed),
        ] {
            assert_eq!(identity_of(name, uid, accounts), wanted, "{name} {uid}");
        }
        assert_eq!(identity_of("ada", 1000, ""), Identity::Claimed);
    }
}
