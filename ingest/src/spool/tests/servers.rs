//! Servers that know more or less than the spool: none of them costs a frame.

use super::*;

#[test]
fn an_empty_server_is_refilled_from_the_oldest_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    (0..10).for_each(|value| append(&mut spool, value));
    assert_eq!(sent(&mut spool, at(0, 0)).len(), 10);
    spool.acknowledge(at(10, 0));
    assert_eq!(sent(&mut spool, at(0, 0)), pairs(1..=10, 0));
    drop(spool);
    assert_eq!(sent(&mut open(folder.path()), at(0, 0)), pairs(1..=10, 0), "a restart between");
}

#[test]
fn a_lost_folder_goes_on_behind_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    // Frames are taken before the server is met: it has others under their numbers.
    (0..5).for_each(|value| append(&mut spool, value));
    assert_eq!(sent(&mut spool, at(1_000, 990)), pairs(1_001..=1_005, 0));
    drop(spool);
    let mut spool = open(folder.path());
    append(&mut spool, 5);
    assert_eq!(sent(&mut spool, at(1_003, 990)), pairs(1_004..=1_006, 3), "numbers last");
    assert_eq!(sent(&mut spool, at(0, 0)), pairs(1_001..=1_006, 0), "on any server");
}

#[test]
fn a_spool_that_power_loss_took_back_loses_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let mut spool = open(&path);
    (0..10).for_each(|value| append(&mut spool, value));
    assert_eq!(sent(&mut spool, at(0, 0)).len(), 10);
    drop(spool);
    // Two more were sent, and were not on the disk when the power went. Starts follow that meet no
    // server, and take frames under the same places.
    for value in 20..23 {
        append(&mut open(&path), value);
    }
    let mut spool = open(&path);
    append(&mut spool, 23);
    let sent = sent(&mut spool, at(12, 0));
    let new: Vec<i64> = sent.iter().map(|(_, value)| *value).filter(|v| *v >= 20).collect();
    assert_eq!(new, [20, 21, 22, 23]);
    assert!(sent.iter().all(|(sequence, _)| *sequence > 12), "{sent:?}");
}

#[test]
fn servers_that_take_turns_get_what_each_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let mut servers = [(0, Vec::new()), (0, Vec::new())];
    for turn in 0..6 {
        (turn * 10..turn * 10 + 10).for_each(|value| append(&mut spool, value));
        let (durable, values) = &mut servers[turn as usize % 2];
        for (sequence, value) in sent(&mut spool, at(*durable, 0)) {
            assert!(sequence > *durable, "a server takes a sequence once");
            *durable = sequence;
            values.push(value);
        }
    }
    assert_eq!(servers[1].1, (0..60).collect::<Vec<_>>());
    assert_eq!(servers[0].1, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_server_with_frames_of_an_older_life_gets_all_that_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    (0..10).for_each(|value| append(&mut spool, value));
    assert_eq!(sent(&mut spool, at(0, 0)).len(), 10);
    // Another server comes in its place that knew this producer before its spool was lost.
    assert_eq!(sent(&mut spool, at(500, 500)), pairs(501..=510, 0));
    // The first comes back: it takes what is new to it, under numbers it has not seen.
    append(&mut spool, 10);
    assert_eq!(sent(&mut spool, at(10, 0)), pairs(501..=511, 0), "repeats are rows of one key");
}

/// A server's side of it: keeps rows by key, and each sequence once.
#[derive(Default)]
struct Server {
    durable: Sequence,
    stored: Sequence,
    rows: std::collections::BTreeSet<i64>,
}

proptest::proptest! {
    /// Whatever dies in whatever order, no frame is lost that a spool had when it was opened.
    #[test]
    fn no_order_of_deaths_loses_a_frame(
        steps in proptest::collection::vec((0_u8..6, 1_usize..6), 1..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Some(open(folder.path()));
        let (mut table, mut servers) = (std::collections::BTreeSet::new(), [Server::default(), Server::default()]);
        let (mut serving, mut next) = (0, 0);
        for (step, count) in steps {
            match step {
                // The agent dies and comes back.
                0 => { spool = None; }
                // The other server takes over; the log of one is wiped.
                1 => serving = 1 - serving,
                2 => servers[serving] = Server::default(),
                // A flush: what a server has is in the tables they share.
                3 => {
                    let server = &mut servers[serving];
                    server.stored = server.durable;
                    table.extend(server.rows.iter().copied());
                }
                _ => {}
            }
            let spool = spool.get_or_insert_with(|| open(folder.path()));
            for _ in 0..count {
                append(spool, next);
                next += 1;
            }
            if step == 4 {
                continue;
            }
            let server = &mut servers[serving];
            // The connection breaks after so many frames.
            for (sequence, value) in sent(spool, at(server.durable, server.stored)).into_iter().take(count + 1) {
                if sequence > server.durable {
                    server.durable = sequence;
                    server.rows.insert(value);
                }
            }
            spool.acknowledge(at(server.durable, server.stored));
        }
        let mut spool = spool.unwrap_or_else(|| open(folder.path()));
        let server = &mut servers[serving];
        for (sequence, value) in sent(&mut spool, at(server.durable, server.stored)) {
            proptest::prop_assert!(sequence > server.durable);
            server.rows.insert(value);
        }
        let had: Vec<i64> = table.union(&server.rows).copied().collect();
        proptest::prop_assert_eq!(had, (0..next).collect::<Vec<_>>());
    }
}
