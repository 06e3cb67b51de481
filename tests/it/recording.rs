//! Our own recording of a GPU under load, imported as a user would, and held against itself.

use crate::server::{BINARY, RESTLESS, Server};
use std::path::Path;
use std::process::Command;

/// Columns that are text; the identity excepted.
const ATTRIBUTES: &str = "brand,ecc_inforom_ver,inforom_image_ver,oem_inforom_ver,serial,\
                          vbios_version,driver,nvml_version,uuid,model,pci_bus_id,nvml_index";
const TEXT: usize = 4 + 12;

fn recording() -> csv::Reader<std::fs::File> {
    csv::Reader::from_path(path()).expect("the recording")
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces/h200.csv")
}

async fn imported(folder: &Path) -> Server {
    let server = Server::start(&folder.join("data"), &RESTLESS).await;
    let output = Command::new(BINARY)
        .args(["import", "--server", server.url().as_str(), "--table", "recording"])
        .args(["--time", "time", "--identity", "cluster,node,gpu", "--attributes", ATTRIBUTES])
        .arg(path())
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server
}

fn number(server: &Server, sql: &str) -> f64 {
    let text = &server.sql(sql)[0][0];
    text.parse().unwrap_or_else(|_| panic!("{sql}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_is_that_of_the_recording() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = imported(folder.path()).await;
    let mut file = recording();
    let names = file.headers().expect("a head").clone();
    let rows: Vec<csv::StringRecord> = file.records().map(|row| row.expect("a row")).collect();
    assert_eq!((names.len(), rows.len()), (203, 97));
    let fields: Vec<(usize, &str)> = names.iter().enumerate().skip(TEXT).collect();
    let asked: Vec<String> = fields
        .iter()
        .map(|(_, name)| {
            format!("count({name}), min({name})::double precision, max({name})::double precision")
        })
        .collect();
    let answer = &server.sql(&format!("SELECT {} FROM recording", asked.join(", ")))[0];
    for ((column, name), told) in fields.iter().zip(answer.chunks(3)) {
        let values: Vec<f64> = rows.iter().filter_map(|row| row[*column].parse().ok()).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let told: Vec<f64> = told.iter().map(|text| text.parse().expect("a number")).collect();
        assert_eq!(told, [values.len() as f64, least, most], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_and_gauges_agree_with_what_ran() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = imported(folder.path()).await;
    // The counter is in every tenth row.
    let (first, last) = ("2026-11-26T18:48:32Z", "2026-11-26T18:50:02Z");
    let watts = format!(
        "SELECT avg(power_usage_instant) FROM recording WHERE time BETWEEN '{first}' AND '{last}'"
    );
    let watts = number(&server, &watts);
    let energy = "SELECT increase(total_energy_consumption) / 1000.0 / 90 FROM recording";
    let energy = number(&server, energy);
    assert!((energy / watts - 1.0).abs() < 0.02, "{energy} W by the counter, {watts} W");
    let phases = [
        ("pipe_tensor_hmma_active", "18:48:53", "18:49:13", 0.9),
        ("pipe_fp32_active", "18:49:18", "18:49:24", 0.7),
        ("pipe_tensor_dfma_active", "18:49:28", "18:49:32", 0.9),
        ("dram_active", "18:49:36", "18:49:40", 0.8),
    ];
    for (column, from, to, least) in phases {
        let active = format!(
            "SELECT avg({column}) FROM recording \
             WHERE time BETWEEN '2026-11-26T{from}Z' AND '2026-11-26T{to}Z'"
        );
        let idle =
            format!("SELECT max({column}) FROM recording WHERE time < '2026-11-26T18:48:50Z'");
        assert!(number(&server, &active) > least, "{column}");
        assert!(number(&server, &idle) < 0.01, "{column} at rest");
    }
    let received = "SELECT avg(pcie_rx_bytes) FROM recording \
                    WHERE time BETWEEN '2026-11-26T18:49:45Z' AND '2026-11-26T18:49:49Z'";
    let received = number(&server, received);
    assert!((received / 55.09e9 - 1.0).abs() < 0.1, "{received} bytes a second");
}
