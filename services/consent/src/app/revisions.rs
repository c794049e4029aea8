//! Revisions: making them, and reading them with their hashes checked.

use publica_proto::consent::v1 as pb;
use publica_seal::SubjectKey;
use publica_store::{StoreError, Tx};
use publica_types::Timestamp;
use serde_json::{Value, json};

use super::seals::{self, Made, seal};
use super::{App, Paging, Shop, Who, entry, next_token, record_keys, time};
use crate::domain::snapshot::{By, Snapshot, sha1_hex, sha256_hex, snapshot};
use crate::error::{Error, Why};
use crate::store::{self, Cursor, Span, revision};

/// The field under which snapshots are sealed.
pub(crate) const SNAPSHOT: &str = "snapshot";
/// Revisions of a chain that are read at a time.
pub(super) const CHUNK: i64 = 256;

/// What a new revision is made of.
pub(crate) struct Change<'a> {
    pub(crate) schema: pb::Schema,
    pub(crate) object_id: &'a str,
    pub(crate) data: Value,
    pub(crate) by: By<'a>,
    /// The content as it is read back, for policies and agreements.
    pub(crate) body: Option<Vec<u8>>,
    /// Whose key seals the snapshot, for records.
    pub(crate) subject: Option<&'a SubjectKey>,
    /// The last signature over the previous revision.
    pub(crate) predecessor_signature: &'a str,
}

/// Makes the next revision of an object.
pub(crate) async fn revise(
    tx: &mut Tx<'_>,
    shop: &Shop,
    change: Change<'_>,
) -> Result<pb::Revision, Error> {
    let now = tx.now();
    let locked = snapshot(
        change.schema,
        Some(change.object_id),
        change.data,
        now,
        change.by,
    );
    let kind = i64::from(change.schema as i32);
    let head = revision::head(tx, kind, change.object_id)
        .await?
        .unwrap_or_default();
    let (by_individual, by_other) = match change.by {
        By::Individual(id) => (id.to_owned(), String::new()),
        By::Other(name) => (String::new(), name.to_owned()),
    };
    let stored = match change.subject {
        Some(key) => key.seal(SNAPSHOT, locked.text.as_bytes()),
        None => locked.text.clone().into_bytes(),
    };
    let mut row = revision::Row {
        revision_id: shop.id(),
        kind,
        object_id: change.object_id.to_owned(),
        seq: head.seq + 1,
        predecessor_id: head.revision_id,
        predecessor_sha1: head.sha1,
        predecessor_sha256: head.sha256,
        predecessor_signature: change.predecessor_signature.to_owned(),
        sha1: locked.sha1,
        sha256: locked.sha256,
        snapshot: Some(stored),
        subject: change.subject.map(|key| key.subject().to_owned()),
        body: change.body,
        by_individual,
        by_other,
        without_id: false,
        seal: String::new(),
        created: now,
        erased: None,
        successor_id: String::new(),
    };
    row.seal = seal(shop, &row, Made::Here)?;
    match revision::insert(tx, &row).await {
        Ok(()) => Ok(present(&row, locked.text)),
        // Somebody else's revision has the same predecessor: the history stays linear.
        Err(error) if error.is_unique() => Err(Why::Conflict.about(change.object_id)),
        Err(error) => Err(error.into()),
    }
}

/// The first revision of a record, locking what was signed before the record had an id.
pub(crate) fn first_signed(
    shop: &Shop,
    key: &SubjectKey,
    record_id: &str,
    signer: &str,
    signed: &Snapshot,
    now: Timestamp,
) -> Result<revision::Row, Error> {
    let mut row = revision::Row {
        revision_id: shop.id(),
        kind: i64::from(pb::Schema::ConsentRecord as i32),
        object_id: record_id.to_owned(),
        seq: 1,
        predecessor_id: String::new(),
        predecessor_sha1: String::new(),
        predecessor_sha256: String::new(),
        predecessor_signature: String::new(),
        sha1: signed.sha1.clone(),
        sha256: signed.sha256.clone(),
        snapshot: Some(key.seal(SNAPSHOT, signed.text.as_bytes())),
        subject: Some(key.subject().to_owned()),
        body: None,
        by_individual: signer.to_owned(),
        by_other: String::new(),
        without_id: true,
        seal: String::new(),
        created: now,
        erased: None,
        successor_id: String::new(),
    };
    row.seal = seal(shop, &row, Made::Here)?;
    Ok(row)
}

/// A revision that was made elsewhere, or of content as it is imported.
pub(crate) struct Past<'a> {
    /// Its id; empty to mint one.
    pub(crate) revision_id: &'a str,
    pub(crate) schema: pb::Schema,
    pub(crate) object_id: &'a str,
    pub(crate) locked: &'a Snapshot,
    pub(crate) by: By<'a>,
    pub(crate) without_id: bool,
    /// The snapshot was written by an earlier system.
    pub(crate) foreign: bool,
    pub(crate) key: Option<&'a SubjectKey>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) previous: Option<&'a revision::Row>,
    pub(crate) at: Timestamp,
}

/// The row of such a revision, sealed by the service from now on.
pub(crate) fn past(shop: &Shop, past: Past<'_>) -> Result<revision::Row, Error> {
    let text = past.locked.text.as_bytes();
    let stored = past
        .key
        .map_or_else(|| text.to_vec(), |key| key.seal(SNAPSHOT, text));
    let (by_individual, by_other) = match past.by {
        By::Individual(id) => (id.to_owned(), String::new()),
        By::Other(name) => (String::new(), name.to_owned()),
    };
    let of = |pick: fn(&revision::Row) -> &String| {
        past.previous
            .map(|row| pick(row).clone())
            .unwrap_or_default()
    };
    let mut row = revision::Row {
        revision_id: match past.revision_id {
            "" => shop.id(),
            id => id.to_owned(),
        },
        kind: i64::from(past.schema as i32),
        object_id: past.object_id.to_owned(),
        seq: past.previous.map_or(1, |row| row.seq + 1),
        predecessor_id: of(|row| &row.revision_id),
        predecessor_sha1: of(|row| &row.sha1),
        predecessor_sha256: of(|row| &row.sha256),
        predecessor_signature: String::new(),
        sha1: past.locked.sha1.clone(),
        sha256: past.locked.sha256.clone(),
        snapshot: Some(stored),
        subject: past.key.map(|key| key.subject().to_owned()),
        body: past.body,
        by_individual,
        by_other,
        without_id: past.without_id,
        seal: String::new(),
        created: past.at,
        erased: None,
        successor_id: String::new(),
    };
    let made = if past.foreign {
        Made::Foreign
    } else {
        Made::Imported
    };
    row.seal = seal(shop, &row, made)?;
    Ok(row)
}

/// The kind that a stored number stands for.
pub(crate) fn schema(kind: i64) -> pb::Schema {
    i32::try_from(kind)
        .ok()
        .and_then(|n| n.try_into().ok())
        .unwrap_or_default()
}

/// A revision as callers see it.
pub(crate) fn present(row: &revision::Row, snapshot: String) -> pb::Revision {
    pb::Revision {
        revision_id: row.revision_id.clone(),
        schema: schema(row.kind).into(),
        object_id: row.object_id.clone(),
        signed_without_object_id: row.without_id,
        serialized_snapshot: snapshot,
        serialized_hash: row.sha1.clone(),
        serialized_hash_sha256: row.sha256.clone(),
        create_time: Some(publica_rpc::timestamp(row.created)),
        authorized_by_individual_id: row.by_individual.clone(),
        authorized_by_other: row.by_other.clone(),
        successor_id: row.successor_id.clone(),
        predecessor_id: row.predecessor_id.clone(),
        predecessor_hash: row.predecessor_sha1.clone(),
        predecessor_signature: row.predecessor_signature.clone(),
        seal: row.seal.clone(),
        sequence: row.seq,
        erase_time: row.erased.map(publica_rpc::timestamp),
    }
}

/// The text of a snapshot that is not sealed, its hashes checked.
pub(crate) fn plain(row: &revision::Row) -> Result<String, Error> {
    let Some(bytes) = row.snapshot.clone() else {
        // What is nobody's own is never erased.
        return Err(altered(row));
    };
    let text =
        String::from_utf8(bytes).map_err(|_| StoreError::corrupt("a snapshot is not UTF-8"))?;
    checked(row, text)
}

/// A text, if it is the one that was hashed.
fn checked(row: &revision::Row, text: String) -> Result<String, Error> {
    if sha256_hex(text.as_bytes()) != row.sha256 || sha1_hex(text.as_bytes()) != row.sha1 {
        return Err(Why::RevisionAltered.about(&*row.revision_id));
    }
    Ok(text)
}

/// The text of a snapshot, opened and checked; empty once erased.
pub(crate) fn open(row: &revision::Row, key: Option<&SubjectKey>) -> Result<String, Error> {
    match (&row.snapshot, &row.subject, key) {
        (None, _, _) => Ok(String::new()),
        (Some(_), None, _) => plain(row),
        (Some(sealed), Some(_), Some(key)) => match key.open_text(SNAPSHOT, sealed) {
            Ok(text) => checked(row, text),
            Err(_) => Err(Why::RevisionAltered.about(&*row.revision_id)),
        },
        // The person's key was destroyed.
        (Some(_), Some(_), None) => Ok(String::new()),
    }
}

/// Rows as callers see them, sealed ones opened.
pub(crate) async fn present_all(
    shop: &Shop,
    rows: &[revision::Row],
) -> Result<Vec<pb::Revision>, Error> {
    let mut subjects: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.subject.as_deref())
        .collect();
    subjects.sort_unstable();
    subjects.dedup();
    let keys = if subjects.is_empty() {
        std::collections::BTreeMap::new()
    } else {
        shop.keyring.load_many(&shop.db, &subjects).await?
    };
    let is_record = |row: &&revision::Row| schema(row.kind) == pb::Schema::ConsentRecord;
    let of_person = |row: &'_ revision::Row| row.subject.clone().unwrap_or_default();
    let people: Vec<(String, String)> = rows
        .iter()
        .filter(is_record)
        .map(|row| (row.object_id.clone(), of_person(row)))
        .collect();
    let records = people.iter().map(|(id, person)| (&**id, &**person));
    let own = record_keys::load_many(shop, &keys, &records.collect()).await?;
    rows.iter()
        .map(|row| {
            let key = if is_record(&row) {
                own.get(&row.object_id)
            } else {
                row.subject.as_ref().and_then(|subject| keys.get(subject))
            };
            Ok(present(row, open(row, key)?))
        })
        .collect()
}

/// A revision by id, with its seal and the link to its predecessor checked.
pub(crate) async fn read(shop: &Shop, revision_id: &str) -> Result<pb::Revision, Error> {
    let row = store::revision::find(&shop.db, revision_id).await?;
    let row = row.ok_or_else(|| Why::RevisionNotFound.about(revision_id))?;
    let before = match row.predecessor_id.as_str() {
        "" => revision::Head::default(),
        id => {
            let before = store::revision::find(&shop.db, id).await?;
            let before = before.ok_or_else(|| Why::RevisionAltered.about(&*row.revision_id))?;
            head_of(&before)
        }
    };
    sound(shop, &row, &before)?;
    let mut all = present_all(shop, std::slice::from_ref(&row)).await?;
    all.pop()
        .ok_or_else(|| Why::RevisionNotFound.about(revision_id))
}

/// A row as what its successor must refer to.
pub(super) fn head_of(row: &revision::Row) -> revision::Head {
    revision::Head {
        revision_id: row.revision_id.clone(),
        seq: row.seq,
        sha1: row.sha1.clone(),
        sha256: row.sha256.clone(),
    }
}

/// Whether a revision follows the one before it.
pub(super) fn follows(row: &revision::Row, before: &revision::Head) -> bool {
    row.seq == before.seq + 1
        && row.predecessor_id == before.revision_id
        && row.predecessor_sha1 == before.sha1
        && row.predecessor_sha256 == before.sha256
}

/// Refuses a revision whose link or seal does not hold.
fn sound(shop: &Shop, row: &revision::Row, before: &revision::Head) -> Result<(), Error> {
    if follows(row, before) {
        return seals::sound(shop, row).map(drop);
    }
    Err(altered(row))
}

/// The refusal of what somebody altered.
pub(super) fn altered(row: &revision::Row) -> Error {
    tracing::error!(revision.id = row.revision_id, "a revision was altered");
    Why::RevisionAltered.about(&*row.revision_id)
}

impl App {
    /// Checks that the caller may read revisions of this kind, or of this one object.
    async fn may_read_revisions(
        &self,
        shop: &Shop,
        who: &Who,
        schema: pb::Schema,
        object_id: &str,
    ) -> Result<(), Error> {
        if who.may("consent:audit:read") {
            return Ok(());
        }
        match schema {
            pb::Schema::Policy => who.need("consent:policy:read"),
            pb::Schema::DataAgreement if who.may("consent:agreement:write") => Ok(()),
            pb::Schema::DataAgreement => who.need("consent:agreement:read"),
            pb::Schema::ConsentRecord if !object_id.is_empty() => self
                .own_row(shop, who, object_id, "", super::records::READ)
                .await
                .map(drop),
            pb::Schema::Delegation if !object_id.is_empty() => self
                .own_delegation(shop, who, object_id, super::delegations::READ)
                .await
                .map(drop),
            _ => who.need("consent:audit:read"),
        }
    }

    /// Returns one revision.
    pub(crate) async fn get_revision(
        &self,
        who: &Who,
        request: pb::GetRevisionRequest,
    ) -> Result<pb::GetRevisionResponse, Error> {
        let shop = self.shop(&who.origin.tenant).await?;
        let revision = read(&shop, &request.revision_id).await;
        if revision.as_ref().is_err_and(Error::is_unknown_revision) {
            // Who may not see all of them learns nothing from the difference.
            who.need("consent:audit:read")?;
        }
        let revision = revision?;
        let (kind, object) = (revision.schema(), revision.object_id.as_str());
        self.may_read_revisions(&shop, who, kind, object).await?;
        self.journal_read(who, "revision", &request.revision_id)
            .await?;
        Ok(pb::GetRevisionResponse {
            revision: Some(revision),
        })
    }

    /// Lists revisions of one object or of all.
    pub(crate) async fn list_revisions(
        &self,
        who: &Who,
        request: pb::ListRevisionsRequest,
    ) -> Result<pb::ListRevisionsResponse, Error> {
        let shop = self.shop(&who.origin.tenant).await?;
        let kind = request.schema();
        self.may_read_revisions(&shop, who, kind, &request.object_id)
            .await?;
        let ascending = request.order == i32::from(pb::SortOrder::Ascending);
        let arguments = (
            "revisions",
            request.schema,
            &request.object_id,
            request.order,
            request.from_time.map(|time| (time.seconds, time.nanos)),
            request.to_time.map(|time| (time.seconds, time.nanos)),
        );
        let paging = Paging {
            size: request.page_size,
            token: &request.page_token,
            skip: request.skip,
            ascending,
        };
        let page = paging.page(&arguments)?;
        let span = Span {
            from: time("from_time", request.from_time.as_ref())?,
            to: time("to_time", request.to_time.as_ref())?,
        };
        let kind = i64::from(request.schema);
        let mut rows = if request.object_id.is_empty() {
            store::revision::list(&shop.db, kind, span, &page).await?
        } else {
            self.of_object(&shop, kind, &request.object_id, span, &page)
                .await?
        };
        let next_page_token = next_token(&mut rows, &page, &arguments, |row| Cursor {
            at: row.created.micros(),
            id: row.revision_id.clone(),
        });
        let revisions = present_all(&shop, &rows).await?;
        self.journal_read(who, "revisions", &request.object_id)
            .await?;
        Ok(pb::ListRevisionsResponse {
            revisions,
            next_page_token,
        })
    }

    /// A page of one object's chain in the chain's own order, since two revisions may be of the
    /// same instant. The whole of it is checked; chains are short, so it is cut in memory.
    async fn of_object(
        &self,
        shop: &Shop,
        kind: i64,
        object_id: &str,
        span: Span,
        page: &store::Page,
    ) -> Result<Vec<revision::Row>, Error> {
        let kinds = if kind == 0 { 1..=4 } else { kind..=kind };
        let mut all = Vec::new();
        for kind in kinds {
            let mut before = revision::Head::default();
            loop {
                let after = before.seq;
                let rows = store::revision::chain(&shop.db, kind, object_id, after, CHUNK).await?;
                if rows.is_empty() {
                    break;
                }
                for row in &rows {
                    sound(shop, row, &before)?;
                    before = head_of(row);
                }
                all.extend(rows);
            }
        }
        if !page.ascending {
            all.reverse();
        }
        let (_, last) = page.edge();
        let seen = all.iter().position(|row| row.revision_id == last);
        let seen = seen.map_or(0, |place| place + 1);
        let (from, to) = span.ends();
        let within = |row: &revision::Row| row.created >= from && row.created < to;
        let skip = usize::try_from(page.skip).unwrap_or(usize::MAX);
        let limit = usize::try_from(page.limit).unwrap_or(0);
        let rest = all.into_iter().skip(seen).filter(within);
        Ok(rest.skip(skip).take(limit).collect())
    }

    /// Journals that somebody read what is or may be personal.
    pub(crate) async fn journal_read(
        &self,
        who: &Who,
        kind: &'static str,
        id: &str,
    ) -> Result<(), Error> {
        let entry = entry("consent.data.read", kind, id, json!({}));
        Ok(self.journal().record(&who.origin, entry).await?)
    }
}
