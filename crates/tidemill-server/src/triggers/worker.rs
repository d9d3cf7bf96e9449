//! Works on jobs, one after the other: a project's pipeline runs once at a time.

use std::time::Duration;

use tidemill_core::{EventKind, JobState};
use tidemill_db::jobs::{Job, Lease};
use tidemill_db::{Owner, Result};
use tokio_util::sync::CancellationToken;

use super::{Triggers, Worked, system};

/// How often it is looked for jobs if nobody says that there are some: another server may have died.
const LOOK: Duration = Duration::from_secs(1);
/// How long a job stays with a worker that says nothing.
const LEASE: Duration = Duration::from_secs(30);
/// How often a worker says that it still works, and hears whether it shall stop.
const RENEW: Duration = Duration::from_secs(2);
/// A job whose workers die all the time is given up.
const ATTEMPTS: u32 = 5;

pub(super) async fn run(triggers: Triggers, stop: CancellationToken) {
    loop {
        let more = match round(&triggers, &stop).await {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!("jobs cannot be taken: {error}");
                false
            }
        };
        if stop.is_cancelled() {
            return;
        }
        if !more {
            tokio::select! {
                () = stop.cancelled() => return,
                () = triggers.inner.jobs.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

/// Takes a job that is free and works on it to its end; `false` where there is none.
pub(super) async fn round(t: &Triggers, stop: &CancellationToken) -> Result<bool> {
    let now = t.now();
    let open = t.db().open_jobs(t.project()).await?;
    // A second pipeline run of the project would only wait for the first, wherever that is.
    if open.iter().any(|job| job.state == JobState::Running && !job.is_free(now)) {
        return Ok(false);
    }
    // What was begun before goes first.
    let running = open.iter().find(|job| job.state == JobState::Running);
    let Some(job) = running.or_else(|| open.iter().find(|job| job.is_free(now))) else { return Ok(false) };
    let over = match job.stop_as {
        Some(state) => Some((state, "it was to be stopped".to_owned())),
        None if job.attempts >= ATTEMPTS => {
            let reason = format!("its worker died {ATTEMPTS} times; the server's log may say why");
            Some((JobState::Failed, reason))
        }
        None => None,
    };
    if let Some((state, reason)) = over {
        let worked = Worked { state, reason: Some(reason) };
        end(t, job, job.attempts, job.cause, &worked).await?;
        return Ok(true);
    }
    let mut tx = t.db().begin().await?;
    if !tx.start_job(job.id, job.attempts, &Owner::current(), now, now.plus(LEASE)).await? {
        return Ok(true);
    }
    let attempt = job.attempts + 1;
    let started = tx.next_seq();
    let kind = EventKind::JobStarted { job: job.id, trigger: job.trigger.clone(), attempt };
    tx.commit(vec![t.event(system(), kind, Some(job.cause))]).await?;
    work(t, job, attempt, started, stop).await?;
    Ok(true)
}

/// Lets the host do it, holds the lease meanwhile, and records how it went.
async fn work(t: &Triggers, job: &Job, attempt: u32, started: u64, stop: &CancellationToken) -> Result<()> {
    let cancel = stop.child_token();
    let mut stop_as = None;
    let working = t.host().work(job, started, cancel.clone());
    tokio::pin!(working);
    let worked = loop {
        tokio::select! {
            worked = &mut working => break worked,
            () = t.inner.stops.notified() => {}
            () = tokio::time::sleep(RENEW) => {}
        }
        match t.db().renew_job(job.id, attempt, t.now().plus(LEASE)).await {
            Ok(Lease::Held) => {}
            Ok(Lease::Stop(state)) => {
                stop_as = Some(state);
                cancel.cancel();
            }
            Ok(Lease::Lost) => {
                tracing::warn!(job.id = job.id, "another worker took the job over");
                cancel.cancel();
            }
            // The lease lasts through a short absence of the database.
            Err(error) => tracing::warn!(job.id = job.id, "the job cannot be held: {error}"),
        }
    };
    if stop.is_cancelled() && worked.state == JobState::Cancelled {
        return t.db().give_back_job(job.id, attempt).await;
    }
    let worked = match stop_as.filter(|_| worked.state == JobState::Cancelled) {
        Some(JobState::Superseded) => Worked {
            state: JobState::Superseded,
            reason: Some("a newer job of the same trigger took its place".to_owned()),
        },
        Some(state) => Worked { state, reason: Some("somebody stopped it".to_owned()) },
        None => worked,
    };
    end(t, job, attempt, started, &worked).await
}

async fn end(t: &Triggers, job: &Job, attempt: u32, cause: u64, worked: &Worked) -> Result<()> {
    let mut tx = t.db().begin().await?;
    if !tx.end_job(job.id, attempt, worked.state, worked.reason.as_deref(), t.now()).await? {
        return Ok(());
    }
    let kind = EventKind::JobFinished {
        job: job.id,
        trigger: job.trigger.clone(),
        state: worked.state,
        reason: worked.reason.clone(),
    };
    tx.commit(vec![t.event(system(), kind, Some(cause))]).await?;
    Ok(())
}
