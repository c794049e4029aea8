//! Redeeming vouchers: the merchant is paid and the voucher is used up in one unit.

use publica_journal::append;
use publica_proto::payments::v1 as pb;
use publica_rpc::timestamp;
use publica_store::Tx;
use publica_types::Origin;
use serde_json::json;

use crate::app::release::{open, posted};
use crate::app::voucher::tell_done;
use crate::app::voucher_setup::merchant_lookup;
use crate::app::{App, entry};
use crate::domain::ids::GroupId;
use crate::domain::ledger::Refusal as LedgerRefusal;
use crate::domain::partner::Kind;
use crate::domain::voucher::{self, Refusal, digits};
use crate::error::Error;
use crate::sealed::NUMBER;
use crate::store::ledger;
use crate::store::programme;
use crate::store::voucher::{self as sql, VoucherRow};

/// A voucher presented by a merchant.
struct Redemption {
    origin: Origin,
    group: GroupId,
    number_hash: Vec<u8>,
    calling_block: String,
    merchant: Presenter,
    ignore_group: bool,
    /// What the voucher must be, if the presenter says so.
    serial: String,
}

/// Who presents a voucher.
enum Presenter {
    /// The key under which a merchant is found, and the group that they take vouchers of.
    Merchant(Vec<u8>, String),
    /// An agent's id.
    Agent(String),
}

impl App {
    pub(crate) async fn redeem_voucher(
        &self,
        origin: &Origin,
        mut request: pb::RedeemVoucherRequest,
    ) -> Result<pb::RedeemVoucherResponse, Error> {
        let block = &request.calling_block;
        self.speak(origin, Kind::Block, block).await?;
        let target = self.told(request.callback.take(), &request.calling_block)?;
        let db = self.db(origin).await?;
        if !sql::knows_block(&mut db.clone(), &request.calling_block).await? {
            return Err(Refusal::CallingBlockUnknown.into());
        }
        if !digits(&request.voucher_number) {
            return Err(Refusal::NumberInvalid.into());
        }
        if self.guesses.is_locked(&origin.actor, self.clock.now()) {
            return Err(Error::GuessingLocked);
        }
        let (name, bank) = (&request.merchant_name, &request.merchant_bank_details);
        let redemption = Redemption {
            origin: origin.clone(),
            group: self.group(),
            number_hash: self.keyring.lookup(NUMBER.name(), &request.voucher_number),
            calling_block: request.calling_block.clone(),
            merchant: match request.agent_id.as_str() {
                "" => {
                    let group = request.merchant_voucher_group.clone();
                    let key = merchant_lookup(&self.keyring, name, bank, &group);
                    Presenter::Merchant(key, group)
                }
                agent => Presenter::Agent(agent.to_owned()),
            },
            ignore_group: request.r#override,
            serial: request.serial_number.clone(),
        };
        let input = (redemption, (self.keyring.clone(), target));
        let done = db.write("payments.redeem", input, |tx, (redemption, tell)| {
            Box::pin(async move {
                let answer = redeem(tx, redemption).await?;
                let serial = &answer.serial_number;
                tell_done(tx, &redemption.origin, tell, "redeemed", serial).await?;
                Ok(answer)
            })
        });
        self.judge_redemption(origin, done.await).await
    }
}

async fn redeem(
    tx: &mut Tx<'_>,
    redemption: &Redemption,
) -> Result<pb::RedeemVoucherResponse, Error> {
    let row = sql::lock_by_number(tx, &redemption.number_hash).await?;
    let fits = |row: &VoucherRow| redemption.serial.is_empty() || redemption.serial == row.serial;
    let row = row.filter(fits).ok_or(Refusal::NumberInvalid)?;
    let (merchant, merchant_group) = match &redemption.merchant {
        Presenter::Merchant(key, group) => (sql::find_merchant(tx, key).await?, group.clone()),
        Presenter::Agent(agent) => {
            let found = sql::find_agent(tx, agent).await?;
            let group = found.as_ref().map(|found| found.voucher_group.clone());
            (found, group.unwrap_or_default())
        }
    };
    let merchant = merchant
        .filter(|merchant| !merchant.blocked)
        .ok_or(Refusal::MerchantRefused)?;
    // Funds come before the voucher's own state, so that a retry at a merchant who cannot be
    // paid says nothing about the number.
    let pool = programme::find_funding_of_group(tx, &merchant_group, &row.currency).await?;
    let pool = pool.ok_or(Refusal::FundsShort)?;
    let left = pool.credits_posted - pool.debits_posted - pool.debits_pending;
    if left < row.amount_minor {
        return Err(Refusal::FundsShort.into());
    }
    let facts = row.facts()?;
    voucher::redeem(&facts, &merchant_group, redemption.ignore_group, tx.now())?;
    let name = merchant.merchant_id.to_string();
    let payable = open(tx, "merchant", &name, &row.currency).await?;
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
        serial_number: row.serial,
        redeem_time: Some(timestamp(tx.now())),
    })
}
