//! The messages, clients and server traits of every block, generated from the definitions that
//! stand beside them in `publica/<block>/v1`.
//!
//! The bindings under `src/gen` are committed, so that a build needs no protobuf compiler;
//! `cargo xtask proto` writes them and `cargo xtask proto --check` fails when they have drifted.
//! Conversions and rules live in the blocks, never here. The one thing that holds for every
//! message, texts without NUL, is seen to by the [`codec`].

pub mod codec;

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

/// The definitions of every package.
pub(crate) const DESCRIPTORS: &[&[u8]] = &[
    identity::v1::FILE_DESCRIPTOR_SET,
    signature::v1::FILE_DESCRIPTOR_SET,
    payments::v1::FILE_DESCRIPTOR_SET,
    messaging::v1::FILE_DESCRIPTOR_SET,
    registration::v1::FILE_DESCRIPTOR_SET,
    consent::v1::FILE_DESCRIPTOR_SET,
    journal::v1::FILE_DESCRIPTOR_SET,
    work::v1::FILE_DESCRIPTOR_SET,
    imports::v1::FILE_DESCRIPTOR_SET,
];
