//! One byte form for a value, so that equal values have equal digests.

use serde::Serialize;
use serde_json::Value;

/// The canonical JSON of `value`: keys sorted by their bytes at every depth, no white space, numbers as
/// `serde_json` prints them (shortest form that reads back to the same value), and non-finite numbers as null.
pub fn canonical_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::new();
    write(&serde_json::to_value(value)?, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push(b'{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                write(value, out)?;
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            serde_json::to_writer(&mut *out, value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_keys_does_not_matter() -> Result<(), serde_json::Error> {
        let a: Value = serde_json::from_str(r#"{"b": [1, {"y": 1.0, "x": null}], "a": "é\n"}"#)?;
        let b: Value = serde_json::from_str(r#"{"a": "é\n", "b": [1, {"x": null, "y": 1.0}]}"#)?;
        assert_eq!(canonical_json(&a)?, canonical_json(&b)?);
        assert_eq!(canonical_json(&a)?, "{\"a\":\"é\\n\",\"b\":[1,{\"x\":null,\"y\":1.0}]}".as_bytes());
        Ok(())
    }
}
