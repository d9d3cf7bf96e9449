//! Commits what environments run to the project's repository, or to a remote of it. Neither the working tree nor the index nor a branch
//! that is checked out is touched: objects are made, and one reference is moved from the value that it had.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tidemill_deliver::record::EnvironmentRecord;
use tidemill_deliver::release::Release;
use tidemill_project::Project;
use tidemill_server::delivery::{Ledger, LedgerPlace, Written, endpoint_name};

use super::triggers::{Stamp, read, stamp};
use crate::git::{Said, git, git_with, tip};
use crate::home::Home;

/// How often a commit is made anew, because the branch has moved on meanwhile, before it is tried again later.
const ATTEMPTS: u32 = 5;
/// The most characters that are kept of what a remote says.
const SAID: usize = 2_000;
/// The value of a reference that is not there.
const NOTHING: &str = "0000000000000000000000000000000000000000";

/// The repository of a project.
#[derive(Debug)]
pub(super) struct ProjectLedger {
    root: PathBuf,
    project: String,
    /// The project file when it was last read, and what it said.
    known: Mutex<(Option<Stamp>, Vec<LedgerPlace>)>,
}

/// The ledger of the project whose server this is; none where it is the server of no project.
pub(super) fn open(home: &Home) -> Option<Arc<dyn Ledger>> {
    let (root, about) = (home.project.as_ref()?, home.about.as_ref()?);
    let (root, project) = (root.clone(), about.project.clone());
    Some(Arc::new(ProjectLedger { root, project, known: Mutex::default() }))
}

#[async_trait]
impl Ledger for ProjectLedger {
    fn project(&self) -> &str {
        &self.project
    }

    async fn places(&self) -> Vec<LedgerPlace> {
        let stamp = stamp(&self.root);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp.is_some() && known.0 != stamp {
            known.0 = stamp;
            // What cannot be read leaves everything as it was; the triggers say why.
            if let Ok(project) = read(&self.root) {
                known.1 = places(&project);
            }
        }
        known.1.clone()
    }

    async fn write(&self, place: &LedgerPlace, record: &EnvironmentRecord) -> Result<Written, String> {
        let (root, place, record) = (self.root.clone(), place.clone(), record.clone());
        tokio::task::spawn_blocking(move || write(&root, &place, &record))
            .await
            .map_err(|error| error.to_string())?
    }
}

/// Where the records of a project's environments are written.
fn places(project: &Project) -> Vec<LedgerPlace> {
    let Some(release) = &project.release else { return Vec::new() };
    let endpoint = release.endpoint.as_ref().unwrap_or(&release.model);
    let last = release.environments.len().saturating_sub(1);
    let place =
        |(at, (name, environment)): (usize, (&tidemill_core::Name, &tidemill_project::Environment))| {
            let declared = environment.git.as_ref().or(release.git.as_ref())?;
            Some(LedgerPlace {
                environment: name.to_string(),
                endpoint: endpoint_name(endpoint.as_str(), name.as_str(), at == last),
                path: declared.file(name),
                branch: declared.branch.clone(),
                remote: declared.push.clone(),
                pull_request: declared.pull_request,
            })
        };
    release.environments.iter().enumerate().filter_map(place).collect()
}

/// Where a commit went, or that its branch was not where it had been.
enum Moved {
    There { said: Option<String> },
    Elsewhere,
}

fn write(root: &Path, place: &LedgerPlace, record: &EnvironmentRecord) -> Result<Written, String> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?.line();
    let top = PathBuf::from(top.map_err(|why| format!("the project's repository cannot be used: {why}"))?);
    let prefix = git(root, &["rev-parse", "--show-prefix"])?.line()?;
    let repository =
        Repository { top: &top, path: format!("{prefix}{}", place.path), remote: place.remote.as_deref() };
    let branch = if place.pull_request { proposed(place, record) } else { place.branch.clone() };
    if repository.remote.is_none() && !place.pull_request {
        repository.not_checked_out(&branch)?;
    }
    for _ in 0..ATTEMPTS {
        let there = if place.pull_request { repository.tip(&branch)? } else { None };
        let base = repository.tip(&place.branch)?.ok_or_else(|| {
            let whereabouts = repository.remote.map_or(String::new(), |remote| format!(" at `{remote}`"));
            format!(
                "there is no branch `{}`{whereabouts}; make it, or name another one below `git:`",
                place.branch
            )
        })?;
        for tip in there.iter().chain([&base]) {
            if let Some(commit) = repository.find(tip, record)? {
                return Ok(Written { branch, commit, said: None });
            }
        }
        if there.is_some() {
            return Err(format!(
                "the branch `{branch}` is there already and is of something else; remove it"
            ));
        }
        let commit = repository.commit(&base, record)?;
        let before = if place.pull_request { NOTHING } else { base.as_str() };
        match repository.move_to(&branch, &commit, before)? {
            Moved::There { said } => return Ok(Written { branch, commit, said }),
            Moved::Elsewhere => {}
        }
    }
    Err(format!("`{branch}` moved on {ATTEMPTS} times while a commit was made"))
}

/// The branch of a change that a person is to merge. A release that comes back later gets another one.
fn proposed(place: &LedgerPlace, record: &EnvironmentRecord) -> String {
    let release = record.rolled_back.as_ref().map(|(release, _)| release).or(record.runs.as_ref());
    let digest = release.map(|release| Release::digest(release).short()).unwrap_or_default();
    format!("tidemill/{}/{digest}-{}", place.environment, record.rollout)
}

struct Repository<'a> {
    top: &'a Path,
    /// The file, from the top of the repository.
    path: String,
    remote: Option<&'a str>,
}

impl Repository<'_> {
    fn git(&self, arguments: &[&str]) -> Result<Said, String> {
        git(self.top, arguments)
    }

    /// Where a branch is now, with its objects here; nothing where it is not there.
    fn tip(&self, branch: &str) -> Result<Option<String>, String> {
        let found = tip(self.top, branch, self.remote)?;
        let (Some(tip), Some(remote)) = (&found, self.remote) else { return Ok(found) };
        if !self.git(&["cat-file", "-e", &format!("{tip}^{{commit}}")])?.good {
            // The objects alone: neither `FETCH_HEAD` nor a branch of the remote as it was seen last.
            let quiet = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
            let reference = format!("refs/heads/{branch}");
            let said = self.git(&[&quiet[..], &["--refmap=", "--", remote, &reference]].concat())?;
            if !said.good {
                return Err(format!("`{branch}` cannot be fetched from `{remote}`: {}", said.why()));
            }
        }
        Ok(found)
    }

    /// The commit that wrote the record, if it is part of what a branch has.
    fn find(&self, tip: &str, record: &EnvironmentRecord) -> Result<Option<String>, String> {
        let path = format!(":(top,literal){}", self.path);
        // Commits are not older than what they are of; a day for clocks that disagree.
        let since = format!("--since={}", seconds(record) - 86_400);
        let mark = format!("--grep={}", record.mark());
        let said =
            self.git(&["rev-list", "-1", "--fixed-strings", &since, &mark, tip, "--", &path])?.line()?;
        Ok(Some(said).filter(|commit| !commit.is_empty()))
    }

    /// Makes a commit on top of another, with an index of its own. The same record on the same commit makes the same one.
    fn commit(&self, base: &str, record: &EnvironmentRecord) -> Result<String, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let index = folder.path().join("index");
        let index = index.to_str().ok_or("the folder for temporary files has no name in UTF-8")?;
        let own = [("GIT_INDEX_FILE", index)];
        let blob = git_with(self.top, &["hash-object", "-w", "--stdin"], &[], &record.text())?.line()?;
        git_with(self.top, &["read-tree", base], &own, "")?.line()?;
        let entry = format!("100644,{blob},{}", self.path);
        let added = git_with(self.top, &["update-index", "--add", "--cacheinfo", &entry], &own, "")?.line();
        added.map_err(|why| format!("`{}` cannot be a file there: {why}", self.path))?;
        let tree = git_with(self.top, &["write-tree"], &own, "")?.line()?;
        let date = format!("@{} +0000", seconds(record));
        let people = [
            ("GIT_AUTHOR_NAME", "Tidemill"),
            ("GIT_AUTHOR_EMAIL", "tidemill@localhost"),
            ("GIT_COMMITTER_NAME", "Tidemill"),
            ("GIT_COMMITTER_EMAIL", "tidemill@localhost"),
        ];
        // Whoever starts the server may say whose commits they are.
        let unsaid = people.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
        let dates = [("GIT_AUTHOR_DATE", date.as_str()), ("GIT_COMMITTER_DATE", date.as_str())];
        let environment: Vec<(&str, &str)> = unsaid.chain(dates).collect();
        git_with(self.top, &["commit-tree", &tree, "-p", base], &environment, &record.message())?.line()
    }

    /// Moves a branch to a commit from where it was.
    fn move_to(&self, branch: &str, commit: &str, before: &str) -> Result<Moved, String> {
        let reference = format!("refs/heads/{branch}");
        let Some(remote) = self.remote else {
            let moved =
                self.git(&["update-ref", "-m", "what an environment runs", &reference, commit, before])?;
            return Ok(if moved.good { Moved::There { said: None } } else { Moved::Elsewhere });
        };
        let target = format!("{commit}:{reference}");
        let pushed = self.git(&["push", "--porcelain", "--no-verify", "--", remote, &target])?;
        if pushed.good {
            return Ok(Moved::There { said: said(&pushed.err) });
        }
        let refusal = pushed.out.lines().find_map(|line| line.strip_prefix("!\t")?.split('\t').nth(1));
        // `[remote rejected]` is a refusal; these say that somebody else has pushed.
        if refusal.is_some_and(|why| why.starts_with("[rejected]") || why.contains("cannot lock ref")) {
            return Ok(Moved::Elsewhere);
        }
        let words = said(&pushed.err).unwrap_or_else(|| pushed.why());
        let refusal = refusal.map(|refusal| format!("{refusal}: ")).unwrap_or_default();
        Err(format!("the push to `{branch}` of `{remote}` failed: {refusal}{words}"))
    }

    /// Commits do not appear below the feet of somebody who works on the branch.
    fn not_checked_out(&self, branch: &str) -> Result<(), String> {
        let worktrees = self.git(&["worktree", "list", "--porcelain"])?.line()?;
        let line = format!("branch refs/heads/{branch}");
        if worktrees.lines().any(|found| found == line) {
            return Err(format!(
                "the branch `{branch}` is checked out, and nobody's working tree is changed; below `git:`, name a \
                 remote with `push`, or another branch, or say `pull_request: true`"
            ));
        }
        Ok(())
    }
}

fn seconds(record: &EnvironmentRecord) -> i64 {
    record.at.millis().div_euclid(1_000)
}

/// What a remote said to whoever pushed.
fn said(err: &str) -> Option<String> {
    let lines: Vec<&str> = err
        .lines()
        .filter_map(|line| line.strip_prefix("remote:").map(str::trim))
        .filter(|line| !line.is_empty())
        .collect();
    let words: String = lines.join(" ").chars().take(SAID).collect();
    (!words.is_empty()).then_some(words)
}
