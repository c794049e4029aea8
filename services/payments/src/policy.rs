//! Who may call what. What is not listed is denied to everybody.

use publica_auth::Access;
use publica_auth::Access::Scope;

/// The block's policy, by method.
pub(crate) const POLICY: &[(&str, Access)] = publica_journal::policy! {
    "payments";
    ("/publica.payments.v1.AccountService/OpenAccount", Scope("payments:account:write")),
    ("/publica.payments.v1.AccountService/GetAccount", Scope("payments:account:read")),
    ("/publica.payments.v1.AccountService/ListAccounts", Scope("payments:account:read")),
    ("/publica.payments.v1.AccountService/ListMovements", Scope("payments:account:read")),
    ("/publica.payments.v1.AccountService/CheckLedger", Scope("payments:account:read")),
    ("/publica.payments.v1.TransferService/CreateTransfer", Scope("payments:transfer:write")),
    ("/publica.payments.v1.TransferService/ResolveTransfer", Scope("payments:transfer:write")),
    ("/publica.payments.v1.TransferService/GetTransfer", Scope("payments:transfer:read")),
    (
        "/publica.payments.v1.ProgrammeService/CreateFundingAccount",
        Scope("payments:programme:write"),
    ),
    ("/publica.payments.v1.ProgrammeService/GetFundingAccount", Scope("payments:programme:read")),
    (
        "/publica.payments.v1.ProgrammeService/ListFundingAccounts",
        Scope("payments:programme:read"),
    ),
    ("/publica.payments.v1.ProgrammeService/DepositFunds", Scope("payments:funds:write")),
    ("/publica.payments.v1.ProgrammeService/CreateProgramme", Scope("payments:programme:write")),
    ("/publica.payments.v1.ProgrammeService/GetProgramme", Scope("payments:programme:read")),
    ("/publica.payments.v1.ProgrammeService/ListProgrammes", Scope("payments:programme:read")),
    ("/publica.payments.v1.ProgrammeService/SetProgrammeState", Scope("payments:programme:stop")),
    ("/publica.payments.v1.ProgrammeService/CreateSourceBlock", Scope("payments:programme:write")),
    ("/publica.payments.v1.ProgrammeService/GetSourceBlock", Scope("payments:programme:read")),
    ("/publica.payments.v1.ProgrammeService/ListSourceBlocks", Scope("payments:programme:read")),
    (
        "/publica.payments.v1.BeneficiaryService/RegisterBeneficiaries",
        Scope("payments:beneficiary:write"),
    ),
    (
        "/publica.payments.v1.BeneficiaryService/UpdateBeneficiaries",
        Scope("payments:beneficiary:write"),
    ),
    ("/publica.payments.v1.BeneficiaryService/GetBeneficiary", Scope("payments:beneficiary:read")),
    (
        "/publica.payments.v1.BeneficiaryService/EraseBeneficiary",
        Scope("payments:beneficiary:erase"),
    ),
    (
        "/publica.payments.v1.BeneficiaryService/ValidateInstructions",
        Scope("payments:batch:write"),
    ),
    ("/publica.payments.v1.BeneficiaryService/GetValidation", Scope("payments:batch:read")),
    ("/publica.payments.v1.BatchService/CreateBatch", Scope("payments:batch:write")),
    ("/publica.payments.v1.BatchService/UploadInstructions", Scope("payments:batch:write")),
    ("/publica.payments.v1.BatchService/GetBatch", Scope("payments:batch:read")),
    ("/publica.payments.v1.BatchService/ListBatches", Scope("payments:batch:read")),
    ("/publica.payments.v1.BatchService/ListInstructions", Scope("payments:batch:read")),
    ("/publica.payments.v1.BatchService/ListRefusals", Scope("payments:batch:read")),
    ("/publica.payments.v1.BatchService/ApproveBatch", Scope("payments:batch:approve")),
    ("/publica.payments.v1.BatchService/DeclineBatch", Scope("payments:batch:approve")),
    ("/publica.payments.v1.BatchService/CancelBatch", Scope("payments:batch:cancel")),
    ("/publica.payments.v1.BatchService/PauseBatch", Scope("payments:batch:cancel")),
    ("/publica.payments.v1.BatchService/ResumeBatch", Scope("payments:batch:approve")),
    ("/publica.payments.v1.BatchService/GetBatchReport", Scope("payments:batch:read")),
    ("/publica.payments.v1.BatchService/GetReceipt", Scope("payments:batch:read")),
    ("/publica.payments.v1.BatchService/ListBatchVouchers", Scope("payments:voucher:reveal")),
    ("/publica.payments.v1.VoucherService/PreactivateVoucher", Scope("payments:voucher:issue")),
    ("/publica.payments.v1.VoucherService/ActivateVoucher", Scope("payments:voucher:issue")),
    ("/publica.payments.v1.VoucherService/RedeemVoucher", Scope("payments:voucher:redeem")),
    ("/publica.payments.v1.VoucherService/GetVoucherStatus", Scope("payments:voucher:read")),
    ("/publica.payments.v1.VoucherService/CancelVoucher", Scope("payments:voucher:issue")),
    ("/publica.payments.v1.VoucherService/SuspendVoucher", Scope("payments:voucher:suspend")),
    ("/publica.payments.v1.VoucherService/CreateVoucherGroup", Scope("payments:voucher:setup")),
    ("/publica.payments.v1.VoucherService/ListVoucherGroups", Scope("payments:voucher:read")),
    ("/publica.payments.v1.VoucherService/CreateMerchant", Scope("payments:voucher:setup")),
    ("/publica.payments.v1.VoucherService/CreateCallingBlock", Scope("payments:voucher:setup")),
    ("/publica.imports.v1.ImportService/ImportEntities", Scope("payments:import:write")),
};
