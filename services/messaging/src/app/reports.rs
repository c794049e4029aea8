//! What providers of short messages report: proven, read, and handed to the desk that takes in the
//! receipts of message centres too.

use std::collections::HashMap;

use publica_proto::messaging::v1 as api;
use tokio::sync::oneshot;

use super::{App, Who};
use crate::domain::envelope::{Code, Violation};
use crate::error::Error;
use crate::smpp::{Ack, Content, Incoming};

const BODY_MAX: usize = 256 * 1024;
const HEADERS_MAX: usize = 64;

impl App {
    /// Takes in a report; what it tells is durable when this returns.
    pub(crate) async fn receive_sms_report(
        &self,
        who: &Who,
        message: &api::ReceiveSmsReportRequest,
    ) -> Result<api::ReceiveSmsReportResponse, Error> {
        check(message)?;
        let lines = self.inner.parts.providers.iter();
        let found = lines
            .map(|line| &line.provider)
            .find(|one| one.name == message.provider);
        let header = |name: &str| message.headers.get(name).map(String::as_str);
        let genuine = found.filter(|one| one.is_genuine(&message.body, header));
        let Some(provider) = genuine else {
            // Their number is free to choose, so they are counted and leave nothing else.
            metrics::counter!("publica_messaging_forged_reports_total").increment(1);
            return Ok(answer(api::ReportVerdict::Refused));
        };
        let Ok(receipts) = provider.receipts(&message.body, is_form(&message.headers)) else {
            tracing::warn!(?provider, "a report of a provider cannot be read");
            return Ok(answer(api::ReportVerdict::Unreadable));
        };
        let house = self.house(&who.origin.tenant).await?;
        let mut waiting = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            let (sender, receiver) = oneshot::channel();
            let incoming = Incoming {
                centre: provider.name.clone(),
                content: Content::Receipt(receipt),
                ack: Ack::call(sender),
            };
            if !house.sms.bring(incoming).await {
                return Err(Error::NotNow);
            }
            waiting.push(receiver);
        }
        for receiver in waiting {
            if !receiver.await.unwrap_or(false) {
                return Err(Error::NotNow);
            }
        }
        Ok(answer(api::ReportVerdict::Taken))
    }
}

fn answer(verdict: api::ReportVerdict) -> api::ReceiveSmsReportResponse {
    api::ReceiveSmsReportResponse {
        verdict: verdict.into(),
    }
}

fn is_form(headers: &HashMap<String, String>) -> bool {
    let kind = headers.get("content-type").map(String::as_str);
    kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

fn check(message: &api::ReceiveSmsReportRequest) -> Result<(), Error> {
    let refuse = |path: &str, why: &str| {
        let violation = Violation::new(Code::SchemaViolation, path, why);
        Err(Error::Unsound(vec![violation]))
    };
    if message.body.len() > BODY_MAX {
        return refuse("body", "is larger than 256 KiB");
    }
    if message.headers.len() > HEADERS_MAX {
        return refuse("headers", "are more than 64");
    }
    Ok(())
}
