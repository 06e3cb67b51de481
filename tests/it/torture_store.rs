//! The tables' object store goes away for a while under the real server.

use crate::audit;
use crate::kill::check_acknowledged;
use crate::server::Server;
use crate::torture::{Feed, MERGING};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// What happens to connections to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fair,
    /// Connections are cut, those under way too.
    Cut,
    /// Each request is answered that it should slow down.
    SlowDown,
    /// Each connection gets its answers late.
    Slow,
}

const SLOW_DOWN: &str =
    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// Stands between a server and its store; answers with its own address.
async fn proxy(store: SocketAddr, weather: watch::Receiver<Weather>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(pass(stream, store, weather.clone()));
        }
    });
    address
}

async fn pass(mut client: TcpStream, store: SocketAddr, mut weather: watch::Receiver<Weather>) {
    let now = *weather.borrow_and_update();
    match now {
        Weather::Cut => return,
        Weather::SlowDown => return slow_down(client).await,
        Weather::Slow => tokio::time::sleep(Duration::from_millis(700)).await,
        Weather::Fair => {}
    }
    let Ok(mut upstream) = TcpStream::connect(store).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut upstream) => {}
        // A change of the weather breaks what is under way.
        _ = weather.changed() => {}
    }
}

async fn slow_down(mut client: TcpStream) {
    let mut request = vec![0; 64 << 10];
    let _ = client.read(&mut request).await;
    let head = "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close";
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{SLOW_DOWN}", SLOW_DOWN.len());
    let _ = client.write_all(answer.as_bytes()).await;
}

/// How long the store is away at a time; minutes by hand.
fn outage() -> Duration {
    let seconds = std::env::var("WARPLINE_TEST_OUTAGE").ok();
    Duration::from_secs(seconds.map_or(7, |text| text.parse().expect("seconds")))
}

async fn make_bucket(store: &Url, bucket: &str) {
    let url = store.join(bucket).expect("a URL");
    let answer = reqwest::Client::new().put(url).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_goes_away_and_comes_back() {
    let Ok(store) = std::env::var("WARPLINE_TEST_S3") else {
        eprintln!("NOT TESTED: an outage of the store; WARPLINE_TEST_S3 is not set");
        return;
    };
    let store = Url::parse(&store).expect("a URL");
    let bucket = format!("outage-{}", uuid::Uuid::new_v4().simple());
    make_bucket(&store, &bucket).await;
    let (change, weather) = watch::channel(Weather::Fair);
    let change = Arc::new(change);
    let address = proxy(store.socket_addrs(|| None).expect("an address")[0], weather).await;

    let options = format!(
        r#"{{ aws_endpoint = "http://{address}", aws_region = "us-east-1", aws_access_key_id = "test", aws_secret_access_key = "test", aws_allow_http = "true" }}"#
    );
    let url = format!("s3://{bucket}/fleet");
    let more = [
        ("WARPLINE_STORE_URL", url.as_str()),
        ("WARPLINE_STORE_OPTIONS", options.as_str()),
        ("WARPLINE_STORAGE_MEMORY", "512KiB"),
        ("WARPLINE_STORAGE_FLUSH_INTERVAL", "1s"),
    ];
    let settings: Vec<_> = MERGING.into_iter().skip(1).chain(more).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let (data, journal) = (folder.path().join("data"), folder.path().join("journal"));
    let mut server = Server::start(&data, &settings).await;
    let feed = Feed::start(server.url(), &journal);
    while server.metric("warpline_flushes_total").await < 1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for kind in [Weather::Cut, Weather::SlowDown, Weather::Slow] {
        let before = audit::acknowledged(&journal);
        change.send_replace(kind);
        let began = Instant::now();
        while began.elapsed() < outage() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(server.metric("warpline_buffer_bytes").await <= 512 << 10);
        }
        let stood = audit::acknowledged(&journal);
        assert!(stood > before, "{kind:?}: the log takes rows while the store is away");
        change.send_replace(Weather::Fair);
        while audit::acknowledged(&journal) < stood + 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        check_acknowledged(&server, stood);
        println!("{kind:?}: {} frames taken meanwhile", stood - before);
    }
    let last = feed.finish().await;
    check_acknowledged(&server, last);
    while server.metric("warpline_buffer_bytes").await > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let asked = format!("SELECT count(*), sum(frame), count(DISTINCT frame) FROM {}", audit::TABLE);
    let rows = last * audit::ROWS;
    let wanted = [rows.to_string(), audit::sum_of_frames(last).to_string(), last.to_string()];
    assert_eq!(server.sql(&asked), std::slice::from_ref(&wanted));
    // With the log gone, all there is comes from the store.
    server.stop().await;
    std::fs::remove_dir_all(data.join("log")).expect("the log");
    server.restart().await;
    assert_eq!(server.sql(&asked), [wanted]);
    server.stop().await;
}
