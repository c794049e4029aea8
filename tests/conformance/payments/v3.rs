//! Version 3: account mapper, batch transactions and vouchers, with their callbacks.

use std::sync::Mutex;

use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_util::task::TaskTracker;

use super::*;

/// A call that came in.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) method: String,
    path: String,
    pub(super) headers: HeaderMap,
    bytes: Vec<u8>,
    pub(super) body: Value,
}

/// Somebody who is called back; fails at first if told to.
pub(super) struct Receiver {
    pub(super) url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    pub(super) async fn start(failures: usize) -> Self {
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let tried = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (ears, counter) = (heard.clone(), tried);
        let app = Router::new().fallback(any(move |request: Request<Body>| {
            let (ears, counter) = (ears.clone(), counter.clone());
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes().to_vec();
                if counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < failures {
                    return StatusCode::SERVICE_UNAVAILABLE;
                }
                let heard = Heard {
                    method: parts.method.to_string(),
                    path: parts.uri.path().to_owned(),
                    headers: parts.headers,
                    body: match bytes.is_empty() {
                        true => Value::Null,
                        false => serde_json::from_slice(&bytes).unwrap(),
                    },
                    bytes,
                };
                ears.lock().unwrap().push(heard);
                StatusCode::ACCEPTED
            }
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/told", listener.local_addr().unwrap());
        // It ends with the test's runtime.
        TaskTracker::new().spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, heard }
    }

    /// Waits for the call whose body fits.
    pub(super) async fn hears(&self, fits: impl Fn(&Value) -> bool) -> Heard {
        eventually(|| async {
            let heard = self.heard.lock().unwrap();
            heard.iter().find(|call| fits(&call.body)).cloned()
        })
        .await
    }

    /// The calls so far whose body fits.
    pub(super) fn heard(&self, fits: impl Fn(&Value) -> bool) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap();
        heard
            .iter()
            .filter(|call| fits(&call.body))
            .cloned()
            .collect()
    }

    /// Waits for a call of this path.
    pub(super) async fn hears_at(&self, path: &str) -> Heard {
        self.hears_times(path, 1).await
    }

    /// Waits until a path was called so often.
    pub(super) async fn hears_times(&self, path: &str, times: usize) -> Heard {
        eventually(|| async {
            let heard = self.heard.lock().unwrap();
            heard
                .iter()
                .filter(|call| call.path == path)
                .nth(times - 1)
                .cloned()
        })
        .await
    }
}

impl Suite {
    pub(super) async fn told(
        &self,
        method: &str,
        path: &str,
        receiver: &Receiver,
        body: &Value,
    ) -> Answer {
        let headers = [
            ("x-callback-url", receiver.url.as_str()),
            ("x-registering-institution-id", SOURCE),
            ("x-correlationid", "corr-1"),
            ("platform-tenantid", "default"),
        ];
        self.call_as("tester", method, path, &headers, &body.to_string())
            .await
    }

    /// Payees of version 3 with these addresses.
    async fn mapped(&self, receiver: &Receiver, request: &str, payees: &[(&str, &str)]) {
        let list: Vec<Value> = payees
            .iter()
            .map(|(payee, address)| json!({"payeeIdentity": payee, "FinancialAddress": address}))
            .collect();
        let body = json!({"RequestID": request, "Beneficiaries": list});
        let path = "/identityAccountMapper/beneficiary";
        let answer = self.told("POST", path, receiver, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// The acknowledgement of version 3: its code, whichever case it has.
pub(super) fn acknowledged(answer: &Answer) -> (u16, String) {
    answer.is_json();
    let body = answer.body.as_object().unwrap();
    assert_eq!(body.len(), 3, "{}", answer.body);
    let code = body
        .get("responseCode")
        .or(body.get("ResponseCode"))
        .unwrap();
    (answer.status, code.as_str().unwrap().to_owned())
}

pub(super) fn ok() -> (u16, String) {
    (200, "00".to_owned())
}

pub(super) fn bad() -> (u16, String) {
    (400, "01".to_owned())
}

fn transaction(request: &str, payee: &str, amount: Value) -> Value {
    json!({"requestId": request, "paymentMode": "closedloop", "amount": amount,
        "currency": "USD", "descriptionText": "March",
        "creditParty": [{"key": "payeeIdentity", "value": payee}],
        "debitParty": [{"key": "accountNumber", "value": "treasury"}]})
}

both_engines! {
    async fn beneficiaries_are_mapped_and_failures_told(db: TestDatabase) {
        let suite = filled(db).await;
        let receiver = Receiver::start(1).await;
        let path = "/identityAccountMapper/beneficiary";
        let body = json!({"RequestID": "REQ1", "Beneficiaries": [
            {"payeeIdentity": "P1", "PaymentModality": "00", "bankingInstitutionCode": "BANKA",
                "FinancialAddress": "1234567"},
            {"payeeIdentity": "P2", "PaymentModality": "01", "bankingInstitutionCode": "TELCO",
                "FinancialAddress": "no number"}]});
        for broken in ["", "[]", "not json", "{}"] {
            let answer = suite.call("POST", path, broken).await;
            assert_eq!(acknowledged(&answer), bad(), "{broken}");
        }
        let answer = suite.post(path, &body).await;
        assert_eq!(acknowledged(&answer), bad(), "headers are missing");
        for (pointer, value) in [
            ("/RequestID", id(13)), ("/RequestID", None), ("/Beneficiaries", Some(json!([]))),
            ("/Beneficiaries/0/payeeIdentity", id(21)),
            ("/Beneficiaries/0/payeeIdentity", None),
            ("/Beneficiaries/0/PaymentModality", Some(json!("05"))),
            ("/Beneficiaries/0/bankingInstitutionCode", id(12)),
            ("/Beneficiaries/0/FinancialAddress", id(35)),
        ] {
            let wrong = with(body.clone(), pointer, value.clone());
            let answer = suite.told("POST", path, &receiver, &wrong).await;
            assert_eq!(acknowledged(&answer), bad(), "{pointer} {value:?}");
        }
        for url in ["ftp://127.0.0.1/", "nonsense"] {
            let headers =
                [("x-callback-url", url), ("x-registering-institution-id", SOURCE)];
            let answer = suite.call_as("tester", "POST", path, &headers, &body.to_string()).await;
            assert_eq!(acknowledged(&answer), bad(), "{url}");
        }
        let answer = suite.told("POST", path, &receiver, &body).await;
        assert_eq!(acknowledged(&answer), ok());
        assert_eq!(answer.body["requestID"], "REQ1");
        let heard = receiver.hears(|body| body["registerRequestID"] == "REQ1").await;
        assert_eq!(heard.method, "POST");
        assert_eq!(heard.headers["x-correlationid"], "corr-1");
        assert_eq!(heard.body["numberFailedCases"], 1);
        let case = &heard.body["failedCases"][0];
        assert_eq!(case["payeeIdentity"], "P2");
        assert_eq!(case["paymentModality"], "01");
        assert_eq!(case["bankingInstitutionCode"], "TELCO");
        assert!(case["failureReason"].as_str().unwrap().len() <= 100);
        // The receiver can tell who sent it.
        let keys = suite.get(&format!("/v1/partners/{SOURCE}/keys")).await;
        let secret = keys.body["callback_secret"].as_str().unwrap();
        let secret = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let text = |name: &str| heard.headers[name].to_str().unwrap().to_owned();
        let seconds = text("webhook-timestamp").parse().unwrap();
        let expected = publica_outbound::signature(
            &[secret], &text("webhook-id"), seconds, &heard.bytes,
        );
        assert_eq!(text("webhook-signature"), expected);

        // A repeat is answered alike and has no second effect; other content is a conflict.
        assert_eq!(acknowledged(&suite.told("POST", path, &receiver, &body).await), ok());
        let other = with(body.clone(), "/Beneficiaries/0/FinancialAddress", Some(json!("7")));
        let answer = suite.told("POST", path, &receiver, &other).await;
        assert_eq!(acknowledged(&answer), (409, "01".to_owned()));
        assert_eq!(acknowledged(&suite.call("DELETE", path, "").await), (405, "01".to_owned()));
    }

    async fn mappings_are_changed_and_looked_up(db: TestDatabase) {
        let suite = filled(db).await;
        let receiver = Receiver::start(0).await;
        suite.mapped(&receiver, "REQ1", &[("P1", "1234567"), ("P2", "7654321")]).await;
        let find = async |payee: &str| {
            let path = format!("/beneficiary/?payeeIdentity={payee}&requestId=R9");
            let headers = [
                ("x-callback_url", receiver.url.as_str()), ("registeringinstitutionid", SOURCE),
            ];
            suite.call_as("tester", "GET", &path, &headers, "").await
        };
        let found = find("P1").await;
        assert_eq!(found.status, 200, "{}", found.body);
        assert_eq!(found.body, json!({"requestId": "R9", "paymentModalityList": [
            {"payeeIdentity": "P1", "paymentModality": "00", "financialAddress": "1234567",
                "bankingInstitutionCode": "BANK"}]}));
        assert_eq!(find("P3").await.body["paymentModalityList"], json!([]));
        assert_eq!(acknowledged(&find("").await), bad());
        let bare = suite.get("/beneficiary/?payeeIdentity=P1&requestId=R9").await;
        assert_eq!(acknowledged(&bare), bad());

        let path = "/identityAccountMapper/beneficiary";
        let change = json!({"requestID": "REQ2", "sourceBBID": SOURCE, "beneficiaries": [
            {"payeeIdentity": "P1", "paymentModality": "01", "financialAddress": "+31612345678"},
            {"payeeIdentity": "P2", "status": "0"},
            {"payeeIdentity": "P3", "financialAddress": "1"}]});
        for (pointer, value) in [
            ("/sourceBBID", None), ("/beneficiaries/1/status", Some(json!("2"))),
        ] {
            let wrong = with(change.clone(), pointer, value);
            let answer = suite.told("PUT", path, &receiver, &wrong).await;
            assert_eq!(acknowledged(&answer), bad(), "{pointer}");
        }
        assert_eq!(acknowledged(&suite.told("PUT", path, &receiver, &change).await), ok());
        let heard = receiver.hears(|body| body["registerRequestID"] == "REQ2").await;
        assert_eq!(heard.body["failedCases"][0]["payeeFunctionalID"], "P3");
        assert_eq!(heard.body["numberFailedCases"], 1);

        let all = json!({"requestId": "R9", "payeePartyIds": ["P1", "P2", "P3"]});
        let found = suite.told("PUT", "/beneficiary", &receiver, &all).await;
        // One is out of use and one is not known.
        assert_eq!(found.body, json!({"requestId": "R9", "paymentModalityList": [
            {"payeeIdentity": "P1", "paymentModality": "01",
                "financialAddress": "+31612345678", "bankingInstitutionCode": "MOBILE"}]}));
        for wrong in [json!([]), json!(["x".repeat(21)]), json!("P1"), json!([7])] {
            let body = json!({"requestId": "R9", "payeePartyIds": wrong});
            let answer = suite.told("PUT", "/beneficiary", &receiver, &body).await;
            assert_eq!(acknowledged(&answer), bad(), "{body}");
        }
    }

    async fn batches_are_submitted_paid_and_told_about(db: TestDatabase) {
        let suite = filled(db).await;
        let receiver = Receiver::start(0).await;
        suite.mapped(&receiver, "REQ1", &[("P1", "1234567"), ("P2", "9990000")]).await;
        let path = "/batchtransactions?type=raw";
        let rows = json!([
            transaction("R1", "P1", json!(100.25)), transaction("R2", "P2", json!(10)),
            transaction("R3", "P9", json!(5)), transaction("R4", "P1", json!(1.005))]);
        for broken in ["", "{}", "[]", "[7]", "not json"] {
            let answer = suite.call("POST", path, broken).await;
            assert_eq!(answer.message(), 400, "{broken}");
        }
        assert_eq!(suite.post(path, &rows).await.message(), 400, "headers are missing");
        for name in
            ["requestId", "creditParty", "debitParty", "paymentMode", "amount", "currency"]
        {
            let wrong = with(rows.clone(), &format!("/0/{name}"), None);
            let answer = suite.told("POST", path, &receiver, &wrong).await;
            assert_eq!(answer.message(), 400, "{name}");
        }
        let odd = suite.told("POST", "/batchtransactions?type=xml", &receiver, &rows).await;
        assert_eq!(odd.message(), 400);
        let taken = suite.told("POST", path, &receiver, &rows).await;
        assert_eq!(taken.status, 202, "{}", taken.body);
        let batch = taken.body["batchId"].as_str().unwrap().to_owned();
        assert!(batch.len() <= 50);
        let again = suite.told("POST", path, &receiver, &rows).await;
        assert_eq!((again.status, &again.body), (202, &taken.body));
        let other = with(rows.clone(), "/0/amount", Some(json!(7)));
        assert_eq!(suite.told("POST", path, &receiver, &other).await.message(), 409);

        let poll = format!("/api/v1/batch?batchId={batch}&X-CorrelationID=R77");
        let before = suite.get(&poll).await;
        assert_eq!(before.status, 200, "{}", before.body);
        assert_eq!((&before.body["ongoing"], &before.body["failed"]), (&json!(2), &json!(2)));
        let native = suite.get(&format!("/v1/batches/{batch}")).await.body;
        let approval = json!({"digest": native["digest"]}).to_string();
        let approve = format!("/v1/batches/{batch}/approve");
        let approved = suite.call_as("checker", "POST", &approve, &[], &approval).await;
        assert_eq!(approved.status, 200, "{}", approved.body);
        let heard = receiver.hears(|body| body["batchId"] == json!(batch)).await;
        for (name, value) in [
            ("TotalTransactions", json!(4)), ("completed", json!(2)), ("failed", json!(2)),
            ("ongoing", json!(0)), ("completed_amount", json!(110.25)),
            ("ongoing_amount", json!(0.0)), ("failed_amount", json!(5.0)),
            ("totalAmount", json!(115.25)), ("currency", json!("USD")),
            ("result_file", Value::Null),
        ] {
            assert_eq!(heard.body[name], value, "{name}");
        }
        assert!(heard.body["resultGeneratedAt"].as_str().unwrap().ends_with('Z'));
        let after = suite.get(&poll).await;
        assert_eq!(after.body["requestId"], "R77");
        for name in ["TotalTransactions", "completed", "failed", "totalAmount", "note"] {
            assert_eq!(after.body[name], heard.body[name], "{name}");
        }
        let missing = suite.get(&format!("/api/v1/batch?batchId={}", "0".repeat(36))).await;
        assert_eq!(missing.message(), 404);
        assert_eq!(suite.get("/api/v1/batch").await.message(), 400);
    }

    async fn details_of_a_batch_come_in_pages(db: TestDatabase) {
        let suite = filled(db).await;
        let receiver = Receiver::start(0).await;
        suite.mapped(&receiver, "REQ1", &[("P1", "1234567"), ("P2", "7654321")]).await;
        let rows = json!([
            transaction("R1", "P1", json!(100.25)), transaction("R2", "P2", json!(10)),
            transaction("R3", "P9", json!(5))]);
        let taken = suite.told("POST", "/batchtransactions", &receiver, &rows).await;
        let batch = taken.body["batchId"].as_str().unwrap().to_owned();
        let detail = async |query: &str| {
            let path = format!("/api/v1/batch/detail?batchId={batch}{query}");
            let headers = [("platform-tenantid", "default")];
            suite.call_as("tester", "GET", &path, &headers, "").await
        };
        let page = detail("").await;
        assert_eq!(page.status, 200, "{}", page.body);
        let list = page.body.as_array().unwrap();
        assert_eq!(list.len(), 3);
        let members = ["workflowInstanceKey", "transactionId", "startedAt", "completedAt", "status",
            "statusDetail", "payeeDfspId", "payeePartyId", "payeePartyIdType", "payeeFee",
            "payeeFeeCurrency", "payerDfspId", "payerPartyId", "payerPartyIdType", "payerFee",
            "payerFeeCurrency", "amount", "currency", "direction", "errorInformation", "batchId"];
        for name in members {
            assert!(list[0].get(name).is_some(), "{name}");
        }
        assert_eq!((&list[0]["payeePartyId"], &list[0]["amount"]), (&json!("P1"), &json!(100.25)));
        assert_eq!(list[0]["status"], "IN_PROGRESS");
        assert_eq!(list[2]["status"], "FAILED");
        assert_eq!(list[2]["errorInformation"], "BE06");
        let second = detail("&pageNo=1&pageSize=2").await.body;
        assert_eq!(second.as_array().unwrap().len(), 1);
        assert_eq!(second[0]["transactionId"], "R3");
        for query in
            ["&pageNo=x", "&pageSize=0", "&pageSize=1001", "&status=ODD", "&direction=UP"]
        {
            assert_eq!(detail(query).await.message(), 400, "{query}");
        }
        assert_eq!(detail("&direction=INCOMING").await.body, json!([]));
        let bare = suite.get(&format!("/api/v1/batch/detail?batchId={batch}")).await;
        assert_eq!(bare.message(), 400);

        // What a bank says is taken if it is whole.
        let path = format!("/api/v1/batch?batchId={batch}&X-CorrelationID=R1");
        let said = json!({"requestId": "R1", "batchId": batch, "TotalTransactions": 3,
            "ongoing": 0, "failed": 1, "completed": 2, "totalAmount": 115.25,
            "completed_amount": 110.25, "ongoing_amount": 0, "failed_amount": 5.00,
            "currency": "USD", "result_file": null, "resultGeneratedAt": "2026-01-01T00:00:00Z",
            "note": ""});
        let answer = suite.post(&path, &said).await;
        assert_eq!(answer.message(), 200);
        for name in ["requestId", "batchId", "TotalTransactions", "failed_amount", "currency"] {
            let wrong = with(said.clone(), &format!("/{name}"), None);
            assert_eq!(suite.post(&path, &wrong).await.message(), 400, "{name}");
        }
    }

    async fn batches_come_as_csv_too(db: TestDatabase) {
        let suite = filled(db).await;
        let receiver = Receiver::start(0).await;
        suite.mapped(&receiver, "REQ1", &[("P1", "1234567")]).await;
        let header = "id,request_id,payment_mode,payer_identifier_type,payer_identifier,\
            payee_identifier_type,payee_identifier,amount,currency,note,cycle";
        let post = async |file: &str, correlation: &str| {
            let body = format!(
                "--b\r\nContent-Disposition: form-data; name=\"data\"; filename=\"a.csv\"\r\n\
                 Content-Type: text/csv\r\n\r\n{file}\r\n--b--\r\n"
            );
            let headers = [
                ("content-type", "multipart/form-data; boundary=b"),
                ("x-callback-url", receiver.url.as_str()),
                ("x-registering-institution-id", SOURCE), ("x-correlationid", correlation),
                ("platform-tenantid", "default"),
            ];
            suite.call_as("tester", "POST", "/batchtransactions?type=csv", &headers, &body).await
        };
        for wrong in ["", header, "a,b\n1,2\n", &format!("{header}\n1,2\n")] {
            assert_eq!(post(wrong, "c0").await.message(), 400, "{wrong}");
        }
        let file = format!(
            "{header}\n0,C1,gsma,account,X,identity,P1,1.50,USD,March,1\n\
             1,C2,gsma,account,X,identity,P1,0,USD,,1\n"
        );
        let taken = post(&file, "c1").await;
        assert_eq!(taken.status, 202, "{}", taken.body);
        let batch = taken.body["batchId"].as_str().unwrap();
        let native = suite.get(&format!("/v1/batches/{batch}")).await.body;
        // A bad row fails by itself.
        assert_eq!(native["accepted"], json!({"count": 1, "amount": "1.50"}));
        assert_eq!(native["refused_count"], 1);
    }

    async fn version_1_calls_back_where_it_is_asked_to(db: TestDatabase) {
        let suite = filled(db).await;
        let receiver = Receiver::start(0).await;
        let headers = [("x-callbackurl", receiver.url.as_str())];
        let send = async |method: &str, path: &str, body: &Value| {
            suite.call_as("tester", method, path, &headers, &body.to_string()).await
        };
        let listed = registration("REQUEST00001", &[(PAYEE, "1234567"), (PAYEE, "1")]);
        let answer = send("POST", "/register-beneficiary", &listed).await;
        assert_eq!(answer.acknowledged(), (200, "00".to_owned()));
        let heard = receiver.hears(|body| body["NumberFailedCases"] == 1).await.body;
        assert_eq!(heard["FailedCases"][0]["PayeeFunctionalID"], PAYEE);
        let checked = payment("REQUEST00001", "BATCH0000001");
        send("POST", "/prepayment-validation", &checked).await;
        let heard = receiver.hears(|body| body["Source_BatchID"] == "BATCH0000001").await.body;
        let poll = json!({"RequestID": "REQUEST00001", "Source_BatchID": "BATCH0000001"});
        let polled = suite.post("/prepayment-validation-response", &poll).await.body;
        assert_eq!(heard, polled);
        let voucher = json!({"voucher_amount": "10.50", "voucher_currency": "USD",
            "voucher_group": "FOOD", "Gov_Stack_BB": "BB"});
        let issued = send("POST", "/vouchers/voucher_preactivation", &voucher).await.body;
        let serial = issued["voucher_serial_number"].clone();
        let number = issued["voucher_number"].clone();
        let heard = receiver.hears(|body| body["voucher_number"] == number).await;
        assert_eq!((heard.method.as_str(), &heard.body), ("PUT", &issued));
        let activate = json!({"voucher_serial_number": serial, "Gov_Stack_BB": "BB"});
        send("PATCH", "/vouchers/voucher_activation", &activate).await;
        let done = |body: &Value| {
            body["voucher_serial_number"] == serial && body["result_status"].is_string()
        };
        let heard = receiver.hears(done).await;
        assert_eq!(heard.method, "PUT");
        let refused = [("x-callback-url", "file:///etc/passwd")];
        let path = "/vouchers/voucher_preactivation";
        let answer = suite.call_as("tester", "POST", path, &refused, &voucher.to_string()).await;
        assert_eq!(answer.message(), 400);
    }

    async fn a_payers_bank_is_asked_first(db: TestDatabase) {
        let suite = filled(db).await;
        let (receiver, bank) = (Receiver::start(0).await, Receiver::start(0).await);
        let named = json!({"url": bank.url, "payer_identifier": "TREASURY"}).to_string();
        let path = "/v1/programmes/CASH/payer-bank";
        assert_eq!(suite.call("PUT", path, &named).await.status, 200);
        let wrong = json!({"url": "ftp://bank", "payer_identifier": "T"}).to_string();
        assert_eq!(suite.call("PUT", path, &wrong).await.status, 400);
        // It needs the secret that signs what it is sent.
        assert_eq!(suite.get("/v1/partners/TREASURY/keys").await.status, 200);
        assert_eq!(suite.get("/v1/partners/NOBODY/keys").await.status, 404);
        suite.mapped(&receiver, "REQ1", &[("P1", "1234567"), ("P2", "7654321")]).await;
        for (number, word, state) in [(1, "N", "funds_refused"), (2, "Y", "completed")] {
            let rows = json!([
                transaction(&format!("R{number}A"), "P1", json!(100.25)),
                transaction(&format!("R{number}B"), "P2", json!(10))]);
            let headers = [
                ("x-callback-url", receiver.url.as_str()), ("platform-tenantid", "default"),
                ("x-registering-institution-id", SOURCE), ("x-correlationid", word),
            ];
            let taken = suite
                .call_as("tester", "POST", "/batchtransactions", &headers, &rows.to_string())
                .await;
            let batch = taken.body["batchId"].as_str().unwrap().to_owned();
            let native = suite.get(&format!("/v1/batches/{batch}")).await.body;
            let approval = json!({"digest": native["digest"]}).to_string();
            let approve = format!("/v1/batches/{batch}/approve");
            suite.call_as("checker", "POST", &approve, &[], &approval).await;
            let asked = bank.hears(|body| body["batchID"] == json!(batch)).await;
            assert_eq!(asked.body, json!({"batchID": batch, "payerIdentifier": "TREASURY",
                "currency": "USD", "amount": 110.25}));
            let waiting = suite.get(&format!("/v1/batches/{batch}")).await.body;
            assert_eq!(waiting["state"], "authorising");
            let id = asked.headers["x-client-correlation-id"].to_str().unwrap();
            assert_eq!(id.len(), 12);
            let answer = json!({"clientCorrelationId": id, "status": word, "reason": "because"});
            let path = "/batches/authorization";
            for (pointer, value, code) in [
                ("/status", Some(json!("X")), 400), ("/status", None, 400),
                ("/clientCorrelationId", Some(json!("unheard")), 404),
            ] {
                let wrong = with(answer.clone(), pointer, value);
                assert_eq!(suite.post(path, &wrong).await.message(), code, "{pointer}");
            }
            for _ in 0..2 {
                assert_eq!(suite.post(path, &answer).await.message(), 202);
            }
            eventually(|| async {
                let body = suite.get(&format!("/v1/batches/{batch}")).await.body;
                (body["state"] == state).then_some(())
            })
            .await;
        }
    }

    async fn a_payers_bank_checks_accounts(db: TestDatabase) {
        let suite = filled(db).await;
        let (receiver, bank) = (Receiver::start(0).await, Receiver::start(0).await);
        let named = json!({"url": bank.url, "payer_identifier": "TREASURY"}).to_string();
        suite.call("PUT", "/v1/programmes/CASH/payer-bank", &named).await;
        suite.post("/register-beneficiary", &registration("REQUEST00001", &[(PAYEE, "1234567")]))
            .await;
        let headers = [("x-callback-url", receiver.url.as_str())];
        let checked = payment("REQUEST00001", "BATCH0000001").to_string();
        let path = "/prepayment-validation";
        let answer = suite.call_as("tester", "POST", path, &headers, &checked).await;
        assert_eq!(answer.acknowledged(), (200, "00".to_owned()));
        let asked = bank.hears(|body| body["batchId"] == "BATCH0000001").await;
        let list = asked.body["creditInstructions"].as_array().unwrap();
        assert_eq!(list.len(), 1, "an unknown payee is not asked about");
        assert_eq!(list[0]["financialAddress"], "1234567");
        assert_eq!(asked.body["destinationDFSPID"], "BANK");
        let poll = json!({"RequestID": "REQUEST00001", "Source_BatchID": "BATCH0000001"});
        let poll = async || suite.post("/prepayment-validation-response", &poll).await.body;
        assert!(poll().await.get("FailedAccounts").is_none(), "the bank has not answered");
        let id = asked.headers["x-client-correlation-id"].to_str().unwrap();
        let said = json!({"clientCorrelationId": id, "batchId": "BATCH0000001",
            "numberOfFailedCases": 1, "failedAccountLookups": [
                {"instructionID": "INSTR00000000001", "failureReason": "account closed"}]});
        let path = "/beneficiaries/validation";
        for (pointer, value, code) in [
            ("/numberOfFailedCases", Some(json!(2)), 400), ("/clientCorrelationId", None, 400),
            ("/clientCorrelationId", Some(json!("unheard")), 404),
            ("/failedAccountLookups/0/instructionID", None, 400),
        ] {
            let wrong = with(said.clone(), pointer, value);
            assert_eq!(suite.post(path, &wrong).await.message(), code, "{pointer}");
        }
        for _ in 0..2 {
            assert_eq!(suite.post(path, &said).await.message(), 202);
        }
        let result = poll().await;
        assert_eq!(result["NumberFailedCases"], 2, "{result}");
        assert_eq!(result["FailedAccounts"][1], json!({"InstructionID": "INSTR00000000001",
            "FailureReason": "account closed"}));
        let told = receiver.hears(|body| body["Source_BatchID"] == "BATCH0000001").await.body;
        assert_eq!(told, result);
    }
}
