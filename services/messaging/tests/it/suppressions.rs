//! Addresses that are not written to.

use publica_messaging::sink::{Faults, SinkOptions};
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::suppression_service_client::SuppressionServiceClient;
use publica_testkit::both_engines;

use crate::support::{ALL, email, world};

both_engines! {
    async fn a_dead_address_is_held_back_until_lifted(db: publica_testkit::TestDatabase) {
        let refuse = vec![("anna".to_owned(), "550 5.1.1 no such mailbox".to_owned())];
        let faults = Faults { refuse, ..Faults::default() };
        let world = world(db, SinkOptions { faults, ..SinkOptions::default() }).await;
        let first = world.send(email("anna@home.example", "One.")).await;
        world.reaches(&first, |counters| counters.bounced == 1).await;
        assert_eq!(world.reasons(&first).await, ["no_such_mailbox"]);

        world.sink.set_faults(Faults::default());
        let second = world.send(email("Anna@Home.example", "Two.")).await;
        world.reaches(&second, |counters| counters.not_sent == 1).await;
        assert_eq!(world.reasons(&second).await, ["suppressed"]);

        let mut client = SuppressionServiceClient::new(world.block.as_caller(ALL));
        let message = api::CheckAddressRequest { address: "anna@home.example".to_owned() };
        let found = client.check_address(message).await.unwrap().into_inner().suppressions;
        assert_eq!(found[0].reason(), api::SuppressionReason::HardBounce);
        let message = api::LiftSuppressionRequest {
            suppression_id: found[0].suppression_id.clone(),
            justification: "The mailbox was restored.".to_owned(),
            request_id: String::new(),
        };
        client.lift_suppression(message.clone()).await.unwrap();
        let again = client.lift_suppression(message).await.unwrap_err();
        assert_eq!(publica_rpc::reason(&again).as_deref(), Some("UNKNOWN_SUPPRESSION"));

        let third = world.send(email("anna@home.example", "Three.")).await;
        world.reaches(&third, |counters| counters.delivered == 1).await;
    }

    async fn opting_out_of_a_category_leaves_the_rest(db: publica_testkit::TestDatabase) {
        let world = world(db, SinkOptions::default()).await;
        let mut client = SuppressionServiceClient::new(world.block.as_caller(ALL));
        let message = api::CreateSuppressionRequest {
            address: "anna@home.example".to_owned(),
            category: "news".to_owned(),
            reason: api::SuppressionReason::OptOut.into(),
            expire_time: None,
            request_id: String::new(),
        };
        client.create_suppression(message).await.unwrap();
        let send = |category: &str, mandatory: bool| {
            let mut message = email("anna@home.example", "Hello.");
            let envelope = message.envelope.as_mut().unwrap();
            envelope.category = category.to_owned();
            envelope.mandatory = mandatory;
            world.send(message)
        };
        let (news, tax, must) =
            (send("news", false).await, send("tax", false).await, send("news", true).await);
        world.reaches(&news, |counters| counters.not_sent == 1).await;
        world.reaches(&tax, |counters| counters.delivered == 1).await;
        world.reaches(&must, |counters| counters.delivered == 1).await;
        let listed = client
            .list_suppressions(api::ListSuppressionsRequest::default())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(listed.suppressions.len(), 1);
        assert_eq!(listed.suppressions[0].category, "news");
    }
}
