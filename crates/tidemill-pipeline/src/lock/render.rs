//! Lock to text. The form is read back by `parse`.

use std::fmt::Write;

use serde_json::Value;
use tidemill_core::canonical_json;

use super::Lock;
use crate::{ActionText, Content, EnvRecord};

pub(super) const HEADER: &str = "# Written by `tidemill run`: what every step read and wrote. Commit this file, do not edit it.\nversion 1\n";

pub(super) fn render(lock: &Lock) -> String {
    let mut text = String::from(HEADER);
    for (name, step) in &lock.steps {
        // Writing to a string cannot fail.
        let key = step.key();
        let _ = write!(text, "\nstep {}\n  key {key}\n", word(name));
        let record = &step.record;
        let mut line = |field: &str, words: &[&str]| {
            let _ = write!(text, "  {field}");
            for word in words {
                let _ = write!(text, " {word}");
            }
            text.push('\n');
        };
        match &record.action {
            ActionText::Run(command) => line("run", &[&quoted(command)]),
            ActionText::Sql(query) => line("sql", &[&quoted(query)]),
            ActionText::SqlFile(path) => line("sql-file", &[&word(path)]),
            ActionText::Train(training) => line("train", &[&json(training)]),
        }
        if let Some(version) = &record.builtin {
            line("builtin", &[&word(version)]);
        }
        for (table, paths) in &record.inputs {
            let mut words = vec![word(table)];
            words.extend(paths.iter().map(|path| word(path)));
            line("input", &words.iter().map(String::as_str).collect::<Vec<_>>());
        }
        for (table, format) in &record.formats {
            line("format", &[&word(table), format.word()]);
        }
        for (path, content) in &record.deps {
            line("dep", &[&content_line(path, content)]);
        }
        for (name, value) in &record.params {
            line("param", &[&word(name), &json(value)]);
        }
        for (name, value) in &record.env {
            match value {
                EnvRecord::Value(value) => line("env", &[&word(name), "value", &quoted(value)]),
                EnvRecord::Inherited(Some(digest)) => {
                    line("env", &[&word(name), "inherited", &digest.to_string()]);
                }
                EnvRecord::Inherited(None) => line("env", &[&word(name), "unset"]),
                EnvRecord::Secret => line("env", &[&word(name), "secret"]),
            }
        }
        for (path, content) in &step.outs {
            line("out", &[&content_line(path, content)]);
        }
        line("check", &[&step.check(&key.digest()).to_string()]);
    }
    text
}

pub(super) fn content_line(path: &str, content: &Content) -> String {
    format!("{} {} {} {}", content.digest, content.kind, content.bytes, word(path))
}

/// A word as it is where that is unambiguous, otherwise as a JSON string.
pub(super) fn word(text: &str) -> String {
    let plain = !text.is_empty() && !text.starts_with('"') && text.bytes().all(|b| b.is_ascii_graphic());
    if plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn json(value: &Value) -> String {
    canonical_json(value).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}
