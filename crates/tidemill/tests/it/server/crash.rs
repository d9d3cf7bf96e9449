//! kill -9 under load, again and again: what was acknowledged is there, nothing is there in part or twice.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::client::Client;
use super::load::{Batches, Load, Metrics, Registrations, Runs, Uploads, Words};
use super::process::Place;

/// Where the clients find the server; it moves with every restart.
#[derive(Default)]
struct Address {
    state: Mutex<(usize, Option<String>)>,
    moved: Condvar,
}

impl Address {
    /// Tells the clients about a server that runs from now on; `None` when there will be none.
    fn set(&self, url: Option<&str>) {
        let mut state = self.state.lock().unwrap();
        *state = (state.0 + 1, url.map(str::to_owned));
        self.moved.notify_all();
    }

    /// Waits for a server other than the one of generation `seen`.
    fn after(&self, seen: usize) -> (usize, Option<String>) {
        let state = self.state.lock().unwrap();
        self.moved.wait_while(state, |state| state.0 == seen).unwrap().clone()
    }
}

/// Lets the clients end, also when a test fails.
struct Ending<'a>(&'a Address);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

/// Works until there is no server any more.
fn work(load: &mut dyn Load, address: &Address, total: &Mutex<usize>) {
    let mut seen = 0;
    loop {
        let (generation, url) = address.after(seen);
        seen = generation;
        let Some(url) = url else { return };
        // The server may be gone before the client got through.
        let Ok(mut client) = Client::connect(&url) else { continue };
        let mut before = load.acknowledged();
        while load.turn(&mut client).is_ok() {
            *total.lock().unwrap() += load.acknowledged() - before;
            before = load.acknowledged();
        }
    }
}

fn killed_under_load(place: &Place, kills: u64) {
    let server = place.serve();
    let mut client = Client::connect(&server.url).unwrap();
    let mut loads: Vec<Box<dyn Load>> = vec![
        Box::new(Metrics::new(&mut client)),
        Box::new(Metrics::new(&mut client)),
        Box::new(Batches::new(&mut client)),
        Box::new(Words::new(&mut client)),
        Box::new(Runs::new(&mut client)),
        Box::new(Uploads::new(&mut client)),
        Box::new(Registrations::new(&mut client)),
    ];
    let (address, total) = (Address::default(), Mutex::new(0));
    let server = std::thread::scope(|scope| {
        let _ending = Ending(&address);
        for load in &mut loads {
            scope.spawn(|| work(load.as_mut(), &address, &total));
        }
        let mut server = server;
        for kill in 0..kills {
            address.set(Some(&server.url));
            let before = *total.lock().unwrap();
            let begin = Instant::now();
            while *total.lock().unwrap() < before + 30 {
                let late = begin.elapsed() > Duration::from_secs(30);
                assert!(!late, "the load does not go on after kill {kill}:\n{}", server.said());
                std::thread::sleep(Duration::from_millis(5));
            }
            // The moment moves through whatever the server does in a second.
            std::thread::sleep(Duration::from_millis(kill * 137 % 700));
            server.kill();
            server = place.serve();
        }
        server
    });
    let mut client = Client::connect(&server.url).unwrap();
    for load in &loads {
        assert!(load.acknowledged() > 0, "a load did nothing");
        load.check(&mut client);
    }
    drop(client);
    server.stop();
    for arguments in [["log", "verify"], ["data", "verify"]] {
        let output = place.command(&arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_on_sqlite() {
    killed_under_load(&Place::sqlite(), 20);
}

#[test]
fn nothing_acknowledged_is_lost_on_postgres() {
    killed_under_load(&Place::postgres(), 8);
}
