//! Searches over registered models and versions. Prompts are models too, but are found only when asked for.

use tidemill_db::models::{FoundVersions, ModelQuery, ModelVersion, RegisteredModel};
use tidemill_db::search::{Condition, Field, Op, Operand, OrderBy};
use tidemill_db::tracking::KeyValue;

use super::PROMPT_TAG;
use crate::access::ModelScope;
use crate::page::{page_offset, page_token};
use crate::{Error, Registry, Result, filter};

/// The largest page of registered models.
const MODELS: i64 = 1000;
/// The largest page of versions, and the usual one.
const VERSIONS: i64 = 200_000;

/// A page of what was found, and the token of the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// In order.
    pub items: Vec<T>,
    /// Gives the next page, if there is one.
    pub next: Option<String>,
}

impl Registry {
    /// Registered models that a filter finds, by default by name.
    pub async fn search_models(
        &self,
        text: &str,
        order: &[String],
        limit: Option<i64>,
        token: Option<&str>,
    ) -> Result<Found<RegisteredModel>> {
        self.search_models_of(text, order, limit, token, &ModelScope::default()).await
    }

    /// As [`Self::search_models`], of those that somebody may see.
    pub async fn search_models_of(
        &self,
        text: &str,
        order: &[String],
        limit: Option<i64>,
        token: Option<&str>,
        seen: &ModelScope,
    ) -> Result<Found<RegisteredModel>> {
        let limit = limit.unwrap_or(100);
        if limit > MODELS {
            return Err(Error::invalid(format!(
                "Invalid value for request parameter max_results. It must be at most {MODELS}, but got value {limit}"
            )));
        }
        let conditions = filter::registered_models(text)?;
        let query = narrow(query(conditions, filter::order_registered_models(order)?, limit, token)?, seen);
        let found = self.db.search_registered_models(&query).await?;
        Ok(page(found, &query))
    }

    /// How many registered models a filter finds, counted up to `limit`.
    pub async fn count_models(&self, text: &str, limit: u64) -> Result<u64> {
        let query = query(filter::registered_models(text)?, Vec::new(), 1, None)?;
        Ok(self.db.count_registered_models(&query, limit).await?)
    }

    /// Versions that a filter finds, by default the last changed first.
    pub async fn search_versions(
        &self,
        text: &str,
        order: &[String],
        limit: Option<i64>,
        token: Option<&str>,
    ) -> Result<Found<ModelVersion>> {
        let query = versions(text, order, limit, token)?;
        let found = self.db.search_model_versions(&query).await?;
        Ok(page(found, &query))
    }

    /// As [`Self::search_versions`], of models that somebody may see, and read a part at a time: a page may be long. With the
    /// token of the next page.
    pub async fn find_versions(
        &self,
        text: &str,
        order: &[String],
        limit: Option<i64>,
        token: Option<&str>,
        seen: &ModelScope,
    ) -> Result<(FoundVersions, Option<String>)> {
        let mut query = narrow(versions(text, order, limit, token)?, seen);
        query.limit -= 1;
        let found = self.db.find_model_versions(&query).await?;
        let next = found.more.then(|| page_token(query.offset + query.limit as u64));
        Ok((found, next))
    }
}

fn versions(text: &str, order: &[String], limit: Option<i64>, token: Option<&str>) -> Result<ModelQuery> {
    let limit = limit.unwrap_or(VERSIONS);
    if limit < 1 {
        return Err(Error::invalid(format!(
            "Invalid value for max_results. It must be a positive integer, but got {limit}"
        )));
    }
    if limit > VERSIONS {
        return Err(Error::invalid(format!(
            "Invalid value for request parameter max_results. It must be at most {VERSIONS}, but got value {limit}"
        )));
    }
    let conditions = filter::model_versions(text)?;
    let mut order = filter::order_model_versions(order)?;
    if order.is_empty() {
        let field = Field::Attribute("last_updated_timestamp".to_owned());
        order.push(OrderBy { field, descending: true });
    }
    query(conditions, order, limit, token)
}

fn query(
    conditions: Vec<Condition>,
    order: Vec<OrderBy>,
    limit: i64,
    token: Option<&str>,
) -> Result<ModelQuery> {
    let limit = usize::try_from(limit)
        .ok()
        .filter(|limit| *limit > 0)
        .ok_or_else(|| Error::invalid(format!("max_results must be greater than 0, but got {limit}")))?;
    let (conditions, without) = prompts(conditions);
    // One more shows whether there is a next page.
    Ok(ModelQuery { conditions, without, order, offset: page_offset(token)?, limit: limit + 1 })
}

/// A search of what somebody may see.
fn narrow(mut query: ModelQuery, seen: &ModelScope) -> ModelQuery {
    let scope = if query.without.is_some() { &seen.models } else { &seen.prompts };
    query.conditions.extend(scope.condition("name"));
    query
}

/// A filter that asks for prompts finds prompts only; every other one finds none, whatever else it says of the tag.
fn prompts(mut conditions: Vec<Condition>) -> (Vec<Condition>, Option<KeyValue>) {
    let is_mark = |condition: &Condition| matches!(&condition.field, Field::Tag(key) if key == PROMPT_TAG);
    let asked = conditions.iter().find(|condition| is_mark(condition)).is_some_and(|condition| {
        let Operand::Text(value) = &condition.value else { return false };
        match condition.op {
            Op::Eq => value.eq_ignore_ascii_case("true"),
            Op::Ne => value.eq_ignore_ascii_case("false"),
            _ => false,
        }
    });
    if asked {
        return (conditions, None);
    }
    conditions.retain(|condition| !is_mark(condition));
    (conditions, Some(KeyValue { key: PROMPT_TAG.to_owned(), value: "true".to_owned() }))
}

fn page<T>(mut items: Vec<T>, query: &ModelQuery) -> Found<T> {
    let size = query.limit - 1;
    let more = items.len() > size;
    items.truncate(size);
    Found { items, next: more.then(|| page_token(query.offset + size as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_found_only_when_asked_for() {
        let hidden = |text: &str| {
            let (conditions, without) = prompts(filter::registered_models(text).unwrap());
            (conditions.len(), without.is_some())
        };
        assert_eq!(hidden(""), (0, true));
        assert_eq!(hidden("name = 'a'"), (1, true));
        assert_eq!(hidden("tags.`mlflow.prompt.is_prompt` = 'true' AND name = 'a'"), (2, false));
        assert_eq!(hidden("tags.`mlflow.prompt.is_prompt` != 'False'"), (1, false));
        assert_eq!(hidden("tags.`mlflow.prompt.is_prompt` = 'false' AND name = 'a'"), (1, true));
        assert_eq!(hidden("tags.`mlflow.prompt.is_prompt` LIKE 'true'"), (0, true));
    }
}
