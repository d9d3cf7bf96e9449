//! Datasets, their expectations, the store, and parameter paths.

use std::collections::BTreeMap;

use tidemill_core::declare::{Bounds, Expectation, Rule, age};
use tidemill_core::did_you_mean;

use super::Check;
use super::path::{SCHEMES, clean, is_glob, is_url};
use crate::node::Cursor;
use crate::{Params, Pattern};

/// A folder in front of a store holds at least a few chunks of the largest size.
const SMALLEST_CACHE: u64 = 1_000_000;
/// Types of columns as `schema` names them.
const TYPES: [&str; 6] = ["int", "float", "string", "bool", "timestamp", "date"];

impl Check<'_> {
    pub(super) fn data(&mut self) {
        let project = self.project;
        let all = self.root().key("data");
        for (name, dataset) in &project.data {
            let at = all.key(name.as_str());
            let paths = dataset.path.as_slice();
            if paths.is_empty() {
                self.add(&at.key("path").key, "the list of paths is empty", "at least one path", None);
            }
            for (i, path) in paths.iter().enumerate() {
                self.data_path(path, &at.key("path").item(i));
            }
            self.distinct(&dataset.key, &at.key("key"));
            for (i, expectation) in dataset.expect.iter().enumerate() {
                let at = at.key("expect").item(i);
                self.rule(&expectation.rule, &at);
                self.expectation(expectation, &at);
            }
        }
        let at = self.root().key("params");
        match &project.params {
            Some(Params::File(path)) => self.param_file(path, &at),
            Some(Params::Files(paths)) => {
                for (i, path) in paths.iter().enumerate() {
                    self.param_file(path, &at.item(i));
                }
            }
            Some(Params::Values(_)) | None => {}
        }
        if let Some(objective) = &project.objective
            && objective.costs.is_some()
            && objective.task.kind == tidemill_core::declare::TaskKind::Regression
        {
            let at = self.root().key("objective").key("costs");
            self.add(
                &at.key,
                "costs of errors are for classification",
                "",
                Some("remove `costs`".to_owned()),
            );
        }
    }

    fn data_path(&mut self, path: &str, at: &Cursor<'_>) {
        if path.contains("${") {
            let message = format!("`{path}` has a parameter, and paths of datasets are not filled");
            let hint = "write the path as it is; where it depends on a parameter, a step reads it by `deps`";
            return self.add(&at.span, message, "a path without `${…}`", Some(hint.to_owned()));
        }
        if is_url(path) {
            return self.url(path, at);
        }
        if let Err((message, hint)) = clean(path) {
            let hint = if path.starts_with('/') { Some(format!("write `file://{path}`")) } else { hint };
            return self.add(&at.span, message, "a path in the project folder, or a URL", hint);
        }
        if is_glob(path)
            && let Err(why) = Pattern::new(path)
        {
            let message = format!("`{path}` is no glob pattern: {why}");
            self.add(&at.span, message, "`*`, `**`, `?`, `[abc]` and `{a,b}` as in a shell", None);
        }
    }

    fn url(&mut self, url: &str, at: &Cursor<'_>) {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        if !SCHEMES.contains(&scheme) {
            let hint = did_you_mean(scheme, SCHEMES);
            self.add(&at.span, format!("no object store has the scheme `{scheme}`"), "", hint);
        } else if rest.trim_matches('/').is_empty() && scheme != "memory" {
            let example = format!("`{scheme}://bucket/folder`");
            self.add(&at.span, format!("`{url}` names no place"), &example, None);
        }
    }

    fn param_file(&mut self, path: &str, at: &Cursor<'_>) {
        if let Err((message, hint)) = clean(path) {
            self.add(&at.span, message, "the path of a parameter file", hint);
        } else if !crate::resolve::is_param_file(path) {
            self.add(
                &at.span,
                format!("`{path}` is no parameter file"),
                "a name that ends in `.yaml`, `.yml`, `.json` or `.toml`",
                None,
            );
        }
    }

    fn distinct(&mut self, names: &[String], at: &Cursor<'_>) {
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                self.add(
                    &at.item(i).span,
                    format!("`{name}` stands here twice"),
                    "",
                    Some("remove one".to_owned()),
                );
            }
        }
    }

    fn rule(&mut self, rule: &Rule, at: &Cursor<'_>) {
        let at = at.key(rule.name());
        match rule {
            Rule::NotNull(columns) | Rule::Unique(columns) => {
                if columns.is_empty() {
                    self.add(&at.span, "no columns are named", "at least one column", None);
                }
                self.distinct(columns, &at);
            }
            Rule::InSet { values, .. } | Rule::NotInSet { values, .. } if values.is_empty() => {
                self.add(&at.key("values").span, "the set is empty", "at least one value", None);
            }
            Rule::Between { min: None, max: None, .. } => self.bounds(None, None, &at),
            Rule::Between { min: Some(min), max: Some(max), .. } => {
                if let (Some(min), Some(max)) = (min.as_f64(), max.as_f64()) {
                    self.bounds(Some(min), Some(max), &at);
                } else if min.is_string() != max.is_string() {
                    self.add(&at.key("max").span, "`min` and `max` are of different types", "", None);
                }
            }
            Rule::RowCount { min, max } | Rule::ColumnCount { min, max } => {
                self.bounds(min.map(|n| n as f64), max.map(|n| n as f64), &at);
            }
            Rule::NullShare(Bounds { min, max, .. })
            | Rule::Length(Bounds { min, max, .. })
            | Rule::DistinctCount(Bounds { min, max, .. })
            | Rule::MeanBetween(Bounds { min, max, .. })
            | Rule::StdBetween(Bounds { min, max, .. })
            | Rule::SumBetween(Bounds { min, max, .. }) => self.bounds(*min, *max, &at),
            Rule::QuantileBetween { quantile, min, max, .. } => {
                if !(0.0..=1.0).contains(quantile) {
                    self.add(
                        &at.key("quantile").span,
                        format!("there is no quantile {quantile}"),
                        "a share from 0 to 1; 0.5 is the median",
                        None,
                    );
                }
                self.bounds(*min, *max, &at);
            }
            Rule::Freshness { max_age, .. } if age(max_age).is_none() => {
                self.add(
                    &at.key("max_age").span,
                    format!("`{max_age}` is no age"),
                    "a number and one of `s`, `m`, `h`, `d`, `w`",
                    None,
                );
            }
            Rule::ForeignKey { columns, key, .. } => {
                if columns.is_empty() {
                    self.add(&at.key("columns").span, "no columns are named", "at least one column", None);
                } else if !key.is_empty() && key.len() != columns.len() {
                    let message = format!("{} columns cannot refer to {}", columns.len(), key.len());
                    self.add(&at.key("key").span, message, "as many columns as in `columns`", None);
                }
            }
            Rule::NoNewCategories { columns, .. } if columns.is_empty() => {
                self.add(&at.key("columns").span, "no columns are named", "at least one column", None);
            }
            Rule::Regex { pattern, .. } | Rule::NotRegex { pattern, .. } => {
                if let Err(error) = regex::Regex::new(pattern) {
                    let text = error.to_string();
                    let reason =
                        text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                    let message = format!("`{pattern}` is no regular expression: {reason}");
                    self.add(&at.key("pattern").span, message, "", None);
                }
            }
            Rule::Schema(columns) => {
                for (column, kind) in columns {
                    if !TYPES.contains(&kind.as_str()) {
                        let span = at.key(column).span;
                        self.add(&span, format!("there is no type `{kind}`"), "", did_you_mean(kind, TYPES));
                    }
                }
            }
            Rule::Sql { assert } if assert.trim().is_empty() => {
                self.add(&at.key("assert").span, "the query is empty", "", None);
            }
            Rule::InSet { .. }
            | Rule::NotInSet { .. }
            | Rule::Between { .. }
            | Rule::Monotonic { .. }
            | Rule::Compare { .. }
            | Rule::NoLeakage { .. }
            | Rule::Freshness { .. }
            | Rule::NoNewCategories { .. }
            | Rule::DriftBelow { .. }
            | Rule::Sql { .. } => {}
        }
    }

    /// What stands beside the rule.
    fn expectation(&mut self, expectation: &Expectation, at: &Cursor<'_>) {
        let name = expectation.rule.name();
        if let Some(mostly) = expectation.mostly {
            let at = at.key("mostly");
            if !(mostly > 0.0 && mostly <= 1.0) {
                self.add(&at.span, format!("{mostly} is no share of rows"), "above 0 and at most 1", None);
            } else if !expectation.rule.by_row() {
                let message = format!("`mostly` has no meaning for `{name}`, which is not judged row by row");
                self.add(&at.key, message, "", Some("remove `mostly`".to_owned()));
            }
        }
        if expectation.condition.as_ref().is_some_and(|condition| condition.trim().is_empty()) {
            self.add(&at.key("where").span, "the condition is empty", "", None);
        }
        if let Some(other) = expectation.rule.other() {
            let dataset = other.split('@').next().unwrap_or_default();
            // A stored version may be of a dataset that the project does not declare.
            if !other.contains('@') && !self.project.data.keys().any(|known| known.as_str() == dataset) {
                let hint = did_you_mean(dataset, self.project.data.keys().map(|known| known.as_str()));
                let hint = hint.or_else(|| Some(format!("`{dataset}@1` names a stored version")));
                let place = at.key(name);
                let keys = ["to", "from", "against"];
                let place = keys.iter().map(|key| place.key(key)).find(|place| place.node.is_some());
                let span = place.map_or_else(|| at.span.clone(), |place| place.span);
                self.add(&span, format!("there is no dataset `{dataset}`"), "", hint);
            }
        }
    }

    pub(super) fn serving(&mut self) {
        const DAY: u128 = 86_400_000;
        let Some(records) = self.project.serving.as_ref().and_then(|serving| serving.records.as_ref()) else {
            return;
        };
        let at = self.root().key("serving").key("records");
        if let Some(sample) = records.sample.filter(|sample| !(0.0..=1.0).contains(sample)) {
            let span = at.key("sample").key.clone();
            self.add(&span, format!("`sample` is {sample}"), "a share from 0 to 1", None);
        }
        if let Some(keep) = records.keep.map(|keep| keep.0.as_millis())
            && (keep == 0 || keep % DAY != 0)
        {
            let span = at.key("keep").key.clone();
            self.add(&span, "records are kept for whole days", "for example `90d`", None);
        }
        if records.keep_bytes == Some(0) {
            let hint = Some("`sample: 0` records nothing".to_owned());
            self.add(&at.key("keep_bytes").key, "`keep_bytes` is 0", "a number of bytes", hint);
        }
    }

    pub(super) fn store(&mut self) {
        let Some(store) = &self.project.store else { return };
        let at = self.root().key("store");
        let short = at.node.is_some_and(|node| node.as_str().is_some());
        if let Some(path) = &store.path
            && is_url(path)
        {
            let hint = format!(
                "`url: {path}` keeps the store there; `remotes: {{main: {{url: {path}}}}}` is a place to push to"
            );
            self.add(
                &at.key("path").span,
                format!("`{path}` is an address, and the local store is a folder"),
                "a folder, which is a cache where `url` says that the store is elsewhere",
                Some(hint),
            );
        }
        if let Some(url) = &store.url {
            let place = if short { at.clone() } else { at.key("url") };
            if url.trim().is_empty() {
                self.add(&place.span, "the URL is empty", "`s3://bucket/prefix` or a folder", None);
            } else if is_url(url) {
                self.url(url, &place);
            } else if short {
                let hint = format!(
                    "`store: {{path: {url}}}` keeps the store in that folder; `store: {{url: {url}}}` is for one that \
                     machines share"
                );
                self.add(
                    &place.span,
                    format!("`{url}` is no address"),
                    "`s3://bucket/prefix`, `gs://…`, `az://…` or `file:///…`",
                    Some(hint),
                );
            }
        } else if !store.options.is_empty() {
            let span = &at.key("options").key;
            self.add(
                span,
                "these options are of no address",
                "`url` beside them, or options of a remote",
                None,
            );
        }
        self.no_secrets(&store.options, &at);
        if let Some(size) = store.cache_size {
            let place = at.key("cache_size");
            if store.url.is_none() {
                let hint = "what is in a store that is nowhere else cannot leave it; `tidemill gc` removes what nothing needs";
                self.add(
                    &place.key,
                    "`cache_size` limits the folder in front of an address, and there is no `url`",
                    "",
                    Some(hint.to_owned()),
                );
            } else if size.0 < SMALLEST_CACHE {
                self.add(&place.span, "the folder cannot be so small", "at least `1 MB`", None);
            }
        }
        if let Some(remote) = &store.remote {
            self.known(
                "remote",
                remote.as_str(),
                store.remotes.keys().map(|n| n.as_str()),
                &at.key("remote").span,
            );
        }
        for (name, remote) in &store.remotes {
            let at = at.key("remotes").key(name.as_str());
            if remote.url.trim().is_empty() {
                self.add(&at.key("url").span, "the URL is empty", "`s3://bucket/prefix` or a folder", None);
            } else if is_url(&remote.url) {
                self.url(&remote.url, &at.key("url"));
            }
            self.no_secrets(&remote.options, &at);
        }
    }

    /// Options of the object store whose address stands at `at`.
    fn no_secrets(&mut self, options: &BTreeMap<String, String>, at: &Cursor<'_>) {
        for option in options.keys() {
            let lower = option.to_lowercase();
            if ["secret", "password", "token", "access_key", "sas", "private_key", "credential"]
                .iter()
                .any(|s| lower.contains(s))
            {
                let hint = "set it in the environment of Tidemill; this file is committed to Git";
                let span = at.key("options").key(option).key;
                self.add_secret(&span, format!("`{option}` looks like a secret"), hint);
            }
        }
    }
}
