//! A backlog in memory: layouts, and frames that are not durable yet, oldest first.
//!
//! ```text
//! sent, not durable | not sent on this connection
//! 0 ............... sent ........................ len
//! ```

use super::options::{ClientError, ClientOptions};
use super::state::Backlog;
use crate::frame::{self, Welcome};
use bytes::Bytes;
use std::collections::VecDeque;
use warpline_storage::Acknowledged;
use warpline_storage::model::{Layout, Sequence};

#[derive(Debug)]
pub(super) struct Window {
    max_frames: usize,
    max_bytes: usize,
    /// The Define messages by layout number, and how many were sent on this connection.
    definitions: Vec<Bytes>,
    defined: usize,
    frames: VecDeque<(Sequence, Bytes)>,
    sent: usize,
    bytes: usize,
    durable: Sequence,
    /// The last sequence that may be on the server by this client's account: where its first
    /// Welcome stood, or what it has sent since. `None` before that.
    claimed: Option<Sequence>,
    /// The last Welcome's: it outlives the connection.
    max_message: usize,
}

impl Window {
    pub(super) fn new(options: &ClientOptions) -> Self {
        Self {
            max_frames: options.window_frames.max(1),
            max_bytes: options.window_bytes,
            definitions: Vec::new(),
            defined: 0,
            frames: VecDeque::new(),
            sent: 0,
            bytes: 0,
            durable: 0,
            claimed: None,
            max_message: usize::MAX,
        }
    }

    pub(super) fn define(&mut self, layout: &Layout) -> Result<u32, ClientError> {
        let number = self.definitions.len() as u32;
        let message = frame::define(number, layout);
        self.check_size(message.len())?;
        self.definitions.push(message);
        Ok(number)
    }

    pub(super) fn check_frame(&self, blocks: &[(u32, Bytes)]) -> Result<(), ClientError> {
        let defined = self.definitions.len();
        if let Some((number, _)) = blocks.iter().find(|(number, _)| *number as usize >= defined) {
            return Err(ClientError::UnknownLayout { number: *number });
        }
        self.check_size(frame::frame_bytes(blocks))
    }

    fn check_size(&self, bytes: usize) -> Result<(), ClientError> {
        let limit = self.max_message;
        if bytes <= limit { Ok(()) } else { Err(ClientError::TooLarge { bytes, limit }) }
    }

    /// Takes a frame if there is room. What the server has already is not kept.
    pub(super) fn push(&mut self, sequence: Sequence, message: &Bytes) -> bool {
        if sequence > self.durable {
            let room =
                self.frames.len() < self.max_frames && self.bytes + message.len() <= self.max_bytes;
            // A frame larger than the whole window goes alone.
            if !room && !self.frames.is_empty() {
                return false;
            }
            assert!(self.frames.back().is_none_or(|(last, _)| *last < sequence), "sequences rise");
            self.bytes += message.len();
            self.frames.push_back((sequence, message.clone()));
        }
        self.claim(sequence);
        true
    }

    fn claim(&mut self, sequence: Sequence) {
        self.claimed = self.claimed.max(Some(sequence));
    }

    /// Frames of another process under this producer's name have taken the sequences of ours, which
    /// would be dropped as repeats.
    fn check_own(&self, durable: Sequence) -> Result<(), ClientError> {
        match self.claimed {
            Some(claimed) if durable > claimed => Err(ClientError::Overtaken { durable, claimed }),
            _ => Ok(()),
        }
    }
}

impl Backlog for Window {
    fn meet(&mut self, welcome: &Welcome) -> Result<(), ClientError> {
        self.check_own(welcome.durable)?;
        self.claim(welcome.durable);
        self.max_message = welcome.max_message as usize;
        self.defined = 0;
        self.sent = 0;
        self.acknowledge(Acknowledged { durable: welcome.durable, stored: welcome.stored })
    }

    fn next(&mut self) -> Option<Bytes> {
        if let Some(message) = self.definitions.get(self.defined) {
            self.defined += 1;
            return Some(message.clone());
        }
        let (_, message) = self.frames.get(self.sent)?;
        self.sent += 1;
        Some(message.clone())
    }

    fn acknowledge(&mut self, now: Acknowledged) -> Result<(), ClientError> {
        self.check_own(now.durable)?;
        self.durable = now.durable;
        while self.frames.front().is_some_and(|(sequence, _)| *sequence <= now.durable) {
            let (_, message) = self.frames.pop_front().expect("looked at");
            self.bytes -= message.len();
            self.sent = self.sent.saturating_sub(1);
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Window {
        let mut window =
            Window::new(&ClientOptions { window_frames: 4, ..ClientOptions::default() });
        for sequence in 1..=4 {
            assert!(window.push(sequence, &Bytes::from(vec![sequence as u8; 10])));
        }
        window
    }

    fn standing(durable: Sequence) -> Welcome {
        Welcome { version: 1, durable, stored: 0, max_message: 100 }
    }

    fn drain(window: &mut Window) -> Vec<u8> {
        std::iter::from_fn(|| window.next()).map(|message| message[0]).collect()
    }

    #[test]
    fn what_is_not_durable_is_sent_again() {
        let mut window = filled();
        assert_eq!((drain(&mut window), window.is_settled()), (vec![1, 2, 3, 4], false));
        window.acknowledge(Acknowledged { durable: 1, stored: 0 }).unwrap();
        assert!(drain(&mut window).is_empty());
        window.meet(&standing(2)).unwrap();
        assert_eq!(drain(&mut window), [3, 4]);
        window.acknowledge(Acknowledged { durable: 4, stored: 0 }).unwrap();
        assert!(window.is_settled());
    }

    #[test]
    fn a_full_window_takes_nothing_until_something_is_durable() {
        let mut window = filled();
        let message = Bytes::from(vec![5; 10]);
        assert!(!window.push(5, &message));
        window.acknowledge(Acknowledged { durable: 1, stored: 0 }).unwrap();
        assert!(window.push(5, &message));
        assert_eq!(drain(&mut window), [2, 3, 4, 5]);
    }

    #[test]
    fn what_the_server_has_is_not_sent() {
        let mut window = Window::new(&ClientOptions::default());
        window.meet(&standing(9)).unwrap();
        assert!(window.push(8, &Bytes::from(vec![8; 10])));
        assert!(window.is_settled() && drain(&mut window).is_empty());
        let error = window.meet(&standing(10)).unwrap_err();
        assert!(matches!(error, ClientError::Overtaken { durable: 10, claimed: 9 }), "{error}");
    }
}
