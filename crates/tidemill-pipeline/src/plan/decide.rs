//! The decision about one step, given what is known of the steps before it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{CacheView, Decision, Planned, Reason, expand, touches_partly};
use crate::pattern::{Pattern, is_glob, is_url};
use crate::{ActionRecord, Content, Dag, Error, LockedStep};

/// What is known of the outputs of the steps decided so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Outputs whose content is known, by path.
    known: HashMap<String, Content>,
    /// Outputs among them that are not in the workspace yet.
    pending: BTreeSet<String>,
    /// Steps whose outputs are not known yet.
    open: BTreeSet<String>,
}

impl Progress {
    /// Takes a plan's decision into account, before it is carried out.
    pub(crate) fn planned(&mut self, planned: &Planned) {
        match planned.decision {
            Decision::Unchanged => self.known.extend(planned.outs.clone()),
            Decision::Restore => {
                self.known.extend(planned.outs.clone());
                self.pending.extend(planned.outs.keys().cloned());
            }
            Decision::Run | Decision::MayRun => {
                self.open.insert(planned.step.clone());
            }
        }
    }

    /// Takes a finished step into account: its outputs are in the workspace.
    pub(crate) fn done(&mut self, step: &str, outs: &BTreeMap<String, Content>) {
        self.open.remove(step);
        for (path, content) in outs {
            self.pending.remove(path);
            self.known.insert(path.clone(), *content);
        }
    }
}

/// Decides about the step at a position. Every step before it must be in `progress`.
pub(crate) fn decide(
    dag: &Dag,
    at: usize,
    view: &dyn CacheView,
    progress: &Progress,
    force: bool,
) -> Result<Planned, Error> {
    let node = &dag.nodes()[at];
    let step = &node.step;
    let last = view.last(&step.name)?;
    let undecided = |reasons| Planned {
        step: step.name.clone(),
        decision: Decision::MayRun,
        reasons,
        key: None,
        record: None,
        outs: BTreeMap::new(),
        compared_with: last.clone(),
    };
    let waits = waits_for(dag, at, progress);
    if !waits.is_empty() {
        let mut planned = undecided(vec![Reason::Upstream { steps: waits }]);
        if force || last.is_none() {
            planned.decision = Decision::Run;
            planned.reasons.insert(0, if force { Reason::Forced } else { Reason::NeverRun });
        }
        return Ok(planned);
    }
    let deps = dependencies(dag, at, view, progress)?;
    let record = ActionRecord::new(step, deps, view.builtin_version(step), &|name| view.env(name));
    let (decision, reasons, outs) = compare(view, &step.name, &record, last.as_ref(), force)?;
    let key = Some(record.key().digest());
    Ok(Planned {
        step: step.name.clone(),
        decision,
        reasons,
        key,
        record: Some(record),
        outs,
        compared_with: last,
    })
}

/// The steps whose outcome must be known first.
fn waits_for(dag: &Dag, at: usize, progress: &Progress) -> Vec<String> {
    let node = &dag.nodes()[at];
    let waits = node.upstream.iter().map(|up| &dag.nodes()[*up].step).filter(|up| {
        progress.open.contains(&up.name)
            || up.outs.iter().any(|out| {
                progress.pending.contains(&out.path)
                    && node.reads.iter().any(|read| touches_partly(read, &out.path))
            })
    });
    waits.map(|up| up.name.clone()).collect()
}

/// The content of everything that a step reads, by path.
fn dependencies(
    dag: &Dag,
    at: usize,
    view: &dyn CacheView,
    progress: &Progress,
) -> Result<BTreeMap<String, Content>, Error> {
    let step = &dag.nodes()[at].step;
    let mut deps = BTreeMap::new();
    let mut asked = BTreeSet::new();
    for read in &dag.nodes()[at].reads {
        if is_url(read) {
            deps.insert(read.clone(), view.remote(step, read)?);
            continue;
        }
        let mut paths: BTreeSet<String> = expand(view, read)?.into_iter().collect();
        if is_glob(read)
            && let Ok(pattern) = Pattern::new(read)
        {
            paths.extend(progress.pending.iter().filter(|out| pattern.matches(out)).cloned());
        }
        if paths.is_empty() {
            let hint = "check the pattern, and what the steps before it write";
            return Err(missing(&step.name, format!("no file matches `{read}`, which it reads"), hint));
        }
        for path in paths {
            match progress.known.get(&path) {
                Some(content) => {
                    deps.insert(path, *content);
                }
                None => {
                    asked.insert(path);
                }
            }
        }
    }
    let asked: Vec<String> = asked.into_iter().collect();
    for (path, content) in asked.iter().zip(view.contents(&asked)?) {
        let Some(content) = content else {
            let message = format!("`{path}`, which it reads, does not exist");
            return Err(missing(
                &step.name,
                message,
                "it was there when the run was planned; was it removed?",
            ));
        };
        deps.insert(path.clone(), content);
    }
    Ok(deps)
}

fn missing(step: &str, message: String, hint: &str) -> Error {
    Error::Step { step: step.to_owned(), message, hint: Some(hint.to_owned()) }
}

type Compared = (Decision, Vec<Reason>, BTreeMap<String, Content>);

fn compare(
    view: &dyn CacheView,
    step: &str,
    record: &ActionRecord,
    last: Option<&LockedStep>,
    force: bool,
) -> Result<Compared, Error> {
    let mut reasons: Vec<Reason> = match last {
        Some(last) => {
            record.changes_since(&last.record).into_iter().map(|change| Reason::Changed { change }).collect()
        }
        None => vec![Reason::NeverRun],
    };
    if force {
        reasons.insert(0, Reason::Forced);
        return Ok((Decision::Run, reasons, BTreeMap::new()));
    }
    let key = record.key();
    let same = last.filter(|last| last.key() == key).map(|last| last.outs.clone());
    let recorded = match same {
        Some(outs) => Some(outs),
        None => view.cached(&[key.digest()])?.into_iter().next().flatten().map(|cached| cached.outs),
    };
    let Some(outs) = recorded.filter(|outs| outs.keys().eq(record.outs.iter())) else {
        if reasons.is_empty() {
            reasons.push(Reason::UnknownResult);
        }
        return Ok((Decision::Run, reasons, BTreeMap::new()));
    };
    let paths: Vec<String> = outs.keys().cloned().collect();
    let now = view.contents(&paths)?;
    let mut differ = Vec::new();
    for ((path, content), now) in outs.iter().zip(now) {
        match now {
            Some(now) if (now.digest, now.kind) == (content.digest, content.kind) => {}
            Some(_) => differ.push((Reason::OutputModified { path: path.clone() }, *content)),
            None => differ.push((Reason::OutputMissing { path: path.clone() }, *content)),
        }
    }
    if differ.is_empty() {
        return Ok((Decision::Unchanged, vec![Reason::UpToDate], outs));
    }
    let wanted: Vec<Content> = differ.iter().map(|(_, content)| *content).collect();
    let stored = view.stored(&wanted)?;
    let changed = !reasons.is_empty();
    let mut lost = Vec::new();
    for ((reason, content), stored) in differ.into_iter().zip(stored) {
        // When the inputs differ from the last run, other outputs are expected and say nothing.
        if !changed {
            reasons.push(reason);
        }
        if !stored {
            let path = outs.iter().find(|(_, c)| **c == content).map_or(step, |(path, _)| path.as_str());
            lost.push(Reason::NotStored { path: path.to_owned() });
        }
    }
    if lost.is_empty() {
        if changed {
            reasons.push(Reason::KnownResult);
        }
        Ok((Decision::Restore, reasons, outs))
    } else {
        reasons.extend(lost);
        Ok((Decision::Run, reasons, BTreeMap::new()))
    }
}
