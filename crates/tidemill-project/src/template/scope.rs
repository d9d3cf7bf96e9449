//! What keys stand for.

use crate::node::{Kind, Node};

/// Candidates for "did you mean" are collected up to so many.
const MOST_KEYS: usize = 2_000;

/// Parameters, with a step's own over those of the project.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'n> {
    own: Option<&'n Node>,
    params: &'n Node,
}

/// A part of a dotted key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part<'t> {
    Key(&'t str),
    Index(usize),
}

/// The parts of a key such as `a.b[0].c`; nothing if the text is no key.
pub(crate) fn key_parts(text: &str) -> Option<Vec<Part<'_>>> {
    let text = text.trim();
    let mut parts = Vec::new();
    for (i, segment) in text.split('.').enumerate() {
        let (name, indices) = segment.find('[').map_or((segment, ""), |at| segment.split_at(at));
        let good = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let first = name.chars().next()?;
        if !good || (i == 0 && !(first.is_ascii_alphabetic() || first == '_')) {
            return None;
        }
        parts.push(Part::Key(name));
        for index in indices.split_terminator(']') {
            parts.push(Part::Index(index.strip_prefix('[')?.parse().ok()?));
        }
        if !indices.is_empty() && !indices.ends_with(']') {
            return None;
        }
    }
    Some(parts)
}

impl<'n> Scope<'n> {
    pub(crate) fn new(params: &'n Node) -> Self {
        Self { own: None, params }
    }

    pub(crate) fn with_own(self, own: &'n Node) -> Self {
        Self { own: Some(own), ..self }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.own.and_then(|own| lookup(own, key)).or_else(|| lookup(self.params, key))
    }

    /// Every key there is, for hints.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for node in self.own.into_iter().chain([self.params]) {
            collect(node, "", &mut keys);
        }
        keys
    }
}

/// Looks a key up: as it is written, or else along its dots.
pub(crate) fn lookup<'n>(root: &'n Node, key: &str) -> Option<&'n Node> {
    let key = key.trim();
    if let Some(found) = root.get(key) {
        return Some(found);
    }
    key_parts(key)?.into_iter().try_fold(root, |node, part| match part {
        Part::Key(name) => node.get(name),
        Part::Index(index) => node.items().get(index),
    })
}

fn collect(node: &Node, prefix: &str, keys: &mut Vec<String>) {
    let Kind::Map(entries) = &node.kind else { return };
    for entry in entries {
        if keys.len() >= MOST_KEYS {
            return;
        }
        let key = if prefix.is_empty() { entry.key.clone() } else { format!("{prefix}.{}", entry.key) };
        keys.push(key.clone());
        collect(&entry.value, &key, keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        use Part::{Index, Key};
        assert_eq!(
            key_parts("a.b-c[0][12].d_1"),
            Some(vec![Key("a"), Key("b-c"), Index(0), Index(12), Key("d_1")])
        );
        for bad in ["", ".", "a.", "1a", "a b", "a:-b", "#a", "a[", "a[]", "a[x]", "a[0", "a]0[", "a..b", "é"]
        {
            assert_eq!(key_parts(bad), None, "{bad}");
        }
    }
}
