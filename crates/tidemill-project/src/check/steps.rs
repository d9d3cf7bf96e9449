//! Steps one by one, before and after templating.

use tidemill_core::declare::{RecordsInput, Training};

use super::path::is_glob;
use super::{Check, Read, StepIo, check_graph, check_training, clean, graph::Write, is_url};
use crate::node::{Cursor, Kind, Node, Span};
use crate::template::is_reference;
use crate::{Axis, EnvDecl, EnvFrom, Foreach, InputDecl, OutDecl, SandboxDecl, StepDecl, StepParams};

pub(crate) const ENV_HINT: &str = "letters, digits and `_`, not beginning with a digit";

impl Check<'_> {
    pub(super) fn steps(&mut self) {
        let project = self.project;
        let all = self.root().key("pipeline");
        let mut steps = Vec::new();
        let mut complete = true;
        for (name, step) in &project.pipeline {
            let at = all.key(name.as_str());
            self.repeated(step, &at);
            steps.push(self.step(name.as_str(), step, &at, true));
            let outs = step.outs.iter().map(OutDecl::path).chain(step.metrics.iter().map(String::as_str));
            complete &= !outs.into_iter().any(|path| path.contains("${"));
        }
        check_graph(self, &steps, complete);
    }

    /// Checks a step and says what it reads and writes. With `templates`, texts with `${` are left for later.
    pub(crate) fn step(&mut self, name: &str, step: &StepDecl, at: &Cursor<'_>, templates: bool) -> StepIo {
        let later = |text: &str| templates && text.contains("${");
        self.action(step, at, templates);
        let mut io =
            StepIo { name: name.to_owned(), key: at.key.clone(), outs: Vec::new(), reads: Vec::new() };
        for (i, out) in step.outs.iter().enumerate() {
            let place = at.key("outs").item(i);
            let place = if matches!(out, OutDecl::Detailed(_)) { place.key("path") } else { place };
            self.out(out.path(), &place.span, &mut io, templates);
        }
        for (i, path) in step.metrics.iter().enumerate() {
            let span = at.key("metrics").item(i).span;
            let declared = io.outs.iter().any(|out| clean(path).is_ok_and(|p| p == out.path));
            if !declared {
                self.out(path, &span, &mut io, templates);
            }
        }
        for (i, input) in step.inputs.iter().enumerate() {
            let place = at.key("inputs").item(i);
            match input {
                InputDecl::Source(source) if !later(source) => self.input(source, &place.span, &mut io),
                InputDecl::Source(_) => {}
                InputDecl::Named(tables) => {
                    for (table, source) in tables {
                        if !later(source) {
                            self.input(source, &place.key(table).span, &mut io);
                        }
                    }
                }
            }
        }
        for (i, dep) in step.deps.iter().enumerate() {
            let span = at.key("deps").item(i).span;
            if !later(dep)
                && let Some(path) = self.path(dep, "a path in the project folder", &span)
            {
                io.reads.push(Read { path, span, named: false });
            }
        }
        if let Some(SandboxDecl::Open(open)) = &step.sandbox {
            for (i, path) in open.read.iter().enumerate() {
                let span = at.key("sandbox").key("read").item(i).span;
                let hint = match path.as_str() {
                    "" => "leave it out where there is nothing to read",
                    path if is_glob(path) => "name the folder that holds the files",
                    path if is_url(path) => "an address is read over the network, which no step is kept from",
                    _ => continue,
                };
                self.add(
                    &span,
                    format!("`{path}` is no file or folder"),
                    "a path outside of the project folder",
                    Some(hint.to_owned()),
                );
            }
        }
        let features = step.train.as_ref().and_then(|train| train.0.get("features")).and_then(Node::as_str);
        if let Some(features) = features.filter(|f| !later(f)) {
            let span = at.key("train").key("features").span;
            if self.project.data.contains_key(features) {
                io.reads.push(Read { path: features.to_owned(), span, named: false });
            } else if let Some(path) = self.path(features, "an output of a step, a file, or a dataset", &span)
            {
                io.reads.push(Read { path, span, named: false });
            }
        }
        self.environment(step, at);
        io
    }

    fn input(&mut self, source: &str, span: &Span, io: &mut StepIo) {
        if let Some(records) = RecordsInput::parse(source) {
            // No step writes them, and which endpoints there are is not in this file.
            if let Err(message) = records {
                self.add(span, message, "records:ENDPOINT, or records:ENDPOINT@FROM..TO with days", None);
            }
        } else if self.project.data.contains_key(source) {
            io.reads.push(Read { path: source.to_owned(), span: span.clone(), named: true });
        } else if let Some(path) = self.path(source, "a dataset, or an output of a step", span) {
            io.reads.push(Read { path, span: span.clone(), named: true });
        }
    }

    fn out(&mut self, path: &str, span: &Span, io: &mut StepIo, templates: bool) {
        if templates && path.contains("${") {
            return;
        }
        if super::path::is_glob(path) {
            let message = format!("`{path}` is a pattern; outputs are named one by one");
            return self.add(span, message, "the path of a file or folder", None);
        }
        if let Some(path) = self.path(path, "a path in the project folder", span) {
            io.outs.push(Write { path, span: span.clone() });
        }
    }

    fn path(&mut self, path: &str, expected: &str, span: &Span) -> Option<String> {
        match clean(path) {
            Ok(path) => Some(path),
            Err((message, hint)) => {
                self.add(span, message, expected, hint);
                None
            }
        }
    }

    /// Exactly one action, with the outputs that it can have.
    fn action(&mut self, step: &StepDecl, at: &Cursor<'_>, templates: bool) {
        let given: Vec<&str> =
            [("sql", step.sql.is_some()), ("run", step.run.is_some()), ("train", step.train.is_some())]
                .into_iter()
                .filter_map(|(key, given)| given.then_some(key))
                .collect();
        let kind = match given.as_slice() {
            [] => return self.add(&at.key, "this step does nothing", "one of `sql`, `run`, `train`", None),
            [one] => *one,
            [one, other, ..] => {
                let message = format!("`{one}` and `{other}` in one step");
                let hint = Some("make two steps of it".to_owned());
                return self.add(&at.key(other).key, message, "one of `sql`, `run`, `train`", hint);
            }
        };
        let text = step.sql.as_ref().or(step.run.as_ref());
        if text.is_some_and(|text| text.trim().is_empty()) {
            self.add(&at.key(kind).span, format!("`{kind}` is empty"), "", None);
        }
        if let Some(sql) = &step.sql
            && is_sql_file(sql)
            && !(templates && sql.contains("${"))
        {
            self.path(sql, "the path of a `.sql` file, or a query", &at.key("sql").span);
        }
        if kind != "run" {
            if step.outs.len() != 1 {
                let what = if kind == "sql" { "a Parquet file" } else { "the model's folder" };
                let span = if step.outs.is_empty() { at.key.clone() } else { at.key("outs").item(1).span };
                let message = format!("a `{kind}` step with {} outputs", step.outs.len());
                self.add(&span, message, &format!("exactly one in `outs`: {what}"), None);
            } else if kind == "sql"
                && !step.outs[0].path().ends_with(".parquet")
                && !step.outs[0].path().contains("${")
            {
                let path = step.outs[0].path();
                let hint = Some(format!("write `{}.parquet`", stem(path)));
                self.add(
                    &at.key("outs").item(0).span,
                    format!("`{path}` is no Parquet file"),
                    "a name that ends in `.parquet`",
                    hint,
                );
            }
            if !step.metrics.is_empty() {
                self.add(
                    &at.key("metrics").key,
                    format!("`metrics` in a `{kind}` step"),
                    "`metrics` only beside `run`",
                    None,
                );
            }
        }
        if let Some(train) = &step.train
            && !holds_template(&train.0)
        {
            let place = at.key("train");
            match serde::Deserialize::deserialize(train.0.clone()) {
                Ok(training) => check_training(self, &training, &place),
                Err::<Training, _>(error) => self.add(&place.key, error.to_string(), "", None),
            }
        }
    }

    fn environment(&mut self, step: &StepDecl, at: &Cursor<'_>) {
        for (name, value) in &step.env {
            let place = at.key("env").key(name);
            if !is_env_name(name) {
                self.add(&place.key, format!("`{name}` is no name of a variable"), ENV_HINT, None);
            }
            if matches!(value, EnvDecl::From(EnvFrom::Inherit(false) | EnvFrom::Secret(false))) {
                self.add(
                    &place.span,
                    "this gives the variable no value",
                    "`true`",
                    Some("remove the variable".to_owned()),
                );
            }
        }
        if let Some(timeout) = step.timeout.as_ref().and_then(|t| t.value())
            && timeout.0.is_zero()
        {
            self.add(&at.key("timeout").span, "a timeout of nothing", "a length of time above 0", None);
        }
        if let Some(times) = step.retries.as_ref().and_then(|r| r.times.value())
            && *times > 100
        {
            self.add(
                &at.key("retries").key("times").span,
                format!("{times} further attempts"),
                "at most 100",
                None,
            );
        }
        if let Some(StepParams::File(path)) = &step.params
            && !path.contains("${")
            && !crate::resolve::is_param_file(path)
        {
            let hint = Some(format!("write `[{path}]` for a key of the project's parameters"));
            self.add(
                &at.key("params").span,
                format!("`{path}` is no parameter file"),
                "a name that ends in `.yaml`, `.yml`, `.json` or `.toml`",
                hint,
            );
        }
    }

    fn repeated(&mut self, step: &StepDecl, at: &Cursor<'_>) {
        if step.matrix.is_some() && step.foreach.is_some() {
            self.add(&at.key("foreach").key, "`matrix` and `foreach` in one step", "one of them", None);
        }
        let expected = "a list, or exactly `${key}` of a parameter that holds one";
        for (name, axis) in step.matrix.iter().flatten() {
            let place = at.key("matrix").key(name);
            let plain =
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            if !plain {
                self.add(
                    &place.key,
                    format!("`{name}` cannot be used in `${{matrix.…}}`"),
                    "letters, digits, `_` and `-`",
                    None,
                );
            }
            match axis {
                Axis::Param(text) if !is_reference(text) => {
                    self.add(&place.span, format!("`{text}` is no list"), expected, None);
                }
                Axis::Values(values) if values.is_empty() => {
                    self.add(&place.span, "the list is empty", "at least one value", None);
                }
                Axis::Param(_) | Axis::Values(_) => {}
            }
        }
        if step.matrix.as_ref().is_some_and(indexmap::IndexMap::is_empty) {
            self.add(&at.key("matrix").span, "the matrix is empty", "at least one list", None);
        }
        match &step.foreach {
            Some(Foreach::Param(text)) if !is_reference(text) => {
                self.add(&at.key("foreach").span, format!("`{text}` is no list"), expected, None);
            }
            _ => {}
        }
    }
}

/// Whether the text of `sql` is a path rather than a query.
pub(crate) fn is_sql_file(text: &str) -> bool {
    let text = text.trim();
    !text.contains(char::is_whitespace) && text.to_ascii_lowercase().ends_with(".sql")
}

pub(crate) fn is_env_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

pub(crate) fn holds_template(node: &Node) -> bool {
    match &node.kind {
        Kind::String(text) => text.contains("${"),
        Kind::List(items) => items.iter().any(holds_template),
        Kind::Map(entries) => entries.iter().any(|e| holds_template(&e.value)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => false,
    }
}

fn stem(path: &str) -> &str {
    path.rfind('.').filter(|i| !path[*i..].contains('/')).map_or(path, |i| &path[..i])
}
