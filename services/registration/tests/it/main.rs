//! The block from outside: through the generated clients, behind all its layers.

mod flow;
mod imports;
mod permissions;

use publica_proto::registration::v1 as pb;
use publica_proto::registration::v1::catalog_service_client::CatalogServiceClient;
use publica_registration::{Registration, RegistrationConfig};
use publica_rpc::Link;
use publica_testkit::{TestBlock, TestDatabase, TestEnv, env, token_for, with_token};
use publica_types::Tenant;
use serde_json::{Value, json};

/// A block on a private store, and links for its callers.
struct Fixture {
    // Held so that its folder and its background work live as long as the test.
    _env: TestEnv,
    block: TestBlock<Registration>,
}

impl Fixture {
    async fn new(db: &TestDatabase) -> Self {
        let env = env("registration");
        let config = RegistrationConfig {
            database: db.config(),
            ..RegistrationConfig::default()
        };
        let block = env
            .open::<Registration>(config)
            .await
            .expect("the block opens");
        Self { _env: env, block }
    }

    /// The way in for somebody with these scopes.
    fn link(&self, subject: &str, scopes: &[&str]) -> Link {
        with_token(
            &self.block.link,
            &token_for(subject, scopes, &Tenant::default()),
        )
    }

    fn admin(&self) -> Link {
        self.link("admin", &["registration:*"])
    }

    /// Publishes the sample service.
    async fn publish(&self) -> pb::Service {
        let definition = definition().to_string().into_bytes();
        let request = pb::PublishServiceRequest {
            request_id: String::new(),
            definition_json: definition.into(),
        };
        CatalogServiceClient::new(self.admin())
            .publish_service(request)
            .await
            .expect("the definition is sound")
            .into_inner()
            .service
            .expect("an answer names the service")
    }
}

/// Low income is approved, high income refused, the rest is looked at.
fn definition() -> Value {
    json!({
        "serviceId": "support", "name": "Household support", "description": "A test",
        "forms": [{"eFormId": "household-form", "name": "Household", "containers": [{
            "key": "household", "fields": [
                {"key": "members", "type": "integer", "required": true, "min": 1, "max": 50},
                {"key": "income", "type": "number", "required": true, "min": 0},
            ],
        }]}],
        "determinants": {"poor": {"<": [{"var": "household.income"}, 100]}},
        "decisions": [
            {"when": {"determinant": "poor"}, "outcome": "APPROVED", "reason": "Low income."},
            {"when": {">": [{"var": "household.income"}, 1000]}, "outcome": "REJECTED",
             "reason": "High income."},
        ],
        "roles": [{"id": "clerk", "name": "Clerk"}],
        "register": {"name": "households", "fields": ["household.members"]},
    })
}
