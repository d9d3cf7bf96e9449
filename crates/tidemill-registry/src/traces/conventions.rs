//! Names of span attributes in the conventions that people use, and MLflow's names for the same: OpenTelemetry's for
//! generative AI, those of OpenInference and of OpenLLMetry.

use serde_json::{Map, Value};
use tidemill_db::traces::{COST_NAMES, TOKEN_NAMES, Usage};

pub(super) const KIND: &str = "mlflow.spanType";
pub(super) const INPUTS: &str = "mlflow.spanInputs";
pub(super) const OUTPUTS: &str = "mlflow.spanOutputs";
pub(super) const MODEL: &str = "mlflow.llm.model";
pub(super) const PROVIDER: &str = "mlflow.llm.provider";
pub(super) const TOKENS: &str = "mlflow.chat.tokenUsage";
pub(super) const COST: &str = "mlflow.llm.cost";

/// Attribute, its value, and the kind of span that it means.
const KINDS: &[(&str, &str, &str)] = &[
    ("openinference.span.kind", "TOOL", "TOOL"),
    ("openinference.span.kind", "CHAIN", "CHAIN"),
    ("openinference.span.kind", "LLM", "LLM"),
    ("openinference.span.kind", "RETRIEVER", "RETRIEVER"),
    ("openinference.span.kind", "EMBEDDING", "EMBEDDING"),
    ("openinference.span.kind", "AGENT", "AGENT"),
    ("openinference.span.kind", "RERANKER", "RERANKER"),
    ("openinference.span.kind", "GUARDRAIL", "GUARDRAIL"),
    ("openinference.span.kind", "EVALUATOR", "EVALUATOR"),
    ("gen_ai.operation.name", "chat", "CHAT_MODEL"),
    ("gen_ai.operation.name", "create_agent", "AGENT"),
    ("gen_ai.operation.name", "invoke_agent", "AGENT"),
    ("gen_ai.operation.name", "embeddings", "EMBEDDING"),
    ("gen_ai.operation.name", "execute_tool", "TOOL"),
    ("gen_ai.operation.name", "generate_content", "LLM"),
    ("gen_ai.operation.name", "text_completion", "LLM"),
    ("traceloop.span.kind", "workflow", "WORKFLOW"),
    ("traceloop.span.kind", "task", "TASK"),
    ("traceloop.span.kind", "agent", "AGENT"),
    ("traceloop.span.kind", "tool", "TOOL"),
];
const INPUT_NAMES: &[&str] =
    &["input.value", "gen_ai.input.messages", "gen_ai.tool.call.arguments", "traceloop.entity.input"];
const OUTPUT_NAMES: &[&str] =
    &["output.value", "gen_ai.output.messages", "gen_ai.tool.call.result", "traceloop.entity.output"];
const MODEL_NAMES: &[&str] =
    &["llm.model_name", "embedding.model_name", "gen_ai.response.model", "gen_ai.request.model"];
const PROVIDER_NAMES: &[&str] = &["llm.provider", "gen_ai.provider.name", "gen_ai.system"];
/// In the order of [`TOKEN_NAMES`].
const TOKEN_SOURCES: [&[&str]; 5] = [
    &["llm.token_count.prompt", "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"],
    &["llm.token_count.completion", "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"],
    &["llm.token_count.total", "llm.usage.total_tokens"],
    &["llm.token_count.prompt_details.cache_read", "gen_ai.usage.cache_read.input_tokens"],
    &[
        "llm.token_count.prompt_details.cache_write",
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
    ],
];

/// Adds MLflow's attributes where others say the same. What is there already stays.
pub(super) fn translate(attributes: &mut Map<String, Value>) {
    let kind = attributes.get(KIND).and_then(Value::as_str);
    if matches!(kind, None | Some("UNKNOWN"))
        && let Some((_, _, kind)) = KINDS.iter().find(|(key, word, _)| {
            attributes.get(*key).and_then(Value::as_str).is_some_and(|value| value == *word)
        })
    {
        attributes.insert(KIND.to_owned(), Value::from(*kind));
    }
    for (to, names) in
        [(INPUTS, INPUT_NAMES), (OUTPUTS, OUTPUT_NAMES), (MODEL, MODEL_NAMES), (PROVIDER, PROVIDER_NAMES)]
    {
        let Some(value) = first(attributes, names) else { continue };
        // Inputs and outputs are often JSON in a text.
        let value = match value {
            Value::String(text) if matches!(to, INPUTS | OUTPUTS) => {
                serde_json::from_str(text).unwrap_or_else(|_| value.clone())
            }
            other => other.clone(),
        };
        attributes.entry(to).or_insert(value);
    }
    if !attributes.contains_key(MODEL) {
        let named = [INPUTS, OUTPUTS].into_iter().find_map(|key| {
            attributes
                .get(key)
                .and_then(|value| value.get("model"))
                .and_then(Value::as_str)
                .map(str::to_owned)
        });
        if let Some(model) = named {
            attributes.insert(MODEL.to_owned(), Value::from(model));
        }
    }
    if !attributes.contains_key(TOKENS) {
        let mut counts = TOKEN_SOURCES.map(|names| first(attributes, names).and_then(count));
        counts[2] = counts[2].or_else(|| counts[0]?.checked_add(counts[1]?));
        if counts[..3].iter().any(Option::is_some) {
            let usage: Map<String, Value> = TOKEN_NAMES
                .iter()
                .zip(counts)
                .filter_map(|(name, count)| Some(((*name).to_owned(), Value::from(count?))))
                .collect();
            attributes.insert(TOKENS.to_owned(), Value::Object(usage));
        }
    }
}

/// What a span used, as its attributes say.
pub(super) fn usage(attributes: &Map<String, Value>) -> Usage {
    usage_of(attributes.get(TOKENS), attributes.get(COST))
}

/// What was used, from objects or from their JSON text.
pub(crate) fn usage_of(tokens: Option<&Value>, costs: Option<&Value>) -> Usage {
    let object = |value: Option<&Value>| match value {
        Some(Value::Object(object)) => object.clone(),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => Map::new(),
    };
    let (tokens, costs) = (object(tokens), object(costs));
    Usage {
        tokens: TOKEN_NAMES.map(|name| tokens.get(name).and_then(count)),
        costs: COST_NAMES.map(|name| costs.get(name).and_then(Value::as_f64).filter(|cost| cost.is_finite())),
    }
}

fn first<'a>(attributes: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| attributes.get(*name))
}

fn count(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn translated(attributes: Value) -> Value {
        let Value::Object(mut attributes) = attributes else { return Value::Null };
        let before: Vec<String> = attributes.keys().cloned().collect();
        translate(&mut attributes);
        before.iter().for_each(|key| drop(attributes.remove(key)));
        Value::Object(attributes)
    }

    #[test]
    fn names_of_other_conventions_are_understood() {
        let cases = [
            (json!({"x": 1}), json!({})),
            (
                json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.system": "p",
                    "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": "4"}),
                json!({KIND: "CHAT_MODEL", MODEL: "m", PROVIDER: "p",
                    TOKENS: {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}}),
            ),
            (
                json!({"openinference.span.kind": "RETRIEVER", "input.value": "{\"q\": 1}", "output.value": "text",
                    "llm.token_count.total": 9.0}),
                json!({KIND: "RETRIEVER", INPUTS: {"q": 1}, OUTPUTS: "text", TOKENS: {"total_tokens": 9}}),
            ),
            (json!({INPUTS: {"model": "inside"}}), json!({MODEL: "inside"})),
            (json!({KIND: "AGENT", "traceloop.span.kind": "tool"}), json!({})),
        ];
        for (given, expected) in cases {
            assert_eq!(translated(given.clone()), expected, "{given}");
        }
    }

    #[test]
    fn only_whole_finite_numbers_count() {
        let usage = usage_of(
            Some(&json!({"input_tokens": 1.5, "output_tokens": 2, "total_tokens": true})),
            Some(&json!("{\"input_cost\": 0.25, \"total_cost\": \"x\"}")),
        );
        assert_eq!(usage.tokens, [None, Some(2), None, None, None, None]);
        assert_eq!(usage.costs, [Some(0.25), None, None]);
    }
}
