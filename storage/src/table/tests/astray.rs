//! Merges and removals whose commits go astray, and those that meet another handle's.
//!
//! Whatever happens, the rows of the table stay those that were flushed, each once, until a removal
//! takes them; a second handle that opens the table finds what the first one knows.

use super::faulty::{Fault, Faulty};
use super::{flush, schema, tables};
use crate::error::{ErrorKind, StorageError};
use crate::merge::{Merge, Wanted};
use crate::rules::{late_stays, merged_version, merged_writer};
use crate::snapshot::{DataFile, FileKind, Level, TimeRange};
use crate::table::delta::DeltaLog;
use crate::table::{Effort, FileAbout, Table, Tables, WrittenFile};
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What `flush` puts into a file.
const FLUSHED: u64 = 100;

pub(super) async fn merges_and_removals(store: Arc<dyn ObjectStore>) {
    let faulty = Faulty::over(store);
    let tables = tables(faulty.clone());
    lost_answers(&tables, &faulty).await;
    a_late_arrival(&tables, &faulty).await;
    a_flush_beside_a_merge(&tables, &faulty).await;
    two_merges_of_the_same_files(&tables, &faulty).await;
    a_removal_of_what_was_merged(&tables, &faulty).await;
    what_others_commit(&tables, &faulty).await;
    checkpoints_that_fail(&faulty).await;
}

/// A handle without anything to commit takes over what others have; not while it is in doubt.
async fn what_others_commit(tables: &Tables, faulty: &Faulty) {
    let (mut table, writer) = filled(tables, "refreshed", 2).await;
    let mut idle = tables.open_table("refreshed").await.unwrap();
    flush(&mut table, writer, 3).await.unwrap();
    assert!(idle.refresh().await.unwrap());
    assert_eq!((idle.version(), idle.files()), (table.version(), table.files()));
    faulty.arm(Fault::Lost);
    assert!(flush(&mut table, writer, 4).await.is_err());
    assert!(!table.refresh().await.unwrap());
    flush(&mut table, writer, 4).await.unwrap();
    assert!(table.refresh().await.unwrap());
    check(tables, &table, 4, 4).await;
}

/// A table of that name with as many flushed files.
async fn filled(tables: &Tables, name: &str, files: u64) -> (Table, Uuid) {
    let mut table = tables.create_table(&schema(name)).await.unwrap();
    let writer = Uuid::new_v4();
    for position in 1..=files {
        flush(&mut table, writer, position).await.unwrap();
    }
    (table, writer)
}

/// The rows of these files in one, not committed yet.
async fn merged(table: &Table, inputs: &[Arc<DataFile>]) -> Vec<WrittenFile> {
    let writer = table.writer();
    let stays = late_stays(inputs, &table.files());
    assert!(stays.is_empty(), "these tests have no late rows");
    let mut merge = Merge::of_files(
        writer.store(),
        writer.schema(),
        inputs,
        Wanted::New,
        stays,
        &[TimeRange::ALL],
    )
    .await
    .unwrap();
    let about = FileAbout {
        date: inputs[0].date,
        kind: FileKind::Monotone,
        writer: merged_writer(inputs).unwrap_or_else(Uuid::new_v4),
        positions: None,
        level: Level::Hour,
        version: Some(merged_version(inputs)),
        effort: Effort::Much,
    };
    let rows = std::iter::from_fn(move || merge.next());
    writer.write(rows, about).await.unwrap().into_iter().collect()
}

async fn merge(table: &mut Table, files: std::ops::Range<usize>) -> Result<bool, StorageError> {
    let inputs = table.files()[files].to_vec();
    let outputs = merged(table, &inputs).await;
    table.replace(&inputs, outputs).await
}

fn rows(table: &Table) -> u64 {
    table.files().iter().map(|file| file.rows).sum()
}

/// The table has these files and rows, for this handle and for a new one.
async fn check(tables: &Tables, table: &Table, files: usize, flushes: u64) {
    assert_eq!((table.files().len(), rows(table)), (files, flushes * FLUSHED));
    let opened = tables.open_table(&table.schema().table).await.unwrap();
    assert_eq!((opened.version(), opened.files()), (table.version(), table.files()));
}

async fn lost_answers(tables: &Tables, faulty: &Faulty) {
    let (mut table, writer) = filled(tables, "merged_unanswered", 9).await;
    for (fault, left) in [(Fault::Unanswered, 7), (Fault::Repeated, 5), (Fault::Slow, 3)] {
        faulty.arm(fault);
        assert!(merge(&mut table, 0..3).await.unwrap(), "{fault:?}");
        check(tables, &table, left, 9).await;
    }
    // A removal likewise; and one that was lost on the way is not made.
    let first = table.files()[..1].to_vec();
    faulty.arm(Fault::Lost);
    assert_eq!(table.expire(&first, super::DAY + 1).await.unwrap_err().kind(), ErrorKind::Retry);
    check(tables, &table, 3, 9).await;
    faulty.arm(Fault::Unanswered);
    assert!(table.expire(&first, super::DAY + 1).await.unwrap());
    let left = 9 - first[0].rows / FLUSHED;
    check(tables, &table, 2, left).await;
    assert!(!table.expire(&first, super::DAY + 1).await.unwrap(), "it is gone");
    flush(&mut table, writer, 10).await.unwrap();
    check(tables, &table, 3, left + 1).await;
}

async fn a_late_arrival(tables: &Tables, faulty: &Faulty) {
    let (mut table, writer) = filled(tables, "merged_late", 6).await;
    let inputs = table.files()[..3].to_vec();
    faulty.arm(Fault::Delayed);
    let outputs = merged(&table, &inputs).await;
    let error = table.replace(&inputs, outputs).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    check(tables, &table, 6, 6).await;
    // It is made after all; the same merge, made anew, finds that and gives up.
    assert!(faulty.deliver().await);
    let outputs = merged(&table, &inputs).await;
    assert!(!table.replace(&inputs, outputs).await.unwrap());
    check(tables, &table, 4, 6).await;

    // It comes too late: a flush has its place. Merging again is merging once.
    let inputs = table.files()[..2].to_vec();
    faulty.arm(Fault::Delayed);
    let outputs = merged(&table, &inputs).await;
    table.replace(&inputs, outputs).await.unwrap_err();
    flush(&mut table, writer, 7).await.unwrap();
    assert!(!faulty.deliver().await);
    check(tables, &table, 5, 7).await;
    assert!(merge(&mut table, 0..2).await.unwrap());
    check(tables, &table, 4, 7).await;

    // It comes before a flush that did not know: the flush follows it.
    faulty.arm(Fault::Delayed);
    merge(&mut table, 0..2).await.unwrap_err();
    assert!(faulty.deliver().await);
    flush(&mut table, writer, 8).await.unwrap();
    check(tables, &table, 4, 8).await;
    assert_eq!(table.covered(writer), Some(8));
}

async fn a_flush_beside_a_merge(tables: &Tables, faulty: &Faulty) {
    let (mut table, _) = filled(tables, "beside", 4).await;
    let mut other = tables.open_table("beside").await.unwrap();
    let (theirs, inputs) = (Uuid::new_v4(), table.files()[..3].to_vec());
    let outputs = merged(&table, &inputs).await;
    for fault in [None, Some(Fault::Unanswered), Some(Fault::Slow)] {
        if let Some(fault) = fault {
            faulty.arm(fault);
        }
        let position = other.version() + 10;
        flush(&mut other, theirs, position).await.unwrap();
    }
    assert!(table.replace(&inputs, outputs).await.unwrap(), "the flushes are of later versions");
    check(tables, &table, 5, 7).await;
    assert_eq!(table.foreign(), 3);
    // The other handle is behind by the merge and flushes all the same.
    flush(&mut other, theirs, 100).await.unwrap();
    check(tables, &other, 6, 8).await;
}

async fn two_merges_of_the_same_files(tables: &Tables, faulty: &Faulty) {
    for (name, fault) in [("twice", None), ("twice_astray", Some(Fault::Unanswered))] {
        let (mut one, _) = filled(tables, name, 5).await;
        let mut two = tables.open_table(name).await.unwrap();
        let inputs = one.files()[..3].to_vec();
        let (of_one, of_two) = (merged(&one, &inputs).await, merged(&two, &inputs).await);
        if let Some(fault) = fault {
            faulty.arm(fault);
        }
        let (first, second) =
            tokio::join!(one.replace(&inputs, of_one), two.replace(&inputs, of_two));
        assert_ne!(first.unwrap(), second.unwrap(), "exactly one is made");
        // Files that overlap in part: the second has to give up as well.
        let (some, others) = (one.files()[..2].to_vec(), two.files()[1..3].to_vec());
        let (of_one, of_two) = (merged(&one, &some).await, merged(&two, &others).await);
        assert!(one.replace(&some, of_one).await.unwrap());
        assert!(!two.replace(&others, of_two).await.unwrap());
        check(tables, &one, 2, 5).await;
        check(tables, &two, 2, 5).await;
    }
}

async fn a_removal_of_what_was_merged(tables: &Tables, faulty: &Faulty) {
    let (mut table, _) = filled(tables, "expired", 4).await;
    let mut other = tables.open_table("expired").await.unwrap();
    let old = other.files()[..1].to_vec();
    faulty.arm(Fault::Slow);
    assert!(merge(&mut table, 0..2).await.unwrap());
    assert!(!other.expire(&old, super::DAY + 1).await.unwrap(), "a merge has taken its file");
    check(tables, &other, 3, 4).await;
    // And a merge of what was removed meanwhile.
    let inputs = table.files()[..2].to_vec();
    let outputs = merged(&table, &inputs).await;
    assert!(other.expire(&inputs[..1], super::DAY + 1).await.unwrap());
    assert!(!table.replace(&inputs, outputs).await.unwrap());
    check(tables, &table, 2, 2).await;
}

/// Commits go on without checkpoints, and checkpoints once they can be written.
async fn checkpoints_that_fail(faulty: &Arc<Faulty>) {
    let name = "no_checkpoints";
    let tables = tables(faulty.clone());
    tables.create_table(&schema(name)).await.unwrap();
    let log = DeltaLog::new(faulty.clone(), name).unwrap().with_checkpoint_interval(3);
    let mut table = Table::open(Box::new(log), faulty.clone(), name).await.unwrap();
    faulty.refuse_checkpoints(true);
    let (writer, mut position) = (Uuid::new_v4(), 0);
    while faulty.refused() < 2 {
        position += 1;
        flush(&mut table, writer, position).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(merge(&mut table, 0..3).await.unwrap());
    check(&tables, &table, position as usize - 2, position).await;
    faulty.refuse_checkpoints(false);
    let hint = format!("{name}/_delta_log/_last_checkpoint").into();
    while faulty.head(&hint).await.is_err() {
        position += 1;
        flush(&mut table, writer, position).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    check(&tables, &table, position as usize - 2, position).await;
}
