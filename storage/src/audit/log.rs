//! The write-ahead log: every record's checksum, positions without holes, sequences that rise, and
//! that it goes on where the tables end.

use super::{Audit, FindingKind};
use crate::error::{ErrorKind, StorageError};
use crate::log::Look;
use crate::table::Tables;
use std::path::Path;
use uuid::Uuid;

impl Audit<'_> {
    /// `tables` where they are to be held against the log.
    pub(super) async fn log(
        &mut self,
        dir: &Path,
        tables: Option<&Tables>,
    ) -> Result<(), StorageError> {
        let folder = dir.to_owned();
        let looking = tokio::task::spawn_blocking(move || Look::at(&folder, |_| ()));
        let look = looking
            .await
            .map_err(|e| StorageError::because(ErrorKind::Internal, "the log was not read", e))??;
        let Some(look) = look else {
            self.leave_out(format!("the log: there is none in {}", dir.display()));
            return Ok(());
        };
        self.report.batches = look.batches;
        if look.is_written() {
            self.leave_out(
                "the end of the log: a server is writing it. Segments before it were verified",
            );
        }
        if let Some(error) = &look.damage {
            self.find(FindingKind::Log, dir.display().to_string(), error.to_string());
            self.leave_out("the log behind the damage, and whether tables and log meet");
            return Ok(());
        }
        if let Some(torn) = look.torn.as_ref().filter(|_| !look.is_written()) {
            let found = format!("{torn}; it ends at position {} before that", look.end);
            self.find(FindingKind::LogTail, dir.display().to_string(), found);
        }
        match (look.incarnation, tables) {
            (Some(incarnation), Some(tables)) => self.positions(&look, incarnation, tables).await,
            _ => Ok(()),
        }
    }

    /// What tables cover is asked now: flushes since the tables were looked at have moved it, and
    /// have had segments deleted.
    async fn positions(
        &mut self,
        look: &Look,
        incarnation: Uuid,
        tables: &Tables,
    ) -> Result<(), StorageError> {
        let (mut most, mut all) = (0, true);
        for name in tables.names().await? {
            let Ok(mut table) = tables.open_table(&name).await else {
                self.leave_out(format!("whether {name} and the log meet: it cannot be read"));
                all = false;
                continue;
            };
            let until = table.look_up_covered(incarnation).await?.unwrap_or(0);
            most = most.max(until);
            if until > look.end && !look.is_written() {
                let found = format!(
                    "it covers log {incarnation} up to position {until}, but the log ends at {}",
                    look.end
                );
                self.find(FindingKind::LogPosition, name, found);
            }
        }
        if all && most + 1 < look.first() {
            let found = format!(
                "log {incarnation} begins at position {}, and no table covers it past {most}: the \
                 segments between are missing",
                look.first()
            );
            self.find(FindingKind::LogPosition, "log", found);
        }
        Ok(())
    }
}
