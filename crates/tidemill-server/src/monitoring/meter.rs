//! How monitors stand, for Prometheus.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use tidemill_monitor::alert::Phase;

use super::{Standing, standing};
use crate::App;

/// Which monitor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    endpoint: String,
    watch: String,
}

type Numbers = Family<Labels, Gauge<f64, AtomicU64>>;

/// Registers how each monitor stood after its last window. A database that cannot be read leaves them out; the health of the server
/// says so elsewhere.
pub(crate) async fn register(app: &App, registry: &mut Registry) {
    let Ok(all) = standing(app.registry().db(), None).await else { return };
    if all.is_empty() {
        return;
    }
    let (firing, windows) = (Family::<Labels, Gauge>::default(), Family::<Labels, Gauge>::default());
    let (value, limit, at_risk, until) =
        (Numbers::default(), Numbers::default(), Numbers::default(), Numbers::default());
    for Standing { endpoint, watch, monitor, phase, windows: count, last, .. } in all {
        let labels = Labels { endpoint, watch };
        if monitor.is_some() {
            firing.get_or_create(&labels).set(i64::from(matches!(phase, Phase::Firing { .. })));
        }
        windows.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        let Some(last) = last else { continue };
        for (family, number) in [
            (&value, last.verdict.value),
            (&limit, last.verdict.limit),
            (&at_risk, last.verdict.at_risk),
            (&until, Some(last.window.to.millis() as f64 / 1_000.0)),
        ] {
            if let Some(number) = number {
                family.get_or_create(&labels).set(number);
            }
        }
    }
    registry.register("tidemill_alerts_firing", "Whether the alert of a monitor fires: 1 or 0", firing);
    registry.register("tidemill_monitor_windows", "Windows that were judged", windows);
    registry.register(
        "tidemill_monitor_value",
        "The figure of the last window, in the unit of the monitor",
        value,
    );
    registry.register("tidemill_monitor_limit", "What it is held against", limit);
    registry.register(
        "tidemill_monitor_at_risk",
        "What the last window may have cost, in the currency of the objective",
        at_risk,
    );
    registry.register(
        "tidemill_monitor_window_end_timestamp_seconds",
        "The end of the last window that was judged, in the time of predictions",
        until,
    );
}
