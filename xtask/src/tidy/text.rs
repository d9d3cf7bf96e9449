//! What no tracked text may contain: paths of one machine, and links to hosts nobody decided to link to.
//!
//! Package registries are reached under different names from different networks, so an address copied out of a local
//! configuration must not end up in the repository. Whether a link still works is not checked.

use crate::tidy::Finding;

/// Folders that exist on one machine only. Written in pieces so that this file passes its own check.
const MACHINE_FOLDERS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Hosts that code, documents and examples may name, their subdomains included.
const HOSTS: [&str; 48] = [
    // examples and tests
    "127.0.0.1",
    "[::1]",
    "localhost",
    "example.com",
    "example.org",
    "example.net",
    "example",
    // addresses that tests try to reach where they must not, and are refused
    "desk.example.evil",
    "1.1.1.1",
    "10.0.0.5",
    "127.1",
    "169.254.169.254",
    "[::ffff:10.0.0.1]",
    "10.0.0.1",
    "invalid",
    "test",
    // where code and its documents live
    "api.slack.com",
    "www.standardwebhooks.com",
    "github.com",
    "crates.io",
    "docs.rs",
    "rust-lang.org",
    "rustup.rs",
    "nexte.st",
    "pypi.org",
    "python.org",
    // tools and formats we speak of
    "apache.org",
    "creativecommons.org",
    "cloudevents.io",
    "duckdb.org",
    "dvc.org",
    "json-schema.org",
    "jsonlines.org",
    "kernel.org",
    "landlock.io",
    "lightgbm.readthedocs.io",
    "metaflow.org",
    "onnx.ai",
    "oxen.ai",
    "postgresql.org",
    "scikit-learn.org",
    "sqlite.org",
    "yaml.org",
    // standards and papers
    "arxiv.org",
    "doi.org",
    "rfc-editor.org",
    "ietf.org",
    "w3.org",
];

/// Finds machine paths and unknown hosts, one finding a line.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name == "Cargo.lock" || name.starts_with("LICENSE") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(folder) = machine_folder(line) {
            let message = format!("`{folder}` is a folder of one machine; use a relative path");
            findings.push(Finding::line(path, index + 1, message));
        }
        for host in hosts(line) {
            if !is_known(host) {
                let message = format!(
                    "link to `{host}`; if the repository should name that host, add it to `xtask/src/tidy/text.rs`"
                );
                findings.push(Finding::line(path, index + 1, message));
            }
        }
    }
    findings
}

fn machine_folder(line: &str) -> Option<&'static str> {
    MACHINE_FOLDERS.into_iter().find(|folder| {
        line.match_indices(folder).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let starts_path = before.is_none_or(|c| !c.is_alphanumeric() && !"._-/}>*~$".contains(c));
            let after = line[at + folder.len()..].chars().next();
            starts_path && after.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '_')
        })
    })
}

/// The host part of every `http` and `https` address in `line`.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("://").filter_map(|(at, mark)| {
        let scheme = &line[..at];
        if !scheme.ends_with("http") && !scheme.ends_with("https") {
            return None;
        }
        let rest = &line[at + mark.len()..];
        let ends = |c: char| !(c.is_ascii_alphanumeric() || "-._:[]@".contains(c));
        let authority = rest.split(ends).next().unwrap_or("");
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let host = match host.find(']') {
            Some(end) => &host[..=end],
            None => host.split(':').next().unwrap_or(host),
        };
        let host = host.trim_end_matches('.');
        (!host.is_empty()).then_some(host)
    })
}

fn is_known(host: &str) -> bool {
    // A single label (`http://host`, `http://HOST:PORT`) is a placeholder.
    let placeholder = !host.contains('.') && !host.contains('[');
    placeholder
        || HOSTS
            .iter()
            .any(|known| host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_one_machine_are_found() {
        for (line, found) in [
            (concat!("open(\"/ro", "ot/data.csv\")"), true),
            (concat!("cd /wo", "rk/main"), true),
            (concat!("/ho", "me/ana/x"), true),
            ("target/work/a", false),
            ("https://example.com/work/a", false),
            ("{root}/work/x", false),
            ("/tmp/a", false),
        ] {
            assert_eq!(!check("docs/a.md", line).is_empty(), found, "{line}");
        }
    }

    #[test]
    fn unknown_hosts_are_found_and_known_ones_are_not() {
        for (line, found) in [
            ("see https://docs.rs/tokio.", false),
            ("https://s3.eu-west-1.example.com:9000/bucket", false),
            ("http://127.0.0.1:4566 and http://[::1]:80", false),
            ("http://user:secret@localhost/x", false),
            ("PUT http://{host}/x and http://HOST:PORT", false),
            (concat!("https", "://mirror.corp.lan/simple"), true),
            (concat!("https", "://notgithub.com/x"), true),
            ("s3://bucket.with.dots/key", false),
        ] {
            assert_eq!(!check("docs/a.md", line).is_empty(), found, "{line}");
        }
    }

    #[test]
    fn a_finding_names_file_and_line() {
        let findings = check("docs/a.md", concat!("one\ncd /ro", "ot/x\n"));
        assert_eq!(
            findings[0].to_string(),
            concat!("docs/a.md:2: `/ro", "ot/` is a folder of one machine; use a relative path")
        );
    }
}
