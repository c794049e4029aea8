//! Bills: who sends and who collects, and inquiries that are passed on between them.

pub(crate) mod payment;
pub(crate) mod request;
pub(crate) mod voucher;

use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, PageToken, from_timestamp, page_size};
use publica_seal::Keyring;
use publica_store::Tx;
use publica_types::{Origin, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::account::next;
use crate::app::callback::{self, Content, Target, bills};
use crate::app::partner::{check_clients, clients_of, put_clients};
use crate::app::source::check_number;
use crate::app::{App, call, check_short, check_text, entry};
use crate::domain::currency;
use crate::domain::partner::Kind;
use crate::error::Error;
use crate::sealed::BILL;
use crate::store::bill::{self as sql, BillerRow, InquiryRow, InstitutionRow};

/// Under which bills are sealed.
const ID_CHARS: usize = 20;
const PREFIX_CHARS: usize = 12;
const NAME_CHARS: usize = 100;
const GROUP_CHARS: usize = 64;
const BILL_CHARS: usize = 20;
const REASON_CHARS: usize = 100;

/// A bill as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bill {
    pub(crate) status: String,
    pub(crate) due_micros: Option<i64>,
    pub(crate) currency: String,
    pub(crate) amount_minor: i64,
    pub(crate) late_minor: i64,
}

/// Twelve characters that follow from a name, and that nobody else can work out: whoever answers
/// shows by them that they were asked.
pub(crate) fn twelve(keyring: &Keyring, name: &str) -> String {
    hex::encode_upper(&keyring.lookup("payments.bill_request", name)[..6])
}

/// Whether an id can be one segment of a path on somebody else's server, as it stands.
fn is_segment(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    id.chars().all(plain) && !id.chars().all(|c| c == '.')
}

impl App {
    pub(crate) async fn put_biller(
        &self,
        origin: &Origin,
        request: pb::PutBillerRequest,
    ) -> Result<pb::PutBillerResponse, Error> {
        const RPC: &str = "/publica.payments.v1.BillService/PutBiller";
        let call = call(
            "payments.put_biller",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let given = request.biller.unwrap_or_default();
        let mut invalid = Invalid::new();
        check_text(&mut invalid, "biller.biller_id", &given.biller_id, ID_CHARS);
        check_text(&mut invalid, "biller.prefix", &given.prefix, PREFIX_CHARS);
        check_text(&mut invalid, "biller.name", &given.name, NAME_CHARS);
        check_short(&mut invalid, "biller.source_id", &given.source_id, ID_CHARS);
        let group = &given.voucher_group;
        check_short(&mut invalid, "biller.voucher_group", group, GROUP_CHARS);
        check_clients(&mut invalid, "biller.clients", &given.clients);
        if let Err(why) = self.targets().check(&given.url) {
            invalid.push("biller.url", why);
        }
        invalid.check()?;
        let row = BillerRow {
            biller_id: given.biller_id,
            prefix: given.prefix,
            name: given.name,
            url: given.url.trim_end_matches('/').to_owned(),
            source_id: given.source_id,
            voucher_group: given.voucher_group,
        };
        let db = self.db(origin).await?;
        let input = (origin.clone(), row, given.clients);
        write(&db, call, input, |tx, (origin, row, clients)| {
            Box::pin(async move {
                if !sql::put_biller(tx, row).await? {
                    return Err(Error::Exists { kind: "prefix" });
                }
                let id = row.biller_id.as_str();
                put_clients(tx, origin, Kind::Biller, id, clients).await?;
                append(
                    tx,
                    origin,
                    entry("payments.biller.put", "biller", id, json!({})),
                );
                Ok(pb::PutBillerResponse {})
            })
        })
        .await
    }

    pub(crate) async fn list_billers(
        &self,
        origin: &Origin,
        request: pb::ListBillersRequest,
    ) -> Result<pb::ListBillersResponse, Error> {
        let mut db = self.db(origin).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<String> = PageToken::decode(&"billers", &request.page_token)?;
        let mut rows = sql::list_billers(&mut db, &after.unwrap_or_default(), limit + 1).await?;
        let token = |row: &BillerRow| PageToken::encode(&"billers", &row.biller_id);
        let next_page_token = next(&mut rows, limit, token);
        let names: Vec<&str> = rows.iter().map(|row| row.biller_id.as_str()).collect();
        let mut clients = clients_of(&mut db, Kind::Biller, &names).await?;
        let biller = |row: BillerRow| pb::Biller {
            clients: clients.remove(&row.biller_id).unwrap_or_default(),
            biller_id: row.biller_id,
            prefix: row.prefix,
            name: row.name,
            url: row.url,
            source_id: row.source_id,
            voucher_group: row.voucher_group,
        };
        Ok(pb::ListBillersResponse {
            billers: rows.into_iter().map(biller).collect(),
            next_page_token,
        })
    }

    pub(crate) async fn put_payer_institution(
        &self,
        origin: &Origin,
        request: pb::PutPayerInstitutionRequest,
    ) -> Result<pb::PutPayerInstitutionResponse, Error> {
        const RPC: &str = "/publica.payments.v1.BillService/PutPayerInstitution";
        let call = call(
            "payments.put_payer_fi",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let mut invalid = Invalid::new();
        check_text(
            &mut invalid,
            "institution_id",
            &request.institution_id,
            ID_CHARS,
        );
        check_text(&mut invalid, "name", &request.name, NAME_CHARS);
        if let Err(why) = self.targets().check(&request.url) {
            invalid.push("url", why);
        }
        check_clients(&mut invalid, "clients", &request.clients);
        invalid.check()?;
        let row = InstitutionRow {
            institution_id: request.institution_id,
            name: request.name,
            url: request.url.trim_end_matches('/').to_owned(),
        };
        let db = self.db(origin).await?;
        let input = (origin.clone(), row, request.clients);
        write(&db, call, input, |tx, (origin, row, clients)| {
            Box::pin(async move {
                sql::put_institution(tx, row).await?;
                let (kind, id) = ("payer_institution", row.institution_id.as_str());
                put_clients(tx, origin, Kind::Institution, id, clients).await?;
                append(
                    tx,
                    origin,
                    entry("payments.payer_institution.put", kind, id, json!({})),
                );
                Ok::<_, Error>(pb::PutPayerInstitutionResponse {})
            })
        })
        .await
    }

    pub(crate) async fn inquire_bill(
        &self,
        origin: &Origin,
        request: pb::InquireBillRequest,
    ) -> Result<pb::InquireBillResponse, Error> {
        self.speak(origin, Kind::Institution, &request.institution_id)
            .await?;
        let mut invalid = Invalid::new();
        check_number(&mut invalid, "source_request", &request.source_request);
        check_text(&mut invalid, "bill_id", &request.bill_id, BILL_CHARS);
        if !is_segment(&request.bill_id) {
            invalid.push("bill_id", "must be letters, digits and - _ . ~");
        }
        invalid.check()?;
        let db = self.db(origin).await?;
        let input = (origin.clone(), self.keyring.clone(), request);
        db.write("payments.inquire_bill", input, |tx, input| {
            Box::pin(async move {
                let (origin, keyring, request) = input;
                inquire(tx, keyring, origin, request).await
            })
        })
        .await
    }

    pub(crate) async fn record_bill(
        &self,
        origin: &Origin,
        request: pb::RecordBillRequest,
    ) -> Result<pb::RecordBillResponse, Error> {
        self.speak(origin, Kind::Biller, &request.biller_id).await?;
        let bill = match request.refusal.is_empty() {
            true => Some(read_bill(request.details.as_ref())?),
            false => None,
        };
        let mut invalid = Invalid::new();
        check_short(&mut invalid, "refusal", &request.refusal, REASON_CHARS);
        invalid.check()?;
        let db = self.db(origin).await?;
        let input = (origin.clone(), self.keyring.clone(), request, bill);
        db.write("payments.record_bill", input, |tx, input| {
            Box::pin(async move {
                let (origin, keyring, request, bill) = input;
                record(tx, keyring, origin, request, bill.as_ref()).await
            })
        })
        .await
    }
}

fn read_bill(details: Option<&pb::BillDetails>) -> Result<Bill, Error> {
    let mut invalid = Invalid::new();
    let Some(details) = details else {
        return Err(Invalid::new().add("details", "is required").into());
    };
    let money = details.amount.clone().unwrap_or_default();
    if currency::known(&money.currency).is_none() {
        invalid.push(
            "details.amount.currency",
            "is not a currency that can be paid",
        );
    }
    if money.amount_minor <= 0 || details.late_amount_minor < 0 {
        invalid.push("details.amount", "must be above zero");
    }
    check_short(
        &mut invalid,
        "details.bill_status",
        &details.bill_status,
        10,
    );
    let due = match &details.due_time {
        Some(time) => Some(from_timestamp("details.due_time", time)?),
        None => None,
    };
    invalid.check()?;
    Ok(Bill {
        status: details.bill_status.clone(),
        due_micros: due.map(Timestamp::micros),
        currency: money.currency,
        amount_minor: money.amount_minor,
        late_minor: details.late_amount_minor,
    })
}

/// Seals a bill as it is kept.
pub(crate) fn seal_bill(keyring: &Keyring, bill: &Bill) -> Result<Vec<u8>, Error> {
    let text = serde_json::to_vec(bill).map_err(|_| Error::corrupt("a bill"))?;
    Ok(keyring.seal_block(&BILL, &text))
}

/// Opens a bill.
pub(crate) fn open_bill(keyring: &Keyring, sealed: &[u8]) -> Result<Bill, Error> {
    let text = keyring.open_block(&BILL, sealed)?;
    serde_json::from_slice(&text).map_err(|_| Error::corrupt("a bill"))
}

async fn inquire(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    request: &pb::InquireBillRequest,
) -> Result<pb::InquireBillResponse, Error> {
    let institution = sql::find_institution(tx, &request.institution_id).await?;
    let institution = institution.ok_or(Error::not_found("payer institution"))?;
    let (from, number) = (&institution.institution_id, &request.source_request);
    if let Some(known) = sql::find_inquiry(tx, from, number).await? {
        return match known.bill_id == request.bill_id {
            true => Ok(pb::InquireBillResponse {}),
            false => Err(Error::SourceRequestReused),
        };
    }
    let biller = sql::biller_of(tx, &request.bill_id).await?;
    let correlation_id = twelve(keyring, &format!("inquiry:{from}:{number}"));
    let row = InquiryRow {
        institution_id: from.clone(),
        source_request: number.clone(),
        correlation_id: correlation_id.clone(),
        bill_id: request.bill_id.clone(),
        biller_id: biller
            .as_ref()
            .map(|row| row.biller_id.clone())
            .unwrap_or_default(),
        details: None,
    };
    if !sql::insert_inquiry(tx, &row).await? {
        return Err(Error::SourceRequestReused);
    }
    match biller {
        Some(biller) => {
            let url = format!("{}/bills/{}", biller.url, row.bill_id);
            let target = Target::asking(url, &correlation_id, &biller.biller_id);
            let name = format!("inquiry:{correlation_id}");
            let content = Content::Body(json!({
                "requestId": correlation_id,
                "billId": row.bill_id,
            }));
            callback::post(tx, keyring, origin, &name, &target, content).await?;
        }
        None => {
            sql::answer_inquiry(tx, &correlation_id, None).await?;
            let body = bills::no_bill(&row, "no biller has bills of this id");
            present(tx, keyring, origin, &institution, &row, body).await?;
        }
    }
    let body = json!({"biller": row.biller_id});
    let entry = entry(
        "payments.bill.inquired",
        "bill_inquiry",
        &correlation_id,
        body,
    );
    append(tx, origin, entry);
    Ok(pb::InquireBillResponse {})
}

async fn record(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    request: &pb::RecordBillRequest,
    bill: Option<&Bill>,
) -> Result<pb::RecordBillResponse, Error> {
    let row = sql::inquiry(tx, &request.correlation_id).await?;
    let row = row.filter(|row| row.biller_id == request.biller_id);
    let row = row.ok_or(Error::not_found("bill inquiry"))?;
    let sealed = match bill {
        Some(bill) => Some(seal_bill(keyring, bill)?),
        None => None,
    };
    if !sql::answer_inquiry(tx, &row.correlation_id, sealed.as_deref()).await? {
        return Ok(pb::RecordBillResponse {});
    }
    let institution = sql::find_institution(tx, &row.institution_id).await?;
    let institution = institution.ok_or(Error::not_found("payer institution"))?;
    let biller = sql::find_biller(tx, &row.biller_id).await?;
    let biller = biller.ok_or(Error::not_found("biller"))?;
    let body = match bill {
        Some(bill) => bills::bill(&row, &biller, bill),
        None => bills::no_bill(&row, &request.refusal),
    };
    present(tx, keyring, origin, &institution, &row, body).await?;
    let body = json!({"found": bill.is_some()});
    let id = &row.correlation_id;
    append(
        tx,
        origin,
        entry("payments.bill.presented", "bill_inquiry", id, body),
    );
    Ok(pb::RecordBillResponse {})
}

/// Sends a bill, or why there is none, to whoever asked.
async fn present(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    institution: &InstitutionRow,
    row: &InquiryRow,
    body: Value,
) -> Result<(), Error> {
    let url = format!("{}/bills/{}", institution.url, row.bill_id);
    let target = Target::to(
        url,
        &row.source_request,
        (Kind::Institution, &institution.institution_id),
    );
    let name = format!("bill:{}", row.correlation_id);
    callback::post(tx, keyring, origin, &name, &target, Content::Body(body)).await
}
