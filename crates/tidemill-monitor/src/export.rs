//! What other tools are given to watch the same: rules of Prometheus and a dashboard of Grafana, over the metrics of the server.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::Declaration;

/// Rules of Prometheus: an alert for each monitor, and one that nothing is watched any more. Texts are JSON, which YAML reads.
pub fn prometheus_rules(declaration: &Declaration) -> String {
    let (project, endpoint) = (&declaration.project, &declaration.endpoint);
    let mut text =
        format!("groups:\n  - name: {}\n    rules:\n", quoted(&format!("tidemill-{project}-{endpoint}")));
    for watch in declaration.watches() {
        let Some(monitor) = watch.alert() else { continue };
        let labels = selector(endpoint, Some(&watch.id));
        let summary = format!("{} of {endpoint} fires", watch.id);
        let description = format!(
            "`tidemill monitor status {endpoint}` says why; the figure of its last window is {{{{ with query \"tidemill_monitor_value{}\" }}}}{{{{ . | first | value }}}}{{{{ end }}}}",
            labels.replace('"', "\\\"")
        );
        // Writing into a text cannot fail.
        let _ = write!(
            text,
            "      - alert: {}\n        expr: {}\n        labels: {{project: {}, monitor: {}}}\n        annotations:\n          summary: {}\n          description: {}\n",
            quoted(&format!("tidemill_{monitor}")),
            quoted(&format!("tidemill_alerts_firing{labels} == 1")),
            quoted(project),
            quoted(monitor),
            quoted(&summary),
            quoted(&description),
        );
    }
    // Windows of a service end by the clock, with requests and without.
    for watch in declaration.watches().into_iter().filter(|watch| watch.alert() == Some("service")) {
        let labels = selector(endpoint, Some(&watch.id));
        let patience = 3 * watch.length().as_secs() + 60;
        let late = format!("time() - tidemill_monitor_window_end_timestamp_seconds{labels} > {patience}");
        let _ = write!(
            text,
            "      - alert: \"tidemill_not_judged\"\n        expr: {}\n        labels: {{project: {}}}\n        annotations:\n          summary: {}\n",
            quoted(&late),
            quoted(project),
            quoted(&format!("no window of {} of {endpoint} is judged any more", watch.id)),
        );
    }
    let _ = write!(
        text,
        "      - alert: \"tidemill_not_watched\"\n        expr: {}\n        for: 10m\n        labels: {{project: {}}}\n        annotations:\n          summary: {}\n",
        quoted(&format!("absent(tidemill_monitor_windows{})", selector(endpoint, None))),
        quoted(project),
        quoted(&format!("no window of {endpoint} was judged, or its server is not scraped")),
    );
    text
}

/// A dashboard of Grafana (schema 39): what fires, the figure of each monitor beside its limit, requests, errors and latency.
pub fn grafana_dashboard(declaration: &Declaration) -> Value {
    let endpoint = &declaration.endpoint;
    let all = selector(endpoint, None);
    let mut panels = vec![
        panel(
            1,
            "stat",
            "Alerts that fire",
            (0, 0, 8, 6),
            &[(format!("sum(tidemill_alerts_firing{all})"), "firing")],
        ),
        panel(
            2,
            "stat",
            "At risk",
            (8, 0, 8, 6),
            &[(format!("sum(tidemill_monitor_at_risk{all})"), "at risk")],
        ),
        panel(
            3,
            "stat",
            "Windows judged",
            (16, 0, 8, 6),
            &[(format!("sum(tidemill_monitor_windows{all})"), "windows")],
        ),
        panel(
            4,
            "state-timeline",
            "Alerts",
            (0, 6, 24, 7),
            &[(format!("tidemill_alerts_firing{all}"), "{{watch}}")],
        ),
    ];
    // What the gateway counts. A rate needs two readings of the page.
    let rate = |name: &str| format!("rate({name}{all}[5m])");
    let within = |share: &str| {
        let buckets = rate("tidemill_inference_duration_seconds_bucket");
        format!("histogram_quantile({share}, sum by (le) ({buckets}))")
    };
    let by = |label: &str, name: &str| format!("sum by ({label}) ({})", rate(name));
    panels.extend([
        panel(
            5,
            "timeseries",
            "Requests a second",
            (0, 13, 8, 8),
            &[(by("version", "tidemill_inference_requests_total"), "version {{version}}")],
        ),
        panel(
            6,
            "timeseries",
            "Errors a second",
            (8, 13, 8, 8),
            &[(by("kind", "tidemill_inference_errors_total"), "{{kind}}")],
        ),
        panel(
            7,
            "timeseries",
            "Latency in seconds",
            (16, 13, 8, 8),
            &[(within("0.5"), "50 %"), (within("0.95"), "95 %"), (within("0.99"), "99 %")],
        ),
    ]);
    for (number, watch) in declaration.watches().into_iter().enumerate() {
        let labels = selector(endpoint, Some(&watch.id));
        let place = (12 * (number as u64 % 2), 21 + 8 * (number as u64 / 2), 12, 8);
        panels.push(panel(
            number as u64 + 8,
            "timeseries",
            &watch.id,
            place,
            &[
                (format!("tidemill_monitor_value{labels}"), "value"),
                (format!("tidemill_monitor_limit{labels}"), "limit"),
            ],
        ));
    }
    json!({
        "title": format!("Tidemill: {endpoint}"),
        "uid": uid(declaration),
        "tags": ["tidemill", declaration.project],
        "schemaVersion": 39,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [{
            "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
            "current": {}, "hide": 0,
        }]},
        "panels": panels,
    })
}

/// A uid has at most 40 characters.
fn uid(declaration: &Declaration) -> String {
    let name = format!("{}\0{}", declaration.project, declaration.endpoint);
    format!("tidemill-{}", tidemill_core::Digest::of(name.as_bytes()).hex().get(..16).unwrap_or_default())
}

fn panel(
    id: u64,
    kind: &str,
    title: &str,
    (x, y, width, height): (u64, u64, u64, u64),
    queries: &[(String, &str)],
) -> Value {
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let targets: Vec<Value> = queries
        .iter()
        .zip('A'..)
        .map(|((query, legend), letter)| {
            json!({"refId": letter.to_string(), "expr": query, "legendFormat": legend, "datasource": source})
        })
        .collect();
    json!({
        "id": id, "type": kind, "title": title, "datasource": source, "targets": targets,
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
    })
}

/// Labels in PromQL; their values are quoted as Go does, of which JSON is a part.
fn selector(endpoint: &str, watch: Option<&str>) -> String {
    let watch = watch.map(|watch| format!(",watch={}", quoted(watch))).unwrap_or_default();
    format!("{{endpoint={}{watch}}}", quoted(endpoint))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declaration() -> Declaration {
        let file = "project: flights\nobjective:\n  task: {kind: classification, target: late, positive: 1}\nmonitors:\n  - drift: {window: 1d}\n  - quality: {metric: roc_auc, min: 0.6}\n";
        let project = tidemill_project::parse(file, "tidemill.yaml").unwrap();
        Declaration {
            project: "flights".to_owned(),
            endpoint: "late".to_owned(),
            objective: project.objective,
            monitors: project.monitors,
            receivers: Vec::new(),
            redact: Vec::new(),
        }
    }

    #[test]
    fn rules_name_every_monitor() {
        let text = prometheus_rules(&declaration());
        assert!(
            text.contains(
                r#"expr: "tidemill_alerts_firing{endpoint=\"late\",watch=\"quality:roc_auc\"} == 1""#
            ),
            "{text}"
        );
        assert_eq!(text.matches("- alert:").count(), 3, "{text}");
    }

    #[test]
    fn a_service_that_is_judged_no_more_is_an_alert() {
        let mut declaration = declaration();
        let service = json!({"service": {"error_rate": 0.1}});
        declaration.monitors.push(serde_json::from_value(service).unwrap());
        let text = prometheus_rules(&declaration);
        let end = r#"tidemill_monitor_window_end_timestamp_seconds{endpoint=\"late\",watch=\"service\"}"#;
        assert!(text.contains(&format!("expr: \"time() - {end} > 960\"")), "{text}");
    }

    #[test]
    fn the_dashboard_has_a_panel_for_every_series() {
        let dashboard = grafana_dashboard(&declaration());
        let panels = dashboard["panels"].as_array().unwrap();
        assert_eq!(panels.len(), 10);
        let mut ids: Vec<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        ids.dedup();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let text = dashboard.to_string();
        for name in ["requests_total", "errors_total", "duration_seconds_bucket"] {
            assert!(text.contains(&format!("rate(tidemill_inference_{name}{{endpoint=")), "{text}");
        }
        assert!(dashboard["uid"].as_str().unwrap().len() <= 40);
    }
}
