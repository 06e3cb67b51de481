//! The agent against a real server: what it scraped is there, once.

use super::*;
use crate::config::Config;
use crate::serve::Server;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A server on a folder; on a free port unless one is named.
async fn serve(data: &Path, port: u16) -> Server {
    // The scrapes have times of their own.
    let mut config =
        Config::load(None, [("WARPLINE_RETENTION_RAW".into(), "forever".into())]).unwrap();
    config.server.data = data.into();
    config.server.listen = config.server.listen.with_port(port);
    config.server.postgres = config.server.postgres.with_port(0);
    Server::start(&config).await.unwrap()
}

/// Rows that a query would see, over files and buffer.
async fn rows(server: &Server, table: &str) -> usize {
    server.storage().flush().await.unwrap();
    let snapshot = server.storage().snapshot();
    let Some(table) = snapshot.table(table) else { return 0 };
    let files: u64 = table.files.iter().map(|file| file.rows).sum();
    let buffered = table.buffer.scan_all(&[0]);
    files as usize + buffered.map(|batch| batch.num_rows()).sum::<usize>()
}

fn agent(server: &Server, target: &str, node: &str) -> AgentOptions {
    let server = server.url();
    options(&["--once", "--target", target, "--node", node, "--server", server.as_str()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_is_streamed_and_a_later_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.prom");
    let text = "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 30 1700000000000\nup 1 1700000000000\n";
    std::fs::write(&file, text).unwrap();
    let server = serve(&folder.path().join("data"), 0).await;
    let run_once = || run(agent(&server, file.to_str().unwrap(), "n1"));
    run_once().await.unwrap();
    assert_eq!((rows(&server, "gpu").await, rows(&server, "metric").await), (1, 1));
    std::fs::write(&file, text.replace("1700000000000", "1700000001000")).unwrap();
    run_once().await.unwrap();
    assert_eq!((rows(&server, "gpu").await, rows(&server, "metric").await), (2, 2));
    let producer = ProducerId::new("agent/n1/once").unwrap();
    assert_eq!(server.storage().producer(&producer).borrow().durable, 2);
    let ahead = text.replace("1700000000000", "99999999999000");
    std::fs::write(&file, ahead).unwrap();
    let failure = run_once().await.unwrap_err().to_string();
    assert!(failure.starts_with("the server refused: 2 rows (time: "), "{failure}");
    std::fs::remove_file(&file).unwrap();
    let failure = run_once().await.unwrap_err();
    assert_eq!(failure.to_string(), "1 targets gave nothing");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_gets_every_tick_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = serve(&data, 0).await;
    let port = server.http().port();
    let producer = ProducerId::new("agent/n1").unwrap();
    let kept =
        options(&["--target", "a", "--spool", folder.path().join("spool").to_str().unwrap()]);
    let client = SpoolClient::start(server.url(), &producer, spool::open(&kept).unwrap()).unwrap();
    let file = folder.path().join("a.prom");
    let mut target = only_target(file.to_str().unwrap());
    let mut send = async |tick: i64| {
        // The label changes from tick to tick, so each has a layout of its own.
        let text = format!("DCGM_FI_DEV_SM_CLOCK{{gpu=\"0\",pod=\"p{}\"}} {tick}\n", tick % 70);
        std::fs::write(&file, text).unwrap();
        let scrape = target.scrape(TIME + tick * 1_000_000, PATIENCE).await.unwrap();
        client.append(scrape.mapped.blocks, TIME);
    };
    for tick in 0..40 {
        send(tick).await;
    }
    server.stop().await.unwrap();
    for tick in 40..50 {
        send(tick).await;
    }
    let server = serve(&data, port).await;
    for tick in 50..150 {
        send(tick).await;
    }
    let (summary, settled) = client.finish(PATIENCE * 12).await.unwrap();
    assert!(settled && summary.stream.refusals.is_empty(), "{summary:?}");
    assert_eq!(rows(&server, "gpu").await, 150);
    assert_eq!(server.storage().producer(&producer).borrow().durable, 150);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_real_scrape_is_stored() {
    let data = std::env::var_os("WARPLINE_TEST_DATA").map_or_else(PathBuf::new, PathBuf::from);
    let Ok(scrapes) = std::fs::read_dir(data.join("scrapes")) else {
        eprintln!("skipped: no {}/scrapes (set WARPLINE_TEST_DATA)", data.display());
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), 0).await;
    for scrape in scrapes {
        let path = scrape.unwrap().path();
        // What dcgm-exporter can be told to export is no scrape.
        if path.extension().is_some_and(|end| end != "csv") {
            let node = path.file_stem().unwrap().to_str().unwrap();
            run(agent(&server, path.to_str().unwrap(), node)).await.unwrap();
        }
    }
    assert_eq!((rows(&server, "gpu").await, rows(&server, "metric").await), (12, 4_014));
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_target_delays_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&folder.path().join("data"), 0).await;
    let quick = get(|| async { "DCGM_FI_DEV_SM_CLOCK{gpu=\"0\",Hostname=\"q\"} 1\n" });
    let (asked, given_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begins, ends) = (asked.clone(), given_up.clone());
    let hanging = get(async move || {
        begins.fetch_add(1, SeqCst);
        let _end = GivenUp(ends);
        tokio::time::sleep(Duration::from_hours(1)).await;
    });
    let quick = exporter(Router::new().route("/metrics", quick)).await;
    let hanging = exporter(Router::new().route("/metrics", hanging)).await;
    let [quick, hanging] = [quick, hanging].map(|address| format!("{address}/metrics"));
    let url = server.url();
    let targets_of = ["--target", &hanging, "--target", &quick, "--server", url.as_str()];
    let options = options(&[&targets_of[..], &["--interval", "5s"]].concat());
    let producer = producer(&options).unwrap();
    let client =
        SpoolClient::start(&options.remote.server, &producer, spool::open(&options).unwrap());
    let client = Arc::new(client.unwrap());
    let labels = Arc::new(Dresser::new(&options).unwrap());
    let sink = Sink { client: client.clone(), labels };
    let mut sources = start(&options, targets(&options).unwrap(), None, &sink).unwrap();
    while rows(&server, "gpu").await == 0 || asked.load(SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(given_up.load(SeqCst), 0, "its tick is under way while the other's is on disk");
    sources.shutdown().await;
    drop(sink);
    let (_, settled) = Arc::into_inner(client).unwrap().finish(PATIENCE).await.unwrap();
    assert!(settled);
    server.stop().await.unwrap();
}

/// Counts requests whose asker has gone.
struct GivenUp(Arc<AtomicUsize>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_labelled_and_the_machine_is_among_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("a.prom"), "DCGM_FI_DEV_SM_CLOCK{gpu=\"1\"} 1\nup 1\n").unwrap();
    std::fs::write(at("labels"), "rack=r1\n").unwrap();
    std::fs::create_dir(at("jobs")).unwrap();
    std::fs::write(at("jobs/1"), "4711\n4712\n").unwrap();
    let server = serve(&folder.path().join("data"), 0).await;
    let url = server.url();
    let (target, labels, jobs) = (at("a.prom"), at("labels"), at("jobs"));
    let arguments = [
        "--once",
        "--node-metrics",
        "--target",
        &target,
        "--labels",
        &labels,
        "--hpc-job-mapping-dir",
        &jobs,
        "--server",
        url.as_str(),
    ];
    run(options(&arguments)).await.unwrap();
    for (table, wanted) in [("gpu", 2), ("metric", 1), ("node", 1)] {
        assert_eq!(rows(&server, table).await, 1, "{table}");
        let snapshot = server.storage().snapshot();
        let schema = snapshot.table(table).unwrap().schema.clone();
        let labels = schema.column_names().filter(|name| ["rack", "hpc_job"].contains(name));
        assert_eq!(labels.count(), wanted, "{table}");
    }
    std::fs::write(at("labels"), "time=1\n").unwrap();
    let refused = run(options(&arguments)).await.unwrap_err().to_string();
    assert!(refused.contains("labels: line 1: \"time\""), "{refused}");
    server.stop().await.unwrap();
}
