//! `matrix` and `foreach`: one declaration, several steps.

use serde_json::Value;

use crate::node::{Cursor, Entry, Kind, Node, Span};
use crate::report::Diagnostic;
use crate::template::{Faults, Mode, Scope, fill_node};

/// More steps than these are a mistake.
const MOST: usize = 10_000;

/// One step of a repeated declaration.
#[derive(Debug)]
pub(super) struct Instance {
    /// `@key=value,…` after the name of the declaration; empty for one that is not repeated.
    pub(super) suffix: String,
    /// `item`, `key`, `matrix`.
    pub(super) bindings: Vec<Entry>,
}

/// The steps that a declaration stands for, in order.
pub(super) fn instances(at: &Cursor<'_>, scope: &Scope<'_>, faults: &mut Faults<'_>) -> Vec<Instance> {
    let matrix = at.key("matrix");
    let foreach = at.key("foreach");
    let mut found = match (matrix.node, foreach.node) {
        (Some(node), _) => combinations(node, scope, faults),
        (None, Some(node)) => entries(node, scope, faults),
        (None, None) => return vec![Instance { suffix: String::new(), bindings: Vec::new() }],
    };
    let place = if matrix.node.is_some() { matrix.key } else { foreach.key };
    if found.len() > MOST {
        let message = format!("this makes more than {MOST} steps");
        faults.problems.push(Diagnostic::new(&place, message));
        found.clear();
    }
    let mut names = std::collections::BTreeSet::new();
    if let Some(twice) = found.iter().find(|instance| !names.insert(&instance.suffix)) {
        let message = format!("two steps would be called `{}`", &twice.suffix);
        let hint =
            "values must differ in letters and digits; a map in `foreach` gives each a name".to_owned();
        faults.problems.push(Diagnostic::new(&place, message).hint(Some(hint)));
        found.clear();
    }
    found
}

fn combinations(matrix: &Node, scope: &Scope<'_>, faults: &mut Faults<'_>) -> Vec<Instance> {
    let mut axes: Vec<(&str, Vec<Node>)> = Vec::new();
    let mut total: usize = 1;
    for axis in matrix.entries() {
        let values = filled(&axis.value, scope, faults);
        let Kind::List(values) = values.kind else {
            // A fault in the template was told already.
            if axis.value.as_str() != values.as_str() {
                let message = format!("`{}` is {}", axis.key, values.describe());
                faults.problems.push(Diagnostic::new(&axis.value.span, message).expected("a list"));
            }
            return Vec::new();
        };
        total = total.saturating_mul(values.len());
        axes.push((&axis.key, values));
    }
    let mut instances = Vec::new();
    // One more than allowed is enough to be told.
    for number in 0..total.min(MOST + 1) {
        let mut rest = number;
        let mut chosen = Vec::with_capacity(axes.len());
        for (name, values) in axes.iter().rev() {
            let index = rest % values.len();
            rest /= values.len();
            chosen.push((*name, index, &values[index]));
        }
        chosen.reverse();
        let names: Vec<String> =
            chosen.iter().map(|(name, i, value)| format!("{name}={}", label(value, *i))).collect();
        let map =
            Node::new(Kind::Map(chosen.iter().map(|(name, _, value)| entry(name, value)).collect()), 0..0);
        instances.push(Instance {
            suffix: format!("@{}", names.join(",")),
            bindings: vec![entry("matrix", &map), entry("item", &map)],
        });
    }
    instances
}

fn entries(foreach: &Node, scope: &Scope<'_>, faults: &mut Faults<'_>) -> Vec<Instance> {
    let values = filled(foreach, scope, faults);
    match &values.kind {
        Kind::List(items) => items
            .iter()
            .enumerate()
            .map(|(i, item)| Instance {
                suffix: format!("@{}", label(item, i)),
                bindings: vec![entry("item", item)],
            })
            .collect(),
        Kind::Map(entries) => entries
            .iter()
            .map(|e| {
                let key = Node::new(Kind::String(e.key.clone()), 0..0);
                Instance {
                    suffix: format!("@{}", plain(&e.key)),
                    bindings: vec![entry("item", &e.value), entry("key", &key)],
                }
            })
            .collect(),
        // A fault in the template was told already.
        _ if foreach.as_str() == values.as_str() => Vec::new(),
        _ => {
            let message = format!("`foreach` is {}", values.describe());
            faults.problems.push(Diagnostic::new(&foreach.span, message).expected("a list or a map"));
            Vec::new()
        }
    }
}

fn filled(node: &Node, scope: &Scope<'_>, faults: &mut Faults<'_>) -> Node {
    // What a list is made of is no parameter of a step: each step sees its own value only.
    let used = std::mem::take(&mut faults.used);
    let filled = fill_node(node, scope, Mode::Strict, faults);
    faults.used = used;
    filled
}

fn entry(key: &str, value: &Node) -> Entry {
    Entry { key: key.to_owned(), key_span: Span::default(), value: value.clone() }
}

/// How a value appears in a step's name.
fn label(value: &Node, index: usize) -> String {
    match value.to_value() {
        Value::String(text) if !text.is_empty() => plain(&text),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        _ => index.to_string(),
    }
}

/// Only characters that survive a file name and a shell; not too many of them.
fn plain(text: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+') { c } else { '_' };
    text.chars().take(64).map(keep).collect()
}
