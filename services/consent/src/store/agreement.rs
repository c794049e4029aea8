//! Data agreements.

use prost::Message as _;
use publica_proto::consent::v1 as pb;
use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

use super::{Page, Span, decode};
use crate::domain::purpose;

statements! {
    INSERT = "INSERT INTO agreement (agreement_id, body, lifecycle, active, forgettable, \
              purpose, purpose_code, policy_id, lawful_basis, author, revision_id, \
              approved_revision_id, approved_by, published_revision_id, published_purpose, \
              published_purpose_code, created, updated) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
              $17, $18) ON CONFLICT (agreement_id) DO NOTHING",
    FIND = "SELECT agreement_id, body, lifecycle, author, revision_id, approved_revision_id, \
            approved_by, published_revision_id, published_purpose, published_purpose_code, \
            created, updated FROM agreement WHERE agreement_id = $1",
    // Writers of one agreement wait for each other; SQLite has one writer anyway.
    LOCK = {
        sqlite: "SELECT agreement_id, body, lifecycle, author, revision_id, \
                 approved_revision_id, approved_by, published_revision_id, published_purpose, \
                 published_purpose_code, created, updated \
                 FROM agreement WHERE agreement_id = $1",
        postgres: "SELECT agreement_id, body, lifecycle, author, revision_id, \
                   approved_revision_id, approved_by, published_revision_id, \
                   published_purpose, published_purpose_code, created, updated \
                   FROM agreement WHERE agreement_id = $1 FOR UPDATE",
    },
    UPDATE = "UPDATE agreement SET body = $2, lifecycle = $3, active = $4, forgettable = $5, \
              purpose = $6, purpose_code = $7, policy_id = $8, lawful_basis = $9, \
              author = $10, revision_id = $11, approved_revision_id = $12, approved_by = $13, \
              published_revision_id = $14, published_purpose = $15, \
              published_purpose_code = $16, updated = $17 WHERE agreement_id = $1",
    LIST = "SELECT agreement_id, body, lifecycle, author, revision_id, approved_revision_id, \
            approved_by, published_revision_id, published_purpose, published_purpose_code, \
            created, updated FROM agreement \
            WHERE (created, agreement_id) < ($1, $2) AND created >= $3 AND created < $4 \
            AND ($5 = 0 OR lifecycle = $5) AND (CAST($6 AS BOOLEAN) IS NULL OR active = $6) \
            AND ($7 = '' OR policy_id = $7) \
            AND ($8 = '' OR purpose = $8 OR purpose_code = $8) \
            AND (NOT $9 OR published_revision_id <> '') \
            ORDER BY created DESC, agreement_id DESC LIMIT $10 OFFSET $11",
    LIST_ASCENDING = "SELECT agreement_id, body, lifecycle, author, revision_id, \
            approved_revision_id, approved_by, published_revision_id, published_purpose, \
            published_purpose_code, created, updated FROM agreement \
            WHERE (created, agreement_id) > ($1, $2) AND created >= $3 AND created < $4 \
            AND ($5 = 0 OR lifecycle = $5) AND (CAST($6 AS BOOLEAN) IS NULL OR active = $6) \
            AND ($7 = '' OR policy_id = $7) \
            AND ($8 = '' OR purpose = $8 OR purpose_code = $8) \
            AND (NOT $9 OR published_revision_id <> '') \
            ORDER BY created, agreement_id LIMIT $10 OFFSET $11",
    COUNT = "SELECT COUNT(*) FROM agreement \
            WHERE created >= $1 AND created < $2 \
            AND ($3 = 0 OR lifecycle = $3) AND (CAST($4 AS BOOLEAN) IS NULL OR active = $4) \
            AND ($5 = '' OR policy_id = $5) \
            AND ($6 = '' OR purpose = $6 OR purpose_code = $6) \
            AND (NOT $7 OR published_revision_id <> '')",
    // Drafts do not hold a policy back; a published agreement that is active does.
    OF_POLICY = "SELECT agreement_id FROM agreement \
            WHERE policy_id = $1 AND active AND lifecycle = $2 ORDER BY agreement_id LIMIT 20",
    // Each engine unpacks lists in its own way.
    STALE = {
        sqlite: "SELECT COUNT(*) FROM consent_record WHERE agreement_id = $1 AND is_current \
                 AND agreement_revision_id NOT IN (SELECT value FROM jsonb_each($2))",
        postgres: "SELECT COUNT(*) FROM consent_record WHERE agreement_id = $1 \
                   AND is_current AND agreement_revision_id <> ALL ($2::TEXT[])",
    },
}

/// An agreement as it is stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) agreement_id: String,
    pub(crate) body: Vec<u8>,
    pub(crate) lifecycle: i64,
    pub(crate) author: String,
    pub(crate) revision_id: String,
    pub(crate) approved_revision_id: String,
    pub(crate) approved_by: String,
    pub(crate) published_revision_id: String,
    pub(crate) published_purpose: String,
    pub(crate) published_purpose_code: String,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

impl Row {
    /// The stage of life.
    pub(crate) fn lifecycle(&self) -> pb::AgreementLifecycle {
        lifecycle(self.lifecycle)
    }

    /// The latest text with what the server adds.
    pub(crate) fn agreement(&self) -> Result<pb::DataAgreement, StoreError> {
        let mut agreement: pb::DataAgreement = decode(&self.body)?;
        self.stamp(&mut agreement);
        agreement.revision_id.clone_from(&self.revision_id);
        let published = self.revision_id == self.published_revision_id;
        if self.lifecycle() == pb::AgreementLifecycle::Complete && !published {
            agreement.lifecycle = pb::AgreementLifecycle::Draft.into();
        }
        Ok(agreement)
    }

    /// A write of another text that keeps all else as it is.
    pub(crate) fn keeping<'a>(
        &'a self,
        agreement: &'a pb::DataAgreement,
        revision_id: &'a str,
        now: Timestamp,
    ) -> Write<'a> {
        Write {
            agreement,
            author: &self.author,
            revision_id,
            approved: (&self.approved_revision_id, &self.approved_by),
            published: (
                &self.published_revision_id,
                &self.published_purpose,
                &self.published_purpose_code,
            ),
            created: self.created,
            now,
        }
    }

    /// Adds what is true of the agreement whichever text is shown.
    pub(crate) fn stamp(&self, agreement: &mut pb::DataAgreement) {
        agreement.data_agreement_id.clone_from(&self.agreement_id);
        agreement.lifecycle = self.lifecycle().into();
        agreement
            .published_revision_id
            .clone_from(&self.published_revision_id);
        agreement.create_time = Some(publica_rpc::timestamp(self.created));
        agreement.update_time = Some(publica_rpc::timestamp(self.updated));
    }
}

/// The stage of life that a number stands for.
pub(crate) fn lifecycle(stored: i64) -> pb::AgreementLifecycle {
    i32::try_from(stored)
        .ok()
        .and_then(|n| n.try_into().ok())
        .unwrap_or_default()
}

/// What is written of an agreement.
#[derive(Debug, Clone)]
pub(crate) struct Write<'a> {
    pub(crate) agreement: &'a pb::DataAgreement,
    pub(crate) author: &'a str,
    pub(crate) revision_id: &'a str,
    pub(crate) approved: (&'a str, &'a str),
    pub(crate) published: (&'a str, &'a str, &'a str),
    pub(crate) created: Timestamp,
    pub(crate) now: Timestamp,
}

macro_rules! bind_write {
    ($query:expr, $write:ident) => {{
        let agreement = $write.agreement;
        $query
            .bind(agreement.data_agreement_id.as_str())
            .bind(agreement.encode_to_vec())
            .bind(i64::from(agreement.lifecycle))
            .bind(agreement.active.unwrap_or(true))
            .bind(agreement.forgettable.unwrap_or(false))
            .bind(agreement.purpose.as_str())
            .bind(agreement.purpose_code.as_str())
            .bind(agreement.policy_id.as_str())
            .bind(i64::from(agreement.lawful_basis))
            .bind($write.author)
            .bind($write.revision_id)
            .bind($write.approved.0)
            .bind($write.approved.1)
            .bind($write.published.0)
            .bind($write.published.1)
            // Checks look for it in the one form in which codes are compared.
            .bind(purpose::canonical($write.published.2))
    }};
}

/// Stores a new agreement; false when the id is in use.
pub(crate) async fn insert(tx: &mut Tx<'_>, write: &Write<'_>) -> Result<bool, StoreError> {
    let query = bind_write!(tx.query(INSERT), write);
    Ok(query.bind(write.created).bind(write.now).execute().await? == 1)
}

/// Stores new content.
pub(crate) async fn update(tx: &mut Tx<'_>, write: &Write<'_>) -> Result<(), StoreError> {
    let query = bind_write!(tx.query(UPDATE), write);
    query.bind(write.now).execute().await?;
    Ok(())
}

/// An agreement.
pub(crate) async fn find(db: &Db, agreement_id: &str) -> Result<Option<Row>, StoreError> {
    db.query(FIND).bind(agreement_id).fetch_optional().await
}

/// An agreement, read within a unit.
pub(crate) async fn find_in(
    tx: &mut Tx<'_>,
    agreement_id: &str,
) -> Result<Option<Row>, StoreError> {
    tx.query(FIND).bind(agreement_id).fetch_optional().await
}

/// An agreement that is about to change.
pub(crate) async fn lock(tx: &mut Tx<'_>, agreement_id: &str) -> Result<Option<Row>, StoreError> {
    tx.query(LOCK).bind(agreement_id).fetch_optional().await
}

/// Which agreements a list shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) lifecycle: i32,
    pub(crate) active: Option<bool>,
    pub(crate) policy_id: String,
    pub(crate) purpose: String,
    pub(crate) published: bool,
    pub(crate) span: Span,
}

/// A page of agreements.
pub(crate) async fn list(db: &Db, filter: &Filter, page: &Page) -> Result<Vec<Row>, StoreError> {
    let ((at, id), (from, to)) = (page.edge(), filter.span.ends());
    let sql = if page.ascending { LIST_ASCENDING } else { LIST };
    db.query(sql)
        .bind(at)
        .bind(id)
        .bind(from)
        .bind(to)
        .bind(i64::from(filter.lifecycle))
        .bind(filter.active)
        .bind(filter.policy_id.as_str())
        .bind(filter.purpose.as_str())
        .bind(filter.published)
        .bind(page.limit)
        .bind(page.skip)
        .fetch_all()
        .await
}

/// How many agreements a list shows.
pub(crate) async fn count(db: &Db, filter: &Filter) -> Result<i64, StoreError> {
    let (from, to) = filter.span.ends();
    db.query(COUNT)
        .bind(from)
        .bind(to)
        .bind(i64::from(filter.lifecycle))
        .bind(filter.active)
        .bind(filter.policy_id.as_str())
        .bind(filter.purpose.as_str())
        .bind(filter.published)
        .fetch_scalar()
        .await
}

/// Published and active agreements under a policy; at most twenty.
pub(crate) async fn of_policy(tx: &mut Tx<'_>, policy_id: &str) -> Result<Vec<String>, StoreError> {
    let complete = i64::from(pb::AgreementLifecycle::Complete as i32);
    tx.query(OF_POLICY)
        .bind(policy_id)
        .bind(complete)
        .fetch_scalars()
        .await
}

/// Current answers to none of these revisions.
pub(crate) async fn stale(
    tx: &mut Tx<'_>,
    agreement_id: &str,
    revisions: &[String],
) -> Result<i64, StoreError> {
    tx.query(STALE)
        .bind(agreement_id)
        .bind_list(revisions)
        .fetch_scalar()
        .await
}
