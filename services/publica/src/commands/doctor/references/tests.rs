//! Every reference, on both engines and from one to the other.

use publica_testkit::{Database, TestDatabase, prepare_all};
use publica_types::Timestamp;

use super::*;
use crate::commands::doctor::stores;
use crate::settings::{BLOCKS, Suite};

const PERSON: &str = "01890000-0000-7000-8000-000000000001";
const LOST: &str = "01890000-0000-7000-8000-000000000002";

publica_store::statements! {
    PUT_PERSON = "INSERT INTO person (person_id, state, assurance_level, registration_id, source, \
        attribute_version, created, updated) VALUES ($1, 'active', 'low', '', '', 1, $2, $2)",
    PUT_FILE = "INSERT INTO application_file (file_id, service_id, service_name, service_version, \
        applicant_id, eform_id, state, position, main_task_id, register_time, process_id, \
        version, marks, rule_trace, sealed) \
        VALUES ($1, 'S', '', 1, $2, '', 1, 0, '', $3, '', 1, '', '', $4)",
    PUT_ENTRY = "INSERT INTO register_entry (register, person_id, file_id, update_time, sealed) \
        VALUES ('R', $1, 'F', $2, $3)",
    PUT_DOCUMENT = "INSERT INTO document (document_id, owner, digest, media_type, size, \
        create_time, sealed) VALUES ($1, $2, $3, '', 0, $4, $3)",
    PUT_SERVICE = "INSERT INTO service (service_id, name, version, kind, description, \
        is_executable, is_closed, properties, definition_hash) \
        VALUES ($1, '', 2, '', '', TRUE, FALSE, '', $2)",
    PUT_VERSION = "INSERT INTO service_version (service_id, version, definition, \
        definition_hash, create_time) VALUES ($1, $2, $3, $3, $4)",
    PUT_CERTIFICATE = "INSERT INTO certificate (certificate_id, kind, owner, serial, key_hash, \
        not_after, state, reason, create_time, certificate, scd_type, scd_key_id) \
        VALUES ($1, 1, $2, $3, $3, $4, 1, 0, $4, $3, '', 0)",
    PUT_SIGNATURE = "INSERT INTO signature (signature_id, owner, kind, format, hash_type, hash, \
        certificate_id, sign_time) VALUES ($1, $2, 1, 1, 1, $3, 'C', $4)",
    PUT_AGREEMENT = "INSERT INTO agreement (agreement_id, body, lifecycle, active, forgettable, \
        purpose, purpose_code, policy_id, lawful_basis, author, revision_id, \
        approved_revision_id, approved_by, published_revision_id, published_purpose, \
        published_purpose_code, created, updated) \
        VALUES ($1, $2, 1, TRUE, FALSE, '', '', '', 1, '', '', '', '', '', '', '', $3, $3)",
}

async fn migrated(suite: &Suite) -> Vec<Open> {
    let clock: publica_types::SharedClock = std::sync::Arc::new(publica_types::SystemClock);
    for block in BLOCKS {
        let plan = suite.stores(block);
        publica_store::Stores::migrate(plan.config, &plan.migrations, &clock)
            .await
            .unwrap();
    }
    let mut findings = Findings::default();
    let open = stores::open(suite, &mut findings).await;
    assert_eq!(open.len(), BLOCKS.len(), "{:?}", said(&findings));
    open
}

fn said(findings: &Findings) -> Vec<String> {
    findings
        .lines
        .iter()
        .map(|(_, what)| what.clone())
        .collect()
}

/// One of each that resolves, one that does not, and one that another issuer named.
async fn fill(open: &[Open]) {
    let db = |block: &str| {
        open.iter()
            .find(|store| store.block == block)
            .unwrap()
            .db
            .clone()
    };
    let now = Timestamp::from_micros(1);
    let (person, registration) = (Uuid::parse_str(PERSON).unwrap(), db("registration"));
    let put = db("identity");
    put.query(PUT_PERSON)
        .bind(person)
        .bind(now)
        .execute()
        .await
        .unwrap();
    let put = db("consent");
    let put = put
        .query(PUT_AGREEMENT)
        .bind("A1")
        .bind(vec![0_u8])
        .bind(now);
    put.execute().await.unwrap();
    for (number, owner) in [PERSON, LOST, "elsewhere"].into_iter().enumerate() {
        let id = format!("X{number}");
        let bytes = vec![u8::try_from(number).unwrap()];
        let put = registration.query(PUT_FILE).bind(id.as_str()).bind(owner);
        put.bind(now).bind(bytes.clone()).execute().await.unwrap();
        let put = registration.query(PUT_ENTRY).bind(owner).bind(now);
        put.bind(bytes.clone()).execute().await.unwrap();
        let put = registration
            .query(PUT_DOCUMENT)
            .bind(id.as_str())
            .bind(owner);
        put.bind(bytes.clone()).bind(now).execute().await.unwrap();
        let signature = db("signature");
        let put = signature
            .query(PUT_CERTIFICATE)
            .bind(id.as_str())
            .bind(owner);
        put.bind(bytes.clone()).bind(now).execute().await.unwrap();
        let put = signature.query(PUT_SIGNATURE).bind(id.as_str()).bind(owner);
        put.bind(bytes).bind(now).execute().await.unwrap();
    }
    for (service, agreement) in [("S1", "A1"), ("S2", "A2")] {
        let put = registration.query(PUT_SERVICE).bind(service);
        put.bind(vec![0_u8]).execute().await.unwrap();
        // What an earlier version asked for does not matter any more.
        for (version, agreement) in [(1_i64, "A0"), (2, agreement)] {
            let text = format!("{{\"consentAgreement\":\"{agreement}\"}}");
            let put = registration.query(PUT_VERSION).bind(service).bind(version);
            put.bind(text.into_bytes())
                .bind(now)
                .execute()
                .await
                .unwrap();
        }
    }
}

const EXPECTED: [&str; 6] = [
    "1 application files of registration name applicants that identity does not have, such as X1",
    "1 entries of registers of registration name people that identity does not have, such as F",
    "1 documents of registration name owners that identity does not have, such as X1",
    "1 certificates of signature name owners that identity does not have, such as X1",
    "1 signatures of signature name owners that identity does not have, such as X1",
    "1 services of registration name data agreements that consent does not have, such as S2",
];

fn suite(folder: &std::path::Path, database: Option<&TestDatabase>, on_server: &[&str]) -> Suite {
    let mut suite = Suite {
        data: folder.to_owned(),
        ..Suite::default()
    };
    let Some(database) = database else {
        return suite;
    };
    for block in on_server {
        let config = database.config();
        match *block {
            "identity" => suite.identity.database = config,
            "signature" => suite.signature.database = config,
            "payments" => suite.payments.database = config,
            "messaging" => suite.messaging.database = config,
            "registration" => suite.registration.database = config,
            _ => suite.consent.database = config,
        }
    }
    suite
}

async fn finds(suite: &Suite) {
    let open = migrated(suite).await;
    for store in &open {
        let statements: &[(&str, Sql)] = match store.block {
            "identity" => &[("NO_PERSON", NO_PERSON)],
            "consent" => &[("NO_AGREEMENT", NO_AGREEMENT)],
            "signature" => &[("CERTIFICATES", CERTIFICATES), ("SIGNATURES", SIGNATURES)],
            "registration" => &ALL_OF_REGISTRATION,
            _ => &[],
        };
        prepare_all(&store.db, statements).await;
    }
    let mut findings = Findings::default();
    check(&open, &mut findings).await;
    assert!(
        said(&findings).iter().all(|line| line.contains(" has")),
        "{:?}",
        said(&findings)
    );
    fill(&open).await;
    let mut findings = Findings::default();
    check(&open, &mut findings).await;
    assert_eq!(said(&findings), EXPECTED);
    stores::close(open).await;
}

const ALL_OF_REGISTRATION: [(&str, Sql); 4] = [
    ("APPLICANTS", APPLICANTS),
    ("REGISTERED", REGISTERED),
    ("DOCUMENTS", DOCUMENTS),
    ("AGREEMENTS", AGREEMENTS),
];

#[tokio::test]
async fn references_to_what_is_gone_are_counted_on_embedded_stores() {
    let folder = tempfile::tempdir().unwrap();
    finds(&suite(folder.path(), None, &[])).await;
}

#[tokio::test]
async fn references_to_what_is_gone_are_counted_on_postgresql() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::postgres().await);
    finds(&suite(folder.path(), Some(&database), BLOCKS)).await;
}

#[tokio::test]
async fn references_lead_from_one_engine_to_the_other() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::postgres().await);
    finds(&suite(
        folder.path(),
        Some(&database),
        &["registration", "consent"],
    ))
    .await;
}
