//! What triggers need of the project: its file, its data, its repository, and this program for their jobs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use tidemill_core::declare::{MessageSource, Secret, Trigger, TriggerAction, When};
use tidemill_core::{Clock, Digest, JobState};
use tidemill_db::Db;
use tidemill_db::jobs::Job;
use tidemill_deliver::record::MARK;
use tidemill_project::Project;
use tidemill_registry::Registry;
use tidemill_server::triggers::{Folder, Host, Triggers, Worked};
use tidemill_store::Remote;
use tidemill_trigger::Details;
use tidemill_trigger::message::Source;
use tokio_util::sync::CancellationToken;

use super::job_release::{Choice, choose};
use super::listen;
use crate::app::{PROJECT_FILE, reason};
use crate::failure::Failure;
use crate::git::{git, tip};
use crate::home::Home;
use crate::job::{self, Ended};

/// The longest secret, in bytes.
const SECRET: u64 = 64 << 10;
/// Logs of jobs that are kept: those of the newest.
const LOGS: u64 = 1_000;

/// The triggers of the project whose server this is; none where it is the server of no project.
pub(super) fn open(home: &Home, registry: &Registry) -> anyhow::Result<Option<Triggers>> {
    let (Some(root), Some(about)) = (&home.project, &home.about) else { return Ok(None) };
    let host = ProjectHost {
        root: root.clone(),
        database: home.named_database.clone(),
        db: registry.db().clone(),
        logs: home.dir.join("jobs"),
        seen: Mutex::new(None),
    };
    let clock: Arc<dyn Clock> = Arc::clone(registry.clock());
    Triggers::new(registry.db().clone(), clock, about.project.as_str(), Arc::new(host))
        .map(Some)
        .map_err(|why| Failure::usage(format!("the triggers cannot be used: {why}")).into())
}

pub(super) fn read(root: &Path) -> anyhow::Result<Project> {
    let bytes = fs_err::read(root.join(PROJECT_FILE))?;
    Ok(tidemill_project::parse_bytes(&bytes, PROJECT_FILE)?)
}

/// Size and time of a file, by which it is told that it is another one.
pub(super) type Stamp = (u64, SystemTime);

/// What the project file is like now; nothing where it is not there.
pub(super) fn stamp(root: &Path) -> Option<Stamp> {
    let meta = fs_err::metadata(root.join(PROJECT_FILE)).ok()?;
    Some((meta.len(), meta.modified().ok()?))
}

struct ProjectHost {
    root: PathBuf,
    database: Option<String>,
    db: Db,
    logs: PathBuf,
    /// The project file when it was last read.
    seen: Mutex<Option<Stamp>>,
}

#[async_trait]
impl Host for ProjectHost {
    fn reload(&self) -> Option<Result<Vec<Trigger>, String>> {
        let now = stamp(&self.root)?;
        let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if before == Some(now) {
            return None;
        }
        Some(match read(&self.root) {
            Ok(project) => Ok(project.resolved_triggers()),
            Err(error) => Err(match error.downcast_ref::<tidemill_project::Report>() {
                Some(report) => report.render(false),
                None => error.to_string(),
            }),
        })
    }

    fn secret(&self, secret: &Secret) -> Result<String, String> {
        let text = match secret {
            Secret::Env(name) => {
                std::env::var(name).map_err(|_| format!("the environment variable `{name}` is not set"))?
            }
            Secret::File(path) => {
                let path = self.root.join(path);
                let unreadable = |error: std::io::Error| format!("`{}`: {}", path.display(), reason(&error));
                if fs_err::metadata(&path).map_err(unreadable)?.len() > SECRET {
                    return Err(format!("`{}` is larger than 64 KiB", path.display()));
                }
                fs_err::read_to_string(&path).map_err(unreadable)?
            }
        };
        let text = text.trim();
        if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
    }

    async fn stamp(&self, paths: &[String]) -> Result<String, String> {
        let mut seen = Vec::new();
        let (local, remote): (Vec<String>, Vec<String>) =
            paths.iter().cloned().partition(|path| !is_remote(path));
        for address in &remote {
            seen.extend(objects(address).await?);
        }
        let root = self.root.clone();
        let files = tokio::task::spawn_blocking(move || files(&root, &local))
            .await
            .map_err(|error| error.to_string())??;
        seen.extend(files);
        seen.sort();
        Ok(Digest::of(seen.join("\n").as_bytes()).to_string())
    }

    fn folders(&self, paths: &[String]) -> Vec<Folder> {
        paths.iter().filter(|path| !is_remote(path)).filter_map(|path| folder(&self.root, path)).collect()
    }

    async fn branch(&self, branch: &str, remote: Option<&str>) -> Result<Option<String>, String> {
        let (root, branch, remote) = (self.root.clone(), branch.to_owned(), remote.map(str::to_owned));
        tokio::task::spawn_blocking(move || at_commit(&root, &branch, remote.as_deref()))
            .await
            .map_err(|error| error.to_string())?
    }

    async fn without_records(&self, commit: &str) -> String {
        // It may be what a webhook says.
        if !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return commit.to_owned();
        }
        let (root, own) = (self.root.clone(), commit.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            let mark = format!("--grep=^{MARK} ");
            // Commits of records were made here, so their objects are here; of others nothing may be known.
            let said = git(&root, &["rev-list", "-1", "--first-parent", "--invert-grep", &mark, &own, "--"]);
            said.ok().and_then(|said| said.line().ok()).filter(|found| !found.is_empty())
        });
        found.await.ok().flatten().unwrap_or_else(|| commit.to_owned())
    }

    async fn connect(
        &self,
        project: &str,
        trigger: &Trigger,
        source: &MessageSource,
    ) -> Result<Box<dyn Source>, String> {
        let password = trigger.secret.as_ref().map(|secret| self.secret(secret)).transpose();
        let password = password.map_err(|why| format!("the secret cannot be read: {why}"))?;
        let declared = read(&self.root).map_err(|error| error.to_string())?.listened().remove(&trigger.name);
        let declared = declared.ok_or("the project file no longer has the trigger")?;
        listen::connect(project, trigger, source, declared, password).await
    }

    async fn work(&self, job: &Job, started: u64, stop: CancellationToken) -> Worked {
        let failed = |reason: String| Worked { state: JobState::Failed, reason: Some(reason) };
        let actions: Vec<TriggerAction> = match serde_json::from_str(&job.actions) {
            Ok(actions) => actions,
            Err(error) => return failed(format!("what is to be done cannot be read: {error}")),
        };
        let details: Details = serde_json::from_str(&job.details).unwrap_or_default();
        forget_logs(&self.logs, job.id);
        let log = self.logs.join(format!("{}.log", job.id));
        let mut said = None;
        for (at, action) in actions.iter().enumerate() {
            let has_run = actions[..at].contains(&TriggerAction::Run);
            let mut arguments = match self.words(*action, job, &details, has_run).await {
                Ok(Words::Typed(words)) => words,
                Ok(Words::Nothing(why)) => {
                    tracing::info!(job.id = job.id, "{why}");
                    said = Some(why);
                    continue;
                }
                Err(why) => return failed(format!("`{}`: {why}", action.name())),
            };
            arguments.extend(["--job".to_owned(), format!("{started}:{}", std::process::id())]);
            if let Some(database) = &self.database {
                arguments.extend(["--database".to_owned(), database.clone()]);
            }
            match job::run(&self.root, arguments, log.clone(), stop.clone()).await {
                Ended::Well => {}
                Ended::Badly(why) => return failed(format!("`{}`: {why}", action.name())),
                Ended::Stopped => return Worked { state: JobState::Cancelled, reason: None },
            }
        }
        Worked { state: JobState::Succeeded, reason: said }
    }
}

/// What is to be done for an action.
enum Words {
    /// What is typed.
    Typed(Vec<String>),
    /// Nothing, and why.
    Nothing(String),
}

impl ProjectHost {
    /// What is typed for an action; `has_run` says whether the job has run the pipeline before it.
    async fn words(
        &self,
        action: TriggerAction,
        job: &Job,
        details: &Details,
        has_run: bool,
    ) -> Result<Words, String> {
        let words: &[&str] = match action {
            TriggerAction::Check => &["check"],
            // Somebody at the keyboard may be running the pipeline.
            TriggerAction::Run => &["run", "--wait"],
            TriggerAction::Ci | TriggerAction::Test => {
                return self.commit(action, job, details).await.map(Words::Typed);
            }
            TriggerAction::Release => {
                let (project, own) = self.declared(job)?;
                let declared = project.release.as_ref();
                let first = || declared?.environments.keys().next().map(ToString::to_string);
                let environment = own.and_then(|trigger| trigger.to).or_else(first);
                let (Some(declared), Some(environment)) = (declared, environment) else {
                    let why = "the project declares no environment to release to; add one below `release:`";
                    return Err(why.to_owned());
                };
                let chosen = choose(&self.db, job, &declared.model, details, has_run).await;
                let mut words = vec!["release".to_owned(), "--to".to_owned(), environment];
                match chosen.map_err(|error| error.to_string())? {
                    Choice::Version(version) => words.push(version),
                    Choice::Promoted(version, threshold) => {
                        words.push(version);
                        let threshold =
                            threshold.map(|threshold| ["--threshold".to_owned(), threshold.to_string()]);
                        words.extend(threshold.into_iter().flatten());
                    }
                    Choice::Newest => {}
                    Choice::Nothing(why) => return Ok(Words::Nothing(why)),
                }
                return Ok(Words::Typed(words));
            }
        };
        Ok(Words::Typed(words.iter().map(|word| (*word).to_owned()).collect()))
    }

    /// The project as its file is now, and the trigger of a job in it, if that is still there.
    fn declared(&self, job: &Job) -> Result<(Project, Option<Trigger>), String> {
        let project = read(&self.root).map_err(|error| error.to_string())?;
        let own = project.resolved_triggers().into_iter().find(|trigger| trigger.name == job.trigger);
        Ok((project, own))
    }

    /// What is typed to test the commit that an event is about, or else the one that the trigger's branch is at, or what is checked out.
    async fn commit(
        &self,
        action: TriggerAction,
        job: &Job,
        details: &Details,
    ) -> Result<Vec<String>, String> {
        let (_, own) = self.declared(job)?;
        let (branch, remote) = match own.as_ref().map(|trigger| &trigger.when) {
            Some(When::Git { branch, remote, .. }) => (Some(branch), remote.clone()),
            _ => (None, None),
        };
        let commit = match (details.get("commit"), branch) {
            (Some(commit), _) => commit.clone(),
            // Somebody fired it by hand.
            (None, Some(branch)) => self
                .branch(branch, remote.as_deref())
                .await?
                .ok_or_else(|| format!("there is no branch `{branch}`"))?,
            (None, None) => "HEAD".to_owned(),
        };
        let mut words = vec!["ci".to_owned(), "--commit".to_owned(), commit];
        words.extend(remote.into_iter().flat_map(|remote| ["--remote".to_owned(), remote]));
        match (action, own.and_then(|trigger| trigger.to)) {
            (TriggerAction::Test, _) => words.push("--no-release".to_owned()),
            (_, Some(to)) => words.extend(["--to".to_owned(), to]),
            (_, None) => {}
        }
        Ok(words)
    }
}

/// Removes the logs of all jobs but the newest, of which this is one. One that cannot be removed is tried again with the next job.
fn forget_logs(folder: &Path, newest: u64) {
    for file in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        let name = file.file_name();
        let job = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse::<u64>().ok());
        if job.is_some_and(|job| job.saturating_add(LOGS) <= newest)
            && let Err(error) = fs_err::remove_file(file.path())
        {
            tracing::warn!(%error, "an old log of a job cannot be removed");
        }
    }
}

fn is_remote(path: &str) -> bool {
    path.contains("://") && !path.starts_with("file://")
}

/// The root and the path below it that a local path means.
fn place<'p>(root: &'p Path, path: &'p str) -> (&'p Path, &'p str) {
    match path.strip_prefix("file://") {
        Some(path) => (Path::new("/"), path.trim_start_matches('/')),
        None => (root, path),
    }
}

/// Where the first wildcard of a path is.
fn wildcard(path: &str) -> Option<usize> {
    path.find(['*', '?', '[', '{'])
}

/// The folder in which the files of a path appear; nothing while it is not there.
fn folder(root: &Path, path: &str) -> Option<Folder> {
    let (root, path) = place(root, path);
    let whole = root.join(path);
    if wildcard(path).is_none() && whole.is_dir() {
        return Some(Folder { path: whole, below: true });
    }
    let fixed = wildcard(path).map_or(path, |at| &path[..at]);
    let (parent, rest) =
        fixed.rsplit_once('/').map_or(("", path), |(parent, _)| (parent, &path[parent.len() + 1..]));
    let parent = root.join(parent);
    // With a wildcard in the name of a folder, the files are in folders below.
    parent.is_dir().then(|| Folder { path: parent, below: rest.contains('/') || rest.contains("**") })
}

/// Every file behind these paths, with size and time.
fn files(root: &Path, paths: &[String]) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for path in paths {
        let (root, below) = place(root, path);
        let matches =
            tidemill_pipeline::matching(root, below).map_err(|error| format!("`{path}`: {error}"))?;
        for file in matches {
            note(&root.join(file), &mut found).map_err(|error| format!("`{path}`: {}", reason(&error)))?;
        }
    }
    Ok(found)
}

fn note(path: &Path, found: &mut Vec<String>) -> std::io::Result<()> {
    // What is gone again is not there.
    let Ok(meta) = fs_err::metadata(path) else { return Ok(()) };
    if meta.is_dir() {
        for entry in fs_err::read_dir(path)? {
            note(&entry?.path(), found)?;
        }
        return Ok(());
    }
    let time = meta.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    found.push(format!("{} {} {time}", path.display(), meta.len()));
    Ok(())
}

/// Every object behind an address; with wildcards, everything below the last folder that is named.
async fn objects(address: &str) -> Result<Vec<String>, String> {
    let fixed = wildcard(address).map_or(address, |at| &address[..at]);
    let parent = fixed.rsplit_once('/').map_or(fixed, |(parent, _)| parent);
    let name = if wildcard(address).is_none() { address.rsplit('/').next() } else { None };
    let said = |error: tidemill_store::Error| error.to_string();
    let all = Remote::open(parent).map_err(said)?.stamps().await.map_err(said)?;
    // An address without wildcards is a file or a folder.
    let wanted = all
        .into_iter()
        .filter(|(object, ..)| name.is_none_or(|name| object.split('/').any(|part| part == name)));
    Ok(wanted.map(|(name, size, stamp)| format!("{address} {name} {size} {stamp}")).collect())
}

/// The commit of a branch: of the remote, else of `origin`, else of the repository itself.
fn at_commit(root: &Path, branch: &str, remote: Option<&str>) -> Result<Option<String>, String> {
    let remotes = match remote {
        Some(_) => String::new(),
        None => git(root, &["remote"])?.out,
    };
    tip(root, branch, remote.or_else(|| remotes.lines().find(|name| *name == "origin")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_old_jobs_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let old = ["1.log", "23.log", "24.log", "1023.log", "notes.txt", "x.log"];
        old.iter().for_each(|name| fs_err::write(folder.path().join(name), "").unwrap());
        forget_logs(folder.path(), 1023);
        let left = old.map(|name| folder.path().join(name).exists());
        assert_eq!(left, [false, false, true, true, true, true]);
        forget_logs(&folder.path().join("none"), 5000);
    }

    #[test]
    fn folders_that_are_watched() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("data/parts/a")).unwrap();
        for (path, expected) in [
            ("data", Some(("data", true))),
            ("data/x.csv", Some(("data", false))),
            ("data/*.csv", Some(("data", false))),
            ("data/parts/*/x-*.csv", Some(("data/parts", true))),
            ("data/**", Some(("data", true))),
            ("x.csv", Some(("", false))),
            ("none/x.csv", None),
        ] {
            let found = folder(root.path(), path).map(|found| {
                (found.path.strip_prefix(root.path()).unwrap().to_str().unwrap().to_owned(), found.below)
            });
            let expected = expected.map(|(path, below)| (path.to_owned(), below));
            assert_eq!(
                found.map(|(path, below)| (path.trim_end_matches('/').to_owned(), below)),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn a_stamp_changes_with_the_files() {
        let root = tempfile::tempdir().unwrap();
        let paths = ["data/*.csv".to_owned()];
        assert_eq!(files(root.path(), &paths).unwrap(), Vec::<String>::new());
        fs_err::create_dir_all(root.path().join("data")).unwrap();
        fs_err::write(root.path().join("data/a.csv"), "x").unwrap();
        let one = files(root.path(), &paths).unwrap();
        fs_err::write(root.path().join("data/other.txt"), "x").unwrap();
        assert_eq!(files(root.path(), &paths).unwrap(), one);
        fs_err::write(root.path().join("data/a.csv"), "xy").unwrap();
        assert_ne!(files(root.path(), &paths).unwrap(), one);
    }
}
