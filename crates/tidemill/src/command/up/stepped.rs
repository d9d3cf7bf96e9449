//! A server inside of this process that takes nothing on by itself: whoever started it says when records are written, outcomes joined,
//! rollouts and windows looked at, and triggers acted on. So a replay of a year comes to the same end on every machine.

use std::sync::Arc;
use std::time::Duration;

use tidemill_core::Cancel;
use tidemill_registry::Registry;
use tidemill_serve::gateway::settings::Settings;
use tidemill_serve::record::outcome::{Matcher, OutcomeRules};
use tidemill_serve::record::{Roll, Roller};
use tidemill_server::triggers::Triggers;
use tidemill_server::{App, Config, Running, delivery, monitoring};
use tokio_util::sync::CancellationToken;

use super::models::Models;
use super::{scratch, serving};
use crate::cli::GatewayOptions;
use crate::home::Home;

/// Such a server.
pub(crate) struct Stepped {
    running: Running,
    parts: serving::Parts,
    rollouts: delivery::Driver,
    monitors: monitoring::Driver,
    triggers: Triggers,
    roller: Roller,
    matcher: Matcher,
    /// Records that were waited for and never came.
    missing: u64,
}

/// How long records may take to be there.
const PATIENCE: Duration = Duration::from_secs(5);

impl Stepped {
    /// Starts one on a free port of the loopback interface. Nothing of the log before counts for the triggers.
    pub(crate) async fn start(registry: Registry, home: &Home, triggers: Triggers) -> anyhow::Result<Self> {
        home.make()?;
        triggers.begin().await?;
        let mut config = Config::new(scratch(home)?);
        config.user = crate::app::user_name();
        config.drives_rollouts = false;
        config.about.clone_from(&home.about);
        config.step_logs = Some(home.dir.join("runs"));
        let options = GatewayOptions {
            grpc: None,
            default_endpoint: None,
            python: None,
            onnxruntime: None,
            model_memory: None,
            model_timeout: Settings::default().timeout,
            otlp: None,
            trace_share: 0.0,
            records: crate::records::RecordDefaults::default(),
        };
        // By the size of what is in them: the time of a replay goes by too fast.
        let roll = Roll { rows: 1_000, age: Duration::from_secs(10 * 365 * 86_400), ..Roll::default() };
        let parts =
            serving::Parts::open((&options, roll), &registry, home, &config.scratch, Models::Registry)?;
        let (db, store) = (registry.db().clone(), registry.store().clone());
        let clock = Arc::clone(registry.clock());
        let roller = Roller::new(parts.log().clone(), db.clone(), store, Arc::clone(&clock));
        let matcher = Matcher::new(db, parts.reader().clone(), clock, Duration::ZERO);
        let app = App::serve(registry, config, parts.serving());
        let running = Running::start(app.clone())?;
        let monitors = monitoring::Driver::new(app.clone(), parts.reader().clone(), parts.log().clone());
        let rollouts = delivery::Driver::new(app);
        Ok(Self { running, parts, rollouts, monitors, triggers, roller, matcher, missing: 0 })
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        self.running.url()
    }

    /// Writes `expected` records of an endpoint, joins outcomes with them, and takes rollouts on. Records of shadows may take a moment;
    /// those that were dropped are waited for once.
    pub(crate) async fn step(&mut self, endpoint: &str, expected: u64) -> anyhow::Result<()> {
        let begin = tokio::time::Instant::now();
        loop {
            let log = self.parts.log().clone();
            tokio::task::spawn_blocking(move || log.flush()).await??;
            let recorded = self.parts.log().counts().get(endpoint).map_or(0, |counts| counts.recorded);
            let lacking = expected.saturating_sub(self.missing).saturating_sub(recorded);
            if lacking == 0 || begin.elapsed() > PATIENCE {
                self.missing += lacking;
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.roller.roll().await?;
        self.matcher.pass(endpoint, OutcomeRules::default()).await?;
        // What comes of a look may be due in the next one.
        for _ in 0..3 {
            self.rollouts.look().await.map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        Ok(())
    }

    /// A round without anybody's replay: what is recorded is written, outcomes are joined, rollouts are taken on, and now and then monitors
    /// and triggers have their turn.
    pub(crate) async fn go_on(
        &mut self,
        endpoint: &str,
        watches: bool,
        cancel: &Cancel,
    ) -> anyhow::Result<()> {
        self.step(endpoint, 0).await?;
        if watches {
            let stop = CancellationToken::new();
            let ends = async {
                while !cancel.is_cancelled() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                stop.cancel();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                done = self.watch(&stop) => done?,
                () = ends => {}
            }
        }
        Ok(())
    }

    /// Judges the windows that are over, and does what triggers say of alerts: jobs are worked on to their end.
    pub(crate) async fn watch(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        self.monitors.look().await.map_err(|error| anyhow::anyhow!("{error}"))?;
        self.triggers.settle(stop).await?;
        Ok(())
    }

    /// Stops it.
    pub(crate) async fn stop(self) {
        self.running.stop().await;
        self.parts.close();
    }
}
