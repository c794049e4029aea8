//! What one step hands to the next: a file of JSON lines, so that memory stays flat whatever
//! the number of households, and so that `--keep` shows what happened between the steps.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::new_private_file;

/// A file of JSON lines that is being written.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Spool {
    /// A new file named `<name>.jsonl`, which only its owner can read.
    pub(crate) fn create(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.jsonl"));
        let file = new_private_file(&path)?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
        })
    }

    /// Adds one line.
    pub(crate) fn push<T: Serialize>(&mut self, value: &T) -> Result<()> {
        serde_json::to_writer(&mut self.file, value)?;
        self.file.write_all(b"\n")?;
        Ok(())
    }

    /// Writes the rest and returns the file's path.
    pub(crate) fn finish(mut self) -> Result<PathBuf> {
        self.file
            .flush()
            .with_context(|| self.path.display().to_string())?;
        Ok(self.path)
    }
}

/// Lines per chunk of work.
pub(crate) const CHUNK: usize = 500;

/// The lines of a spool in chunks of at most `size`.
pub(crate) fn chunks<T: DeserializeOwned>(
    path: &Path,
    size: usize,
) -> Result<impl Iterator<Item = Result<Vec<T>>> + use<T>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut lines = BufReader::new(file).lines();
    Ok(std::iter::from_fn(move || {
        let mut chunk = Vec::new();
        for line in lines.by_ref().take(size) {
            let parsed = line
                .map_err(anyhow::Error::from)
                .and_then(|line| serde_json::from_str(&line).map_err(anyhow::Error::from));
            match parsed {
                Ok(value) => chunk.push(value),
                Err(error) => return Some(Err(error)),
            }
        }
        (!chunk.is_empty()).then_some(Ok(chunk))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_give_back_what_was_pushed() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path(), "numbers").unwrap();
        for number in 0..7_u32 {
            spool.push(&number).unwrap();
        }
        let path = spool.finish().unwrap();
        let read: Vec<Vec<u32>> = chunks(&path, 3).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    }
}
