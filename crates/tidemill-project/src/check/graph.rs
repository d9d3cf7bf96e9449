//! The graph that steps form by what they read and write: collisions, unknown inputs, cycles.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_core::did_you_mean;

use super::Check;
use super::path::is_glob;
use crate::Pattern;
use crate::node::Span;

/// What a step reads and writes.
#[derive(Clone, Debug)]
pub(crate) struct StepIo {
    pub(crate) name: String,
    /// Place of the step's name.
    pub(crate) key: Span,
    pub(crate) outs: Vec<Write>,
    pub(crate) reads: Vec<Read>,
}

/// An output.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) path: String,
    pub(crate) span: Span,
}

/// Something that a step reads.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) path: String,
    pub(crate) span: Span,
    /// Whether it must be a dataset or an output of a step, rather than any file.
    pub(crate) named: bool,
}

/// Outputs by path: (step, output) numbers.
type Outs<'s> = BTreeMap<&'s str, (usize, usize)>;

/// Checks the graph. `complete` says that no output is still unknown because of templates.
pub(crate) fn check_graph(check: &mut Check<'_>, steps: &[StepIo], complete: bool) {
    let outs = collisions(check, steps);
    let project = check.project;
    let mut edges: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); steps.len()];
    let mut known: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
    for (s, step) in steps.iter().enumerate() {
        for read in &step.reads {
            let dataset = project.data.get(read.path.as_str());
            let mut found = dataset.is_some();
            let paths = dataset.map_or(std::slice::from_ref(&read.path), |d| d.path.as_slice());
            for path in paths {
                let writers = known.entry(path).or_insert_with(|| writers(path, &outs));
                found |= !writers.is_empty();
                for (w, o) in writers.iter().copied() {
                    if w != s {
                        edges[s].insert(w);
                        continue;
                    }
                    let out = &steps[w].outs[o].path;
                    let message = if *path == *out {
                        format!("`{}` reads `{path}`, which it writes itself", step.name)
                    } else {
                        format!("`{}` reads `{path}`, where it writes `{out}` itself", step.name)
                    };
                    let hint = "take it out of what the step reads: with `{path: …, persist: true}` under `outs` \
                                the step finds it as it left it";
                    check.add(&read.span, message, "", Some(hint.to_owned()));
                }
            }
            if !found && read.named && complete {
                unknown_input(check, steps, read);
            }
        }
    }
    if let Some(cycle) = cycle(&edges) {
        let mut names: Vec<&str> = cycle.iter().map(|s| steps[*s].name.as_str()).collect();
        names.push(names[0]);
        let message = format!("the steps wait for each other: {}", names.join(" ← "));
        let hint = "a step may read only what steps before it write".to_owned();
        check.add(&steps[cycle[0]].key, message, "", Some(hint));
    }
}

/// Two steps writing one output, or one output inside another.
fn collisions<'s>(check: &mut Check<'_>, steps: &'s [StepIo]) -> Outs<'s> {
    let mut outs = Outs::new();
    for (s, step) in steps.iter().enumerate() {
        for (o, out) in step.outs.iter().enumerate() {
            let Some((other, _)) = outs.get(out.path.as_str()) else {
                outs.insert(&out.path, (s, o));
                continue;
            };
            let other = &steps[*other];
            let (message, hint) = if other.name == step.name {
                (format!("`{}` is twice an output of `{}`", out.path, step.name), "remove one")
            } else {
                let message = format!("`{}` and `{}` both write `{}`", other.name, step.name, out.path);
                let hint = if other.key == step.key {
                    "put `${matrix.…}`, `${item}` or `${key}` into the path"
                } else {
                    "give each step an output of its own"
                };
                (message, hint)
            };
            check.add(&out.span, message, "", Some(hint.to_owned()));
        }
    }
    for (path, (s, o)) in &outs {
        let mut parents = path.match_indices('/').map(|(i, _)| &path[..i]);
        if let Some((parent, (other, _))) = parents.find_map(|p| outs.get_key_value(p)) {
            let (step, other) = (&steps[*s], &steps[*other]);
            let message = format!(
                "the output `{path}` of `{}` is inside the output `{parent}` of `{}`",
                step.name, other.name
            );
            let hint = "give it a folder of its own".to_owned();
            check.add(&steps[*s].outs[*o].span, message, "", Some(hint));
        }
    }
    outs
}

/// The outputs that a path, folder or pattern reaches.
fn writers(path: &str, outs: &Outs<'_>) -> Vec<(usize, usize)> {
    let path = path.trim_start_matches("./").trim_end_matches('/');
    if super::is_url(path) {
        return Vec::new();
    }
    if is_glob(path) {
        let Ok(pattern) = Pattern::new(path) else { return Vec::new() };
        return outs.iter().filter(|(out, _)| pattern.touches(out)).map(|(_, at)| *at).collect();
    }
    let above = path.match_indices('/').map(|(i, _)| &path[..i]).chain([path]);
    let mut found: Vec<_> = above.filter_map(|p| outs.get(p)).copied().collect();
    let below = format!("{path}/");
    let inside =
        outs.range::<str, _>((std::ops::Bound::Included(below.as_str()), std::ops::Bound::Unbounded));
    found.extend(inside.take_while(|(out, _)| out.starts_with(&below)).map(|(_, at)| *at));
    found
}

fn unknown_input(check: &mut Check<'_>, steps: &[StepIo], read: &Read) {
    let name = &read.path;
    let hint = if let Some(step) = steps.iter().find(|step| step.name == *name) {
        match step.outs.as_slice() {
            [] => Some(format!("`{name}` is a step without outputs")),
            outs => Some(format!("`{name}` is a step; write its output `{}`", outs[0].path)),
        }
    } else {
        let datasets = check.project.data.keys().map(|n| n.as_str());
        let outs = steps.iter().flat_map(|step| step.outs.iter().map(|out| out.path.as_str()));
        did_you_mean(name, datasets.chain(outs))
    };
    let message = format!("`{name}` is neither a dataset nor an output of a step");
    let expected =
        if hint.is_none() { "a name under `data:`, or a path among the `outs` of a step" } else { "" };
    check.add(&read.span, message, expected, hint);
}

/// A cycle, each step followed by one that it waits for; without recursion.
fn cycle(edges: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut state = vec![State::New; edges.len()];
    for start in 0..edges.len() {
        if state[start] != State::New {
            continue;
        }
        state[start] = State::Open;
        let mut path = vec![(start, edges[start].iter())];
        while let Some((node, rest)) = path.last_mut() {
            let node = *node;
            match rest.next() {
                None => {
                    state[node] = State::Done;
                    path.pop();
                }
                Some(next) if state[*next] == State::Open => {
                    let from = path.iter().position(|(n, _)| n == next).unwrap_or(0);
                    return Some(path[from..].iter().map(|(n, _)| *n).collect());
                }
                Some(next) if state[*next] == State::New => {
                    state[*next] = State::Open;
                    path.push((*next, edges[*next].iter()));
                }
                Some(_) => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_what_is_read() {
        let outs: Outs<'_> =
            [("a/b", (0, 0)), ("a/b-c", (1, 0)), ("d", (2, 0)), ("x/y.parquet", (3, 0))].into();
        for (path, steps) in [
            ("a/b", vec![0]),
            ("a/b/c/e.txt", vec![0]),
            ("a", vec![0, 1]),
            ("d/", vec![2]),
            ("e", vec![]),
            ("x/*.parquet", vec![3]),
            ("d/*.csv", vec![2]),
            ("x/*", vec![3]),
            ("*.parquet", vec![]),
            ("**/*.parquet", vec![0, 1, 2, 3]),
            ("a/*.csv", vec![]),
            ("*/b/c.txt", vec![0, 2]),
            ("s3://a/b", vec![]),
        ] {
            assert_eq!(writers(path, &outs).into_iter().map(|(s, _)| s).collect::<Vec<_>>(), steps, "{path}");
        }
    }

    #[test]
    fn cycles() {
        let graph =
            |edges: &[&[usize]]| edges.iter().map(|e| e.iter().copied().collect()).collect::<Vec<_>>();
        assert_eq!(cycle(&graph(&[&[], &[0], &[0, 1]])), None);
        assert_eq!(cycle(&graph(&[&[1], &[2], &[1]])), Some(vec![1, 2]));
        let long: Vec<BTreeSet<usize>> = (0..100_000).map(|i| BTreeSet::from([(i + 1) % 100_000])).collect();
        assert_eq!(cycle(&long).map(|c| c.len()), Some(100_000));
    }
}
