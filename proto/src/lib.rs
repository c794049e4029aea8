//! The messages, clients and server traits of every block, generated from the definitions that
//! stand beside them in `publica/<block>/v1`.
//!
//! The bindings under `src/gen` are committed, so that a build needs no protobuf compiler;
//! `cargo xtask proto` writes them and `cargo xtask proto --check` fails when they have drifted.
//! Conversions and rules live in the blocks, never here.

macro_rules! package {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        pub mod $name {
            /// Version 1 of the package.
            pub mod v1 {
                include!(concat!("gen/publica.", $file, ".v1.rs"));

                /// The package's definitions and all they import, for reflection.
                pub const FILE_DESCRIPTOR_SET: &[u8] =
                    include_bytes!(concat!("gen/publica.", $file, ".v1.bin"));
            }
        }
    };
}

package!(
    /// People, their factors, relying parties and OpenID Connect.
    identity, "identity"
);
package!(
    /// Signatures, seals, certificates and time-stamps.
    signature, "signature"
);
package!(
    /// The ledger, the account mapper, batches and vouchers.
    payments, "payments"
);
package!(
    /// Messages to people and their delivery.
    messaging, "messaging"
);
package!(
    /// Services, forms, applications and tasks.
    registration, "registration"
);
package!(
    /// Agreements, consent records and decisions.
    consent, "consent"
);
package!(
    /// The journal that every block keeps.
    journal, "journal"
);
package!(
    /// The operator's view of durable jobs and sagas.
    work, "work"
);
package!(
    /// Bringing data in from another system.
    imports, "imports"
);
