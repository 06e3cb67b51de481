//! The server that a command talks to: where it is, the token it wants, and whom TLS trusts.
//!
//! Promises: a token comes from a file or from the environment, never from the command line, which
//! everybody on the machine can read, and leaves the machine by TLS alone.

use crate::Failure;
use std::path::{Path, PathBuf};
use url::{Host, Url};
use warpline_ingest::Remote;

/// The variable that a token may come in.
const TOKEN: &str = "WARPLINE_TOKEN";

#[derive(Clone, Debug, clap::Args)]
pub struct RemoteOptions {
    /// The server's HTTP address; https:// for TLS
    #[arg(
        long,
        value_name = "URL",
        env = "WARPLINE_SERVER",
        default_value = "http://127.0.0.1:7480"
    )]
    pub server: Url,

    /// A file with the token that the server wants [default: the variable WARPLINE_TOKEN]
    #[arg(long, value_name = "FILE", env = "WARPLINE_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// A certificate (PEM) that TLS trusts besides the well-known authorities
    #[arg(long, value_name = "FILE", env = "WARPLINE_CA")]
    pub ca: Option<PathBuf>,
}

impl RemoteOptions {
    /// What producers connect by.
    pub fn remote(&self) -> Result<Remote, Failure> {
        let authority = self.ca.as_deref().map(read).transpose()?;
        let token = self.token()?;
        if token.is_some() && self.server.scheme() == "http" && !is_loopback(&self.server) {
            let text =
                "a token is not sent in the clear to another machine: write https:// in --server";
            return Err(text.into());
        }
        Ok(Remote { url: self.server.clone(), token, authority })
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let text = match &self.token_file {
            Some(path) => Some(String::from_utf8(read(path)?)?),
            None => std::env::var(TOKEN).ok(),
        };
        Ok(text.map(|text| text.trim().to_owned()).filter(|token| !token.is_empty()))
    }
}

/// A client of its HTTP endpoints. Proxies are for the network: they cannot reach this machine's
/// own servers.
pub(crate) fn http_client(remote: &Remote) -> reqwest::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder();
    if is_loopback(&remote.url) {
        builder = builder.no_proxy();
    }
    if let Some(authority) = &remote.authority {
        for certificate in reqwest::Certificate::from_pem_bundle(authority)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build()
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_its_names() {
        let own = ["http://localhost:7480", "http://127.0.0.1:7480", "http://[::1]:7480"];
        assert!(own.iter().all(|url| is_loopback(&Url::parse(url).unwrap())));
        assert!(!is_loopback(&Url::parse("http://node.example:7480").unwrap()));
    }

    #[test]
    fn a_token_comes_from_a_file_without_its_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "wlt_abc\n").unwrap();
        let server = Url::parse("http://localhost:1").unwrap();
        let token_file = Some(file.path().to_owned());
        let mut options = RemoteOptions { server, token_file, ca: None };
        let remote = options.remote().unwrap();
        assert_eq!(remote.token.as_deref(), Some("wlt_abc"));
        assert!(!format!("{remote:?}").contains("wlt_abc"));
        options.server = Url::parse("http://node.example:1").unwrap();
        assert!(options.remote().unwrap_err().to_string().contains("https://"));
        options.server = Url::parse("https://node.example:1").unwrap();
        assert!(options.remote().is_ok());
        options.token_file = Some("/nowhere/token".into());
        assert!(options.remote().unwrap_err().to_string().contains("/nowhere/token"));
    }
}
