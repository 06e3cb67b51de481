//! Messages of the native stream, with blocks under the layouts that they define.

use super::Verdict;
use crate::convert::Plan;
use crate::frame::{self, Define, Frame, Message, decode};
use bytes::Bytes;
use hashbrown::HashMap;
use std::sync::Arc;

/// The messages of one stream, one after the other; each begins four bytes before its identifier.
/// What is read of a message can be written again and is read as the same.
pub fn frame(input: &[u8]) -> Verdict {
    let mut layouts = HashMap::new();
    let mut verdict = Ok(());
    for message in messages(input) {
        let read = read(&Bytes::copy_from_slice(message), &mut layouts);
        verdict = verdict.and(read);
    }
    verdict
}

fn messages(input: &[u8]) -> Vec<&[u8]> {
    let identified = |at: &usize| input[*at..].get(4..8) == Some(b"WPL1");
    let mut starts: Vec<usize> = (0..input.len()).filter(identified).collect();
    if starts.first() != Some(&0) {
        starts.insert(0, 0);
    }
    let ends = starts.iter().skip(1).copied().chain([input.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| &input[start..end]).collect()
}

fn read(message: &Bytes, layouts: &mut HashMap<u32, Plan>) -> Verdict {
    match decode(message).map_err(|error| error.to_string())? {
        Message::Define(define) => read_layout(define, layouts),
        Message::Frame(frame) => read_blocks(&frame, layouts),
        Message::Hello(hello) => {
            let again = frame::hello(&hello.producer, hello.session);
            let Ok(Message::Hello(again)) = decode(&again) else { panic!("no Hello") };
            assert_eq!((again.producer, again.session), (hello.producer, hello.session));
            Ok(())
        }
        Message::Welcome(welcome) => {
            let again = frame::welcome(&welcome);
            assert!(matches!(decode(&again), Ok(Message::Welcome(again)) if again == welcome));
            Ok(())
        }
        Message::Acknowledge(now) => {
            let again = frame::acknowledge(now);
            assert!(matches!(decode(&again), Ok(Message::Acknowledge(again)) if again == now));
            Ok(())
        }
        Message::Refusal(refusal) => {
            let again = frame::refusal(&refusal);
            assert!(matches!(decode(&again), Ok(Message::Refusal(again)) if again == refusal));
            Ok(())
        }
    }
}

fn read_layout(define: Define<'_>, layouts: &mut HashMap<u32, Plan>) -> Verdict {
    let layout = define.layout().map_err(|error| error.to_string())?;
    assert_eq!(layout.series().len(), define.series());
    let again = frame::define(define.number(), &layout);
    let Ok(Message::Define(again)) = decode(&again) else { panic!("no Define") };
    assert_eq!(again.layout().as_ref(), Ok(&layout));
    if layout.columns().is_empty() {
        return Err("the store takes no layout without columns".to_owned());
    }
    let admitted = Arc::new(layout.clone());
    let plan = Plan::new(layout, admitted).expect("the store would take all of it");
    layouts.insert(define.number(), plan);
    Ok(())
}

fn read_blocks(frame: &Frame<'_>, layouts: &HashMap<u32, Plan>) -> Verdict {
    let blocks: Vec<(u32, Bytes)> = frame.blocks().collect();
    let again = frame::frame(frame.sequence(), &blocks);
    let Ok(Message::Frame(again)) = decode(&again) else { panic!("no Frame") };
    assert!(again.blocks().eq(blocks.iter().cloned()));
    let mut verdict = Ok(());
    for (number, bytes) in blocks {
        let taken = match layouts.get(&number) {
            None => Err(format!("layout {number} is not defined")),
            Some(plan) => apply(plan, bytes),
        };
        verdict = verdict.and(taken);
    }
    verdict
}

fn apply(plan: &Plan, bytes: Bytes) -> Verdict {
    let applied = plan.apply(bytes, &(0..=i64::MAX));
    let (block, losses) = applied.map_err(|error| error.to_string())?;
    if let Some(block) = block {
        assert!(block.rows() > 0 && block.out_of_digits().is_empty());
        assert!((0..block.rows()).all(|row| block.time(row) >= 0));
    }
    match losses.values.first() {
        Some(loss) => Err(loss.example.to_string()),
        None if losses.rows > 0 => Err(format!("time {}", losses.time)),
        None => Ok(()),
    }
}
