//! `WorkService`: what operators see of jobs and sagas, and may do about them.

use publica_proto::work::v1 as proto;
use publica_proto::work::v1::work_service_server::WorkService;
use publica_rpc::{PageToken, page_size, timestamp};
use publica_store::{BoxFuture, Db, Tx};
use publica_types::{Origin, Uuid};
use publica_work::SagaState;
use publica_work::operator::{self, JobView, OperatorError, SagaView, StepView};
use tonic::{Request, Response, Status};

use super::{DEFAULT_PAGE, MAX_PAGE, reason, uuid};
use crate::entry::Entry;
use crate::error::JournalError;
use crate::journal::Journal;
use crate::ledger::{Call, fingerprint, write};
use crate::tail::append;

/// The service over one block's work.
#[derive(Debug)]
pub struct Work {
    journal: Journal,
}

impl From<OperatorError> for JournalError {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::NotFound { what } => Self::NotFound { what },
            OperatorError::State { reason } => Self::State { message: reason },
            OperatorError::Store(error) => Self::Store(error),
        }
    }
}

fn job(view: JobView, dead: bool) -> proto::Job {
    let time = Some(timestamp(view.time));
    proto::Job {
        job_id: view.job_id.to_string(),
        kind: view.kind,
        key: view.key,
        lane: i32::try_from(view.lane).unwrap_or(0),
        due_time: time.filter(|_| !dead),
        attempts: i32::try_from(view.attempts).unwrap_or(i32::MAX),
        last_error: view.last_error.unwrap_or_default(),
        create_time: Some(timestamp(view.created)),
        dead_time: time.filter(|_| dead),
        process_id: view.origin.process_id.unwrap_or_default(),
    }
}

fn state(state: SagaState) -> i32 {
    i32::from(match state {
        SagaState::Running => proto::SagaState::Running,
        SagaState::Compensating => proto::SagaState::Compensating,
        SagaState::Done => proto::SagaState::Done,
        SagaState::Compensated => proto::SagaState::Compensated,
        SagaState::Stuck => proto::SagaState::Stuck,
        SagaState::Abandoned => proto::SagaState::Abandoned,
    })
}

fn state_filter(state: proto::SagaState) -> Option<SagaState> {
    match state {
        proto::SagaState::Unspecified => None,
        proto::SagaState::Running => Some(SagaState::Running),
        proto::SagaState::Compensating => Some(SagaState::Compensating),
        proto::SagaState::Done => Some(SagaState::Done),
        proto::SagaState::Compensated => Some(SagaState::Compensated),
        proto::SagaState::Stuck => Some(SagaState::Stuck),
        proto::SagaState::Abandoned => Some(SagaState::Abandoned),
    }
}

fn saga(view: SagaView, steps: Vec<StepView>) -> proto::Saga {
    // The block alone knows the names of steps that have not run; their number stands for them.
    let step = if view.state.has_ended() {
        String::new()
    } else {
        view.step.to_string()
    };
    let steps = steps.into_iter().map(|step| proto::SagaStep {
        name: step.name,
        compensation: step.compensation,
        attempts: i32::try_from(step.attempts).unwrap_or(i32::MAX),
        end_time: Some(timestamp(step.time)),
    });
    proto::Saga {
        saga_id: view.saga_id.to_string(),
        kind: view.kind,
        key: view.key,
        state: state(view.state),
        step,
        deadline_time: view.deadline.map(timestamp),
        last_error: view.last_error.unwrap_or_default(),
        create_time: Some(timestamp(view.created)),
        update_time: Some(timestamp(view.updated)),
        process_id: view.origin.process_id.unwrap_or_default(),
        steps: steps.collect(),
    }
}

fn next_token(arguments: &impl serde::Serialize, last: Option<&str>, full: bool) -> String {
    last.filter(|_| full)
        .map(|last| PageToken::encode(arguments, &last))
        .unwrap_or_default()
}

fn after(arguments: &impl serde::Serialize, token: &str) -> Result<Uuid, Status> {
    match PageToken::decode::<String>(arguments, token)? {
        None => Ok(Uuid::nil()),
        Some(last) => uuid("page_token", &last),
    }
}

/// What the units below need.
struct Change {
    origin: Origin,
    id: Uuid,
    reason: String,
}

/// Notes an operator's act in the journal.
fn note(tx: &mut Tx<'_>, change: &Change, action: &'static str, kind: &'static str) {
    let entry = Entry::new(action)
        .subject(kind, change.id)
        .body(serde_json::json!({"reason": change.reason}));
    append(tx, &change.origin, entry);
}

fn redrive<'a>(
    tx: &'a mut Tx<'_>,
    change: &'a Change,
) -> BoxFuture<'a, Result<proto::RedriveJobResponse, JournalError>> {
    Box::pin(async move {
        let view = operator::redrive(tx, change.id).await?;
        note(tx, change, "work.job.redriven", "job");
        Ok(proto::RedriveJobResponse {
            job: Some(job(view, false)),
        })
    })
}

fn abandon<'a>(
    tx: &'a mut Tx<'_>,
    change: &'a Change,
) -> BoxFuture<'a, Result<proto::AbandonJobResponse, JournalError>> {
    Box::pin(async move {
        operator::abandon_job(tx, change.id).await?;
        note(tx, change, "work.job.abandoned", "job");
        Ok(proto::AbandonJobResponse {})
    })
}

fn retry_saga<'a>(
    tx: &'a mut Tx<'_>,
    change: &'a Change,
) -> BoxFuture<'a, Result<proto::RetrySagaResponse, JournalError>> {
    Box::pin(async move {
        let view = operator::retry_saga(tx, change.id).await?;
        note(tx, change, "work.saga.retried", "saga");
        Ok(proto::RetrySagaResponse {
            saga: Some(saga(view, Vec::new())),
        })
    })
}

fn compensate_saga<'a>(
    tx: &'a mut Tx<'_>,
    change: &'a Change,
) -> BoxFuture<'a, Result<proto::CompensateSagaResponse, JournalError>> {
    Box::pin(async move {
        let view = operator::compensate_saga(tx, change.id, &change.reason).await?;
        note(tx, change, "work.saga.compensated", "saga");
        Ok(proto::CompensateSagaResponse {
            saga: Some(saga(view, Vec::new())),
        })
    })
}

fn abandon_saga<'a>(
    tx: &'a mut Tx<'_>,
    change: &'a Change,
) -> BoxFuture<'a, Result<proto::AbandonSagaResponse, JournalError>> {
    Box::pin(async move {
        let view = operator::abandon_saga(tx, change.id, &change.reason).await?;
        note(tx, change, "work.saga.abandoned", "saga");
        Ok(proto::AbandonSagaResponse {
            saga: Some(saga(view, Vec::new())),
        })
    })
}

/// Runs one of the units above once for each request id.
macro_rules! change {
    ($self:ident, $request:ident, $rpc:literal, $id:ident, $reason:expr, $unit:expr) => {{
        let origin = publica_rpc::origin(&$request);
        let db = $self
            .journal
            .db(&origin.tenant)
            .await
            .map_err(JournalError::from)?;
        let request = $request.into_inner();
        let call = Call {
            name: concat!("work.", stringify!($unit)),
            origin: &origin,
            rpc: concat!("/publica.work.v1.WorkService/", $rpc),
            request_id: Some(request.request_id.clone()),
            fingerprint: fingerprint(&request),
        };
        let id = uuid(stringify!($id), &request.$id)?;
        let change = Change {
            origin: origin.clone(),
            id,
            reason: $reason(&request)?,
        };
        let response = write::<_, _, JournalError, _>(&db, call, change, $unit).await?;
        Ok(Response::new(response))
    }};
}

impl Work {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal }
    }

    async fn db<T>(&self, request: &Request<T>) -> Result<Db, JournalError> {
        Ok(self
            .journal
            .db(&publica_rpc::origin(request).tenant)
            .await?)
    }
}

#[tonic::async_trait]
impl WorkService for Work {
    async fn list_jobs(
        &self,
        request: Request<proto::ListJobsRequest>,
    ) -> Result<Response<proto::ListJobsResponse>, Status> {
        let db = self.db(&request).await?;
        let request = request.into_inner();
        let limit = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)?;
        let arguments = ("jobs", &request.kind);
        let after = after(&arguments, &request.page_token)?;
        let views = operator::jobs(&db, after, &request.kind, limit).await;
        let jobs: Vec<proto::Job> = views
            .map_err(JournalError::from)?
            .into_iter()
            .map(|view| job(view, false))
            .collect();
        let full = i64::try_from(jobs.len()).unwrap_or(limit) == limit;
        let last = jobs.last().map(|job| job.job_id.as_str());
        let next_page_token = next_token(&arguments, last, full);
        Ok(Response::new(proto::ListJobsResponse {
            jobs,
            next_page_token,
        }))
    }

    async fn list_dead_jobs(
        &self,
        request: Request<proto::ListDeadJobsRequest>,
    ) -> Result<Response<proto::ListDeadJobsResponse>, Status> {
        let db = self.db(&request).await?;
        let request = request.into_inner();
        let limit = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)?;
        let arguments = ("dead", &request.kind);
        let after = after(&arguments, &request.page_token)?;
        let views = operator::dead_jobs(&db, after, &request.kind, limit).await;
        let jobs: Vec<proto::Job> = views
            .map_err(JournalError::from)?
            .into_iter()
            .map(|view| job(view, true))
            .collect();
        let full = i64::try_from(jobs.len()).unwrap_or(limit) == limit;
        let last = jobs.last().map(|job| job.job_id.as_str());
        let next_page_token = next_token(&arguments, last, full);
        Ok(Response::new(proto::ListDeadJobsResponse {
            jobs,
            next_page_token,
        }))
    }

    async fn redrive_job(
        &self,
        request: Request<proto::RedriveJobRequest>,
    ) -> Result<Response<proto::RedriveJobResponse>, Status> {
        let no_reason = |_: &proto::RedriveJobRequest| Ok::<_, Status>(String::new());
        change!(self, request, "RedriveJob", job_id, no_reason, redrive)
    }

    async fn abandon_job(
        &self,
        request: Request<proto::AbandonJobRequest>,
    ) -> Result<Response<proto::AbandonJobResponse>, Status> {
        let given = |request: &proto::AbandonJobRequest| {
            reason(&request.reason, true).map(|()| request.reason.clone())
        };
        change!(self, request, "AbandonJob", job_id, given, abandon)
    }

    async fn list_sagas(
        &self,
        request: Request<proto::ListSagasRequest>,
    ) -> Result<Response<proto::ListSagasResponse>, Status> {
        let db = self.db(&request).await?;
        let request = request.into_inner();
        let limit = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)?;
        let arguments = ("sagas", &request.kind, request.state);
        let after = after(&arguments, &request.page_token)?;
        let state = state_filter(request.state());
        let views = operator::sagas(&db, after, &request.kind, state, limit).await;
        let sagas: Vec<proto::Saga> = views
            .map_err(JournalError::from)?
            .into_iter()
            .map(|view| saga(view, Vec::new()))
            .collect();
        let full = i64::try_from(sagas.len()).unwrap_or(limit) == limit;
        let last = sagas.last().map(|saga| saga.saga_id.as_str());
        let next_page_token = next_token(&arguments, last, full);
        Ok(Response::new(proto::ListSagasResponse {
            sagas,
            next_page_token,
        }))
    }

    async fn get_saga(
        &self,
        request: Request<proto::GetSagaRequest>,
    ) -> Result<Response<proto::GetSagaResponse>, Status> {
        let db = self.db(&request).await?;
        let id = uuid("saga_id", &request.into_inner().saga_id)?;
        let found = operator::saga(&db, id).await.map_err(JournalError::from)?;
        let (view, steps) = found.ok_or(JournalError::NotFound { what: "saga" })?;
        Ok(Response::new(proto::GetSagaResponse {
            saga: Some(saga(view, steps)),
        }))
    }

    async fn retry_saga(
        &self,
        request: Request<proto::RetrySagaRequest>,
    ) -> Result<Response<proto::RetrySagaResponse>, Status> {
        let no_reason = |_: &proto::RetrySagaRequest| Ok::<_, Status>(String::new());
        change!(self, request, "RetrySaga", saga_id, no_reason, retry_saga)
    }

    async fn compensate_saga(
        &self,
        request: Request<proto::CompensateSagaRequest>,
    ) -> Result<Response<proto::CompensateSagaResponse>, Status> {
        let given = |request: &proto::CompensateSagaRequest| {
            reason(&request.reason, false).map(|()| request.reason.clone())
        };
        change!(
            self,
            request,
            "CompensateSaga",
            saga_id,
            given,
            compensate_saga
        )
    }

    async fn abandon_saga(
        &self,
        request: Request<proto::AbandonSagaRequest>,
    ) -> Result<Response<proto::AbandonSagaResponse>, Status> {
        let given = |request: &proto::AbandonSagaRequest| {
            reason(&request.reason, true).map(|()| request.reason.clone())
        };
        change!(self, request, "AbandonSaga", saga_id, given, abandon_saga)
    }
}
