//! Where the key-encryption keys come from.

use std::path::PathBuf;

use publica_types::Secret;
use serde::Deserialize;

/// Settings of the keys, the table `[seal]` of the settings file.
///
/// The key set is JSON: `{"active": "k1", "lookup": "<base64>", "keys": [{"id": "k1",
/// "key": "<base64>"}]}`, each key 32 bytes. To rotate, add a key, make it active, and keep the
/// earlier ones until `rewrap` has moved every subject to the new one. `lookup` never changes:
/// what was hashed with it could not be found again.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SealConfig {
    /// A file with the key set.
    pub file: Option<PathBuf>,
    /// The key set itself, for platforms that inject secrets into the environment.
    pub keys: Option<Secret<String>>,
    /// Whether a missing file is created with new keys, readable by its owner only.
    pub create: bool,
    /// A module behind PKCS#11. Not supported yet; naming one is refused at start.
    pub pkcs11_module: Option<PathBuf>,
}
