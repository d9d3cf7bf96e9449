//! Searches over logged models. The token of a page holds what was asked for, so that it cannot go on with another
//! question.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tidemill_db::logged_models::{
    DatasetName, LoggedModel, LoggedModelOrder, LoggedModelQuery, LoggedModelStatus,
};
use tidemill_db::search::{Condition, Field, Operand};

use crate::models::Found;
use crate::validate::experiment_id;
use crate::{Error, Registry, Result, filter};

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedModelSearch {
    /// Numbers of experiments, as text.
    pub experiments: Vec<String>,
    /// Conditions, as text.
    pub filter: String,
    /// Datasets, whose names must not be empty.
    pub datasets: Vec<DatasetName>,
    /// The order.
    pub order: Vec<SearchOrder>,
    /// The size of a page.
    pub limit: Option<i64>,
    /// Where the page begins.
    pub token: Option<String>,
}

/// A key of the order, as clients write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchOrder {
    /// An attribute, or `metrics.NAME`.
    pub field_name: String,
    /// Whether the least comes first.
    #[serde(default)]
    pub ascending: bool,
    /// Only values on a dataset of this name count.
    #[serde(default)]
    pub dataset_name: Option<String>,
    /// Only values on a dataset of this digest count.
    #[serde(default)]
    pub dataset_digest: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(default)]
    experiment_ids: Option<Vec<String>>,
    #[serde(default)]
    filter_string: Option<String>,
    #[serde(default)]
    order_by: Option<Vec<SearchOrder>>,
    #[serde(default)]
    offset: u64,
}

/// The usual page.
const PAGE: i64 = 50;
/// The largest page.
const LARGEST: i64 = 50_000;

impl Registry {
    /// Logged models that a filter finds, by default the newest first.
    pub async fn search_logged_models(&self, search: &LoggedModelSearch) -> Result<Found<LoggedModel>> {
        if search.datasets.iter().any(|dataset| dataset.name.is_empty()) {
            return Err(Error::invalid("`dataset_name` in the `datasets` clause must be specified."));
        }
        let offset = match search.token.as_deref().filter(|token| !token.is_empty()) {
            Some(token) => read_token(token, search)?,
            None => 0,
        };
        let limit = search.limit.filter(|limit| *limit != 0).unwrap_or(PAGE);
        let size = usize::try_from(limit).ok().filter(|size| *size > 0 && limit <= LARGEST);
        let size = size.ok_or_else(|| {
            Error::invalid(format!(
                "Invalid value {limit} for parameter 'max_results' supplied. It must be between 1 and {LARGEST}"
            ))
        })?;
        let mut conditions = filter::logged_models(&search.filter)?;
        conditions.iter_mut().for_each(full_status);
        let experiments =
            search.experiments.iter().map(|id| experiment_id(id)).collect::<Result<Vec<_>>>()?;
        let query = LoggedModelQuery {
            experiments,
            conditions,
            datasets: search.datasets.clone(),
            order: search.order.iter().map(read_order).collect::<Result<_>>()?,
            offset,
            limit: size + 1,
        };
        let mut items = self.db.search_logged_models(&query).await?;
        let more = items.len() > size;
        items.truncate(size);
        Ok(Found { items, next: more.then(|| write_token(search, offset + size as u64)) })
    }
}

fn read_order(order: &SearchOrder) -> Result<LoggedModelOrder> {
    Ok(LoggedModelOrder {
        field: filter::order_logged_models(&order.field_name)?,
        descending: !order.ascending,
        dataset_name: order.dataset_name.clone(),
        dataset_digest: order.dataset_digest.clone(),
    })
}

/// Statuses may be written without the words that all of them begin with, as the client's own names are.
fn full_status(condition: &mut Condition) {
    if !matches!(&condition.field, Field::Attribute(name) if name == "status") {
        return;
    }
    let full = |text: &mut String| {
        let word = format!("LOGGED_MODEL_{text}");
        if LoggedModelStatus::from_word(&word).is_some() {
            *text = word;
        }
    };
    match &mut condition.value {
        Operand::Text(text) => full(text),
        Operand::List(texts) => texts.iter_mut().for_each(full),
        Operand::Nothing | Operand::Number(_) => {}
    }
}

fn write_token(search: &LoggedModelSearch, offset: u64) -> String {
    let token = Token {
        experiment_ids: Some(search.experiments.clone()),
        filter_string: Some(search.filter.clone()).filter(|text| !text.is_empty()),
        order_by: Some(search.order.clone()).filter(|order| !order.is_empty()),
        offset,
    };
    STANDARD.encode(serde_json::to_string(&token).unwrap_or_default())
}

fn read_token(text: &str, search: &LoggedModelSearch) -> Result<u64> {
    let bytes =
        STANDARD.decode(text).map_err(|_| Error::invalid("Invalid page token, could not base64-decode"))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|error| {
        Error::invalid(format!("Invalid page token: {}. {error}", String::from_utf8_lossy(&bytes)))
    })?;
    let differs = |what: &str, same: &str| {
        Error::invalid(format!("{what} in the page token do not match the requested {same}."))
    };
    if token.experiment_ids.as_ref() != Some(&search.experiments) {
        return Err(differs("Experiment IDs", "experiment IDs"));
    }
    if token.filter_string.unwrap_or_default() != search.filter {
        return Err(Error::invalid(
            "Filter string in the page token does not match the requested filter string.",
        ));
    }
    if token.order_by.unwrap_or_default() != search.order {
        return Err(Error::invalid("Order by in the page token does not match the requested order by."));
    }
    Ok(token.offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search() -> LoggedModelSearch {
        let order = SearchOrder {
            field_name: "name".to_owned(),
            ascending: true,
            dataset_name: None,
            dataset_digest: None,
        };
        LoggedModelSearch {
            experiments: vec!["1".to_owned()],
            filter: "name = 'a'".to_owned(),
            order: vec![order],
            ..LoggedModelSearch::default()
        }
    }

    #[test]
    fn a_token_goes_on_with_its_own_question_only() {
        let token = write_token(&search(), 50);
        assert_eq!(read_token(&token, &search()).unwrap(), 50);
        let others = [
            LoggedModelSearch { experiments: vec!["2".to_owned()], ..search() },
            LoggedModelSearch { filter: String::new(), ..search() },
            LoggedModelSearch { order: Vec::new(), ..search() },
        ];
        for other in others {
            let message = read_token(&token, &other).unwrap_err().message;
            assert!(message.contains("in the page token do"), "{message}");
        }
        for bad in ["zzz", "e30x"] {
            assert!(read_token(bad, &search()).unwrap_err().message.starts_with("Invalid page token"));
        }
        // As MLflow itself writes it.
        let of_mlflow = "eyJleHBlcmltZW50X2lkcyI6IFsiMSJdLCAiZmlsdGVyX3N0cmluZyI6IG51bGwsICJvcmRlcl9ieSI6IG51bGwsICJvZmZz\
                         ZXQiOiAxfQ==";
        let plain = LoggedModelSearch { experiments: vec!["1".to_owned()], ..LoggedModelSearch::default() };
        assert_eq!(read_token(of_mlflow, &plain).unwrap(), 1);
    }

    #[test]
    fn statuses_are_written_out() {
        for (text, stored) in [
            ("status = 'READY'", "LOGGED_MODEL_READY"),
            ("status = 'LOGGED_MODEL_PENDING'", "LOGGED_MODEL_PENDING"),
            ("status = 'other'", "other"),
            ("name = 'READY'", "READY"),
        ] {
            let mut conditions = filter::logged_models(text).unwrap();
            full_status(&mut conditions[0]);
            assert_eq!(conditions[0].value, Operand::Text(stored.to_owned()), "{text}");
        }
    }
}
