//! One step, filled and completed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tidemill_core::declare::{
    Action, EnvSource, Input, Out, RecordsInput, Retry, Sandbox, Split, SplitBy, Step, TaskKind, Training,
};

use super::expand::Instance;
use super::params::{ParamFiles, StepOverrides, is_param_file, replace};
use crate::check::{Check, StepIo, clean, is_sql_file, is_url};
use crate::node::{Cursor, Entry, Kind, Node};
use crate::report::{Diagnostic, Report};
use crate::schema::{Walk, step_schema};
use crate::template::{Faults, Mode, Scope, fill_node};
use crate::{EnvDecl, EnvFrom, InputDecl, OutDecl, OutDetails, Project, SandboxDecl, StepDecl};

/// What resolving steps needs and collects.
pub(super) struct Steps<'a, 'p> {
    pub(super) project: &'p Project,
    pub(super) params: &'a Node,
    pub(super) files: ParamFiles<'a>,
    pub(super) overrides: &'a StepOverrides,
    pub(super) report: Report,
}

/// A step and what only resolving knows of it.
pub(super) struct Done {
    pub(super) step: Step,
    pub(super) io: StepIo,
    pub(super) own: Vec<Entry>,
}

impl Steps<'_, '_> {
    pub(super) fn push(&mut self, problem: Diagnostic) {
        let source = &self.project.source;
        self.report.push(source.file(), &source.text(), problem);
    }

    /// The step of one instance; nothing if it has problems, which are then in the report.
    pub(super) fn resolve(&mut self, name: &str, written: &Cursor<'_>, instance: Instance) -> Option<Done> {
        let text = self.project.source.text();
        let node = written.node?;
        let mut faults = Faults::new(&text);
        let mut named = BTreeMap::new();
        let bindings = Node::new(Kind::Map(instance.bindings), 0..0);
        let own = self.own_params(name, written, &bindings, &mut named, &mut faults);
        let scope = Scope::new(self.params).with_own(&own);
        let filled = fill_step(node, &scope, &mut faults);
        let broken = !faults.problems.is_empty();
        let Faults { problems, used, .. } = faults;
        problems.into_iter().for_each(|problem| self.push(problem));
        if broken {
            return None;
        }
        let mut walk = Walk::new(step_schema(), false);
        walk.compare(&filled, step_schema(), &written.key);
        let wrong = !walk.problems.is_empty();
        walk.problems.into_iter().for_each(|problem| self.push(problem));
        let decl = match StepDecl::deserialize(filled.clone()) {
            Ok(decl) if !wrong => decl,
            Ok(_) => return None,
            Err(error) => {
                if !wrong {
                    self.push(Diagnostic::new(&written.key, error.to_string()));
                }
                return None;
            }
        };
        for (key, value) in used {
            let covered = key.match_indices(['.', '[']).any(|(i, _)| named.contains_key(&key[..i]));
            if !covered {
                named.entry(key).or_insert(value);
            }
        }
        let at = Cursor { node: Some(&filled), span: written.span.clone(), key: written.key.clone() };
        let full = format!("{name}{}", instance.suffix);
        let mut check = Check::new(self.project);
        let io = check.step(&full, &decl, &at, false);
        if !check.problems.is_empty() {
            check.problems.into_iter().for_each(|problem| self.push(problem));
            return None;
        }
        let step = self.build(full, &decl, &at, named)?;
        let own = match own.kind {
            Kind::Map(entries) => entries,
            _ => Vec::new(),
        };
        Some(Done { step, io, own })
    }

    /// What templates of the step see before the project's parameters; what the step names goes to `named`.
    fn own_params(
        &mut self,
        name: &str,
        written: &Cursor<'_>,
        bindings: &Node,
        named: &mut BTreeMap<String, Value>,
        faults: &mut Faults<'_>,
    ) -> Node {
        let mut own: Vec<Entry> = bindings.entries().to_vec();
        let at = written.key("params");
        let Some(node) = at.node else { return Node::new(Kind::Map(own), 0..0) };
        let scope = Scope::new(self.params).with_own(bindings);
        let mut used = std::mem::take(&mut faults.used);
        let filled = fill_node(node, &scope, Mode::Strict, faults);
        // What a value was made of does not matter beside the value itself.
        std::mem::swap(&mut used, &mut faults.used);
        match &filled.kind {
            Kind::String(path) => self.from_file(path, None, &at, named, &mut own),
            Kind::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    match &item.kind {
                        Kind::String(key) => self.by_key(key, &scope, &at.item(i), named, &mut own),
                        Kind::Map(files) => {
                            for file in files {
                                self.from_file(
                                    &file.key,
                                    Some(&file.value),
                                    &at.item(i).key(&file.key),
                                    named,
                                    &mut own,
                                );
                            }
                        }
                        _ => {}
                    }
                }
            }
            Kind::Map(entries) => {
                for entry in entries {
                    let keys = matches!(entry.value.kind, Kind::List(_) | Kind::Null);
                    if is_param_file(&entry.key) && keys {
                        self.from_file(&entry.key, Some(&entry.value), &at.key(&entry.key), named, &mut own);
                        continue;
                    }
                    let mut entry = entry.clone();
                    for (step, key, value) in self.overrides.iter().filter(|(step, ..)| step == name) {
                        debug_assert_eq!(step, name);
                        if *key == entry.key {
                            entry.value = value.clone();
                        } else if let Some(below) = key.strip_prefix(&format!("{}.", entry.key)) {
                            replace(&mut entry.value, below, value);
                        }
                    }
                    named.insert(entry.key.clone(), entry.value.to_value());
                    own.push(entry);
                }
            }
            _ => {}
        }
        Node::new(Kind::Map(own), 0..0)
    }

    fn by_key(
        &mut self,
        key: &str,
        scope: &Scope<'_>,
        at: &Cursor<'_>,
        named: &mut BTreeMap<String, Value>,
        own: &mut Vec<Entry>,
    ) {
        if let Some(value) = scope.get(key) {
            named.insert(key.to_owned(), value.to_value());
        } else if is_param_file(key) {
            self.from_file(key, None, at, named, own);
        } else {
            let keys = scope.keys();
            let hint = tidemill_core::did_you_mean(key, keys.iter().map(String::as_str))
                .or_else(|| Some("declare it under `params:` of the project".to_owned()));
            self.push(Diagnostic::new(&at.span, format!("there is no parameter `{key}`")).hint(hint));
        }
    }

    /// Keys of a parameter file; all of them where there is no list.
    fn from_file(
        &mut self,
        path: &str,
        keys: Option<&Node>,
        at: &Cursor<'_>,
        named: &mut BTreeMap<String, Value>,
        own: &mut Vec<Entry>,
    ) {
        let Some(file) = self.files.load(path, self.project, &at.key, &mut self.report).cloned() else {
            return;
        };
        let listed = keys.filter(|keys| matches!(keys.kind, Kind::List(_)));
        let wanted: Vec<String> = match listed {
            Some(keys) => keys.items().iter().filter_map(|k| k.as_str().map(str::to_owned)).collect(),
            None => file.entries().iter().map(|e| e.key.clone()).collect(),
        };
        for (i, key) in wanted.iter().enumerate() {
            let span = if listed.is_some() { at.item(i).span } else { at.span.clone() };
            let Some(value) = crate::template::lookup(&file, key) else {
                let known = Scope::new(&file).keys();
                let hint = tidemill_core::did_you_mean(key, known.iter().map(String::as_str));
                self.push(Diagnostic::new(&span, format!("`{path}` has no parameter `{key}`")).hint(hint));
                continue;
            };
            let value_json = value.to_value();
            if named.get(key).is_some_and(|other| *other != value_json) {
                let message = format!("`{key}` has two values in this step");
                let hint = Some(format!("the one in `{path}` and another; name one of them"));
                self.push(Diagnostic::new(&span, message).hint(hint));
                continue;
            }
            named.insert(key.clone(), value_json);
            own.push(Entry { key: key.clone(), key_span: 0..0, value: value.clone() });
        }
    }

    fn build(
        &mut self,
        name: String,
        decl: &StepDecl,
        at: &Cursor<'_>,
        params: BTreeMap<String, Value>,
    ) -> Option<Step> {
        let mut inputs = self.inputs(decl, at)?;
        let action = if let Some(command) = &decl.run {
            Action::Run { command: command.clone() }
        } else if let Some(sql) = &decl.sql {
            let file = is_sql_file(sql).then(|| path(sql));
            Action::Sql {
                source: file.clone().unwrap_or_else(|| self.project.source.file().to_owned()),
                text: if file.is_some() { String::new() } else { sql.clone() },
                file,
            }
        } else {
            let training = self.training(decl)?;
            let table = self.input_of(None, &training.features);
            inputs.retain(|input| input.paths != table.paths);
            inputs.insert(0, table);
            Action::Train(Box::new(training))
        };
        let mut outs: Vec<Out> = decl.outs.iter().map(out_of).collect();
        for metrics in decl.metrics.iter().map(|p| path(p)) {
            match outs.iter_mut().find(|out| out.path == metrics) {
                Some(out) => out.metrics = true,
                None => outs.push(Out { path: metrics, metrics: true, persist: false }),
            }
        }
        let mut deps: Vec<String> = Vec::new();
        for dep in decl.deps.iter().map(|dep| path(dep)) {
            if !deps.contains(&dep) {
                deps.push(dep);
            }
        }
        let default = Retry::default();
        let (sandbox, reads) = match &decl.sandbox {
            Some(SandboxDecl::Word(word)) => (*word, Vec::new()),
            Some(SandboxDecl::Open(open)) => (Sandbox::On, open.read.clone()),
            None => (Sandbox::On, Vec::new()),
        };
        Some(Step {
            name,
            action,
            inputs,
            deps,
            params,
            env: decl.env.iter().map(|(name, value)| (name.clone(), env_of(value))).collect(),
            outs,
            timeout: decl.timeout.as_ref().and_then(|t| t.value()).map(|period| period.0),
            retry: decl.retries.as_ref().map_or(default, |retries| Retry {
                times: retries.times.value().copied().unwrap_or_default(),
                backoff: backoff(retries).unwrap_or(default.backoff),
            }),
            sandbox,
            reads,
            description: decl.description.clone(),
            line: self.project.source.line(&at.key),
        })
    }

    fn inputs(&mut self, decl: &StepDecl, at: &Cursor<'_>) -> Option<Vec<Input>> {
        let mut inputs: Vec<Input> = Vec::new();
        let mut good = true;
        for (i, declared) in decl.inputs.iter().enumerate() {
            let pairs: Vec<(Option<&str>, &str)> = match declared {
                InputDecl::Source(source) => vec![(None, source)],
                InputDecl::Named(tables) => {
                    tables.iter().map(|(t, s)| (Some(t.as_str()), s.as_str())).collect()
                }
            };
            for (table, source) in pairs {
                let input = self.input_of(table, source);
                if inputs.iter().any(|other| other.table == input.table) {
                    let message = format!("two tables of this step are called `{}`", input.table);
                    let hint = format!("write `{{another_name: {source}}}`");
                    self.push(Diagnostic::new(&at.key("inputs").item(i).span, message).hint(Some(hint)));
                    good = false;
                }
                inputs.push(input);
            }
        }
        good.then_some(inputs)
    }

    /// A table by the name of a dataset or a path.
    fn input_of(&self, table: Option<&str>, source: &str) -> Input {
        if let Some(Ok(records)) = RecordsInput::parse(source) {
            let table = table.unwrap_or(&records.endpoint).to_owned();
            return Input { table, paths: vec![records.path()], format: None };
        }
        match self.project.data.get(source) {
            Some(dataset) => Input {
                table: table.unwrap_or(source).to_owned(),
                paths: dataset.path.as_slice().iter().map(|p| path(p)).collect(),
                format: dataset.format,
            },
            None => {
                let path = path(source);
                let table = table.map_or_else(|| table_name(&path), str::to_owned);
                Input { table, paths: vec![path], format: None }
            }
        }
    }

    fn training(&mut self, decl: &StepDecl) -> Option<Training> {
        let mut training = Training::deserialize(decl.train.as_ref()?.0.clone()).ok()?;
        if !self.project.data.contains_key(training.features.as_str()) {
            training.features = path(&training.features);
        }
        let objective = self.project.objective.as_ref();
        if training.task.is_none() {
            training.task = objective.map(|o| o.task.clone());
        }
        let classifies = training.task.as_ref().is_some_and(|task| task.kind == TaskKind::Classification);
        if training.costs.is_none() && classifies {
            training.costs = objective.and_then(|o| o.costs.clone());
        }
        let Split { by, column, .. } = &mut training.split;
        let by_time = *by == SplitBy::Time || training.cv.as_ref().is_some_and(|cv| cv.by == SplitBy::Time);
        if column.is_none() && by_time {
            *column = objective.and_then(|o| o.time.clone());
        }
        Some(training)
    }
}

/// Fills the texts of a step. What only people read is filled as far as it goes and used by nothing.
fn fill_step(node: &Node, scope: &Scope<'_>, faults: &mut Faults<'_>) -> Node {
    let mut filled = Vec::new();
    for entry in node.entries() {
        let value = match entry.key.as_str() {
            "matrix" | "foreach" | "params" => continue,
            "description" => fill_node(&entry.value, scope, Mode::Shell, &mut Faults::new("")),
            "run" => fill_node(&entry.value, scope, Mode::Shell, faults),
            "sql" if entry.value.as_str().is_some_and(|sql| !is_sql_file(sql)) => {
                fill_node(&entry.value, scope, Mode::Strict, faults)
            }
            _ => fill_node(&entry.value, scope, Mode::Strict, faults),
        };
        filled.push(Entry { value, ..entry.clone() });
    }
    Node::new(Kind::Map(filled), node.span.clone())
}

/// A path that was checked before, in its one form.
pub(super) fn path(written: &str) -> String {
    if is_url(written) { written.to_owned() } else { clean(written).unwrap_or_else(|_| written.to_owned()) }
}

/// The name of a table in a file: the file's, without its extension.
fn table_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let file =
        [".gz", ".zst", ".bz2", ".xz"].iter().find_map(|packed| file.strip_suffix(packed)).unwrap_or(file);
    file.rsplit_once('.').map_or(file, |(stem, _)| if stem.is_empty() { file } else { stem }).to_owned()
}

fn out_of(decl: &OutDecl) -> Out {
    match decl {
        OutDecl::Path(written) => Out { path: path(written), metrics: false, persist: false },
        OutDecl::Detailed(OutDetails { path: written, metrics, persist }) => {
            Out { path: path(written), metrics: *metrics, persist: *persist }
        }
    }
}

fn env_of(decl: &EnvDecl) -> EnvSource {
    match decl {
        EnvDecl::From(EnvFrom::Inherit(_)) => EnvSource::Inherit,
        EnvDecl::From(EnvFrom::Secret(_)) => EnvSource::Secret,
        EnvDecl::Text(text) => EnvSource::Value(text.clone()),
        EnvDecl::Number(number) => EnvSource::Value(number.to_string()),
        EnvDecl::Bool(value) => EnvSource::Value(value.to_string()),
    }
}

fn backoff(retries: &crate::RetriesDecl) -> Option<Duration> {
    retries.backoff.as_ref().and_then(|b| b.value()).map(|period| period.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_after_files() {
        for (path, table) in [
            ("features.parquet", "features"),
            ("a/b.csv", "b"),
            ("x/parts", "parts"),
            ("x.csv.gz", "x"),
            ("a.b.parquet", "a.b"),
            (".hidden", ".hidden"),
        ] {
            assert_eq!(table_name(path), table);
        }
    }
}
