//! Batches: who waits, who is joined, what becomes of the others when one fails. Models are fakes.

use std::sync::atomic::AtomicBool;

use tidemill_runtime::Values;

use super::super::testing::{Fake, Work};
use super::*;

fn settings() -> ServingSettings {
    ServingSettings { max_batch: 8, concurrency: 2, max_queue: 64, ..ServingSettings::default() }
}

fn lane(fake: Fake, settings: &ServingSettings) -> Arc<Lane> {
    Lane::new(Arc::new(fake), settings, true, Arc::default())
}

fn row(value: f32) -> Vec<Tensor> {
    vec![Tensor::new(vec![1, 1], Values::F32(vec![value])).unwrap()]
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Waits for what happens soon after an answer was given.
async fn until(is_so: impl Fn() -> bool) {
    let late = soon();
    while !is_so() {
        assert!(Instant::now() < late, "it did not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The fake doubles its input.
fn doubled(answer: &Answer) -> f32 {
    match answer.as_ref().unwrap()[0].values() {
        Values::F32(values) => values[0],
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_quick_session_runs_on_the_callers_task() {
    let fake = Fake::quick();
    let threads = Arc::clone(&fake.threads);
    let lane = lane(fake, &settings());
    let ran = lane.run(row(2.0), 1, soon()).await;
    assert_eq!(doubled(&ran.answer), 4.0);
    assert_eq!(ran.inputs, Some(row(2.0)), "the inputs come back");
    assert_eq!(threads.lock().unwrap().as_slice(), [std::thread::current().id()]);
    let late = lane.run(row(2.0), 1, Instant::now()).await;
    assert!(matches!(late.answer, Err(InferError::Deadline(_))), "{late:?}");
}

#[tokio::test]
async fn a_call_that_had_to_wait_for_its_processor_does_not_make_a_session_slow() {
    let lane = lane(Fake::quick(), &settings());
    (0..10).for_each(|_| lane.measure(Duration::from_micros(5), 1));
    lane.measure(Duration::from_millis(40), 1);
    assert!(lane.is_short(1), "{} ns", lane.row_nanos.load(Ordering::Relaxed));
    (0..30).for_each(|_| lane.measure(Duration::from_millis(40), 1));
    assert!(!lane.is_short(1), "it really is slow");
    // Calls in a worker tell that it is quick again.
    for i in 0..200_u8 {
        if lane.is_short(1) {
            break;
        }
        assert_eq!(doubled(&lane.run(row(f32::from(i)), 1, soon()).await.answer), f32::from(i) * 2.0);
    }
    assert!(lane.is_short(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_are_joined_and_get_their_own_rows() {
    let fake = Fake::slow(Duration::from_millis(3));
    let sizes = Arc::clone(&fake.sizes);
    let lane = lane(fake, &settings());
    let mut tasks = Vec::new();
    for client in 0..32_u16 {
        let lane = Arc::clone(&lane);
        tasks.push(tokio::spawn(async move {
            for i in 0..50_u16 {
                let value = f32::from(client * 100 + i);
                let ran = lane.run(row(value), 1, soon()).await;
                assert_eq!(doubled(&ran.answer), value * 2.0);
                assert_eq!(ran.inputs, Some(row(value)));
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let sizes = sizes.lock().unwrap().clone();
    assert_eq!(sizes.iter().sum::<usize>(), 32 * 50);
    assert!(sizes.iter().all(|size| *size <= 8), "{sizes:?}");
    assert!(sizes.len() < 32 * 50 / 3, "{} calls for {} requests", sizes.len(), 32 * 50);
    until(|| (lane.waiting(), lane.queue().workers) == (0, 0)).await;
}

#[tokio::test]
async fn one_client_does_not_wait_for_others() {
    let fake = Fake::slow(Duration::from_millis(1));
    let generous = ServingSettings { max_wait: Duration::from_millis(500), ..settings() };
    let lane = lane(fake, &generous);
    let begun = Instant::now();
    for i in 0..100_u8 {
        lane.run(row(f32::from(i)), 1, soon()).await.answer.unwrap();
    }
    // A wait of 500 ms for each would take fifty seconds.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let limits = ServingSettings { max_queue: 4, concurrency: 1, max_batch: 1, ..settings() };
    let lane = lane(Fake::slow(Duration::from_millis(200)), &limits);
    lane.run(row(0.0), 1, soon()).await.answer.unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let lane = Arc::clone(&lane);
            tokio::spawn(async move { lane.run(row(1.0), 1, soon()).await.answer })
        })
        .collect();
    let (mut answered, mut refused) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => answered += 1,
            Err(InferError::TooMany { message, retry_after }) => {
                refused += 1;
                assert!(message.contains("4 requests wait"), "{message}");
                assert!(
                    (Duration::from_millis(400)..Duration::from_secs(10)).contains(&retry_after),
                    "{retry_after:?}"
                );
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(answered >= 4 && refused >= 10, "{answered} answered, {refused} refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_past_its_deadline_does_not_run() {
    let limits = ServingSettings { concurrency: 1, max_batch: 1, ..settings() };
    let fake = Fake::slow(Duration::from_millis(800));
    let sizes = Arc::clone(&fake.sizes);
    let lane = lane(fake, &limits);
    let first = {
        let lane = Arc::clone(&lane);
        tokio::spawn(async move { lane.run(row(1.0), 1, soon()).await.answer })
    };
    until(|| lane.queue().workers == 1 && lane.waiting() == 0).await;
    let late = lane.run(row(2.0), 1, Instant::now() + Duration::from_millis(30)).await;
    assert!(matches!(late.answer, Err(InferError::Deadline(_))), "{late:?}");
    assert!(!first.is_finished(), "the answer did not wait for the one that runs");
    first.await.unwrap().unwrap();
    until(|| lane.queue().workers == 0).await;
    assert_eq!(sizes.lock().unwrap().as_slice(), [1], "only the first one ran");
    // What is known of the model now says that there is no time.
    let busy = {
        let lane = Arc::clone(&lane);
        tokio::spawn(
            async move { tokio::join!(lane.run(row(1.0), 1, soon()), lane.run(row(1.0), 1, soon())) },
        )
    };
    until(|| lane.queue().workers == 1 && lane.waiting() == 1).await;
    let hopeless = lane.run(row(2.0), 1, Instant::now() + Duration::from_millis(30)).await;
    assert!(matches!(hopeless.answer, Err(InferError::TooMany { .. })), "{hopeless:?}");
    busy.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_and_a_failure_hurt_only_their_own_request() {
    // The fake panics on 13 and fails on 7, wherever in the batch they stand.
    let fake = Fake { work: Work::Picky, ..Fake::slow(Duration::from_millis(2)) };
    let lane = lane(fake, &ServingSettings { max_queue: 200, ..settings() });
    let tasks: Vec<_> = (0..200_u16)
        .map(|i| {
            let lane = Arc::clone(&lane);
            tokio::spawn(async move {
                let value = f32::from(i % 20);
                (value, lane.run(row(value), 1, soon()).await.answer)
            })
        })
        .collect();
    let mut answered = 0;
    for task in tasks {
        match task.await.unwrap() {
            (13.0, answer) => {
                assert!(
                    matches!(&answer, Err(InferError::Model(why)) if why.contains("panicked")),
                    "{answer:?}"
                );
            }
            (7.0, answer) => {
                assert!(
                    matches!(&answer, Err(InferError::Model(why)) if why.contains("seven")),
                    "{answer:?}"
                );
            }
            (value, answer) => {
                answered += 1;
                assert_eq!(doubled(&answer), value * 2.0);
            }
        }
    }
    assert_eq!(answered, 180);
    assert_eq!(doubled(&lane.run(row(1.0), 1, soon()).await.answer), 2.0, "the lane goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_requests_run_alone_and_off_the_callers_task() {
    let fake = Fake::quick();
    let (sizes, threads) = (Arc::clone(&fake.sizes), Arc::clone(&fake.threads));
    let lane = lane(fake, &settings());
    let rows = 10_000;
    let inputs = vec![Tensor::new(vec![rows, 1], Values::F32(vec![1.0; rows])).unwrap()];
    let ran = lane.run(inputs, rows, soon()).await;
    assert_eq!(ran.answer.unwrap()[0].rows(), rows);
    assert_eq!(sizes.lock().unwrap().as_slice(), [rows]);
    assert_ne!(threads.lock().unwrap()[0], std::thread::current().id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_go_leave_nothing_behind() {
    let lane = lane(Fake::slow(Duration::from_millis(1)), &settings());
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for i in 0..16_u8 {
        let (lane, stop) = (Arc::clone(&lane), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let call = lane.run(row(f32::from(i)), 1, soon());
                // Some give up after a time in which many are still in the queue.
                let _ = tokio::time::timeout(Duration::from_micros(u64::from(i) * 300), call).await;
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(doubled(&lane.run(row(1.0), 1, soon()).await.answer), 2.0);
    until(|| lane.queue().workers == 0).await;
    let queue = lane.queue();
    assert_eq!((queue.jobs.len(), queue.rows, queue.workers), (0, 0, 0));
}
