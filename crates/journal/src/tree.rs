//! The tree as it is stored: growing it, and reading proofs from its tiles.

use std::collections::{BTreeMap, HashMap};

use publica_store::{Db, StoreError, Tx};

use crate::error::JournalError;
use crate::merkle::{self, Frontier, Hash, Node, Span, TILE_HEIGHT, TILE_WIDTH};
use crate::store::log::{self as sql, PendingRow, hash};

const HASH_LEN: usize = 32;

/// Positions are stored as `i64`, trees counted as `u64`.
pub(crate) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The other way round; nothing negative is ever stored.
pub(crate) fn counted(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// The right edge of the stored tree: its frontier and the tiles that are not full yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edge {
    frontier: Frontier,
    /// Number and hashes of the growing tile of each level.
    tiles: BTreeMap<u32, (u64, Vec<u8>)>,
}

impl Edge {
    /// Reads the edge of the stored tree.
    pub(crate) async fn load(db: &Db) -> Result<Self, JournalError> {
        let size = counted(sql::size(db).await?);
        let mut reader = Reader::new(db);
        let nodes = Span::tree(size).nodes();
        let hashes = reader.nodes(&nodes).await?;
        let frontier = Frontier::of(size, hashes).ok_or_else(damaged)?;
        let mut tiles = BTreeMap::new();
        let mut level = 0;
        let mut count = size;
        while count > 0 {
            let (tile, partial) = (count / TILE_WIDTH, count % TILE_WIDTH);
            if partial > 0 {
                let mut hashes = reader.tile(level, tile, partial).await?.to_vec();
                hashes.truncate(bytes(partial));
                tiles.insert(level, (tile, hashes));
            }
            count >>= TILE_HEIGHT;
            level += 1;
        }
        Ok(Self { frontier, tiles })
    }

    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Appends leaves within a unit of work.
    pub(crate) async fn append(
        &mut self,
        tx: &mut Tx<'_>,
        rows: &[PendingRow],
    ) -> Result<(), StoreError> {
        sql::sequence(tx, stored(self.size()), rows).await?;
        let mut dirty: BTreeMap<(u32, u64), Vec<u8>> = BTreeMap::new();
        for row in rows {
            let leaf = hash(&row.leaf_hash)?;
            let tiles = &mut self.tiles;
            self.frontier.push(leaf, |node, hash| {
                if node.height % TILE_HEIGHT == 0 {
                    extend(tiles, &mut dirty, node, &hash);
                }
            });
        }
        for ((level, tile), hashes) in dirty {
            sql::put_tile(tx, i64::from(level), stored(tile), &hashes).await?;
        }
        Ok(())
    }
}

/// Adds a hash to its level's growing tile, and notes tiles to be stored: of leaves, only full
/// ones, since the leaves themselves are stored; of higher levels, each as it grows.
fn extend(
    tiles: &mut BTreeMap<u32, (u64, Vec<u8>)>,
    dirty: &mut BTreeMap<(u32, u64), Vec<u8>>,
    node: Node,
    hash: &Hash,
) {
    let (level, tile, _) = node.tile();
    let growing = tiles.entry(level).or_insert_with(|| (tile, Vec::new()));
    if growing.0 != tile {
        *growing = (tile, Vec::new());
    }
    growing.1.extend_from_slice(hash);
    let full = growing.1.len() == bytes(TILE_WIDTH);
    if level > 0 || full {
        dirty.insert((level, tile), growing.1.clone());
    }
    if full {
        tiles.remove(&level);
    }
}

fn bytes(hashes: u64) -> usize {
    usize::try_from(hashes)
        .unwrap_or(usize::MAX)
        .saturating_mul(HASH_LEN)
}

fn damaged() -> JournalError {
    JournalError::Damaged {
        reason: "a tile of the tree is missing or too short".to_owned(),
    }
}

/// Reads hashes of the stored tree, each tile once.
pub(crate) struct Reader<'d> {
    db: &'d Db,
    tiles: HashMap<(u32, u64), Vec<u8>>,
}

impl<'d> Reader<'d> {
    pub(crate) fn new(db: &'d Db) -> Self {
        Self {
            db,
            tiles: HashMap::new(),
        }
    }

    /// A tile with at least `wanted` hashes.
    async fn tile(&mut self, level: u32, tile: u64, wanted: u64) -> Result<&[u8], JournalError> {
        let key = (level, tile);
        let known = self
            .tiles
            .get(&key)
            .is_some_and(|hashes| hashes.len() >= bytes(wanted));
        if !known {
            let stored_tile = sql::tile(self.db, i64::from(level), stored(tile)).await?;
            let hashes = match stored_tile {
                Some(hashes) => hashes,
                None if level == 0 => {
                    let from = tile * TILE_WIDTH;
                    sql::leaves(self.db, stored(from), stored(from + TILE_WIDTH)).await?
                }
                None => return Err(damaged()),
            };
            if hashes.len() < bytes(wanted) || hashes.len() % HASH_LEN != 0 {
                return Err(damaged());
            }
            self.tiles.insert(key, hashes);
        }
        self.tiles.get(&key).map(Vec::as_slice).ok_or_else(damaged)
    }

    async fn node(&mut self, node: Node) -> Result<Hash, JournalError> {
        let (level, tile, range) = node.tile();
        let wanted = u64::try_from(range.end).unwrap_or(u64::MAX);
        let hashes = self.tile(level, tile, wanted).await?;
        let mut row: Vec<Hash> = hashes
            .chunks_exact(HASH_LEN)
            .skip(range.start)
            .take(range.len())
            .map(hash)
            .collect::<Result<_, _>>()?;
        while row.len() > 1 {
            row = row
                .chunks(2)
                .map(|pair| merkle::node_hash(&pair[0], &pair[1]))
                .collect();
        }
        row.first().copied().ok_or_else(damaged)
    }

    async fn nodes(&mut self, nodes: &[Node]) -> Result<Vec<Hash>, JournalError> {
        let mut hashes = Vec::with_capacity(nodes.len());
        for node in nodes {
            hashes.push(self.node(*node).await?);
        }
        Ok(hashes)
    }

    async fn spans(&mut self, plan: &[Span]) -> Result<Vec<Hash>, JournalError> {
        let mut hashes = Vec::with_capacity(plan.len());
        for span in plan {
            hashes.push(Span::fold(&self.nodes(&span.nodes()).await?));
        }
        Ok(hashes)
    }

    /// Root of the tree of this size, which must not be larger than the stored one.
    pub(crate) async fn root(&mut self, size: u64) -> Result<Hash, JournalError> {
        Ok(Span::fold(&self.nodes(&Span::tree(size).nodes()).await?))
    }

    /// Proof that leaf `index` is in the tree of `size`.
    pub(crate) async fn inclusion(
        &mut self,
        index: u64,
        size: u64,
    ) -> Result<Vec<Hash>, JournalError> {
        self.spans(&merkle::inclusion_plan(index, size)).await
    }

    /// Proof that the tree of `new` begins with that of `old`.
    pub(crate) async fn consistency(
        &mut self,
        old: u64,
        new: u64,
    ) -> Result<Vec<Hash>, JournalError> {
        self.spans(&merkle::consistency_plan(old, new)).await
    }
}
