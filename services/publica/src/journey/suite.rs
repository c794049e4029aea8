//! The suite that the journey acts upon: started here on embedded stores or on PostgreSQL, or
//! running elsewhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::mailbox::Mailboxes;
use crate::base::private_file;
use crate::cli::JourneyArgs;
use crate::commands::up;
use crate::settings::{self, GATEWAY};

/// Payments in a thousand that the simulated rail refuses, and whose outcome it does not know at
/// first. Some households must be left over for vouchers.
const REFUSED_PER_MILLE: u64 = 40;
const UNKNOWN_PER_MILLE: u64 = 10;

/// How long the suite may take to come up.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A suite that answers.
pub(crate) struct Suite {
    gateway: String,
    admin_token: String,
    mailboxes: Mailboxes,
    running: Option<Running>,
}

struct Running {
    stop: mpsc::Sender<()>,
    ended: JoinHandle<Result<u8>>,
}

impl Suite {
    /// Starts a suite with its data in `folder`, or joins the one that the arguments name.
    pub(crate) async fn start(args: &JourneyArgs, folder: &Path) -> Result<Self> {
        let listen = args.mail.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let mailboxes = Mailboxes::open(listen).await?;
        if let Some(gateway) = &args.gateway {
            let file = args
                .token_file
                .as_ref()
                .context("--gateway needs --token-file")?;
            let token =
                std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            if let Some(path) = &args.mail_authority {
                private_file(path, mailboxes.authority())?;
            }
            return Ok(Self {
                gateway: gateway.clone(),
                admin_token: token.trim().to_owned(),
                mailboxes,
                running: None,
            });
        }
        let loaded = settings::load(args.config.as_deref(), |suite| {
            prepare(suite, folder, &mailboxes);
        });
        let suite = loaded.map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let (stop, requests) = mpsc::channel(1);
        let (ready, started) = oneshot::channel();
        let ended = up::in_background(suite, requests, ready);
        let started = tokio::time::timeout(START_LIMIT, started).await;
        let up::Started {
            gateway,
            admin_token,
        } = match started.context("starting the suite")? {
            Ok(started) => started,
            Err(_) => {
                let code = ended.await.context("starting the suite")??;
                anyhow::bail!("the suite ended with {code} before it was ready");
            }
        };
        Ok(Self {
            gateway: format!("http://{gateway}"),
            admin_token,
            mailboxes,
            running: Some(Running { stop, ended }),
        })
    }

    /// Where the gateway is.
    pub(crate) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// The administrator's token.
    pub(crate) fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// The mailboxes of all households.
    pub(crate) fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes
    }

    /// Stops a suite that was started here.
    pub(crate) async fn stop(self) -> Result<()> {
        if let Some(running) = self.running {
            // A suite that has ended already has nothing to stop.
            let _ = running.stop.send(()).await;
            running.ended.await.context("stopping the suite")??;
        }
        Ok(())
    }
}

/// What the journey needs to be other than by default: ports that are free, the mailboxes as
/// relay, a rail that fails now and then, and many people behind one address.
fn prepare(suite: &mut settings::Suite, folder: &Path, mailboxes: &Mailboxes) {
    let free: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    suite.data = folder.join("data");
    suite.admin.listen = free;
    // Lines of the log would stand between those of the report.
    "warn".clone_into(&mut suite.telemetry.log.level);
    let mut listener = suite.listener(GATEWAY);
    listener.listen = free;
    suite.listeners.insert(GATEWAY.to_owned(), listener);
    let relay = &mut suite.messaging.relay;
    relay.host = mailboxes.address().ip().to_string();
    relay.port = mailboxes.address().port();
    relay.tls = "starttls".to_owned();
    mailboxes.authority().clone_into(&mut relay.ca_pem);
    suite.payments.rail.reject_per_mille = REFUSED_PER_MILLE;
    suite.payments.rail.unknown_per_mille = UNKNOWN_PER_MILLE;
    suite.identity.code.max_sends_from_address = i64::MAX;
}
