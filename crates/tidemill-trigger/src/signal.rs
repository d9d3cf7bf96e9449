//! What an event of the log says to triggers.

use tidemill_core::declare::When;
use tidemill_core::{Digest, Event, EventKind, SourceKind};

use crate::Details;

/// Something that a trigger may listen for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A source says that something has changed; the name is as in [`EventKind::SourceChanged`].
    Source(SourceKind, String, Details),
    /// A dataset has a new version.
    Dataset {
        /// The dataset.
        name: String,
        /// The version.
        version: u64,
    },
    /// A dataset was checked, and did not hold what is expected of it.
    Broken {
        /// The dataset.
        dataset: String,
        /// Number of expectations of severity `error` that did not hold.
        failed: u64,
        /// Number of those that only warn.
        warned: u64,
    },
    /// A registered model has a new version, or an alias of it points elsewhere.
    Model {
        /// The model.
        name: String,
        /// The alias; `None` for a new version.
        alias: Option<String>,
        /// The version.
        version: u64,
    },
    /// An environment runs another release.
    Environment {
        /// The environment.
        environment: String,
        /// The endpoint.
        endpoint: String,
        /// The release.
        release: Digest,
        /// The rollout that brought it there.
        rollout: u64,
    },
}

/// What `event` says to the triggers of `project`.
pub fn signals(event: &Event, project: &str) -> Option<Signal> {
    match &event.kind {
        EventKind::SourceChanged { project: of, source, name, details } => {
            (of == project).then(|| Signal::Source(*source, name.clone(), details.clone()))
        }
        EventKind::DatasetVersionCreated { dataset, version, .. } => {
            Some(Signal::Dataset { name: dataset.clone(), version: *version })
        }
        EventKind::DataChecked { dataset, failed, warned, .. } if failed + warned > 0 => {
            Some(Signal::Broken { dataset: dataset.clone(), failed: *failed, warned: *warned })
        }
        EventKind::VersionCreated { model, version, .. } => {
            Some(Signal::Model { name: model.clone(), alias: None, version: *version })
        }
        EventKind::AliasMoved { model, alias, to: Some(version), .. } => {
            Some(Signal::Model { name: model.clone(), alias: Some(alias.clone()), version: *version })
        }
        EventKind::EnvironmentMoved { environment, endpoint, to, rollout, .. } => Some(Signal::Environment {
            environment: environment.clone(),
            endpoint: endpoint.clone(),
            release: *to,
            rollout: *rollout,
        }),
        // Monitors are declared by kind, which is what triggers name them by.
        EventKind::AlertFiring { monitor, watch, endpoint, why, .. } => {
            let details = [("watch", watch), ("endpoint", endpoint), ("why", why)];
            let details = details.map(|(key, value)| (key.to_owned(), value.clone()));
            Some(Signal::Source(SourceKind::Alert, monitor.clone(), details.into()))
        }
        // Everything else is a consequence that nobody can listen for yet.
        _ => None,
    }
}

impl Signal {
    /// Whether the trigger called `trigger` listens for it.
    pub fn is_for(&self, trigger: &str, when: &When) -> bool {
        match (self, when) {
            (Self::Source(SourceKind::Hand, name, _), _) => name == trigger,
            (Self::Source(SourceKind::Schedule, name, _), When::Schedule { .. })
            | (Self::Source(SourceKind::Webhook, name, _), When::Webhook)
            | (Self::Source(SourceKind::Message, name, _), When::Message(_))
            | (Self::Source(SourceKind::Cloudevent, name, _), When::CloudEvent { .. })
            | (Self::Source(SourceKind::Alertmanager, name, _), When::Alertmanager { .. }) => name == trigger,
            (Self::Source(SourceKind::Data, name, _), When::Data { dataset, .. }) => name == dataset,
            (Self::Source(SourceKind::Alert, name, _), When::Alert { monitor }) => name == monitor,
            // The same branch may be watched in two places; the event says by which trigger's eyes.
            (Self::Source(SourceKind::Git, name, details), When::Git { branch, .. }) => {
                name == branch && details.get("trigger").is_none_or(|seen_by| seen_by == trigger)
            }
            (Self::Dataset { name, .. }, When::Data { dataset, .. }) => name == dataset,
            (Self::Broken { dataset: name, .. }, When::Expectations { dataset }) => name == dataset,
            (Self::Model { name, alias, .. }, When::Model { model, alias: wanted }) => {
                name == model && alias == wanted
            }
            (Self::Environment { environment, .. }, When::Environment { environment: wanted }) => {
                environment == wanted
            }
            _ => false,
        }
    }

    /// Whether a person asked for it, who does not wait and is not limited.
    pub fn is_by_hand(&self) -> bool {
        matches!(self, Self::Source(SourceKind::Hand, ..))
    }

    /// Whether it says that what Tidemill has made does not do well: the usual beginning of a loop.
    pub fn is_alert(&self) -> bool {
        matches!(self, Self::Source(SourceKind::Alert | SourceKind::Alertmanager, ..))
    }

    /// Whether it is a change of our own state, which a job may have made without saying so.
    pub fn is_of_ours(&self) -> bool {
        matches!(
            self,
            Self::Dataset { .. }
                | Self::Broken { .. }
                | Self::Model { .. }
                | Self::Source(SourceKind::Data, ..)
        )
    }

    /// What jobs are told about it.
    pub fn details(&self) -> Details {
        match self {
            Self::Source(source, _, details) => {
                let mut details = details.clone();
                details.insert("source".to_owned(), source.name().to_owned());
                details
            }
            Self::Dataset { name, version } => {
                [("source", "dataset"), ("dataset", name), ("version", &version.to_string())]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into()
            }
            Self::Broken { dataset, failed, warned } => [
                ("source", "expectations"),
                ("dataset", dataset),
                ("failed", &failed.to_string()),
                ("warned", &warned.to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
            Self::Environment { environment, endpoint, release, rollout } => [
                ("source", "environment"),
                ("environment", environment),
                ("endpoint", endpoint),
                ("release", &release.to_string()),
                ("rollout", &rollout.to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
            Self::Model { name, alias, version } => {
                let alias = alias.as_ref().map(|alias| ("alias".to_owned(), alias.clone()));
                [("source", "model"), ("model", name), ("version", &version.to_string())]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into_iter()
                    .chain(alias)
                    .collect()
            }
        }
    }
}
