//! Vouchers by the list: issuing them to payees and changing them, each on its own terms.

use std::collections::{BTreeMap, BTreeSet};

use publica_proto::payments::v1 as pb;
use publica_rpc::Invalid;
use publica_store::{Db, Tx};
use publica_types::Origin;

use crate::app::beneficiary::Kept;
use crate::app::callback::{Target, shapes};
use crate::app::source::{check_number, source_no};
use crate::app::voucher::{Issue, activate_one, cancel_one, issue_one, open_number, suspend_one};
use crate::app::{App, check_short};
use crate::domain::address::{functional_id, within};
use crate::domain::ids::GroupId;
use crate::domain::instruction::{INSTRUCTION_ID_CHARS, NARRATION_CHARS};
use crate::domain::partner::Kind;
use crate::domain::voucher::Refusal;
use crate::error::Error;
use crate::store::request::Key;
use crate::store::voucher::{self as sql, VoucherRow};

/// Vouchers in one request.
const MOST: usize = 2_000;
/// Vouchers in one unit of work.
const AT_ONCE: usize = 100;
const NUMBER_CHARS: usize = 64;

/// One voucher's share of a request to issue.
struct Asked {
    instruction_id: String,
    payee: Vec<u8>,
    issue: Issue,
}

/// One unit's share of a request to issue.
struct IssueShare {
    calling_block: String,
    source_request: String,
    asked: Vec<Asked>,
}

/// One unit's share of a request to change.
struct ChangeShare {
    origin: Origin,
    calling_block: String,
    command: pb::VoucherCommand,
    validity: std::time::Duration,
    serials: Vec<(String, GroupId)>,
}

fn failure(id: &str, reason: impl ToString) -> pb::VoucherFailure {
    pb::VoucherFailure {
        id: id.to_owned(),
        reason: reason.to_string(),
    }
}

impl App {
    pub(crate) async fn issue_vouchers(
        &self,
        origin: &Origin,
        mut request: pb::IssueVouchersRequest,
    ) -> Result<pb::IssueVouchersResponse, Error> {
        let block = &request.calling_block;
        self.speak(origin, Kind::Block, block).await?;
        let target = self.target(request.callback.take(), &request.calling_block)?;
        let mut invalid = Invalid::new();
        check_number(&mut invalid, "source_request", &request.source_request);
        check_short(
            &mut invalid,
            "source_batch",
            &request.source_batch,
            NUMBER_CHARS,
        );
        if request.instructions.is_empty() || request.instructions.len() > MOST {
            invalid.push("instructions", "must be from 1 to 2000");
        }
        invalid.check()?;
        let fingerprint = publica_journal::fingerprint(&request).to_vec();
        let db = self.db(origin).await?;
        let block = request.calling_block.clone();
        if !sql::knows_block(&mut db.clone(), &block).await? {
            return Err(Refusal::CallingBlockUnknown.into());
        }
        let key = key(&block, "issue", &request.source_request);
        if let Some(answer) = self.replay(&db, &key, &fingerprint).await? {
            return Ok(answer);
        }
        let number = request.source_request.as_str();
        let mut failures = Vec::new();
        let (mut asked, mut narrations) = (Vec::new(), BTreeMap::new());
        let mut seen = BTreeSet::new();
        for instruction in request.instructions {
            let (id, narration) = (
                instruction.instruction_id.clone(),
                instruction.narration.clone(),
            );
            match self.asked(origin, &block, instruction) {
                Ok(_) if !seen.insert(id.clone()) => {
                    failures.push(failure(&id, "listed twice in one request"));
                }
                Ok(one) => {
                    narrations.insert(id, narration);
                    asked.push(one);
                }
                Err(reason) => failures.push(failure(&id, reason)),
            }
        }
        let (serials, mut refused) = self.issue_all(&db, &block, number, asked).await?;
        failures.append(&mut refused);
        let issued = self.issued(&db, &block, &serials, &narrations).await?;
        let body = shapes::vouchers(number, &request.source_batch, &issued, &failures);
        let issued_count = i64::try_from(issued.len()).unwrap_or(i64::MAX);
        let kept = Kept {
            key,
            fingerprint,
            letter: target.map(|target| (target, body)),
            counts: (issued_count, failures.len()),
        };
        let answer = pb::IssueVouchersResponse {
            issued_count,
            failures,
        };
        self.keep(&db, origin, kept, answer).await
    }

    /// Issues vouchers, some in each unit of work.
    async fn issue_all(
        &self,
        db: &Db,
        block: &str,
        request: &str,
        mut asked: Vec<Asked>,
    ) -> Result<Issued, Error> {
        let (mut serials, mut failures) = (Vec::new(), Vec::new());
        while !asked.is_empty() {
            let rest = asked.split_off(asked.len().min(AT_ONCE));
            let share = IssueShare {
                calling_block: block.to_owned(),
                source_request: request.to_owned(),
                asked: std::mem::replace(&mut asked, rest),
            };
            let done = db.write("payments.issue", share, |tx, share| {
                Box::pin(issue_share(tx, share))
            });
            let (mut issued, mut failed) = done.await?;
            serials.append(&mut issued);
            failures.append(&mut failed);
        }
        Ok((serials, failures))
    }

    /// What it takes to issue a voucher, or why it cannot be.
    fn asked(
        &self,
        origin: &Origin,
        block: &str,
        given: pb::VoucherInstruction,
    ) -> Result<Asked, String> {
        if !within(&given.instruction_id, INSTRUCTION_ID_CHARS) {
            return Err("instruction id must have 1 to 16 characters".to_owned());
        }
        if !functional_id(&given.functional_id) {
            return Err("functional id must have 1 to 20 characters".to_owned());
        }
        if given.narration.chars().count() > NARRATION_CHARS {
            return Err("narration must have at most 50 characters".to_owned());
        }
        let (amount, text) = (given.amount.as_str(), &given.currency);
        let issue = self.new_issue(origin, block, amount, text, &given.voucher_group);
        Ok(Asked {
            payee: self.payee(&given.functional_id),
            instruction_id: given.instruction_id,
            issue: issue.map_err(|refusal| refusal.to_string())?,
        })
    }

    /// Vouchers with their numbers encrypted for the block that asked for them.
    async fn issued(
        &self,
        db: &Db,
        block: &str,
        serials: &[(String, String)],
        narrations: &BTreeMap<String, String>,
    ) -> Result<Vec<shapes::IssuedVoucher>, Error> {
        let wanted: Vec<&str> = serials.iter().map(|(_, serial)| serial.as_str()).collect();
        let rows = sql::find_many(&mut db.clone(), &wanted).await?;
        let mut rows: BTreeMap<String, VoucherRow> = rows
            .into_iter()
            .map(|row| (row.serial.clone(), row))
            .collect();
        let mut issued = Vec::with_capacity(serials.len());
        for (instruction_id, serial) in serials {
            let row = rows.remove(serial);
            let row = row.ok_or(Error::corrupt("a new voucher is missing"))?;
            let sealed = row.number_sealed.as_deref();
            let sealed = sealed.ok_or(Error::corrupt("a new voucher has no number"))?;
            let number = open_number(&self.keyring, sealed)?;
            issued.push(shapes::IssuedVoucher {
                instruction_id: instruction_id.clone(),
                serial: row.serial,
                number: self.encrypt_number(block, &number)?,
                currency: row.currency,
                amount_minor: row.amount_minor,
                narration: narrations.get(instruction_id).cloned().unwrap_or_default(),
            });
        }
        Ok(issued)
    }

    pub(crate) async fn change_vouchers(
        &self,
        origin: &Origin,
        mut request: pb::ChangeVouchersRequest,
    ) -> Result<pb::ChangeVouchersResponse, Error> {
        let block = &request.calling_block;
        self.speak(origin, Kind::Block, block).await?;
        let target = self.target(request.callback.take(), &request.calling_block)?;
        let command = request.command();
        let mut invalid = Invalid::new();
        check_number(&mut invalid, "source_request", &request.source_request);
        if request.serial_numbers.is_empty() || request.serial_numbers.len() > MOST {
            invalid.push("serial_numbers", "must be from 1 to 2000");
        }
        if command == pb::VoucherCommand::Unspecified {
            invalid.push("command", "is required");
        }
        invalid.check()?;
        let fingerprint = publica_journal::fingerprint(&request).to_vec();
        let db = self.db(origin).await?;
        let block = request.calling_block.clone();
        if !sql::knows_block(&mut db.clone(), &block).await? {
            return Err(Refusal::CallingBlockUnknown.into());
        }
        let key = key(&block, operation(command), &request.source_request);
        if let Some(answer) = self.replay(&db, &key, &fingerprint).await? {
            return Ok(answer);
        }
        let (mut changed_count, mut failures) = (0, Vec::new());
        for serials in request.serial_numbers.chunks(AT_ONCE) {
            let share = ChangeShare {
                origin: origin.clone(),
                calling_block: block.clone(),
                command,
                validity: self.config.voucher_validity(),
                serials: serials
                    .iter()
                    .map(|serial| (serial.clone(), self.group()))
                    .collect(),
            };
            let done = db.write("payments.change_vouchers", share, |tx, share| {
                Box::pin(change_share(tx, share))
            });
            let mut failed = done.await?;
            changed_count += i64::try_from(serials.len() - failed.len()).unwrap_or(0);
            failures.append(&mut failed);
        }
        let letter = target.map(|target: Target| {
            let body = shapes::changed_vouchers(&request.source_request, &failures);
            (target, body)
        });
        let kept = Kept {
            key,
            fingerprint,
            letter,
            counts: (changed_count, failures.len()),
        };
        let answer = pb::ChangeVouchersResponse {
            changed_count,
            failures,
        };
        self.keep(&db, origin, kept, answer).await
    }
}

fn key(block: &str, operation: &'static str, request: &str) -> Key {
    Key {
        source_no: source_no(block),
        operation,
        request: request.to_owned(),
    }
}

const fn operation(command: pb::VoucherCommand) -> &'static str {
    match command {
        pb::VoucherCommand::Activate | pb::VoucherCommand::Unspecified => "activate",
        pb::VoucherCommand::Suspend => "suspend",
        pb::VoucherCommand::Reactivate => "reactivate",
        pb::VoucherCommand::Cancel => "cancel",
    }
}

type Issued = (Vec<(String, String)>, Vec<pb::VoucherFailure>);

/// Issues some vouchers; what was issued to the same request before stays as it is.
async fn issue_share(tx: &mut Tx<'_>, share: &IssueShare) -> Result<Issued, Error> {
    let (mut issued, mut failures) = (Vec::new(), Vec::new());
    for asked in &share.asked {
        let id = &asked.instruction_id;
        match sql::issuance(tx, &share.calling_block, id).await? {
            Some((request, serial)) if request == share.source_request => {
                issued.push((id.clone(), serial));
                continue;
            }
            Some(_) => {
                failures.push(failure(id, "instruction id was used before"));
                continue;
            }
            None => {}
        }
        match issue_one(tx, &asked.issue).await {
            Ok(answer) => {
                let serial = answer.serial_number;
                let issuance = sql::NewIssuance {
                    calling_block: &share.calling_block,
                    instruction_id: id,
                    source_request: &share.source_request,
                    serial: &serial,
                    payee: &asked.payee,
                };
                sql::insert_issuance(tx, &issuance).await?;
                issued.push((id.clone(), serial));
            }
            Err(Error::Voucher(refusal)) => failures.push(failure(id, refusal)),
            Err(error) => return Err(error),
        }
    }
    Ok((issued, failures))
}

async fn change_share(
    tx: &mut Tx<'_>,
    share: &ChangeShare,
) -> Result<Vec<pb::VoucherFailure>, Error> {
    let (origin, block) = (&share.origin, share.calling_block.as_str());
    let mut failures = Vec::new();
    for (serial, group) in &share.serials {
        let done = match share.command {
            pb::VoucherCommand::Cancel => cancel_one(tx, origin, serial, block, *group).await,
            pb::VoucherCommand::Suspend | pb::VoucherCommand::Reactivate => {
                let lift = share.command == pb::VoucherCommand::Reactivate;
                own_suspension(tx, origin, serial, block, lift).await
            }
            pb::VoucherCommand::Activate | pb::VoucherCommand::Unspecified => {
                activate_one(tx, origin, serial, block, share.validity)
                    .await
                    .map(drop)
            }
        };
        match done {
            Ok(()) => {}
            Err(Error::Voucher(refusal)) => failures.push(failure(serial, refusal)),
            Err(error) => return Err(error),
        }
    }
    Ok(failures)
}

/// A block suspends its own vouchers only.
async fn own_suspension(
    tx: &mut Tx<'_>,
    origin: &Origin,
    serial: &str,
    block: &str,
    lift: bool,
) -> Result<(), Error> {
    let row = sql::lock(tx, serial).await?;
    if row.is_none_or(|row| row.calling_block != block) {
        return Err(Refusal::SerialInvalid.into());
    }
    suspend_one(tx, origin, serial, lift, "asked for by its block")
        .await
        .map(drop)
}
