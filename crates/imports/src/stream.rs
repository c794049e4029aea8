//! Reading a stream of entities: while one chunk is stored, the next one is read.

use std::borrow::Cow;

use futures::future::try_join;
use futures::{Stream, StreamExt as _};
use publica_proto::imports::v1::{ImportEntitiesRequest, ImportEntitiesResponse, ImportProblem};
use publica_rpc::{Fault, status_of};
use tonic::{Code, Status};

use crate::most_bytes;

/// Entities that are stored in one unit of work and journalled in one entry.
pub const CHUNK: usize = 1_000;
/// A chunk of large entities ends sooner.
const CHUNK_BYTES: usize = 8 * 1_024 * 1_024;
/// Problems that are listed before an import gives up.
const MOST_PROBLEMS: usize = 1_000;
/// Problems that are told when it does: they travel in a header.
const MOST_TOLD: usize = 30;

/// Why an entity was refused: the path of the member, empty for the whole, and what is wrong.
pub type Problem = (String, String);

/// What became of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored by this call.
    Stored,
    /// Stored before, with the same content.
    Repeated,
    /// Not stored, and everything that is wrong with it.
    Refused(Vec<Problem>),
}

impl Outcome {
    /// Refused for one reason.
    pub fn refused(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Refused(vec![(field.into(), description.into())])
    }

    /// Refused because something else is stored under its id.
    pub fn differs(field: impl Into<String>) -> Self {
        Self::refused(field, "is stored already with other content")
    }
}

/// Takes a stream in. `read` makes of kind and JSON what `store` stores, or says what is wrong
/// without the store. `store` answers for each entity, in order.
///
/// # Errors
///
/// PROBLEMS_EXCEED_LIMIT with the first problems when the list is full, and whatever the stream or
/// `store` fails with. What was stored until then stays.
pub async fn take_in<L, R, T, S, F>(
    mut lines: L,
    read: R,
    mut store: S,
) -> Result<ImportEntitiesResponse, Status>
where
    L: Stream<Item = Result<ImportEntitiesRequest, Status>> + Unpin,
    R: Fn(&str, &[u8]) -> Result<T, Vec<Problem>>,
    S: FnMut(Vec<T>) -> F,
    F: Future<Output = Result<Vec<Outcome>, Status>>,
{
    let mut answer = ImportEntitiesResponse::default();
    let mut chunk = next(&mut lines, &read).await?;
    while !chunk.places.is_empty() {
        let Chunk { places, sound } = chunk;
        let stored = (!sound.is_empty()).then(|| store(sound));
        let settled = async {
            let outcomes = match stored {
                Some(stored) => stored.await?,
                None => Vec::new(),
            };
            settle(&mut answer, places, outcomes)
        };
        ((), chunk) = try_join(settled, next(&mut lines, &read)).await?;
    }
    Ok(answer)
}

/// Entities that are stored together.
struct Chunk<T> {
    /// The lines in order, and what is wrong with those that are not among the sound ones.
    places: Vec<(u64, Option<Vec<Problem>>)>,
    sound: Vec<T>,
}

async fn next<L, R, T>(lines: &mut L, read: &R) -> Result<Chunk<T>, Status>
where
    L: Stream<Item = Result<ImportEntitiesRequest, Status>> + Unpin,
    R: Fn(&str, &[u8]) -> Result<T, Vec<Problem>>,
{
    let mut chunk = Chunk {
        places: Vec::new(),
        sound: Vec::new(),
    };
    let mut bytes = 0;
    while chunk.places.len() < CHUNK && bytes < CHUNK_BYTES {
        let Some(entity) = lines.next().await.transpose()? else {
            break;
        };
        bytes += entity.json.len();
        let most = most_bytes(&entity.kind);
        let entity_read = if entity.json.len() > most {
            let what = format!("is larger than {} MiB", most / (1_024 * 1_024));
            Err(vec![(String::new(), what)])
        } else {
            read(&entity.kind, &entity.json)
        };
        let wrong = match entity_read {
            Ok(entity) => {
                chunk.sound.push(entity);
                None
            }
            Err(problems) => Some(problems),
        };
        chunk.places.push((entity.line, wrong));
    }
    Ok(chunk)
}

fn settle(
    answer: &mut ImportEntitiesResponse,
    places: Vec<(u64, Option<Vec<Problem>>)>,
    outcomes: Vec<Outcome>,
) -> Result<(), Status> {
    let mut outcomes = outcomes.into_iter();
    for (line, wrong) in places {
        let outcome = match wrong {
            Some(problems) => Outcome::Refused(problems),
            // One that nothing is said of is nobody's word that it is stored.
            None => outcomes
                .next()
                .ok_or_else(|| Status::internal("Something is wrong on our side."))?,
        };
        match outcome {
            Outcome::Stored => answer.accepted += 1,
            Outcome::Repeated => answer.repeated += 1,
            Outcome::Refused(problems) => {
                let told = problems
                    .into_iter()
                    .map(|(field, description)| ImportProblem {
                        line,
                        field,
                        description,
                    });
                answer.problems.extend(told);
            }
        }
    }
    if answer.problems.len() > MOST_PROBLEMS {
        let first = answer.problems.drain(..MOST_TOLD).collect();
        return Err(status_of(&Exceeded(first)));
    }
    Ok(())
}

/// More problems than are listed; the first ones.
#[derive(Debug)]
struct Exceeded(Vec<ImportProblem>);

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an import has too many problems")
    }
}

impl std::error::Error for Exceeded {}

impl Fault for Exceeded {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        "PROBLEMS_EXCEED_LIMIT"
    }

    fn public_message(&self) -> Cow<'_, str> {
        "There are more than 1,000 problems; the first are told.".into()
    }

    fn violations(&self) -> Vec<(String, String)> {
        let told = self.0.iter().map(|problem| {
            let place = format!("line {} {}", problem.line, problem.field);
            (place.trim_end().to_owned(), problem.description.clone())
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tonic_types::StatusExt as _;

    use super::*;

    fn lines(count: u64) -> impl Stream<Item = Result<ImportEntitiesRequest, Status>> + Unpin {
        futures::stream::iter((1..=count).map(|line| {
            Ok(ImportEntitiesRequest {
                kind: "payments.voucher".to_owned(),
                json: line.to_string().into_bytes().into(),
                line,
            })
        }))
    }

    fn read(_: &str, json: &[u8]) -> Result<u64, Vec<Problem>> {
        let number: u64 = std::str::from_utf8(json).unwrap().parse().unwrap();
        if number.is_multiple_of(10) {
            return Err(vec![("a".into(), "is".into()), ("b".into(), "is".into())]);
        }
        Ok(number)
    }

    fn outcome(number: u64) -> Outcome {
        match number % 10 {
            7 => Outcome::differs("id"),
            8 => Outcome::Repeated,
            _ => Outcome::Stored,
        }
    }

    #[tokio::test]
    async fn problems_come_in_the_order_of_lines_whoever_found_them() {
        let chunks = Mutex::new(Vec::new());
        let answer = take_in(lines(1_020), read, |numbers: Vec<u64>| {
            chunks.lock().unwrap().push(numbers.len());
            let outcomes: Vec<Outcome> = numbers.into_iter().map(outcome).collect();
            async move { Ok(outcomes) }
        })
        .await
        .unwrap();
        assert_eq!(*chunks.lock().unwrap(), [900, 18]);
        assert_eq!((answer.accepted, answer.repeated), (714, 102));
        let named: Vec<(u64, &str)> = answer.problems[..4]
            .iter()
            .map(|one| (one.line, one.field.as_str()))
            .collect();
        assert_eq!(named, [(7, "id"), (10, "a"), (10, "b"), (17, "id")]);
        assert!(answer.problems.is_sorted_by_key(|one| one.line));
    }

    #[tokio::test]
    async fn too_many_problems_end_it_with_the_first_of_them() {
        let refused = take_in(lines(10_000), read, |numbers: Vec<u64>| async move {
            Ok(numbers.into_iter().map(outcome).collect())
        })
        .await
        .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(
            publica_rpc::reason(&refused).as_deref(),
            Some("PROBLEMS_EXCEED_LIMIT")
        );
        let told = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(told.len(), MOST_TOLD);
        assert_eq!(told[1].field, "line 10 a");
    }

    #[tokio::test]
    async fn what_the_store_does_not_answer_for_is_no_success() {
        let silent = take_in(lines(3), read, |_: Vec<u64>| async move { Ok(Vec::new()) });
        assert_eq!(silent.await.unwrap_err().code(), Code::Internal);
        let down = take_in(lines(3), read, |_: Vec<u64>| async move {
            Err(Status::unavailable("down"))
        });
        assert_eq!(down.await.unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_unread() {
        let large = ImportEntitiesRequest {
            kind: "payments.voucher".to_owned(),
            json: vec![b'1'; 1_024 * 1_024 + 1].into(),
            line: 4,
        };
        let answer = take_in(
            futures::stream::iter([Ok(large)]),
            read,
            |_: Vec<u64>| async move { Ok(Vec::new()) },
        );
        let answer = answer.await.unwrap();
        assert_eq!(answer.problems[0].description, "is larger than 1 MiB");
    }
}
