//! How the code of runs differs, as the Git repository of the project has it.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidemill_db::tracking::Run;
use tidemill_registry::{Code, Error};
use tidemill_ui::{Block, Cell, Empty, Section, Table};
use tokio::task::spawn_blocking;

use super::ask::Ask;
use super::words::find;

/// Bytes of a patch that are shown.
const MOST: usize = 64 << 10;
/// Files that are listed.
const FILES: usize = 200;
/// After which a repository is too slow for a page.
const PATIENCE: Duration = Duration::from_secs(5);

/// The difference between the first two commits of runs; nothing where they have one, or the server has no project.
pub(super) async fn section(ask: &Ask, runs: &[Run]) -> Result<Option<Section>, Error> {
    let Some(root) = ask.app.config().about.as_ref().and_then(|about| about.root.clone()) else {
        return Ok(None);
    };
    let mut commits: Vec<&str> = Vec::new();
    for commit in runs.iter().filter_map(|run| find(&run.tags, "mlflow.source.git.commit")) {
        // Tags hold what people wrote; a commit is nothing else than this.
        let is_commit = (7..=64).contains(&commit.len()) && commit.bytes().all(|b| b.is_ascii_hexdigit());
        if is_commit && !commits.contains(&commit) {
            commits.push(commit);
        }
    }
    let [from, to, ..] = commits[..] else { return Ok(None) };
    let short = |commit: &str| commit.chars().take(10).collect::<String>();
    let mut section = Section::new("code", "Code", Vec::new()).note(format!(
        "From commit {} to {}.",
        short(from),
        short(to)
    ));
    if commits.len() > 2 {
        section.note += &format!(" {} commits are compared; these are the first two.", commits.len());
    }
    let counts = git(&root, &["diff", "--numstat", from, to]).await?;
    let Some((counts, _)) = counts else {
        section.blocks.push(Block::Empty(Empty::new(
            "The project's repository does not have both commits",
            "Fetch the branch on which they were made, and look again.",
        )));
        return Ok(Some(section));
    };
    let files: Vec<Vec<Cell>> = counts.lines().take(FILES).filter_map(file).collect();
    if files.is_empty() {
        section.blocks.push(Block::Text("Both commits hold the same files.".into()));
        return Ok(Some(section));
    }
    section.blocks.push(Block::Table(
        Table::new("code", "Files that differ", &["file", "lines added", "lines removed"]).with(files),
    ));
    if let Some((patch, is_whole)) = git(&root, &["diff", from, to]).await? {
        section.blocks.push(Block::Code(patch));
        if !is_whole {
            let text = format!("The rest is longer than fits here: git diff {} {}", short(from), short(to));
            section.blocks.push(Block::Text(text));
        }
    }
    Ok(Some(section))
}

/// A line of `git diff --numstat`: lines added, lines removed, and the file. Bytes that are no text have no lines.
fn file(line: &str) -> Option<Vec<Cell>> {
    let mut parts = line.splitn(3, '\t');
    let (added, removed, name) = (parts.next()?, parts.next()?, parts.next()?);
    let count = |text: &str| text.parse().map_or(Cell::None, Cell::Count);
    Some(vec![Cell::text(name), count(added), count(removed)])
}

/// The beginning of what Git says, and whether it is all; nothing where Git says no. No program of the repository is run.
async fn git(root: &Path, arguments: &[&str]) -> Result<Option<(String, bool)>, Error> {
    let (command, rest) = arguments.split_first().unwrap_or((&"diff", &[]));
    let failed = |why: String| Error::new(Code::InternalError, format!("cannot run `git {command}`: {why}"));
    let mut child = Command::new("git")
        .arg("-C")
        .arg(root)
        .arg(command)
        .args(["--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"])
        .args(rest)
        .arg("--")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let output = child.stdout.take();
    let mut running = Running(child);
    let read = spawn_blocking(move || {
        let mut bytes = Vec::new();
        if let Some(output) = output {
            output.take(MOST as u64 + 1).read_to_end(&mut bytes)?;
        }
        std::io::Result::Ok(bytes)
    });
    // What has not ended by then ends with `running`, and with it the thread that reads.
    let mut bytes = tokio::time::timeout(PATIENCE, read)
        .await
        .map_err(|_| failed(format!("it did not end in {} s", PATIENCE.as_secs())))?
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    let is_whole = bytes.len() <= MOST;
    bytes.truncate(MOST);
    // One that is cut off fails to write, which is no refusal. The others have closed their output, so they end at once.
    let good = !is_whole || running.0.wait().map_err(|error| failed(error.to_string()))?.success();
    Ok(good.then(|| (String::from_utf8_lossy(&bytes).into_owned(), is_whole)))
}

/// A process that does not outlive the question.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
