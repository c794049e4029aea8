//! A batch from announcement to report.

use publica_host::Profile;
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::batch_service_client::BatchServiceClient;
use publica_testkit::{both_engines, env, eventually};
use tonic::Code;

use crate::support::{
    SOURCE, World, instruction, new_batch, payee_id, refusal, tally, world, world_in, world_with,
};

/// Payees 0 to 9: seven with good accounts, one whose account is closed, one who is paid by
/// voucher, and one who is not registered.
async fn with_payees(world: &World) {
    let good = (0..7).map(|payee| (payee, "1234567"));
    let others = [(7, "9990000"), (8, "")];
    let all: Vec<(usize, &str)> = good.chain(others).collect();
    world.register("REQUEST00001", &all).await;
}

fn rows() -> Vec<api::Instruction> {
    (0..10)
        .map(|number| instruction(number, number, "10.00"))
        .collect()
}

async fn states(world: &World, batch_id: &str) -> Vec<(api::InstructionState, String)> {
    let request = api::ListInstructionsRequest {
        batch_id: batch_id.to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    let page = world
        .batches()
        .list_instructions(request)
        .await
        .unwrap()
        .into_inner();
    page.instructions
        .iter()
        .map(|row| (row.state(), row.reason_code.clone()))
        .collect()
}

both_engines! {
    async fn in_production_nothing_counts_as_paid_without_a_rail(database: TestDatabase) {
        let production = env("payments").with_profile(Profile::Production);
        let world = world_in(database, production, |config| {
            config.open_partners = Some(true);
        })
        .await;
        world.programme(100_000, true).await;
        world.register("REQUEST00001", &[(0, "1234567"), (1, "1234567")]).await;
        let batch = world.create_batch("REQUEST00001").await;
        let rows = (0..2).map(|number| instruction(number, number, "10.00")).collect();
        let batch = world.upload(&batch.batch_id, rows).await.unwrap();
        world.approve(&batch).await.unwrap();
        world.reaches(&batch.batch_id, api::BatchState::Failed).await;
        let report = world.report(&batch.batch_id).await;
        assert_eq!((report.settled, report.vouchers), (tally(0, 0), tally(2, 2_000)));
        assert_eq!(report.reasons.len(), 1);
        assert_eq!(report.reasons[0].reason_code, "RC04");
        world.assert_balanced().await;
    }

    async fn a_batch_is_paid_and_failures_get_vouchers(database: TestDatabase) {
        let world = world(database).await;
        world.programme(100_000, true).await;
        with_payees(&world).await;
        let batch = world.create_batch("REQUEST00001").await;
        let batch = world.upload(&batch.batch_id, rows()).await.unwrap();
        assert_eq!(batch.state(), api::BatchState::PendingApproval);
        assert_eq!(batch.accepted, tally(9, 9_000));
        assert_eq!(batch.unresolved, tally(1, 1_000));
        let approved = world.approve(&batch).await.unwrap();
        assert_eq!(approved.approvals.len(), 1);
        world.reaches(&batch.batch_id, api::BatchState::PartiallyCompleted).await;

        let report = world.report(&batch.batch_id).await;
        assert_eq!(report.settled, tally(7, 7_000));
        assert_eq!((report.rejected, report.replaced), (tally(0, 0), tally(1, 1_000)));
        assert_eq!(report.unknown, tally(0, 0));
        assert_eq!(report.open, tally(0, 0));
        assert_eq!(report.vouchers, tally(2, 2_000));
        assert_eq!(report.differences, Vec::<String>::new());
        assert!(report.reconciled && report.ledger_balanced);
        assert_eq!(report.matched_count, 7);
        let reasons: Vec<(String, i64)> =
            report.reasons.into_iter().map(|r| (r.reason_code, r.item_count)).collect();
        assert_eq!(reasons, [("AC04".to_owned(), 1), ("BE06".to_owned(), 1)]);

        assert_eq!(world.balance("funding:treasury").await, 100_000 - 9_000);
        assert_eq!(world.balance("settlement:USD").await, 7_000);
        assert_eq!(world.balance("funding:FOOD USD").await, 2_000);
        assert_eq!(world.balance("institution:BANK:USD").await, 0);
        assert_eq!(world.balance("clearing:USD").await, 0);
        world.assert_balanced().await;

        let states = states(&world, &batch.batch_id).await;
        assert_eq!(states[0], (api::InstructionState::Settled, String::new()));
        assert_eq!(states[7], (api::InstructionState::Voucher, "AC04".to_owned()));
        assert_eq!(states[8], (api::InstructionState::Voucher, String::new()));
        assert_eq!(states[9], (api::InstructionState::Unresolved, "BE06".to_owned()));
    }

    async fn an_instruction_has_a_case_of_its_own(database: TestDatabase) {
        let world = world(database).await;
        world.programme(100_000, true).await;
        with_payees(&world).await;
        let batch = world.create_batch("REQUEST00001").await;
        let mut rows = rows();
        rows[3].process_id = "case-1".to_owned();
        rows[4].process_id = "a case".to_owned();
        let batch = world.upload(&batch.batch_id, rows.clone()).await.unwrap();
        assert_eq!((batch.accepted, batch.refused_count), (tally(8, 8_000), 1));
        let entries = eventually(|| async {
            let mut journal = JournalServiceClient::new(world.link());
            let process_id = "case-1".to_owned();
            let wanted = ListEntriesRequest { process_id, ..Default::default() };
            let found = journal.list_entries(wanted).await.unwrap().into_inner().entries;
            (!found.is_empty()).then_some(found)
        })
        .await;
        assert_eq!(entries.len(), 1, "{entries:?}");
        assert_eq!(entries[0].action, "payments.instruction.received");
        assert_eq!(entries[0].subject_id, batch.batch_id);
        let body: serde_json::Value =
            serde_json::from_slice(entries[0].body.as_deref().unwrap()).unwrap();
        assert_eq!((&body["ordinal"], &body["amount_minor"]), (&3.into(), &1_000.into()));
    }

    async fn a_fall_back_voucher_can_be_redeemed(database: TestDatabase) {
        let world = world(database).await;
        world.programme(100_000, true).await;
        with_payees(&world).await;
        let batch = world.create_batch("REQUEST00001").await;
        let batch = world.upload(&batch.batch_id, rows()).await.unwrap();
        world.approve(&batch).await.unwrap();
        world.reaches(&batch.batch_id, api::BatchState::PartiallyCompleted).await;
        let mut request = api::ListBatchVouchersRequest {
            batch_id: batch.batch_id.clone(),
            ..Default::default()
        };
        let hidden = world.batches().list_batch_vouchers(request.clone()).await.unwrap();
        assert!(hidden.into_inner().vouchers.iter().all(|v| v.voucher_number.is_empty()));
        request.reveal_numbers = true;
        let shown = world.batches().list_batch_vouchers(request).await.unwrap().into_inner();
        assert_eq!(shown.vouchers.len(), 2);
        let voucher = &shown.vouchers[0];
        assert_eq!(voucher.functional_id, payee_id(7));
        let merchant = api::CreateMerchantRequest {
            name: "Corner shop".to_owned(),
            bank_details: "NL00BANK".to_owned(),
            voucher_group: "FOOD".to_owned(),
            ..Default::default()
        };
        world.vouchers().create_merchant(merchant).await.unwrap();
        let activate = api::ActivateVoucherRequest {
            serial_number: voucher.serial_number.clone(),
            calling_block: SOURCE.to_owned(), ..Default::default() };
        world.vouchers().activate_voucher(activate).await.unwrap();
        let redeem = api::RedeemVoucherRequest {
            voucher_number: voucher.voucher_number.clone(),
            calling_block: SOURCE.to_owned(),
            merchant_name: "Corner shop".to_owned(),
            merchant_bank_details: "NL00BANK".to_owned(),
            merchant_voucher_group: "FOOD".to_owned(),
            r#override: false, ..Default::default() };
        let paid = world.vouchers().redeem_voucher(redeem.clone()).await.unwrap().into_inner();
        assert_eq!(paid.amount.unwrap().amount_minor, 1_000);
        let twice = world.vouchers().redeem_voucher(redeem).await;
        assert_eq!(refusal(twice).1, "VOUCHER_CONSUMED");
        world.assert_balanced().await;
    }

    async fn the_maker_cannot_approve_nor_anybody_other_content(database: TestDatabase) {
        let world = world(database).await;
        world.programme(100_000, false).await;
        with_payees(&world).await;
        let batch = world.create_batch("REQUEST00001").await;
        let batch = world.upload(&batch.batch_id, rows()).await.unwrap();
        let own = api::ApproveBatchRequest {
            batch_id: batch.batch_id.clone(),
            digest: batch.digest.clone(),
            ..Default::default()
        };
        let refused = world.batches().approve_batch(own).await;
        assert_eq!(refusal(refused), (Code::PermissionDenied, "APPROVER_IS_MAKER".to_owned()));
        let other = api::Batch { digest: "00".repeat(32), ..batch.clone() };
        let refused = world.approve(&other).await;
        assert_eq!(refusal(refused), (Code::FailedPrecondition, "DIGEST_CHANGED".to_owned()));
        let decline = api::DeclineBatchRequest {
            batch_id: batch.batch_id.clone(),
            reason: "sums are off".to_owned(),
            ..Default::default()
        };
        let mut approver = BatchServiceClient::new(world.link_of("approver"));
        let declined = approver.decline_batch(decline).await.unwrap().into_inner();
        assert_eq!(declined.batch.unwrap().state(), api::BatchState::Declined);
        let late = world.approve(&batch).await;
        assert_eq!(refusal(late), (Code::FailedPrecondition, "BATCH_STATE".to_owned()));
        assert_eq!(world.balance("funding:treasury").await, 100_000);
    }

    async fn duplicates_are_refused_inside_and_across(database: TestDatabase) {
        let world = world(database).await;
        world.programme(100_000, false).await;
        with_payees(&world).await;
        let first = world.create_batch("REQUEST00001").await;
        let mut doubled = vec![instruction(0, 0, "1.00"), instruction(0, 1, "2.00")];
        doubled.push(instruction(1, 1, "0.00"));
        doubled.push(instruction(2, 2, "3.00"));
        let first = world.upload(&first.batch_id, doubled).await.unwrap();
        assert_eq!((first.refused_count, first.accepted), (2, tally(2, 400)));
        let second = world.create_batch("REQUEST00002").await;
        let rows = vec![instruction(2, 2, "3.00"), instruction(3, 3, "4.00")];
        let second = world.upload(&second.batch_id, rows).await.unwrap();
        assert_eq!((second.refused_count, second.accepted), (1, tally(1, 400)));
        let request = api::ListRefusalsRequest {
            batch_id: first.batch_id.clone(),
            ..Default::default()
        };
        let refused = world.batches().list_refusals(request).await.unwrap().into_inner();
        let codes: Vec<(i64, &str)> =
            refused.refusals.iter().map(|r| (r.ordinal, r.reason_code.as_str())).collect();
        assert_eq!(codes, [(1, "AM05"), (2, "AM12")]);
    }

    async fn uploads_go_on_where_they_stopped(database: TestDatabase) {
        let world = world(database).await;
        world.programme(10_000_000, false).await;
        with_payees(&world).await;
        let batch = world.create_batch("REQUEST00001").await;
        let all: Vec<api::Instruction> =
            (0..200).map(|number| instruction(number, number % 7, "1.00")).collect();
        let part = |from: usize, to: usize, first: i64, complete| {
            let message = api::UploadInstructionsRequest {
                batch_id: batch.batch_id.clone(),
                first_ordinal: first,
                instructions: all[from..to].to_vec(),
                complete,
            };
            let mut batches = world.batches();
            async move { batches.upload_instructions(futures::stream::iter([message])).await }
        };
        // Broken off after 100 rows: the one full chunk of 64 is kept.
        let answer = part(0, 100, 0, false).await.unwrap().into_inner().batch.unwrap();
        assert_eq!(answer.received_count, 64);
        let gap = part(128, 200, 128, true).await;
        assert_eq!(refusal(gap), (Code::Aborted, "UPLOAD_GAP".to_owned()));
        let changed = part(1, 65, 0, false).await;
        assert_eq!(refusal(changed), (Code::Aborted, "CHUNK_CHANGED".to_owned()));
        let whole = part(0, 200, 0, true).await.unwrap().into_inner().batch.unwrap();
        assert_eq!((whole.received_count, whole.accepted), (200, tally(200, 20_000)));
        let again = part(0, 200, 0, true).await.unwrap().into_inner().batch.unwrap();
        assert_eq!(again.digest, whole.digest);
        let late = part(64, 200, 64, true).await.unwrap().into_inner().batch.unwrap();
        assert_eq!(late.received_count, 200);
    }

    async fn a_request_number_means_one_batch(database: TestDatabase) {
        let world = world(database).await;
        world.programme(0, false).await;
        let first = world.create_batch("REQUEST00001").await;
        let again = world.batches().create_batch(new_batch("REQUEST00001")).await.unwrap();
        let again = again.into_inner();
        assert!(!again.created);
        assert_eq!(again.batch.unwrap().batch_id, first.batch_id);
        let other = api::CreateBatchRequest {
            fingerprint: vec![7; 32].into(),
            ..new_batch("REQUEST00001")
        };
        let reused = world.batches().create_batch(other).await;
        assert_eq!(refusal(reused), (Code::AlreadyExists, "SOURCE_REQUEST_REUSED".to_owned()));
        let unknown = api::CreateBatchRequest {
            source_id: "NOBODY000001".to_owned(),
            ..new_batch("REQUEST00002")
        };
        let unknown = world.batches().create_batch(unknown).await;
        assert_eq!(refusal(unknown), (Code::FailedPrecondition, "SOURCE_UNKNOWN".to_owned()));
    }

    async fn short_funds_refuse_and_a_deposit_lets_it_go_on(database: TestDatabase) {
        let world = world(database).await;
        let programme = world.programme(6_999, false).await;
        with_payees(&world).await;
        let batch = world.create_batch("REQUEST00001").await;
        let rows = rows().into_iter().take(7).collect();
        let batch = world.upload(&batch.batch_id, rows).await.unwrap();
        world.approve(&batch).await.unwrap();
        world.reaches(&batch.batch_id, api::BatchState::FundsRefused).await;
        assert_eq!(world.account("funding:treasury").await.debits_pending, 0);
        world.deposit(&programme.funding_account_id, 1).await;
        let resume = api::ResumeBatchRequest {
            batch_id: batch.batch_id.clone(),
            ..Default::default()
        };
        world.batches().resume_batch(resume).await.unwrap();
        world.reaches(&batch.batch_id, api::BatchState::Completed).await;
        assert_eq!(world.balance("funding:treasury").await, 0);
        world.assert_balanced().await;
    }

    async fn a_stopped_programme_holds_its_batches(database: TestDatabase) {
        let world = world(database).await;
        world.programme(100_000, false).await;
        with_payees(&world).await;
        let batch = world.create_batch("REQUEST00001").await;
        let batch = world.upload(&batch.batch_id, rows()).await.unwrap();
        let stop = |state: api::ProgrammeState| api::SetProgrammeStateRequest {
            programme: "CASH".to_owned(),
            state: state.into(),
            reason: "inquiry".to_owned(),
            ..Default::default()
        };
        let stopped = stop(api::ProgrammeState::Stopped);
        world.programmes().set_programme_state(stopped).await.unwrap();
        let refused = world.approve(&batch).await;
        assert_eq!(refusal(refused), (Code::FailedPrecondition, "PROGRAMME_STOPPED".to_owned()));
        let active = stop(api::ProgrammeState::Active);
        world.programmes().set_programme_state(active).await.unwrap();
        let cancel = api::CancelBatchRequest {
            batch_id: batch.batch_id.clone(),
            reason: "superseded".to_owned(),
            ..Default::default()
        };
        world.batches().cancel_batch(cancel).await.unwrap();
        let states = states(&world, &batch.batch_id).await;
        assert_eq!(states[0].0, api::InstructionState::Cancelled);
    }

    async fn unknown_outcomes_become_known(database: TestDatabase) {
        let world = world_with(database, None, |config| config.rail.unknown_queries = 2).await;
        world.programme(100_000, true).await;
        world.register("REQUEST00001", &[(0, "1234567"), (1, "5552222"), (2, "5553333")]).await;
        let batch = world.create_batch("REQUEST00001").await;
        let rows = (0..3).map(|number| instruction(number, number, "10.00")).collect();
        let batch = world.upload(&batch.batch_id, rows).await.unwrap();
        world.approve(&batch).await.unwrap();
        eventually(|| async {
            let report = world.report(&batch.batch_id).await;
            let waits = report.unknown == tally(2, 2_000);
            (waits || report.settled == tally(2, 2_000)).then_some(())
        })
        .await;
        world.reaches(&batch.batch_id, api::BatchState::PartiallyCompleted).await;
        let report = world.report(&batch.batch_id).await;
        assert_eq!(report.settled, tally(2, 2_000));
        assert_eq!(report.rejected, tally(0, 0));
        assert_eq!(report.vouchers, tally(1, 1_000));
        assert!(report.reconciled, "{:?}", report.differences);
        assert_eq!(world.balance("institution:BANK:USD").await, 0);
        world.assert_balanced().await;
    }

    async fn lost_acknowledgements_pay_nobody_twice(database: TestDatabase) {
        let world = world_with(database, None, |config| config.rail.lose_per_mille = 1_000).await;
        world.programme(100_000, false).await;
        with_payees(&world).await;
        let batch = world.create_batch("REQUEST00001").await;
        let rows = rows().into_iter().take(7).collect();
        let batch = world.upload(&batch.batch_id, rows).await.unwrap();
        world.approve(&batch).await.unwrap();
        world.reaches(&batch.batch_id, api::BatchState::Completed).await;
        assert_eq!(world.report(&batch.batch_id).await.settled, tally(7, 7_000));
        assert_eq!(world.balance("settlement:USD").await, 7_000);
        world.assert_balanced().await;
    }

    async fn a_mapping_that_changed_is_never_paid_at_its_old_address(database: TestDatabase) {
        let world = world(database).await;
        world.programme(100_000, true).await;
        world.register("REQUEST00001", &[(0, "1234567"), (1, "1234567"), (2, "1234567")]).await;
        let batch = world.create_batch("REQUEST00001").await;
        let rows = (0..3).map(|number| instruction(number, number, "10.00")).collect();
        let batch = world.upload(&batch.batch_id, rows).await.unwrap();
        // One moves to an address that is closed, one to another institution.
        let update = api::UpdateBeneficiariesRequest {
            source_id: SOURCE.to_owned(),
            source_request: "REQUEST00002".to_owned(),
            beneficiaries: vec![
                api::Beneficiary {
                    functional_id: payee_id(1),
                    financial_address: "9990000".to_owned(),
                    ..Default::default()
                },
                api::Beneficiary {
                    functional_id: payee_id(2),
                    financial_address: "7654321".to_owned(),
                    institution: "OTHERBANK".to_owned(),
                    ..Default::default()
                },
            ], ..Default::default() };
        world.beneficiaries().update_beneficiaries(update).await.unwrap();
        world.approve(&batch).await.unwrap();
        world.reaches(&batch.batch_id, api::BatchState::PartiallyCompleted).await;
        let states = states(&world, &batch.batch_id).await;
        assert_eq!(states[0].0, api::InstructionState::Settled);
        assert_eq!(states[1], (api::InstructionState::Voucher, "AC04".to_owned()));
        assert_eq!(states[2], (api::InstructionState::Voucher, "AC01".to_owned()));
        assert!(world.report(&batch.batch_id).await.reconciled);
        world.assert_balanced().await;
    }

    async fn receipts_lead_to_the_approved_root(database: TestDatabase) {
        let world = world(database).await;
        world.programme(1_000_000, false).await;
        with_payees(&world).await;
        let batch = world.create_batch("REQUEST00001").await;
        let rows = (0..150).map(|number| instruction(number, number % 7, "1.00")).collect();
        let batch = world.upload(&batch.batch_id, rows).await.unwrap();
        let mut roots = std::collections::BTreeSet::new();
        for number in [0, 63, 64, 127, 149] {
            let request = api::GetReceiptRequest {
                batch_id: batch.batch_id.clone(),
                instruction_id: format!("INSTR{number:011}"),
                ..Default::default()
            };
            let receipt = world.batches().get_receipt(request).await.unwrap().into_inner();
            assert_eq!(receipt.digest, batch.digest);
            assert_eq!((receipt.leaf_index, receipt.tree_size), (number, 150));
            assert_eq!(climb(&receipt), receipt.root);
            roots.insert(receipt.root);
        }
        assert_eq!(roots.len(), 1);
    }
}

/// The root that a receipt's path leads to, by RFC 6962.
fn climb(receipt: &api::GetReceiptResponse) -> String {
    fn node(left: &[u8], right: &[u8]) -> Vec<u8> {
        let text = [&[1], left, right].concat();
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text)
            .as_ref()
            .to_vec()
    }
    fn up(leaf: &[u8], index: u64, size: u64, path: &[Vec<u8>]) -> Vec<u8> {
        let Some((beside, below)) = path.split_last() else {
            return leaf.to_vec();
        };
        let middle = size.next_power_of_two() / 2;
        if index < middle {
            node(&up(leaf, index, middle, below), beside)
        } else {
            node(beside, &up(leaf, index - middle, size - middle, below))
        }
    }
    let path: Vec<Vec<u8>> = receipt
        .path
        .iter()
        .map(|hash| hex::decode(hash).unwrap())
        .collect();
    let (index, size) = (receipt.leaf_index, receipt.tree_size);
    let leaf = hex::decode(&receipt.leaf).unwrap();
    hex::encode(up(
        &leaf,
        index.try_into().unwrap(),
        size.try_into().unwrap(),
        &path,
    ))
}
