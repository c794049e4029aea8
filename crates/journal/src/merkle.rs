//! The Merkle tree of RFC 6962: hashes, proofs and their verification.
//!
//! A proof is first planned (which complete subtrees it needs), then read and folded, so that
//! the plan can be served from stored tiles or from leaves in memory alike.

use aws_lc_rs::digest::{Context, SHA256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// How many hashes a full tile holds.
pub const TILE_WIDTH: u64 = 256;
/// How many levels of the tree one level of tiles spans.
pub const TILE_HEIGHT: u32 = 8;

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// SHA-256 of some bytes.
pub fn digest(data: &[u8]) -> Hash {
    sha256(&[data])
}

/// Hash of a leaf (RFC 6962, section 2.1).
pub fn leaf_hash(data: &[u8]) -> Hash {
    sha256(&[&[0], data])
}

/// Hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// Root of the empty tree.
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// Leaves `start..end` of a tree, as they occur in proofs: `start` is a multiple of the largest
/// power of two that is not larger than the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: u64,
    end: u64,
}

/// A complete subtree: the `index`-th of those with `2^height` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// Levels above the leaves.
    pub height: u32,
    /// Place among its siblings of that height, from 0.
    pub index: u64,
}

impl Node {
    /// The level and number of the tile that covers this node, and where in it.
    pub fn tile(self) -> (u32, u64, std::ops::Range<usize>) {
        let level = self.height / TILE_HEIGHT;
        let inner = self.height % TILE_HEIGHT;
        let first = self.index << inner;
        let offset = usize::try_from(first % TILE_WIDTH).unwrap_or(0);
        (level, first / TILE_WIDTH, offset..offset + (1 << inner))
    }
}

/// The largest power of two below `n`, which is at least 2.
fn split_point(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

impl Span {
    /// The whole tree.
    pub fn tree(size: u64) -> Self {
        Self {
            start: 0,
            end: size,
        }
    }

    /// The complete subtrees that make up the span, largest (leftmost) first.
    pub fn nodes(self) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut at = self.start;
        while at < self.end {
            let left = self.end - at;
            let height = left.ilog2();
            nodes.push(Node {
                height,
                index: at >> height,
            });
            at += 1 << height;
        }
        nodes
    }

    /// The span's hash from those of its nodes.
    pub fn fold(hashes: &[Hash]) -> Hash {
        let mut rest = hashes.iter().rev();
        let Some(last) = rest.next() else {
            return empty_root();
        };
        rest.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// What an inclusion proof of leaf `index` in a tree of `size` consists of, leaf to root.
pub fn inclusion_plan(index: u64, size: u64) -> Vec<Span> {
    let mut plan = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split_point(end - start);
        if index < middle {
            plan.push(Span { start: middle, end });
            end = middle;
        } else {
            plan.push(Span { start, end: middle });
            start = middle;
        }
    }
    plan.reverse();
    plan
}

/// What a consistency proof between two sizes consists of.
pub fn consistency_plan(old: u64, new: u64) -> Vec<Span> {
    let mut plan = Vec::new();
    if old == 0 || old >= new {
        return plan;
    }
    let (mut start, mut end) = (0, new);
    // Whether the subtree in hand is the old tree's own, so that the verifier knows its hash.
    let mut whole = true;
    while old != end {
        let middle = start + split_point(end - start);
        if old <= middle {
            plan.push(Span { start: middle, end });
            end = middle;
        } else {
            plan.push(Span { start, end: middle });
            start = middle;
            whole = false;
        }
    }
    if !whole {
        plan.push(Span { start, end });
    }
    plan.reverse();
    plan
}

/// The root that an inclusion proof leads to; `None` if the proof has the wrong length or the
/// index is outside the tree (RFC 9162, section 2.1.3.2).
pub fn root_of_inclusion(index: u64, size: u64, leaf: &Hash, proof: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for step in proof {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(step, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Whether the tree of `new` leaves with root `new_root` begins with the tree of `old` leaves
/// with root `old_root` (RFC 9162, section 2.1.4.2).
pub fn consistent(old: u64, new: u64, old_root: &Hash, new_root: &Hash, proof: &[Hash]) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    let mut steps = proof.iter();
    let first = if old.is_power_of_two() {
        Some(old_root)
    } else {
        steps.next()
    };
    let Some(first) = first else { return false };
    let shift = (old - 1).trailing_ones();
    let (mut at, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut old_hash, mut new_hash) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(step, &old_hash);
            new_hash = node_hash(step, &new_hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// The right edge of a growing tree: enough to append leaves and know the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Hashes of the complete subtrees of the tree, largest first.
    edge: Vec<Hash>,
}

impl Frontier {
    /// A tree of `size` leaves, from the hashes of `Span::tree(size).nodes()`; `None` if there
    /// are not as many as the size asks for.
    pub fn of(size: u64, edge: Vec<Hash>) -> Option<Self> {
        (edge.len() == size.count_ones() as usize).then_some(Self { size, edge })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree.
    pub fn root(&self) -> Hash {
        Span::fold(&self.edge)
    }

    /// Appends a leaf; calls `complete` with each subtree that it completes, itself first.
    pub fn push(&mut self, leaf: Hash, mut complete: impl FnMut(Node, Hash)) {
        let mut hash = leaf;
        let mut node = Node {
            height: 0,
            index: self.size,
        };
        complete(node, hash);
        while node.index & 1 == 1 {
            let Some(left) = self.edge.pop() else { break };
            hash = node_hash(&left, &hash);
            node = Node {
                height: node.height + 1,
                index: node.index >> 1,
            };
            complete(node, hash);
        }
        self.edge.push(hash);
        self.size += 1;
    }
}

#[cfg(test)]
#[path = "merkle/tests.rs"]
mod tests;
