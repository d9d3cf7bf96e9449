//! Compares a tree with the schema and collects every difference, each with its place and a hint.
//!
//! It knows the part of JSON Schema that our types make. Unlike a general validator it decides which
//! alternative the author meant, and complains about that one only.

use serde_json::{Map, Value};
use tidemill_core::declare::Window;
use tidemill_core::{Name, closest};

use crate::node::{Entry, Kind, Node, Span};
use crate::report::Diagnostic;
use crate::{Period, Share, Size};

/// Lists of what is known are shown up to so many entries.
const SHOWN: usize = 16;

/// One comparison.
pub(crate) struct Walk<'s> {
    root: &'s Value,
    pub(crate) problems: Vec<Diagnostic>,
    /// Whether `${…}` may stand for a value that is not there yet.
    templates: bool,
    /// The key whose value is compared, for messages.
    key: String,
}

/// Keys that an object of the schema knows.
#[derive(Default)]
struct Keys<'s> {
    known: Vec<(&'s str, &'s Value)>,
    required: Vec<&'s str>,
    others: Option<&'s Value>,
}

impl<'s> Walk<'s> {
    pub(crate) fn new(root: &'s Value, templates: bool) -> Self {
        Self { root, problems: Vec::new(), templates, key: String::new() }
    }

    /// Compares `node` with `schema`. `around` is the place to blame for what is not there.
    pub(crate) fn compare(&mut self, node: &Node, schema: &'s Value, around: &Span) {
        let Some(map) = self.target(schema).as_object() else { return };
        match map.get("x-tidemill").and_then(Value::as_str) {
            Some("template") if is_template(node) && self.templates => return,
            Some("template") => return self.wrong_type(node, "another value"),
            Some("period") => return self.period(node),
            Some("share") => return self.share(node),
            Some("size") => return self.size(node),
            Some("window") => return self.window(node),
            _ => {}
        }
        if let Some(constant) = map.get("const") {
            return self.one_of(node, &[constant]);
        }
        if let Some(values) = map.get("enum").and_then(Value::as_array) {
            return self.one_of(node, &values.iter().collect::<Vec<_>>());
        }
        let object = map.contains_key("properties");
        if let Some(alternatives) = map.get("anyOf").or_else(|| map.get("oneOf")).and_then(Value::as_array)
            && !object
        {
            return self.alternatives(node, alternatives, around);
        }
        if !self.admits(node, schema) {
            return self.wrong_type(node, &self.wanted(schema));
        }
        match &node.kind {
            Kind::Map(entries) => self.map(node, entries, map, around),
            Kind::List(items) => {
                if let Some(below) = map.get("items") {
                    items.iter().for_each(|item| self.compare(item, below, &item.span));
                }
            }
            Kind::Number(number) => self.range(node, number, map),
            Kind::String(text) => self.text(node, text, map),
            Kind::Null | Kind::Bool(_) => {}
        }
    }

    fn below(&mut self, entry: &Entry, schema: &'s Value) {
        let key = std::mem::replace(&mut self.key, entry.key.clone());
        self.compare(&entry.value, schema, &entry.key_span);
        self.key = key;
    }

    /// Follows `$ref`.
    fn target(&self, mut schema: &'s Value) -> &'s Value {
        for _ in 0..16 {
            let reference = schema.get("$ref").and_then(Value::as_str);
            let Some(found) = reference.and_then(|r| self.root.pointer(r.strip_prefix('#').unwrap_or(r)))
            else {
                return schema;
            };
            schema = found;
        }
        schema
    }

    fn map(&mut self, node: &Node, entries: &[Entry], schema: &'s Map<String, Value>, around: &Span) {
        let mut keys = Keys::default();
        self.collect(schema, &mut keys);
        if let (Some(tags), true) =
            (schema.get("oneOf").and_then(Value::as_array), schema.contains_key("properties"))
        {
            let beside: Vec<&str> = keys.known.iter().map(|(key, _)| *key).collect();
            if !self.choose(node, tags, &beside, &mut keys, around) {
                return;
            }
        }
        let mut misspelt = Vec::new();
        for entry in entries {
            if let Some((_, below)) = keys.known.iter().find(|(key, _)| *key == entry.key) {
                self.below(entry, below);
            } else if let Some(below) = keys.others {
                if schema.contains_key("patternProperties") {
                    self.name(&entry.key, &entry.key_span);
                }
                self.below(entry, below);
            } else {
                let absent = keys.known.iter().map(|(key, _)| *key).filter(|key| node.get(key).is_none());
                misspelt.extend(self.unknown_key(entry, absent.collect(), &keys));
            }
        }
        for key in keys.required {
            if node.get(key).is_none() && !misspelt.contains(&key) {
                let doc = keys
                    .known
                    .iter()
                    .find(|(known, _)| *known == key)
                    .and_then(|(_, s)| self.first_sentence(s));
                let message = format!("the key `{key}` is missing");
                let mut problem = Diagnostic::new(around, message).hint(Some(format!("add `{key}:` here")));
                problem.expected = doc.map(|doc| format!("`{key}`: {doc}"));
                self.problems.push(problem);
            }
        }
    }

    fn collect(&self, schema: &'s Map<String, Value>, keys: &mut Keys<'s>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            keys.known.extend(properties.iter().map(|(key, below)| (key.as_str(), below)));
        }
        if let Some(required) = schema.get("required").and_then(Value::as_array) {
            keys.required.extend(required.iter().filter_map(Value::as_str));
        }
        keys.others =
            schema.get("additionalProperties").filter(|s| **s != Value::Bool(false)).or_else(|| {
                schema
                    .get("patternProperties")
                    .and_then(Value::as_object)
                    .and_then(|patterns| patterns.values().next())
            });
    }

    /// The key that is a misspelling's meaning, if there is one.
    fn unknown_key(&mut self, entry: &Entry, absent: Vec<&'s str>, keys: &Keys<'s>) -> Option<&'s str> {
        let key = &entry.key;
        let mut problem = Diagnostic::new(&entry.key_span, format!("unknown key `{key}`"));
        let mut meant = closest(key, absent.iter().copied());
        let trap =
            matches!(key.as_str(), "on" | "true" | "True") && keys.known.iter().any(|(k, _)| *k == "actions");
        if trap {
            meant = Some("actions");
            problem.hint =
                Some("write `actions:`; YAML 1.1 reads `on` as true, so it is no key here".to_owned());
        } else if let Some(meant) = meant {
            problem.hint = Some(format!("did you mean `{meant}`?"));
        } else {
            let all: Vec<_> = keys.known.iter().map(|(key, _)| *key).collect();
            problem.expected = (!all.is_empty()).then(|| one_of(&all));
        }
        self.problems.push(problem);
        meant
    }

    /// Texts of a closed set.
    fn one_of(&mut self, node: &Node, values: &[&Value]) {
        if values.iter().any(|value| **value == node.to_value()) {
            return;
        }
        let known: Vec<&str> = values.iter().filter_map(|value| value.as_str()).collect();
        let Some(text) = node.as_str() else { return self.wrong_type(node, &one_of(&known)) };
        let problem = Diagnostic::new(&node.span, format!("unknown value `{text}` of `{}`", self.key))
            .expected(one_of(&known));
        let meant = closest(text, known.iter().copied()).map(|meant| format!("did you mean `{meant}`?"));
        self.problems.push(problem.hint(meant));
    }

    fn alternatives(&mut self, node: &Node, alternatives: &'s [Value], around: &Span) {
        let targets: Vec<&'s Value> = alternatives.iter().map(|a| self.target(a)).collect();
        let words: Option<Vec<&Value>> = targets.iter().map(|t| t.get("const")).collect();
        if let Some(words) = words {
            return self.one_of(node, &words);
        }
        if targets.iter().all(|t| tag_of(t).is_some()) {
            let mut keys = Keys::default();
            if !matches!(node.kind, Kind::Map(_)) {
                let tags: Vec<&str> = targets.iter().filter_map(|t| tag_of(t)).collect();
                return self.wrong_type(node, &format!("a map with {}", one_of(&tags)));
            }
            if self.choose(node, alternatives, &[], &mut keys, around)
                && let (Some(entry), Some((_, below))) = (node.entries().first(), keys.known.first())
            {
                self.below(entry, below);
            }
            return;
        }
        let template = is_template(node) && self.templates;
        let meant = |t: &&&'s Value| !is_null(t) && (template || !is_template_schema(t));
        let meant: Vec<&'s Value> = targets.iter().filter(meant).copied().collect();
        let fitting: Vec<&'s Value> = match meant.as_slice() {
            [only] if !matches!(node.kind, Kind::Null) => vec![only],
            _ => targets.iter().copied().filter(|t| self.admits(node, t)).collect(),
        };
        match fitting.as_slice() {
            [] => {
                let mut wanted: Vec<String> = meant.iter().map(|t| self.wanted(t)).collect();
                wanted.dedup();
                self.wrong_type(node, &wanted.join(" or "));
            }
            [only] => self.compare(node, only, around),
            several => {
                // What fits without a complaint was meant; otherwise what fits best.
                let trials = several.iter().map(|alternative| {
                    let mut trial = Walk::new(self.root, self.templates);
                    trial.key.clone_from(&self.key);
                    trial.compare(node, alternative, around);
                    trial.problems
                });
                self.problems.extend(trials.min_by_key(Vec::len).unwrap_or_default());
            }
        }
    }

    /// Of alternatives that are told apart by their only key, takes the one whose key is there.
    fn choose(
        &mut self,
        node: &Node,
        tags: &'s [Value],
        beside: &[&str],
        keys: &mut Keys<'s>,
        around: &Span,
    ) -> bool {
        let targets: Vec<&'s Value> = tags.iter().map(|tag| self.target(tag)).collect();
        let known: Vec<&'s str> = targets.iter().filter_map(|t| tag_of(t)).collect();
        let own: Vec<&Entry> = node.entries().iter().filter(|e| !beside.contains(&e.key.as_str())).collect();
        let chosen = own.iter().filter(|e| known.contains(&e.key.as_str())).count();
        if chosen == 1 && own.len() == 1 {
            if let Some(map) =
                targets.iter().find(|t| tag_of(t) == Some(own[0].key.as_str())).and_then(|t| t.as_object())
            {
                self.collect(map, keys);
            }
            return true;
        }
        if let [entry] = own.as_slice() {
            let problem = Diagnostic::new(&entry.key_span, format!("unknown key `{}`", entry.key));
            let meant =
                closest(&entry.key, known.iter().copied()).map(|meant| format!("did you mean `{meant}`?"));
            self.problems.push(problem.expected(one_of(&known)).hint(meant));
        } else if own.is_empty() {
            self.problems.push(Diagnostic::new(around, "nothing is said here").expected(one_of(&known)));
        } else {
            let unknown = own.iter().find(|e| !known.contains(&e.key.as_str())).unwrap_or(&own[1]);
            let message = if known.contains(&unknown.key.as_str()) {
                format!("`{}` and `{}` cannot stand together", own[0].key, unknown.key)
            } else {
                format!("unknown key `{}`", unknown.key)
            };
            let hint = "begin a new entry with `- `, or indent the keys that belong below another".to_owned();
            let problem =
                Diagnostic::new(&unknown.key_span, message).expected(format!("only {}", one_of(&known)));
            self.problems.push(problem.hint(Some(hint)));
        }
        false
    }

    /// Whether a schema is meant for this kind of value at all.
    fn admits(&self, node: &Node, schema: &'s Value) -> bool {
        let schema = self.target(schema);
        if schema.get("x-tidemill").is_some_and(|x| x == "template") {
            return is_template(node) && self.templates;
        }
        if let Some(alternatives) =
            schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array)
            && schema.get("type").is_none()
        {
            return alternatives.iter().any(|a| self.admits(node, a));
        }
        let fits = |name: &str| match &node.kind {
            Kind::Null => name == "null",
            Kind::Bool(_) => name == "boolean",
            Kind::Number(n) => name == "number" || name == "integer" && is_whole(n),
            Kind::String(_) => name == "string",
            Kind::List(_) => name == "array",
            Kind::Map(_) => name == "object",
        };
        match schema.get("type") {
            Some(Value::String(name)) => fits(name),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(fits),
            _ => true,
        }
    }

    /// What a schema wants, in words.
    fn wanted(&self, schema: &'s Value) -> String {
        let schema = self.target(schema);
        match schema.get("x-tidemill").and_then(Value::as_str) {
            Some("period") => return "a length of time such as `30m`".to_owned(),
            Some("share") => return "a share such as `5%` or `0.05`".to_owned(),
            Some("size") => return "a size such as `20 GB`".to_owned(),
            Some("window") => return "hours such as `Mon-Thu 09:00-16:00 Europe/Prague`".to_owned(),
            _ => {}
        }
        if let Some(constant) = schema.get("const").and_then(Value::as_str) {
            return format!("`{constant}`");
        }
        if let Some(alternatives) =
            schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array)
        {
            let said = alternatives.iter().filter(|a| !is_null(a) && !is_template_schema(a));
            let mut all: Vec<String> = said.map(|a| self.wanted(a)).collect();
            all.dedup();
            return all.join(" or ");
        }
        let name = |name: &str| match name {
            "boolean" => "`true` or `false`",
            "number" => "a number",
            "integer" => "a whole number",
            "string" => "text",
            "array" => "a list",
            "object" => "a map",
            _ => "nothing",
        };
        match schema.get("type") {
            Some(Value::String(one)) => name(one).to_owned(),
            Some(Value::Array(many)) => {
                let names: Vec<_> =
                    many.iter().filter_map(Value::as_str).filter(|n| *n != "null").map(name).collect();
                names.join(" or ")
            }
            _ => "another value".to_owned(),
        }
    }

    fn wrong_type(&mut self, node: &Node, wanted: &str) {
        let found = match &node.kind {
            Kind::String(text) if text.chars().count() <= 40 && !text.contains('\n') => format!("`{text}`"),
            Kind::Bool(value) => format!("`{value}`"),
            Kind::Number(number) => format!("`{number}`"),
            _ => node.describe().to_owned(),
        };
        let hint = match &node.kind {
            Kind::Null => Some("give it a value, or remove the key".to_owned()),
            Kind::Bool(value) if wanted.contains("`on`") => {
                Some(format!("write `{}`", if *value { "on" } else { "off" }))
            }
            Kind::Bool(_) | Kind::Number(_) if wanted == "text" => {
                Some(format!("write `\"{}\"`", found.trim_matches('`')))
            }
            Kind::String(text) if matches!(text.as_str(), "yes" | "on" | "Yes" | "On") => {
                Some("write `true`".to_owned())
            }
            Kind::String(text) if matches!(text.as_str(), "no" | "off" | "No" | "Off") => {
                Some("write `false`".to_owned())
            }
            Kind::String(text) if wanted.contains("number") && text.parse::<f64>().is_ok() => {
                Some("remove the quotes".to_owned())
            }
            Kind::String(_) | Kind::Number(_) | Kind::Bool(_) if wanted == "a list" => {
                Some(format!("write `[{}]`", found.trim_matches('`')))
            }
            _ => None,
        };
        let message = match (&node.kind, self.key.as_str()) {
            (_, "") => format!("{found} cannot stand here"),
            (Kind::Null, key) => format!("`{key}` has no value"),
            (_, key) => format!("`{key}` cannot be {found}"),
        };
        self.problems.push(Diagnostic::new(&node.span, message).expected(wanted).hint(hint));
    }

    fn window(&mut self, node: &Node) {
        const WANTED: &str = "hours of a week, for example `Mon-Thu 09:00-16:00 Europe/Prague`";
        match node.as_str().map(str::parse::<Window>) {
            None => self.wrong_type(node, WANTED),
            Some(Err(why)) => self.problems.push(Diagnostic::new(&node.span, why).expected(WANTED)),
            Some(Ok(_)) => {}
        }
    }

    fn period(&mut self, node: &Node) {
        let wanted = "a length of time such as `30s`, `5m`, `1h30m` or `45d`";
        match &node.kind {
            Kind::String(text) => {
                if let Err(message) = text.parse::<Period>() {
                    let hint = "units are `ms`, `s`, `m`, `h`, `d` and `w`, without spaces".to_owned();
                    self.problems
                        .push(Diagnostic::new(&node.span, message).expected(wanted).hint(Some(hint)));
                }
            }
            Kind::Number(number) => {
                let problem = Diagnostic::new(&node.span, format!("`{}` has no unit: {number}", self.key))
                    .expected(wanted);
                self.problems.push(problem.hint(Some(format!("write `{number}s` for seconds"))));
            }
            _ => self.wrong_type(node, wanted),
        }
    }

    fn share(&mut self, node: &Node) {
        let wanted = "a share such as `5%`, or a number from 0 to 1";
        let good = match &node.kind {
            Kind::String(text) => text.parse::<Share>().is_ok(),
            Kind::Number(number) => number.as_f64().is_some_and(|n| (0.0..=1.0).contains(&n)),
            _ => return self.wrong_type(node, wanted),
        };
        if !good {
            let value = node.as_str().map_or_else(|| node.to_value().to_string(), str::to_owned);
            let percent = value.parse::<f64>().ok().filter(|v| (1.0..=100.0).contains(v));
            let hint = percent.map(|_| format!("write `{value}%`"));
            let message = format!("`{value}` is not a share");
            self.problems.push(Diagnostic::new(&node.span, message).expected(wanted).hint(hint));
        }
    }

    fn size(&mut self, node: &Node) {
        let wanted = "a size such as `512MiB` or `20 GB`, or a number of bytes";
        let message = match &node.kind {
            Kind::String(text) => text.parse::<Size>().err(),
            Kind::Number(number) if number.as_u64().is_none() => Some(format!("`{number}` is not a size")),
            Kind::Number(_) => None,
            _ => return self.wrong_type(node, wanted),
        };
        if let Some(message) = message {
            let hint = "units are `B`, `kB`, `MB`, `GB`, `TB`, `KiB`, `MiB`, `GiB` and `TiB`".to_owned();
            self.problems.push(Diagnostic::new(&node.span, message).expected(wanted).hint(Some(hint)));
        }
    }

    fn range(&mut self, node: &Node, number: &serde_json::Number, schema: &Map<String, Value>) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
        let (low, high) = match schema.get("format").and_then(Value::as_str) {
            Some("int8") => (Some(f64::from(i8::MIN)), Some(f64::from(i8::MAX))),
            Some("uint32") => (Some(0.0), Some(f64::from(u32::MAX)).filter(|most| value > *most)),
            Some("uint64") => (Some(0.0), None),
            _ => (None, None),
        };
        let low = bound("minimum").or(low);
        let high = bound("maximum").or(high);
        let too_low = low.is_some_and(|low| value < low);
        if too_low || high.is_some_and(|high| value > high) {
            let wanted = match (low, high) {
                (Some(low), Some(high)) => format!("a number from {low} to {high}"),
                (Some(low), None) => format!("a number of at least {low}"),
                (None, Some(high)) => format!("a number of at most {high}"),
                (None, None) => "another number".to_owned(),
            };
            let message =
                format!("`{}` is too {}: {number}", self.key, if too_low { "small" } else { "large" });
            self.problems.push(Diagnostic::new(&node.span, message).expected(wanted));
        }
    }

    fn text(&mut self, node: &Node, text: &str, schema: &Map<String, Value>) {
        // Of texts with a pattern, only names are left here.
        if schema.contains_key("pattern")
            && !(self.templates && is_template(node) && !schema.contains_key("type"))
        {
            self.name(text, &node.span);
        }
    }

    fn name(&mut self, text: &str, span: &Span) {
        if let Err(error) = Name::new(text) {
            let problem = Diagnostic::new(span, error.to_string());
            self.problems.push(problem.expected("a name of letters, digits, `_`, `-` and `.`"));
        }
    }

    fn first_sentence(&self, schema: &'s Value) -> Option<String> {
        let own = schema.get("description").or_else(|| self.target(schema).get("description"))?;
        let text = own.as_str()?.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(text.split(". ").next().unwrap_or_default().trim_end_matches('.').to_owned())
    }
}

/// The only key of an alternative that is told apart by it.
fn tag_of(schema: &Value) -> Option<&str> {
    let required = schema.get("required").and_then(Value::as_array)?;
    let [only] = required.as_slice() else { return None };
    let properties = schema.get("properties").and_then(Value::as_object)?;
    if properties.len() == 1 { only.as_str() } else { None }
}

fn is_template(node: &Node) -> bool {
    node.as_str().is_some_and(|text| text.contains("${"))
}

fn is_template_schema(schema: &Value) -> bool {
    schema.get("x-tidemill").is_some_and(|x| x == "template")
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|t| t == "null")
}

fn is_whole(number: &serde_json::Number) -> bool {
    !number.is_f64()
}

fn one_of(known: &[&str]) -> String {
    let shown: Vec<String> = known.iter().take(SHOWN).map(|k| format!("`{k}`")).collect();
    let more = if known.len() > SHOWN { ", …" } else { "" };
    match shown.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}{more}", shown.join(", ")),
    }
}
