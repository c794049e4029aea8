//! Generated bindings: written from `proto/`, committed, and checked for drift.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use prost::Message as _;

/// Which packages to write, and whether to write at all.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Packages to write, such as `payments`; all of them if none is named.
    packages: Vec<String>,
    /// Write nothing; fail if a committed binding differs from its definition.
    #[arg(long)]
    check: bool,
}

impl Arguments {
    /// A check of every package.
    pub(crate) fn check() -> Self {
        Self {
            packages: Vec::new(),
            check: true,
        }
    }
}

/// Generates the bindings of the named packages.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let folder = crate::root().join("proto");
    let packages = packages(&folder)?;
    for name in &arguments.packages {
        if !packages.contains_key(name) {
            bail!(
                "there is no package {name}; known are {:?}",
                packages.keys()
            );
        }
    }
    let mut drifted = Vec::new();
    for (name, files) in &packages {
        if !arguments.packages.is_empty() && !arguments.packages.contains(name) {
            continue;
        }
        for (file, content) in generate(&folder, name, files, packages.keys())? {
            let path = folder.join("src/gen").join(file);
            if fs::read(&path).unwrap_or_default() == content {
                continue;
            }
            if arguments.check {
                drifted.push(path.display().to_string());
            } else {
                fs::write(&path, content).with_context(|| path.display().to_string())?;
            }
        }
    }
    if !drifted.is_empty() {
        bail!("bindings differ from their definitions: {drifted:?}; run `cargo xtask proto`");
    }
    Ok(())
}

/// The folders below `proto/publica` with at least one definition, and those definitions.
fn packages(folder: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let mut packages = BTreeMap::new();
    for entry in fs::read_dir(folder.join("publica"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let mut files = Vec::new();
        for file in fs::read_dir(folder.join("publica").join(&name).join("v1"))? {
            let file = file?.file_name().to_string_lossy().into_owned();
            if Path::new(&file)
                .extension()
                .is_some_and(|ending| ending == "proto")
            {
                files.push(format!("publica/{name}/v1/{file}"));
            }
        }
        files.sort();
        if !files.is_empty() {
            packages.insert(name, files);
        }
    }
    Ok(packages)
}

/// Compiles one package; returns its files for `src/gen`, by name.
fn generate<'a>(
    folder: &Path,
    name: &str,
    files: &[String],
    all: impl Iterator<Item = &'a String>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut compiler = protox::Compiler::new([folder])?;
    compiler.include_imports(true).include_source_info(true);
    compiler
        .open_files(files)
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let full = compiler.file_descriptor_set();

    let package = format!("publica.{name}.v1");
    let out = std::env::temp_dir().join(format!("publica-proto-{name}-{}", std::process::id()));
    fs::create_dir_all(&out)?;
    let mut builder = tonic_prost_build::configure()
        .out_dir(&out)
        .emit_rerun_if_changed(false)
        .bytes(".")
        .codec_path("crate::codec::SoundCodec");
    for other in all.filter(|other| *other != name) {
        builder = builder.extern_path(
            format!(".publica.{other}.v1"),
            format!("crate::{other}::v1"),
        );
    }
    // Whole, since the generator looks at imported messages too; only our package is kept.
    builder.compile_fds(full.clone())?;
    let bindings = fs::read(out.join(format!("{package}.rs")))?;
    fs::remove_dir_all(&out)?;

    // Reflection needs no comments; without them the binary is smaller.
    let mut bare = full;
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    Ok(vec![
        (format!("{package}.rs"), bindings),
        (format!("{package}.bin"), bare.encode_to_vec()),
    ])
}
