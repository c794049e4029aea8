//! `camt.053` and `camt.054`: what an account saw.

use std::collections::BTreeSet;

use publica_types::{Currency, Money, Timestamp, Uuid};

use super::xml::{Visit, walk};
use super::{Fault, ID_CHARS, OTHER_REASON, count, day, id, money, reason, time, wrong};

/// The most bookings in one file.
const MOST: usize = 1_000_000;
const MOST_SHEETS: usize = 1_000;

/// A file: one sheet an account and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) id: String,
    pub(crate) sheets: Vec<Sheet>,
}

/// What one account saw in some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sheet {
    pub(crate) id: String,
    /// The account's, or that of its first booking.
    pub(crate) currency: Option<Currency>,
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) bookings: Vec<Booking>,
}

/// Money that went out or came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Booking {
    /// The bank's reference; empty if it gave none that can be used.
    pub(crate) reference: String,
    /// Nothing if the id cannot be one of ours.
    pub(crate) end_to_end_id: Option<Uuid>,
    /// The message whose payments were booked as one, and how many there were.
    pub(crate) whole: Option<(Uuid, usize)>,
    pub(crate) out: bool,
    pub(crate) amount: Money,
    pub(crate) at: Timestamp,
    /// Why it came back.
    pub(crate) reason_code: String,
}

#[derive(Debug, Default)]
struct Entry {
    amount: Option<Money>,
    direction: String,
    status: String,
    at: Option<Timestamp>,
    reference: String,
    batch: Option<Uuid>,
    batch_count: Option<usize>,
    payments: Vec<Payment>,
}

#[derive(Debug, Default)]
struct Payment {
    end_to_end_id: String,
    reference: String,
    direction: String,
    /// The amount of the booking, and others in order of how near they come to it.
    amounts: [Option<Money>; 3],
    reason: Option<String>,
}

#[derive(Debug, Default)]
struct Reading {
    id: String,
    sheets: Vec<Sheet>,
    sheet: Option<Sheet>,
    claimed: Option<usize>,
    entries: usize,
    bookings: usize,
    entry: Entry,
    payment: Payment,
}

pub(super) fn read(bytes: &[u8]) -> Result<Notice, Fault> {
    let mut reading = Reading::default();
    walk(bytes, &mut reading)?;
    Ok(Notice {
        id: id("GrpHdr/MsgId", &reading.id)?,
        sheets: reading.sheets,
    })
}

/// The path below a statement or notification, if it is one.
fn within(path: &str) -> Option<&str> {
    let rest = path
        .strip_prefix("BkToCstmrStmt/Stmt")
        .or_else(|| path.strip_prefix("BkToCstmrDbtCdtNtfctn/Ntfctn"))?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest),
        None => rest.is_empty().then_some(""),
    }
}

const PAYMENT: &str = "Ntry/NtryDtls/TxDtls";

impl Visit for Reading {
    fn open(&mut self, path: &str) -> Result<(), Fault> {
        match within(path) {
            Some("") => {
                if self.sheets.len() == MOST_SHEETS {
                    return Err(wrong("Stmt", "there are more than 1000"));
                }
                (self.claimed, self.entries) = (None, 0);
                self.sheet = Some(Sheet {
                    id: String::new(),
                    currency: None,
                    from: None,
                    to: None,
                    created: None,
                    bookings: Vec::new(),
                });
            }
            Some("Ntry") => self.entry = Entry::default(),
            Some(PAYMENT) => self.payment = Payment::default(),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, path: &str, text: &str, currency: &str) -> Result<(), Fault> {
        let Some(path) = within(path) else {
            if path.ends_with("/GrpHdr/MsgId") {
                text.clone_into(&mut self.id);
            }
            return Ok(());
        };
        if path.is_empty() {
            return self.end_sheet();
        }
        if path == "Ntry" {
            return self.end_entry();
        }
        match (path.strip_prefix(PAYMENT), path.strip_prefix("Ntry/")) {
            (Some(""), _) => self.end_payment(),
            (Some(rest), _) => self.payment.put(rest, text, currency),
            (None, Some(rest)) => self.entry.put(rest, text, currency),
            (None, None) => self.put(path, text),
        }
    }
}

impl Reading {
    /// A member of a sheet.
    fn put(&mut self, path: &str, text: &str) -> Result<(), Fault> {
        let Some(sheet) = &mut self.sheet else {
            return Ok(());
        };
        match path {
            "Id" => sheet.id = id("Stmt/Id", text)?,
            "CreDtTm" => sheet.created = Some(time("CreDtTm", text)?),
            "FrToDt/FrDtTm" => sheet.from = Some(time("FrToDt/FrDtTm", text)?),
            "FrToDt/ToDtTm" => sheet.to = Some(time("FrToDt/ToDtTm", text)?),
            "Acct/Ccy" => {
                let known = text.parse();
                sheet.currency = Some(known.map_err(|_| wrong("Acct/Ccy", "is no currency"))?);
            }
            "TxsSummry/TtlNtries/NbOfNtries" => {
                self.claimed = Some(count("TxsSummry/TtlNtries/NbOfNtries", text)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn end_payment(&mut self) -> Result<(), Fault> {
        self.bookings += 1;
        if self.bookings > MOST {
            return Err(wrong("TxDtls", "there are more than 1000000"));
        }
        self.entry.payments.push(std::mem::take(&mut self.payment));
        Ok(())
    }

    fn end_entry(&mut self) -> Result<(), Fault> {
        let entry = std::mem::take(&mut self.entry);
        (self.entries, self.bookings) = (self.entries + 1, self.bookings + 1);
        if self.bookings > MOST {
            return Err(wrong("Ntry", "there are more than 1000000"));
        }
        // What is pending or for information moved nothing yet.
        if entry.status != "BOOK" {
            return Ok(());
        }
        let Some(sheet) = &mut self.sheet else {
            return Ok(());
        };
        let bookings = entry.bookings()?;
        if sheet.currency.is_none() {
            sheet.currency = bookings.first().map(|booking| booking.amount.currency);
        }
        sheet.bookings.extend(bookings);
        Ok(())
    }

    fn end_sheet(&mut self) -> Result<(), Fault> {
        // A file that was cut short and mended would have fewer.
        if self.claimed.is_some_and(|claimed| claimed != self.entries) {
            let field = "TxsSummry/TtlNtries/NbOfNtries";
            return Err(wrong(field, "is not the number of entries"));
        }
        let Some(sheet) = self.sheet.take() else {
            return Ok(());
        };
        if sheet.id.is_empty() {
            return Err(wrong("Stmt/Id", "is required"));
        }
        self.sheets.push(sheet);
        Ok(())
    }
}

impl Entry {
    fn put(&mut self, path: &str, text: &str, currency: &str) -> Result<(), Fault> {
        match path {
            "Amt" => self.amount = Some(money("Ntry/Amt", text, currency)?),
            "CdtDbtInd" => text.clone_into(&mut self.direction),
            // A code by itself until version 07, one of two kinds afterwards.
            "Sts" if !text.is_empty() => text.clone_into(&mut self.status),
            "Sts/Cd" => text.clone_into(&mut self.status),
            "BookgDt/Dt" => self.at = Some(day("Ntry/BookgDt/Dt", text)?),
            "BookgDt/DtTm" => self.at = Some(time("Ntry/BookgDt/DtTm", text)?),
            "AcctSvcrRef" => text.clone_into(&mut self.reference),
            "NtryDtls/Btch/PmtInfId" => self.batch = text.parse().ok().or(self.batch),
            "NtryDtls/Btch/MsgId" if self.batch.is_none() => self.batch = text.parse().ok(),
            "NtryDtls/Btch/NbOfTxs" => {
                self.batch_count = Some(count("NtryDtls/Btch/NbOfTxs", text)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// What an entry shows, payment by payment.
    fn bookings(self) -> Result<Vec<Booking>, Fault> {
        let amount = self.amount.ok_or(wrong("Ntry/Amt", "is required"))?;
        let at = self.at.ok_or(wrong("Ntry/BookgDt", "is required"))?;
        let out = debit("Ntry/CdtDbtInd", &self.direction)?;
        let single = self.payments.len() <= 1;
        let booking = |payment: Payment| {
            let amounts = payment.amounts.into_iter().flatten().next();
            let amount = match (amounts, single) {
                // All of the entry is about this payment.
                (_, true) => amount,
                (Some(amount), false) => amount,
                (None, false) => return Err(wrong("TxDtls/Amt", "is required")),
            };
            let reference = match (payment.reference.is_empty(), single) {
                (false, _) => payment.reference,
                (true, true) => self.reference.clone(),
                (true, false) => String::new(),
            };
            let out = match payment.direction.as_str() {
                "" => out,
                direction => debit("TxDtls/CdtDbtInd", direction)?,
            };
            Ok(Booking {
                reference: usable(reference),
                end_to_end_id: payment.end_to_end_id.parse().ok(),
                whole: None,
                out,
                amount,
                at,
                reason_code: payment.reason.unwrap_or_else(|| OTHER_REASON.to_owned()),
            })
        };
        if self.payments.is_empty() {
            let mut all = booking(Payment::default())?;
            all.whole = self.batch.zip(self.batch_count);
            return Ok(vec![all]);
        }
        self.payments.into_iter().map(booking).collect()
    }
}

impl Payment {
    fn put(&mut self, path: &str, text: &str, currency: &str) -> Result<(), Fault> {
        match path {
            "/Refs/EndToEndId" => text.clone_into(&mut self.end_to_end_id),
            "/Refs/AcctSvcrRef" => text.clone_into(&mut self.reference),
            "/CdtDbtInd" => text.clone_into(&mut self.direction),
            "/Amt" => self.amounts[0] = Some(money("TxDtls/Amt", text, currency)?),
            "/AmtDtls/TxAmt/Amt" => {
                self.amounts[1] = Some(money("TxDtls/AmtDtls/TxAmt/Amt", text, currency)?);
            }
            "/AmtDtls/InstdAmt/Amt" => {
                self.amounts[2] = Some(money("TxDtls/AmtDtls/InstdAmt/Amt", text, currency)?);
            }
            "/RtrInf/Rsn/Cd" => self.reason = Some(reason(text)),
            _ => {}
        }
        Ok(())
    }
}

fn debit(field: &'static str, text: &str) -> Result<bool, Fault> {
    match text {
        "DBIT" => Ok(true),
        "CRDT" => Ok(false),
        _ => Err(wrong(field, "must be DBIT or CRDT")),
    }
}

/// A reference that can be stored as one; none if it cannot.
fn usable(reference: String) -> String {
    let fits = reference.chars().count() <= ID_CHARS && !reference.chars().any(char::is_control);
    if fits { reference } else { String::new() }
}

impl Sheet {
    /// The time that the sheet is about: as it says, and wide enough for all that it shows.
    pub(crate) fn period(&self) -> Option<(Timestamp, Timestamp)> {
        const DAY: std::time::Duration = std::time::Duration::from_hours(24);
        let first = self.bookings.iter().map(|booking| booking.at).min();
        let last = self.bookings.iter().map(|booking| booking.at).max();
        let from = [self.from, first].into_iter().flatten().min();
        let from = from.or(self.created)?;
        // A booking by its day only may be of any moment of it.
        let last = last.map(|at| at.plus(DAY));
        let to = [self.to, last].into_iter().flatten().max();
        let to = to.unwrap_or(from).max(from.plus(DAY));
        Some((from, to))
    }

    /// A reference for each booking that no other has.
    pub(crate) fn references(&self) -> Vec<String> {
        let mut used = BTreeSet::new();
        let number = |(at, booking): (usize, &Booking)| {
            let given = booking.reference.trim();
            if !given.is_empty() && used.insert(given.to_owned()) {
                return given.to_owned();
            }
            let mut made = format!("#{}", at + 1);
            while !used.insert(made.clone()) {
                made.push('#');
            }
            made
        };
        self.bookings.iter().enumerate().map(number).collect()
    }
}
