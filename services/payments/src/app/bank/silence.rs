//! Banks that do not answer: after a time nobody waits for them any more.

use std::time::Duration;

use publica_store::{Db, Tx};
use publica_types::Origin;
use publica_work::{Job, enqueue};

use super::{Told, conclude, go_on};
use crate::app::App;
use crate::domain::ids::BatchId;
use crate::error::Error;
use crate::jobs::BANK_SILENT;
use crate::store::bank::{self as sql, AUTHORISE, Answer};
use crate::store::validation::FailureRow;

/// What stands for an answer that did not come.
const SILENCE: Answer = Answer {
    accepted: false,
    silent: true,
    reason: Vec::new(),
};
/// The reason of ISO 20022: stopped because the instructed agent did not answer in time.
const TIMED_OUT: &str = "AB06";

/// Ends the wait for an answer after a time.
pub(crate) async fn watch(
    tx: &mut Tx<'_>,
    origin: &Origin,
    correlation_id: &str,
    patience: Duration,
) -> Result<(), Error> {
    let job = Job::new(BANK_SILENT, correlation_id, correlation_id.as_bytes());
    let due = tx.now().plus(patience);
    enqueue(tx, origin, job.due(due)).await?;
    Ok(())
}

impl App {
    /// Goes on without a bank that has not answered: its batch is not paid, and the accounts that
    /// it was asked about count as unchecked.
    pub(crate) async fn end_silence(
        &self,
        db: &Db,
        origin: &Origin,
        correlation_id: &str,
    ) -> Result<(), Error> {
        let keyring = self.keyring.clone();
        let input = (origin.clone(), keyring, correlation_id.to_owned());
        db.write("payments.bank_silent", input, |tx, input| {
            Box::pin(async move {
                let (origin, keyring, id) = input;
                let asked = sql::request(tx, id).await?;
                let asked = asked.ok_or(Error::corrupt("a question to a bank is missing"))?;
                if asked.answered {
                    return Ok(());
                }
                if asked.kind == AUTHORISE {
                    sql::answer(tx, id, &SILENCE).await?;
                    let batch = BatchId::from_uuid(asked.subject_id);
                    return go_on(tx, origin, batch, &SILENCE).await;
                }
                let told = Told {
                    correlation_id: id.clone(),
                    answer: SILENCE,
                    failures: unchecked(&asked.items)?,
                };
                conclude(tx, keyring, origin, &told).await
            })
        })
        .await
    }
}

fn unchecked(items: &[u8]) -> Result<Vec<FailureRow>, Error> {
    let ids: Vec<String> =
        serde_json::from_slice(items).map_err(|_| Error::corrupt("what a bank was asked"))?;
    let row = |instruction_id| FailureRow {
        ordinal: 0,
        instruction_id,
        reason_code: TIMED_OUT.to_owned(),
        reason: "the bank did not answer in time".to_owned(),
        sealed: Vec::new(),
    };
    Ok(ids.into_iter().map(row).collect())
}
