//! The one error type of this crate, with a hint for each failure that has a next action.

use std::io;
use std::path::{Path, PathBuf};

use tidemill_core::{Digest, Hint};

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an action on a path.
    #[error("cannot {action} `{}`: {}", path.display(), reason(source))]
    Io {
        /// A verb phrase such as `read` or `write to`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A path that was to be added does not exist.
    #[error("`{}` does not exist", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// A file changed while it was read, so that its bytes belong to no one version.
    #[error("`{}` changed while it was being read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A socket, pipe or device inside what was to be added.
    #[error("`{}` is a {kind}, which cannot be stored", path.display())]
    SpecialFile {
        /// The path.
        path: PathBuf,
        /// For example `socket`.
        kind: &'static str,
    },
    /// A symbolic link that cannot be stored.
    #[error("the link `{}` -> `{}` {why}", path.display(), target.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// Its target as written.
        target: PathBuf,
        /// For example `leads out of the folder`.
        why: &'static str,
    },
    /// The folder holds something else than a store.
    #[error("`{}` is not a store: {why}", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The store was written by a newer version of this program.
    #[error("the store in `{}` has format {found}, and this version reads formats up to {known}", path.display())]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// Its format number.
        found: u32,
        /// The newest one known here.
        known: u32,
    },
    /// An object is not in the store.
    #[error("object {digest} is not in the store `{}`", store.display())]
    Missing {
        /// The object.
        digest: Digest,
        /// The store's folder.
        store: PathBuf,
    },
    /// Stored bytes are not what they were when written.
    #[error("damaged object {object} in `{pack}` at byte {offset}: {what}")]
    Damaged {
        /// The object.
        object: Digest,
        /// The pack file or remote object that holds it.
        pack: String,
        /// Where in the pack it begins.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// Bytes are not a valid index, pack entry, tree, chunk list or stat cache.
    #[error("not a valid {what}: {why}")]
    Malformed {
        /// For example `tree`.
        what: &'static str,
        /// What was wrong and where.
        why: String,
    },
    /// The store is in use in a way that excludes this operation.
    #[error("the store `{}` is in use by another process", path.display())]
    Busy {
        /// The store's folder.
        path: PathBuf,
    },
    /// A checkout would overwrite or remove content that exists nowhere else.
    #[error("{} would lose local changes: {}", into.display(), list(paths))]
    LocalChanges {
        /// The destination.
        into: PathBuf,
        /// The files in question, at most twenty.
        paths: Vec<PathBuf>,
        /// How many there are in all.
        count: usize,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A remote failed.
    #[error("cannot {action} `{location}`: {source}")]
    Remote {
        /// A verb phrase such as `read`.
        action: &'static str,
        /// The remote's address and, where one is concerned, the object in it.
        location: String,
        /// Why.
        source: Box<object_store::Error>,
    },
    /// A remote address that cannot be used.
    #[error("`{url}` is not a usable remote: {why}")]
    BadRemote {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// An object is neither in the store nor in the remote it was to come from.
    #[error("object {digest} is not in `{remote}`")]
    MissingRemotely {
        /// The object.
        digest: Digest,
        /// The remote's address.
        remote: String,
    },
    /// A collection at a remote took longer than what it found there can be relied on.
    #[error("looking through `{remote}` took longer than the grace period")]
    Overtaken {
        /// The remote's address.
        remote: String,
    },
    /// A name or path inside a tree or remote that is not allowed.
    #[error("`{name}` is not a usable {what}: {why}")]
    BadName {
        /// For example `path in a tree`.
        what: &'static str,
        /// The name, with bytes that are no text replaced.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// A background thread or task ended without a result.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound if action == "read" => Self::NotFound { path },
            _ => Self::Io { action, path, source },
        }
    }

    pub(crate) fn malformed(what: &'static str, why: impl Into<String>) -> Self {
        Self::Malformed { what, why: why.into() }
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, path, .. } => return io_hint(source, path),
            Self::NotFound { .. } => "check the spelling, relative to the current folder".into(),
            Self::Changed { .. } => "wait until the program that writes it is done, then repeat".into(),
            Self::SpecialFile { .. } => {
                "move it out of the folder, or add the files beside it one by one".into()
            }
            Self::Link { .. } => {
                "replace the link by the file it means, or make it relative and inside the folder".into()
            }
            Self::NotAStore { .. } => "choose an empty or new folder for the store".into(),
            Self::NewerFormat { .. } => "update tidemill on this machine".into(),
            Self::Missing { .. } => "pull it from a remote that has it, or add the file again".into(),
            Self::Damaged { .. } => {
                "`tidemill data verify --repair` lists all damage and takes it out; then pull or add the affected files again, \
                 or run the steps that wrote them"
                    .into()
            }
            Self::Busy { .. } => "wait until the other tidemill process is done, then repeat".into(),
            Self::LocalChanges { .. } => {
                "add them to the store first, or overwrite them with `--force`".into()
            }
            Self::Remote { source, .. } => return remote_hint(source),
            Self::BadRemote { .. } => {
                "use `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`"
                    .into()
            }
            Self::Overtaken { .. } => "repeat it with a longer `--grace`; nothing was removed".into(),
            Self::MissingRemotely { .. } => "push it from a machine that has it".into(),
            Self::Malformed { .. } | Self::Cancelled | Self::BadName { .. } | Self::Internal(_) => {
                return None;
            }
        })
    }
}

fn io_hint(source: &io::Error, path: &Path) -> Option<String> {
    let folder = path.parent().unwrap_or(path).display().to_string();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
            "free some space on the disk of `{folder}` and repeat; what was stored before is intact"
        )),
        io::ErrorKind::PermissionDenied => {
            Some(format!("check who owns `{}` and its permissions", path.display()))
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some(format!("`{folder}` is mounted read-only: choose another folder or mount it writable"))
        }
        _ => None,
    }
}

fn remote_hint(source: &object_store::Error) -> Option<String> {
    const CREDENTIALS: &str =
        "check the credentials in the environment, for example `AWS_ACCESS_KEY_ID`, and what they may do";
    match source {
        object_store::Error::Unauthenticated { .. } | object_store::Error::PermissionDenied { .. } => {
            Some(CREDENTIALS.into())
        }
        object_store::Error::NotFound { .. } => Some("check the name of the bucket or folder".into()),
        // A refused listing comes as a generic error that carries the server's answer.
        other => {
            let text = format!("{other:?}");
            let refused = ["403", "401", "SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied"];
            refused.iter().any(|word| text.contains(word)).then(|| CREDENTIALS.into())
        }
    }
}

/// The operating system's words without the number that `io::Error` adds, lower case at the start.
fn reason(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull => "the disk is full".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        _ => source.to_string(),
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}
