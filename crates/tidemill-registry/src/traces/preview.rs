//! The beginning of what a trace was asked and what it answered, for lists.

use serde_json::Value;

use crate::traces::text::spaced;

/// The longest preview, in characters.
const LONGEST: usize = 1000;

/// The preview of inputs (`role` is `user`) or outputs (`assistant`): of a conversation its last message of that role, of
/// all else its JSON.
pub(super) fn preview(value: &Value, role: &str) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::Object(_) => message(value, role).unwrap_or_else(|| spaced(value)),
        other => spaced(other),
    };
    if text.chars().count() <= LONGEST {
        return Some(text);
    }
    Some(text.chars().take(LONGEST - 3).chain("...".chars()).collect())
}

fn message(value: &Value, role: &str) -> Option<String> {
    let choice = value.pointer("/choices/0/message").map(std::slice::from_ref);
    let list = ["messages", "input", "output"]
        .into_iter()
        .find_map(|key| value.get(key).and_then(Value::as_array).map(Vec::as_slice));
    let messages: Vec<&Value> = list
        .or(choice)
        .or_else(|| value.pointer("/request/input").and_then(Value::as_array).map(Vec::as_slice))?
        .iter()
        .filter(|message| message.get("role").is_some() && message.get("content").is_some())
        .collect();
    let of_role = |message: &&&Value| message.get("role").and_then(Value::as_str) == Some(role);
    let last = messages.iter().rev().find(of_role).or(messages.last())?;
    match last.get("content")? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        // A message in parts: its texts.
        Value::Array(parts) => parts
            .iter()
            .find_map(|part| part.get("text").and_then(Value::as_str))
            .map(str::to_owned)
            .filter(|text| !text.is_empty()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_conversation_the_last_message_counts() {
        let cases = [
            (json!({"q": "hello", "k": 2}), "user", r#"{"k": 2, "q": "hello"}"#),
            (json!("plain"), "user", "\"plain\""),
            (
                json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
                "user",
                "a",
            ),
            (json!({"choices": [{"message": {"role": "assistant", "content": "c"}}]}), "assistant", "c"),
            (json!({"input": [{"role": "user", "content": [{"type": "t", "text": "d"}]}]}), "user", "d"),
            (json!({"messages": []}), "user", r#"{"messages": []}"#),
        ];
        for (value, role, expected) in cases {
            let found = preview(&value, role).unwrap();
            let same = found == expected || serde_json::from_str::<Value>(&found).ok() == Some(value.clone());
            assert!(same, "{value}: {found}");
        }
        assert_eq!(preview(&Value::Null, "user"), None);
    }

    #[test]
    fn what_is_long_is_cut() {
        let found = preview(&Value::from("ü".repeat(2000)), "user").unwrap();
        assert_eq!(found.chars().count(), LONGEST);
        assert!(found.ends_with("ü..."));
    }
}
