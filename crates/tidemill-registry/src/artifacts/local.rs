//! Artifacts in local folders, where clients of the same machine wrote them. They are only read, and only inside of the
//! folders that the server was told to read; links that lead out of these are not followed.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::artifacts::FileInfo;
use crate::{Code, Error, Result};

/// The path without links and `..`; an error if it is in none of `roots` or does not exist.
pub(crate) fn resolve(path: &Path, roots: &[PathBuf]) -> Result<Option<PathBuf>> {
    let refused = || {
        Error::new(
            Code::PermissionDenied,
            format!(
                "The artifacts are in the folder '{}', which this server may not read; clients on its machine read it \
                 themselves.",
                path.display()
            ),
        )
    };
    if !path.is_absolute() {
        return Err(refused());
    }
    // Where the path does not exist, it is what exists of it that must be inside, so that nobody can ask what exists
    // elsewhere.
    let (exists, real) = path
        .ancestors()
        .find_map(|above| fs::canonicalize(above).ok().map(|real| (above == path, real)))
        .ok_or_else(refused)?;
    let inside =
        roots.iter().filter_map(|root| fs::canonicalize(root).ok()).any(|root| real.starts_with(root));
    match (inside, exists) {
        (false, _) => Err(refused()),
        (true, false) => Ok(None),
        (true, true) => Ok(Some(real)),
    }
}

/// What lies in a folder, by name; nothing if it is none.
pub(crate) fn list(path: &Path, roots: &[PathBuf]) -> Result<Vec<FileInfo>> {
    let Some(real) = resolve(path, roots)?.filter(|real| real.is_dir()) else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for entry in fs::read_dir(real).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // A link counts as what it leads to; one that leads nowhere or out of the folders is left out.
        let Ok(Some(real)) = resolve(&entry.path(), roots) else { continue };
        let Ok(metadata) = fs::metadata(real) else { continue };
        files.push(FileInfo { name, bytes: (!metadata.is_dir()).then_some(metadata.len()) });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

pub(crate) fn unreadable(error: std::io::Error) -> Error {
    Error {
        code: Code::InternalError,
        message: "the server cannot read the artifact's folder; its log says why".to_owned(),
        source: Some(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_inside_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        for folder in [&inside, &outside] {
            fs::create_dir_all(folder.join("sub")).unwrap();
            fs::write(folder.join("file"), b"12345").unwrap();
        }
        fs_err::os::unix::fs::symlink(outside.join("file"), inside.join("leak")).unwrap();
        fs_err::os::unix::fs::symlink(inside.join("file"), inside.join("link")).unwrap();
        let roots = [inside.clone(), dir.path().join("missing")];
        let names: Vec<_> =
            list(&inside, &roots).unwrap().into_iter().map(|file| (file.name, file.bytes)).collect();
        assert_eq!(names, [("file".into(), Some(5)), ("link".into(), Some(5)), ("sub".into(), None)]);
        assert_eq!(list(&inside.join("file"), &roots).unwrap(), []);
        assert_eq!(list(&inside.join("none"), &roots).unwrap(), []);
        assert_eq!(resolve(&inside.join("none/deeper"), &roots).unwrap(), None);
        for path in [
            outside.join("file"),
            outside.join("none"),
            inside.join("leak"),
            inside.join("../out/file"),
            inside.join("../out/none"),
            dir.path().join("in-not"),
            PathBuf::from("relative"),
            PathBuf::from("/"),
        ] {
            let error = resolve(&path, &roots).unwrap_err();
            assert_eq!(error.code, Code::PermissionDenied, "{}", path.display());
        }
        assert!(resolve(&inside, &[]).is_err());
    }
}
