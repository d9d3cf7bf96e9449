//! Parts of the inference log, and outcomes.

use tidemill_core::{Actor, EventKind, Timestamp};
use tidemill_db::outcomes::{DAY_MS, DayOfOutcomes, Match, Outcome, OutcomeCounts, OutcomeState, Settled};
use tidemill_db::records::{NewRecordPart, RecordFilter};
use tidemill_db::{EventFilter, Keep, Order};

use crate::fixture::{Fixture, at, digest, on_both};

on_both!(
    a_segment_is_listed_once,
    parts_are_found_by_endpoint_and_time,
    parts_are_kept_by_collections_until_they_are_dropped,
    outcomes_wait_are_matched_and_counted,
    the_last_outcome_of_a_row_stands,
    what_is_sent_again_is_stored_once,
    what_was_given_up_is_tried_again_when_it_is_sent_again,
    outcomes_are_counted_by_day,
);

fn ana() -> Actor {
    Actor::user("ana")
}

/// What the log says of these, oldest first.
async fn events(f: &Fixture) -> Vec<EventKind> {
    let filter = EventFilter { order: Order::OldestFirst, ..EventFilter::default() };
    f.db.events(&filter).await.unwrap().into_iter().map(|event| event.kind).collect()
}

fn part(endpoint: &str, hour: i64, content: &str) -> NewRecordPart {
    NewRecordPart {
        endpoint: endpoint.to_owned(),
        hour,
        first_at: at(hour * 3_600_000 + 5),
        last_at: at(hour * 3_600_000 + 3_000_000),
        requests: 10,
        rows: 20,
        bytes: 1 << 33,
        digest: digest(content),
        versions: "[\"3\"]".to_owned(),
    }
}

async fn a_segment_is_listed_once(f: Fixture) {
    let parts = [part("loans", 1, "a"), part("loans", 2, "b")];
    assert!(f.db.add_record_parts("loans/1", at(9), &parts).await.unwrap());
    assert!(!f.db.add_record_parts("loans/1", at(10), &parts).await.unwrap());
    // An empty segment is done with as well.
    assert!(f.db.add_record_parts("loans/2", at(10), &[]).await.unwrap());
    let names = ["loans/1", "loans/2", "loans/3"].map(str::to_owned);
    let (found, listed) = f.db.record_parts(&RecordFilter::default(), &names).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((found[1].number, found[1].segment.as_str(), found[1].bytes), (1, "loans/1", 1 << 33));
    assert!(listed.contains("loans/1") && listed.contains("loans/2") && !listed.contains("loans/3"));
    // One event: the second time nothing was stored, and an empty segment stores nothing.
    assert_eq!(f.db.log_head().await.unwrap().size, 1);
}

async fn parts_are_found_by_endpoint_and_time(f: Fixture) {
    for (segment, endpoint, hour) in [("s1", "b", 5), ("s2", "a", 6), ("s3", "a", 5)] {
        f.db.add_record_parts(segment, at(1), &[part(endpoint, hour, segment)]).await.unwrap();
    }
    let found = async |filter: RecordFilter| -> Vec<String> {
        f.db.record_parts(&filter, &[]).await.unwrap().0.into_iter().map(|part| part.segment).collect()
    };
    assert_eq!(found(RecordFilter::default()).await, ["s3", "s2", "s1"]);
    let a = || RecordFilter { endpoint: Some("a".to_owned()), ..RecordFilter::default() };
    assert_eq!(found(a()).await, ["s3", "s2"]);
    assert_eq!(found(RecordFilter { from: Some(at(6 * 3_600_000)), ..a() }).await, ["s2"]);
    assert_eq!(found(RecordFilter { to: Some(at(5 * 3_600_000 + 6)), ..a() }).await, ["s3"]);
    assert_eq!(found(RecordFilter { to: Some(at(5 * 3_600_000 + 5)), ..a() }).await, Vec::<String>::new());
    assert_eq!(found(RecordFilter { after: 2, ..a() }).await, ["s3"]);
    assert_eq!(f.db.record_endpoints().await.unwrap(), ["a", "b"]);
}

async fn parts_are_kept_by_collections_until_they_are_dropped(f: Fixture) {
    f.db.add_record_parts("s1", at(1), &[part("a", 5, "one"), part("a", 6, "two")]).await.unwrap();
    let kept = async |content: &str| f.db.roots(&Keep::default()).await.unwrap().contains(&digest(content));
    assert!(kept("one").await && kept("two").await);
    assert_eq!(f.db.drop_record_parts("a", at(6 * 3_600_000), at(60)).await.unwrap(), 1);
    assert!(!kept("one").await && kept("two").await);
    assert_eq!(f.db.drop_record_segments(at(100), &[]).await.unwrap(), 0);
    assert_eq!(f.db.drop_record_parts("a", at(i64::MAX), at(60)).await.unwrap(), 1);
    assert_eq!(f.db.drop_record_segments(at(100), &["s1".to_owned()]).await.unwrap(), 0);
    assert_eq!(f.db.drop_record_segments(at(1), &[]).await.unwrap(), 0);
    assert_eq!(f.db.drop_record_segments(at(100), &[]).await.unwrap(), 1);
    let parts = |parts, why: &str| match why {
        "" => EventKind::RecordsStored {
            endpoint: "a".to_owned(),
            segment: "s1".to_owned(),
            parts,
            requests: 10 * parts,
            rows: 20 * parts,
            bytes: parts << 33,
        },
        why => EventKind::RecordsRemoved {
            endpoint: "a".to_owned(),
            why: why.to_owned(),
            parts,
            rows: 20 * parts,
            bytes: parts << 33,
        },
    };
    assert_eq!(events(&f).await, [parts(2, ""), parts(1, "age"), parts(1, "age")]);
    f.db.add_record_parts("s2", at(2), &[part("a", 7, "1"), part("a", 8, "2"), part("a", 9, "3")])
        .await
        .unwrap();
    assert_eq!(f.db.drop_record_parts_beyond("a", 3 << 33, at(70)).await.unwrap(), 0);
    assert_eq!(f.db.drop_record_parts_beyond("a", (2 << 33) - 1, at(70)).await.unwrap(), 2);
    assert!(kept("3").await && !kept("2").await, "the newest stays");
    assert_eq!(events(&f).await.last(), Some(&parts(2, "bytes")));
}

fn outcome(request: &str, number: f64) -> Outcome {
    Outcome {
        endpoint: "loans".to_owned(),
        name: "label".to_owned(),
        request_id: Some(request.to_owned()),
        number: Some(number),
        received_at: at(50),
        ..Outcome::default()
    }
}

fn matched(request: &str, row: Option<u64>) -> Option<Match> {
    Some(Match { request_id: request.to_owned(), row, at: at(40) })
}

async fn outcomes_wait_are_matched_and_counted(f: Fixture) {
    let by_entity = Outcome {
        request_id: None,
        row: Some(2),
        entity: Some("é".to_owned()),
        occurred_at: Some(at(45)),
        number: None,
        text: Some("paid".to_owned()),
        ..outcome("", 0.0)
    };
    f.db.add_outcomes(&ana(), &[outcome("r1", 1.0), by_entity.clone(), outcome("r2", f64::MIN_POSITIVE)])
        .await
        .unwrap();
    let waiting = f.db.outcomes("loans", Some(OutcomeState::Waiting), 0, 10).await.unwrap();
    let ids: Vec<i64> = waiting.iter().map(|outcome| outcome.id).collect();
    assert_eq!(waiting[1], Outcome { id: ids[1], ..by_entity });
    assert_eq!(waiting[2].number, Some(f64::MIN_POSITIVE));
    let mut settled = waiting.clone();
    settled[0].matched = matched("r1", None);
    settled[0].is_late = true;
    settled[1].matched = matched("r9", Some(2));
    (settled[2].tested_part, settled[2].is_tried) = (7, true);
    let Settled { states, corrected: 0 } = f.db.settle_outcomes("loans", &settled, at(60)).await.unwrap()
    else {
        panic!("nothing was said before")
    };
    assert_eq!(states, [OutcomeState::Matched, OutcomeState::Matched, OutcomeState::Waiting]);
    let counts = f.db.outcome_counts("loans").await.unwrap();
    assert_eq!(f.db.all_outcome_counts().await.unwrap(), counts);
    assert_eq!(counts, OutcomeCounts { matched: 2, late: 1, waiting: 1, ..OutcomeCounts::default() });
    // Who judged by outcomes sees that others came, and of which hour.
    assert_eq!(f.db.outcome_changes("loans").await.unwrap(), 2);
    assert_eq!(f.db.outcome_changes("other").await.unwrap(), 0);
    let by_hour = f.db.outcome_changes_by_hour("loans", at(40), at(41)).await.unwrap();
    assert_eq!(by_hour.into_iter().collect::<Vec<_>>(), [(at(0), 2)]);
    assert!(f.db.outcome_changes_by_hour("loans", at(3_600_000), at(i64::MAX)).await.unwrap().is_empty());
    let left = f.db.outcomes("loans", Some(OutcomeState::Waiting), 0, 10).await.unwrap();
    assert_eq!(
        left.iter().map(|outcome| (outcome.id, outcome.tested_part)).collect::<Vec<_>>(),
        [(ids[2], 7)]
    );
    // What only waits on is not written again, and leaves no event.
    let head = f.db.log_head().await.unwrap().size;
    let again = Outcome { tested_part: 9, ..left[0].clone() };
    let settled = f.db.settle_outcomes("loans", &[again], at(60)).await.unwrap();
    assert_eq!(settled.states, [OutcomeState::Waiting]);
    let same = f.db.outcomes("loans", Some(OutcomeState::Waiting), 0, 10).await.unwrap();
    assert_eq!((same[0].tested_part, f.db.log_head().await.unwrap().size), (7, head));
    let joined = f.db.matched_outcomes("loans", at(40), at(41)).await.unwrap();
    assert_eq!(
        joined.iter().map(|outcome| outcome.matched.clone()).collect::<Vec<_>>(),
        [matched("r1", None), matched("r9", Some(2)),]
    );
    assert!(
        f.db.matched_outcomes("loans", at(41), Timestamp::from_millis(i64::MAX)).await.unwrap().is_empty()
    );
    assert_eq!(f.db.endpoints_with_waiting_outcomes().await.unwrap(), ["loans"]);
    let given_up = Outcome { state: OutcomeState::Unmatched, ..left[0].clone() };
    let settled = f.db.settle_outcomes("loans", &[given_up], at(60)).await.unwrap();
    assert_eq!(settled.states, [OutcomeState::Unmatched]);
    let counts = f.db.outcome_counts("loans").await.unwrap();
    assert_eq!((counts.waiting, counts.unmatched), (0, 1), "it is kept, and waits no more");
    assert!(f.db.endpoints_with_waiting_outcomes().await.unwrap().is_empty());
    assert_eq!(f.db.outcomes("loans", None, ids[0], 1).await.unwrap()[0].id, ids[1]);
    assert_eq!(f.db.drop_outcomes("loans", at(51), at(60)).await.unwrap(), 3);
    assert_eq!(f.db.drop_outcomes("loans", at(51), at(61)).await.unwrap(), 0);
    let endpoint = "loans".to_owned();
    let expected = [
        EventKind::OutcomesReceived { endpoint: endpoint.clone(), outcomes: 3 },
        EventKind::OutcomesJoined {
            endpoint: endpoint.clone(),
            matched: 2,
            late: 1,
            duplicate: 0,
            corrected: None,
        },
        EventKind::OutcomesUnmatched { endpoint: endpoint.clone(), outcomes: 1 },
        EventKind::OutcomesRemoved { endpoint, outcomes: 3 },
    ];
    assert_eq!(events(&f).await, expected);
}

/// Of several outcomes of a request the last one by its time stands; which came first does not matter, and what is said again is no news.
async fn the_last_outcome_of_a_row_stands(f: Fixture) {
    use OutcomeState::{Corrected, Duplicate, Matched};
    let said = |number: f64, time: i64, received: i64| Outcome {
        occurred_at: Some(at(time)),
        received_at: at(received),
        ..outcome("r1", number)
    };
    let settle = async |sent: &[Outcome], row: Option<u64>| {
        f.db.add_outcomes(&ana(), sent).await.unwrap();
        let mut waiting = f.db.outcomes("loans", Some(OutcomeState::Waiting), 0, 10).await.unwrap();
        waiting.iter_mut().for_each(|outcome| outcome.matched = matched("r1", row));
        f.db.settle_outcomes("loans", &waiting, at(60)).await.unwrap()
    };
    let stands = async || {
        let found = f.db.matched_outcomes("loans", at(0), at(1_000)).await.unwrap();
        found.iter().map(|outcome| outcome.number.unwrap()).collect::<Vec<_>>()
    };
    let became = |states: &[OutcomeState], corrected| Settled { states: states.to_vec(), corrected };
    assert_eq!(settle(&[said(1.0, 10, 50), said(1.0, 10, 51)], None).await, became(&[Matched, Duplicate], 0));
    let changes = f.db.outcome_changes("loans").await.unwrap();
    // Another is said of a later time: the window of the request has changed.
    assert_eq!(settle(&[said(0.0, 20, 52)], None).await, became(&[Matched], 1));
    assert_eq!((stands().await, f.db.outcome_changes("loans").await.unwrap()), (vec![0.0], changes + 1));
    // The table is sent again, and one that is of a time between comes late.
    let again = [said(1.0, 10, 53), said(0.0, 20, 53), said(7.0, 15, 53)];
    assert_eq!(settle(&again, None).await, became(&[Duplicate, Duplicate, Corrected], 1));
    assert_eq!((stands().await, f.db.outcome_changes("loans").await.unwrap()), (vec![0.0], changes + 1));
    // Of the same time it is the one that came last, but what was said of that time before is no news.
    assert_eq!(settle(&[said(3.0, 20, 54)], None).await, became(&[Matched], 1));
    assert_eq!(settle(&[said(0.0, 20, 55)], None).await, became(&[Duplicate], 0));
    let paid = Outcome { number: None, text: Some("paid".to_owned()), ..said(0.0, 20, 56) };
    assert_eq!(settle(&[paid.clone(), paid], None).await, became(&[Matched, Duplicate], 1));
    let text = f.db.matched_outcomes("loans", at(0), at(1_000)).await.unwrap()[0].text.clone();
    assert_eq!(text.as_deref(), Some("paid"));
    // Without a time it is that of their coming; of a row alone it is another outcome, as it is of another name.
    let amount = Outcome { name: "amount".to_owned(), ..outcome("r1", 5.0) };
    assert_eq!(settle(&[outcome("r1", 9.0), amount], None).await, became(&[Matched, Matched], 1));
    assert_eq!(settle(&[outcome("r1", 6.0)], Some(0)).await, became(&[Matched], 0));
    let counts = f.db.outcome_counts("loans").await.unwrap();
    let expected = OutcomeCounts { matched: 3, duplicate: 5, corrected: 5, ..OutcomeCounts::default() };
    assert_eq!(counts, expected);
    // What is settled stays as it is.
    let all = f.db.outcomes("loans", None, 0, 50).await.unwrap();
    f.db.settle_outcomes("loans", &all, at(60)).await.unwrap();
    assert_eq!(f.db.outcome_counts("loans").await.unwrap().waiting, 0);
    let told: Vec<u64> = events(&f)
        .await
        .into_iter()
        .filter_map(|kind| match kind {
            EventKind::OutcomesJoined { corrected, .. } => corrected,
            _ => None,
        })
        .collect();
    assert_eq!(told.iter().take(5).sum::<u64>(), 5);
}

/// What found no request for its time is looked up again when it is sent once more, under a number of its own.
async fn what_was_given_up_is_tried_again_when_it_is_sent_again(f: Fixture) {
    let once = async |outcomes: &[Outcome]| f.db.add_outcomes_once(&ana(), outcomes).await.unwrap();
    assert_eq!(once(&[outcome("r1", 1.0), outcome("r2", 1.0)]).await, 2);
    let mut waiting = f.db.outcomes("loans", Some(OutcomeState::Waiting), 0, 10).await.unwrap();
    waiting[0].matched = matched("r1", None);
    waiting[1].state = OutcomeState::Unmatched;
    (waiting[1].tested_part, waiting[1].is_tried) = (7, true);
    f.db.settle_outcomes("loans", &waiting, at(60)).await.unwrap();
    let newest = f.db.newest_outcome().await.unwrap();
    let again = Outcome { received_at: at(70), ..outcome("r2", 1.0) };
    assert_eq!(once(&[outcome("r1", 1.0), again.clone(), again.clone()]).await, 1);
    let counts = f.db.outcome_counts("loans").await.unwrap();
    assert_eq!((counts.matched, counts.waiting, counts.unmatched), (1, 1, 0));
    let waiting = f.db.outcomes("loans", Some(OutcomeState::Waiting), newest, 10).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].tested_part, waiting[0].received_at), (1, 0, at(70)));
    assert_eq!(once(&[again]).await, 0, "it waits");
    assert_eq!(f.db.outcome_counts_after("loans", newest).await.unwrap().waiting, 1);
}

async fn what_is_sent_again_is_stored_once(f: Fixture) {
    let once = async |outcomes: &[Outcome]| f.db.add_outcomes_once(&ana(), outcomes).await.unwrap();
    let by_entity = Outcome { request_id: None, entity: Some("é".to_owned()), ..outcome("", 1.0) };
    let elsewhere = Outcome { endpoint: "other".to_owned(), ..outcome("r1", 1.0) };
    f.db.add_outcomes(&ana(), &[outcome("r0", 1.0)]).await.unwrap();
    let newest = f.db.newest_outcome().await.unwrap();
    assert_eq!(once(&[outcome("r1", 1.0), by_entity.clone(), outcome("r1", 1.0)]).await, 2);
    let head = f.db.log_head().await.unwrap().size;
    // When it came is no part of what is said.
    let later = Outcome { received_at: at(70), ..by_entity.clone() };
    assert_eq!(once(&[later, outcome("r1", 1.0)]).await, 0);
    assert_eq!(f.db.log_head().await.unwrap().size, head, "nothing came, so there is no event");
    let corrected = Outcome { row: Some(1), ..outcome("r1", 1.0) };
    let at_another_time = Outcome { occurred_at: Some(at(3)), ..by_entity };
    assert_eq!(once(&[outcome("r1", 0.0), corrected, at_another_time]).await, 3);
    assert_eq!(once(&[elsewhere]).await, 1);
    // What is sent in the ordinary way is kept each time.
    f.db.add_outcomes(&ana(), &[outcome("r1", 1.0), outcome("r1", 1.0)]).await.unwrap();
    assert_eq!(f.db.outcome_counts("loans").await.unwrap().waiting, 8);
    assert_eq!(f.db.outcome_counts_after("loans", newest).await.unwrap().waiting, 7);
    assert_eq!(f.db.outcome_counts_after("other", newest).await.unwrap().waiting, 1);
    let newest = f.db.newest_outcome().await.unwrap();
    assert_eq!(f.db.outcome_counts_after("loans", newest).await.unwrap(), OutcomeCounts::default());
}

async fn outcomes_are_counted_by_day(f: Fixture) {
    let text =
        |request: &str| Outcome { number: None, text: Some("paid".to_owned()), ..outcome(request, 0.0) };
    let sent = [outcome("r1", 1.0), text("r2"), outcome("r3", 0.0), outcome("r4", 1.0)];
    f.db.add_outcomes(&ana(), &sent).await.unwrap();
    let mut all = f.db.outcomes("loans", None, 0, 10).await.unwrap();
    let ids: Vec<i64> = all.iter().map(|outcome| outcome.id).collect();
    // Two of the first day, one of the third, and one that waits.
    for (outcome, at_ms) in all.iter_mut().zip([0, DAY_MS - 1, 2 * DAY_MS]) {
        let request_id = outcome.request_id.clone().unwrap();
        outcome.matched = Some(Match { request_id, row: None, at: at(at_ms) });
    }
    f.db.settle_outcomes("loans", &all, at(60)).await.unwrap();
    let day = |day, count, texts, sum| DayOfOutcomes { day, name: "label".to_owned(), count, texts, sum };
    let (first, third) = (day(0, 2, 1, ids[0] + ids[1]), day(2, 1, 0, ids[2]));
    assert_eq!(f.db.days_of_outcomes("loans", None, None).await.unwrap(), [first.clone(), third.clone()]);
    let found = f.db.days_of_outcomes("loans", Some(at(DAY_MS)), None).await.unwrap();
    assert_eq!(found, [third]);
    let found = f.db.days_of_outcomes("loans", None, Some(at(DAY_MS))).await.unwrap();
    assert_eq!(found, [first]);
    assert!(f.db.days_of_outcomes("other", None, None).await.unwrap().is_empty());
}
