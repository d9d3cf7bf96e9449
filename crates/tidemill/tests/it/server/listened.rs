//! Triggers that listen to our own log, from outside: data that broke expectations, versions and aliases of models.

use super::registered::{Api, MODEL};
use super::tracked::make_champion;
use super::triggers::{Lab, STEP};

#[test]
fn data_that_break_expectations_start_work() {
    let lab = Lab::new(
        "data: {rows: {path: rows.csv, expect: [{not_null: [y], severity: warn}]}}\n\
         pipeline: {copy: {run: cat rows.csv > out.csv, deps: [rows.csv], outs: [out.csv]}}\n\
         triggers: [{when: {expectations: rows}, actions: [run], limit: {count: 2, per: 1d}}]\n",
    );
    lab.write("rows.csv", "x,y\n1,2\n");
    let server = lab.place.serve();
    lab.run(&["check"]);
    lab.write("rows.csv", "x,y\n1,2\n3,\n");
    for round in 1..=2 {
        lab.run(&["check"]);
        lab.wait(&server, "a job", |log| log.ended("succeeded") == round);
    }
    lab.run(&["check"]);
    let log = lab.wait(&server, "what the limit holds back", |log| log.count("trigger_suppressed") == 1);
    assert_eq!((log.count("data_checked"), log.count("trigger_fired")), (4, 2), "{log}");
    let fired = log.of("trigger_fired").next().unwrap();
    assert_eq!(fired["trigger"], "expectations-rows", "{log}");
    assert_eq!(log.chain("trigger_fired").last().unwrap(), "data_checked", "{log}");
    // What held started nothing.
    let checked: Vec<_> = log.of("data_checked").collect();
    assert_eq!((&checked[0]["warned"], &checked[1]["warned"]), (&0.into(), &1.into()), "{log}");
    assert!(log.of("trigger_fired").all(|event| event["cause"] != checked[0]["seq"]), "{log}");
    log.acted_once();
    server.stop();
}

#[test]
fn a_version_and_an_alias_of_a_model_start_work() {
    let lab = Lab::new(&format!(
        "{STEP}triggers: [{{when: {{model: late}}, actions: [check]}}, \
         {{name: moved, when: {{model: {{name: late, alias: champion}}}}, actions: [check]}}]\n"
    ));
    let server = lab.place.serve();
    let api = Api::of(&server, None);
    api.register("other", MODEL);
    api.register("late", MODEL);
    let log = lab.wait(&server, "a job of the version", |log| log.ended("succeeded") == 1);
    assert_eq!(log.chain("trigger_fired"), ["trigger_fired", "version_created"]);
    assert_eq!(log.of("trigger_fired").last().unwrap()["trigger"], "model-late");
    make_champion(&api, "late");
    let log = lab.wait(&server, "a job of the alias", |log| log.ended("succeeded") == 2);
    assert_eq!(log.chain("trigger_fired"), ["trigger_fired", "alias_moved"]);
    assert_eq!(log.of("trigger_fired").last().unwrap()["trigger"], "moved");
    log.acted_once();
    server.stop();
}
