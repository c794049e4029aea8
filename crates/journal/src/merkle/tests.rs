#![expect(clippy::cast_possible_truncation, reason = "trees of tests are small")]

use proptest::prelude::*;

use super::*;

/// The definition in RFC 6962, word for word.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split_point(many.len() as u64) as usize);
            node_hash(&root(left), &root(right))
        }
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn read(leaves: &[Hash], plan: &[Span]) -> Vec<Hash> {
    let hash = |node: &Node| {
        let width = 1_usize << node.height;
        let start = node.index as usize * width;
        root(&leaves[start..start + width])
    };
    plan.iter()
        .map(|span| Span::fold(&span.nodes().iter().map(hash).collect::<Vec<_>>()))
        .collect()
}

#[test]
fn hashes_agree_with_the_published_test_tree() {
    // Inputs and roots that the authors of the RFC published beside their reference code.
    let inputs: [&[u8]; 4] = [b"", &[0], &[0x10], &[0x20, 0x21]];
    let leaves: Vec<Hash> = inputs.iter().map(|data| leaf_hash(data)).collect();
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    for (size, expected) in roots.iter().enumerate() {
        assert_eq!(
            hex::encode(root(&leaves[..size])),
            *expected,
            "{size} leaves"
        );
    }
}

#[test]
fn every_inclusion_proof_of_small_trees_verifies() {
    for size in 1..70 {
        let leaves = leaves(size);
        let root = root(&leaves);
        for index in 0..size {
            let proof = read(&leaves, &inclusion_plan(index, size));
            let leaf = &leaves[index as usize];
            assert_eq!(root_of_inclusion(index, size, leaf, &proof), Some(root));
            assert_ne!(root_of_inclusion(index, size, &[7; 32], &proof), Some(root));
            if size > 1 {
                assert_eq!(root_of_inclusion(index, size, leaf, &proof[1..]), None);
            }
        }
        assert_eq!(root_of_inclusion(size, size, &leaves[0], &[]), None);
    }
}

#[test]
fn every_consistency_proof_of_small_trees_verifies() {
    for new in 1..50 {
        let leaves = leaves(new);
        let new_root = root(&leaves);
        for old in 0..=new {
            let old_root = root(&leaves[..old as usize]);
            let proof = read(&leaves, &consistency_plan(old, new));
            assert!(
                consistent(old, new, &old_root, &new_root, &proof),
                "{old} in {new}"
            );
            if old > 0 && old < new {
                assert!(!consistent(old, new, &[1; 32], &new_root, &proof));
                assert!(!consistent(old, new, &old_root, &[1; 32], &proof));
                assert!(!consistent(old, new, &old_root, &new_root, &[]));
            }
        }
    }
}

#[test]
fn a_frontier_knows_the_root_at_every_size() {
    let leaves = leaves(300);
    let mut frontier = Frontier::default();
    for (count, leaf) in leaves.iter().enumerate() {
        assert_eq!(frontier.root(), root(&leaves[..count]));
        frontier.push(*leaf, |node, hash| {
            let width = 1_usize << node.height;
            let start = node.index as usize * width;
            assert_eq!(hash, root(&leaves[start..start + width]));
        });
    }
    let nodes = read_nodes(&leaves, Span::tree(300));
    assert_eq!(Frontier::of(300, nodes), Some(frontier));
    assert_eq!(Frontier::of(300, Vec::new()), None);
}

fn read_nodes(leaves: &[Hash], span: Span) -> Vec<Hash> {
    span.nodes()
        .iter()
        .map(|node| {
            let width = 1_usize << node.height;
            let start = node.index as usize * width;
            root(&leaves[start..start + width])
        })
        .collect()
}

proptest! {
    #[test]
    fn a_node_lies_within_one_tile(height in 0_u32..30, index in 0_u64..1_000_000) {
        let (level, _, range) = Node { height, index }.tile();
        prop_assert!(range.end <= 256);
        prop_assert_eq!(level, height / 8);
    }

    #[test]
    fn proofs_of_large_trees_are_short(size in 1_u64..u64::MAX / 2, at in 0_u64..u64::MAX) {
        let index = at % size;
        prop_assert!(inclusion_plan(index, size).len() <= 64);
        for span in inclusion_plan(index, size) {
            for node in span.nodes() {
                prop_assert!(((node.index + 1) << node.height) <= size);
            }
        }
    }
}
