//! What the block seals with its own keys, and where it stands.

publica_seal::sealed! {
    /// Numbers of vouchers.
    NUMBER = "payments.voucher_number" [voucher(serial: text).number_sealed],
    /// What the instructions of a chunk say of their payments.
    NARRATIONS = "payments.narrations" [
        batch_chunk(batch_id: uuid, chunk_no: int).narrations,
    ],
    /// Why a payer refused a request to pay.
    REFUSAL = "payments.payer_refusal" [pay_request(biller_id: text, rtp_id: int).refusal],
    /// Where the payments of a message go, while they are on their way.
    ADDRESSES = "payments.rail_addresses" [rail_message(message_id: uuid).addresses],
    /// Whom to tell, and what.
    CALLBACK = "payments.callback" [
        batch_callback(batch_id: uuid).target,
        validation(validation_id: uuid).target,
        job(job_id: uuid).payload where "kind = 'payments.callback'",
        job_dead(job_id: uuid).payload where "kind = 'payments.callback'",
    ],
    /// Accounts of merchants.
    BANK_DETAILS = "payments.merchant_bank_details" [merchant(merchant_id: uuid).bank_details],
    /// What banks said of payments.
    BANK_SAID = "payments.bank_said" [
        bank_request(correlation_id: text).reason,
        validation_failure(validation_id: uuid, ordinal: int).sealed,
    ],
    /// Answers that are kept for repeated requests of source blocks.
    ANSWER = "payments.source_answer" [
        source_request(source_no: int, operation: text, request: text).answer,
    ],
    /// Bills as billers gave them.
    BILL = "payments.bill" [bill_inquiry(institution_id: text, source_request: text).details],
}
