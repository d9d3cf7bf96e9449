//! The arithmetic of RFC 6962's Merkle tree: leaves, nodes, and the frontier that grows it without keeping it.

use sha2::{Digest as _, Sha256};

use super::Hash;

const TILE_LEVEL: u32 = 8;

/// Leaves in a tile: after each so many entries a checkpoint with the tile's root is stored, so that a proof need
/// not read every leaf and a damage is narrowed down to one tile.
pub(crate) const TILE: u64 = 1 << TILE_LEVEL;

/// MTH of one entry: SHA-256 of a zero byte and the entry.
pub(crate) fn leaf(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// SHA-256 of a one byte, the left and the right hash.
pub(crate) fn node(left: Hash, right: Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// MTH of the empty tree.
pub(crate) fn empty() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// The roots of the complete subtrees that a tree of `size` leaves consists of, largest first: one for each one
/// bit of `size`. It is all that is needed to append and to give the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf; gives the root of the tile if the leaf completes one.
    pub(crate) fn push(&mut self, leaf: Hash) -> Option<Hash> {
        let mut hash = leaf;
        let mut tile = None;
        for level in 1..=self.size.trailing_ones() {
            let Some(left) = self.roots.pop() else { break };
            hash = node(left, hash);
            if level == TILE_LEVEL {
                tile = Some(hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
        tile
    }

    pub(crate) fn root(&self) -> Hash {
        self.roots.iter().copied().rev().reduce(|right, left| node(left, right)).unwrap_or_else(empty)
    }

    /// The text form: the hashes in hexadecimal, one after another.
    pub(crate) fn to_text(&self) -> String {
        self.roots.iter().map(ToString::to_string).collect()
    }

    /// Reads the text form; `None` if it does not fit the size.
    pub(crate) fn from_text(size: u64, text: &str) -> Option<Self> {
        let roots = (0..text.len() / 64)
            .map(|i| text.get(64 * i..64 * i + 64)?.parse().ok())
            .collect::<Option<Vec<Hash>>>()?;
        (roots.len() == size.count_ones() as usize && text.len().is_multiple_of(64))
            .then_some(Self { size, roots })
    }
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_frontier_gives_the_roots_of_the_reference_implementation() {
        let mut reference = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut frontier = Frontier::default();
        assert_eq!(
            frontier.root().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for i in 0..300_u32 {
            let entry = format!("entry {i}").into_bytes();
            frontier.push(leaf(&entry));
            reference.push(entry);
            assert_eq!(frontier.root().0.as_slice(), reference.root().as_bytes().as_slice(), "{i}");
            assert_eq!(Frontier::from_text(frontier.size(), &frontier.to_text()).as_ref(), Some(&frontier));
        }
    }

    #[test]
    fn the_published_roots() {
        // Test vectors of the Certificate Transparency reference implementation (merkle_tree_test.cc): inputs
        // "", 00, 10, 2021, 3031, 40414243, 5051525354555657, 606162636465666768696a6b6c6d6e6f.
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let mut frontier = Frontier::default();
        let mut roots = Vec::new();
        for input in inputs {
            frontier.push(leaf(input));
            roots.push(frontier.root().to_string());
        }
        assert_eq!(roots[0], "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(roots[1], "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
        assert_eq!(roots[7], "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn a_tile_is_a_subtree_of_its_own() {
        let (mut whole, mut tile) = (Frontier::default(), Frontier::default());
        for i in 0..3 * TILE {
            let completed = whole.push(leaf(&i.to_le_bytes()));
            tile.push(leaf(&i.to_le_bytes()));
            assert_eq!(completed, (tile.size() == TILE).then(|| tile.root()), "{i}");
            if completed.is_some() {
                tile = Frontier::default();
            }
        }
    }

    proptest! {
        #[test]
        fn a_frontier_text_of_the_wrong_size_is_not_read(size in 0_u64..1000, other in 0_u64..1000) {
            let mut frontier = Frontier::default();
            for i in 0..size {
                frontier.push(leaf(&i.to_le_bytes()));
            }
            let read = Frontier::from_text(other, &frontier.to_text());
            prop_assert_eq!(read.is_some(), other.count_ones() == size.count_ones());
        }
    }
}
