//! The parameters of one fit, by name.

use indexmap::IndexMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidemill_core::declare::{Algorithm, GbdtParams, LinearParams, Training};

use super::Candidate;
use crate::{Error, Result};

/// The parameters of the algorithm that is trained.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameters {
    /// Boosted trees.
    Gbdt(GbdtParams),
    /// Ridge regression.
    Ridge(LinearParams),
    /// Logistic or softmax regression.
    Logistic(LinearParams),
    /// The baseline has none.
    Prior,
}

impl Parameters {
    /// The declared ones, with defaults for what is not given.
    pub fn declared(training: &Training) -> Self {
        let linear = || training.linear.clone().unwrap_or_default();
        match training.algorithm {
            Algorithm::Gbdt => Self::Gbdt(training.gbdt.clone().unwrap_or_default()),
            Algorithm::Ridge => Self::Ridge(linear()),
            Algorithm::Logistic => Self::Logistic(linear()),
            Algorithm::Prior => Self::Prior,
        }
    }

    /// These with the values of a candidate in place of their own.
    ///
    /// # Errors
    /// [`Error::UnknownParameter`] for a name that the algorithm does not have, [`Error::Parameter`] for a value of the
    /// wrong kind. Ranges are checked by the algorithm.
    pub fn with(&self, candidate: &Candidate) -> Result<Self> {
        Ok(match self {
            Self::Gbdt(params) => Self::Gbdt(replaced(params, candidate, self.algorithm())?),
            Self::Ridge(params) => Self::Ridge(replaced(params, candidate, self.algorithm())?),
            Self::Logistic(params) => Self::Logistic(replaced(params, candidate, self.algorithm())?),
            Self::Prior => {
                let Some(parameter) = candidate.keys().next() else { return Ok(Self::Prior) };
                return Err(unknown(parameter, self.algorithm(), Vec::new()));
            }
        })
    }

    /// All of them, sorted by name.
    pub fn to_map(&self) -> IndexMap<String, Value> {
        match self {
            Self::Gbdt(params) => {
                let mut map = map_of(params);
                // Off is a value too; leaving it out would hide that it could be on.
                map.entry("early_stopping".into()).or_insert(Value::Null);
                map.sort_unstable_keys();
                map
            }
            Self::Ridge(params) | Self::Logistic(params) => map_of(params),
            Self::Prior => IndexMap::new(),
        }
    }

    /// The algorithm's name as in the project file.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Gbdt(_) => "gbdt",
            Self::Ridge(_) => "ridge",
            Self::Logistic(_) => "logistic",
            Self::Prior => "prior",
        }
    }
}

fn unknown(parameter: &str, algorithm: &'static str, known: Vec<String>) -> Error {
    Error::UnknownParameter { parameter: parameter.into(), algorithm, known }
}

fn map_of(params: &impl Serialize) -> IndexMap<String, Value> {
    let value = serde_json::to_value(params).unwrap_or_default();
    let mut map: IndexMap<String, Value> = serde_json::from_value(value).unwrap_or_default();
    // The order must not hang on how the JSON library was built.
    map.sort_unstable_keys();
    map
}

fn replaced<P: Serialize + DeserializeOwned>(
    params: &P,
    candidate: &Candidate,
    algorithm: &'static str,
) -> Result<P> {
    let mut map = map_of(params);
    map.entry("early_stopping".into()).or_insert(Value::Null);
    if algorithm != "gbdt" {
        map.shift_remove("early_stopping");
    }
    for (name, value) in candidate {
        if !map.contains_key(name) {
            return Err(unknown(name, algorithm, map.keys().cloned().collect()));
        }
        // One at a time, so that the message can name the parameter.
        map.insert(name.clone(), value.clone());
        let whole = Value::Object(map.iter().map(|(k, v)| (k.clone(), v.clone())).collect());
        if let Err(error) = serde_json::from_value::<P>(whole) {
            return Err(Error::Parameter {
                parameter: name.clone(),
                value: value.to_string(),
                expected: error.to_string(),
            });
        }
    }
    let whole = Value::Object(map.into_iter().collect());
    serde_json::from_value(whole).map_err(|error| Error::Parameter {
        parameter: algorithm.into(),
        value: "given".into(),
        expected: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tidemill_core::Hint;

    fn with(parameters: &Parameters, candidate: Value) -> Result<Parameters> {
        parameters.with(&serde_json::from_value(candidate).unwrap())
    }

    #[test]
    fn a_candidate_replaces_what_it_names() {
        let gbdt = Parameters::Gbdt(GbdtParams::default());
        let changed = with(&gbdt, json!({"learning_rate": 0.05, "early_stopping": 20})).unwrap();
        let expected = GbdtParams { learning_rate: 0.05, early_stopping: Some(20), ..GbdtParams::default() };
        assert_eq!(changed, Parameters::Gbdt(expected));
        assert_eq!(changed.to_map()["early_stopping"], json!(20));
        assert_eq!(gbdt.to_map()["early_stopping"], Value::Null);
    }

    #[test]
    fn names_and_values_that_do_not_fit() {
        let linear = Parameters::Ridge(LinearParams::default());
        let unknown = with(&linear, json!({"l3": 1})).unwrap_err();
        assert_eq!(unknown.to_string(), "`l3` is not a parameter of `ridge`");
        assert_eq!(unknown.hint().unwrap(), "did you mean `l2`?");
        let wrong = with(&linear, json!({"l2": "much"})).unwrap_err().to_string();
        assert!(wrong.starts_with("parameter `l2` is \"much\": invalid type"), "{wrong}");
        assert!(with(&Parameters::Prior, json!({"l2": 1})).is_err());
    }
}
