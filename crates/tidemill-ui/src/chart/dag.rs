//! A graph of steps in layers: each step to the right of what it needs.

use super::svg::{Svg, at, cut};
use crate::markup::escape;
use crate::{Markup, Tone};

/// One box.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphNode {
    /// Its name.
    pub name: String,
    /// A line below the name.
    pub detail: String,
    /// How it stands.
    pub tone: Tone,
    /// The state in a word.
    pub state: String,
    /// Its page or place; none where empty.
    pub href: String,
    /// Positions of the boxes that come before it.
    pub needs: Vec<usize>,
}

/// Boxes and arrows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// What it shows.
    pub title: String,
    /// The boxes.
    pub nodes: Vec<GraphNode>,
}

/// Where a box is: its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Placed {
    /// To the right.
    x: f64,
    /// Down.
    y: f64,
}

const BOX: (f64, f64) = (176.0, 58.0);
const GAP: (f64, f64) = (56.0, 20.0);
const EDGE: f64 = 8.0;

impl Graph {
    /// Where the boxes are, and the size of the whole. Boxes never overlap.
    fn layout(&self) -> (Vec<Placed>, (f64, f64)) {
        let layers = self.layers();
        let most = layers.iter().map(Vec::len).max().unwrap_or(0) as f64;
        let height = 2.0 * EDGE + most * BOX.1 + (most - 1.0).max(0.0) * GAP.1;
        let mut placed = vec![Placed { x: 0.0, y: 0.0 }; self.nodes.len()];
        for (column, layer) in layers.iter().enumerate() {
            let count = layer.len() as f64;
            let used = count * BOX.1 + (count - 1.0) * GAP.1;
            for (row, node) in layer.iter().enumerate() {
                placed[*node] = Placed {
                    x: EDGE + column as f64 * (BOX.0 + GAP.0),
                    y: (height - used) / 2.0 + row as f64 * (BOX.1 + GAP.1),
                };
            }
        }
        let columns = layers.len() as f64;
        (placed, (2.0 * EDGE + columns * BOX.0 + (columns - 1.0).max(0.0) * GAP.0, height))
    }

    /// Boxes by layer, those of one layer near what they need. What goes in a circle ends in the last layer that its
    /// length allows, so that wrong input draws wrongly but ends.
    fn layers(&self) -> Vec<Vec<usize>> {
        let count = self.nodes.len();
        let mut depth = vec![0usize; count];
        for _ in 0..count {
            let mut changed = false;
            for at in 0..count {
                let needed = self.nodes[at].needs.iter().filter(|need| **need < count && **need != at);
                let wanted =
                    needed.map(|need| depth[*need] + 1).max().unwrap_or(0).min(count.saturating_sub(1));
                if wanted > depth[at] {
                    depth[at] = wanted;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        let last = depth.iter().copied().max().map_or(0, |deepest| deepest + 1);
        let mut layers = vec![Vec::new(); last];
        for (node, layer) in depth.iter().enumerate() {
            layers[*layer].push(node);
        }
        layers.retain(|layer| !layer.is_empty());
        let mut row = vec![0.0f64; count];
        for layer in &mut layers {
            let middle = |node: usize| {
                let needs: Vec<f64> =
                    self.nodes[node].needs.iter().filter_map(|need| row.get(*need)).copied().collect();
                if needs.is_empty() { 0.0 } else { needs.iter().sum::<f64>() / needs.len() as f64 }
            };
            let mut keyed: Vec<(f64, usize)> = layer.iter().map(|node| (middle(*node), *node)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let half = (keyed.len() as f64 - 1.0) / 2.0;
            for (place, (_, node)) in keyed.iter().enumerate() {
                row[*node] = place as f64 - half;
            }
            *layer = keyed.into_iter().map(|(_, node)| node).collect();
        }
        layers
    }

    /// As SVG.
    pub fn draw(&self) -> Markup {
        let (placed, (width, height)) = self.layout();
        let spoken: Vec<String> =
            self.nodes.iter().take(40).map(|node| format!("{}: {}", node.name, node.state)).collect();
        let label = format!("{}: {}", self.title, spoken.join(", "));
        let size = format!(" width=\"{}\" height=\"{}\"", at(width), at(height));
        let mut svg = Svg::linked("chart dag", width, height, &label, &size);
        for (node, to) in self.nodes.iter().zip(&placed) {
            for need in &node.needs {
                let Some(from) = placed.get(*need) else { continue };
                let (x1, y1) = (from.x + BOX.0, from.y + BOX.1 / 2.0);
                let (x2, y2) = (to.x - 5.0, to.y + BOX.1 / 2.0);
                let bend = (x2 - x1).abs().max(40.0) / 2.0;
                let d = format!(
                    "M{} {}C{} {} {} {} {} {}",
                    at(x1),
                    at(y1),
                    at(x1 + bend),
                    at(y1),
                    at(x2 - bend),
                    at(y2),
                    at(x2),
                    at(y2)
                );
                svg.path("edge", &d, "");
                svg.path("head", &format!("M{} {}l-6 -4v8z", at(x2 + 5.0), at(y2)), "");
            }
        }
        for (node, place) in self.nodes.iter().zip(&placed) {
            let linked = !node.href.is_empty();
            if linked {
                svg.link(&node.href, "");
            }
            svg.raw(&format!(
                "<g class=\"node {}\"><title>{}</title>",
                node.tone.class(),
                escape(&node.name)
            ));
            svg.rect("box", (place.x, place.y), BOX, 7.0);
            svg.rect("edge-mark", (place.x, place.y), (5.0, BOX.1), 2.5);
            svg.text("strong", (place.x + 16.0, place.y + 21.0), "start", &cut(&node.name, BOX.0 - 42.0));
            let state = format!("{} {}", node.tone.sign(), node.state);
            svg.text("state", (place.x + 16.0, place.y + 37.0), "start", &cut(&state, BOX.0 - 36.0));
            svg.text("tick", (place.x + 16.0, place.y + 51.0), "start", &cut(&node.detail, BOX.0 - 22.0));
            svg.raw("</g>");
            if linked {
                svg.raw("</a>");
            }
        }
        svg.done()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(needs: &[Vec<usize>]) -> Graph {
        let node = |(at, needs): (usize, &Vec<usize>)| GraphNode {
            name: format!("step {at}"),
            detail: String::new(),
            tone: Tone::Good,
            state: "ran".into(),
            href: String::new(),
            needs: needs.clone(),
        };
        Graph { title: "Steps".into(), nodes: needs.iter().enumerate().map(node).collect() }
    }

    fn apart(placed: &[Placed]) -> bool {
        placed.iter().enumerate().all(|(at, a)| {
            placed[at + 1..].iter().all(|b| (a.x - b.x).abs() >= BOX.0 || (a.y - b.y).abs() >= BOX.1)
        })
    }

    #[test]
    fn steps_stand_right_of_what_they_need() {
        let (placed, size) = graph(&[vec![], vec![0], vec![0], vec![1, 2], vec![]]).layout();
        assert!(placed[1].x > placed[0].x && placed[3].x > placed[2].x);
        assert_eq!(placed[4].x, placed[0].x);
        assert!(apart(&placed) && placed.iter().all(|p| p.x + BOX.0 <= size.0 && p.y + BOX.1 <= size.1));
        assert_eq!(graph(&[]).layout().0, []);
    }

    #[test]
    fn a_circle_ends() {
        let (placed, _) = graph(&[vec![2], vec![0], vec![1], vec![9, 3]]).layout();
        assert!(apart(&placed));
    }

    proptest! {
        #[test]
        fn boxes_of_any_graph_are_apart(edges in prop::collection::vec((0usize..30, 0usize..30), 0..90)) {
            let mut needs = vec![Vec::new(); 30];
            for (from, to) in edges {
                if from < to {
                    needs[to].push(from);
                }
            }
            let (placed, _) = graph(&needs).layout();
            prop_assert!(apart(&placed));
            for (to, from) in needs.iter().enumerate().flat_map(|(to, needs)| needs.iter().map(move |n| (to, *n))) {
                prop_assert!(placed[to].x > placed[from].x);
            }
        }
    }
}
