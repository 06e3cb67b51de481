//! `/proc/meminfo`: bytes of memory by use.

use super::Values;

const BYTES: [(&str, &str); 15] = [
    ("MemTotal", "memory_total"),
    ("MemFree", "memory_free"),
    ("MemAvailable", "memory_available"),
    ("Buffers", "memory_buffers"),
    ("Cached", "memory_cached"),
    ("AnonPages", "memory_anonymous"),
    ("Mapped", "memory_mapped"),
    ("Shmem", "memory_shared"),
    ("Slab", "memory_slab"),
    ("Dirty", "memory_dirty"),
    ("Writeback", "memory_writeback"),
    ("Committed_AS", "memory_committed"),
    ("Mlocked", "memory_locked"),
    ("SwapTotal", "swap_total"),
    ("SwapFree", "swap_free"),
];
const COUNTS: [(&str, &str); 2] =
    [("HugePages_Total", "huge_pages_total"), ("HugePages_Free", "huge_pages_free")];

pub(super) fn read(text: &str) -> Values {
    text.lines().filter_map(read_line).collect()
}

/// `MemTotal:       16384 kB`, or a count without a unit.
fn read_line(line: &str) -> Option<(&'static str, i64)> {
    let (key, rest) = line.split_once(':')?;
    let mut words = rest.split_ascii_whitespace();
    let number = words.next()?.parse::<i64>().ok()?;
    let column = |known: &[(&str, &'static str)]| {
        known.iter().find(|(name, _)| *name == key).map(|(_, column)| *column)
    };
    match words.next() {
        Some("kB") => Some((column(&BYTES)?, number.checked_mul(1024)?)),
        None => Some((column(&COUNTS)?, number)),
        Some(_) => None,
    }
}
