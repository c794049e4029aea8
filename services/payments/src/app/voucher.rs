//! Vouchers: issuing, activating, redeeming, reading, cancelling; and whom they concern.

use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, timestamp};
use publica_seal::Keyring;
use publica_store::Tx;
use publica_types::{Money, Origin, Timestamp};
use serde_json::json;

use crate::app::release::posted;
use crate::app::voucher_setup::merchant_lookup;
use crate::app::{App, call, check_reason, check_short, entry, wire};
use crate::domain::currency;
use crate::domain::ids::{AccountId, GroupId, MerchantId};
use crate::domain::ledger::Refusal as LedgerRefusal;
use crate::domain::voucher::{self, Refusal, State, digits, fresh_number};
use crate::error::Error;
use crate::store::ledger::{self, Opening};
use crate::store::programme;
use crate::store::voucher::{self as sql, GroupRow, NewVoucher, VoucherRow};

/// Under which voucher numbers are hashed and sealed.
pub(crate) const PURPOSE_NUMBER: &str = "payments.voucher_number";
const COMMENT_CHARS: usize = 1_024;

/// A voucher to issue.
struct Issue {
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

/// A voucher presented by a merchant.
struct Redemption {
    origin: Origin,
    group: GroupId,
    number_hash: Vec<u8>,
    calling_block: String,
    merchant: Vec<u8>,
    merchant_group: String,
    ignore_group: bool,
}

impl App {
    pub(crate) async fn preactivate_voucher(
        &self,
        origin: &Origin,
        request: pb::PreactivateVoucherRequest,
    ) -> Result<pb::PreactivateVoucherResponse, Error> {
        const RPC: &str = "/publica.payments.v1.VoucherService/PreactivateVoucher";
        let mut invalid = Invalid::new();
        check_short(&mut invalid, "comment", &request.comment, COMMENT_CHARS);
        invalid.check()?;
        let db = self.db(origin).await?;
        // The amount is judged before its currency, of which it may have too many decimals.
        let rough = rough_amount(&request.amount).ok_or(Refusal::AmountInvalid)?;
        let amount = match currency::known(&request.currency) {
            Some(known) => Money::new(
                currency::amount(rough, known).ok_or(Refusal::AmountInvalid)?,
                known,
            ),
            None => return Err(Refusal::CurrencyInvalid.into()),
        };
        let call = call(
            "payments.preactivate",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let number = fresh_number(&*self.entropy);
        let issue = Issue {
            origin: origin.clone(),
            group: self.group(),
            amount,
            amount_text: request.amount,
            voucher_group: request.voucher_group,
            calling_block: request.calling_block,
            number_hash: self.keyring.lookup(PURPOSE_NUMBER, &number),
            number_sealed: self.keyring.seal_block(PURPOSE_NUMBER, number.as_bytes()),
            number,
            hold_until: self.clock.now().plus(self.config.voucher_hold()),
        };
        // The kept answer must not hold the number in clear.
        let keyring = self.keyring.clone();
        let kept = write(&db, call, (issue, keyring), |tx, (issue, keyring)| {
            Box::pin(async move {
                let answer = issue_one(tx, issue).await?;
                Ok::<_, Error>(hide(keyring, answer))
            })
        })
        .await?;
        show(&self.keyring, kept)
    }

    pub(crate) async fn activate_voucher(
        &self,
        origin: &Origin,
        request: pb::ActivateVoucherRequest,
    ) -> Result<pb::ActivateVoucherResponse, Error> {
        let db = self.db(origin).await?;
        let validity = self.config.voucher_validity();
        let input = (origin.clone(), request, validity);
        db.write(
            "payments.activate",
            input,
            |tx, (origin, request, validity)| {
                Box::pin(async move {
                    let (serial, block) = (request.serial_number.as_str(), &request.calling_block);
                    if !sql::knows_block(tx, block).await? {
                        return Err(Refusal::CallingBlockUnknown.into());
                    }
                    let row = match digits(serial) {
                        true => sql::lock(tx, serial).await?,
                        false => None,
                    };
                    let row = row.ok_or(Refusal::SerialInvalid)?;
                    let now = tx.now();
                    if !voucher::activate(&row.facts()?, block, now)? {
                        let expire_time = row.expires_at.map(timestamp);
                        return Ok(pb::ActivateVoucherResponse { expire_time });
                    }
                    let expires_at = now.plus(*validity);
                    sql::set_state(tx, serial, State::Activated, Some(expires_at)).await?;
                    let entry = entry("payments.voucher.activated", "voucher", serial, json!({}));
                    append(tx, origin, entry);
                    Ok(pb::ActivateVoucherResponse {
                        expire_time: Some(timestamp(expires_at)),
                    })
                })
            },
        )
        .await
    }

    pub(crate) async fn redeem_voucher(
        &self,
        origin: &Origin,
        request: pb::RedeemVoucherRequest,
    ) -> Result<pb::RedeemVoucherResponse, Error> {
        let db = self.db(origin).await?;
        if !sql::knows_block(&mut db.clone(), &request.calling_block).await? {
            return Err(Refusal::CallingBlockUnknown.into());
        }
        if !digits(&request.voucher_number) {
            return Err(Refusal::NumberInvalid.into());
        }
        let now = self.clock.now();
        if self.guesses.is_locked(&origin.actor, now) {
            return Err(Error::GuessingLocked);
        }
        let (name, bank) = (&request.merchant_name, &request.merchant_bank_details);
        let redemption = Redemption {
            origin: origin.clone(),
            group: self.group(),
            number_hash: self.keyring.lookup(PURPOSE_NUMBER, &request.voucher_number),
            calling_block: request.calling_block.clone(),
            merchant: merchant_lookup(&self.keyring, name, bank, &request.merchant_voucher_group),
            merchant_group: request.merchant_voucher_group,
            ignore_group: request.r#override,
        };
        let done = db.write("payments.redeem", redemption, |tx, redemption| {
            Box::pin(redeem(tx, redemption))
        });
        let done = done.await;
        if let Err(Error::Voucher(refusal)) = &done {
            let locked =
                *refusal == Refusal::NumberInvalid && self.guesses.count_wrong(&origin.actor, now);
            // On record before the refusal leaves. It does not say which number was tried.
            let body = json!({"reason": refusal.to_string(), "locked": locked});
            let entry = entry("payments.voucher.redemption_refused", "voucher", "", body);
            let entry = entry.outcome(publica_journal::Outcome::Refused);
            self.journal.record(origin, entry).await?;
        }
        done
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
            State::Consumed => return Err(Refusal::Consumed.into()),
            State::Expired => return Err(Refusal::Expired.into()),
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
        request: pb::CancelVoucherRequest,
    ) -> Result<pb::CancelVoucherResponse, Error> {
        let db = self.db(origin).await?;
        let input = (origin.clone(), request, self.group());
        db.write(
            "payments.cancel_voucher",
            input,
            |tx, (origin, request, group)| {
                Box::pin(async move {
                    let (serial, block) = (request.serial_number.as_str(), &request.calling_block);
                    if !sql::knows_block(tx, block).await? {
                        return Err(
                            Refusal::NotCancellable("the building block is not known").into()
                        );
                    }
                    let row = match digits(serial) {
                        true => sql::lock(tx, serial).await?,
                        false => None,
                    };
                    let row = row.ok_or(Refusal::NotCancellable("there is no such voucher"))?;
                    voucher::cancel(&row.facts()?, block, tx.now())?;
                    sql::set_state(tx, serial, State::Cancelled, row.expires_at).await?;
                    give_back(tx, *group, &row).await?;
                    let entry = entry("payments.voucher.cancelled", "voucher", serial, json!({}));
                    append(tx, origin, entry);
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
                    let row = sql::lock(tx, serial).await?;
                    let row = row.ok_or(Error::not_found("voucher"))?;
                    let state = suspension(&row, request.lift, tx.now())?;
                    sql::set_state(tx, serial, state, row.expires_at).await?;
                    let action = match request.lift {
                        true => "payments.voucher.reactivated",
                        false => "payments.voucher.suspended",
                    };
                    let body = json!({"reason": request.reason});
                    append(tx, origin, entry(action, "voucher", serial, body));
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

async fn issue_one(
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
    fund(tx, issue, &group).await?;
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

async fn redeem(
    tx: &mut Tx<'_>,
    redemption: &Redemption,
) -> Result<pb::RedeemVoucherResponse, Error> {
    let row = sql::lock_by_number(tx, &redemption.number_hash).await?;
    let row = row.ok_or(Refusal::NumberInvalid)?;
    let merchant = sql::find_merchant(tx, &redemption.merchant).await?;
    let merchant = merchant
        .filter(|merchant| !merchant.blocked)
        .ok_or(Refusal::MerchantRefused)?;
    // Funds come before the voucher's own state, so that a retry at a merchant who cannot be
    // paid says nothing about the number.
    let pool =
        programme::find_funding_of_group(tx, &redemption.merchant_group, &row.currency).await?;
    let pool = pool.ok_or(Refusal::FundsShort)?;
    let left = pool.credits_posted - pool.debits_posted - pool.debits_pending;
    if left < row.amount_minor {
        return Err(Refusal::FundsShort.into());
    }
    let facts = row.facts()?;
    voucher::redeem(
        &facts,
        &redemption.merchant_group,
        redemption.ignore_group,
        tx.now(),
    )?;
    let payable = open_merchant(tx, merchant.merchant_id, &row.currency).await?;
    let order = posted(
        pool.account_id,
        payable,
        row.amount_minor,
        "voucher redeemed",
    );
    let made = match ledger::post_all(tx, redemption.group, &[order]).await {
        Err(Error::Ledger(LedgerRefusal::FundsShort)) => return Err(Refusal::FundsShort.into()),
        made => made?,
    };
    let transfer = made
        .first()
        .ok_or(Error::corrupt("a transfer is missing"))?
        .transfer_id;
    sql::consume(tx, &row.serial, merchant.merchant_id, transfer.as_uuid()).await?;
    let body = json!({
        "merchant": merchant.merchant_id,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "transfer": transfer,
        "by": redemption.calling_block,
    });
    append(
        tx,
        &redemption.origin,
        entry("payments.voucher.redeemed", "voucher", &row.serial, body),
    );
    Ok(pb::RedeemVoucherResponse {
        amount: Some(pb::Money {
            currency: row.currency,
            amount_minor: row.amount_minor,
        }),
        transfer_id: transfer.to_string(),
    })
}

async fn open_merchant(
    tx: &mut Tx<'_>,
    merchant: MerchantId,
    currency: &str,
) -> Result<AccountId, Error> {
    let code = format!("merchant:{merchant}:{currency}");
    let opening = Opening {
        account_id: AccountId::of_code(&code),
        code,
        currency: currency.to_owned(),
        kind: wire::account_kind(pb::AccountKind::Merchant),
        floor: None,
    };
    ledger::open(tx, &opening).await?;
    Ok(opening.account_id)
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

/// The answer with its number sealed, as the request ledger keeps it.
fn hide(
    keyring: &Keyring,
    answer: pb::PreactivateVoucherResponse,
) -> pb::PreactivateVoucherResponse {
    let sealed = keyring.seal_block(PURPOSE_NUMBER, answer.voucher_number.as_bytes());
    pb::PreactivateVoucherResponse {
        voucher_number: hex::encode(sealed),
        ..answer
    }
}

/// The answer with its number in clear, as the caller gets it.
fn show(
    keyring: &Keyring,
    kept: pb::PreactivateVoucherResponse,
) -> Result<pb::PreactivateVoucherResponse, Error> {
    let sealed = hex::decode(&kept.voucher_number).map_err(|_| Error::corrupt("a kept answer"))?;
    let voucher_number = open_number(keyring, &sealed)?;
    Ok(pb::PreactivateVoucherResponse {
        voucher_number,
        ..kept
    })
}

/// Opens a sealed voucher number.
pub(crate) fn open_number(keyring: &Keyring, sealed: &[u8]) -> Result<String, Error> {
    let number = keyring.open_block(PURPOSE_NUMBER, sealed)?;
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
