//! `tidemill ci`: tests a commit as code, data and model, in a checkout of its own.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::app::{App, PROJECT_FILE, git, reason};
use crate::cli::{Ci, Run};
use crate::data_check::{check, lines, record};
use crate::failure::Failure;

pub(crate) fn run(args: &Ci, app: &App<'_>) -> anyhow::Result<()> {
    let commit = find(args, app)?;
    let top = git(&app.root, &["rev-parse", "--show-toplevel"]).map(PathBuf::from);
    let (Some(top), Some(prefix)) = (top, git(&app.root, &["rev-parse", "--show-prefix"])) else {
        return Err(Failure::usage("the project is in no Git repository")
            .hint("`git init` makes one")
            .into());
    };
    // Database, store and lock are those of the project.
    app.store()?;
    let folder = app.inside(&format!("tmp/ci-{}-{}", &commit[..commit.len().min(12)], std::process::id()));
    check_out(&top, &folder, &commit)?;
    let tested = test(app, &folder.join(prefix), &commit);
    if args.keep {
        app.console.note(format!("the checkout is in {}", folder.display()));
    } else {
        fs_err::remove_dir_all(&folder)?;
    }
    tested
}

/// The commit's full name; fetched where it is not here.
fn find(args: &Ci, app: &App<'_>) -> anyhow::Result<String> {
    let name = format!("{}^{{commit}}", args.commit);
    let look = || git(&app.root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &name]);
    if let Some(commit) = look() {
        return Ok(commit);
    }
    app.console.note(format!("fetching from `{}`, since `{}` is not here", args.remote, args.commit));
    // Whether that went well shows when the commit is looked for once more.
    git(&app.root, &["fetch", "--quiet", "--", &args.remote]);
    look().ok_or_else(|| {
        Failure::usage(format!("there is no commit `{}` here or at `{}`", args.commit, args.remote))
            .hint("`git log` lists what is here; `--remote NAME` fetches from another place")
            .into()
    })
}

/// Puts a commit into a folder of its own that shares the objects of the repository.
fn check_out(top: &Path, folder: &Path, commit: &str) -> anyhow::Result<()> {
    if folder.exists() {
        fs_err::remove_dir_all(folder)?;
    }
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let cloned = git(top, &["clone", "--quiet", "--shared", "--no-checkout", ".", &text(folder)]);
    let done = cloned.and_then(|_| git(folder, &["checkout", "--quiet", "--detach", commit]));
    done.map(drop).ok_or_else(|| {
        Failure::new(format!("cannot check `{commit}` out into `{}`", folder.display()))
            .hint("is the disk full? `git clone` in the project folder may say more")
            .into()
    })
}

/// All data expectations, then what is out of date, then the tests of the model.
fn test(app: &App<'_>, root: &Path, commit: &str) -> anyhow::Result<()> {
    if !root.join(PROJECT_FILE).is_file() {
        return Err(Failure::usage(format!("the commit {commit} has no `{PROJECT_FILE}`")).into());
    }
    std::os::unix::fs::symlink(app.inside(""), root.join(".tidemill")).map_err(|error| {
        Failure::new(format!("cannot link the project's `.tidemill`: {}", reason(&error)))
    })?;
    let beside = app.open_beside(root.to_owned())?;
    copy_data(app, &beside)?;
    let resolved = beside.resolve(&[])?;
    let mut checked = Vec::new();
    for (name, dataset) in &resolved.datasets {
        checked.extend(check(&beside, name, dataset, &resolved)?);
    }
    record(&beside, &checked)?;
    let failed: u64 = checked.iter().map(tidemill_data::expect::Checked::failed).sum();
    if app.console.json() {
        app.console.json_line(&json!({"commit": commit, "data": checked}))?;
    } else {
        app.console.line(format!("commit {commit}"));
        for line in checked.iter().flat_map(|checked| lines(app.console, checked, failed > 0)) {
            app.console.line(line);
        }
    }
    if failed > 0 {
        return Err(
            Failure::new(format!("{failed} expectations on the data do not hold at this commit")).into()
        );
    }
    // What is tested here may never be what the project folder holds.
    super::run::run(&Run { wait: true, no_register: true, ..Run::default() }, &beside)
}

/// Data that are not in Git are those of the project folder.
fn copy_data(app: &App<'_>, beside: &App<'_>) -> anyhow::Result<()> {
    let paths = beside.project.data.values().flat_map(|dataset| dataset.path.as_slice());
    for path in paths.filter(|path| !path.contains("://")) {
        let found = |root: &Path| {
            tidemill_pipeline::matching(root, path)
                .map_err(|error| Failure::new(format!("cannot look for `{path}`: {error}")))
        };
        if !found(&beside.root)?.is_empty() {
            continue;
        }
        for name in found(&app.root)? {
            copy(&app.root.join(&name), &beside.root.join(&name))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.is_dir() {
        fs_err::create_dir_all(to)?;
        for entry in fs_err::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs_err::create_dir_all(parent)?;
    }
    fs_err::copy(from, to).map(drop)
}
