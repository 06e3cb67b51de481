//! What a machine printed, and whatever else could stand there.

use super::*;
use proptest::prelude::*;
use warpline_storage::model::Block;

const STAT: &str = "cpu  100 2 30 4000 5 6 7 8 9 10\ncpu0 50 1 15 2000 0 0 0 0 0 0\n\
                    cpu1 50 1 15 2000 5 6 7 8 9 10\nintr 123456 1 2 3\nctxt 7890\n\
                    btime 1700000000\nprocesses 4321\nprocs_running 3\nprocs_blocked 1\n";
const MEMINFO: &str = "MemTotal:       16384000 kB\nMemFree:         1024 kB\n\
                       HugePages_Total:       8\nDirty:  4 MB\nOdd\n";
const DISKS: &str = " 259 0 nvme0n1 100 1 2000 30 200 2 4000 60 1 70 90 0 0 0 0 0 0\n\
                     259 1 nvme0n1p1 90 1 1900 29 190 2 3900 59 0 69 89 0 0 0 0 0 0\n\
                     8 0 sda 10 0 8 3 20 0 16 6 0 7 9\n8 1 sda1 10 0 8 3 20 0 16 6 0 7 9\n\
                     253 0 dm-0 1 1 1 1 1 1 1 1 1 1 1\n7 0 loop0 1 1 1 1 1 1 1 1 1 1 1\n";
const NETWORK: &str = "Inter-|   Receive                                                |  Transmit\n\
     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n\
         lo: 999 9 0 0 0 0 0 0 999 9 0 0 0 0 0 0\n\
       eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n\
       ib0:500 5 0 0 0 0 0 0 600 6 0 0 0 0 0 0\n veth1: 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7\n\
     eth0.7: 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5\n";

fn texts() -> ProcTexts {
    ProcTexts {
        stat: STAT.into(),
        loadavg: "0.50 1.25 10.00 3/1234 5678\n".into(),
        meminfo: MEMINFO.into(),
        diskstats: DISKS.into(),
        net_dev: NETWORK.into(),
    }
}

/// The stored integer of a column in the one row; `None` where it is absent.
fn cell(texts: &ProcTexts, column: &str) -> Option<i64> {
    let (layout, bytes) = NodeTable::new("c", "n").read(texts, 1).expect("a row");
    let at = layout.columns().iter().position(|known| &*known.name == column).expect("a column");
    let block = Block::parse(layout, bytes).unwrap();
    block.is_present(at, 0).then(|| block.raw(at, 0))
}

#[test]
fn a_machine_is_one_row() {
    let wanted = [
        ("cpus", Some(2)),
        ("cpu_user", Some(100)),
        ("cpu_guest_nice", Some(10)),
        ("interrupts", Some(123_456)),
        ("processes_blocked", Some(1)),
        ("load1", Some(50)),
        ("load15", Some(1_000)),
        ("memory_total", Some(16_384_000 * 1_024)),
        ("huge_pages_total", Some(8)),
        ("memory_dirty", None),
        ("swap_free", None),
        ("disk_reads", Some(110)),
        ("disk_read_bytes", Some(2_008 * 512)),
        ("disk_write_seconds", Some(66)),
        ("disk_busy_seconds", Some(77)),
        ("network_received_bytes", Some(1_500)),
        ("network_send_drops", Some(4)),
    ];
    for (column, value) in wanted {
        assert_eq!(cell(&texts(), column), value, "{column}");
    }
}

#[test]
fn what_is_absent_or_too_large_is_null() {
    assert!(NodeTable::new("c", "n").read(&ProcTexts::default(), 1).is_none());
    let odd = ProcTexts {
        stat: "cpu 1 x 3\nctxt 99999999999999999999\nprocs_running 3000000000\n".into(),
        loadavg: "1.2 -1.00 99999999999.00".into(),
        ..ProcTexts::default()
    };
    assert_eq!(cell(&odd, "cpu_user"), Some(1));
    for column in [
        "cpu_nice",
        "cpu_system",
        "context_switches",
        "processes_running",
        "load1",
        "load5",
        "load15",
    ] {
        assert_eq!(cell(&odd, column), None, "{column}");
    }
}

#[test]
fn this_machine_is_read() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let here = ProcTexts {
        stat: read("/proc/stat"),
        loadavg: read("/proc/loadavg"),
        meminfo: read("/proc/meminfo"),
        diskstats: read("/proc/diskstats"),
        net_dev: read("/proc/net/dev"),
    };
    for column in ["cpus", "cpu_idle", "load15", "memory_total", "memory_available"] {
        assert!(cell(&here, column).is_some_and(|value| value >= 0), "{column}");
    }
}

proptest! {
    #[test]
    fn any_text_is_survived(parts in proptest::collection::vec(".{0,80}", 5)) {
        let [stat, loadavg, meminfo, diskstats, net_dev] = &parts[..] else { unreachable!() };
        let texts = ProcTexts {
            stat: stat.clone(), loadavg: loadavg.clone(), meminfo: meminfo.clone(),
            diskstats: diskstats.clone(), net_dev: net_dev.clone(),
        };
        NodeTable::new("c", "n").read(&texts, 1);
    }

    /// The real texts with bytes changed, and cut anywhere.
    #[test]
    fn mutated_texts_are_survived(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), "[0-9 :.a-z\n-]"), 0..20),
        length in any::<prop::sample::Index>(),
    ) {
        let change = |text: &str| {
            let mut text: Vec<char> = text.chars().collect();
            for (at, with) in &changes {
                let at = at.index(text.len());
                text[at] = with.chars().next().unwrap_or(' ');
            }
            text.truncate(length.index(text.len()));
            text.into_iter().collect::<String>()
        };
        let whole = texts();
        let texts = ProcTexts {
            stat: change(&whole.stat), loadavg: change(&whole.loadavg),
            meminfo: change(&whole.meminfo), diskstats: change(&whole.diskstats),
            net_dev: change(&whole.net_dev),
        };
        if let Some((layout, bytes)) = NodeTable::new("c", "n").read(&texts, 1) {
            let block = Block::parse(layout, bytes).unwrap();
            prop_assert_eq!(block.rows(), 1);
        }
    }
}
