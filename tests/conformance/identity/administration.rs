//! Clients, enrolment, and blocking.

use super::*;

both_engines! {
    async fn clients(db: TestDatabase) {
        let suite = suite(db).await;
        let party = Party::new("portal");
        let good = party.registration();
        let path = "/client-mgmt/oidc-client";
        let key = party.key.public_jwk().to_value();
        let with = |member: &str, value: Value| {
            let mut key = key.clone();
            key[member] = value;
            key
        };
        for (member, values, code) in [
            ("clientId", vec![json!(""), json!(" "), json!(1), Value::Null, json!("x".repeat(51)),
                json!("a\u{7}"), json!("😀"), json!([])], "invalid_client_id"),
            ("clientName", vec![json!(""), json!("x".repeat(257)), json!({})],
                "invalid_client_name"),
            ("relyingPartyId", vec![json!(""), json!(7), json!("x".repeat(51))], "invalid_rp_id"),
            ("logoUri", vec![json!("logo"), json!(""), json!("ftp://a/b"),
                json!(format!("https://a.example/{}", "x".repeat(1_024)))], "invalid_uri"),
            ("redirectUris", vec![json!([]), json!([""]), json!(["/x"]), json!([1]), json!({}),
                json!(["https://a.example/#x"]), json!(["https://*.a.example/"]),
                json!(["javascript:x"]), json!(["https://u@a.example/"]),
                json!([BACK, BACK])], "invalid_redirect_uri"),
            ("authContextRefs", vec![json!([]), json!(["level9"]), json!([1])], "invalid_acr"),
            ("userClaims", vec![json!([]), json!(["uin"]), json!({})], "invalid_claim"),
            ("grantTypes", vec![json!([]), json!(["implicit"]),
                json!(["authorization_code", "authorization_code"])], "invalid_grant_type"),
            ("clientAuthMethods", vec![json!([]), json!(["none"])], "invalid_client_auth"),
            ("publicKey", vec![json!({}), json!("x"), Value::Null, with("d", json!("AA")),
                with("crv", json!("P-999")), with("x", json!("AA")), with("kty", json!("oct")),
                with("use", json!("enc"))], "invalid_public_key"),
        ] {
            for value in values {
                let mut bad = good.clone();
                bad[member] = value.clone();
                let answer = suite.post(path, &bad).await;
                let (found, message) = answer.fault();
                assert_eq!(found, code, "{member}: {value}");
                assert!(message.starts_with(member), "{message}");
                assert!(answer.body["response"]["clientId"].is_string());
                let error = answer.body["errors"][0].as_object().unwrap();
                assert_eq!(error.len(), 2, "no other members are allowed");
            }
        }
        // Only the first of several is told.
        let mut bad = good.clone();
        bad["clientName"] = json!("");
        bad["publicKey"] = json!({});
        assert_eq!(suite.post(path, &bad).await.code(), "invalid_client_name");
        for (extra, named) in [
            (json!(7), "additionalConfig"), (json!({"userinfo_response_type": "x"}), "userinfo"),
            (json!({"consent_expire_in_mins": "x"}), "consent_expire_in_mins"),
            (json!({"encPublicKey": "x"}), "encPublicKey"),
            (json!({"client_credentials_scopes": [1]}), "client_credentials_scopes"),
        ] {
            let mut bad = good.clone();
            bad["additionalConfig"] = extra;
            let answer = suite.post(path, &bad).await;
            let (code, message) = answer.fault();
            assert_eq!(code, "invalid_request");
            assert!(message.contains(named), "{message}");
        }
        suite.register(&party).await;
        let mut other = good.clone();
        other["publicKey"] = json!({});
        assert_eq!(suite.post(path, &other).await.code(), "duplicate_client_id");
    }

    async fn changes_of_clients(db: TestDatabase) {
        let mut suite = suite(db).await;
        let party = Party::new("portal");
        suite.register(&party).await;
        let path = "/client-mgmt/oidc-client/portal";
        let mut change = party.registration();
        for member in ["clientId", "relyingPartyId", "publicKey"] {
            // What cannot change is ignored.
            change[member] = json!("ignored");
        }
        for status in ["active", "INACTIVE", "Active"] {
            change["status"] = json!(status);
            let answer = suite.call("PUT", path, &wrap(&change)).await;
            assert_eq!(answer.done(), json!({"clientId": "portal"}), "{status}");
        }
        for (member, value, code) in [
            ("clientName", json!(""), "invalid_client_name"),
            ("status", json!("asleep"), "invalid_request"),
            ("status", Value::Null, "invalid_request"), ("status", json!(1), "invalid_request"),
            ("logoUri", json!(1), "invalid_uri"),
            ("redirectUris", json!([]), "invalid_redirect_uri"),
            ("userClaims", json!("x"), "invalid_claim"),
            ("authContextRefs", json!([]), "invalid_acr"),
            ("grantTypes", json!(["x"]), "invalid_grant_type"),
            ("clientAuthMethods", json!(["x"]), "invalid_client_auth"),
        ] {
            for id in ["portal", "nobody"] {
                let mut bad = change.clone();
                bad[member] = value.clone();
                let path = format!("/client-mgmt/oidc-client/{id}");
                let answer = suite.call("PUT", &path, &wrap(&bad)).await;
                let (found, message) = answer.fault();
                assert_eq!(found, code, "{member}: {value}");
                assert!(message.starts_with(member), "{message}");
                assert_eq!(answer.body["response"], json!({"clientId": id}));
            }
        }
        for id in ["nobody", "a%2Fb", "%00", "%F0%9F%98%80"] {
            let path = format!("/client-mgmt/oidc-client/{id}");
            let answer = suite.call("PUT", &path, &wrap(&change)).await;
            assert_eq!(answer.code(), "invalid_client_id", "{id}");
        }
        change["status"] = json!("inactive");
        suite.call("PUT", path, &wrap(&change)).await.done();
        let begun = suite.post("/authorization/oauth-details", &details(&party, &random())).await;
        assert_eq!(begun.code(), "invalid_client_id");
        let token_answer = suite.form("/oauth/token", &party.exchange("x", "y")).await;
        assert_eq!(token_answer.oauth(400), "invalid_request");
        for (scopes, create, update) in [
            (&["add_oidc_client"][..], 200, 403), (&["update_oidc_client"], 403, 200),
            (&["identity:person:read"], 403, 403),
        ] {
            suite.token = Some(token(scopes));
            let made = suite.call("POST", "/client-mgmt/oidc-client", &json!({})).await;
            assert_eq!(made.status.as_u16(), create, "{scopes:?}");
            let changed = suite.call("PUT", path, &json!({})).await;
            assert_eq!(changed.status.as_u16(), update, "{scopes:?}");
            for answer in [made, changed].iter().filter(|answer| answer.status != 200) {
                assert_eq!(answer.oauth(403), "insufficient_scope");
                assert!(answer.headers.contains_key("www-authenticate"));
            }
        }
    }

    async fn enrolment(db: TestDatabase) {
        let suite = suite(db).await;
        let path = "/enrollment";
        let made = suite.call("PUT", path, &packet("1000-1", "amina@example.org")).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        made.json();
        assert_eq!(made.body["id"], "govstack.enrollment");
        assert_eq!((&made.body["version"], &made.body["errors"]), (&json!("v1"), &json!([])));
        assert!(text(&made.body["responsetime"]).ends_with('Z'));
        let entry = &made.body["response"][0];
        for member in ["id", "packetName", "source", "process", "refId", "schemaVersion",
            "signature", "encryptedHash", "providerName", "providerVersion", "creationDate"] {
            assert!(entry[member].is_string(), "{member}");
        }
        assert_eq!(entry["id"], "1000-1");
        let again = suite.call("PUT", path, &packet("1000-1", "amina@example.org")).await;
        assert_eq!(again.body["metaData"], made.body["metaData"]);
        let other = suite.call("PUT", path, &packet("1000-1", "other@example.org")).await;
        assert_eq!(other.code(), "packet_conflict");
        let vid = text(&made.body["metaData"]["vid"]);
        let mut update = packet("1000-2", "new@example.org");
        update["request"]["process"] = json!("UPDATE");
        update["request"]["individualId"] = json!(vid);
        let updated = suite.call("PUT", path, &update).await;
        assert_eq!(updated.status, StatusCode::OK, "{}", updated.body);
        assert_eq!(updated.body["errors"], json!([]));
        update["request"]["id"] = json!("1000-3");
        update["request"]["individualId"] = json!("0000000000");
        assert_eq!(suite.call("PUT", path, &update).await.code(), "invalid_identifier");
        update["request"].as_object_mut().unwrap().remove("individualId");
        let answer = suite.call("PUT", path, &update).await;
        assert!(answer.fault().1.starts_with("request.individualId "), "{:?}", answer.fault());
        // Several steps; what is wrong with one is told at once.
        let mut step = packet("1000-4", "step@example.org");
        step["request"]["finalize"] = json!(false);
        let first = suite.call("PUT", path, &step).await;
        assert_eq!(first.status, StatusCode::OK, "{}", first.body);
        let last = json!({"requesttime": TIME, "request": {"id": "1000-4", "process": "BIO"}});
        let last = suite.call("PUT", path, &last).await;
        assert_eq!(last.status, StatusCode::CREATED, "{}", last.body);
    }

    async fn packets_that_go_wrong(db: TestDatabase) {
        let suite = suite(db).await;
        let path = "/enrollment";
        for (at, value, named) in [
            ("/request/fields/dateOfBirth", json!("1980/13/12"), "request.fields.dateOfBirth"),
            ("/request/fields/dateOfBirth", json!("12/05/1980"), "request.fields.dateOfBirth"),
            ("/request/fields/dateOfBirth", json!("1981/02/29"), "request.fields.dateOfBirth"),
            ("/request/fields/dateOfBirth", json!([1]), "request.fields.dateOfBirth"),
            ("/request/fields/email", json!("amina"), "request.fields.email"),
            ("/request/fields/gender", json!("[ { label\" : 1"), "request.fields.gender"),
            ("/request/fields/gender", json!([{"language": "e n", "value": "x"}]),
                "request.fields.gender"),
            ("/request/fields/postalCode", json!("x\u{1}"), "request.fields.postalCode"),
            ("/request/fields/fullName", Value::Null, "request.fields"),
            ("/request/fields", json!("x"), "request.fields"),
            ("/request/id", json!(1), "request.id"), ("/request/id", json!("a/b"), "request.id"),
            ("/request/id", Value::Null, "request.id"),
            ("/request/id", json!("x".repeat(65)), "request.id"),
            ("/request/refId", json!(1), "request.refId"),
            ("/request/refId", json!("x".repeat(129)), "request.refId"),
            ("/request/process", Value::Null, "request.process"),
            ("/request/process", json!("N W"), "request.process"),
            ("/request/source", json!([]), "request.source"),
            ("/request/schemaVersion", json!(0.1), "request.schemaVersion"),
            ("/request/offlineMode", json!("no"), "request.offlineMode"),
            ("/request/metaInfo", json!([]), "request.metaInfo"),
            ("/request/metaInfo/metaData", json!(1), "request.metaInfo.metaData"),
            ("/request/audits", json!({}), "request.audits"),
            ("/request/audits/0", json!(1), "request.audits[0]"),
            ("/request/documents", json!([]), "request.documents"),
            ("/request/biometrics/segment", json!({}), "request.biometrics.segment"),
            ("/request/biometrics/segment", json!([{"bdbInfo": {"purpose": "PLAY"}}]),
                "request.biometrics.segment[0].bdbInfo.purpose"),
            ("/id", json!(1), "id"),
        ] {
            let mut bad = packet("2000-1", "amina@example.org");
            *bad.pointer_mut(at).unwrap() = value.clone();
            let answer = suite.call("PUT", path, &bad).await;
            let (code, message) = answer.fault();
            assert_eq!(code, "invalid_input", "{at}: {value}");
            assert!(message.starts_with(&format!("{named} ")), "{at}: {message}");
            assert_eq!(answer.body["response"], json!([]));
        }
        for (body, named) in [
            (json!({}), "request"), (json!([]), "request"), (json!({"request": 1}), "request"),
            (json!({"request": {}}), "requesttime"),
            (json!({"request": {}, "requesttime": "2026-01-31"}), "requesttime"),
            (json!({"request": {}, "requesttime": 1}), "requesttime"),
        ] {
            let answer = suite.call("PUT", path, &body).await;
            let (code, message) = answer.fault();
            assert_eq!(code, "invalid_request", "{body}");
            assert!(message.starts_with(named), "{message}");
        }
        // Nothing of it was kept.
        let good = suite.call("PUT", path, &packet("2000-1", "amina@example.org")).await;
        assert_eq!(good.status, StatusCode::CREATED, "{}", good.body);
    }

    async fn blocking(db: TestDatabase) {
        let mut suite = suite(db).await;
        let vid = suite.enrol("1", "amina@example.org").await;
        let wrap = |request: Value| json!({"id": "x", "requesttime": TIME, "request": request});
        let who = json!({"id": vid, "idType": "VID", "status": "BLOCKED",
            "expiryTimestamp": "2999-01-01T00:00:00Z"});
        for (path, status) in [("/block", "BLOCKED"), ("/block", "BLOCKED"),
            ("/unblock", "ACTIVE"), ("/unblock", "ACTIVE")] {
            let answer = suite.call("POST", path, &wrap(who.clone())).await;
            assert_eq!(answer.status, StatusCode::OK);
            answer.json();
            assert_eq!(answer.body["errors"], json!([]), "{}", answer.body);
            let response = &answer.body["response"];
            assert_eq!((&response["id"], &response["status"]), (&json!(vid), &json!(status)));
            assert_eq!(response["idType"], "VID");
        }
        for (request, code, named) in [
            (json!({}), "invalid_input", "request.id"),
            (json!({"id": 1}), "invalid_input", "request.id"),
            (json!({"id": " "}), "invalid_input", "request.id"),
            (json!({"id": vid, "idType": 1}), "invalid_input", "request.idType"),
            (json!({"id": vid, "status": []}), "invalid_input", "request.status"),
            (json!({"id": vid, "expiryTimestamp": 1}), "invalid_input", "request.expiryTimestamp"),
            (json!({"id": vid, "expiryTimestamp": "soon"}), "invalid_input",
                "request.expiryTimestamp"),
            (json!({"id": "0000000000"}), "invalid_identifier", ""),
        ] {
            for path in ["/block", "/unblock"] {
                let answer = suite.call("POST", path, &wrap(request.clone())).await;
                let (found, message) = answer.fault();
                assert_eq!(found, code, "{request}");
                assert!(message.starts_with(named), "{message}");
            }
        }
        for body in [json!({}), json!({"request": []})] {
            assert_eq!(suite.call("POST", "/block", &body).await.code(), "invalid_request");
        }
        suite.token = Some(token(&["identity:person:enrol"]));
        let answer = suite.call("POST", "/block", &wrap(who)).await;
        assert_eq!(answer.oauth(403), "insufficient_scope");
    }
}
