//! Judges the windows of an endpoint that are due, in memory. The loop writes the result down, a backtest shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_core::declare::Objective;
use tidemill_core::{Digest, Timestamp};
use tidemill_data::Profile;
use tidemill_db::Db;
use tidemill_monitor::window::Window;
use tidemill_monitor::{Declaration, Exposure, Kind, Monitor, Reference as Against, Verdict, Watch, judge};
use tidemill_serve::record::{LogError, Reader};
use tidemill_store::Store;

use super::due::{Known, Now};
use super::keep::Made;
use super::look::Look;
use super::reference::References;
use super::restate::rests_on;
use super::rows::{Rows, Wanted};
use super::scan::{Key, blocking, read_rows, stretches};
use super::spans::Spans;
use super::told::told_apart;

/// Windows among which the model that answered last is looked for.
const LAST: usize = 50;

/// Where things are read from.
pub(super) struct Sources<'a> {
    pub(super) db: &'a Db,
    pub(super) reader: &'a Reader,
    /// Where profiles of windows are kept; a backtest keeps none.
    pub(super) store: Option<&'a Store>,
    pub(super) references: &'a mut References,
    /// The last profile of each series that compares with the window before, and the begin of its window: what a backtest, which stores
    /// none, needs across two reads of the log.
    pub(super) last: &'a mut BTreeMap<String, (Timestamp, Profile)>,
}

/// Judges windows. Requests of them came at or after `from` and before `to`. What is remembered is taken on.
pub(super) async fn judge_windows(
    sources: &mut Sources<'_>,
    declaration: &Declaration,
    known: &mut [Known],
    (windows, spans): (&[Vec<Window>], &Spans),
    now: Now,
    between: (Option<Timestamp>, Option<Timestamp>),
) -> Result<Vec<Made>, LogError> {
    let endpoint = &declaration.endpoint;
    let objective = declaration.objective.clone().map(Arc::new);
    let secret: Arc<[String]> = declaration.redact.clone().into();
    let mut wanted: BTreeMap<Key, Wanted> = BTreeMap::new();
    for ((watch, _), windows) in known.iter().zip(windows) {
        for window in windows {
            if is_compared(watch) || sources.store.is_some() && is_kept(watch) {
                let wanted = wanted.entry((*window, watch.is_by_arrival())).or_default();
                wanted.profile = true;
                wanted.pairs |= compares_pairs(watch);
            }
            let Kind::Monitor(monitor) = &watch.kind else {
                ask(&mut wanted, (*window, false), objective.clone());
                continue;
            };
            match monitor {
                Monitor::Stale(_) | Monitor::Drift(_) | Monitor::PredictionDrift(_) => {}
                Monitor::Quality(_) => ask(&mut wanted, (*window, false), objective.clone()),
                Monitor::Kpi(kpi) => {
                    wanted.entry((*window, false)).or_default().kpi = Some(kpi.name.clone());
                }
                Monitor::Stream(stream) => {
                    let wanted = wanted.entry((*window, true)).or_default();
                    wanted.streams.insert(stream.of.clone());
                }
                Monitor::Service(_) | Monitor::Inputs(_) => {
                    wanted.entry((*window, watch.is_by_arrival())).or_default();
                }
            }
        }
    }
    wanted.values_mut().for_each(|wanted| wanted.secret = Arc::clone(&secret));
    let resting = match sources.store {
        Some(_) => {
            let found = rests_on(sources.db, endpoint, known, (windows, spans), now.is_dated).await;
            found.map_err(|error| LogError::Unusable(error.to_string()))?
        }
        None => BTreeMap::new(),
    };
    let mut rows = BTreeMap::new();
    for (came, wanted) in stretches(wanted, spans, now.is_dated, between) {
        rows.extend(read_rows((sources.reader, sources.db), endpoint, came, now.is_dated, wanted).await?);
    }
    // Nothing else reads the sample of a window that is over.
    let keeps_samples = known.iter().any(|(watch, _)| compares_pairs(watch) && compares_with_before(watch));
    let profiles = profiles(sources, &mut rows, keeps_samples).await?;
    let hidden = hidden(sources.db, endpoint).await?;
    let mut newest = newest_version(&rows);
    if newest.is_none() {
        // Windows without records are of the model that answered last.
        let filter =
            tidemill_db::monitoring::JudgedFilter { endpoint: Some(endpoint.clone()), ..Default::default() };
        let last = sources.db.judged_windows(&filter, LAST).await?;
        newest = last.into_iter().find_map(|last| last.made.model.zip(last.made.version));
    }
    let mut made: Vec<Made> = Vec::new();
    for ((watch, memory), windows) in known.iter_mut().zip(windows) {
        for window in windows {
            let key = (*window, watch.is_by_arrival());
            let seen_rows = rows.get(&key);
            let version = seen_rows.and_then(Rows::version).or_else(|| newest.clone());
            let reference = match &version {
                Some(version) => sources.references.of(version, declaration.objective.as_ref()).await,
                None => Arc::default(),
            };
            let before = before(sources, endpoint, watch, *window, &profiles).await?;
            let dataset = match against(watch).filter(|against| matches!(against, Against::Dataset(_))) {
                Some(reference) => Some(sources.references.dataset(reference).await),
                None => None,
            };
            let estimated = estimated(sources.db, endpoint, watch, *window, &made).await?;
            let profile = profiles.get(&key);
            if sources.store.is_none()
                && compares_with_before(watch)
                && let Some((profile, _)) = profile
            {
                sources.last.insert(watch.id.clone(), (window.from, profile.clone()));
            }
            let mut look = Look {
                window: *window,
                rows: seen_rows,
                profile: profile.map(|(profile, _)| profile),
                before,
                reference: &reference,
                hidden: &hidden,
                secret: &secret,
                dataset,
                classifier: None,
                estimated,
                is_dated: now.is_dated,
            };
            if let Some(samples) = look.samples(watch) {
                look.classifier = told_apart(samples).await?;
            }
            let costs = declaration.objective.as_ref().and_then(|objective| objective.costs.as_ref());
            let seen = look.see(watch, costs);
            let predictions = seen_rows.map_or(0, Rows::predictions);
            let exposure =
                Exposure { decisions: predictions, cost_per_decision: reference.cost_per_decision };
            let remembered = judge(watch, memory, *window, &seen, declaration.objective.as_ref(), exposure);
            memory.clone_from(&remembered.memory);
            made.push(Made {
                watch: watch.clone(),
                window: *window,
                version,
                predictions,
                profile: profile.and_then(|(_, digest)| *digest).filter(|_| is_kept(watch)),
                rests_on: resting.get(window).copied().filter(|_| watch.restates().is_some()),
                remembered,
            });
        }
    }
    Ok(made)
}

/// Inputs that the endpoint's log hides.
async fn hidden(db: &Db, endpoint: &str) -> Result<Vec<String>, LogError> {
    let Some(stored) = db.endpoint(endpoint).await? else { return Ok(Vec::new()) };
    let declared =
        crate::serving::read_endpoint(&stored).map_err(|error| LogError::Unusable(error.to_string()))?;
    Ok(declared.records.redact.into_keys().collect())
}

fn ask(wanted: &mut BTreeMap<Key, Wanted>, key: Key, objective: Option<Arc<Objective>>) {
    wanted.entry(key).or_default().objective = objective;
}

/// Whether windows of a series are compared by their profiles.
fn is_compared(watch: &Watch) -> bool {
    matches!(watch.kind, Kind::Monitor(Monitor::Drift(_) | Monitor::PredictionDrift(_)))
}

/// Whether pairs of columns are compared too.
fn compares_pairs(watch: &Watch) -> bool {
    matches!(watch.kind, Kind::Monitor(Monitor::Drift(_)))
}

/// Whether windows of a series are kept as a profile, so that what production was like can be looked at later: all but those that ask only
/// how old a model is.
fn is_kept(watch: &Watch) -> bool {
    !matches!(watch.kind, Kind::Monitor(Monitor::Stale(_)))
}

fn newest_version(rows: &BTreeMap<Key, Rows>) -> Option<(String, String)> {
    rows.values().rev().find_map(Rows::version)
}

type Profiles = BTreeMap<Key, (Profile, Option<Digest>)>;

/// The profiles of windows, put into the store where there is one.
async fn profiles(
    sources: &Sources<'_>,
    rows: &mut BTreeMap<Key, Rows>,
    keeps_samples: bool,
) -> Result<Profiles, LogError> {
    let unusable = |error: tidemill_data::Error| LogError::Unusable(error.to_string());
    let mut profiles = Profiles::new();
    for (key, rows) in rows {
        let Some(profile) = rows.profile().map_err(unusable)? else { continue };
        let digest = match sources.store {
            None => None,
            Some(store) => {
                let bytes = if keeps_samples {
                    profile.to_bytes()
                } else {
                    profile.clone().without_sample().to_bytes()
                };
                let store = store.clone();
                Some(
                    blocking(move || {
                        store.put(&bytes).map_err(|error| LogError::Unusable(error.to_string()))
                    })
                    .await?,
                )
            }
        };
        profiles.insert(*key, (profile, digest));
    }
    Ok(profiles)
}

/// What a monitor compares with, if anything.
fn against(watch: &Watch) -> Option<&Against> {
    match &watch.kind {
        Kind::Monitor(monitor) => monitor.against(),
        Kind::Estimate(_) => None,
    }
}

/// Whether a monitor compares with the window before.
fn compares_with_before(watch: &Watch) -> bool {
    against(watch) == Some(&Against::Previous)
}

/// The profile of the window before, for a monitor that compares with it.
async fn before(
    sources: &Sources<'_>,
    endpoint: &str,
    watch: &Watch,
    window: Window,
    profiles: &Profiles,
) -> Result<Option<Profile>, LogError> {
    if !compares_with_before(watch) {
        return Ok(None);
    }
    let before = Window::containing(Timestamp::from_millis(window.from.millis() - 1), watch.length());
    if let Some((profile, _)) = profiles.get(&(before, false)) {
        return Ok(Some(profile.clone()));
    }
    if let Some((_, profile)) = sources.last.get(&watch.id).filter(|(from, _)| *from == before.from) {
        return Ok(Some(profile.clone()));
    }
    let stored = sources.db.judged_window(endpoint, &watch.id, before.from).await?;
    let Some((digest, store)) = stored.and_then(|stored| stored.made.profile).zip(sources.store) else {
        return Ok(None);
    };
    let store = store.clone();
    let read = blocking(move || {
        let bytes = store.get(&digest).map_err(|error| LogError::Unusable(error.to_string()))?;
        Profile::from_bytes(&bytes).map_err(|error| LogError::Unusable(error.to_string()))
    });
    match read.await {
        Ok(profile) => Ok(Some(profile)),
        Err(error) => {
            tracing::warn!(%error, "the profile of an earlier window cannot be read");
            Ok(None)
        }
    }
}

/// What was estimated of a window before its labels came: now, or when it was over.
pub(super) async fn estimated(
    db: &Db,
    endpoint: &str,
    watch: &Watch,
    window: Window,
    made: &[Made],
) -> Result<Option<f64>, LogError> {
    let Some(name) = watch.id.strip_prefix("quality:") else { return Ok(None) };
    let id = format!("estimate:{name}");
    if let Some(made) = made.iter().find(|made| made.watch.id == id && made.window == window) {
        return Ok(made.remembered.verdict.value);
    }
    let stored = db.judged_window(endpoint, &id, window.from).await?;
    let verdict = stored.and_then(|stored| serde_json::from_str::<Verdict>(&stored.made.verdict).ok());
    Ok(verdict.and_then(|verdict| verdict.value))
}
