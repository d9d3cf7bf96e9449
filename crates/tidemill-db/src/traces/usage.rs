//! What a whole trace used, from what its spans used.

use std::collections::{HashMap, HashSet};

use crate::traces::Usage;

/// One span as the sum sees it.
pub(super) struct Node {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) usage: Usage,
}

/// Sums tokens and costs. Some libraries write on a span the sum of the spans below it, so a span counts only where
/// none above it says anything. The first three of each are then always known.
pub(super) fn total(nodes: &[Node]) -> Usage {
    let by_id: HashMap<&str, usize> =
        nodes.iter().enumerate().map(|(i, node)| (node.id.as_str(), i)).collect();
    let parents: Vec<Option<usize>> = nodes
        .iter()
        .map(|node| node.parent.as_deref().and_then(|parent| by_id.get(parent).copied()))
        .collect();
    let (mut total, mut tokens, mut costs) = (Usage::default(), false, false);
    for i in highest(&parents, |i| nodes[i].usage.has_tokens()) {
        tokens = true;
        for (sum, part) in total.tokens.iter_mut().zip(nodes[i].usage.tokens) {
            *sum = part.map(|part| sum.unwrap_or(0).saturating_add(part)).or(*sum);
        }
    }
    for i in highest(&parents, |i| nodes[i].usage.has_costs()) {
        costs = true;
        for (sum, part) in total.costs.iter_mut().zip(nodes[i].usage.costs) {
            *sum = part.map(|part| sum.unwrap_or(0.0) + part).or(*sum);
        }
    }
    if tokens {
        total.tokens[..3].iter_mut().for_each(|sum| *sum = Some(sum.unwrap_or(0)));
    }
    if costs {
        total.costs.iter_mut().for_each(|sum| *sum = Some(sum.unwrap_or(0.0)));
    }
    total
}

/// The nodes that have something while none above them has. What holds above is remembered for every node on the way,
/// so that a deep chain costs no more than a flat list. In a circle of parents it begins anew at some node.
fn highest(parents: &[Option<usize>], has: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut covered: Vec<Option<bool>> = vec![None; parents.len()];
    for start in 0..parents.len() {
        let mut path = Vec::new();
        let mut open = HashSet::new();
        let mut next = Some(start);
        let mut above = false;
        while let Some(node) = next {
            if let Some(covered) = covered[node] {
                above = covered || has(node);
                break;
            }
            if !open.insert(node) {
                break;
            }
            path.push(node);
            next = parents[node];
        }
        for &node in path.iter().rev() {
            covered[node] = Some(above);
            above |= has(node);
        }
    }
    (0..parents.len()).filter(|&node| has(node) && covered[node] == Some(false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, parent: &str, input: Option<i64>) -> Node {
        Node {
            id: id.to_owned(),
            parent: (!parent.is_empty()).then(|| parent.to_owned()),
            usage: Usage { tokens: [input, None, None, None, None, None], costs: [None; 3] },
        }
    }

    #[test]
    fn a_span_counts_where_none_above_it_says_anything() {
        let sum = |nodes: &[Node]| total(nodes).tokens[0];
        assert_eq!(sum(&[node("a", "", None)]), None);
        assert_eq!(sum(&[node("a", "", Some(3)), node("b", "", Some(4))]), Some(7));
        assert_eq!(sum(&[node("b", "a", Some(4)), node("a", "", Some(4))]), Some(4));
        // The parent in between says nothing; the one above it does.
        assert_eq!(sum(&[node("c", "b", Some(1)), node("b", "a", None), node("a", "", Some(9))]), Some(9));
        // A parent that is not there.
        assert_eq!(sum(&[node("b", "gone", Some(4)), node("c", "b", Some(4))]), Some(4));
        // A circle ends.
        assert_eq!(
            sum(&[node("a", "b", Some(1)), node("b", "a", Some(2)), node("c", "c", Some(5))]),
            Some(7)
        );
    }

    #[test]
    fn a_deep_chain_is_one_walk() {
        let nodes: Vec<Node> =
            (0..50_000).map(|i| node(&i.to_string(), &(i + 1).to_string(), Some(1))).collect();
        assert_eq!(total(&nodes).tokens[..3], [Some(1), Some(0), Some(0)]);
    }
}
