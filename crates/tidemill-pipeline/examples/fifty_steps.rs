//! Measures the pipeline's own cost: 50 trivial steps in a chain, fresh, with nothing to do and restored, over the real
//! store and a journal of JSON lines, beside the same commands in a shell loop. Prints milliseconds.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measuring program, not part of the product"
)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::process::Command;
use std::time::Instant;

use support::{FakeBuiltin, Project, options, states, step};
use tidemill_core::SystemClock;
use tidemill_core::declare::{Sandbox, Step};
use tidemill_pipeline::{Dag, LocalExecutor, RunReport, Services, Silent, StoreContents, Untracked, execute};
use tidemill_store::{StatCache, Store, StoreOptions};

const STEPS: usize = 50;

fn chain(sandbox: Sandbox) -> Vec<Step> {
    let make = |at: usize| {
        let before = if at == 0 { "in.txt".to_owned() } else { format!("s{}.txt", at - 1) };
        let out = format!("s{at}.txt");
        Step { sandbox, ..step(&format!("s{at}"), &format!("cat {before} > {out}"), &[&before], &[&out]) }
    };
    (0..STEPS).map(make).collect()
}

fn run(project: &Project, steps: &[Step]) -> RunReport {
    // Everything is opened anew, as a new process would.
    let own = project.root.join(".tidemill");
    let store = Store::open(&own.join("objects"), StoreOptions::default()).unwrap();
    let contents = StoreContents::new(store, StatCache::open(&own.join("stat")).unwrap());
    let services = Services {
        contents: &contents,
        journal: &project.journal,
        builtin: &FakeBuiltin,
        executor: &LocalExecutor::new(&own),
        tracker: &Untracked,
        observer: &Silent,
        clock: &SystemClock,
    };
    let report = execute(&project.root, &Dag::new(steps).unwrap(), &services, &options()).unwrap();
    contents.stat().save().unwrap();
    report
}

fn measure(what: &str, work: impl FnOnce() -> usize) {
    let started = Instant::now();
    let count = work();
    println!("{what}: {:.1} ms, {count} steps", started.elapsed().as_secs_f64() * 1e3);
}

fn main() {
    for sandbox in [Sandbox::Off, Sandbox::On] {
        let project = Project::new();
        project.write("in.txt", "x");
        let steps = chain(sandbox);
        let count =
            |report: &RunReport, state: &str| states(report).iter().filter(|s| s.ends_with(state)).count();
        measure("shell loop", || {
            for step in &steps {
                let tidemill_core::declare::Action::Run { command } = &step.action else { continue };
                Command::new("sh").arg("-c").arg(command).current_dir(&project.root).status().unwrap();
            }
            steps.len()
        });
        measure(&format!("fresh, sandbox {sandbox:?}"), || count(&run(&project, &steps), "Ran"));
        measure("nothing to do", || count(&run(&project, &steps), "Unchanged"));
        for at in 0..STEPS {
            fs_err::remove_file(project.root.join(format!("s{at}.txt"))).unwrap();
        }
        measure("restored", || count(&run(&project, &steps), "Restored"));
    }
}
