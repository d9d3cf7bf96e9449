//! The graph of steps: edges from outputs to what reads them, one deterministic order, selections.
//!
//! Pure: whether a dependency exists on disk is checked when the plan is made.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;

use tidemill_core::declare::{Action, Step};
use tidemill_core::{closest, did_you_mean};

use crate::Error;
use crate::pattern::{Pattern, is_glob, is_url, within};

/// One step with its neighbours.
#[derive(Clone, Debug)]
pub struct Node {
    /// The step.
    pub step: Step,
    /// Every path, pattern and URL that it reads, sorted, each once.
    pub reads: Vec<String>,
    /// Positions of the steps whose outputs it reads, ascending.
    pub upstream: Vec<usize>,
    /// Positions of the steps that read its outputs, ascending.
    pub downstream: Vec<usize>,
}

/// The steps in an order in which they can run: a step comes after everything it needs, otherwise as declared.
#[derive(Clone, Debug, Default)]
pub struct Dag {
    nodes: Vec<Node>,
    /// Output path to the position of its step.
    outs: BTreeMap<String, usize>,
}

/// Which steps of the graph are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Names of steps; the name before `@` stands for every step of a matrix. Empty means all steps.
    pub steps: Vec<String>,
    /// Also the steps that depend on them.
    pub downstream: bool,
}

/// Why steps do not form a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphProblem {
    /// The step at which it is reported.
    pub step: String,
    /// Its line in the project file.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for GraphProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step `{}` (line {}): {}", self.step, self.line, self.message)
    }
}

impl GraphProblem {
    pub(crate) fn new(step: &Step, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { step: step.name.clone(), line: step.line, message: message.into(), hint }
    }
}

impl Dag {
    /// Connects the steps. The error is [`Error::Graph`] with every problem that was found.
    pub fn new(steps: &[Step]) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let outs = collect_outs(steps, &mut problems);
        let reads: Vec<Vec<String>> = steps.iter().map(reads).collect();
        let mut upstream: Vec<BTreeSet<usize>> = Vec::with_capacity(steps.len());
        for (at, step) in steps.iter().enumerate() {
            let mut needs = BTreeSet::new();
            for read in &reads[at] {
                match producers(read, &outs) {
                    Ok(found) if found.contains(&at) => {
                        let hint = "a step cannot read what it writes; name the files it reads one by one";
                        let message = format!("it reads `{read}`, which is or contains its own output");
                        problems.push(GraphProblem::new(step, message, Some(hint.to_owned())));
                    }
                    Ok(found) => needs.extend(found),
                    Err(why) => {
                        let message = format!("`{read}` is not a valid pattern: {why}");
                        problems.push(GraphProblem::new(step, message, None));
                    }
                }
            }
            upstream.push(needs);
        }
        if !problems.is_empty() {
            return Err(Error::Graph(problems));
        }
        let order = topological_order(steps, &upstream)?;
        Ok(Self::assemble(steps, reads, &upstream, &order, &outs))
    }

    fn assemble(
        steps: &[Step],
        mut reads: Vec<Vec<String>>,
        upstream: &[BTreeSet<usize>],
        order: &[usize],
        outs: &BTreeMap<String, usize>,
    ) -> Self {
        let mut position = vec![0; steps.len()];
        for (new, old) in order.iter().enumerate() {
            position[*old] = new;
        }
        let mut nodes: Vec<Node> = order
            .iter()
            .map(|old| {
                let mut needs: Vec<usize> = upstream[*old].iter().map(|up| position[*up]).collect();
                needs.sort_unstable();
                let reads = std::mem::take(&mut reads[*old]);
                Node { step: steps[*old].clone(), reads, upstream: needs, downstream: Vec::new() }
            })
            .collect();
        for at in 0..nodes.len() {
            for up in nodes[at].upstream.clone() {
                nodes[up].downstream.push(at);
            }
        }
        let outs = outs.iter().map(|(path, step)| (path.clone(), position[*step])).collect();
        Self { nodes, outs }
    }

    /// The steps in running order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The position of a step.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.step.name == name)
    }

    /// Every output path with the position of the step that writes it.
    pub fn outs(&self) -> &BTreeMap<String, usize> {
        &self.outs
    }

    /// Positions of the steps that write something which the path or pattern reads.
    pub fn producers(&self, read: &str) -> BTreeSet<usize> {
        producers(read, &self.outs).unwrap_or_default()
    }

    /// Positions of the selected steps and of everything that they need, ascending.
    pub fn select(&self, selection: &Selection) -> Result<BTreeSet<usize>, Error> {
        if selection.steps.is_empty() {
            return Ok((0..self.nodes.len()).collect());
        }
        let mut chosen = BTreeSet::new();
        for name in &selection.steps {
            let group = format!("{name}@");
            let found = self.nodes.iter().enumerate().filter(|(_, node)| {
                node.step.name == *name || (!name.contains('@') && node.step.name.starts_with(&group))
            });
            let found: Vec<usize> = found.map(|(at, _)| at).collect();
            if found.is_empty() {
                return Err(self.unknown(name));
            }
            chosen.extend(found);
        }
        if selection.downstream {
            let mut open: Vec<usize> = chosen.iter().copied().collect();
            while let Some(at) = open.pop() {
                open.extend(self.nodes[at].downstream.iter().filter(|down| chosen.insert(**down)));
            }
        }
        let mut open: Vec<usize> = chosen.iter().copied().collect();
        while let Some(at) = open.pop() {
            open.extend(self.nodes[at].upstream.iter().filter(|up| chosen.insert(**up)));
        }
        Ok(chosen)
    }

    fn unknown(&self, name: &str) -> Error {
        let names: Vec<&str> = self.nodes.iter().map(|node| node.step.name.as_str()).collect();
        let groups = names.iter().filter_map(|name| name.split_once('@').map(|(group, _)| group));
        let known: BTreeSet<&str> = names.iter().copied().chain(groups).collect();
        Error::UnknownStep { name: name.to_owned(), suggestion: did_you_mean(name, known) }
    }

    /// The closest output path to a dependency that does not exist.
    pub(crate) fn closest_out(&self, path: &str) -> Option<&str> {
        closest(path, self.outs.keys().map(String::as_str))
    }
}

/// Everything that a step reads, as declared.
fn reads(step: &Step) -> Vec<String> {
    let inputs = step.inputs.iter().flat_map(|input| input.paths.iter());
    let mut reads: BTreeSet<&String> = step.deps.iter().chain(inputs).collect();
    match &step.action {
        Action::Sql { file: Some(file), .. } => {
            reads.insert(file);
        }
        // The table of a training is a named input, or else a path.
        Action::Train(training) if !step.inputs.iter().any(|input| input.table == training.features) => {
            reads.insert(&training.features);
        }
        Action::Sql { .. } | Action::Train(_) | Action::Run { .. } => {}
    }
    reads.into_iter().cloned().collect()
}

fn collect_outs(steps: &[Step], problems: &mut Vec<GraphProblem>) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    let mut outs: BTreeMap<String, usize> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        if let Some(first) = names.insert(&step.name, step.line) {
            let message = format!("a step of this name is already declared at line {first}");
            problems.push(GraphProblem::new(step, message, Some("give one of them another name".to_owned())));
        }
        for out in &step.outs {
            if let Some(why) = bad_out(&out.path) {
                let message = format!("output `{}` {why}", out.path);
                let hint = "an output is a path below the project folder, such as `out/model`";
                problems.push(GraphProblem::new(step, message, Some(hint.to_owned())));
                continue;
            }
            match outs.get(&out.path) {
                Some(other) if *other == at => {
                    problems.push(GraphProblem::new(
                        step,
                        format!("output `{}` is listed twice", out.path),
                        None,
                    ));
                }
                Some(other) => {
                    let message =
                        format!("output `{}` is also written by step `{}`", out.path, steps[*other].name);
                    let hint = "two steps cannot write the same path; rename one of the two outputs";
                    problems.push(GraphProblem::new(step, message, Some(hint.to_owned())));
                }
                None => {
                    outs.insert(out.path.clone(), at);
                }
            }
        }
    }
    for (path, at) in &outs {
        let ancestors = path.match_indices('/').map(|(end, _)| &path[..end]);
        for (outer, other) in ancestors.filter_map(|folder| outs.get_key_value(folder)) {
            let message =
                format!("output `{path}` lies inside output `{outer}` of step `{}`", steps[*other].name);
            let hint = "an output belongs to one step as a whole; move one of the two elsewhere";
            problems.push(GraphProblem::new(&steps[*at], message, Some(hint.to_owned())));
        }
    }
    outs
}

/// Why a path cannot be an output.
fn bad_out(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if is_url(path) {
        return Some("is a URL");
    }
    if path.starts_with('/') {
        return Some("is outside of the project folder");
    }
    if path.contains('\0') {
        return Some("contains a NUL character");
    }
    path.split('/').find_map(|part| match part {
        ".." => Some("is outside of the project folder"),
        "" | "." => Some("has an empty part or `.`"),
        ".tidemill" => Some("is inside Tidemill's own folder"),
        _ => None,
    })
}

fn producers(read: &str, outs: &BTreeMap<String, usize>) -> Result<BTreeSet<usize>, String> {
    if is_url(read) {
        return Ok(BTreeSet::new());
    }
    if is_glob(read) && !outs.contains_key(read) {
        let pattern = Pattern::new(read)?;
        return Ok(outs.iter().filter(|(path, _)| pattern.touches(path)).map(|(_, step)| *step).collect());
    }
    let above = read.match_indices('/').filter_map(|(end, _)| outs.get(&read[..end]));
    let below = outs.range(read.to_owned()..).take_while(|(path, _)| path.starts_with(read));
    let below = below.filter(|(path, _)| within(path, read)).map(|(_, step)| step);
    Ok(above.chain(below).copied().collect())
}

fn topological_order(steps: &[Step], upstream: &[BTreeSet<usize>]) -> Result<Vec<usize>, Error> {
    let mut waiting: Vec<usize> = upstream.iter().map(BTreeSet::len).collect();
    let mut downstream = vec![Vec::new(); steps.len()];
    for (at, needs) in upstream.iter().enumerate() {
        for need in needs {
            downstream[*need].push(at);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        waiting.iter().enumerate().filter(|(_, n)| **n == 0).map(|(at, _)| Reverse(at)).collect();
    let mut order = Vec::with_capacity(steps.len());
    while let Some(Reverse(at)) = ready.pop() {
        order.push(at);
        for down in &downstream[at] {
            waiting[*down] -= 1;
            if waiting[*down] == 0 {
                ready.push(Reverse(*down));
            }
        }
    }
    if order.len() == steps.len() { Ok(order) } else { Err(cycle(steps, upstream, &waiting)) }
}

/// Names one cycle: every step that is left over needs another one that is left over.
fn cycle(steps: &[Step], upstream: &[BTreeSet<usize>], waiting: &[usize]) -> Error {
    let mut path: Vec<usize> = Vec::new();
    let mut at = waiting.iter().position(|n| *n > 0).unwrap_or_default();
    while !path.contains(&at) {
        path.push(at);
        at = upstream[at].iter().copied().find(|up| waiting[*up] > 0).unwrap_or(at);
    }
    let start = path.iter().position(|step| *step == at).unwrap_or_default();
    // Followed from reader to writer, so reversed it reads in running order.
    let mut names: Vec<&str> = path[start..].iter().rev().map(|step| steps[*step].name.as_str()).collect();
    let first = (0..names.len()).min_by_key(|i| names[*i]).unwrap_or_default();
    names.rotate_left(first);
    names.extend(names.first().copied());
    let chain: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let message = format!("steps need each other in a circle: {}", chain.join(" → "));
    let hint = "remove one dependency or output of the circle, or split a step in two";
    let step = steps.iter().find(|step| Some(&step.name.as_str()) == names.first()).unwrap_or(&steps[at]);
    Error::Graph(vec![GraphProblem::new(step, message, Some(hint.to_owned()))])
}

#[cfg(test)]
mod tests;
