//! Merkle trees as RFC 6962 builds them, over the rows of a batch.
//!
//! A batch is cut into chunks of one size, a power of two, so a chunk's root is an exact subtree
//! and the root over the chunks' roots is the root over all rows.

use aws_lc_rs::digest::{Context, SHA256};

/// A SHA-256 hash.
pub(crate) type Hash = [u8; 32];

/// The hash of a leaf: a zero byte, then each field behind its length, so that no two rows with
/// different fields have the same text.
pub(crate) fn leaf(fields: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    for field in fields {
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        context.update(&length.to_be_bytes());
        context.update(field);
    }
    finish(context)
}

/// The hash of a node above two others.
pub(crate) fn node(left: &Hash, right: &Hash) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[1]);
    context.update(left);
    context.update(right);
    finish(context)
}

/// The root of a tree without leaves.
pub(crate) fn empty() -> Hash {
    finish(Context::new(&SHA256))
}

/// The hash of named fields that belong together, for digests that are no tree.
pub(crate) fn digest_of(fields: &[&[u8]]) -> Hash {
    leaf(fields)
}

fn finish(context: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The root over hashes of leaves, or over roots of equal, full subtrees of which only the last
/// may be smaller.
pub(crate) fn root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The hashes beside the way from `index` to the root, nearest first.
pub(crate) fn path(hashes: &[Hash], index: usize) -> Vec<Hash> {
    if hashes.len() < 2 {
        return Vec::new();
    }
    let middle = split(hashes.len());
    let (left, right) = hashes.split_at(middle);
    let (mut path, beside) = match index < middle {
        true => (self::path(left, index), root(right)),
        false => (self::path(right, index - middle), root(left)),
    };
    path.push(beside);
    path
}

/// A tree with all its nodes, for many paths.
pub(crate) struct Tree(Vec<Vec<Hash>>);

impl Tree {
    /// The tree over hashes of leaves.
    pub(crate) fn new(hashes: Vec<Hash>) -> Self {
        let mut levels = vec![hashes];
        while let Some(last) = levels.last().filter(|last| last.len() > 1) {
            // A node without a neighbour goes up as it is, which is what RFC 6962 comes to.
            let above = last.chunks(2).map(|pair| match pair {
                [left, right] => node(left, right),
                alone => alone.first().copied().unwrap_or_else(empty),
            });
            let above = above.collect();
            levels.push(above);
        }
        Self(levels)
    }

    /// The hash at its top.
    pub(crate) fn root(&self) -> Hash {
        let top = self.0.last().and_then(|level| level.first());
        top.copied().unwrap_or_else(empty)
    }

    /// The leaf at `index`.
    pub(crate) fn leaf(&self, index: usize) -> Option<&Hash> {
        self.0.first()?.get(index)
    }

    /// The same as [`path`].
    pub(crate) fn path(&self, index: usize) -> Vec<Hash> {
        let beside = |(height, level): (usize, &Vec<Hash>)| {
            let at = index >> height;
            level.get(at ^ 1).copied()
        };
        self.0.iter().enumerate().filter_map(beside).collect()
    }
}

/// True when `path` leads from the leaf at `index` to the root of a tree of `size` leaves.
pub(crate) fn leads_to(leaf: &Hash, index: usize, size: usize, path: &[Hash], root: &Hash) -> bool {
    fn climb(leaf: &Hash, index: usize, size: usize, path: &[Hash]) -> Option<Hash> {
        if size == 1 {
            return path.is_empty().then_some(*leaf);
        }
        let (beside, below) = path.split_last()?;
        let middle = split(size);
        match index < middle {
            true => climb(leaf, index, middle, below).map(|left| node(&left, beside)),
            false => {
                climb(leaf, index - middle, size - middle, below).map(|right| node(beside, &right))
            }
        }
    }
    index < size && climb(leaf, index, size, path).as_ref() == Some(root)
}

/// The largest power of two below `count`.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u32) -> Vec<Hash> {
        (0..count).map(|n| leaf(&[&n.to_be_bytes()])).collect()
    }

    #[test]
    fn known_roots() {
        assert_eq!(
            hex::encode(empty()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let three = leaves(3);
        let expected = node(&node(&three[0], &three[1]), &three[2]);
        assert_eq!(root(&three), expected);
        assert_ne!(leaf(&[b"ab", b"c"]), leaf(&[b"a", b"bc"]));
    }

    #[test]
    fn roots_of_chunks_are_the_root_of_rows() {
        for count in 1..70 {
            let rows = leaves(count);
            let chunks: Vec<Hash> = rows.chunks(8).map(root).collect();
            assert_eq!(root(&chunks), root(&rows), "{count} rows");
        }
    }

    #[test]
    fn every_path_verifies_and_no_other() {
        for count in 1..40 {
            let rows = leaves(count);
            let top = root(&rows);
            for (index, row) in rows.iter().enumerate() {
                let path = path(&rows, index);
                assert!(
                    leads_to(row, index, rows.len(), &path, &top),
                    "{index} of {count}"
                );
                assert_eq!(Tree::new(rows.clone()).path(index), path);
                assert_eq!(Tree::new(rows.clone()).root(), top);
                assert!(!leads_to(&[7; 32], index, rows.len(), &path, &top));
                assert!(count == 1 || !leads_to(row, index ^ 1, rows.len(), &path, &top));
            }
        }
    }

    #[test]
    fn paths_join_at_chunk_roots() {
        let rows = leaves(29);
        let chunks: Vec<Hash> = rows.chunks(8).map(root).collect();
        let (chunk, place) = (2, 5);
        let mut joined = path(&rows[16..24], place);
        joined.extend(path(&chunks, chunk));
        assert_eq!(joined, path(&rows, 21));
    }
}
