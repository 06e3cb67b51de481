//! Certificate and key of a server, and the handshakes of its connections.
//!
//! Promises: files that do not fit are an error at the start; later a certificate that cannot be
//! used is told and the old one stays. A client that does not finish its handshake is let go after a while.

use super::AccessError;
use futures::Stream;
use parking_lot::RwLock;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ALL_VERSIONS, ServerConfig};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

/// What clients name the protocols within TLS by (ALPN).
pub(super) const POSTGRES: &[u8] = b"postgresql";
const HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How long a handshake may take, and how many may be under way.
const PATIENCE: Duration = Duration::from_secs(10);
const HANDSHAKES: usize = 4_096;
/// Connections whose handshake is done and that nobody has taken yet.
const AHEAD: usize = 64;

/// A server's certificate and key, as they are in two files now.
pub struct Certificate {
    paths: (PathBuf, PathBuf),
    current: RwLock<Current>,
}

struct Current {
    changed: Changed,
    key: Arc<CertifiedKey>,
    /// Whether it was told that what lies there now cannot be used.
    told: bool,
}

type Changed = (Option<SystemTime>, Option<SystemTime>);

impl Certificate {
    pub(super) fn open(certificate: &Path, key: &Path) -> Result<Self, AccessError> {
        let paths = (certificate.to_owned(), key.to_owned());
        let changed = changed(&paths);
        let key = Arc::new(read(&paths)?);
        Ok(Self { paths, current: RwLock::new(Current { changed, key, told: false }) })
    }

    /// Takes up what has changed in the files: certificates are renewed while a server runs.
    pub(super) fn look(&self) {
        let changed = changed(&self.paths);
        if changed == self.current.read().changed {
            return;
        }
        let read = read(&self.paths);
        match read {
            Ok(key) => {
                *self.current.write() = Current { changed, key: Arc::new(key), told: false };
                tracing::info!("a new certificate is used for new connections");
            }
            // It is looked at again: who may read a file changes without its time.
            Err(error) => {
                if !std::mem::replace(&mut self.current.write().told, true) {
                    tracing::error!(%error, "the certificate stays as it was");
                }
            }
        }
    }

    /// Greets clients that speak one of these protocols, or say none.
    pub(super) fn acceptor(self: &Arc<Self>, protocols: &[&[u8]]) -> TlsAcceptor {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(ALL_VERSIONS);
        let builder = builder.expect("the provider has suites of each version");
        let resolver: Arc<dyn ResolvesServerCert> = self.clone();
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// The connections of a listener of HTTP, each once its handshake is done. It ends with its holder.
    pub fn connections(
        self: &Arc<Self>,
        listener: TcpListener,
    ) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> + use<> {
        let (sender, done) = mpsc::channel(AHEAD);
        tokio::spawn(shake_hands(listener, self.acceptor(&HTTP), sender));
        ReceiverStream::new(done)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().key.clone())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("paths", &self.paths).finish_non_exhaustive()
    }
}

fn changed((certificate, key): &(PathBuf, PathBuf)) -> Changed {
    let changed = |path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    (changed(certificate), changed(key))
}

fn read((certificate, key): &(PathBuf, PathBuf)) -> Result<CertifiedKey, AccessError> {
    let unusable = |path: &Path, reason: String| AccessError::Tls { path: path.into(), reason };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| unusable(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(certificate, "it has no certificate".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key);
    let private = private.map_err(|error| unusable(key, error.to_string()))?;
    CertifiedKey::from_der(chain, private, &default_provider())
        .map_err(|error| unusable(key, error.to_string()))
}

type Greeted = io::Result<TlsStream<TcpStream>>;

async fn shake_hands(listener: TcpListener, acceptor: TlsAcceptor, done: mpsc::Sender<Greeted>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = done.closed() => return,
            Some(_) = open.join_next(), if !open.is_empty() => {}
            accepted = listener.accept(), if open.len() < HANDSHAKES => match accepted {
                Ok((socket, peer)) => {
                    let (acceptor, done) = (acceptor.clone(), done.clone());
                    open.spawn(async move {
                        // Small answers do not wait for more.
                        let _ = socket.set_nodelay(true);
                        match tokio::time::timeout(PATIENCE, acceptor.accept(socket)).await {
                            Ok(Ok(connection)) => drop(done.send(Ok(connection)).await),
                            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
                            Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}
