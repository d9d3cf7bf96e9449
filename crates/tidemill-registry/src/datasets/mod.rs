//! Evaluation datasets: what a model or an agent is asked, and what it should answer.

mod records;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tidemill_core::{Actor, EventKind, Timestamp, hex};
use tidemill_db::evaluation::{EvaluationDataset, EvaluationQuery, EvaluationRecord};
use tidemill_db::search::{Field, OrderBy};
use tidemill_db::tracking::KeyValue;

use crate::filter;
use crate::traces::random_hex;
use crate::{Error, Registry, Result, validate};

/// The tag that says who made something.
const USER_TAG: &str = "mlflow.user";

/// One page of datasets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDatasets {
    /// In order.
    pub datasets: Vec<EvaluationDataset>,
    /// What gives the next page, if there is one.
    pub next: Option<String>,
}

/// One page of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRecords {
    /// By time.
    pub records: Vec<EvaluationRecord>,
    /// What gives the next page, if there is one.
    pub next: Option<String>,
}

impl Registry {
    /// Makes a dataset. Others may have the same name.
    pub async fn create_evaluation_dataset(
        &self,
        name: &str,
        experiments: &[String],
        tags: Vec<KeyValue>,
        actor: &Actor,
    ) -> Result<EvaluationDataset> {
        if name.is_empty() || name.chars().count() > 255 {
            return Err(Error::invalid("The name of a dataset must have between 1 and 255 characters."));
        }
        let experiments = numbers(experiments)?;
        let now = self.clock.now();
        let user = user_of(&tags);
        let dataset = EvaluationDataset {
            id: format!("d-{}", random_hex()?),
            name: name.to_owned(),
            digest: digest(name, now),
            created_at: now,
            updated_at: now,
            created_by: user.clone(),
            updated_by: user,
            tags,
            ..EvaluationDataset::default()
        };
        let mut tx = self.db.begin().await?;
        tx.put_evaluation_dataset(&dataset).await?;
        tx.link_evaluation(&dataset.id, &experiments, true).await.map_err(no_experiment)?;
        tx.commit(vec![self.evaluation_event(actor, &dataset.id, "created")]).await?;
        Ok(dataset)
    }

    /// A dataset.
    pub async fn evaluation_dataset(&self, id: &str) -> Result<EvaluationDataset> {
        self.db
            .evaluation_dataset(id)
            .await?
            .ok_or_else(|| Error::missing(format!("Evaluation dataset with id '{id}' not found")))
    }

    /// The experiments of a dataset.
    pub async fn evaluation_experiments(&self, id: &str) -> Result<Vec<i64>> {
        Ok(self.db.evaluation_experiments(id).await?)
    }

    /// One page of the datasets that a filter finds; of all experiments where none is given.
    pub async fn search_evaluation_datasets(
        &self,
        experiments: &[String],
        filter: &str,
        order: &[String],
        limit: i64,
        token: Option<&str>,
    ) -> Result<FoundDatasets> {
        let limit = positive(limit)?;
        let mut order = filter::order_evaluation_datasets(order)?;
        if order.is_empty() {
            order.push(OrderBy { field: Field::Attribute("created_time".to_owned()), descending: true });
        }
        let after = token.filter(|token| !token.is_empty()).map(read_token).transpose()?;
        let query = EvaluationQuery {
            experiments: numbers(experiments)?,
            conditions: filter::evaluation_datasets(filter)?,
            order,
            after,
            limit: limit + 1,
        };
        let mut datasets = self.db.search_evaluation_datasets(&query).await?;
        let more = datasets.len() > limit;
        datasets.truncate(limit);
        let next = datasets.last().filter(|_| more).map(|last| STANDARD.encode(&last.id));
        Ok(FoundDatasets { datasets, next })
    }

    /// Sets tags of a dataset.
    pub async fn set_evaluation_tags(&self, id: &str, tags: Vec<KeyValue>, actor: &Actor) -> Result<()> {
        let mut tx = self.db.begin().await?;
        let found = tx.evaluation_dataset(id).await?;
        let mut dataset =
            found.ok_or_else(|| Error::missing(format!("Could not find evaluation dataset with ID {id}")))?;
        dataset.tags = tags;
        tx.put_evaluation_dataset(&dataset).await?;
        tx.commit(vec![self.evaluation_event(actor, id, "updated")]).await?;
        Ok(())
    }

    /// Removes a tag of a dataset, where it is there.
    pub async fn delete_evaluation_tag(&self, id: &str, key: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.db.begin().await?;
        if tx.delete_evaluation_tag(id, key).await? {
            tx.commit(vec![self.evaluation_event(actor, id, "updated")]).await?;
        }
        Ok(())
    }

    /// Removes a dataset with its records, where it is there.
    pub async fn delete_evaluation_dataset(&self, id: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.db.begin().await?;
        if tx.delete_evaluation_dataset(id).await? {
            tx.commit(vec![self.evaluation_event(actor, id, "deleted")]).await?;
        }
        Ok(())
    }

    /// Adds a dataset to experiments, or takes it out of them.
    pub async fn link_evaluation(
        &self,
        id: &str,
        experiments: &[String],
        there: bool,
        actor: &Actor,
    ) -> Result<EvaluationDataset> {
        let experiments = numbers(experiments)?;
        let mut tx = self.db.begin().await?;
        let found = tx.evaluation_dataset(id).await?;
        let mut dataset = found.ok_or_else(|| Error::missing(format!("Dataset '{id}' not found")))?;
        dataset.updated_at = self.clock.now();
        tx.put_evaluation_dataset(&dataset).await?;
        tx.link_evaluation(id, &experiments, there).await.map_err(no_experiment)?;
        tx.commit(vec![self.evaluation_event(actor, id, "updated")]).await?;
        Ok(dataset)
    }

    /// One page of the records of a dataset.
    pub async fn evaluation_records(
        &self,
        id: &str,
        limit: i64,
        token: Option<&str>,
    ) -> Result<FoundRecords> {
        let limit = positive(limit)?;
        let after = match token.filter(|token| !token.is_empty()) {
            None => None,
            Some(token) => {
                let text = read_token(token)?;
                let parts = text.split_once(':').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
                let (at, id) = parts.ok_or_else(bad_token)?;
                Some((Timestamp::from_millis(at), id))
            }
        };
        let after = after.as_ref().map(|(at, id)| (*at, id.as_str()));
        let mut records = self.db.evaluation_records(id, after, limit + 1).await?;
        let more = records.len() > limit;
        records.truncate(limit);
        let token =
            |last: &EvaluationRecord| STANDARD.encode(format!("{}:{}", last.created_at.millis(), last.id));
        let next = records.last().filter(|_| more).map(token);
        Ok(FoundRecords { records, next })
    }

    fn evaluation_event(&self, actor: &Actor, dataset: &str, change: &str) -> tidemill_core::NewEvent {
        let kind =
            EventKind::EvaluationDatasetChanged { dataset: dataset.to_owned(), change: change.to_owned() };
        self.event(actor, kind)
    }
}

/// Changes whenever the dataset's content may have.
fn digest(name: &str, at: Timestamp) -> String {
    let hash = Sha256::digest(format!("{name}:{}", at.millis()).as_bytes());
    hex(&hash[..4])
}

fn user_of(tags: &[KeyValue]) -> Option<String> {
    tags.iter().find(|tag| tag.key == USER_TAG).map(|tag| tag.value.clone())
}

fn numbers(experiments: &[String]) -> Result<Vec<i64>> {
    experiments.iter().map(|id| validate::experiment_id(id)).collect()
}

fn no_experiment(error: tidemill_db::Error) -> Error {
    match error {
        tidemill_db::Error::NotFound { what: "experiment", name } => {
            Error::missing(format!("No Experiment with id={name}"))
        }
        other => other.into(),
    }
}

fn positive(limit: i64) -> Result<usize> {
    usize::try_from(limit).ok().filter(|limit| (1..=50_000).contains(limit)).ok_or_else(|| {
        Error::invalid(format!(
            "Invalid value {limit} for parameter 'max_results' supplied. It must be between 1 and 50000"
        ))
    })
}

fn bad_token() -> Error {
    Error::invalid("Invalid page token, could not base64-decode")
}

fn read_token(token: &str) -> Result<String> {
    STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad_token)
}
