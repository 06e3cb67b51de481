//! What the kernel says about another process.

use crate::Failure;
use std::fs;

/// Clock ticks a second in /proc, the same on every Linux we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory of a process in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

/// CPU seconds, user and system, of all threads the process ever had.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64, Failure> {
    let stat = read(pid, "stat")?;
    ticks(&stat).map(|ticks| ticks as f64 / TICKS_PER_SECOND).ok_or_else(|| unreadable(pid, "stat"))
}

pub(crate) fn memory(pid: u32) -> Result<Memory, Failure> {
    let status = read(pid, "status")?;
    let field = |name| kibibytes(&status, name).ok_or_else(|| unreadable(pid, "status"));
    Ok(Memory { now: field("VmRSS:")? << 10, peak: field("VmHWM:")? << 10 })
}

fn read(pid: u32, file: &str) -> Result<String, Failure> {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
        .map_err(|error| format!("cannot read /proc/{pid}/{file}: {error}").into())
}

fn unreadable(pid: u32, file: &str) -> Failure {
    format!("/proc/{pid}/{file} is not in the form that was expected").into()
}

/// User and system time; the command's name before them may hold blanks and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{cpu_seconds, memory, ticks};

    #[test]
    fn ticks_are_found_behind_a_wild_name() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 700 42 0 0 20 0";
        assert_eq!(ticks(stat), Some(742));
    }

    #[test]
    fn this_process_uses_memory() {
        let pid = std::process::id();
        let memory = memory(pid).expect("status of this process");
        assert!(memory.now > 0 && memory.peak >= memory.now);
        assert!(cpu_seconds(pid).expect("stat of this process") >= 0.0);
    }
}
