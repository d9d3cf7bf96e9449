//! What is released: an immutable tuple, named by its digest.

use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, canonical_json};

/// Everything that decides what requests are answered. Changing any part of it, be it the threshold alone, is another release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// The registered model.
    pub model: String,
    /// Its version.
    pub version: u64,
    /// Digest of the model's files.
    pub content: Digest,
    /// From which score on the positive class is answered; none where scores are answered as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Digest of the signature: names, types and order of inputs and outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Digest>,
    /// What runs it, for example `onnx`.
    pub runtime: String,
    /// Commit of the pipeline that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Digests of the evidence on which it may be released, by name: tests of the model, of the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<(String, Digest)>,
}

impl Release {
    /// Its name: the digest of its canonical form, in which the order of evidence does not count.
    pub fn digest(&self) -> Digest {
        let mut sorted = self.clone();
        sorted.evidence.sort();
        // Only numbers that are not finite have no canonical form of their own, and they are written as null.
        Digest::of(&canonical_json(&sorted).unwrap_or_default())
    }

    /// Whether it answers like another one if their models are the same: all beside the model that decides answers is. The signature is a part of
    /// the model's files.
    pub fn is_set_like(&self, other: &Self) -> bool {
        (self.threshold, &self.runtime) == (other.threshold, &other.runtime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        Release {
            model: "flights-late".into(),
            version: 3,
            content: Digest::of(b"model"),
            threshold: Some(0.37),
            signature: None,
            runtime: "onnx".into(),
            commit: None,
            evidence: vec![("tests".into(), Digest::of(b"a")), ("data".into(), Digest::of(b"b"))],
        }
    }

    #[test]
    fn every_part_makes_another_release_and_the_order_of_evidence_does_not() {
        let first = release();
        let mut turned = release();
        turned.evidence.reverse();
        assert_eq!(first.digest(), turned.digest());
        let changes: [fn(&mut Release); 5] = [
            |release| release.threshold = Some(0.38),
            |release| release.version = 4,
            |release| release.content = Digest::of(b"other"),
            |release| release.commit = Some("c0ffee".into()),
            |release| release.evidence[0].1 = Digest::of(b"c"),
        ];
        for change in changes {
            let mut other = release();
            change(&mut other);
            assert_ne!(other.digest(), first.digest());
        }
    }
}
