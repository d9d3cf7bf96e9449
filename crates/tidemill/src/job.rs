//! Jobs of triggers: each action is this program once more, as a process of its own.
//!
//! So a job that needs all memory or crashes takes no server with it, stopping it is what Ctrl-C is, and it uses exactly
//! what `tidemill run` uses. A process of a job ends with its server: the server's successor begins the job again, and
//! finds what was finished in the cache.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::app::reason;
use crate::failure::Exit;

/// How long a process may take to stop its steps.
const GRACE: Duration = Duration::from_secs(4);
/// How much of the end of a log is looked through for what went wrong.
const TAIL: u64 = 16 << 10;

/// Asks the system to stop this process when the server ends that it works for.
pub(crate) fn end_with(server: i32) {
    #[cfg(target_os = "linux")]
    {
        if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM)) {
            tracing::warn!(%error, "this process may outlive its server");
        }
    }
    // It may have ended before that was asked for.
    if rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(server) {
        std::process::exit(Exit::Cancelled as i32);
    }
}

/// How a process of a job ended.
pub(crate) enum Ended {
    /// Well.
    Well,
    /// Not well; why, for people.
    Badly(String),
    /// It was told to.
    Stopped,
}

/// Runs this program with `arguments` in `root`, and writes what it prints to the end of `log`.
pub(crate) async fn run(root: &Path, arguments: Vec<String>, log: PathBuf, stop: CancellationToken) -> Ended {
    let from = fs_err::metadata(&log).map_or(0, |meta| meta.len());
    let (pid_known, pid) = oneshot::channel();
    let (ended, mut end) = oneshot::channel();
    let (root, file) = (root.to_owned(), log.clone());
    // The system stops the process when the thread ends that made it, so that one stays until the process is gone.
    let thread = std::thread::Builder::new().name("job".to_owned()).spawn(move || {
        let waited = start(&root, &arguments, &file).and_then(|mut child| {
            // Nobody listens any more if the server is ending.
            let _ = pid_known.send(Pid::from_child(&child));
            child.wait()
        });
        let _ = ended.send(waited);
    });
    if let Err(error) = thread {
        return Ended::Badly(format!("cannot start a thread: {}", reason(&error)));
    }
    let pid = pid.await.ok();
    let waited = tokio::select! {
        waited = &mut end => waited,
        () = stop.cancelled() => stop_process(pid, &mut end).await,
    };
    match waited {
        Ok(Ok(status)) if status.success() => Ended::Well,
        Ok(Ok(status)) if stop.is_cancelled() => {
            tracing::debug!(%status, "a job was stopped");
            Ended::Stopped
        }
        Ok(Ok(status)) => Ended::Badly(said(&log, from).unwrap_or_else(|| format!("it ended with {status}"))),
        Ok(Err(error)) => Ended::Badly(format!("cannot start: {}", reason(&error))),
        Err(_) => Ended::Badly("the thread that waited for it is gone".to_owned()),
    }
}

type Waited = Result<std::io::Result<ExitStatus>, oneshot::error::RecvError>;

async fn stop_process(pid: Option<Pid>, end: &mut oneshot::Receiver<std::io::Result<ExitStatus>>) -> Waited {
    // Each of these may find that it is gone already.
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::TERM);
    }
    if let Ok(waited) = tokio::time::timeout(GRACE, &mut *end).await {
        return waited;
    }
    if let Some(pid) = pid {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    end.await
}

fn start(root: &Path, arguments: &[String], log: &Path) -> std::io::Result<Child> {
    if let Some(folder) = log.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let file: std::fs::File = fs_err::OpenOptions::new().create(true).append(true).open(log)?.into();
    let errors = file.try_clone()?;
    // In a group of its own: Ctrl-C at a terminal is meant for the server, which then stops its job.
    Command::new(std::env::current_exe()?)
        .arg("-C")
        .arg(root)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .process_group(0)
        .spawn()
}

/// The last error in what was printed from `from` on.
fn said(log: &Path, from: u64) -> Option<String> {
    let mut file = fs_err::File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL)))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find_map(|line| line.trim().strip_prefix("error: "))?;
    Some(tidemill_trigger::detail(line))
}
