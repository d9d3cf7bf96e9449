//! The environment of a step's process: a few variables of the system, facts of the run, what is declared.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use tidemill_core::canonical_json;
use tidemill_core::declare::{EnvSource, Step};

use super::RunOptions;
use crate::StepFailure;
use crate::executor::RUN_VARIABLE;

/// Everything that the process of a step sees.
///
/// Passed on from Tidemill's own environment: `PATH`, `HOME`, `LANG` and `LC_*`. Set: `TMPDIR` and the facts
/// `TIDEMILL_PROJECT_DIR`, `TIDEMILL_RUN_ID`, `TIDEMILL_STEP` and `TIDEMILL_PARAMS` (the step's parameters as JSON);
/// `PYTHONDONTWRITEBYTECODE`, so that Python writes no caches beside the sources. Then the run's own variables, those of the
/// tracker, and what the step declares, which wins.
pub(super) fn environment(
    root: &Path,
    step: &Step,
    scratch: &Path,
    options: &RunOptions,
    tracked: &BTreeMap<String, OsString>,
) -> Result<BTreeMap<String, OsString>, StepFailure> {
    let passed = |name: &str| matches!(name, "PATH" | "HOME" | "LANG") || name.starts_with("LC_");
    let own = &options.environment;
    let mut env: BTreeMap<String, OsString> = own
        .iter()
        .filter(|(name, _)| passed(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    env.entry("PATH".to_owned()).or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".into());
    let params = canonical_json(&step.params).ok().and_then(|json| String::from_utf8(json).ok());
    let facts: [(&str, OsString); 6] = [
        ("TMPDIR", scratch.into()),
        ("TIDEMILL_PROJECT_DIR", root.into()),
        (RUN_VARIABLE, options.run.to_string().into()),
        ("TIDEMILL_STEP", step.name.clone().into()),
        ("TIDEMILL_PARAMS", params.unwrap_or_default().into()),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
    ];
    env.extend(facts.map(|(name, value)| (name.to_owned(), value)));
    env.extend(options.extra_env.clone());
    env.extend(tracked.clone());
    for (name, source) in &step.env {
        match source {
            EnvSource::Value(value) => {
                env.insert(name.clone(), value.into());
            }
            EnvSource::Inherit | EnvSource::Secret => match (own.get(name), source) {
                (Some(value), _) => {
                    env.insert(name.clone(), value.clone());
                }
                (None, EnvSource::Secret) => {
                    let message = format!("the secret `{name}` is not set in Tidemill's environment");
                    return Err(StepFailure::new(message).with_hint(format!("set it: `export {name}=…`")));
                }
                (None, _) => {
                    env.remove(name);
                }
            },
        }
    }
    Ok(env)
}
