//! The pipeline: a graph of steps, their cache keys, the plan with its reasons, and the execution of what is out of
//! date on this machine.
//!
//! Deciding is pure ([`Dag`], [`plan`], [`CacheKey`], [`Lock`]); effects are behind small object-safe traits that the
//! binary chooses: [`Contents`] (bytes), [`Journal`] (metadata), [`Builtin`] (`sql` and `train` bodies),
//! [`Executor`] (where commands run), [`Tracker`] (runs that people compare) and [`Observer`] (what is shown). This crate knows no database, no tables, and of
//! the project file only what a pattern of paths is.

mod builtin;
mod content;
mod dag;
mod error;
mod executor;
mod guard;
mod journal;
mod key;
mod lock;
mod observer;
mod pattern;
mod plan;
mod reproduce;
mod schedule;
mod settled;
#[cfg(test)]
mod testing;
mod tracker;
mod workspace;

pub use builtin::{Builtin, StepContext, StepFailure};
pub use content::{Content, ContentKind, Contents, StoreContents, StoredFile};
pub use dag::{Dag, GraphProblem, Node, Selection};
pub use error::Error;
pub use executor::{Access, Executor, Exit, Job, LocalExecutor, Output, SandboxSupport};
pub use guard::{Guard, Holder};
pub use journal::{CachedStep, Journal, MemoryJournal, RunFinished, RunStarted, SetAside, StepFinished};
pub use key::{ActionRecord, ActionText, CacheKey, Change, EnvRecord, KEY_FORMAT};
pub use lock::{LOCK_FILE, Lock, LockError, LockMerge, LockedStep, fuzz_lock};
pub use observer::{Observer, Silent};
pub use plan::{CacheView, Decision, Plan, Planned, Reason, plan};
pub use reproduce::{Difference, compare, materialise};
pub use schedule::{RunOptions, RunReport, Services, StepReport, execute, log_file, tool_folders};
pub use tracker::{StepEnd, Tracker, Untracked};
pub use workspace::{Workspace, matching};
