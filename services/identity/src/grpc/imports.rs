//! Bringing data in from another system.

use publica_proto::imports::v1 as imports;
use publica_proto::imports::v1::import_service_server::ImportService;
use publica_rpc::Refusal;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::app::Imported;
use crate::grpc::{Call, Services};

/// Entities in one unit of work.
const CHUNK: usize = 500;
const MAX_PROBLEMS: usize = 1_000;
const MAX_ENTITY: usize = 1024 * 1024;
const RPC: &str = "/publica.imports.v1.ImportService/ImportEntities";

#[tonic::async_trait]
impl ImportService for Services {
    async fn import_entities(
        &self,
        request: Request<Streaming<imports::ImportEntitiesRequest>>,
    ) -> Result<Response<imports::ImportEntitiesResponse>, Status> {
        let call = Call::of(&request, RPC);
        let mut stream = request.into_inner();
        let mut response = imports::ImportEntitiesResponse::default();
        let mut chunk = Vec::with_capacity(CHUNK);
        while let Some(entity) = stream.message().await? {
            if entity.json.len() > MAX_ENTITY {
                note(&mut response, entity.line, "", "is larger than 1 MiB")?;
                continue;
            }
            chunk.push(entity);
            if chunk.len() == CHUNK {
                self.store(&call, std::mem::take(&mut chunk), &mut response)
                    .await?;
            }
        }
        if !chunk.is_empty() {
            self.store(&call, chunk, &mut response).await?;
        }
        Ok(Response::new(response))
    }
}

impl Services {
    async fn store(
        &self,
        call: &Call,
        chunk: Vec<imports::ImportEntitiesRequest>,
        response: &mut imports::ImportEntitiesResponse,
    ) -> Result<(), Status> {
        let lines: Vec<u64> = chunk.iter().map(|entity| entity.line).collect();
        let entities = chunk
            .into_iter()
            .map(|entity| (entity.kind, entity.json.to_vec()))
            .collect();
        let outcomes = self.0.import(&call.origin, entities).await?;
        for (line, outcome) in lines.into_iter().zip(outcomes) {
            match outcome {
                Imported::Accepted => response.accepted += 1,
                Imported::Repeated => response.repeated += 1,
                Imported::Problem(field, description) => {
                    note(response, line, &field, &description)?;
                }
            }
        }
        Ok(())
    }
}

fn note(
    response: &mut imports::ImportEntitiesResponse,
    line: u64,
    field: &str,
    description: &str,
) -> Result<(), Status> {
    if response.problems.len() == MAX_PROBLEMS {
        let message = "More than 1,000 entities were refused; reading on would help nobody.";
        return Err(Refusal::new(Code::InvalidArgument, "PROBLEMS_EXCEED_LIMIT", message).into());
    }
    response.problems.push(imports::ImportProblem {
        line,
        field: field.to_owned(),
        description: description.to_owned(),
    });
    Ok(())
}
