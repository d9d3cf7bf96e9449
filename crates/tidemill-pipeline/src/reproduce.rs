//! Repeating a recorded run: its inputs into a clean folder, and what differs afterwards. Running is `execute`'s work.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use fs_err as fs;
use serde::Serialize;
use tidemill_core::{Cancel, Digest};

use crate::pattern::within;
use crate::{Content, ContentKind, Contents, Dag, Error, Lock, StoredFile};

/// Differences reported of one output folder.
const MOST_FILES: usize = 100;

/// One output that differs between a recorded run and its repetition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The step.
    pub step: String,
    /// The output, or the file below it that differs.
    pub file: String,
    /// The recorded content; `None` where the file is new.
    pub recorded: Option<Digest>,
    /// The repeated content; `None` where the file is missing.
    pub repeated: Option<Digest>,
    /// Position of the first byte that differs, where both contents are in the store.
    pub offset: Option<u64>,
}

/// Compares the outputs of two locks, in the order of the graph: the first difference is in the first step that
/// differs. With `contents` it looks into folders and for the first byte. Differences of steps after the first one
/// may only be its consequence.
pub fn compare(
    recorded: &Lock,
    repeated: &Lock,
    dag: &Dag,
    contents: Option<&dyn Contents>,
) -> Result<Vec<Difference>, Error> {
    let ordered = dag.nodes().iter().map(|node| node.step.name.as_str());
    let gone = recorded.steps.keys().map(String::as_str).filter(|name| dag.position(name).is_none());
    let mut differences = Vec::new();
    for step in ordered.chain(gone) {
        let empty = BTreeMap::new();
        let old = recorded.steps.get(step).map_or(&empty, |locked| &locked.outs);
        let new = repeated.steps.get(step).map_or(&empty, |locked| &locked.outs);
        // A step that was not part of the recorded run says nothing.
        if !recorded.steps.contains_key(step) {
            continue;
        }
        let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for path in paths {
            let pair = (old.get(path), new.get(path));
            if pair.0.map(|c| (c.digest, c.kind)) != pair.1.map(|c| (c.digest, c.kind)) {
                differences.extend(look_into(step, path, pair, contents)?);
            }
        }
    }
    Ok(differences)
}

type Pair<'a> = (Option<&'a Content>, Option<&'a Content>);

fn look_into(
    step: &str,
    path: &str,
    (old, new): Pair<'_>,
    contents: Option<&dyn Contents>,
) -> Result<Vec<Difference>, Error> {
    let whole = Difference {
        step: step.to_owned(),
        file: path.to_owned(),
        recorded: old.map(|content| content.digest),
        repeated: new.map(|content| content.digest),
        offset: None,
    };
    let (Some(contents), Some(old), Some(new)) = (contents, old, new) else { return Ok(vec![whole]) };
    if !contents.has(&[*old, *new])?.iter().all(|stored| *stored) {
        return Ok(vec![whole]);
    }
    let list = |content: &Content| -> Result<BTreeMap<String, StoredFile>, Error> {
        Ok(contents.files(content)?.into_iter().map(|file| (file.path.clone(), file)).collect())
    };
    let (old, new) = (list(old)?, list(new)?);
    let mut found = Vec::new();
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (old, new) = (old.get(name), new.get(name));
        if old.map(|file| file.digest) == new.map(|file| file.digest) {
            continue;
        }
        let offset = match (old, new) {
            (Some(old), Some(new)) => {
                first_difference(contents.open(old.digest)?, contents.open(new.digest)?)?
            }
            _ => None,
        };
        found.push(Difference {
            step: step.to_owned(),
            file: if name.is_empty() { path.to_owned() } else { format!("{path}/{name}") },
            recorded: old.map(|file| file.digest),
            repeated: new.map(|file| file.digest),
            offset,
        });
        if found.len() == MOST_FILES {
            break;
        }
    }
    // The same files in both: a mode, a link or an empty folder differs.
    Ok(if found.is_empty() { vec![whole] } else { found })
}

/// The position of the first byte that differs; the length of the shorter one where it is the beginning of the other.
fn first_difference(mut a: impl Read, mut b: impl Read) -> Result<Option<u64>, Error> {
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut at = 0;
    loop {
        let (n, m) = (fill(&mut a, &mut left)?, fill(&mut b, &mut right)?);
        let common = n.min(m);
        if let Some(i) = (0..common).find(|i| left[*i] != right[*i]) {
            return Ok(Some(at + i as u64));
        }
        at += common as u64;
        if n != m {
            return Ok(Some(at));
        }
        if n == 0 {
            return Ok(None);
        }
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Checks out everything that the recorded steps read and did not write themselves into `folder`, which must be
/// empty or absent. Afterwards the same steps can run there with an empty journal and no lock file. Inputs at URLs
/// are read from where they are.
///
/// # Errors
/// [`Error::NotEmpty`]; [`Error::NotStored`] before anything is written; [`Error::Step`] if two steps recorded
/// different contents of one path, as after runs of single steps.
pub fn materialise(
    recorded: &Lock,
    contents: &dyn Contents,
    folder: &Path,
    cancel: &Cancel,
) -> Result<(), Error> {
    fs::create_dir_all(folder)?;
    if fs::read_dir(folder)?.next().is_some() {
        return Err(Error::NotEmpty(folder.to_owned()));
    }
    let outs: BTreeSet<&String> = recorded.steps.values().flat_map(|step| step.outs.keys()).collect();
    let mut inputs: BTreeMap<&String, (&String, Content)> = BTreeMap::new();
    for (name, step) in &recorded.steps {
        for (path, content) in &step.record.deps {
            if content.kind == ContentKind::Remote || outs.iter().any(|out| within(path, out)) {
                continue;
            }
            let (first, other) = *inputs.entry(path).or_insert((name, *content));
            if other.digest != content.digest {
                return Err(Error::Step {
                    step: name.clone(),
                    message: format!("it read another version of `{path}` than step `{first}` did"),
                    hint: Some("run the whole pipeline once, so that one run has all steps".to_owned()),
                });
            }
        }
    }
    let wanted: Vec<Content> = inputs.values().map(|(_, content)| *content).collect();
    let stored = contents.has(&wanted)?;
    if let Some(((path, (step, content)), _)) = inputs.iter().zip(stored).find(|(_, stored)| !stored) {
        return Err(Error::NotStored {
            step: (*step).clone(),
            path: (*path).clone(),
            content: content.digest,
        });
    }
    // Sorted by path, so a folder comes before what is named in it once more.
    for (path, (_, content)) in inputs {
        let to = folder.join(path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        contents.checkout(&content, &to, cancel)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs() {
        let long = vec![1_u8; 200_000];
        let mut other = long.clone();
        other[150_001] = 2;
        for (a, b, expected) in [
            (&b""[..], &b""[..], None),
            (b"abc", b"abd", Some(2)),
            (b"abc", b"ab", Some(2)),
            (&long, &long, None),
            (&long, &other, Some(150_001)),
            (&long, &long[..100], Some(100)),
        ] {
            assert_eq!(first_difference(a, b).unwrap(), expected);
        }
    }
}
