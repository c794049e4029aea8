//! The import service: lines in, problems out.

use publica_proto::imports::v1 as pb;
use publica_proto::imports::v1::import_service_server::ImportService;
use publica_rpc::{Refusal, status_of};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::app::Who;
use crate::app::import::{Done, Problem};
use crate::grpc::Service;

/// Problems that are listed.
const MOST_PROBLEMS: usize = 1_000;
const MOST_BYTES: usize = 1 << 20;

#[tonic::async_trait]
impl ImportService for Service {
    async fn import_entities(
        &self,
        request: Request<Streaming<pb::ImportEntitiesRequest>>,
    ) -> Result<Response<pb::ImportEntitiesResponse>, Status> {
        let who = Who::of(&request);
        let mut stream = request.into_inner();
        let db = self
            .0
            .db(&who.origin)
            .await
            .map_err(|error| status_of(&error))?;
        let mut answer = pb::ImportEntitiesResponse::default();
        while let Some(message) = stream.message().await? {
            let done = if message.json.len() > MOST_BYTES {
                Err(Problem {
                    field: String::new(),
                    description: "is longer than 1 MiB".into(),
                })
            } else {
                let import = self
                    .0
                    .import_entity(&db, &who, &message.kind, &message.json);
                import.await.map_err(|error| status_of(&error))?
            };
            match done {
                Ok(Done::Stored) => answer.accepted += 1,
                Ok(Done::Repeated) => answer.repeated += 1,
                Err(Problem { field, description }) => {
                    let line = message.line;
                    answer.problems.push(pb::ImportProblem {
                        line,
                        field,
                        description,
                    });
                }
            }
            if answer.problems.len() > MOST_PROBLEMS {
                let message = "Too many lines have problems.";
                let refusal = Refusal::new(Code::InvalidArgument, "PROBLEMS_EXCEED_LIMIT", message);
                return Err(refusal.into());
            }
        }
        Ok(Response::new(answer))
    }
}
