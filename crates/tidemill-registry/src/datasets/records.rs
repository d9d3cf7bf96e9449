//! Records of evaluation datasets: what is the same, how a second one of the same inputs is merged.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tidemill_core::{Actor, Timestamp, hex};
use tidemill_db::evaluation::EvaluationRecord;

use crate::datasets::{USER_TAG, digest};
use crate::traces::{random_hex, spaced};
use crate::{Error, Registry, Result};

/// Records that one request may bring.
const MOST: usize = 10_000;

impl Registry {
    /// Adds records to a dataset. One with the inputs of a record that is there is merged into that. Gives how many were
    /// added and how many were merged.
    pub async fn put_evaluation_records(
        &self,
        dataset: &str,
        records: &[Map<String, Value>],
        actor: &Actor,
    ) -> Result<(u64, u64)> {
        if records.len() > MOST {
            return Err(Error::invalid(format!("A request can contain at most {MOST} records.")));
        }
        let now = self.clock.now();
        let hashes: Vec<String> = records.iter().map(input_hash).collect();
        let mut tx = self.db.begin().await?;
        let found = tx.evaluation_dataset(dataset).await?;
        let mut found = found
            .ok_or_else(|| Error::missing(format!("Evaluation dataset with id '{dataset}' not found")))?;
        let there =
            tx.evaluation_records(dataset, &hashes.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let mut known: BTreeMap<String, EvaluationRecord> =
            there.into_iter().map(|record| (record.input_hash.clone(), record)).collect();
        let (mut added, mut merged, mut user) = (0, 0, None);
        for (record, hash) in records.iter().zip(&hashes) {
            user = user_of(record).or(user);
            match known.get_mut(hash) {
                Some(before) => {
                    merge(before, record, now);
                    merged += 1;
                }
                None => {
                    known.insert(hash.clone(), new_record(record, hash, now)?);
                    added += 1;
                }
            }
        }
        let rows: Vec<EvaluationRecord> = known.into_values().collect();
        let count = tx.put_evaluation_records(dataset, &rows).await?;
        found.schema = schema(found.schema.as_deref(), records).or(found.schema);
        found.profile = profile(count).or(found.profile);
        found.digest = digest(&found.name, now);
        found.updated_at = now;
        found.updated_by = user;
        tx.put_evaluation_dataset(&found).await?;
        tx.commit(vec![self.evaluation_event(actor, dataset, "updated")]).await?;
        Ok((added, merged))
    }

    /// Removes records of a dataset; gives how many there were.
    pub async fn delete_evaluation_records(
        &self,
        dataset: &str,
        ids: &[String],
        actor: &Actor,
    ) -> Result<u64> {
        let mut tx = self.db.begin().await?;
        let (removed, left) = tx.delete_evaluation_records(dataset, ids).await?;
        if removed > 0 {
            if let Some(mut found) = tx.evaluation_dataset(dataset).await? {
                found.profile = profile(left);
                tx.put_evaluation_dataset(&found).await?;
            }
            tx.commit(vec![self.evaluation_event(actor, dataset, "updated")]).await?;
        }
        Ok(removed)
    }
}

fn profile(records: u64) -> Option<String> {
    (records > 0).then(|| format!("{{\"num_records\": {records}}}"))
}

/// Tells records apart by their inputs, whatever the order of their keys.
fn input_hash(record: &Map<String, Value>) -> String {
    let inputs = record.get("inputs").map_or_else(|| Value::Object(Map::new()), sorted);
    hex(&Sha256::digest(spaced(&inputs).as_bytes()))
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(fields) => {
            let fields: BTreeMap<&String, &Value> = fields.iter().collect();
            Value::Object(fields.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        other => other.clone(),
    }
}

fn user_of(record: &Map<String, Value>) -> Option<String> {
    record.get("tags")?.get(USER_TAG)?.as_str().map(str::to_owned)
}

fn new_record(record: &Map<String, Value>, hash: &str, now: Timestamp) -> Result<EvaluationRecord> {
    let some = |key: &str| record.get(key).filter(|value| !value.is_null());
    let inputs = match record.get("inputs") {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(inputs @ Value::Object(_)) => spaced(inputs),
        Some(_) => return Err(Error::invalid("The inputs of a record must be an object.")),
    };
    let source = some("source").and_then(Value::as_object);
    let source_text = |key: &str| source?.get(key)?.as_str().map(str::to_owned);
    let source_id =
        source.and_then(|source| source.get("source_data")?.get("trace_id")?.as_str().map(str::to_owned));
    let user = user_of(record);
    Ok(EvaluationRecord {
        id: format!("dr-{}", random_hex()?),
        input_hash: hash.to_owned(),
        inputs,
        // A record without outputs has empty ones.
        outputs: match record.get("outputs") {
            None => Some("{}".to_owned()),
            Some(Value::Null) => None,
            Some(outputs) => Some(spaced(outputs)),
        },
        expectations: some("expectations").map(spaced),
        tags: some("tags").map(spaced),
        source: source.map(spaced),
        source_kind: source_text("source_type").unwrap_or_default(),
        source_id,
        created_at: now,
        updated_at: now,
        created_by: user.clone(),
        updated_by: user,
    })
}

fn merge(before: &mut EvaluationRecord, record: &Map<String, Value>, now: Timestamp) {
    if let Some(outputs) = record.get("outputs") {
        before.outputs = (!outputs.is_null()).then(|| spaced(outputs));
    }
    for (text, key) in [(&mut before.expectations, "expectations"), (&mut before.tags, "tags")] {
        let Some(Value::Object(new)) = record.get(key) else { continue };
        if new.is_empty() {
            continue;
        }
        let old = text.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let mut fields: Map<String, Value> = old.unwrap_or_default();
        fields.extend(new.clone());
        *text = Some(spaced(&fields));
    }
    before.updated_at = now;
    before.updated_by = user_of(record).or(before.updated_by.take());
}

/// What the records look like: the kind of every field that was ever seen.
fn schema(before: Option<&str>, records: &[Map<String, Value>]) -> Option<String> {
    if before.is_none() && records.is_empty() {
        return None;
    }
    let before: Option<Map<String, Value>> = before.and_then(|text| serde_json::from_str(text).ok());
    let mut schema = before.unwrap_or_default();
    for part in ["inputs", "outputs", "expectations"] {
        let mut fields = schema.remove(part).unwrap_or_else(|| Value::Object(Map::new()));
        for value in records.iter().filter_map(|record| record.get(part)).filter(|value| !value.is_null()) {
            match (value, &mut fields) {
                (Value::Object(values), Value::Object(known)) => {
                    for (key, value) in values {
                        known.entry(key.clone()).or_insert_with(|| Value::from(kind(value)));
                    }
                }
                // Outputs may be a single value.
                (Value::Object(_), _) => {}
                (value, Value::Object(known)) if known.is_empty() && part == "outputs" => {
                    fields = Value::from(kind(value));
                }
                _ => {}
            }
        }
        schema.insert(part.to_owned(), fields);
    }
    schema.entry("version").or_insert_with(|| Value::from("1.0"));
    Some(spaced(&schema))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn records_are_told_apart_by_their_inputs() {
        let hash = |value: Value| input_hash(&record(json!({"inputs": value, "outputs": 1})));
        assert_eq!(
            hash(json!({"a": 1, "b": {"c": 2, "d": 3}})),
            hash(json!({"b": {"d": 3, "c": 2}, "a": 1}))
        );
        assert_ne!(hash(json!({"a": 1})), hash(json!({"a": 1.0})));
        assert_eq!(input_hash(&Map::new()), hash(json!({})));
        assert_eq!(hash(json!({})), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    }

    #[test]
    fn a_schema_grows() {
        let first = [record(json!({"inputs": {"q": "a"}, "outputs": {"o": 1.5}, "expectations": {"e": 1}}))];
        let one = schema(None, &first).unwrap();
        let parsed: Value = serde_json::from_str(&one).unwrap();
        let expected = json!({"inputs": {"q": "string"}, "outputs": {"o": "float"}, "expectations": {"e": "integer"},
            "version": "1.0"});
        assert_eq!(parsed, expected);
        let second = [record(json!({"inputs": {"q": 5, "z": [1]}, "outputs": "text", "expectations": null}))];
        let two: Value = serde_json::from_str(&schema(Some(&one), &second).unwrap()).unwrap();
        assert_eq!(two["inputs"], json!({"q": "string", "z": "array"}));
        assert_eq!(two["outputs"], json!({"o": "float"}));
        let single: Value = serde_json::from_str(&schema(None, &second).unwrap()).unwrap();
        assert_eq!(single["outputs"], "string");
        assert_eq!(schema(None, &[]), None);
    }

    #[test]
    fn what_comes_later_is_merged() {
        let now = Timestamp::from_millis;
        let one =
            record(json!({"inputs": {"q": 1}, "expectations": {"a": 1, "b": 2}, "tags": {USER_TAG: "ana"}}));
        let mut row = new_record(&one, "h", now(5)).unwrap();
        assert_eq!((row.outputs.as_deref(), row.created_by.as_deref()), (Some("{}"), Some("ana")));
        let two =
            record(json!({"inputs": {"q": 1}, "outputs": 3, "expectations": {"b": 4}, "tags": {"t": "u"}}));
        merge(&mut row, &two, now(9));
        assert_eq!(row.outputs.as_deref(), Some("3"));
        assert_eq!(row.expectations.as_deref(), Some(r#"{"a": 1, "b": 4}"#));
        assert_eq!((row.created_at, row.updated_at), (now(5), now(9)));
        assert_eq!(row.updated_by.as_deref(), Some("ana"));
        assert!(new_record(&record(json!({"inputs": 1})), "h", now(1)).is_err());
    }
}
