//! Nodes as walks read them, in two sizes.

use super::Real;

/// What a walk asks of a node. A leaf leads to itself, which is how walks end without a branch for each node, and its threshold is its
/// first weight.
pub(super) trait Step<T>: Copy {
    fn threshold(&self) -> T;
    /// The number of the feature. `F`: some node of the forest may have flags.
    fn feature<const F: bool>(&self) -> usize;
    /// Whether the condition is `==` instead of `<=`.
    fn is_equal(&self) -> bool;
    /// Whether missing values go the way of those that fulfil the condition.
    fn takes_missing(&self) -> bool;
    /// The node to which this one, which is `at`, leads.
    fn next(&self, at: u32, fulfilled: bool) -> u32;
}

/// Any node: `row[feature] <= threshold` leads to `next[0]`, otherwise to `next[1]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide<T> {
    pub(super) threshold: T,
    pub(super) feature: u32,
    pub(super) next: [u32; 2],
}

impl<T> Wide<T> {
    pub(super) const MISSING: u32 = 1 << 31;
    pub(super) const EQUAL: u32 = 1 << 30;
    /// The rest is the feature's number.
    pub(super) const FEATURE: u32 = Self::EQUAL - 1;

    pub(super) fn is_leaf(&self, at: u32) -> bool {
        self.next == [at; 2]
    }
}

impl<T: Real> Step<T> for Wide<T> {
    #[inline(always)]
    fn threshold(&self) -> T {
        self.threshold
    }

    #[inline(always)]
    fn feature<const F: bool>(&self) -> usize {
        (if F { self.feature & Self::FEATURE } else { self.feature }) as usize
    }

    #[inline(always)]
    fn is_equal(&self) -> bool {
        self.feature & Self::EQUAL != 0
    }

    #[inline(always)]
    fn takes_missing(&self) -> bool {
        self.feature & Self::MISSING != 0
    }

    #[inline(always)]
    fn next(&self, _: u32, fulfilled: bool) -> u32 {
        self.next[usize::from(!fulfilled)]
    }
}

/// A node in half of the space, which most trees allow: where the condition holds, the way leads to the node that lies next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Small<T> {
    threshold: T,
    feature: u16,
    /// How far ahead the node lies to which the other way leads; 0 of a leaf.
    other: u16,
}

impl<T: Copy> Small<T> {
    const MISSING: u16 = 1 << 15;
    const EQUAL: u16 = 1 << 14;
    /// The rest is the feature's number.
    const FEATURE: u16 = Self::EQUAL - 1;

    /// The node `at`, if it can be as small.
    pub(super) fn of(node: &Wide<T>, at: u32) -> Option<Self> {
        let feature = node.feature & Wide::<T>::FEATURE;
        let mut small = u16::try_from(feature).ok().filter(|feature| *feature <= Self::FEATURE)?;
        if node.is_leaf(at) {
            return Some(Self { threshold: node.threshold, feature: small, other: 0 });
        }
        let [next, other] = node.next;
        let other = u16::try_from(other.checked_sub(at)?).ok().filter(|other| *other > 0)?;
        if node.feature & Wide::<T>::MISSING != 0 {
            small |= Self::MISSING;
        }
        if node.feature & Wide::<T>::EQUAL != 0 {
            small |= Self::EQUAL;
        }
        (next == at + 1).then_some(Self { threshold: node.threshold, feature: small, other })
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.other == 0
    }
}

impl<T: Real> Step<T> for Small<T> {
    #[inline(always)]
    fn threshold(&self) -> T {
        self.threshold
    }

    #[inline(always)]
    fn feature<const F: bool>(&self) -> usize {
        usize::from(if F { self.feature & Self::FEATURE } else { self.feature })
    }

    #[inline(always)]
    fn is_equal(&self) -> bool {
        self.feature & Self::EQUAL != 0
    }

    #[inline(always)]
    fn takes_missing(&self) -> bool {
        self.feature & Self::MISSING != 0
    }

    #[inline(always)]
    fn next(&self, at: u32, fulfilled: bool) -> u32 {
        let other = u32::from(self.other);
        at + if fulfilled { other.min(1) } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(feature: u32, next: [u32; 2]) -> Wide<f32> {
        Wide { threshold: 0.5, feature, next }
    }

    #[test]
    fn small_nodes_lead_where_wide_ones_do() {
        let equal = Wide::<f32>::EQUAL | 7;
        for (at, node) in [
            (0, wide(3, [1, 2])),
            (5, wide(16_383, [6, 65_540])),
            (9, wide(0, [9, 9])),
            (2, wide(equal, [3, 9])),
        ] {
            let small = Small::of(&node, at).unwrap();
            for fulfilled in [true, false] {
                assert_eq!(small.next(at, fulfilled), node.next(at, fulfilled), "{node:?}");
            }
            assert_eq!(small.is_leaf(), node.is_leaf(at));
            assert_eq!(small.feature::<true>(), node.feature::<true>());
            assert_eq!(small.is_equal(), node.is_equal());
            assert_eq!(small.takes_missing(), node.takes_missing());
        }
    }

    #[test]
    fn nodes_that_do_not_fit_are_refused() {
        for (what, at, node) in [
            ("the next one is another", 0, wide(3, [2, 1])),
            ("the other one is behind", 5, wide(3, [6, 4])),
            ("the other one is far", 0, wide(3, [1, 65_536])),
            ("a feature beyond 14 bits", 0, wide(16_384, [1, 2])),
            ("a leaf after the others", 4, wide(3, [5, 4])),
        ] {
            assert!(Small::of(&node, at).is_none(), "{what}");
        }
    }

    #[test]
    fn a_small_node_takes_half_of_the_space() {
        assert_eq!((size_of::<Small<f32>>(), size_of::<Wide<f32>>()), (8, 16));
        assert_eq!((size_of::<Small<f64>>(), size_of::<Wide<f64>>()), (16, 24));
    }
}
