//! Results as they are kept, so that what broke a rule can be looked at later and elsewhere.

use serde::{Deserialize, Serialize};
use tidemill_core::canonical_json;
use tidemill_core::declare::Severity;

use super::CheckResult;

/// How the expectations of a dataset came out; the values of hidden columns are in none of its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The dataset.
    pub dataset: String,
    /// Its rows.
    pub rows: u64,
    /// As declared, in order.
    pub results: Vec<CheckResult>,
}

/// The form in which they are stored as an object: JSON that says which form it is.
#[derive(Serialize, Deserialize)]
struct Stored<C> {
    format: u32,
    #[serde(flatten)]
    checked: C,
}

/// The form written by this version.
const FORMAT: u32 = 1;

impl Checked {
    /// As stored bytes.
    ///
    /// # Errors
    /// A number that has no canonical form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        canonical_json(&Stored { format: FORMAT, checked: self })
    }

    /// The results in stored bytes; nothing where they are of another form.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let stored: Stored<Self> = serde_json::from_slice(bytes).ok()?;
        (stored.format == FORMAT).then_some(stored.checked)
    }

    /// Number of expectations that hold.
    pub fn passed(&self) -> u64 {
        self.results.iter().filter(|result| result.passed).count() as u64
    }

    /// Number of broken ones that stop.
    pub fn failed(&self) -> u64 {
        self.broken(Severity::Error)
    }

    /// Number of broken ones that are only reported.
    pub fn warned(&self) -> u64 {
        self.broken(Severity::Warn)
    }

    fn broken(&self, severity: Severity) -> u64 {
        self.results.iter().filter(|result| !result.passed && result.severity == severity).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_form_is_not_read() {
        let kept = Checked { dataset: "flights".into(), rows: 3, results: Vec::new() };
        assert_eq!(Checked::read(&kept.to_bytes().unwrap()), Some(kept.clone()));
        let other = Stored { format: FORMAT + 1, checked: &kept };
        assert_eq!(Checked::read(&canonical_json(&other).unwrap()), None);
        assert_eq!(Checked::read(b"{"), None);
    }
}
