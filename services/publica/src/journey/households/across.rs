//! What no line shows by itself: one id that stands for two.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use aws_lc_rs::digest::{Context, SHA256};

/// Ids of earlier lines. Only hashes are kept, some fifty bytes an id, so that a file of a
/// million lines can be checked.
#[derive(Debug, Default)]
pub(super) struct Seen {
    national_ids: HashMap<u128, First>,
    household_ids: HashMap<u128, First>,
}

/// Where an id stood first, and for whom.
#[derive(Debug, Clone, Copy)]
struct First {
    line: u64,
    whom: u128,
}

/// What tells one line from another.
#[derive(Debug)]
pub(super) struct Ids<'a> {
    pub(super) household_id: &'a str,
    pub(super) national_id: &'a str,
    pub(super) given_name: &'a str,
    pub(super) family_name: &'a str,
    pub(super) date_of_birth: &'a str,
}

impl Seen {
    /// Enters a line, and gives the columns whose id belongs to somebody else. A person who
    /// stands in the file twice is no problem: identity knows them the second time.
    pub(super) fn enter(&mut self, line: u64, ids: &Ids<'_>) -> Vec<(&'static str, String)> {
        let person = hash(&[
            ids.national_id,
            ids.given_name,
            ids.family_name,
            ids.date_of_birth,
        ]);
        let head = hash(&[ids.national_id]);
        let mut problems = Vec::new();
        if let Some(first) = taken(&mut self.national_ids, head, line, person) {
            let what = format!("is that of another person in line {first}");
            problems.push(("national_id", what));
        }
        let household = hash(&[ids.household_id]);
        if let Some(first) = taken(&mut self.household_ids, household, line, head) {
            let what = format!("is that of another person's household in line {first}");
            problems.push(("household_id", what));
        }
        problems
    }
}

/// The line where an id stood for somebody else.
fn taken(seen: &mut HashMap<u128, First>, id: u128, line: u64, whom: u128) -> Option<u64> {
    match seen.entry(id) {
        Entry::Vacant(entry) => {
            entry.insert(First { line, whom });
            None
        }
        Entry::Occupied(entry) => {
            let first = *entry.get();
            (first.whom != whom).then_some(first.line)
        }
    }
}

/// Half of SHA-256: nobody finds two texts with one hash.
fn hash(texts: &[&str]) -> u128 {
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(text.as_bytes());
    }
    let digest = context.finish();
    let half = digest.as_ref().iter().take(16);
    half.fold(0, |number, byte| (number << 8) | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(seen: &mut Seen, line: u64, household_id: &str, national_id: &str) -> Vec<String> {
        let ids = Ids {
            household_id,
            national_id,
            // One name for each line but the first two.
            given_name: if line > 2 { "Bola" } else { "Ada" },
            family_name: "Okafor",
            date_of_birth: "1980-01-01",
        };
        let problems = seen.enter(line, &ids).into_iter();
        problems
            .map(|(column, what)| format!("{column} {what}"))
            .collect()
    }

    #[test]
    fn an_id_stands_for_one_person() {
        let mut seen = Seen::default();
        let none: [String; 0] = [];
        assert_eq!(enter(&mut seen, 1, "H1", "123456"), none);
        // The same person again, and an id that differs by a leading zero.
        assert_eq!(enter(&mut seen, 2, "H1", "123456"), none);
        assert_eq!(enter(&mut seen, 3, "H3", "0123456"), none);
        assert_eq!(
            enter(&mut seen, 4, "H4", "123456"),
            ["national_id is that of another person in line 1"]
        );
        assert_eq!(
            enter(&mut seen, 5, "H1", "555555"),
            ["household_id is that of another person's household in line 1"]
        );
    }
}
