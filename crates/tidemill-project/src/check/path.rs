//! Paths inside the project folder.

/// A path in its one form: `/` between parts, no `.` parts, nothing at the end. The error is what is wrong and
/// what to do.
pub(crate) fn clean(path: &str) -> Result<String, (String, Option<String>)> {
    let wrong = |message: String, hint: &str| Err((message, (!hint.is_empty()).then(|| hint.to_owned())));
    if path.trim().is_empty() {
        return wrong("the path is empty".to_owned(), "");
    }
    if path.contains('\0') {
        return wrong("the path contains a zero byte".to_owned(), "");
    }
    let drive = path.as_bytes().get(1) == Some(&b':') && path.as_bytes()[0].is_ascii_alphabetic();
    if path.starts_with('/') || path.starts_with('~') || drive {
        return wrong(
            format!("`{path}` is outside the project"),
            "use a path relative to the project folder",
        );
    }
    if path.contains('\\') {
        return wrong(format!("`{path}` contains a backslash"), "write `/` between the parts of a path");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return wrong(format!("`{path}` may lead out of the project"), "write the path without `..`");
    }
    if parts.is_empty() {
        return wrong(format!("`{path}` is the project folder itself"), "name a file or folder in it");
    }
    if matches!(parts[0], ".tidemill" | ".git") {
        return wrong(
            format!("`{path}` is inside `{}`, which is not yours to use", parts[0]),
            "use another folder",
        );
    }
    Ok(parts.join("/"))
}

/// Whether this is a URL with one of the schemes that object stores have.
pub(crate) fn is_url(path: &str) -> bool {
    path.split_once("://")
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// The schemes that the store and datasets understand.
pub(super) const SCHEMES: [&str; 5] = ["s3", "gs", "az", "file", "memory"];

/// Whether a path is a glob pattern.
pub(crate) fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form() {
        for (path, cleaned) in [("a/b", "a/b"), ("./a//b/", "a/b"), ("a b", "a b"), ("..a/b..", "..a/b..")] {
            assert_eq!(clean(path).unwrap(), cleaned);
        }
        for bad in
            ["", " ", "/a", "../a", "a/../b", ".", "./", "~/a", "C:/a", "a\\b", "a\0b", ".tidemill/x", ".git"]
        {
            assert!(clean(bad).is_err(), "{bad:?}");
        }
    }
}
