//! JSON with a space behind commas and colons. Searches for text look into stored spans, and people write such patterns
//! as MLflow shows JSON to them.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The JSON text of a value. Values whose text cannot be made give `null`; ours can.
pub(crate) fn spaced(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Spaced);
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8(out).unwrap_or_default(),
        Err(_) => "null".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spaces_stand_between_and_not_inside() {
        assert_eq!(spaced(&json!({"a": [1, 2.0, "x,y:z"], "b": {}})), r#"{"a": [1, 2.0, "x,y:z"], "b": {}}"#);
        assert_eq!(spaced(&json!([])), "[]");
        assert_eq!(spaced(&json!("ü\u{0}")), "\"ü\\u0000\"");
    }
}
