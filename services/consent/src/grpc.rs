//! The services: convert, call the use case, convert back.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_server::{
    ConsentRecordService, ConsentRecordServiceServer,
};
use publica_proto::consent::v1::consent_service_server::{ConsentService, ConsentServiceServer};
use publica_proto::consent::v1::data_agreement_service_server::{
    DataAgreementService, DataAgreementServiceServer,
};
use publica_proto::consent::v1::delegation_service_server::{
    DelegationService, DelegationServiceServer,
};
use publica_proto::consent::v1::individual_service_server::{
    IndividualService, IndividualServiceServer,
};
use publica_proto::consent::v1::policy_service_server::{PolicyService, PolicyServiceServer};
use publica_proto::consent::v1::revision_service_server::{RevisionService, RevisionServiceServer};
use publica_proto::imports::v1::import_service_server::{ImportService, ImportServiceServer};
use publica_proto::imports::v1::{ImportEntitiesRequest, ImportEntitiesResponse};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::app::{App, Who};

/// All services of the block over its use cases.
#[derive(Clone)]
pub(crate) struct Api(App);

/// The largest message taken: a thousand signed records of ordinary size.
const MAX_MESSAGE: usize = 16 * 1_024 * 1_024;

/// The routes of all services.
pub(crate) fn routes(app: &App) -> Routes {
    let api = Api(app.clone());
    Routes::new(ConsentServiceServer::new(api.clone()))
        .add_service(PolicyServiceServer::new(api.clone()))
        .add_service(DataAgreementServiceServer::new(api.clone()))
        .add_service(
            IndividualServiceServer::new(api.clone()).max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            ConsentRecordServiceServer::new(api.clone()).max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(DelegationServiceServer::new(api.clone()))
        .add_service(RevisionServiceServer::new(api.clone()))
        .add_service(ImportServiceServer::new(api))
}

/// Implements a service whose methods are use cases of the same shape; those that stream come
/// last.
macro_rules! serve {
    ($service:ident {
        $($method:ident: $request:ident -> $response:ident = $case:ident),* $(,)?
    } $(+ $watch:ident: $asked:ident => $stream:ident of $item:ident = $follow:ident)*) => {
        #[tonic::async_trait]
        impl $service for Api {
            $(
                async fn $method(
                    &self,
                    request: Request<pb::$request>,
                ) -> Result<Response<pb::$response>, Status> {
                    let who = Who::of(&request);
                    Ok(self.0.$case(&who, request.into_inner()).await.map(Response::new)?)
                }
            )*
            $(
                type $stream = BoxStream<'static, Result<pb::$item, Status>>;

                async fn $watch(
                    &self,
                    request: Request<pb::$asked>,
                ) -> Result<Response<Self::$stream>, Status> {
                    let who = Who::of(&request);
                    let stream = self.0.$follow(&who, request.into_inner()).await?;
                    Ok(Response::new(stream.boxed()))
                }
            )*
        }
    };
}

serve!(ConsentService {
    check_consent: CheckConsentRequest -> CheckConsentResponse = check_consent,
    batch_check_consent: BatchCheckConsentRequest -> BatchCheckConsentResponse = check_consents,
    list_revocations: ListRevocationsRequest -> ListRevocationsResponse = list_revocations,
    get_verification_keys: GetVerificationKeysRequest -> GetVerificationKeysResponse
        = verification_keys,
} + watch_revocations: WatchRevocationsRequest => WatchRevocationsStream
    of WatchRevocationsResponse = watch_revocations);

serve!(PolicyService {
    create_policy: CreatePolicyRequest -> CreatePolicyResponse = create_policy,
    get_policy: GetPolicyRequest -> GetPolicyResponse = get_policy,
    list_policies: ListPoliciesRequest -> ListPoliciesResponse = list_policies,
    replace_policy: ReplacePolicyRequest -> ReplacePolicyResponse = replace_policy,
    delete_policy: DeletePolicyRequest -> DeletePolicyResponse = delete_policy,
});

serve!(DataAgreementService {
    create_data_agreement: CreateDataAgreementRequest -> CreateDataAgreementResponse
        = create_agreement,
    get_data_agreement: GetDataAgreementRequest -> GetDataAgreementResponse = get_agreement,
    list_data_agreements: ListDataAgreementsRequest -> ListDataAgreementsResponse
        = list_agreements,
    replace_data_agreement: ReplaceDataAgreementRequest -> ReplaceDataAgreementResponse
        = replace_agreement,
    approve_data_agreement: ApproveDataAgreementRequest -> ApproveDataAgreementResponse
        = approve_agreement,
    publish_data_agreement: PublishDataAgreementRequest -> PublishDataAgreementResponse
        = publish_agreement,
    compare_data_agreement_revisions: CompareDataAgreementRevisionsRequest
        -> CompareDataAgreementRevisionsResponse = compare_revisions,
    terminate_data_agreement: TerminateDataAgreementRequest -> TerminateDataAgreementResponse
        = terminate_agreement,
});

serve!(IndividualService {
    create_individual: CreateIndividualRequest -> CreateIndividualResponse = create_individual,
    batch_create_individuals: BatchCreateIndividualsRequest -> BatchCreateIndividualsResponse
        = create_individuals,
    get_individual: GetIndividualRequest -> GetIndividualResponse = get_individual,
    list_individuals: ListIndividualsRequest -> ListIndividualsResponse = list_individuals,
    replace_individual: ReplaceIndividualRequest -> ReplaceIndividualResponse
        = replace_individual,
    erase_individual: EraseIndividualRequest -> EraseIndividualResponse = erase_individual,
    register_signing_key: RegisterSigningKeyRequest -> RegisterSigningKeyResponse = register_key,
    list_signing_keys: ListSigningKeysRequest -> ListSigningKeysResponse = list_keys,
    revoke_signing_key: RevokeSigningKeyRequest -> RevokeSigningKeyResponse = revoke_key,
    get_notification_preference: GetNotificationPreferenceRequest
        -> GetNotificationPreferenceResponse = get_preference,
    set_notification_preference: SetNotificationPreferenceRequest
        -> SetNotificationPreferenceResponse = set_preference,
});

serve!(ConsentRecordService {
    draft_consent_record: DraftConsentRecordRequest -> DraftConsentRecordResponse = draft_record,
    create_consent_record: CreateConsentRecordRequest -> CreateConsentRecordResponse
        = create_record,
    sign_consent_record: SignConsentRecordRequest -> SignConsentRecordResponse = sign_record,
    batch_sign_consent_records: BatchSignConsentRecordsRequest
        -> BatchSignConsentRecordsResponse = sign_records,
    get_consent_record: GetConsentRecordRequest -> GetConsentRecordResponse = get_record,
    list_consent_records: ListConsentRecordsRequest -> ListConsentRecordsResponse = list_records,
    change_consent_record: ChangeConsentRecordRequest -> ChangeConsentRecordResponse
        = change_record,
    draft_signature: DraftSignatureRequest -> DraftSignatureResponse = draft_signature,
    attach_signature: AttachSignatureRequest -> AttachSignatureResponse = attach_signature,
    erase_consent_records: EraseConsentRecordsRequest -> EraseConsentRecordsResponse
        = erase_records,
    get_consent_receipt: GetConsentReceiptRequest -> GetConsentReceiptResponse = get_receipt,
    list_consent_history: ListConsentHistoryRequest -> ListConsentHistoryResponse = list_history,
});

serve!(DelegationService {
    create_delegation: CreateDelegationRequest -> CreateDelegationResponse = create_delegation,
    get_delegation: GetDelegationRequest -> GetDelegationResponse = get_delegation,
    list_delegations: ListDelegationsRequest -> ListDelegationsResponse = list_delegations,
    revoke_delegation: RevokeDelegationRequest -> RevokeDelegationResponse = revoke_delegation,
});

serve!(RevisionService {
    get_revision: GetRevisionRequest -> GetRevisionResponse = get_revision,
    list_revisions: ListRevisionsRequest -> ListRevisionsResponse = list_revisions,
    verify_chain: VerifyChainRequest -> VerifyChainResponse = verify_chain,
});

#[tonic::async_trait]
impl ImportService for Api {
    async fn import_entities(
        &self,
        request: Request<Streaming<ImportEntitiesRequest>>,
    ) -> Result<Response<ImportEntitiesResponse>, Status> {
        let who = Who::of(&request);
        self.0
            .import(&who, request.into_inner())
            .await
            .map(Response::new)
    }
}
