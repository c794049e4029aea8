//! What fits a signature, and what does not.

use publica_jose::{Protected, SigningKey, sign_detached, sign_jws};
use publica_types::SystemEntropy;

use super::super::snapshot::{By, snapshot};
use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn wire(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.seconds(),
        nanos: 0,
    }
}

fn record() -> pb::ConsentRecord {
    pb::ConsentRecord {
        data_agreement_id: "a".to_owned(),
        data_agreement_revision_id: "r".to_owned(),
        data_agreement_revision_hash: "00".to_owned(),
        individual_id: "p".to_owned(),
        opt_in: Some(true),
        ..pb::ConsentRecord::default()
    }
}

fn pair() -> (pb::ConsentRecord, pb::Signature) {
    let record = record();
    let text = snapshot(
        pb::Schema::ConsentRecord,
        None,
        record::data(&record),
        NOW,
        By::Individual("p"),
    );
    let signature = draft(pb::Signature::default(), &text.text, None, wire(NOW));
    (record, signature)
}

fn key() -> SigningKey {
    SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap()
}

#[test]
fn what_was_drafted_and_signed_fits() {
    let (record, mut signature) = pair();
    let key = key();
    let payload = signature.payload.clone();
    for token in [
        sign_jws(&key, Protected::new(), payload.as_bytes()).unwrap(),
        sign_detached(&key, Protected::new(), payload.as_bytes(), false).unwrap(),
        sign_jws(
            &key,
            Protected::new(),
            sha256_hex(payload.as_bytes()).as_bytes(),
        )
        .unwrap(),
    ] {
        signature.signature = token;
        assert_eq!(check_form(&signature, NOW), Ok(Method::Jws));
        let keys = [key.public_jwk().clone()];
        assert_eq!(check_jws(&signature, &keys).unwrap(), keys[0].thumbprint());
        assert_eq!(
            check_snapshot(&signature.verification_payload, &record, "p", NOW),
            Ok(())
        );
    }
}

#[test]
fn a_signature_of_something_else_does_not() {
    let (_, mut signature) = pair();
    let (own, other) = (key(), key());
    signature.signature = sign_jws(&own, Protected::new(), b"else").unwrap();
    assert_eq!(
        check_jws(&signature, &[own.public_jwk().clone()])
            .unwrap_err()
            .step,
        "signature"
    );
    signature.signature = sign_jws(&own, Protected::new(), signature.payload.as_bytes()).unwrap();
    assert!(check_jws(&signature, &[other.public_jwk().clone()]).is_err());
    assert!(check_jws(&signature, &[]).is_err());
    signature.verification_signed_by = other.public_jwk().to_value().to_string();
    let misfit = check_jws(&signature, &[own.public_jwk().clone()]).unwrap_err();
    assert_eq!(misfit.step, "key");
    for bad in ["", "x", "a.b", "....", "eyJhbGciOiJub25lIn0..", "\u{0}"] {
        bad.clone_into(&mut signature.signature);
        assert!(
            check_jws(&signature, &[own.public_jwk().clone()]).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn each_step_finds_its_own_fault() {
    let (record, good) = pair();
    let later = NOW.plus(CLOCK_TOLERANCE * 2);
    assert_eq!(check_form(&good, later).unwrap_err().step, "time");
    let mut bad = good.clone();
    "none".clone_into(&mut bad.verification_method);
    assert_eq!(check_form(&bad, NOW).unwrap_err().step, "method");
    let mut bad = good.clone();
    bad.verification_payload.push(' ');
    assert_eq!(check_form(&bad, NOW).unwrap_err().step, "hash");
    let mut bad = good.clone();
    "someone".clone_into(&mut bad.verification_signed_by);
    assert!(
        check_form(&bad, NOW).is_ok(),
        "a member the payload is silent about"
    );
    "artifact".clone_into(&mut bad.verification_artifact);
    bad.payload = payload(&bad);
    bad.verification_artifact.clear();
    assert_eq!(check_form(&bad, NOW).unwrap_err().step, "payload");
    let mut no = record.clone();
    no.opt_in = Some(false);
    let misfit = check_snapshot(&good.verification_payload, &no, "p", NOW).unwrap_err();
    assert!(check_snapshot(&good.verification_payload, &record, "q", NOW).is_err());
    assert_eq!(misfit.step, "snapshot");
}

#[test]
fn a_new_signature_rests_on_more_than_sha1() {
    let (_, mut signature) = pair();
    assert_eq!(check_new(&signature, NOW), Ok(Method::Jws));
    let said = |signature: &pb::Signature| {
        let mut members = payload_members(signature);
        members.remove("verificationPayload");
        canonical(&Value::Object(members))
    };
    // The whole text is signed, whatever its hash.
    let text = signature.verification_payload.clone();
    signature.verification_payload_hash = sha1_hex(text.as_bytes());
    signature.payload = payload(&signature);
    assert_eq!(check_new(&signature, NOW), Ok(Method::Jws));
    signature.payload = said(&signature);
    assert_eq!(check_new(&signature, NOW).unwrap_err().step, "hash");
    // What was stored once is read as it was.
    assert!(check_form(&signature, NOW).is_ok());
    signature.verification_payload_hash = sha256_hex(text.as_bytes());
    signature.payload = said(&signature);
    assert_eq!(check_new(&signature, NOW), Ok(Method::Jws));
}

#[test]
fn a_new_signature_says_truly_what_it_signs() {
    let (_, good) = pair();
    assert_eq!(check_unreferenced(&good), Ok(()));
    let edited = |change: fn(&mut pb::Signature)| {
        let mut one = good.clone();
        change(&mut one);
        one.payload = payload(&one);
        one
    };
    for kind in ["Revision", ""] {
        let mut one = good.clone();
        kind.clone_into(&mut one.object_type);
        one.payload = payload(&one);
        assert!(check_new(&one, NOW).is_ok(), "{kind}");
    }
    let of_signature = edited(|one| "signature".clone_into(&mut one.object_type));
    assert_eq!(check_new(&of_signature, NOW).unwrap_err().step, "method");
    let torn = edited(|one| "r".clone_into(&mut one.object_reference));
    assert_eq!(check_new(&torn, NOW).unwrap_err().step, "payload");
    assert!(check_unreferenced(&torn).is_err());
    let silent = edited(|one| one.signed_without_object_reference = false);
    assert_eq!(check_unreferenced(&silent).unwrap_err().step, "payload");
}

#[test]
fn a_detached_signature_covers_the_payload() {
    let (_, mut signature) = pair();
    let lines = "AAEC\n+/8=\n";
    lines.clone_into(&mut signature.signature);
    let (value, hash) = detached(&signature).unwrap();
    assert_eq!(value, [0, 1, 2, 0xfb, 0xff]);
    assert_eq!(hex::encode(hash), sha256_hex(signature.payload.as_bytes()));
    for bad in ["", "-----BEGIN CMS-----", &"A".repeat(MAX_DETACHED + 1)] {
        bad.clone_into(&mut signature.signature);
        assert_eq!(detached(&signature).unwrap_err().step, "signature");
    }
}

#[test]
fn states_follow_the_required_roles() {
    use pb::RecordState as S;
    let roles = |roles: &[&str]| roles.iter().map(|role| (*role).to_owned()).collect();
    let both: Vec<String> = vec!["individual".to_owned(), "delegate".to_owned()];
    let parents: Vec<String> = vec!["delegate".to_owned(); 2];
    for (required, signed, expected) in [
        (&[][..], &[][..], S::Unsigned),
        (&[], &["individual"], S::Signed),
        (&[], &["delegate:a"], S::Signed),
        (&both, &["individual"], S::PendingMoreSignatures),
        (
            &both,
            &["delegate:a", "delegate:b"],
            S::PendingMoreSignatures,
        ),
        (&both, &["delegate:a", "individual"], S::Signed),
        (
            &parents,
            &["delegate:a", "individual"],
            S::PendingMoreSignatures,
        ),
        (&parents, &["delegate:a", "delegate:b"], S::Signed),
        // From an earlier system, which did not say who.
        (&both, &["delegate", "individual"], S::Signed),
    ] {
        assert_eq!(
            state(required, &roles(signed)),
            expected,
            "{required:?} {signed:?}"
        );
    }
}

#[test]
fn delegates_are_told_apart() {
    assert_eq!(signed_as(None), "individual");
    assert_eq!(delegate_of(&signed_as(Some("p"))), Some("p"));
    assert_eq!(delegate_of("individual"), None);
    assert_eq!(delegate_of("delegate"), None);
}

#[test]
fn a_token_is_bound_by_its_nonce() {
    let (_, signature) = pair();
    let hash = sha256_hex(signature.payload.as_bytes());
    assert!(check_nonce(&signature, Some(&hash)).is_ok());
    assert!(check_nonce(&signature, Some(&base64url(hex::decode(&hash).unwrap()))).is_ok());
    for bad in [None, Some(""), Some("other")] {
        assert!(check_nonce(&signature, bad).is_err());
    }
}
