//! Jobs, leases, cursors and offsets.

use tidemill_core::{EventKind, JobState, SourceKind};
use tidemill_db::jobs::{Lease, NewJob, Stopped};
use tidemill_db::{Error, Owner};

use crate::fixture::{Fixture, at, event, on_both, open};

on_both!(
    a_job_is_made_once_taken_once_and_ended_once,
    a_lease_keeps_others_away_until_it_is_over,
    jobs_are_stopped_waiting_or_running,
    cursors_offsets_and_deliveries,
    what_waits_at_triggers,
);

fn new_job(key: &str) -> NewJob {
    NewJob {
        project: "p".to_owned(),
        trigger: "nightly".to_owned(),
        actions: "[\"run\"]".to_owned(),
        details: "{}".to_owned(),
        dedupe: key.to_owned(),
        cause: 1,
        at: at(5),
    }
}

fn fired(job: u64) -> EventKind {
    EventKind::TriggerFired { project: "p".to_owned(), trigger: "nightly".to_owned(), job, events: 1 }
}

async fn make(f: &Fixture, key: &str) -> Option<u64> {
    let mut tx = f.db.begin().await.unwrap();
    let job = tx.add_job(&new_job(key)).await.unwrap();
    if let Some(job) = job {
        assert_eq!(tx.next_seq(), f.db.log_head().await.unwrap().size + 1);
        tx.commit(vec![event(5, fired(job))]).await.unwrap();
    }
    job
}

async fn start(f: &Fixture, job: u64, attempts: u32, until: i64) -> bool {
    let mut tx = f.db.begin().await.unwrap();
    let begun = tx.start_job(job, attempts, &Owner::current(), at(6), at(until)).await.unwrap();
    let kind = EventKind::JobStarted { job, trigger: "nightly".to_owned(), attempt: attempts + 1 };
    if begun {
        tx.commit(vec![event(6, kind)]).await.unwrap();
    }
    begun
}

async fn end(f: &Fixture, job: u64, attempt: u32, state: JobState) -> bool {
    let mut tx = f.db.begin().await.unwrap();
    let ended = tx.end_job(job, attempt, state, Some("why"), at(9)).await.unwrap();
    let kind = EventKind::JobFinished { job, trigger: "nightly".to_owned(), state, reason: None };
    if ended {
        tx.commit(vec![event(9, kind)]).await.unwrap();
    }
    ended
}

async fn a_job_is_made_once_taken_once_and_ended_once(f: Fixture) {
    let job = make(&f, "e1").await.unwrap();
    assert_eq!(make(&f, "e1").await, None, "the same event makes no second job");
    let second = make(&f, "e2").await.unwrap();
    assert!(second > job);
    assert!(f.db.open_jobs("other").await.unwrap().is_empty());
    assert!(start(&f, job, 0, 100).await);
    assert!(!start(&f, job, 0, 100).await, "somebody else was first");
    assert!(end(&f, job, 1, JobState::Failed).await);
    assert!(!end(&f, job, 1, JobState::Succeeded).await, "an end is an end");
    let found = open(&f.url).await.job(job).await.unwrap().unwrap();
    assert_eq!((found.state, found.attempts, found.reason.as_deref()), (JobState::Failed, 1, Some("why")));
    assert_eq!((found.started_at, found.ended_at, found.owner), (Some(at(6)), Some(at(9)), None));
    let numbers = |jobs: Vec<tidemill_db::jobs::Job>| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(numbers(f.db.open_jobs("p").await.unwrap()), [second]);
    assert_eq!(numbers(f.db.jobs(None, None, None, None, 10).await.unwrap()), [second, job]);
    assert_eq!(numbers(f.db.jobs(Some("p"), Some("nightly"), None, Some(second), 10).await.unwrap()), [job]);
    assert_eq!(numbers(f.db.jobs(None, None, Some(JobState::Waiting), None, 10).await.unwrap()), [second]);
    assert!(f.db.jobs(Some("none"), None, None, None, 10).await.unwrap().is_empty());
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.jobs_made("p", at(5)).await.unwrap().len(), 2);
    assert_eq!(tx.jobs_made("p", at(6)).await.unwrap().len(), 0);
    tx.add_job(&new_job("e3")).await.unwrap();
    assert!(matches!(tx.commit(Vec::new()).await, Err(Error::NoEvent)));
}

async fn a_lease_keeps_others_away_until_it_is_over(f: Fixture) {
    let job = make(&f, "e1").await.unwrap();
    assert!(start(&f, job, 0, 100).await);
    let free = async |now| f.db.job(job).await.unwrap().unwrap().is_free(at(now));
    assert!(!free(50).await && free(100).await);
    assert_eq!(f.db.renew_job(job, 1, at(200)).await.unwrap(), Lease::Held);
    assert!(!free(150).await);
    assert!(start(&f, job, 1, 300).await, "another one takes it");
    assert_eq!(f.db.renew_job(job, 1, at(900)).await.unwrap(), Lease::Lost, "and the first has lost it");
    assert!(!end(&f, job, 1, JobState::Succeeded).await, "what it says is not heard");
    assert!(end(&f, job, 2, JobState::Succeeded).await);

    let job = make(&f, "e3").await.unwrap();
    assert!(start(&f, job, 0, 100).await);
    f.db.give_back_job(job, 2).await.unwrap();
    assert!(!f.db.job(job).await.unwrap().unwrap().is_free(at(50)), "only who holds it gives it back");
    f.db.give_back_job(job, 1).await.unwrap();
    let found = f.db.job(job).await.unwrap().unwrap();
    assert_eq!((found.state, found.attempts, found.owner), (JobState::Waiting, 0, None));
    assert!(start(&f, job, 0, 100).await && end(&f, job, 1, JobState::Succeeded).await);

    let job = make(&f, "e2").await.unwrap();
    let dead = Owner { started: 1, ..Owner::current() };
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.start_job(job, 0, &dead, at(1), at(1_000_000)).await.unwrap());
    let kind = EventKind::JobStarted { job, trigger: "nightly".to_owned(), attempt: 1 };
    tx.commit(vec![event(1, kind)]).await.unwrap();
    assert!(f.db.job(job).await.unwrap().unwrap().is_free(at(2)), "nobody waits for a dead process");
}

async fn jobs_are_stopped_waiting_or_running(f: Fixture) {
    let (waits, runs) = (make(&f, "e1").await.unwrap(), make(&f, "e2").await.unwrap());
    assert!(start(&f, runs, 0, 100).await);
    let mut tx = f.db.begin().await.unwrap();
    let why = "a newer one";
    assert_eq!(tx.stop_job(waits, JobState::Superseded, why, at(7)).await.unwrap(), Stopped::Ended);
    assert_eq!(tx.stop_job(runs, JobState::Superseded, why, at(7)).await.unwrap(), Stopped::Asked);
    assert_eq!(tx.stop_job(999, JobState::Superseded, why, at(7)).await.unwrap(), Stopped::Over);
    tx.commit(vec![event(7, fired(3))]).await.unwrap();
    assert_eq!(f.db.job(waits).await.unwrap().unwrap().state, JobState::Superseded);
    let asked = f.db.renew_job(runs, 1, at(200)).await.unwrap();
    assert_eq!(asked, Lease::Stop(JobState::Superseded));
    assert!(end(&f, runs, 1, JobState::Superseded).await);
    assert!(!f.db.ask_job_to_stop(runs, JobState::Cancelled).await.unwrap());
}

async fn cursors_offsets_and_deliveries(f: Fixture) {
    assert_eq!(f.db.log_cursor("triggers:p").await.unwrap(), None);
    for (seq, stands) in [(5, 5), (3, 5), (9, 9)] {
        f.db.move_log_cursor("triggers:p", seq).await.unwrap();
        assert_eq!(f.db.log_cursor("triggers:p").await.unwrap(), Some(stands), "it goes forward only");
    }
    f.db.begin_source("p", "git", "main", "a", at(1)).await.unwrap();
    f.db.begin_source("p", "git", "main", "b", at(2)).await.unwrap();
    assert_eq!(f.db.source_offset("p", "git", "main").await.unwrap().as_deref(), Some("a"));
    let changed = || EventKind::SourceChanged {
        project: "p".to_owned(),
        source: SourceKind::Git,
        name: "main".to_owned(),
        details: [("commit".to_owned(), "c".to_owned())].into(),
    };
    let mut tx = f.db.begin().await.unwrap();
    tx.move_source("p", "git", "main", "c", at(3)).await.unwrap();
    drop(tx);
    assert_eq!(
        f.db.source_offset("p", "git", "main").await.unwrap().as_deref(),
        Some("a"),
        "both or nothing"
    );
    let mut tx = f.db.begin().await.unwrap();
    tx.move_source("p", "git", "main", "c", at(3)).await.unwrap();
    assert!(tx.add_delivery("p", "hook", "d1", at(3)).await.unwrap());
    assert!(!tx.add_delivery("p", "hook", "d1", at(4)).await.unwrap());
    assert!(tx.add_delivery("p", "other", "d1", at(4)).await.unwrap());
    tx.commit(vec![event(3, changed())]).await.unwrap();
    assert_eq!(f.db.source_offset("p", "git", "main").await.unwrap().as_deref(), Some("c"));
    for (seen, position, expected) in [("b", "x", "c"), ("c", "d", "d")] {
        f.db.begin_source_anew("p", "git", "main", seen, position, at(9)).await.unwrap();
        assert_eq!(f.db.source_offset("p", "git", "main").await.unwrap().as_deref(), Some(expected));
    }
    assert_eq!(f.db.prune_deliveries_of_sources(at(4)).await.unwrap(), 1);
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.add_delivery("p", "hook", "d1", at(9)).await.unwrap(), "forgotten");
    tx.commit(vec![event(9, changed())]).await.unwrap();
}

async fn what_waits_at_triggers(f: Fixture) {
    let set = async |trigger: &str, pending: Option<&str>| {
        let mut tx = f.db.begin().await.unwrap();
        tx.set_pending_trigger("p", trigger, pending).await.unwrap();
        // It is how far the log has been counted, and no change of state.
        tx.commit(Vec::new()).await.unwrap();
    };
    set("b", Some("1")).await;
    set("a", Some("2")).await;
    set("b", Some("3")).await;
    let all = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    assert_eq!(f.db.pending_triggers("p").await.unwrap(), all(&[("a", "2"), ("b", "3")]));
    set("b", None).await;
    assert_eq!(f.db.pending_triggers("p").await.unwrap(), all(&[("a", "2")]));
    assert!(f.db.pending_triggers("q").await.unwrap().is_empty());
}
