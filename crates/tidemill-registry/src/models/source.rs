//! Where a version may come from. A version must not make somebody else's files readable, so what it points at has to
//! belong to the run or the logged model that it names.
//!
//! Reading a URI and judging it is pure; what a URI stands for is looked up by the caller.

use percent_encoding::percent_decode_str;

use super::names;
use crate::validate::normal;
use crate::{Error, Result};

/// A source as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A path of the client's file system.
    Local {
        /// Without `.` and `..`.
        path: String,
    },
    /// `runs:/RUN/PATH`
    Run {
        /// The run.
        run: String,
        /// Inside of its artifacts; may be empty.
        path: String,
    },
    /// `models:/m-…`
    LoggedModel(String),
    /// `models:/NAME/2`, `models:/NAME/Staging`, `models:/NAME/latest` or `models:/NAME@ALIAS`
    Registered {
        /// The registered model.
        name: String,
        /// Which version of it.
        which: Which,
    },
    /// Something that this server serves as an artifact.
    Served,
    /// Something that others serve.
    Elsewhere,
}

/// Which version of a registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Version(String),
    Alias(String),
    Stage(String),
    Latest,
}

/// Which of the two a version is said to belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Run,
    Model,
}

impl Owner {
    const fn field(self) -> &'static str {
        match self {
            Self::Run => "run_id",
            Self::Model => "model_id",
        }
    }
}

/// The registered model that a source names, where it names one.
pub fn model_of_source(source: &str) -> Option<String> {
    match parse(source) {
        Ok(Source::Registered { name, .. }) => Some(name),
        _ => None,
    }
}

/// Reads a source, and refuses what no owner could make right.
pub(super) fn parse(source: &str) -> Result<Source> {
    let uri = Uri::new(source);
    match uri.scheme.as_str() {
        "" | "file" => {
            if uri.scheme == "file" && !uri.is_this_host() {
                return Err(Error::invalid(format!(
                    "{source} is not a valid remote uri. For remote access on windows, please consider using a \
                     different scheme such as SMB (e.g. smb://<hostname>/<path>)."
                )));
            }
            let path = if uri.scheme == "file" { decode(uri.path) } else { source.to_owned() };
            return Ok(Source::Local { path: normal(&path) });
        }
        "models" => return parse_models(source, &uri),
        _ => {}
    }
    plain_path(source)?;
    if uri.scheme == "runs" {
        if !uri.authority.is_empty() {
            return Err(not_inside(source, Owner::Run));
        }
        let path = uri.path.trim_start_matches('/');
        let (run, path) = path.split_once('/').unwrap_or((path, ""));
        return Ok(Source::Run { run: run.to_owned(), path: path.trim_end_matches('/').to_owned() });
    }
    Ok(if uri.is_served() { Source::Served } else { Source::Elsewhere })
}

fn parse_models(source: &str, uri: &Uri<'_>) -> Result<Source> {
    if !uri.authority.is_empty() {
        return Err(Error::invalid(format!(
            "Invalid model version source: '{source}'. Registered model sources must use the active model registry."
        )));
    }
    plain_path(source)?;
    let wrong = || not_inside(source, Owner::Model);
    let path = uri.path.strip_prefix('/').ok_or_else(wrong)?.trim_start_matches('/');
    match path.split('/').collect::<Vec<_>>().as_slice() {
        [name, which] if !name.trim().is_empty() && !which.trim().is_empty() => {
            let which = if which.bytes().all(|b| b.is_ascii_digit()) {
                Which::Version((*which).to_owned())
            } else if names::is_latest(which) {
                Which::Latest
            } else {
                Which::Stage((*which).to_owned())
            };
            Ok(Source::Registered { name: (*name).to_owned(), which })
        }
        [one] if !one.trim().is_empty() => match one.rsplit_once('@') {
            Some((_, alias)) if alias.trim().is_empty() => Err(wrong()),
            Some((name, alias)) => {
                Ok(Source::Registered { name: name.to_owned(), which: Which::Alias(alias.to_owned()) })
            }
            None => Ok(Source::LoggedModel((*one).to_owned())),
        },
        _ => Err(wrong()),
    }
}

/// Whether `source` is `root` or lies below it.
pub(super) fn is_within(source: &str, root: &str) -> bool {
    let (inner, outer) = (Uri::new(source), Uri::new(root));
    let inner_local = matches!(inner.scheme.as_str(), "" | "file");
    if inner_local != matches!(outer.scheme.as_str(), "" | "file") {
        return false;
    }
    if !inner_local
        && (inner.scheme != outer.scheme || !inner.authority.eq_ignore_ascii_case(outer.authority))
    {
        return false;
    }
    let (inner, outer) = if inner_local {
        (parts(&normal(&inner.local_path(source))), parts(&normal(&outer.local_path(root))))
    } else {
        (parts(inner.path), parts(outer.path))
    };
    !outer.is_empty() && inner.len() >= outer.len() && inner[..outer.len()] == outer
}

/// The refusal of a source that does not belong to the named owner.
pub(super) fn not_inside(source: &str, owner: Owner) -> Error {
    Error::invalid(format!(
        "Invalid model version source: '{source}'. The {} request parameter must identify the resource that contains \
         the source.",
        owner.field()
    ))
}

/// The refusal of a path of a file system that does not belong to the named owner.
pub(super) fn not_inside_local(source: &str, owner: Owner) -> Error {
    let field = owner.field();
    Error::invalid(format!(
        "Invalid model version source: '{source}'. To use a local path as a model version source, the {field} request \
         parameter has to be specified and the local path has to be contained within the artifact directory of the run \
         specified by the {field}."
    ))
}

/// Refuses `..` in any spelling, and paths that have another, shorter one.
fn plain_path(source: &str) -> Result<()> {
    let mut decoded = source.to_owned();
    loop {
        let next = decode(&decoded.replace('+', " "));
        if next == decoded {
            break;
        }
        decoded = next;
    }
    let path = Uri::new(&decoded).path.trim_end_matches('/').to_owned();
    let mut single = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !single.ends_with('/') {
            single.push(c);
        }
    }
    let plain = !single.contains('\0')
        && !decoded.split('/').any(|part| part == "..")
        && single.starts_with('/')
        && normal(&single) == single;
    if plain {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Invalid model version source: '{source}'. If supplying a source as an http, https, local file path, ftp, \
         objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references \
         present. Please provide an absolute path."
    )))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The names of a path, decoded until nothing changes.
fn parts(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let mut part = part.to_owned();
            loop {
                let next = decode(&part);
                if next == part {
                    return part;
                }
                part = next;
            }
        })
        .collect()
}

/// A URI cut into its parts, which may be anything: unlike the `url` crate this changes nothing of them.
struct Uri<'a> {
    scheme: String,
    authority: &'a str,
    path: &'a str,
}

impl<'a> Uri<'a> {
    fn new(text: &'a str) -> Self {
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest))
                if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) =>
            {
                (scheme.to_ascii_lowercase(), rest)
            }
            _ => (String::new(), text),
        };
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let rest = &rest[..end];
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        Self { scheme, authority, path }
    }

    fn is_this_host(&self) -> bool {
        matches!(self.authority, "" | ".")
            || self.authority.starts_with("localhost")
            || self.authority.starts_with("127.0.0.1")
    }

    fn local_path(&self, whole: &str) -> String {
        if self.scheme == "file" { decode(self.path) } else { whole.to_owned() }
    }

    fn is_served(&self) -> bool {
        const ROUTE: [&str; 4] = ["api", "2.0", "mlflow-artifacts", "artifacts"];
        match self.scheme.as_str() {
            "mlflow-artifacts" => true,
            "http" | "https" => parts(self.path).windows(ROUTE.len()).any(|window| window == ROUTE),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> String {
        match parse(source) {
            Ok(source) => format!("{source:?}"),
            Err(error) => error.message,
        }
    }

    #[test]
    fn sources_are_told_apart() {
        for (source, expected) in [
            ("/a/./b", r#"Local { path: "/a/b" }"#),
            ("file:///a/b%20c", r#"Local { path: "/a/b c" }"#),
            ("runs:/abc/model/", r#"Run { run: "abc", path: "model" }"#),
            ("runs:/abc", r#"Run { run: "abc", path: "" }"#),
            ("models:/m-1", r#"LoggedModel("m-1")"#),
            ("models:/a/3", r#"Registered { name: "a", which: Version("3") }"#),
            ("models:/a/Latest", r#"Registered { name: "a", which: Latest }"#),
            ("models:/a/Production", r#"Registered { name: "a", which: Stage("Production") }"#),
            ("models:/a@b", r#"Registered { name: "a", which: Alias("b") }"#),
            ("mlflow-artifacts:/1/r/artifacts", "Served"),
            ("http://h:5000/api/2.0/mlflow-artifacts/artifacts/1", "Served"),
            ("https://h/x", "Elsewhere"),
            ("s3://b/x/", "Elsewhere"),
            ("gs://b//x/", "Elsewhere"),
        ] {
            assert_eq!(read(source), expected, "{source}");
        }
    }

    #[test]
    fn ways_out_are_refused() {
        for source in [
            "s3://b/../x",
            "s3://b/%2e%2e/x",
            "s3://b/%252e%252e/x",
            "mlflow-artifacts:/1/..%2f..%2f",
            "s3://b/x/./y",
            "s3://b",
            "mlflow-artifacts:/a%00",
            "runs:/a/../../b",
        ] {
            assert!(
                read(source).contains("without relative path references present"),
                "{source}: {}",
                read(source)
            );
        }
        for source in ["models:/a/1/2", "models:/", "models:a/1", "models:/a/ ", "models:/a@ "] {
            assert!(
                read(source).ends_with(
                    "The model_id request parameter must identify the resource that contains the source."
                ) || read(source).contains("without relative path references"),
                "{source}: {}",
                read(source)
            );
        }
        assert!(read("models://host/a/1").ends_with("must use the active model registry."));
        assert!(read("runs://host/a").ends_with("must identify the resource that contains the source."));
        assert!(read("file://host/a").contains("is not a valid remote uri"));
    }

    #[test]
    fn containment_is_by_whole_names() {
        for (source, root, within) in [
            ("mlflow-artifacts:/1/r/artifacts/m", "mlflow-artifacts:/1/r/artifacts", true),
            ("mlflow-artifacts:/1/r/artifacts", "mlflow-artifacts:/1/r/artifacts", true),
            ("mlflow-artifacts:/1/r/artifacts2", "mlflow-artifacts:/1/r/artifacts", false),
            ("mlflow-artifacts:/1/%72/artifacts/m", "mlflow-artifacts:/1/r/artifacts", true),
            ("mlflow-artifacts://h/1/r", "mlflow-artifacts:/1/r", false),
            ("http://h/1/r", "mlflow-artifacts:/1/r", false),
            ("/a/b/c", "/a/b", true),
            ("/a/b/../c", "/a/b", false),
            ("file:///a/b/c", "/a/b", true),
            ("/a", "file:///", false),
        ] {
            assert_eq!(is_within(source, root), within, "{source} in {root}");
        }
    }
}
