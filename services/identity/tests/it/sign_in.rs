//! Signing in, from the request to the code.

use publica_proto::identity::v1 as pb;
use publica_testkit::both_engines;
use publica_types::Clock as _;
use tonic_types::StatusExt as _;

use crate::support::{Factors, Identifiers, Suite, amina, prove, random, reason, seconds, send};

async fn details(suite: &Suite, transaction: &str) -> pb::GetConsentDetailsResponse {
    let request = pb::GetConsentDetailsRequest {
        transaction_id: transaction.to_owned(),
        ..pb::GetConsentDetailsRequest::default()
    };
    suite
        .sign_in()
        .get_consent_details(request)
        .await
        .unwrap()
        .into_inner()
}

/// Until when codes are of no use, if a refusal says so.
fn frozen_until(status: &tonic::Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    info.metadata.get("frozen_until").cloned()
}

fn choice(transaction: &str, claims: &[&str]) -> pb::IssueCodeRequest {
    pb::IssueCodeRequest {
        transaction_id: transaction.to_owned(),
        accepted_claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
        permitted_scopes: Vec::new(),
        details_hash: String::new(),
    }
}

/// A code that is not the one that was sent.
fn wrong(code: &str) -> String {
    let first = if code.starts_with('0') { '1' } else { '0' };
    format!("{first}{}", &code[1..])
}

both_engines! {
    async fn a_person_signs_in_with_a_code(db: TestDatabase) {
        let suite = Suite::open(db).await;
        suite.enrol(amina()).await;
        let party = suite.relying_party("portal").await;
        let parameters = Some(party.parameters(&random()));
        let request = pb::CheckAuthorizationRequest { parameters: parameters.clone() };
        let checked = suite.sign_in().check_authorization(request).await.unwrap().into_inner();
        assert_eq!((checked.fault, checked.client_name.as_str()), (None, "Cash transfer portal"));

        let request = pb::StartSignInRequest { parameters };
        let begun = suite.sign_in().start_sign_in(request).await.unwrap().into_inner();
        assert_eq!(begun.voluntary_claims, ["birthdate", "email", "email_verified", "name"]);
        let transaction = begun.transaction_id;
        let sent = suite.sign_in().send_code(send(&transaction, "a-1001")).await.unwrap();
        assert_eq!(sent.into_inner().masked_email, "******org");
        let mail = suite.mailbox.wait(0).await;
        assert_eq!((mail.to.as_str(), mail.code.len()), ("amina@example.org", 6));

        let request = prove(&transaction, "a-1001", &mail.code);
        let answer = suite.sign_in().authenticate(request).await.unwrap().into_inner();
        assert!(answer.consent_needed);
        let asked = details(&suite, &transaction).await;
        let available: Vec<(&str, bool)> =
            asked.claims.iter().map(|claim| (claim.name.as_str(), claim.available)).collect();
        assert!(available.contains(&("name", true)));
        let issued = suite.sign_in().issue_code(choice(&transaction, &["name"])).await.unwrap();
        let issued = issued.into_inner();
        assert_eq!((issued.state.as_str(), issued.nonce.as_str()), ("state-1", "nonce-1"));
        assert_eq!(issued.redirect_uri, crate::support::BACK);
        // Every step can be taken once.
        let again = suite.sign_in().issue_code(choice(&transaction, &[])).await.unwrap_err();
        assert_eq!(reason(&again), "INVALID_TRANSACTION");
    }

    async fn faulty_requests_go_where_they_may(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let party = suite.relying_party("portal").await;
        let check = async |change: &dyn Fn(&mut pb::AuthorizationParameters)| {
            let mut parameters = party.parameters(&random());
            change(&mut parameters);
            let request = pb::CheckAuthorizationRequest { parameters: Some(parameters) };
            let answer = suite.sign_in().check_authorization(request).await.unwrap();
            answer.into_inner().fault.unwrap()
        };
        let fault = check(&|p| p.client_id = "nobody".to_owned()).await;
        assert!(!fault.may_redirect && fault.redirect_uri.is_empty());
        let fault = check(&|p| p.redirect_uri.push('x')).await;
        assert!(!fault.may_redirect && fault.redirect_uri.is_empty());
        let fault = check(&|p| p.code_challenge.clear()).await;
        assert!(fault.may_redirect);
        assert_eq!((fault.error.as_str(), fault.state.as_str()), ("invalid_request", "state-1"));
        let mut parameters = party.parameters(&random());
        parameters.code_challenge.clear();
        let request = pb::StartSignInRequest { parameters: Some(parameters) };
        let refused = suite.sign_in().start_sign_in(request).await.unwrap_err();
        assert_eq!(reason(&refused), "USE_PKCE");
    }

    async fn wrong_codes_freeze_the_person(db: TestDatabase) {
        let suite = Suite::open(db).await;
        suite.enrol(amina()).await;
        let party = suite.relying_party("portal").await;
        let transaction = suite.begin(&party, &random()).await;
        let code = suite.code(&transaction, "A-1001").await;
        for _ in 0..5 {
            let request = prove(&transaction, "A-1001", &wrong(&code));
            let refused = suite.sign_in().authenticate(request).await.unwrap_err();
            assert_eq!(reason(&refused), "AUTH_FAILED");
        }
        let request = prove(&transaction, "A-1001", &code);
        let refused = suite.sign_in().authenticate(request).await.unwrap_err();
        assert_eq!(reason(&refused), "AUTH_FAILED", "the right code is of no use while frozen");

        suite.clock.advance(seconds(1_801));
        let transaction = suite.begin(&party, &random()).await;
        let code = suite.code(&transaction, "A-1001").await;
        let request = prove(&transaction, "A-1001", &code);
        suite.sign_in().authenticate(request).await.unwrap();
    }

    async fn a_pause_is_told_whether_or_not_the_person_exists(db: TestDatabase) {
        let suite = Suite::open(db).await;
        suite.enrol(amina()).await;
        let party = suite.relying_party("portal").await;
        let end = suite.clock.now().plus(seconds(1_800)).to_string();
        for individual in ["A-1001", "A-9999"] {
            let transaction = suite.begin(&party, &random()).await;
            let code = if individual == "A-1001" {
                wrong(&suite.code(&transaction, individual).await)
            } else {
                suite.sign_in().send_code(send(&transaction, individual)).await.unwrap();
                "123456".to_owned()
            };
            let mut told = Vec::new();
            for _ in 0..6 {
                let request = prove(&transaction, individual, &code);
                let refused = suite.sign_in().authenticate(request).await.unwrap_err();
                told.push(frozen_until(&refused));
            }
            assert_eq!(told[..4], [None, None, None, None], "{individual}");
            assert_eq!(told[4..], [Some(end.clone()), Some(end.clone())], "{individual}");
        }
    }

    async fn a_code_ends(db: TestDatabase) {
        let suite = Suite::open(db).await;
        suite.enrol(amina()).await;
        let party = suite.relying_party("portal").await;
        let transaction = suite.begin(&party, &random()).await;
        let code = suite.code(&transaction, "A-1001").await;
        suite.clock.advance(seconds(181));
        let request = prove(&transaction, "A-1001", &code);
        let refused = suite.sign_in().authenticate(request).await.unwrap_err();
        assert_eq!(reason(&refused), "AUTH_FAILED");
        suite.clock.advance(seconds(301));
        let refused = suite.sign_in().send_code(send(&transaction, "A-1001")).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_TRANSACTION");
    }

    async fn nobody_learns_who_exists(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let blocked = suite.enrol(amina()).await.person_id;
        let block = pb::BlockPersonRequest { person_id: blocked, ..Default::default() };
        suite.persons().block_person(block).await.unwrap();
        let party = suite.relying_party("portal").await;
        let transaction = suite.begin(&party, &random()).await;
        for individual in ["A-1001", "A-9999", "nobody@example.org"] {
            let first = suite.sign_in().send_code(send(&transaction, individual)).await.unwrap();
            let masked = first.into_inner().masked_email;
            assert_eq!((masked.len(), &masked[..6]), (9, "******"));
            for _ in 0..4 {
                let again = suite.sign_in().send_code(send(&transaction, individual)).await;
                assert_eq!(again.unwrap().into_inner().masked_email, masked);
            }
            let request = send(&transaction, individual);
            let refused = suite.sign_in().send_code(request).await.unwrap_err();
            assert_eq!(reason(&refused), "TOO_MANY_CODES");
            let request = prove(&transaction, individual, "123456");
            let refused = suite.sign_in().authenticate(request).await.unwrap_err();
            assert_eq!(reason(&refused), "AUTH_FAILED");
        }
        assert_eq!(suite.mailbox.count(), 0);
    }

    async fn challenges_are_checked_before_anything_else(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let party = suite.relying_party("portal").await;
        let transaction = suite.begin(&party, &random()).await;
        let sound = prove(&transaction, "A-1001", "123456");
        let challenge = sound.challenges[0].clone();
        let with = |challenges: Vec<pb::AuthChallenge>| pb::AuthenticateRequest {
            challenges,
            ..sound.clone()
        };
        let other = pb::AuthChallenge { factor_type: "BIO".to_owned(), ..challenge.clone() };
        let format = pb::AuthChallenge { format: "jwt".to_owned(), ..challenge.clone() };
        let short = pb::AuthChallenge { challenge: "12".to_owned(), ..challenge.clone() };
        for (request, expected) in [
            (with(Vec::new()), "INVALID_NO_OF_CHALLENGES"),
            (with(vec![challenge.clone(), challenge]), "INVALID_NO_OF_CHALLENGES"),
            (with(vec![other]), "AUTH_FACTOR_MISMATCH"),
            (with(vec![format]), "INVALID_CHALLENGE_FORMAT"),
            (with(vec![short]), "INVALID_CHALLENGE_FORMAT"),
            (prove(&transaction, " ", "123456"), "INVALID_IDENTIFIER"),
            (prove("unknown", "A-1001", "123456"), "INVALID_TRANSACTION"),
        ] {
            let refused = suite.sign_in().authenticate(request).await.unwrap_err();
            assert_eq!(reason(&refused), expected);
        }
        let phone = pb::SendCodeRequest {
            channels: vec!["phone".to_owned()],
            ..send(&transaction, "A-1001")
        };
        let refused = suite.sign_in().send_code(phone).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_OTP_CHANNEL");
    }

    async fn choices_stay_within_what_was_asked(db: TestDatabase) {
        let suite = Suite::open(db).await;
        suite.enrol(amina()).await;
        let party = suite.relying_party("portal").await;
        let parameters = pb::AuthorizationParameters {
            claims: r#"{"userinfo":{"name":{"essential":true}}}"#.to_owned(),
            ..party.parameters(&random())
        };
        let request = pb::StartSignInRequest { parameters: Some(parameters) };
        let begun = suite.sign_in().start_sign_in(request).await.unwrap().into_inner();
        assert_eq!(begun.essential_claims, ["name"]);
        let transaction = begun.transaction_id;
        let early = suite.sign_in().issue_code(choice(&transaction, &["name"])).await.unwrap_err();
        assert_eq!(reason(&early), "INVALID_TRANSACTION");
        let code = suite.code(&transaction, "A-1001").await;
        let request = prove(&transaction, "A-1001", &code);
        suite.sign_in().authenticate(request).await.unwrap();
        for claims in [vec!["email"], vec!["name", "picture"]] {
            let request = choice(&transaction, &claims);
            let refused = suite.sign_in().issue_code(request).await.unwrap_err();
            assert_eq!(reason(&refused), "INVALID_ACCEPTED_CLAIM");
        }
        let mut scoped = choice(&transaction, &["name"]);
        scoped.permitted_scopes = vec!["payments:batch:write".to_owned()];
        let refused = suite.sign_in().issue_code(scoped).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_PERMITTED_SCOPE");
        let cancel = pb::CancelSignInRequest {
            transaction_id: transaction.clone(),
            details_hash: String::new(),
        };
        let ended = suite.sign_in().cancel_sign_in(cancel).await.unwrap().into_inner();
        assert_eq!(ended.state, "state-1");
        let over = suite.sign_in().issue_code(choice(&transaction, &["name"])).await.unwrap_err();
        assert_eq!(reason(&over), "INVALID_TRANSACTION");
    }

    async fn consent_is_remembered_for_as_long_as_the_client_may(db: TestDatabase) {
        let suite = Suite::open(db).await;
        suite.enrol(amina()).await;
        let party = suite.relying_party("portal").await;
        let client = pb::Client { consent_expire_minutes: 60, ..party.client() };
        let request = pb::UpdateClientRequest { client: Some(client), ..Default::default() };
        let mut clients = crate::support::Clients::new(suite.admin());
        clients.update_client(request).await.unwrap();
        suite.authorization_code(&party, "A-1001", &random(), &["name"]).await;
        let sign_in = async || {
            let transaction = suite.begin(&party, &random()).await;
            let code = suite.code(&transaction, "A-1001").await;
            let request = prove(&transaction, "A-1001", &code);
            suite.sign_in().authenticate(request).await.unwrap().into_inner().consent_needed
        };
        assert!(!sign_in().await);
        suite.clock.advance(seconds(3_601));
        assert!(sign_in().await);
    }

    async fn one_time_identifiers_are_used_up(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let id = suite.enrol(amina()).await.person_id;
        let party = suite.relying_party("portal").await;
        let request = pb::CreateVidRequest {
            person_id: id,
            policy: pb::VidPolicy::OneTimeUse.into(),
            ..Default::default()
        };
        let made = Identifiers::new(suite.admin()).create_vid(request).await.unwrap();
        let vid = made.into_inner().identifier.unwrap().value;
        suite.authorization_code(&party, &vid, &random(), &[]).await;
        let transaction = suite.begin(&party, &random()).await;
        suite.sign_in().send_code(send(&transaction, &vid)).await.unwrap();
        let request = prove(&transaction, &vid, "123456");
        let refused = suite.sign_in().authenticate(request).await.unwrap_err();
        assert_eq!(reason(&refused), "AUTH_FAILED");
        assert_eq!(suite.mailbox.count(), 1, "nothing is sent for what is used up");
    }

    async fn a_locked_factor_sends_nothing(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let id = suite.enrol(amina()).await.person_id;
        let party = suite.relying_party("portal").await;
        let mut factors = Factors::new(suite.admin());
        let list = pb::ListFactorsRequest { person_id: id };
        let listed = factors.list_factors(list).await.unwrap().into_inner().factors;
        let factor_id = listed[0].factor_id.clone();
        let lock = pb::LockFactorRequest { factor_id: factor_id.clone(), ..Default::default() };
        factors.lock_factor(lock).await.unwrap();
        let transaction = suite.begin(&party, &random()).await;
        suite.sign_in().send_code(send(&transaction, "A-1001")).await.unwrap();
        assert_eq!(suite.mailbox.count(), 0);
        let unlock = pb::UnlockFactorRequest { factor_id, ..Default::default() };
        factors.unlock_factor(unlock).await.unwrap();
        suite.code(&transaction, "A-1001").await;
    }
}
