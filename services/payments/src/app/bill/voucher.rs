//! Bills paid by voucher: the voucher's value must be exactly what is due.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_journal::append;
use publica_rpc::Fault as _;
use publica_store::Tx;
use publica_types::{Origin, Timestamp};
use serde_json::json;

use super::Bill;
use crate::app::release::{open, posted};
use crate::app::{App, entry};
use crate::domain::ids::{GroupId, MerchantId, TransferId, named};
use crate::domain::ledger::Refusal as LedgerRefusal;
use crate::domain::siv;
use crate::domain::voucher::{self, Refusal, digits};
use crate::error::Error;
use crate::sealed::NUMBER;
use crate::store::bill::{BillerRow, PaymentRow};
use crate::store::ledger;
use crate::store::programme;
use crate::store::voucher as sql;

/// A voucher that is to pay a bill.
pub(crate) struct BillRedemption {
    origin: Origin,
    group: GroupId,
    number_hash: Vec<u8>,
}

impl App {
    /// A voucher's number, from digits or from what its calling block was given.
    pub(crate) fn voucher_number(&self, block: &str, given: &str) -> Result<String, Error> {
        if digits(given) {
            return Ok(given.to_owned());
        }
        let sealed = STANDARD.decode(given).map_err(|_| Refusal::NumberInvalid)?;
        let sealed = sealed.try_into().map_err(|_| Refusal::NumberInvalid)?;
        let number = siv::open(&self.voucher_key(block)?, &sealed);
        let number = number.map_err(|_| Refusal::NumberInvalid)?;
        let number = std::str::from_utf8(&number).map_err(|_| Refusal::NumberInvalid)?;
        match digits(number) {
            true => Ok(number.to_owned()),
            false => Err(Refusal::NumberInvalid.into()),
        }
    }

    /// A redemption, unless its caller has guessed too often.
    pub(crate) fn bill_redemption(
        &self,
        origin: &Origin,
        number: &str,
    ) -> Result<BillRedemption, Error> {
        if self.guesses.is_locked(&origin.actor, self.clock.now()) {
            return Err(Error::GuessingLocked);
        }
        Ok(BillRedemption {
            origin: origin.clone(),
            group: self.group(),
            number_hash: self.keyring.lookup(NUMBER.name(), number),
        })
    }

    /// Puts a refusal on record before it leaves, and counts wrong numbers.
    pub(crate) async fn judge_redemption<T>(
        &self,
        origin: &Origin,
        done: Result<T, Error>,
    ) -> Result<T, Error> {
        let now: Timestamp = self.clock.now();
        if let Err(error @ (Error::Voucher(_) | Error::VoucherValue)) = &done {
            // That a voucher is worth something else tells that there is one, so it counts too.
            let wrong = matches!(
                error,
                Error::Voucher(Refusal::NumberInvalid) | Error::VoucherValue
            );
            let locked = wrong && self.guesses.count_wrong(&origin.actor, now);
            // It does not say which number was tried.
            let body = json!({"reason": error.reason(), "locked": locked});
            let entry = entry("payments.voucher.redemption_refused", "voucher", "", body);
            let entry = entry.outcome(publica_journal::Outcome::Refused);
            self.journal.record(origin, entry).await?;
        }
        done
    }
}

impl BillRedemption {
    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Pays a biller with the voucher, and tells its serial number and the transfer.
    pub(crate) async fn pay(
        &self,
        tx: &mut Tx<'_>,
        biller: &BillerRow,
        bill: &Bill,
    ) -> Result<(String, TransferId), Error> {
        let row = sql::lock_by_number(tx, &self.number_hash).await?;
        let row = row.ok_or(Refusal::NumberInvalid)?;
        let any_group = biller.voucher_group.is_empty();
        voucher::redeem(&row.facts()?, &biller.voucher_group, any_group, tx.now())?;
        // A late bill is paid with what is due late.
        let late = bill.due_micros.is_some_and(|due| tx.now().micros() > due);
        let due = match late && bill.late_minor > 0 {
            true => bill.late_minor,
            false => bill.amount_minor,
        };
        if row.currency != bill.currency || row.amount_minor != due {
            return Err(Error::VoucherValue);
        }
        let pool = programme::find_funding_of_group(tx, &row.voucher_group, &row.currency).await?;
        let pool = pool.ok_or(Refusal::FundsShort)?;
        let payable = open(tx, "biller", &biller.biller_id, &row.currency).await?;
        let order = posted(
            pool.account_id,
            payable,
            row.amount_minor,
            "bill paid by voucher",
        );
        let made = match ledger::post_all(tx, self.group, &[order]).await {
            Err(Error::Ledger(LedgerRefusal::FundsShort)) => {
                return Err(Refusal::FundsShort.into());
            }
            made => made?,
        };
        let made = made
            .first()
            .ok_or(Error::corrupt("a transfer is missing"))?;
        let transfer = made.transfer_id;
        let payee = MerchantId::from_uuid(named("biller", biller.biller_id.as_bytes()));
        sql::consume(tx, &row.serial, payee, transfer.as_uuid()).await?;
        let body = json!({
            "biller": biller.biller_id,
            "amount_minor": row.amount_minor,
            "currency": row.currency,
            "transfer": transfer,
        });
        let entry = entry("payments.voucher.redeemed", "voucher", &row.serial, body);
        append(tx, &self.origin, entry);
        Ok((row.serial, transfer))
    }
}

/// Reverses a payment by voucher that its biller refused: the money goes back to where it came
/// from, and the voucher can be used again for as long as it still could.
pub(crate) async fn give_back(
    tx: &mut Tx<'_>,
    origin: &Origin,
    group: GroupId,
    payment: &PaymentRow,
) -> Result<(), Error> {
    let (Some(serial), Some(paid)) = (&payment.voucher_serial, payment.transfer_id) else {
        return Ok(());
    };
    let made = ledger::find_transfer(tx, paid).await?;
    let made = made.ok_or(Error::corrupt("the transfer of a payment is missing"))?;
    let order = posted(
        made.credit_id,
        made.debit_id,
        made.amount_minor,
        "bill refused",
    );
    let back = ledger::post_all(tx, group, &[order]).await?;
    let back = back
        .first()
        .ok_or(Error::corrupt("a transfer is missing"))?
        .transfer_id;
    if !sql::restore(tx, serial, paid).await? {
        return Err(Error::corrupt(
            "a voucher is not used up as it was paid with",
        ));
    }
    let body = json!({
        "bill_payment": paid,
        "amount_minor": made.amount_minor,
        "transfer": back,
    });
    append(
        tx,
        origin,
        entry("payments.voucher.restored", "voucher", serial, body),
    );
    Ok(())
}
