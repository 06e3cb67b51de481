//! What a verification can find, and what is to be done about it.

use std::fmt;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    /// A table, a file from the store's root, or a segment of the log.
    pub place: String,
    /// A sentence.
    pub found: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// A table's Delta log cannot be read.
    TableLog,
    /// A file of a table is not there.
    Missing,
    /// A file has another length than its commit says.
    Size,
    /// A file has other bytes than were written.
    Checksum,
    /// A file cannot be read, or its footer or pages not be decoded.
    Unreadable,
    /// Rows of a file are not sorted by identity, then time, each key once.
    Order,
    /// Statistics of a commit or a footer are not those of the rows.
    Statistics,
    /// Two monotone files have a key in common.
    Keys,
    /// A named rule between the files of a table is broken.
    Invariant,
    /// Files have rows of a log past the position that the table says it covers, or twice.
    Coverage,
    /// A rollup is not what its source reduces to.
    Rollup,
    /// The write-ahead log is damaged, or a part of it is missing.
    Log,
    /// The log ends in a write that did not finish.
    LogTail,
    /// Tables and log do not meet.
    LogPosition,
}

impl FindingKind {
    /// What is to be done about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::TableLog => {
                "restore the table from a backup; its data files are not touched by that"
            }
            Self::Missing | Self::Size | Self::Checksum | Self::Unreadable => {
                "where the disk or the store did not give it, see to that and look again. Else put \
                 the file back from a backup, under its name; the server can stay on. Until then \
                 statements that need it fail or are wrong"
            }
            Self::Order | Self::Statistics => {
                "another program has changed the file or its entry: put both back from a backup"
            }
            Self::Keys | Self::Invariant | Self::Coverage => {
                "restore the table from a backup, and report it: Warpline refuses to make such a \
                 commit, so another program has, or there is a fault in Warpline"
            }
            Self::Rollup => {
                "take the rollup's folder from a backup, with the server stopped. Without one, move \
                 it away and start: it is computed anew from the raw rows that are kept, but the \
                 days that raw rows no longer have are lost with the folder, so keep it"
            }
            Self::Log => {
                "put the segment back from a backup, or move the log folder away: rows that only \
                 the log had are lost then, but for those that producers still hold and send again"
            }
            Self::LogTail => {
                "nothing, if the server was killed: the write was never acknowledged, and the next \
                 start cuts it. Otherwise the disk has lost the end of the log: put the segment back"
            }
            Self::LogPosition => {
                "bring back the newest log, or move the log folder away to begin a new one; rows \
                 that only the lost part held must be sent again"
            }
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TableLog => "table log",
            Self::Missing => "missing file",
            Self::Size => "file size",
            Self::Checksum => "checksum",
            Self::Unreadable => "unreadable",
            Self::Order => "row order",
            Self::Statistics => "statistics",
            Self::Keys => "keys",
            Self::Invariant => "invariant",
            Self::Coverage => "coverage",
            Self::Rollup => "rollup",
            Self::Log => "log",
            Self::LogTail => "log tail",
            Self::LogPosition => "log position",
        })
    }
}
