//! The block as processes of its own: decisions, and how soon a withdrawal at one of two replicas
//! is seen at the other. SQLite has one process for a store, which then is both.

use std::time::Duration;

use anyhow::Context as _;
use publica_proto::consent::v1 as api;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_proto::consent::v1::consent_service_client::ConsentServiceClient;
use publica_rpc::Link;
use publica_store::Engine;
use publica_testkit::TestDatabase;
use tokio::time::Instant;

use super::{Arguments, LIMIT, World, check, empty, import, links};
use crate::gateway::Place;
use crate::pace::{self, Load, Pace};
use crate::program::admin_token;
use crate::report::Report;

/// Withdrawals that are timed.
const WITHDRAWALS: u64 = 1_000;
/// How long a withdrawal may stay unknown.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn measure(
    database: &TestDatabase,
    arguments: &Arguments,
    load: Load,
    report: &mut Report,
) -> anyhow::Result<()> {
    let engine = database.engine();
    let folder = tempfile::tempdir()?;
    let place = Place {
        block: "consent",
        folder: folder.path(),
        database,
    };
    place.migrate()?;
    drop(place.together()?);
    let token = admin_token(&folder.path().join("data"))?;
    let first = place.role("consent", "")?;
    let address = first.address("consent")?.parse()?;
    let world = World::new(links(address, &token).await?, None).await?;
    import(&world, arguments.people).await?;
    let limit = empty(load).await?.rate;
    let checks = check(&world, arguments.people, load).await?;
    report.add(
        "consent-check-process",
        engine.as_str(),
        checks,
        LIMIT,
        limit,
    )?;

    let second = match engine {
        Engine::Postgres => Some(place.role("consent", "")?),
        Engine::Sqlite => None,
    };
    let other = match &second {
        Some(second) => links(second.address("consent")?.parse()?, &token).await?,
        None => world.links.to_vec(),
    };
    let other = other.first().context("a way to the other replica")?.clone();
    // One call after the other, as the withdrawals are.
    let single = Load {
        in_flight: 1,
        ..load
    };
    let limit = empty(single).await?.rate;
    let count = WITHDRAWALS.min(arguments.people);
    let (seen, told) = withdrawals(&world, other, count).await?;
    report.add(
        "consent-withdrawal-seen",
        engine.as_str(),
        seen,
        LIMIT,
        limit,
    )?;
    report.add(
        "consent-withdrawal-told",
        engine.as_str(),
        told,
        LIMIT,
        limit,
    )
}

/// How long after the answer to a withdrawal at one replica the other refuses, and how long after
/// it whoever watches the other is told.
async fn withdrawals(world: &World, other: Link, count: u64) -> anyhow::Result<(Pace, Pace)> {
    let mut records = ConsentRecordServiceClient::new(world.links[0].clone());
    let mut checks = ConsentServiceClient::new(other);
    let watch = api::WatchRevocationsRequest::default();
    let mut news = checks.watch_revocations(watch).await?.into_inner();
    news.message().await?.context("the place to watch from")?;
    let (mut seen, mut told) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for n in 0..count {
        let request = api::ChangeConsentRecordRequest {
            consent_record_id: format!("r{n}"),
            individual_id: format!("p{n}"),
            opt_in: Some(false),
            ..api::ChangeConsentRecordRequest::default()
        };
        records.change_consent_record(request).await?;
        let answered = Instant::now();
        let person = api::person_reference::Person::IndividualId(format!("p{n}"));
        let request = api::CheckConsentRequest {
            person: Some(api::PersonReference {
                person: Some(person),
            }),
            data_agreement_id: world.agreement.clone(),
            ..api::CheckConsentRequest::default()
        };
        let decision = checks.check_consent(request).await?.into_inner();
        anyhow::ensure!(
            !decision.allowed,
            "a withdrawal was not seen by the next check"
        );
        seen.push(u64::try_from(answered.elapsed().as_micros())?);
        // What is told belongs to this withdrawal, since there is one after the other.
        let next = tokio::time::timeout(PATIENCE, news.message()).await;
        let next = next.context("a withdrawal was not told of")??;
        let revocation = next.and_then(|next| next.revocation).unwrap_or_default();
        anyhow::ensure!(
            revocation.consent_record_id == format!("r{n}"),
            "another withdrawal was told of"
        );
        told.push(u64::try_from(answered.elapsed().as_micros())?);
    }
    let span = began.elapsed();
    Ok((pace::of(seen, span), pace::of(told, span)))
}
