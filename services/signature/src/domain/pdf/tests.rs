//! Documents whose objects stand in streams, as most writers make them today, and broken ones.

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
