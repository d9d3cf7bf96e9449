//! A dataset in an object store, whose listing is looked at: a server that speaks S3, and the real binary.

use tidemill_testkit::object_store;

use super::triggers::{Lab, offsets};

#[test]
fn an_object_that_is_new_starts_work() {
    let lab = Lab::new(
        "data: {rows: {path: 's3://mill/rows/*.csv'}}\n\
         pipeline: {copy: {run: cat in.txt > out.txt, deps: [in.txt], outs: [out.txt]}}\n\
         triggers: [{when: {data: rows}, actions: [run]}]\n",
    );
    let buckets = lab.place.root().join("buckets");
    lab.write("buckets/mill/rows/a.csv", "x\n1\n");
    let address = format!("http://{}", object_store(&buckets));
    let environment = [
        ("AWS_ENDPOINT_URL", address.as_str()),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "eu-central-1"),
    ];
    let server = lab.place.serve_in(&environment);
    lab.wait(&server, "the first look", |_| offsets(&lab) == 1);
    server.kill();
    // What is new while nobody is there is seen at the next start.
    lab.write("buckets/mill/rows/b.csv", "x\n2\n");
    let server = lab.place.serve_in(&environment);
    let log = lab.wait(&server, "a run", |log| log.ended("succeeded") == 1);
    assert_eq!(log.chain("run_started"), ["run_started", "job_started", "trigger_fired", "source_changed"]);
    assert_eq!(log.of("source_changed").last().unwrap()["source"], "data", "{log}");
    // And an object that is not one of the dataset's is none.
    lab.write("buckets/mill/other/c.csv", "x\n3\n");
    // The store is looked at once a minute.
    lab.write("buckets/mill/rows/a.csv", "x\n1\n4\n");
    lab.wait(&server, "the next look", |log| log.ended("succeeded") == 2);
    let log = lab.log();
    assert_eq!((log.count("source_changed"), log.count("trigger_fired")), (2, 2), "{log}");
    log.acted_once();
    server.stop();
}
