//! What became of outcomes since the server was started, for Prometheus.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::Passed;
use crate::gateway::metrics::counter;

/// Counts by endpoint. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OutcomeCounters(Arc<Mutex<BTreeMap<String, Passed>>>);

impl OutcomeCounters {
    /// Adds what a pass did; what only waits is none of it.
    pub(super) fn add(&self, endpoint: &str, passed: &Passed) {
        let passed = Passed { waiting: 0, ..*passed };
        if passed == Passed::default() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(endpoint.to_owned()).or_default().add(&passed);
    }
}

impl Collector for OutcomeCounters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if all.is_empty() {
            return Ok(());
        }
        let help = "Outcomes of requests by what became of them: matched (late are among these), duplicate, corrected or unmatched";
        let mut family = encoder.encode_descriptor("tidemill_outcomes", help, None, MetricType::Counter)?;
        for (endpoint, sum) in &all {
            for (state, count) in [
                ("matched", sum.matched),
                ("late", sum.late),
                ("duplicate", sum.duplicate),
                ("corrected", sum.corrected),
                ("unmatched", sum.unmatched),
            ] {
                let labels = [("endpoint", endpoint.as_str()), ("state", state)];
                counter(&mut family.encode_family(&labels)?, count)?;
            }
        }
        Ok(())
    }
}
