//! What a server that is met gets of a spool: where it stands, and the frames from there on.

use super::folder::Folder;
use super::format::Frame;
use super::segment::{Reader, Segment, is_damage};
use super::{Keep, LayoutId, Place, Spool};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use tracing::warn;
use warpline_storage::Acknowledged;
use warpline_storage::model::{Layout, Sequence};

/// Where the next frame is read from.
#[derive(Debug)]
pub(crate) struct Cursor {
    place: Place,
    reader: Option<Reader>,
}

/// A frame on its way to a server.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) sequence: Sequence,
    pub(crate) blocks: Vec<(LayoutId, Bytes)>,
    /// Their layouts, where the frame came from memory.
    layouts: Option<Vec<Arc<Layout>>>,
}

impl Spool {
    /// Where a server stands that has just been met; frames are read from the cursor on. Returns
    /// also whether it had frames which the spool does not know.
    pub(crate) fn meet(&mut self, standing: Acknowledged) -> (Cursor, bool) {
        let ahead = standing.durable > self.claimed;
        if ahead {
            let shift = standing.durable.saturating_add(1).saturating_sub(self.oldest());
            self.shift = self.shift.max(shift);
        }
        if ahead || !self.contact {
            let noted = self.folder.as_mut().map_or(Ok(()), |folder| folder.contact(self.shift));
            // Without the note the next start may send again what the server has.
            drop(noted);
        }
        self.contact = true;
        self.claimed = self.claimed.max(standing.durable);
        self.acknowledge(standing);
        let place = self.had.durable.saturating_add(1);
        (Cursor { place, reader: None }, ahead)
    }

    /// The place of the oldest frame kept, or of the next one.
    fn oldest(&self) -> Place {
        let segment = self.folder.iter().flat_map(Folder::segments).next();
        let held = || self.memory.front().map(|held| held.frame.place);
        segment.map(|segment| segment.first).or_else(held).unwrap_or(self.next)
    }

    pub(crate) fn claimed(&self) -> Sequence {
        self.claimed
    }

    /// Forgets what need not be sent again.
    pub(crate) fn acknowledge(&mut self, now: Acknowledged) {
        let place = |sequence: Sequence| sequence.saturating_sub(self.shift);
        self.had = Acknowledged { durable: place(now.durable), stored: place(now.stored) };
        let done = match self.keep {
            Keep::Durable => self.had.durable,
            Keep::Stored => self.had.stored,
        };
        if let Some(folder) = &mut self.folder {
            folder.trim(done);
        }
        while self.memory.front().is_some_and(|held| held.frame.place <= done) {
            let held = self.memory.pop_front().expect("looked at");
            self.memory_bytes -= held.bytes();
        }
    }

    /// Whether the server has all that is kept on its disk.
    pub(crate) fn is_settled(&self) -> bool {
        let segment = self.folder.iter().flat_map(Folder::segments).next_back();
        let held = self.memory.back().map(|held| held.frame.place);
        held.or(segment.map(|segment| segment.last)).is_none_or(|last| last <= self.had.durable)
    }

    /// The next frame; it counts as sent.
    pub(crate) fn read(&mut self, cursor: &mut Cursor) -> Option<Found> {
        let (Frame { place, blocks, .. }, layouts) = match self.read_folder(cursor) {
            Ok(Some(frame)) => (frame, None),
            Ok(None) => {
                let at = self.memory.partition_point(|held| held.frame.place < cursor.place);
                let held = self.memory.get(at)?;
                cursor.place = held.frame.place + 1;
                (held.frame.clone(), Some(held.layouts.clone()))
            }
            Err(error) => {
                warn!("the spool cannot be read now and is tried again: {error}");
                return None;
            }
        };
        let sequence = place.saturating_add(self.shift);
        self.claimed = self.claimed.max(sequence);
        Some(Found { sequence, blocks, layouts })
    }

    /// The next frame on disk. What is damaged is passed over; after an error the cursor stands
    /// where it stood.
    fn read_folder(&mut self, cursor: &mut Cursor) -> io::Result<Option<Frame>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        loop {
            let at = folder.segments().partition_point(|segment| segment.last < cursor.place);
            let Some(segment) = folder.segments().get(at) else { return Ok(None) };
            match cursor.read(segment) {
                Ok(frame) => return Ok(Some(frame)),
                Err(error) if !is_damage(&error) => return Err(error),
                Err(error) => {
                    warn!("{}: {error}: the rest of it cannot be sent", segment.path.display());
                    let lost = segment.last - cursor.place.max(segment.first) + 1;
                    self.losses.count_unreadable(lost);
                    cursor.place = segment.last + 1;
                }
            }
        }
    }

    /// A block's layout, for a frame just read by `cursor`.
    pub(crate) fn layout(cursor: &Cursor, found: &Found, block: usize) -> io::Result<Arc<Layout>> {
        if let Some(layouts) = &found.layouts {
            return Ok(layouts[block].clone());
        }
        let reader = cursor.reader.as_ref().ok_or(io::ErrorKind::NotFound)?;
        reader.layout(found.blocks[block].0)
    }

    /// Counts what was too large for the server.
    pub(crate) fn left_out(&mut self) {
        self.losses.count_left_out();
    }
}

impl Cursor {
    fn read(&mut self, segment: &Segment) -> io::Result<Frame> {
        let reader = self.reader.take().filter(|reader| reader.first() == segment.first);
        let mut reader = match reader {
            Some(reader) => reader,
            None => Reader::open(&segment.path)?.ok_or(io::ErrorKind::InvalidData)?,
        };
        let frame = reader.frame(segment.bytes, self.place)?;
        self.place = frame.place + 1;
        self.reader = Some(reader);
        Ok(frame)
    }
}
