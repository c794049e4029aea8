//! `publica check-config`: all that is wrong with settings, and nothing else.

use std::path::Path;

use anyhow::Result;

use crate::print;
use crate::settings;

pub(crate) fn run(file: &Path) -> Result<u8> {
    match settings::load(Some(file), |_| ()) {
        Ok(settings) => {
            let profile = settings.profile;
            print::line(&format!("{} is sound ({profile} profile).", file.display()))?;
            Ok(0)
        }
        Err(problems) => Ok(settings::report(&problems)),
    }
}
