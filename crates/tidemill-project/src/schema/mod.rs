//! The JSON Schema of the project file, made of the same types that the file is parsed into.

mod reference;
mod walk;

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::{Project, StepDecl};

pub use reference::reference;
pub(crate) use walk::Walk;

/// The JSON Schema (draft 2020-12) of the project file. The same text for the same version.
pub fn json_schema() -> Value {
    project_schema().clone()
}

pub(crate) fn project_schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema = schema_of::<Project>();
        if let Some(map) = schema.as_object_mut() {
            map.insert("title".to_owned(), json!("Tidemill project"));
        }
        sorted(schema)
    })
}

/// The schema of one step.
pub(crate) fn step_schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(schema_of::<StepDecl>)
}

fn schema_of<T: schemars::JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    close(&mut schema);
    schema
}

/// Forbids unknown keys wherever keys are known, also where the types that a schema is made of cannot say so.
fn close(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    let flattened = map.contains_key("properties") && map.contains_key("oneOf");
    if flattened {
        map.insert("unevaluatedProperties".to_owned(), json!(false));
    } else if map.contains_key("properties") && !map.contains_key("additionalProperties") {
        map.insert("additionalProperties".to_owned(), json!(false));
    }
    for (key, below) in map.iter_mut() {
        match (key.as_str(), below) {
            ("properties" | "patternProperties" | "$defs", Value::Object(children)) => {
                children.values_mut().for_each(close);
            }
            ("oneOf", Value::Array(tags)) if flattened => {
                for tag in tags {
                    if let Some(inner) = tag.get_mut("properties").and_then(Value::as_object_mut) {
                        inner.values_mut().for_each(close);
                    }
                }
            }
            ("anyOf" | "oneOf", Value::Array(children)) => children.iter_mut().for_each(close),
            ("items" | "additionalProperties", below) => close(below),
            _ => {}
        }
    }
}

/// Keys in alphabetical order at every depth, whatever order the map type of the build keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(Map::from_iter(entries))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
