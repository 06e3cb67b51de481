//! The write-ahead log: every record's checksum, positions without holes, sequences that rise, and
//! that it goes on where the tables end.

use super::{Audit, Covered, FindingKind};
use crate::error::{ErrorKind, StorageError};
use crate::log::Look;
use crate::table::Tables;
use std::path::Path;
use uuid::Uuid;

impl Audit<'_> {
    /// `tables` where all of them are looked at, which have `covered` so much of which log.
    pub(super) async fn log(
        &mut self,
        dir: &Path,
        tables: Option<&Tables>,
        names: &[String],
        covered: &Covered,
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
            (Some(incarnation), Some(tables)) => {
                self.positions(&look, incarnation, tables, names, covered).await
            }
            _ => Ok(()),
        }
    }

    async fn positions(
        &mut self,
        look: &Look,
        incarnation: Uuid,
        tables: &Tables,
        names: &[String],
        covered: &Covered,
    ) -> Result<(), StorageError> {
        let mut most = 0;
        for name in names {
            let known = covered.get(&(name.clone(), incarnation)).copied();
            let until = match known {
                Some(until) => Some(until),
                None => match tables.open_table(name).await {
                    Ok(table) => table.look_up_covered(incarnation).await?,
                    // It was found already that the table cannot be read.
                    Err(_) => continue,
                },
            };
            let until = until.unwrap_or(0);
            most = most.max(until);
            if until > look.end && !look.is_written() {
                let found = format!(
                    "it covers log {incarnation} up to position {until}, but the log ends at {}",
                    look.end
                );
                self.find(FindingKind::LogPosition, name.as_str(), found);
            }
        }
        if most + 1 < look.first() {
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
