//! What comes back to the return paths.

use publica_messaging::sink::SinkOptions;
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::inbound_service_client::InboundServiceClient;
use publica_testkit::both_engines;

use crate::support::{ALL, World, email, world_with};

fn report(action: &str, status: &str) -> Vec<u8> {
    format!(
        "From: MAILER-DAEMON@mx.example\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b1\"\r\n\r\n\
         --b1\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\
         --b1\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; mx.example\r\n\r\n\
         Final-Recipient: rfc822; anna@home.example\r\n\
         Action: {action}\r\nStatus: {status}\r\n--b1--\r\n"
    )
    .into_bytes()
}

async fn receive(world: &World, recipient: &str, message: Vec<u8>) -> api::MailKind {
    let mut client = InboundServiceClient::new(world.block.as_caller(ALL));
    let message = api::ReceiveMailRequest {
        recipient: recipient.to_owned(),
        message: message.into(),
        request_id: String::new(),
    };
    client
        .receive_mail(message)
        .await
        .unwrap()
        .into_inner()
        .kind()
}

both_engines! {
    async fn late_reports_correct_the_counters(db: publica_testkit::TestDatabase) {
        let world = world_with(db, SinkOptions::default(), |config| {
            config.relay.bounce_domain = "bounce.gov.example".to_owned();
        })
        .await;
        let uid = world.send(email("anna@home.example", "Hello.")).await;
        world.reaches(&uid, |counters| counters.delivered == 1).await;
        let path = world.sink.last_to("anna@home.example").unwrap().from;
        assert!(path.starts_with("b+") && path.ends_with("@bounce.gov.example"), "{path}");

        let confirmed = receive(&world, &path, report("delivered", "2.0.0")).await;
        assert_eq!(confirmed, api::MailKind::DeliveryReport);
        assert_eq!(world.counters(&uid).await.delivered, 1);
        receive(&world, &path, report("failed", "5.1.1")).await;
        receive(&world, &path, report("failed", "5.1.1")).await;
        let counters = world.counters(&uid).await;
        assert_eq!((counters.delivered, counters.bounced), (0, 1));
        let reasons = ["accepted", "confirmed", "no_such_mailbox"];
        assert_eq!(world.reasons(&uid).await, reasons);

        // The address is known to be dead now.
        let next = world.send(email("anna@home.example", "Again.")).await;
        world.reaches(&next, |counters| counters.not_sent == 1).await;
        receive(&world, &path, report("delivered", "2.0.0")).await;
        assert_eq!(world.counters(&uid).await.delivered, 1);
    }

    async fn forged_paths_change_nothing_and_answers_are_kept(db: publica_testkit::TestDatabase) {
        let world = world_with(db, SinkOptions::default(), |config| {
            config.relay.bounce_domain = "bounce.gov.example".to_owned();
        })
        .await;
        let uid = world.send(email("anna@home.example", "Hello.")).await;
        world.reaches(&uid, |counters| counters.delivered == 1).await;
        let path = world.sink.last_to("anna@home.example").unwrap().from;
        let forged = path.replace("b+0", "b+1");
        for unknown in [forged.as_str(), "anna@home.example", ""] {
            let kind = receive(&world, unknown, report("failed", "5.1.1")).await;
            assert_eq!(kind, api::MailKind::Unknown, "{unknown}");
        }
        assert_eq!(world.counters(&uid).await.delivered, 1);
        let away = b"Auto-Submitted: auto-replied\r\n\r\nAway.\r\n".to_vec();
        assert_eq!(receive(&world, &path, away).await, api::MailKind::Automatic);
        let answer = b"Subject: Re: Hello\r\n\r\nYes, I will.\r\n".to_vec();
        assert_eq!(receive(&world, &path, answer).await, api::MailKind::Reply);
        let complaint = b"MIME-Version: 1.0\r\n\
            Content-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\r\n\r\n\
            --b\r\nContent-Type: message/feedback-report\r\n\r\n\
            Feedback-Type: abuse\r\nOriginal-Rcpt-To: anna@home.example\r\n--b--\r\n"
            .to_vec();
        assert_eq!(receive(&world, &path, complaint).await, api::MailKind::Complaint);
        let next = world.send(email("anna@home.example", "Again.")).await;
        world.reaches(&next, |counters| counters.not_sent == 1).await;
        let mut must = email("anna@home.example", "By law.");
        must.envelope.as_mut().unwrap().mandatory = true;
        let must = world.send(must).await;
        world.reaches(&must, |counters| counters.delivered == 1).await;
    }
}
