//! What happens to a file: automatic decisions first, then one role after the other.

use super::definition::{Definition, Role};
use super::expr::{EvalError, Facts};

/// Where a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    /// A role is working on it.
    InProcess,
    /// The applicant is asked to correct it.
    SentBack,
    /// Approved; ended.
    Approved,
    /// Refused; ended.
    Rejected,
    /// Withdrawn; ended.
    Withdrawn,
}

impl FileState {
    /// Whether processing has finished.
    pub(crate) fn ended(self) -> bool {
        matches!(self, Self::Approved | Self::Rejected | Self::Withdrawn)
    }

    /// The number under which the state is stored.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::InProcess => 1,
            Self::SentBack => 2,
            Self::Approved => 3,
            Self::Rejected => 4,
            Self::Withdrawn => 5,
        }
    }

    /// The state stored under a number.
    pub(crate) fn from_code(code: i64) -> Option<Self> {
        [
            Self::InProcess,
            Self::SentBack,
            Self::Approved,
            Self::Rejected,
            Self::Withdrawn,
        ]
        .into_iter()
        .find(|state| state.code() == code)
    }
}

/// What a role decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Passed on.
    Approved,
    /// Sent back to the applicant.
    SentBack,
    /// Refused.
    Rejected,
}

impl Outcome {
    /// The number of the specification's data model: 1 passed, 2 send back, 3 rejected.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Approved => 1,
            Self::SentBack => 2,
            Self::Rejected => 3,
        }
    }

    /// The outcome stored under a number.
    pub(crate) fn from_code(code: i64) -> Option<Self> {
        [Self::Approved, Self::SentBack, Self::Rejected]
            .into_iter()
            .find(|outcome| outcome.code() == code)
    }
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// The role at this position gets a task.
    Task(usize),
    /// The file has ended, with a reason for the applicant.
    Ended(FileState, String),
    /// The applicant gets the file back.
    Back,
}

/// Why a decision cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlowError {
    /// The role does not offer this outcome.
    #[error("the role does not offer this outcome")]
    OutcomeNotOffered,
    /// Sent back without a reason or a mark.
    #[error("sending back needs a reason or a marked field")]
    ReasonRequired,
    /// A rule has no value for this file.
    #[error("a rule cannot be evaluated for this file")]
    Rule(#[from] EvalError),
}

/// What the rules decided and which of them held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Routed {
    /// What follows.
    pub next: Next,
    /// One line for each rule that held.
    pub trace: Vec<String>,
}

/// Routes a file that has just arrived or come back.
pub(crate) fn arrive(definition: &Definition, facts: &dyn Facts) -> Result<Routed, FlowError> {
    for (at, decision) in definition.decisions.iter().enumerate() {
        if decision.when.holds(facts)? {
            let state = if decision.approve {
                FileState::Approved
            } else {
                FileState::Rejected
            };
            let verb = if decision.approve {
                "approved"
            } else {
                "refused"
            };
            return Ok(Routed {
                next: Next::Ended(state, decision.reason.clone()),
                trace: vec![format!("decisions[{at}] held: {verb}")],
            });
        }
    }
    from_role(definition, facts, 0)
}

/// The first role at or after a position whose condition holds; without one the file is approved
/// if it passed any role, and refused if nothing ever looked at it.
fn from_role(
    definition: &Definition,
    facts: &dyn Facts,
    first: usize,
) -> Result<Routed, FlowError> {
    for (at, role) in definition.roles.iter().enumerate().skip(first) {
        if role
            .when
            .as_ref()
            .map_or(Ok(true), |when| when.holds(facts))?
        {
            let trace = vec![format!("role {} is needed", role.role_id)];
            return Ok(Routed {
                next: Next::Task(at),
                trace,
            });
        }
    }
    let next = if first > 0 {
        Next::Ended(FileState::Approved, String::new())
    } else {
        Next::Ended(
            FileState::Rejected,
            "No rule of the service covers this case.".to_owned(),
        )
    };
    Ok(Routed {
        next,
        trace: vec!["no further role is needed".to_owned()],
    })
}

/// Routes a file after the role at `position` has decided.
pub(crate) fn decide(
    definition: &Definition,
    facts: &dyn Facts,
    position: usize,
    role: &Role,
    outcome: Outcome,
    text: &str,
    marks: &[String],
) -> Result<Routed, FlowError> {
    if !role.outcomes.offer(outcome) {
        return Err(FlowError::OutcomeNotOffered);
    }
    match outcome {
        Outcome::Approved => from_role(definition, facts, position + 1),
        Outcome::SentBack if text.trim().is_empty() && marks.is_empty() => {
            Err(FlowError::ReasonRequired)
        }
        Outcome::SentBack => Ok(Routed {
            next: Next::Back,
            trace: Vec::new(),
        }),
        Outcome::Rejected => Ok(Routed {
            next: Next::Ended(FileState::Rejected, text.to_owned()),
            trace: Vec::new(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::domain::form::FileFacts;

    fn definition() -> Definition {
        Definition::read(
            json!({
                "serviceId": "s", "name": "S",
                "forms": [{"eFormId": "f", "name": "F", "containers": [{
                    "key": "c", "fields": [{"key": "n", "type": "number"}],
                }]}],
                "decisions": [
                    {"when": {"<": [{"var": "c.n"}, 10]}, "outcome": "APPROVED", "reason": "low"},
                    {"when": {">": [{"var": "c.n"}, 100]}, "outcome": "REJECTED", "reason": "high"},
                ],
                "roles": [
                    {"id": "check", "name": "Check", "outcomes": ["APPROVED", "SENDBACK"]},
                    {"id": "second", "name": "Second", "when": {">": [{"var": "c.n"}, 50]}},
                ],
            })
            .to_string()
            .as_bytes(),
        )
        .unwrap()
    }

    fn data(n: i64) -> Map<String, serde_json::Value> {
        json!({"c": {"n": n}}).as_object().unwrap().clone()
    }

    #[test]
    fn rules_decide_before_people_do() {
        let definition = definition();
        let arrive = |n| {
            let data = data(n);
            super::arrive(
                &definition,
                &FileFacts::new(&definition, &data, "2026-01-01"),
            )
            .unwrap()
            .next
        };
        assert_eq!(arrive(5), Next::Ended(FileState::Approved, "low".into()));
        assert_eq!(arrive(500), Next::Ended(FileState::Rejected, "high".into()));
        assert_eq!(arrive(20), Next::Task(0));
    }

    #[test]
    fn roles_follow_each_other_where_they_are_needed() {
        let definition = definition();
        let step = |n, position: usize, outcome, text: &str| {
            let data = data(n);
            let facts = FileFacts::new(&definition, &data, "2026-01-01");
            let role = &definition.roles[position];
            decide(&definition, &facts, position, role, outcome, text, &[]).map(|r| r.next)
        };
        assert_eq!(
            step(20, 0, Outcome::Approved, ""),
            Ok(Next::Ended(FileState::Approved, String::new()))
        );
        assert_eq!(step(60, 0, Outcome::Approved, ""), Ok(Next::Task(1)));
        assert_eq!(
            step(20, 0, Outcome::SentBack, "income missing"),
            Ok(Next::Back)
        );
        assert_eq!(
            step(20, 0, Outcome::SentBack, " "),
            Err(FlowError::ReasonRequired)
        );
        assert_eq!(
            step(20, 0, Outcome::Rejected, "no"),
            Err(FlowError::OutcomeNotOffered)
        );
        assert_eq!(
            step(60, 1, Outcome::Rejected, "no"),
            Ok(Next::Ended(FileState::Rejected, "no".into()))
        );
    }
}
