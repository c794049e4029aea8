//! A service that does what a test asks of it.

use std::pin::Pin;

use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::journal::v1::journal_service_server::{JournalService, JournalServiceServer};
use publica_proto::journal::v1::{
    Entry, FILE_DESCRIPTOR_SET, GetCheckpointRequest, GetCheckpointResponse,
    GetConsistencyProofRequest, GetConsistencyProofResponse, GetInclusionProofRequest,
    GetInclusionProofResponse, GetTrailStatementRequest, GetTrailStatementResponse,
    ListEntriesRequest, ListEntriesResponse, ListEpochsRequest, ListEpochsResponse, WatchRequest,
    WatchResponse,
};
use publica_rpc::{Guard, Limits, Link, Refusal, methods_of, origin};
use publica_types::SystemEntropy;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use tower::Layer as _;

pub(crate) fn guarded() -> Link {
    guarded_with(Limits::default(), CancellationToken::new())
}

pub(crate) fn guarded_with(limits: Limits, stop: CancellationToken) -> Link {
    wrap(Odd { next: None }, limits, stop)
}

/// A service that asks another over `next`.
pub(crate) fn passing_on(next: Link) -> Link {
    wrap(
        Odd { next: Some(next) },
        Limits::default(),
        CancellationToken::new(),
    )
}

fn wrap(odd: Odd, limits: Limits, stop: CancellationToken) -> Link {
    let methods = methods_of(&[FILE_DESCRIPTOR_SET]);
    let guard = Guard::new("odd", methods, limits, stop, &SystemEntropy);
    Link::local(guard.layer(Routes::new(JournalServiceServer::new(odd)).prepare()))
}

struct Odd {
    next: Option<Link>,
}

#[tonic::async_trait]
impl JournalService for Odd {
    async fn get_inclusion_proof(
        &self,
        request: Request<GetInclusionProofRequest>,
    ) -> Result<Response<GetInclusionProofResponse>, Status> {
        let origin = origin(&request);
        if let Some(next) = &self.next {
            let answer = JournalServiceClient::new(next.clone())
                .get_inclusion_proof(request.into_inner())
                .await;
            return answer.map_err(|status| {
                Refusal::new(status.code(), "FAR", format!("far: {}", status.message())).into()
            });
        }
        match request.into_inner().entry_id.as_str() {
            "panic" => panic!("odd"),
            "bare internal" => return Err(Status::internal("disk sector 9")),
            "bare not found" => return Err(Status::not_found("no such thing")),
            "refuse" => return Err(Refusal::new(Code::FailedPrecondition, "ODD", "odd").into()),
            "slow" => std::future::pending::<()>().await,
            _ => {}
        }
        let leaf_hash = serde_json::to_vec(&origin).unwrap().into();
        let answer = GetInclusionProofResponse {
            position: 7,
            leaf_hash,
            ..Default::default()
        };
        Ok(Response::new(answer))
    }

    async fn list_entries(
        &self,
        _: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        Ok(Response::new(ListEntriesResponse::default()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let entry = |position| WatchResponse {
            entry: Some(Entry {
                position,
                ..Entry::default()
            }),
            epoch: 1,
        };
        let three = tokio_stream::iter((0..3).map(move |position| Ok(entry(position))));
        Ok(Response::new(Box::pin(
            three.chain(tokio_stream::pending()),
        )))
    }

    async fn get_checkpoint(
        &self,
        _: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_consistency_proof(
        &self,
        _: Request<GetConsistencyProofRequest>,
    ) -> Result<Response<GetConsistencyProofResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_trail_statement(
        &self,
        _: Request<GetTrailStatementRequest>,
    ) -> Result<Response<GetTrailStatementResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_epochs(
        &self,
        _: Request<ListEpochsRequest>,
    ) -> Result<Response<ListEpochsResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}
