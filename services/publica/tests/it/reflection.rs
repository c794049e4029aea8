//! Services describe themselves (`grpc.reflection.v1`), alone and behind the gateway.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use tonic::transport::{Channel, Endpoint};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::running::{Running, publica, settings};

async fn start(mut command: Command, folder: &Path, text: &str) -> Running {
    command.arg("--config").arg(settings(folder, text));
    command.arg("--data").arg(folder.join("data"));
    let started = tokio::task::spawn_blocking(move || Running::start(&mut command));
    started.await.unwrap()
}

async fn channel(suite: &Running, role: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", suite.address(role))).unwrap();
    endpoint.connect().await.unwrap()
}

async fn ask(channel: &Channel, question: MessageRequest) -> Result<MessageResponse, tonic::Code> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let questions = tokio_stream::iter([request]);
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(questions).await;
    let mut answers = answers.map_err(|status| status.code())?.into_inner();
    let answer = answers.message().await.map_err(|status| status.code())?;
    Ok(answer.unwrap().message_response.unwrap())
}

/// The services that are listed; nobody has to prove who asks.
async fn services(channel: &Channel) -> BTreeSet<String> {
    let question = MessageRequest::ListServices(String::new());
    match ask(channel, question).await {
        Ok(MessageResponse::ListServicesResponse(list)) => {
            list.service.into_iter().map(|one| one.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// How many definitions come with the one that holds this symbol.
async fn definitions(channel: &Channel, symbol: &str) -> usize {
    let question = MessageRequest::FileContainingSymbol(symbol.to_owned());
    match ask(channel, question).await {
        Ok(MessageResponse::FileDescriptorResponse(files)) => files.file_descriptor_proto.len(),
        Ok(MessageResponse::ErrorResponse(_)) | Err(tonic::Code::NotFound) => 0,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_describes_its_services() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[admin]\nlisten = '127.0.0.1:0'\n[listeners.consent]\nlisten = '127.0.0.1:0'\n";
    let mut command = publica();
    command.arg("consent");
    let block = start(command, folder.path(), text).await;
    let channel = channel(&block, "consent").await;
    let listed = services(&channel).await;
    for wanted in ["publica.consent.v1.", "publica.journal.v1.JournalService"] {
        let there = listed.iter().any(|name| name.starts_with(wanted));
        assert!(there, "{wanted} in {listed:?}");
    }
    let others = |name: &&String| name.starts_with("publica.payments.");
    assert_eq!(listed.iter().find(others), None);
    for service in &listed {
        assert!(definitions(&channel, service).await > 0, "{service}");
    }
    assert_eq!(definitions(&channel, "publica.consent.v1.Nothing").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_describes_the_services_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = publica();
    command.args(["up", "--blocks", "consent,messaging,gateway"]);
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let suite = start(command, folder.path(), "").await;
    let channel = channel(&suite, "gateway").await;
    let listed = services(&channel).await;
    for wanted in ["publica.consent.v1.", "publica.messaging.v1."] {
        let found = listed.iter().find(|name| name.starts_with(wanted));
        let found = found.unwrap_or_else(|| panic!("{wanted} in {listed:?}"));
        assert!(definitions(&channel, found).await > 0, "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_can_be_turned_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = publica();
    command.args(["up", "--blocks", "consent,gateway"]);
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let text = "[server]\nreflection = false\n";
    let suite = start(command, folder.path(), text).await;
    let channel = channel(&suite, "gateway").await;
    let question = MessageRequest::ListServices(String::new());
    let refused = ask(&channel, question).await;
    assert_eq!(refused.unwrap_err(), tonic::Code::Unimplemented);
}
