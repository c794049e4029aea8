//! Our SMTP client alone, without a store: the limit that delivery is measured against.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio_util::task::TaskTracker;

use crate::config::RelayConfig;
use crate::domain::reply::Class;
use crate::smtp::{Body, Connection, Head, Hop, Transaction};

/// Hands `count` copies of a message over to a server through as many connections as the
/// settings say, head first and then body, as delivery does.
pub async fn flood(relay: &RelayConfig, message: Vec<u8>, count: i64) -> io::Result<()> {
    let hop = relay.hop().map_err(io::Error::other)?;
    let hop = hop.ok_or_else(|| io::Error::other("no relay is set up"))?;
    let (left, message) = (Arc::new(AtomicI64::new(count)), Arc::new(message));
    let tracker = TaskTracker::new();
    let tasks: Vec<_> = (0..relay.connections)
        .map(|_| {
            tracker.spawn(one(
                Arc::clone(&hop),
                Arc::clone(&message),
                Arc::clone(&left),
            ))
        })
        .collect();
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(())
}

async fn one(hop: Arc<Hop>, message: Arc<Vec<u8>>, left: Arc<AtomicI64>) -> io::Result<()> {
    let broken = || io::Error::other("the server did not take a message");
    let mut connection: Option<Connection> = None;
    while left.fetch_sub(1, Ordering::Relaxed) > 0 {
        let mut open = match connection.take().filter(Connection::is_usable) {
            Some(open) => open,
            None => hop.open().await.map_err(io::Error::other)?,
        };
        let transaction = Transaction {
            from: "noreply@gov.example",
            recipients: &["somebody@home.example"],
            size: message.len(),
            envelope_id: "flood",
            utf8: false,
        };
        let Head::Ready(_) = open.head(&transaction).await else {
            return Err(broken());
        };
        match open.body(&message).await {
            Body::Answered(reply) if reply.class() == Class::Success => {}
            _ => return Err(broken()),
        }
        connection = Some(open);
    }
    Ok(())
}
