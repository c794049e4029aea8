//! The services, through their generated clients.

use publica_proto::journal::v1 as proto;
use publica_proto::journal::v1::delivery::State;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::journal::v1::webhook_service_client::WebhookServiceClient;
use publica_proto::work::v1::work_service_client::WorkServiceClient;
use publica_rpc::Link;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::service::Routes;

use super::*;
use crate::export::{self, Client, Writer};
use crate::merkle::{Hash, consistent, root_of_inclusion};
use crate::store::deliveries::{self, DeliveryRow};
use crate::verify;

fn link(bench: &Bench) -> Link {
    Link::local(bench.journal.add_services(Routes::default()))
}

fn hashes(proof: &[prost::bytes::Bytes]) -> Vec<Hash> {
    proof
        .iter()
        .map(|step| Hash::try_from(step.as_ref()).unwrap())
        .collect()
}

type Received = (axum::http::HeaderMap, Vec<u8>);

/// A target that answers with `codes` in turn and then with 200.
async fn target(
    tracker: &TaskTracker,
    codes: Vec<u16>,
) -> (String, mpsc::UnboundedReceiver<Received>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let codes = Arc::new(std::sync::Mutex::new(codes.into_iter()));
    let answer = move |headers: axum::http::HeaderMap, body: axum::body::Bytes| {
        let _ = sender.send((headers, body.to_vec()));
        let code = codes.lock().unwrap().next().unwrap_or(200);
        async move { axum::http::StatusCode::from_u16(code).unwrap() }
    };
    let router = axum::Router::new().route("/hook", axum::routing::post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tracker.spawn(async move {
        let _ = tokio::time::timeout(PATIENCE * 3, axum::serve(listener, router)).await;
    });
    (url, receiver)
}

fn inside() -> JournalConfig {
    let mut config = config();
    config.webhooks.allow_private = true;
    config
}

fn webhook(url: &str, actions: &[&str]) -> proto::CreateWebhookRequest {
    proto::CreateWebhookRequest {
        webhook: Some(proto::Webhook {
            url: url.to_owned(),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            ..proto::Webhook::default()
        }),
        from_position: Some(0),
        request_id: "018f4e3c-5f00-7000-8000-000000000001".to_owned(),
        secret: String::new(),
        ignore_short_secret: false,
    }
}

/// The event that a form carries, after its legacy signature was checked.
fn event_of_form(headers: &axum::http::HeaderMap, body: &[u8], secret: &str) -> serde_json::Value {
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    let seconds = headers["webhook-timestamp"].to_str().unwrap();
    let seconds = seconds.parse().unwrap();
    let expected = publica_outbound::legacy_signature(secret.as_bytes(), seconds, body);
    assert_eq!(headers["x-igrant-signature"], expected.as_str());
    let (name, event) = form_urlencoded::parse(body).next().unwrap();
    assert_eq!(name, "payload");
    serde_json::from_str(&event).unwrap()
}

async fn received(receiver: &mut mpsc::UnboundedReceiver<Received>) -> Received {
    tokio::time::timeout(PATIENCE, receiver.recv())
        .await
        .unwrap()
        .unwrap()
}

both_engines! {
    async fn entries_are_listed_and_proven(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.run();
        let mut client = JournalServiceClient::new(link(&bench));
        let none = client.get_checkpoint(proto::GetCheckpointRequest::default()).await;
        assert_eq!(none.unwrap_err().code(), Code::NotFound);
        for n in 0..30 {
            bench.add(n, if n % 3 == 0 { "p" } else { "q" }).await;
        }
        let fresh = proto::GetCheckpointRequest { fresh: true };
        let head = client.get_checkpoint(fresh).await.unwrap().into_inner().checkpoint.unwrap();
        assert_eq!(head.tree_size, 30);
        let root = Hash::try_from(head.root_hash.as_ref()).unwrap();

        let mut request = proto::ListEntriesRequest {
            page_size: 4,
            process_id: "p".into(),
            with_proofs: true,
            ..proto::ListEntriesRequest::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = client.list_entries(request.clone()).await.unwrap().into_inner();
            for entry in page.entries {
                let leaf = Hash::try_from(entry.leaf_hash.as_ref()).unwrap();
                let proof = hashes(&entry.inclusion_proof);
                let position = entry.position.cast_unsigned();
                assert_eq!(root_of_inclusion(position, 30, &leaf, &proof), Some(root));
                assert_eq!(entry.process_id, "p");
                seen.push(entry);
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(seen.len(), 10);
        request.process_id = "q".into();
        request.page_token = "AAAA".into();
        assert_eq!(
            client.list_entries(request).await.unwrap_err().code(),
            Code::InvalidArgument
        );

        let one = proto::GetInclusionProofRequest {
            entry_id: seen[3].entry_id.clone(),
            tree_size: 0,
        };
        let proven = client.get_inclusion_proof(one).await.unwrap().into_inner();
        let leaf = Hash::try_from(proven.leaf_hash.as_ref()).unwrap();
        let proof = hashes(&proven.proof);
        let position = proven.position.cast_unsigned();
        assert_eq!(root_of_inclusion(position, 30, &leaf, &proof), Some(root));

        let sizes = proto::GetConsistencyProofRequest { old_size: 30, new_size: 0 };
        let same = client.get_consistency_proof(sizes).await.unwrap().into_inner();
        assert!(consistent(30, 30, &root, &root, &hashes(&same.proof)));
        let wrong = proto::GetConsistencyProofRequest { old_size: 31, new_size: 30 };
        let wrong = client.get_consistency_proof(wrong).await;
        assert_eq!(wrong.unwrap_err().code(), Code::InvalidArgument);
        bench.stop().await;
    }

    async fn a_case_is_exported_by_a_client(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.run();
        let client = JournalServiceClient::new(link(&bench));
        for n in 0..30 {
            bench.add(n, if n % 3 == 0 { "p" } else { "q" }).await;
        }
        let mut writer = Writer::new(Vec::new(), Some("p")).unwrap();
        let mut exporters = [Client {
            block: "payments".into(),
            service: client.clone(),
        }];
        let counts = export::over_grpc(&mut exporters, "p", &mut writer).await.unwrap();
        assert_eq!(counts, [10]);
        let key = exporters[0].key().await.unwrap().unwrap();
        let mut verifier = verify::Verifier::new();
        verifier.pin(verify::Pin::of(key.clone())).unwrap();
        verifier.read("export", writer.finish().unwrap().as_slice()).unwrap();
        let report = verifier.finish();
        assert!(report.is_valid() && report.is_pinned(), "{report}");
        assert_eq!(report.entries(), 10);

        // A block says so, too, when a case has left nothing there.
        let mut writer = Writer::new(Vec::new(), Some("none")).unwrap();
        let counts = export::over_grpc(&mut exporters, "none", &mut writer).await.unwrap();
        let report = verify::trail(writer.finish().unwrap().as_slice()).unwrap();
        assert!(counts == [0] && report.is_valid() && report.logs.len() == 1, "{report}");
        bench.stop().await;
    }

    async fn a_whole_log_is_exported_by_a_client_and_goes_on_where_it_was_cut(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.run();
        // More than a page.
        for n in 0..700 {
            bench.add(n, if n % 3 == 0 { "p" } else { "q" }).await;
        }
        let mut exporter = Client {
            block: "payments".to_owned(),
            service: JournalServiceClient::new(link(&bench)),
        };
        let mut told = Vec::new();
        let mut watch = |done, all| told.push((done, all));
        let (file, whole) = exporter.whole(Vec::new(), None, &mut watch).await.unwrap().unwrap();
        assert_eq!((whole.entries, told), (700, vec![(500, 700), (700, 700)]));
        let valid = |file: &[u8]| {
            let mut verifier = verify::Verifier::new();
            verifier.pin(verify::Pin::of(whole.key.clone())).unwrap();
            verifier.read("export", file).unwrap();
            verifier.finish()
        };
        let report = valid(&file);
        assert!(report.is_valid() && report.is_pinned(), "{report}");
        assert!(report.logs[0].complete && report.entries() == 700, "{report}");

        // Cut after its 42nd entry, and continued when there are more.
        bench.add(700, "q").await;
        let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
        let first = lines.iter().position(|line| line.starts_with(b"{\"line\":\"entry\"")).unwrap();
        let cut = lines[..first + 42].concat();
        let origin = report.logs[0].origin.clone();
        let resumed = export::Resumed {
            origin,
            next: 42,
            lines: u64::try_from(first + 42).unwrap(),
        };
        let again = exporter.whole(cut, Some(&resumed), &mut |_, _| {}).await.unwrap();
        let (file, whole) = again.unwrap();
        assert_eq!(whole.entries, 701);
        let report = valid(&file);
        assert!(report.is_valid() && report.entries() == 701, "{report}");
        // One entry left out is found.
        let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
        let without = [lines[..first + 7].concat(), lines[first + 8..].concat()].concat();
        assert!(!valid(&without).is_valid());
        // Another log's beginning is not continued.
        let other = export::Resumed { origin: "other".to_owned(), ..resumed };
        let refused = exporter.whole(Vec::new(), Some(&other), &mut |_, _| {}).await;
        assert!(refused.unwrap_err().to_string().contains("export it anew"));
        bench.stop().await;
    }

    async fn a_statement_is_of_a_case_or_of_the_whole_log(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.run();
        bench.add(0, "p").await;
        let mut client = JournalServiceClient::new(link(&bench));
        let fresh = proto::GetCheckpointRequest { fresh: true };
        client.get_checkpoint(fresh).await.unwrap();
        let ask = |process_id: &str, whole_log| proto::GetTrailStatementRequest {
            process_id: process_id.to_owned(),
            whole_log,
            ..Default::default()
        };
        for (process, whole) in [("", false), ("p", true)] {
            let refused = client.get_trail_statement(ask(process, whole)).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
        }
        for (process, whole) in [("", true), ("p", false)] {
            let made = client.get_trail_statement(ask(process, whole)).await.unwrap();
            assert_eq!(made.into_inner().entry_count, 1);
        }
        bench.stop().await;
    }

    async fn a_statement_names_the_logs_of_its_export(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.run();
        bench.add(0, "p").await;
        let mut client = JournalServiceClient::new(link(&bench));
        let fresh = proto::GetCheckpointRequest { fresh: true };
        let head = client.get_checkpoint(fresh).await.unwrap().into_inner().checkpoint.unwrap();
        let key = crate::note::VerifierKey::parse(&head.verifier_key).unwrap();
        let other = crate::note::VerifierKey::new("other", [1; 32]).to_string();
        let lists = [
            vec![other.clone()],
            vec!["nonsense".to_owned()],
            vec![key.to_string(); 101],
            vec![key.to_string(), "x".repeat(501)],
        ];
        for logs in lists {
            let request = proto::GetTrailStatementRequest {
                process_id: "p".into(),
                tree_size: 0,
                logs, ..Default::default() };
            let refused = client.get_trail_statement(request).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        }
        let request = proto::GetTrailStatementRequest {
            process_id: "p".into(),
            tree_size: 0,
            logs: vec![key.to_string(), other.clone()], ..Default::default() };
        let note = client.get_trail_statement(request).await.unwrap().into_inner().note;
        let made = crate::trail::Statement::parse(key.open(&note).unwrap()).unwrap();
        assert_eq!(made.logs[1].to_string(), other);
        bench.stop().await;
    }

    async fn a_watcher_sees_what_is_and_what_comes(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.run();
        for n in 0..5 {
            bench.add(n, "p").await;
        }
        let mut client = JournalServiceClient::new(link(&bench));
        let from = proto::WatchRequest { from_position: 2, epoch: 0 };
        let mut stream = client.watch(from).await.unwrap().into_inner();
        let mut positions = Vec::new();
        while positions.len() < 3 {
            let next = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap();
            positions.push(next.unwrap().unwrap().entry.unwrap().position);
        }
        bench.add(5, "p").await;
        let next = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
        positions.push(next.entry.unwrap().position);
        assert_eq!(positions, [2, 3, 4, 5]);
        assert_eq!(next.epoch, 1);
        drop(stream);
        bench.stop().await;
    }

    async fn webhooks_are_signed_ordered_and_retried(db: TestDatabase) {
        let bench = Bench::with(&db, keyring(), inside()).await;
        bench.run();
        let tracker = TaskTracker::new();
        let (url, mut receiver) = target(&tracker, vec![503]).await;
        let mut client = WebhookServiceClient::new(link(&bench));
        let request = webhook(&url, &["payments.*"]);
        let created = client.create_webhook(request.clone()).await.unwrap().into_inner();
        assert!(created.secret.starts_with("whsec_"));
        let again = client.create_webhook(request).await.unwrap().into_inner();
        assert_eq!((again.secret.as_str(), again.webhook), ("", created.webhook.clone()));

        for n in 0..3 {
            let origin = Origin::actor("a").in_process("p");
            bench.db.write("test.same", (n, origin), |tx, (n, origin)| {
                let entry = Entry::new("payments.account.changed").subject("account", "same");
                append(tx, origin, entry.body(json!({"n": n})));
                Box::pin(async { Ok::<(), publica_store::StoreError>(()) })
            })
            .await
            .unwrap();
        }
        // The first is refused once and comes again before the others of its subject.
        let mut numbers = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..4 {
            let (headers, body) = received(&mut receiver).await;
            let text = |name: &str| headers[name].to_str().unwrap().to_owned();
            let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let secret = created.secret.strip_prefix("whsec_").unwrap();
            let secret = base64::Engine::decode(
                &base64::engine::general_purpose::STANDARD,
                secret,
            )
            .unwrap();
            let content =
                format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).into_bytes();
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
            let tag = aws_lc_rs::hmac::sign(&key, &[content.as_slice(), &body].concat());
            let expected =
                base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tag);
            assert_eq!(text("webhook-signature"), format!("v1,{expected}"));
            assert_eq!(event["specversion"], "1.0");
            numbers.push(event["data"]["body"]["n"].as_i64().unwrap());
            ids.push(text("webhook-id"));
        }
        assert_eq!(numbers, [0, 0, 1, 2]);
        assert_eq!(ids[0], ids[1]);
        bench.stop().await;
    }

    async fn a_refused_delivery_is_set_aside_and_sent_again(db: TestDatabase) {
        let bench = Bench::with(&db, keyring(), inside()).await;
        bench.run();
        let tracker = TaskTracker::new();
        let (url, mut receiver) = target(&tracker, vec![404]).await;
        let mut client = WebhookServiceClient::new(link(&bench));
        client.create_webhook(webhook(&url, &["payments.account.opened"])).await.unwrap();
        bench.add(1, "p").await;
        received(&mut receiver).await;
        let dead = publica_testkit::eventually(|| {
            let mut client = client.clone();
            async move {
                let request = proto::ListDeadLettersRequest::default();
                let list = client.list_dead_letters(request).await.unwrap().into_inner();
                list.dead_letters.first().cloned()
            }
        })
        .await;
        assert!(dead.reason.contains("404"), "{dead:?}");
        let request = proto::RedriveDeadLettersRequest {
            delivery_ids: vec![dead.delivery_id],
            ..proto::RedriveDeadLettersRequest::default()
        };
        // It is looked for where it belongs, and nowhere else.
        let elsewhere = proto::RedriveDeadLettersRequest {
            webhook_id: publica_types::Uuid::nil().to_string(),
            ..request.clone()
        };
        let refused = client.redrive_dead_letters(elsewhere).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        let redriven = client.redrive_dead_letters(request).await.unwrap().into_inner();
        assert_eq!(redriven.redriven_count, 1);
        let (headers, _) = received(&mut receiver).await;
        assert_eq!(headers["webhook-id"], dead.entry_id.as_str());
        bench.stop().await;
    }

    async fn a_try_is_signed_with_ones_own_secret_and_remembered(db: TestDatabase) {
        let bench = Bench::with(&db, keyring(), inside()).await;
        bench.run();
        let tracker = TaskTracker::new();
        let (url, mut receiver) = target(&tracker, vec![503]).await;
        let mut client = WebhookServiceClient::new(link(&bench));
        let (other_url, _others) = target(&tracker, Vec::new()).await;
        let secret = "a-secret-of-the-subscriber";
        let mut ids = Vec::new();
        // One that wants all there is, and one that wants nothing of what happens here.
        for (url, actions) in [(&other_url, &[][..]), (&url, &["payments.*"])] {
            let mut request = webhook(url, actions);
            let given = request.webhook.as_mut().unwrap();
            given.content_type = proto::ContentType::Form.into();
            given.legacy_signature = true;
            // Nothing but what is asked of it from here on.
            request.from_position = None;
            request.request_id = String::new();
            request.secret = secret.to_owned();
            let made = client.create_webhook(request.clone()).await.unwrap().into_inner();
            assert_eq!(made.secret, secret);
            ids.push(made.webhook.unwrap().webhook_id);
            request.secret = "short".to_owned();
            let refused = client.create_webhook(request).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
        }
        let ping = proto::PingWebhookRequest {
            webhook_id: ids[1].clone(),
            request_id: String::new(),
        };
        client.ping_webhook(ping.clone()).await.unwrap();
        received(&mut receiver).await;
        let (headers, body) = received(&mut receiver).await;
        let event = event_of_form(&headers, &body, secret);
        assert_eq!(event["type"], "org.govstack.journal.webhook.pinged.v1");
        assert_eq!(event["subject"], format!("webhook/{}", ids[1]));
        let list = |n: usize, state: State| proto::ListDeliveriesRequest {
            webhook_id: ids[n].clone(),
            state: state.into(),
            ..proto::ListDeliveriesRequest::default()
        };
        let good = publica_testkit::eventually(|| {
            let (mut client, list) = (client.clone(), list(1, State::Delivered));
            async move {
                let found = client.list_deliveries(list).await.unwrap().into_inner();
                found.deliveries.into_iter().next()
            }
        })
        .await;
        assert_eq!((good.attempts, good.reason.as_str()), (2, ""));
        assert_eq!(good.action, "journal.webhook.pinged");
        assert!(good.first_time.unwrap().seconds <= good.last_time.unwrap().seconds);
        // A try is nobody else's concern.
        let others = client.list_deliveries(list(0, State::Unspecified)).await.unwrap();
        let mut others = others.into_inner().deliveries.into_iter();
        assert!(others.all(|one| one.action != "journal.webhook.pinged"));
        let given = webhook(&url, &[]).webhook.unwrap();
        let (webhook_id, disabled) = (ids[1].clone(), true);
        let off = proto::UpdateWebhookRequest {
            webhook: Some(proto::Webhook { webhook_id, disabled, ..given }),
            secret: "another-secret-of-its-own".to_owned(),
            ..proto::UpdateWebhookRequest::default()
        };
        client.update_webhook(off).await.unwrap();
        let refused = client.ping_webhook(ping).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let gone = proto::DeleteWebhookRequest { webhook_id: ids[1].clone(), ..Default::default() };
        client.delete_webhook(gone).await.unwrap();
        let refused = client.list_deliveries(list(1, State::Unspecified)).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        bench.stop().await;
    }

    async fn deliveries_are_remembered_for_a_while(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let mut client = WebhookServiceClient::new(link(&bench));
        let made = client.create_webhook(webhook("https://example.org/", &[])).await.unwrap();
        let webhook_id = made.into_inner().webhook.unwrap().webhook_id;
        let now = bench.db.now();
        let input = (webhook_id.parse().unwrap(), now);
        bench.db.write("test.tried", input, |tx, (webhook_id, now)| {
            Box::pin(async move {
                let day = Duration::from_hours(24);
                for n in 0..1_010_u32 {
                    let at = if n < 3 { now.minus(day * (40 - n)) } else { now.minus(day) };
                    let row = DeliveryRow {
                        webhook_id: *webhook_id,
                        entry_id: publica_types::Uuid::from_u128(u128::from(n)),
                        delivery_id: publica_types::Uuid::from_u128(u128::from(n)),
                        action: "a".to_owned(),
                        state: 1,
                        attempts: 1,
                        reason: String::new(),
                        first_time: at,
                        last_time: at,
                    };
                    deliveries::tried(tx, &row).await?;
                }
                Ok::<(), publica_store::StoreError>(())
            })
        })
        .await
        .unwrap();
        let mut request = proto::ListDeliveriesRequest {
            webhook_id,
            page_size: 400,
            ..proto::ListDeliveriesRequest::default()
        };
        let mut found = Vec::new();
        loop {
            let page = client.list_deliveries(request.clone()).await.unwrap().into_inner();
            found.extend(page.deliveries.into_iter().map(|one| one.entry_id));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found.len(), 1_000);
        let newest = publica_types::Uuid::from_u128(1_009).to_string();
        assert_eq!(found.first(), Some(&newest));
        let unique: std::collections::BTreeSet<_> = found.iter().collect();
        assert_eq!(unique.len(), found.len());
        bench.stop().await;
    }

    async fn who_follows_a_log_is_sent_elsewhere_when_it_stops(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.run();
        let mut client = JournalServiceClient::new(link(&bench));
        let request = proto::WatchRequest::default();
        let mut stream = client.watch(request).await.unwrap().into_inner();
        bench.add(1, "p").await;
        assert!(stream.message().await.unwrap().unwrap().entry.is_some());
        bench.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap();
        assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
        drop((stream, client));
        bench.stop().await;
    }

    async fn targets_inside_are_refused(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let mut client = WebhookServiceClient::new(link(&bench));
        for url in ["http://example.org/", "https://127.0.0.1/", "https://[::1]/", "x"] {
            let refused = client.create_webhook(webhook(url, &[])).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{url}");
        }
        bench.stop().await;
    }

    async fn operators_see_and_redrive_work(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.db.write("test.enqueue", (), |tx, ()| {
            Box::pin(async {
                let job = publica_work::Job::new("test.kind", "k1", Vec::new());
                publica_work::enqueue(tx, &Origin::actor("a"), job).await.map(drop)
            })
        })
        .await
        .unwrap();
        let mut client = WorkServiceClient::new(link(&bench));
        let jobs = client
            .list_jobs(publica_proto::work::v1::ListJobsRequest::default())
            .await
            .unwrap()
            .into_inner()
            .jobs;
        assert_eq!((jobs.len(), jobs[0].key.as_str()), (1, "k1"));
        let abandon = publica_proto::work::v1::AbandonJobRequest {
            job_id: jobs[0].job_id.clone(),
            reason: "not wanted".into(),
            request_id: "r1".into(),
        };
        client.abandon_job(abandon.clone()).await.unwrap();
        client.abandon_job(abandon.clone()).await.unwrap();
        let other = publica_proto::work::v1::AbandonJobRequest {
            request_id: "r2".into(),
            ..abandon
        };
        assert_eq!(client.abandon_job(other).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(crate::store::log::pending_count(&bench.db).await.unwrap(), 1);
        bench.stop().await;
    }
}
