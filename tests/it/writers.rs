//! Other people's senders, as people run them, writing to the real server.

use crate::clients::{check, python};
use crate::exporter::Exporter;
use crate::server::{Server, free_port};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Two GPUs, a counter, a histogram, a line that is only DCGM's blank, and somebody's own field.
const PAGE: &str = "\
# HELP jobs_total Jobs done.
# TYPE jobs_total counter
jobs_total{queue=\"a b\"} 7
# TYPE wait_seconds histogram
wait_seconds_bucket{le=\"0.5\"} 3
wait_seconds_bucket{le=\"+Inf\"} 5
wait_seconds_sum 4.25
wait_seconds_count 5
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",UUID=\"GPU-a\",Hostname=\"h7\",modelName=\"H100\"} 30
DCGM_FI_DEV_GPU_TEMP{gpu=\"1\",UUID=\"GPU-b\",Hostname=\"h7\",modelName=\"H100\"} 41
DCGM_FI_DEV_POWER_USAGE{gpu=\"0\",UUID=\"GPU-a\",Hostname=\"h7\",modelName=\"H100\"} 113.611
DCGM_FI_DEV_POWER_USAGE{gpu=\"1\",UUID=\"GPU-b\",Hostname=\"h7\",modelName=\"H100\"} 68.347
DCGM_FI_DEV_FB_USED{gpu=\"1\",UUID=\"GPU-b\",Hostname=\"h7\",modelName=\"H100\"} 9223372036854775794
acme_fan_rpm{gpu=\"0\",UUID=\"GPU-a\",node=\"h7\",modelName=\"H100\"} 5200
";

/// How long a sender may take until its samples are there.
const WITHIN: Duration = Duration::from_mins(1);

/// A sender that ends with its test.
struct Sender {
    child: Child,
    log: std::path::PathBuf,
}

impl Sender {
    /// `None`, and said, where the program is not installed.
    fn start(program: &str, arguments: &[String], folder: &Path) -> Option<Self> {
        let log = folder.join(format!("{program}.log"));
        let file = std::fs::File::create(&log).expect("a log file");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn();
        match child {
            Ok(child) => Some(Self { child, log }),
            Err(error) => {
                eprintln!("NOT TESTED: {program} does not start ({error}); tests/run installs it");
                None
            }
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a statement's one number is at least this.
async fn until(server: &Server, sender: &Sender, statement: &str, at_least: i64) {
    let started = Instant::now();
    loop {
        let tables = server
            .sql("SELECT count(*) FROM information_schema.tables WHERE table_name = 'metric'");
        let there = tables[0][0] != "0";
        if there && server.number(statement) >= at_least {
            return;
        }
        assert!(started.elapsed() < WITHIN, "{statement}\n{}\n{}", sender.said(), server.said());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What the page says is in the tables, at least three times.
async fn check_values(server: &Server, sender: &Sender, exporter: &Exporter) {
    until(server, sender, "SELECT count(*) FROM metric WHERE name = 'jobs_total'", 3).await;
    let gpus = "SELECT node, gpu, uuid, model, min(gpu_temp), max(gpu_temp), min(power_usage), \
                max(power_usage), count(fb_used) FROM gpu GROUP BY 1, 2, 3, 4 ORDER BY 2";
    assert_eq!(
        server.sql(gpus),
        [
            ["h7", "0", "GPU-a", "H100", "30", "30", "113.611", "113.611", "0"],
            ["h7", "1", "GPU-b", "H100", "41", "41", "68.347", "68.347", "0"],
        ]
    );
    let whole = "SELECT count(*) FROM gpu WHERE gpu_temp IS NULL OR power_usage IS NULL";
    assert_eq!(server.number(whole), 0, "the samples of a scrape are one row");
    let jobs = "SELECT DISTINCT node, label(labels, 'queue'), label(labels, 'job'), \
                label(labels, 'instance'), value FROM metric WHERE name = 'jobs_total'";
    let target = exporter.target();
    assert_eq!(server.sql(jobs), [["127.0.0.1", "a b", "page", &target, "7.0"]]);
    let buckets = "SELECT DISTINCT name, label(labels, 'le'), value FROM metric \
                   WHERE name LIKE 'wait_seconds%' ORDER BY 1, 3";
    assert_eq!(
        server.sql(buckets),
        [
            ["wait_seconds_bucket", "0.5", "3.0"],
            ["wait_seconds_bucket", "+Inf", "5.0"],
            ["wait_seconds_count", "", "5.0"],
            ["wait_seconds_sum", "", "4.25"],
        ]
    );
    for reason in ["malformed", "series", "column", "value", "time", "histogram", "exemplar"] {
        let name = format!("warpline_write_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(server.metric(&name).await, 0, "{reason}\n{}", sender.said());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(&folder.path().join("data"), &[]).await;
    let mut exporter = Exporter::start(PAGE);
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n- job_name: page\n  static_configs: [ {{ targets: ['{}'] }} ]\n\
         remote_write:\n- url: {}api/v1/write\n  \
         metadata_config: {{ send: true, send_interval: 1s }}\n",
        exporter.target(),
        server.url()
    );
    std::fs::write(&config, text).expect("a written file");
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()),
        format!("--web.listen-address=127.0.0.1:{}", free_port()),
    ];
    let Some(sender) = Sender::start("prometheus", &arguments, folder.path()) else { return };
    check_values(&server, &sender, &exporter).await;

    let counter = "SELECT count(*) FROM metric WHERE name = 'jobs_total' AND kind = 'counter'";
    until(&server, &sender, counter, 1).await;
    let bucket =
        "SELECT count(*) FROM metric WHERE name = 'wait_seconds_bucket' AND kind = 'histogram'";
    until(&server, &sender, bucket, 1).await;

    // What goes away ends without a row that says so.
    exporter.stop();
    until(&server, &sender, "SELECT count(*) FROM metric WHERE name = 'up' AND value = 0", 1).await;
    let started = Instant::now();
    while server.metric("warpline_write_stale_total").await == 0 {
        assert!(started.elapsed() < WITHIN, "{}", sender.said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ends = "SELECT count(*) FROM metric WHERE name = 'jobs_total' AND NOT (value = 7)";
    assert_eq!(server.number(ends), 0);

    // Prometheus comes again by itself, and nothing is doubled.
    let before = server.number("SELECT max(epoch) FROM (SELECT extract(epoch from time)::bigint AS epoch FROM metric WHERE name = 'up')");
    server.kill();
    server.restart().await;
    let newer = format!(
        "SELECT count(*) FROM metric WHERE name = 'up' AND extract(epoch from time) > {before}"
    );
    until(&server, &sender, &newer, 3).await;
    let doubled = "SELECT count(*) FROM (SELECT count(*) AS rows FROM metric GROUP BY cluster, \
                   node, name, labels, time) WHERE rows > 1";
    assert_eq!(server.number(doubled), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn vmagent_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let dictionary = folder.path().join("own.csv");
    let own = "id,names,column,unit,kind,type\n,acme_fan_rpm,fan_rpm,rpm,gauge,int32\n";
    std::fs::write(&dictionary, own).expect("a written file");
    let dictionary = dictionary.to_str().expect("a name that is text");
    let settings = [("WARPLINE_SERVER_DICTIONARY", dictionary)];
    let server = Server::start(&folder.path().join("data"), &settings).await;
    let exporter = Exporter::start(PAGE);
    let config = folder.path().join("scrape.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n- job_name: page\n  static_configs: [ {{ targets: ['{}'] }} ]\n",
        exporter.target()
    );
    std::fs::write(&config, text).expect("a written file");
    let arguments = [
        format!("-promscrape.config={}", config.display()),
        format!("-remoteWrite.url={}api/v1/write", server.url()),
        format!("-remoteWrite.tmpDataPath={}", folder.path().join("vmagent").display()),
        format!("-httpListenAddr=127.0.0.1:{}", free_port()),
    ];
    let Some(sender) = Sender::start("vmagent", &arguments, folder.path()) else { return };
    check_values(&server, &sender, &exporter).await;
    let own = "SELECT DISTINCT gpu, fan_rpm FROM gpu ORDER BY gpu";
    assert_eq!(server.sql(own), [["0", "5200"], ["1", ""]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn influxdbs_client_writes() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"), &[]).await;
    check(&python, "influx_write.py", vec![server.url().to_string()]).await;
    let disks = "SELECT host, path, used, free, ok FROM disk WHERE free > 0 ORDER BY host";
    assert_eq!(
        server.sql(disks),
        [["host a", "/", "1.5", "7", "1"], ["host,b", "/", "2.5", "8", "0"]]
    );
    let kept = "SELECT used, (extract(epoch from time) * 1000)::bigint % 1000 FROM disk \
                WHERE host < 'e'";
    assert_eq!(server.sql(kept), [["3.0", "250"]]);
    let load = "SELECT count(*), min(value), max(value), sum(value) FROM load WHERE host = 'z'";
    assert_eq!(server.sql(load), [["1000", "0", "999", "499500"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn opentelemetrys_sdk_writes() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"), &[]).await;
    check(&python, "otlp_write.py", vec![server.url().to_string()]).await;
    for job in ["http", "grpc"] {
        let numbers = format!(
            "SELECT DISTINCT cluster, node, name, label(labels, 'queue'), label(labels, 'le'), \
             kind, unit, value FROM metric WHERE label(labels, 'job') = '{job}' \
             AND name IN ('jobs', 'depth', 'wait_bucket', 'wait_sum', 'wait_count') \
             ORDER BY name, value"
        );
        let row = |name, queue, le, kind, unit, value| {
            ["c1", "h7", name, queue, le, kind, unit, value].map(str::to_owned).to_vec()
        };
        assert_eq!(
            server.sql(&numbers),
            [
                row("depth", "", "", "gauge", "", "-2.0"),
                row("jobs", "a b", "", "counter", "{job}", "7.0"),
                row("wait_bucket", "", "0.5", "histogram", "s", "1.0"),
                row("wait_bucket", "", "5", "histogram", "s", "2.0"),
                row("wait_bucket", "", "+Inf", "histogram", "s", "3.0"),
                row("wait_count", "", "", "histogram", "s", "3.0"),
                row("wait_sum", "", "", "histogram", "s", "8.75"),
            ],
            "{job}"
        );
    }
    let gpus = "SELECT DISTINCT cluster, node, gpu, uuid, gpu_temp FROM gpu";
    assert_eq!(server.sql(gpus), [["", "h7", "3", "GPU-3", "41"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pyarrows_flight_client_writes() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"), &[]).await;
    check(&python, "flight_write.py", vec![server.url().to_string()]).await;
    let gpus = "SELECT cluster, node, gpu, uuid, power_usage, gpu_temp, my_score, \
                (extract(epoch from time) * 1000)::bigint % 1000 FROM gpu ORDER BY gpu, time DESC";
    let row = |gpu, uuid, power, temperature, score| {
        ["c1", "n1", gpu, uuid, power, temperature, score, "250"].map(str::to_owned)
    };
    assert_eq!(
        server.sql(gpus),
        [
            row("0", "GPU-a", "113.611", "30", "0.5"),
            row("0", "GPU-a", "699.123", "30", "0.5"),
            row("0", "GPU-a", "0.5", "30", "0.5"),
            row("1", "GPU-b", "68.347", "41", "1.5"),
            row("1", "GPU-b", "", "41", "1.5"),
            row("1", "GPU-b", "70.0", "41", "1.5"),
        ]
    );
    let cooling = "SELECT rack, pump, model, flow, running FROM cooling ORDER BY rack, pump";
    assert_eq!(
        server.sql(cooling),
        [["r1", "1", "m", "12.5", "1"], ["r2", "1", "m", "13.125", "0"], ["r2", "2", "", "", ""]],
        "written twice, there once"
    );
    let sum = "SELECT count(*), min(load), max(load), sum(load), count(DISTINCT host) FROM many";
    assert_eq!(server.sql(sum), [["10000", "0", "9999", "49995000", "7"]]);
    assert_eq!(server.sql("SELECT host, load FROM partly"), [["a", "1.5"]]);
    assert_eq!(server.metric("warpline_write_requests_total{protocol=\"flight\"}").await, 106);
}
