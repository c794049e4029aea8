//! Revocations: written where an answer may lose its force, read by whoever keeps decisions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use publica_proto::consent::v1 as pb;
use publica_rpc::{PageToken, page_size};
use publica_store::Tx;
use publica_types::Tenant;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{App, PAGE_DEFAULT, PAGE_MAX, Shop, Who};
use crate::domain::violations::{Violations, is_id};
use crate::error::{Error, Why};
use crate::store;
use crate::store::revocation::{Row, SHARDS};

/// How soon watchers learn what other replicas wrote.
const POLL: Duration = Duration::from_millis(40);
/// Watchers of a process, over all its stores.
pub(crate) const MAX_WATCHERS: usize = 256;
/// Revocations that are read at a time.
const BATCH: i64 = 256;
/// What a cursor belongs to.
const CURSOR: &str = "revocations";

/// Batches that a follower may be late by before it reads the store again.
const MAX_LATE: usize = 64;
/// How soon to look again after a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// What those who follow revocations are told.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// Revocations, in the order of each shard.
    Rows(Arc<[Row]>),
    /// There may be some that nobody told of: read the store.
    Read,
}

/// The way of the news of one store.
pub(super) fn channel() -> broadcast::Sender<News> {
    broadcast::Sender::new(MAX_LATE)
}

/// Tells followers of what was stored behind a place in each shard, and moves it. Without a place
/// it begins at the end, and followers read what came before.
async fn look(shop: &Shop, place: &mut Vec<i64>) -> Result<(), Error> {
    if place.is_empty() {
        *place = store::revocation::heads(&shop.db).await?;
        let _ = shop.news.send(News::Read);
        return Ok(());
    }
    loop {
        let rows = store::revocation::after(&shop.db, place, BATCH).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let full = i64::try_from(rows.len()).unwrap_or(0) == BATCH;
        rows.iter().for_each(|row| advance(place, row));
        // Nobody left to tell is no failure.
        let _ = shop.news.send(News::Rows(rows.into()));
        if !full {
            return Ok(());
        }
    }
}

/// Whom and what a revocation is about; empty for everybody, all agreements, no record.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct About<'a> {
    pub(crate) individual_id: &'a str,
    pub(crate) agreement_id: &'a str,
    pub(crate) record_id: &'a str,
}

/// Tells whoever keeps decisions that some of them may no longer hold. The lock that orders
/// revocations is held until the commit, so this comes late in a unit.
pub(crate) async fn revoke(
    tx: &mut Tx<'_>,
    about: About<'_>,
    cause: pb::RevocationCause,
) -> Result<(), Error> {
    let now = tx.now();
    let cause = i64::from(cause as i32);
    let (person, agreement) = (about.individual_id, about.agreement_id);
    store::revocation::insert(tx, person, agreement, about.record_id, cause, now).await?;
    Ok(())
}

/// The same about many answers that changed: person, agreement and record of each.
pub(crate) async fn revoke_many(
    tx: &mut Tx<'_>,
    answers: &[(&str, &str, &str)],
) -> Result<(), Error> {
    let now = tx.now();
    let cause = i64::from(pb::RevocationCause::AnswerChanged as i32);
    Ok(store::revocation::insert_many(tx, answers, cause, now).await?)
}

fn shown(row: &Row) -> pb::Revocation {
    let cause = i32::try_from(row.cause).unwrap_or_default();
    pb::Revocation {
        individual_id: row.individual_id.clone(),
        data_agreement_id: row.agreement_id.clone(),
        consent_record_id: row.record_id.clone(),
        cause,
        time: Some(publica_rpc::timestamp(row.created)),
    }
}

/// Moves a cursor behind a row.
fn advance(cursor: &mut [i64], row: &Row) {
    let place = usize::try_from(row.shard).ok();
    if let Some(seq) = place.and_then(|shard| cursor.get_mut(shard)) {
        *seq = row.seq;
    }
}

/// Whether a row comes after a cursor.
fn is_behind(cursor: &[i64], row: &Row) -> bool {
    let place = usize::try_from(row.shard).ok();
    place
        .and_then(|shard| cursor.get(shard))
        .is_some_and(|seq| row.seq > *seq)
}

fn encode(cursor: &[i64]) -> String {
    PageToken::encode(&CURSOR, &cursor)
}

/// A cursor as sent, or the end of the record.
async fn read_cursor(shop: &Shop, sent: &str) -> Result<(Vec<i64>, bool), Error> {
    let known = PageToken::decode::<Vec<i64>>(&CURSOR, sent)?;
    match known {
        Some(cursor) if cursor.len() == SHARDS && cursor.iter().all(|seq| *seq >= 0) => {
            Ok((cursor, false))
        }
        Some(_) => Err(Violations::one("cursor", "is not a cursor of revocations").into()),
        None => Ok((store::revocation::heads(&shop.db).await?, true)),
    }
}

impl App {
    /// Lists revocations after a cursor.
    pub(crate) async fn list_revocations(
        &self,
        who: &Who,
        request: pb::ListRevocationsRequest,
    ) -> Result<pb::ListRevocationsResponse, Error> {
        let shop = self.shop(&who.origin.tenant).await?;
        let limit = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let (mut cursor, fresh) = read_cursor(&shop, &request.cursor).await?;
        let mut rows = if fresh {
            Vec::new()
        } else {
            store::revocation::after(&shop.db, &cursor, limit + 1).await?
        };
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > most;
        rows.truncate(most);
        rows.iter().for_each(|row| advance(&mut cursor, row));
        Ok(pb::ListRevocationsResponse {
            revocations: rows.iter().map(shown).collect(),
            cursor: encode(&cursor),
            more,
        })
    }

    /// Follows revocations from a cursor on.
    pub(crate) async fn watch_revocations(
        &self,
        who: &Who,
        request: pb::WatchRevocationsRequest,
    ) -> Result<
        impl Stream<Item = Result<pb::WatchRevocationsResponse, Status>> + Send + use<>,
        Error,
    > {
        let shop: Arc<Shop> = self.shop(&who.origin.tenant).await?;
        let only = request.data_agreement_id;
        if !only.is_empty() && !is_id(&only) {
            return Err(Violations::one("data_agreement_id", "is not an id").into());
        }
        let (mut cursor, _) = read_cursor(&shop, &request.cursor).await?;
        let place = self.watchers().clone().try_acquire_owned();
        let place = place.map_err(|_| Why::TooManyWatchers.about(""))?;
        // What is stored from here on comes by news; what was stored before is read.
        let mut news = shop.news.subscribe();
        self.watching().notify_one();
        let stopped = self.stopped().clone();
        Ok(async_stream::try_stream! {
            let _place = place;
            yield pb::WatchRevocationsResponse { revocation: None, cursor: encode(&cursor) };
            let mut behind = true;
            loop {
                let rows: Arc<[Row]> = if behind {
                    let read = store::revocation::after(&shop.db, &cursor, BATCH);
                    let read = read.await.map_err(Error::from)?;
                    behind = i64::try_from(read.len()).unwrap_or(0) == BATCH;
                    read.into()
                } else {
                    match stopped.run_until_cancelled(news.recv()).await {
                        Some(Ok(News::Rows(rows))) => rows,
                        // Nobody will tell of any more.
                        None | Some(Err(RecvError::Closed)) => {
                            Err(Status::unavailable("the block stops; go on from the cursor"))?
                        }
                        Some(Ok(News::Read) | Err(RecvError::Lagged(_))) => {
                            behind = true;
                            continue;
                        }
                    }
                };
                for row in rows.iter() {
                    // What was read before comes by news as well.
                    if !is_behind(&cursor, row) {
                        continue;
                    }
                    advance(&mut cursor, row);
                    if only.is_empty() || row.agreement_id.is_empty() || row.agreement_id == only {
                        let revocation = Some(shown(row));
                        yield pb::WatchRevocationsResponse { revocation, cursor: encode(&cursor) };
                    }
                }
            }
        })
    }

    /// Reads revocations for all who follow them, until `stop`; while nobody does, it rests.
    pub(crate) async fn follow_revocations(&self, tenants: &[Tenant], stop: &CancellationToken) {
        let mut places: BTreeMap<&Tenant, Vec<i64>> = BTreeMap::new();
        while !stop.is_cancelled() {
            let mut pause = None;
            for tenant in tenants {
                let Some(shop) = self.open_shop(tenant) else {
                    continue;
                };
                if shop.news.receiver_count() == 0 {
                    places.remove(tenant);
                    continue;
                }
                pause = pause.max(Some(POLL));
                if let Err(error) = look(&shop, places.entry(tenant).or_default()).await {
                    tracing::warn!(%tenant, %error, "revocations were not read");
                    // Followers read for themselves, and learn so what is wrong.
                    let _ = shop.news.send(News::Read);
                    places.remove(tenant);
                    pause = Some(AGAIN);
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.watching().notified() => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
        self.stopped().cancel();
    }

    /// The public keys of the block.
    pub(crate) async fn verification_keys(
        &self,
        who: &Who,
        _request: pb::GetVerificationKeysRequest,
    ) -> Result<pb::GetVerificationKeysResponse, Error> {
        let shop = self.shop(&who.origin.tenant).await?;
        Ok(pb::GetVerificationKeysResponse {
            jwks: shop.keys.to_value().to_string(),
            issuer: super::decisions::ISSUER.to_owned(),
        })
    }
}
