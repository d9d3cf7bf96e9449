//! `tidemill up`: the server, until it is told to stop; and `tidemill serve`, which is its gateway alone.

pub(super) mod job_release;
mod ledger;
mod listen;
pub(super) mod lock;
mod models;
mod outcomes;
pub(super) mod secret;
mod serving;
mod stepped;
mod triggers;
mod users;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::{Pid, Resource, getrlimit, setrlimit};
use serde_json::json;
use tidemill_core::{Actor, SystemClock};
use tidemill_db::Db;
use tidemill_registry::{Reach, Registry};
use tidemill_serve::record::Roll;
use tidemill_server::{App, Config, MLFLOW_VERSION, Origins, Secrets};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::reason;
use crate::cli::{GatewayOptions, Global, Listening, Serve, Up, UserOptions};
use crate::failure::{Exit, Failure};
use crate::home::Home;
use crate::output::{Console, STRONG};
use lock::{ServerLock, is_there};
use models::Models;
pub(crate) use stepped::Stepped;

pub(crate) fn run(args: &Up, global: &Global, console: &Console) -> anyhow::Result<()> {
    let home = Home::find(args.listening.home.as_deref(), global, console)?;
    let reach = if args.private_webhooks { Reach::Anywhere } else { Reach::default() };
    let pages = args.mlflow_pages.as_deref().map(|folder| {
        tidemill_server::mlflow_pages(folder).ok_or_else(|| {
            Failure::new(format!("`{}` holds no web pages of MLflow", folder.display()))
                .hint("--mlflow-pages takes the folder of the installed Python package `mlflow`")
        })
    });
    let pages = pages.transpose()?;
    let change = |config: &mut Config| {
        config.webhook_reach = reach;
        config.mlflow_pages = pages;
    };
    start((&args.listening, &args.gateway, Some(&args.users)), home, Models::Registry, change, console)
}

/// Only the gateway.
pub(crate) fn serve_alone(args: &Serve, global: &Global, console: &Console) -> anyhow::Result<()> {
    let home = Home::find(args.listening.home.as_deref(), global, console)?;
    let models = Models::of(args, &home, console)?;
    // Models from elsewhere leave the registry of this home alone; only records are kept, in a place of their own.
    let home = match &models {
        Models::Registry => home,
        Models::Folders(_) | Models::Server(_) if args.listening.home.is_some() => home,
        Models::Folders(_) | Models::Server(_) => home.inside("serve")?,
    };
    let change = |config: &mut Config| config.only_serving = true;
    start((&args.listening, &args.gateway, None), home, models, change, console)
}

/// How a server is started: where it listens, how it predicts, and whom it knows by name.
type Started<'a> = (&'a Listening, &'a GatewayOptions, Option<&'a UserOptions>);

fn start(
    (listening, options, users): Started<'_>,
    home: Home,
    models: Models,
    change: impl FnOnce(&mut Config),
    console: &Console,
) -> anyhow::Result<()> {
    let token = listening.auth_token_file.as_deref().map(|file| secret::read(file, console)).transpose()?;
    users::check(users, options.grpc.is_some(), token.is_some())?;
    let asks = token.is_some() || users.is_some_and(|users| users.users);
    let addresses = guarded(&listening.listen, asks)?;
    let grpc = options.grpc.as_deref().map(|listen| guarded(listen, token.is_some())).transpose()?;
    home.make()?;
    let scratch = scratch(&home)?;
    let mut config = Config::new(scratch.clone());
    config.token = token;
    config.user = crate::app::user_name();
    config.origins = origins(listening, &addresses);
    config.step_logs = Some(home.dir.join("runs"));
    config.secrets = Secrets::of(|name| std::env::var(name).ok());
    config.about.clone_from(&home.about);
    change(&mut config);
    allow_many_files();

    let runtime = runtime()?;
    let at = (addresses.as_slice(), grpc.as_deref());
    let served = runtime.block_on(serve((listening, options, users), config, &home, models, at, console));
    // What blocking work still runs has nobody left to tell.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    // It is empty, or holds bodies whose senders were told that they were not taken.
    drop(fs_err::remove_dir_all(scratch));
    served
}

async fn serve(
    (listening, options, users): Started<'_>,
    mut config: Config,
    home: &Home,
    models: Models,
    (addresses, grpc): (&[SocketAddr], Option<&[SocketAddr]>),
    console: &Console,
) -> anyhow::Result<()> {
    let mut stop = Signals::new()?;
    let lock = home.database_file().map(ServerLock::take).transpose()?;
    let listener = listen(addresses)?;
    let address = listener.local_addr().context("cannot tell the address")?;
    let url = format!("http://{address}");
    if let Some(lock) = &lock {
        lock.note(&url, config.token.is_some() || users.is_some_and(|users| users.users))?;
    }
    let clock = Arc::new(SystemClock);
    let db = Db::open(&home.database, clock.clone()).await?;
    let store = home.open_store()?;
    let registry = Registry::new(db.clone(), store, clock);
    let grpc = grpc.map(listen).transpose()?;
    if let Some(users) = users {
        config.access = users::open(users, &registry, console).await?;
    }
    if !config.only_serving {
        config.triggers = triggers::open(home, &registry)?;
        config.ledger = ledger::open(home);
        if let Some(triggers) = &config.triggers {
            triggers.begin().await?;
        }
    }
    let token = config.token.clone();
    if let Some(watched) = home.watched.as_ref().filter(|_| !config.only_serving) {
        tidemill_server::monitoring::declare(
            &db,
            registry.clock().as_ref(),
            &Actor::system("server"),
            watched,
        )
        .await?;
    }
    let mut serving =
        serving::Parts::open((options, Roll::default()), &registry, home, &config.scratch, models)?;
    serving.begin().await?;
    let app = App::serve(registry, config, serving.serving());
    let grpc = serving.start(&app, grpc, token)?;
    read_outcomes(&app, home, &serving, console);

    announce(&url, grpc, home, &db, console)?;
    let (first, drain) = (stop.take_first(), listening.drain);
    let server = tokio::spawn(tidemill_server::serve(app, listener, first, drain));
    let whole = server.await.context("the server ended early")?;
    serving.close();
    if !whole {
        console.warn(format!("some requests did not end within {drain:?} and were cut off"));
    }
    db.close().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Reads the datasets that the project declares as outcomes; says where that is not done here.
fn read_outcomes(app: &App, home: &Home, serving: &serving::Parts, console: &Console) {
    if app.config().only_serving {
        if outcomes::is_declared(home) {
            console.note(
                "a gateway alone joins no datasets with its requests, as the project declares below `serving`; \
                 `tidemill up` does, and `tidemill outcomes --server URL` sends them",
            );
        }
        return;
    }
    let (api, scratch) = (serving.outcomes().clone(), &app.config().scratch);
    if let Some(tables) = outcomes::open(home, app.registry(), api, scratch) {
        app.background().spawn("outcome tables", |stop| tables.run(stop));
    }
}

/// One line for people that says what to do next; one JSON object for programs.
fn announce(
    url: &str,
    grpc: Option<SocketAddr>,
    home: &Home,
    db: &Db,
    console: &Console,
) -> anyhow::Result<()> {
    tracing::info!(server.url = url, database = db.place(), "listening");
    if console.json() {
        let mut said = json!({
            "url": url, "pid": std::process::id(), "home": home.dir, "database": db.place(),
            "version": env!("CARGO_PKG_VERSION"), "mlflow_version": MLFLOW_VERSION,
        });
        if let Some(grpc) = grpc {
            said["grpc"] = json!(grpc.to_string());
        }
        return console.json_line(&said);
    }
    if let Some(grpc) = grpc {
        console.line(format!("predictions over gRPC on {grpc}"));
    }
    console.line(format!(
        "listening on {}, for clients: export MLFLOW_TRACKING_URI={url}",
        console.out(STRONG, url)
    ));
    Ok(())
}

/// Where to listen. Where nobody has to say who they are, only programs of this machine may come in.
fn guarded(listen: &str, asks: bool) -> anyhow::Result<Vec<SocketAddr>> {
    let addresses = resolve(listen)?;
    if !asks && !addresses.iter().all(|address| address.ip().is_loopback()) {
        return Err(Failure::usage(format!("refusing to listen on {listen} without a token"))
            .hint(
                "everybody who reaches that address could change models; name a file that holds a secret with \
                 --auth-token-file FILE, or listen on 127.0.0.1",
            )
            .into());
    }
    Ok(addresses)
}

/// Everything that HOST:PORT may mean; `localhost` is often two addresses.
fn resolve(listen: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = match listen.to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(error) => {
            return Err(Failure::usage(format!("cannot listen on `{listen}`: {}", reason(&error)))
                .hint("give an address and a port, as in `127.0.0.1:5000`")
                .into());
        }
    };
    if found.is_empty() {
        return Err(Failure::usage(format!("`{listen}` has no address")).into());
    }
    Ok(found)
}

/// The first address that can be taken.
fn listen(addresses: &[SocketAddr]) -> anyhow::Result<TcpListener> {
    let mut refused = None;
    for address in addresses {
        match tidemill_server::bind(*address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = Some((address, error)),
        }
    }
    let Some((address, error)) = refused else { anyhow::bail!("there is no address to listen on") };
    let failure = Failure::new(format!("cannot listen on {address}: {}", reason(&error)));
    Err(match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            failure.hint("another program listens there; `--listen 127.0.0.1:0` picks a free port")
        }
        std::io::ErrorKind::PermissionDenied => {
            failure.hint("ports below 1024 need rights; take another port")
        }
        _ => failure.hint("use an address of this machine"),
    }
    .into())
}

fn origins(args: &Listening, addresses: &[SocketAddr]) -> Origins {
    // Whoever listens on a public address means to be called by it.
    let own = addresses.iter().map(|address| address.ip().to_string());
    let hosts = own.chain(args.allow_host.iter().cloned());
    let origins = hosts.fold(Origins::default(), |origins, host| origins.host(&host));
    args.allow_origin.iter().fold(origins, |origins, page| origins.page(page))
}

/// A folder of this process for bodies that are being received; what killed servers left is removed.
fn scratch(home: &Home) -> anyhow::Result<PathBuf> {
    let tmp = home.dir.join("tmp");
    fs_err::create_dir_all(&tmp)?;
    for entry in fs_err::read_dir(&tmp)?.flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix("up-")?.parse().ok()).and_then(Pid::from_raw);
        if pid.is_some_and(|pid| !is_there(pid)) {
            fs_err::remove_dir_all(entry.path())?;
        }
    }
    let own = tmp.join(format!("up-{}", std::process::id()));
    fs_err::create_dir_all(&own)?;
    Ok(own)
}

/// A connection is an open file; shells often allow only 1024.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current =
        limit.maximum.map_or(Some(65_536), |maximum| Some(maximum.min(65_536))).max(limit.current);
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "cannot raise the number of open files");
    }
}

/// Requests wait for the disk more than they compute: a few threads do, and each costs memory.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, 8))
        .max_blocking_threads(32)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")
}

/// SIGTERM and SIGINT: the first asks the server to stop, the second ends the process.
struct Signals(Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>);

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot handle signals");
        Ok(Self(Some((listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?))))
    }

    /// Resolves at the first signal.
    fn take_first(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let signals = self.0.take();
        async move {
            let Some((mut term, mut int)) = signals else { return std::future::pending().await };
            let mut next = async move || tokio::select! { _ = term.recv() => (), _ = int.recv() => () };
            next().await;
            tokio::spawn(async move {
                next().await;
                std::process::exit(Exit::Cancelled as i32);
            });
        }
    }
}
