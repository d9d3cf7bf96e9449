//! Three-way merge of lock files, for a Git merge driver. Decides per step, never inside a block.

use std::collections::BTreeSet;

use super::Lock;

/// The result of a merge.
#[derive(Clone, Debug, PartialEq)]
pub struct LockMerge {
    /// The merged lock. Where both sides changed a step differently it has our side.
    pub lock: Lock,
    /// Those steps. The next run decides them by their keys, so nothing wrong is taken for up to date.
    pub conflicts: Vec<String>,
}

pub(super) fn merge(base: &Lock, ours: &Lock, theirs: &Lock) -> LockMerge {
    let names: BTreeSet<&String> =
        base.steps.keys().chain(ours.steps.keys()).chain(theirs.steps.keys()).collect();
    let mut merged = LockMerge { lock: Lock::default(), conflicts: Vec::new() };
    for name in names {
        let (was, our, their) = (base.steps.get(name), ours.steps.get(name), theirs.steps.get(name));
        let step = if our == their || their == was {
            our
        } else if our == was {
            their
        } else {
            merged.conflicts.push(name.clone());
            // One side dropped the step and the other changed it: keeping the change loses nothing.
            our.or(their)
        };
        if let Some(step) = step {
            merged.lock.steps.insert(name.clone(), step.clone());
        }
    }
    merged
}
