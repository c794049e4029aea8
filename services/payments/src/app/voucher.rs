//! Vouchers: issuing, activating, reading, suspending and cancelling.

use std::time::Duration;

use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, timestamp};
use publica_seal::Keyring;
use publica_store::Tx;
use publica_types::{Money, Origin, Timestamp};
use serde_json::json;

use crate::app::callback::{self, Content, Target, shapes};
use crate::app::release::posted;
use crate::app::{App, call, check_reason, check_short, entry, wire};
use crate::domain::currency;
use crate::domain::ids::GroupId;
use crate::domain::ledger::Refusal as LedgerRefusal;
use crate::domain::partner::Kind;
use crate::domain::voucher::{self, Refusal, State, digits, fresh_number};
use crate::error::Error;
use crate::sealed::NUMBER;
use crate::store::ledger;
use crate::store::programme;
use crate::store::voucher::{self as sql, GroupRow, NewVoucher, VoucherRow};

/// Under which voucher numbers are hashed and sealed.
/// Digits of a number that this block made.
const NUMBER_DIGITS: usize = 16;
const COMMENT_CHARS: usize = 1_024;

/// A voucher to issue.
pub(crate) struct Issue {
    origin: Origin,
    group: GroupId,
    amount: Money,
    amount_text: String,
    voucher_group: String,
    calling_block: String,
    number: String,
    number_hash: Vec<u8>,
    number_sealed: Vec<u8>,
    hold_until: Timestamp,
}

impl App {
    pub(crate) async fn preactivate_voucher(
        &self,
        origin: &Origin,
        mut request: pb::PreactivateVoucherRequest,
    ) -> Result<pb::PreactivateVoucherResponse, Error> {
        let block = &request.calling_block;
        self.speak(origin, Kind::Block, block).await?;
        let target = self.told(request.callback.take(), &request.calling_block)?;
        const RPC: &str = "/publica.payments.v1.VoucherService/PreactivateVoucher";
        let mut invalid = Invalid::new();
        check_short(&mut invalid, "comment", &request.comment, COMMENT_CHARS);
        invalid.check()?;
        let db = self.db(origin).await?;
        let (block, group) = (&request.calling_block, &request.voucher_group);
        let issue = self.new_issue(origin, block, &request.amount, &request.currency, group)?;
        let call = call(
            "payments.preactivate",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let keyring = self.keyring.clone();
        let input = (issue, keyring, target);
        let kept = write(&db, call, input, |tx, (issue, keyring, target)| {
            Box::pin(async move {
                let answer = issue_one(tx, issue).await?;
                if let Some(target) = target {
                    let name = format!("preactivated:{}", answer.serial_number);
                    let content = Content::Body(shapes::preactivated(&answer));
                    callback::post(tx, keyring, &issue.origin, &name, target, content).await?;
                }
                Ok::<_, Error>(answer)
            })
        })
        .await?;
        show(&self.keyring, kept)
    }

    /// Whom to tell about a voucher: version 1 wants it by PUT.
    pub(crate) fn told(
        &self,
        callback: Option<pb::Callback>,
        block: &str,
    ) -> Result<Option<Target>, Error> {
        Ok(self.target(callback, block)?.map(Target::by_put))
    }

    /// A voucher to issue, with a fresh number.
    pub(crate) fn new_issue(
        &self,
        origin: &Origin,
        calling_block: &str,
        amount: &str,
        currency: &str,
        voucher_group: &str,
    ) -> Result<Issue, Refusal> {
        // The amount is judged before its currency, of which it may have too many decimals.
        let rough = rough_amount(amount).ok_or(Refusal::AmountInvalid)?;
        let known = currency::known(currency).ok_or(Refusal::CurrencyInvalid)?;
        let minor = currency::amount(rough, known).ok_or(Refusal::AmountInvalid)?;
        let number = fresh_number(&*self.entropy);
        Ok(Issue {
            origin: origin.clone(),
            group: self.group(),
            amount: Money::new(minor, known),
            amount_text: amount.to_owned(),
            voucher_group: voucher_group.to_owned(),
            calling_block: calling_block.to_owned(),
            number_hash: self.keyring.lookup(NUMBER.name(), &number),
            number_sealed: self.keyring.seal_block(&NUMBER, number.as_bytes()),
            number,
            hold_until: self.clock.now().plus(self.config.voucher_hold()),
        })
    }

    pub(crate) async fn activate_voucher(
        &self,
        origin: &Origin,
        mut request: pb::ActivateVoucherRequest,
    ) -> Result<pb::ActivateVoucherResponse, Error> {
        let block = &request.calling_block;
        self.speak(origin, Kind::Block, block).await?;
        let target = self.told(request.callback.take(), &request.calling_block)?;
        let db = self.db(origin).await?;
        let validity = self.config.voucher_validity();
        let tell = (self.keyring.clone(), target);
        let input = (origin.clone(), request, validity, tell);
        db.write(
            "payments.activate",
            input,
            |tx, (origin, request, validity, tell)| {
                Box::pin(async move {
                    let (serial, block) = (request.serial_number.as_str(), &request.calling_block);
                    if !sql::knows_block(tx, block).await? {
                        return Err(Refusal::CallingBlockUnknown.into());
                    }
                    let expires_at = activate_one(tx, origin, serial, block, *validity).await?;
                    tell_done(tx, origin, tell, "activated", serial).await?;
                    Ok(pb::ActivateVoucherResponse {
                        expire_time: expires_at.map(timestamp),
                    })
                })
            },
        )
        .await
    }

    pub(crate) async fn get_voucher_status(
        &self,
        origin: &Origin,
        request: pb::GetVoucherStatusRequest,
    ) -> Result<pb::GetVoucherStatusResponse, Error> {
        let serial = request.serial_number;
        if !digits(&serial) {
            return Err(Refusal::SerialInvalid.into());
        }
        let db = self.db(origin).await?;
        let row = sql::find(&mut db.clone(), &serial).await?;
        // Every look at a voucher is on record before its answer leaves.
        let entry = entry("payments.voucher.read", "voucher", serial, json!({}));
        self.journal.record(origin, entry).await?;
        let Some(row) = row else {
            return Ok(pb::GetVoucherStatusResponse {
                state: pb::VoucherState::NotExisting.into(),
                amount: None,
                amount_text: "0".to_owned(),
            });
        };
        let state = match row.facts()?.state_at(self.clock.now()) {
            State::Consumed if !request.all_states => return Err(Refusal::Consumed.into()),
            State::Expired if !request.all_states => return Err(Refusal::Expired.into()),
            state => state,
        };
        Ok(pb::GetVoucherStatusResponse {
            state: wire::small(state.code()),
            amount: Some(pb::Money {
                currency: row.currency,
                amount_minor: row.amount_minor,
            }),
            amount_text: row.amount_text,
        })
    }

    pub(crate) async fn cancel_voucher(
        &self,
        origin: &Origin,
        mut request: pb::CancelVoucherRequest,
    ) -> Result<pb::CancelVoucherResponse, Error> {
        let block = &request.calling_block;
        self.speak(origin, Kind::Block, block).await?;
        let target = self.told(request.callback.take(), &request.calling_block)?;
        let db = self.db(origin).await?;
        let tell = (self.keyring.clone(), target);
        let input = (origin.clone(), request, self.group(), tell);
        db.write(
            "payments.cancel_voucher",
            input,
            |tx, (origin, request, group, tell)| {
                Box::pin(async move {
                    let (serial, block) = (request.serial_number.as_str(), &request.calling_block);
                    if !sql::knows_block(tx, block).await? {
                        return Err(
                            Refusal::NotCancellable("the building block is not known").into()
                        );
                    }
                    cancel_one(tx, origin, serial, block, *group).await?;
                    tell_done(tx, origin, tell, "cancelled", serial).await?;
                    Ok(pb::CancelVoucherResponse {})
                })
            },
        )
        .await
    }

    pub(crate) async fn suspend_voucher(
        &self,
        origin: &Origin,
        request: pb::SuspendVoucherRequest,
    ) -> Result<pb::SuspendVoucherResponse, Error> {
        const RPC: &str = "/publica.payments.v1.VoucherService/SuspendVoucher";
        check_reason(&request.reason)?;
        let call = call(
            "payments.suspend_voucher",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let db = self.db(origin).await?;
        write(
            &db,
            call,
            (origin.clone(), request),
            |tx, (origin, request)| {
                Box::pin(async move {
                    let serial = request.serial_number.as_str();
                    let (lift, reason) = (request.lift, request.reason.as_str());
                    let state = suspend_one(tx, origin, serial, lift, reason).await?;
                    Ok(pb::SuspendVoucherResponse {
                        state: wire::small(state.code()),
                    })
                })
            },
        )
        .await
    }
}

/// The published pattern of an amount: up to 18 digits, at most four decimals, no exponent.
fn rough_amount(text: &str) -> Option<&str> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let sound = (1..=23).contains(&text.len())
        && digits(whole)
        && digits(fraction)
        && whole.len() <= 18
        && fraction.len() <= 4
        && (whole == "0" || !whole.starts_with('0'));
    let zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    (sound && !zero).then_some(text)
}

/// Tells that something was done to a voucher, if somebody wants to know.
pub(crate) async fn tell_done(
    tx: &mut Tx<'_>,
    origin: &Origin,
    (keyring, target): &(Keyring, Option<Target>),
    what: &str,
    serial: &str,
) -> Result<(), Error> {
    let Some(target) = target else {
        return Ok(());
    };
    let (name, content) = (
        format!("{what}:{serial}"),
        shapes::voucher_done(what, serial),
    );
    callback::post(tx, keyring, origin, &name, target, Content::Body(content)).await
}

/// Activates a voucher and tells when it ends; one that is active already stays as it is.
pub(crate) async fn activate_one(
    tx: &mut Tx<'_>,
    origin: &Origin,
    serial: &str,
    block: &str,
    validity: Duration,
) -> Result<Option<Timestamp>, Error> {
    let row = match digits(serial) {
        true => sql::lock(tx, serial).await?,
        false => None,
    };
    let row = row.ok_or(Refusal::SerialInvalid)?;
    let now = tx.now();
    if !voucher::activate(&row.facts()?, block, now)? {
        return Ok(row.expires_at);
    }
    let expires_at = now.plus(validity);
    sql::set_state(tx, serial, State::Activated, Some(expires_at)).await?;
    append(
        tx,
        origin,
        entry("payments.voucher.activated", "voucher", serial, json!({})),
    );
    Ok(Some(expires_at))
}

/// Cancels a voucher and gives its value back.
pub(crate) async fn cancel_one(
    tx: &mut Tx<'_>,
    origin: &Origin,
    serial: &str,
    block: &str,
    group: GroupId,
) -> Result<(), Error> {
    let row = match digits(serial) {
        true => sql::lock(tx, serial).await?,
        false => None,
    };
    let row = row.ok_or(Refusal::NotCancellable("there is no such voucher"))?;
    voucher::cancel(&row.facts()?, block, tx.now())?;
    sql::set_state(tx, serial, State::Cancelled, row.expires_at).await?;
    give_back(tx, group, &row).await?;
    append(
        tx,
        origin,
        entry("payments.voucher.cancelled", "voucher", serial, json!({})),
    );
    Ok(())
}

/// Suspends a voucher, or lifts its suspension.
pub(crate) async fn suspend_one(
    tx: &mut Tx<'_>,
    origin: &Origin,
    serial: &str,
    lift: bool,
    reason: &str,
) -> Result<State, Error> {
    let row = sql::lock(tx, serial).await?;
    let row = row.ok_or(Error::not_found("voucher"))?;
    let state = suspension(&row, lift, tx.now())?;
    sql::set_state(tx, serial, state, row.expires_at).await?;
    let action = match lift {
        true => "payments.voucher.reactivated",
        false => "payments.voucher.suspended",
    };
    let body = json!({"reason": reason});
    append(tx, origin, entry(action, "voucher", serial, body));
    Ok(state)
}

pub(crate) async fn issue_one(
    tx: &mut Tx<'_>,
    issue: &Issue,
) -> Result<pb::PreactivateVoucherResponse, Error> {
    let group = sql::find_group(tx, &issue.voucher_group)
        .await?
        .ok_or(Refusal::GroupUnknown)?;
    if !sql::knows_block(tx, &issue.calling_block).await? {
        return Err(Refusal::CallingBlockUnknown.into());
    }
    if !sql::take_stock(tx, &group.name).await? {
        return Err(Refusal::GroupExhausted.into());
    }
    match fund(tx, issue, &group).await {
        Err(error @ Error::Voucher(_)) => {
            // Others may be issued in the same unit.
            sql::return_stock(tx, &group.name).await?;
            return Err(error);
        }
        other => other?,
    }
    let serial = sql::take_serials(tx, 1).await?.to_string();
    let new = NewVoucher {
        serial: serial.clone(),
        number_hash: Some(issue.number_hash.clone()),
        number_sealed: Some(issue.number_sealed.clone()),
        calling_block: issue.calling_block.clone(),
        voucher_group: group.name,
        currency: issue.amount.currency.to_string(),
        amount_minor: issue.amount.amount_minor,
        amount_text: issue.amount_text.clone(),
        state: State::Preactivated,
        hold_until: Some(issue.hold_until),
        expires_at: None,
        redeemed_at: None,
    };
    if !sql::insert(tx, &new).await? {
        // An imported voucher has this serial or number; the next draw will differ.
        return Err(Error::Store(publica_store::StoreError::Conflict {
            source: None,
        }));
    }
    let body = json!({
        "group": new.voucher_group,
        "currency": new.currency,
        "amount_minor": new.amount_minor,
    });
    append(
        tx,
        &issue.origin,
        entry("payments.voucher.preactivated", "voucher", &serial, body),
    );
    Ok(pb::PreactivateVoucherResponse {
        voucher_number: issue.number.clone(),
        serial_number: serial,
        expire_time: Some(timestamp(issue.hold_until)),
    })
}

/// Sets a voucher's value aside, where its group belongs to a programme.
async fn fund(tx: &mut Tx<'_>, issue: &Issue, group: &GroupRow) -> Result<(), Error> {
    let Some(programme_id) = group.programme_id else {
        return Ok(());
    };
    let paying = programme::find_programme(tx, programme_id).await?;
    let paying = paying.ok_or(Error::corrupt("the programme of a group is missing"))?;
    let currency = issue.amount.currency.to_string();
    if paying.stopped || paying.currency != currency {
        return Err(Refusal::GroupExhausted.into());
    }
    let pool = programme::find_funding_of_group(tx, &group.name, &currency).await?;
    let pool = pool.ok_or(Refusal::GroupExhausted)?.account_id;
    let amount = issue.amount.amount_minor;
    let order = posted(paying.funding_account_id, pool, amount, "voucher issued");
    match ledger::post_all(tx, issue.group, &[order]).await {
        Err(Error::Ledger(LedgerRefusal::FundsShort)) => Err(Refusal::GroupExhausted.into()),
        other => other.map(drop),
    }
}

/// Returns the value of a voucher that will not be used to the programme it came from.
async fn give_back(tx: &mut Tx<'_>, group: GroupId, row: &VoucherRow) -> Result<(), Error> {
    let issued_for = sql::find_group(tx, &row.voucher_group).await?;
    let Some(programme_id) = issued_for.and_then(|group| group.programme_id) else {
        return Ok(());
    };
    let paying = programme::find_programme(tx, programme_id).await?;
    let pool = programme::find_funding_of_group(tx, &row.voucher_group, &row.currency).await?;
    let (Some(paying), Some(pool)) = (paying, pool) else {
        return Ok(());
    };
    // A voucher that was imported or issued from stock was never set aside.
    if paying.currency != row.currency || row.ordinal.is_some() || row.number_sealed.is_none() {
        return Ok(());
    }
    let (from, to) = (pool.account_id, paying.funding_account_id);
    let order = posted(from, to, row.amount_minor, "voucher cancelled");
    match ledger::post_all(tx, group, &[order]).await {
        Err(Error::Ledger(LedgerRefusal::FundsShort)) => Ok(()),
        other => other.map(drop),
    }
}

fn suspension(row: &VoucherRow, lift: bool, now: Timestamp) -> Result<State, Error> {
    let state = row.facts()?.state_at(now);
    match (state, lift) {
        (State::Preactivated | State::Activated, false) => Ok(State::Suspended),
        // One that was never activated has no expiry yet.
        (State::Suspended, true) => match row.expires_at {
            Some(_) => Ok(State::Activated),
            None => Ok(State::Preactivated),
        },
        _ => Err(Refusal::NotCancellable("its state does not allow this").into()),
    }
}

/// The answer with its number in clear. Releases before kept it sealed once more inside the answer.
fn show(
    keyring: &Keyring,
    kept: pb::PreactivateVoucherResponse,
) -> Result<pb::PreactivateVoucherResponse, Error> {
    if kept.voucher_number.len() == NUMBER_DIGITS {
        return Ok(kept);
    }
    let sealed = hex::decode(&kept.voucher_number).map_err(|_| Error::corrupt("a kept answer"))?;
    let voucher_number = open_number(keyring, &sealed)?;
    Ok(pb::PreactivateVoucherResponse {
        voucher_number,
        ..kept
    })
}

/// Opens a sealed voucher number.
pub(crate) fn open_number(keyring: &Keyring, sealed: &[u8]) -> Result<String, Error> {
    let number = keyring.open_block(&NUMBER, sealed)?;
    String::from_utf8(number).map_err(|_| Error::corrupt("a voucher number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_follow_the_published_pattern() {
        for good in ["1", "0.5", "100.0000", "999999999999999999.9999"] {
            assert_eq!(rough_amount(good), Some(good));
        }
        for bad in [
            "",
            "0",
            "0.00",
            "01",
            "1.",
            ".5",
            "1.00000",
            "-1",
            "1e3",
            "abc",
            "1234567890123456789",
        ] {
            assert_eq!(rough_amount(bad), None, "{bad}");
        }
    }
}
