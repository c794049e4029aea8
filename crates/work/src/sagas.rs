//! Starting sagas, and telling them that something happened.

use publica_store::{StoreError, Tx};
use publica_types::{Origin, Timestamp, Uuid};

use crate::job::{Job, derived_id, enqueue};
use crate::store::sagas as sql;

/// A saga to be started.
#[derive(Debug, Clone)]
pub struct Start {
    /// Kind of saga; [`crate::Saga::kind`].
    pub kind: &'static str,
    /// Makes it unique within its kind.
    pub key: String,
    /// What its steps need to know, as JSON.
    pub data: Vec<u8>,
    /// When it must be done; what is not done by then is undone.
    pub deadline: Option<Timestamp>,
    /// Lane of its work, 0 to 3; a smaller one goes first.
    pub lane: i16,
}

impl Start {
    /// A saga without a deadline, in the middle lane.
    pub fn new(kind: &'static str, key: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            key: key.into(),
            data: data.into(),
            deadline: None,
            lane: 1,
        }
    }

    /// When it must be done.
    pub fn deadline(mut self, deadline: Timestamp) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// Starts a saga with the unit's effects. `None` if one of the same kind and key was started
/// before, whatever became of it.
pub async fn start(
    tx: &mut Tx<'_>,
    origin: &Origin,
    start: Start,
) -> Result<Option<Uuid>, StoreError> {
    let saga_id = derived_id(start.kind, &start.key, tx.now());
    if !sql::insert(tx, origin, &start, saga_id).await? {
        return Ok(None);
    }
    enqueue(
        tx,
        origin,
        Job::new(start.kind, start.key, Vec::new()).lane(start.lane),
    )
    .await?;
    Ok(Some(saga_id))
}

/// Looks at a waiting saga at once, because what it waits for may have happened.
pub async fn wake(
    tx: &mut Tx<'_>,
    origin: &Origin,
    kind: &'static str,
    key: &str,
) -> Result<(), StoreError> {
    enqueue(tx, origin, Job::new(kind, key, Vec::new()))
        .await
        .map(drop)
}
