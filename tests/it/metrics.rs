//! What the server tells of itself: the same over HTTP and over SQL.

use crate::server::Server;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn sql_tells_what_the_page_tells() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]).await;
    let url = server.url().join("write").expect("a URL");
    let point = reqwest::Client::new().post(url.clone()).body("disk,host=a used=1.5");
    let answer = point.send().await.expect("an answer");
    assert_eq!(answer.status(), 204);

    let value = "SELECT value::bigint FROM system.metrics WHERE name = 'warpline_rows_total'";
    assert_eq!(server.metric("warpline_rows_total ").await, 1);
    assert_eq!(server.number(value), 1);
    let level = "SELECT count(*) FROM system.metrics WHERE label(labels, 'level') = 'hour'";
    assert_eq!(server.number(level), 2, "files and bytes");

    let page = url.join("metrics").expect("a URL");
    let page = reqwest::get(page).await.expect("an answer").text().await.expect("a page");
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let names: BTreeSet<_> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
    let told = server.sql("SELECT DISTINCT name FROM system.metrics");
    let told: BTreeSet<_> = told.iter().map(|row| &*row[0]).collect();
    assert_eq!(told, names);
    assert_eq!(server.number("SELECT count(*) FROM system.tables WHERE \"table\" = 'disk'"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_allocator_tells_what_it_has_handed_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]).await;
    let of = |what| format!("max(value) FILTER (WHERE name = 'warpline_heap_{what}_bytes')");
    let (allocated, resident) = (of("allocated"), of("resident"));
    let sound = format!("{allocated} > 1048576 AND {resident} >= {allocated}");
    let told = server.sql(&format!("SELECT {sound}, {allocated}, {resident} FROM system.metrics"));
    assert_eq!(told[0][0], "true", "{told:?}");
}
