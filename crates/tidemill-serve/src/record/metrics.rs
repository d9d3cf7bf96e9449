//! What became of records, for Prometheus: a full queue or disk loses them without a word to callers.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Counts, InferenceLog};
use crate::gateway::metrics::counter;

/// Shows the counts of a log to a registry of `prometheus-client`.
#[derive(Clone, Debug)]
pub struct RecordsPage(pub InferenceLog);

impl Collector for RecordsPage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.0.counts();
        if counts.is_empty() {
            return Ok(());
        }
        for (name, help, count) in [
            (
                "tidemill_records_written",
                "Records of requests that are in the inference log",
                (|counts: &Counts| counts.recorded) as fn(&Counts) -> u64,
            ),
            (
                "tidemill_records_dropped",
                "Records of requests that were lost: the queue was full, or the disk refused",
                |counts| counts.dropped,
            ),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (endpoint, counts) in &counts {
                let labels = [("endpoint", endpoint.as_str())];
                counter(&mut family.encode_family(&labels)?, count(counts))?;
            }
        }
        Ok(())
    }
}
