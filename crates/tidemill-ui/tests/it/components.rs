//! The text of single components.

use tidemill_ui::chart::{Graph, GraphNode, LineChart, Series};
use tidemill_ui::{Block, Cell, Column, Facts, Page, Pager, Sort, Table, Tone, Viewer};

/// What stands between the title and the foot of a page of one block, a tag a line.
fn html(block: Block) -> String {
    let page = Page { title: "T".into(), blocks: vec![block], ..Page::default() };
    let text = page.html(&Viewer { address: "/t".into(), ..Viewer::default() });
    let body = text.split("<h1>T</h1></div>").nth(1).unwrap().split("<footer>").next().unwrap();
    body.trim().replace("><", ">\n<")
}

#[test]
fn a_table() {
    let sorted = Sort { href: "/t?order=loss%20ASC".into(), descending: Some(true) };
    let table = Table {
        id: "runs".into(),
        caption: "Runs".into(),
        columns: vec![
            Column::new("run"),
            Column { label: "loss".into(), group: "Metrics".into(), sort: Some(sorted), ..Column::default() },
        ],
        rows: vec![
            vec![Cell::link("/runs/1", "a<b"), Cell::Number(0.25)],
            vec![Cell::badge(Tone::Bad, "failed"), Cell::None],
        ],
        pager: Some(Pager { next: Some("/t?page=2".into()), ..Pager::of(2, None, ["run", "runs"]) }),
        pinned: true,
        ..Table::default()
    };
    insta::assert_snapshot!(html(Block::Table(table)));
}

#[test]
fn facts() {
    let facts = Facts::new("f")
        .with("Size", Cell::Bytes(2048))
        .with("Commit", Cell::Code("b3:0123456789abcdef".into()))
        .with("Unknown", Cell::None);
    insta::assert_snapshot!(html(Block::Facts(facts)));
}

#[test]
fn a_curve_with_a_gap() {
    let series =
        vec![Series { name: "a".into(), points: vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.5), (3.0, 0.25)] }];
    let chart = LineChart {
        title: "Loss".into(),
        x: "step".into(),
        y: "loss".into(),
        series,
        ..LineChart::default()
    };
    insta::assert_snapshot!(chart.draw().as_str().replace("><", ">\n<"));
}

#[test]
fn a_graph() {
    let node = |name: &str, needs: &[usize]| GraphNode {
        name: name.into(),
        detail: "SQL".into(),
        tone: Tone::Good,
        state: "ran".into(),
        href: "/p".into(),
        needs: needs.to_vec(),
    };
    let graph = Graph { title: "Steps".into(), nodes: vec![node("features", &[]), node("train", &[0])] };
    insta::assert_snapshot!(graph.draw().as_str().replace("><", ">\n<"));
}
