//! The methods of a server, and what is counted for each.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::Histogram;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;

/// Semantic conventions are about to rename this attribute; the spelling stands here alone.
const STATUS_LABEL: &str = "rpc_response_status_code";
const CODES: usize = 17;

/// Calls whose path names no method of this server.
const OTHER: &str = "_OTHER";

/// A method of a served or known interface, as its definition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodInfo {
    /// `/package.Service/Method`.
    pub path: String,
    /// True if the answer is a stream.
    pub server_streaming: bool,
    /// True if the request is a stream.
    pub client_streaming: bool,
}

/// All methods in compiled descriptor sets, sorted by path. Sets that cannot be read give none.
pub fn methods_of(descriptor_sets: &[&[u8]]) -> Vec<MethodInfo> {
    let mut methods = Vec::new();
    for bytes in descriptor_sets {
        let Ok(set) = FileDescriptorSet::decode(*bytes) else {
            continue;
        };
        for file in set.file {
            let package = file.package.unwrap_or_default();
            for service in file.service {
                let name = service.name.unwrap_or_default();
                methods.extend(service.method.into_iter().map(|method| MethodInfo {
                    path: format!("/{package}.{name}/{}", method.name.unwrap_or_default()),
                    server_streaming: method.server_streaming.unwrap_or_default(),
                    client_streaming: method.client_streaming.unwrap_or_default(),
                }));
            }
        }
    }
    methods.sort_by(|a, b| a.path.cmp(&b.path));
    methods.dedup();
    methods
}

pub(crate) struct Methods {
    known: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
}

impl Methods {
    pub(crate) fn new(infos: Vec<MethodInfo>) -> Self {
        let known = infos
            .into_iter()
            .map(|info| {
                (
                    info.path.clone(),
                    Arc::new(Method::new(&info.path, info.server_streaming)),
                )
            })
            .collect();
        Self {
            known,
            other: Arc::new(Method::new(OTHER, false)),
        }
    }

    pub(crate) fn find(&self, path: &str) -> &Arc<Method> {
        self.known.get(path).unwrap_or(&self.other)
    }
}

pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) server_streaming: bool,
    durations: [OnceLock<Histogram>; CODES],
}

impl Method {
    fn new(path: &str, server_streaming: bool) -> Self {
        let name = path.trim_start_matches('/').to_owned();
        Self {
            name,
            server_streaming,
            durations: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    pub(crate) fn is_other(&self) -> bool {
        self.name == OTHER
    }

    /// Handles are looked up once a method and code, not once a call.
    pub(crate) fn record(&self, code: Code, took: Duration) {
        let index = usize::try_from(code as i32).unwrap_or(2);
        let Some(slot) = self.durations.get(index) else {
            return;
        };
        let histogram = slot.get_or_init(|| {
            metrics::histogram!(
                "rpc_server_call_duration_seconds",
                "rpc_system_name" => "grpc",
                "rpc_method" => self.name.clone(),
                STATUS_LABEL => code_name(code),
            )
        });
        histogram.record(took.as_secs_f64());
    }
}

/// The name of a code as the protocol's documents write it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_read_from_definitions() {
        let methods = methods_of(&[publica_proto::imports::v1::FILE_DESCRIPTOR_SET]);
        let import = MethodInfo {
            path: "/publica.imports.v1.ImportService/ImportEntities".to_owned(),
            server_streaming: false,
            client_streaming: true,
        };
        assert_eq!(methods, [import]);
        assert_eq!(methods_of(&[b"no descriptor"]), []);
    }
}
