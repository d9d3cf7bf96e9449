//! The reference page of the project file, made of its schema.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;

use serde_json::Value;

use super::project_schema;

/// The reference page of the project file in Markdown: every key with its type, default and description.
pub fn reference() -> String {
    let root = project_schema();
    let mut page = Page { root, out: String::new(), seen: BTreeSet::new(), open: VecDeque::new() };
    page.out.push_str(INTRODUCTION);
    page.section("Project", root, 2);
    while let Some((title, schema)) = page.open.pop_front() {
        page.section(&title, schema, 2);
    }
    page.out
}

const INTRODUCTION: &str = "\
# The project file

`tidemill.yaml` stands at the root of a Git repository and says everything about a project. It is YAML 1.2, at most \
4 MiB, 64 levels deep. Unknown keys are errors. `tidemill schema` prints the JSON Schema that this page is made of; \
editors use it for completion.

Keys in **bold** must be given. Names consist of letters, digits, `_`, `-` and `.`. Paths are relative to the project \
folder, with `/` between their parts and without `..`. A length of time is written `250ms`, `30s`, `5m`, `1h30m`, `12h`, \
`45d` or `2w`; a share `5%` or `0.05`; a size `512MiB` or `20 GB`.

## Templates

`${key}` in any text of a step stands for a parameter: of the step itself, or else of the project. `${a.b}` and \
`${a[0]}` reach into maps and lists. A text that is nothing but `${key}` keeps the parameter's type, so \
`seed: ${seed}` is a number. `$${` stands for the characters `${`.

In the command of a `run` step, what only a shell can mean is left to the shell: `${HOME}` (upper case, and no \
parameter of that name) and whatever is no key at all, such as `${name:-default}`. A lower-case name that is no \
parameter is an error; `$${name}` leaves it to the shell. Values are put into the command as they are: quote the \
place where spaces may come.

In a step with `matrix`, `${matrix.key}` is the step's own value of that list. In a step with `foreach`, `${item}` is \
its entry (`${item.key}` reaches into it) and, over a map, `${key}` the entry's key. A text file named by `sql` is \
templated in the same way.

Only parameters that a step names under `params` or uses in a template are part of its cache key.
";

struct Page<'s> {
    root: &'s Value,
    out: String,
    seen: BTreeSet<String>,
    open: VecDeque<(String, &'s Value)>,
}

impl<'s> Page<'s> {
    fn section(&mut self, title: &str, schema: &'s Value, level: usize) {
        let _ = write!(self.out, "\n{} {title}\n", "#".repeat(level));
        if let Some(text) = description(schema) {
            let _ = write!(self.out, "\n{text}\n");
        }
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut rows: Vec<(&str, &'s Value, bool)> = Vec::new();
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            rows.push((key, below, required.contains(&key.as_str())));
        }
        rows.sort_by_key(|(key, _, required)| (!required, *key));
        if !rows.is_empty() {
            self.out.push_str("\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
            for (key, below, required) in rows {
                self.row(title, key, below, required);
            }
        }
        let alternatives: Vec<&'s Value> = schema["oneOf"].as_array().into_iter().flatten().collect();
        if alternatives.is_empty() {
            return;
        }
        self.out.push_str("\nExactly one of these keys:\n\n| key | value | meaning |\n| --- | --- | --- |\n");
        for alternative in alternatives {
            for (key, below) in alternative["properties"].as_object().into_iter().flatten() {
                let kind = self.kind(title, key, below);
                let meaning = description(alternative).unwrap_or_default();
                let _ = writeln!(self.out, "| `{key}` | {} | {} |", cell(&kind), cell(&meaning));
            }
        }
    }

    fn row(&mut self, title: &str, key: &str, schema: &'s Value, required: bool) {
        let kind = self.kind(title, key, schema);
        let shown = if required { format!("**`{key}`**") } else { format!("`{key}`") };
        let default = match &schema["default"] {
            Value::Null | Value::Object(_) => String::new(),
            Value::Array(items) if items.is_empty() => String::new(),
            Value::String(text) => format!("`{text}`"),
            value => format!("`{value}`"),
        };
        let meaning = description(schema).or_else(|| description(self.target(schema))).unwrap_or_default();
        let _ = writeln!(self.out, "| {shown} | {} | {default} | {} |", cell(&kind), cell(&meaning));
    }

    fn target(&self, schema: &'s Value) -> &'s Value {
        match schema["$ref"].as_str().and_then(|r| self.root.pointer(r.trim_start_matches('#'))) {
            Some(target) => target,
            None => schema,
        }
    }

    /// What a value is, with a link to the section of a map that has one. `title` and `key` name the section of a
    /// map that has no name of its own.
    fn kind(&mut self, title: &str, key: &str, schema: &'s Value) -> String {
        let target = self.target(schema);
        let name = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next());
        match target["x-tidemill"].as_str() {
            Some("period") => return "length of time".to_owned(),
            Some("share") => return "share".to_owned(),
            Some("size") => return "size".to_owned(),
            Some("window") => return "hours of the week".to_owned(),
            Some("template") => return String::new(),
            _ => {}
        }
        if name == Some("Name") {
            return "name".to_owned();
        }
        if let Some(word) = target["const"].as_str() {
            return format!("`{word}`");
        }
        if let Some(words) = target["enum"].as_array() {
            return words
                .iter()
                .filter_map(Value::as_str)
                .map(|w| format!("`{w}`"))
                .collect::<Vec<_>>()
                .join(", ");
        }
        let alternatives = target["anyOf"].as_array().or_else(|| target["oneOf"].as_array());
        let has_keys = target["properties"].is_object()
            || alternatives.is_some_and(|all| all.iter().all(|a| a["properties"].is_object()));
        if has_keys {
            return self.link(title, key, name, target);
        }
        if let Some(alternatives) = alternatives {
            let mut kinds: Vec<String> = alternatives.iter().map(|a| self.kind(title, key, a)).collect();
            kinds.retain(|kind| !kind.is_empty());
            kinds.dedup();
            let words = kinds.iter().all(|kind| kind.starts_with('`'));
            return kinds.join(if words { ", " } else { " or " });
        }
        match &target["type"] {
            Value::String(one) => self.plain(one, title, key, target),
            Value::Array(many) => {
                let kinds =
                    many.iter().filter_map(Value::as_str).map(|one| self.plain(one, title, key, target));
                let kinds: Vec<String> = kinds.filter(|kind| !kind.is_empty()).collect();
                kinds.join(" or ")
            }
            _ => "any value".to_owned(),
        }
    }

    fn plain(&mut self, kind: &str, title: &str, key: &str, schema: &'s Value) -> String {
        match kind {
            "null" => String::new(),
            "boolean" => "`true` or `false`".to_owned(),
            "number" => "number".to_owned(),
            "integer" => "whole number".to_owned(),
            "string" => "text".to_owned(),
            "array" => match schema.get("items").map(|items| self.kind(title, key, items)) {
                Some(items) if items != "any value" => format!("list of {}", grouped(&items)),
                _ => "list".to_owned(),
            },
            _ => {
                let values =
                    schema["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
                let values =
                    values.or_else(|| schema.get("additionalProperties").filter(|v| !v.is_boolean()));
                match values.map(|values| self.kind(title, key, values)) {
                    Some(values) if values != "any value" => format!("map of {}", grouped(&values)),
                    _ => "map".to_owned(),
                }
            }
        }
    }

    fn link(&mut self, title: &str, key: &str, name: Option<&str>, schema: &'s Value) -> String {
        let section = name.map_or_else(|| format!("{title}: {key}"), words);
        if self.seen.insert(section.clone()) {
            self.open.push_back((section.clone(), schema));
        }
        let anchor: String = section
            .to_lowercase()
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                _ => None,
            })
            .collect();
        format!("[{section}](#{anchor})")
    }
}

fn grouped(kind: &str) -> String {
    if kind.contains(" or ") && !kind.starts_with('`') { format!("({kind})") } else { kind.to_owned() }
}

/// `StepDecl` as `Step`, `ModelTest` as `Model test`.
fn words(name: &str) -> String {
    let name = name.strip_suffix("Decl").unwrap_or(name);
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if i > 0 && c.is_uppercase() {
            out.push(' ');
            out.extend(c.to_lowercase());
        } else {
            out.push(c);
        }
    }
    out
}

fn description(schema: &Value) -> Option<String> {
    let text = schema["description"].as_str()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
