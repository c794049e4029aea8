//! Who may call what.

use publica_auth::Access;

/// What needs no scope of its own: people may always act for themselves, and the use case
/// checks who else may.
const OWN: Access = Access::Authenticated;

const POLICY_READ: Access = Access::Scope("consent:policy:read");
const POLICY_WRITE: Access = Access::Scope("consent:policy:write");
const AGREEMENT_WRITE: Access = Access::Scope("consent:agreement:write");
const INDIVIDUAL_READ: Access = Access::Scope("consent:individual:read");
const INDIVIDUAL_WRITE: Access = Access::Scope("consent:individual:write");
const CHECK: Access = Access::Scope("consent:decision:check");

/// Every method of this block. What is not listed is denied to everybody.
pub(crate) const POLICY: &[(&str, Access)] = publica_journal::policy! {
    "consent";
    ("/publica.consent.v1.ConsentService/CheckConsent", CHECK),
    ("/publica.consent.v1.ConsentService/BatchCheckConsent", CHECK),
    ("/publica.consent.v1.ConsentService/ListRevocations", CHECK),
    ("/publica.consent.v1.ConsentService/WatchRevocations", CHECK),
    ("/publica.consent.v1.ConsentService/GetVerificationKeys", OWN),
    ("/publica.consent.v1.PolicyService/CreatePolicy", POLICY_WRITE),
    ("/publica.consent.v1.PolicyService/GetPolicy", OWN),
    ("/publica.consent.v1.PolicyService/ListPolicies", POLICY_READ),
    ("/publica.consent.v1.PolicyService/ReplacePolicy", POLICY_WRITE),
    ("/publica.consent.v1.PolicyService/DeletePolicy", POLICY_WRITE),
    ("/publica.consent.v1.DataAgreementService/CreateDataAgreement", AGREEMENT_WRITE),
    ("/publica.consent.v1.DataAgreementService/GetDataAgreement", OWN),
    ("/publica.consent.v1.DataAgreementService/ListDataAgreements", OWN),
    ("/publica.consent.v1.DataAgreementService/ReplaceDataAgreement", AGREEMENT_WRITE),
    (
        "/publica.consent.v1.DataAgreementService/ApproveDataAgreement",
        Access::Scope("consent:agreement:approve"),
    ),
    ("/publica.consent.v1.DataAgreementService/PublishDataAgreement", AGREEMENT_WRITE),
    ("/publica.consent.v1.DataAgreementService/TerminateDataAgreement", AGREEMENT_WRITE),
    ("/publica.consent.v1.DataAgreementService/CompareDataAgreementRevisions", AGREEMENT_WRITE),
    (
        "/publica.consent.v1.DelegationService/CreateDelegation",
        Access::Scope("consent:delegation:write"),
    ),
    ("/publica.consent.v1.DelegationService/GetDelegation", OWN),
    ("/publica.consent.v1.DelegationService/ListDelegations", OWN),
    ("/publica.consent.v1.DelegationService/RevokeDelegation", OWN),
    ("/publica.consent.v1.IndividualService/CreateIndividual", INDIVIDUAL_WRITE),
    ("/publica.consent.v1.IndividualService/BatchCreateIndividuals", INDIVIDUAL_WRITE),
    ("/publica.consent.v1.IndividualService/GetIndividual", OWN),
    ("/publica.consent.v1.IndividualService/ListIndividuals", INDIVIDUAL_READ),
    ("/publica.consent.v1.IndividualService/ReplaceIndividual", INDIVIDUAL_WRITE),
    ("/publica.consent.v1.IndividualService/EraseIndividual", OWN),
    ("/publica.consent.v1.IndividualService/RegisterSigningKey", OWN),
    ("/publica.consent.v1.IndividualService/ListSigningKeys", OWN),
    ("/publica.consent.v1.IndividualService/RevokeSigningKey", OWN),
    ("/publica.consent.v1.IndividualService/GetNotificationPreference", OWN),
    ("/publica.consent.v1.IndividualService/SetNotificationPreference", OWN),
    ("/publica.consent.v1.ConsentRecordService/DraftConsentRecord", OWN),
    ("/publica.consent.v1.ConsentRecordService/CreateConsentRecord", OWN),
    ("/publica.consent.v1.ConsentRecordService/SignConsentRecord", OWN),
    (
        "/publica.consent.v1.ConsentRecordService/BatchSignConsentRecords",
        Access::Scope("consent:record:write"),
    ),
    ("/publica.consent.v1.ConsentRecordService/GetConsentRecord", OWN),
    ("/publica.consent.v1.ConsentRecordService/ListConsentRecords", OWN),
    ("/publica.consent.v1.ConsentRecordService/ChangeConsentRecord", OWN),
    ("/publica.consent.v1.ConsentRecordService/DraftSignature", OWN),
    ("/publica.consent.v1.ConsentRecordService/AttachSignature", OWN),
    ("/publica.consent.v1.ConsentRecordService/EraseConsentRecords", OWN),
    ("/publica.consent.v1.ConsentRecordService/GetConsentReceipt", OWN),
    ("/publica.consent.v1.ConsentRecordService/ListConsentHistory", OWN),
    ("/publica.consent.v1.RevisionService/GetRevision", OWN),
    ("/publica.consent.v1.RevisionService/ListRevisions", OWN),
    ("/publica.consent.v1.RevisionService/VerifyChain", OWN),
    ("/publica.imports.v1.ImportService/ImportEntities", Access::Scope("consent:import:write")),
};
