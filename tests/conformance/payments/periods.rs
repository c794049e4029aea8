//! Accounting periods on the native paths.

use publica_payments::{ReceiptFault, is_balance, verify_balance};

use super::*;

both_engines! {
    async fn a_period_is_closed_and_its_balances_prove_themselves(db: TestDatabase) {
        let suite = filled(db).await;
        let post = async |path: &str, body: Value| suite.post(path, &body).await;
        let period = json!({"period_id": "2020-01", "start_time": "2020-01-01T00:00:00Z",
            "end_time": "2020-02-01T00:00:00Z"});
        let opened = post("/v1/ledger/periods", period.clone()).await;
        assert_eq!((opened.status, &opened.body["state"]), (201, &json!("open")));
        assert_eq!(post("/v1/ledger/periods", with(period.clone(), "/period_id",
            Some(json!("a/b")))).await.status, 400);
        assert_eq!(post("/v1/ledger/periods", with(period.clone(), "/end_time",
            Some(json!("soon")))).await.status, 400);
        let gap = post("/v1/ledger/periods", with(period, "/period_id", Some(json!("x")))).await;
        assert_eq!(gap.body["code"], "PERIOD_GAP", "{}", gap.body);
        let path = "/v1/ledger/periods/2020-01";
        let early = suite.get(&format!("{path}/balances")).await;
        assert_eq!(early.body["code"], "PERIOD_STATE", "{}", early.body);
        let closing = post(&format!("{path}/close"), json!({})).await;
        assert_eq!(closing.status, 200, "{}", closing.body);
        let closed = eventually(|| async {
            let body = suite.get(path).await.body;
            (body["state"] == "closed").then_some(body)
        })
        .await;
        let listed = suite.get("/v1/ledger/periods").await.body;
        assert_eq!(listed["periods"], json!([closed]));
        let entry = entries(&suite, "payments.period.closed", 1).await;
        assert_eq!(entry.len(), 1);
        let balances = suite.get(&format!("{path}/balances")).await.body;
        let balances = balances["balances"].as_array().unwrap();
        assert_eq!(json!(balances.len()), closed["account_count"]);
        assert!(!balances.is_empty());
        for balance in balances {
            let code = balance["code"].as_str().unwrap().replace(' ', "%20");
            let proof = suite.get(&format!("{path}/balances/{code}")).await.body;
            let check = |proof: &Value| verify_balance(proof.to_string().as_bytes());
            assert!(is_balance(proof.to_string().as_bytes()));
            assert_eq!(proof["balance"], *balance);
            let proven = check(&proof).unwrap();
            assert_eq!(json!(proven.root), closed["root"]);
            for (pointer, value, fault) in [
                ("/balance/credits_posted", json!("1.23"), ReceiptFault::Leaf),
                ("/balance/balance", json!("1.23"), ReceiptFault::Leaf),
                ("/period/period_id", json!("2020-02"), ReceiptFault::Leaf),
                ("/period/root", json!("00".repeat(32)), ReceiptFault::Path),
            ] {
                let forged = with(proof.clone(), pointer, Some(value));
                assert_eq!(check(&forged), Err(fault), "{pointer}");
            }
        }
        assert_eq!(suite.get(&format!("{path}/balances/none")).await.status, 404);
        assert_eq!(suite.get("/v1/ledger/periods/none").await.status, 404);
    }
}
