//! Work that somebody did by hand in the place of an output: stored before a run replaces it.

use std::path::PathBuf;

use fs_err as fs;

use super::step::Work;
use super::unfinished;
use crate::{Content, Error, SetAside};

impl Work<'_> {
    /// Stores what lies in the places of the step's outputs, is about to be replaced, and is known nowhere else: not
    /// as what the step wrote last, not in the store, and not as what a step left that did not succeed. `all` says that
    /// outputs which persist are replaced, too.
    pub(super) fn rescue(&self, all: bool) -> Result<(), Error> {
        let mut places: Vec<(&str, PathBuf)> = Vec::new();
        for out in self.step.outs.iter().filter(|out| all || !out.persist) {
            let path = self.root.join(&out.path);
            // Of a link only the link goes.
            let there = fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_symlink());
            if there && !unfinished::is_left_over(self.root, &out.path) {
                places.push((&out.path, path));
            }
        }
        let contents = self.services.contents;
        for (out, path) in places {
            let place = std::slice::from_ref(&path);
            let kept = contents.identify(place, self.stop).and_then(|found| match found.into_iter().next() {
                Some(Some(content)) if !self.is_known(out, &content)? => {
                    let saved = contents.save(place, self.stop)?;
                    contents.sync()?;
                    Ok(saved.into_iter().next())
                }
                _ => Ok(None),
            });
            match kept {
                Ok(Some(content)) => self.set_aside(out, content)?,
                Ok(None) => {}
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => {
                    return Err(Error::Step {
                        step: self.step.name.clone(),
                        message: format!(
                            "what lies at its output `{out}` cannot be kept before it is replaced: {error}"
                        ),
                        hint: Some(format!("move `{out}` away or remove it, and run again")),
                    });
                }
            }
        }
        Ok(())
    }

    fn is_known(&self, out: &str, content: &Content) -> Result<bool, Error> {
        let last = self.planned.compared_with.as_ref().and_then(|last| last.outs.get(out));
        let known = [last, self.planned.outs.get(out)];
        // Nothing is lost with what is empty.
        if content.bytes == 0 || known.into_iter().flatten().any(|known| known.digest == content.digest) {
            return Ok(true);
        }
        Ok(self.services.contents.has(&[*content])?.first() == Some(&true))
    }

    fn set_aside(&self, out: &str, content: Content) -> Result<(), Error> {
        self.services.journal.set_aside(&SetAside {
            run: self.options.run,
            at: self.services.clock.now(),
            step: self.step.name.clone(),
            path: out.to_owned(),
            content,
        })?;
        self.services.observer.notice(&format!(
            "`{out}` was not what step `{}` wrote; it is kept: `tidemill data get {} --out PATH` brings it back",
            self.step.name, content.digest
        ));
        Ok(())
    }
}
