//! A backlog on a spool: frames are read back as the server takes them, and sent under sequences
//! and layout numbers of this connection.

use super::options::ClientError;
use super::state::Backlog;
use crate::frame::{self, Welcome};
use crate::spool::{Cursor, Found, LayoutId, Spool};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use tracing::{info, warn};
use warpline_storage::Acknowledged;
use warpline_storage::model::{Layout, Sequence};

/// Layouts that a connection knows at a time, or so many times those of a frame: jobs come and go,
/// and each change of labels is a new layout. The number of one that is not used is used again.
const MANY_LAYOUTS: usize = 64;
const MANY_TIMES: usize = 4;

#[derive(Debug)]
pub(super) struct Feed {
    pub(super) spool: Spool,
    /// Where this connection reads; `None` before its Welcome.
    cursor: Option<Cursor>,
    /// Messages that go before the next frame is read.
    outbox: VecDeque<Bytes>,
    names: Vec<Name>,
    /// Frames read on this connection.
    read: u64,
    max_message: usize,
    met: bool,
}

/// A layout that this connection has defined.
#[derive(Clone, Copy, Debug)]
struct Name {
    id: LayoutId,
    /// `None` where it cannot be sent.
    number: Option<u32>,
    /// The last frame that used it.
    used: u64,
}

impl Feed {
    pub(super) fn new(spool: Spool) -> Self {
        Self {
            spool,
            cursor: None,
            outbox: VecDeque::new(),
            names: Vec::new(),
            read: 0,
            max_message: usize::MAX,
            met: false,
        }
    }

    /// Reads the next frame into the outbox; `false` where there is none.
    fn read(&mut self) -> bool {
        let Some(mut cursor) = self.cursor.take() else { return false };
        let found = self.spool.read(&mut cursor);
        if let Some(found) = &found {
            self.read += 1;
            self.pack(&cursor, found);
        }
        self.cursor = Some(cursor);
        found.is_some()
    }

    /// A frame is sent even if nothing of it can be: its sequence is then taken.
    fn pack(&mut self, cursor: &Cursor, found: &Found) {
        let mut blocks = Vec::with_capacity(found.blocks.len());
        for (at, (id, data)) in found.blocks.iter().enumerate() {
            let number = self.number(*id, found.blocks.len(), || Spool::layout(cursor, found, at));
            blocks.extend(number.map(|number| (number, data.clone())));
        }
        let bytes = frame::frame_bytes(&blocks);
        if bytes > self.max_message {
            self.leave_out(&format!("a frame of {bytes} bytes"));
            blocks.clear();
        }
        self.outbox.push_back(frame::frame(found.sequence, &blocks));
    }

    fn leave_out(&mut self, what: &str) {
        warn!("left out: {what}; the server takes messages of up to {} bytes", self.max_message);
        self.spool.left_out();
    }

    /// The number of a layout, defined on this connection if it was not.
    fn number(
        &mut self,
        id: LayoutId,
        in_use: usize,
        layout: impl FnOnce() -> io::Result<Arc<Layout>>,
    ) -> Option<u32> {
        let used = self.read;
        if let Some(known) = self.names.iter_mut().find(|name| name.id == id) {
            known.used = used;
            return known.number;
        }
        let (slot, free) = self.free_slot(in_use);
        let number = match layout().map(|layout| frame::define(free, &layout)) {
            Ok(message) if message.len() <= self.max_message => {
                self.outbox.push_back(message);
                Some(free)
            }
            Ok(message) => {
                self.leave_out(&format!("blocks under a layout of {} bytes", message.len()));
                None
            }
            Err(error) => {
                warn!("left out: blocks whose layout cannot be read: {error}");
                self.spool.left_out();
                None
            }
        };
        let name = Name { id, number, used };
        match slot {
            Some(slot) => self.names[slot] = name,
            None => self.names.push(name),
        }
        number
    }

    /// A number for one more layout, and the slot of the one that gives it up, if one must.
    fn free_slot(&self, in_use: usize) -> (Option<usize>, u32) {
        if self.names.len() >= MANY_LAYOUTS.max(MANY_TIMES * in_use) {
            let slots = self.names.iter().enumerate();
            let idle = slots.filter(|(_, name)| name.used < self.read && name.number.is_some());
            if let Some((slot, name)) = idle.min_by_key(|(_, name)| name.used) {
                return (Some(slot), name.number.unwrap_or_default());
            }
        }
        (None, self.names.len() as u32)
    }

    fn check_own(&self, durable: Sequence) -> Result<(), ClientError> {
        let claimed = self.spool.claimed();
        if durable > claimed { Err(ClientError::Overtaken { durable, claimed }) } else { Ok(()) }
    }
}

impl Backlog for Feed {
    fn meet(&mut self, welcome: &Welcome) -> Result<(), ClientError> {
        let standing = Acknowledged { durable: welcome.durable, stored: welcome.stored };
        let claimed = self.spool.claimed();
        let (cursor, ahead) = self.spool.meet(standing);
        let durable = standing.durable;
        if ahead && self.met {
            warn!(
                "the server has frames up to {durable} of this producer, and this process sent none \
                 after {claimed}: what is kept is sent again behind them; if another process has \
                 the same producer id, give each its own"
            );
        } else if ahead {
            info!("the server has frames up to {durable} of this producer: going on behind them");
        }
        self.met = true;
        self.cursor = Some(cursor);
        self.outbox.clear();
        self.names.clear();
        self.read = 0;
        self.max_message = welcome.max_message as usize;
        Ok(())
    }

    fn next(&mut self) -> Option<Bytes> {
        if self.outbox.is_empty() && !self.read() {
            return None;
        }
        self.outbox.pop_front()
    }

    fn acknowledge(&mut self, now: Acknowledged) -> Result<(), ClientError> {
        self.check_own(now.durable)?;
        self.spool.acknowledge(now);
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.spool.is_settled()
    }
}
