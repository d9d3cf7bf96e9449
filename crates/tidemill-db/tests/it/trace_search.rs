//! Searches over traces, their pages, and charts.

use tidemill_db::search::{Condition, Field, Op, Operand, OrderBy};
use tidemill_db::traces::{
    Assessment, AssessmentKind, Chart, ChartFilter, Dimension, Measure, NAME_TAG, Page, RUN_KEY, SESSION_KEY,
    Span, TraceQuery, TraceState, View,
};
use tidemill_db::{Db, Error};

use crate::fixture::{Fixture, at, experiment, on_both, pair};
use crate::traces::{batch, span, whole};

on_both!(
    conditions_of_every_kind,
    pages_hold_every_trace_once_in_every_order,
    sessions_share_what_is_said_of_them,
    what_traces_do_not_have_is_refused,
    charts_count_and_measure,
    percentiles_lie_between_neighbours,
);

/// Ten traces, 10 to 100 milliseconds after the epoch.
async fn fill(db: &Db) {
    experiment(db, 1).await;
    experiment(db, 2).await;
    for i in 1..=10_i64 {
        let id = format!("tr-{i:02}");
        let mut told = whole(&id, i * 10);
        told.info.duration_ms = (i != 10).then_some(i);
        told.info.state = if i % 5 == 0 { TraceState::Error } else { TraceState::Ok };
        told.info.experiment = if i == 9 { 2 } else { 1 };
        told.info.client_request_id = (i == 2).then(|| "client 2".to_owned());
        if i <= 6 {
            told.info.tags.push(pair(NAME_TAG, if i % 2 == 0 { "even" } else { "Odd" }));
            told.info.tags.push(pair("color", ["red", "Red*", "a_b", "axb", "", "größe"][(i - 1) as usize]));
        }
        if i <= 3 {
            told.info.metadata.push(pair(RUN_KEY, "run-a"));
        }
        if i == 7 || i == 8 {
            told.info.metadata.push(pair(SESSION_KEY, "s"));
        }
        told.usage.tokens[2] = (i <= 4).then_some(i * 100);
        db.put_trace(told).await.unwrap();
        let spans = vec![
            Span { name: "root".to_owned(), ..span(1, None, i * 10, i * 10 + i) },
            Span {
                kind: if i == 3 { "TOOL".to_owned() } else { "LLM".to_owned() },
                model: (i <= 2).then(|| "gpt-4o".to_owned()),
                body: format!(
                    "{{\"attributes\": {{\"model\": \"\\\"gpt-{i}\\\"\", \"n\": \"{i}\"}}, \"x\": \"Grüße {i}\"}}"
                ),
                ..span(2, Some(1), i * 10, i * 10 + 1)
            },
        ];
        let mut spans = batch(&id, spans);
        spans.experiment = if i == 9 { 2 } else { 1 };
        spans.spans[1].usage.costs = [None, None, (i <= 2).then_some(0.5)];
        db.put_spans(vec![spans]).await.unwrap();
    }
    db.link_traces(&["tr-05".to_owned(), "tr-x".to_owned()], "run", "run-a").await.unwrap();
    db.link_traces(&["tr-05".to_owned()], "run", "run-a").await.unwrap();
    db.link_traces(&["tr-06".to_owned()], "prompt", "p/3").await.unwrap();
    for (id, trace, kind, name, value, valid) in [
        ("a-1", "tr-01", AssessmentKind::Feedback, "good", "true", true),
        ("a-2", "tr-02", AssessmentKind::Feedback, "good", "\"yes\"", true),
        ("a-3", "tr-03", AssessmentKind::Feedback, "score", "0.7", true),
        ("a-4", "tr-04", AssessmentKind::Expectation, "score", "0.9", true),
        ("a-5", "tr-05", AssessmentKind::Feedback, "score", "0.1", false),
    ] {
        db.create_assessment(&said(id, trace, kind, name, value, valid)).await.unwrap();
    }
}

fn said(id: &str, trace: &str, kind: AssessmentKind, name: &str, value: &str, is_valid: bool) -> Assessment {
    Assessment {
        id: id.to_owned(),
        trace: trace.to_owned(),
        kind,
        name: name.to_owned(),
        value: value.to_owned(),
        number: value.parse().ok(),
        is_number: value.parse::<f64>().is_ok(),
        error: None,
        source_kind: "CODE".to_owned(),
        source: None,
        run: None,
        span: None,
        rationale: None,
        overrides: None,
        is_valid,
        metadata: None,
        created_at: at(1),
        updated_at: at(1),
    }
}

fn query(conditions: Vec<Condition>) -> TraceQuery {
    TraceQuery { experiments: vec![1], conditions, page: Page { limit: 100, ..Page::default() } }
}

/// The numbers of the traces that are found, the newest first.
async fn found(db: &Db, query: &TraceQuery) -> Vec<u8> {
    let traces = db.search_traces(query).await.unwrap();
    traces.into_iter().map(|trace| trace.id[3..].parse().unwrap()).collect()
}

async fn conditions_of_every_kind(f: Fixture) {
    fill(&f.db).await;
    let attribute = |name: &str| Field::Attribute(name.to_owned());
    let tag = |key: &str| Field::Tag(key.to_owned());
    let metadata = |key: &str| Field::Metadata(key.to_owned());
    let inside = |key: &str| Field::Span(key.to_owned());
    let feedback = |name: &str| Field::Feedback(name.to_owned());
    let text = |text: &str| Operand::Text(text.to_owned());
    let list = |texts: &[&str]| Operand::List(texts.iter().map(|text| (*text).to_owned()).collect());
    let all = [10, 8, 7, 6, 5, 4, 3, 2, 1];
    let cases: Vec<(Field, Op, Operand, Vec<u8>)> = vec![
        (attribute("timestamp_ms"), Op::Ge, Operand::Number(70.0), vec![10, 8, 7]),
        (attribute("timestamp_ms"), Op::Eq, Operand::Number(70.0), vec![7]),
        (attribute("execution_time_ms"), Op::Lt, Operand::Number(2.5), vec![2, 1]),
        (attribute("execution_time_ms"), Op::Ne, Operand::Number(1.0), vec![8, 7, 6, 5, 4, 3, 2]),
        (attribute("end_time_ms"), Op::Le, Operand::Number(22.0), vec![2, 1]),
        (attribute("status"), Op::Eq, text("ERROR"), vec![10, 5]),
        (attribute("status"), Op::NotIn, list(&["OK"]), vec![10, 5]),
        (attribute("request_id"), Op::In, list(&["tr-01", "tr-08", "tr-x"]), vec![8, 1]),
        (attribute("request_id"), Op::In, list(&[]), vec![]),
        (attribute("client_request_id"), Op::Like, text("client%"), vec![2]),
        (attribute("client_request_id"), Op::IsNotNull, Operand::Nothing, vec![2]),
        (tag("color"), Op::Eq, text("red"), vec![1]),
        (tag("color"), Op::Eq, text("größe"), vec![6]),
        (tag("color"), Op::Ne, text("red"), vec![6, 5, 4, 3, 2]),
        (tag("color"), Op::Like, text("red%"), vec![1]),
        (tag("color"), Op::Like, text("Red*"), vec![2]),
        (tag("color"), Op::Like, text("a_b"), vec![4, 3]),
        (tag("color"), Op::Like, text("gr%e"), vec![6]),
        (tag("color"), Op::ILike, text("RED%"), vec![2, 1]),
        (tag("color"), Op::RLike, text("^[rR]ed"), vec![2, 1]),
        (tag("color"), Op::IsNull, Operand::Nothing, vec![10, 8, 7]),
        (tag("color"), Op::IsNotNull, Operand::Nothing, vec![6, 5, 4, 3, 2, 1]),
        (tag(NAME_TAG), Op::In, list(&["even"]), vec![6, 4, 2]),
        (tag("it's; --"), Op::Eq, text("'"), vec![]),
        (tag("mlflow.linkedPrompts"), Op::Eq, text("p/3"), vec![6]),
        (metadata(RUN_KEY), Op::Eq, text("run-a"), vec![5, 3, 2, 1]),
        (metadata(RUN_KEY), Op::IsNull, Operand::Nothing, vec![10, 8, 7, 6, 5, 4]),
        (metadata(SESSION_KEY), Op::Eq, text("s"), vec![8, 7]),
        (inside("name"), Op::Eq, text("root"), all.to_vec()),
        (inside("type"), Op::Eq, text("TOOL"), vec![3]),
        (inside("status"), Op::NotIn, list(&["OK"]), vec![]),
        (inside("content"), Op::Like, text("%Grüße 4%"), vec![4]),
        (inside("content"), Op::ILike, text("%\"N\": \"8\"%"), vec![8]),
        (inside("attributes.n"), Op::Like, text("%3%"), vec![3]),
        (inside("attributes.n"), Op::Eq, text("1"), vec![1]),
        (inside("attributes.model"), Op::Eq, text("gpt-1"), vec![1]),
        (inside("attributes.model"), Op::In, list(&["gpt-1", "gpt-2"]), vec![2, 1]),
        (inside("attributes.model"), Op::Ne, text("gpt-1"), vec![10, 8, 7, 6, 5, 4, 3, 2]),
        (inside("attributes.model"), Op::RLike, text("^gpt-[12]$"), vec![2, 1]),
        (inside("attributes.model"), Op::RLike, text("-1"), vec![10, 1]),
        (inside("attributes.n"), Op::RLike, text("gpt"), vec![]),
        (feedback("good"), Op::Eq, text("true"), vec![1]),
        (feedback("good"), Op::Eq, text("yes"), vec![2]),
        (feedback("good"), Op::Ne, text("yes"), vec![1]),
        (feedback("good"), Op::IsNotNull, Operand::Nothing, vec![2, 1]),
        (feedback("score"), Op::Gt, Operand::Number(0.05), vec![3]),
        (feedback("score"), Op::IsNull, Operand::Nothing, vec![10, 8, 7, 6, 5, 4, 2, 1]),
        (Field::Expectation("score".to_owned()), Op::Le, Operand::Number(0.9), vec![4]),
    ];
    for (field, op, value, expected) in cases {
        let condition = Condition { field, op, value };
        assert_eq!(found(&f.db, &query(vec![condition.clone()])).await, expected, "{condition:?}");
    }
    // All must hold, those of spans in one span.
    let both = |a: Condition, b: Condition| query(vec![a, b]);
    let kind = |kind: &str| Condition { field: inside("type"), op: Op::Eq, value: text(kind) };
    let name = |name: &str| Condition { field: inside("name"), op: Op::Eq, value: text(name) };
    assert_eq!(found(&f.db, &both(kind("TOOL"), name("span 2"))).await, [3]);
    assert_eq!(found(&f.db, &both(kind("TOOL"), name("root"))).await, Vec::<u8>::new());
    // Several experiments, and none.
    let every = TraceQuery { experiments: vec![1, 2, 99], ..query(Vec::new()) };
    assert_eq!(found(&f.db, &every).await, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(found(&f.db, &TraceQuery { experiments: Vec::new(), ..every }).await, Vec::<u8>::new());
}

async fn pages_hold_every_trace_once_in_every_order(f: Fixture) {
    fill(&f.db).await;
    let orders: Vec<(Vec<(Field, bool)>, Vec<u8>)> = vec![
        (vec![], vec![10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (vec![(Field::Attribute("timestamp_ms".to_owned()), false)], vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (vec![(Field::Attribute("execution_time_ms".to_owned()), true)], vec![9, 8, 7, 6, 5, 4, 3, 2, 1, 10]),
        (
            vec![(Field::Attribute("execution_time_ms".to_owned()), false)],
            vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        ),
        (vec![(Field::Attribute("status".to_owned()), false)], vec![10, 5, 9, 8, 7, 6, 4, 3, 2, 1]),
        (vec![(Field::Tag(NAME_TAG.to_owned()), true)], vec![6, 4, 2, 5, 3, 1, 10, 9, 8, 7]),
        (
            vec![
                (Field::Metadata(RUN_KEY.to_owned()), false),
                (Field::Attribute("request_id".to_owned()), false),
            ],
            vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        ),
        (
            vec![
                (Field::Attribute("experiment_id".to_owned()), true),
                (Field::Attribute("end_time_ms".to_owned()), false),
            ],
            vec![9, 1, 2, 3, 4, 5, 6, 7, 8, 10],
        ),
    ];
    for (order, expected) in orders {
        let order: Vec<OrderBy> =
            order.into_iter().map(|(field, descending)| OrderBy { field, descending }).collect();
        for limit in [1, 3, 10] {
            let mut page = Page { order: order.clone(), after: Vec::new(), limit };
            let mut seen = Vec::new();
            loop {
                let query =
                    TraceQuery { experiments: vec![1, 2], conditions: Vec::new(), page: page.clone() };
                let traces = f.db.search_traces(&query).await.unwrap();
                let Some(last) = traces.last() else { break };
                page.after = page.keys(last);
                seen.extend(traces.iter().map(|trace| trace.id[3..].parse::<u8>().unwrap()));
            }
            assert_eq!(seen, expected, "{order:?} by {limit}");
        }
    }
    let other = Page { after: vec![tidemill_db::traces::After::Int(1)], limit: 5, ..Page::default() };
    let refused = f.db.search_traces(&TraceQuery { page: other, ..query(Vec::new()) }).await;
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
}

async fn sessions_share_what_is_said_of_them(f: Fixture) {
    fill(&f.db).await;
    let about_session = Assessment {
        metadata: Some(format!("{{\"{SESSION_KEY}\": \"s\"}}")),
        ..said("a-9", "tr-07", AssessmentKind::Feedback, "helpful", "true", true)
    };
    f.db.create_assessment(&about_session).await.unwrap();
    let ask = |op, value| query(vec![Condition { field: Field::Feedback("helpful".to_owned()), op, value }]);
    assert_eq!(found(&f.db, &ask(Op::Eq, Operand::Text("true".to_owned()))).await, [8, 7]);
    assert_eq!(found(&f.db, &ask(Op::IsNotNull, Operand::Nothing)).await, [8, 7]);
    assert_eq!(found(&f.db, &ask(Op::IsNull, Operand::Nothing)).await, [10, 6, 5, 4, 3, 2, 1]);
}

async fn what_traces_do_not_have_is_refused(f: Fixture) {
    experiment(&f.db, 1).await;
    for field in
        [Field::Metric("m".to_owned()), Field::Attribute("x".to_owned()), Field::Span("x".to_owned())]
    {
        let condition = Condition { field: field.clone(), op: Op::Eq, value: Operand::Text("v".to_owned()) };
        let refused = f.db.search_traces(&query(vec![condition])).await;
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{field:?}: {refused:?}");
    }
    let order = vec![OrderBy { field: Field::Param("p".to_owned()), descending: false }];
    let page = Page { order, after: Vec::new(), limit: 5 };
    assert!(f.db.search_traces(&TraceQuery { page, ..query(Vec::new()) }).await.is_err());
}

fn chart(view: View, measure: Measure) -> Chart {
    Chart {
        experiments: vec![1],
        view,
        measure,
        dimensions: Vec::new(),
        filters: Vec::new(),
        from_ms: None,
        to_ms: None,
        bucket_ms: None,
        percentiles: Vec::new(),
        limit: 100,
    }
}

async fn charts_count_and_measure(f: Fixture) {
    fill(&f.db).await;
    let counts = async |f: &Fixture, chart: Chart| -> Vec<(Option<i64>, Vec<String>, i64)> {
        let buckets = f.db.trace_chart(&chart).await.unwrap();
        buckets.into_iter().map(|bucket| (bucket.at_ms, bucket.dimensions, bucket.count)).collect()
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    let all = chart(View::Traces, Measure::Count);
    assert_eq!(counts(&f, all.clone()).await, [(None, vec![], 9)]);
    assert_eq!(counts(&f, Chart { experiments: vec![], ..all.clone() }).await, []);
    assert_eq!(
        counts(&f, Chart { bucket_ms: Some(30), from_ms: Some(20), to_ms: Some(80), ..all.clone() }).await,
        [(Some(0), vec![], 1), (Some(30), vec![], 3), (Some(60), vec![], 3)]
    );
    let named = Chart { dimensions: vec![Dimension::TraceName, Dimension::TraceState], ..all.clone() };
    assert_eq!(
        counts(&f, named).await,
        [
            (None, texts(&["Odd", "ERROR"]), 1),
            (None, texts(&["Odd", "OK"]), 2),
            (None, texts(&["even", "OK"]), 3)
        ]
    );
    for (filter, expected) in [
        (ChartFilter::State("ERROR".to_owned()), 2),
        (ChartFilter::Tag("color".to_owned(), "red".to_owned()), 1),
        (ChartFilter::Metadata(RUN_KEY.to_owned(), "run-a".to_owned()), 4),
    ] {
        let found = counts(&f, Chart { filters: vec![filter.clone()], ..all.clone() }).await;
        assert_eq!(found, [(None, vec![], expected)], "{filter:?}");
    }
    assert_eq!(counts(&f, chart(View::Traces, Measure::Sessions)).await, [(None, vec![], 1)]);
    let kinds = Chart {
        dimensions: vec![Dimension::SpanKind, Dimension::SpanStatus],
        ..chart(View::Spans, Measure::Count)
    };
    assert_eq!(
        counts(&f, kinds).await,
        [(None, texts(&["LLM", "OK"]), 17), (None, texts(&["TOOL", "OK"]), 1)]
    );
    let filtered = Chart {
        filters: vec![ChartFilter::SpanName("root".to_owned())],
        ..chart(View::Spans, Measure::Count)
    };
    assert_eq!(counts(&f, filtered).await, [(None, vec![], 9)]);
    let judged = Chart {
        dimensions: vec![Dimension::AssessmentName, Dimension::AssessmentValue],
        ..chart(View::Assessments, Measure::Count)
    };
    assert_eq!(
        counts(&f, judged).await,
        [
            (None, texts(&["good", "\"yes\""]), 1),
            (None, texts(&["good", "true"]), 1),
            (None, texts(&["score", "0.7"]), 1),
            (None, texts(&["score", "0.9"]), 1)
        ]
    );
    let numbers = async |f: &Fixture, chart: Chart| {
        let bucket = f.db.trace_chart(&chart).await.unwrap().remove(0);
        (bucket.count, bucket.sum, bucket.min, bucket.max)
    };
    assert_eq!(numbers(&f, chart(View::Traces, Measure::Duration)).await, (8, 36.0, 1.0, 8.0));
    assert_eq!(numbers(&f, chart(View::Traces, Measure::Tokens(2))).await, (4, 1000.0, 100.0, 400.0));
    assert_eq!(numbers(&f, chart(View::Spans, Measure::Cost(2))).await, (2, 1.0, 0.5, 0.5));
    let one = Chart { from_ms: Some(20), to_ms: Some(20), ..chart(View::Spans, Measure::Cost(2)) };
    assert_eq!(numbers(&f, one).await, (1, 0.5, 0.5, 0.5));
    assert_eq!(numbers(&f, chart(View::Assessments, Measure::Value)).await, (2, 1.6, 0.7, 0.9));
    let models = Chart { dimensions: vec![Dimension::SpanModel], ..chart(View::Spans, Measure::Count) };
    assert_eq!(counts(&f, models).await, [(None, texts(&["gpt-4o"]), 2)]);
    let least = Chart { limit: 1, dimensions: vec![Dimension::TraceState], ..all };
    assert_eq!(counts(&f, least).await, [(None, texts(&["ERROR"]), 2)]);
}

async fn percentiles_lie_between_neighbours(f: Fixture) {
    fill(&f.db).await;
    let chart = Chart {
        percentiles: vec![0.0, 25.0, 50.0, 99.9, 100.0],
        dimensions: vec![Dimension::TraceName],
        ..chart(View::Traces, Measure::Duration)
    };
    let found = f.db.trace_chart(&chart).await.unwrap();
    // `Odd` are 1, 3 and 5 milliseconds, `even` 2, 4 and 6.
    for (bucket, expected) in found.iter().zip([[1.0, 2.0, 3.0, 4.996, 5.0], [2.0, 3.0, 4.0, 5.996, 6.0]]) {
        let close =
            bucket.percentiles.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9);
        assert!(close, "{bucket:?}");
    }
    assert_eq!(found.len(), 2);
}
