//! Which fields were asked for, checked against the types and bounded, and the answer made of just those.

use serde_json::{Map, Value, json};

use super::parse::{Directive, Document, Field, Operation, Selection};
use super::schema::{Kind, Type};

/// The deepest selection, and the most fields of a document, fragments counted each time they are used.
const DEPTH: usize = 10;
const FIELDS: usize = 1000;

/// A field that was asked for, with everything that was asked of it.
#[derive(Debug)]
pub(super) struct Asked {
    /// What it is called in the answer.
    pub(super) key: String,
    pub(super) name: String,
    /// Arguments with variables put in.
    pub(super) arguments: Map<String, Value>,
    kind: AskedKind,
    pub(super) inner: Vec<Asked>,
}

#[derive(Debug)]
enum AskedKind {
    /// `__typename`.
    TypeName(&'static str),
    Data(Kind),
}

impl Asked {
    /// Whether a field of this one was asked for.
    pub(super) fn asks(&self, name: &str) -> Option<&Self> {
        self.inner.iter().find(|field| field.name == name)
    }
}

/// What an operation asks for.
pub(super) fn collect(
    document: &Document,
    operation: &Operation,
    on: &'static Type,
    variables: &Map<String, Value>,
) -> Result<Vec<Asked>, String> {
    let mut collector = Collector { document, variables, fields: 0, open: Vec::new() };
    let mut found = Vec::new();
    collector.selections(&operation.selections, on, 1, &mut found)?;
    Ok(found)
}

struct Collector<'a> {
    document: &'a Document,
    variables: &'a Map<String, Value>,
    fields: usize,
    /// Fragments that are being spread: one inside of itself has no end.
    open: Vec<&'a str>,
}

impl<'a> Collector<'a> {
    fn selections(
        &mut self,
        selections: &'a [Selection],
        on: &'static Type,
        depth: usize,
        found: &mut Vec<Asked>,
    ) -> Result<(), String> {
        if depth > DEPTH {
            return Err(format!("Query exceeds maximum depth of {DEPTH}"));
        }
        for selection in selections {
            self.fields += 1;
            if self.fields > FIELDS {
                return Err(format!("Query exceeds maximum total selections of {FIELDS}"));
            }
            match selection {
                Selection::Field(field) if self.is_wanted(&field.directives) => {
                    self.field(field, on, depth, found)?;
                }
                Selection::Inline(of, directives, inner) if self.is_wanted(directives) => {
                    if of.as_deref().is_none_or(|of| of == on.name) {
                        self.selections(inner, on, depth, found)?;
                    }
                }
                Selection::Spread(name, directives) if self.is_wanted(directives) => {
                    let fragment = self.document.fragments.get(name);
                    let fragment = fragment.ok_or_else(|| format!("Unknown fragment '{name}'."))?;
                    if self.open.contains(&name.as_str()) {
                        return Err(format!("Cannot spread fragment '{name}' within itself."));
                    }
                    if fragment.on == on.name {
                        self.open.push(name);
                        self.selections(&fragment.selections, on, depth, found)?;
                        self.open.pop();
                    }
                }
                Selection::Field(_) | Selection::Inline(..) | Selection::Spread(..) => {}
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &'a Field,
        on: &'static Type,
        depth: usize,
        found: &mut Vec<Asked>,
    ) -> Result<(), String> {
        let name = field.name.as_str();
        let key = field.alias.as_deref().unwrap_or(name);
        let kind = match name {
            "__typename" => AskedKind::TypeName(on.name),
            _ => AskedKind::Data(
                on.kind(name).ok_or_else(|| format!("Cannot query field '{name}' on type '{}'.", on.name))?,
            ),
        };
        let arguments: Map<_, _> = field
            .arguments
            .iter()
            .map(|(name, value)| (name.clone(), value.resolve(self.variables)))
            .collect();
        // The same field twice is one field that asks for more.
        let place = match found.iter().position(|asked| asked.key == key) {
            Some(place) if found[place].name != name || found[place].arguments != arguments => {
                return Err(format!("Fields '{key}' conflict; use different aliases."));
            }
            Some(place) => place,
            None => {
                found.push(Asked {
                    key: key.to_owned(),
                    name: name.to_owned(),
                    arguments,
                    kind,
                    inner: Vec::new(),
                });
                found.len() - 1
            }
        };
        let of = match &found[place].kind {
            AskedKind::Data(Kind::One(of) | Kind::Many(of)) => Some(*of),
            _ => None,
        };
        match of {
            Some(_) if field.selections.is_empty() => {
                Err(format!("Field '{name}' must have a selection of subfields."))
            }
            None if !field.selections.is_empty() => {
                Err(format!("Field '{name}' must not have a selection of subfields."))
            }
            None => Ok(()),
            Some(of) => self.selections(&field.selections, of, depth + 1, &mut found[place].inner),
        }
    }

    /// `@include` and `@skip`; others, as clients have their own, say nothing to us.
    fn is_wanted(&self, directives: &[Directive]) -> bool {
        directives.iter().all(|directive| {
            let condition = directive.arguments.iter().find(|(name, _)| name == "if");
            let condition = condition.map(|(_, value)| value.resolve(self.variables) == Value::Bool(true));
            match directive.name.as_str() {
                "include" => condition.unwrap_or(true),
                "skip" => !condition.unwrap_or(false),
                _ => true,
            }
        })
    }
}

/// The part of `data` (our own JSON) that was asked for.
pub(super) fn select(asked: &[Asked], data: &Value) -> Value {
    asked.iter().map(|field| (field.key.clone(), show(field, data))).collect::<Map<_, _>>().into()
}

fn show(field: &Asked, data: &Value) -> Value {
    let kind = match field.kind {
        AskedKind::TypeName(name) => return json!(name),
        AskedKind::Data(kind) => kind,
    };
    let value = data.get(snake(&field.name));
    match (kind, value) {
        (Kind::Many(_), Some(Value::Array(items))) => {
            items.iter().map(|item| select(&field.inner, item)).collect()
        }
        // What is empty is left out of our JSON.
        (Kind::Many(_), _) => json!([]),
        (Kind::One(_), Some(value @ Value::Object(_))) => select(&field.inner, value),
        (Kind::Long, Some(Value::Number(number))) => json!(number.to_string()),
        (Kind::Float, Some(Value::String(_))) => Value::Null,
        (_, value) => value.cloned().unwrap_or_default(),
    }
}

/// `experimentId` is `experiment_id` in our JSON.
fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::super::schema::RUN;
    use super::*;

    fn run(query: &str, variables: Value) -> Result<Value, String> {
        let document = parse(query)?;
        let variables = variables.as_object().cloned().unwrap_or_default();
        let asked = collect(&document, &document.operations[0], &RUN, &variables)?;
        let data = json!({
            "info": {"run_id": "r1", "run_name": "calm-tide-7", "start_time": 1_700_000_000_000_i64, "end_time": null},
            "data": {"metrics": [
                {"key": "loss", "value": 0.5, "step": 3, "timestamp": 9},
                {"key": "bad", "value": "NaN", "step": 0, "timestamp": 0},
            ]},
        });
        Ok(select(&asked, &data))
    }

    #[test]
    fn fields_aliases_fragments_and_directives() {
        let found = run(
            "query Q($no: Boolean) @component(name: \"x\") {
                __typename
                id: info { __typename runId }
                ...Times
                ... on MlflowRunExtension { data { metrics { key value step } } }
                ... on Other { nonsense }
                outputs { modelOutputs { step } }
                modelVersions { name }
                data { params { key } metrics { timestamp } }
                experiment @include(if: $no) { name }
                inputs @skip(if: true) { modelInputs { modelId } }
            }
            fragment Times on MlflowRunExtension { info { startTime endTime } }",
            json!({"no": false}),
        );
        assert_eq!(
            found.unwrap(),
            json!({
                "__typename": "MlflowRunExtension",
                "id": {"__typename": "MlflowRunInfo", "runId": "r1"},
                "info": {"startTime": "1700000000000", "endTime": null},
                "data": {
                    "metrics": [
                        {"key": "loss", "value": 0.5, "step": "3", "timestamp": "9"},
                        {"key": "bad", "value": null, "step": "0", "timestamp": "0"},
                    ],
                    "params": [],
                },
                "outputs": null,
                "modelVersions": [],
            })
        );
    }

    #[test]
    fn what_is_refused() {
        let deep = |n: usize| format!("{{ info {{ {} }} }}", "... { ".repeat(n) + "runId" + &" }".repeat(n));
        assert!(run(&deep(20), json!({})).is_ok(), "inline fragments do not deepen the answer");
        let wide: String = (0..1001).map(|i| format!("a{i}: __typename ")).collect();
        for (query, error) in [
            ("{ nonsense }".to_owned(), "Cannot query field 'nonsense' on type 'MlflowRunExtension'."),
            ("{ info }".to_owned(), "Field 'info' must have a selection of subfields."),
            ("{ info { runId { x } } }".to_owned(), "Field 'runId' must not have a selection of subfields."),
            ("{ ...F }".to_owned(), "Unknown fragment 'F'."),
            (
                "{ ...F } fragment F on MlflowRunExtension { ...F }".to_owned(),
                "Cannot spread fragment 'F' within itself.",
            ),
            (
                "{ a: info { runId } a: data { params { key } } }".to_owned(),
                "Fields 'a' conflict; use different aliases.",
            ),
            (format!("{{ {wide} }}"), "Query exceeds maximum total selections of 1000"),
        ] {
            assert_eq!(run(&query, json!({})).unwrap_err(), error, "{query}");
        }
    }

    #[test]
    fn fragments_of_fragments_cannot_explode() {
        let mut text = "{ ...F0 }".to_owned();
        for i in 0..30 {
            let next = i + 1;
            text += &format!(" fragment F{i} on MlflowRunExtension {{ ...F{next} ...F{next} }}");
        }
        text += " fragment F30 on MlflowRunExtension { __typename }";
        assert_eq!(run(&text, json!({})).unwrap_err(), "Query exceeds maximum total selections of 1000");
    }
}
