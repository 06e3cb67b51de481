//! Hostile inputs that are kept, through their decoders; and the seeds that are made of what this
//! room writes.

use super::block::layout;
use super::replay::{assert_kept, replay, segments};
use crate::model::BlockBuilder;
use std::path::Path;
use tempfile::TempDir;

/// What the first byte of a block's input chooses.
const LAYOUTS: [u8; 3] = [0, 1, 2];

#[test]
fn blocks() {
    let mut seeds = Vec::new();
    for which in LAYOUTS {
        seeds.push(encoded(which, &[(0, 1), (1, 1), (2, 1)], |_| true));
        seeds.push(encoded(which, &[(0, 1), (1, 1), (2, 1)], |at| at % 2 == 0));
        seeds.push(encoded(which, &[(2, 9), (0, -1), (2, 5), (2, i64::MAX)], |at| at % 3 != 0));
    }
    let names = ["tick", "tick-with-absent", "rows-and-times"];
    let names: Vec<String> = LAYOUTS
        .iter()
        .flat_map(|which| names.map(|name| format!("layout-{which}-{name}")))
        .collect();
    let seeds: Vec<_> = names.into_iter().zip(seeds).collect();
    assert_kept("fuzz/corpus/block", &seeds);
    replay("block", super::block);
}

/// A block of these series and times; values where `present` says so of their number.
fn encoded(which: u8, rows: &[(u32, i64)], present: impl Fn(usize) -> bool) -> Vec<u8> {
    let layout = layout(which);
    let mut builder = BlockBuilder::new(layout.clone());
    let mut at = 0;
    for (series, time) in rows {
        builder.row(*series, *time);
        for column in 0..layout.columns().len() {
            if present(at) {
                builder.set_stored(column, at as i64);
            }
            at += 1;
        }
    }
    [&[which], &builder.finish()[..]].concat()
}

#[test]
fn logs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/log/testdata/version-1");
    assert_kept("fuzz/corpus/log", &segments(&folder));
    let home = TempDir::new().unwrap();
    replay("log", |input| super::log(input, home.path()));
}

#[test]
fn commits() {
    replay("commit", super::commit);
}

#[test]
fn manifests() {
    replay("manifest", super::manifest);
}
