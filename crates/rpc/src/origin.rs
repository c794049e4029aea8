//! Who calls, in which case: read from a request, and sent along to peers.

use std::sync::Arc;

use http::HeaderMap;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use publica_auth::{Caller, CallerKind};
use publica_types::Origin;
use tonic::Request;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::context::{CallContext, TraceContext, is_sound_id};

/// The case that a call belongs to.
pub const PROCESS_ID: &str = Origin::PROCESS_ID;
/// The caller's id of the request.
pub const REQUEST_ID: &str = Origin::REQUEST_ID;
/// The party for whom a block calls another.
pub const ACTOR: &str = Origin::ACTOR;

const MAX_ACTOR_LEN: usize = 512;
/// Kept out of a header as it is: what is not printable ASCII, and the escape itself.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The origin of an incoming request. The actor is the verified caller; what another block
/// says about whom it acts for is believed, from anybody else it is not.
pub fn origin<T>(request: &Request<T>) -> Origin {
    let caller = caller(request);
    let metadata = request.metadata();
    let mut origin = match caller {
        Some(caller) => Origin::actor(caller.subject.clone()).in_tenant(caller.tenant.clone()),
        None => Origin::actor("anonymous"),
    };
    origin.affiliation = caller.and_then(|caller| caller.affiliation.clone());
    if caller.is_some_and(|caller| caller.kind == CallerKind::Block) {
        origin.on_behalf_of = actor(metadata);
    }
    origin.process_id = sound(metadata, PROCESS_ID);
    origin.request_id = sound(metadata, REQUEST_ID);
    origin.trace_id = trace_id(metadata);
    origin
}

/// The verified caller of a request. Every request that passed the layers has one.
pub fn caller<T>(request: &Request<T>) -> Option<&Arc<Caller>> {
    request.extensions().get::<Arc<Caller>>()
}

fn sound(metadata: &MetadataMap, name: &str) -> Option<String> {
    let text = metadata.get(name)?.to_str().ok()?;
    is_sound_id(text).then(|| text.to_owned())
}

fn actor(metadata: &MetadataMap) -> Option<String> {
    let text = metadata.get(ACTOR)?.to_str().ok()?;
    if text.is_empty() || text.len() > MAX_ACTOR_LEN {
        return None;
    }
    // Nobody's name has control characters; they would end up in journals and in their exports.
    percent_decode_str(text)
        .decode_utf8()
        .ok()
        .filter(|actor| !actor.chars().any(char::is_control))
        .map(std::borrow::Cow::into_owned)
}

fn trace_id(metadata: &MetadataMap) -> Option<String> {
    CallContext::with(|context| context.trace.trace_id()).or_else(|| {
        Some(TraceContext::parse(metadata.get("traceparent")?.to_str().ok()?)?.trace_id())
    })
}

/// A request to a peer on behalf of `origin`. The link adds token, deadline and trace.
pub fn outgoing<T>(origin: &Origin, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    put(metadata, PROCESS_ID, origin.process_id.as_deref());
    put(metadata, REQUEST_ID, origin.request_id.as_deref());
    let system = origin.actor.starts_with("system:");
    let actor = origin
        .on_behalf_of
        .as_deref()
        .or((!system).then_some(origin.actor.as_str()));
    put(metadata, ACTOR, actor);
    request.extensions_mut().insert(origin.clone());
    request
}

fn put(metadata: &mut MetadataMap, name: &'static str, text: Option<&str>) {
    let Some(text) = text else { return };
    let escaped = utf8_percent_encode(text, ESCAPED).to_string();
    if let Ok(value) = MetadataValue::try_from(escaped) {
        metadata.insert(name, value);
    }
}

/// The caller's id of a request, if it is a sound one.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<&http::HeaderValue> {
    headers
        .get(REQUEST_ID)
        .filter(|value| value.to_str().is_ok_and(is_sound_id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn received(sent: &Request<()>) -> Option<String> {
        actor(sent.metadata())
    }

    #[test]
    fn an_actor_has_no_control_characters() {
        for escaped in ["anna%0d%0aX: y", "%00", "anna%1b[2J", "%c2%85", "%ff", ""] {
            let mut request = Request::new(());
            let value = MetadataValue::try_from(escaped).unwrap();
            request.metadata_mut().insert(ACTOR, value);
            assert_eq!(received(&request), None, "{escaped}");
        }
    }

    proptest! {
        #[test]
        fn an_actor_arrives_as_it_was_sent(name in "\\PC{1,40}") {
            let sent = outgoing(&Origin::actor(name.clone()), ());
            let expected = (!name.starts_with("system:")).then_some(name);
            prop_assert_eq!(received(&sent), expected);
        }
    }
}
