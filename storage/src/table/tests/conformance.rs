//! One list of checks, run on memory, on a local folder and on S3.

use super::astray;
use super::faulty::{Fault, Faulty};
use super::{about, flush, rows, schema, tables};
use crate::error::ErrorKind;
use crate::model::{Field, FieldType};
use crate::snapshot::FileKind;
use crate::store::{DurableLocal, open_store};
use crate::table::delta::DeltaLog;
use crate::table::log::TableLog;
use crate::table::{Table, Tables};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use uuid::Uuid;

async fn conformance(store: Arc<dyn ObjectStore>) {
    a_new_store_has_no_tables(&tables(store.clone())).await;
    a_schema_of_every_type_comes_back(&tables(store.clone())).await;
    files_and_position_come_back(&tables(store.clone())).await;
    a_position_never_goes_back(&tables(store.clone())).await;
    a_fenced_handle_commits_no_more(&tables(store.clone())).await;
    others_may_commit_beside(&tables(store.clone())).await;
    a_wider_table_keeps_its_files(&tables(store.clone())).await;
    a_checkpoint_keeps_the_tags(store.clone()).await;
    a_version_that_was_cleaned_up_is_not_free(store.clone()).await;
    what_is_discarded_is_gone(store.clone()).await;
    a_newer_format_is_refused(store.clone()).await;
    commits_go_astray(store.clone()).await;
    astray::merges_and_removals(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_in_memory() {
    conformance(Arc::new(InMemory::new())).await;
}

#[tokio::test]
async fn tables_on_one_thread() {
    files_and_position_come_back(&tables(Arc::new(InMemory::new()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("made/on the way");
    conformance(Arc::new(DurableLocal::open(&root).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_on_s3() {
    let Ok(endpoint) = std::env::var("WARPLINE_TEST_S3") else {
        eprintln!("SKIPPED: tables_on_s3 needs WARPLINE_TEST_S3, the URL of an S3 test server");
        return;
    };
    let bucket = format!("warpline-{}", Uuid::new_v4().simple());
    make_bucket(&Url::parse(&endpoint).unwrap(), &bucket);
    let options = [
        ("endpoint", endpoint.as_str()),
        ("region", "us-east-1"),
        ("access_key_id", "test"),
        ("secret_access_key", "test"),
        ("allow_http", "true"),
    ];
    let options: HashMap<_, _> =
        options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let url = Url::parse(&format!("s3://{bucket}/some/prefix")).unwrap();
    conformance(open_store(&url, &options).unwrap()).await;
}

/// Test servers take the request unsigned.
fn make_bucket(endpoint: &Url, bucket: &str) {
    let address = endpoint.socket_addrs(|| None).unwrap()[0];
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!("PUT /{bucket} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

async fn a_new_store_has_no_tables(tables: &Tables) {
    assert!(tables.names().await.unwrap().is_empty());
    let error = tables.open_table("gpu").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
}

async fn a_schema_of_every_type_comes_back(tables: &Tables) {
    let schema = schema("every_type:a.b");
    let created = tables.create_table(&schema).await.unwrap();
    assert_eq!(**created.schema(), schema);
    let opened = tables.open_table("every_type:a.b").await.unwrap();
    assert_eq!(**opened.schema(), schema);
    assert_eq!((opened.version(), opened.files().len()), (0, 0));
    let again = tables.create_table(&schema).await.unwrap();
    assert_eq!(again.version(), 0);
    assert_eq!(tables.names().await.unwrap(), ["every_type:a.b"]);
}

async fn files_and_position_come_back(tables: &Tables) {
    let mut table = tables.create_table(&schema("reopened")).await.unwrap();
    let writer = Uuid::new_v4();
    assert_eq!(table.covered(writer), None);
    for position in [3, 7, 8] {
        flush(&mut table, writer, position).await.unwrap();
    }
    let late = crate::table::FileAbout { kind: FileKind::Late, ..about(writer, 9, 12) };
    let start = super::DAY + 5 * super::SECOND;
    let batches = [rows(table.schema(), 3, 7, start)];
    let file = table.writer().write(batches.into_iter().map(Ok), late).await.unwrap().unwrap();
    table.commit(vec![file], writer, 12).await.unwrap();
    assert!(table.writer().write(std::iter::empty(), late).await.unwrap().is_none());

    let files = table.files();
    let last = &files[3];
    assert_eq!((last.rows, last.kind, last.writer), (21, FileKind::Late, writer));
    assert_eq!((last.times.first, last.times.last), (start, start + 6 * super::SECOND));
    let versions: Vec<_> = files.iter().map(|file| file.order.version).collect();
    assert_eq!(versions, [1, 2, 3, 4]);
    let head = tables.store().head(&last.path).await.unwrap();
    assert_eq!(head.size, last.bytes);

    let opened = tables.open_table("reopened").await.unwrap();
    assert_eq!(opened.files(), files);
    assert_eq!((opened.version(), opened.covered(writer)), (4, Some(12)));
}

async fn a_position_never_goes_back(tables: &Tables) {
    let mut table = tables.create_table(&schema("forward")).await.unwrap();
    let writer = Uuid::new_v4();
    flush(&mut table, writer, 5).await.unwrap();
    for position in [4, 5] {
        let error = flush(&mut table, writer, position).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
    assert_eq!((table.version(), table.covered(writer)), (1, Some(5)));
    table.commit(Vec::new(), writer, 6).await.unwrap();
    let opened = tables.open_table("forward").await.unwrap();
    assert_eq!((opened.version(), opened.covered(writer)), (2, Some(6)));
}

async fn a_fenced_handle_commits_no_more(tables: &Tables) {
    let writer = Uuid::new_v4();
    let mut first = tables.create_table(&schema("fenced")).await.unwrap();
    flush(&mut first, writer, 5).await.unwrap();
    let mut second = tables.open_table("fenced").await.unwrap();
    // What the first one does before it is fenced, the second one learns by fencing.
    flush(&mut first, writer, 6).await.unwrap();
    assert_eq!(second.covered(writer), Some(5));
    second.fence(writer).await.unwrap();
    assert_eq!(second.covered(writer), Some(6));
    for _ in 0..2 {
        let error = flush(&mut first, writer, 7).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    }
    // A change that needs no position still works, and does not lift the fence.
    let mut wider = schema("fenced");
    wider.attributes.push("rack".into());
    first.evolve(&wider).await.unwrap();
    let error = flush(&mut first, writer, 7).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");

    flush(&mut second, writer, 7).await.unwrap();
    assert_eq!(second.files().len(), 3);
    let mut third = tables.open_table("fenced").await.unwrap();
    let unknown = Uuid::new_v4();
    third.fence(unknown).await.unwrap();
    assert_eq!(third.covered(unknown), Some(0));
    flush(&mut third, unknown, 1).await.unwrap();
}

async fn others_may_commit_beside(tables: &Tables) {
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let mut first = tables.create_table(&schema("shared")).await.unwrap();
    let mut second = tables.open_table("shared").await.unwrap();
    for position in 1..=2 {
        flush(&mut first, one, position).await.unwrap();
        flush(&mut second, two, position).await.unwrap();
    }
    flush(&mut first, one, 3).await.unwrap();
    assert_eq!((first.version(), first.files().len()), (5, 5));
    let versions: Vec<_> = first.files().iter().map(|file| file.order.version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5]);
    assert_eq!(first.covered(two), Some(2));
    assert_eq!(tables.open_table("shared").await.unwrap().files(), first.files());
}

async fn a_wider_table_keeps_its_files(tables: &Tables) {
    let writer = Uuid::new_v4();
    let mut table = tables.create_table(&schema("wider")).await.unwrap();
    let mut other = tables.open_table("wider").await.unwrap();
    flush(&mut table, writer, 1).await.unwrap();
    let mut wide = schema("wider");
    wide.attributes.push("rack".into());
    wide.fields.insert(0, Field { name: "new".into(), field_type: FieldType::Int16 });
    table.evolve(&wide).await.unwrap();
    let version = table.version();
    table.evolve(&wide).await.unwrap();
    assert_eq!(table.version(), version, "nothing new, no commit");
    assert_eq!(table.files().len(), 1);
    flush(&mut table, writer, 2).await.unwrap();

    // Another handle that has not seen this adds columns of its own.
    let mut wide = schema("wider");
    wide.fields.push(Field { name: "own".into(), field_type: FieldType::Float64 });
    other.evolve(&wide).await.unwrap();
    let opened = tables.open_table("wider").await.unwrap();
    assert_eq!(opened.schema(), other.schema());
    let names: Vec<_> = opened.schema().fields.iter().map(|field| &*field.name).collect();
    assert_eq!(names[names.len() - 2..], ["new", "own"]);
    assert_eq!(opened.schema().attributes.last().unwrap().as_ref(), "rack");
    assert_eq!(opened.files(), table.files());
    // The first handle is behind and commits all the same.
    flush(&mut table, writer, 3).await.unwrap();
    assert_eq!(table.schema(), other.schema());

    wide.fields[0].field_type = FieldType::Float64;
    let error = table.evolve(&wide).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    let mut wide = schema("wider");
    wide.fields.push(Field { name: "Rack".into(), field_type: FieldType::Float64 });
    let error = table.evolve(&wide).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
}

async fn a_checkpoint_keeps_the_tags(store: Arc<dyn ObjectStore>) {
    let writer = Uuid::new_v4();
    tables(store.clone()).create_table(&schema("checked")).await.unwrap();
    let log = DeltaLog::new(store.clone(), "checked").unwrap().with_checkpoint_interval(4);
    let mut table = Table::open(Box::new(log), store.clone(), "checked").await.unwrap();
    for position in 1..=4 {
        flush(&mut table, writer, position).await.unwrap();
    }
    let folder = Path::from("checked/_delta_log");
    while store.head(&folder.clone().join("_last_checkpoint")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for position in 5..=6 {
        flush(&mut table, writer, position).await.unwrap();
    }
    // With these gone, what is read of the first files comes from the checkpoint.
    for version in 0..4 {
        store.delete(&folder.clone().join(format!("{version:020}.json"))).await.unwrap();
    }
    let opened = tables(store.clone()).open_table("checked").await.unwrap();
    assert_eq!(opened.files(), table.files());
    assert_eq!(opened.covered(writer), Some(6));
    assert_eq!(**opened.schema(), schema("checked"));
    let listed: Vec<_> = store.list(Some(&folder)).try_collect().await.unwrap();
    let checkpoints = listed.iter().filter(|entry| entry.location.as_ref().contains("checkpoint."));
    assert_eq!(checkpoints.count(), 1);
}

/// A handle that has slept for days aims at a version that was made and cleaned up meanwhile.
async fn a_version_that_was_cleaned_up_is_not_free(store: Arc<dyn ObjectStore>) {
    let tables = tables(store.clone());
    tables.create_table(&schema("slept")).await.unwrap();
    let mut log = DeltaLog::new(store.clone(), "slept").unwrap();
    let state = log.load().await.unwrap();
    log.age();
    let mut slept = Table::at(Box::new(log), state, store.clone(), "slept").await.unwrap();

    let log = DeltaLog::new(store.clone(), "slept").unwrap().with_checkpoint_interval(2);
    let mut table = Table::open(Box::new(log), store.clone(), "slept").await.unwrap();
    for position in 1..=3 {
        flush(&mut table, Uuid::new_v4(), position).await.unwrap();
    }
    let folder = Path::from("slept/_delta_log");
    while store.head(&folder.clone().join("_last_checkpoint")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.delete(&folder.clone().join(format!("{:020}.json", 1))).await.unwrap();

    let error = flush(&mut slept, Uuid::new_v4(), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let opened = tables.open_table("slept").await.unwrap();
    assert_eq!((opened.version(), opened.files()), (table.version(), table.files()));
}

async fn what_is_discarded_is_gone(store: Arc<dyn ObjectStore>) {
    let table = tables(store.clone()).create_table(&schema("discarded")).await.unwrap();
    let batch = rows(table.schema(), 2, 2, super::DAY);
    let about = about(Uuid::new_v4(), 1, 1);
    let written = table.writer().write([Ok(batch)].into_iter(), about).await.unwrap().unwrap();
    let path = Path::from(format!("discarded/{}", written.path));
    store.head(&path).await.unwrap();
    assert_eq!(table.writer().discard(&[written]).await, 1);
    let error = store.head(&path).await.unwrap_err();
    assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
}

async fn a_newer_format_is_refused(store: Arc<dyn ObjectStore>) {
    let tables = tables(store.clone());
    tables.create_table(&schema("newer")).await.unwrap();
    let path = Path::from("newer/_delta_log/00000000000000000000.json");
    let text = store.get(&path).await.unwrap().bytes().await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let newer = text.replace(r#""warpline.format":"2""#, r#""warpline.format":"3""#);
    assert_ne!(text, newer);
    store.put(&path, newer.into_bytes().into()).await.unwrap();
    let error = tables.open_table("newer").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("format 3"), "{error}");
}

async fn commits_go_astray(store: Arc<dyn ObjectStore>) {
    let faulty = Faulty::over(store);
    let tables = tables(faulty.clone());
    let mut table = tables.create_table(&schema("astray")).await.unwrap();
    let writer = Uuid::new_v4();
    flush(&mut table, writer, 1).await.unwrap();

    for (position, fault) in [(2, Fault::Unanswered), (3, Fault::Repeated)] {
        faulty.arm(fault);
        flush(&mut table, writer, position).await.unwrap();
        assert_eq!(table.covered(writer), Some(position));
        assert_eq!(table.files().len() as u64, position);
    }

    let batch = rows(table.schema(), 2, 2, super::DAY + 400 * super::SECOND);
    let written = table.writer().write([Ok(batch)].into_iter(), about(writer, 4, 4)).await.unwrap();
    let files: Vec<_> = written.into_iter().collect();
    faulty.arm(Fault::Lost);
    let error = table.commit(files.clone(), writer, 4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    faulty.arm(Fault::Delayed);
    let error = table.commit(files.clone(), writer, 4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert_eq!(table.files().len(), 3);
    // The commit arrives after all; the call that repeats it finds out.
    assert!(faulty.deliver().await);
    table.commit(files.clone(), writer, 4).await.unwrap();
    assert_eq!((table.version(), table.files().len()), (4, 4));

    // It arrives too late: the repeated commit has its place.
    let batch = rows(table.schema(), 2, 2, super::DAY + 500 * super::SECOND);
    let written = table.writer().write([Ok(batch)].into_iter(), about(writer, 5, 5)).await.unwrap();
    let files: Vec<_> = written.into_iter().collect();
    faulty.arm(Fault::Delayed);
    table.commit(files.clone(), writer, 5).await.unwrap_err();
    table.commit(files, writer, 5).await.unwrap();
    assert!(!faulty.deliver().await);

    // It arrives, and the caller wants something else by now: the caller has to think again.
    faulty.arm(Fault::Delayed);
    flush(&mut table, writer, 6).await.unwrap_err();
    assert!(faulty.deliver().await);
    let error = flush(&mut table, writer, 8).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert_eq!(table.covered(writer), Some(6));
    flush(&mut table, writer, 8).await.unwrap();

    let opened = tables.open_table("astray").await.unwrap();
    assert_eq!(opened.files(), table.files());
    assert_eq!(opened.files().len(), 7);
}
