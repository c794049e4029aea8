//! The generated services: take the caller's origin, call the app, give its answer back.

mod imports;

use std::sync::Arc;

use publica_proto::payments::v1 as pb;
use publica_proto::payments::v1::account_service_server::AccountService;
use publica_proto::payments::v1::batch_service_server::BatchService;
use publica_proto::payments::v1::beneficiary_service_server::BeneficiaryService;
use publica_proto::payments::v1::bill_service_server::BillService;
use publica_proto::payments::v1::period_service_server::PeriodService;
use publica_proto::payments::v1::programme_service_server::ProgrammeService;
use publica_proto::payments::v1::reconciliation_service_server::ReconciliationService;
use publica_proto::payments::v1::transfer_service_server::TransferService;
use publica_proto::payments::v1::voucher_service_server::VoucherService;
use publica_rpc::{origin, status_of};
use tonic::{Request, Response, Status, Streaming};

use crate::app::App;

/// Serves every service of the block.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<App>);

/// One method a line: its name and its messages; `stream` where requests come in a stream.
macro_rules! methods {
    ($service:ident: $($rest:tt)+) => {
        methods!(@next $service {} $($rest)+);
    };
    (@next $service:ident { $($done:tt)* }
        stream $name:ident($request:ident) -> $response:ident; $($rest:tt)*
    ) => {
        methods!(@next $service {
            $($done)*
            $name(Streaming<pb::$request>) -> $response;
        } $($rest)*);
    };
    (@next $service:ident { $($done:tt)* }
        $name:ident($request:ident) -> $response:ident; $($rest:tt)*
    ) => {
        methods!(@next $service {
            $($done)*
            $name(pb::$request) -> $response;
        } $($rest)*);
    };
    (@next $service:ident { $($name:ident($request:ty) -> $response:ident;)* }) => {
        #[tonic::async_trait]
        impl $service for Service {
            $(
                async fn $name(
                    &self,
                    request: Request<$request>,
                ) -> Result<Response<pb::$response>, Status> {
                    let origin = origin(&request);
                    let answer = self.0.$name(&origin, request.into_inner()).await;
                    answer.map(Response::new).map_err(|error| status_of(&error))
                }
            )*
        }
    };
}

methods! { AccountService:
    open_account(OpenAccountRequest) -> OpenAccountResponse;
    get_account(GetAccountRequest) -> GetAccountResponse;
    list_accounts(ListAccountsRequest) -> ListAccountsResponse;
    list_movements(ListMovementsRequest) -> ListMovementsResponse;
    check_ledger(CheckLedgerRequest) -> CheckLedgerResponse;
}

methods! { TransferService:
    create_transfer(CreateTransferRequest) -> CreateTransferResponse;
    resolve_transfer(ResolveTransferRequest) -> ResolveTransferResponse;
    get_transfer(GetTransferRequest) -> GetTransferResponse;
}

methods! { PeriodService:
    create_period(CreatePeriodRequest) -> CreatePeriodResponse;
    get_period(GetPeriodRequest) -> GetPeriodResponse;
    list_periods(ListPeriodsRequest) -> ListPeriodsResponse;
    close_period(ClosePeriodRequest) -> ClosePeriodResponse;
    list_period_balances(ListPeriodBalancesRequest) -> ListPeriodBalancesResponse;
    get_period_balance(GetPeriodBalanceRequest) -> GetPeriodBalanceResponse;
}

methods! { ProgrammeService:
    create_funding_account(CreateFundingAccountRequest) -> CreateFundingAccountResponse;
    get_funding_account(GetFundingAccountRequest) -> GetFundingAccountResponse;
    list_funding_accounts(ListFundingAccountsRequest) -> ListFundingAccountsResponse;
    deposit_funds(DepositFundsRequest) -> DepositFundsResponse;
    create_programme(CreateProgrammeRequest) -> CreateProgrammeResponse;
    get_programme(GetProgrammeRequest) -> GetProgrammeResponse;
    list_programmes(ListProgrammesRequest) -> ListProgrammesResponse;
    set_programme_state(SetProgrammeStateRequest) -> SetProgrammeStateResponse;
    create_source_block(CreateSourceBlockRequest) -> CreateSourceBlockResponse;
    get_source_block(GetSourceBlockRequest) -> GetSourceBlockResponse;
    set_block_clients(SetBlockClientsRequest) -> SetBlockClientsResponse;
    set_payer_bank(SetPayerBankRequest) -> SetPayerBankResponse;
    get_partner_keys(GetPartnerKeysRequest) -> GetPartnerKeysResponse;
    list_source_blocks(ListSourceBlocksRequest) -> ListSourceBlocksResponse;
}

methods! { VoucherService:
    preactivate_voucher(PreactivateVoucherRequest) -> PreactivateVoucherResponse;
    activate_voucher(ActivateVoucherRequest) -> ActivateVoucherResponse;
    redeem_voucher(RedeemVoucherRequest) -> RedeemVoucherResponse;
    get_voucher_status(GetVoucherStatusRequest) -> GetVoucherStatusResponse;
    cancel_voucher(CancelVoucherRequest) -> CancelVoucherResponse;
    suspend_voucher(SuspendVoucherRequest) -> SuspendVoucherResponse;
    issue_vouchers(IssueVouchersRequest) -> IssueVouchersResponse;
    change_vouchers(ChangeVouchersRequest) -> ChangeVouchersResponse;
    create_voucher_group(CreateVoucherGroupRequest) -> CreateVoucherGroupResponse;
    list_voucher_groups(ListVoucherGroupsRequest) -> ListVoucherGroupsResponse;
    create_merchant(CreateMerchantRequest) -> CreateMerchantResponse;
    create_calling_block(CreateCallingBlockRequest) -> CreateCallingBlockResponse;
}

methods! { BeneficiaryService:
    register_beneficiaries(RegisterBeneficiariesRequest) -> RegisterBeneficiariesResponse;
    update_beneficiaries(UpdateBeneficiariesRequest) -> UpdateBeneficiariesResponse;
    get_beneficiary(GetBeneficiaryRequest) -> GetBeneficiaryResponse;
    look_up_beneficiaries(LookUpBeneficiariesRequest) -> LookUpBeneficiariesResponse;
    erase_beneficiary(EraseBeneficiaryRequest) -> EraseBeneficiaryResponse;
    stream validate_instructions(ValidateInstructionsRequest) -> ValidateInstructionsResponse;
    record_bank_validation(RecordBankValidationRequest) -> RecordBankValidationResponse;
    get_validation(GetValidationRequest) -> GetValidationResponse;
}

methods! { BatchService:
    create_batch(CreateBatchRequest) -> CreateBatchResponse;
    stream upload_instructions(UploadInstructionsRequest) -> UploadInstructionsResponse;
    get_batch(GetBatchRequest) -> GetBatchResponse;
    list_batches(ListBatchesRequest) -> ListBatchesResponse;
    list_instructions(ListInstructionsRequest) -> ListInstructionsResponse;
    list_refusals(ListRefusalsRequest) -> ListRefusalsResponse;
    approve_batch(ApproveBatchRequest) -> ApproveBatchResponse;
    decline_batch(DeclineBatchRequest) -> DeclineBatchResponse;
    cancel_batch(CancelBatchRequest) -> CancelBatchResponse;
    pause_batch(PauseBatchRequest) -> PauseBatchResponse;
    resume_batch(ResumeBatchRequest) -> ResumeBatchResponse;
    get_batch_report(GetBatchReportRequest) -> GetBatchReportResponse;
    get_batch_progress(GetBatchProgressRequest) -> GetBatchProgressResponse;
    record_bank_status(RecordBankStatusRequest) -> RecordBankStatusResponse;
    record_authorisation(RecordAuthorisationRequest) -> RecordAuthorisationResponse;
    list_transactions(ListTransactionsRequest) -> ListTransactionsResponse;
    forecast_batch(ForecastBatchRequest) -> ForecastBatchResponse;
    get_receipt(GetReceiptRequest) -> GetReceiptResponse;
    list_receipts(ListReceiptsRequest) -> ListReceiptsResponse;
    list_batch_vouchers(ListBatchVouchersRequest) -> ListBatchVouchersResponse;
}

methods! { BillService:
    put_biller(PutBillerRequest) -> PutBillerResponse;
    list_billers(ListBillersRequest) -> ListBillersResponse;
    put_payer_institution(PutPayerInstitutionRequest) -> PutPayerInstitutionResponse;
    inquire_bill(InquireBillRequest) -> InquireBillResponse;
    record_bill(RecordBillRequest) -> RecordBillResponse;
    notify_bill_payment(NotifyBillPaymentRequest) -> NotifyBillPaymentResponse;
    record_bill_result(RecordBillResultRequest) -> RecordBillResultResponse;
    request_to_pay(RequestToPayRequest) -> RequestToPayResponse;
    record_payer_answer(RecordPayerAnswerRequest) -> RecordPayerAnswerResponse;
    get_transfer_request(GetTransferRequestRequest) -> GetTransferRequestResponse;
    pay_bill_by_voucher(PayBillByVoucherRequest) -> PayBillByVoucherResponse;
}

methods! { ReconciliationService:
    stream upload_statement(UploadStatementRequest) -> UploadStatementResponse;
    get_statement(GetStatementRequest) -> GetStatementResponse;
    list_statements(ListStatementsRequest) -> ListStatementsResponse;
    list_reconciliation_items(ListReconciliationItemsRequest) -> ListReconciliationItemsResponse;
    get_reconciliation_ageing(GetReconciliationAgeingRequest) -> GetReconciliationAgeingResponse;
    resolve_reconciliation_item(ResolveReconciliationItemRequest)
        -> ResolveReconciliationItemResponse;
    approve_reconciliation_item(ApproveReconciliationItemRequest)
        -> ApproveReconciliationItemResponse;
    decline_reconciliation_item(DeclineReconciliationItemRequest)
        -> DeclineReconciliationItemResponse;
}
