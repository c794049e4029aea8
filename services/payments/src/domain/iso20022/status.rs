//! `pain.002`: what a bank says of payments that it was sent.

use publica_types::{Money, Uuid};

use super::xml::{Visit, walk};
use super::{Fault, id, money, reason, wrong};

/// The most payments that one report is about.
const MOST: usize = 1_000_000;

/// What a bank says of a payment, or of all of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It was booked: `ACSC`, `ACCC`.
    Settled,
    /// It will not be made: `RJCT`, `CANC`.
    Rejected { reason_code: String },
    /// It may still be made or not: `ACCP`, `ACSP`, `PDNG` and all others.
    Pending,
}

/// What is said of one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payment {
    /// Nothing if the id cannot be one of ours.
    pub(crate) end_to_end_id: Option<Uuid>,
    pub(crate) said: Said,
    /// The amount as it was ordered, if the bank repeats it.
    pub(crate) amount: Option<Money>,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) id: String,
    /// The message that it is about, if the id can be one of ours.
    pub(crate) original: Option<Uuid>,
    /// What is said of all of its payments that are not named.
    pub(crate) group: Said,
    pub(crate) payments: Vec<Payment>,
}

#[derive(Debug, Default)]
struct Status {
    code: String,
    reason: String,
}

impl Status {
    fn said(&self, field: &'static str) -> Result<Said, Fault> {
        match self.code.as_str() {
            "ACSC" | "ACCC" => Ok(Said::Settled),
            "RJCT" | "CANC" => Ok(Said::Rejected {
                reason_code: reason(&self.reason),
            }),
            code if code.len() <= 4 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Ok(Said::Pending)
            }
            _ => Err(wrong(field, "is no status")),
        }
    }
}

#[derive(Debug, Default)]
struct Reading {
    id: String,
    original: Option<Uuid>,
    group: Status,
    /// The status of the part that is being read.
    part: Status,
    parts: Vec<Said>,
    end_to_end_id: String,
    status: Status,
    amount: Option<Money>,
    payments: Vec<Payment>,
}

const ROOT: &str = "CstmrPmtStsRpt/";
const GROUP: &str = "OrgnlGrpInfAndSts";
const PART: &str = "OrgnlPmtInfAndSts";
const PAYMENT: &str = "OrgnlPmtInfAndSts/TxInfAndSts";

pub(super) fn read(bytes: &[u8]) -> Result<Report, Fault> {
    let mut reading = Reading::default();
    walk(bytes, &mut reading)?;
    let mut group = reading.group.said("GrpSts")?;
    // We send one part a message, so what is said of all of it is said of the message.
    if let ([part], Said::Pending) = (reading.parts.as_slice(), &group) {
        group = part.clone();
    }
    Ok(Report {
        id: id("GrpHdr/MsgId", &reading.id)?,
        original: reading.original,
        group,
        payments: reading.payments,
    })
}

impl Visit for Reading {
    fn open(&mut self, path: &str) -> Result<(), Fault> {
        match path.strip_prefix(ROOT).unwrap_or_default() {
            PART => self.part = Status::default(),
            PAYMENT => {
                (self.end_to_end_id, self.status) = (String::new(), Status::default());
                self.amount = None;
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, path: &str, text: &str, currency: &str) -> Result<(), Fault> {
        let path = path.strip_prefix(ROOT).unwrap_or_default();
        let (owner, rest) = match path.strip_prefix(PAYMENT) {
            Some(rest) => (PAYMENT, rest),
            None => match path.strip_prefix(PART) {
                Some(rest) => (PART, rest),
                None => match path.strip_prefix(GROUP) {
                    Some(rest) => (GROUP, rest),
                    None => ("", path),
                },
            },
        };
        match (owner, rest) {
            ("", "GrpHdr/MsgId") => text.clone_into(&mut self.id),
            (GROUP, "/OrgnlMsgId") => self.original = text.parse().ok(),
            (GROUP, "/GrpSts") => text.clone_into(&mut self.group.code),
            (GROUP, "/StsRsnInf/Rsn/Cd") => text.clone_into(&mut self.group.reason),
            (PART, "/PmtInfSts") => text.clone_into(&mut self.part.code),
            (PART, "/StsRsnInf/Rsn/Cd") => text.clone_into(&mut self.part.reason),
            (PART, "") => self.parts.push(self.part.said("PmtInfSts")?),
            (PAYMENT, "/OrgnlEndToEndId") => text.clone_into(&mut self.end_to_end_id),
            (PAYMENT, "/TxSts") => text.clone_into(&mut self.status.code),
            (PAYMENT, "/StsRsnInf/Rsn/Cd") => text.clone_into(&mut self.status.reason),
            (PAYMENT, "/OrgnlTxRef/Amt/InstdAmt") => {
                self.amount = Some(money("OrgnlTxRef/Amt/InstdAmt", text, currency)?);
            }
            (PAYMENT, "") => self.end()?,
            _ => {}
        }
        Ok(())
    }
}

impl Reading {
    fn end(&mut self) -> Result<(), Fault> {
        if self.payments.len() == MOST {
            return Err(wrong("TxInfAndSts", "there are more than 1000000"));
        }
        // A payment without a status of its own has that of its part.
        let status = match self.status.code.is_empty() {
            true => &self.part,
            false => &self.status,
        };
        self.payments.push(Payment {
            end_to_end_id: self.end_to_end_id.parse().ok(),
            said: status.said("TxSts")?,
            amount: self.amount.take(),
        });
        Ok(())
    }
}
