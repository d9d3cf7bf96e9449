//! Traces: merging of what arrives, reading, assessments, deletion.

use tidemill_core::EventKind;
use tidemill_db::traces::{
    Assessment, AssessmentKind, NAME_TAG, NewTrace, SESSION_KEY, Span, SpanBatch, TOKENS_KEY, TraceInfo,
    TraceState, Usage,
};
use tidemill_db::{Db, Error};

use crate::fixture::{Fixture, at, event, experiment, on_both, pair};

on_both!(
    spans_make_a_trace_and_widen_it,
    what_the_client_says_stands,
    the_same_span_again_changes_nothing,
    a_span_that_ended_does_not_run_again,
    usage_is_summed_over_all_requests,
    many_writers_at_once,
    an_experiment_that_is_not_there_fails_alone,
    tags_are_set_and_removed,
    assessments_override_each_other,
    traces_are_deleted_with_all_that_is_theirs,
    text_of_every_kind_comes_back,
);

/// Autovacuum would do so within a minute; they are searched before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_knows_traces_that_have_just_come() {
    let f = Fixture::postgres().await;
    experiment(&f.db, 1).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..300 {
        let db = f.db.clone();
        tasks.spawn(async move {
            let trace = format!("tr-{i}");
            db.put_trace(whole(&trace, i)).await.unwrap();
            db.put_spans(vec![batch(&trace, vec![span(1, None, i, i + 5)])]).await.unwrap();
        });
    }
    tasks.join_all().await;
    f.until_analyzed(&["trace"]).await;
}

pub(crate) fn span(id: u8, parent: Option<u8>, started_ms: i64, ended_ms: i64) -> Span {
    Span {
        id: format!("{id:016x}"),
        parent: parent.map(|id| format!("{id:016x}")),
        name: format!("span {id}"),
        kind: "LLM".to_owned(),
        status: "OK".to_owned(),
        started_ns: started_ms * 1_000_000,
        ended_ns: (ended_ms > 0).then_some(ended_ms * 1_000_000),
        body: format!("{{\"span\": {id}}}"),
        ..Span::default()
    }
}

pub(crate) fn batch(trace: &str, spans: Vec<Span>) -> SpanBatch {
    let state = spans.iter().any(|span| span.parent.is_none()).then_some(TraceState::Ok);
    SpanBatch { trace: trace.to_owned(), experiment: 1, spans, state, ..SpanBatch::default() }
}

pub(crate) fn whole(trace: &str, millis: i64) -> NewTrace {
    let info = TraceInfo {
        id: trace.to_owned(),
        experiment: 1,
        state: TraceState::Ok,
        at: at(millis),
        duration_ms: Some(10),
        ..TraceInfo::default()
    };
    NewTrace { info, usage: Usage::default() }
}

async fn read(db: &Db, id: &str) -> TraceInfo {
    db.trace(id).await.unwrap().unwrap()
}

fn value<'a>(pairs: &'a [tidemill_db::tracking::KeyValue], key: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
}

async fn spans_make_a_trace_and_widen_it(f: Fixture) {
    experiment(&f.db, 1).await;
    let child = SpanBatch {
        tags: vec![pair("a", "1")],
        default_tags: vec![pair("place", "here")],
        default_metadata: vec![pair(SESSION_KEY, "s1")],
        ..batch("tr-1", vec![span(2, Some(1), 110, 150)])
    };
    f.db.put_spans(vec![child]).await.unwrap();
    let trace = read(&f.db, "tr-1").await;
    assert_eq!((trace.state, trace.at, trace.duration_ms), (TraceState::InProgress, at(110), Some(40)));
    let root = SpanBatch {
        tags: vec![pair(NAME_TAG, "answer")],
        default_tags: vec![pair("place", "there")],
        default_metadata: vec![pair(SESSION_KEY, "s2")],
        request_preview: Some("asked".to_owned()),
        ..batch("tr-1", vec![span(1, None, 100, 200)])
    };
    f.db.put_spans(vec![root]).await.unwrap();
    let trace = read(&f.db, "tr-1").await;
    assert_eq!((trace.state, trace.at, trace.duration_ms), (TraceState::Ok, at(100), Some(100)));
    assert_eq!(trace.tags, [pair("a", "1"), pair(NAME_TAG, "answer"), pair("place", "here")]);
    assert_eq!(trace.metadata, [pair(SESSION_KEY, "s1")]);
    assert_eq!(trace.request_preview.as_deref(), Some("asked"));
    // Roots first, then by time.
    f.db.put_spans(vec![batch("tr-1", vec![span(3, Some(1), 105, 106)])]).await.unwrap();
    let bodies: Vec<String> =
        f.db.spans(&["tr-1".to_owned()]).await.unwrap().into_iter().map(|span| span.body).collect();
    assert_eq!(bodies, ["{\"span\": 1}", "{\"span\": 3}", "{\"span\": 2}"]);
    assert_eq!(f.db.trace("tr-2").await.unwrap(), None);
}

async fn what_the_client_says_stands(f: Fixture) {
    experiment(&f.db, 1).await;
    experiment(&f.db, 2).await;
    for before in [true, false] {
        let id = format!("tr-{before}");
        let mut told = whole(&id, 500);
        told.info.tags = vec![pair(NAME_TAG, "told")];
        told.info.metadata = vec![pair("k", "v")];
        told.info.experiment = 2;
        told.info.state = TraceState::Error;
        told.usage.tokens[0] = Some(7);
        told.info.metadata.extend(told.usage.metadata());
        let mut used = span(1, None, 100, 900);
        used.usage.tokens[0] = Some(1000);
        let spans = SpanBatch { request_preview: Some("seen".to_owned()), ..batch(&id, vec![used]) };
        if before {
            f.db.put_trace(told.clone()).await.unwrap();
            f.db.put_spans(vec![spans]).await.unwrap();
        } else {
            f.db.put_spans(vec![spans]).await.unwrap();
            f.db.put_trace(told.clone()).await.unwrap();
        }
        let trace = read(&f.db, &id).await;
        assert_eq!((trace.at, trace.duration_ms, trace.experiment), (at(500), Some(10), 2), "{before}");
        assert_eq!(trace.state, TraceState::Error);
        assert_eq!(trace.request_preview.as_deref(), Some("seen"));
        assert_eq!(value(&trace.tags, NAME_TAG), Some("told"));
        assert_eq!(value(&trace.metadata, TOKENS_KEY), Some("{\"input_tokens\": 7}"));
        // Told again, as after an answer that was lost.
        f.db.put_trace(told).await.unwrap();
        assert_eq!(read(&f.db, &id).await, trace);
    }
}

async fn the_same_span_again_changes_nothing(f: Fixture) {
    experiment(&f.db, 1).await;
    let mut used = span(2, Some(1), 110, 150);
    used.usage.tokens = [Some(3), Some(4), None, None, None, None];
    used.usage.costs = [None, None, Some(0.25)];
    let all = batch("tr-1", vec![span(1, None, 100, 200), used]);
    f.db.put_spans(vec![all.clone()]).await.unwrap();
    let before = (read(&f.db, "tr-1").await, f.db.spans(&["tr-1".to_owned()]).await.unwrap());
    for _ in 0..3 {
        f.db.put_spans(vec![all.clone(), all.clone()]).await.unwrap();
    }
    assert_eq!((read(&f.db, "tr-1").await, f.db.spans(&["tr-1".to_owned()]).await.unwrap()), before);
    assert_eq!(before.1.len(), 2);
    assert_eq!(
        value(&before.0.metadata, TOKENS_KEY),
        Some("{\"input_tokens\": 3, \"output_tokens\": 4, \"total_tokens\": 0}")
    );
}

async fn a_span_that_ended_does_not_run_again(f: Fixture) {
    experiment(&f.db, 1).await;
    let ended = Span { body: "ended".to_owned(), ..span(1, None, 100, 200) };
    let running = Span { body: "running".to_owned(), ..span(1, None, 100, 0) };
    for order in [[&running, &ended], [&ended, &running]] {
        let id = format!("tr-{}", order[0].body);
        for one in order {
            f.db.put_spans(vec![batch(&id, vec![one.clone()])]).await.unwrap();
        }
        assert_eq!(f.db.spans(&[id.clone()]).await.unwrap()[0].body, "ended");
        assert_eq!(read(&f.db, &id).await.duration_ms, Some(100));
    }
}

async fn usage_is_summed_over_all_requests(f: Fixture) {
    experiment(&f.db, 1).await;
    let used = |id: u8, parent: Option<u8>, tokens: i64| {
        let mut span = span(id, parent, 100, 200);
        span.usage.tokens[2] = Some(tokens);
        span
    };
    let total = async |f: &Fixture| value(&read(&f.db, "tr-1").await.metadata, TOKENS_KEY).map(str::to_owned);
    f.db.put_spans(vec![batch("tr-1", vec![used(3, Some(2), 5)])]).await.unwrap();
    f.db.put_spans(vec![batch("tr-1", vec![used(4, Some(2), 6)])]).await.unwrap();
    assert_eq!(
        total(&f).await.as_deref(),
        Some("{\"input_tokens\": 0, \"output_tokens\": 0, \"total_tokens\": 11}")
    );
    // The span above them, which already has the sum of both.
    f.db.put_spans(vec![batch("tr-1", vec![used(2, Some(1), 11), span(1, None, 90, 300)])]).await.unwrap();
    assert_eq!(
        total(&f).await.as_deref(),
        Some("{\"input_tokens\": 0, \"output_tokens\": 0, \"total_tokens\": 11}")
    );
}

async fn many_writers_at_once(f: Fixture) {
    experiment(&f.db, 1).await;
    let tasks = (0..64u8).map(|i| {
        let db = f.db.clone();
        tokio::spawn(async move {
            let trace = format!("tr-{}", i % 4);
            if i % 8 == 0 {
                db.put_trace(whole(&trace, 1000)).await
            } else {
                db.put_spans(vec![batch(&trace, vec![span(i, Some(200), 100, 200)])]).await
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    let ids: Vec<String> = (0..4).map(|i| format!("tr-{i}")).collect();
    assert_eq!(f.db.spans(&ids).await.unwrap().len(), 56);
    assert_eq!(f.db.traces(&ids).await.unwrap().len(), 4);
    f.db.clone().close().await.unwrap();
    let closed = f.db.put_trace(whole("tr-9", 1)).await;
    assert!(matches!(closed, Err(Error::Closed { .. })), "{closed:?}");
}

async fn an_experiment_that_is_not_there_fails_alone(f: Fixture) {
    experiment(&f.db, 1).await;
    let tasks = (0..16i64).map(|i| {
        let db = f.db.clone();
        tokio::spawn(async move {
            let spans = vec![span(1, None, 100, 200)];
            let batch =
                SpanBatch { experiment: if i % 4 == 0 { 77 } else { 1 }, ..batch(&format!("tr-{i}"), spans) };
            (i, db.put_spans(vec![batch]).await)
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        let (i, done) = task.await.unwrap();
        match done {
            Ok(()) => assert_ne!(i % 4, 0),
            Err(Error::NotFound { what: "experiment", name }) => {
                assert_eq!((i % 4, name.as_str()), (0, "77"));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    // All of a request or nothing.
    let good = batch("tr-good", vec![span(1, None, 100, 200)]);
    let bad = SpanBatch { experiment: 77, ..batch("tr-bad", vec![span(1, None, 100, 200)]) };
    assert!(f.db.put_spans(vec![good, bad]).await.is_err());
    assert_eq!(f.db.trace("tr-good").await.unwrap(), None);
}

async fn tags_are_set_and_removed(f: Fixture) {
    experiment(&f.db, 1).await;
    f.db.put_trace(whole("tr-1", 5)).await.unwrap();
    assert!(f.db.set_trace_tag("tr-1", &pair("a", "1")).await.unwrap());
    assert!(f.db.set_trace_tag("tr-1", &pair("a", "2")).await.unwrap());
    assert!(!f.db.set_trace_tag("tr-2", &pair("a", "2")).await.unwrap());
    assert_eq!(read(&f.db, "tr-1").await.tags, [pair("a", "2")]);
    assert!(f.db.delete_trace_tag("tr-1", "a").await.unwrap());
    assert!(!f.db.delete_trace_tag("tr-1", "a").await.unwrap());
    assert!(f.db.set_trace_tag("tr-1", &pair(NAME_TAG, "n")).await.unwrap());
    assert_eq!(f.rows("SELECT name FROM trace").await, ["n"]);
}

fn judged(id: &str, value: &str) -> Assessment {
    Assessment {
        id: id.to_owned(),
        trace: "tr-1".to_owned(),
        kind: AssessmentKind::Feedback,
        name: "good".to_owned(),
        value: value.to_owned(),
        number: value.parse().ok(),
        is_number: value.parse::<f64>().is_ok(),
        error: None,
        source_kind: "HUMAN".to_owned(),
        source: Some("ana".to_owned()),
        run: None,
        span: None,
        rationale: Some("because".to_owned()),
        overrides: None,
        is_valid: true,
        metadata: Some("{\"a\": \"b\"}".to_owned()),
        created_at: at(1),
        updated_at: at(1),
    }
}

async fn assessments_override_each_other(f: Fixture) {
    experiment(&f.db, 1).await;
    let first = judged("a-1", "0.5");
    let missing = f.db.create_assessment(&first).await;
    assert!(matches!(missing, Err(Error::NotFound { what: "trace", .. })), "{missing:?}");
    f.db.put_trace(whole("tr-1", 5)).await.unwrap();
    f.db.create_assessment(&first).await.unwrap();
    let taken = f.db.create_assessment(&first).await;
    assert!(matches!(taken, Err(Error::Exists { what: "assessment", .. })), "{taken:?}");
    let second = Assessment { overrides: Some("a-1".to_owned()), created_at: at(2), ..judged("a-2", "0.9") };
    f.db.create_assessment(&second).await.unwrap();
    let lost = Assessment { overrides: Some("a-x".to_owned()), ..judged("a-3", "1") };
    let refused = f.db.create_assessment(&lost).await;
    assert!(matches!(refused, Err(Error::NotFound { what: "assessment", .. })), "{refused:?}");
    let valid = async |f: &Fixture| -> Vec<(String, bool)> {
        read(&f.db, "tr-1").await.assessments.into_iter().map(|one| (one.id, one.is_valid)).collect()
    };
    assert_eq!(valid(&f).await, [("a-1".to_owned(), false), ("a-2".to_owned(), true)]);
    let changed =
        f.db.change_assessment("tr-1", "a-2", |one| "0.1".clone_into(&mut one.value)).await.unwrap();
    assert_eq!(changed, f.db.assessment("tr-1", "a-2").await.unwrap());
    assert_eq!(changed.unwrap().value, "0.1");
    assert_eq!(f.db.change_assessment("tr-2", "a-2", |_| {}).await.unwrap(), None);
    f.db.delete_assessment("tr-1", "a-2").await.unwrap();
    f.db.delete_assessment("tr-1", "a-2").await.unwrap();
    assert_eq!(valid(&f).await, [("a-1".to_owned(), true)]);
}

async fn traces_are_deleted_with_all_that_is_theirs(f: Fixture) {
    experiment(&f.db, 1).await;
    experiment(&f.db, 2).await;
    for i in 1..=5 {
        f.db.put_trace(whole(&format!("tr-{i}"), i * 10)).await.unwrap();
        f.db.put_spans(vec![batch(&format!("tr-{i}"), vec![span(1, None, 100, 200)])]).await.unwrap();
    }
    f.db.create_assessment(&judged("a-1", "1")).await.unwrap();
    let deleted = async |f: &Fixture, experiment, until: Option<i64>, ids: Option<&[&str]>, limit| {
        let ids: Option<Vec<String>> = ids.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        let mut tx = f.db.begin().await.unwrap();
        let traces = tx.delete_traces(experiment, until.map(at), ids.as_deref(), limit).await.unwrap();
        if traces > 0 {
            tx.commit(vec![event(1, EventKind::TracesDeleted { experiment, traces })]).await.unwrap();
        }
        traces
    };
    assert_eq!(deleted(&f, 2, None, Some(&["tr-1"]), None).await, 0);
    assert_eq!(deleted(&f, 1, None, Some(&["tr-1", "tr-1", "tr-x"]), None).await, 1);
    assert_eq!(deleted(&f, 1, Some(40), None, Some(2)).await, 2);
    assert_eq!(f.rows("SELECT uuid FROM trace ORDER BY uuid").await, ["tr-4", "tr-5"]);
    assert_eq!(f.rows("SELECT COUNT(*) || '' FROM span").await, ["2"]);
    assert_eq!(f.rows("SELECT uuid FROM assessment").await, Vec::<String>::new());
    let mut tx = f.db.begin().await.unwrap();
    tx.delete_traces(1, Some(at(99)), None, None).await.unwrap();
    assert!(matches!(tx.commit(Vec::new()).await, Err(Error::NoEvent)));
}

async fn text_of_every_kind_comes_back(f: Fixture) {
    experiment(&f.db, 1).await;
    let odd = "'; -- \"größe\" \u{1f30a} %_\\ \n\t";
    let mut told = whole(&format!("tr-{odd}"), 5);
    told.info.tags = vec![pair(odd, odd)];
    told.info.metadata = vec![pair(odd, odd)];
    told.info.client_request_id = Some(odd.to_owned());
    told.info.response_preview = Some(odd.to_owned());
    f.db.put_trace(told.clone()).await.unwrap();
    let body = Span { body: odd.to_owned(), name: odd.to_owned(), ..span(1, None, 1, 2) };
    f.db.put_spans(vec![batch(&told.info.id, vec![body])]).await.unwrap();
    assert_eq!(read(&f.db, &told.info.id).await, told.info);
    assert_eq!(f.db.spans(&[told.info.id]).await.unwrap()[0].body, odd);
}
