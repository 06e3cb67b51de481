//! Frames that may have to be sent again, oldest first.
//!
//! ```text
//! durable, kept until stored | sent, not durable | not sent on this connection
//! 0 ........................ durable ........... sent .......................... len
//! ```

use super::options::Keep;
use bytes::Bytes;
use std::collections::VecDeque;
use warpline_storage::Acknowledged;
use warpline_storage::model::Sequence;

#[derive(Debug)]
pub(super) struct Window {
    keep: Keep,
    frames: VecDeque<(Sequence, Bytes)>,
    /// How many of `frames` are durable, and how many were sent on this connection.
    durable: usize,
    sent: usize,
    durable_bytes: usize,
    pending_bytes: usize,
}

impl Window {
    pub(super) fn new(keep: Keep) -> Self {
        let frames = VecDeque::new();
        Self { keep, frames, durable: 0, sent: 0, durable_bytes: 0, pending_bytes: 0 }
    }

    /// Frames that are not known to be durable, and their bytes.
    pub(super) fn pending(&self) -> (usize, usize) {
        (self.frames.len() - self.durable, self.pending_bytes)
    }

    pub(super) fn push(&mut self, sequence: Sequence, message: Bytes) {
        assert!(self.frames.back().is_none_or(|(last, _)| *last < sequence), "sequences rise");
        self.pending_bytes += message.len();
        self.frames.push_back((sequence, message));
    }

    /// The next frame to send on this connection.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let (_, message) = self.frames.get(self.sent)?;
        self.sent += 1;
        Some(message.clone())
    }

    pub(super) fn acknowledge(&mut self, now: Acknowledged) {
        while let Some((sequence, message)) = self.frames.get(self.durable)
            && *sequence <= now.durable
        {
            self.pending_bytes -= message.len();
            self.durable_bytes += message.len();
            self.durable += 1;
        }
        self.sent = self.sent.max(self.durable);
        while self.durable > 0 && self.may_forget_first(now) {
            let (_, message) = self.frames.pop_front().expect("durable frames are in the window");
            self.durable_bytes -= message.len();
            self.durable -= 1;
            self.sent -= 1;
        }
    }

    fn may_forget_first(&self, now: Acknowledged) -> bool {
        match self.keep {
            Keep::Durable => true,
            Keep::Stored { bytes } => self.durable_bytes > bytes || self.frames[0].0 <= now.stored,
        }
    }

    /// Starts over where a server stands that has just been connected to. What an older server
    /// had and this one lacks is pending again, as far as it is still kept.
    pub(super) fn restart(&mut self, standing: Acknowledged) {
        self.durable = 0;
        self.sent = 0;
        self.pending_bytes += std::mem::take(&mut self.durable_bytes);
        self.acknowledge(standing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(keep: Keep) -> Window {
        let mut window = Window::new(keep);
        for sequence in 1..=4 {
            window.push(sequence, Bytes::from(vec![sequence as u8; 10]));
        }
        window
    }

    fn drain(window: &mut Window) -> Vec<u8> {
        std::iter::from_fn(|| window.next()).map(|message| message[0]).collect()
    }

    #[test]
    fn what_is_not_durable_is_sent_again() {
        let mut window = filled(Keep::Durable);
        assert_eq!((drain(&mut window), window.pending()), (vec![1, 2, 3, 4], (4, 40)));
        window.acknowledge(Acknowledged { durable: 1, stored: 0 });
        assert_eq!((drain(&mut window), window.pending()), (vec![], (3, 30)));
        window.restart(Acknowledged { durable: 2, stored: 0 });
        assert_eq!((drain(&mut window), window.pending()), (vec![3, 4], (2, 20)));
    }

    #[test]
    fn frames_kept_until_stored_refill_an_empty_server() {
        let mut window = filled(Keep::Stored { bytes: 25 });
        drain(&mut window);
        window.acknowledge(Acknowledged { durable: 4, stored: 0 });
        assert_eq!(window.pending(), (0, 0));
        window.restart(Acknowledged::default());
        assert_eq!(drain(&mut window), [3, 4], "25 bytes keep the last two");
        window.acknowledge(Acknowledged { durable: 4, stored: 3 });
        window.restart(Acknowledged::default());
        assert_eq!(drain(&mut window), [4]);
    }

    #[test]
    fn a_server_may_be_ahead_of_what_was_sent() {
        let mut window = filled(Keep::Durable);
        window.restart(Acknowledged { durable: 9, stored: 9 });
        assert_eq!((drain(&mut window), window.pending()), (vec![], (0, 0)));
    }
}
