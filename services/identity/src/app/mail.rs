//! The message that carries a code.

use publica_proto::messaging::v1 as messaging;
use publica_proto::messaging::v1::message_service_client::MessageServiceClient;
use publica_rpc::{outgoing, timestamp};
use publica_store::Tx;
use publica_types::{Origin, Timestamp};
use publica_work::Job;
use serde::{Deserialize, Serialize};
use tonic::Status;

use crate::app::App;
use crate::error::Error;
use crate::sealed::CODE_MESSAGE;

/// The kind of job that sends a code.
pub(crate) const SEND_CODE: &str = "identity.send_code";

/// A code on its way to a person. It waits sealed, since it is personal and a secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SendCode {
    pub(crate) email: String,
    pub(crate) code: String,
    /// When the code ends, in microseconds.
    pub(crate) expires: i64,
}

impl App {
    /// Leaves a code to be sent once this unit is durable.
    pub(crate) async fn enqueue_mail(
        &self,
        tx: &mut Tx<'_>,
        origin: &Origin,
        message: &SendCode,
    ) -> Result<(), Error> {
        let text = serde_json::to_vec(message).map_err(|_| Error::Record("message"))?;
        let sealed = self.keyring.seal_block(&CODE_MESSAGE, &text);
        let job = Job::new(SEND_CODE, self.new_id().to_string(), sealed).lane(0);
        publica_work::enqueue(tx, origin, job).await?;
        Ok(())
    }

    /// Opens what a job carries.
    pub(crate) fn open_mail(&self, payload: &[u8]) -> Result<SendCode, Error> {
        let text = self.keyring.open_block(&CODE_MESSAGE, payload)?;
        serde_json::from_slice(&text).map_err(|_| Error::Record("message"))
    }

    /// Hands a code to the messaging block. `key` makes a repeat harmless.
    pub(crate) async fn send_mail(
        &self,
        origin: &Origin,
        key: &str,
        message: &SendCode,
    ) -> Result<(), Status> {
        let mut client = MessageServiceClient::new(self.peers.link("messaging"));
        let request = messaging::SendEmailRequest {
            envelope: Some(self.envelope(message)),
            recipient: Some(self.recipient(message)),
            request_id: key.to_owned(),
        };
        client.send_email(outgoing(origin, request)).await.map(drop)
    }

    fn envelope(&self, message: &SendCode) -> messaging::Envelope {
        use messaging::envelope::Body;
        let mail = &self.config.mail;
        let body = if mail.template.is_empty() {
            Body::InlineTemplate(messaging::Content {
                subject: mail.subject.clone(),
                text: mail.text.clone(),
                html: String::new(),
                charset: String::new(),
            })
        } else {
            let name = mail.template.clone();
            Body::Template(messaging::TemplateReference { name, version: 0 })
        };
        messaging::Envelope {
            sender: Some(messaging::Sender {
                email: mail.sender.clone(),
                name: mail.sender_name.clone(),
                ..messaging::Sender::default()
            }),
            body: Some(body),
            priority: messaging::Priority::Urgent.into(),
            expire_time: Some(timestamp(Timestamp::from_micros(message.expires))),
            category: "identity".to_owned(),
            mandatory: true,
            ..messaging::Envelope::default()
        }
    }

    fn recipient(&self, message: &SendCode) -> messaging::Recipient {
        let minutes = self.config.code.lifetime_seconds.div_ceil(60);
        messaging::Recipient {
            email: message.email.clone(),
            parameters: [
                ("code".to_owned(), message.code.clone()),
                ("minutes".to_owned(), minutes.to_string()),
            ]
            .into(),
            ..messaging::Recipient::default()
        }
    }
}
