//! Reads JSON as it stands, value by value, into whatever the caller makes of it.
//!
//! There is no tree in between: a million numbers go straight into one typed vector. Written here because the
//! protocol's clients send `NaN` and `Infinity`, which JSON does not have, because every number must be the nearest
//! one of its type, and because a field may come before the one that says how to read it ([`Reader::skip`] gives
//! its place). Depth is bounded; nothing is allocated that is not in the text.

use std::borrow::Cow;
use std::fmt;

/// How deep arrays and objects may be nested.
const DEPTH: usize = 64;

/// What is wrong with a text and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonError {
    /// Bytes before the place.
    pub(crate) at: usize,
    /// What is wrong there.
    pub(crate) what: Cow<'static, str>,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

/// The kind of the value that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    Text,
    Number,
    Flag,
    Null,
}

/// A number as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number<'a> {
    /// Digits, perhaps with a minus.
    Integer(&'a str),
    /// With a fraction or an exponent.
    Real(&'a str),
    /// `NaN`, `Infinity`, `-Infinity` and what else the protocol's clients write for them.
    Special(f64),
}

/// A place in a text.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// The begin of a text.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// The same text at another place, one that [`skip`](Self::skip) gave.
    pub(crate) fn at(&self, place: usize) -> Self {
        Self { bytes: self.bytes, at: place, depth: self.depth }
    }

    /// An error here.
    #[cold]
    pub(crate) fn error(&self, what: impl Into<Cow<'static, str>>) -> JsonError {
        JsonError { at: self.at, what: what.into() }
    }

    /// Bytes that are left, an upper bound for what may come.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// The kind of the next value.
    pub(crate) fn kind(&mut self) -> Result<Kind, JsonError> {
        self.space();
        Ok(match self.byte() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::Text,
            Some(b't' | b'f') => Kind::Flag,
            Some(b'n') => Kind::Null,
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => Kind::Number,
            Some(_) => return Err(self.error("a value was expected")),
            None => return Err(self.error("the text ends where a value was expected")),
        })
    }

    /// Nothing but space may be left.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.at < self.bytes.len() { Err(self.error("something follows the value")) } else { Ok(()) }
    }

    fn enter(&mut self, open: u8, what: &'static str) -> Result<(), JsonError> {
        self.space();
        if self.byte() != Some(open) {
            return Err(self.error(what));
        }
        if self.depth >= DEPTH {
            return Err(self.error("arrays and objects are nested too deep"));
        }
        self.at += 1;
        self.depth += 1;
        Ok(())
    }

    /// Whether the array or object ends here.
    fn leaves(&mut self, close: u8) -> bool {
        self.space();
        let ends = self.byte() == Some(close);
        if ends {
            self.at += 1;
            self.depth -= 1;
        }
        ends
    }

    /// Begins an array; whether it has a value. Go on with [`next`](Self::next) after each.
    pub(crate) fn array(&mut self) -> Result<bool, JsonError> {
        self.enter(b'[', "an array was expected")?;
        Ok(!self.leaves(b']'))
    }

    /// Whether another value follows in the array.
    pub(crate) fn next(&mut self) -> Result<bool, JsonError> {
        // The common case of dense arrays, without a call.
        if self.byte() == Some(b',') {
            self.at += 1;
            return Ok(true);
        }
        if self.leaves(b']') {
            return Ok(false);
        }
        if self.byte() == Some(b',') {
            self.at += 1;
            return Ok(true);
        }
        Err(self.error("`,` or `]` was expected"))
    }

    /// Reads an object: `field` is called with each key and must read or skip the value.
    pub(crate) fn object<E: From<JsonError>>(
        &mut self,
        mut field: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(b'{', "an object was expected")?;
        if self.leaves(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            let key = self.text()?;
            self.space();
            if self.byte() != Some(b':') {
                return Err(self.error("`:` was expected").into());
            }
            self.at += 1;
            field(self, &key)?;
            if self.leaves(b'}') {
                return Ok(());
            }
            if self.byte() != Some(b',') {
                return Err(self.error("`,` or `}` was expected").into());
            }
            self.at += 1;
        }
    }

    fn word(&mut self, word: &'static str) -> bool {
        let found = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        if found {
            self.at += word.len();
        }
        found
    }

    /// `null`.
    pub(crate) fn null(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.word("null") { Ok(()) } else { Err(self.error("`null` was expected")) }
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self) -> Result<bool, JsonError> {
        self.space();
        if self.word("true") {
            Ok(true)
        } else if self.word("false") {
            Ok(false)
        } else {
            Err(self.error("`true` or `false` was expected"))
        }
    }

    /// A number.
    pub(crate) fn number(&mut self) -> Result<Number<'a>, JsonError> {
        self.space();
        let begin = self.at;
        let negative = self.byte() == Some(b'-');
        if negative {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            Some(b'N') if !negative && self.word("NaN") => return Ok(Number::Special(f64::NAN)),
            Some(b'I') if self.word("Infinity") || self.word("Inf") => {
                return Ok(Number::Special(if negative { f64::NEG_INFINITY } else { f64::INFINITY }));
            }
            _ => {
                self.at = begin;
                return Err(self.error("a number was expected"));
            }
        }
        let mut real = false;
        if self.byte() == Some(b'.') {
            real = true;
            self.at += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            real = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.some_digits()?;
        }
        // Only ASCII was passed.
        let text = self.bytes.get(begin..self.at).and_then(|text| std::str::from_utf8(text).ok());
        let text = text.unwrap_or_default();
        Ok(if real { Number::Real(text) } else { Number::Integer(text) })
    }

    /// A decimal number without an exponent whose digits make a whole number below `below`, at most `most_places` of them behind the point:
    /// whether it is negative, that number, and how many digits are behind the point. `None` for all else, which is left where it is.
    pub(crate) fn decimal(&mut self, below: u64, most_places: usize) -> Option<(bool, u64, usize)> {
        /// As many fit into the number whatever they are.
        const DIGITS: usize = 18;
        self.space();
        let (negative, rest) = match self.bytes.get(self.at..)? {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let (mut number, mut digits, mut point, mut ends) = (0_u64, 0_usize, None, false);
        for byte in rest {
            match byte {
                b'0'..=b'9' if digits < DIGITS => {
                    number = number * 10 + u64::from(byte - b'0');
                    digits += 1;
                }
                b'.' if point.is_none() => point = Some(digits),
                b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t' => {
                    ends = true;
                    break;
                }
                _ => return None,
            }
        }
        let whole = point.unwrap_or(digits);
        let places = digits - whole;
        let is_written_right =
            whole > 0 && (whole == 1 || rest.first() != Some(&b'0')) && (point.is_none() || places > 0);
        if !ends || !is_written_right || number >= below || places > most_places {
            return None;
        }
        self.at += usize::from(negative) + digits + usize::from(point.is_some());
        Some((negative, number, places))
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), JsonError> {
        let begin = self.at;
        self.digits();
        if self.at == begin { Err(self.error("a digit was expected")) } else { Ok(()) }
    }

    /// A string. It is copied only where it has escapes.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.space();
        if self.byte() != Some(b'"') {
            return Err(self.error("a string was expected"));
        }
        self.at += 1;
        let begin = self.at;
        self.plain();
        if self.byte() == Some(b'"') {
            let text = self.utf8(begin)?;
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        let mut text = self.utf8(begin)?.to_owned();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err(self.error("a control character in a string")),
                None => return Err(self.error("a string does not end")),
            }
            let begin = self.at;
            self.plain();
            text.push_str(self.utf8(begin)?);
        }
    }

    /// Passes what needs no attention in a string.
    fn plain(&mut self) {
        while let Some(byte) = self.byte() {
            if byte == b'"' || byte == b'\\' || byte < 0x20 {
                return;
            }
            self.at += 1;
        }
    }

    fn utf8(&self, begin: usize) -> Result<&'a str, JsonError> {
        let bytes = self.bytes.get(begin..self.at).unwrap_or_default();
        std::str::from_utf8(bytes)
            .map_err(|wrong| JsonError { at: begin + wrong.valid_up_to(), what: "not UTF-8".into() })
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let letter = self.byte();
        self.at += 1;
        Ok(match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => self.unicode()?,
            _ => {
                self.at -= 1;
                return Err(self.error("an unknown escape in a string"));
            }
        })
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let mut code = self.hex()?;
        if (0xd800..0xdc00).contains(&code) && self.word("\\u") {
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            }
        }
        char::from_u32(code).ok_or_else(|| self.error("half of a character in a string"))
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| self.error("four hexadecimal digits were expected"))?;
        self.at += 4;
        Ok(code)
    }

    /// Passes a value of any kind.
    pub(crate) fn pass(&mut self) -> Result<(), JsonError> {
        self.skip().map(|_| ())
    }

    /// Passes a value of any kind, and gives its place for [`at`](Self::at).
    pub(crate) fn skip(&mut self) -> Result<usize, JsonError> {
        let kind = self.kind()?;
        let place = self.at;
        match kind {
            Kind::Object => self.object(|reader, _| reader.pass())?,
            Kind::Array => {
                let mut more = self.array()?;
                while more {
                    self.skip()?;
                    more = self.next()?;
                }
            }
            Kind::Text => drop(self.text()?),
            Kind::Number => drop(self.number()?),
            Kind::Flag => drop(self.flag()?),
            Kind::Null => self.null()?,
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What serde_json says of a text, by the reader.
    fn tree(reader: &mut Reader<'_>) -> Result<serde_json::Value, JsonError> {
        use serde_json::{Map, Value};
        Ok(match reader.kind()? {
            Kind::Object => {
                let mut map = Map::new();
                reader.object(|reader, key| {
                    map.insert(key.to_owned(), tree(reader)?);
                    Ok::<_, JsonError>(())
                })?;
                Value::Object(map)
            }
            Kind::Array => {
                let mut list = Vec::new();
                let mut more = reader.array()?;
                while more {
                    list.push(tree(reader)?);
                    more = reader.next()?;
                }
                Value::Array(list)
            }
            Kind::Text => Value::String(reader.text()?.into_owned()),
            Kind::Flag => Value::Bool(reader.flag()?),
            Kind::Null => reader.null().map(|()| Value::Null)?,
            Kind::Number => match reader.number()? {
                Number::Integer(text) | Number::Real(text) => serde_json::from_str(text).unwrap(),
                Number::Special(value) => Value::String(value.to_string()),
            },
        })
    }

    fn read(text: &[u8]) -> Result<serde_json::Value, JsonError> {
        let mut reader = Reader::new(text);
        let value = tree(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    #[test]
    fn what_it_reads_is_what_serde_json_reads() {
        for text in [
            "null",
            " true ",
            "[]",
            "[ ]",
            "{}",
            "[1, -2.5e-3 ,0, 1E+2]",
            "{\"a\": [{\"b\":\"\"}], \"c\":null}",
            r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é""#,
            "",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "-",
            "1e",
            "+1",
            "\"\\x\"",
            "\"\\u12\"",
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            "\"\n\"",
            "\"a",
            "nul",
            "tru",
            "[1]]",
            "[",
            "{",
            "\"\\",
            "[1,2",
            "{\"a\":1,}",
            "{\"a\":1 \"b\":2}",
            r#""\u+123""#,
        ] {
            let theirs = serde_json::from_str::<serde_json::Value>(text);
            let ours = read(text.as_bytes());
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{text}: {ours:?} {theirs:?}");
            if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
                assert_eq!(ours, theirs, "{text}");
            }
            let mut passed = Reader::new(text.as_bytes());
            let passed = passed.pass().and_then(|()| passed.end());
            assert_eq!(passed.is_ok(), read(text.as_bytes()).is_ok(), "{text}");
        }
        assert_eq!(read(b"\"\xff\""), Err(JsonError { at: 1, what: "not UTF-8".into() }));
    }

    #[test]
    fn numbers_that_json_does_not_have() {
        let list = read(b"[NaN,Infinity,-Infinity,Inf,-Inf]").unwrap();
        assert_eq!(list, serde_json::json!(["NaN", "inf", "-inf", "inf", "-inf"]));
        for wrong in ["-NaN", "Nan", "nan", "infinity", "N"] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(DEPTH).as_bytes()).is_ok());
        let deep = read(nested(DEPTH + 1).as_bytes()).unwrap_err();
        assert_eq!(deep.to_string(), "arrays and objects are nested too deep at byte 64");
        assert!(Reader::new("[{\"a\":".repeat(100_000).as_bytes()).skip().is_err());
    }
}
