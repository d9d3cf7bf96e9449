//! What the tests need besides a Rust toolchain and a C compiler: Python packages, PostgreSQL's server programs, message
//! brokers, a browser and the rules by which web pages are checked.
//!
//! Everything Python goes into `.venv`, `.venv-mlflow` and `.venv-triton` in the repository: they want different
//! versions of the same packages. System packages are installed only as root on Debian and
//! its relatives; anywhere else one line says what to install. Nothing is started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::process;

/// Options of `cargo xtask setup`.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Only the Python environments
    #[arg(long, conflicts_with_all = ["only_postgres", "only_brokers", "only_browser"])]
    pub only_python: bool,
    /// Only PostgreSQL's server programs
    #[arg(long, conflicts_with_all = ["only_brokers", "only_browser"])]
    pub only_postgres: bool,
    /// Only the message brokers
    #[arg(long, conflicts_with = "only_browser")]
    pub only_brokers: bool,
    /// Only the browser and axe-core
    #[arg(long)]
    pub only_browser: bool,
}

/// Makes what is missing; does nothing, in milliseconds, when nothing is.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let Options { only_python, only_postgres, only_brokers, only_browser } = *options;
    let everything = !(only_python || only_postgres || only_brokers || only_browser);
    if everything || only_python {
        environments(root)?;
    }
    if everything || only_postgres {
        postgres()?;
    }
    if everything || only_brokers {
        brokers()?;
        clock()?;
    }
    if everything || only_browser {
        browser()?;
        axe(root)?;
    }
    Ok(())
}

/// The version of axe-core, which checks the accessibility of our pages.
const AXE: &str = "4.14.1";

/// Which packages a list of requirements names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pins {
    /// All that will be there, so that nothing has to be resolved.
    Complete,
    /// Those that are used directly; the ones they need come as they are on that day.
    Direct,
}

/// The environment with what the tests compare numbers with, the one with the MLflow client, and the one with
/// Triton's. Most of the time goes into downloads, so all are made at once.
fn environments(root: &Path) -> Result<()> {
    require_python()?;
    let make = |folder, list| environment(root, folder, Path::new(list), Pins::Complete).map(drop);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| make(".venv-mlflow", "xtask/python/mlflow.txt"));
        let third = scope.spawn(|| make(".venv-triton", "xtask/python/triton.txt"));
        let first = make(".venv", "xtask/python/requirements.txt");
        let second = second.join().unwrap_or_else(|_| bail!("making `.venv-mlflow` panicked"));
        let third = third.join().unwrap_or_else(|_| bail!("making `.venv-triton` panicked"));
        first.and(second).and(third)
    })
}

/// A virtual environment `folder` with exactly the packages of `requirements`; returns its interpreter.
///
/// The environment carries a copy of the file it was made from. When the two are equal there is nothing to do, and
/// when they differ it is made anew, so that no removed package lingers.
pub fn environment(root: &Path, folder: &str, requirements: &Path, pins: Pins) -> Result<PathBuf> {
    let venv = root.join(folder);
    let python = venv.join("bin/python");
    let wanted = fs_err::read_to_string(root.join(requirements))?;
    let made_from = venv.join("made-from-requirements.txt");
    if python.exists() && fs_err::read_to_string(&made_from).is_ok_and(|there| there == wanted) {
        compile(&venv, &python)?;
        return Ok(python);
    }

    require_python()?;
    process::note(format!("setup: making {folder} from {}", requirements.display()));
    if venv.exists() {
        fs_err::remove_dir_all(&venv)?;
    }
    process::output(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        .with_context(|| format!("cannot make the Python environment `{folder}`"))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary"]);
    // On all processors, below.
    pip.arg("--no-compile");
    if pins == Pins::Complete {
        pip.arg("--no-deps");
    }
    pip.arg("--requirement").arg(root.join(requirements));
    process::output(&mut pip).with_context(|| {
        let list = requirements.display();
        format!("cannot install the packages of `{list}`; they need Python 3.11 or newer and a package index")
    })?;
    // An environment that was interrupted half-way is made anew next time.
    fs_err::write(made_from, wanted)?;
    compile(&venv, &python)?;
    Ok(python)
}

/// Compiles the modules of an environment, once. Where `PYTHONDONTWRITEBYTECODE` is set, as it is in many containers and for the steps of a
/// pipeline, Python would do it anew at every start: that of the MLflow client then takes 8 s of CPU instead of 2.
fn compile(venv: &Path, python: &Path) -> Result<()> {
    let done = venv.join("compiled");
    if done.exists() {
        return Ok(());
    }
    process::note(format!("setup: compiling the modules of {}", venv.display()));
    // It fails for files that are no Python of this version, as templates and what is kept for older ones; nobody imports those.
    let mut all = Command::new(python);
    all.args(["-m", "compileall", "-q", "-j", "0"])
        .arg(venv.join("lib"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    all.status().context("cannot compile the modules of a Python environment")?;
    fs_err::write(done, "")?;
    Ok(())
}

/// Fails with one line when `python3` cannot make environments with pip in them.
fn require_python() -> Result<()> {
    let complete = || process::output(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_ok();
    if complete() {
        return Ok(());
    }
    if can_install() {
        install(&["python3", "python3-venv"])?;
    }
    if !complete() {
        bail!(
            "the tests need `python3` with `venv` and `pip`; on Debian: apt-get install python3 python3-venv"
        );
    }
    Ok(())
}

/// Makes sure that `initdb` and `postgres` are on this machine.
fn postgres() -> Result<()> {
    if postgres_programs().is_some() {
        return Ok(());
    }
    if can_install() {
        process::note("setup: installing PostgreSQL's server programs");
        install_postgres()?;
    }
    if postgres_programs().is_none() {
        bail!("the tests need PostgreSQL's `initdb` and `postgres`; on Debian: apt-get install postgresql");
    }
    Ok(())
}

/// The folder with PostgreSQL's server programs: on `PATH`, or where Debian puts them.
fn postgres_programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut debian: Vec<PathBuf> = fs_err::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    on_path
        .into_iter()
        .flatten()
        .chain(debian)
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

/// Debian's package makes and starts a cluster when it is configured, which the tests do not want: they start their
/// own on a free port. The setting that prevents it is put back afterwards.
fn install_postgres() -> Result<()> {
    install(&["postgresql-common"])?;
    let setting = Path::new("/etc/postgresql-common/createcluster.conf");
    let before = fs_err::read_to_string(setting).unwrap_or_default();
    fs_err::write(setting, format!("{before}\ncreate_main_cluster = false\n"))?;
    let installed = install(&["postgresql"]);
    fs_err::write(setting, before)?;
    installed
}

/// Makes sure that NATS, RabbitMQ and Mosquitto are on this machine.
fn brokers() -> Result<()> {
    let programs = [
        ("nats-server", "/usr/sbin/nats-server"),
        ("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server"),
        ("mosquitto", "/usr/sbin/mosquitto"),
        // Makes their certificates.
        ("openssl", "/usr/bin/openssl"),
    ];
    let missing = || -> Vec<&str> {
        let there = |name: &str, file: &str| {
            Path::new(file).is_file() || (name != "rabbitmq-server" && on_path(name))
        };
        programs.iter().filter(|(name, file)| !there(name, file)).map(|(name, _)| *name).collect()
    };
    if !missing().is_empty() && can_install() {
        process::note("setup: installing message brokers");
        install_unstarted(&missing())?;
    }
    let missing = missing();
    if !missing.is_empty() {
        bail!("the tests need message brokers; on Debian: apt-get install {}", missing.join(" "));
    }
    Ok(())
}

/// Makes sure that programs can be started at another time: the tests let servers be away for hours.
fn clock() -> Result<()> {
    if !on_path("faketime") && can_install() {
        process::note("setup: installing faketime");
        install(&["faketime"])?;
    }
    if !on_path("faketime") {
        bail!("the tests start servers at other times of the day; on Debian: apt-get install faketime");
    }
    Ok(())
}

/// Debian's packages start their servers when they are installed, unless a file forbids it. The tests start their own.
fn install_unstarted(packages: &[&str]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let forbids = Path::new("/usr/sbin/policy-rc.d");
    let is_ours = !forbids.exists();
    if is_ours {
        fs_err::write(forbids, "#!/bin/sh\nexit 101\n")?;
        fs_err::set_permissions(forbids, std::fs::Permissions::from_mode(0o755))?;
    }
    let installed = install(packages);
    if is_ours {
        fs_err::remove_file(forbids)?;
    }
    installed
}

/// Makes sure that there is a Chromium, in which the tests open web pages.
fn browser() -> Result<()> {
    let there = || {
        std::env::var_os("TIDEMILL_TEST_CHROMIUM").is_some()
            || ["chromium", "chromium-browser", "google-chrome"].iter().any(|name| on_path(name))
    };
    if there() {
        return Ok(());
    }
    if can_install() {
        process::note("setup: installing the browser");
        install(&["chromium"])?;
    }
    if !there() {
        bail!(
            "the tests need Chromium; on Debian: apt-get install chromium, or name one with TIDEMILL_TEST_CHROMIUM"
        );
    }
    Ok(())
}

/// Makes sure that `.axe/axe.min.js` is there, of the pinned version: one file of an npm package.
fn axe(root: &Path) -> Result<()> {
    let folder = root.join(".axe");
    let (file, version) = (folder.join("axe.min.js"), folder.join("version"));
    let is_pinned = fs_err::read_to_string(&version).is_ok_and(|there| there.trim() == AXE);
    if std::env::var_os("TIDEMILL_TEST_AXE").is_some() || (is_pinned && file.exists()) {
        return Ok(());
    }
    if !on_path("npm") && can_install() {
        process::note("setup: installing npm, to fetch axe-core");
        install(&["npm"])?;
    }
    if !on_path("npm") {
        bail!(
            "the tests fetch axe-core {AXE} with `npm`; install it, or name the file axe.min.js with TIDEMILL_TEST_AXE"
        );
    }
    process::note(format!("setup: fetching axe-core {AXE}"));
    fs_err::create_dir_all(&folder)?;
    let package = format!("axe-core@{AXE}");
    process::output(Command::new("npm").args(["pack", "--silent", &package]).current_dir(&folder))
        .context("cannot fetch axe-core; it needs a package registry")?;
    let archive = folder.join(format!("axe-core-{AXE}.tgz"));
    let mut unpack = Command::new("tar");
    unpack.arg("xzf").arg(&archive).args(["--strip-components=1", "package/axe.min.js"]).current_dir(&folder);
    process::output(&mut unpack).context("cannot unpack axe-core")?;
    fs_err::remove_file(archive)?;
    // Written last: what was interrupted half-way is fetched anew next time.
    fs_err::write(version, format!("{AXE}\n"))?;
    Ok(())
}

/// Whether a folder of `PATH` has this program. It is not tried: a browser takes long to say its version.
fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Whether system packages may be installed without asking anyone.
fn can_install() -> bool {
    nix::unistd::geteuid().is_root() && process::available("apt-get", "--version")
}

fn install(packages: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-q", "-y", "-o", "Dpkg::Use-Pty=0"])
            .args(arguments);
        process::output(&mut command)
    };
    apt(&["update"])?;
    let mut arguments = vec!["install", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)?;
    Ok(())
}
