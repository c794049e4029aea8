//! Partners: source and calling blocks, billers, payers' institutions and banks.
//!
//! A call that names a partner must come from a caller that is registered as speaking for it. The
//! tenant needs no column: a caller reaches the store of its own tenant only. Secrets shared with
//! a partner follow from the block's keys, the partner's kind and its name, so nothing is stored;
//! handing them out is on record.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::Invalid;
use publica_store::{Db, Tx};
use publica_types::Origin;
use serde_json::json;

use crate::app::source::source_no;
use crate::app::{App, call, check_text, entry};
use crate::domain::ids::ProgrammeId;
use crate::domain::partner::{Kind, may_speak};
use crate::domain::siv;
use crate::error::Error;
use crate::store::batch::BatchRow;
use crate::store::partner as sql;
use crate::store::{Ask, bank, bill, programme, voucher};

const FIELD_MAC: &str = "payments.voucher_key.mac";
const FIELD_ENCRYPT: &str = "payments.voucher_key.encrypt";
/// From which the secret that signs callbacks to a partner is derived.
const SECRET: &str = "payments.callback_secret";
const MOST_CLIENTS: usize = 16;
const CLIENT_CHARS: usize = 255;

impl App {
    /// The key under which voucher numbers are encrypted for a calling block.
    pub(crate) fn voucher_key(&self, party: &str) -> Result<[u8; siv::KEY], Error> {
        let mac = self.keyring.lookup(FIELD_MAC, party);
        let encrypt = self.keyring.lookup(FIELD_ENCRYPT, party);
        let key = [mac, encrypt].concat();
        key.try_into().map_err(|_| Error::corrupt("a key's length"))
    }

    /// The secret that signs callbacks to a partner. Each kind has a name space of its own.
    pub(crate) fn callback_secret(&self, kind: Kind, party: &str) -> Vec<u8> {
        let name = format!("{}:{party}", kind.as_str());
        self.keyring.lookup(SECRET, &name)
    }

    /// A voucher number as its calling block gets it: 44 characters.
    pub(crate) fn encrypt_number(&self, party: &str, number: &str) -> Result<String, Error> {
        let block: &[u8; siv::BLOCK] = number
            .as_bytes()
            .try_into()
            .map_err(|_| Error::corrupt("a voucher number"))?;
        let sealed = siv::seal(&self.voucher_key(party)?, block);
        let sealed = sealed.map_err(|_| Error::corrupt("a voucher key"))?;
        Ok(STANDARD.encode(sealed))
    }

    pub(crate) async fn get_partner_keys(
        &self,
        origin: &Origin,
        request: pb::GetPartnerKeysRequest,
    ) -> Result<pb::GetPartnerKeysResponse, Error> {
        let kind = self.kind_of(origin, &request).await?;
        let party = request.party;
        // A bank speaks for programmes.
        let names = match kind {
            Kind::Bank => {
                let programmes = bank::paying_as(&mut self.db(origin).await?, &party).await?;
                programmes.iter().map(ToString::to_string).collect()
            }
            _ => vec![party.clone()],
        };
        let parties: Vec<(Kind, &str)> = names.iter().map(|name| (kind, name.as_str())).collect();
        self.confine(origin, &parties).await?;
        let body = json!({"kind": kind.as_str()});
        let entry = entry("payments.partner_keys.read", "partner", &party, body);
        // On record before the answer leaves.
        self.journal.record(origin, entry).await?;
        let secret = STANDARD.encode(self.callback_secret(kind, &party));
        let voucher_key = match kind {
            Kind::Block => STANDARD.encode(self.voucher_key(&party)?),
            _ => String::new(),
        };
        Ok(pb::GetPartnerKeysResponse {
            callback_secret: format!("whsec_{secret}"),
            voucher_key,
        })
    }

    /// What kind of partner is meant: the one that is named, or the only one of this name.
    async fn kind_of(
        &self,
        origin: &Origin,
        request: &pb::GetPartnerKeysRequest,
    ) -> Result<Kind, Error> {
        let wanted: &[Kind] = match request.kind() {
            pb::PartnerKind::Unspecified => &Kind::ALL,
            pb::PartnerKind::Block => &[Kind::Block],
            pb::PartnerKind::Biller => &[Kind::Biller],
            pb::PartnerKind::PayerInstitution => &[Kind::Institution],
            pb::PartnerKind::PayerBank => &[Kind::Bank],
        };
        let mut db = self.db(origin).await?;
        let mut known = Vec::new();
        for kind in wanted {
            let found = match kind {
                Kind::Bank => !bank::paying_as(&mut db, &request.party).await?.is_empty(),
                other => is_registered(&mut db, *other, &request.party).await?,
            };
            if found {
                known.push(*kind);
            }
        }
        match known.as_slice() {
            [] => Err(Error::not_found("partner")),
            [kind] => Ok(*kind),
            _ => {
                let several = "is required: partners of several kinds have this name";
                Err(Invalid::new().add("kind", several).into())
            }
        }
    }

    pub(crate) async fn set_block_clients(
        &self,
        origin: &Origin,
        request: pb::SetBlockClientsRequest,
    ) -> Result<pb::SetBlockClientsResponse, Error> {
        const RPC: &str = "/publica.payments.v1.ProgrammeService/SetBlockClients";
        let mut invalid = Invalid::new();
        check_clients(&mut invalid, "clients", &request.clients);
        invalid.check()?;
        let call = call(
            "payments.set_clients",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let db = self.db(origin).await?;
        let input = (origin.clone(), request);
        write(&db, call, input, |tx, (origin, request)| {
            Box::pin(async move {
                if !voucher::knows_block(tx, &request.block).await? {
                    return Err(Error::not_found("block"));
                }
                put_clients(tx, origin, Kind::Block, &request.block, &request.clients).await?;
                Ok::<_, Error>(pb::SetBlockClientsResponse {})
            })
        })
        .await
    }

    /// Refuses whoever does not speak for a partner. The refusal is on record before it leaves.
    pub(crate) async fn speak(
        &self,
        origin: &Origin,
        kind: Kind,
        party: &str,
    ) -> Result<(), Error> {
        match self.may_speak(origin, kind, party).await? {
            true => Ok(()),
            false => Err(self.foreign(origin, kind, party).await?),
        }
    }

    /// Whether the caller speaks for a partner.
    pub(crate) async fn may_speak(
        &self,
        origin: &Origin,
        kind: Kind,
        party: &str,
    ) -> Result<bool, Error> {
        let mut db = self.db(origin).await?;
        let clients = sql::clients(&mut db, kind, party).await?;
        Ok(may_speak(&clients, &origin.actor, self.open_partners))
    }

    /// Refuses whoever speaks for partners, but for none of these. Whoever speaks for none is one
    /// of our own, whose rights are their scopes.
    pub(crate) async fn confine(
        &self,
        origin: &Origin,
        parties: &[(Kind, &str)],
    ) -> Result<(), Error> {
        let mut db = self.db(origin).await?;
        let own = sql::of_client(&mut db, &origin.actor).await?;
        let is_own = |(kind, party): &(Kind, &str)| {
            own.iter()
                .any(|row| row.kind == kind.code() && row.party == *party)
        };
        if own.is_empty() || parties.iter().any(is_own) {
            return Ok(());
        }
        let (kind, party) = parties.first().copied().unwrap_or_default();
        Err(self.foreign(origin, kind, party).await?)
    }

    /// A batch, for whoever may see it: a partner's caller sees those of its own source block, and
    /// a bank's those that it is to pay.
    pub(crate) async fn visible_batch(
        &self,
        origin: &Origin,
        db: &Db,
        batch_id: &str,
    ) -> Result<BatchRow, Error> {
        let batch = self.batch(db, batch_id).await?;
        let source = programme::find_source_by_no(&mut db.clone(), batch.source_no).await?;
        let source = source.ok_or(Error::corrupt("the source block of a batch is missing"))?;
        let bank = batch.programme_id.to_string();
        let parties = [
            (Kind::Block, source.source_id.as_str()),
            (Kind::Bank, &bank),
        ];
        self.confine(origin, &parties).await?;
        Ok(batch)
    }

    /// Those of some batches that the caller may see, by the same rule.
    pub(crate) async fn visible(
        &self,
        origin: &Origin,
        mut batches: Vec<BatchRow>,
    ) -> Result<Vec<BatchRow>, Error> {
        let mut db = self.db(origin).await?;
        let own = sql::of_client(&mut db, &origin.actor).await?;
        if !own.is_empty() {
            let of = |kind: Kind| own.iter().filter(move |row| row.kind == kind.code());
            let sources: Vec<i64> = of(Kind::Block).map(|row| source_no(&row.party)).collect();
            let programmes: Vec<&str> = of(Kind::Bank).map(|row| row.party.as_str()).collect();
            batches.retain(|batch| {
                let programme = batch.programme_id.to_string();
                sources.contains(&batch.source_no) || programmes.contains(&programme.as_str())
            });
        }
        Ok(batches)
    }

    /// Refuses whoever does not speak for a programme's bank, or calls it by another name.
    pub(crate) async fn speak_for_bank(
        &self,
        origin: &Origin,
        programme_id: ProgrammeId,
        payer_identifier: &str,
    ) -> Result<(), Error> {
        let id = programme_id.to_string();
        self.speak(origin, Kind::Bank, &id).await?;
        let named = bank::find(&mut self.db(origin).await?, programme_id).await?;
        let is_named = |row: &bank::BankRow| row.payer_identifier == payer_identifier;
        match payer_identifier.is_empty() || named.as_ref().is_some_and(is_named) {
            true => Ok(()),
            false => Err(Error::not_found("request to a bank")),
        }
    }

    /// Puts on record that a caller does not speak for a partner.
    pub(crate) async fn foreign(
        &self,
        origin: &Origin,
        kind: Kind,
        party: &str,
    ) -> Result<Error, Error> {
        let mut db = self.db(origin).await?;
        // What nobody registered is a caller's own text, which has no place in the journal.
        let party = match is_registered(&mut db, kind, party).await? {
            true => party,
            false => "",
        };
        let body = json!({"kind": kind.as_str()});
        let refused = entry("payments.partner.refused", "partner", party, body);
        let refused = refused.outcome(publica_journal::Outcome::Refused);
        self.journal.record(origin, refused).await?;
        Ok(Error::PartnerForeign)
    }
}

/// Callers that may speak for a partner, as they are given.
pub(crate) fn check_clients(invalid: &mut Invalid, field: &str, clients: &[String]) {
    if clients.len() > MOST_CLIENTS {
        invalid.push(field, "must be at most 16");
    }
    for client in clients {
        check_text(invalid, field, client, CLIENT_CHARS);
    }
}

/// Says anew who may speak for a partner.
pub(crate) async fn put_clients(
    tx: &mut Tx<'_>,
    origin: &Origin,
    kind: Kind,
    party: &str,
    clients: &[String],
) -> Result<(), Error> {
    let before = sql::clients(tx, kind, party).await?;
    let after: BTreeSet<&String> = clients.iter().collect();
    if before.iter().eq(after) {
        return Ok(());
    }
    sql::put(tx, kind, party, clients).await?;
    let body = json!({"kind": kind.as_str(), "clients": clients});
    let changed = entry("payments.partner.clients_set", "partner", party, body);
    append(tx, origin, changed);
    Ok(())
}

/// Whether a partner is registered under the name that it speaks by.
async fn is_registered(ask: &mut impl Ask, kind: Kind, party: &str) -> Result<bool, Error> {
    Ok(match kind {
        Kind::Block => voucher::knows_block(ask, party).await?,
        Kind::Biller => bill::find_biller(ask, party).await?.is_some(),
        Kind::Institution => bill::find_institution(ask, party).await?.is_some(),
        Kind::Bank => programme::find_programme_by(ask, party).await?.is_some(),
    })
}

/// The clients of partners on one page, by partner.
pub(crate) async fn clients_of(
    ask: &mut impl Ask,
    kind: Kind,
    parties: &[&str],
) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let (Some(first), Some(last)) = (parties.iter().min(), parties.iter().max()) else {
        return Ok(BTreeMap::new());
    };
    let mut clients: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in sql::clients_between(ask, kind, first, last).await? {
        clients.entry(row.party).or_default().push(row.client);
    }
    Ok(clients)
}
