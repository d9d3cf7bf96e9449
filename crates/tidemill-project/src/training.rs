//! The declaration of a training, whose values may be templates.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidemill_core::declare::Training;

use crate::node::Node;
use crate::quantity::template_schema;

/// The keys of a [`Training`] before templating: what stands in the file, of which any value may be `${…}`.
///
/// `resolve` makes a checked [`Training`] of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrainDecl(pub(crate) Node);

impl TrainDecl {
    /// A declaration that says exactly this. Fails where the training cannot be written as JSON (a number that
    /// is not finite).
    pub fn new(training: &Training) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&serde_json::to_string(training)?).map(Self)
    }

    /// What stands in the file.
    pub fn to_value(&self) -> Value {
        self.0.to_value()
    }
}

impl JsonSchema for TrainDecl {
    fn schema_name() -> Cow<'static, str> {
        "Train".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let settings = SchemaSettings::draft2020_12().with(|s| {
            s.inline_subschemas = true;
            s.meta_schema = None;
        });
        let mut value = settings.into_generator().into_root_schema_for::<Training>().to_value();
        if let Some(map) = value.as_object_mut() {
            map.remove("title");
        }
        admit_templates(&mut value, true);
        Schema::try_from(value).unwrap_or_default()
    }
}

/// Lets a text with `${…}` stand wherever the schema wants something that is not text.
fn admit_templates(schema: &mut Value, root: bool) {
    let Some(map) = schema.as_object_mut() else { return };
    for key in ["properties", "patternProperties"] {
        if let Some(children) = map.get_mut(key).and_then(Value::as_object_mut) {
            children.values_mut().for_each(|child| admit_templates(child, false));
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = map.get_mut(key) {
            admit_templates(child, false);
        }
    }
    let any_text = map.get("type").is_some_and(|t| t == "string") && !map.contains_key("enum");
    if root || any_text || map.is_empty() {
        return;
    }
    let mut outer = serde_json::Map::new();
    for key in ["description", "default"] {
        if let Some(value) = map.remove(key) {
            outer.insert(key.to_owned(), value);
        }
    }
    let inner = std::mem::take(map);
    outer.insert("anyOf".to_owned(), json!([inner, template_schema()]));
    *map = outer;
}
