//! The part of GraphQL's language that clients of MLflow use: operations, variables, selections, aliases, arguments,
//! fragments, inline fragments, directives. Types of variables are read over; descriptions and type definitions are not
//! part of a query.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

/// A document: what was sent as `query`.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) operations: Vec<Operation>,
    pub(super) fragments: HashMap<String, Fragment>,
}

#[derive(Debug)]
pub(super) struct Operation {
    pub(super) kind: String,
    pub(super) name: Option<String>,
    /// Names of variables with their defaults.
    pub(super) variables: Vec<(String, Option<Literal>)>,
    pub(super) selections: Vec<Selection>,
}

#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) on: String,
    pub(super) selections: Vec<Selection>,
}

#[derive(Debug)]
pub(super) enum Selection {
    Field(Field),
    /// `...Name`
    Spread(String, Vec<Directive>),
    /// `... on Type { }`
    Inline(Option<String>, Vec<Directive>, Vec<Selection>),
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) alias: Option<String>,
    pub(super) name: String,
    pub(super) arguments: Vec<(String, Literal)>,
    pub(super) directives: Vec<Directive>,
    pub(super) selections: Vec<Selection>,
}

#[derive(Debug)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) arguments: Vec<(String, Literal)>,
}

/// A value as written: JSON with variables and names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Variable(String),
    Plain(Value),
    List(Vec<Literal>),
    Object(Vec<(String, Literal)>),
}

impl Literal {
    /// With variables put in; a variable that is not given is null.
    pub(super) fn resolve(&self, variables: &Map<String, Value>) -> Value {
        match self {
            Self::Variable(name) => variables.get(name).cloned().unwrap_or_default(),
            Self::Plain(value) => value.clone(),
            Self::List(items) => items.iter().map(|item| item.resolve(variables)).collect(),
            Self::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), value.resolve(variables)))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}

/// Deeper documents are refused, so that the parser's own stack is bounded.
const DEPTH: usize = 32;

/// Reads a document, or says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Document, String> {
    let mut parser = Parser { tokens: lex(text)?, at: 0, depth: 0 };
    let mut document = Document::default();
    while let Some(token) = parser.peek() {
        match token {
            Token::Name("fragment") => {
                parser.next();
                let name = parser.name()?;
                parser.keyword("on")?;
                let on = parser.name()?;
                parser.directives()?;
                let selections = parser.selections()?;
                document.fragments.insert(name, Fragment { on, selections });
            }
            _ => document.operations.push(parser.operation()?),
        }
    }
    if document.operations.is_empty() {
        Err("the document holds no operation".to_owned())
    } else {
        Ok(document)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token<'a> {
    Name(&'a str),
    Text(String),
    Number(&'a str),
    /// One of ``! $ & ( ) : = @ [ ] { | }``.
    Mark(u8),
    Spread,
}

fn lex(text: &str) -> Result<Vec<Token<'_>>, String> {
    let bytes = text.as_bytes();
    let (mut tokens, mut at) = (Vec::new(), 0);
    let run = |from: usize, good: fn(u8) -> bool| {
        bytes[from..].iter().position(|b| !good(*b)).map_or(bytes.len(), |length| from + length)
    };
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => at += 1,
            0xEF if bytes[at..].starts_with("\u{feff}".as_bytes()) => at += 3,
            b'#' => at = run(at, |b| b != b'\n'),
            b'.' if bytes[at..].starts_with(b"...") => {
                tokens.push(Token::Spread);
                at += 3;
            }
            b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|' | b'}' => {
                tokens.push(Token::Mark(byte));
                at += 1;
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                let end = run(at, |b| b == b'_' || b.is_ascii_alphanumeric());
                tokens.push(Token::Name(&text[at..end]));
                at = end;
            }
            b'-' | b'0'..=b'9' => {
                let end = run(at, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'));
                tokens.push(Token::Number(&text[at..end]));
                at = end;
            }
            b'"' => {
                let (value, length) = string(&text[at..])?;
                tokens.push(Token::Text(value));
                at += length;
            }
            _ => return Err(format!("there is an unexpected character at byte {at}")),
        }
    }
    Ok(tokens)
}

/// A string at the beginning of `text`, and how long it is as written.
fn string(text: &str) -> Result<(String, usize), String> {
    let open = || "a string is not closed".to_owned();
    if let Some(block) = text.strip_prefix("\"\"\"") {
        let end = block.find("\"\"\"").ok_or_else(open)?;
        return Ok((block[..end].trim().to_owned(), end + 6));
    }
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'\n' => break,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            // GraphQL's escapes are JSON's.
            b'"' => {
                let value = serde_json::from_str(&text[..=at]);
                return value
                    .map(|value| (value, at + 1))
                    .map_err(|error| format!("a string is not right: {error}"));
            }
            _ => {}
        }
    }
    Err(open())
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn take(&mut self, mark: u8) -> bool {
        let there = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, mark: u8) -> Result<(), String> {
        if self.take(mark) { Ok(()) } else { Err(self.wrong(&format!("`{}`", mark as char))) }
    }

    fn keyword(&mut self, word: &str) -> Result<(), String> {
        match self.next() {
            Some(Token::Name(name)) if name == word => Ok(()),
            _ => Err(format!("expected `{word}`")),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = (*name).to_owned();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.wrong("a name")),
        }
    }

    fn wrong(&self, expected: &str) -> String {
        match self.peek() {
            Some(Token::Name(name) | Token::Number(name)) => format!("expected {expected}, found `{name}`"),
            Some(Token::Mark(mark)) => format!("expected {expected}, found `{}`", *mark as char),
            Some(Token::Text(_)) => format!("expected {expected}, found a string"),
            Some(Token::Spread) => format!("expected {expected}, found `...`"),
            None => format!("expected {expected}, but the document ends"),
        }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        if self.depth == DEPTH {
            return Err(format!("the document is nested more than {DEPTH} times"));
        }
        self.depth += 1;
        let done = inner(self);
        self.depth -= 1;
        done
    }

    fn operation(&mut self) -> Result<Operation, String> {
        let (mut kind, mut name, mut variables) = ("query".to_owned(), None, Vec::new());
        if let Some(Token::Name(_)) = self.peek() {
            kind = self.name()?;
            if !matches!(kind.as_str(), "query" | "mutation" | "subscription") {
                return Err(format!("expected an operation, found `{kind}`"));
            }
            if let Some(Token::Name(_)) = self.peek() {
                name = Some(self.name()?);
            }
            variables = self.variables()?;
            self.directives()?;
        }
        Ok(Operation { kind, name, variables, selections: self.selections()? })
    }

    fn variables(&mut self) -> Result<Vec<(String, Option<Literal>)>, String> {
        let mut variables = Vec::new();
        if self.take(b'(') {
            while !self.take(b')') {
                self.expect(b'$')?;
                let name = self.name()?;
                self.expect(b':')?;
                self.deeper(Self::kind)?;
                let default = if self.take(b'=') { Some(self.deeper(Self::literal)?) } else { None };
                self.directives()?;
                variables.push((name, default));
            }
        }
        Ok(variables)
    }

    /// A type, which says nothing to us.
    fn kind(&mut self) -> Result<(), String> {
        if self.take(b'[') {
            self.deeper(Self::kind)?;
            self.expect(b']')?;
        } else {
            self.name()?;
        }
        self.take(b'!');
        Ok(())
    }

    fn directives(&mut self) -> Result<Vec<Directive>, String> {
        let mut directives = Vec::new();
        while self.take(b'@') {
            directives.push(Directive { name: self.name()?, arguments: self.arguments()? });
        }
        Ok(directives)
    }

    fn arguments(&mut self) -> Result<Vec<(String, Literal)>, String> {
        if self.take(b'(') { self.pairs(b')') } else { Ok(Vec::new()) }
    }

    fn pairs(&mut self, end: u8) -> Result<Vec<(String, Literal)>, String> {
        let mut pairs = Vec::new();
        while !self.take(end) {
            let name = self.name()?;
            self.expect(b':')?;
            pairs.push((name, self.deeper(Self::literal)?));
        }
        Ok(pairs)
    }

    fn literal(&mut self) -> Result<Literal, String> {
        if self.take(b'$') {
            return Ok(Literal::Variable(self.name()?));
        }
        if self.take(b'{') {
            return Ok(Literal::Object(self.pairs(b'}')?));
        }
        if self.take(b'[') {
            let mut items = Vec::new();
            while !self.take(b']') {
                items.push(self.deeper(Self::literal)?);
            }
            return Ok(Literal::List(items));
        }
        let value = match self.peek() {
            Some(Token::Text(text)) => Value::String(text.clone()),
            Some(Token::Number(text)) => {
                let number = text.parse::<Number>().map_err(|_| format!("`{text}` is not a number"))?;
                Value::Number(number)
            }
            Some(Token::Name("true")) => Value::Bool(true),
            Some(Token::Name("false")) => Value::Bool(false),
            Some(Token::Name("null")) => Value::Null,
            // A name of an enumeration.
            Some(Token::Name(name)) => Value::String((*name).to_owned()),
            _ => return Err(self.wrong("a value")),
        };
        self.at += 1;
        Ok(Literal::Plain(value))
    }

    fn selections(&mut self) -> Result<Vec<Selection>, String> {
        self.expect(b'{')?;
        self.deeper(|parser| {
            let mut selections = Vec::new();
            while !parser.take(b'}') {
                selections.push(parser.selection()?);
            }
            if selections.is_empty() { Err("a selection is empty".to_owned()) } else { Ok(selections) }
        })
    }

    fn selection(&mut self) -> Result<Selection, String> {
        if self.peek() != Some(&Token::Spread) {
            return self.field().map(Selection::Field);
        }
        self.at += 1;
        match self.peek() {
            Some(Token::Name("on")) => {
                self.at += 1;
                let on = self.name()?;
                Ok(Selection::Inline(Some(on), self.directives()?, self.selections()?))
            }
            Some(Token::Name(_)) => Ok(Selection::Spread(self.name()?, self.directives()?)),
            _ => Ok(Selection::Inline(None, self.directives()?, self.selections()?)),
        }
    }

    fn field(&mut self) -> Result<Field, String> {
        let first = self.name()?;
        let (alias, name) = if self.take(b':') { (Some(first), self.name()?) } else { (None, first) };
        let (arguments, directives) = (self.arguments()?, self.directives()?);
        let selections =
            if self.peek() == Some(&Token::Mark(b'{')) { self.selections()? } else { Vec::new() };
        Ok(Field { alias, name, arguments, directives, selections })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood_and_what_is_not() {
        for (text, error) in [
            ("{ a }", ""),
            (
                "query Q($x: [Int!]! = [1, 2] @d, $y: T) @component(name: \"M\") { a: b(i: $x, o: {k: ENUM}) @skip(if: true) { c } }",
                "",
            ),
            ("query { ...F ... on T { a } ... @include(if: $v) { b } } fragment F on T { c }", ""),
            ("# nothing\n{ a(s: \"q\\\"\\u00e9\", b: \"\"\" block \"\"\") }", ""),
            ("", "the document holds no operation"),
            ("fragment F on T { c }", "the document holds no operation"),
            ("{ }", "a selection is empty"),
            ("{ a", "expected a name, but the document ends"),
            ("{ a(b) }", "expected `:`, found `)`"),
            ("{ a(b: 1x) }", "`1x` is not a number"),
            ("{ a(b: \"open) }", "a string is not closed"),
            ("{ a(b: \"\"\"open) }", "a string is not closed"),
            ("type T { a: Int }", "expected an operation, found `type`"),
            ("{ a ? }", "there is an unexpected character at byte 4"),
            ("{ ... }", "expected `{`, found `}`"),
            ("{ é }", "there is an unexpected character at byte 2"),
        ] {
            assert_eq!(parse(text).err().unwrap_or_default(), error, "{text}");
        }
    }

    #[test]
    fn nesting_ends_somewhere() {
        for text in [
            "{a".repeat(100_000),
            format!("{{ a(b: {}", "[".repeat(100_000)),
            format!("query ($a: {}", "[".repeat(100_000)),
            format!("{{ {}", "... {".repeat(100_000)),
        ] {
            assert_eq!(parse(&text).unwrap_err(), "the document is nested more than 32 times");
        }
    }

    #[test]
    fn literals_take_their_variables() {
        let document = parse("{ a(o: {x: $x, l: [$y, -1.5e2, E, null, \"s\"]}) }").unwrap();
        let Selection::Field(field) = &document.operations[0].selections[0] else { panic!("a field") };
        let variables = serde_json::json!({"x": {"deep": 1}}).as_object().unwrap().clone();
        assert_eq!(
            field.arguments[0].1.resolve(&variables),
            serde_json::json!({"x": {"deep": 1}, "l": [null, -150.0, "E", null, "s"]})
        );
    }
}
