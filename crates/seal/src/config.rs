//! Where the key-encryption keys come from.

use std::path::PathBuf;

use publica_types::Secret;
use serde::Deserialize;

/// Settings of the keys, the table `[seal]` of the settings file.
///
/// The key set is JSON: `{"active": "k1", "lookup": "<base64>", "keys": [{"id": "k1",
/// "key": "<base64>"}]}`, each key 32 bytes. To rotate, add a key under a new id, make it active,
/// start every process anew, run `publica keys rotate`, and keep the earlier keys until it says
/// that nothing is under them any more. `lookup` never changes: what was hashed with it could not
/// be found again.
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

impl SealConfig {
    /// What is wrong with these settings, by key; the empty key is the table itself. Whether the
    /// keys are sound is found out when they are read.
    pub fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let mut problems = Vec::new();
        if self.pkcs11_module.is_some() {
            problems.push(("pkcs11_module", "a PKCS#11 module is not supported yet"));
        }
        let sources = [
            self.file.is_some(),
            self.keys.is_some(),
            self.pkcs11_module.is_some(),
        ];
        if sources.into_iter().filter(|named| *named).count() > 1 {
            problems.push(("", "must name one of file, keys and pkcs11_module"));
        }
        let missing = self.file.as_deref().is_some_and(|file| !file.is_file());
        if missing && !self.create {
            problems.push(("file", "does not exist, and create is not set"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_that_is_there_is_sound() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("seal.json");
        let keys = |config: &SealConfig| -> Vec<&str> {
            config.problems().into_iter().map(|(key, _)| key).collect()
        };
        let mut config = SealConfig {
            file: Some(file.clone()),
            ..SealConfig::default()
        };
        assert_eq!(keys(&config), ["file"]);
        config.create = true;
        assert!(keys(&config).is_empty());
        config.create = false;
        std::fs::write(&file, "{}").unwrap();
        assert!(keys(&config).is_empty());
        config.keys = Some(Secret::new("{}".to_owned()));
        assert_eq!(keys(&config), [""]);
        config.pkcs11_module = Some(file);
        assert_eq!(keys(&config), ["pkcs11_module", ""]);
        assert!(keys(&SealConfig::default()).is_empty());
    }
}
