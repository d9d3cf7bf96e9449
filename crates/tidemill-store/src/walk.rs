//! Looks at a folder before it is read: which files, folders and links are there. Refuses what cannot be stored.

use std::fs::FileType;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::tree::{MAX_DEPTH, leads_out};

/// What was found at a path.
#[derive(Debug)]
pub(crate) enum Found {
    /// A file, as its position in [`Walk::files`].
    File(usize),
    /// A folder: names and what they stand for, in no order.
    Folder(Vec<(Vec<u8>, Found)>),
    /// A link with its target.
    Link(Vec<u8>),
}

/// The files below one or more paths.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) files: Vec<PathBuf>,
}

impl Walk {
    /// Looks at `path`, following it if it is a link itself; links below it are looked at, not followed.
    pub(crate) fn visit(&mut self, path: &Path) -> Result<Found, Error> {
        let metadata = match fs_err::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if is_loop(&error) => return Err(link_error(path, "leads in a circle")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(match fs_err::symlink_metadata(path) {
                    Ok(_) => link_error(path, "leads to nothing"),
                    Err(_) => Error::NotFound { path: path.to_owned() },
                });
            }
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        if metadata.is_dir() {
            let root = fs_err::canonicalize(path).map_err(Error::io("read", path))?;
            return self.folder(path, &root, 0);
        }
        self.plain(path, metadata.file_type())
    }

    fn plain(&mut self, path: &Path, kind: FileType) -> Result<Found, Error> {
        if !kind.is_file() {
            return Err(Error::SpecialFile { path: path.to_owned(), kind: special(kind) });
        }
        self.files.push(path.to_owned());
        Ok(Found::File(self.files.len() - 1))
    }

    fn folder(&mut self, path: &Path, root: &Path, depth: usize) -> Result<Found, Error> {
        if depth >= MAX_DEPTH {
            let name = path.display().to_string();
            return Err(Error::BadName { what: "path in a tree", name, why: "it is nested too deep" });
        }
        let mut names = Vec::new();
        for entry in fs_err::read_dir(path).map_err(Error::io("list", path))? {
            let entry = entry.map_err(Error::io("list", path))?;
            let kind = entry.file_type().map_err(Error::io("inspect", path))?;
            names.push((entry.file_name(), kind));
        }
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut items = Vec::with_capacity(names.len());
        for (name, kind) in names {
            let below = path.join(&name);
            let found = if kind.is_dir() {
                self.folder(&below, root, depth + 1)?
            } else if kind.is_symlink() {
                Found::Link(check_link(&below, root, depth)?)
            } else {
                self.plain(&below, kind)?
            };
            items.push((name.as_bytes().to_vec(), found));
        }
        Ok(Found::Folder(items))
    }
}

/// The target of a link below the folder `root`, if the link can be stored: relative, inside by its words and in
/// truth, and not in a circle.
fn check_link(path: &Path, root: &Path, depth: usize) -> Result<Vec<u8>, Error> {
    let target = fs_err::read_link(path).map_err(Error::io("read", path))?;
    let refuse = |why| Err(Error::Link { path: path.to_owned(), target: target.clone(), why });
    if target.is_absolute() {
        return refuse("is absolute, so it would mean something else elsewhere");
    }
    if leads_out(depth, target.as_os_str().as_bytes()) {
        return refuse("leads out of the folder");
    }
    let folder = path.parent().unwrap_or(path);
    match fs_err::canonicalize(path) {
        Ok(real) if !real.starts_with(root) => return refuse("leads out of the folder"),
        Ok(real) => {
            let here = fs_err::canonicalize(folder).map_err(Error::io("read", folder))?;
            if here.starts_with(&real) {
                return refuse("leads to a folder that contains it");
            }
        }
        Err(error) if is_loop(&error) => return refuse("leads in a circle"),
        // A link to nothing is content like any other.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("read", path)(error)),
    }
    Ok(target.as_os_str().as_bytes().to_vec())
}

fn link_error(path: &Path, why: &'static str) -> Error {
    let target = fs_err::read_link(path).unwrap_or_default();
    Error::Link { path: path.to_owned(), target, why }
}

fn is_loop(error: &io::Error) -> bool {
    let too_many = rustix::io::Errno::LOOP.raw_os_error();
    io::Error::from_raw_os_error(too_many).kind() == error.kind()
}

fn special(kind: FileType) -> &'static str {
    match () {
        () if kind.is_fifo() => "named pipe",
        () if kind.is_socket() => "socket",
        () if kind.is_block_device() || kind.is_char_device() => "device",
        () => "special file",
    }
}
