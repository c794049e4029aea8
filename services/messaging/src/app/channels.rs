//! How the block is set up, for operators.

use publica_proto::messaging::v1 as api;

use super::{App, Who};
use crate::domain::envelope::Channel;
use crate::engine::Health;
use crate::error::Error;

impl App {
    /// The channels and the state of their next hops.
    pub(crate) async fn channels(&self, who: &Who) -> Result<api::ListChannelsResponse, Error> {
        let house = self.house(&who.origin.tenant).await?;
        let channels = [Channel::Email, Channel::Sms].map(|channel| {
            let engine = house.engine_of(channel);
            let health = match engine.health() {
                Health::NotConfigured => api::ChannelHealth::NotConfigured,
                Health::Idle => api::ChannelHealth::Idle,
                Health::Up => api::ChannelHealth::Up,
                Health::Down => api::ChannelHealth::Down,
            };
            api::Channel {
                name: channel.name().to_owned(),
                health: health.into(),
                sent_count: engine.sent(),
                waiting_count: i64::try_from(engine.waiting()).unwrap_or(i64::MAX),
            }
        });
        Ok(api::ListChannelsResponse {
            channels: channels.into(),
        })
    }

    /// The DNS records to publish for the keys that sign mail.
    pub(crate) async fn signing_keys(
        &self,
        who: &Who,
    ) -> Result<api::ListSigningKeysResponse, Error> {
        let house = self.house(&who.origin.tenant).await?;
        let keys = house.engine.signers().iter().map(|signer| api::SigningKey {
            domain: signer.domain.clone(),
            selector: signer.selector.clone(),
            algorithm: signer.key.algorithm().to_owned(),
            record_name: format!("{}._domainkey.{}", signer.selector, signer.domain),
            record_value: signer.key.record(),
        });
        Ok(api::ListSigningKeysResponse {
            keys: keys.collect(),
        })
    }
}
