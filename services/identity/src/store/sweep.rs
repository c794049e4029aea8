//! Removing what is over.

use publica_store::{StoreError, Tx};
use publica_types::Timestamp;

publica_store::statements! {
    CODES = "DELETE FROM one_time_code WHERE transaction_hash IN \
            (SELECT transaction_hash FROM one_time_code WHERE expires < $1 LIMIT $2)",
    SIGN_INS = "DELETE FROM sign_in WHERE transaction_hash IN \
            (SELECT transaction_hash FROM sign_in WHERE expires < $1 LIMIT $2)",
    LIMITS = "DELETE FROM limit_counter WHERE bucket IN \
            (SELECT bucket FROM limit_counter WHERE expires < $1 LIMIT $2)",
    TOKENS = "DELETE FROM issued_token WHERE token_id IN \
            (SELECT token_id FROM issued_token WHERE expires < $1 LIMIT $2)",
    ASSERTIONS = "DELETE FROM used_assertion WHERE (client_id, jti_hash) IN \
            (SELECT client_id, jti_hash FROM used_assertion WHERE expires < $1 LIMIT $2)",
}

/// Removes at most `limit` rows of each short-lived table that ended before `before`; tells how
/// many it removed.
pub(crate) async fn sweep(
    tx: &mut Tx<'_>,
    before: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    let mut removed = 0;
    for statement in [CODES, SIGN_INS, LIMITS, TOKENS, ASSERTIONS] {
        removed += tx
            .query(statement)
            .bind(before)
            .bind(limit)
            .execute()
            .await?;
    }
    Ok(removed)
}
