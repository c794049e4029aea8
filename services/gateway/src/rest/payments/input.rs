//! Reading the published bodies: members may be absent, null or of the wrong type, and each
//! operation says by itself what that means.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::currency;

/// A member as it stands in the body; absent and null are alike.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// What is wrong with a request, in a few words.
pub(super) type Fault = String;

/// A beneficiary as it stands in the body.
#[derive(Deserialize)]
pub(super) struct Beneficiary<'a> {
    #[serde(borrow, default, rename = "PayeeFunctionalID")]
    functional_id: Raw<'a>,
    #[serde(borrow, default, rename = "PaymentModality")]
    modality: Raw<'a>,
    #[serde(borrow, default, rename = "FinancialAddress")]
    address: Raw<'a>,
}

/// The body of a registration or a change.
#[derive(Deserialize)]
pub(super) struct Registration<'a> {
    #[serde(borrow, default, rename = "RequestID")]
    request_id: Raw<'a>,
    #[serde(borrow, default, rename = "SourceBBID")]
    source_id: Raw<'a>,
    #[serde(borrow, default, rename = "Beneficiaries")]
    beneficiaries: Raw<'a>,
}

/// An instruction as it stands in the body.
#[derive(Deserialize)]
pub(super) struct Instruction<'a> {
    #[serde(borrow, default, rename = "InstructionID")]
    instruction_id: Raw<'a>,
    #[serde(borrow, default, rename = "PayeeFunctionalID")]
    functional_id: Raw<'a>,
    #[serde(borrow, default, rename = "Amount")]
    amount: Raw<'a>,
    #[serde(borrow, default, rename = "Currency")]
    currency: Raw<'a>,
    #[serde(borrow, default, rename = "Narration")]
    narration: Raw<'a>,
    /// Not in the published body: the case that the instruction belongs to.
    #[serde(borrow, default, rename = "ProcessID")]
    process_id: Raw<'a>,
}

/// The body of a validation or a payment.
#[derive(Deserialize)]
pub(super) struct Payment<'a> {
    #[serde(borrow, default, rename = "RequestID")]
    request_id: Raw<'a>,
    #[serde(borrow, default, rename = "SourceBBID")]
    source_id: Raw<'a>,
    #[serde(borrow, default, rename = "BatchID")]
    batch_id: Raw<'a>,
    #[serde(borrow, default, rename = "CreditInstructions")]
    instructions: Raw<'a>,
}

/// The body of a poll for a validation's result.
#[derive(Deserialize)]
pub(super) struct Poll<'a> {
    #[serde(borrow, default, rename = "RequestID")]
    request_id: Raw<'a>,
    #[serde(borrow, default, rename = "Source_BatchID")]
    batch_id: Raw<'a>,
}

/// Characters of ids of source blocks, requests and batches.
const TWELVE: usize = 12;
/// The longest narration.
const NARRATION: usize = 50;
/// The longest address that is no IBAN, and the longest IBAN.
const ADDRESS: std::ops::RangeInclusive<usize> = 31..=34;

/// A text member; `None` when it is absent.
fn text(name: &str, raw: Raw<'_>) -> Result<Option<String>, Fault> {
    match raw {
        None => Ok(None),
        Some(raw) => serde_json::from_str::<String>(raw.get())
            .map(Some)
            .map_err(|_| format!("{name} must be a text.")),
    }
}

/// A text member of exactly so many visible characters.
fn exact(name: &str, raw: Raw<'_>, count: usize) -> Result<String, Fault> {
    let text = text(name, raw)?.ok_or_else(|| format!("{name} is required."))?;
    let sound = text.chars().count() == count
        && !text.chars().any(char::is_control)
        && !text.trim().is_empty();
    match sound {
        true => Ok(text),
        false => Err(format!("{name} must have exactly {count} characters.")),
    }
}

/// A request's id, as far as there is a usable one.
pub(super) fn usable_id(raw: Raw<'_>) -> Option<String> {
    exact("RequestID", raw, TWELVE).ok()
}

fn items<'a, T: Deserialize<'a>>(name: &str, raw: Raw<'a>) -> Result<Vec<T>, Fault> {
    let raw = raw.ok_or_else(|| format!("{name} is required."))?;
    let items: Vec<T> = serde_json::from_str(raw.get())
        .map_err(|_| format!("{name} must be a list of objects."))?;
    match items.is_empty() {
        true => Err(format!("{name} must not be empty.")),
        false => Ok(items),
    }
}

/// A registration of good form.
pub(super) struct SoundRegistration {
    pub(super) request_id: String,
    pub(super) source_id: String,
    /// Functional id, modality, address.
    pub(super) beneficiaries: Vec<(String, String, String)>,
}

impl Registration<'_> {
    pub(super) fn request_id(&self) -> Option<String> {
        usable_id(self.request_id)
    }

    pub(super) fn check(&self) -> Result<SoundRegistration, Fault> {
        let request_id = exact("RequestID", self.request_id, TWELVE)?;
        let source_id = exact("SourceBBID", self.source_id, TWELVE)?;
        let items: Vec<Beneficiary<'_>> = items("Beneficiaries", self.beneficiaries)?;
        let beneficiaries = items
            .iter()
            .map(Beneficiary::check)
            .collect::<Result<_, _>>()?;
        Ok(SoundRegistration {
            request_id,
            source_id,
            beneficiaries,
        })
    }
}

impl Beneficiary<'_> {
    fn check(&self) -> Result<(String, String, String), Fault> {
        let functional_id = exact("PayeeFunctionalID", self.functional_id, 20)?;
        let modality = match self.modality {
            None => String::new(),
            given => exact("PaymentModality", given, 2)?,
        };
        let address = text("FinancialAddress", self.address)?.unwrap_or_default();
        let length = address.chars().count();
        let control = address.chars().any(char::is_control);
        // Beyond 30 characters only an IBAN is taken; the block looks at its check digits.
        let long = length > *ADDRESS.end() || (ADDRESS.contains(&length) && !iban(&address));
        match control || long {
            true => Err("FinancialAddress must have at most 30 characters.".to_owned()),
            false => Ok((functional_id, modality, address)),
        }
    }
}

/// True for an IBAN whose check digits are right.
fn iban(address: &str) -> bool {
    let bytes = address.as_bytes();
    let form = bytes.len() >= 15
        && bytes.iter().all(u8::is_ascii_alphanumeric)
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit);
    if !form {
        return false;
    }
    let (head, rest) = address.split_at(4);
    let remainder = rest.chars().chain(head.chars()).fold(0_u32, |sum, c| {
        let value = c.to_digit(36).unwrap_or(0);
        (sum * if value > 9 { 100 } else { 10 } + value) % 97
    });
    remainder == 1
}

/// A payment or validation of good form.
pub(super) struct SoundPayment {
    pub(super) request_id: String,
    pub(super) source_id: String,
    pub(super) batch_id: String,
    pub(super) instructions: Vec<publica_proto::payments::v1::Instruction>,
}

impl Payment<'_> {
    pub(super) fn request_id(&self) -> Option<String> {
        usable_id(self.request_id)
    }

    /// `narrated`: whether each instruction must have a narration, which may be empty; if not,
    /// it may be absent but not empty.
    pub(super) fn check(&self, narrated: bool) -> Result<SoundPayment, Fault> {
        let request_id = exact("RequestID", self.request_id, TWELVE)?;
        let source_id = exact("SourceBBID", self.source_id, TWELVE)?;
        let batch_id = exact("BatchID", self.batch_id, TWELVE)?;
        let items: Vec<Instruction<'_>> = items("CreditInstructions", self.instructions)?;
        let instructions = items
            .iter()
            .map(|item| item.check(narrated))
            .collect::<Result<_, _>>()?;
        Ok(SoundPayment {
            request_id,
            source_id,
            batch_id,
            instructions,
        })
    }
}

impl Instruction<'_> {
    fn check(&self, narrated: bool) -> Result<publica_proto::payments::v1::Instruction, Fault> {
        let instruction_id = exact("InstructionID", self.instruction_id, 16)?;
        let functional_id = exact("PayeeFunctionalID", self.functional_id, 20)?;
        let code = exact("Currency", self.currency, 3)?;
        let known = currency::known(&code)
            .ok_or_else(|| "Currency must be a code of ISO 4217.".to_owned())?;
        let literal = self.amount.map(RawValue::get).unwrap_or_default();
        let amount = currency::amount(literal, known).ok_or_else(|| {
            "Amount must be a number above zero with the currency's decimals.".to_owned()
        })?;
        let narration = text("Narration", self.narration)?;
        if narrated && narration.is_none() {
            return Err("Narration is required.".to_owned());
        }
        if !narrated && narration.as_deref() == Some("") {
            return Err("Narration must not be empty.".to_owned());
        }
        let narration = narration.unwrap_or_default();
        let control = narration.chars().any(char::is_control);
        if control || narration.chars().count() > NARRATION {
            return Err("Narration must have at most 50 characters.".to_owned());
        }
        let process_id = text("ProcessID", self.process_id)?.unwrap_or_default();
        if !process_id.is_empty() && !publica_rpc::is_sound_id(&process_id) {
            return Err("ProcessID must have at most 128 letters, digits, `.`, `_`, `-`.".into());
        }
        let currency = code;
        Ok(publica_proto::payments::v1::Instruction {
            instruction_id,
            functional_id,
            amount,
            currency,
            narration,
            process_id,
        })
    }
}

impl Poll<'_> {
    pub(super) fn request_id(&self) -> Option<String> {
        usable_id(self.request_id)
    }

    /// The request's and the batch's id.
    pub(super) fn check(&self) -> Result<(String, String), Fault> {
        let request_id = exact("RequestID", self.request_id, TWELVE)?;
        let batch_id = exact("Source_BatchID", self.batch_id, TWELVE)?;
        Ok((request_id, batch_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = r#"{"RequestID":"REQUEST00001","SourceBBID":"SOURCE000001",
        "BatchID":"BATCH0000001","CreditInstructions":[{"InstructionID":"INSTR00000000001",
        "PayeeFunctionalID":"PAYEE000000000000001","Amount":100.5,"Currency":"USD",
        "Narration":"March"}]}"#;

    fn check(body: &str, narrated: bool) -> Result<SoundPayment, Fault> {
        serde_json::from_str::<Payment<'_>>(body)
            .unwrap()
            .check(narrated)
    }

    #[test]
    fn sound_payments_are_read_exactly() {
        let payment = check(SOUND, true).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(payment.instructions[0].amount, "100.5");
    }

    #[test]
    fn each_fault_refuses_the_whole() {
        for (from, to) in [
            ("REQUEST00001", "REQUEST0001"),
            ("SOURCE000001", "SOURCE0000001"),
            ("BATCH0000001", "            "),
            ("INSTR00000000001", "INSTR0000000001"),
            ("PAYEE000000000000001", "PAYEE00000000000001"),
            ("\"USD\"", "\"usd\""),
            ("\"USD\"", "\"000\""),
            ("\"USD\"", "null"),
            ("100.5", "0"),
            ("100.5", "-1"),
            ("100.5", "10.005"),
            ("100.5", "\"100.5\""),
            ("100.5", "null"),
            ("100.5", "1e400"),
            ("\"March\"", "7"),
            ("\"March\"", "\"March\",\"ProcessID\":\"a case\""),
        ] {
            let body = SOUND.replace(from, to);
            assert!(
                check(&body, true).is_err() && check(&body, false).is_err(),
                "{to}"
            );
        }
        assert!(check(&SOUND.replace("[{", "[7, {"), true).is_err());
    }

    #[test]
    fn narrations_differ_by_operation() {
        let empty = SOUND.replace("\"March\"", "\"\"");
        let null = SOUND.replace("\"March\"", "null");
        assert!(check(&empty, true).is_ok() && check(&empty, false).is_err());
        assert!(check(&null, true).is_err() && check(&null, false).is_ok());
    }

    #[test]
    fn long_addresses_must_be_ibans() {
        let body = |address: &str| {
            format!(
                r#"{{"RequestID":"REQUEST00001","SourceBBID":"SOURCE000001","Beneficiaries":
                [{{"PayeeFunctionalID":"PAYEE000000000000001","FinancialAddress":"{address}"}}]}}"#
            )
        };
        let sound = |address: &str| {
            let body = body(address);
            serde_json::from_str::<Registration<'_>>(&body)
                .unwrap()
                .check()
                .is_ok()
        };
        assert!(sound("MT84MALT011000012345MTLCAST001S"));
        assert!(!sound("MT85MALT011000012345MTLCAST001S"));
        assert!(sound(&"1".repeat(30)) && !sound(&"1".repeat(31)));
    }
}
