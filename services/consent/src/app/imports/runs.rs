//! People and records from another system: a run of them takes as many statements as one.
//!
//! Lines that have nothing in common are stored together. A line that depends on an earlier one,
//! or would meet it, comes a round later, so that what becomes of each is the same as if they were
//! stored one after the other.

use std::collections::BTreeMap;

use publica_store::Tx;

use super::super::{Shop, Who};
use super::lines::{Entity, IndividualLine, RecordLine};
use super::storing::named;
use super::{Stored, people, records};
use crate::error::{Error, Why};

/// Whether a line is one of a kind that is stored in runs.
pub(super) fn takes(entity: &Entity) -> bool {
    matches!(entity, Entity::Individual(_) | Entity::Record(_))
}

/// Stores a run of people and records; what became of each.
pub(super) async fn store(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    run: &[Entity],
) -> Result<Vec<Stored>, Error> {
    let mut outcomes: Vec<Option<Stored>> = vec![None; run.len()];
    for places in rounds(run) {
        let mut individuals: (Vec<usize>, Vec<&IndividualLine>) = Default::default();
        let mut answers: (Vec<usize>, Vec<&RecordLine>) = Default::default();
        for place in places {
            match &run[place] {
                Entity::Individual(line) => {
                    individuals.0.push(place);
                    individuals.1.push(line);
                }
                Entity::Record(line) => {
                    answers.0.push(place);
                    answers.1.push(line);
                }
                _ => {}
            }
        }
        let stored = people::store(tx, shop, &individuals.1).await?;
        settle(&mut outcomes, individuals.0, stored);
        let stored = records::store(tx, shop, who, &answers.1).await?;
        settle(&mut outcomes, answers.0, stored);
    }
    let told: Option<Vec<Stored>> = outcomes.into_iter().collect();
    told.ok_or_else(|| Why::Conflict.about(""))
}

fn settle(outcomes: &mut [Option<Stored>], places: Vec<usize>, stored: Vec<Stored>) {
    for (place, outcome) in places.into_iter().zip(stored) {
        outcomes[place] = Some(outcome);
    }
}

/// What a line may meet another line in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name<'l> {
    Person(&'l str),
    /// Provider, kind and external id.
    Identity(&'l str, &'l str, &'l str),
    Record(&'l str),
    /// The answer of a person to an agreement.
    Answer(&'l str, &'l str),
    Revision(&'l str),
}

/// What a line changes, and what it only looks at.
fn touched(entity: &Entity) -> (Vec<Name<'_>>, Option<Name<'_>>) {
    match entity {
        Entity::Individual(line) => {
            let mut changes = vec![Name::Person(&line.id)];
            if !line.external_id.is_empty() {
                let kind = (&line.identity_provider_id, &line.external_id_type);
                changes.push(Name::Identity(kind.0, kind.1, &line.external_id));
            }
            (changes, None)
        }
        Entity::Record(line) => {
            let answer = Name::Answer(&line.individual_id, &line.data_agreement_id);
            let mut changes = vec![Name::Record(&line.id), answer];
            changes.extend(named(&line.revisions).map(Name::Revision));
            (changes, Some(Name::Person(&line.individual_id)))
        }
        _ => (Vec::new(), None),
    }
}

/// The places of the lines that are stored together, round after round.
fn rounds(run: &[Entity]) -> Vec<Vec<usize>> {
    // The first round in which a name may be changed, and the first in which it may be looked at.
    let mut free: BTreeMap<Name<'_>, (usize, usize)> = BTreeMap::new();
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for (place, entity) in run.iter().enumerate() {
        let (changes, looks) = touched(entity);
        let from = |name: &Name<'_>| free.get(name).copied().unwrap_or_default();
        let changed = changes.iter().map(|name| from(name).0);
        let round = changed.chain(looks.iter().map(|name| from(name).1)).max();
        let round = round.unwrap_or_default();
        for name in changes {
            free.insert(name, (round + 1, round + 1));
        }
        if let Some(name) = looks {
            let one = free.entry(name).or_default();
            one.0 = one.0.max(round + 1);
        }
        if rounds.len() <= round {
            rounds.resize_with(round + 1, Vec::new);
        }
        rounds[round].push(place);
    }
    rounds
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::lines::read;
    use super::*;

    fn run(lines: &[Value]) -> Vec<Entity> {
        let read = |line: &Value| read(line["kind"].as_str().unwrap(), line.to_string().as_bytes());
        lines.iter().map(|line| read(line).unwrap()).collect()
    }

    fn person(id: &str) -> Value {
        json!({"kind": "consent.individual", "id": id, "externalId": id})
    }

    fn record(id: &str, person: &str, agreement: &str) -> Value {
        json!({"kind": "consent.record", "id": id, "individualId": person,
            "dataAgreementId": agreement, "revisions": [{}, {}]})
    }

    #[test]
    fn what_has_nothing_in_common_is_stored_at_once() {
        let lines: Vec<Value> = (0..50).map(|n| person(&n.to_string())).collect();
        assert_eq!(rounds(&run(&lines)).len(), 1);
        let mixed: Vec<Value> = (0..50)
            .flat_map(|n| {
                let id = n.to_string();
                let more = format!("{n}-b");
                [person(&id), record(&id, &id, "a"), record(&more, &id, "b")]
            })
            .collect();
        let found = rounds(&run(&mixed));
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [50, 100]);
    }

    #[test]
    fn what_meets_comes_one_after_the_other() {
        let mut same = record("r3", "p", "c");
        same["revisions"] = json!([{"id": "v"}]);
        let mut other = record("r4", "p", "d");
        other["revisions"] = json!([{"id": "v"}]);
        let mut namesake = person("q");
        namesake["externalId"] = json!("p");
        let lines = [
            record("r1", "p", "a"),
            // Nobody was there when the record before was told.
            person("p"),
            record("r1", "p", "b"),
            record("r2", "p", "a"),
            same,
            other,
            namesake,
            person("p"),
        ];
        let expected: [&[usize]; 5] = [&[0], &[1], &[2, 3, 4, 6], &[5], &[7]];
        assert_eq!(rounds(&run(&lines)), expected);
    }
}
