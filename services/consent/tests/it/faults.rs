//! Many clients about the same person at once, and death without warning: there is always one
//! current record, a history without forks, and no half of a pair.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use publica_auth::{Caller, CallerKind, TokenSource};
use publica_consent::{Consent, ConsentConfig};
use publica_host::{Block as _, Env, Profile};
use publica_jose::{Alg, Protected, SigningKey, sign_jws};
use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_proto::consent::v1::consent_service_client::ConsentServiceClient;
use publica_proto::consent::v1::data_agreement_service_client::DataAgreementServiceClient;
use publica_proto::consent::v1::individual_service_client::IndividualServiceClient;
use publica_proto::consent::v1::revision_service_client::RevisionServiceClient;
use publica_rpc::{Link, Peers};
use publica_seal::{Keyring, SealConfig};
use publica_store::{DatabaseConfig, Engine};
use publica_testkit::{Database, TestDatabase, both_engines, eventually};
use publica_types::{SharedEntropy, SystemClock, SystemEntropy, Tenant};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::{Bench, agreement, bench, question, reason};

/// Clients at a time.
const CLIENTS: usize = 12;

/// All records of a person under an agreement.
async fn records(bench: &Bench, person: &str, agreement: &str) -> Vec<pb::ConsentRecord> {
    let list = pb::ListConsentRecordsRequest {
        individual_id: person.to_owned(),
        data_agreement_id: agreement.to_owned(),
        ..pb::ListConsentRecordsRequest::default()
    };
    let answer = bench.records().list_consent_records(list).await.unwrap();
    answer.into_inner().consent_records
}

/// The chain of a record, newest first, after it was verified.
async fn chain(bench: &Bench, record_id: &str) -> Vec<pb::Revision> {
    let verified = bench.chain(record_id).await;
    assert!(verified.intact, "{verified:?}");
    let list = pb::ListRevisionsRequest {
        schema: pb::Schema::ConsentRecord.into(),
        object_id: record_id.to_owned(),
        page_size: 1_000,
        ..pb::ListRevisionsRequest::default()
    };
    let answer = bench.revisions().list_revisions(list).await.unwrap();
    let mut all = answer.into_inner().revisions;
    all.sort_by_key(|one| std::cmp::Reverse(one.sequence));
    all
}

/// Asserts that a chain has no fork and no gap.
fn assert_linear(chain: &[pb::Revision]) {
    let mut sequence: Vec<i64> = chain.iter().map(|one| one.sequence).collect();
    sequence.reverse();
    let expected: Vec<i64> = (1..=i64::try_from(chain.len()).unwrap()).collect();
    assert_eq!(sequence, expected);
    for pair in chain.windows(2) {
        assert_eq!(pair[0].predecessor_id, pair[1].revision_id);
        assert_eq!(pair[0].predecessor_hash, pair[1].serialized_hash);
        assert_eq!(pair[1].successor_id, pair[0].revision_id);
    }
    assert!(chain[0].successor_id.is_empty());
}

/// Asserts that each revision is a change of mind.
fn assert_alternating(chain: &[pb::Revision]) {
    let answer = |one: &pb::Revision| {
        let text = &one.serialized_snapshot;
        let snapshot: serde_json::Value = serde_json::from_str(text).unwrap();
        snapshot["objectData"]["optIn"].as_bool().unwrap()
    };
    for pair in chain.windows(2) {
        assert_ne!(answer(&pair[0]), answer(&pair[1]));
    }
}

/// The links that clients use: one block, and a second replica where the engine allows one.
async fn links(bench: &Bench) -> Vec<Link> {
    let mut links = vec![bench.admin()];
    if bench.db.engine() == Engine::Postgres {
        links.push(bench.replica().await);
    }
    links
}

/// How a call may end that another overtook.
const RACED: [&str; 4] = [
    "RECORD_EXISTS",
    "REVISION_SUPERSEDED",
    "CONFLICT",
    "STORE_UNAVAILABLE",
];

both_engines! {
    async fn grants_and_withdrawals_of_one_pair_end_in_one_record(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let signer = bench.signer("1").await;
        let links = links(&bench).await;
        // Everybody brings a pair of their own for the same person and text.
        let mut pairs = Vec::new();
        for n in 0..CLIENTS {
            pairs.push(bench.pair(&signer, &text, n % 3 != 0).await);
        }
        let sent = pairs.into_iter().enumerate().map(|(n, pair)| {
            let mut client = ConsentRecordServiceClient::new(links[n % links.len()].clone());
            async move { client.sign_consent_record(pair).await }
        });
        let answers = futures::future::join_all(sent).await;
        let mut stored = BTreeSet::new();
        for answer in answers {
            match answer {
                Ok(answer) => {
                    let record = answer.into_inner().consent_record.unwrap();
                    stored.insert(record.consent_record_id);
                }
                Err(status) => assert_eq!(reason::<()>(Err(status)), "RECORD_EXISTS"),
            }
        }
        assert_eq!(stored.len(), 1, "one record, whoever brought it");
        let id = stored.pop_first().unwrap();
        assert_linear(&chain(&bench, &id).await);

        // Now everybody changes their mind again and again.
        let work = (0..CLIENTS).map(|n| {
            let (id, link) = (id.clone(), links[n % links.len()].clone());
            async move {
                let mut client = ConsentRecordServiceClient::new(link);
                for round in 0..6 {
                    let change = pb::ChangeConsentRecordRequest {
                        consent_record_id: id.clone(),
                        opt_in: Some((n + round) % 2 == 0),
                        ..pb::ChangeConsentRecordRequest::default()
                    };
                    match client.change_consent_record(change).await {
                        Ok(_) => {}
                        // Somebody else was quicker; the caller reads again and decides.
                        Err(status) => assert_eq!(status.code(), tonic::Code::Aborted, "{status}"),
                    }
                }
            }
        });
        futures::future::join_all(work).await;
        let all = records(&bench, &signer.id, &text.data_agreement_id).await;
        assert_eq!(all.iter().filter(|one| one.current).count(), 1);
        assert_eq!(all.len(), 1);
        let chain = chain(&bench, &id).await;
        assert_linear(&chain);
        assert!(chain.len() > 2, "minds were changed");
        assert_eq!(all[0].revision_id, chain[0].revision_id);
        let last: serde_json::Value =
            serde_json::from_str(&chain[0].serialized_snapshot).unwrap();
        assert_eq!(last["objectData"]["optIn"], all[0].opt_in.unwrap());
        assert_alternating(&chain);
        // Every replica decides by the last answer.
        for link in &links {
            let mut checks = ConsentServiceClient::new(link.clone());
            let asked = question(&signer.id, &text.data_agreement_id, &[]);
            let verdict = checks.check_consent(asked).await.unwrap().into_inner();
            assert_eq!(verdict.allowed, all[0].opt_in.unwrap());
        }
    }

    async fn a_withdrawal_is_seen_by_the_next_check_on_any_replica(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let links = links(&bench).await;
        let mut people = Vec::new();
        for n in 0..CLIENTS {
            let signer = bench.signer(&n.to_string()).await;
            let record = bench.signed(&signer, &text, true).await;
            people.push((signer.id, record.consent_record_id));
        }
        let agreement_id = text.data_agreement_id.as_str();
        let work = people.iter().enumerate().map(|(n, (person, record))| {
            let (here, there) = (&links[n % links.len()], &links[(n + 1) % links.len()]);
            async move {
                let mut client = ConsentRecordServiceClient::new(here.clone());
                let mut checks = ConsentServiceClient::new(there.clone());
                for round in 0..6 {
                    let opt_in = round % 2 == 1;
                    let change = pb::ChangeConsentRecordRequest {
                        consent_record_id: record.clone(),
                        opt_in: Some(opt_in),
                        ..pb::ChangeConsentRecordRequest::default()
                    };
                    client.change_consent_record(change).await.unwrap();
                    let asked = question(person, agreement_id, &[]);
                    let verdict = checks.check_consent(asked).await.unwrap().into_inner();
                    assert_eq!(verdict.allowed, opt_in);
                }
            }
        });
        futures::future::join_all(work).await;
    }

    async fn new_texts_and_erasure_race_with_answers(db: TestDatabase) {
        let bench = bench(db).await;
        let mut text = agreement();
        text.forgettable = Some(true);
        let text = bench.publish(text).await;
        let id = text.data_agreement_id.clone();
        let signer = bench.signer("1").await;
        let links = links(&bench).await;
        let done: [AtomicUsize; 4] = Default::default();
        let work = (0..CLIENTS).map(|n| {
            let (signer, id, done) = (&signer, id.clone(), &done);
            let (link, text) = (links[n % links.len()].clone(), &text);
            async move {
                let mut client = ConsentRecordServiceClient::new(link.clone());
                for round in 0..4 {
                    let outcome = match (n + round) % 4 {
                        0 => {
                            let mut next = text.clone();
                            next.purpose = format!("Purpose {n} {round}");
                            let request = pb::ReplaceDataAgreementRequest {
                                data_agreement: Some(next),
                                publish: true,
                                ..pb::ReplaceDataAgreementRequest::default()
                            };
                            let mut agreements = DataAgreementServiceClient::new(link.clone());
                            agreements.replace_data_agreement(request).await.map(drop)
                        }
                        1 => {
                            let erase = pb::EraseConsentRecordsRequest {
                                individual_id: signer.id.clone(),
                                request_id: String::new(),
                            };
                            client.erase_consent_records(erase).await.map(drop)
                        }
                        _ => {
                            let create = pb::CreateConsentRecordRequest {
                                individual_id: signer.id.clone(),
                                data_agreement_id: id.clone(),
                                ..pb::CreateConsentRecordRequest::default()
                            };
                            client.create_consent_record(create).await.map(drop)
                        }
                    };
                    match outcome {
                        Ok(()) => drop(done[(n + round) % 4].fetch_add(1, Ordering::Relaxed)),
                        Err(status) => {
                            let why = reason::<()>(Err(status.clone()));
                            assert!(RACED.contains(&why.as_str()), "{status:?}");
                        }
                    }
                }
            }
        });
        futures::future::join_all(work).await;
        // Each of them took effect at least once: new texts, erasures, answers.
        let [texts, erasures, one, other] = done.map(AtomicUsize::into_inner);
        assert!(texts > 0 && erasures > 0 && one + other > 0);
        let all = records(&bench, &signer.id, &id).await;
        assert!(all.iter().filter(|one| one.current).count() <= 1);
        for record in &all {
            assert_linear(&chain(&bench, &record.consent_record_id).await);
        }
        let text = pb::VerifyChainRequest {
            schema: pb::Schema::DataAgreement.into(),
            object_id: id,
            ..pb::VerifyChainRequest::default()
        };
        let found = bench.revisions().verify_chain(text).await.unwrap().into_inner();
        assert!(found.intact, "{found:?}");
    }
}

const VARIABLE: &str = "PUBLICA_CONSENT_KILL_TEST";
const KILLS: usize = 3;

/// What the process that is killed is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    folder: PathBuf,
    database: String,
    agreement: String,
}

impl Order {
    fn acknowledged(&self) -> PathBuf {
        self.folder.join("acknowledged")
    }

    async fn open(&self) -> Consent {
        let entropy: SharedEntropy = Arc::new(SystemEntropy);
        let clock = Arc::new(SystemClock);
        let seal = SealConfig {
            file: Some(self.folder.join("seal.json")),
            create: true,
            ..SealConfig::default()
        };
        let mut database = DatabaseConfig {
            url: self.database.clone().into(),
            ..Default::default()
        };
        database.migrate_on_open = Some(true);
        let config = ConsentConfig {
            database,
            ..ConsentConfig::default()
        };
        let env = Env {
            tokens: TokenSource::ephemeral(clock.clone(), entropy.clone()).unwrap(),
            clock,
            keyring: Keyring::open(&seal, entropy.clone()).unwrap(),
            entropy,
            peers: Peers::new(),
            data_dir: self.folder.clone(),
            witness_dir: self.folder.join("witness"),
            profile: Profile::Local,
            tracker: TaskTracker::new(),
            tenants: vec![Tenant::default()],
        };
        Consent::open(config, &env).await.unwrap()
    }
}

/// A request of somebody who may do everything; there are no layers around the block here.
fn by_admin<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.extensions_mut().insert(Arc::new(Caller {
        subject: "tester".to_owned(),
        issuer: None,
        client_id: None,
        affiliation: None,
        scopes: BTreeSet::from(["consent:*".to_owned()]),
        tenant: Tenant::default(),
        kind: CallerKind::Machine,
    }));
    request
}

/// The process that is killed: it signs and withdraws until then. Run by itself it does nothing.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how a test tells its own second process what to do"
)]
fn signs_until_killed() {
    let Ok(order) = std::env::var(VARIABLE) else {
        return;
    };
    let order: Order = serde_json::from_str(&order).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let block = order.open().await;
        let link = Link::local(block.routes());
        let work = (0..8).map(|_| sign_forever(&order, link.clone()));
        futures::future::join_all(work).await;
    });
}

async fn sign_forever(order: &Order, link: Link) {
    let mut people = IndividualServiceClient::new(link.clone());
    let mut records = ConsentRecordServiceClient::new(link);
    // A line is one write, so that no kill leaves half of one before the next process's lines.
    let mut told = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(order.acknowledged())
        .unwrap();
    let key = SigningKey::generate(Alg::EdDsa, &SystemEntropy).unwrap();
    loop {
        let create = pb::BatchCreateIndividualsRequest {
            individuals: vec![pb::IndividualWithKeys {
                individual: Some(pb::Individual::default()),
                jwks: vec![key.public_jwk().to_value().to_string()],
            }],
            request_id: String::new(),
        };
        let made = people
            .batch_create_individuals(by_admin(create))
            .await
            .unwrap();
        let draft = pb::DraftConsentRecordRequest {
            individual_id: made.into_inner().individuals[0].individual_id.clone(),
            data_agreement_id: order.agreement.clone(),
            ..pb::DraftConsentRecordRequest::default()
        };
        let drafted = records
            .draft_consent_record(by_admin(draft))
            .await
            .unwrap()
            .into_inner();
        let mut signature = drafted.signature.unwrap();
        signature.signature =
            sign_jws(&key, Protected::new(), signature.payload.as_bytes()).unwrap();
        let pair = pb::SignConsentRecordRequest {
            consent_record: drafted.consent_record,
            signature: Some(signature),
            request_id: String::new(),
        };
        let stored = records
            .sign_consent_record(by_admin(pair))
            .await
            .unwrap()
            .into_inner();
        let id = stored.consent_record.unwrap().consent_record_id;
        told.write_all(format!("{id} 1\n").as_bytes()).unwrap();
        let change = pb::ChangeConsentRecordRequest {
            consent_record_id: id.clone(),
            opt_in: Some(false),
            ..pb::ChangeConsentRecordRequest::default()
        };
        records
            .change_consent_record(by_admin(change))
            .await
            .unwrap();
        told.write_all(format!("{id} 2\n").as_bytes()).unwrap();
    }
}

fn start(order: &Order) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["faults::signs_until_killed", "--exact", "--nocapture"])
        .env(VARIABLE, serde_json::to_string(order).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs and at once stops the block, which closes its store.
async fn close(block: Consent) {
    let stop = CancellationToken::new();
    stop.cancel();
    block.run(stop).await;
}

/// What was acknowledged: records, and the least revisions that each must have.
fn acknowledged(path: &Path) -> Vec<(String, i64)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may have been cut off by the kill.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| {
            let (id, revisions) = line.split_once(' ').unwrap();
            (id.to_owned(), revisions.parse().unwrap())
        })
        .collect()
}

/// Records whose chain is whole and whose signature is there, which must be all of them.
async fn whole_records(
    records: &mut ConsentRecordServiceClient<Link>,
    revisions: &mut RevisionServiceClient<Link>,
) -> BTreeSet<String> {
    let (mut known, mut page_token) = (BTreeSet::new(), String::new());
    loop {
        let list = pb::ListConsentRecordsRequest {
            page_size: 1_000,
            page_token,
            ..pb::ListConsentRecordsRequest::default()
        };
        let page = records
            .list_consent_records(by_admin(list))
            .await
            .unwrap()
            .into_inner();
        for record in page.consent_records {
            let verify = pb::VerifyChainRequest {
                schema: pb::Schema::ConsentRecord.into(),
                object_id: record.consent_record_id.clone(),
                ..pb::VerifyChainRequest::default()
            };
            let found = revisions
                .verify_chain(by_admin(verify))
                .await
                .unwrap()
                .into_inner();
            assert!(found.intact, "{found:?}");
            assert_eq!(found.head_revision_id, record.revision_id);
            assert_eq!(
                found.signatures, 1,
                "no record without the signature of its pair"
            );
            known.insert(record.consent_record_id);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    known
}

/// Every record has its whole history and its signature, and no revision is without a record.
async fn assert_whole(order: &Order) -> usize {
    let block = order.open().await;
    let link = Link::local(block.routes());
    let mut records = ConsentRecordServiceClient::new(link.clone());
    let mut revisions = RevisionServiceClient::new(link);
    for (id, least) in acknowledged(&order.acknowledged()) {
        let verify = pb::VerifyChainRequest {
            schema: pb::Schema::ConsentRecord.into(),
            object_id: id.clone(),
            ..pb::VerifyChainRequest::default()
        };
        let found = revisions
            .verify_chain(by_admin(verify))
            .await
            .unwrap()
            .into_inner();
        assert!(found.revisions >= least, "{id} lost what was acknowledged");
    }
    let known = whole_records(&mut records, &mut revisions).await;
    let mut page_token = String::new();
    loop {
        let list = pb::ListRevisionsRequest {
            schema: pb::Schema::ConsentRecord.into(),
            page_size: 1_000,
            page_token,
            ..pb::ListRevisionsRequest::default()
        };
        let page = revisions
            .list_revisions(by_admin(list))
            .await
            .unwrap()
            .into_inner();
        for revision in page.revisions {
            assert!(
                known.contains(&revision.object_id),
                "a revision without its record"
            );
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    // The store closes once nobody can reach it any more.
    drop((records, revisions));
    close(block).await;
    known.len()
}

async fn killed(db: &TestDatabase) {
    let mut order = Order {
        folder: db.dir().to_owned(),
        database: db.config().url.expose().clone(),
        agreement: String::new(),
    };
    let block = order.open().await;
    let mut agreements = DataAgreementServiceClient::new(Link::local(block.routes()));
    let create = pb::CreateDataAgreementRequest {
        data_agreement: Some(agreement()),
        publish: true,
        request_id: String::new(),
    };
    let made = agreements
        .create_data_agreement(by_admin(create))
        .await
        .unwrap()
        .into_inner();
    order.agreement = made.data_agreement.unwrap().data_agreement_id;
    drop(agreements);
    close(block).await;
    let mut seen = 0;
    for _ in 0..KILLS {
        let mut child = start(&order);
        let before = acknowledged(&order.acknowledged()).len();
        eventually(|| async {
            let now = acknowledged(&order.acknowledged()).len();
            (now >= before + 60).then_some(())
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        let now = assert_whole(&order).await;
        assert!(now > seen, "it went on after the last kill");
        seen = now;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_leaves_no_half_pair_on_sqlite() {
    killed(&Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_leaves_no_half_pair_on_postgres() {
    killed(&Database::postgres().await).await;
}
