//! `kill -9` at random moments, of the server and of the producer: every row that was
//! acknowledged is there, once.

use crate::audit::{self, ROWS, TABLE};
use crate::server::{RESTLESS, Server, rows_in_files};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use url::Url;

/// Names the producer's work to the test binary that is started as a producer.
const WORK: &str = "WARPLINE_TEST_PRODUCER";

/// A random moment between two waits; every run of the test has other moments.
pub(crate) fn moment(shortest: u64, longest: u64) -> Duration {
    let random = uuid::Uuid::new_v4().as_u128() as u64;
    Duration::from_millis(shortest + random % (longest - shortest))
}

/// Every frame up to `acknowledged` is in the answer, whole.
pub(crate) fn check_acknowledged(server: &Server, acknowledged: u64) {
    let counted =
        server.number(&format!("SELECT count(*) FROM {TABLE} WHERE frame <= {acknowledged}"));
    assert_eq!(counted, (acknowledged * ROWS).cast_signed(), "rows of acknowledged frames");
}

/// Exactly the frames up to `last`, in SQL and in the files.
pub(crate) async fn check_all(server: &mut Server, data: &Path, last: u64) {
    let rows = (last * ROWS).cast_signed();
    let asked = format!("SELECT count(*), sum(frame), count(DISTINCT frame) FROM {TABLE}");
    let wanted = [rows.to_string(), audit::sum_of_frames(last).to_string(), last.to_string()];
    assert_eq!(server.sql(&asked), [wanted]);
    server.stop().await;
    assert_eq!(rows_in_files(data, TABLE).await, last * ROWS, "each row committed once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_dies_again_and_again() {
    const LAST: u64 = 6_000;
    let folder = tempfile::tempdir().expect("a folder");
    let (data, journal) = (folder.path().join("data"), folder.path().join("journal"));
    let mut server = Server::start(&data, &RESTLESS).await;
    let producing = tokio::spawn({
        let (url, journal) = (server.url(), journal.clone());
        async move { audit::produce(url, LAST, &journal).await }
    });
    let mut deaths = 0;
    while !producing.is_finished() && deaths < 12 {
        tokio::time::sleep(moment(20, 500)).await;
        server.kill();
        deaths += 1;
        let acknowledged = audit::acknowledged(&journal);
        server.restart().await;
        if acknowledged > 0 {
            check_acknowledged(&server, acknowledged);
        }
    }
    producing.await.expect("the producer ends well");
    assert!(deaths >= 3, "the server died only {deaths} times");
    check_all(&mut server, &data, LAST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_and_server_die_again_and_again() {
    const LAST: u64 = 3_000;
    let folder = tempfile::tempdir().expect("a folder");
    let (data, journal) = (folder.path().join("data"), folder.path().join("journal"));
    let mut server = Server::start(&data, &RESTLESS).await;
    for _ in 0..6 {
        let mut producer = start_producer(&server.url(), LAST, &journal);
        tokio::time::sleep(moment(100, 600)).await;
        producer.kill().expect("a living producer");
        producer.wait().expect("its status");
        if moment(0, 2).as_millis() == 0 {
            server.kill();
            server.restart().await;
        }
        let acknowledged = audit::acknowledged(&journal);
        if acknowledged > 0 {
            check_acknowledged(&server, acknowledged);
        }
    }
    let mut producer = start_producer(&server.url(), LAST, &journal);
    let waited = tokio::task::spawn_blocking(move || producer.wait());
    assert!(waited.await.expect("a thread").expect("its status").success());
    check_all(&mut server, &data, LAST).await;
}

/// This test binary as a process of its own that does nothing but [`audit::produce`].
fn start_producer(server: &Url, last: u64, journal: &Path) -> Child {
    let work = serde_json::json!({ "server": server, "last": last, "journal": journal });
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "kill::as_a_producer", "--nocapture"])
        .env(WORK, work.to_string())
        .stdout(Stdio::null())
        .spawn()
        .expect("the producer starts")
}

/// Not a test by itself: what [`start_producer`] runs.
#[tokio::test(flavor = "multi_thread")]
async fn as_a_producer() {
    let Ok(work) = std::env::var(WORK) else { return };
    let work: serde_json::Value = serde_json::from_str(&work).expect("work in JSON");
    let text = |key: &str| work[key].as_str().expect("a text").to_owned();
    let server = Url::parse(&text("server")).expect("a URL");
    let last = work["last"].as_u64().expect("a number");
    audit::produce(server, last, Path::new(&text("journal"))).await;
}
