//! What a step may read and write inside the project folder, from its declaration.

use std::path::Path;

use fs_err as fs;
use tidemill_core::declare::Step;

use super::outside::Outside;
use crate::ActionRecord;
use crate::executor::Access;
use crate::pattern::within;

/// The declared paths of a step, relative to the project folder, and what every step may read.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) reads: Vec<String>,
    pub(super) outs: Vec<String>,
    /// Environments of tools: folders at the top of the project whose name begins with a dot (`.venv`, `.git`), Python
    /// environments of any name (they hold `pyvenv.cfg`), `node_modules`.
    pub(super) tools: Vec<String>,
}

impl Declared {
    pub(super) fn new(root: &Path, step: &Step, record: &ActionRecord) -> Self {
        Self {
            reads: record.deps.keys().cloned().collect(),
            outs: step.outs.iter().map(|out| out.path.clone()).collect(),
            tools: tool_folders(root),
        }
    }

    pub(super) fn may_read(&self, path: &str) -> bool {
        self.reads.iter().chain(&self.outs).chain(&self.tools).any(|declared| within(path, declared))
    }

    pub(super) fn may_write(&self, path: &str) -> bool {
        self.outs.iter().any(|out| within(path, out))
    }

    /// The rules for the executor. Outputs must be in place already.
    pub(super) fn access(&self, root: &Path, scratch: &Path, outside: &Outside) -> Access {
        let absolute = |path: &String| root.join(path);
        let mut write: Vec<_> = self.outs.iter().map(absolute).collect();
        write.push(scratch.to_owned());
        let inside = self.reads.iter().chain(&self.tools).map(absolute);
        let read = inside.chain(outside.reads.iter().cloned()).collect();
        let (home, prefixes) = (outside.home.clone(), outside.prefixes.clone());
        Access { root: root.to_owned(), read, write, home, prefixes }
    }
}

/// The folders at the top of a project that hold tools and no data: every step may read them.
pub fn tool_folders(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| {
        // Most of what lies there are files, which a listing tells: this is asked for every step.
        let kind = entry.file_type().ok().filter(|kind| !kind.is_file())?;
        let name = entry.file_name().into_string().ok()?;
        let folder = kind.is_dir() || fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir());
        let tool = name.starts_with('.') && name != ".tidemill"
            || name == "node_modules"
            || entry.path().join("pyvenv.cfg").exists();
        (folder && tool).then_some(name)
    });
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}
