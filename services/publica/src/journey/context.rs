//! What all steps share.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use publica_types::{SharedClock, SharedEntropy, new_uuid};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::Client;
use super::machine::Machine;
use super::mailbox::Mailboxes;
use super::oidc::RelyingParty;

/// The parties that act, each with a key of its own.
pub(crate) struct Parties {
    /// Enrols people.
    pub(crate) registrar: Client,
    /// Runs the programme: agreements, services, letters, mails.
    pub(crate) programme: Client,
    /// Decides on applications.
    pub(crate) operator: Client,
    /// Makes the batch of payments.
    pub(crate) maker: Client,
    /// Approves it; never the maker.
    pub(crate) checker: Client,
    /// The auditor, who reads journals over gRPC.
    pub(crate) auditor: Arc<Machine>,
    /// The portal that people sign in to.
    pub(crate) portal: RelyingParty,
}

/// What all steps share.
pub(crate) struct Context {
    /// The case of the run itself: what is done for everybody at once.
    pub(crate) process_id: String,
    /// The file of households.
    pub(crate) file: PathBuf,
    /// Its rows.
    pub(crate) rows: u64,
    /// Where steps leave what the next one needs.
    pub(crate) folder: PathBuf,
    /// A client without credentials.
    pub(crate) anonymous: Client,
    /// The administrator.
    pub(crate) admin: Client,
    /// The mailboxes of all households.
    pub(crate) mailboxes: Mailboxes,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
}

/// A household whose head is enrolled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Enrolled {
    pub(crate) line: u64,
    pub(crate) person_id: String,
    /// The person's case, which every call about it carries.
    pub(crate) case_id: String,
    pub(crate) household: super::households::Household,
}

/// A household with a decision.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Decided {
    pub(crate) enrolled: Enrolled,
    pub(crate) file_id: String,
    pub(crate) approved: bool,
    pub(crate) reason: String,
}

/// Scopes of the parties: each holds what its part needs and nothing else.
const PARTIES: &[(&str, &[&str])] = &[
    ("registrar", &["identity:person:enrol"]),
    (
        "programme",
        &[
            "consent:*",
            "registration:service:write",
            "registration:service:read",
            "registration:application:write",
            "registration:application:read",
            "registration:register:read",
            "registration:task:write",
            "signature:*",
            "messaging:message:send",
            "messaging:message:read",
            "payments:beneficiary:write",
        ],
    ),
    (
        "operator",
        &[
            "registration:task:read",
            "registration:task:write",
            "registration:role:*",
        ],
    ),
    ("maker", &["payments:*"]),
    ("checker", &["payments:*"]),
    (
        "auditor",
        &[
            "identity:journal:read",
            "consent:journal:read",
            "registration:journal:read",
            "signature:journal:read",
            "payments:journal:read",
            "messaging:journal:read",
        ],
    ),
];

fn run(process_id: &str) -> &str {
    let random = process_id.rsplit('-').next();
    random.unwrap_or(process_id)
}

impl Context {
    /// What names made in this run end with: twelve hexadecimal digits of the run's case, of its
    /// random part, since the part in front is the time and near runs share it.
    pub(crate) fn run(&self) -> &str {
        run(&self.process_id)
    }

    /// A new case.
    pub(crate) fn new_case(&self) -> String {
        new_uuid(&*self.clock, &*self.entropy).to_string()
    }

    /// Registers every party as a client of the identity block, each with a key of its own; then
    /// registers the portal on the published path.
    pub(crate) async fn parties(&self) -> Result<Parties> {
        let mut machines = Vec::new();
        for (name, scopes) in PARTIES {
            let party = RelyingParty::new(
                &self.client_id(name),
                "",
                self.clock.clone(),
                self.entropy.clone(),
            )?;
            let body = json!({
                "clientId": party.client_id,
                "clientName": name,
                "relyingPartyId": party.client_id,
                "publicKey": party.public_key()?,
                "grantTypes": ["client_credentials"],
                "allowedScopes": scopes,
            });
            self.admin
                .post_once("/identity/v1/clients", &party.client_id, &body)
                .await?;
            machines.push(Arc::new(Machine::new(
                party,
                scopes.join(" "),
                self.anonymous.clone(),
            )));
        }
        let portal = self.portal().await?;
        let client = |at: usize| {
            self.anonymous
                .with_machine(&machines[at])
                .in_process(&self.process_id)
        };
        Ok(Parties {
            registrar: client(0),
            programme: client(1),
            operator: client(2),
            maker: client(3),
            checker: client(4),
            auditor: machines[5].clone(),
            portal,
        })
    }

    /// The client id of a party in this run.
    pub(crate) fn client_id(&self, party: &str) -> String {
        format!("{party}-{}", self.run())
    }

    async fn portal(&self) -> Result<RelyingParty> {
        let portal = RelyingParty::new(
            &self.client_id("portal"),
            "http://127.0.0.1/portal/signed-in",
            self.clock.clone(),
            self.entropy.clone(),
        )?;
        let body = json!({
            "requestTime": self.clock.now().to_string(),
            "request": {
                "clientId": portal.client_id,
                "clientName": "Household support portal",
                "relyingPartyId": portal.client_id,
                "logoUri": "https://portal.example.org/logo.png",
                "redirectUris": [portal.redirect_uri],
                "authContextRefs": ["idbb:acr:generated-code"],
                "publicKey": portal.public_key()?,
                "userClaims": ["name", "email"],
                "grantTypes": ["authorization_code"],
                "clientAuthMethods": ["private_key_jwt"],
            },
        });
        let answer = self
            .admin
            .post_once(
                "/identity/client-mgmt/oidc-client",
                &portal.client_id,
                &body,
            )
            .await?;
        super::client::no_errors("POST /client-mgmt/oidc-client", &answer)?;
        Ok(portal)
    }
}

#[cfg(test)]
mod tests {
    use publica_testkit::{MockClock, SeededEntropy};
    use publica_types::new_uuid;

    use super::run;

    #[test]
    fn runs_of_one_moment_have_names_of_their_own() {
        let (clock, entropy) = (MockClock::new(), SeededEntropy::new(1));
        let ids = [(); 2].map(|()| new_uuid(&clock, &entropy).to_string());
        assert_eq!(ids[0][..8], ids[1][..8], "the time is what they share");
        let names = ids.each_ref().map(|id| run(id));
        assert!(names.iter().all(|name| name.len() == 12), "{names:?}");
        assert_ne!(names[0], names[1]);
        assert_ne!(
            names[0][4..],
            names[1][4..],
            "the part that a source block has"
        );
    }
}
