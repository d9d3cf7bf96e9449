//! Import of `dvc.yaml`: the same pipeline as a Tidemill project file.
//!
//! Carried over: stages with command, working folder, dependencies, parameters, outputs, metrics, plots (as
//! outputs), descriptions, `foreach`/`do`, `matrix`, `vars` and templates. What has no counterpart is listed in
//! comments at the head of the text.

use std::sync::Arc;

use crate::node::{Entry, Kind, Node};
use crate::report::{Diagnostic, Report};
use crate::yaml;

const FILE: &str = "dvc.yaml";

/// The text of a `tidemill.yaml` that does what a `dvc.yaml` does.
///
/// # Errors
/// YAML that cannot be read, shapes that DVC would refuse too, and whatever the project file cannot say, for
/// example dependencies outside of the project.
pub fn from_dvc(text: &str) -> Result<String, Report> {
    let source = yaml::text_of(text.as_bytes(), FILE)?;
    let tree = yaml::parse(&source, FILE)?;
    let mut import = Import { source, report: Report::default(), notes: Vec::new() };
    let project = import.project(&tree);
    import.report.into_result(())?;
    let mut out = String::from("# Imported from dvc.yaml.\n");
    for note in import.notes {
        out.push_str(&format!("# Not carried over: {note}.\n"));
    }
    out.push_str(&yaml::print(&project));
    crate::parse(&out, "tidemill.yaml (imported from dvc.yaml)")?;
    Ok(out)
}

struct Import {
    source: Arc<str>,
    report: Report,
    notes: Vec<String>,
}

fn text(text: impl Into<String>) -> Node {
    Node::new(Kind::String(text.into()), 0..0)
}

fn list(items: Vec<Node>) -> Node {
    Node::new(Kind::List(items), 0..0)
}

fn map(entries: Vec<(&str, Node)>) -> Node {
    let entry = |(key, value): (&str, Node)| Entry { key: key.to_owned(), key_span: 0..0, value };
    Node::new(Kind::Map(entries.into_iter().map(entry).collect()), 0..0)
}

impl Import {
    fn problem(&mut self, node: &Node, message: impl Into<String>) {
        self.report.push(FILE, &self.source, Diagnostic::new(&node.span, message));
    }

    fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn project(&mut self, tree: &Node) -> Node {
        let Some(stages) = tree.get("stages") else {
            self.problem(tree, "there are no `stages`");
            return Node::null();
        };
        for entry in tree.entries() {
            if !matches!(entry.key.as_str(), "stages" | "vars" | "params") {
                self.note(format!("the section `{}`", entry.key));
            }
        }
        let pipeline = stages.entries().iter().filter_map(|stage| {
            let step = self.stage(&stage.key, &stage.value)?;
            Some(Entry { value: step, ..stage.clone() })
        });
        let pipeline = Node::new(Kind::Map(pipeline.collect()), 0..0);
        let mut entries = vec![("project", text("imported"))];
        if let Some(params) = self.params(tree, stages) {
            entries.push(("params", params));
        }
        entries.push(("pipeline", pipeline));
        map(entries)
    }

    /// `params.yaml` where anything refers to it, then the files of `vars`; or the values of `vars`.
    fn params(&mut self, tree: &Node, stages: &Node) -> Option<Node> {
        let mut files: Vec<String> = Vec::new();
        let mut values: Vec<Entry> = Vec::new();
        for var in tree.get("vars").map_or(&[][..], Node::items) {
            match &var.kind {
                // `file.yaml:key` takes one key of a file; the whole file does no harm.
                Kind::String(path) => files.push(path.split(':').next().unwrap_or(path).to_owned()),
                Kind::Map(entries) => values.extend(entries.iter().cloned()),
                _ => self.problem(var, "an entry of `vars` is a path or a map"),
            }
        }
        let by_key = |stage: &Entry| {
            let body = stage.value.get("do").unwrap_or(&stage.value);
            body.get("params").is_some_and(|params| params.items().iter().any(|p| p.as_str().is_some()))
        };
        let default =
            stages.entries().iter().any(by_key) || (values.is_empty() && files.is_empty() && refers(stages));
        if default && !files.iter().any(|file| file == "params.yaml") {
            files.insert(0, "params.yaml".to_owned());
        }
        match (files.is_empty(), values.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Node::new(Kind::Map(values), 0..0)),
            (false, true) if files.len() == 1 => files.pop().map(text),
            (false, true) => Some(list(files.into_iter().map(text).collect())),
            (false, false) => {
                self.problem(
                    tree.get("vars").unwrap_or(tree),
                    "values in `vars` beside parameter files; move the values into one of the files",
                );
                None
            }
        }
    }

    fn stage(&mut self, name: &str, stage: &Node) -> Option<Node> {
        let body = stage.get("do").unwrap_or(stage);
        let wdir = body.get("wdir").and_then(Node::as_str).map(unescape).filter(|wdir| wdir != ".");
        let mut step: Vec<(&str, Node)> = Vec::new();
        if let Some(desc) = body.get("desc").and_then(Node::as_str) {
            step.push(("description", text(desc)));
        }
        for key in ["matrix", "foreach"] {
            if let Some(values) = stage.get(key) {
                step.push((key, translated(values)));
            }
        }
        let command = match body.get("cmd").map(|cmd| &cmd.kind) {
            Some(Kind::String(command)) => unescape(command),
            Some(Kind::List(commands)) => {
                commands.iter().filter_map(Node::as_str).map(unescape).collect::<Vec<_>>().join(" &&\n")
            }
            _ => {
                self.problem(stage, format!("the stage `{name}` has no `cmd`"));
                return None;
            }
        };
        let command = match &wdir {
            Some(wdir) => format!("cd '{}' &&\n{command}", wdir.replace('\'', "'\\''")),
            None => command,
        };
        step.push(("run", text(command)));
        let wdir = wdir.unwrap_or_default();
        let paths = |key: &str| -> Vec<(String, Option<Node>)> {
            body.get(key).map_or(&[][..], Node::items).iter().flat_map(|item| path_of(item, &wdir)).collect()
        };
        let deps: Vec<Node> = paths("deps").into_iter().map(|(path, _)| text(path)).collect();
        if !deps.is_empty() {
            step.push(("deps", list(deps)));
        }
        if let Some(params) = body.get("params") {
            step.push(("params", self.step_params(params, &wdir)));
        }
        let outs = paths("outs").into_iter().chain(paths("plots")).map(|(path, details)| {
            let persist = details
                .as_ref()
                .and_then(|d| d.get("persist"))
                .is_some_and(|p| matches!(p.kind, Kind::Bool(true)));
            if persist {
                map(vec![("path", text(path)), ("persist", Node::new(Kind::Bool(true), 0..0))])
            } else {
                text(path)
            }
        });
        let outs: Vec<Node> = outs.collect();
        if !outs.is_empty() {
            step.push(("outs", list(outs)));
        }
        let metrics: Vec<Node> = paths("metrics").into_iter().map(|(path, _)| text(path)).collect();
        if !metrics.is_empty() {
            step.push(("metrics", list(metrics)));
        }
        for entry in body.entries() {
            let carried = [
                "cmd", "wdir", "deps", "params", "outs", "plots", "metrics", "desc", "matrix", "foreach",
                "do",
            ];
            if !carried.contains(&entry.key.as_str()) {
                self.note(format!("`{}` of `{name}`", entry.key));
            }
        }
        Some(map(step))
    }

    fn step_params(&mut self, params: &Node, wdir: &str) -> Node {
        let items = params.items().iter().map(|item| match &item.kind {
            Kind::Map(files) => {
                let files = files.iter().map(|file| Entry {
                    key: join(wdir, &unescape(&file.key)),
                    key_span: 0..0,
                    value: match &file.value.kind {
                        Kind::List(keys) if keys.is_empty() => Node::null(),
                        _ => translated(&file.value),
                    },
                });
                Node::new(Kind::Map(files.collect()), 0..0)
            }
            _ => translated(item),
        });
        list(items.collect())
    }
}

/// The paths of an entry: `path` or `path: {details}`.
fn path_of(item: &Node, wdir: &str) -> Vec<(String, Option<Node>)> {
    match &item.kind {
        Kind::String(path) => vec![(join(wdir, &unescape(path)), None)],
        Kind::Map(entries) => {
            entries.iter().map(|e| (join(wdir, &unescape(&e.key)), Some(e.value.clone()))).collect()
        }
        _ => Vec::new(),
    }
}

/// A path below the working folder of a stage, with `..` followed as far as it goes.
fn join(wdir: &str, path: &str) -> String {
    if path.starts_with('/') || path.contains("://") {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in wdir.split('/').chain(path.split('/')).filter(|p| !p.is_empty() && *p != ".") {
        if part == ".." && parts.last().is_some_and(|last| *last != "..") {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// DVC writes `\${` for a literal `${`.
fn unescape(text: &str) -> String {
    text.replace("\\${", "$${")
}

fn translated(node: &Node) -> Node {
    let kind = match &node.kind {
        Kind::String(text) => Kind::String(unescape(text)),
        Kind::List(items) => Kind::List(items.iter().map(translated).collect()),
        Kind::Map(entries) => {
            Kind::Map(entries.iter().map(|e| Entry { value: translated(&e.value), ..e.clone() }).collect())
        }
        other => other.clone(),
    };
    Node::new(kind, 0..0)
}

/// Whether any text refers to a parameter rather than to what a stage is repeated for.
fn refers(node: &Node) -> bool {
    match &node.kind {
        Kind::String(text) => text.match_indices("${").any(|(at, _)| {
            let inner = text[at + 2..].trim_start();
            let name: &str = inner.split(['.', '}', '[', ' ']).next().unwrap_or_default();
            !matches!(name, "item" | "key")
        }),
        Kind::List(items) => items.iter().any(refers),
        Kind::Map(entries) => entries.iter().any(|e| refers(&e.value)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => false,
    }
}
