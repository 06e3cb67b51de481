//! `/proc/stat` and `/proc/loadavg`: processors by mode, processes, load.

use super::Values;

/// The modes of a `cpu` line, in its order.
const MODES: [&str; 10] = [
    "cpu_user",
    "cpu_nice",
    "cpu_system",
    "cpu_idle",
    "cpu_iowait",
    "cpu_irq",
    "cpu_softirq",
    "cpu_steal",
    "cpu_guest",
    "cpu_guest_nice",
];
const OTHERS: [(&str, &str); 6] = [
    ("intr", "interrupts"),
    ("ctxt", "context_switches"),
    ("btime", "boot_time"),
    ("processes", "processes_created"),
    ("procs_running", "processes_running"),
    ("procs_blocked", "processes_blocked"),
];

/// Times are in hundredths of a second, which Linux shows user space on every machine.
pub(super) fn read_stat(text: &str) -> Values {
    let mut values = Values::new();
    let mut cpus = 0;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(key) = words.next() else { continue };
        let mut number = || words.next()?.parse::<i64>().ok();
        if key == "cpu" {
            let modes = MODES.into_iter().map(|mode| Some((mode, number()?)));
            values.extend(modes.map_while(|mode| mode));
        } else if let Some(rest) = key.strip_prefix("cpu") {
            cpus += i64::from(!rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
        } else if let Some((_, column)) = OTHERS.iter().find(|(other, _)| *other == key) {
            values.extend(number().map(|number| (*column, number)));
        }
    }
    if cpus > 0 {
        values.push(("cpus", cpus));
    }
    values
}

pub(super) fn read_loadavg(text: &str) -> Values {
    let words = text.split_ascii_whitespace();
    ["load1", "load5", "load15"]
        .into_iter()
        .zip(words)
        .filter_map(|(column, word)| Some((column, hundredths(word)?)))
        .collect()
}

/// `1.25` as 125: Linux prints two decimals.
fn hundredths(word: &str) -> Option<i64> {
    let (whole, decimals) = word.split_once('.')?;
    if decimals.len() != 2 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = whole.parse::<u32>().ok()?;
    Some(i64::from(whole) * 100 + decimals.parse::<i64>().ok()?)
}
