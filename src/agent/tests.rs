//! Targets of every kind, when ticks are, and how agents are named; streaming in `stream`.

mod stream;

use super::*;
use axum::Router;
use axum::http::header;
use axum::routing::get;
use clap::Parser;
use url::Url;
use warpline_storage::model::Timestamp;

const TIME: Timestamp = 1_700_000_000_000_000;
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: AgentOptions,
}

fn options(arguments: &[&str]) -> AgentOptions {
    let line = Line::try_parse_from([&["agent"], arguments].concat());
    line.unwrap_or_else(|error| panic!("{error}")).options
}

fn only_target(argument: &str) -> Target {
    targets(&options(&["--target", argument, "--node", "n1"])).unwrap().remove(0)
}

async fn scrape(target: &mut Target) -> Result<String, String> {
    Ok(target.scrape(TIME, PATIENCE).await?.summary())
}

/// An exporter on a free port; its address.
async fn exporter(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

#[tokio::test]
async fn exporters_are_asked_over_http() {
    let open =
        ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0")], "a 1 2.5\n");
    let routes = Router::new()
        .route("/metrics", get(|| async { "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 30\nup 1\nbad\n" }))
        .route("/open", get(move || async move { open }));
    let server = exporter(routes).await;
    assert_eq!(
        scrape(&mut only_target(&format!("{server}/metrics"))).await.unwrap(),
        "samples=2 series=2 rows=2 nulls=0 blank=0 rounded=0 repeated=0 refused=1"
    );
    let cut_short = scrape(&mut only_target(&format!("{server}/open"))).await.unwrap();
    assert!(cut_short.ends_with("refused=1"), "{cut_short}");
    let missing = scrape(&mut only_target(&format!("{server}/nothing"))).await.unwrap_err();
    assert!(missing.contains("404"), "{missing}");
}

#[tokio::test]
async fn a_silent_target_is_given_up() {
    let silent = get(async || tokio::time::sleep(Duration::from_mins(1)).await);
    let server = exporter(Router::new().route("/metrics", silent)).await;
    let mut target = only_target(&format!("{server}/metrics"));
    let reason = target.scrape(TIME, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(reason, "no answer within 50ms");
}

#[tokio::test]
async fn files_are_read_again_at_every_tick() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.prom");
    let mut target = only_target(path.to_str().unwrap());
    assert!(scrape(&mut target).await.unwrap_err().contains("No such file"));
    std::fs::write(&path, "a 1\nb 2\n").unwrap();
    assert!(scrape(&mut target).await.unwrap().starts_with("samples=2 series=2 rows=2"));
    let url = Url::from_file_path(&path).unwrap();
    assert!(scrape(&mut only_target(url.as_str())).await.is_ok());
}

#[test]
fn addresses_are_urls_or_paths() {
    let parse = |text: &str| text.parse::<Address>();
    assert_eq!(parse("./a.prom"), Ok(Address::File("./a.prom".into())));
    assert_eq!(parse("file:///a.prom"), Ok(Address::File("/a.prom".into())));
    assert!(parse("ftp://h/a").unwrap_err().contains("use http"));
    let host = |text: &str| parse(text).unwrap().remote_host().map(str::to_owned);
    assert_eq!(host("http://gpu-7:9400/metrics").as_deref(), Some("gpu-7"));
    assert_eq!(host("http://10.0.0.7:9400/metrics").as_deref(), Some("10.0.0.7"));
    assert_eq!(host("http://127.0.0.1:9400/metrics"), None);
    assert_eq!(host("http://[::1]:9400/metrics"), None);
    assert_eq!(host("./a.prom"), None);
    let instance = |text: &str| parse(text).unwrap().instance();
    assert_eq!(instance("http://localhost:9400/metrics").as_deref(), Some("localhost:9400"));
    assert_eq!(instance("https://gpu-7/metrics").as_deref(), Some("gpu-7:443"));
    assert_eq!(instance("./a.prom"), None);
}

#[test]
fn an_agent_has_a_lasting_name() {
    let name = |arguments: &[&str]| producer(&options(arguments)).map(|id| id.as_str().to_owned());
    let default = name(&["--target", "a"]).unwrap();
    assert_eq!(default, format!("agent/{}", machine_name()));
    assert_eq!(name(&["--target", "a", "--node", "n7"]).unwrap(), "agent/n7");
    assert_eq!(name(&["--target", "a", "--node", "n7", "--once"]).unwrap(), "agent/n7/once");
    assert_eq!(name(&["--target", "a", "--producer-id", "mine"]).unwrap(), "mine");
    assert!(name(&["--target", "a", "--producer-id", ""]).unwrap_err().to_string().contains("128"));
}

#[test]
fn a_spool_has_a_folder_or_says_that_it_has_none() {
    let read = |arguments: &[&str]| options(&[&["--target", "a"], arguments].concat());
    assert_eq!(spool::folder(&read(&["--spool", "/s"])), Some("/s".into()));
    assert_eq!(spool::folder(&read(&[])), None);
    assert_eq!(read(&[]).spool_until, Until::Stored);
    assert_eq!(read(&["--spool-until", "durable"]).spool_until, Until::Durable);
    let refused = spool::open(&read(&["--spool-size", "1KiB"])).unwrap_err();
    assert!(refused.to_string().contains("1MiB"), "{refused}");
    let folder = tempfile::tempdir().unwrap();
    let named = read(&["--spool", folder.path().to_str().unwrap()]);
    let _open = spool::open(&named).unwrap();
    let refused = spool::open(&named).unwrap_err().to_string();
    assert!(refused.contains("used by another process"), "{refused}");
}
