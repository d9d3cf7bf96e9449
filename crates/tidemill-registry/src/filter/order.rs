//! Orders: a name, and `ASC` or `DESC`.

use tidemill_db::search::{Field, OrderBy};

use crate::filter::check_text;
use crate::filter::clause::groups;
use crate::filter::lex::{Kind, tokens};
use crate::filter::value::python_text;
use crate::{Error, Result};

/// Reads each key; two of them must not mean the same field.
pub(super) fn read(keys: &[String], field: impl Fn(&str) -> Result<Field>) -> Result<Vec<OrderBy>> {
    let mut orders: Vec<OrderBy> = Vec::with_capacity(keys.len());
    for key in keys {
        let order = one(key, &field)?;
        if orders.iter().any(|before| before.field == order.field) {
            let shown: Vec<String> = keys.iter().map(|key| python_text(key)).collect();
            return Err(Error::invalid(format!(
                "`order_by` contains duplicate fields: [{}]",
                shown.join(", ")
            )));
        }
        orders.push(order);
    }
    Ok(orders)
}

/// Reads each key; of two that mean the same field the first one counts.
pub(super) fn read_repeated(keys: &[String], field: impl Fn(&str) -> Result<Field>) -> Result<Vec<OrderBy>> {
    let mut orders: Vec<OrderBy> = Vec::with_capacity(keys.len());
    for key in keys {
        let order = one(key, &field)?;
        if orders.iter().all(|before| before.field != order.field) {
            orders.push(order);
        }
    }
    Ok(orders)
}

fn one(text: &str, field: impl Fn(&str) -> Result<Field>) -> Result<OrderBy> {
    check_text(text)?;
    let unreadable = || Error::invalid(format!("Invalid order_by clause '{text}'. Could not be parsed."));
    let found = tokens(text);
    let (Some(first), Some(last)) = (found.first(), found.last()) else { return Err(unreadable()) };
    let is_timestamp =
        |kind: Kind, word: &str| kind == Kind::Builtin && word.eq_ignore_ascii_case("timestamp");
    if is_timestamp(first.kind, &text[first.from..first.to]) {
        let descending = match found.as_slice() {
            [_] => false,
            [_, order] if order.kind == Kind::Order => is_descending(&text[order.from..order.to]),
            _ => return Err(unreadable()),
        };
        return Ok(OrderBy { field: field("timestamp")?, descending });
    }
    // The whole text must be one name, without white space around it.
    if first.from != 0 || last.to != text.len() {
        return Err(unreadable());
    }
    match groups(text, &found).as_slice() {
        [only] if only.is_name() => {}
        _ => return Err(unreadable()),
    }
    let (name, order) = direction(text).ok_or_else(unreadable)?;
    let descending = match order.map(str::to_ascii_lowercase).as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => {
            return Err(Error::invalid(format!("Invalid ordering key in order_by clause '{text}'.")));
        }
    };
    Ok(OrderBy { field: field(name)?, descending })
}

fn is_descending(word: &str) -> bool {
    word.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("desc"))
}

/// The name and the word behind it, if there is one; white space inside of quotes does not separate.
fn direction(text: &str) -> Option<(&str, Option<&str>)> {
    let (mut quote, mut cuts) = (None, Vec::new());
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '`' | '"' | '\'') => quote = Some(c),
            None if c.is_whitespace() => cuts.push(at),
            None => {}
        }
    }
    let Some(cut) = cuts.first() else { return Some((text, None)) };
    let rest = text[*cut..].trim_start();
    let single = !rest.contains(char::is_whitespace) && !rest.is_empty();
    single.then_some((&text[..*cut], Some(rest)))
}
