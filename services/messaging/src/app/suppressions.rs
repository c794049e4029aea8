//! Addresses that must not be written to.

use publica_journal::{Call, Entry};
use publica_proto::messaging::v1 as api;
use publica_rpc::{PageToken, from_timestamp, page_size, timestamp};
use publica_types::{Origin, Uuid};
use serde_json::json;

use super::{App, Who};
use crate::domain::address::Mailbox;
use crate::domain::envelope::{Code, Violation, is_name};
use crate::domain::phone;
use crate::error::Error;
use crate::store::suppression::{self, OPT_OUT, SuppressionRow};

const TOKEN_MAX: usize = 512;

impl App {
    /// What is in force for an address.
    pub(crate) async fn check_address(
        &self,
        who: &Who,
        address: &str,
    ) -> Result<api::CheckAddressResponse, Error> {
        let contact = contact(address)?;
        let house = self.house(&who.origin.tenant).await?;
        let hash = house.vault.address_hash(&contact);
        let rows = suppression::in_force(&house.db, &[hash], self.now()).await?;
        Ok(api::CheckAddressResponse {
            suppressions: rows.into_iter().map(to_proto).collect(),
        })
    }

    /// All suppressions in force.
    pub(crate) async fn list_suppressions(
        &self,
        who: &Who,
        message: &api::ListSuppressionsRequest,
    ) -> Result<api::ListSuppressionsResponse, Error> {
        let size = page_size(message.page_size, 100, 1_000)?;
        let after: Option<Uuid> = PageToken::decode(&(), &message.page_token)?;
        let house = self.house(&who.origin.tenant).await?;
        let after = after.unwrap_or(Uuid::nil());
        let mut rows = suppression::list(&house.db, after, self.now(), size + 1).await?;
        let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > size;
        rows.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let next = match rows.last() {
            Some(last) if more => PageToken::encode(&(), &last.suppression_id),
            _ => String::new(),
        };
        Ok(api::ListSuppressionsResponse {
            suppressions: rows.into_iter().map(to_proto).collect(),
            next_page_token: next,
        })
    }

    /// Holds an address back.
    pub(crate) async fn create_suppression(
        &self,
        who: &Who,
        message: api::CreateSuppressionRequest,
    ) -> Result<api::CreateSuppressionResponse, Error> {
        let fingerprint = publica_journal::fingerprint(&message);
        let contact = contact(&message.address)?;
        let reason = i64::from(message.reason);
        let expires_at = message
            .expire_time
            .as_ref()
            .map(|time| from_timestamp("expire_time", time));
        let sound = message.category.is_empty() || is_name(&message.category, 64);
        if !(1..=4).contains(&reason) || !sound {
            let path = if sound { "reason" } else { "category" };
            return Err(Error::Unsound(vec![Violation::new(
                Code::SchemaViolation,
                path,
                "is not one that can be given",
            )]));
        }
        let house = self.house(&who.origin.tenant).await?;
        let row = SuppressionRow {
            suppression_id: self.new_id(),
            address_hash: house.vault.address_hash(&contact),
            category: message.category,
            reason,
            created_at: self.now(),
            expires_at: expires_at.transpose()?,
        };
        let call = Call {
            name: "messaging.create_suppression",
            origin: &who.origin,
            rpc: "/publica.messaging.v1.SuppressionService/CreateSuppression",
            request_id: Some(message.request_id),
            fingerprint,
        };
        let input: (Origin, SuppressionRow) = (who.origin.clone(), row);
        publica_journal::write(&house.db, call, input, |tx, (origin, row)| {
            Box::pin(async move {
                suppression::insert(tx, row).await?;
                let entry = Entry::new("messaging.suppression.created")
                    .subject("suppression", row.suppression_id)
                    .body(json!({ "category": row.category, "reason": row.reason }));
                publica_journal::append(tx, origin, entry);
                Ok(api::CreateSuppressionResponse {
                    suppression: Some(to_proto(row.clone())),
                })
            })
        })
        .await
    }

    /// Opts a recipient out of what the link in their mail is about.
    pub(crate) async fn unsubscribe(
        &self,
        who: &Who,
        token: &str,
    ) -> Result<api::UnsubscribeResponse, Error> {
        let house = self.house(&who.origin.tenant).await?;
        let known = (1..=TOKEN_MAX).contains(&token.len());
        let opened = known.then(|| house.vault.open_unsubscribe_token(token));
        let (address_hash, category) = opened.flatten().ok_or(Error::UnknownSubscription)?;
        let row = SuppressionRow {
            suppression_id: self.new_id(),
            address_hash,
            category: category.clone(),
            reason: OPT_OUT,
            created_at: self.now(),
            expires_at: None,
        };
        let input = (who.origin.clone(), row);
        let ended = house
            .db
            .write("messaging.unsubscribe", input, |tx, (origin, row)| {
                Box::pin(async move {
                    let (hash, category) = (&row.address_hash, &row.category);
                    if suppression::same(tx, hash, category, OPT_OUT).await? {
                        return Ok::<_, Error>(());
                    }
                    suppression::insert(tx, row).await?;
                    let entry = Entry::new("messaging.recipient.unsubscribed")
                        .subject("suppression", row.suppression_id)
                        .body(json!({ "category": category }));
                    publica_journal::append(tx, origin, entry);
                    Ok(())
                })
            });
        ended.await?;
        Ok(api::UnsubscribeResponse { category })
    }

    /// Lets an address through again.
    pub(crate) async fn lift_suppression(
        &self,
        who: &Who,
        message: api::LiftSuppressionRequest,
    ) -> Result<api::LiftSuppressionResponse, Error> {
        let fingerprint = publica_journal::fingerprint(&message);
        let length = message.justification.trim().chars().count();
        if !(1..=500).contains(&length) {
            return Err(Error::Unsound(vec![Violation::new(
                Code::SchemaViolation,
                "justification",
                "must have 1 to 500 characters",
            )]));
        }
        let id: Uuid = message
            .suppression_id
            .parse()
            .map_err(|_| Error::UnknownSuppression)?;
        let house = self.house(&who.origin.tenant).await?;
        let call = Call {
            name: "messaging.lift_suppression",
            origin: &who.origin,
            rpc: "/publica.messaging.v1.SuppressionService/LiftSuppression",
            request_id: Some(message.request_id),
            fingerprint,
        };
        let input = (who.origin.clone(), id, message.justification);
        publica_journal::write(&house.db, call, input, |tx, (origin, id, justification)| {
            Box::pin(async move {
                let row = suppression::find(tx, *id)
                    .await?
                    .ok_or(Error::UnknownSuppression)?;
                suppression::lift(tx, *id).await?;
                let entry = Entry::new("messaging.suppression.lifted")
                    .subject("suppression", id)
                    .body(json!({ "justification": justification }));
                publica_journal::append(tx, origin, entry);
                Ok(api::LiftSuppressionResponse {
                    suppression: Some(to_proto(row)),
                })
            })
        })
        .await
    }
}

/// A mail address, or a telephone number with its plus, in the form in which it is looked up.
fn contact(address: &str) -> Result<String, Error> {
    let read = if address.trim_start().starts_with('+') {
        phone::parse(address, "").map_err(|error| error.to_string())
    } else {
        let mailbox = Mailbox::parse(address);
        mailbox
            .map(|one| one.to_string())
            .map_err(|error| error.to_string())
    };
    read.map_err(|why| Error::Unsound(vec![Violation::new(Code::InvalidAddress, "address", why)]))
}

fn to_proto(row: SuppressionRow) -> api::Suppression {
    api::Suppression {
        suppression_id: row.suppression_id.to_string(),
        address_hash: hex::encode(&row.address_hash),
        category: row.category,
        reason: i32::try_from(row.reason).unwrap_or_default(),
        create_time: Some(timestamp(row.created_at)),
        expire_time: row.expires_at.map(timestamp),
    }
}
