//! Two tenants of one suite, over the network: each has stores of its own.

use std::path::Path;

use publica_proto::journal::v1::ListEpochsRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_testkit::Database;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tonic::transport::Endpoint;
use tonic::{Code, Request};

use crate::journey::{BLOCKS, database_settings};
use crate::running::{Running, publica, settings};

/// A suite of two tenants, and the folder where its keys are.
struct Suite {
    folder: tempfile::TempDir,
    running: Running,
}

impl Suite {
    fn start(environment: &[(String, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = Self::settings(folder.path(), "'north', 'south'");
        for arguments in [&["migrate"][..], &["up"]] {
            let mut command = publica();
            command
                .args(arguments)
                .arg("--config")
                .arg(&file)
                .envs(environment.iter().cloned());
            if arguments == ["up"] {
                let running = Running::start(&mut command);
                return Self { folder, running };
            }
            let made = command.output().unwrap();
            assert!(made.status.success(), "{made:?}");
        }
        unreachable!("the last command starts it");
    }

    fn settings(folder: &Path, tenants: &str) -> std::path::PathBuf {
        let text = format!(
            "tenants = [{tenants}]\ndata = '{}'\n[admin]\nlisten = '127.0.0.1:0'\n\
             [listeners.gateway]\nlisten = '127.0.0.1:0'\n",
            folder.join("data").display()
        );
        settings(folder, &text)
    }

    /// A token for a tenant, whether it is served or not: the key is the suite's.
    fn token(&self, tenant: &str) -> String {
        let folder = self.folder.path().join(tenant);
        std::fs::create_dir_all(&folder).unwrap();
        let output = publica()
            .args(["token", "--scope", "*", "--tenant", tenant, "--config"])
            .arg(settings(&folder, &format!("tenants = ['{tenant}']\n")))
            .arg("--data")
            .arg(self.folder.path().join("data"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn url(&self) -> String {
        format!("http://{}", self.running.address("gateway"))
    }

    async fn call(
        &self,
        tenant: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = Client::new()
            .request(method, format!("{}{path}", self.url()))
            .bearer_auth(self.token(tenant));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap())
    }

    /// Asks a block over gRPC who signs its journal.
    async fn journal(&self, tenant: &str, block: &str) -> Result<Vec<String>, tonic::Status> {
        let channel = Endpoint::from_shared(self.url()).unwrap().connect_lazy();
        let mut request = Request::new(ListEpochsRequest::default());
        let metadata = request.metadata_mut();
        let authorization = format!("Bearer {}", self.token(tenant));
        metadata.insert("authorization", authorization.parse().unwrap());
        metadata.insert(publica_rpc::BLOCK, block.parse().unwrap());
        let answer = JournalServiceClient::new(channel)
            .list_epochs(request)
            .await?;
        let epochs = answer.into_inner().epochs.into_iter();
        Ok(epochs.map(|epoch| epoch.verifier_key).collect())
    }
}

async fn tenants_do_not_meet(environment: Vec<(String, String)>) {
    const ACCOUNTS: &str = "/payments/v1/funding-accounts";
    const GROUPS: &str = "/payments/v1/voucher-groups";
    // Whoever was first has installed the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let start = move || Suite::start(&environment);
    let suite = tokio::task::spawn_blocking(start).await.unwrap();
    // One name in both, and what stands under it in one is not seen in the other.
    let group = json!({"name": "FOOD"});
    for tenant in ["north", "south"] {
        let made = suite
            .call(tenant, Method::POST, GROUPS, Some(group.clone()))
            .await;
        assert!(made.0.is_success(), "{tenant}: {made:?}");
    }
    let account = json!({"name": "Treasury", "currency": "USD"});
    let (status, made) = suite
        .call("north", Method::POST, ACCOUNTS, Some(account))
        .await;
    assert!(status.is_success(), "{made}");
    let id = made["funding_account_id"].as_str().unwrap();
    let deposits = format!("{ACCOUNTS}/{id}/deposits");
    let deposit = json!({"amount": "10.00", "reference": "Appropriation"});
    let (status, answer) = suite
        .call("south", Method::POST, &deposits, Some(deposit.clone()))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    let (status, answer) = suite
        .call("north", Method::POST, &deposits, Some(deposit))
        .await;
    assert!(status.is_success(), "{answer}");
    for block in BLOCKS {
        let north = suite.journal("north", block).await.unwrap();
        let south = suite.journal("south", block).await.unwrap();
        // What the welcome suggests as a first call has something to show.
        assert!(!north.is_empty() && !south.is_empty(), "{block}");
        assert_ne!(north, south, "{block}: each signs with a key of its own");
        let refused = suite.journal("west", block).await.unwrap_err();
        let reason = publica_rpc::reason(&refused);
        assert_eq!(
            (refused.code(), reason.as_deref()),
            (Code::PermissionDenied, Some("TENANT_UNKNOWN")),
            "{block}"
        );
    }
    let (status, answer) = suite.call("west", Method::POST, GROUPS, Some(group)).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    assert!(answer.to_string().contains("TENANT_UNKNOWN"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_meet_on_embedded_stores() {
    tenants_do_not_meet(Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_meet_on_postgresql() {
    let database = Database::postgres().await;
    tenants_do_not_meet(database_settings(&database)).await;
}
