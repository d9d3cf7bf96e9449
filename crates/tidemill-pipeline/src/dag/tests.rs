//! Tables of graphs: what depends on what, and what is refused.

use super::*;
use crate::testing::{sql, step};

fn names(dag: &Dag) -> Vec<&str> {
    dag.nodes().iter().map(|node| node.step.name.as_str()).collect()
}

fn edges(dag: &Dag) -> Vec<String> {
    let nodes = dag.nodes();
    let edge = |(at, up): (usize, usize)| format!("{}>{}", nodes[up].step.name, nodes[at].step.name);
    let pairs = nodes.iter().enumerate().flat_map(|(at, node)| node.upstream.iter().map(move |up| (at, *up)));
    pairs.map(edge).collect()
}

fn problems(steps: &[Step]) -> Vec<String> {
    match Dag::new(steps) {
        Err(Error::Graph(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

#[test]
fn edges_follow_paths_folders_and_patterns() {
    let steps = [
        step("report", &["model", "features.parquet"], &["report.html"]),
        step("train", &["features.parquet", "train.py"], &["model"]),
        sql("features", "sql/features.sql", &["data/clean/*.csv", "data/raw/a.csv"], "features.parquet"),
        step("clean", &["clean.py"], &["data/clean"]),
        step("lint", &["data/raw"], &["lint.txt"]),
        step("deep", &["model/weights.bin"], &["deep.txt"]),
        step("sum", &["out/**/*.txt"], &["sum.txt"]),
        step("one", &[], &["out/a/1.txt"]),
        step("two", &[], &["out/b"]),
        step("all", &["data"], &["all.txt"]),
    ];
    let dag = Dag::new(&steps).unwrap();
    assert_eq!(
        names(&dag),
        ["clean", "features", "train", "report", "lint", "deep", "one", "two", "sum", "all"]
    );
    let expected = [
        "clean>features",
        "features>train",
        "features>report",
        "train>report",
        "train>deep",
        "one>sum",
        "two>sum",
        "clean>all",
    ];
    assert_eq!(edges(&dag), expected);
}

#[test]
fn what_cannot_be_a_graph_is_refused() {
    let circle = [
        step("c", &["b.txt"], &["c.txt"]),
        step("a", &["c.txt"], &["a.txt"]),
        step("b", &["a.txt"], &["b.txt"]),
        step("after", &["b.txt"], &["after.txt"]),
    ];
    assert_eq!(
        problems(&circle),
        ["step `a` (line 1): steps need each other in a circle: `a` → `b` → `c` → `a`"]
    );
    for (steps, expected) in [
        (
            vec![step("a", &[], &["x"]), step("b", &[], &["x"])],
            vec!["step `b` (line 1): output `x` is also written by step `a`"],
        ),
        (
            vec![step("a", &[], &["x"]), step("b", &[], &["x/y/z"])],
            vec!["step `b` (line 1): output `x/y/z` lies inside output `x` of step `a`"],
        ),
        (
            vec![step("a", &[], &["x", "x/y"])],
            vec!["step `a` (line 1): output `x/y` lies inside output `x` of step `a`"],
        ),
        (vec![step("a", &[], &["x", "x"])], vec!["step `a` (line 1): output `x` is listed twice"]),
        (
            vec![step("a", &["data"], &["data/x"])],
            vec!["step `a` (line 1): it reads `data`, which is or contains its own output"],
        ),
        (
            vec![step("a", &["*.csv"], &["x.csv"])],
            vec!["step `a` (line 1): it reads `*.csv`, which is or contains its own output"],
        ),
        (
            vec![step("a", &["x[.csv"], &["../x", "/abs", "s3://b/k", ".tidemill/x"])],
            vec![
                "step `a` (line 1): output `../x` is outside of the project folder",
                "step `a` (line 1): output `/abs` is outside of the project folder",
                "step `a` (line 1): output `s3://b/k` is a URL",
                "step `a` (line 1): output `.tidemill/x` is inside Tidemill's own folder",
            ],
        ),
        (
            vec![step("a", &[], &["x"]), step("a", &[], &["y"])],
            vec!["step `a` (line 1): a step of this name is already declared at line 1"],
        ),
    ] {
        let found = problems(&steps);
        assert_eq!(&found[..expected.len()], expected);
    }
}

#[test]
fn a_selection_brings_what_it_needs() {
    let steps = [
        step("a", &[], &["a.txt"]),
        step("b@x=1", &["a.txt"], &["b1.txt"]),
        step("b@x=2", &["a.txt"], &["b2.txt"]),
        step("c", &["b1.txt"], &["c.txt"]),
        step("d", &["c.txt", "other.txt"], &["d.txt"]),
        step("other", &[], &["other.txt"]),
    ];
    let dag = Dag::new(&steps).unwrap();
    for (selected, downstream, expected) in [
        (vec![], false, vec!["a", "b@x=1", "b@x=2", "c", "other", "d"]),
        (vec!["c"], false, vec!["a", "b@x=1", "c"]),
        (vec!["b"], false, vec!["a", "b@x=1", "b@x=2"]),
        (vec!["b@x=2"], true, vec!["a", "b@x=2"]),
        (vec!["c"], true, vec!["a", "b@x=1", "c", "other", "d"]),
    ] {
        let steps = selected.iter().map(|name| (*name).to_owned()).collect();
        let chosen = dag.select(&Selection { steps, downstream }).unwrap();
        let chosen: Vec<&str> = chosen.iter().map(|at| dag.nodes()[*at].step.name.as_str()).collect();
        assert_eq!(chosen, expected, "{selected:?} {downstream}");
    }
    let unknown = dag.select(&Selection { steps: vec!["othr".to_owned()], downstream: false }).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no step `othr`");
    assert_eq!(tidemill_core::Hint::hint(&unknown).as_deref(), Some("did you mean `other`?"));
}
