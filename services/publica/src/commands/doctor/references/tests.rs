//! Every reference, on both engines and from one to the other.

use std::sync::Arc;

use publica_store::{Db, NoTail, StoreError, Stores, Tx};
use publica_testkit::{Database, TestDatabase, prepare_all};
use publica_types::{SharedClock, SystemClock, Tenant, Timestamp};

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
    let clock: SharedClock = Arc::new(SystemClock);
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

/// The writing side of a store. What the doctor opens only reads.
async fn writable(suite: &Suite, block: &str) -> (Stores, Db) {
    let plan = suite.stores(block);
    let clock: SharedClock = Arc::new(SystemClock);
    let stores = Stores::open(plan.config, plan.migrations, clock, Arc::new(NoTail))
        .await
        .unwrap();
    let db = stores.of(&Tenant::default()).await.unwrap();
    (stores, db)
}

/// One of each that resolves, one that does not, and one that another issuer named.
async fn fill(suite: &Suite) {
    let put = |block: &'static str| writable(suite, block);
    let (stores, db) = put("identity").await;
    let unit = db.write("put", (), |tx, ()| Box::pin(put_person(tx)));
    unit.await.unwrap();
    stores.close().await;
    let (stores, db) = put("consent").await;
    let unit = db.write("put", (), |tx, ()| Box::pin(put_agreement(tx)));
    unit.await.unwrap();
    stores.close().await;
    let (stores, db) = put("signature").await;
    let unit = db.write("put", (), |tx, ()| Box::pin(put_signatures(tx)));
    unit.await.unwrap();
    stores.close().await;
    let (stores, db) = put("registration").await;
    let unit = db.write("put", (), |tx, ()| Box::pin(put_files(tx)));
    unit.await.unwrap();
    stores.close().await;
}

const OWNERS: [&str; 3] = [PERSON, LOST, "elsewhere"];
const NOW: Timestamp = Timestamp::from_micros(1);

async fn put_person(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let person = Uuid::parse_str(PERSON).unwrap();
    let put = tx.query(PUT_PERSON).bind(person).bind(NOW);
    put.execute().await.map(drop)
}

async fn put_agreement(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let put = tx.query(PUT_AGREEMENT).bind("A1").bind(vec![0_u8]);
    put.bind(NOW).execute().await.map(drop)
}

async fn put_signatures(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    for (number, owner) in (0_u8..).zip(OWNERS) {
        let id = format!("X{number}");
        let put = tx.query(PUT_CERTIFICATE).bind(id.as_str()).bind(owner);
        put.bind(vec![number]).bind(NOW).execute().await?;
        let put = tx.query(PUT_SIGNATURE).bind(id.as_str()).bind(owner);
        put.bind(vec![number]).bind(NOW).execute().await?;
    }
    Ok(())
}

async fn put_files(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    for (number, owner) in (0_u8..).zip(OWNERS) {
        let id = format!("X{number}");
        let put = tx.query(PUT_FILE).bind(id.as_str()).bind(owner);
        put.bind(NOW).bind(vec![number]).execute().await?;
        let put = tx.query(PUT_ENTRY).bind(owner).bind(NOW);
        put.bind(vec![number]).execute().await?;
        let put = tx.query(PUT_DOCUMENT).bind(id.as_str()).bind(owner);
        put.bind(vec![number]).bind(NOW).execute().await?;
    }
    for (service, agreement) in [("S1", "A1"), ("S2", "A2")] {
        let put = tx.query(PUT_SERVICE).bind(service).bind(vec![0_u8]);
        put.execute().await?;
        // What an earlier version asked for does not matter any more.
        for (version, agreement) in [(1_i64, "A0"), (2, agreement)] {
            let text = format!("{{\"consentAgreement\":\"{agreement}\"}}");
            let put = tx.query(PUT_VERSION).bind(service).bind(version);
            put.bind(text.into_bytes()).bind(NOW).execute().await?;
        }
    }
    Ok(())
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
    fill(suite).await;
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
