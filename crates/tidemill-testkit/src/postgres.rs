//! A PostgreSQL server for tests, from the system's package, on loopback, with a cluster of its own.
//!
//! The test processes of one user share one server: the first starts it, and a small watchdog stops it and
//! removes its files a few seconds after the last process that used it ended, however that ended. Every user of
//! the server holds a shared lock on a file; the watchdog asks for an exclusive one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;

const MISSING: &str = "PostgreSQL is not installed: run `apt-get install postgresql` or `cargo xtask setup`";

/// A running server.
pub struct Postgres {
    /// Of the database `postgres`, with the password.
    url: String,
    /// Where `createdb` is.
    bin: PathBuf,
    /// The shared lock that keeps the server running.
    _user: Option<File>,
}

/// An empty database on a [`Postgres`]; removed when dropped.
pub struct Database {
    url: String,
    name: String,
    server: String,
    bin: PathBuf,
}

impl Postgres {
    /// The shared server; started if it does not run. It does not sync to disk. Where the environment variable
    /// `TIDEMILL_TEST_POSTGRES` holds the address of a server, that one is used instead.
    ///
    /// # Panics
    /// With one line that says what to install, if PostgreSQL is not there.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("TIDEMILL_TEST_POSTGRES") {
            Ok(url) => Self { url, bin: bin(), _user: None },
            Err(_) => Cluster::new("tests", false).join(),
        })
    }

    /// A server with the durability of PostgreSQL's defaults, for measurements.
    ///
    /// # Panics
    /// As [`Postgres::shared`].
    pub fn durable() -> Self {
        Cluster::new("durable", true).join()
    }

    /// A new empty database.
    ///
    /// # Panics
    /// If the server does not make one.
    pub fn database(&self) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{}_{count}_{}", std::process::id(), random(4));
        run(Command::new(self.bin.join("createdb")).arg("--maintenance-db").arg(&self.url).arg(&name));
        let end = self.url.rfind('/').map_or(self.url.len(), |at| at + 1);
        Database {
            url: format!("{}{name}", &self.url[..end]),
            name,
            server: self.url.clone(),
            bin: self.bin.clone(),
        }
    }
}

impl Database {
    /// Its address: `postgres://…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs SQL with `psql` and gives the rows, columns parted by `|`; for tests that change what they must not.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn psql(&self, sql: &str) -> String {
        let mut command = Command::new(self.bin.join("psql"));
        run(command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]).arg(&self.url))
    }
}

/// The database of one test: where it is, and what has to be kept so that it stays.
pub struct AnyDatabase {
    /// What to open: the path of a file, or `postgres://…`.
    pub url: String,
    /// Removed when dropped.
    _kept: Option<Database>,
}

impl AnyDatabase {
    /// A SQLite file at `file`, or an empty PostgreSQL database where the environment variable
    /// `TIDEMILL_TEST_DATABASE` is `postgres`: the tests of a crate run once with each.
    ///
    /// # Panics
    /// If the variable says anything else, and as [`Postgres::shared`].
    pub fn at(file: &Path) -> Self {
        match std::env::var("TIDEMILL_TEST_DATABASE").as_deref() {
            Err(_) | Ok("sqlite") => Self { url: file.to_string_lossy().into_owned(), _kept: None },
            Ok("postgres") => {
                let database = Postgres::shared().database();
                Self { url: database.url().to_owned(), _kept: Some(database) }
            }
            Ok(other) => panic!("TIDEMILL_TEST_DATABASE is `sqlite` or `postgres`, not `{other}`"),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let mut command = Command::new(self.bin.join("dropdb"));
        command.args(["--if-exists", "--force", "--maintenance-db", &self.server, &self.name]);
        // The whole cluster goes soon; a database that stays until then harms nobody.
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A cluster's directory: the lock files and the server's address are in it, the data below it.
struct Cluster {
    dir: PathBuf,
    durable: bool,
}

impl Cluster {
    fn new(purpose: &str, durable: bool) -> Self {
        let user = run(Command::new("id").arg("-u"));
        Self { dir: std::env::temp_dir().join(format!("tidemill-postgres-{purpose}-{user}")), durable }
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Starts the server if it does not run, and becomes one of its users.
    fn join(self) -> Postgres {
        let bin = bin();
        fs::create_dir_all(&self.dir).expect("make the cluster's directory");
        // The server's own user must get through.
        fs::set_permissions(&self.dir, PermissionsExt::from_mode(0o755))
            .expect("open the cluster's directory");
        let start = self.lock_file("start.lock");
        start.lock().expect("wait for whoever starts the server");
        let user = self.lock_file("users.lock");
        user.lock_shared().expect("become a user of the server");
        let url = match self.running(&bin) {
            Some(url) => url,
            None => self.start(&bin),
        };
        Postgres { url, bin, _user: Some(user) }
    }

    fn lock_file(&self, name: &str) -> File {
        let path = self.dir.join(name);
        let file = fs::OpenOptions::new().create(true).append(true).open(&path).expect("open a lock file");
        file.into_parts().0
    }

    /// The address of the server that runs, if one answers.
    fn running(&self, bin: &Path) -> Option<String> {
        let url = fs::read_to_string(self.dir.join("url")).ok()?;
        let ready = Command::new(bin.join("pg_isready")).args(["-q", "-t", "5", "-d", &url]).status();
        ready.is_ok_and(|status| status.success()).then_some(url)
    }

    fn start(&self, bin: &Path) -> String {
        let password = random(16);
        self.stop_leftover(bin);
        let _ = fs::remove_dir_all(self.data());
        self.make_data(bin, &password);
        for _ in 0..5 {
            // Somebody else may take the port before the server does; then try another.
            let port = free_port();
            if self.launch(bin, port) {
                let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
                write_secret(&self.dir.join("url"), &url);
                self.watch(bin);
                return url;
            }
        }
        let log = fs::read_to_string(self.dir.join("data/server.log")).unwrap_or_default();
        panic!("PostgreSQL does not start: {}", log.lines().last().unwrap_or("it wrote no log"));
    }

    fn stop_leftover(&self, bin: &Path) {
        if self.data().join("postmaster.pid").exists() {
            let mut command = as_server_user(&bin.join("pg_ctl"));
            let _ = command.args(["stop", "-m", "immediate", "-D"]).arg(self.data()).output();
        }
    }

    fn make_data(&self, bin: &Path, password: &str) {
        let data = self.data();
        fs::create_dir_all(&data).expect("make the data directory");
        fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).expect("close the data directory");
        let secret = self.dir.join("password");
        write_secret(&secret, password);
        if is_root() {
            run(Command::new("chown").arg("postgres:").args([&data, &secret]));
        }
        let mut initdb = as_server_user(&bin.join("initdb"));
        initdb.args(["--no-sync", "-U", "postgres", "-E", "UTF8", "--locale=C", "--auth-local=reject"]);
        initdb.args(["--auth-host=password", "--pwfile"]).arg(&secret).arg("-D").arg(&data);
        run(&mut initdb);
        fs::remove_file(&secret).expect("remove the password's file");
    }

    fn launch(&self, bin: &Path, port: u16) -> bool {
        let data = self.data();
        let mut settings = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 \
             -c shared_buffers=64MB -c log_min_messages=fatal"
        );
        if !self.durable {
            settings.push_str(" -c fsync=off -c synchronous_commit=off -c full_page_writes=off");
        }
        let mut command = as_server_user(&bin.join("pg_ctl"));
        command.args(["start", "-w", "-t", "60", "-s", "-o", &settings, "-l"]).arg(data.join("server.log"));
        command.arg("-D").arg(&data);
        // The server keeps these open for its life: pipes would let the test's runner wait for it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.status().is_ok_and(|status| status.success())
    }

    /// Stops the server when for three seconds nobody held the users' lock.
    fn watch(&self, bin: &Path) {
        const SCRIPT: &str = r#"
            idle=0
            while [ $idle -lt 6 ] && [ -e "$1/url" ]; do
                sleep 0.5
                if flock -n -x "$1/users.lock" true; then idle=$((idle + 1)); else idle=0; fi
            done
            exec 9>"$1/start.lock"; flock -x 9
            flock -n -x "$1/users.lock" true || exec sh -c "$0" "$0" "$1" "$2" "$3"
            if [ -n "$3" ]; then runuser -u postgres -- "$2" stop -m immediate -D "$1/data"
            else "$2" stop -m immediate -D "$1/data"; fi
            rm -rf "$1/data" "$1/url"
        "#;
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, SCRIPT]).arg(&self.dir).arg(bin.join("pg_ctl"));
        command.arg(if is_root() { "root" } else { "" }).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn().expect("start the server's watchdog");
    }
}

/// The newest installed version's programs.
fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter(|entry| entry.path().join("bin/initdb").exists())
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .max();
    match newest {
        Some((_, path)) => path.join("bin"),
        None => panic!("{MISSING}"),
    }
}

fn is_root() -> bool {
    run(Command::new("id").arg("-u")) == "0"
}

/// The server refuses to run as root; Debian's package makes a user for it.
fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new("runuser");
    if is_root() {
        command.args(["-u", "postgres", "--"]).arg(program);
    } else {
        command = Command::new(program);
    }
    command.current_dir("/");
    command
}

/// Nobody else may read it, at no moment.
fn write_secret(path: &Path, text: &str) {
    let _ = fs::remove_file(path);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).expect("make a file for a secret");
    file.write_all(text.as_bytes()).expect("write a secret");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("find a free port");
    listener.local_addr().expect("find a free port").port()
}

fn random(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    let mut source = fs::File::open("/dev/urandom").expect("open the random source");
    source.read_exact(&mut buffer).expect("read the random source");
    buffer.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run(command: &mut Command) -> String {
    command.stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{} failed: {}",
        command.get_program().display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs::TryLockError;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn databases_are_apart_and_the_server_is_shared() {
        let server = Postgres::shared();
        let (a, b) = (server.database(), server.database());
        a.psql("CREATE TABLE x (y INT); INSERT INTO x VALUES (7)");
        assert_eq!(a.psql("SELECT y FROM x"), "7");
        assert_eq!(b.psql("SELECT COUNT(*) FROM pg_class WHERE relname = 'x'"), "0");
        assert_eq!(b.psql("SHOW listen_addresses"), "127.0.0.1");
    }

    #[test]
    fn the_server_stops_when_its_last_user_is_gone() {
        let cluster = Cluster::new(&format!("watch-{}", random(4)), false);
        let dir = cluster.dir.clone();
        let server = cluster.join();
        let database = server.database();
        let other = fs_err::File::open(dir.join("users.lock")).expect("open");
        let other = other.file();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(database);
        drop(server);
        let begun = Instant::now();
        while dir.join("data").exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server still runs");
            std::thread::sleep(Duration::from_millis(50));
        }
        fs::remove_dir_all(&dir).expect("remove the directory");
    }
}
