//! `/proc/diskstats` and `/proc/net/dev`: disks and interfaces, each added up over the machine.
//!
//! What stands for others is left out, so that nothing is counted twice: partitions, device mapper,
//! RAID and loop devices among disks; loopback, bridges, bonds, VLANs and the ends of containers
//! among interfaces.

use super::Values;
use hashbrown::HashSet;

const SECTOR_BYTES: u64 = 512;
const NO_DISKS: [&str; 9] = ["loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "drbd"];
const NO_INTERFACES: [&str; 15] = [
    "veth", "docker", "br-", "virbr", "cni", "flannel", "cali", "cilium", "lxc", "tun", "tap",
    "bond", "dummy", "vxlan", "wg",
];

/// The fields of a disk behind its name, as the kernel's documentation numbers them from 0.
const DISK: [(usize, u64, &str); 8] = [
    (0, 1, "disk_reads"),
    (2, SECTOR_BYTES, "disk_read_bytes"),
    (3, 1, "disk_read_seconds"),
    (4, 1, "disk_writes"),
    (6, SECTOR_BYTES, "disk_written_bytes"),
    (7, 1, "disk_write_seconds"),
    (8, 1, "disk_requests_under_way"),
    (9, 1, "disk_busy_seconds"),
];
const INTERFACE: [(usize, u64, &str); 8] = [
    (0, 1, "network_received_bytes"),
    (1, 1, "network_received_packets"),
    (2, 1, "network_receive_errors"),
    (3, 1, "network_receive_drops"),
    (8, 1, "network_sent_bytes"),
    (9, 1, "network_sent_packets"),
    (10, 1, "network_send_errors"),
    (11, 1, "network_send_drops"),
];

pub(super) fn read_disks(text: &str) -> Values {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(2);
        Some((words.next()?, words.collect::<Vec<_>>()))
    });
    let lines: Vec<_> = lines.collect();
    let names: HashSet<&str> = lines.iter().map(|(name, _)| *name).collect();
    let whole = lines.iter().filter(|(name, _)| {
        !NO_DISKS.iter().any(|no| name.starts_with(no)) && !is_partition(name, &names)
    });
    add_up(whole.map(|(_, fields)| &fields[..]), &DISK)
}

/// `sda1` beside `sda`, `nvme0n1p2` beside `nvme0n1`.
fn is_partition(name: &str, names: &HashSet<&str>) -> bool {
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
    base != name
        && (names.contains(base) || base.strip_suffix('p').is_some_and(|b| names.contains(b)))
}

pub(super) fn read_network(text: &str) -> Values {
    let lines = text.lines().filter_map(|line| {
        let (name, fields) = line.split_once(':')?;
        Some((name.trim(), fields.split_ascii_whitespace().collect::<Vec<_>>()))
    });
    let lines: Vec<_> = lines.collect();
    let own = lines.iter().filter(|(name, _)| {
        *name != "lo"
            && !name.contains(['.', '@'])
            && !NO_INTERFACES.iter().any(|no| name.starts_with(no))
    });
    add_up(own.map(|(_, fields)| &fields[..]), &INTERFACE)
}

/// Sums over devices that have the field; none where no device has it.
fn add_up<'a>(
    devices: impl Iterator<Item = &'a [&'a str]>,
    fields: &[(usize, u64, &'static str)],
) -> Values {
    let mut sums: Vec<Option<u64>> = vec![None; fields.len()];
    for words in devices {
        for (sum, (at, factor, _)) in sums.iter_mut().zip(fields) {
            let number = words.get(*at).and_then(|word| word.parse::<u64>().ok());
            if let Some(number) = number {
                *sum = Some(sum.unwrap_or(0).saturating_add(number.saturating_mul(*factor)));
            }
        }
    }
    let columns = fields.iter().map(|(_, _, column)| *column);
    let whole = |sum: Option<u64>| i64::try_from(sum?).ok();
    columns.zip(sums).filter_map(|(column, sum)| Some((column, whole(sum)?))).collect()
}
