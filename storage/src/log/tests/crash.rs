//! Random histories, cut off at any byte: every group that is whole comes back, nothing half.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    /// Batches of one group: producer, and how far its sequence goes on (0 sends the last again).
    Commit(Vec<(u64, u64)>),
    Restart,
    /// Truncates to this part of the positions, in percent.
    Truncate(u64),
}

#[derive(Clone, Copy, Debug)]
enum Tail {
    /// The file ends.
    End,
    Zeros,
    Noise(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => prop::collection::vec((0..4_u64, 0..3_u64), 0..6).prop_map(Act::Commit),
        1 => Just(Act::Restart),
        1 => (0..=100_u64).prop_map(Act::Truncate),
    ]
}

fn tail() -> impl Strategy<Value = Tail> {
    prop_oneof![Just(Tail::End), Just(Tail::Zeros), (1..=255_u8).prop_map(Tail::Noise)]
}

/// What a log must give back: every batch by position, and where each group ends.
#[derive(Default)]
struct Model {
    batches: Vec<Batch>,
    last: [Sequence; 4],
    /// Last position of the group, segment, the segment's end behind it.
    groups: Vec<(Position, Position, u64)>,
    covered: Position,
}

impl Model {
    fn commit(&mut self, log: &mut Log, sends: &[(u64, u64)]) {
        let before = self.batches.len();
        for (number, step) in sends {
            let sequence = self.last[*number as usize] + step;
            let batch = batch(*number, sequence);
            let position = log.stage(batch.clone()).expect("staged");
            assert_eq!(position.is_some(), *step > 0);
            if *step > 0 {
                self.last[*number as usize] = sequence;
                self.batches.push(batch);
                assert_eq!(position, Some(self.batches.len() as u64));
            }
        }
        let group = log.commit().expect("committed").entries;
        self.compare(&group, before as u64 + 1);
        if self.batches.len() > before {
            self.groups.push((self.batches.len() as u64, log.open.first(), log.open.end()));
        }
    }

    fn compare<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a Entry>,
        first: Position,
    ) -> Position {
        let mut next = first;
        for entry in entries {
            assert_is(entry, next, &self.batches[next as usize - 1]);
            next += 1;
        }
        next
    }

    fn run(home: &Home, acts: &[Act]) -> (Self, u64) {
        let mut model = Self::default();
        let mut log = home.log();
        for act in acts {
            match act {
                Act::Commit(sends) => model.commit(&mut log, sends),
                Act::Restart => {
                    drop(log);
                    log = home.log();
                }
                Act::Truncate(percent) => {
                    model.covered = model.covered.max(log.end() * percent / 100);
                    log.truncate(model.covered).expect("truncated");
                }
            }
        }
        (model, log.open.first())
    }

    /// The last position that must be back when the segment `newest` is cut at `cut`.
    fn kept(&self, newest: Position, cut: u64) -> Position {
        let whole = |group: &&(_, Position, u64)| group.1 < newest || group.2 <= cut;
        self.groups.iter().rfind(whole).map_or(0, |group| group.0)
    }
}

/// Puts the tail in place of what follows `at`. Returns where the first byte changed: what was
/// zero already can be lost without a trace.
fn cut(path: &Path, at: usize, tail: Tail) -> u64 {
    let before = std::fs::read(path).expect("a segment");
    let mut bytes = before.clone();
    match tail {
        Tail::End => bytes.truncate(at),
        Tail::Zeros => bytes[at..].fill(0),
        Tail::Noise(byte) => bytes[at..].fill(byte),
    }
    let same = bytes.iter().zip(&before).take_while(|(byte, before)| byte == before).count();
    std::fs::write(path, bytes).expect("written");
    same as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whole_groups_come_back_from_a_log_cut_anywhere(
        acts in prop::collection::vec(act(), 1..40),
        segment_bytes in prop::sample::select(vec![0, 1_500, 6_000, 1 << 16]),
        part in 0.0..1.0_f64,
        tail in tail(),
    ) {
        let home = Home::new(segment_bytes);
        let (model, newest) = Model::run(&home, &acts);
        let path = home.newest();
        let used = model.groups.iter().rfind(|group| group.1 == newest).map_or(64, |group| group.2);
        let length = std::fs::metadata(&path).expect("a segment").len();
        let at = (used as f64 * 1.1 * part) as u64;
        let at = at.min(length);
        let alone = home.segments().len() == 1;
        let at = cut(&path, at as usize, tail);

        let kept = model.kept(newest, at);
        match home.open() {
            Err(error) => {
                // Noise over a version alone cannot be told from a newer program's header.
                let newer = (8..12).contains(&at) && error.to_string().contains("format version");
                // The snapshot in the only segment left is not to be had elsewhere.
                let alone = alone && newest > 1 && error.kind() == ErrorKind::Corrupt;
                prop_assert!(newer || alone, "{error}");
                prop_assert!(kept < newest);
            }
            Ok((groups, mut log)) => {
                let oldest = groups.first().map_or(kept + 1, |group| group[0].position);
                prop_assert!(oldest <= model.covered + 1);
                prop_assert_eq!(model.compare(groups.iter().flatten(), oldest), kept + 1);
                prop_assert_eq!(log.end(), kept);
                // What was lost is taken again, and all of it is there after another restart.
                for (position, batch) in (1..).zip(&model.batches).skip(kept as usize) {
                    prop_assert_eq!(log.stage(batch.clone()).expect("staged"), Some(position));
                }
                log.commit().expect("committed");
                drop(log);
                let (groups, _) = home.open().expect("a sound log");
                let oldest = groups.first().map_or(1, |group| group[0].position);
                let end = model.batches.len() as u64 + 1;
                if !groups.is_empty() {
                    prop_assert_eq!(model.compare(groups.iter().flatten(), oldest), end);
                }
            }
        }
    }
}

#[test]
fn every_byte_of_a_segment_can_be_the_last_one_written() {
    let home = Home::new(1 << 12);
    let sends = [vec![(0, 1), (1, 3)], vec![(2, 3)], vec![(3, 1), (2, 3)]];
    let acts: Vec<_> = sends.into_iter().map(Act::Commit).collect();
    let (model, newest) = Model::run(&home, &acts);
    let bytes = std::fs::read(home.newest()).expect("a segment");
    let end = model.groups.last().expect("a group").2 as usize;
    for at in 0..=end {
        for tail in [Tail::End, Tail::Zeros] {
            std::fs::write(home.newest(), &bytes).expect("written");
            let changed = cut(&home.newest(), at, tail);
            let (groups, log) = home.open().expect("a sound log");
            let kept = model.kept(newest, changed);
            assert_eq!(model.compare(groups.iter().flatten(), 1), kept + 1, "cut at {at}");
            assert_eq!(log.end(), kept);
        }
    }
}
