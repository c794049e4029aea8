//! Stored templates.

use publica_messaging::sink::SinkOptions;
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::template_service_client::TemplateServiceClient;
use publica_testkit::{both_engines, token_for, with_token};
use publica_types::Tenant;
use tonic::Code;

use crate::support::{ALL, email, envelope, parameters, world};

fn variant(locale: &str, text: &str) -> api::TemplateVariant {
    api::TemplateVariant {
        locale: locale.to_owned(),
        content: Some(api::Content {
            subject: "{{ what }}".to_owned(),
            text: text.to_owned(),
            ..api::Content::default()
        }),
    }
}

both_engines! {
    async fn a_template_is_approved_by_another_and_chosen_by_language(
        db: publica_testkit::TestDatabase
    ) {
        let world = world(db, SinkOptions::default()).await;
        let mut author = TemplateServiceClient::new(world.block.as_caller(ALL));
        let second = with_token(&world.block.link, &token_for("second", ALL, &Tenant::default()));
        let mut second = TemplateServiceClient::new(second);
        let mut create = api::CreateTemplateRequest {
            name: "tax.reminder".to_owned(),
            variants: vec![variant("en", "Dear {{ who }}."), variant("sw", "Mpendwa {{ who }}.")],
            variables: vec!["what".to_owned()],
            request_id: String::new(),
        };
        let refused = author.create_template(create.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("parts"), "{}", refused.message());
        create.variables.push("who".to_owned());
        let draft = author.create_template(create).await.unwrap().into_inner().template.unwrap();
        assert_eq!((draft.version, draft.state()), (1, api::TemplateState::Draft));

        let body = api::envelope::Body::Template(api::TemplateReference {
            name: "tax.reminder".to_owned(),
            version: 0,
        });
        let mut message = email("anna@home.example", "");
        message.envelope = Some(envelope(body));
        let recipient = message.recipient.as_mut().unwrap();
        recipient.locale = "sw-KE".to_owned();
        recipient.parameters = parameters(&[("what", "Kodi"), ("who", "Anna")]);
        let refused = world.messages().send_email(message.clone()).await.unwrap_err();
        assert_eq!(publica_rpc::reason(&refused).as_deref(), Some("UNKNOWN_TEMPLATE"));

        let approve = api::ApproveTemplateRequest {
            name: "tax.reminder".to_owned(),
            version: 1,
            request_id: String::new(),
        };
        let refused = author.approve_template(approve.clone()).await.unwrap_err();
        assert_eq!(publica_rpc::reason(&refused).as_deref(), Some("FOUR_EYES"));
        let approved = second.approve_template(approve).await.unwrap().into_inner();
        assert_eq!(approved.template.unwrap().state(), api::TemplateState::Approved);

        let uid = world.send(message.clone()).await;
        world.reaches(&uid, |counters| counters.delivered == 1).await;
        let mail = world.sink.last_to("anna@home.example").unwrap();
        assert_eq!(mail.header("Subject").unwrap(), "Kodi");
        assert_eq!(mail.body(), "Mpendwa Anna.\r\n");

        let preview = api::PreviewTemplateRequest {
            template: Some(api::TemplateReference {
                name: "tax.reminder".to_owned(),
                version: 1,
            }),
            locale: "fr".to_owned(),
            parameters: parameters(&[("what", "Tax"), ("who", "Ben")]),
        };
        let preview = author.preview_template(preview).await.unwrap().into_inner();
        assert_eq!(preview.content.unwrap().text, "Dear Ben.");
        assert!(preview.size_bytes > 100);

        let retire = api::RetireTemplateRequest {
            name: "tax.reminder".to_owned(),
            version: 1,
            request_id: String::new(),
        };
        second.retire_template(retire).await.unwrap();
        let refused = world.messages().send_email(message).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        let listed = author.list_templates(api::ListTemplatesRequest::default()).await.unwrap();
        assert_eq!(listed.into_inner().templates[0].state(), api::TemplateState::Retired);
    }
}
