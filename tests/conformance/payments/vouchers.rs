//! Vouchers of version 3.

use super::v3::{Receiver, acknowledged, bad, ok};
use super::*;

both_engines! {
    async fn vouchers_are_issued_with_encrypted_numbers(db: TestDatabase) {
        let suite = filled(db).await;
        let receiver = Receiver::start(0).await;
        let one = |id: &str, group: &str, amount: Value| {
            json!({"instructionID": id, "groupCode": group, "currency": "USD", "amount": amount,
                "payeeFunctionalID": "P1", "narration": "Food"})
        };
        let body = json!({"requestID": "V1", "batchID": "B1", "voucherInstructions": [
            one("I1", "FOOD", json!(10.5)), one("I2", "FOOD", json!(7)),
            one("I3", "NONE", json!(1)), one("I4", "UNHEARD", json!(1)),
            one("I5", "FOOD", json!(1.005))]});
        for (pointer, value) in [
            ("/requestID", None), ("/batchID", id(13)), ("/voucherInstructions", Some(json!([]))),
            ("/voucherInstructions/0/instructionID", id(17)),
            ("/voucherInstructions/0/amount", Some(json!("10"))),
            ("/voucherInstructions/0/payeeFunctionalID", None),
        ] {
            let wrong = with(body.clone(), pointer, value);
            let answer = suite.told("POST", "/vouchers", &receiver, &wrong).await;
            assert_eq!(acknowledged(&answer), bad(), "{pointer}");
        }
        assert_eq!(acknowledged(&suite.post("/vouchers", &body).await), bad());
        let answer = suite.told("POST", "/vouchers", &receiver, &body).await;
        assert_eq!(acknowledged(&answer), ok(), "{}", answer.body);
        assert_eq!(answer.body["RequestID"], "V1");
        let heard = receiver.hears(|body| body["requestID"] == "V1").await.body;
        let list = heard["voucherInstructions"].as_array().unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!((&list[0]["instructionID"], &list[0]["amount"]), (&json!("I1"), &json!(10.5)));
        assert_eq!(list[0]["voucherNumber"].as_str().unwrap().len(), 44);
        assert_ne!(list[0]["voucherNumber"], list[1]["voucherNumber"]);
        let failed: Vec<&str> = heard["failedCases"].as_array().unwrap().iter()
            .map(|case| case["instructionID"].as_str().unwrap()).collect();
        assert_eq!(failed.len(), 3);
        for id in ["I3", "I4", "I5"] {
            assert!(failed.contains(&id), "{id}");
        }
        assert_eq!(acknowledged(&suite.told("POST", "/vouchers", &receiver, &body).await), ok());
        let other = with(body, "/batchID", Some(json!("B2")));
        let answer = suite.told("POST", "/vouchers", &receiver, &other).await;
        assert_eq!(acknowledged(&answer), (409, "01".to_owned()));
        // Nobody else can use an instruction's id again.
        let again = json!({"requestID": "V2", "batchID": "B1", "voucherInstructions": [
            one("I1", "FOOD", json!(10.5))]});
        suite.told("POST", "/vouchers", &receiver, &again).await;
        let heard = receiver.hears(|body| body["requestID"] == "V2").await.body;
        assert_eq!(heard["voucherInstructions"], json!([]));
        assert_eq!(heard["numberFailedCases"], 1);
    }

    async fn vouchers_change_by_the_list(db: TestDatabase) {
        let suite = filled(db).await;
        let receiver = Receiver::start(0).await;
        let headers = [("x-callback-url", receiver.url.as_str()), ("x-program-id", "BB")];
        let send = async |method: &str, query: &str, request: &str, serials: &[&str]| {
            let list: Vec<Value> =
                serials.iter().map(|serial| json!({"serialNumber": serial})).collect();
            let body = json!({"RequestID": request, "BatchID": "B1", "VoucherInstructions": list});
            let path = format!("/vouchers?command={query}");
            suite.call_as("tester", method, &path, &headers, &body.to_string()).await
        };
        let state = async |serial: &str| {
            let answer = suite.get(&format!("/vouchers/{serial}?fields=status")).await;
            (answer.status, answer.body["status"].as_i64().unwrap())
        };
        for (serial, expected) in [
            ("102", (200, 1)), ("103", (200, 2)), ("104", (200, 6)), ("107", (200, 5)),
            ("108", (200, 4)), ("109", (200, 3)), ("4711", (400, 9)), ("12x", (400, 9)),
        ] {
            assert_eq!(state(serial).await, expected, "{serial}");
        }
        let read = suite.get("/vouchers/103?fields=status").await.body;
        assert_eq!(read, json!({"status": 2, "serialNumber": "103", "value": 25.0}));
        let unread = suite.get("/vouchers/4711?fields=status").await.body;
        assert_eq!(unread["value"], 0.0);

        let answer = send("PUT", "activate", "A1", &["102", "103", "107", "x"]).await;
        assert_eq!(acknowledged(&answer), ok(), "{}", answer.body);
        let heard = receiver.hears(|body| body["registerRequestID"] == "A1").await.body;
        assert_eq!(heard["numberFailedCases"], 2);
        assert_eq!(heard["failedCases"][0]["serialNumber"], "107");
        assert_eq!(state("102").await, (200, 2));
        for (command, request, after) in [("suspend", "A2", 6), ("reactivate", "A3", 2)] {
            assert_eq!(acknowledged(&send("PUT", command, request, &["102"]).await), ok());
            let heard = receiver.hears(|body| body["registerRequestID"] == request).await.body;
            assert_eq!(heard["numberFailedCases"], 0, "{heard}");
            assert_eq!(state("102").await, (200, after), "{command}");
        }
        let cancel = send("POST", "cancel", "A4", &["102", "109"]).await;
        assert_eq!(acknowledged(&cancel), ok());
        assert!(cancel.body.get("responseCode").is_some());
        let heard = receiver.hears(|body| body["registerRequestID"] == "A4").await.body;
        assert_eq!(heard["failedCases"][0]["serialNumber"], "109");
        assert_eq!(state("102").await, (200, 3));
        for (method, command) in [("PUT", "cancel"), ("PUT", ""), ("POST", "activate")] {
            assert_eq!(acknowledged(&send(method, command, "A5", &["103"]).await), bad());
        }
        assert_eq!(acknowledged(&send("PUT", "activate", "A6", &[]).await), bad());
        let stranger = [("x-callback-url", receiver.url.as_str()), ("x-program-id", "NOBODY")];
        let body = json!({"RequestID": "A7", "BatchID": "B1",
            "VoucherInstructions": [{"serialNumber": "103"}]}).to_string();
        let path = "/vouchers?command=activate";
        let answer = suite.call_as("tester", "PUT", path, &stranger, &body).await;
        assert_eq!(acknowledged(&answer), bad());
    }

    async fn agents_redeem_vouchers(db: TestDatabase) {
        let suite = filled(db).await;
        let agent = json!({"name": "Agency", "bank_details": "bank", "voucher_group": "FOOD",
            "agent_id": "AGENT1"});
        assert_eq!(suite.post("/v1/merchants", &agent).await.status, 201);
        let headers = [("x-program-id", "BB")];
        let send = async |query: &str, body: &Value| {
            let path = format!("/vouchers?command={query}");
            suite.call_as("tester", "POST", &path, &headers, &body.to_string()).await
        };
        let sound = json!({"requestID": "R1", "voucherSerialNumber": "103", "agentID": "AGENT1",
            "voucherSecretNumber": "9103"});
        for (name, status) in
            [("requestID", 400), ("agentID", 400), ("voucherSerialNumber", 400)]
        {
            let answer = send("redeem", &with(sound.clone(), &format!("/{name}"), None)).await;
            assert_eq!((answer.status, &answer.body["status"]), (status, &json!(0)), "{name}");
        }
        for (name, value, message) in [
            ("agentID", json!("NOBODY"), "agent refused"),
            ("voucherSerialNumber", json!("102"), "invalid number"),
            ("voucherSecretNumber", json!("4711"), "invalid number"),
        ] {
            let wrong = with(sound.clone(), &format!("/{name}"), Some(value));
            let answer = send("redeem", &wrong).await;
            assert_eq!((answer.status, &answer.body["status"]), (200, &json!(0)), "{name}");
            assert_eq!(answer.body["message"], message);
        }
        // The files have no other command than cancel.
        let answer = send("cancel", &sound).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!((&answer.body["status"], &answer.body["value"]), (&json!(1), &json!(25.0)));
        assert_eq!(answer.body["serialNumber"], "103");
        assert_eq!(answer.body["transactionId"].as_str().unwrap().len(), 12);
        let again = send("redeem", &sound).await;
        assert_eq!(again.body["status"], 0);
        assert_eq!(again.body["message"], "already used");
        assert_eq!(suite.get("/v1/ledger/check").await.body["balanced"], true);
    }
}
