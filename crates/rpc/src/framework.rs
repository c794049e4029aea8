//! Errors of the framework, restated as ours.

use http::Response;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::fault::{Refusal, status_of};
use crate::methods::code_name;

/// The refusal for what is our own fault.
pub(crate) fn internal() -> Refusal {
    Refusal::new(
        Code::Internal,
        "INTERNAL",
        "Something went wrong on our side.",
    )
}

/// The refusal of a method that is not served.
pub(crate) fn unknown_method() -> Refusal {
    Refusal::new(
        Code::Unimplemented,
        "METHOD_UNKNOWN",
        "There is no such method here.",
    )
}

/// Replaces an error that carries no `ErrorInfo`. Blocks attach one to each of theirs, so what
/// lacks it comes from the framework: an unknown method, an oversized or torn message.
pub(crate) fn clean(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    if !headers.contains_key(Status::GRPC_STATUS) || headers.contains_key("grpc-status-details-bin")
    {
        return response;
    }
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok && status.details().is_empty() => {
            status_of(&restate(&status)).into_http()
        }
        _ => response,
    }
}

fn restate(status: &Status) -> Refusal {
    let text = status.message();
    match status.code() {
        Code::Unimplemented if text.contains("ncoding") || text.contains("ompress") => {
            let message = "The compression of this message is not supported.";
            Refusal::new(Code::Unimplemented, "ENCODING_UNSUPPORTED", message)
        }
        Code::Unimplemented => unknown_method(),
        Code::OutOfRange | Code::ResourceExhausted if text.contains("length too large") => {
            let message = "The message is larger than this method accepts.";
            Refusal::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message)
        }
        Code::Internal if text.contains("decode") || text.contains("Missing request message") => {
            let message = "The message cannot be read as this method's request.";
            Refusal::new(Code::InvalidArgument, "MESSAGE_MALFORMED", message)
        }
        Code::Internal | Code::Unknown | Code::DataLoss => {
            tracing::error!(error = text, "call failed without a reason");
            internal()
        }
        code => Refusal::new(code, code_name(code), text.to_owned()),
    }
}
