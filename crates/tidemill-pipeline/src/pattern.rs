//! Relations between project-relative paths, by their parts. Reads no file system.

pub(crate) use tidemill_project::Pattern;

/// Whether a declared read is an object-store URL.
pub(crate) fn is_url(path: &str) -> bool {
    path.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

/// Whether a declared read is a glob pattern rather than a plain path.
pub(crate) fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

/// Whether `path` is `folder` or below it. The empty folder is the project itself.
pub(crate) fn within(path: &str, folder: &str) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => folder.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_contain_by_whole_parts() {
        for (path, folder, expected) in
            [("a/b", "a", true), ("a", "a", true), ("ab", "a", false), ("a", "a/b", false), ("a", "", true)]
        {
            assert_eq!(within(path, folder), expected, "{path} {folder}");
        }
    }
}
