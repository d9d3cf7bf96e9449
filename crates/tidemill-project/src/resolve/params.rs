//! Parameters: files read and merged, overrides applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_core::did_you_mean;

use crate::check::clean;
use crate::node::{Cursor, Entry, Kind, Node, Span};
use crate::report::{Diagnostic, Report};
use crate::template::lookup;
use crate::{Files, Params, Project, yaml};

/// Whether a path is that of a parameter file, by its extension.
pub(crate) fn is_param_file(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    matches!(extension.as_deref(), Some("yaml" | "yml" | "json" | "toml"))
}

/// Parameter files, each read once.
pub(super) struct ParamFiles<'f> {
    files: &'f dyn Files,
    read: BTreeMap<String, Option<Node>>,
}

impl<'f> ParamFiles<'f> {
    pub(super) fn new(files: &'f dyn Files) -> Self {
        Self { files, read: BTreeMap::new() }
    }

    /// The map in a file. Problems with its content go to the report with their places in that file; where it
    /// cannot be read at all, `place` in the project file is to blame.
    pub(super) fn load(
        &mut self,
        path: &str,
        project: &Project,
        place: &Span,
        report: &mut Report,
    ) -> Option<&Node> {
        if !self.read.contains_key(path) {
            let loaded = self.read_file(path, project, place, report);
            self.read.insert(path.to_owned(), loaded);
        }
        self.read.get(path).and_then(Option::as_ref)
    }

    pub(super) fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.read.get_mut(path).and_then(Option::as_mut)
    }

    fn read_file(&self, path: &str, project: &Project, place: &Span, report: &mut Report) -> Option<Node> {
        let mut blame = |message: String, hint: Option<String>| {
            let source = &project.source;
            report.push(source.file(), &source.text(), Diagnostic::new(place, message).hint(hint));
        };
        let cleaned = match clean(path) {
            Ok(cleaned) => cleaned,
            Err((message, hint)) => {
                blame(message, hint);
                return None;
            }
        };
        let text = match self.files.read(&cleaned) {
            Ok(text) => text,
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                    std::io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
                    _ => error.to_string(),
                };
                let hint = Some("the path is relative to the project folder".to_owned());
                blame(format!("the parameter file `{path}` cannot be read: {reason}"), hint);
                return None;
            }
        };
        match tree_of(&text, path) {
            Ok(node) if matches!(node.kind, Kind::Map(_)) => Some(node),
            Ok(node) if matches!(node.kind, Kind::Null) => Some(Node::new(Kind::Map(Vec::new()), 0..0)),
            Ok(node) => {
                let text = Arc::from(text.as_str());
                let problem = Diagnostic::new(
                    &node.span,
                    format!("a parameter file is a map, not {}", node.describe()),
                );
                report.push(path, &text, problem.expected("`key: value` lines"));
                None
            }
            Err(problems) => {
                report.append(problems);
                None
            }
        }
    }
}

fn tree_of(text: &str, path: &str) -> Result<Node, Report> {
    let source = yaml::text_of(text.as_bytes(), path)?;
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let problem = match extension.as_deref() {
        Some("json") => match serde_json::from_str::<Node>(text) {
            Ok(node) => return Ok(node),
            Err(error) => {
                let at = offset(text, error.line(), error.column());
                let message = error.to_string();
                let end = message.find(" at line ").unwrap_or(message.len());
                Diagnostic::new(&at, format!("not valid JSON: {}", &message[..end]))
            }
        },
        Some("toml") => match toml::from_str::<toml::Value>(text) {
            Ok(value) => return Ok(from_toml(value)),
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                Diagnostic::new(&at, format!("not valid TOML: {}", error.message().replace('\n', ", ")))
            }
        },
        _ => return yaml::parse(&source, path),
    };
    let mut report = Report::default();
    report.push(path, &source, problem);
    Err(report)
}

fn offset(text: &str, line: usize, column: usize) -> Span {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let at = (start + column.saturating_sub(1)).min(text.len());
    at..(at + 1).min(text.len())
}

fn from_toml(value: toml::Value) -> Node {
    let kind = match value {
        toml::Value::String(text) => Kind::String(text),
        toml::Value::Integer(number) => Kind::Number(number.into()),
        toml::Value::Float(number) => serde_json::Number::from_f64(number).map_or(Kind::Null, Kind::Number),
        toml::Value::Boolean(value) => Kind::Bool(value),
        toml::Value::Datetime(time) => Kind::String(time.to_string()),
        toml::Value::Array(items) => Kind::List(items.into_iter().map(from_toml).collect()),
        toml::Value::Table(table) => Kind::Map(
            table
                .into_iter()
                .map(|(key, value)| Entry { key, key_span: 0..0, value: from_toml(value) })
                .collect(),
        ),
    };
    Node::new(kind, 0..0)
}

/// The project's own parameters, before overrides.
pub(super) fn project_params(project: &Project, files: &mut ParamFiles<'_>, report: &mut Report) -> Node {
    let at = project.source.cursor().key("params");
    let mut merged = Node::new(Kind::Map(Vec::new()), 0..0);
    let mut load = |path: &str, place: Cursor<'_>| {
        if let Some(node) = files.load(path, project, &place.span, report) {
            merge(&mut merged, node.clone());
        }
    };
    match &project.params {
        None => {}
        Some(Params::File(path)) => load(path, at),
        Some(Params::Files(paths)) => {
            for (i, path) in paths.iter().enumerate() {
                load(path, at.item(i));
            }
        }
        Some(Params::Values(values)) => {
            let entries = values.iter().map(|(key, value)| {
                let written = at.node.and_then(|node| node.get(key));
                // The file keeps the order of keys, which lists over maps go by.
                let value = match written {
                    Some(node) if node.to_value() == *value => node.clone(),
                    _ => Node::from_value(value),
                };
                Entry { key: key.clone(), key_span: 0..0, value }
            });
            merged = Node::new(Kind::Map(entries.collect()), 0..0);
        }
    }
    merged
}

/// Maps key by key, everything else replaced.
fn merge(into: &mut Node, from: Node) {
    let (Kind::Map(entries), Kind::Map(new)) = (&mut into.kind, from.kind) else { return };
    for entry in new {
        match entries.iter_mut().find(|e| e.key == entry.key) {
            Some(old) if matches!((&old.value.kind, &entry.value.kind), (Kind::Map(_), Kind::Map(_))) => {
                merge(&mut old.value, entry.value);
            }
            Some(old) => old.value = entry.value,
            None => entries.push(entry),
        }
    }
}

/// The value in an override: a YAML scalar, or a list or map in brackets, or plain text.
fn value_of(text: &str) -> Node {
    let trimmed = text.trim();
    if trimmed.starts_with(['[', '{', '"', '\'']) {
        if let Ok(node) = yaml::parse_tree(trimmed) {
            return Node::new(node.kind, 0..0);
        }
        return Node::new(Kind::String(text.to_owned()), 0..0);
    }
    let kind = yaml::plain_scalar(trimmed).unwrap_or_else(|_| Kind::String(text.to_owned()));
    Node::new(kind, 0..0)
}

/// Overrides of values that steps give themselves: step, key, value.
pub(super) type StepOverrides = Vec<(String, String, Node)>;

/// Applies overrides to the project's parameters and to parameter files that were read; returns those that are
/// for a step's own parameters.
pub(super) fn apply(
    overrides: &[(String, String)],
    project: &Project,
    params: &mut Node,
    files: &mut ParamFiles<'_>,
    report: &mut Report,
) -> StepOverrides {
    let mut for_steps = StepOverrides::new();
    for (key, text) in overrides {
        let value = value_of(text);
        if replace(params, key, &value) {
            continue;
        }
        if let Some((file, below)) = key.split_once(':')
            && let Some(node) = files.get_mut(file)
            && replace(node, below, &value)
        {
            continue;
        }
        let owner = project.pipeline.iter().find_map(|(step, decl)| {
            let below = key.strip_prefix(step.as_str())?.strip_prefix('.')?;
            own_keys(decl)
                .iter()
                .any(|own| *own == below || below.starts_with(&format!("{own}.")))
                .then(|| (step.to_string(), below.to_owned(), value.clone()))
        });
        if let Some(owner) = owner {
            for_steps.push(owner);
            continue;
        }
        let mut known = crate::template::Scope::new(params).keys();
        for (step, decl) in &project.pipeline {
            known.extend(own_keys(decl).iter().map(|own| format!("{step}.{own}")));
        }
        let hint = did_you_mean(key, known.iter().map(String::as_str))
            .or_else(|| Some("the project declares no parameters; add `params:`".to_owned()));
        let problem = Diagnostic::new(&(0..0), format!("there is no parameter `{key}`")).hint(hint);
        report.append(Report::of(&format!("the override `{key}={text}`"), problem));
    }
    for_steps
}

fn own_keys(decl: &crate::StepDecl) -> Vec<&str> {
    match &decl.params {
        Some(crate::StepParams::Values(values)) => {
            values.keys().map(String::as_str).filter(|key| !is_param_file(key)).collect()
        }
        _ => Vec::new(),
    }
}

/// Replaces the value of a key that exists.
pub(super) fn replace(root: &mut Node, key: &str, value: &Node) -> bool {
    if lookup(root, key).is_none() {
        return false;
    }
    let Kind::Map(entries) = &mut root.kind else { return false };
    if let Some(entry) = entries.iter_mut().find(|e| e.key == key) {
        entry.value = value.clone();
        return true;
    }
    match key.split_once('.') {
        Some((first, rest)) => entries
            .iter_mut()
            .find(|e| e.key == first)
            .is_some_and(|entry| replace(&mut entry.value, rest, value)),
        None => false,
    }
}
