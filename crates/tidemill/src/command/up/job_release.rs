//! Which version a job releases. A job that has run the pipeline releases what came of that, and never something older.
//!
//! All of it is read from the log, so a job that begins again after its server was killed comes to the same.

use std::collections::BTreeSet;

use tidemill_core::{Digest, Event, EventKind, Name};
use tidemill_db::jobs::Job;
use tidemill_db::{Db, EventFilter, Order, Result};
use tidemill_deliver::release::Release;
use tidemill_trigger::Details;

/// What is released.
#[derive(Debug, PartialEq)]
pub(super) enum Choice {
    /// This version: `MODEL@VERSION`.
    Version(String),
    /// What another environment runs: this version, with its threshold.
    Promoted(String, Option<f64>),
    /// The newest version.
    Newest,
    /// Nothing, and why.
    Nothing(String),
}

/// The version that the job is to release.
pub(super) async fn choose(
    db: &Db,
    job: &Job,
    model: &Name,
    details: &Details,
    has_run: bool,
) -> Result<Choice> {
    let began = begins(db, job.id).await?;
    if let Some(rollout) = rollout_after(db, &began).await? {
        return Ok(Choice::Nothing(format!("rollout {rollout} was begun by an earlier attempt of the job")));
    }
    let registered = if has_run { version_after(db, model.as_str(), &began).await? } else { None };
    if !has_run && details.get("source").is_some_and(|source| source == "environment") {
        return promoted(db, details).await;
    }
    let named = named(details);
    Ok(match (registered, named) {
        (Some(version), _) => Choice::Version(format!("{model}@{version}")),
        (None, Some(named)) => Choice::Version(named),
        (None, None) if has_run => {
            Choice::Nothing(format!("nothing new to release: the run registered no new version of `{model}`"))
        }
        (None, None) => Choice::Newest,
    })
}

/// What an environment was said to run, unless its rollout has gone back since.
async fn promoted(db: &Db, details: &Details) -> Result<Choice> {
    let digest = details.get("release").and_then(|digest| digest.parse::<Digest>().ok());
    let rollout = details.get("rollout").and_then(|rollout| rollout.parse().ok());
    let (Some(digest), Some(rollout)) = (digest, rollout) else {
        return Ok(Choice::Nothing("the event names no release".to_owned()));
    };
    let is_complete = db.rollout(rollout).await?.is_some_and(|found| found.phase == "complete");
    if !is_complete {
        return Ok(Choice::Nothing(format!(
            "rollout {rollout} went back, and what ran before stays where it was"
        )));
    }
    let Some(release) = db.release(digest).await? else {
        return Ok(Choice::Nothing(format!("release {} is not there", digest.short())));
    };
    // One that cannot be read says so where it is released.
    let body = serde_json::from_str::<Release>(&release.body);
    let threshold = body.ok().and_then(|body| body.threshold);
    Ok(Choice::Promoted(format!("{}@{}", release.model, release.version), threshold))
}

/// The newest rollout that began as a consequence of one of these events.
pub(crate) async fn rollout_after(db: &Db, causes: &BTreeSet<u64>) -> Result<Option<u64>> {
    let rollouts = db.events(&since(causes, None, "rollout.started")).await?;
    Ok(rollouts.iter().find_map(|event| match &event.kind {
        EventKind::RolloutStarted { rollout, .. } if is_of(event, causes) => Some(*rollout),
        _ => None,
    }))
}

/// The newest version of a model that was registered as a consequence of one of these events.
pub(crate) async fn version_after(db: &Db, model: &str, causes: &BTreeSet<u64>) -> Result<Option<u64>> {
    let created = db.events(&since(causes, Some(format!("model:{model}")), "version.created")).await?;
    Ok(created.iter().find_map(|event| match &event.kind {
        EventKind::VersionCreated { version, .. } if is_of(event, causes) => Some(*version),
        _ => None,
    }))
}

fn since(causes: &BTreeSet<u64>, subject: Option<String>, kind: &str) -> EventFilter {
    EventFilter {
        subject,
        kind: Some(kind.to_owned()),
        after: causes.first().copied(),
        order: Order::NewestFirst,
        ..EventFilter::default()
    }
}

fn is_of(event: &Event, causes: &BTreeSet<u64>) -> bool {
    event.cause.is_some_and(|cause| causes.contains(&cause))
}

/// The events with which workers began with a job.
pub(crate) async fn begins(db: &Db, job: u64) -> Result<BTreeSet<u64>> {
    let filter = EventFilter {
        subject: Some(format!("job:{job}")),
        kind: Some("job.started".to_owned()),
        ..EventFilter::default()
    };
    Ok(db.events(&filter).await?.into_iter().map(|event| event.seq).collect())
}

/// The version that the event of a job is about.
fn named(details: &Details) -> Option<String> {
    if details.get("source").is_none_or(|source| source != "model") {
        return None;
    }
    Some(format!("{}@{}", details.get("model")?, details.get("version")?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidemill_core::{Actor, FixedClock, JobState, NewEvent, Timestamp};
    use tidemill_db::delivery::{self as stored, Advance, NewRollout};

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    async fn append(db: &Db, kind: EventKind, cause: Option<u64>) -> u64 {
        let tx = db.begin().await.unwrap();
        let seq = tx.next_seq();
        tx.commit(vec![NewEvent { at: AT, actor: Actor::system("trigger"), kind, cause }]).await.unwrap();
        seq
    }

    fn started(job: u64, attempt: u32) -> EventKind {
        EventKind::JobStarted { job, trigger: "t".to_owned(), attempt }
    }

    fn created(model: &str, version: u64) -> EventKind {
        EventKind::VersionCreated {
            model: model.to_owned(),
            version,
            source: "models:/m-1".to_owned(),
            run: None,
            content: None,
            facts: None,
        }
    }

    fn details(pairs: &[(&str, &str)]) -> Details {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn job(id: u64) -> Job {
        Job {
            id,
            project: "p".to_owned(),
            trigger: "t".to_owned(),
            actions: "[]".to_owned(),
            details: "{}".to_owned(),
            state: JobState::Running,
            cause: 1,
            attempts: 1,
            owner: None,
            lease_until: None,
            stop_as: None,
            created_at: AT,
            run_at: AT,
            started_at: None,
            ended_at: None,
            reason: None,
        }
    }

    #[tokio::test]
    async fn a_job_releases_what_its_run_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tidemill.db");
        let db = Db::open(file.to_str().unwrap(), Arc::new(FixedClock::new(AT))).await.unwrap();
        let model: Name = "late".parse().unwrap();
        let of_model = details(&[("source", "model"), ("model", "late"), ("version", "7")]);
        let nothing = "nothing new to release: the run registered no new version of `late`";
        append(&db, created("late", 1), None).await;
        let first = append(&db, started(1, 1), Some(1)).await;
        // Neither what was there nor what others register meanwhile is this job's.
        append(&db, created("late", 2), None).await;
        append(&db, created("other", 9), Some(first)).await;
        for (given, has_run, wanted) in [
            (Details::new(), true, Choice::Nothing(nothing.to_owned())),
            (Details::new(), false, Choice::Newest),
            (details(&[("source", "webhook"), ("model", "late"), ("version", "7")]), false, Choice::Newest),
            (of_model.clone(), false, Choice::Version("late@7".to_owned())),
            (of_model.clone(), true, Choice::Version("late@7".to_owned())),
        ] {
            assert_eq!(choose(&db, &job(1), &model, &given, has_run).await.unwrap(), wanted, "{given:?}");
        }
        append(&db, created("late", 3), Some(first)).await;
        let ours = Choice::Version("late@3".to_owned());
        assert_eq!(choose(&db, &job(1), &model, &of_model, true).await.unwrap(), ours);
        // The server was killed; the next attempt finds what the one before it has registered, and another job does not.
        let second = append(&db, started(1, 2), Some(1)).await;
        append(&db, started(2, 1), Some(1)).await;
        append(&db, created("late", 4), None).await;
        assert_eq!(choose(&db, &job(1), &model, &Details::new(), true).await.unwrap(), ours);
        let other = choose(&db, &job(2), &model, &Details::new(), true).await.unwrap();
        assert_eq!(other, Choice::Nothing(nothing.to_owned()));
        let rollout = EventKind::RolloutStarted {
            rollout: 5,
            endpoint: "late".to_owned(),
            environment: "prod".to_owned(),
            release: Digest::of(b"r"),
            rivals: Vec::new(),
            incumbent: None,
            plan: Digest::of(b"p"),
        };
        append(&db, rollout, Some(second)).await;
        let again = choose(&db, &job(1), &model, &Details::new(), true).await.unwrap();
        assert_eq!(again, Choice::Nothing("rollout 5 was begun by an earlier attempt of the job".to_owned()));
    }

    #[tokio::test]
    async fn what_staging_runs_goes_to_the_next_environment_with_its_threshold_unless_it_went_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tidemill.db");
        let db = Db::open(file.to_str().unwrap(), Arc::new(FixedClock::new(AT))).await.unwrap();
        let release = Release {
            model: "late".into(),
            version: 4,
            content: Digest::of(b"model"),
            threshold: Some(0.25),
            signature: None,
            runtime: "onnx".into(),
            commit: None,
            evidence: Vec::new(),
        };
        let (digest, body) = (release.digest(), serde_json::to_string(&release).unwrap());
        let (model, author) = ("late".to_owned(), Actor::user("ada"));
        let mut tx = db.begin().await.unwrap();
        let kept = stored::Release { digest, model: model.clone(), version: 4, body, created_at: AT, author };
        tx.add_release(&kept).await.unwrap();
        let new = NewRollout {
            endpoint: "late.staging".into(),
            environment: "staging".into(),
            candidate: digest,
            incumbent: None,
            plan: "{}".into(),
            at: AT,
        };
        let rollout = tx.add_rollout(&new, "{}", "complete", false).await.unwrap();
        let created = EventKind::ReleaseCreated { release: digest, model, version: 4 };
        tx.commit(vec![NewEvent { at: AT, actor: Actor::user("ada"), kind: created, cause: None }])
            .await
            .unwrap();
        let (name, of) = (digest.to_string(), rollout.to_string());
        let given = details(&[("source", "environment"), ("release", &name), ("rollout", &of)]);
        let model: Name = "late".parse().unwrap();
        let chosen = choose(&db, &job(1), &model, &given, false).await.unwrap();
        assert_eq!(chosen, Choice::Promoted("late@4".to_owned(), Some(0.25)));
        let mut tx = db.begin().await.unwrap();
        let step = Advance {
            inputs: 0,
            at: AT,
            input: "{}".into(),
            state: "{}".into(),
            phase: "rolled-back".into(),
            is_over: true,
            transitions: Vec::new(),
        };
        assert!(tx.advance_rollout(rollout, &step).await.unwrap());
        tx.commit(Vec::new()).await.unwrap();
        let chosen = choose(&db, &job(1), &model, &given, false).await.unwrap();
        assert!(matches!(&chosen, Choice::Nothing(why) if why.contains("went back")), "{chosen:?}");
    }
}
