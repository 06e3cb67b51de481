//! One table: its files at a version, and the commits that take it to the next.

use super::files::WrittenFile;
use super::log::{Change, Covered, LogState, Mark, TableLog};
use super::schema::widened;
use super::writer::FileWriter;
use crate::error::{ErrorKind, StorageError};
use crate::machine::new_id;
use crate::model::{Position, TableSchema, Timestamp};
use crate::rules::{Broken, check_flush, check_merge, deduplicated_until, is_closed};
use crate::snapshot::DataFile;
use object_store::ObjectStore;
use object_store::path::Path;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// The mark that every change carries which removes files: of two that were made on the same
/// version by other programs, at most one is taken.
const MAINTENANCE: &str = "warpline:maintenance";

/// The mark that says which days were removed because their time was up: those before it.
const KEPT_FROM: &str = "warpline:kept-from";

/// Each attempt fails only where another handle has taken the version it aimed at.
const ATTEMPTS: usize = 20;

/// A handle on one table. What it knows of the table changes only through its own calls.
#[derive(Debug)]
pub(crate) struct Table {
    name: Arc<str>,
    log: Box<dyn TableLog>,
    store: Arc<dyn ObjectStore>,
    schema: Arc<TableSchema>,
    version: u64,
    /// Where the log's handle stands: further on where a newer version was read in part.
    loaded: u64,
    /// In commit order.
    files: Arc<[Arc<DataFile>]>,
    /// See [`Change::deduplicated_until`]; 1970 where the table says nothing.
    deduplicated_until: Timestamp,
    id: Arc<str>,
    /// Days before this were removed because their time was up.
    kept_from: Timestamp,
    covered: HashMap<Uuid, Position>,
    /// How many versions came in that this handle has not made.
    foreign: u64,
    /// Incarnations under which another handle has committed since this one was opened.
    fenced: HashSet<Uuid>,
    /// Changes of ours that may be in the log or may yet get there. Each aims at the version after
    /// this one or at an older one, so all are settled once that version is known.
    unresolved: HashSet<Uuid>,
}

impl Table {
    pub(super) async fn open(
        mut log: Box<dyn TableLog>,
        store: Arc<dyn ObjectStore>,
        name: &str,
    ) -> Result<Self, StorageError> {
        let state = log.load().await?;
        Self::at(log, state, store, name).await
    }

    /// The table at the version where the log's handle stands, which `state` is.
    pub(super) async fn at(
        mut log: Box<dyn TableLog>,
        state: LogState,
        store: Arc<dyn ObjectStore>,
        name: &str,
    ) -> Result<Self, StorageError> {
        let mut covered = HashMap::new();
        let writers: BTreeSet<Uuid> = state.files.iter().map(|file| file.writer).collect();
        for writer in writers {
            if let Some(position) = covered_in(&mut *log, writer).await? {
                covered.insert(writer, position);
            }
        }
        let kept_from = log.mark(KEPT_FROM).await?.unwrap_or(Timestamp::MIN);
        let mut table = Self {
            kept_from,
            name: name.into(),
            log,
            store,
            schema: Arc::new(state.schema.clone()),
            version: state.version,
            loaded: state.version,
            files: Arc::default(),
            deduplicated_until: 0,
            id: state.id.clone(),
            covered,
            foreign: 0,
            fenced: HashSet::new(),
            unresolved: HashSet::new(),
        };
        table.adopt(state);
        Ok(table)
    }

    pub(crate) fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The files of this version in commit order.
    pub(crate) fn files(&self) -> Arc<[Arc<DataFile>]> {
        self.files.clone()
    }

    /// The time before which the table says that no two files have a key in common.
    pub(crate) fn deduplicated_until(&self) -> Timestamp {
        self.deduplicated_until
    }

    pub(crate) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Days before this were removed because their time was up.
    pub(crate) fn kept_from(&self) -> Timestamp {
        self.kept_from
    }

    /// How many versions came in that this handle has not made.
    pub(crate) fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Up to which position the table has the rows of a log; `None` where it has none of them.
    pub(crate) fn covered(&self, incarnation: Uuid) -> Option<Position> {
        self.covered.get(&incarnation).copied()
    }

    /// The same, looked up in the log: `covered` knows a log only where files of it are left.
    pub(crate) async fn look_up_covered(
        &mut self,
        incarnation: Uuid,
    ) -> Result<Option<Position>, StorageError> {
        covered_in(&mut *self.log, incarnation).await
    }

    /// Takes the incarnation over: whoever held it before can no longer commit under it. Call it
    /// before `covered` is relied upon.
    pub(crate) async fn fence(&mut self, incarnation: Uuid) -> Result<(), StorageError> {
        if let Some(position) = covered_in(&mut *self.log, incarnation).await? {
            self.covered.insert(incarnation, position);
        }
        self.apply(|table| {
            let position = table.covered(incarnation).unwrap_or(0);
            let marks = vec![Covered { incarnation, position }.mark()];
            Ok(Some(Change { marks, ..table.change() }))
        })
        .await?;
        self.fenced.remove(&incarnation);
        Ok(())
    }

    /// Adds the attributes and fields of `schema` that the table lacks.
    pub(crate) async fn evolve(&mut self, schema: &TableSchema) -> Result<(), StorageError> {
        self.apply(|table| {
            let wide = widened(&table.schema, schema)?;
            let widens = wide != *table.schema;
            Ok(widens.then(|| Change { schema: Some(wide), ..table.change() }))
        })
        .await
    }

    /// What writes files for this table, in the columns that it has now.
    pub(crate) fn writer(&self) -> FileWriter {
        FileWriter { schema: self.schema.clone(), store: self.store.clone() }
    }

    /// Makes files visible and says, in the same commit, that the table now has all rows of the
    /// log up to `covered`, which must be past what it has.
    ///
    /// After an error of kind Retry, call again with the same files and position: the commit may
    /// have been made, which the next call finds out. An error of kind Fenced is final.
    pub(crate) async fn commit(
        &mut self,
        files: Vec<WrittenFile>,
        incarnation: Uuid,
        covered: Position,
    ) -> Result<(), StorageError> {
        let advance = Covered { incarnation, position: covered };
        let before = self.covered(incarnation);
        if self.unresolved.is_empty() && before.is_some_and(|before| before >= covered) {
            return Err(StorageError::internal(format!(
                "table {}: a commit up to position {covered} where {before:?} is covered already",
                self.name
            )));
        }
        self.apply(|table| {
            table.check_fence(incarnation)?;
            match table.covered(incarnation) {
                now if now == before => Ok(Some(Change {
                    files: files.clone(),
                    marks: vec![advance.mark()],
                    ..table.change()
                })),
                Some(now) if now >= covered => Ok(None),
                now => Err(StorageError::new(
                    ErrorKind::Retry,
                    format!(
                        "table {}: an earlier commit up to {now:?} was made after all; flush \
                         again from there",
                        table.name
                    ),
                )),
            }
        })
        .await
    }

    fn check_fence(&self, incarnation: Uuid) -> Result<(), StorageError> {
        if self.fenced.contains(&incarnation) {
            return Err(StorageError::new(
                ErrorKind::Fenced,
                format!(
                    "table {}: another process has taken over the log {incarnation}",
                    self.name
                ),
            ));
        }
        Ok(())
    }

    /// Puts `files`, which have the same rows, in the place of `inputs`. Answers whether it did:
    /// not where an input is gone.
    pub(crate) async fn replace(
        &mut self,
        inputs: &[Arc<DataFile>],
        files: Vec<WrittenFile>,
    ) -> Result<bool, StorageError> {
        self.exchange(inputs, files, Vec::new(), false, None).await
    }

    /// Removes all files of days before a time, with their rows.
    pub(crate) async fn expire(
        &mut self,
        files: &[Arc<DataFile>],
        kept_from: Timestamp,
    ) -> Result<bool, StorageError> {
        let mark = Mark { name: KEPT_FROM.to_owned(), value: kept_from };
        self.exchange(files, Vec::new(), vec![mark], true, None).await
    }

    /// Takes files away and puts others in their place, with marks, in one commit. Answers
    /// whether it did: not where one of those to be removed is gone, nor, where only one version
    /// may come before it, where another has come.
    pub(crate) async fn exchange(
        &mut self,
        removed: &[Arc<DataFile>],
        files: Vec<WrittenFile>,
        marks: Vec<Mark>,
        changes_rows: bool,
        follows: Option<u64>,
    ) -> Result<bool, StorageError> {
        self.settle().await?;
        let round = self.mark(MAINTENANCE).await?.unwrap_or(0) + 1;
        let mut done = false;
        self.apply(|table| {
            let there: HashSet<_> = table.files.iter().map(|file| &file.path).collect();
            done = follows.is_none_or(|version| version == table.version)
                && removed.iter().all(|file| there.contains(&file.path))
                && (changes_rows || is_closed(removed, &table.files));
            if !done {
                return Ok(None);
            }
            let mut change = Change {
                files: files.clone(),
                removed: removed.to_vec(),
                changes_rows,
                marks: marks.clone(),
                ..table.change()
            };
            if !removed.is_empty() {
                change.marks.push(Mark { name: MAINTENANCE.to_owned(), value: round });
            }
            Ok(Some(change))
        })
        .await?;
        Ok(done)
    }

    /// Reads the rest of a version that was read in part: until then it has no marks.
    pub(crate) async fn complete(&mut self) -> Result<(), StorageError> {
        if self.loaded != self.version {
            self.catch_up().await?;
        }
        Ok(())
    }

    /// A number that an earlier change left under a name.
    pub(crate) async fn mark(&mut self, name: &str) -> Result<Option<i64>, StorageError> {
        if self.loaded != self.version {
            let text = format!("table {}: a newer version was read in part", self.name);
            return Err(StorageError::new(ErrorKind::Retry, text));
        }
        self.log.mark(name).await
    }

    /// Files that were removed and may still lie in the store, and when, in milliseconds since
    /// 1970.
    pub(crate) async fn removed(&mut self) -> Result<&[(Path, i64)], StorageError> {
        self.log.removed().await
    }

    fn change(&self) -> Change {
        Change {
            id: new_id(),
            version: self.version + 1,
            files: Vec::new(),
            removed: Vec::new(),
            changes_rows: true,
            marks: Vec::new(),
            schema: None,
            deduplicated_until: None,
        }
    }

    /// The change as it may be made: no invariant is broken, and it says what it makes of
    /// [`Change::deduplicated_until`], which it lowers whenever that would promise too much, and
    /// raises where it removes files.
    fn checked(&self, mut change: Change) -> Result<Change, StorageError> {
        let files = self.after(&change)?;
        self.check(&change, &files).map_err(|broken| {
            let text = format!("table {}, version {}: {broken}", self.name, change.version);
            StorageError::because(ErrorKind::Internal, text, broken)
        })?;
        let until = deduplicated_until(&files);
        let raises = !change.removed.is_empty() && until > self.deduplicated_until;
        if until < self.deduplicated_until || raises {
            change.deduplicated_until = Some(until);
        }
        Ok(change)
    }

    fn check(&self, change: &Change, after: &[Arc<DataFile>]) -> Result<(), Broken> {
        let before: HashSet<_> = self.files.iter().map(|file| &file.path).collect();
        let new = after.iter().filter(|file| !before.contains(&file.path));
        let new: Vec<_> = new.cloned().collect();
        if !change.removed.is_empty() && !change.changes_rows {
            return check_merge(&self.files, &change.removed, &new, change.version);
        }
        match change.marks.iter().find_map(Covered::of) {
            Some(Covered { incarnation, position }) if !new.is_empty() => {
                let covered = (self.covered(incarnation), position);
                check_flush(&self.files, &new, change.version, covered)
            }
            _ => Ok(()),
        }
    }

    /// The files once the change is made.
    fn after(&self, change: &Change) -> Result<Vec<Arc<DataFile>>, StorageError> {
        let removed: HashSet<_> = change.removed.iter().map(|file| &file.path).collect();
        let kept = self.files.iter().filter(|file| !removed.contains(&file.path));
        let mut files: Vec<_> = kept.cloned().collect();
        for file in &change.files {
            files.push(Arc::new(file.committed(&self.name, change.version)?));
        }
        sort_by_order(&mut files);
        Ok(files)
    }

    /// Commits what `plan` makes of the newest known version, again where another handle has
    /// taken that version's successor, until it is in the log or `plan` wants nothing more.
    async fn apply(
        &mut self,
        mut plan: impl FnMut(&Self) -> Result<Option<Change>, StorageError> + Send,
    ) -> Result<(), StorageError> {
        self.settle().await?;
        for _ in 0..ATTEMPTS {
            let Some(change) = plan(self)? else { return Ok(()) };
            let change = self.checked(change)?;
            self.unresolved.insert(change.id);
            let Err(error) = self.log.append(&change).await else {
                return self.accept(change);
            };
            let landed = self.catch_up().await?;
            if landed.contains(&change.id) {
                return Ok(());
            }
            if self.version < change.version {
                return Err(error);
            }
        }
        Err(StorageError::new(
            ErrorKind::Retry,
            format!("table {}: others committed first {ATTEMPTS} times in a row", self.name),
        ))
    }

    /// Reads the log where it is in doubt what its newest version is, or what that changed.
    async fn settle(&mut self) -> Result<(), StorageError> {
        let known = self.unresolved.is_empty() && self.loaded == self.version;
        if !known || !self.log.is_recent() {
            self.catch_up().await?;
        }
        Ok(())
    }

    /// Takes over a change that has become the next version.
    fn accept(&mut self, change: Change) -> Result<(), StorageError> {
        assert_eq!(change.version, self.version + 1, "a change follows the version it was made on");
        self.files = self.after(&change)?.into();
        for Covered { incarnation, position } in change.marks.iter().filter_map(Covered::of) {
            self.covered.insert(incarnation, position);
        }
        self.note_kept(&change.marks);
        self.deduplicated_until = change.deduplicated_until.unwrap_or(self.deduplicated_until);
        if let Some(schema) = change.schema {
            self.schema = Arc::new(schema);
        }
        (self.version, self.loaded) = (change.version, change.version);
        self.unresolved.clear();
        Ok(())
    }

    /// Takes over what others have committed; `false`, and nothing done, where a change of ours is
    /// in doubt: its own next try finds out.
    pub(crate) async fn refresh(&mut self) -> Result<bool, StorageError> {
        let certain = self.unresolved.is_empty();
        if certain {
            self.catch_up().await?;
        }
        Ok(certain)
    }

    /// Moves to the newest version and reads what came in on the way: which of our changes were
    /// made after all, and which incarnations others have committed under.
    async fn catch_up(&mut self) -> Result<HashSet<Uuid>, StorageError> {
        let state = self.log.load().await?;
        self.loaded = state.version;
        let mut entries = Vec::new();
        for version in self.version + 1..=state.version {
            entries.push(self.log.read(version).await?);
        }
        let mut landed = HashSet::new();
        for entry in entries {
            let ours = entry.id.filter(|id| self.unresolved.remove(id));
            self.foreign += u64::from(ours.is_none());
            for Covered { incarnation, position } in entry.marks.iter().filter_map(Covered::of) {
                self.covered.insert(incarnation, position);
                if ours.is_none() {
                    self.fenced.insert(incarnation);
                }
            }
            self.note_kept(&entry.marks);
            landed.extend(ours);
        }
        if state.version > self.version {
            self.unresolved.clear();
        }
        self.adopt(state);
        Ok(landed)
    }

    fn note_kept(&mut self, marks: &[Mark]) {
        let kept = marks.iter().filter(|mark| mark.name == KEPT_FROM).map(|mark| mark.value);
        self.kept_from = kept.fold(self.kept_from, Timestamp::max);
    }

    /// Files that were there before stay the same ones: by that it is known who holds them.
    fn adopt(&mut self, state: LogState) {
        let known = self.files.iter().map(|file| (&file.path, file));
        let known: HashMap<_, _> = known.collect();
        let same = |file: DataFile| match known.get(&file.path) {
            Some(known) => Arc::clone(known),
            None => Arc::new(file),
        };
        let mut files: Vec<_> = state.files.into_iter().map(same).collect();
        sort_by_order(&mut files);
        self.files = files.into();
        self.deduplicated_until = state.deduplicated_until.unwrap_or(0);
        self.id = state.id;
        self.schema = Arc::new(state.schema);
        self.version = state.version;
    }
}

async fn covered_in(
    log: &mut dyn TableLog,
    writer: Uuid,
) -> Result<Option<Position>, StorageError> {
    let value = log.mark(&Covered::name(writer)).await?;
    Ok(value.map(i64::cast_unsigned))
}

fn sort_by_order(files: &mut [Arc<DataFile>]) {
    files.sort_by(|a, b| (a.order, &a.path).cmp(&(b.order, &b.path)));
}
