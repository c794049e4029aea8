//! From the authorization request to the claims.

use publica_jose::{Curve, DecryptionKey, JweAlg, JweEnc, Jws, decrypt};

use super::*;

/// The payload of a signed token, not verified.
fn payload(token: &str) -> Value {
    let payload = Jws::parse(token).unwrap().unverified_payload().unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn authorize(party: &Party, change: &[(&str, &str)]) -> String {
    let challenge = sha256(random().as_bytes());
    let mut pairs = vec![
        ("client_id", party.id.as_str()),
        ("redirect_uri", BACK),
        ("response_type", "code"),
        ("scope", "openid profile"),
        ("state", "s1"),
        ("nonce", "n1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in change {
        pairs.retain(|(known, _)| known != name);
        pairs.push((name, value));
    }
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("/authorize?{query}")
}

both_engines! {
    async fn authorization_requests(db: TestDatabase) {
        let mut suite = suite(db).await;
        let party = Party::new("portal");
        suite.register(&party).await;
        suite.token = None;
        for extra in [
            vec![], vec![("prompt", "login consent")], vec![("display", "popup")],
            vec![("max_age", "60")], vec![("ui_locales", "xx-YY tlh")],
            vec![("acr_values", "unknown idbb:acr:generated-code")],
            vec![("claims", "{\"userinfo\":{\"email\":{\"essential\":true}}}")],
            vec![("unknown", "%"), ("scope", "openid unknown")],
        ] {
            let page = suite.get(&authorize(&party, &extra)).await;
            assert_eq!(page.status, StatusCode::OK, "{extra:?}");
            assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
            let policy = page.headers["content-security-policy"].to_str().unwrap();
            assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
            assert_eq!(page.headers["cache-control"], "no-store");
            assert_eq!(page.headers["referrer-policy"], "no-referrer");
        }
        // Nothing goes to an address that is not proven good, and it is not shown either.
        for extra in [
            ("client_id", "nobody"), ("client_id", ""), ("redirect_uri", "https://evil.example/"),
            ("redirect_uri", ""), ("client_id", "\u{0}"), ("redirect_uri", "javascript:alert(1)"),
        ] {
            let page = suite.get(&authorize(&party, &[extra])).await;
            assert_eq!(page.status, StatusCode::OK, "{extra:?}");
            assert!(page.headers.get("location").is_none());
            let shown = String::from_utf8(page.bytes).unwrap();
            assert!(!shown.contains("evil.example") && !shown.contains("alert(1)"));
        }
        let twice = format!("{}&client_id=portal", authorize(&party, &[]));
        assert_eq!(suite.get(&twice).await.status, StatusCode::OK);
        for (extra, error) in [
            (("scope", "profile"), "invalid_scope"), (("scope", ""), "invalid_scope"),
            (("response_type", "token"), "unsupported_response_type"),
            (("response_type", ""), "invalid_request"), (("claims", "{"), "invalid_request"),
            (("display", "hologram"), "invalid_request"), (("prompt", "now"), "invalid_request"),
            (("prompt", "none login"), "invalid_request"), (("max_age", "-1"), "invalid_request"),
            (("nonce", &*"n".repeat(513)), "invalid_request"),
            (("prompt", "none"), "login_required"), (("code_challenge", ""), "invalid_request"),
            (("code_challenge_method", "plain"), "invalid_request"),
            (("request", "e30"), "request_not_supported"),
            (("request_uri", "urn:x"), "request_uri_not_supported"),
            (("claims", "{\"id_token\":{\"acr\":{\"essential\":true,\"value\":\"x\"}}}"),
             "unmet_authentication_requirements"),
        ] {
            let answer = suite.get(&authorize(&party, &[extra])).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{extra:?}");
            let location = answer.headers["location"].to_str().unwrap();
            assert!(location.starts_with(&format!("{BACK}?error={error}&")), "{location}");
            assert!(location.contains("&state=s1&iss=https%3A%2F%2Fid.example.org"), "{location}");
        }
        let repeated = suite.get(&format!("{}&nonce=x", authorize(&party, &[]))).await;
        assert_eq!(repeated.status, StatusCode::SEE_OTHER);
    }

    async fn beginning_a_sign_in(db: TestDatabase) {
        let mut suite = suite(db).await;
        let party = Party::new("portal");
        suite.register(&party).await;
        suite.token = None;
        let csrf = suite.get("/csrf/token").await;
        let cookie = csrf.headers["set-cookie"].to_str().unwrap();
        assert!(cookie.starts_with(&format!("XSRF-TOKEN={};", text(&csrf.body["token"]))));
        let path = "/authorization/oauth-details";
        let good = details(&party, &random());
        for version in ["", "/v2", "/v3"] {
            let path = format!("/authorization{version}/oauth-details");
            let shown = suite.post(&path, &good).await.done();
            for member in ["transactionId", "logoUrl", "clientName", "expireDateTime"] {
                assert!(shown[member].is_string(), "{member}");
            }
            assert_eq!(shown["authFactors"], json!([[{"type": "OTP", "count": 1}]]));
            assert_eq!(shown["essentialClaims"], json!([]));
            assert_eq!(shown["voluntaryClaims"], json!(["birthdate", "name"]));
            assert_eq!(shown["authorizeScopes"], json!([]));
            assert!(shown["configs"].is_object());
        }
        for (member, value, code) in [
            ("clientId", json!("nobody"), "invalid_client_id"),
            ("clientId", json!(1), "invalid_client_id"),
            ("clientId", Value::Null, "invalid_client_id"),
            ("redirectUri", json!("https://evil.example/"), "invalid_redirect_uri"),
            ("redirectUri", json!([]), "invalid_redirect_uri"),
            ("scope", json!("profile"), "invalid_scope"), ("scope", json!(1), "invalid_scope"),
            ("responseType", json!("token"), "invalid_response_type"),
            ("responseType", Value::Null, "invalid_response_type"),
            ("display", json!("hologram"), "invalid_display"),
            ("display", json!(1), "invalid_display"), ("prompt", json!("now"), "invalid_prompt"),
            ("prompt", json!([]), "invalid_prompt"), ("codeChallenge", Value::Null, "use_pkce"),
            ("codeChallenge", json!("short"), "invalid_pkce_challenge"),
            ("codeChallenge", json!(1), "invalid_pkce_challenge"),
            ("codeChallengeMethod", json!("plain"), "unsupported_pkce_challenge_method"),
            ("codeChallengeMethod", json!(1), "unsupported_pkce_challenge_method"),
            ("state", json!(1), "invalid_request"), ("nonce", json!({}), "invalid_request"),
            ("acrValues", json!(["x"]), "invalid_request"),
            ("maxAge", json!([]), "invalid_request"),
        ] {
            let mut bad = good.clone();
            bad[member] = value.clone();
            let answer = suite.post(path, &bad).await;
            assert_eq!(answer.code(), code, "{member}: {value}");
            assert_eq!(answer.body["response"], json!({}));
        }
        let mut unreachable = party.registration();
        unreachable["clientId"] = json!("other");
        unreachable["authContextRefs"] = json!(["idbb:acr:biometrics"]);
        suite.token = Some(token(&["add_oidc_client"]));
        suite.post("/client-mgmt/oidc-client", &unreachable).await.done();
        let mut other = good.clone();
        other["clientId"] = json!("other");
        assert_eq!(suite.post(path, &other).await.code(), "no_acr_registered");
    }

    async fn a_page_goes_on_with_what_it_was_shown(db: TestDatabase) {
        let suite = suite(db).await;
        let party = Party::new("portal");
        suite.register(&party).await;
        let vid = suite.enrol("1", "amina@example.org").await;
        let page = suite.begin(&party).await;
        let other = suite.begin(&party).await;
        let proof = json!({"individualId": vid, "challengeList": [
            {"authFactorType": "OTP", "challenge": "123456", "format": "number"}]});
        let wrong = Page { hash: other.hash.clone(), ..page };
        for (path, request) in [
            ("/authorization/send-otp", json!({"individualId": vid, "otpChannels": ["email"]})),
            ("/authorization/authenticate", proof),
            ("/authorization/auth-code", json!({"acceptedClaims": []})),
            ("/authorization/cancel", json!({})),
        ] {
            let answer = suite.step(&wrong, path, request.clone()).await;
            assert_eq!(answer.code(), "invalid_transaction", "{path}");
            let mut named = request;
            named["transactionId"] = json!(wrong.transaction);
            let key = other.transaction.as_str();
            let answer = suite.bound(path, &named, key, &other.hash).await;
            assert_eq!(answer.code(), "invalid_transaction", "{path}");
        }
        let ended = suite.step(&other, "/authorization/cancel", json!({})).await.done();
        let location = text(&ended["location"]);
        assert!(location.starts_with(&format!("{BACK}?error=access_denied&")), "{location}");
        assert!(location.contains("state=s1&iss="), "{location}");
        let again = suite.step(&other, "/authorization/cancel", json!({})).await;
        assert_eq!(again.code(), "invalid_transaction");
    }

    async fn steps_that_go_wrong(db: TestDatabase) {
        let suite = suite(db).await;
        let party = Party::new("portal");
        suite.register(&party).await;
        let vid = suite.enrol("1", "amina@example.org").await;
        let page = suite.begin(&party).await;
        let send = "/authorization/send-otp";
        for (request, code) in [
            (json!({"otpChannels": ["email"]}), "invalid_identifier"),
            (json!({"individualId": " ", "otpChannels": ["email"]}), "invalid_identifier"),
            (json!({"individualId": 7, "otpChannels": ["email"]}), "invalid_identifier"),
            (json!({"individualId": vid}), "invalid_otp_channel"),
            (json!({"individualId": vid, "otpChannels": {}}), "invalid_otp_channel"),
            (json!({"individualId": vid, "otpChannels": ["fax"]}), "invalid_otp_channel"),
        ] {
            assert_eq!(suite.step(&page, send, request.clone()).await.code(), code, "{request}");
        }
        // Whether somebody exists is not told.
        let known = json!({"individualId": vid, "otpChannels": ["email"]});
        let unknown = json!({"individualId": "0000000000", "otpChannels": "email"});
        let before = suite.mailbox.count();
        let known = suite.step(&page, send, known).await.done();
        let unknown = suite.step(&page, send, unknown).await.done();
        for answer in [&known, &unknown] {
            assert_eq!(answer["transactionId"], page.transaction.as_str());
            assert!(!text(&answer["maskedEmail"]).is_empty());
        }
        let otp = suite.mailbox.wait(before).await;
        let prove = "/authorization/authenticate";
        let one = |kind: &str, secret: &str, format: &str| {
            json!({"authFactorType": kind, "challenge": secret, "format": format})
        };
        let good = one("OTP", &otp, "alpha-numeric");
        let other = if otp == "111111" { "222222" } else { "111111" };
        for (individual, list, code) in [
            (Value::Null, json!([good]), "invalid_identifier"),
            (json!(vid), json!([]), "invalid_no_of_challenges"),
            (json!(vid), json!({}), "invalid_no_of_challenges"),
            (json!(vid), json!([good, good]), "invalid_no_of_challenges"),
            (json!(vid), json!([one("PIN", "1", "number")]), "auth_factor_mismatch"),
            (json!(vid), json!([one("OTP", &otp, "jwt")]), "invalid_challenge_format"),
            (json!(vid), json!([one("OTP", "12", "number")]), "invalid_challenge_format"),
            (json!(vid), json!([7]), "auth_factor_mismatch"),
            (json!(vid), json!([one("OTP", other, "number")]), "auth_failed"),
            (json!("0000000000"), json!([good]), "auth_failed"),
        ] {
            let request = json!({"individualId": individual, "challengeList": list});
            let answer = suite.step(&page, prove, request).await;
            assert_eq!(answer.code(), code, "{individual} {list}");
        }
        let choose = "/authorization/auth-code";
        let early = suite.step(&page, choose, json!({})).await;
        assert_eq!(early.code(), "invalid_transaction");
        let request = json!({"individualId": vid, "challengeList": [good]});
        let proven = suite.step(&page, prove, request).await.done();
        assert_eq!(proven["consentAction"], "CAPTURE");
        for (request, code) in [
            (json!({"acceptedClaims": ["gender"]}), "invalid_accepted_claim"),
            (json!({"acceptedClaims": {}}), "invalid_accepted_claim"),
            (json!({"acceptedClaims": [1]}), "invalid_accepted_claim"),
            (json!({"permittedAuthorizeScopes": ["x"]}), "invalid_permitted_scope"),
        ] {
            assert_eq!(suite.step(&page, choose, request.clone()).await.code(), code, "{request}");
        }
        let issued = suite.step(&page, choose, json!({"acceptedClaims": ["name"]})).await.done();
        assert_eq!((&issued["state"], &issued["nonce"]), (&json!("s1"), &json!("n1")));
        assert_eq!(issued["redirectUri"], BACK);
        let twice = suite.step(&page, choose, json!({"acceptedClaims": ["name"]})).await;
        assert_eq!(twice.code(), "invalid_transaction");
    }

    async fn tokens_and_claims(db: TestDatabase) {
        let suite = suite(db).await;
        let party = Party::new("portal");
        suite.register(&party).await;
        let vid = suite.enrol("1", "amina@example.org").await;
        let (code, page) = suite.code(&party, &vid, &["name"]).await;
        let answer = suite.form("/oauth/token", &party.exchange(&code, &page.verifier)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.json();
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["pragma"], "no-cache");
        assert_eq!(answer.body["token_type"], "Bearer");
        assert!(answer.body["expires_in"].is_u64());
        let id = payload(&text(&answer.body["id_token"]));
        assert_eq!((&id["iss"], &id["aud"]), (&json!(ISSUER), &json!("portal")));
        assert_eq!((&id["nonce"], &id["acr"]), (&json!("n1"), &json!("idbb:acr:generated-code")));
        let access = text(&answer.body["access_token"]);
        let read = async |method: &str, sent: &str| suite.send(method, "/oidc/userinfo", |request| {
            request.headers_mut().insert("authorization", sent.parse().unwrap());
        }).await;
        for method in ["GET", "POST"] {
            let answer = read(method, &format!("Bearer {access}")).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.headers["content-type"], "application/jwt");
            let claims = payload(&String::from_utf8(answer.bytes).unwrap());
            assert_eq!(claims["sub"], id["sub"]);
            assert_eq!(claims["name"], "Amina Yusuf");
            assert!(claims.get("birthdate").is_none() && claims.get("email").is_none());
        }
        let machine = token(&["*"]);
        for sent in ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5",
            &format!("Bearer {machine}"), &format!("DPoP {access}"),
            &format!("Bearer {}", text(&answer.body["id_token"]))] {
            let answer = read("GET", sent).await;
            assert_eq!(answer.oauth(401), "invalid_token", "{sent}");
            let challenge = answer.headers["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with("Bearer error=\"invalid_token\", error_description="));
        }
        // A code that comes again revokes what it was good for.
        let again = suite.form("/oauth/token", &party.exchange(&code, &page.verifier)).await;
        assert_eq!(again.oauth(400), "invalid_transaction");
        assert_eq!(read("GET", &format!("Bearer {access}")).await.oauth(401), "invalid_token");
    }

    async fn claims_are_encrypted_to_the_client(db: TestDatabase) {
        let suite = suite(db).await;
        let vid = suite.enrol("1", "amina@example.org").await;
        let key = DecryptionKey::generate(Curve::P256, &SystemEntropy).unwrap();
        let party = Party::new("portal");
        let mut registration = party.registration();
        registration["additionalConfig"] = json!({"userinfo_response_type": "JWE",
            "encPublicKey": key.public_jwk().unwrap().to_value()});
        suite.post("/client-mgmt/oidc-client", &registration).await.done();
        let (code, page) = suite.code(&party, &vid, &["name"]).await;
        let answer = suite.form("/oauth/token", &party.exchange(&code, &page.verifier)).await;
        let access = format!("Bearer {}", text(&answer.body["access_token"]));
        let answer = suite.send("GET", "/oidc/userinfo", |request| {
            request.headers_mut().insert("authorization", access.parse().unwrap());
        }).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/jwt");
        let token = String::from_utf8(answer.bytes).unwrap();
        let opened = decrypt(&token, &[&key], &[JweAlg::EcdhEs], &[JweEnc::A256Gcm]).unwrap();
        assert_eq!(opened.header.cty(), Some("JWT"));
        let claims = payload(std::str::from_utf8(&opened.plaintext).unwrap());
        assert_eq!(claims["name"], "Amina Yusuf");
        for config in [json!({"userinfo_response_type": "JWE"}),
            json!({"encPublicKey": party.key.public_jwk().to_value()})] {
            let mut registration = Party::new("other").registration();
            registration["additionalConfig"] = config.clone();
            let answer = suite.post("/client-mgmt/oidc-client", &registration).await;
            let (code, message) = answer.fault();
            assert_eq!(code, "invalid_input", "{config}");
            assert!(message.starts_with("additionalConfig."), "{message}");
        }
    }

    async fn token_requests_that_go_wrong(db: TestDatabase) {
        let suite = suite(db).await;
        let party = Party::new("portal");
        suite.register(&party).await;
        let vid = suite.enrol("1", "amina@example.org").await;
        let (code, page) = suite.code(&party, &vid, &[]).await;
        let path = "/oauth/token";
        let with = |name: &str, value: &str| {
            let mut form = party.exchange(&code, &page.verifier);
            for (known, old) in &mut form {
                if *known == name {
                    value.clone_into(old);
                }
            }
            form
        };
        for (name, value, error) in [
            ("grant_type", "", "invalid_input"), ("code", " ", "invalid_input"),
            ("client_id", "", "invalid_input"), ("redirect_uri", "", "invalid_redirect_uri"),
            ("client_assertion_type", "x", "invalid_assertion_type"),
            ("client_assertion", "", "invalid_assertion"),
            ("client_assertion", "a.b", "invalid_assertion"),
            ("client_assertion", &*"x".repeat(9_000), "invalid_assertion"),
            ("grant_type", "implicit", "invalid_request"),
            ("client_id", "nobody", "invalid_request"), ("client_id", "\u{0}", "invalid_request"),
            ("code", "unknown", "invalid_transaction"),
            ("redirect_uri", "https://portal.example.org/other", "invalid_transaction"),
            ("code_verifier", "other", "invalid_transaction"),
        ] {
            let answer = suite.form(path, &with(name, value)).await;
            assert_eq!(answer.oauth(400), error, "{name}={value}");
            assert_eq!(answer.headers["cache-control"], "no-store");
        }
        let now = SystemClock.now().seconds();
        for change in [
            json!({"aud": "https://other.example/"}), json!({"iss": "other"}),
            json!({"sub": "other"}), json!({"exp": now - 120}), json!({"iat": now + 600}),
            json!({"jti": ""}), json!({"exp": now + 86_400}),
        ] {
            let assertion = party.assertion(|claims| {
                for (name, value) in change.as_object().unwrap() {
                    claims[name] = value.clone();
                }
            });
            let answer = suite.form(path, &with("client_assertion", &assertion)).await;
            assert_eq!(answer.oauth(400), "invalid_assertion", "{change}");
            let standard = suite.form("/oauth2/token", &with("client_assertion", &assertion)).await;
            assert_eq!(standard.oauth(401), "invalid_client", "{change}");
        }
        let form = "application/x-www-form-urlencoded";
        for (kind, body) in [(form, ""), (form, "  "), ("application/json", "{}"),
            ("text/plain", "grant_type=authorization_code")] {
            assert_eq!(suite.raw("POST", path, kind, body).await.oauth(400), "invalid_payload");
            let standard = suite.raw("POST", "/oauth2/token", kind, body).await;
            assert_eq!(standard.oauth(400), "invalid_request");
        }
        let raw = suite.raw("POST", path, form, vec![0xff, 0xfe]).await;
        assert_eq!(raw.oauth(400), "invalid_payload");
        let twice = suite.raw("POST", path, form, "code=a&code=b").await;
        assert_eq!(twice.oauth(400), "invalid_request");
        let large = suite.raw("POST", path, form, "a".repeat(1024 * 1024 + 1)).await;
        assert_eq!(large.oauth(413), "invalid_request");
        // None of this used the code up, but a wrong use by its own client does no harm either.
        let good = suite.form(path, &party.exchange(&code, &page.verifier)).await;
        assert_eq!(good.status, StatusCode::OK, "{}", good.body);
    }
}
