//! The declared outputs of a step in the workspace: removed before it runs, prepared for the sandbox, checked
//! afterwards. Storing them is not here.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use tidemill_core::declare::{Action, Out, Step};

use crate::workspace::absent;
use crate::{ContentKind, Error, LockedStep};

/// Modification time of what we put in an output's place: older than anything a step writes.
const UNTOUCHED: SystemTime = SystemTime::UNIX_EPOCH;

/// What was put in the place of each output for a sandboxed command.
///
/// A Landlock rule needs something to hold on to, so an output must exist before the command starts. Whether it will
/// be a file or a folder is what it was last time, or else what the command and its name look like.
#[derive(Debug, Default)]
pub(super) struct Placeholders {
    kinds: BTreeMap<String, ContentKind>,
    /// Those whose kind is a guess.
    guessed: Vec<String>,
}

impl Placeholders {
    /// What the outputs of a step will be.
    pub(super) fn new(step: &Step, last: Option<&LockedStep>) -> Self {
        let mut placeholders = Self::default();
        for out in &step.outs {
            let known = last.and_then(|last| last.outs.get(&out.path)).map(|content| content.kind);
            if known.is_none() {
                placeholders.guessed.push(out.path.clone());
            }
            let kind = match known {
                Some(ContentKind::Folder) => ContentKind::Folder,
                Some(_) => ContentKind::File,
                None => guess(&out.path, &step.action),
            };
            placeholders.kinds.insert(out.path.clone(), kind);
        }
        placeholders
    }

    /// Turns guesses around for outputs that the step did not touch; whether there were any.
    pub(super) fn turn_guesses(&mut self, root: &Path) -> bool {
        let wrong: Vec<String> =
            self.guessed.iter().filter(|path| self.untouched(root, path)).cloned().collect();
        for path in &wrong {
            if let Some(kind) = self.kinds.get_mut(path) {
                *kind = if *kind == ContentKind::Folder { ContentKind::File } else { ContentKind::Folder };
            }
        }
        self.guessed.clear();
        !wrong.is_empty()
    }

    /// Puts something in the place of every output that is not there.
    pub(super) fn create(&self, root: &Path) -> Result<(), Error> {
        for (out, kind) in &self.kinds {
            let path = root.join(out);
            if fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            if *kind == ContentKind::Folder {
                fs::create_dir(&path)?;
            } else {
                fs::File::create_new(&path)?;
            }
            fs::File::open(&path)?.file().set_modified(UNTOUCHED)?;
        }
        Ok(())
    }

    /// Whether an output is still as we put it there.
    pub(super) fn untouched(&self, root: &Path, out: &str) -> bool {
        let placed = self.kinds.contains_key(out);
        placed
            && fs::metadata(root.join(out)).is_ok_and(|metadata| {
                let empty = metadata.is_dir() || metadata.len() == 0;
                empty && metadata.modified().is_ok_and(|at| at < UNTOUCHED + Duration::from_secs(1))
            })
    }

    /// Removes what the step left as it was.
    pub(super) fn remove_untouched(&self, root: &Path) -> Result<(), Error> {
        for out in self.kinds.keys().filter(|out| self.untouched(root, out)) {
            remove(&root.join(out))?;
        }
        Ok(())
    }
}

/// What a shell command does with the path, where that can be told; otherwise a name with an extension is taken for a
/// file. A wrong guess shows in an error of the command, except for `cp` and `mv`, which go into a folder silently.
fn guess(path: &str, action: &Action) -> ContentKind {
    let Action::Run { command } = action else { return ContentKind::File };
    for part in command.split(['\n', ';', '&', '|', '(', ')']) {
        let words: Vec<&str> = part.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
        let after = |mark: &[&str]| words.windows(2).any(|pair| mark.contains(&pair[0]) && pair[1] == path);
        let attached = words.iter().any(|word| word.starts_with('>') && word.trim_start_matches('>') == path);
        if after(&[">", ">>", "1>"]) || attached || (words.first() == Some(&"tee") && words.contains(&path)) {
            return ContentKind::File;
        }
        let flags = words.iter().filter(|word| word.starts_with('-'));
        match words.first() {
            Some(&"mkdir") if words.contains(&path) => return ContentKind::Folder,
            Some(&("cp" | "mv" | "ln" | "install")) if words.last() == Some(&path) => {
                let (mut deep, mut count) = (false, 0);
                for flag in flags {
                    deep |= flag.contains(['r', 'R', 'a', 'd']);
                    count += 1;
                }
                if !deep && words.len() - count == 3 {
                    return ContentKind::File;
                }
            }
            _ => {}
        }
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.trim_start_matches('.').contains('.') { ContentKind::File } else { ContentKind::Folder }
}

/// Removes the outputs of earlier runs, except what persists, and makes the folders around them.
pub(super) fn clear(root: &Path, step: &Step) -> Result<(), Error> {
    for out in &step.outs {
        let path = root.join(&out.path);
        check_place(root, step, out)?;
        if !out.persist {
            remove(&path)?;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
    }
    Ok(())
}

/// Refuses an output whose folder is a link that leads out of the project.
fn check_place(root: &Path, step: &Step, out: &Out) -> Result<(), Error> {
    let path = root.join(&out.path);
    let existing = path.ancestors().skip(1).find_map(|folder| fs::canonicalize(folder).ok());
    if existing.is_none_or(|folder| folder.starts_with(root)) {
        return Ok(());
    }
    Err(Error::Step {
        step: step.name.clone(),
        message: format!(
            "its output `{}` is outside of the project folder, behind a symbolic link",
            out.path
        ),
        hint: Some("replace the link by a folder, or declare another path".to_owned()),
    })
}

/// Removes a file, link or folder; nothing there is fine.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if !absent(&error) => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Declared outputs that are not there after the step ran.
pub(super) fn missing<'a>(root: &Path, step: &'a Step, placeholders: Option<&Placeholders>) -> Vec<&'a str> {
    let absent = |out: &&Out| {
        fs::metadata(root.join(&out.path)).is_err()
            || placeholders.is_some_and(|placed| placed.untouched(root, &out.path))
    };
    step.outs.iter().filter(absent).map(|out| out.path.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_output_will_be() {
        for (command, path, expected) in [
            ("python train.py", "model", ContentKind::Folder),
            ("python train.py", "model.onnx", ContentKind::File),
            ("python train.py", "out/.cache", ContentKind::Folder),
            ("mkdir -p out.d && cp a out.d", "out.d", ContentKind::Folder),
            ("cp a words", "words", ContentKind::File),
            ("cp -p a words", "words", ContentKind::File),
            ("cp -r a words", "words", ContentKind::Folder),
            ("cp a b words", "words", ContentKind::Folder),
            ("sort a | uniq > words", "words", ContentKind::File),
            ("sort a >words; true", "words", ContentKind::File),
            ("sort a | tee words", "words", ContentKind::File),
        ] {
            let action = Action::Run { command: command.to_owned() };
            assert_eq!(guess(path, &action), expected, "{command} {path}");
        }
    }
}
