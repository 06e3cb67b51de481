//! The server that a producer sends to, and connections to it.

use super::options::ClientError;
use std::fmt;
use std::time::Duration;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use url::Url;

/// Streams share a connection, so its window is wider than a stream's.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a server is, and what it wants of who comes.
#[derive(Clone)]
pub struct Remote {
    /// `http://host:port`, or `https://` for TLS.
    pub url: Url,
    pub token: Option<String>,
    /// A certificate in PEM that TLS trusts besides the well-known authorities.
    pub authority: Option<Vec<u8>>,
}

impl From<Url> for Remote {
    fn from(url: Url) -> Self {
        Self { url, token: None, authority: None }
    }
}

impl From<&Url> for Remote {
    fn from(url: &Url) -> Self {
        url.clone().into()
    }
}

impl From<&Remote> for Remote {
    fn from(remote: &Remote) -> Self {
        remote.clone()
    }
}

/// Without the token.
impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// A connection for one stream or many. It connects when first used, and again when it breaks.
#[derive(Clone, Debug)]
pub struct Link {
    channel: Channel,
    authorization: Option<AsciiMetadataValue>,
}

impl Link {
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// A request that says who sends it.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}

/// A connection to a server.
pub fn dial(server: impl Into<Remote>) -> Result<Link, ClientError> {
    let Remote { url, token, authority } = server.into();
    let wrong = |reason: String| ClientError::Address { url: url.to_string(), reason };
    let endpoint = Endpoint::from_shared(url.to_string()).map_err(|e| wrong(e.to_string()))?;
    let endpoint = match url.scheme() {
        "http" => endpoint,
        "https" => {
            let tls = ClientTlsConfig::new().with_enabled_roots();
            let trusted = authority.map(Certificate::from_pem);
            endpoint.tls_config(tls.ca_certificates(trusted)).map_err(|e| wrong(e.to_string()))?
        }
        other => return Err(wrong(format!("scheme {other:?} is not spoken"))),
    };
    let authorization = token.map(|token| {
        let value = AsciiMetadataValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| wrong("the token is not plain text".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    });
    let channel = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_lazy();
    Ok(Link { channel, authorization: authorization.transpose()? })
}
