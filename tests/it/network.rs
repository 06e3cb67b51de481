//! A bad network: a proxy that delays, cuts in the middle of messages, and falls silent.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Numbers that a seed repeats.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// From `WARPLINE_TEST_SEED`, or new at each run; the seed is printed.
    pub(crate) fn new(test: &str) -> Self {
        let given = std::env::var("WARPLINE_TEST_SEED").ok();
        let random = || uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000;
        let seed = given.map_or_else(random, |seed| seed.parse().expect("a number"));
        println!("{test}: WARPLINE_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number from `low` on, below `high`.
    pub(crate) fn roll(&mut self, low: u64, high: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (z ^ (z >> 31)) % (high - low)
    }

    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.roll(low, high))
    }
}

/// What happens to the connections of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Fair,
    /// Every piece of a few bytes comes late.
    Slow,
    /// Each connection breaks after this many bytes, in the middle of a message as a rule.
    Cuts(u64),
    /// Nothing is answered on what stands and on what comes, and nothing is closed.
    Silent,
}

/// Stands before a server at an address of its own.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    network: watch::Sender<(u64, Network)>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (network, seen) = watch::channel((0, Network::Fair));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, seen.clone()));
            }
        });
        Self { address, network }
    }

    /// Changes the network for connections to come; those that stand are cut.
    pub(crate) fn change(&self, to: Network) {
        self.network.send_modify(|(cuts, network)| (*cuts, *network) = (*cuts + 1, to));
    }

    /// Lets what stands fall silent without an end; what comes is served.
    pub(crate) fn forget_what_stands(&self) {
        self.network.send_modify(|(_, network)| *network = Network::Silent);
        // The pieces under way see it before connections to come do not.
        std::thread::sleep(Duration::from_millis(50));
        self.network.send_modify(|(_, network)| *network = Network::Fair);
    }
}

async fn pass(client: TcpStream, server: SocketAddr, mut seen: watch::Receiver<(u64, Network)>) {
    let (born, network) = *seen.borrow();
    if network == Network::Silent {
        let _ = seen.wait_for(|(cuts, _)| *cuts != born).await;
        return;
    }
    let Ok(upstream) = TcpStream::connect(server).await else { return };
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = upstream.into_split();
    let (up, down) = (seen.clone(), seen.clone());
    tokio::select! {
        () = carry(client_in, server_out, up, network) => {}
        () = carry(server_in, client_out, down, network) => {}
        _ = seen.wait_for(|(cuts, _)| *cuts != born) => {}
    }
}

/// Carries bytes one way until a side ends, or the network says that it has.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut seen: watch::Receiver<(u64, Network)>,
    network: Network,
) {
    let mut left = if let Network::Cuts(bytes) = network { bytes } else { u64::MAX };
    let mut piece = [0; 700];
    loop {
        let silent = async {
            drop(seen.wait_for(|(_, network)| *network == Network::Silent).await);
        };
        let read = tokio::select! {
            biased;
            () = silent => return std::future::pending().await,
            read = from.read(&mut piece) => read,
        };
        let Ok(bytes @ 1..) = read else { return };
        let passed = bytes.min(usize::try_from(left).unwrap_or(usize::MAX));
        if network == Network::Slow {
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        if to.write_all(&piece[..passed]).await.is_err() || passed < bytes {
            return;
        }
        left -= passed as u64;
    }
}
