//! Documents whose objects stand in streams, as most writers make them today, and broken ones.

use proptest::prelude::*;
use publica_types::Timestamp;

use crate::domain::pdf::{Coverage, Dictionary, Pdf, PdfError, find, prepare};

/// A document with its catalog, pages and page in an object stream, and a stream of
/// cross-references.
fn packed() -> Vec<u8> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>",
    ];
    let (mut index, mut body) = (String::new(), String::new());
    for (at, object) in objects.iter().enumerate() {
        index.push_str(&format!("{} {} ", at + 1, body.len()));
        body.push_str(object);
        body.push(' ');
    }
    let mut file = b"%PDF-1.5\n".to_vec();
    let stream = file.len();
    let (first, length) = (index.len(), index.len() + body.len());
    let head = format!(
        "4 0 obj\n<< /Type /ObjStm /N 3 /First {first} /Length {length} >>\nstream\n{index}{body}\n\
         endstream\nendobj\n"
    );
    file.extend_from_slice(head.as_bytes());
    let start = file.len();
    let mut rows = vec![0, 0, 0, 0];
    for index in 0..3_u8 {
        rows.extend_from_slice(&[2, 0, 4, index]);
    }
    for offset in [stream, start] {
        let offset = u16::try_from(offset).unwrap().to_be_bytes();
        rows.extend_from_slice(&[1, offset[0], offset[1], 0]);
    }
    let head = format!(
        "5 0 obj\n<< /Type /XRef /Size 6 /W [1 2 1] /Root 1 0 R /Length {} >>\nstream\n",
        rows.len()
    );
    file.extend_from_slice(head.as_bytes());
    file.extend_from_slice(&rows);
    let tail = format!("\nendstream\nendobj\nstartxref\n{start}\n%%EOF");
    file.extend_from_slice(tail.as_bytes());
    file
}

fn said() -> Dictionary<'static> {
    Dictionary {
        time: Timestamp::from_seconds(1_700_000_000),
        name: "Office",
        reason: "Grund ö",
        location: "",
        reserved: 64,
    }
}

#[test]
fn packed_documents_are_signed_in_their_own_way() {
    let original = packed();
    let prepared = prepare(&original, said()).unwrap();
    let [before, after] = prepared.signed();
    assert!(before.starts_with(&original));
    assert!(after.ends_with(b"%%EOF\n"));
    let signed = prepared.fill(&[0x30, 1, 2]).unwrap();
    let pdf = Pdf::open(&signed).unwrap();
    assert!(pdf.by_stream);
    let found = find(&pdf).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].field, "Signature1");
    assert_eq!(&found[0].contents[..3], [0x30, 1, 2]);
    assert!(found[0].hole.is_some());
    assert_eq!(found[0].coverage(&pdf), Coverage::WholeFile);
    // The same input gives the same bytes, so that a repeat can be answered.
    assert_eq!(
        prepare(&original, said())
            .unwrap()
            .fill(&[0x30, 1, 2])
            .unwrap(),
        signed
    );

    let again = prepare(&signed, said()).unwrap().fill(&[0x30]).unwrap();
    let pdf = Pdf::open(&again).unwrap();
    let found = find(&pdf).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].coverage(&pdf), Coverage::Extended);
}

#[test]
fn what_does_not_fit_is_refused() {
    let prepared = prepare(&packed(), said()).unwrap();
    assert_eq!(prepared.fill(&[0; 65]), Err(PdfError::TooSmall));
    let mut encrypted = packed();
    let at = encrypted
        .windows(5)
        .position(|one| one == b"/Root")
        .unwrap();
    encrypted.splice(at..at, b"/Encrypt 9 0 R ".iter().copied());
    assert_eq!(
        prepare(&encrypted, said()).unwrap_err(),
        PdfError::Encrypted
    );
}

#[test]
fn broken_documents_never_panic() {
    let original = packed();
    for at in 0..original.len() {
        for change in [0_u8, 0xff, b'9', b'(', b'<'] {
            let mut broken = original.clone();
            broken[at] = change;
            let _ = prepare(&broken, said());
        }
        let _ = prepare(&original[..at], said());
    }
}

/// A document of plain objects, with a table that knows where they are.
fn plain(objects: &[String], trailer: &str) -> Vec<u8> {
    let mut file = b"%PDF-1.4\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f\r\n", objects.len() + 1);
    for (at, object) in objects.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n\r\n", file.len()));
        file.extend_from_slice(format!("{} 0 obj\n{object}\nendobj\n", at + 1).as_bytes());
    }
    let start = file.len();
    let tail = format!(
        "{table}trailer\n<< /Size {} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n",
        objects.len() + 1
    );
    file.extend_from_slice(tail.as_bytes());
    file
}

/// A document whose cross-references are a stream with these members and these bytes.
fn by_stream(members: &str, data: &[u8]) -> Vec<u8> {
    let length = data.len();
    let mut file = format!(
        "%PDF-1.5\n1 0 obj\n<< /Type /XRef /Root 1 0 R {members} /Length {length} >>\nstream\n"
    );
    file.push_str(&String::from_utf8_lossy(data));
    file.push_str("\nendstream\nendobj\nstartxref\n9\n%%EOF");
    file.into_bytes()
}

#[test]
fn cross_references_have_no_more_entries_than_bytes() {
    for members in [
        "/Size 9 /W [0 0 0]",
        "/Size 9 /W [0 0 0] /Index [0 1000000 0 1000000]",
        "/Size 1000002 /W [1 1 1]",
        "/Size 9 /W [1 1 1] /Index [0 9223372036854775807]",
        "/Size 9 /W [1 1 1] /Index [9223372036854775807 9223372036854775807 1 1]",
        "/Size 9 /W [9223372036854775807 9223372036854775807 1]",
        "/Size 9 /W [1 1 1] /Index [1]",
        "/Size -1 /W [1 1 1]",
    ] {
        let opened = Pdf::open(&by_stream(members, b"")).map(|_| ());
        assert_eq!(opened, Err(PdfError::Unreadable), "{members}");
    }
    let fine = by_stream("/Size 1 /W [1 1 1]", b"\x01\x09\x00");
    assert_eq!(Pdf::open(&fine).unwrap().places.len(), 1);
    // An index of many pairs that all name the same objects.
    let members = format!("/Size 1 /W [1 0 0] /Index [{}]", "0 1 ".repeat(40_000));
    let opened = Pdf::open(&by_stream(&members, &[0; 40_000])).map(|pdf| pdf.places.len());
    assert_eq!(opened, Ok(1));
    let members = format!("/Size 1 /W [1 0 0] /Index [{}]", "0 40 ".repeat(40_000));
    assert!(Pdf::open(&by_stream(&members, &[0; 1_600_000])).is_err());
}

#[test]
fn revisions_are_counted() {
    let mut file = b"%PDF-1.4\n".to_vec();
    let mut before = None;
    for _ in 0..1_025 {
        let start = file.len();
        let prev = before.map_or(String::new(), |at| format!("/Prev {at}"));
        let section =
            format!("xref\n0 0\ntrailer\n<< /Size 1 {prev} >>\nstartxref\n{start}\n%%EOF\n");
        file.extend_from_slice(section.as_bytes());
        before = Some(start);
    }
    assert!(Pdf::open(&file).is_err());
    let last = file.len() - 70..;
    let shorter = &file[..file[..last.start]
        .windows(6)
        .rposition(|w| w == b"%%EOF\n")
        .unwrap()
        + 6];
    assert!(Pdf::open(shorter).is_ok());
}

#[test]
fn fields_are_counted_and_their_names_have_an_end() {
    let catalog = "<< /Type /Catalog /AcroForm << /Fields [2 0 R] >> >>".to_owned();
    // A field that is its own child, many times over.
    let kids = "2 0 R ".repeat(5_000);
    for field in [
        format!("<< /T (a) /Kids [{kids}] >>"),
        format!("<< /T ({}) /Kids [2 0 R] >>", "a".repeat(500)),
        format!("<< /T ({}) >>", "a".repeat(1_001)),
    ] {
        let file = plain(&[catalog.clone(), field], "");
        let found = find(&Pdf::open(&file).unwrap()).map(|found| found.len());
        assert_eq!(found, Err(PdfError::Unreadable));
    }
}

#[test]
fn reading_one_object_again_and_again_has_an_end() {
    // Ten thousand fields that are all the same megabyte.
    let fields = "2 0 R ".repeat(9_999);
    let catalog = format!("<< /Type /Catalog /AcroForm << /Fields [{fields}] >> >>");
    let large = format!("<< /T (a) /X ({}) >>", "x".repeat(1_000_000));
    let file = plain(&[catalog.clone(), large], "");
    let found = find(&Pdf::open(&file).unwrap()).map(|found| found.len());
    assert_eq!(found, Err(PdfError::Unreadable));
    let small = plain(&[catalog, "<< /T (a) >>".to_owned()], "");
    let found = find(&Pdf::open(&small).unwrap()).map(|found| found.len());
    assert_eq!(found, Ok(0));
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "<<",
        ">>",
        "[",
        "]",
        "(",
        ")",
        "<",
        ">",
        "/",
        "%",
        "\\",
        "#",
        " ",
        "\n",
        "1 0 R",
        "0",
        "-1",
        "99999999999999999999",
        "4294967295",
        "/Prev 0",
        "/Prev 9",
        "/Type /Sig",
        "/FT /Sig",
        "/Kids [1 0 R]",
        "/Fields [3 0 R]",
        "/V 1 0 R",
        "/ByteRange [0 1 2 3]",
        "/Contents <30>",
        "/W [0 1 0]",
        "/W [1 8 8]",
        "/Index [0 9]",
        "/Filter /FlateDecode",
        "/Length 4 0 R",
        "stream",
        "endobj",
        "xref",
        "trailer",
        "startxref",
        "%%EOF",
        "obj",
        "/First -1",
        "/N 9",
        "/Annots 2 0 R",
    ];
    prop_oneof![
        3 => prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn objects_come_back(bytes in prop::collection::vec(fragment(), 0..20)) {
        let source = bytes.concat();
        if let Ok(object) = super::lex::Lexer::new(&source, 0).object() {
            let mut written = Vec::new();
            object.write(&mut written);
            let again = super::lex::Lexer::new(&written, 0).object();
            prop_assert_eq!(again, Ok(object));
        }
    }

    #[test]
    fn damaged_documents_are_read_or_refused(
        is_packed in any::<bool>(),
        is_signed in any::<bool>(),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..6, fragment()), 1..5,
        ),
    ) {
        let page = "<< /Type /Page /Parent 2 0 R >>".to_owned();
        let mut file = match is_packed {
            true => packed(),
            false => plain(&[
                "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
                "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
                page,
            ], ""),
        };
        if is_signed {
            file = prepare(&file, said()).unwrap().fill(&[0x30, 0]).unwrap();
        }
        for (at, cut, put) in changes {
            let at = at.index(file.len() + 1);
            let end = file.len().min(at + cut);
            file.splice(at..end, put);
        }
        let _ = prepare(&file, said());
        if let Ok(pdf) = Pdf::open(&file)
            && let Ok(found) = find(&pdf)
        {
            for one in found {
                let _ = one.coverage(&pdf);
            }
        }
    }
}
