//! Licences of everything we link or build with, against an allow-list.
//!
//! The list says what an Apache-2.0 binary may contain. Whether a package tells the truth about its licence is not
//! checked.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::tidy::Finding;
use crate::{process, workspace};

/// SPDX identifiers we accept. All are permissive; MPL-2.0 binds only changes to its own files.
const ALLOWED: [&str; 16] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that state no SPDX expression, with the licence a person read in their files.
const READ_BY_HAND: [(&str, &str); 0] = [];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    version: String,
    license: Option<String>,
}

/// Finds packages of the whole dependency tree, on every platform, whose licence is not on the list.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let metadata = ["metadata", "--format-version", "1", "--all-features", "--locked"];
    let text = process::output(&mut workspace::cargo(root, &metadata))?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cannot read the output of `cargo metadata`")?;
    Ok(metadata.packages.iter().filter_map(judge).collect())
}

fn judge(package: &MetadataPackage) -> Option<Finding> {
    let by_hand = READ_BY_HAND.iter().find(|(name, _)| *name == package.name).map(|(_, licence)| *licence);
    let said = by_hand.or(package.license.as_deref());
    let message = match said {
        None => format!(
            "`{} {}` states no licence; read its files and add it to `READ_BY_HAND`",
            package.name, package.version
        ),
        Some(expression) if permits(expression) => return None,
        Some(expression) => {
            format!("`{} {}` is licensed `{expression}`, which is not allowed", package.name, package.version)
        }
    };
    Some(Finding::file("Cargo.lock", message))
}

/// Whether an SPDX expression leaves a choice that uses allowed licences only.
///
/// `AND` binds tighter than `OR`, as SPDX 2.3 annex D says; the old `/` between names means `OR`.
fn permits(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let verdict = any_of(&tokens, &mut at);
    verdict && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize) -> bool {
    let mut verdict = all_of(tokens, at);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        verdict |= all_of(tokens, at);
    }
    verdict
}

fn all_of(tokens: &[&str], at: &mut usize) -> bool {
    let mut verdict = single(tokens, at);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        verdict &= single(tokens, at);
    }
    verdict
}

fn single(tokens: &[&str], at: &mut usize) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if *token == "(" {
        let verdict = any_of(tokens, at);
        let closed = tokens.get(*at) == Some(&")");
        *at += 1;
        return verdict && closed;
    }
    let mut name = (*token).to_owned();
    if tokens.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", tokens.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    ALLOWED.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_judged_by_spdx_rules() {
        for (expression, allowed) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT AND GPL-3.0-only", false),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only OR MIT AND ISC", true),
            ("(GPL-3.0-only OR MIT) AND ISC", true),
            ("GPL-3.0-only OR (MIT AND AGPL-3.0)", false),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0", true),
            ("Apache-2.0 WITH Other-exception", false),
            ("(MIT", false),
            ("", false),
        ] {
            assert_eq!(permits(expression), allowed, "{expression:?}");
        }
    }
}
