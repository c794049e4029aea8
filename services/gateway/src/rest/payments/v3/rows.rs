//! The rows of a batch of version 3, as JSON or as CSV.

use publica_proto::payments::v1::Instruction;

use super::{Members, Refusal, objects};
use crate::rest::payments::csv::repeated;
use crate::rest::payments::currency;

const REQUEST_CHARS: usize = 16;
const MODE_CHARS: usize = 20;
const TEXT_CHARS: usize = 50;
/// Longer than anything that can be a functional id, so that the block refuses the row.
const PARTY_CHARS: usize = 100;
/// Keys of a party that name a functional id; without one, the first value counts.
const IDENTITIES: [&str; 4] = [
    "payeeidentity",
    "payeefunctionalid",
    "functionalid",
    "payeeid",
];
const COLUMNS: [&str; 15] = [
    "id",
    "request_id",
    "payment_mode",
    "payer_identifier_type",
    "payer_identifier",
    "payee_identifier_type",
    "payee_identifier",
    "amount",
    "currency",
    "note",
    "account_number",
    "program_shortcode",
    "cycle",
    "payee_dfsp_id",
    "batch_id",
];
/// So many of them must be there.
const MANDATORY: usize = 10;

/// Reads a JSON array. A member that is missing or of the wrong kind refuses the whole; what a
/// member says is judged row by row.
pub(super) fn of_json(bytes: &[u8]) -> Result<Vec<Instruction>, Refusal> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let items = objects(text);
    let items = items.ok_or_else(|| Refusal::invalid("The body must be a list of objects."))?;
    if items.is_empty() {
        return Err(Refusal::invalid("The list must not be empty."));
    }
    items.iter().map(instruction).collect()
}

fn instruction(item: &Members<'_>) -> Result<Instruction, Refusal> {
    let currency = item.needed("currency", 3)?;
    let literal = item.number("amount")?;
    // Exactly, so `1e2` is 100; what the currency cannot hold is left for the block to refuse.
    let plain = currency::known(&currency).and_then(|known| currency::amount(literal, known));
    item.needed("paymentMode", MODE_CHARS)?;
    party(item, "debitParty")?;
    Ok(Instruction {
        instruction_id: item.needed("requestId", REQUEST_CHARS)?,
        functional_id: party(item, "creditParty")?,
        amount: plain.unwrap_or_else(|| literal.to_owned()),
        currency,
        narration: item
            .text("descriptionText", TEXT_CHARS)?
            .unwrap_or_default(),
        process_id: String::new(),
    })
}

fn party(item: &Members<'_>, name: &str) -> Result<String, Refusal> {
    let pairs = item.list(name)?;
    let mut values = Vec::with_capacity(pairs.len());
    for pair in &pairs {
        let key = pair.needed("key", PARTY_CHARS)?.to_lowercase();
        values.push((key, pair.needed("value", PARTY_CHARS)?));
    }
    let named = values
        .iter()
        .find(|(key, _)| IDENTITIES.contains(&key.as_str()));
    let value = named.or(values.first()).map(|(_, value)| value.clone());
    value.ok_or_else(|| Refusal::invalid(format!("{name} must not be empty.")))
}

/// Reads CSV with a header row. What is wrong with its form refuses the whole.
pub(super) fn of_csv(bytes: &[u8]) -> Result<Vec<Instruction>, Refusal> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let header = reader
        .headers()
        .map_err(|_| Refusal::invalid("The header row is malformed."))?;
    let names: Vec<String> = header
        .iter()
        .map(|name| name.trim().to_lowercase())
        .collect();
    let known = names.iter().all(|name| COLUMNS.contains(&name.as_str()));
    let place = |column: &str| names.iter().position(|name| name == column);
    let complete = COLUMNS
        .iter()
        .take(MANDATORY)
        .all(|column| place(column).is_some());
    if !known || !complete {
        return Err(Refusal::invalid("The header row is not the published one."));
    }
    if let Some(column) = repeated(&names) {
        let what = format!("The header row names {column} twice.");
        return Err(Refusal::invalid(what));
    }
    let at = |column: &str| place(column).unwrap_or(usize::MAX);
    let places = [
        at("request_id"),
        at("payee_identifier"),
        at("amount"),
        at("currency"),
        at("note"),
    ];
    let mut rows = Vec::new();
    for (number, record) in (1_u64..).zip(reader.records()) {
        let record = record.map_err(|_| {
            Refusal::invalid(format!(
                "Row {number} does not have the columns of the header."
            ))
        })?;
        let [id, payee, amount, currency, note] =
            places.map(|place| record.get(place).unwrap_or_default().trim().to_owned());
        rows.push(Instruction {
            instruction_id: id,
            functional_id: payee,
            amount,
            currency,
            narration: note,
            process_id: String::new(),
        });
    }
    match rows.is_empty() {
        true => Err(Refusal::invalid("The file has no rows.")),
        false => Ok(rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "id,request_id,payment_mode,payer_identifier_type,payer_identifier,\
        payee_identifier_type,payee_identifier,amount,currency,note";

    #[test]
    fn csv_of_the_published_columns() {
        let body = format!("{HEADER}\n0,R1,gsma,iban,X,identity,P1,1.50,USD,\"a, b\"\n");
        let rows = of_csv(body.as_bytes()).unwrap();
        assert_eq!(
            (rows[0].functional_id.as_str(), rows[0].amount.as_str()),
            ("P1", "1.50")
        );
        assert_eq!(rows[0].narration, "a, b");
        for body in [
            String::new(),
            HEADER.to_owned(),
            format!("{HEADER}\n0,R1\n"),
            format!("{HEADER},extra\n"),
            HEADER.replace("note", "remark"),
        ] {
            assert!(of_csv(body.as_bytes()).is_err(), "{body}");
        }
        let twice = format!("{HEADER}, Amount\n0,R1,gsma,iban,X,identity,P1,1,USD,a,2\n");
        let refusal = format!("{:?}", of_csv(twice.as_bytes()).unwrap_err());
        assert!(refusal.contains("names amount twice"), "{refusal}");
    }

    #[test]
    fn a_functional_id_comes_before_other_keys() {
        let row = r#"[{"requestId":"R1","paymentMode":"closedloop","amount":1e2,"currency":"USD",
            "debitParty":[{"key":"account","value":"treasury"}],
            "creditParty":[{"key":"msisdn","value":"1"},{"key":"payeeIdentity","value":"P1"}]}]"#;
        let rows = of_json(row.as_bytes()).unwrap();
        assert_eq!(
            (rows[0].functional_id.as_str(), rows[0].amount.as_str()),
            ("P1", "100")
        );
        for (from, to) in [
            ("\"requestId\":\"R1\",", ""),
            ("\"amount\":1e2", "\"amount\":\"1\""),
            ("[{\"key\":\"account\",\"value\":\"treasury\"}]", "[]"),
            ("\"currency\":\"USD\"", "\"currency\":\"USDX\""),
        ] {
            assert!(of_json(row.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }
}
