//! Functional ids, financial addresses and how a beneficiary is paid.

/// How a beneficiary is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Modality {
    Bank,
    Mobile,
    Voucher,
    Wallet,
    Alias,
}

impl Modality {
    /// Reads the two-character code.
    pub(crate) fn parse(code: &str) -> Option<Self> {
        Some(match code {
            "00" => Self::Bank,
            "01" => Self::Mobile,
            "02" => Self::Voucher,
            "03" => Self::Wallet,
            "04" => Self::Alias,
            _ => return None,
        })
    }

    /// The two-character code.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Bank => "00",
            Self::Mobile => "01",
            Self::Voucher => "02",
            Self::Wallet => "03",
            Self::Alias => "04",
        }
    }
}

/// A mapping that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) modality: Modality,
    pub(crate) institution: String,
    pub(crate) address: String,
}

/// Why a mapping cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("functional id must have 1 to 20 characters")]
    FunctionalId,
    #[error("unknown payment modality")]
    Modality,
    #[error("financial address is missing")]
    AddressMissing,
    #[error("financial address is too long")]
    AddressTooLong,
    #[error("financial address has characters that cannot be used")]
    AddressCharacters,
    #[error("financial address is no telephone number")]
    NotTelephone,
    #[error("IBAN check digits are wrong")]
    Iban,
    #[error("institution must have at most 11 letters and digits")]
    Institution,
}

const FUNCTIONAL_ID_CHARS: usize = 20;
const ADDRESS_CHARS: usize = 30;
const IBAN_CHARS: usize = 34;
const INSTITUTION_CHARS: usize = 11;

/// True for a text of one to `most` characters, some of them visible and none a control.
pub(crate) fn within(text: &str, most: usize) -> bool {
    text.chars().count() <= most && !text.chars().any(char::is_control) && !text.trim().is_empty()
}

/// True for a usable functional id.
pub(crate) fn functional_id(text: &str) -> bool {
    within(text, FUNCTIONAL_ID_CHARS)
}

/// Reads a mapping as received. An empty modality follows from the address; an empty
/// institution from an IBAN's bank or from the modality.
pub(crate) fn mapping(
    modality: &str,
    institution: &str,
    address: &str,
) -> Result<Mapping, AddressError> {
    let modality = match (modality, address) {
        ("", "") => Modality::Voucher,
        ("", _) => Modality::Bank,
        (code, _) => Modality::parse(code).ok_or(AddressError::Modality)?,
    };
    // A voucher needs no address, but one that is given is stored as well.
    if address.chars().any(char::is_control) {
        return Err(AddressError::AddressCharacters);
    }
    if modality != Modality::Voucher {
        check_address(modality, address)?;
    }
    let institution = match institution {
        "" => derived(modality, address),
        given => given.to_owned(),
    };
    let plain = institution
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if institution.len() > INSTITUTION_CHARS || !plain {
        return Err(AddressError::Institution);
    }
    Ok(Mapping {
        modality,
        institution,
        address: address.to_owned(),
    })
}

fn check_address(modality: Modality, address: &str) -> Result<(), AddressError> {
    let length = address.chars().count();
    if address.trim().is_empty() {
        return Err(AddressError::AddressMissing);
    }
    if length > ADDRESS_CHARS && !(length <= IBAN_CHARS && iban(address)) {
        return Err(AddressError::AddressTooLong);
    }
    if modality == Modality::Bank && looks_like_iban(address) && !iban(address) {
        return Err(AddressError::Iban);
    }
    let digits = address.strip_prefix('+').unwrap_or(address);
    let telephone = (5..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if modality == Modality::Mobile && !telephone {
        return Err(AddressError::NotTelephone);
    }
    Ok(())
}

/// Where money goes when nobody named an institution.
fn derived(modality: Modality, address: &str) -> String {
    match modality {
        Modality::Bank if iban(address) => {
            let bank: String = address
                .chars()
                .filter(|c| !c.is_whitespace())
                .take(8)
                .collect();
            format!("{}{}", &bank[..2], &bank[4..])
        }
        Modality::Bank => "BANK".to_owned(),
        Modality::Mobile => "MOBILE".to_owned(),
        Modality::Voucher => "VOUCHER".to_owned(),
        Modality::Wallet => "WALLET".to_owned(),
        Modality::Alias => "ALIAS".to_owned(),
    }
}

/// Two letters and two digits, then at least eleven letters and digits.
pub(crate) fn looks_like_iban(address: &str) -> bool {
    let bytes = address.as_bytes();
    bytes.len() >= 15
        && bytes.iter().all(u8::is_ascii_alphanumeric)
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit)
}

/// True for an IBAN whose check digits are right (ISO 13616, modulo 97).
pub(crate) fn iban(address: &str) -> bool {
    if !looks_like_iban(address) || address.len() > IBAN_CHARS {
        return false;
    }
    let (head, body) = address.split_at(4);
    let remainder = body.chars().chain(head.chars()).fold(0_u32, |rest, c| {
        let value = c.to_digit(36).unwrap_or(0);
        let shift = if value > 9 { 100 } else { 10 };
        (rest * shift + value) % 97
    });
    remainder == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ibans() {
        for good in [
            "GB82WEST12345698765432",
            "DE89370400440532013000",
            "NO9386011117947",
        ] {
            assert!(iban(good), "{good}");
        }
        for bad in [
            "GB83WEST12345698765432",
            "DE8937040044053201300",
            "gb82WEST12345698765432",
            "",
        ] {
            assert!(!iban(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_left_out_is_derived() {
        for (modality, institution, address, expected) in [
            ("", "", "", (Modality::Voucher, "VOUCHER")),
            ("", "", "1234567", (Modality::Bank, "BANK")),
            ("", "", "DE89370400440532013000", (Modality::Bank, "DE3704")),
            ("01", "", "+31612345678", (Modality::Mobile, "MOBILE")),
            ("03", "ACMEWALLET", "w-17", (Modality::Wallet, "ACMEWALLET")),
            ("02", "", "", (Modality::Voucher, "VOUCHER")),
        ] {
            let read = mapping(modality, institution, address).unwrap();
            assert_eq!(
                (read.modality, read.institution.as_str()),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn what_cannot_be_used() {
        let long = "M".repeat(31);
        for (modality, institution, address, error) in [
            ("9", "", "1", AddressError::Modality),
            ("00", "", "", AddressError::AddressMissing),
            ("00", "", "   ", AddressError::AddressMissing),
            ("00", "", long.as_str(), AddressError::AddressTooLong),
            ("00", "", "DE88370400440532013000", AddressError::Iban),
            ("01", "", "12ab", AddressError::NotTelephone),
            ("00", "TOOLONGACODE", "1", AddressError::Institution),
            ("00", "A B", "1", AddressError::Institution),
            ("03", "", "a\u{7}b", AddressError::AddressCharacters),
            ("02", "", "a\u{0}b", AddressError::AddressCharacters),
            ("", "", "a\nb", AddressError::AddressCharacters),
        ] {
            assert_eq!(
                mapping(modality, institution, address),
                Err(error),
                "{address}"
            );
        }
        // The longest IBAN there is, with right check digits, passes the limit of 30.
        assert!(mapping("00", "", "MT84MALT011000012345MTLCAST001S").is_ok());
    }

    #[test]
    fn functional_ids_have_at_most_twenty_characters() {
        assert!(functional_id("12345678901234567890") && functional_id("1"));
        assert!(
            functional_id("äöü45678901234567890"),
            "characters, not bytes"
        );
        for bad in [
            "",
            "1234567890123456789\u{7}",
            "123456789012345678901",
            "                    ",
        ] {
            assert!(!functional_id(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_mapping_is_read_or_refused(
            modality in "(0[0-5])?",
            institution in "[A-Z0-9é -]{0,12}",
            address in "([A-Z]{2}[0-9]{2}[A-Z0-9]{11,31}|\\PC{0,36}|[\u{0}-\u{20}é+0-9]{0,20})",
        ) {
            if let Ok(read) = mapping(&modality, &institution, &address) {
                prop_assert!(!read.address.chars().any(char::is_control));
                prop_assert!(read.institution.len() <= INSTITUTION_CHARS);
                // Once read, a mapping is read as itself.
                let again = mapping(read.modality.code(), &read.institution, &read.address);
                prop_assert_eq!(again, Ok(read));
            }
        }
    }
}
