//! Finding and loading the shared library.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;

use super::NAME;
use crate::LoadError;

/// The one environment of the process and the library that it came from.
static LOADED: OnceLock<(Environment, PathBuf)> = OnceLock::new();
/// Held while loading.
static LOADING: Mutex<()> = Mutex::new(());

/// Where the library is on a usual system. Callers put the package folders of Python environments before it.
pub fn usual_places() -> Vec<PathBuf> {
    [
        "/usr/local/lib",
        "/usr/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/opt/onnxruntime/lib",
    ]
    .map(PathBuf::from)
    .to_vec()
}

/// The environment, once it is there.
pub(super) fn environment() -> Option<&'static Environment> {
    LOADED.get().map(|(environment, _)| environment)
}

/// Loads the first candidate that can be loaded, and says which it is.
pub(super) fn load(candidates: &[PathBuf]) -> Result<PathBuf, LoadError> {
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, path)) = LOADED.get() {
        return Ok(path.clone());
    }
    let unavailable = |why: String| LoadError::Unavailable { runtime: NAME, why };
    let mut tried = Vec::new();
    for path in candidates.iter().flat_map(|candidate| files(candidate)) {
        match ort::init_from(&path) {
            Ok(builder) => {
                let environment =
                    builder.with_name("tidemill").with_telemetry(false).build().map_err(|error| {
                        unavailable(format!("`{}` cannot be started: {error}", path.display()))
                    })?;
                let _ = LOADED.set((environment, path.clone()));
                return Ok(path);
            }
            Err(error) => tried.push(format!("{error}")),
        }
    }
    if tried.is_empty() {
        let places: Vec<String> = candidates.iter().map(|place| format!("`{}`", place.display())).collect();
        return Err(unavailable(format!(
            "no shared library at {}; run `pip install onnxruntime` and name the folder `onnxruntime/capi` of its \
             packages, or name the file `libonnxruntime.so`",
            if places.is_empty() { "any place, since none was named".to_owned() } else { places.join(", ") }
        )));
    }
    Err(unavailable(tried.join("; ")))
}

/// The library at a place: the file itself, or those in a folder of libraries, of the Python package, or of a Python
/// environment, newest version first.
fn files(candidate: &Path) -> Vec<PathBuf> {
    if candidate.is_file() {
        return vec![candidate.to_owned()];
    }
    let mut folders = vec![candidate.to_owned(), candidate.join("capi"), candidate.join("onnxruntime/capi")];
    for entry in entries(&candidate.join("lib")) {
        folders.push(entry.join("site-packages/onnxruntime/capi"));
    }
    let mut found = Vec::new();
    for folder in folders {
        let mut own: Vec<PathBuf> = entries(&folder).into_iter().filter(|path| is_library(path)).collect();
        own.sort_by(|a, b| b.cmp(a));
        found.extend(own);
    }
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// `libonnxruntime.so`, with or without a version; not the libraries of its providers.
fn is_library(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("libonnxruntime.so") || name == "libonnxruntime.dylib" || name == "onnxruntime.dll"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_in_a_python_environment() {
        let folder = tempfile::tempdir().unwrap();
        let capi = folder.path().join("lib/python3.11/site-packages/onnxruntime/capi");
        fs_err::create_dir_all(&capi).unwrap();
        for name in ["libonnxruntime.so.1.32.0", "libonnxruntime_providers_shared.so", "readme"] {
            fs_err::write(capi.join(name), "").unwrap();
        }
        let wanted = vec![capi.join("libonnxruntime.so.1.32.0")];
        assert_eq!(files(folder.path()), wanted);
        assert_eq!(files(&wanted[0]), wanted);
        assert_eq!(files(&folder.path().join("lib/python3.11/site-packages")), wanted);
        assert!(files(&folder.path().join("nothing")).is_empty());
    }
}
