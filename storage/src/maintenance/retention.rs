//! Removes days whose time is up.

use super::Maintenance;
use crate::buffer::MICROSECONDS_PER_DAY;
use crate::error::StorageError;
use crate::model::Timestamp;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl Maintenance {
    /// Removes the files of days that ended before the table's time began. Rows that no tier has
    /// yet that should have them stay until it has.
    pub(super) async fn expire(
        &self,
        table: &Arc<str>,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let Some(keep) = self.options.retention.of(table) else { return Ok(()) };
        let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let wanted = now.saturating_sub(keep).div_euclid(MICROSECONDS_PER_DAY);
        let Some((_, stored)) = self.stored(table) else { return Ok(()) };
        let rolled = self.rolled_until(table).div_euclid(MICROSECONDS_PER_DAY);
        let kept_from = wanted.min(rolled) * MICROSECONDS_PER_DAY;
        let over = |time: Timestamp| time < kept_from;
        let expired: Vec<_> =
            stored.files.iter().filter(|file| over(file.times.last)).cloned().collect();
        if expired.is_empty() {
            return Ok(());
        }
        let handle = self.open.of(table)?;
        let mut held = handle.lock().await;
        if held.expire(&expired, kept_from).await? {
            let rows = expired.iter().map(|file| file.rows).sum();
            self.counters.expired_rows.fetch_add(rows, Relaxed);
        }
        self.publish(&held, Some(kept_from))
    }
}
