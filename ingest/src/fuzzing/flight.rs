//! Arrow batches, as `DoPut` of Arrow Flight brings them.

use super::{DICTIONARY, Verdict, rows};
use crate::flight::{Decoder, FlightError, FlightRegister, Plan, Read};
use arrow::ipc;
use bytes::Bytes;
use warpline_storage::Storage;

/// What a batch's arrays may take.
const LIMIT: usize = 1 << 20;
/// What a batch's rows may take, and the tags of its series.
const MEMORY: usize = 1 << 20;
/// Before a message in a stream of Arrow IPC; its header's length follows.
const BEGINS: [u8; 4] = [0xff; 4];

/// A stream of Arrow IPC: the schema, then dictionaries and batches. A message that cannot be read
/// ends it. The rows of a batch are as many as the batch has, or fewer and told.
pub fn flight(input: &[u8], storage: &Storage) -> Verdict {
    read(input, storage).map_err(|error| error.to_string())?
}

fn read(input: &[u8], storage: &Storage) -> Result<Verdict, FlightError> {
    let mut rest = input;
    let Some((header, _)) = next(&mut rest) else { return Ok(Err("no schema".to_owned())) };
    let mut decoder = Decoder::new(&header, LIMIT)?;
    let mut register = FlightRegister::new(DICTIONARY.clone(), rows::SERIES, MEMORY);
    let wide = decoder.columns().iter().any(|column| column.name == "gpu");
    let table = if wide { "gpu" } else { "t" };
    let plan = register.plan(table, decoder.columns(), 0, storage)?;
    let mut verdict = Ok(());
    while let Some((header, body)) = next(&mut rest) {
        decoder.cost(&header, &body, plan.wanted())?;
        if let Read::Batch(batch) = decoder.read(&header, &body, plan.wanted())? {
            let mapped = map(&mut register, &plan, &batch, storage)?;
            verdict = verdict.and(mapped);
        }
    }
    Ok(verdict)
}

fn map(
    register: &mut FlightRegister,
    plan: &Plan,
    batch: &crate::flight::Batch,
    storage: &Storage,
) -> Result<Verdict, FlightError> {
    let (blocks, tally) = register.map(plan, batch, 0, storage)?;
    let (again, _) = register.map(plan, batch, 0, storage)?;
    assert_eq!(rows::rows(&again), rows::rows(&blocks), "its series are known now");
    Ok(rows::verdict(&tally.refused))
}

/// The next message's header, and the body that the header tells of as far as there is one.
fn next(rest: &mut &[u8]) -> Option<(Bytes, Bytes)> {
    let length = rest.strip_prefix(&BEGINS)?.first_chunk()?;
    let after = &rest[8..];
    let (header, after) = cut(after, i64::from(i32::from_le_bytes(*length)));
    let told = ipc::root_as_message(header).map_or(0, |message| message.bodyLength());
    let (body, after) = cut(after, told);
    *rest = after;
    (!header.is_empty()).then(|| (Bytes::copy_from_slice(header), Bytes::copy_from_slice(body)))
}

/// So many bytes, or all that there are.
fn cut(bytes: &[u8], length: i64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(length).unwrap_or(0).min(bytes.len()))
}
