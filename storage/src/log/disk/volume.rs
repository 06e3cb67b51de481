//! For tests: a disk whose power can be cut.
//!
//! Files lie in a real folder, and every step that the log takes there is also taken on a volume,
//! which knows what of it is durable. Power that goes leaves of each sector, of each file's length
//! and of each name in the folder one of the states since its last sync. What a failed sync should
//! have made durable no later sync makes so: the kernel takes those pages for clean.

use super::{Step, With};
use crate::machine::simulated::below;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Taken,
    /// The disk fails.
    Failed,
    /// There is no room.
    Full,
    /// Whoever took it is not there any more.
    Gone,
    /// Taken, and whoever took it does not learn of it.
    Last,
}

/// A disk with one folder.
#[derive(Debug)]
pub(crate) struct Volume {
    sector: usize,
    /// Bytes that files may have together.
    capacity: u64,
    /// Whether a sync does what it says.
    syncs: bool,
    files: Vec<Content>,
    names: BTreeMap<String, Name>,
}

/// What a name has stood for: a file's number, or nothing.
#[derive(Debug, Default)]
struct Name {
    durable: Option<usize>,
    since: Vec<Option<usize>>,
}

#[derive(Debug, Default)]
struct Content {
    /// As it is read.
    seen: Vec<u8>,
    durable: Vec<u8>,
    since: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    what: What,
    /// A sync of it has failed.
    is_lost: bool,
}

#[derive(Debug)]
enum What {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

/// Where volumes are mounted, and who says what becomes of a step there.
type Judge = Arc<dyn Fn(Step, &str) -> Fate>;
type Mounts = BTreeMap<PathBuf, (Arc<Mutex<Volume>>, Judge)>;

thread_local! {
    static MOUNTS: RefCell<Mounts> = const { RefCell::new(BTreeMap::new()) };
}

/// Puts the volume's files into `folder`, where the steps of this thread are watched from now on.
pub(crate) fn mount(volume: &Arc<Mutex<Volume>>, folder: &Path, judge: Judge) {
    std::fs::create_dir_all(folder).expect("a folder");
    volume.lock().write_to(folder);
    MOUNTS.with_borrow_mut(|mounts| mounts.insert(folder.to_owned(), (volume.clone(), judge)));
}

pub(crate) fn unmount_all() {
    MOUNTS.with_borrow_mut(BTreeMap::clear);
}

pub(super) fn step(step: Step, place: &Path, with: With<'_>) -> io::Result<()> {
    let folder = if step == Step::SyncFolder { place } else { place.parent().unwrap_or(place) };
    let mount = MOUNTS.with_borrow(|mounts| mounts.get(folder).cloned());
    let Some((volume, judge)) = mount else { return Ok(()) };
    let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let error = |kind, text: &str| Err(io::Error::new(kind, format!("{step:?}: {text}")));
    let mut fate = judge(step, name);
    let mut volume = volume.lock();
    if fate == Fate::Taken && volume.lacks_room(name, with) {
        fate = Fate::Full;
    }
    match fate {
        Fate::Taken | Fate::Last => volume.take(step, name, with),
        Fate::Failed | Fate::Full => volume.fail(step, name, with),
        Fate::Gone => {}
    }
    match fate {
        Fate::Taken => Ok(()),
        Fate::Failed => error(io::ErrorKind::Other, "the disk fails"),
        Fate::Full => error(io::ErrorKind::StorageFull, "the disk is full"),
        Fate::Gone | Fate::Last => error(io::ErrorKind::Other, "the process is gone"),
    }
}

impl Volume {
    pub(crate) fn new(sector: usize) -> Self {
        Self { sector, capacity: u64::MAX, syncs: true, files: Vec::new(), names: BTreeMap::new() }
    }

    /// Bytes that files may have together from now on.
    pub(crate) fn limit(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    /// From now on syncs do nothing.
    pub(crate) fn lie(&mut self) {
        self.syncs = false;
    }

    /// A copy as it is seen now, all of it durable, on a disk that has room.
    pub(crate) fn copied(&self) -> Self {
        let mut copy = Self { syncs: self.syncs, ..Self::new(self.sector) };
        for (name, number) in self.seen() {
            copy.names
                .insert(name.clone(), Name { durable: Some(copy.files.len()), ..Name::default() });
            copy.files.push(Content::of(self.files[number].seen.clone()));
        }
        copy
    }

    /// The power goes.
    pub(crate) fn cut(&mut self) {
        let luck = below(4);
        for name in self.names.values_mut() {
            name.durable = name.at(picked(luck, name.since.len()));
            name.since.clear();
        }
        for content in &mut self.files {
            *content = Content::of(content.after_cut(luck, self.sector));
        }
    }

    fn seen(&self) -> impl Iterator<Item = (&String, usize)> {
        self.names.iter().filter_map(|(name, states)| Some((name, states.at(states.since.len())?)))
    }

    fn write_to(&self, folder: &Path) {
        for (name, number) in self.seen() {
            std::fs::write(folder.join(name), &self.files[number].seen).expect("a file");
        }
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.names.get(name).and_then(|states| states.at(states.since.len()))
    }

    fn lacks_room(&self, name: &str, with: With<'_>) -> bool {
        let end = match with {
            With::Nothing => return false,
            With::Length(length) => length,
            With::Bytes(bytes, offset) => offset + bytes.len() as u64,
        };
        let own = self.number(name);
        let others = self.seen().filter(|(_, number)| Some(*number) != own);
        let used: usize = others.map(|(_, number)| self.files[number].seen.len()).sum();
        let grows = own.is_none_or(|own| (self.files[own].seen.len() as u64) < end);
        grows && used as u64 + end > self.capacity
    }

    fn change(&mut self, name: &str, what: What) {
        let number = self.number(name).expect("a file is made before it is changed");
        self.files[number].change(what);
    }

    fn take(&mut self, step: Step, name: &str, with: With<'_>) {
        match (step, with) {
            (Step::Create, _) if self.number(name).is_some() => self.change(name, What::Length(0)),
            (Step::Create, _) => {
                self.files.push(Content::default());
                let number = self.files.len() - 1;
                self.names.entry(name.to_owned()).or_default().since.push(Some(number));
            }
            (Step::Preallocate, With::Length(length)) => {
                let number = self.number(name).expect("a file is made before it grows");
                let length = length.max(self.files[number].seen.len() as u64);
                self.change(name, What::Length(length));
            }
            (_, With::Length(length)) => self.change(name, What::Length(length)),
            (_, With::Bytes(bytes, offset)) => self.change(name, What::Bytes(offset, bytes.into())),
            (Step::SyncFolder, _) => {
                for states in self.names.values_mut() {
                    states.durable = states.at(states.since.len());
                    states.since.clear();
                }
            }
            (Step::Delete, _) => self.names.entry(name.to_owned()).or_default().since.push(None),
            _ => {
                if let Some(number) = self.number(name).filter(|_| self.syncs) {
                    self.files[number].sync();
                }
            }
        }
    }

    /// A write may have got anywhere; what was to be synced never will be.
    fn fail(&mut self, step: Step, name: &str, with: With<'_>) {
        match (step, with) {
            (Step::Write, With::Bytes(bytes, offset)) => {
                let written = below(bytes.len() as u64 + 1) as usize;
                self.change(name, What::Bytes(offset, bytes[..written].into()));
            }
            (Step::SyncData | Step::SyncFile, _) => {
                if let Some(number) = self.number(name) {
                    self.files[number].since.iter_mut().for_each(|change| change.is_lost = true);
                }
            }
            _ => {}
        }
    }
}

/// How many of `count` changes in a row have reached the disk.
fn picked(luck: u64, count: usize) -> usize {
    match luck {
        0 => 0,
        1 => count,
        _ => below(count as u64 + 1) as usize,
    }
}

impl Name {
    /// What it stood for after so many changes.
    fn at(&self, changes: usize) -> Option<usize> {
        changes.checked_sub(1).map_or(self.durable, |last| self.since[last])
    }
}

impl Content {
    fn of(durable: Vec<u8>) -> Self {
        Self { seen: durable.clone(), durable, since: Vec::new() }
    }

    fn change(&mut self, what: What) {
        let change = Change { what, is_lost: false };
        change.apply(&mut self.seen);
        self.since.push(change);
    }

    fn sync(&mut self) {
        for change in self.since.drain(..).filter(|change| !change.is_lost) {
            change.apply(&mut self.durable);
        }
    }

    /// One of the states that a cut of power can leave.
    fn after_cut(&self, luck: u64, sector: usize) -> Vec<u8> {
        let count = self.since.len();
        // With luck 2 everything stops at one moment, with 3 each sector has its own.
        let together = picked(luck, count);
        let length = if luck == 3 { picked(luck, count) } else { together };
        let mut sectors: HashMap<usize, usize> = HashMap::new();
        let mut bytes = self.durable.clone();
        for (number, change) in self.since.iter().enumerate() {
            match &change.what {
                What::Length(_) if number < length => change.apply(&mut bytes),
                What::Length(_) => {}
                What::Bytes(offset, written) => {
                    for (at, byte) in (*offset as usize..).zip(written) {
                        let until = *sectors.entry(at / sector).or_insert_with(|| {
                            if luck == 3 { picked(luck, count) } else { together }
                        });
                        let torn =
                            luck == 2 && number == together && (at / sector).is_multiple_of(2);
                        if number < until || torn {
                            if bytes.len() <= at {
                                bytes.resize(at + 1, 0);
                            }
                            bytes[at] = *byte;
                        }
                    }
                }
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match &self.what {
            What::Length(length) => content.resize(*length as usize, 0),
            What::Bytes(offset, bytes) => {
                let offset = *offset as usize;
                content.resize(content.len().max(offset + bytes.len()), 0);
                content[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}
