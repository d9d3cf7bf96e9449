//! Limits of the gateway as a whole, and what a model may declare for itself.

use std::time::Duration;

/// Settings of a gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Bytes that loaded models may occupy together; the least recently used ones make room. None for no limit.
    pub memory_budget: Option<u64>,
    /// Models that are read and prepared at once.
    pub loads_at_once: usize,
    /// How long a failed load is not tried again by itself.
    pub load_pause: Duration,
    /// How long a request may take where neither its caller nor its endpoint says less.
    pub timeout: Duration,
    /// Models of endpoints' arms make no room for others before they were idle for so long.
    pub keep_warm: Duration,
    /// Requests that wait for a shadow, per arm; more are dropped and counted.
    pub shadow_queue: usize,
    /// What models are run with where they declare nothing.
    pub serving: ServingSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_budget: None,
            loads_at_once: 2,
            load_pause: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            keep_warm: Duration::from_mins(5),
            shadow_queue: 256,
            serving: ServingSettings::default(),
        }
    }
}

/// How one model is run.
#[derive(Clone, Debug, PartialEq)]
pub struct ServingSettings {
    /// The runtime that must run it; the first one that can where none is named.
    pub runtime: Option<String>,
    /// Rows that are joined into one call.
    pub max_batch: usize,
    /// How long a request may wait for others to join it: the latency budget of batching.
    pub max_wait: Duration,
    /// Calls that run at once: copies of a model in ONNX Runtime, workers of one in Python.
    pub concurrency: usize,
    /// Threads within a call in ONNX Runtime; 0 is one for each core.
    pub threads: usize,
    /// Whether it must run on an NVIDIA GPU, by ONNX Runtime.
    pub cuda: bool,
    /// Requests that wait for a call; more are refused.
    pub max_queue: usize,
    /// The largest difference from the trainer's answers on the golden rows, absolute or relative to the answer,
    /// whichever allows more.
    pub parity_tolerance: f64,
}

impl Default for ServingSettings {
    fn default() -> Self {
        Self {
            runtime: None,
            max_batch: 64,
            max_wait: Duration::from_millis(2),
            concurrency: 2,
            threads: 1,
            cuda: false,
            max_queue: 256,
            parity_tolerance: 1e-4,
        }
    }
}

/// What declared settings begin with, as tags of a version or in the metadata of an `MLmodel` file.
pub const PREFIX: &str = "serving.";

impl ServingSettings {
    /// These settings with what pairs of key and value declare. Keys without [`PREFIX`] are somebody else's.
    ///
    /// # Errors
    ///
    /// Names the key that is not known or whose value is not right.
    pub fn declared<'a>(mut self, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        for (key, value) in pairs {
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            let wrong = |expected: &str| format!("`{key}` is `{value}`; expected {expected}");
            let count = |limit: usize| {
                let number = value.parse().ok().filter(|number| (1..=limit).contains(number));
                number.ok_or_else(|| wrong(&format!("a whole number from 1 to {limit}")))
            };
            match name {
                "runtime" => self.runtime = Some(value.to_owned()),
                "max_batch" => self.max_batch = count(65_536)?,
                "concurrency" => self.concurrency = count(256)?,
                "threads" => {
                    let threads = value.parse().ok().filter(|threads| *threads <= 256);
                    self.threads =
                        threads.ok_or_else(|| wrong("a whole number from 0 (all cores) to 256"))?;
                }
                "cuda" => self.cuda = value.parse().map_err(|_| wrong("true or false"))?,
                "max_queue" => self.max_queue = count(65_536)?,
                "max_wait_ms" => {
                    let millis = value.parse().ok().filter(|millis: &f64| (0.0..=10_000.0).contains(millis));
                    let millis = millis.ok_or_else(|| wrong("milliseconds from 0 to 10000"))?;
                    self.max_wait = Duration::from_secs_f64(millis / 1e3);
                }
                "parity_tolerance" => {
                    let tolerance = value.parse().ok().filter(|number: &f64| *number >= 0.0);
                    self.parity_tolerance =
                        tolerance.ok_or_else(|| wrong("a number that is not negative"))?;
                }
                _ => {
                    const KNOWN: [&str; 8] = [
                        "runtime",
                        "max_batch",
                        "concurrency",
                        "threads",
                        "cuda",
                        "max_queue",
                        "max_wait_ms",
                        "parity_tolerance",
                    ];
                    let hint = tidemill_core::did_you_mean(name, KNOWN);
                    let hint = hint.unwrap_or_default();
                    return Err(format!("`{key}` is no setting of serving; {hint}"));
                }
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_settings_are_read_and_wrong_ones_named() {
        let read = |pairs: &[(&str, &str)]| ServingSettings::default().declared(pairs.iter().copied());
        let good = read(&[
            ("team", "tide"),
            ("serving.max_batch", "8"),
            ("serving.max_wait_ms", "0.5"),
            ("serving.runtime", "onnxruntime"),
            ("serving.threads", "0"),
            ("serving.cuda", "true"),
        ])
        .unwrap();
        assert!(good.cuda && good.threads == 0);
        assert_eq!((good.max_batch, good.max_wait), (8, Duration::from_micros(500)));
        assert_eq!(good.runtime.as_deref(), Some("onnxruntime"));
        for (key, value, text) in [
            ("serving.max_batch", "0", "`serving.max_batch` is `0`; expected a whole number from 1 to 65536"),
            ("serving.max_wait_ms", "-1", "milliseconds from 0 to 10000"),
            ("serving.parity_tolerance", "NaN", "a number that is not negative"),
            ("serving.cuda", "yes", "`serving.cuda` is `yes`; expected true or false"),
            ("serving.threads", "257", "a whole number from 0 (all cores) to 256"),
            ("serving.max_bach", "8", "`serving.max_bach` is no setting of serving"),
        ] {
            let why = read(&[(key, value)]).unwrap_err();
            assert!(why.contains(text), "{why}");
        }
    }
}
