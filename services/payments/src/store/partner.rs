//! Which callers may speak for which partner.

use publica_store::{StoreError, Tx, statements};

use crate::domain::partner::Kind;
use crate::store::Ask;

statements! {
    INSERT = "INSERT INTO partner_client (kind, party, client) VALUES ($1, $2, $3) \
        ON CONFLICT DO NOTHING",
    FORGET = "DELETE FROM partner_client WHERE kind = $1 AND party = $2",
    CLIENTS = "SELECT client FROM partner_client WHERE kind = $1 AND party = $2 ORDER BY client",
    BETWEEN = "SELECT party, client FROM partner_client \
        WHERE kind = $1 AND party >= $2 AND party <= $3 ORDER BY party, client",
    OF_CLIENT = "SELECT kind, party FROM partner_client WHERE client = $1",
}

/// A partner's client as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ClientRow {
    pub(crate) party: String,
    pub(crate) client: String,
}

/// A partner that a client speaks for.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct PartyRow {
    pub(crate) kind: i64,
    pub(crate) party: String,
}

/// Says anew who may speak for a partner.
pub(crate) async fn put(
    tx: &mut Tx<'_>,
    kind: Kind,
    party: &str,
    clients: &[String],
) -> Result<(), StoreError> {
    let forgotten = tx.query(FORGET).bind(kind.code()).bind(party);
    forgotten.execute().await?;
    for client in clients {
        let query = tx.query(INSERT).bind(kind.code()).bind(party);
        query.bind(client.as_str()).execute().await?;
    }
    Ok(())
}

/// Who may speak for a partner, in order.
pub(crate) async fn clients(
    ask: &mut impl Ask,
    kind: Kind,
    party: &str,
) -> Result<Vec<String>, StoreError> {
    let query = ask.ask(CLIENTS).bind(kind.code()).bind(party);
    query.fetch_scalars().await
}

/// The same for all partners of a kind whose names are within two.
pub(crate) async fn clients_between(
    ask: &mut impl Ask,
    kind: Kind,
    first: &str,
    last: &str,
) -> Result<Vec<ClientRow>, StoreError> {
    let query = ask.ask(BETWEEN).bind(kind.code());
    query.bind(first).bind(last).fetch_all().await
}

/// The partners that a client speaks for.
pub(crate) async fn of_client(
    ask: &mut impl Ask,
    client: &str,
) -> Result<Vec<PartyRow>, StoreError> {
    ask.ask(OF_CLIENT).bind(client).fetch_all().await
}
