//! Text to lock, with the line and the reason where it cannot be read. Foreign bytes: never panics.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidemill_core::declare::DataFormat;
use tidemill_core::{Digest, did_you_mean};

use super::{Lock, LockError, LockedStep};
use crate::{ActionRecord, ActionText, Content, ContentKind, EnvRecord};

const FIELDS: [&str; 13] = [
    "key", "run", "sql", "sql-file", "train", "builtin", "input", "format", "dep", "param", "env", "out",
    "check",
];

/// A line's number and what is wrong with it, with an advice of its own where there is one.
struct Wrong(usize, String, Option<String>);

type Parsed<T> = Result<T, Wrong>;

pub(super) fn parse(file: &str, text: &[u8]) -> Result<Lock, LockError> {
    read(text).map_err(|Wrong(line, message, advice)| LockError {
        file: file.to_owned(),
        line,
        message,
        advice,
    })
}

fn wrong<T>(line: usize, message: impl Into<String>) -> Parsed<T> {
    Err(Wrong(line, message.into(), None))
}

fn read(text: &[u8]) -> Parsed<Lock> {
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let line = text[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            return wrong(line, "the line is not UTF-8");
        }
    };
    let mut lock = Lock::default();
    let mut versioned = false;
    let mut block: Option<Block> = None;
    let mut lines_of_steps: BTreeMap<String, usize> = BTreeMap::new();
    for (at, line) in text.split('\n').enumerate() {
        let (number, line) = (at + 1, line.strip_suffix('\r').unwrap_or(line));
        conflict_marker(number, line)?;
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let words = Words { number, rest: line.trim_start() };
        let indented = line.starts_with([' ', '\t']);
        match (indented, &mut block) {
            (true, Some(block)) => block.field(words)?,
            (true, None) => return wrong(number, "the line is indented but belongs to no step"),
            (false, _) => {
                if let Some(done) = block.take() {
                    done.finish(&mut lock)?;
                }
                block = top_level(words, &mut versioned, &mut lines_of_steps)?;
            }
        }
    }
    if let Some(done) = block.take() {
        done.finish(&mut lock)?;
    }
    if !versioned && !lock.steps.is_empty() {
        return wrong(1, "the line `version 1` is missing");
    }
    Ok(lock)
}

fn conflict_marker(number: usize, line: &str) -> Parsed<()> {
    let marker =
        ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].into_iter().find(|marker| line.starts_with(marker));
    let Some(marker) = marker else { return Ok(()) };
    let advice = "keep either side with `git checkout --ours tidemill.lock` or `--theirs` and run `tidemill run`: \
                  it writes the file anew from what is true";
    Err(Wrong(number, format!("unresolved merge conflict (`{marker}`)"), Some(advice.to_owned())))
}

fn top_level(
    mut words: Words<'_>,
    versioned: &mut bool,
    steps: &mut BTreeMap<String, usize>,
) -> Parsed<Option<Block>> {
    let number = words.number;
    match words.bare("a field")? {
        "version" => {
            let version = words.bare("a version")?;
            words.end()?;
            if version != "1" {
                let advice = "it was written by another Tidemill; use that version or a newer one".to_owned();
                return Err(Wrong(number, format!("version `{version}` is not known here"), Some(advice)));
            }
            *versioned = true;
            Ok(None)
        }
        "step" => {
            let name = words.word("the name of a step")?;
            words.end()?;
            if let Some(first) = steps.insert(name.clone(), number) {
                return wrong(number, format!("step `{name}` is here a second time, first at line {first}"));
            }
            Ok(Some(Block::new(name, number)))
        }
        other => {
            let meant = did_you_mean(other, ["version", "step"]).unwrap_or_default();
            let more = if FIELDS.contains(&other) { "indent it below its step" } else { &meant };
            wrong(number, format!("`{other}` is not known at the beginning of a line; {more}"))
        }
    }
}

/// A step's block while it is read.
struct Block {
    name: String,
    line: usize,
    key: Option<(usize, Digest)>,
    action: Option<ActionText>,
    builtin: Option<String>,
    inputs: BTreeMap<String, Vec<String>>,
    formats: BTreeMap<String, DataFormat>,
    deps: BTreeMap<String, Content>,
    params: BTreeMap<String, Value>,
    env: BTreeMap<String, EnvRecord>,
    outs: BTreeMap<String, Content>,
    /// Absent in files that were written before it was there.
    check: Option<(usize, Digest)>,
}

impl Block {
    fn new(name: String, line: usize) -> Self {
        Self {
            name,
            line,
            key: None,
            action: None,
            builtin: None,
            inputs: BTreeMap::new(),
            formats: BTreeMap::new(),
            deps: BTreeMap::new(),
            params: BTreeMap::new(),
            env: BTreeMap::new(),
            outs: BTreeMap::new(),
            check: None,
        }
    }

    fn field(&mut self, mut words: Words<'_>) -> Parsed<()> {
        let number = words.number;
        let field = words.bare("a field")?;
        let fresh = match field {
            "key" => self.key.replace((number, words.digest()?)).is_none(),
            "run" => self.action.replace(ActionText::Run(words.text("a command")?)).is_none(),
            "sql" => self.action.replace(ActionText::Sql(words.text("a query")?)).is_none(),
            "sql-file" => self.action.replace(ActionText::SqlFile(words.word("a path")?)).is_none(),
            "train" => self.action.replace(ActionText::Train(words.json("a training")?)).is_none(),
            "builtin" => self.builtin.replace(words.word("a version")?).is_none(),
            "input" => {
                let table = words.word("a table")?;
                let mut paths = Vec::new();
                while !words.rest.is_empty() {
                    paths.push(words.word("a path")?);
                }
                self.inputs.insert(table, paths).is_none()
            }
            "format" => {
                let table = words.word("a table")?;
                let format = words.format()?;
                self.formats.insert(table, format).is_none()
            }
            "dep" => {
                let content = words.content()?;
                self.deps.insert(words.word("a path")?, content).is_none()
            }
            "param" => {
                let name = words.word("a name")?;
                let value = words.json("a value")?;
                self.params.insert(name, value).is_none()
            }
            "env" => {
                let name = words.word("a name")?;
                let value = words.env()?;
                self.env.insert(name, value).is_none()
            }
            "out" => {
                let content = words.content()?;
                self.outs.insert(words.word("a path")?, content).is_none()
            }
            "check" => self.check.replace((number, words.digest()?)).is_none(),
            other => {
                let meant = did_you_mean(other, FIELDS).unwrap_or_default();
                return wrong(number, format!("unknown field `{other}` of step `{}`; {meant}", self.name));
            }
        };
        words.end()?;
        if fresh {
            Ok(())
        } else {
            wrong(number, format!("`{field}` of step `{}` is here a second time", self.name))
        }
    }

    fn finish(self, lock: &mut Lock) -> Parsed<()> {
        let Some((key_line, key)) = self.key else {
            return wrong(self.line, format!("step `{}` has no `key`", self.name));
        };
        let Some(action) = self.action else {
            let message = format!("step `{}` has none of `run`, `sql`, `sql-file`, `train`", self.name);
            return wrong(self.line, message);
        };
        let record = ActionRecord {
            action,
            builtin: self.builtin,
            inputs: self.inputs,
            formats: self.formats,
            deps: self.deps,
            params: self.params,
            env: self.env,
            outs: self.outs.keys().cloned().collect::<BTreeSet<_>>(),
        };
        if record.key().digest() != key {
            let message = format!(
                "the key of step `{}` does not belong to what its block says; was it edited?",
                self.name
            );
            return wrong(key_line, message);
        }
        let step = LockedStep { record, outs: self.outs };
        if let Some((line, check)) = self.check
            && step.check(&key) != check
        {
            let message = format!(
                "the outputs of step `{}` do not belong to the checksum of its block; were they edited?",
                self.name
            );
            return wrong(line, message);
        }
        lock.steps.insert(self.name, step);
        Ok(())
    }
}

/// The rest of one line, read word by word.
struct Words<'a> {
    number: usize,
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// The next word as it stands.
    fn bare(&mut self, what: &str) -> Parsed<&'a str> {
        let (word, rest) = self.rest.split_once([' ', '\t']).unwrap_or((self.rest, ""));
        if word.is_empty() {
            return wrong(self.number, format!("{what} is missing"));
        }
        self.rest = rest.trim_start_matches([' ', '\t']);
        Ok(word)
    }

    /// The next word, bare or as a JSON string.
    fn word(&mut self, what: &str) -> Parsed<String> {
        if self.rest.starts_with('"') { self.text(what) } else { self.bare(what).map(str::to_owned) }
    }

    /// The next word, which must be a JSON string.
    fn text(&mut self, what: &str) -> Parsed<String> {
        match self.json(what)? {
            Value::String(text) => Ok(text),
            other => wrong(self.number, format!("expected {what} in double quotes, found `{other}`")),
        }
    }

    fn json(&mut self, what: &str) -> Parsed<Value> {
        if self.rest.is_empty() {
            return wrong(self.number, format!("{what} is missing"));
        }
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let rest = &self.rest[values.byte_offset()..];
                self.rest = rest.trim_start_matches([' ', '\t']);
                Ok(value)
            }
            Some(Err(error)) => wrong(self.number, format!("expected {what} as JSON: {}", reason(&error))),
            None => wrong(self.number, format!("{what} is missing")),
        }
    }

    fn digest(&mut self) -> Parsed<Digest> {
        let number = self.number;
        self.bare("a digest")?.parse().map_err(|error| Wrong(number, format!("{error}"), None))
    }

    fn format(&mut self) -> Parsed<DataFormat> {
        let number = self.number;
        let word = self.bare("a format")?;
        let known = DataFormat::ALL.into_iter().find(|format| format.word() == word);
        known.ok_or_else(|| Wrong(number, format!("`{word}` is not the format of a table"), None))
    }

    fn content(&mut self) -> Parsed<Content> {
        let digest = self.digest()?;
        let kind = match self.bare("`file`, `executable`, `folder` or `remote`")? {
            "file" => ContentKind::File,
            "executable" => ContentKind::Executable,
            "folder" => ContentKind::Folder,
            "remote" => ContentKind::Remote,
            other => {
                return wrong(
                    self.number,
                    format!("`{other}` is none of `file`, `executable`, `folder`, `remote`"),
                );
            }
        };
        let bytes = self.bare("a number of bytes")?;
        match bytes.parse() {
            // Only the form that we write: no sign, no leading zeros.
            Ok(count) if bytes == u64::to_string(&count) => Ok(Content { digest, kind, bytes: count }),
            Ok(_) | Err(_) => wrong(self.number, format!("`{bytes}` is not a number of bytes")),
        }
    }

    fn env(&mut self) -> Parsed<EnvRecord> {
        match self.bare("`value`, `inherited`, `unset` or `secret`")? {
            "value" => self.text("a value").map(EnvRecord::Value),
            "inherited" => self.digest().map(|digest| EnvRecord::Inherited(Some(digest))),
            "unset" => Ok(EnvRecord::Inherited(None)),
            "secret" => Ok(EnvRecord::Secret),
            other => {
                wrong(self.number, format!("`{other}` is none of `value`, `inherited`, `unset`, `secret`"))
            }
        }
    }

    fn end(&self) -> Parsed<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            wrong(self.number, format!("`{}` is too much at the end of the line", self.rest))
        }
    }
}

/// A JSON error without its own line number, which would be that of the fragment.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}
