//! Seeds, and what they find.
//!
//! `WARPLINE_SEED=x` runs that seed alone, `WARPLINE_SEEDS=n` so many in each of the eight tests.

use super::history::run;
use super::world::Flaw;
use std::fmt::Write;

/// Lines of a history that a failure shows, where no seed was asked for.
const SHOWN: usize = 40;
/// Seeds that a test runs by itself; there are eight such tests, so that they run side by side.
const SEEDS: u64 = 125;
/// Seeds that have found something, until what is drawn changes: docs/decisions/2026-11-24-simulation.md
/// says what.
const KEPT: [u64; 4] = [62, 116, 1_000_139, 1_001_267];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
}

fn check(seed: u64) -> (u64, u64) {
    let outcome = run(seed, None);
    if let Some(failure) = outcome.failure {
        let mut history = String::new();
        let all = outcome.history.len();
        let shown = if number("WARPLINE_SEED").is_some() { all } else { SHOWN.min(all) };
        let last = &outcome.history[all - shown..];
        for line in last {
            writeln!(history, "{line}").expect("a text");
        }
        panic!("{history}\nWARPLINE_SEED={seed}: {failure}");
    }
    (outcome.compared, outcome.buckets)
}

fn check_all(first: u64) {
    let seeds = match number("WARPLINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("WARPLINE_SEEDS").unwrap_or(SEEDS),
    };
    let all = seeds.end - seeds.start;
    let (compared, buckets) = seeds.map(check).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    println!("{all} seeds, {compared} comparisons, {buckets} buckets");
    assert!(all < 100 || (compared > 10 * all && buckets > all), "{compared}, {buckets}");
}

/// No history of a set of seeds loses, doubles or invents a row.
macro_rules! no_history_lies {
    ($($set:ident from $first:literal,)*) => {$(
        #[test]
        fn $set() {
            check_all($first);
        }
    )*};
}

no_history_lies! {
    histories_from_0_hold from 0,
    histories_from_300_hold from 300,
    histories_from_1_000_000_hold from 1_000_000,
    histories_from_1_000_300_hold from 1_000_300,
    histories_from_2_000_000_hold from 2_000_000,
    histories_from_2_000_300_hold from 2_000_300,
    histories_from_3_000_000_hold from 3_000_000,
    histories_from_3_000_300_hold from 3_000_300,
}

#[test]
fn what_was_found_is_mended() {
    for seed in KEPT {
        check(seed);
    }
}

#[test]
fn a_seed_is_one_history() {
    for seed in 0..20 {
        let (one, other) = (run(seed, None), run(seed, None));
        assert_eq!(one.history, other.history, "seed {seed}");
        assert_eq!(one.hash, other.hash, "seed {seed}");
    }
}

/// How soon a flaw is found out.
fn found_after(flaw: Flaw) -> u64 {
    let found = (0..40).find(|seed| run(*seed, Some(flaw)).failure.is_some());
    found.unwrap_or_else(|| panic!("{flaw:?} is not found out"))
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    println!("seed {}", found_after(Flaw::SyncsNothing));
}

#[test]
fn a_log_that_loses_commits_is_found_out() {
    println!("seed {}", found_after(Flaw::LosesCommits));
}

#[test]
fn a_store_that_loses_files_is_found_out() {
    println!("seed {}", found_after(Flaw::LosesFiles));
}
