//! The server: one store, an HTTP listener that also takes gRPC, and a PostgreSQL listener.
//!
//! ```text
//! 127.0.0.1:7480   HTTP/1.1, HTTP/2 and gRPC: crate::routes
//! 127.0.0.1:7432   PostgreSQL wire
//! ```
//! Promises: addresses are taken before the store is opened, so a port in use costs nothing; while
//! the log is replayed every request is answered 503; at the end what was appended is durable.

use crate::access::{Access, AccessError, Certificate};
use crate::config::{Address, Config, ConfigError};
use crate::routes::{observed, routes};
use crate::{Failure, descriptors, metrics, signals};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tower::ServiceExt;
use url::Url;
use warpline_ingest::{StreamService, WireLimits, WriteLimits, stream_service, write_service};
use warpline_query::{Engine, PostgresAccess, QueryCounts, QueryError, serve_postgres};
use warpline_storage::{Storage, StorageError};

/// How long open requests may go on once the server has been asked to end.
const GRACE: Duration = Duration::from_secs(3);

/// Streams on one connection: one process can carry the nodes of a whole fleet.
const STREAMS_PER_CONNECTION: u32 = 100_000;

/// How often the store is asked whether it has failed.
const FAILURE_INTERVAL: Duration = Duration::from_secs(1);

/// How often the files of tokens and certificate are looked at.
const ACCESS_INTERVAL: Duration = Duration::from_secs(2);

/// Pings find producers that vanished without a word.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// HTTP/2 windows that keep a stream of frames from waiting for window updates.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

const EXAMPLES: &str = "\
Examples:
  warpline serve
  warpline serve --data /var/lib/warpline --memory 8GiB
  warpline serve --data ./log --store s3://bucket/prefix      (keys from AWS_... variables)
  warpline serve --config warpline.toml

Settings come from defaults, the file, WARPLINE_SECTION_KEY variables and the flags above, the
later overriding the earlier. docs/operating.md lists them all.";

/// Run a server until Ctrl-C or SIGTERM.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeOptions {
    /// Folder of the log, and of the tables unless --store says otherwise [default: ./warpline-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Where the tables are: file:///path, s3://bucket/prefix, gs://..., az://..., memory:///
    #[arg(long, value_name = "URL")]
    pub store: Option<Url>,

    /// Address of HTTP and gRPC [default: 127.0.0.1:7480]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<Address>,

    /// Address of the PostgreSQL wire [default: 127.0.0.1:7432]
    #[arg(long, value_name = "ADDRESS")]
    pub postgres: Option<Address>,

    /// The file of tokens [default: tokens.toml in the data folder]
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,

    /// A CSV file of further GPU fields, in the form that warpline fields --format csv prints
    #[arg(long, value_name = "FILE")]
    pub dictionary: Option<PathBuf>,

    /// The server's certificate, PEM, with those between it and an authority
    #[arg(long, value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,

    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Memory for rows that are not in the tables yet [default: 640MiB]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<crate::config::ByteSize>,

    /// A TOML file of settings
    #[arg(long, value_name = "FILE", env = "WARPLINE_CONFIG")]
    pub config: Option<PathBuf>,
}

impl ServeOptions {
    /// The configuration these flags ask for, over file and environment.
    pub fn configuration(&self) -> Result<Config, ConfigError> {
        // What is not text is none of ours.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut config = Config::load(self.config.as_deref(), variables)?;
        if let Some(data) = &self.data {
            config.server.data.clone_from(data);
        }
        if let Some(store) = &self.store {
            config.store.url = Some(store.clone());
        }
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.postgres = self.postgres.unwrap_or(config.server.postgres);
        let or = |flag: &Option<PathBuf>, set: &mut Option<PathBuf>| {
            if flag.is_some() {
                set.clone_from(flag);
            }
        };
        or(&self.tokens, &mut config.server.tokens);
        or(&self.dictionary, &mut config.server.dictionary);
        or(&self.tls_certificate, &mut config.server.tls_certificate);
        or(&self.tls_key, &mut config.server.tls_key);
        config.storage.memory = self.memory.unwrap_or(config.storage.memory);
        Ok(config)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("cannot listen on {address} for {what}: {source}; choose another with {flag}")]
    Listen { address: SocketAddr, what: &'static str, flag: &'static str, source: std::io::Error },
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("cannot start the query engine: {0}")]
    Query(#[from] QueryError),
    #[error("the {what} listener ended: {reason}")]
    Ended { what: &'static str, reason: String },
    #[error("the store takes nothing any more: {0}")]
    Failed(String),
}

/// Serves until the process is asked to end.
pub async fn run(options: ServeOptions) -> Result<(), Failure> {
    let asked = signals::asked_to_end()?;
    descriptors::raise();
    let mut server = Server::start(&options.configuration()?).await?;
    tracing::info!("ready: HTTP and gRPC on {}, PostgreSQL on {}", server.http, server.postgres);
    let outcome = tokio::select! {
        () = asked => Ok(()),
        error = server.ended() => Err(error),
    };
    server.stop().await?;
    tracing::info!("stopped; everything acknowledged is on disk");
    Ok(outcome?)
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    storage: Storage,
    streams: StreamService,
    http: SocketAddr,
    /// Whether it speaks TLS.
    secure: bool,
    postgres: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<ServeError>,
}

impl Server {
    /// Takes the addresses, opens the store and answers requests.
    pub async fn start(config: &Config) -> Result<Self, ServeError> {
        let access = Access::open(&config.server)?;
        let http = listen(config.server.listen, "HTTP and gRPC", "--listen").await?;
        let postgres = listen(config.server.postgres, "PostgreSQL", "--postgres").await?;
        let (http_address, postgres_address) = (bound(&http), bound(&postgres));
        let (stop, stopped) = watch::channel(false);
        let ready = Arc::new(OnceLock::new());
        let mut tasks = JoinSet::new();
        let certificate = access.certificate().cloned();
        let secure = certificate.is_some();
        tasks.spawn(serve_http(http, certificate, ready.clone(), stopped.clone()));
        let storage = Storage::open(config.storage_options()?).await?;
        let streams = stream_service(storage.clone(), WireLimits::default());
        let dictionary = Arc::new(config.dictionary().map_err(ConfigError::from)?);
        let writes = write_service(storage.clone(), dictionary, WriteLimits::default());
        let observed = observed(&storage, &streams, &writes);
        let rows = observed.clone();
        let rows = Arc::new(move |queries: &QueryCounts| metrics::rows(&rows(queries)));
        let engine = Engine::observed(storage.clone(), &config.engine_options(), rows)?;
        tasks.spawn(answer_postgres(postgres, engine.clone(), access.postgres(), stopped));
        tasks.spawn(failure_of(storage.clone()));
        let routed =
            ready.set(routes(&storage, &streams, &writes, observed, engine, &access.gate()));
        assert!(routed.is_ok(), "routes are set once");
        tasks.spawn(look_at(access));
        let (http, postgres) = (http_address, postgres_address);
        Ok(Self { storage, streams, http, secure, postgres, stop, tasks })
    }

    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The address of HTTP and gRPC.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The URL that clients of HTTP and gRPC are given.
    pub fn url(&self) -> Url {
        let scheme = if self.secure { "https" } else { "http" };
        Url::parse(&format!("{scheme}://{}", self.http)).expect("an address makes a URL")
    }

    /// The address of the PostgreSQL wire.
    pub fn postgres(&self) -> SocketAddr {
        self.postgres
    }

    /// Resolves when a listener ends by itself.
    pub async fn ended(&mut self) -> ServeError {
        match self.tasks.join_next().await {
            Some(Ok(error)) => error,
            Some(Err(panic)) => ServeError::Ended { what: "a", reason: panic.to_string() },
            None => std::future::pending().await,
        }
    }

    /// Makes everything appended durable, then lets open requests finish for a moment.
    pub async fn stop(mut self) -> Result<(), ServeError> {
        self.stop.send_replace(true);
        self.streams.stop();
        let closed = self.storage.close().await;
        let _ =
            tokio::time::timeout(GRACE, async { while self.tasks.join_next().await.is_some() {} })
                .await;
        self.tasks.shutdown().await;
        Ok(closed?)
    }
}

async fn listen(
    address: Address,
    what: &'static str,
    flag: &'static str,
) -> Result<TcpListener, ServeError> {
    let address = address.address();
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen {
        address,
        what,
        flag,
        source,
    })
}

fn bound(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a bound socket has an address")
}

async fn serve_http(
    listener: TcpListener,
    certificate: Option<Arc<Certificate>>,
    ready: Arc<OnceLock<Router>>,
    stopped: watch::Receiver<bool>,
) -> ServeError {
    let gate = Routes::from(Router::new().fallback(through_the_gate).with_state(ready));
    let router = tonic::transport::Server::builder()
        .accept_http1(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .add_routes(gate);
    let served = if let Some(certificate) = certificate {
        let connections = certificate.connections(listener);
        router.serve_with_incoming_shutdown(connections, asked(stopped)).await
    } else {
        let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
        router.serve_with_incoming_shutdown(connections, asked(stopped)).await
    };
    let reason = served.err().map_or_else(|| "it was stopped".to_owned(), |e| e.to_string());
    ServeError::Ended { what: "HTTP", reason }
}

async fn answer_postgres(
    listener: TcpListener,
    engine: Engine,
    access: PostgresAccess,
    stopped: watch::Receiver<bool>,
) -> ServeError {
    let served = serve_postgres(listener, engine, access, asked(stopped)).await;
    let reason = served.err().map_or_else(|| "it was stopped".to_owned(), |e| e.to_string());
    ServeError::Ended { what: "PostgreSQL", reason }
}

async fn asked(mut stopped: watch::Receiver<bool>) {
    // An error means that the server is gone, which asks for the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Resolves when the store has failed for good (fenced by a successor, disk gone).
async fn failure_of(storage: Storage) -> ServeError {
    loop {
        if let Some(failure) = storage.failure() {
            return ServeError::Failed(failure.to_string());
        }
        tokio::time::sleep(FAILURE_INTERVAL).await;
    }
}

/// Takes up what changes in the files of tokens and certificate.
async fn look_at(access: Access) -> ServeError {
    loop {
        tokio::time::sleep(ACCESS_INTERVAL).await;
        access.look();
    }
}

/// Passes requests on once there is something behind the gate.
async fn through_the_gate(
    State(ready): State<Arc<OnceLock<Router>>>,
    request: Request,
) -> Response {
    let Some(router) = ready.get() else {
        let retry = [(header::RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, retry, "starting: the log is replayed\n")
            .into_response();
    };
    match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
