//! What vouchers need beforehand: groups, merchants, and the blocks that issue them.

use std::collections::BTreeSet;

use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, PageToken, page_size};
use publica_seal::Keyring;
use publica_store::Tx;
use publica_types::Origin;
use serde_json::json;

use crate::app::account::next;
use crate::app::partner::{check_clients, put_clients};
use crate::app::{App, call, check_short, check_text, entry, wire};
use crate::domain::ids::{MerchantId, ProgrammeId};
use crate::domain::partner::Kind;
use crate::error::Error;
use crate::sealed::BANK_DETAILS;
use crate::store::voucher::{self as sql, GroupRow, NewMerchant};
use crate::store::{partner, programme};

const FIELD_MERCHANT: &str = "payments.merchant";
const NAME_CHARS: usize = 64;
const AGENT_CHARS: usize = 10;
const TEXT_CHARS: usize = 200;

/// The key under which a merchant is found.
pub(crate) fn merchant_lookup(
    keyring: &Keyring,
    name: &str,
    bank_details: &str,
    voucher_group: &str,
) -> Vec<u8> {
    keyring.lookup(
        FIELD_MERCHANT,
        &format!("{name}\u{0}{bank_details}\u{0}{voucher_group}"),
    )
}

impl App {
    pub(crate) async fn create_voucher_group(
        &self,
        origin: &Origin,
        request: pb::CreateVoucherGroupRequest,
    ) -> Result<pb::CreateVoucherGroupResponse, Error> {
        const RPC: &str = "/publica.payments.v1.VoucherService/CreateVoucherGroup";
        let mut invalid = Invalid::new();
        check_text(&mut invalid, "name", &request.name, NAME_CHARS);
        if request.stock.is_some_and(|stock| stock < 0) {
            invalid.push("stock", "must not be negative");
        }
        invalid.check()?;
        let call = call(
            "payments.create_group",
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
                    let programme = request.programme.as_str();
                    let row =
                        create_group(tx, origin, &request.name, request.stock, programme).await?;
                    let voucher_group = Some(group_on_wire(row, Vec::new()));
                    Ok(pb::CreateVoucherGroupResponse { voucher_group })
                })
            },
        )
        .await
    }

    pub(crate) async fn list_voucher_groups(
        &self,
        origin: &Origin,
        request: pb::ListVoucherGroupsRequest,
    ) -> Result<pb::ListVoucherGroupsResponse, Error> {
        let mut db = self.db(origin).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<String> = PageToken::decode(&"groups", &request.page_token)?;
        let mut rows = sql::list_groups(&mut db, &after.unwrap_or_default(), limit + 1).await?;
        let token = |row: &GroupRow| PageToken::encode(&"groups", &row.name);
        let next_page_token = next(&mut rows, limit, token);
        let mut voucher_groups = Vec::with_capacity(rows.len());
        for row in rows {
            let counts = sql::counts(&mut db, &row.name).await?;
            voucher_groups.push(group_on_wire(row, counts));
        }
        Ok(pb::ListVoucherGroupsResponse {
            voucher_groups,
            next_page_token,
        })
    }

    pub(crate) async fn create_merchant(
        &self,
        origin: &Origin,
        request: pb::CreateMerchantRequest,
    ) -> Result<pb::CreateMerchantResponse, Error> {
        const RPC: &str = "/publica.payments.v1.VoucherService/CreateMerchant";
        let call = call(
            "payments.create_merchant",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let new = self.new_merchant(
            request.name,
            &request.bank_details,
            request.voucher_group,
            request.blocked,
            request.agent_id,
        )?;
        let db = self.db(origin).await?;
        write(&db, call, (origin.clone(), new), |tx, (origin, new)| {
            Box::pin(async move {
                create_merchant(tx, origin, new).await?;
                Ok::<_, Error>(pb::CreateMerchantResponse {
                    merchant_id: new.merchant_id.to_string(),
                })
            })
        })
        .await
    }

    pub(crate) fn new_merchant(
        &self,
        name: String,
        bank_details: &str,
        voucher_group: String,
        blocked: bool,
        agent_id: String,
    ) -> Result<NewMerchant, Error> {
        let mut invalid = Invalid::new();
        check_text(&mut invalid, "name", &name, TEXT_CHARS);
        check_text(&mut invalid, "bank_details", bank_details, TEXT_CHARS);
        check_text(&mut invalid, "voucher_group", &voucher_group, NAME_CHARS);
        check_short(&mut invalid, "agent_id", &agent_id, AGENT_CHARS);
        invalid.check()?;
        Ok(NewMerchant {
            merchant_id: MerchantId::new(&*self.clock, &*self.entropy),
            lookup: merchant_lookup(&self.keyring, &name, bank_details, &voucher_group),
            bank_details: self
                .keyring
                .seal_block(&BANK_DETAILS, bank_details.as_bytes()),
            name,
            voucher_group,
            blocked,
            agent_id: (!agent_id.is_empty()).then_some(agent_id),
        })
    }

    pub(crate) async fn create_calling_block(
        &self,
        origin: &Origin,
        request: pb::CreateCallingBlockRequest,
    ) -> Result<pb::CreateCallingBlockResponse, Error> {
        const RPC: &str = "/publica.payments.v1.VoucherService/CreateCallingBlock";
        let mut invalid = Invalid::new();
        check_text(&mut invalid, "name", &request.name, NAME_CHARS);
        check_clients(&mut invalid, "clients", &request.clients);
        invalid.check()?;
        let call = call(
            "payments.create_block",
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
                    create_block(tx, origin, &request.name, &request.clients).await?;
                    Ok::<_, Error>(pb::CreateCallingBlockResponse {})
                })
            },
        )
        .await
    }
}

/// Registers a calling block; false if it is there with the same callers, or with any where none
/// are given.
pub(crate) async fn create_block(
    tx: &mut Tx<'_>,
    origin: &Origin,
    name: &str,
    clients: &[String],
) -> Result<bool, Error> {
    if !sql::insert_block(tx, name).await? {
        let known = partner::clients(tx, Kind::Block, name).await?;
        let given: BTreeSet<&String> = clients.iter().collect();
        return match clients.is_empty() || known.iter().eq(given) {
            true => Ok(false),
            // Who speaks for a block is not changed by registering it again.
            false => Err(Error::Exists {
                kind: "calling block",
            }),
        };
    }
    let created = entry(
        "payments.calling_block.created",
        "calling_block",
        name,
        json!({}),
    );
    append(tx, origin, created);
    put_clients(tx, origin, Kind::Block, name, clients).await?;
    Ok(true)
}

/// Creates a voucher group.
pub(crate) async fn create_group(
    tx: &mut Tx<'_>,
    origin: &Origin,
    name: &str,
    stock: Option<i64>,
    programme: &str,
) -> Result<GroupRow, Error> {
    let programme_id = match programme {
        "" => None,
        named => {
            let found = programme::find_programme_by(tx, named).await?;
            Some(found.ok_or(Error::not_found("programme"))?.programme_id)
        }
    };
    let row = GroupRow {
        name: name.to_owned(),
        stock,
        programme_id,
    };
    if !sql::insert_group(tx, &row).await? {
        return Err(Error::Exists {
            kind: "voucher group",
        });
    }
    append(
        tx,
        origin,
        entry(
            "payments.voucher_group.created",
            "voucher_group",
            name,
            json!({}),
        ),
    );
    Ok(row)
}

/// Registers a merchant for a group.
pub(crate) async fn create_merchant(
    tx: &mut Tx<'_>,
    origin: &Origin,
    new: &NewMerchant,
) -> Result<(), Error> {
    let group = sql::find_group(tx, &new.voucher_group).await?;
    group.ok_or(Error::not_found("voucher group"))?;
    if !sql::insert_merchant(tx, new).await? {
        return Err(Error::Exists { kind: "merchant" });
    }
    let body = json!({"group": new.voucher_group, "blocked": new.blocked});
    append(
        tx,
        origin,
        entry(
            "payments.merchant.created",
            "merchant",
            new.merchant_id,
            body,
        ),
    );
    Ok(())
}

fn group_on_wire(row: GroupRow, counts: Vec<sql::CountRow>) -> pb::VoucherGroup {
    let counts = counts.into_iter().map(|count| pb::VoucherCount {
        state: wire::small(count.state),
        currency: count.currency,
        tally: Some(wire::tally(count.item_count, count.amount_minor)),
    });
    pb::VoucherGroup {
        name: row.name,
        stock: row.stock,
        programme_id: row
            .programme_id
            .map(|id: ProgrammeId| id.to_string())
            .unwrap_or_default(),
        counts: counts.collect(),
    }
}
