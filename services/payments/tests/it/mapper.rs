//! The account mapper, and validation ahead of payment.

use publica_proto::payments::v1 as api;
use publica_testkit::both_engines;
use tonic::Code;

use crate::support::{SOURCE, World, instruction, payee_id, refusal, world};

fn beneficiary(payee: usize, modality: &str, address: &str) -> api::Beneficiary {
    api::Beneficiary {
        functional_id: payee_id(payee),
        modality: modality.to_owned(),
        financial_address: address.to_owned(),
        ..Default::default()
    }
}

fn registration(
    request: &str,
    beneficiaries: Vec<api::Beneficiary>,
) -> api::RegisterBeneficiariesRequest {
    let source_request = request.to_owned();
    api::RegisterBeneficiariesRequest {
        source_id: SOURCE.to_owned(),
        source_request,
        beneficiaries,
        ..Default::default()
    }
}

async fn read(world: &World, payee: usize) -> Result<api::Beneficiary, (Code, String)> {
    let request = api::GetBeneficiaryRequest {
        source_id: SOURCE.to_owned(),
        functional_id: payee_id(payee),
    };
    match world.beneficiaries().get_beneficiary(request).await {
        Ok(answer) => Ok(answer.into_inner().beneficiary.unwrap()),
        refused => Err(refusal(refused)),
    }
}

fn validation(request: &str, rows: Vec<api::Instruction>) -> Vec<api::ValidateInstructionsRequest> {
    let key = api::ValidationKey {
        source_id: SOURCE.to_owned(),
        source_request: request.to_owned(),
        source_batch: "BATCH0000001".to_owned(),
        fingerprint: vec![u8::try_from(rows.len()).unwrap(); 32].into(),
        ..Default::default()
    };
    let first = api::ValidateInstructionsRequest {
        key: Some(key),
        ..Default::default()
    };
    let rest = api::ValidateInstructionsRequest {
        instructions: rows,
        complete: true,
        key: None,
    };
    vec![first, rest]
}

both_engines! {
    async fn registration_lists_its_failed_cases_and_can_be_repeated(database: TestDatabase) {
        let world = world(database).await;
        world.programme(0, false).await;
        let request = registration("REQUEST00001", vec![
            beneficiary(0, "", "1234567"),
            beneficiary(1, "00", "DE89370400440532013000"),
            beneficiary(1, "00", "1234567"),
            beneficiary(2, "00", "DE88370400440532013000"),
            beneficiary(3, "07", "1234567"),
            api::Beneficiary {
                functional_id: "longer than twenty characters".to_owned(),
                ..Default::default()
            },
        ]);
        let first = world.beneficiaries().register_beneficiaries(request.clone()).await.unwrap();
        let first = first.into_inner();
        assert_eq!((first.registered_count, first.failed_cases.len()), (2, 4));
        let again = world.beneficiaries().register_beneficiaries(request).await.unwrap();
        assert_eq!(again.into_inner(), first);
        let other = registration("REQUEST00001", vec![beneficiary(9, "", "")]);
        let reused = world.beneficiaries().register_beneficiaries(other).await;
        assert_eq!(refusal(reused), (Code::AlreadyExists, "SOURCE_REQUEST_REUSED".to_owned()));
        let twice = registration("REQUEST00002", vec![beneficiary(0, "", "7")]);
        let twice = world.beneficiaries().register_beneficiaries(twice).await.unwrap();
        assert_eq!(twice.into_inner().failed_cases[0].reason, "registered already");
        let read = read(&world, 1).await.unwrap();
        assert_eq!(read.financial_address, "DE89370400440532013000");
        assert_eq!((read.modality.as_str(), read.institution.as_str()), ("00", "DE3704"));
    }

    async fn an_unusable_request_changes_nothing(database: TestDatabase) {
        let world = world(database).await;
        world.programme(0, false).await;
        let good = || registration("REQUEST00001", vec![beneficiary(0, "", "1")]);
        let unknown = api::RegisterBeneficiariesRequest {
            source_id: "NOBODY000001".to_owned(),
            ..good()
        };
        let unknown = world.beneficiaries().register_beneficiaries(unknown).await;
        assert_eq!(refusal(unknown), (Code::FailedPrecondition, "SOURCE_UNKNOWN".to_owned()));
        for bad in [
            api::RegisterBeneficiariesRequest { source_request: "x".repeat(65), ..good() },
            api::RegisterBeneficiariesRequest { beneficiaries: Vec::new(), ..good() },
        ] {
            let refused = world.beneficiaries().register_beneficiaries(bad).await;
            assert_eq!(refusal(refused).0, Code::InvalidArgument);
        }
        assert_eq!(read(&world, 0).await.unwrap_err().0, Code::NotFound);
    }

    async fn updates_keep_what_they_leave_out(database: TestDatabase) {
        let world = world(database).await;
        world.programme(0, false).await;
        world.register("REQUEST00001", &[(0, "1234567")]).await;
        let update = api::UpdateBeneficiariesRequest {
            source_id: SOURCE.to_owned(),
            source_request: "REQUEST00002".to_owned(),
            beneficiaries: vec![
                beneficiary(0, "01", "+31612345678"),
                beneficiary(5, "", "1"),
            ], ..Default::default() };
        let answer = world.beneficiaries().update_beneficiaries(update).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!((answer.updated_count, answer.failed_cases.len()), (1, 1));
        let first = read(&world, 0).await.unwrap();
        assert_eq!((first.modality.as_str(), first.institution.as_str()), ("01", "MOBILE"));
        let update = api::UpdateBeneficiariesRequest {
            source_id: SOURCE.to_owned(),
            source_request: "REQUEST00003".to_owned(),
            beneficiaries: vec![api::Beneficiary {
                institution: "TELCO".to_owned(),
                ..beneficiary(0, "", "")
            }], ..Default::default() };
        world.beneficiaries().update_beneficiaries(update).await.unwrap();
        let second = read(&world, 0).await.unwrap();
        assert_eq!(second.financial_address, "+31612345678");
        assert_eq!((second.modality.as_str(), second.institution.as_str()), ("01", "TELCO"));
    }

    async fn erasure_leaves_nothing_to_read(database: TestDatabase) {
        let world = world(database).await;
        world.programme(0, false).await;
        world.register("REQUEST00001", &[(0, "1234567")]).await;
        let erase = api::EraseBeneficiaryRequest {
            source_id: SOURCE.to_owned(),
            functional_id: payee_id(0),
            reason: "asked for".to_owned(),
            ..Default::default()
        };
        world.beneficiaries().erase_beneficiary(erase).await.unwrap();
        assert_eq!(read(&world, 0).await.unwrap_err().0, Code::NotFound);
        let batch = world.create_batch("REQUEST00001").await;
        let batch = world.upload(&batch.batch_id, vec![instruction(0, 0, "1.00")]).await.unwrap();
        assert_eq!(batch.state(), api::BatchState::Rejected);
    }

    async fn validation_tells_who_could_not_be_paid(database: TestDatabase) {
        let world = world(database).await;
        world.programme(0, false).await;
        world.register("REQUEST00001", &[(0, "1234567")]).await;
        let rows = vec![
            instruction(0, 0, "1.00"),
            instruction(1, 1, "1.00"),
            instruction(2, 0, "1.005"),
        ];
        let messages = validation("REQUEST00001", rows);
        let mut client = world.beneficiaries();
        let stream = futures::stream::iter(messages.clone());
        let first = client.validate_instructions(stream).await.unwrap().into_inner();
        assert_eq!((first.instruction_count, first.failed_count), (3, 2));
        let again = client.validate_instructions(futures::stream::iter(messages)).await.unwrap();
        assert_eq!(again.into_inner(), first);
        let other = validation("REQUEST00001", vec![instruction(0, 0, "1.00")]);
        let reused = client.validate_instructions(futures::stream::iter(other)).await;
        assert_eq!(refusal(reused).1, "SOURCE_REQUEST_REUSED");
        let request = api::GetValidationRequest {
            source_request: "REQUEST00001".to_owned(),
            source_batch: "BATCH0000001".to_owned(),
            ..Default::default()
        };
        let result = client.get_validation(request.clone()).await.unwrap().into_inner();
        assert!(result.done);
        let codes: Vec<&str> =
            result.failures.iter().map(|failure| failure.reason_code.as_str()).collect();
        assert_eq!(codes, ["BE06", "AM12"]);
        let unknown = api::GetValidationRequest {
            source_batch: "BATCH0000002".to_owned(),
            ..request
        };
        assert_eq!(refusal(client.get_validation(unknown).await).0, Code::NotFound);
    }
}
