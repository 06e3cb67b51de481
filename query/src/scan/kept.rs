//! What is kept in memory of data files: what is hot, within a budget. What was read of files that
//! no snapshot has any more goes as more is read of others.
//!
//! Where much is written merges replace files by the minute. What had been read of them would fill
//! the budget, and nobody could ask for it again. A file that stays is the same `Arc` from snapshot
//! to snapshot.

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use warpline_storage::DataFile;

/// Files that are gone are looked for whenever one part in so many of the budget was added.
const LOOKS: u64 = 8;
/// What an entry takes beside its key and value, about: in the cache, and by allocations' sizes.
const ENTRY_BYTES: usize = 256;

/// Something that takes memory.
pub(super) trait Weight {
    fn bytes(&self) -> usize;
}

/// A value and the file it was read from.
#[derive(Clone)]
struct Read<V> {
    file: Weak<DataFile>,
    value: V,
}

#[derive(Clone)]
struct Bytes;

impl<K: Weight, V: Weight> Weighter<K, Read<V>> for Bytes {
    fn weight(&self, key: &K, read: &Read<V>) -> u64 {
        weight(key, &read.value)
    }
}

fn weight(key: &impl Weight, value: &impl Weight) -> u64 {
    (ENTRY_BYTES + key.bytes() + value.bytes()) as u64
}

/// Values by key, each of one file.
pub(super) struct Kept<K, V> {
    values: Cache<K, Read<V>, Bytes>,
    budget: u64,
    /// Bytes that were added since files that are gone were looked for.
    added: AtomicU64,
}

impl<K, V> fmt::Debug for Kept<K, V>
where
    K: Hash + Eq + Weight,
    V: Clone + Weight,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("bytes", &self.values.weight()).finish_non_exhaustive()
    }
}

impl<K, V> Kept<K, V>
where
    K: Clone + Hash + Eq + Weight + Send + Sync,
    V: Clone + Weight + Send + Sync,
{
    /// A budget of zero keeps nothing. What a value typically takes lays out the inner tables.
    pub(super) fn new(budget: usize, typical_bytes: usize) -> Self {
        let values = (budget / typical_bytes).max(1);
        let budget = budget as u64;
        let values = Cache::with_weighter(values, budget, Bytes);
        Self { values, budget, added: AtomicU64::new(0) }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.values.get(key).map(|read| read.value)
    }

    pub(super) fn insert(&self, key: K, file: &Arc<DataFile>, value: V) {
        self.make_room(weight(&key, &value));
        self.values.insert(key, Read { file: Arc::downgrade(file), value });
    }

    /// What is kept, or what `read` gives; those who want it meanwhile wait for that.
    pub(super) async fn get_or_read<E: Send>(
        &self,
        key: &K,
        file: &Arc<DataFile>,
        read: impl Future<Output = Result<V, E>> + Send,
    ) -> Result<V, E> {
        let read = async {
            let value = read.await?;
            self.make_room(weight(key, &value));
            Ok(Read { file: Arc::downgrade(file), value })
        };
        self.values.get_or_insert_async(key, read).await.map(|read| read.value)
    }

    /// Forgets files that are gone, now and then, before `bytes` are added.
    fn make_room(&self, bytes: u64) {
        let added = self.added.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if added >= self.budget / LOOKS {
            self.added.store(0, Ordering::Relaxed);
            self.values.retain(|_, read| read.file.strong_count() > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;
    use datafusion::object_store::path::Path;
    use uuid::Uuid;
    use warpline_storage::{FileKind, FileOrder, Level, TimeRange};

    impl Weight for u32 {
        fn bytes(&self) -> usize {
            10
        }
    }

    fn data_file(name: &str) -> Arc<DataFile> {
        let kind = FileKind::Monotone;
        Arc::new(DataFile {
            path: Path::from(name),
            bytes: 1,
            rows: 1,
            times: TimeRange { first: 0, last: 0 },
            order: FileOrder { version: 1, kind },
            writer: Uuid::nil(),
            kind,
            level: Level::Flush,
            date: NaiveDate::default(),
        })
    }

    #[tokio::test]
    async fn files_that_are_gone_are_forgotten_as_others_come() {
        let kept: Kept<u32, u32> = Kept::new(100 * (ENTRY_BYTES + 20), ENTRY_BYTES);
        let (stays, goes) = (data_file("stays"), data_file("goes"));
        for number in 0..5 {
            kept.insert(number, &stays, number);
            let read = async { Ok::<_, ()>(number) };
            assert_eq!(kept.get_or_read(&(100 + number), &goes, read).await, Ok(number));
        }
        let again = async { Err(()) };
        assert_eq!(kept.get_or_read(&100, &goes, again).await, Ok(0), "it is kept");
        drop(goes);
        for number in 5..20 {
            let read = async { Ok::<_, ()>(number) };
            assert_eq!(kept.get_or_read(&number, &stays, read).await, Ok(number));
        }
        assert!((0..20).all(|number| kept.get(&number) == Some(number)));
        assert!((100..105).all(|number| kept.get(&number).is_none()));
        assert_eq!(kept.values.weight(), 20 * (ENTRY_BYTES as u64 + 20));
    }

    #[test]
    fn a_budget_of_zero_keeps_nothing() {
        let kept: Kept<u32, u32> = Kept::new(0, 20);
        let file = data_file("any");
        kept.insert(1, &file, 1);
        assert_eq!(kept.get(&1), None);
    }
}
