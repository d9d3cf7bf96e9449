//! Outcomes find their requests, whichever of the two comes first.

use tidemill_db::outcomes::OutcomeCounts;

use super::*;
use crate::Recorder as _;
use crate::record::outcome::Outcomes;
use crate::record::segment::tests::record;
use crate::record::tests::Lab;

const START: i64 = 9 * 3_600_000;

fn outcome(name: &str) -> Outcome {
    Outcome { endpoint: "loans".into(), name: name.into(), number: Some(1.0), ..Outcome::default() }
}

fn by_id(id: u64) -> Outcome {
    let request_id = Some(format!("request-{id:06}"));
    Outcome { request_id, received_at: Timestamp::from_millis(START + 60_000), ..outcome("label") }
}

fn by_entity(entity: &str, seconds: i64) -> Outcome {
    let at = Timestamp::from_millis(START + seconds * 1000);
    Outcome { entity: Some(entity.to_owned()), occurred_at: Some(at), received_at: at, ..outcome("amount") }
}

#[tokio::test]
async fn early_late_duplicate_and_unknown_outcomes() {
    let lab = Lab::new().await;
    let log = lab.log();
    let matcher = Matcher::new(lab.db.clone(), lab.reader(), lab.clock.clone(), Duration::from_millis(50));
    let rules = OutcomeRules {
        tolerance: Duration::from_secs(30),
        late_after: Some(Duration::from_secs(50)),
        ..OutcomeRules::default()
    };
    // Requests 0 to 19, one a second; customer-N has N, N + 7 and N + 14.
    let pass = async || matcher.pass("loans", rules).await.unwrap();
    lab.db
        .add_outcomes(&tidemill_core::Actor::user("ana"), &[by_id(3), by_entity("customer-2", 12), by_id(99)])
        .await
        .unwrap();
    assert_eq!(pass().await, Passed { waiting: 3, ..Passed::default() });
    (0..20).for_each(|i| log.record(record(i, START + i64::try_from(i).unwrap() * 1000)));
    log.flush().unwrap();
    // Found in a segment that is open.
    assert_eq!(pass().await, Passed { matched: 2, late: 1, waiting: 1, ..Passed::default() });
    let matched = lab.db.matched_outcomes("loans", Timestamp::from_millis(0), lab.clock.now()).await.unwrap();
    let ids: Vec<&str> =
        matched.iter().map(|outcome| outcome.matched.as_ref().unwrap().request_id.as_str()).collect();
    assert_eq!(ids, ["request-000003", "request-000009"]);
    // Rolled: the same is found in Parquet, and what has been tried is not looked at again.
    log.close();
    drop(log);
    let log = lab.log();
    lab.roller(&log).roll().await.unwrap();
    lab.db
        .add_outcomes(
            &tidemill_core::Actor::user("ana"),
            &[by_id(3), by_entity("customer-2", 8), by_entity("customer-2", 60), by_id(4)],
        )
        .await
        .unwrap();
    assert_eq!(pass().await, Passed { matched: 2, late: 1, waiting: 2, duplicate: 1, ..Passed::default() });
    log.record(record(99, START + 90_000));
    log.flush().unwrap();
    assert_eq!(pass().await, Passed { matched: 1, waiting: 1, ..Passed::default() });
    let counts = lab.db.outcome_counts("loans").await.unwrap();
    let expected =
        OutcomeCounts { matched: 5, late: 2, waiting: 1, duplicate: 1, ..OutcomeCounts::default() };
    assert_eq!(counts, expected);
}

/// A label that is sent again with another value takes the place of the one before, in tables and on `/metrics`.
#[tokio::test]
async fn a_correction_takes_the_place_of_what_was_said_before() {
    use prometheus_client::encoding::prometheus_text::encode;
    use prometheus_client::registry::Registry;

    let lab = Lab::new().await;
    let log = lab.log();
    let counters = OutcomeCounters::default();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(counters.clone()));
    let matcher = Matcher::new(lab.db.clone(), lab.reader(), lab.clock.clone(), Duration::from_millis(50))
        .counted(counters);
    (0..3).for_each(|i| log.record(record(i, START + i64::try_from(i).unwrap())));
    log.flush().unwrap();
    let send = async |outcome: Outcome| {
        lab.db.add_outcomes(&tidemill_core::Actor::user("ana"), &[outcome]).await.unwrap();
        matcher.pass("loans", OutcomeRules::default()).await.unwrap()
    };
    let labels = async || {
        let outcomes = Outcomes::load(&lab.db, "loans", None, None).await.unwrap();
        let rows = outcomes.attach(&lab.rows(&Query::of("loans", None, None)).await).unwrap();
        let labels = rows.column_by_name("outcome_label").unwrap();
        labels.as_primitive::<arrow::datatypes::Float64Type>().value(0)
    };
    let later = |seconds: i64, number: f64| Outcome {
        number: Some(number),
        received_at: Timestamp::from_millis(START + 60_000 + 1_000 * seconds),
        ..by_id(0)
    };
    assert_eq!(send(later(0, 1.0)).await, Passed { matched: 1, ..Passed::default() });
    assert_eq!(labels().await, 1.0);
    assert_eq!(send(later(1, 0.0)).await, Passed { matched: 1, corrected: 1, ..Passed::default() });
    assert_eq!(labels().await, 0.0);
    assert_eq!(send(later(2, 0.0)).await, Passed { duplicate: 1, ..Passed::default() });
    assert_eq!(labels().await, 0.0);
    let counts = lab.db.outcome_counts("loans").await.unwrap();
    assert_eq!((counts.matched, counts.corrected, counts.duplicate), (1, 1, 1));
    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    for (state, count) in [("matched", 2), ("corrected", 1), ("duplicate", 1), ("unmatched", 0)] {
        let line = format!("tidemill_outcomes_total{{endpoint=\"loans\",state=\"{state}\"}} {count}\n");
        assert!(page.contains(&line), "{line}{page}");
    }
}

#[tokio::test]
async fn an_outcome_of_just_now_waits_for_the_disk() {
    let lab = Lab::new().await;
    let log = lab.log();
    let matcher = Matcher::new(lab.db.clone(), lab.reader(), lab.clock.clone(), Duration::from_millis(50));
    let now = lab.clock.now();
    log.record(record(1, now.millis() - 10));
    log.flush().unwrap();
    let entity = Some("customer-1".to_owned());
    lab.db
        .add_outcomes(
            &tidemill_core::Actor::user("ana"),
            &[Outcome { entity, occurred_at: Some(now), received_at: now, ..outcome("x") }],
        )
        .await
        .unwrap();
    assert_eq!(matcher.pass("loans", OutcomeRules::default()).await.unwrap().waiting, 1);
    assert!(matcher.early.swap(false, Ordering::Relaxed), "it is looked at again as soon as it can be");
    lab.clock.advance(Duration::from_secs(2));
    assert_eq!(matcher.pass("loans", OutcomeRules::default()).await.unwrap().matched, 1);
    assert!(!matcher.early.load(Ordering::Relaxed));
}

#[tokio::test]
async fn outcomes_stand_beside_their_rows() {
    let lab = Lab::new().await;
    let log = lab.log();
    (0..3).for_each(|i| log.record(record(i, START + i64::try_from(i).unwrap())));
    log.flush().unwrap();
    let second_row = Outcome { row: Some(1), number: None, text: Some("paid".into()), ..by_id(2) };
    let kind = |outcome: Outcome| Outcome { name: "kind".into(), ..outcome };
    lab.db.add_outcomes(&tidemill_core::Actor::user("ana"), &[by_id(0), kind(second_row)]).await.unwrap();
    let matcher = Matcher::new(lab.db.clone(), lab.reader(), lab.clock.clone(), Duration::from_millis(50));
    matcher.pass("loans", OutcomeRules::default()).await.unwrap();
    let outcomes = Outcomes::load(&lab.db, "loans", None, None).await.unwrap();
    let rows = outcomes.attach(&lab.rows(&Query::of("loans", None, None)).await).unwrap();
    let labels = rows.column_by_name("outcome_label").unwrap();
    let labels: Vec<Option<f64>> = labels.as_primitive::<arrow::datatypes::Float64Type>().iter().collect();
    assert_eq!(labels, [Some(1.0), Some(1.0), None, None, None, None]);
    let kinds: Vec<Option<&str>> =
        rows.column_by_name("outcome_kind").unwrap().as_string::<i32>().iter().collect();
    assert_eq!(kinds, [None, None, None, None, None, Some("paid")]);
    assert_eq!(outcomes.schema(&lab.rows(&Query::of("loans", None, None)).await.schema()), rows.schema());
}

/// Where requests are is remembered over passes; what was forgotten is read again, and what has left the log is not found.
#[tokio::test]
async fn requests_are_looked_up_where_they_are() {
    let lab = Lab::new().await;
    let matcher = Matcher::new(lab.db.clone(), lab.reader(), lab.clock.clone(), Duration::from_millis(50));
    let mut next = 0;
    // A part for each of six hours, with ten requests.
    let hour = async |hour: i64, next: &mut u64| {
        let log = lab.log();
        for _ in 0..10 {
            log.record(record(*next, hour * 3_600_000 + i64::try_from(*next).unwrap() * 1000));
            *next += 1;
        }
        log.close();
        drop(log);
        let log = lab.log();
        assert_eq!(lab.roller(&log).roll().await.unwrap().parts, 1);
    };
    let joined = async |ids: &[u64]| {
        let outcomes: Vec<Outcome> = ids.iter().map(|id| by_id(*id)).collect();
        lab.db.add_outcomes(&tidemill_core::Actor::user("ana"), &outcomes).await.unwrap();
        let passed = matcher.pass("loans", OutcomeRules::default()).await.unwrap();
        (passed.matched, passed.waiting)
    };
    let remembered = async || {
        let places = matcher.places.lock().await;
        (places["loans"].len(), places["loans"].forgotten())
    };
    hour(1, &mut next).await;
    hour(2, &mut next).await;
    assert_eq!(joined(&[3, 13]).await, (2, 0));
    assert_eq!(remembered().await, (20, 0));
    hour(3, &mut next).await;
    hour(4, &mut next).await;
    assert_eq!(joined(&[4, 24, 34, 99]).await, (3, 1));
    assert_eq!(remembered().await, (40, 0));
    matcher.places.lock().await.get_mut("loans").unwrap().forget_half();
    let (left, forgotten) = remembered().await;
    assert!(left < 40 && forgotten > 0);
    assert_eq!(joined(&[5, 15, 35]).await, (3, 1));
    // Those before the third hour leave the log.
    let before = Timestamp::from_millis(3 * 3_600_000);
    assert_eq!(lab.db.drop_record_parts("loans", before, lab.clock.now()).await.unwrap(), 2);
    assert_eq!(joined(&[6, 26, 36]).await, (2, 2));
    // A matcher that begins anew finds the same.
    let matcher = Matcher::new(lab.db.clone(), lab.reader(), lab.clock.clone(), Duration::from_millis(50));
    let outcomes = [by_id(7), by_id(27), by_id(37)];
    lab.db.add_outcomes(&tidemill_core::Actor::user("ana"), &outcomes).await.unwrap();
    let passed = matcher.pass("loans", OutcomeRules::default()).await.unwrap();
    assert_eq!((passed.matched, passed.waiting), (2, 3));
}

#[tokio::test]
async fn outcomes_without_a_request_are_tried_rarely_and_given_up() {
    let lab = Lab::new().await;
    let log = lab.log();
    log.record(record(1, START));
    log.flush().unwrap();
    let matcher = Matcher::new(lab.db.clone(), lab.reader(), lab.clock.clone(), Duration::from_millis(50));
    let rules = OutcomeRules { give_up_after: Duration::from_secs(3_600 * 24), ..OutcomeRules::default() };
    let ana = tidemill_core::Actor::user("ana");
    let received_at = Timestamp::from_millis(lab.clock.now().millis() - 10_000);
    let send =
        async |id: u64| lab.db.add_outcomes(&ana, &[Outcome { received_at, ..by_id(id) }]).await.unwrap();
    let next = async || matcher.next("loans", rules).await.unwrap();
    send(500).await;
    assert_eq!(next().await, Passed { waiting: 1, ..Passed::default() });
    // It is not looked at again right away; what is new is.
    send(1).await;
    assert_eq!(next().await, Passed { matched: 1, ..Passed::default() });
    assert_eq!(next().await, Passed::default());
    let tried = matcher.tried("loans").await;
    assert!(tried.again.is_some() && tried.pause == EVERY, "{tried:?}");
    // Each time that nothing is found the pause is longer, up to a quarter of an hour.
    for pause in [60, 120, 240, 480, 900, 900] {
        matcher.tried.lock().await.get_mut("loans").unwrap().again = None;
        assert_eq!(next().await.waiting, 1);
        assert_eq!(matcher.tried("loans").await.pause, Duration::from_secs(pause));
    }
    // A record that comes late is found all the same.
    send(501).await;
    assert_eq!(next().await.waiting, 1);
    log.record(record(501, START + 1));
    log.close();
    drop(log);
    let log = lab.log();
    lab.roller(&log).roll().await.unwrap();
    matcher.tried.lock().await.get_mut("loans").unwrap().again = None;
    assert_eq!(next().await, Passed { matched: 1, waiting: 1, ..Passed::default() });
    lab.clock.advance(Duration::from_secs(3_600 * 24 + 1));
    matcher.tried.lock().await.get_mut("loans").unwrap().again = None;
    assert_eq!(next().await, Passed { unmatched: 1, ..Passed::default() });
    assert!(lab.db.endpoints_with_waiting_outcomes().await.unwrap().is_empty());
    let counts = lab.db.outcome_counts("loans").await.unwrap();
    assert_eq!((counts.matched, counts.waiting, counts.unmatched), (2, 0, 1));
    // Sent once more it is looked for again, and found when its request is there.
    let received_at = Timestamp::from_millis(lab.clock.now().millis() - 10_000);
    lab.db.add_outcomes(&ana, &[Outcome { received_at, ..by_id(500) }]).await.unwrap();
    assert_eq!(next().await, Passed { waiting: 1, ..Passed::default() });
    log.record(record(500, START + 2));
    log.flush().unwrap();
    matcher.tried.lock().await.get_mut("loans").unwrap().again = None;
    assert_eq!(next().await, Passed { matched: 1, ..Passed::default() });
}
