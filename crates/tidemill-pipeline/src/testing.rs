//! Small builders of steps for the tests of this crate.

use std::collections::BTreeMap;

use tidemill_core::declare::{Action, Input, Out, Retry, Sandbox, Step};

/// A command that reads and writes these paths.
pub(crate) fn step(name: &str, deps: &[&str], outs: &[&str]) -> Step {
    Step {
        name: name.to_owned(),
        action: Action::Run { command: format!("make {name}") },
        inputs: Vec::new(),
        deps: deps.iter().map(|path| (*path).to_owned()).collect(),
        params: BTreeMap::new(),
        env: BTreeMap::new(),
        outs: outs
            .iter()
            .map(|path| Out { path: (*path).to_owned(), metrics: false, persist: false })
            .collect(),
        timeout: None,
        retry: Retry::default(),
        sandbox: Sandbox::On,
        reads: Vec::new(),
        description: None,
        line: 1,
    }
}

/// A query file over one table.
pub(crate) fn sql(name: &str, file: &str, paths: &[&str], out: &str) -> Step {
    let action = Action::Sql { source: file.to_owned(), file: Some(file.to_owned()), text: String::new() };
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    Step {
        action,
        inputs: vec![Input { table: "t".to_owned(), paths, format: None }],
        ..step(name, &[], &[out])
    }
}
