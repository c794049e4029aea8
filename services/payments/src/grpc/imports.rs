//! The import service: lines in, problems out.

use publica_proto::imports::v1 as pb;
use publica_proto::imports::v1::import_service_server::ImportService;
use publica_rpc::{Refusal, origin, status_of};
use publica_store::Db;
use publica_types::Origin;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::app::import::{Imported, Line, Problem};
use crate::grpc::Service;

/// Lines in one unit of work.
const AT_ONCE: usize = 500;
/// Problems that are listed.
const MOST_PROBLEMS: usize = 1_000;
const MOST_BYTES: usize = 1 << 20;

#[tonic::async_trait]
impl ImportService for Service {
    async fn import_entities(
        &self,
        request: Request<Streaming<pb::ImportEntitiesRequest>>,
    ) -> Result<Response<pb::ImportEntitiesResponse>, Status> {
        let origin = origin(&request);
        let mut stream = request.into_inner();
        let db = self
            .0
            .db(&origin)
            .await
            .map_err(|error| status_of(&error))?;
        let mut answer = pb::ImportEntitiesResponse::default();
        let mut lines = Vec::with_capacity(AT_ONCE);
        while let Some(message) = stream.message().await? {
            lines.push(self.line(message));
            if lines.len() == AT_ONCE {
                let full = std::mem::replace(&mut lines, Vec::with_capacity(AT_ONCE));
                self.store(&db, &origin, full, &mut answer).await?;
            }
        }
        if !lines.is_empty() {
            self.store(&db, &origin, lines, &mut answer).await?;
        }
        Ok(Response::new(answer))
    }
}

impl Service {
    fn line(&self, message: pb::ImportEntitiesRequest) -> Line {
        let entity = match message.json.len() > MOST_BYTES {
            true => Err(Problem {
                field: String::new(),
                description: "is longer than 1 MiB".to_owned(),
            }),
            false => self.0.read_entity(&message.kind, &message.json),
        };
        Line {
            line: message.line,
            entity,
        }
    }

    async fn store(
        &self,
        db: &Db,
        origin: &Origin,
        lines: Vec<Line>,
        answer: &mut pb::ImportEntitiesResponse,
    ) -> Result<(), Status> {
        let done = self
            .0
            .import(db, origin, lines)
            .await
            .map_err(|error| status_of(&error))?;
        let Imported {
            accepted,
            repeated,
            problems,
        } = done;
        answer.accepted += accepted;
        answer.repeated += repeated;
        for (line, Problem { field, description }) in problems {
            answer.problems.push(pb::ImportProblem {
                line,
                field,
                description,
            });
        }
        if answer.problems.len() > MOST_PROBLEMS {
            let message = "Too many lines have problems.";
            let refusal = Refusal::new(Code::InvalidArgument, "PROBLEMS_EXCEED_LIMIT", message);
            return Err(refusal.into());
        }
        Ok(())
    }
}
