//! A request on its way into a register: what it says becomes rows or is refused.

use super::{DICTIONARY, Verdict};
use crate::refused::Refused;
use crate::register::{Register, Tally};
use std::fmt::Display;
use warpline_storage::Storage;
use warpline_storage::model::Block;

/// Series that are known at a time: few, so that the limit is met too.
pub(super) const SERIES: usize = 256;

/// Reads a request twice into one register. No sample becomes more than one row, and the second
/// time, when its series are known, as many rows come of it.
pub(super) fn register<T, E: Display>(
    storage: &Storage,
    mut read: impl FnMut(&mut Register) -> Result<T, E>,
) -> Result<(T, Tally), String> {
    let mut register = Register::new(DICTIONARY.clone(), SERIES);
    let mut request = || {
        register.begin(0, 0..=i64::MAX);
        match read(&mut register) {
            Ok(read) => {
                let finished = register.finish(storage);
                let (blocks, tally) = finished.expect("what is refused is told in the tally");
                assert!(rows(&blocks) <= tally.samples as usize);
                Ok((read, tally, rows(&blocks)))
            }
            Err(error) => {
                register.discard();
                Err(error.to_string())
            }
        }
    };
    let (read, tally, rows) = request()?;
    let (_, again, rows_again) = request().expect("what was read is read again");
    assert_eq!((rows_again, again.samples), (rows, tally.samples));
    Ok((read, tally))
}

pub(super) fn rows(blocks: &[Block]) -> usize {
    blocks.iter().map(Block::rows).sum()
}

pub(super) fn verdict(refused: &Refused) -> Verdict {
    match refused.examples() {
        _ if refused.total() == 0 => Ok(()),
        [first, ..] => Err(first.clone()),
        [] => panic!("what is refused has an example"),
    }
}
