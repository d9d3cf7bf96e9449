//! Tokens to clauses: `left comparison right`, joined by `AND`.
//!
//! The groups are those of the reader that MLflow uses, as far as a filter can have them: names with points, brackets,
//! calls, arithmetic, lists. What does not belong into a filter is kept as one group, so that a refusal shows it as it
//! was written.

use crate::filter::lex::{Kind, Token, tokens};

/// A piece of the text and what it is.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) shape: Shape<'a>,
    pub(super) text: &'a str,
    from: usize,
    to: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Shape<'a> {
    /// A single token.
    Token(Kind),
    /// A name, with or without points; also a text in double quotes.
    Name,
    /// Something in round brackets.
    Brackets,
    /// A name with brackets behind it.
    Call,
    /// Arithmetic.
    Sum,
    /// Things with commas between.
    List,
    /// A comparison. `right` is missing for `IS NULL`.
    Comparison { left: Box<Item<'a>>, op: String, right: Option<Box<Item<'a>>> },
}

/// Why a text has no clauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// There is nothing but white space.
    Blank,
    /// A semicolon separates statements.
    Several,
}

impl Item<'_> {
    fn is(&self, kind: Kind) -> bool {
        matches!(self.shape, Shape::Token(own) if own == kind)
    }

    fn is_word(&self, word: &str) -> bool {
        self.is(Kind::Keyword) && self.text.eq_ignore_ascii_case(word)
    }

    fn is_mark(&self, mark: &str) -> bool {
        self.is(Kind::Punctuation) && self.text == mark
    }

    /// Whether it is the `AND` between two clauses.
    pub(super) fn is_and(&self) -> bool {
        self.is_word("AND")
    }

    pub(super) fn is_name(&self) -> bool {
        matches!(self.shape, Shape::Name)
    }

    /// Whether it can stand on a side of a comparison.
    fn is_operand(&self) -> bool {
        match self.shape {
            Shape::Name | Shape::Brackets | Shape::Call | Shape::Sum => true,
            Shape::Token(kind) => {
                matches!(kind, Kind::Text | Kind::Integer | Kind::Float | Kind::Placeholder)
                    || self.is_word("NULL")
            }
            Shape::List | Shape::Comparison { .. } => false,
        }
    }
}

/// The clauses of `text`, with what is between them and around them. `bare_timestamp` allows `timestamp > 5`, where the name
/// is a type in SQL.
pub(super) fn clauses(text: &str, bare_timestamp: bool) -> Result<Vec<Item<'_>>, Unreadable> {
    let tokens = tokens(text);
    if tokens.is_empty() {
        return Err(Unreadable::Blank);
    }
    if has_several_statements(text, &tokens) {
        return Err(Unreadable::Several);
    }
    Ok(join(groups(text, &tokens), text, bare_timestamp))
}

/// Everything up to comparisons, without `IN`, `IS NULL` and their kin.
pub(super) fn groups<'a>(text: &'a str, tokens: &[Token]) -> Vec<Item<'a>> {
    let items = tokens
        .iter()
        .map(|token| Item {
            shape: Shape::Token(token.kind),
            text: &text[token.from..token.to],
            from: token.from,
            to: token.to,
        })
        .collect();
    let items = brackets(text, items);
    let items = calls(text, items);
    let items = names(text, items);
    let items = orders(text, items);
    let items = sums(text, items);
    let items = comparisons(text, items);
    let items = aliases(text, items);
    lists(text, items)
}

fn has_several_statements(text: &str, tokens: &[Token]) -> bool {
    let mut depth = 0_i64;
    for (i, token) in tokens.iter().enumerate() {
        match &text[token.from..token.to] {
            "(" => depth += 1,
            ")" => depth -= 1,
            ";" if depth <= 0 => return i + 1 < tokens.len(),
            _ => {}
        }
    }
    false
}

/// Replaces the last items of `done` from `from` on by one.
fn fold<'a>(text: &'a str, done: &mut Vec<Item<'a>>, from: usize, shape: Shape<'a>) {
    let (Some(first), Some(last)) = (done.get(from), done.last()) else { return };
    let (from_byte, to_byte) = (first.from, last.to);
    done.truncate(from);
    done.push(Item { shape, text: &text[from_byte..to_byte], from: from_byte, to: to_byte });
}

fn brackets<'a>(text: &'a str, items: Vec<Item<'a>>) -> Vec<Item<'a>> {
    let (mut done, mut open) = (Vec::with_capacity(items.len()), Vec::new());
    for item in items {
        let (opens, closes) = (item.is_mark("("), item.is_mark(")"));
        if opens {
            open.push(done.len());
        }
        done.push(item);
        if closes && let Some(from) = open.pop() {
            fold(text, &mut done, from, Shape::Brackets);
        }
    }
    done
}

fn calls<'a>(text: &'a str, items: Vec<Item<'a>>) -> Vec<Item<'a>> {
    let mut done: Vec<Item<'a>> = Vec::with_capacity(items.len());
    for item in items {
        let call =
            matches!(item.shape, Shape::Brackets) && done.last().is_some_and(|before| before.is(Kind::Name));
        done.push(item);
        if call {
            let from = done.len() - 2;
            fold(text, &mut done, from, Shape::Call);
        }
    }
    done
}

/// Names with points, and single names.
fn names<'a>(text: &'a str, items: Vec<Item<'a>>) -> Vec<Item<'a>> {
    let mut done: Vec<Item<'a>> = Vec::with_capacity(items.len());
    let mut items = items.into_iter().peekable();
    while let Some(item) = items.next() {
        let begins = item.is(Kind::Name) || item.is(Kind::Quoted);
        let from = done.len();
        done.push(item);
        if !begins {
            continue;
        }
        while let Some(point) = items.next_if(|next| next.is_mark(".")) {
            done.push(point);
            let part = items.next_if(|next| {
                matches!(next.shape, Shape::Call)
                    || next.is(Kind::Name)
                    || next.is(Kind::Quoted)
                    || next.is(Kind::Text)
                    || next.text == "*"
            });
            done.extend(part);
        }
        fold(text, &mut done, from, Shape::Name);
    }
    done
}

/// `ASC` or `DESC` belongs to the name before it.
fn orders<'a>(text: &'a str, items: Vec<Item<'a>>) -> Vec<Item<'a>> {
    let mut done: Vec<Item<'a>> = Vec::with_capacity(items.len());
    for item in items {
        let belongs = item.is(Kind::Order) && done.last().is_some_and(Item::is_name);
        done.push(item);
        if belongs {
            let from = done.len() - 2;
            fold(text, &mut done, from, Shape::Name);
        }
    }
    done
}

fn sums<'a>(text: &'a str, items: Vec<Item<'a>>) -> Vec<Item<'a>> {
    let operand = |item: &Item<'_>| item.is_operand() && !item.is_word("NULL");
    let mut done: Vec<Item<'a>> = Vec::with_capacity(items.len());
    let mut items = items.into_iter().peekable();
    while let Some(item) = items.next() {
        let joins =
            item.is(Kind::Operator) && done.last().is_some_and(operand) && items.peek().is_some_and(operand);
        done.push(item);
        if joins {
            done.extend(items.next());
            let from = done.len() - 3;
            fold(text, &mut done, from, Shape::Sum);
        }
    }
    done
}

fn comparisons<'a>(text: &'a str, items: Vec<Item<'a>>) -> Vec<Item<'a>> {
    let mut done: Vec<Item<'a>> = Vec::with_capacity(items.len());
    let mut items = items.into_iter().peekable();
    let mut compared = false;
    while let Some(item) = items.next() {
        let joins = item.is(Kind::Compare)
            && (compared || done.last().is_some_and(Item::is_operand))
            && items.peek().is_some_and(Item::is_operand);
        compared = joins;
        if joins && let Some(left) = done.pop() {
            compare(text, &mut done, left, item.text.to_ascii_uppercase(), items.next());
        } else {
            done.push(item);
        }
    }
    done
}

fn compare<'a>(text: &'a str, done: &mut Vec<Item<'a>>, left: Item<'a>, op: String, right: Option<Item<'a>>) {
    let from = left.from;
    let to = right.as_ref().map_or(left.to, |right| right.to);
    let shape = Shape::Comparison { left: Box::new(left), op, right: right.map(Box::new) };
    done.push(Item { shape, text: &text[from..to], from, to });
}

/// A name right behind something else would be its alias in SQL.
fn aliases<'a>(text: &'a str, items: Vec<Item<'a>>) -> Vec<Item<'a>> {
    let mut done: Vec<Item<'a>> = Vec::with_capacity(items.len());
    let mut items = items.into_iter().peekable();
    while let Some(item) = items.next() {
        let named = !matches!(item.shape, Shape::Token(_) | Shape::List);
        let from = done.len();
        done.push(item);
        if named && let Some(alias) = items.next_if(Item::is_name) {
            done.push(alias);
            fold(text, &mut done, from, Shape::Name);
        }
    }
    done
}

fn lists<'a>(text: &'a str, items: Vec<Item<'a>>) -> Vec<Item<'a>> {
    let part = |item: &Item<'_>| match item.shape {
        Shape::Name | Shape::Call | Shape::Sum | Shape::List | Shape::Comparison { .. } => true,
        Shape::Brackets => false,
        Shape::Token(kind) => matches!(
            kind,
            Kind::Text | Kind::Integer | Kind::Float | Kind::Placeholder | Kind::Keyword | Kind::Comment
        ),
    };
    let mut done: Vec<Item<'a>> = Vec::with_capacity(items.len());
    let mut items = items.into_iter().peekable();
    while let Some(item) = items.next() {
        let joins = item.is_mark(",") && done.last().is_some_and(part) && items.peek().is_some_and(part);
        done.push(item);
        if joins {
            done.extend(items.next());
            let from = done.len() - 3;
            fold(text, &mut done, from, Shape::List);
        }
    }
    done
}

/// `IN`, `NOT IN`, `IS NULL` and `IS NOT NULL`.
fn join<'a>(items: Vec<Item<'a>>, text: &'a str, bare_timestamp: bool) -> Vec<Item<'a>> {
    let mut done: Vec<Item<'a>> = Vec::with_capacity(items.len());
    let mut at = 0;
    while let Some(first) = items.get(at) {
        let [second, third, fourth] = [1, 2, 3].map(|ahead| items.get(at + ahead));
        let (Some(second), Some(third)) = (second, third) else {
            done.push(first.clone());
            at += 1;
            continue;
        };
        let timestamp = bare_timestamp
            && first.is(Kind::Builtin)
            && first.text.eq_ignore_ascii_case("timestamp")
            && ["=", "!=", "<", "<=", ">", ">="].contains(&second.text)
            && third.is(Kind::Integer);
        let named = first.is_name();
        let bracketed = |item: &Item<'_>| matches!(item.shape, Shape::Brackets);
        let (op, right, taken) = if timestamp {
            let mut name = first.clone();
            name.shape = Shape::Name;
            compare(text, &mut done, name, second.text.to_owned(), Some(third.clone()));
            at += 3;
            continue;
        } else if named && second.is_word("IN") && bracketed(third) {
            ("IN", Some(third), 3)
        } else if named && second.is_word("IS") && third.is_word("NULL") {
            ("IS NULL", None, 3)
        } else if named && second.is_word("IS") && is_not_null(third) {
            ("IS NOT NULL", None, 3)
        } else if named && second.is_word("NOT") && third.is_word("IN") && fourth.is_some_and(bracketed) {
            ("NOT IN", fourth, 4)
        } else {
            done.push(first.clone());
            at += 1;
            continue;
        };
        compare(text, &mut done, first.clone(), op.to_owned(), right.cloned());
        at += taken;
    }
    done
}

fn is_not_null(item: &Item<'_>) -> bool {
    item.is(Kind::Keyword) && item.text.len() > 4 && item.text.split_whitespace().count() == 2
}
