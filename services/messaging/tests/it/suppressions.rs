//! Addresses that are not written to.

use publica_messaging::sink::{Faults, SinkOptions};
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::suppression_service_client::SuppressionServiceClient;
use publica_testkit::both_engines;

use crate::support::{ALL, email, world, world_with};

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

    async fn a_recipient_leaves_by_the_link_of_a_mail(db: publica_testkit::TestDatabase) {
        let world = world_with(db, SinkOptions::default(), |config| {
            config.unsubscribe_url = "https://mail.gov.example/messaging/unsubscribe/".to_owned();
        })
        .await;
        let of = |address: &str, category: &str, mandatory: bool| {
            let mut message = email(address, "Hello.");
            let envelope = message.envelope.as_mut().unwrap();
            envelope.category = category.to_owned();
            envelope.mandatory = mandatory;
            message
        };
        let first = world.send(of("anna@home.example", "news", false)).await;
        world.reaches(&first, |counters| counters.delivered == 1).await;
        let mail = world.sink.last_to("anna@home.example").unwrap();
        assert_eq!(
            mail.header("List-Unsubscribe-Post").as_deref(),
            Some("List-Unsubscribe=One-Click")
        );
        let link = mail.header("List-Unsubscribe").unwrap();
        let token = link
            .strip_prefix("<https://mail.gov.example/messaging/unsubscribe/")
            .and_then(|rest| rest.strip_suffix('>'))
            .unwrap()
            .to_owned();
        assert!(!link.contains("anna") && !link.contains("news"), "{link}");

        // Nobody leaves by a link that somebody else got, nor what is mandatory at all.
        for message in [
            of("bela@home.example,cleo@home.example", "news", false),
            of("bela@home.example", "news", true),
        ] {
            let uid = world.send(message).await;
            world.reaches(&uid, |counters| counters.delivered == 1).await;
            let mail = world.sink.last_to("bela@home.example").unwrap();
            assert_eq!(mail.header("List-Unsubscribe"), None);
        }

        let mut client = SuppressionServiceClient::new(world.block.as_caller(ALL));
        let mut forged = token.clone().into_bytes();
        let last = forged.len() - 5;
        forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
        for bad in [String::new(), String::from_utf8(forged).unwrap(), "x".repeat(513)] {
            let refused = client.unsubscribe(api::UnsubscribeRequest { token: bad }).await;
            let reason = publica_rpc::reason(&refused.unwrap_err());
            assert_eq!(reason.as_deref(), Some("UNKNOWN_SUBSCRIPTION"));
        }
        for _ in 0..2 {
            let message = api::UnsubscribeRequest { token: token.clone() };
            let ended = client.unsubscribe(message).await.unwrap().into_inner();
            assert_eq!(ended.category, "news");
        }
        let listed = client
            .list_suppressions(api::ListSuppressionsRequest::default())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(listed.suppressions.len(), 1);

        let news = world.send(of("Anna@home.example", "news", false)).await;
        let tax = world.send(of("anna@home.example", "tax", false)).await;
        let must = world.send(of("anna@home.example", "news", true)).await;
        world.reaches(&news, |counters| counters.not_sent == 1).await;
        world.reaches(&tax, |counters| counters.delivered == 1).await;
        world.reaches(&must, |counters| counters.delivered == 1).await;
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
