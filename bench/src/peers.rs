//! What taking data in costs other stores on the same machine.

use crate::Failure;
use crate::harness::Harness;
use crate::replay::{self, Protocol};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PeerOptions {
    /// Folder of the harness that measures other stores
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,

    /// Size of the harness's data set
    #[arg(long, value_name = "SIZE", default_value = "S", requires = "peers")]
    peer_size: String,

    /// Stores to measure beside Warpline
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "victoriametrics",
        requires = "peers"
    )]
    systems: Vec<String>,

    /// Protocols of which the peers' own requests are sent to Warpline as well
    #[arg(long, value_name = "PROTOCOLS", value_delimiter = ',', requires = "peers")]
    replay: Vec<Protocol>,
}

/// A peer's ingest as the harness tells it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Peer {
    pub(crate) system: String,
    pub(crate) size: String,
    #[serde(flatten)]
    pub(crate) ingest: Ingest,
}

/// Seconds, bytes and samples; `opt_` is the merging that the harness asks for afterwards.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Ingest {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    pub(crate) opt_cpu: f64,
    pub(crate) rss: f64,
    pub(crate) disk: f64,
    pub(crate) samples: f64,
}

#[derive(Deserialize)]
struct Results {
    ingest: Ingest,
}

impl Ingest {
    pub(crate) fn samples(&self) -> f64 {
        self.samples
    }

    pub(crate) fn values_per_second(&self) -> f64 {
        self.samples / self.wall
    }

    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.cpu / self.samples * 1e6
    }

    /// With the merging afterwards.
    pub(crate) fn cpu_per_million_merged(&self) -> f64 {
        (self.cpu + self.opt_cpu) / self.samples * 1e6
    }

    pub(crate) fn bytes_per_value(&self) -> f64 {
        self.disk / self.samples
    }

    pub(crate) fn peak_bytes(&self) -> f64 {
        self.rss
    }
}

/// Measures each store asked for; none where no harness is named.
pub(crate) fn measure(options: &PeerOptions) -> Result<Vec<Peer>, Failure> {
    let Some(folder) = &options.peers else { return Ok(Vec::new()) };
    let harness = Harness::at(folder)?;
    options.systems.iter().map(|system| one(&harness, &options.peer_size, system)).collect()
}

/// Measures our own server with what was sent to its peers.
pub(crate) fn replayed(
    options: &PeerOptions,
    binary: &Path,
    dir: Option<&Path>,
) -> Result<Vec<Peer>, Failure> {
    let Some(folder) = &options.peers else { return Ok(Vec::new()) };
    let harness = Harness::at(folder)?;
    let one =
        |protocol: &Protocol| replay::measure(binary, dir, &harness, &options.peer_size, *protocol);
    options.replay.iter().map(one).collect()
}

fn one(harness: &Harness, size: &str, system: &str) -> Result<Peer, Failure> {
    if !harness.ingest(size, system)? {
        return Err(format!("the harness could not measure {system}").into());
    }
    let ingest = parse(&harness.results(size, system)?)?;
    Ok(Peer { system: system.to_owned(), size: size.to_owned(), ingest })
}

fn parse(text: &str) -> Result<Ingest, Failure> {
    Ok(serde_json::from_str::<Results>(text)?.ingest)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_result_of_the_harness_is_read() {
        let text = r#"{"ingest": {"wall": 10.0, "cpu": 15.0, "rss": 1048576, "client_cpu": 2,
            "opt_wall": 1, "opt_cpu": 1.0, "disk": 9000000, "raw_disk": 9100000,
            "samples": 10000000, "extra": {}}, "load_avg": 0.5, "q": {}}"#;
        let ingest = parse(text).expect("a result");
        assert!((ingest.values_per_second() - 1e6).abs() < 1.0);
        assert!((ingest.cpu_per_million() - 1.5).abs() < 1e-9);
        assert!((ingest.cpu_per_million_merged() - 1.6).abs() < 1e-9);
        assert!((ingest.bytes_per_value() - 0.9).abs() < 1e-9);
    }
}
