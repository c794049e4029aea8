//! Requests of an earlier system: a run of them takes as many statements as one.

use std::collections::{BTreeMap, BTreeSet};

use publica_imports::Outcome;
use publica_store::Tx;

use super::Import;
use super::lines::{Entity, Line};
use crate::domain::counters::Counters;
use crate::error::Error;
use crate::sealed::CALLBACK;
use crate::store::request::{self, RequestRow};
use crate::store::{SessionId, report};

/// A request with what became of its messages.
#[derive(Debug, Clone)]
pub(super) struct RequestLine {
    pub(super) row: RequestRow,
    pub(super) changes: Counters,
    pub(super) callback_url: Option<String>,
    /// Whether the line says when it came in.
    pub(super) told_time: bool,
}

/// A request with those that follow it at once.
pub(super) fn run<'l>(first: &'l RequestLine, rest: &'l [Line]) -> Vec<&'l RequestLine> {
    let requests = rest.iter().map_while(|line| match &line.entity {
        Entity::Request(one) => Some(&**one),
        _ => None,
    });
    std::iter::once(first).chain(requests).collect()
}

/// Stores requests, each once.
pub(super) async fn store(
    tx: &mut Tx<'_>,
    import: &Import,
    lines: &[&RequestLine],
) -> Result<Vec<Outcome>, Error> {
    // Of several lines with one handle the first one is stored.
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        first.entry(&line.row.request_uid).or_insert(at);
    }
    let rows: Vec<&RequestRow> = first.values().map(|at| &lines[*at].row).collect();
    let stored = request::insert_many(tx, &import.origin.actor, &rows).await?;
    let stored: BTreeSet<String> = stored.into_iter().collect();
    let is_new = |at: usize, line: &RequestLine| {
        let uid = line.row.request_uid.as_str();
        first.get(uid) == Some(&at) && stored.contains(uid)
    };
    let tallies: Vec<_> = lines
        .iter()
        .enumerate()
        .filter(|(at, line)| is_new(*at, line) && line.changes != Counters::default())
        .map(|(_, line)| {
            let session = SessionId::from_uuid(line.row.request_id.as_uuid());
            (line.row.request_id, session, line.changes)
        })
        .collect();
    report::tallies(tx, &tallies).await?;
    let mut outcomes = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        outcomes.push(if is_new(at, line) {
            Outcome::Stored
        } else if same(tx, import, line).await? {
            Outcome::Repeated
        } else {
            Outcome::differs("request_uid")
        });
    }
    Ok(outcomes)
}

/// Whether what is stored under the line's handle is the line.
async fn same(tx: &mut Tx<'_>, import: &Import, line: &RequestLine) -> Result<bool, Error> {
    let row = &line.row;
    let Some(known) = request::by_uid_in(tx, &row.request_uid).await? else {
        return Ok(false);
    };
    let reached = request::changes(tx, known.request_id).await?;
    let callback = match &known.callback {
        Some(sealed) => Some(import.house.vault.open_setting(&CALLBACK, sealed)?),
        None => None,
    };
    let told = line.callback_url.as_ref().map(|url| url.as_bytes());
    Ok(known.n == row.n
        && known.common.is_none()
        && known.process_id == row.process_id
        && (!line.told_time || known.received_at == row.received_at)
        && callback.as_deref() == told
        && reached == line.changes)
}
