use super::*;
use publica_work::{Saga, SagaState, Step, StepOutcome, sagas};

/// Notes what it does; each step answers as scripted, then with done.
struct Trip {
    kind: &'static str,
    seen: mpsc::UnboundedSender<(String, i64)>,
    answers: Mutex<std::collections::HashMap<&'static str, Vec<StepOutcome>>>,
}

const STEPS: &[&str] = &["flight", "hotel", "payment"];

fn undo(name: &str) -> &'static str {
    match name {
        "flight" => "undo flight",
        "hotel" => "undo hotel",
        _ => "undo payment",
    }
}

impl Trip {
    fn new(
        kind: &'static str,
        answers: Vec<(&'static str, Vec<StepOutcome>)>,
    ) -> (Self, mpsc::UnboundedReceiver<(String, i64)>) {
        let (seen, receiver) = mpsc::unbounded_channel();
        (
            Self {
                kind,
                seen,
                answers: Mutex::new(answers.into_iter().collect()),
            },
            receiver,
        )
    }

    fn answer(&self, name: &'static str, step: &Step) -> StepOutcome {
        let _ = self.seen.send((name.to_owned(), step.attempt));
        let mut answers = self.answers.lock().unwrap();
        match answers.get_mut(name) {
            Some(left) if !left.is_empty() => left.remove(0),
            _ => StepOutcome::Done {
                data: Some(name.as_bytes().to_vec()),
            },
        }
    }
}

impl Saga for Trip {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn steps(&self) -> &'static [&'static str] {
        STEPS
    }

    async fn run(&self, step: Step) -> StepOutcome {
        self.answer(step.name, &step)
    }

    async fn compensate(&self, step: Step) -> StepOutcome {
        self.answer(undo(step.name), &step)
    }

    fn attempts(&self) -> i64 {
        3
    }
}

async fn start(bench: &Bench, kind: &'static str, late: bool) -> Uuid {
    let started = bench
        .db
        .write("test.start", (kind, late), |tx, (kind, late)| {
            Box::pin(async move {
                let mut start = sagas::Start::new(kind, "trip-1", b"{}".to_vec());
                if *late {
                    start = start.deadline(tx.now());
                }
                let again = start.clone();
                let id = sagas::start(tx, &Origin::actor("a"), start).await?;
                assert_eq!(sagas::start(tx, &Origin::actor("a"), again).await?, None);
                Ok::<_, StoreError>(id)
            })
        });
    started.await.unwrap().unwrap()
}

async fn ended(bench: &Bench, id: Uuid, state: SagaState) -> Vec<(String, bool)> {
    let db = &bench.db;
    let steps = eventually(|| async move {
        let (view, steps) = operator::saga(db, id).await.unwrap().unwrap();
        (view.state == state).then_some(steps)
    })
    .await;
    steps
        .into_iter()
        .map(|step| (step.name, step.compensation))
        .collect()
}

fn names(steps: &[(String, bool)]) -> Vec<String> {
    let name = |(name, undone): &(String, bool)| {
        if *undone {
            format!("-{name}")
        } else {
            name.clone()
        }
    };
    steps.iter().map(name).collect()
}

async fn calls(seen: &mut mpsc::UnboundedReceiver<(String, i64)>) -> Vec<String> {
    let mut calls = Vec::new();
    while let Ok((name, _)) = seen.try_recv() {
        calls.push(name);
    }
    calls
}

both_engines! {
    async fn all_steps_are_done_in_order(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let (trip, mut seen) = Trip::new("test.trip", vec![("hotel", vec![
            StepOutcome::retry("busy"),
            StepOutcome::Wait { after: Duration::from_millis(1) },
        ])]);
        bench.run(bench.worker().saga_with(trip, quick()));
        let id = start(&bench, "test.trip", false).await;
        let steps = ended(&bench, id, SagaState::Done).await;
        assert_eq!(names(&steps), ["flight", "hotel", "payment"]);
        let expected = ["flight", "hotel", "hotel", "hotel", "payment"];
        assert_eq!(calls(&mut seen).await, expected);
        queue_is_empty(&bench.db).await;
        bench.stop().await;
    }

    async fn a_failed_step_undoes_those_before(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let (trip, mut seen) =
            Trip::new("test.fail_trip", vec![("payment", vec![StepOutcome::fail("no money")])]);
        bench.run(bench.worker().saga_with(trip, quick()));
        let id = start(&bench, "test.fail_trip", false).await;
        let steps = ended(&bench, id, SagaState::Compensated).await;
        // The failed step may have had an effect before it failed, so it is undone as well.
        assert_eq!(names(&steps), ["flight", "hotel", "-payment", "-hotel", "-flight"]);
        assert_eq!(calls(&mut seen).await.len(), 6);
        bench.stop().await;
    }

    async fn a_saga_that_is_late_is_undone(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let (trip, mut seen) = Trip::new("test.late_trip", Vec::new());
        bench.run(bench.worker().saga_with(trip, quick()));
        let id = start(&bench, "test.late_trip", true).await;
        ended(&bench, id, SagaState::Compensated).await;
        assert!(!calls(&mut seen).await.contains(&"flight".to_owned()));
        bench.stop().await;
    }

    async fn a_saga_that_cannot_be_undone_waits_for_an_operator(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let stubborn = vec![StepOutcome::retry("x"); 3];
        let (trip, _seen) = Trip::new("test.stuck_trip", vec![
            ("payment", vec![StepOutcome::fail("no money")]),
            ("undo hotel", stubborn),
        ]);
        bench.run(bench.worker().saga_with(trip, quick()));
        let id = start(&bench, "test.stuck_trip", false).await;
        ended(&bench, id, SagaState::Stuck).await;
        bench.db.write("test.retry", id, |tx, id| {
            Box::pin(async move { operator::retry_saga(tx, *id).await })
        })
        .await
        .unwrap();
        let steps = ended(&bench, id, SagaState::Compensated).await;
        assert_eq!(names(&steps).last().unwrap(), "-flight");
        let over = bench.db.write("test.abandon", id, |tx, id| {
            Box::pin(async move { operator::abandon_saga(tx, *id, "why").await })
        });
        assert!(matches!(over.await, Err(operator::OperatorError::State { .. })));
        bench.stop().await;
    }

    async fn an_operator_can_turn_or_end_a_saga(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let forever = vec![StepOutcome::Wait { after: Duration::from_hours(1) }; 3];
        let (trip, mut seen) = Trip::new("test.turn_trip", vec![("hotel", forever)]);
        bench.run(bench.worker().saga_with(trip, quick()));
        let id = start(&bench, "test.turn_trip", false).await;
        while next(&mut seen).await.0 != "hotel" {}
        bench.db.write("test.turn", id, |tx, id| {
            Box::pin(async move { operator::compensate_saga(tx, *id, "cancelled").await })
        })
        .await
        .unwrap();
        let steps = ended(&bench, id, SagaState::Compensated).await;
        assert_eq!(names(&steps), ["flight", "-hotel", "-flight"]);
        bench.stop().await;
    }

    async fn a_step_keeps_its_request_id(db: TestDatabase) {
        struct Ids(mpsc::UnboundedSender<(String, i64)>);

        impl Saga for Ids {
            fn kind(&self) -> &'static str {
                "test.ids"
            }

            fn steps(&self) -> &'static [&'static str] {
                &["one", "two"]
            }

            async fn run(&self, step: Step) -> StepOutcome {
                let _ = self.0.send((step.request_id(), step.attempt));
                match (step.name, step.attempt) {
                    ("one", 1) => StepOutcome::retry("again"),
                    _ => StepOutcome::done(),
                }
            }

            async fn compensate(&self, _: Step) -> StepOutcome {
                StepOutcome::done()
            }
        }

        let bench = Bench::new(&db).await;
        let (sender, mut seen) = mpsc::unbounded_channel();
        bench.run(bench.worker().saga_with(Ids(sender), quick()));
        let id = start(&bench, "test.ids", false).await;
        ended(&bench, id, SagaState::Done).await;
        let (first, second, third) =
            (next(&mut seen).await, next(&mut seen).await, next(&mut seen).await);
        assert_eq!(first.0, second.0);
        assert_eq!((first.1, second.1), (1, 2));
        assert_ne!(first.0, third.0);
        bench.stop().await;
    }
}
