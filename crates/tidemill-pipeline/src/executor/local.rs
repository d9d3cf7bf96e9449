//! Commands as child processes of this one, each in a process group of its own.
//!
//! One loop per command reads its output, watches for its end, for the timeout and for a request to stop. Whichever
//! way a command ends, its whole group is gone afterwards.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tidemill_core::Cancel;

use super::leftover::Leftovers;
use super::{Executor, Exit, Job, Output, SandboxSupport, sandbox};
use crate::Error;

/// How often a request to stop is looked for while nothing happens.
const TICK: Duration = Duration::from_millis(50);
/// How often the end of a process is looked for where the system cannot wake us.
const SHORT_TICK: Duration = Duration::from_millis(5);
/// How long output is read after the end of the group, should a process have escaped from it with our pipe.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs commands as child processes, sandboxed with Landlock where the kernel has it.
#[derive(Debug)]
pub struct LocalExecutor {
    leftovers: Leftovers,
    surroundings: sandbox::Surroundings,
}

impl LocalExecutor {
    /// An executor on this machine. It notes its runs in a folder below `tidemill_dir` (the project's `.tidemill`), so
    /// that [`Executor::recover`] finds what they left after `kill -9`.
    pub fn new(tidemill_dir: &Path) -> Self {
        Self {
            leftovers: Leftovers::new(tidemill_dir.join("running")),
            surroundings: sandbox::Surroundings::default(),
        }
    }
}

impl Executor for LocalExecutor {
    fn name(&self) -> &'static str {
        "local"
    }

    fn sandbox(&self) -> SandboxSupport {
        sandbox::support()
    }

    fn run(&self, job: &Job, output: &mut dyn Output, cancel: &Cancel) -> Result<Exit, Error> {
        self.leftovers.note(job)?;
        let (reader, writer) = std::io::pipe()?;
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&job.command).current_dir(&job.folder).env_clear().envs(&job.env);
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let child = if let Some(access) = &job.access {
            sandbox::spawn(command, access, &self.surroundings)?
        } else {
            let child = command.spawn()?;
            // It holds our copies of the child's end of the pipe, without which the pipe ends with the child.
            drop(command);
            child
        };
        Group::new(child)?.supervise(job, reader, output, cancel)
    }

    fn recover(&self) -> Result<usize, Error> {
        self.leftovers.end()
    }
}

/// A running child that leads a process group.
struct Group {
    child: Child,
    id: Pid,
    /// Readable when the child has ended; Linux only.
    ended: Option<OwnedFd>,
}

/// Why and until when a group is being stopped.
struct Stopping {
    exit: Exit,
    kill_at: Instant,
    killed: bool,
}

impl Group {
    fn new(child: Child) -> Result<Self, Error> {
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let id =
            id.ok_or_else(|| Error::Internal(format!("process number {} is out of range", child.id())))?;
        #[cfg(target_os = "linux")]
        let ended = rustix::process::pidfd_open(id, rustix::process::PidfdFlags::empty()).ok();
        #[cfg(not(target_os = "linux"))]
        let ended = None;
        Ok(Self { child, id, ended })
    }

    fn supervise(
        mut self,
        job: &Job,
        reader: std::io::PipeReader,
        output: &mut dyn Output,
        cancel: &Cancel,
    ) -> Result<Exit, Error> {
        let started = Instant::now();
        let mut pipe = Pipe { reader: Some(reader), buffer: vec![0; 64 << 10] };
        let mut stopping: Option<Stopping> = None;
        let mut ended = false;
        let watched = loop {
            let tick = if self.ended.is_some() { TICK } else { SHORT_TICK };
            // The end of the leader is news once; while the rest of its group is waited for, only output and time are.
            let news = self.ended.as_ref().filter(|_| !ended);
            if let Err(error) = pipe.wait(news, tick, output) {
                break Err(error);
            }
            ended = self.has_ended();
            // A leader may end before the processes that it started; while it is being stopped they keep their grace.
            if ended && (stopping.as_ref().is_none_or(|s| s.killed) || pipe.reader.is_none()) {
                break Ok(());
            }
            let now = Instant::now();
            match &mut stopping {
                None => {
                    let timed_out = job.timeout.is_some_and(|timeout| now.duration_since(started) >= timeout);
                    if timed_out || cancel.is_cancelled() {
                        self.signal(Signal::TERM);
                        let exit = if timed_out { Exit::TimedOut } else { Exit::Cancelled };
                        stopping = Some(Stopping { exit, kill_at: now + job.grace, killed: false });
                    }
                }
                Some(stopping) if !stopping.killed && now >= stopping.kill_at => {
                    self.signal(Signal::KILL);
                    stopping.killed = true;
                }
                Some(_) => {}
            }
        };
        // The leader is not reaped yet, so its number still names our group and nobody else's.
        self.signal(Signal::KILL);
        let status = self.child.wait()?;
        watched?;
        pipe.drain(output)?;
        Ok(match (stopping, status.code(), status.signal()) {
            (Some(stopping), _, _) => stopping.exit,
            (None, Some(code), _) => Exit::Code(code),
            (None, None, signal) => Exit::Signal(signal.unwrap_or_default()),
        })
    }

    /// Whether the leader has ended; it stays unreaped.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(self.id), options), Ok(Some(_)))
    }

    fn signal(&self, signal: Signal) {
        // The only failure is that nobody is left.
        let _ = kill_process_group(self.id, signal);
    }
}

/// Our end of the pipe for standard output and standard error, until its end was read.
struct Pipe {
    reader: Option<std::io::PipeReader>,
    buffer: Vec<u8>,
}

impl Pipe {
    /// Waits for output, for the end of the process or for the timeout, and passes one piece of output on.
    fn wait(
        &mut self,
        ended: Option<&OwnedFd>,
        timeout: Duration,
        output: &mut dyn Output,
    ) -> Result<(), Error> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let mut fds = Vec::with_capacity(2);
        fds.extend(
            self.reader.as_ref().map(|reader| PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)),
        );
        fds.extend(ended.map(|ended| PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        let readable = self.reader.is_some() && fds.first().is_some_and(|fd| !fd.revents().is_empty());
        if readable { self.read(output) } else { Ok(()) }
    }

    fn read(&mut self, output: &mut dyn Output) -> Result<(), Error> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        match reader.read(&mut self.buffer) {
            Ok(0) => self.reader = None,
            Ok(n) => output.write(&self.buffer[..n])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Reads what is left, up to a limit of time.
    fn drain(&mut self, output: &mut dyn Output) -> Result<(), Error> {
        let until = Instant::now() + DRAIN;
        while self.reader.is_some() && Instant::now() < until {
            self.wait(None, TICK, output)?;
        }
        Ok(())
    }
}
