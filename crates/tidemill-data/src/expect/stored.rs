//! Results as they are kept, so that what broke a rule can be looked at later and elsewhere.

use serde::{Deserialize, Serialize};

use super::CheckResult;

/// How the expectations of a dataset came out. Stored as an object, as JSON; the values of hidden columns are in none of its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// [`Self::FORMAT`].
    pub format: u32,
    /// The dataset.
    pub dataset: String,
    /// Its rows.
    pub rows: u64,
    /// As declared, in order.
    pub results: Vec<CheckResult>,
}

impl Checked {
    /// The form written by this version.
    pub const FORMAT: u32 = 1;

    /// The results in stored bytes; nothing where they are of another form.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|found: &Self| found.format == Self::FORMAT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_form_is_not_read() {
        let kept =
            Checked { format: Checked::FORMAT, dataset: "flights".into(), rows: 3, results: Vec::new() };
        let read = |kept: &Checked| Checked::read(&serde_json::to_vec(kept).unwrap());
        assert_eq!(read(&kept), Some(kept.clone()));
        assert_eq!(read(&Checked { format: Checked::FORMAT + 1, ..kept }), None);
        assert_eq!(Checked::read(b"{"), None);
    }
}
