//! `warpline agent --nvml` as a process, with a library of ours in the driver's place.

use crate::agent::Agent;
use crate::server::Server;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The library; false where there is no C compiler.
fn compile(library: &Path) -> bool {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = source.join("ingest/src/nvml/testdata/fake_nvml.c");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-shared", "-fPIC", "-DSTATE=\"/nowhere\"", "-o"]).arg(library).arg(source);
    let done = cc.status().is_ok_and(|status| status.success());
    if !done {
        eprintln!("NOT TESTED: NVML; there is no C compiler");
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn gpus_and_mig_instances_are_rows_of_a_tick() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("libnvidia-ml.so.1");
    if !compile(&library) {
        return;
    }
    let server = Server::start(&folder.path().join("data"), &[]).await;
    let (library, url) = (library.display().to_string(), server.url().to_string());
    let arguments = ["--nvml", "--nvml-library", &library, "--interval", "100ms", "--server", &url];
    let arguments = arguments.map(str::to_owned).to_vec();
    let mut agent = Agent::new(&folder.path().join("agent.stderr"), arguments);
    agent.launch();
    let told = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'gpu'";
    while server.number(told) == 0 || server.number("SELECT count(*) FROM gpu") < 33 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    agent.stop().await;
    let whole = "SELECT count(*) % 11 FROM gpu";
    assert_eq!(server.number(whole), 0, "every tick has its rows:\n{}", agent.said());
    let rows = server.sql(
        "SELECT gpu, max(xid_errors_total), max(sm_active), min(gpu_i_profile), \
         max(power_usage) FROM gpu WHERE gpu IN ('0', '1/5', '2') GROUP BY gpu ORDER BY gpu",
    );
    let wanted = [
        ["0", "0", "0.02", "", "123.456"],
        ["1/5", "", "0.0205", "3g.40gb", ""],
        ["2", "3", "", "", "123.458"],
    ];
    assert_eq!(rows, wanted.map(|row| row.map(str::to_owned).to_vec()));
}
