//! The published schema and the reference page.

use serde_json::Value;
use tidemill_project::{json_schema, reference};

#[test]
fn the_schema_is_published_as_it_is() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&json_schema()).unwrap());
}

#[test]
fn the_reference_page() {
    insta::assert_snapshot!(reference());
}

/// Every key has a description, and every map with known keys refuses others.
#[test]
fn every_key_is_described_and_maps_are_closed() {
    fn visit(at: &str, schema: &Value, root: &Value, bad: &mut Vec<String>) {
        let described = |s: &Value| {
            let target =
                s["$ref"].as_str().and_then(|r| root.pointer(r.trim_start_matches('#'))).unwrap_or(s);
            s["description"].is_string() || target["description"].is_string()
        };
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            let tag = schema["required"]
                .as_array()
                .is_some_and(|r| r.len() == 1 && schema["description"].is_string());
            if !described(below) && !tag {
                bad.push(format!("{at}.{key} has no description"));
            }
            visit(&format!("{at}.{key}"), below, root, bad);
        }
        let closed = schema["additionalProperties"] == false || schema["unevaluatedProperties"] == false;
        if schema["properties"].is_object() && !closed && !at.contains("Expectation|") {
            bad.push(format!("{at} is open"));
        }
        for part in ["anyOf", "oneOf"] {
            for below in schema[part].as_array().into_iter().flatten() {
                visit(&format!("{at}|"), below, root, bad);
            }
        }
        for part in ["items", "additionalProperties"] {
            if let Some(below) = schema.get(part) {
                visit(&format!("{at}[]"), below, root, bad);
            }
        }
    }
    let schema = json_schema();
    let mut bad = Vec::new();
    visit("Project", &schema, &schema, &mut bad);
    for (name, below) in schema["$defs"].as_object().unwrap() {
        visit(name, below, &schema, &mut bad);
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
