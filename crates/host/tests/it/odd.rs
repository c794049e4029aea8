//! A block without a store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use publica_auth::Access;
use publica_host::{Block, Env, OpenError, StorePlan};
use publica_proto::imports::v1::import_service_server::{ImportService, ImportServiceServer};
use publica_proto::imports::v1::{
    FILE_DESCRIPTOR_SET, ImportEntitiesRequest, ImportEntitiesResponse,
};
use publica_store::{DatabaseConfig, Migrations, StoresConfig};
use publica_types::Tenant;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// A block that imports whatever it is given; cloning gives the same block.
#[derive(Clone, Default)]
pub(crate) struct Odd(Arc<Inner>);

#[derive(Default)]
struct Inner {
    broken: AtomicBool,
    ended: AtomicBool,
    stopping: Notify,
    busy: Notify,
}

impl Odd {
    pub(crate) fn break_store(&self) {
        self.0.broken.store(true, Ordering::SeqCst);
    }

    pub(crate) fn ran_to_its_end(&self) -> bool {
        self.0.ended.load(Ordering::SeqCst)
    }

    /// Completes once a call is at work.
    pub(crate) async fn busy(&self) {
        self.0.busy.notified().await;
    }
}

impl Block for Odd {
    const NAME: &'static str = "odd";
    type Config = ();

    async fn open((): (), _: &Env) -> Result<Self, OpenError> {
        Ok(Self::default())
    }

    fn stores((): &(), data_dir: &Path, tenants: &[Tenant]) -> StorePlan {
        let database = DatabaseConfig::sqlite(&data_dir.join("odd.db"));
        StorePlan {
            config: StoresConfig::new(database, tenants.to_vec()),
            migrations: Migrations::new(Self::NAME),
            sealed: Vec::new(),
        }
    }

    fn routes(&self) -> Routes {
        Routes::new(ImportServiceServer::new(self.clone()))
    }

    async fn run(&self, stop: CancellationToken) {
        stop.cancelled().await;
        self.0.stopping.notify_one();
        self.0.ended.store(true, Ordering::SeqCst);
    }

    fn policy() -> &'static [(&'static str, Access)] {
        &[(
            "/publica.imports.v1.ImportService/ImportEntities",
            Access::Scope("odd:import:write"),
        )]
    }

    fn descriptors() -> &'static [&'static [u8]] {
        &[FILE_DESCRIPTOR_SET]
    }

    async fn check(&self) -> Result<(), String> {
        let broken = self.0.broken.load(Ordering::SeqCst);
        if broken {
            Err("the store is gone".to_owned())
        } else {
            Ok(())
        }
    }

    fn optional_peers() -> &'static [&'static str] {
        &["consent"]
    }
}

#[tonic::async_trait]
impl ImportService for Odd {
    async fn import_entities(
        &self,
        request: Request<Streaming<ImportEntitiesRequest>>,
    ) -> Result<Response<ImportEntitiesResponse>, Status> {
        let mut entities = request.into_inner();
        let mut accepted = 0;
        while let Some(entity) = entities.message().await? {
            accepted += 1;
            self.0.busy.notify_one();
            match entity.kind.as_str() {
                "wait for stop" => self.0.stopping.notified().await,
                "never" => std::future::pending().await,
                _ => {}
            }
        }
        Ok(Response::new(ImportEntitiesResponse {
            accepted,
            ..Default::default()
        }))
    }
}
