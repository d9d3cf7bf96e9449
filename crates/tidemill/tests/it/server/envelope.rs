//! The envelope of the demo's project follows from the three months before its first release, by a rule and without a look at what the rest
//! of the year brings.

use serde_json::{Value, json};

use super::registered::Api;
use super::tracked::make_champion;
use super::triggers::Lab;

const PROJECT: &str = include_str!("../../../src/command/demo/project/tidemill.yaml");
const FEATURES: &str = include_str!("../../../src/command/demo/project/features.sql");
const TRAFFIC: &str = include_str!("../../../../../examples/flights/sql/traffic.sql");

/// A project as the demo's on the first of April: later flights are not there.
fn on_the_first_of_april() -> Lab {
    let lab = Lab::new("");
    lab.write("tidemill.yaml", PROJECT);
    lab.write("sql/features.sql", FEATURES);
    lab.write("sql/traffic.sql", TRAFFIC);
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights/data");
    let data = lab.place.root().join("data");
    fs_err::create_dir_all(data.join("flights")).unwrap();
    let months = ["01", "02", "03"].map(|month| format!("flights/2013-{month}.parquet"));
    for name in months.iter().map(String::as_str).chain(["weather.parquet", "planes.parquet"]) {
        fs_err::copy(shipped.join(name), data.join(name)).unwrap();
    }
    lab
}

/// What the log says of how the model of these days was made.
fn trained(lab: &Lab, from: &str, to: &str) -> Value {
    let (from, to) = (format!("features.from={from}"), format!("features.to={to}"));
    lab.run(&["run", "train", "--param", &from, "--param", &to]);
    lab.log().of("version_created").last().unwrap()["facts"].clone()
}

/// The next multiple of `step`, in whole percent, upwards or downwards.
fn whole(share: f64, step: f64, round: fn(f64) -> f64) -> String {
    let percent = round(share * 100.0 / step) * step;
    format!("{percent:.0}")
}

#[test]
fn the_demo_s_envelope_was_to_be_known_before_its_first_release() {
    let lab = on_the_first_of_april();
    let first = trained(&lab, "2013-01-01", "2013-02-15");
    let server = lab.place.serve();
    make_champion(&Api::of(&server, None), "flights-late");
    server.stop();
    let second = trained(&lab, "2013-02-15", "2013-04-01");
    assert_eq!(second["flips"]["against"], json!(1), "{second}");
    // Two models of 45 days that have no flight in common: what they differ by is no surprise.
    let flips = second["flips"]["share"].as_f64().unwrap();
    let most = whole(flips, 5.0, f64::ceil);
    // Half of what the worse of them is better than a guess.
    let auc = |facts: &Value| facts["metrics"]["roc_auc"].as_f64().unwrap();
    let worse = auc(&first).min(auc(&second));
    let least = whole(0.5 + (worse - 0.5) / 2.0, 5.0, f64::floor);
    let said = format!(
        "flips {flips}, ROC AUC {} and {}: at most {most} %, at least 0.{least}",
        auc(&first),
        auc(&second)
    );
    assert!(PROJECT.contains(&format!("flips: {{max: {most}%}}")), "{said}");
    assert!(PROJECT.contains(&format!("roc_auc: {{min: 0.{}}}", least.trim_end_matches('0'))), "{said}");
}
