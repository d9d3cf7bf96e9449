//! The projects that use a store. Each notes itself in the store's folder when it opens it, with the places of its
//! database and lock file, so that a collection keeps what all of them need, in whichever of them it is started.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, canonical_json};
use tidemill_db::{Owner, without_password};
use tidemill_store::Store;

/// The form of these documents.
const FORMAT: u32 = 1;

/// One project, or a server without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    format: u32,
    /// The project's name; empty for a server without a project.
    project: String,
    /// Its folder `.tidemill`, absolute.
    home: String,
    /// Its database where that is not in this folder: a path, or an address without password.
    database: Option<String>,
    /// The machine that used it last.
    host: String,
}

/// Where a user is now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// Its folder is here.
    Here,
    /// It was on this machine, and its folder is gone.
    Gone,
    /// It was used on another machine, and its folder is not here.
    Elsewhere,
}

impl User {
    /// The user of this home; `None` where its path is no text, which databases do not allow either.
    pub(crate) fn new(home: &Path, project: &str, database: Option<&str>) -> Option<Self> {
        let home = fs_err::canonicalize(home).ok()?;
        let own = home.join("tidemill.db");
        let database = match database.map(|url| (url, file_of(url))) {
            None => None,
            Some((url, None)) => Some(without_password(url)),
            Some((_, Some(file))) => {
                let file = settled(file);
                if file == own { None } else { Some(file.to_str()?.to_owned()) }
            }
        };
        let (home, project) = (home.to_str()?.to_owned(), project.to_owned());
        Some(Self { format: FORMAT, project, home, database, host: Owner::current().host })
    }

    /// Reads a document.
    pub(crate) fn read(document: &[u8]) -> anyhow::Result<Self> {
        let user: Self = serde_json::from_slice(document).context("it is damaged")?;
        anyhow::ensure!(user.format == FORMAT, "it was written by another version of Tidemill");
        Ok(user)
    }

    /// Names it in the store: the same on every machine, so that a moved machine is no second user.
    pub(crate) fn id(&self) -> anyhow::Result<Digest> {
        Ok(Digest::of(&canonical_json(&(&self.project, &self.home, &self.database))?))
    }

    /// Its `.tidemill`.
    pub(crate) fn home(&self) -> &Path {
        Path::new(&self.home)
    }

    /// The folder that people know it by: the project's.
    pub(crate) fn folder(&self) -> &Path {
        self.home().parent().unwrap_or(self.home())
    }

    /// The address of its database.
    pub(crate) fn database(&self) -> String {
        self.database.clone().unwrap_or_else(|| format!("{}/tidemill.db", self.home))
    }

    pub(crate) fn whereabouts(&self) -> Whereabouts {
        if self.home().is_dir() {
            Whereabouts::Here
        } else if self.host == Owner::current().host {
            Whereabouts::Gone
        } else {
            Whereabouts::Elsewhere
        }
    }

    /// What people call it.
    pub(crate) fn label(&self) -> String {
        if self.project.is_empty() { "a server".to_owned() } else { format!("project `{}`", self.project) }
    }
}

/// Notes the user of a store. Where nothing can be written nothing can be stored either, so that is no failure.
pub(crate) fn register(store: &Store, user: Option<&User>) -> anyhow::Result<()> {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};

    let Some(user) = user else { return Ok(()) };
    match store.register(&user.id()?, &serde_json::to_vec_pretty(user)?) {
        Err(tidemill_store::Error::Io { source, .. })
            if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem) =>
        {
            Ok(())
        }
        done => Ok(done?),
    }
}

/// The file of a database that is one.
pub(crate) fn file_of(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
    (!path.contains("://")).then(|| Path::new(path))
}

/// One path for one file, which need not be there yet.
fn settled(file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    match (absolute.parent().and_then(|folder| fs_err::canonicalize(folder).ok()), absolute.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => absolute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_its_folder_and_database() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join(".tidemill");
        assert_eq!(User::new(&home, "p", None), None);
        fs_err::create_dir(&home).unwrap();
        let user = |database: Option<&str>| User::new(&home, "p", database).unwrap();
        let own = home.join("tidemill.db");
        let plain = user(None);
        assert_eq!(user(own.to_str()), plain);
        assert_eq!(user(Some(&format!("sqlite:{}", own.display()))), plain);
        assert!(plain.database().ends_with(".tidemill/tidemill.db"));
        let remote = user(Some("postgres://me:secret@host/db"));
        assert_eq!(remote.database(), "postgres://me@host/db");
        assert_ne!(remote.id().unwrap(), plain.id().unwrap());
        let document = serde_json::to_vec(&remote).unwrap();
        assert!(!String::from_utf8_lossy(&document).contains("secret"));
        assert_eq!(User::read(&document).unwrap(), remote);
        assert!(User::read(b"{}").is_err());
        let newer = String::from_utf8(document).unwrap().replace("\"format\":1", "\"format\":2");
        assert!(User::read(newer.as_bytes()).is_err());
        assert_eq!(plain.whereabouts(), Whereabouts::Here);
        fs_err::remove_dir_all(&home).unwrap();
        assert_eq!(plain.whereabouts(), Whereabouts::Gone);
        assert_eq!(User { host: "another".to_owned(), ..plain }.whereabouts(), Whereabouts::Elsewhere);
    }
}
