//! Who uses a store: a small document of each in the folder `users/`. What a document says is its writer's business;
//! a collection gives all of them to its caller, who knows what to keep for whom.

use std::path::PathBuf;

use tidemill_core::Digest;

use crate::inner::{Inner, names_in};
use crate::{Error, disk};

const FOLDER: &str = "users";

fn path(inner: &Inner, user: &Digest) -> PathBuf {
    inner.dir.join(FOLDER).join(format!("{}.json", user.hex()))
}

/// Writes a user's document unless it is there already.
pub(crate) fn register(inner: &Inner, user: &Digest, document: &[u8]) -> Result<(), Error> {
    let path = path(inner, user);
    if fs_err::read(&path).is_ok_and(|there| there == document) {
        return Ok(());
    }
    disk::create_dir(&inner.dir.join(FOLDER))?;
    disk::replace(&path, document)
}

/// All documents, in an order that does not change.
pub(crate) fn users(inner: &Inner) -> Result<Vec<(Digest, Vec<u8>)>, Error> {
    let dir = inner.dir.join(FOLDER);
    let names = match names_in(&dir) {
        Ok(names) => names,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut users = Vec::new();
    for name in names {
        let Some(user) = name.strip_suffix(".json").and_then(|hex| Digest::from_hex(hex).ok()) else {
            continue;
        };
        let path = dir.join(name);
        users.push((user, fs_err::read(&path).map_err(Error::io("read", &path))?));
    }
    Ok(users)
}

/// Forgets a user.
pub(crate) fn unregister(inner: &Inner, user: &Digest) -> Result<(), Error> {
    disk::remove(&path(inner, user)).map(drop)
}
