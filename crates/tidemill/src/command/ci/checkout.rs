//! A commit in a folder of its own. The project's repository lends its objects and its remotes, and nothing of it is changed: neither
//! the working tree nor the index, a branch, or what it knows of a remote.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Pid;
use tidemill_core::Cancel;
use tidemill_trigger::hook::is_commit;

use crate::app::{App, Committed};
use crate::command::up::lock::is_there;
use crate::failure::Failure;
use crate::git::{Bounds, Said, git, git_within};
use crate::output::{bytes, count};

/// How long Git may take to fetch a commit, and to check it out.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// The most that files of a commit may occupy.
const LARGEST: u64 = 4 << 30;
/// The most files of a commit.
const MOST_FILES: usize = 200_000;
/// The longest list of files that is read.
const LONGEST_LIST: u64 = 64 << 20;
/// So many commits are looked through for those who wrote them.
const COMMITS: &str = "--max-count=500";
/// The most names that one commit, or a series of them, has as its authors.
const AUTHORS: usize = 200;
/// What folders of checkouts begin with.
const NAME: &str = "ci-";
/// The same of those that somebody wants to look at.
const KEPT: &str = "kept-ci-";

/// The repository that the project is in.
pub(super) struct Repository<'a> {
    root: &'a Path,
    cancel: &'a Cancel,
    /// Where its objects are.
    objects: PathBuf,
    /// The project's folder, from the top of the repository.
    prefix: String,
}

/// A commit, checked out.
pub(super) struct Checkout {
    folder: PathBuf,
    /// The project's folder in it.
    pub(super) root: PathBuf,
}

impl<'a> Repository<'a> {
    pub(super) fn of(app: &'a App<'_>) -> anyhow::Result<Self> {
        let (root, cancel) = (app.root.as_path(), &app.cancel);
        let ask = |what: &str| -> anyhow::Result<String> {
            let said = git(root, &["rev-parse", what]).map_err(Failure::new)?;
            said.line().map_err(|why| {
                Failure::usage(format!("the project is in no Git repository: {why}"))
                    .hint("`git init` makes one")
                    .into()
            })
        };
        let prefix = ask("--show-prefix")?;
        let common = ask("--git-common-dir")?;
        let objects = fs_err::canonicalize(root.join(common).join("objects"))?;
        Ok(Self { root, cancel, objects, prefix })
    }

    fn git(&self, folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Said, String> {
        let bounds = Bounds { time: PATIENCE, bytes: LONGEST_LIST, cancel: Some(self.cancel) };
        git_within(folder, arguments, environment, "", &bounds)
    }

    /// The full name of a commit that is here.
    fn known(&self, folder: &Path, revision: &str) -> Result<Option<String>, String> {
        let name = format!("{revision}^{{commit}}");
        let said = self.git(folder, &["rev-parse", "--verify", "--quiet", "--end-of-options", &name], &[])?;
        Ok(Some(said.out.trim().to_owned()).filter(|found| said.good && !found.is_empty()))
    }

    /// The full name of the commit that is meant. Of a branch or a tag that is not here the remote says which that is.
    pub(super) fn find(&self, revision: &str, remote: &str) -> anyhow::Result<String> {
        if let Some(commit) = self.known(self.root, revision).map_err(Failure::new)? {
            return Ok(commit);
        }
        if is_commit(revision) {
            return Ok(revision.to_ascii_lowercase());
        }
        let missing = |why: String| {
            Failure::usage(format!("there is no commit `{revision}` here or at `{remote}`{why}"))
                .hint("`git log` lists what is here; `--remote NAME` asks another place, which knows branches, tags and whole names")
        };
        let heads = [
            format!("refs/heads/{revision}"),
            format!("refs/tags/{revision}^{{}}"),
            format!("refs/tags/{revision}"),
        ];
        let mut arguments = vec!["ls-remote", "--", remote];
        arguments.extend(heads.iter().map(String::as_str));
        let said = self.git(self.root, &arguments, &[]).map_err(Failure::new)?;
        if !said.good {
            return Err(missing(format!(": {}", said.why())).into());
        }
        let at = |head: &String| {
            let of = |line: &str| {
                line.split_once('\t').filter(|(_, name)| name == head).map(|(commit, _)| commit.to_owned())
            };
            said.out.lines().find_map(of)
        };
        heads.iter().find_map(at).ok_or_else(|| missing(String::new()).into())
    }

    /// Puts a commit into a folder of its own, fetched from the remote where it is not here.
    pub(super) fn check_out(&self, app: &App<'_>, commit: &str, remote: &str) -> anyhow::Result<Checkout> {
        let tmp = app.inside("tmp");
        forget_old(&tmp);
        let folder = tmp.join(format!("{NAME}{}-{}", short(commit), std::process::id()));
        if folder.exists() {
            fs_err::remove_dir_all(&folder)?;
        }
        fs_err::create_dir_all(&folder)?;
        let checkout = Checkout { root: folder.join(&self.prefix), folder };
        match self.fill(&checkout.folder, commit, remote) {
            Ok(()) => Ok(checkout),
            Err(error) => {
                checkout.remove();
                Err(error)
            }
        }
    }

    fn fill(&self, folder: &Path, commit: &str, remote: &str) -> anyhow::Result<()> {
        let failed = |what: &str, why: String| {
            Failure::new(format!("the commit {} cannot be {what}: {why}", short(commit)))
        };
        let done = |what: &str, said: Result<Said, String>| -> anyhow::Result<()> {
            let said = said.map_err(|why| failed(what, why))?;
            if said.good { Ok(()) } else { Err(failed(what, said.why()).into()) }
        };
        let format = if commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        // Without a template there are no hooks of whoever runs this.
        done("checked out", self.git(folder, &["init", "--quiet", "--template=", format], &[]))?;
        let own = folder.join(".git/objects");
        let text = |path: &Path| -> anyhow::Result<String> { Ok(crate::app::utf8(path)?.to_owned()) };
        let lent = text(&self.objects)?;
        fs_err::create_dir_all(own.join("info"))?;
        fs_err::write(own.join("info/alternates"), format!("{lent}\n"))?;
        if self.known(folder, commit).map_err(|why| failed("looked for", why))?.is_none() {
            let own = text(&own)?;
            // The objects alone go to the checkout: nothing of the repository is written, not even what it last saw of the remote.
            let objects =
                [("GIT_OBJECT_DIRECTORY", own.as_str()), ("GIT_ALTERNATE_OBJECT_DIRECTORIES", &lent)];
            let quiet = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"];
            let arguments =
                [&quiet[..], &["--no-recurse-submodules", "--refmap=", "--", remote, commit]].concat();
            let fetched = self.git(self.root, &arguments, &objects).map_err(|why| failed("fetched", why))?;
            if !fetched.good {
                return Err(failed("fetched", format!("`{remote}` says: {}", fetched.why()))
                    .hint(format!("`git fetch {remote}` in the project folder may say more; `--remote NAME` asks another place"))
                    .into());
            }
        }
        self.is_small(folder, commit)?;
        done("checked out", self.git(folder, &["checkout", "--quiet", "--detach", commit], &[]))
    }

    /// Data belong into the store; a commit that is larger than code is refused before it fills the disk.
    fn is_small(&self, folder: &Path, commit: &str) -> anyhow::Result<()> {
        let listed = self.git(folder, &["ls-tree", "-r", "-l", "--full-tree", commit], &[]);
        let listed = listed.map_err(Failure::new)?;
        let is_cut = listed.out.len() as u64 >= LONGEST_LIST;
        let files = listed.out.lines().count();
        let sizes = listed.out.lines().filter_map(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
        let size = sizes.fold(0, u64::saturating_add);
        if files <= MOST_FILES && size <= LARGEST && !is_cut {
            return Ok(());
        }
        let (files, size) = (count(files as u64), bytes(size));
        let most = (count(MOST_FILES as u64), bytes(LARGEST));
        Err(Failure::new(format!(
            "the commit {} has {files} files of {size}, and a checkout takes at most {} of {}",
            short(commit),
            most.0,
            most.1
        ))
        .hint("keep data out of Git: `tidemill data add` versions them, and a dataset's `path` finds those of the project folder")
        .into())
    }

    /// Who wrote what a commit brings beyond `since`, where that is a part of its history; else the commit alone with, if it is a merge, what it
    /// merged. All names under which they may be known, as the commits say.
    pub(super) fn committed(&self, checkout: &Checkout, commit: &str, since: &[String]) -> Committed {
        let folder = &checkout.folder;
        let is_before = |one: &&String| {
            let arguments = ["merge-base", "--is-ancestor", one.as_str(), commit];
            self.git(folder, &arguments, &[]).is_ok_and(|said| said.good)
        };
        let first = format!("{commit}^1");
        let base = since.iter().find(|one| *one != commit && is_before(one)).cloned();
        let base = base.or_else(|| self.known(folder, &first).ok().flatten());
        let log = |range: &[&str]| -> Option<String> {
            let format = "--format=%an%x1f%ae%x1f%cn%x1f%ce%x1f%(trailers:key=Co-authored-by,valueonly,separator=%x1f)%x1e";
            let arguments = [&["log", COMMITS, format][..], range].concat();
            self.git(folder, &arguments, &[]).ok().filter(|said| said.good).map(|said| said.out)
        };
        let without = base.map(|base| format!("^{base}"));
        let found = without.and_then(|without| log(&[commit, &without, "--"]));
        // What the history does not reach, because it was cut off, leaves the commit itself.
        let found = found.or_else(|| log(&["-1", commit, "--"])).unwrap_or_default();
        Committed { commit: commit.to_owned(), authors: names(&found) }
    }
}

impl Checkout {
    /// Leaves it where somebody can look at it; gives the folder.
    pub(super) fn keep(self) -> std::io::Result<PathBuf> {
        let name =
            self.folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(NAME));
        let kept = self.folder.with_file_name(format!("{KEPT}{}", name.unwrap_or_default()));
        fs_err::rename(&self.folder, &kept)?;
        Ok(kept)
    }

    /// Removes it. What cannot be removed now the next checkout removes.
    pub(super) fn remove(self) {
        if let Err(error) = fs_err::remove_dir_all(&self.folder) {
            tracing::warn!(%error, "a checkout cannot be removed");
        }
    }
}

/// Removes checkouts of processes that were killed.
fn forget_old(tmp: &Path) {
    for entry in fs_err::read_dir(tmp).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(NAME)?.rsplit_once('-')?.1.parse().ok());
        if pid.and_then(Pid::from_raw).is_some_and(|pid| !is_there(pid))
            && let Err(error) = fs_err::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, "an old checkout cannot be removed");
        }
    }
}

/// A commit's name as people read it.
pub(super) fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// The names of people in fields of commits: names, addresses, and what stands before the `@`, since nobody knows by which of them somebody
/// is called here. In small letters, too.
fn names(fields: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        let name = name.trim();
        for name in [name.to_owned(), name.to_lowercase()] {
            if !name.is_empty() && found.len() < AUTHORS && !found.contains(&name) {
                found.push(name);
            }
        }
    };
    for field in fields.split(['\u{1e}', '\u{1f}']).map(str::trim) {
        let (name, address) = match field.split_once('<') {
            // `Ada Lovelace <ada@example.com>`, as trailers have it.
            Some((name, rest)) => (name, rest.trim_end_matches('>')),
            None if field.contains('@') => ("", field),
            None => (field, ""),
        };
        add(name);
        add(address);
        let local = address.split('@').next().unwrap_or_default();
        // GitHub: `1234+ada@users.noreply.github.com`.
        add(local
            .split_once('+')
            .filter(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()))
            .map_or(local, |(_, name)| name));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_an_author_may_be_called() {
        for (fields, wanted) in [
            ("", vec![]),
            (
                "Ada Lovelace\u{1f}ada@example.com\u{1f}GitHub\u{1f}noreply@github.com\u{1f}\u{1e}\n",
                vec![
                    "Ada Lovelace",
                    "ada lovelace",
                    "ada@example.com",
                    "ada",
                    "GitHub",
                    "github",
                    "noreply@github.com",
                    "noreply",
                ],
            ),
            (
                "bob\u{1f}12+bob-b@users.noreply.github.com\u{1f}bob\u{1f}b+x@c.de\u{1f}Cid C <cid@d.org>\u{1e}",
                vec![
                    "bob",
                    "12+bob-b@users.noreply.github.com",
                    "bob-b",
                    "b+x@c.de",
                    "b+x",
                    "Cid C",
                    "cid c",
                    "cid@d.org",
                    "cid",
                ],
            ),
        ] {
            assert_eq!(names(fields), wanted);
        }
        let many: String = (0..1_000).map(|i| format!("p{i}\u{1f}")).collect();
        assert_eq!(names(&many).len(), AUTHORS);
    }

    #[test]
    fn whole_names_of_commits() {
        let name = "0123456789abcdef0123456789ABCDEF01234567";
        assert!(
            is_commit(name)
                && !is_commit(&name[1..])
                && !is_commit("main")
                && !is_commit(&name.replace('0', "g"))
        );
        assert_eq!((short(name), short("main")), ("0123456789ab", "main"));
    }

    #[test]
    fn checkouts_of_the_dead_are_removed_and_kept_ones_stay() {
        let tmp = tempfile::tempdir().unwrap();
        let own = format!("ci-abc-{}", std::process::id());
        // No process has this number.
        let folders = ["ci-abc-2147483646", own.as_str(), "kept-ci-abc-2147483646", "up-2147483646"];
        folders.iter().for_each(|name| fs_err::create_dir_all(tmp.path().join(name)).unwrap());
        forget_old(tmp.path());
        assert_eq!(folders.map(|name| tmp.path().join(name).exists()), [false, true, true, true]);
    }
}
