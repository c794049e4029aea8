//! Secrets shared with source and calling blocks, billers, institutions and payers' banks. They
//! follow from the block's keys and the partner's name, so nothing is stored; handing them out is
//! on record.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_proto::payments::v1 as pb;
use publica_types::Origin;
use serde_json::json;

use crate::app::{App, entry};
use crate::domain::siv;
use crate::error::Error;
use crate::store::{bank, bill, voucher};

const FIELD_MAC: &str = "payments.voucher_key.mac";
const FIELD_ENCRYPT: &str = "payments.voucher_key.encrypt";

impl App {
    /// The key under which voucher numbers are encrypted for a calling block.
    pub(crate) fn voucher_key(&self, party: &str) -> Result<[u8; siv::KEY], Error> {
        let mac = self.keyring.lookup(FIELD_MAC, party);
        let encrypt = self.keyring.lookup(FIELD_ENCRYPT, party);
        let key = [mac, encrypt].concat();
        key.try_into().map_err(|_| Error::corrupt("a key's length"))
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
        let party = request.party;
        let mut db = self.db(origin).await?;
        // The id of a source block is the name of a calling block too.
        let known = voucher::knows_block(&mut db, &party).await?
            || bill::find_biller(&mut db, &party).await?.is_some()
            || bill::find_institution(&mut db, &party).await?.is_some()
            || bank::knows(&mut db, &party).await?;
        if !known {
            return Err(Error::not_found("partner"));
        }
        let entry = entry(
            "payments.partner_keys.read",
            "calling_block",
            &party,
            json!({}),
        );
        // On record before the answer leaves.
        self.journal.record(origin, entry).await?;
        let secret = STANDARD.encode(self.callback_secret(&party));
        Ok(pb::GetPartnerKeysResponse {
            callback_secret: format!("whsec_{secret}"),
            voucher_key: STANDARD.encode(self.voucher_key(&party)?),
        })
    }
}
