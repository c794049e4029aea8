//! What became of a request, and stopping it.

use publica_journal::{Call, Entry};
use publica_proto::messaging::v1 as api;
use publica_rpc::{PageToken, page_size, timestamp};
use publica_types::{Origin, Uuid};

use super::{App, Who};
use crate::domain::counters::{Counters, State};
use crate::domain::envelope::Channel;
use crate::domain::uid;
use crate::error::Error;
use crate::store::operation;
use crate::store::request::{self, EventRow, RequestRow};

const EVENTS_DEFAULT: i32 = 100;
const EVENTS_MAX: i32 = 1_000;

/// Where a page of events ended.
type Cursor = (Uuid, i64, i64, i64);

impl App {
    /// The counters of a request.
    pub(crate) async fn status(
        &self,
        who: &Who,
        request_uid: &str,
        channel: api::MessageChannel,
    ) -> Result<(api::Counters, bool), Error> {
        let house = self.house(&who.origin.tenant).await?;
        let row = self.find_on(who, request_uid, channel).await?;
        let counters = request::counters(&house.db, &row).await?;
        Ok((to_proto(&counters), counters.is_complete()))
    }

    /// The steps of a request's messages.
    pub(crate) async fn events(
        &self,
        who: &Who,
        message: &api::ListEventsRequest,
    ) -> Result<api::ListEventsResponse, Error> {
        let size = page_size(message.page_size, EVENTS_DEFAULT, EVENTS_MAX)?;
        let after: Option<Cursor> = PageToken::decode(&message.request_uid, &message.page_token)?;
        let house = self.house(&who.origin.tenant).await?;
        let row = self.find(who, &message.request_uid).await?;
        let after = after.unwrap_or((Uuid::nil(), -1, -1, -1));
        let mut rows = request::events(&house.db, row.request_id, after, size + 1).await?;
        let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > size;
        rows.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let next = match rows.last() {
            Some(last) if more => {
                let cursor: Cursor = (last.chunk_id, last.pos, last.attempt, last.seq);
                PageToken::encode(&message.request_uid, &cursor)
            }
            _ => String::new(),
        };
        Ok(api::ListEventsResponse {
            events: rows.into_iter().map(event).collect(),
            next_page_token: next,
        })
    }

    /// Stops the messages of a request that were not sent yet.
    pub(crate) async fn cancel(
        &self,
        who: &Who,
        message: api::CancelRequestRequest,
    ) -> Result<api::CancelRequestResponse, Error> {
        let fingerprint = publica_journal::fingerprint(&message);
        let house = self.house(&who.origin.tenant).await?;
        let row = self.find(who, &message.request_uid).await?;
        let (id, channel) = (row.request_id, Channel::of_slot(row.lane));
        let call = Call {
            name: "messaging.cancel_request",
            origin: &who.origin,
            rpc: "/publica.messaging.v1.MessageService/CancelRequest",
            request_id: Some(message.request_id),
            fingerprint,
        };
        let input: (Origin, RequestRow) = (who.origin.clone(), row);
        let write = publica_journal::write(&house.db, call, input, |tx, (origin, row)| {
            Box::pin(async move {
                operation::delete_letters(tx, row.request_id).await?;
                if request::cancel(tx, row.request_id).await? {
                    let entry = Entry::new("messaging.request.cancelled")
                        .subject("message_request", &row.request_uid);
                    publica_journal::append(tx, origin, entry);
                }
                let mut counters = row.start();
                counters.add(&request::changes(tx, row.request_id).await?);
                Ok::<_, Error>(api::CancelRequestResponse {
                    counters: Some(to_proto(&counters)),
                })
            })
        });
        let response = write.await?;
        house.engine_of(channel).cancel(id).await?;
        Ok(response)
    }

    /// A request by its handle.
    pub(super) async fn find(&self, who: &Who, request_uid: &str) -> Result<RequestRow, Error> {
        let request_uid = request_uid.trim();
        if !uid::is_request_uid(request_uid) {
            return Err(Error::UnknownRequest);
        }
        let house = self.house(&who.origin.tenant).await?;
        request::by_uid(&house.db, request_uid)
            .await?
            .ok_or(Error::UnknownRequest)
    }

    /// A request by its handle, if it is of a channel. Of another one it is as good as none.
    pub(super) async fn find_on(
        &self,
        who: &Who,
        request_uid: &str,
        channel: api::MessageChannel,
    ) -> Result<RequestRow, Error> {
        let row = self.find(who, request_uid).await?;
        let fits = match channel {
            api::MessageChannel::Unspecified => true,
            api::MessageChannel::Email => Channel::of_slot(row.lane) == Channel::Email,
            api::MessageChannel::Sms => Channel::of_slot(row.lane) == Channel::Sms,
        };
        if fits {
            Ok(row)
        } else {
            Err(Error::UnknownRequest)
        }
    }
}

pub(super) fn to_proto(counters: &Counters) -> api::Counters {
    api::Counters {
        scheduled: counters.of(State::Scheduled),
        processing: counters.of(State::Processing),
        deferred: counters.of(State::Deferred),
        bounced: counters.of(State::Bounced),
        not_sent: counters.of(State::NotSent),
        delivered: counters.of(State::Delivered),
        total: counters.total(),
    }
}

/// A state by its stored number.
pub(super) fn state(number: i64) -> api::MessageState {
    match State::from_number(number) {
        Some(State::Scheduled) => api::MessageState::Scheduled,
        Some(State::Processing) => api::MessageState::Processing,
        Some(State::Deferred) => api::MessageState::Deferred,
        Some(State::Bounced) => api::MessageState::Bounced,
        Some(State::NotSent) => api::MessageState::NotSent,
        Some(State::Delivered) => api::MessageState::Delivered,
        None => api::MessageState::Unspecified,
    }
}

fn event(row: EventRow) -> api::MessageEvent {
    api::MessageEvent {
        message_id: uid::message_id(row.chunk_id, row.pos),
        attempt: i32::try_from(row.attempt).unwrap_or(i32::MAX),
        state: state(row.state).into(),
        code: i32::try_from(row.code).unwrap_or_default(),
        reason: row.reason,
        event_time: Some(timestamp(row.at)),
    }
}
