//! What the log-in page is shown when a sign-in begins, and how a later step proves that it saw
//! just that.

use publica_jose::base64url;
use publica_proto::identity::v1 as pb;
use publica_rpc::from_timestamp;
use serde_json::json;

use crate::app::sha256;
use crate::error::{Error, Refused};
use crate::store::sign_in::SignIn;

/// The beginning of a sign-in as JSON.
pub(crate) fn details(begun: &pb::StartSignInResponse) -> String {
    let factor = |factor: &pb::AuthFactor| json!({ "type": factor.r#type, "count": factor.count });
    let set = |set: &pb::AuthFactorSet| set.factors.iter().map(factor).collect::<Vec<_>>();
    let end = begun.expire_time.as_ref();
    let end = end.and_then(|time| from_timestamp("expire_time", time).ok());
    json!({
        "transactionId": begun.transaction_id,
        "logoUrl": begun.logo_uri,
        "clientName": begun.client_name,
        "authFactors": begun.auth_factors.iter().map(set).collect::<Vec<_>>(),
        "essentialClaims": begun.essential_claims,
        "voluntaryClaims": begun.voluntary_claims,
        "authorizeScopes": begun.authorize_scopes,
        "redirectUri": begun.redirect_uri,
        "expireDateTime": end.map(|end| end.to_string()),
        "configs": {
            "sbi.env": "none",
            "otp.length": begun.code_length,
            "resend.otp.delay.secs": begun.resend_delay_seconds,
            "otp.lifetime.secs": begun.code_lifetime_seconds,
        },
    })
    .to_string()
}

/// How details are named by later steps.
pub(crate) fn hash(details: &str) -> String {
    base64url(sha256(details))
}

/// Refuses a step that was shown something else. One that does not say is let pass: its
/// transaction id is what gives it the right to go on.
pub(crate) fn seen(sign_in: &SignIn, hash: &str) -> Result<(), Error> {
    if hash.is_empty() || hash == sign_in.request.details_hash {
        Ok(())
    } else {
        Err(Refused::Transaction.into())
    }
}
