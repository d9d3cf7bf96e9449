//! What decisions cost in production, as far as their outcomes are known, beside what they would have cost without a model.

use tidemill_core::Timestamp;
use tidemill_db::Db;
use tidemill_monitor::Evidence;
use tidemill_registry::Error;
use tidemill_ui::{Block, Cell, Facts, moment};

use super::monitoring::windows;
use super::owner::money_text;
use crate::monitoring::declarations;

/// Windows that are summed: a year of days.
const WINDOWS: usize = 366;

/// What is known of the decisions of an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Earned {
    endpoint: String,
    currency: String,
    /// Decisions whose outcome is known.
    decisions: u64,
    /// What they cost, and would have cost had one never or always acted.
    cost: f64,
    never: f64,
    always: f64,
    from: Timestamp,
    to: Timestamp,
}

/// Of every endpoint whose quality is watched and whose project names costs. Windows of a series do not overlap, so each decision
/// counts once.
pub(super) async fn earned(db: &Db) -> Result<Vec<Earned>, Error> {
    let mut all = Vec::new();
    for (_, declaration) in declarations(db).await? {
        let costs = declaration.objective.as_ref().and_then(|objective| objective.costs.as_ref());
        let Some(costs) = costs else { continue };
        let watches = declaration.watches();
        let Some(watch) = watches.iter().find(|watch| watch.alert() == Some("quality")) else { continue };
        let mut sum: Option<Earned> = None;
        for (judged, verdict) in
            windows(db, &[(&declaration.endpoint, &watch.id)], WINDOWS).await?.into_iter().flatten()
        {
            let Some(Evidence::Quality { labelled, cost_per_decision, without, .. }) = verdict.evidence
            else {
                continue;
            };
            let (Some(cost), Some(without)) = (cost_per_decision, without) else { continue };
            let sum = sum.get_or_insert_with(|| Earned {
                endpoint: declaration.endpoint.clone(),
                currency: costs.currency.clone().unwrap_or_else(|| "units".to_owned()),
                decisions: 0,
                cost: 0.0,
                never: 0.0,
                always: 0.0,
                from: judged.made.from,
                to: judged.made.to,
            });
            let rows = labelled as f64;
            sum.decisions += labelled;
            sum.cost += rows * cost;
            sum.never += rows * without.never;
            sum.always += rows * without.always;
            sum.to = judged.made.to;
        }
        all.extend(sum);
    }
    Ok(all)
}

impl Earned {
    /// What was saved against the better of never and always acting; below zero where it was lost.
    fn saved(&self) -> f64 {
        self.never.min(self.always) - self.cost
    }

    /// As the owner reads it.
    pub(super) fn block(&self, at: usize) -> Block {
        let saved = self.saved();
        let word = if saved >= 0.0 { "Saved in daily use" } else { "Lost in daily use" };
        let better = if self.never <= self.always { "never acting" } else { "always acting" };
        let day = |at: Timestamp| moment(at).get(..10).unwrap_or_default().to_owned();
        Block::Facts(
            Facts::new(format!("earned_{at}"))
                .large()
                .with(word, Cell::Text(money_text(saved.abs(), &self.currency)))
                .with("Compared with", Cell::text(better))
                .with("Decisions whose outcome is known", Cell::Count(self.decisions))
                .with("They cost", Cell::Text(money_text(self.cost, &self.currency)))
                .with("Of", Cell::text(self.endpoint.clone()))
                .with("From", Cell::Text(day(self.from)))
                .with("Until", Cell::Text(day(self.to))),
        )
    }
}
