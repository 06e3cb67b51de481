//! The rules, run over random histories: writers that crash, producers that resend, late rows,
//! merges, retention, rollups and readers, all in memory.
//!
//! What every reader must see is told by the writes alone: the durable rows in the order of
//! commits and, within one, of positions, with the last write per field. After every step the
//! newest version, the view of every writer and the rollups are compared with that. A version
//! never changes, so that a reader pinned at it is a reader that was checked.
//!
//! ```text
//! world.rs    what can happen -> writer.rs   logs, buffers, flushes
//!                                merge.rs    plan, and commit later
//!                                table.rs    versions, and what is true at each
//!                                rollup.rs   tiers, and the runs they hold (runs.rs)
//! reader.rs   files, buffer and tiers -> answers, compared with the truth
//! ```
//! A flaw is a rule done wrong on purpose: the model must find out.

mod merge;
mod reader;
mod rollup;
mod rows;
mod runs;
mod table;
mod world;
mod writer;

use super::check::Broken;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use world::{Op, World, ops};

/// A rule that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// A merge passes over a late file between its inputs.
    SkipsLate,
    /// A merge ends amid the files of a version.
    SplitsVersion,
    /// A merge's closure is not looked at again when it is committed.
    PlansOnce,
    /// Files of other programs are merged with ours.
    MixesForeign,
    /// Outputs are as new as the merge.
    TakesCommitVersion,
    /// Outputs are as old as the oldest input.
    TakesLeastVersion,
    /// Outputs have version 0.
    TakesVersionZero,
    /// Late rows become new whatever older files have.
    PromotesLate,
    /// Outputs are said to be the first input's writer's.
    TakesFirstWriter,
    /// The buffer contests only its late rows.
    TrustsBuffer,
    /// A writer that takes over newer files keeps rows which they cover.
    KeepsCovered,
    /// Files of other programs do not dirty.
    ForeignIsClean,
    /// Buffered rows do not dirty.
    BufferIsClean,
    /// A tier is used with a version of raw that is older than it.
    ReadsTierAhead,
    /// What retention took away is rolled up again.
    RollsExpired,
}

fn run(ops: &[Op], flaw: Option<Flaw>) -> Result<(), Broken> {
    let mut world = World::new(flaw);
    for op in ops {
        world.step(op)?;
    }
    world.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn every_history_is_answered_right(ops in ops(60)) {
        if let Err(broken) = run(&ops, None) {
            return Err(TestCaseError::fail(broken.to_string()));
        }
    }
}

/// Histories of a world with a flaw break one of `invariants`, and soon.
fn is_found(flaw: Flaw, invariants: &[&str]) {
    let config = Config {
        cases: 20_000,
        max_shrink_iters: 500,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&ops(60), |ops| {
        run(&ops, Some(flaw)).map_err(|broken| TestCaseError::fail(broken.invariant))
    });
    match result {
        Err(TestError::Fail(reason, ops)) => {
            let known = invariants.contains(&reason.message());
            assert!(known, "{flaw:?} breaks {reason} by {ops:#?}");
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
        Ok(()) => panic!("the model lets {flaw:?} through"),
    }
}

macro_rules! flaws_are_found {
    ($($name:ident: $flaw:ident => $invariants:expr),+ $(,)?) => {$(
        #[test]
        fn $name() {
            is_found(Flaw::$flaw, &$invariants);
        }
    )+};
}

const FILES: &str = "files_answer_the_truth";
const VIEW: &str = "files_and_buffer_answer_the_truth";
const UNIQUE: &str = "uncontested_keys_are_unique";
const DISJOINT: &str = "monotone_files_are_disjoint";
const SMALL: &str = "small_buckets_are_raw";
const LARGE: &str = "large_buckets_are_raw";

flaws_are_found! {
    a_merge_that_skips_a_late_file_is_found: SkipsLate => [FILES],
    a_merge_that_splits_a_version_is_found: SplitsVersion => [FILES],
    a_merge_that_is_committed_blindly_is_found: PlansOnce => [FILES],
    a_merge_with_files_of_others_is_found: MixesForeign => [FILES, SMALL, LARGE],
    a_merge_that_takes_its_own_version_is_found: TakesCommitVersion => [FILES],
    a_merge_that_takes_the_least_version_is_found: TakesLeastVersion => [SMALL, LARGE, FILES],
    a_merge_that_takes_version_zero_is_found: TakesVersionZero => [FILES],
    late_rows_that_become_new_too_early_are_found: PromotesLate => [DISJOINT, UNIQUE],
    a_merge_that_takes_one_of_several_writers_is_found: TakesFirstWriter => [DISJOINT, UNIQUE],
    a_buffer_that_knows_only_its_own_files_is_found: TrustsBuffer => [UNIQUE],
    rows_in_files_and_buffer_are_found: KeepsCovered => [UNIQUE, VIEW],
    files_of_others_that_do_not_dirty_are_found: ForeignIsClean => [SMALL, LARGE],
    a_buffer_that_does_not_dirty_is_found: BufferIsClean => [SMALL, LARGE],
    a_tier_ahead_of_raw_is_found: ReadsTierAhead => [SMALL, LARGE],
    a_rollup_of_what_has_expired_is_found: RollsExpired => ["expired_buckets_stay"],
}

/// Files as the rules see them, for tests of single rules.
pub(super) mod fixture {
    use crate::snapshot::{DataFile, FileKind, FileOrder, Level, TimeRange};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use uuid::Uuid;

    static FILES: AtomicU64 = AtomicU64::new(0);

    /// A file that no other has the path of; later ones sort after it.
    pub(in crate::rules) fn file(
        version: u64,
        kind: FileKind,
        first: i64,
        last: i64,
    ) -> Arc<DataFile> {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        Arc::new(DataFile {
            path: format!("t/{number:09}.parquet").into(),
            bytes: 1,
            rows: 10,
            times: TimeRange { first, last },
            order: FileOrder { version, kind },
            writer: Uuid::from_u128(1),
            kind,
            level: Level::Flush,
            date: chrono::NaiveDate::default(),
        })
    }

    pub(in crate::rules) fn written_by(version: u64, writer: u128) -> Arc<DataFile> {
        let mut file = file(version, FileKind::Monotone, 0, 9);
        Arc::make_mut(&mut file).writer = Uuid::from_u128(writer);
        file
    }
}
