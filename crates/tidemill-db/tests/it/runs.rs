//! Runs, steps, the step cache, and what old runs leave behind.

use tidemill_core::{EventKind, NewEvent, RunId, RunState, StepState};
use tidemill_db::{Db, Error, Keep, Owner, Pruned, StepRun};

use crate::fixture::{
    Fixture, at, begun, digest, event, new_run, on_both, result, run_id, started, step, step_finished,
};

on_both!(
    a_run_from_start_to_end,
    a_run_is_found_by_the_beginning_of_its_id,
    a_crashed_run_is_found_and_marked,
    steps_and_their_results,
    attempts_are_kept_apart,
    a_step_of_no_run_is_refused,
    touching_the_cache_needs_no_event,
    old_runs_are_pruned_and_their_objects_released,
    runs_of_other_projects_are_not_counted,
);

fn finished(run: RunId, state: RunState) -> NewEvent {
    event(99, EventKind::RunFinished { run, state, lock: None })
}

async fn finish(db: &Db, run: RunId, lock: &str) {
    let mut tx = db.begin().await.unwrap();
    tx.finish_run(run, RunState::Succeeded, Some(digest(lock)), at(99)).await.unwrap();
    tx.commit(vec![finished(run, RunState::Succeeded)]).await.unwrap();
}

async fn add_step(db: &Db, step: &StepRun) {
    let mut tx = db.begin().await.unwrap();
    tx.finish_step(step, Some(&result(step))).await.unwrap();
    tx.commit(vec![step_finished(step)]).await.unwrap();
}

async fn a_run_from_start_to_end(f: Fixture) {
    let id = begun(&f.db, 1, 5).await;
    let run = f.db.run(&id.to_string()).await.unwrap();
    let new = new_run(id, 5);
    assert_eq!((run.id, run.project, run.plan, run.commit), (id, new.project, new.plan, new.commit));
    assert_eq!((run.state, run.lock, run.started_at, run.ended_at), (RunState::Running, None, at(5), None));
    assert_eq!((run.cause, run.owner), (Some(1), new.owner));

    let mut tx = f.db.begin().await.unwrap();
    assert!(matches!(tx.start_run(&new_run(id, 6)).await, Err(Error::Exists { what: "run", .. })));
    drop(tx);
    finish(&f.db, id, "lock").await;
    let run = f.db.run(&id.to_string()).await.unwrap();
    assert_eq!(
        (run.state, run.lock, run.ended_at),
        (RunState::Succeeded, Some(digest("lock")), Some(at(99)))
    );

    // It ended once; it cannot end again.
    let mut tx = f.db.begin().await.unwrap();
    let again = tx.finish_run(id, RunState::Failed, None, at(100)).await;
    assert!(matches!(again, Err(Error::NotFound { .. })), "{again:?}");
}

async fn a_run_is_found_by_the_beginning_of_its_id(f: Fixture) {
    for (number, started_at) in [(0xAB, 3), (0xAC, 1), (0x0F, 2)] {
        begun(&f.db, number, started_at).await;
    }
    for (prefix, found) in [("abab", 0xAB), ("AC", 0xAC), ("0", 0x0F)] {
        assert_eq!(f.db.run(prefix).await.unwrap().id, run_id(found), "{prefix}");
    }
    assert!(matches!(f.db.run("a").await, Err(Error::Ambiguous { count: 2, .. })));
    for wrong in ["", "ff", "ab%", "abx", "a_", "abababababababababababababababababab"] {
        assert!(matches!(f.db.run(wrong).await, Err(Error::NotFound { .. })), "{wrong}");
    }
    let order: Vec<_> = f.db.runs(2).await.unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(order, [run_id(0xAB), run_id(0x0F)]);
}

async fn a_crashed_run_is_found_and_marked(f: Fixture) {
    let mut child = std::process::Command::new("sleep").arg("0").spawn().unwrap();
    let here = Owner::current();
    let gone = Owner { pid: child.id(), started: here.started + 1, ..here.clone() };
    child.wait().unwrap();
    for (number, owner) in [(1, here), (2, gone)] {
        let id = run_id(number);
        let mut tx = f.db.begin().await.unwrap();
        tx.start_run(&tidemill_db::NewRun { owner, ..new_run(id, i64::from(number)) }).await.unwrap();
        tx.commit(vec![started(id, 1)]).await.unwrap();
    }
    let running = f.db.running_runs().await.unwrap();
    assert_eq!(running.iter().map(|run| run.id).collect::<Vec<_>>(), [run_id(1), run_id(2)]);
    let crashed: Vec<_> = running.iter().filter(|run| run.owner.is_alive() == Some(false)).collect();
    assert_eq!(crashed.iter().map(|run| run.id).collect::<Vec<_>>(), [run_id(2)]);
    let mut tx = f.db.begin().await.unwrap();
    tx.mark_interrupted(run_id(2), at(50)).await.unwrap();
    tx.commit(vec![finished(run_id(2), RunState::Interrupted)]).await.unwrap();
    assert_eq!(f.db.running_runs().await.unwrap().len(), 1);
    assert_eq!(f.db.run(&run_id(2).to_string()).await.unwrap().state, RunState::Interrupted);
}

async fn steps_and_their_results(f: Fixture) {
    let run = begun(&f.db, 1, 1).await;
    let (mut a, b) = (step(run, "a"), step(run, "b'; --"));
    a.ended_at = at(30);
    a.exit_code = None;
    a.reason = None;
    add_step(&f.db, &a).await;
    add_step(&f.db, &b).await;
    assert_eq!(f.db.step_runs(run).await.unwrap(), [b.clone(), a.clone()]);
    assert!(f.db.step_runs(run_id(9)).await.unwrap().is_empty());

    assert_eq!(f.db.step_cache(a.key).await.unwrap(), Some(result(&a)));
    let many = f.db.step_cache_many(&[b.key, digest("none"), a.key, a.key]).await.unwrap();
    assert_eq!(many.len(), 2);
    assert_eq!(many[&b.key], result(&b));
    assert!(f.db.step_cache_many(&[]).await.unwrap().is_empty());

    let mut newer = result(&a);
    "{}".clone_into(&mut newer.outputs);
    let mut tx = f.db.begin().await.unwrap();
    tx.put_step_result(&newer).await.unwrap();
    tx.commit(vec![step_finished(&a)]).await.unwrap();
    assert_eq!(f.db.step_cache(a.key).await.unwrap(), Some(newer));
}

async fn attempts_are_kept_apart(f: Fixture) {
    let run = begun(&f.db, 1, 1).await;
    let failed = StepRun { state: StepState::Failed, exit_code: Some(-9), outputs: None, ..step(run, "a") };
    let ran = StepRun { attempt: 2, ended_at: at(40), ..step(run, "a") };
    for step in [&failed, &ran] {
        let mut tx = f.db.begin().await.unwrap();
        tx.finish_step(step, None).await.unwrap();
        tx.commit(vec![step_finished(step)]).await.unwrap();
    }
    assert_eq!(f.db.step_runs(run).await.unwrap(), [failed.clone(), ran.clone()]);
    let other = begun(&f.db, 2, 2).await;
    add_step(&f.db, &step(other, "b")).await;
    assert_eq!(f.db.step_runs_of(&[run, run_id(9)]).await.unwrap(), [failed, ran.clone()]);
    assert_eq!(f.db.step_runs_of(&[other, run]).await.unwrap().len(), 3);
    assert_eq!(f.db.step_runs_of(&[]).await.unwrap(), []);
    assert_eq!(f.db.step_cache(ran.key).await.unwrap(), None);
}

async fn a_step_of_no_run_is_refused(f: Fixture) {
    let mut tx = f.db.begin().await.unwrap();
    let refused = tx.finish_step(&step(run_id(7), "a"), None).await;
    assert!(matches!(&refused, Err(Error::NotFound { what: "run", name }) if *name == run_id(7).to_string()));
}

async fn touching_the_cache_needs_no_event(f: Fixture) {
    let run = begun(&f.db, 1, 1).await;
    add_step(&f.db, &step(run, "a")).await;
    let mut tx = f.db.begin().await.unwrap();
    tx.touch_cache(&[step(run, "a").key, digest("none")], at(77)).await.unwrap();
    tx.commit(Vec::new()).await.unwrap();
    assert_eq!(f.db.step_cache(step(run, "a").key).await.unwrap(), Some(result(&step(run, "a"))));
}

async fn old_runs_are_pruned_and_their_objects_released(f: Fixture) {
    // Run 1 did a and b; run 2 used a's result again and did c; run 3 still runs and is the oldest of all.
    let (one, two, three) = (begun(&f.db, 1, 10).await, begun(&f.db, 2, 20).await, begun(&f.db, 3, 5).await);
    add_step(&f.db, &step(one, "a")).await;
    add_step(&f.db, &step(one, "b")).await;
    let reused = StepRun { state: StepState::Restored, outputs: None, log: None, ..step(two, "a") };
    let mut tx = f.db.begin().await.unwrap();
    tx.finish_step(&reused, None).await.unwrap();
    tx.commit(vec![step_finished(&reused)]).await.unwrap();
    add_step(&f.db, &step(two, "c")).await;
    finish(&f.db, one, "lock 1").await;
    finish(&f.db, two, "lock 2").await;
    let mut tx = f.db.begin().await.unwrap();
    let tested = EventKind::ModelTested {
        run: two,
        evidence: digest("evidence"),
        passed: 1,
        failed: 0,
        not_judged: None,
        waiting: None,
        content: None,
    };
    tx.touch_cache(&[], at(0)).await.unwrap();
    tx.commit(vec![event(1, tested)]).await.unwrap();

    let all = f.db.roots(&Keep::default()).await.unwrap();
    for name in ["plan", "lock 1", "file of b", "outputs of b", "log of b", "file of a", "lock 2", "evidence"]
    {
        assert!(all.contains(&digest(name)), "{name}");
    }
    let keep = Keep { runs: Some(1), project: None };
    let kept = f.db.roots(&keep).await.unwrap();
    for (name, stays) in [
        ("plan", true),
        ("lock 2", true),
        ("file of a", true),
        ("file of c", true),
        ("outputs of c", true),
        ("evidence", true),
        ("lock 1", false),
        ("file of b", false),
        ("outputs of a", false),
        ("log of b", false),
    ] {
        assert_eq!(kept.contains(&digest(name)), stays, "{name}");
    }

    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.prune(&Keep::default()).await.unwrap(), Pruned::default());
    assert_eq!(tx.prune(&keep).await.unwrap(), Pruned { runs: 1, steps: 2, results: 1 });
    tx.commit(vec![event(1, EventKind::StoreSwept { objects: 0, bytes: 0 })]).await.unwrap();
    assert_eq!(f.db.roots(&Keep::default()).await.unwrap(), kept);
    let left: Vec<_> = f.db.runs(9).await.unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(left, [two, three]);
}

async fn runs_of_other_projects_are_not_counted(f: Fixture) {
    // Two runs of ours, and later three of a project that shares the database.
    let ours = [begun(&f.db, 1, 10).await, begun(&f.db, 2, 20).await];
    let theirs = [3, 4, 5].map(run_id);
    for (number, id) in [(3, theirs[0]), (4, theirs[1]), (5, theirs[2])] {
        let mut tx = f.db.begin().await.unwrap();
        let new = tidemill_db::NewRun { project: "theirs".to_owned(), ..new_run(id, number * 10) };
        tx.start_run(&new).await.unwrap();
        tx.commit(vec![started(id, 1)]).await.unwrap();
    }
    for (at, id) in ours.into_iter().chain(theirs).enumerate() {
        add_step(&f.db, &step(id, &format!("s{at}"))).await;
        finish(&f.db, id, &format!("lock {at}")).await;
    }
    let ids = |runs: Vec<tidemill_db::RunRecord>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();
    let project = new_run(ours[0], 1).project;
    assert_eq!(ids(f.db.runs_of(&project, 1).await.unwrap()), [ours[1]]);
    assert_eq!(ids(f.db.runs_of("theirs", 9).await.unwrap()), [theirs[2], theirs[1], theirs[0]]);
    assert_eq!(ids(f.db.runs_of("nobody", 9).await.unwrap()), []);
    // The newest of each, or the newest of ours and all of theirs.
    let each = Keep { runs: Some(1), project: None };
    assert_eq!(ids(f.db.kept_runs(&each).await.unwrap()), [theirs[2], ours[1]]);
    let keep = Keep { runs: Some(1), project: Some(&project) };
    let kept = [theirs[2], theirs[1], theirs[0], ours[1]];
    assert_eq!(ids(f.db.kept_runs(&keep).await.unwrap()), kept);
    let roots = f.db.roots(&keep).await.unwrap();
    for at in 0..5 {
        assert_eq!(roots.contains(&digest(&format!("lock {at}"))), at > 0, "{at}");
        assert_eq!(roots.contains(&digest(&format!("file of s{at}"))), at > 0, "{at}");
    }
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.prune(&keep).await.unwrap(), Pruned { runs: 1, steps: 1, results: 1 });
    tx.commit(vec![event(1, EventKind::StoreSwept { objects: 0, bytes: 0 })]).await.unwrap();
    assert_eq!(ids(f.db.runs(9).await.unwrap()), kept);
}
