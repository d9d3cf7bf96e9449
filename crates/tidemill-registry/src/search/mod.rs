//! Searches over runs and experiments, and the datasets that runs read.

pub(crate) mod token;

use tidemill_db::search::{DatasetSummary, ExperimentSearch, FoundRuns, RunSearch};
use tidemill_db::tracking::{Experiment, Run, Stage};

use crate::access::Scope;
use crate::{Error, Registry, Result, filter, validate};

/// The most runs or experiments of one page.
const MOST: i64 = 50_000;
/// The most experiments whose datasets are listed at once.
const DATASET_EXPERIMENTS: usize = 20;
/// The most datasets that are listed.
const DATASETS: usize = 1_000;

/// Which of the deleted and the others are searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Those that are not deleted.
    #[default]
    Active,
    /// Those that are.
    Deleted,
    /// Both.
    All,
}

/// What is asked of a search, as clients write it.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The identifiers of experiments; searches over experiments have none.
    pub experiments: Vec<String>,
    /// A filter, or nothing.
    pub filter: String,
    /// Keys of the order.
    pub order_by: Vec<String>,
    /// With the deleted or without.
    pub view: View,
    /// The most that one page holds.
    pub max_results: i64,
    /// The token that the page before gave, or nothing.
    pub page_token: String,
}

/// A page of what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers<T> {
    /// In order.
    pub items: Vec<T>,
    /// The token of the next page, if there is one.
    pub next_page_token: Option<String>,
}

impl View {
    fn stages(self) -> Vec<Stage> {
        match self {
            Self::Active => vec![Stage::Active],
            Self::Deleted => vec![Stage::Deleted],
            Self::All => vec![Stage::Active, Stage::Deleted],
        }
    }
}

impl Question {
    fn limit(&self) -> Result<usize> {
        let asked = self.max_results;
        if asked < 1 {
            return Err(Error::invalid(format!(
                "Invalid value {asked} for parameter 'max_results' supplied. It must be a positive integer"
            )));
        }
        if asked > MOST {
            return Err(Error::invalid(format!(
                "Invalid value {asked} for parameter 'max_results' supplied. It must be at most {MOST}"
            )));
        }
        Ok(asked as usize)
    }

    fn experiments(&self) -> Result<Vec<i64>> {
        self.experiments.iter().map(|id| validate::experiment_id(id)).collect()
    }

    /// What must stay the same from page to page.
    fn asked(&self, of: &str) -> String {
        let mut experiments = self.experiments.clone();
        experiments.sort_unstable();
        experiments.dedup();
        format!("{of} {experiments:?} {:?} {:?} {:?}", self.filter, self.order_by, self.view)
    }
}

/// What a question about runs means, and what must stay the same from page to page.
fn run_search(question: &Question) -> Result<(RunSearch, String)> {
    let limit = question.limit()?;
    let conditions = filter::runs(&question.filter)?;
    let order = filter::order_runs(&question.order_by)?;
    let asked = question.asked("runs");
    let after = token::decode(&asked, &question.page_token)?;
    let search = RunSearch {
        experiments: question.experiments()?,
        stages: question.view.stages(),
        conditions,
        order,
        limit,
        after,
    };
    Ok((search, asked))
}

impl Registry {
    /// A page of runs.
    pub async fn search_runs(&self, question: &Question) -> Result<Answers<Run>> {
        let (search, asked) = run_search(question)?;
        let page = self.db.search_runs(&search).await?;
        let next_page_token = page.next.map(|place| token::encode(&asked, place)).transpose()?;
        Ok(Answers { items: page.items, next_page_token })
    }

    /// As [`Self::search_runs`], read a part at a time: a page may be long. With the token of the next page.
    pub async fn find_runs(&self, question: &Question) -> Result<(FoundRuns, Option<String>)> {
        let (search, asked) = run_search(question)?;
        let mut found = self.db.find_runs(&search).await?;
        let next = found.next.take().map(|place| token::encode(&asked, place)).transpose()?;
        Ok((found, next))
    }

    /// How many runs a question finds on all of its pages, counted up to `limit`; nothing where that cannot be told cheaply.
    pub async fn count_runs(&self, question: &Question, limit: usize) -> Result<Option<usize>> {
        let (search, _) = run_search(question)?;
        Ok(self.db.count_runs(&search, limit).await?)
    }

    /// A page of experiments.
    pub async fn search_experiments(&self, question: &Question) -> Result<Answers<Experiment>> {
        self.search_experiments_of(question, &Scope::All).await
    }

    /// A page of the experiments that somebody may see.
    pub async fn search_experiments_of(
        &self,
        question: &Question,
        seen: &Scope,
    ) -> Result<Answers<Experiment>> {
        let limit = question.limit()?;
        let mut conditions = filter::experiments(&question.filter)?;
        conditions.extend(seen.condition("experiment_id"));
        let order = filter::order_experiments(&question.order_by)?;
        let asked = question.asked("experiments");
        let after = token::decode(&asked, &question.page_token)?;
        let stages = question.view.stages();
        let search = ExperimentSearch { stages, conditions, order, limit, after };
        let page = self.db.search_experiments(&search).await?;
        let next_page_token = page.next.map(|place| token::encode(&asked, place)).transpose()?;
        Ok(Answers { items: page.items, next_page_token })
    }

    /// The datasets that runs of some experiments read.
    pub async fn search_datasets(&self, experiments: &[String]) -> Result<Vec<DatasetSummary>> {
        if experiments.is_empty() {
            return Err(Error::invalid("SearchDatasets request must specify at least one experiment_id."));
        }
        let count = experiments.len();
        if count > DATASET_EXPERIMENTS {
            return Err(Error::invalid(format!(
                "SearchDatasets request cannot specify more than {DATASET_EXPERIMENTS} experiment_ids. Received {count} \
                 experiment_ids."
            )));
        }
        let ids: Vec<i64> =
            experiments.iter().map(|id| validate::experiment_id(id)).collect::<Result<_>>()?;
        Ok(self.db.dataset_summaries(&ids, DATASETS).await?)
    }
}
