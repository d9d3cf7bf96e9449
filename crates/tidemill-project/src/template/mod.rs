//! `${key}` in texts.
//!
//! * `${key}` and `${key.below}` and `${key[0]}` stand for a parameter. A text that is nothing else keeps the
//!   parameter's type.
//! * `$${` is a literal `${`.
//! * In command lines, what only a shell can mean is left to it: `${HOME}` (upper case and no such parameter)
//!   and every `${…}` that is no key at all, such as `${name:-default}`. Anywhere else these are errors.
//!
//! Values that are filled in are not filled again.

mod fill;
mod scan;
mod scope;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::node::Node;
use crate::report::{Diagnostic, Report};

pub(crate) use fill::{Faults, fill_node};
pub(crate) use scan::is_reference;
pub(crate) use scope::{Scope, key_parts, lookup};

/// Who reads a text next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// We do: every `${` is ours.
    Strict,
    /// A shell does: what is no parameter may be meant for it.
    Shell,
}

/// A text after templating, and what it used.
#[derive(Clone, Debug, PartialEq)]
pub struct Filled {
    /// The text.
    pub text: String,
    /// The keys that it used, dotted, with their values.
    pub used: BTreeMap<String, Value>,
}

/// Fills `${key}` in a text, for example an SQL file, from `params` (a map). `file` is its name in messages.
///
/// # Errors
/// Unknown keys, values that cannot stand in a text (lists, maps, null), unclosed `${`.
pub fn template(text: &str, params: &Value, file: &str) -> Result<String, Report> {
    template_used(text, params, file).map(|filled| filled.text)
}

/// [`template`], telling also which keys were used.
pub fn template_used(text: &str, params: &Value, file: &str) -> Result<Filled, Report> {
    let params = Node::from_value(params);
    let scope = Scope::new(&params);
    let mut used = BTreeMap::new();
    let (text_out, faults) = fill::fill_text(text, &scope, Mode::Strict, &mut used);
    let mut report = Report::default();
    let source: Arc<str> = Arc::from(text);
    for fault in faults {
        report.push(file, &source, Diagnostic::new(&fault.range, fault.message).hint(fault.hint));
    }
    report.into_result(Filled { text: text_out, used })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shell(text: &str) -> Result<String, Vec<String>> {
        let params =
            Node::from_value(&json!({"lr": 0.1, "HOST": "h", "deep": {"x": [1, "two"]}, "no": null}));
        let (out, faults) = fill::fill_text(text, &Scope::new(&params), Mode::Shell, &mut BTreeMap::new());
        if faults.is_empty() { Ok(out) } else { Err(faults.into_iter().map(|f| f.message).collect()) }
    }

    #[test]
    fn texts_for_a_shell() {
        for (text, filled) in [
            ("--lr ${lr}", "--lr 0.1"),
            ("${ lr }", "0.1"),
            ("${HOST} ${HOME}", "h ${HOME}"),
            ("${deep.x[1]}", "two"),
            ("$${lr} $$ $x ${x:-1} ${#x} ${1}", "${lr} $$ $x ${x:-1} ${#x} ${1}"),
            ("${HOME:-${lr}}", "${HOME:-0.1}"),
            ("a ${", "a ${"),
            ("awk '{print $1}'", "awk '{print $1}'"),
            ("$$${lr}", "$${lr}"),
        ] {
            assert_eq!(shell(text).as_deref(), Ok(filled), "{text}");
        }
        for bad in ["${lrr}", "${deep}", "${deep.y}", "${no}", "${deep.x[2]}"] {
            assert!(shell(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_for_us() {
        let params = json!({"from": "2013-01-01", "n": 3, "flag": true});
        let filled = template_used("where t >= '${from}' limit ${n} -- $${x}", &params, "a.sql").unwrap();
        assert_eq!(filled.text, "where t >= '2013-01-01' limit 3 -- ${x}");
        assert_eq!(
            filled.used,
            BTreeMap::from([("from".to_owned(), json!("2013-01-01")), ("n".to_owned(), json!(3))])
        );
        let report = template("select\n  ${form}, ${HOME}, ${a b}, ${", &params, "a.sql").unwrap_err();
        let places: Vec<_> = report.diagnostics.iter().map(|d| (d.line, d.column)).collect();
        assert_eq!(places, [(2, 3), (2, 12), (2, 21), (2, 29)]);
        assert_eq!(report.diagnostics[0].hint.as_deref(), Some("did you mean `from`?"));
    }
}
