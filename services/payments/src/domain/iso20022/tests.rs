use proptest::prelude::*;
use publica_types::{Timestamp, Uuid};

use super::initiation::{Debtor, Initiation, Payment, Terms, is_bic, short, unfit, write};
use super::status::Said;
use super::xml::{Visit, walk};
use super::*;

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn terms() -> Terms {
    Terms {
        debtor: Debtor {
            name: "Ministry of Welfare".to_owned(),
            account: "DE89370400440532013000".to_owned(),
            agent: "COBADEFFXXX".to_owned(),
        },
        batch_booking: true,
        purpose: "GOVT".to_owned(),
        charge_bearer: "SLEV".to_owned(),
    }
}

fn status_file(inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:pain.002.001.10\"><CstmrPmtStsRpt>\
         <GrpHdr><MsgId>REPORT-1</MsgId><CreDtTm>2026-03-01T10:00:00Z</CreDtTm></GrpHdr>\
         {inner}</CstmrPmtStsRpt></Document>"
    )
}

fn payment_status(id: Uuid, status: &str, reason: &str) -> String {
    let reason = match reason {
        "" => String::new(),
        code => format!("<StsRsnInf><Rsn><Cd>{code}</Cd></Rsn></StsRsnInf>"),
    };
    let id = short(id);
    format!(
        "<TxInfAndSts><OrgnlEndToEndId>{id}</OrgnlEndToEndId><TxSts>{status}</TxSts>\
         {reason}</TxInfAndSts>"
    )
}

fn entry(status: &str, amount: &str, direction: &str, details: &str) -> String {
    format!(
        "<Ntry><Amt Ccy=\"USD\">{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd>{status}\
         <BookgDt><Dt>2026-03-01</Dt></BookgDt><AcctSvcrRef>ENTRY</AcctSvcrRef>\
         <BkTxCd/>{details}</Ntry>"
    )
}

fn statement_file(entries: &str) -> String {
    format!(
        "<n:Document xmlns:n=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\">\
         <n:BkToCstmrStmt><n:GrpHdr><n:MsgId>STATEMENTS-1</n:MsgId></n:GrpHdr>\
         <Stmt xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><Id>DAY-1</Id>\
         <CreDtTm>2026-03-02T01:00:00</CreDtTm><Acct><Ccy>USD</Ccy></Acct>{entries}</Stmt>\
         </n:BkToCstmrStmt></n:Document>"
    )
}

fn statement(text: &str) -> account::Sheet {
    let Document::Statement(mut notice) = read(text.as_bytes()).unwrap() else {
        panic!("no statement");
    };
    assert_eq!(notice.sheets.len(), 1);
    notice.sheets.remove(0)
}

#[test]
fn statuses_mean_outcomes() {
    let rejected = |code: &str| Said::Rejected {
        reason_code: code.to_owned(),
    };
    for (status, code, expected) in [
        ("ACCP", "", Said::Pending),
        ("ACSP", "", Said::Pending),
        ("PDNG", "", Said::Pending),
        ("ACTC", "", Said::Pending),
        ("ACSC", "", Said::Settled),
        ("ACCC", "", Said::Settled),
        ("RJCT", "AC04", rejected("AC04")),
        ("RJCT", "", rejected("MS03")),
        ("RJCT", "far too long", rejected("MS03")),
        ("CANC", "DS02", rejected("DS02")),
    ] {
        let payment = payment_status(uuid(7), status, code);
        let text = status_file(&format!(
            "<OrgnlGrpInfAndSts><OrgnlMsgId>{}</OrgnlMsgId><GrpSts>PART</GrpSts>\
             </OrgnlGrpInfAndSts><OrgnlPmtInfAndSts>{payment}</OrgnlPmtInfAndSts>",
            short(uuid(9))
        ));
        let Document::Status(report) = read(text.as_bytes()).unwrap() else {
            panic!("no report");
        };
        assert_eq!(report.id, "REPORT-1");
        assert_eq!(report.original, Some(uuid(9)));
        assert_eq!(report.group, Said::Pending);
        assert_eq!(report.payments[0].end_to_end_id, Some(uuid(7)));
        assert_eq!(report.payments[0].said, expected, "{status} {code}");
    }
}

#[test]
fn what_is_said_of_all_is_said_of_the_message() {
    let original = format!("<OrgnlMsgId>{}</OrgnlMsgId>", short(uuid(9)));
    let reason = "<StsRsnInf><Rsn><Cd>AM04</Cd></Rsn></StsRsnInf>";
    let short_of = Said::Rejected {
        reason_code: "AM04".to_owned(),
    };
    for (inner, expected) in [
        (
            format!(
                "<OrgnlGrpInfAndSts>{original}<GrpSts>RJCT</GrpSts>{reason}</OrgnlGrpInfAndSts>"
            ),
            short_of.clone(),
        ),
        (
            format!(
                "<OrgnlGrpInfAndSts>{original}</OrgnlGrpInfAndSts><OrgnlPmtInfAndSts>\
                 <PmtInfSts>RJCT</PmtInfSts>{reason}</OrgnlPmtInfAndSts>"
            ),
            short_of,
        ),
        (
            format!("<OrgnlGrpInfAndSts>{original}<GrpSts>ACSC</GrpSts></OrgnlGrpInfAndSts>"),
            Said::Settled,
        ),
        (
            format!("<OrgnlGrpInfAndSts>{original}<GrpSts>ACCP</GrpSts></OrgnlGrpInfAndSts>"),
            Said::Pending,
        ),
    ] {
        let Document::Status(report) = read(status_file(&inner).as_bytes()).unwrap() else {
            panic!("no report");
        };
        assert_eq!(report.group, expected, "{inner}");
    }
}

#[test]
fn bookings_are_read_in_all_their_forms() {
    let book = "<Sts><Cd>BOOK</Cd></Sts>";
    let details = |id: u128, more: &str| {
        let id = short(uuid(id));
        format!("<TxDtls><Refs><EndToEndId>{id}</EndToEndId></Refs>{more}</TxDtls>")
    };
    let two = format!(
        "<NtryDtls>{}{}</NtryDtls>",
        details(2, "<Amt Ccy=\"USD\">10.00</Amt>"),
        details(
            3,
            "<AmtDtls><TxAmt><Amt Ccy=\"USD\">2.5</Amt></TxAmt></AmtDtls>"
        ),
    );
    let batch = format!(
        "<NtryDtls><Btch><PmtInfId>{}</PmtInfId><NbOfTxs>3</NbOfTxs></Btch></NtryDtls>",
        short(uuid(9))
    );
    let returned = details(4, "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>");
    let sheet = statement(&statement_file(
        &[
            entry(
                "<Sts>BOOK</Sts>",
                "10.00",
                "DBIT",
                &format!("<NtryDtls>{}</NtryDtls>", details(1, "")),
            ),
            entry(book, "12.50", "DBIT", &two),
            entry(book, "30.00", "DBIT", &batch),
            entry(
                book,
                "7.00",
                "CRDT",
                &format!("<NtryDtls>{returned}</NtryDtls>"),
            ),
            entry("<Sts>PDNG</Sts>", "99.00", "DBIT", ""),
            entry(book, "1.00", "CRDT", ""),
        ]
        .concat(),
    ));
    let seen: Vec<(Option<Uuid>, bool, i64)> = sheet
        .bookings
        .iter()
        .map(|line| (line.end_to_end_id, line.out, line.amount.amount_minor))
        .collect();
    assert_eq!(
        seen,
        [
            (Some(uuid(1)), true, 1_000),
            (Some(uuid(2)), true, 1_000),
            (Some(uuid(3)), true, 250),
            (None, true, 3_000),
            (Some(uuid(4)), false, 700),
            (None, false, 100),
        ]
    );
    assert_eq!(sheet.bookings[3].whole, Some((uuid(9), 3)));
    assert_eq!(sheet.bookings[4].reason_code, "AC04");
    let references = sheet.references();
    assert_eq!(references, ["ENTRY", "#2", "#3", "#4", "#5", "#6"]);
    let (from, to) = sheet.period().unwrap();
    assert_eq!(from.to_string(), "2026-03-01T00:00:00Z");
    assert_eq!(to.to_string(), "2026-03-02T00:00:00Z");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let sound = status_file("");
    assert!(read(sound.as_bytes()).is_ok());
    let deep = "<a>".repeat(40) + &"</a>".repeat(40);
    let entities = sound.replace(
        "<Document",
        "<!DOCTYPE d [<!ENTITY e \"REPORT\">]><Document",
    );
    let cases = [
        ("", Fault::Malformed(0)),
        ("<Document/>", Fault::Kind),
        (&sound.replace("pain.002", "pain.013"), Fault::Kind),
        (&sound.replace("UTF-8", "ISO-8859-1"), Fault::Encoding),
        (&entities, Fault::Entity),
        (&sound.replace("REPORT-1", "&e;"), Fault::Entity),
        (&status_file(&deep), Fault::Deep),
        (&sound.replace("REPORT-1", &"x".repeat(3_000)), Fault::Long),
        (
            &sound.replace("REPORT-1", ""),
            wrong("GrpHdr/MsgId", "must have 1 to 35 characters"),
        ),
        (
            &statement_file(
                "<TxsSummry><TtlNtries><NbOfNtries>2</NbOfNtries></TtlNtries></TxsSummry>",
            ),
            wrong(
                "TxsSummry/TtlNtries/NbOfNtries",
                "is not the number of entries",
            ),
        ),
        (
            &statement_file(&entry("<Sts>BOOK</Sts>", "1.001", "DBIT", "")),
            wrong("Ntry/Amt", "is no amount"),
        ),
        (
            &statement_file(&entry("<Sts>BOOK</Sts>", "1.00", "OUT", "")),
            wrong("Ntry/CdtDbtInd", "must be DBIT or CRDT"),
        ),
    ];
    for (text, fault) in cases {
        assert_eq!(read(text.as_bytes()), Err(fault), "{text}");
    }
    for broken in [
        sound.replace("</GrpHdr>", ""),
        sound.replace("<GrpHdr>", "<GrpHdr>text"),
        format!("{sound}<Document/>"),
        format!("{sound}text"),
        sound[..sound.len() - 12].to_owned(),
    ] {
        assert!(
            matches!(read(broken.as_bytes()), Err(Fault::Malformed(_))),
            "{broken}"
        );
    }
    assert_eq!(read(&[0xff, 0xfe, 0x3c]), Err(Fault::Encoding));
}

#[test]
fn foreign_elements_say_nothing() {
    let foreign = status_file("").replace(
        "<CreDtTm>",
        "<x:MsgId xmlns:x=\"urn:other\">OTHER</x:MsgId><CreDtTm>",
    );
    let Document::Status(report) = read(foreign.as_bytes()).unwrap() else {
        panic!("no report");
    };
    assert_eq!(report.id, "REPORT-1");
}

#[test]
fn only_what_all_banks_read_is_written() {
    for good in [
        "DE89370400440532013000",
        "1234567",
        "A-17/4",
        "MT84MALT011000012345MTLCAST001S",
    ] {
        assert_eq!(unfit(good, 1), None, "{good}");
    }
    for bad in ["", "  ", "1<2", "Ω17", "//1", "1234/", &"1".repeat(35)] {
        assert_eq!(unfit(bad, 1), Some("AC01"), "{bad}");
    }
    assert_eq!(unfit("1", 1_000_000_000_000_000_000), Some("AM02"));
    assert!(is_bic("COBADEFF") && is_bic("COBADEFFXXX"));
    assert!(!is_bic("COBADEF") && !is_bic("cobadeff") && !is_bic("BANK1234"));
    assert_eq!(short(uuid(7)).len(), 32);
}

/// Texts by path.
#[derive(Default)]
struct Texts(Vec<(String, String, String)>);

impl Visit for Texts {
    fn open(&mut self, _: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn close(&mut self, path: &str, text: &str, currency: &str) -> Result<(), Fault> {
        let new = (path.to_owned(), text.to_owned(), currency.to_owned());
        self.0.push(new);
        Ok(())
    }
}

impl Texts {
    fn all(&self, end: &str) -> Vec<&str> {
        let fits = self.0.iter().filter(|(path, ..)| path.ends_with(end));
        fits.map(|(_, text, _)| text.as_str()).collect()
    }
}

fn initiation<'a>(currency: &str, payments: &'a [Payment]) -> Initiation<'a> {
    Initiation {
        message_id: uuid(9),
        created_at: Timestamp::from_seconds(1_772_359_200),
        institution: "BANK1",
        currency: currency.parse().unwrap(),
        payments,
    }
}

#[test]
fn a_message_adds_up_and_names_its_payments() {
    let payment = |number: u128, account: &str, amount_minor| Payment {
        end_to_end_id: uuid(number),
        account: account.to_owned(),
        amount_minor,
    };
    let payments = [
        payment(1, "1234567", 1_050),
        payment(2, "GB82WEST12345698765432", 5),
    ];
    for (currency, sum, first) in [
        ("USD", "10.55", "10.50"),
        ("JPY", "1055", "1050"),
        ("KWD", "1.055", "1.050"),
    ] {
        let text = write(&terms(), &initiation(currency, &payments));
        assert_eq!(text, write(&terms(), &initiation(currency, &payments)));
        let mut texts = Texts::default();
        walk(text.as_bytes(), &mut texts).unwrap();
        assert_eq!(texts.all("NbOfTxs"), ["2", "2"]);
        assert_eq!(texts.all("CtrlSum"), [sum, sum]);
        assert_eq!(texts.all("InstdAmt")[0], first);
        let ids = [short(uuid(1)), short(uuid(2))];
        assert_eq!(texts.all("EndToEndId"), ids);
        assert_eq!(texts.all("CdtrAcct/Id/IBAN"), ["GB82WEST12345698765432"]);
        assert_eq!(texts.all("CdtrAgt/FinInstnId/ClrSysMmbId/MmbId"), ["BANK1"]);
        assert_eq!(texts.all("DbtrAgt/FinInstnId/BICFI"), ["COBADEFFXXX"]);
        assert_eq!(texts.all("ReqdExctnDt/Dt"), ["2026-03-01"]);
    }
}

/// Sound files to damage.
fn sound() -> Vec<String> {
    let payment = payment_status(uuid(7), "RJCT", "AC04");
    let details = "<NtryDtls><TxDtls><Refs><EndToEndId>x</EndToEndId></Refs></TxDtls></NtryDtls>";
    vec![
        status_file(&format!("<OrgnlPmtInfAndSts>{payment}</OrgnlPmtInfAndSts>")),
        statement_file(&entry("<Sts>BOOK</Sts>", "10.00", "DBIT", details)),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn damaged_files_are_read_or_refused(
        which in 0_usize..2,
        cuts in prop::collection::vec(
            (0_usize..900, 0_usize..40, "[<>/&;! a-z\"=\\[\\]]{0,12}"),
            1..5,
        ),
    ) {
        let mut text: Vec<char> = sound()[which].chars().collect();
        for (at, length, put) in cuts {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        if let Ok(document) = read(text.as_bytes()) {
            prop_assert!((1..=ID_CHARS).contains(&document.id().chars().count()));
        }
    }

    #[test]
    fn names_are_escaped_and_read_back(name in "[ -~\u{e0}-\u{ff}]{1,100}") {
        let mut terms = terms();
        terms.debtor.name.clone_from(&name);
        let text = write(&terms, &initiation("USD", &[]));
        let mut texts = Texts::default();
        walk(text.as_bytes(), &mut texts).unwrap();
        prop_assert_eq!(texts.all("Dbtr/Nm"), [name.trim()]);
    }
}
