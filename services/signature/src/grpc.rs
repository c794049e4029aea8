//! The generated services: who calls, call the app, give its answer back.

mod imports;

use std::sync::Arc;

use publica_proto::signature::v1 as pb;
use publica_proto::signature::v1::certificate_service_server::CertificateService;
use publica_proto::signature::v1::credential_service_server::CredentialService;
use publica_proto::signature::v1::signing_service_server::SigningService;
use publica_proto::signature::v1::timestamp_authority_service_server::TimestampAuthorityService;
use publica_proto::signature::v1::validation_service_server::ValidationService;
use publica_rpc::status_of;
use tonic::{Request, Response, Status};

use crate::app::{App, Who};

/// Serves every service of the block.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<App>);

/// One method a line: its name and its messages.
macro_rules! methods {
    ($service:ident: $($name:ident($request:ident) -> $response:ident;)+) => {
        #[tonic::async_trait]
        impl $service for Service {
            $(
                async fn $name(
                    &self,
                    request: Request<pb::$request>,
                ) -> Result<Response<pb::$response>, Status> {
                    let who = Who::of(&request);
                    let answer = self.0.$name(&who, request.into_inner()).await;
                    answer.map(Response::new).map_err(|error| status_of(&error))
                }
            )+
        }
    };
}

methods! {
    CredentialService:
    create_credential(CreateCredentialRequest) -> CreateCredentialResponse;
    get_credential(GetCredentialRequest) -> GetCredentialResponse;
    list_credentials(ListCredentialsRequest) -> ListCredentialsResponse;
    change_credential_status(ChangeCredentialStatusRequest) -> ChangeCredentialStatusResponse;
}

methods! {
    CertificateService:
    create_certificate(CreateCertificateRequest) -> CreateCertificateResponse;
    get_certificate(GetCertificateRequest) -> GetCertificateResponse;
    list_certificates(ListCertificatesRequest) -> ListCertificatesResponse;
    change_certificate_status(ChangeCertificateStatusRequest) -> ChangeCertificateStatusResponse;
    get_revocation_list(GetRevocationListRequest) -> GetRevocationListResponse;
    list_authorities(ListAuthoritiesRequest) -> ListAuthoritiesResponse;
}

methods! {
    SigningService:
    sign_hash(SignHashRequest) -> SignHashResponse;
    seal_hashes(SealHashesRequest) -> SealHashesResponse;
    seal_documents(SealDocumentsRequest) -> SealDocumentsResponse;
    get_signature(GetSignatureRequest) -> GetSignatureResponse;
    list_signatures(ListSignaturesRequest) -> ListSignaturesResponse;
}

methods! {
    TimestampAuthorityService:
    create_timestamp(CreateTimestampRequest) -> CreateTimestampResponse;
}

methods! {
    ValidationService:
    validate_document(ValidateDocumentRequest) -> ValidateDocumentResponse;
    validate_signature(ValidateSignatureRequest) -> ValidateSignatureResponse;
}
