//! A size's figures as tables: taking in, then warm, CPU and cold of every question.

use super::Run;
use super::measure::{Measured, Timing};
use super::statements::question;
use super::theirs::{Answer, PeerResults};
use crate::report::{MIB, Machine, Table, known, number};

const MISSING: &str = "n/a";
const ROLLUP: &str = "Q12: the peers write Parquet (zstd); ours is an Arrow stream read to its last \
    byte over HTTP. Q12-parquet is the whole of it: a client asks, then writes the answer as \
    Parquet (zstd, level 1); its CPU is server and client together";

const REUSED: &str = "The peers' figures are of an earlier run";

/// What is compared: ours and theirs in the same unit.
struct Figure {
    ours: fn(&Timing) -> f64,
    theirs: fn(&Answer) -> f64,
}

const WARM: Figure =
    Figure { ours: |timing| timing.warm_p50_ms, theirs: |answer| answer.warm * 1e3 };
const CPU: Figure = Figure { ours: |timing| timing.cpu_ms, theirs: |answer| answer.cpu * 1e3 };
const COLD: Figure = Figure { ours: |timing| timing.cold_ms, theirs: |answer| answer.cold * 1e3 };

pub(super) fn all(run: &Run, machine: &Machine) -> Vec<Table> {
    let about = format!("size {}, {} GPUs ({machine})", run.size, run.data.gpus);
    let compared =
        |what: &str, figure: &Figure| comparison(format!("{what}, {about}"), run, figure);
    let mut warm = compared("Warm p50, ms", &WARM);
    for note in notes(run) {
        warm.note(note);
    }
    vec![
        load(format!("Taking in, {about}"), run),
        warm,
        compared("CPU of a warm run, ms", &CPU),
        compared("Cold, ms", &COLD),
    ]
}

fn load(title: String, run: &Run) -> Table {
    let header = [
        "system",
        "M values",
        "CPU s/M",
        "with merge or flush",
        "with all maintenance",
        "bytes/value",
        "files",
        "peak MiB",
    ];
    let mut table = Table::new(title, &header);
    let (load, millions) = (&run.load, run.data.samples as f64 / 1e6);
    table.row(vec![
        "warpline".to_owned(),
        number(millions),
        number(load.durable_cpu / millions),
        number(load.stored_cpu / millions),
        number(load.settled_cpu / millions),
        number(load.bytes as f64 / run.data.samples as f64),
        load.files.to_string(),
        number(load.memory_peak_mib),
    ]);
    for peer in &run.peers {
        let Some(ingest) = &peer.ingest else { continue };
        table.row(vec![
            peer.system.clone(),
            number(ingest.samples() / 1e6),
            number(ingest.cpu_per_million()),
            number(ingest.cpu_per_million_merged()),
            known(None),
            number(ingest.bytes_per_value()),
            known(None),
            number(ingest.peak_bytes() / MIB),
        ]);
    }
    table
}

fn comparison(title: String, run: &Run, figure: &Figure) -> Table {
    let systems = run.peers.iter().map(|peer| peer.system.as_str());
    let header: Vec<&str> = ["question", "warpline"]
        .into_iter()
        .chain(systems)
        .chain(["best peer", "times better"])
        .collect();
    let mut table = Table::new(title, &header);
    for one in &run.queries {
        let query = question(&one.form);
        let told = run.data.titles.get(query).map_or("", String::as_str);
        let mut cells = vec![format!("{} {told}", one.form), ours(one, figure)];
        cells.extend(run.peers.iter().map(|peer| theirs(peer.answers.get(query), figure)));
        let best = best(&run.peers, query, figure);
        let ratio =
            best.zip(one.timing.as_ref()).map(|((_, best), timing)| best / (figure.ours)(timing));
        cells.push(best.map_or(MISSING, |(system, _)| system).to_owned());
        cells.push(ratio.map_or_else(|| MISSING.to_owned(), number));
        table.row(cells);
    }
    table
}

fn ours(one: &Measured, figure: &Figure) -> String {
    let wrong = one.verdict.as_ref().is_some_and(|verdict| !verdict.ok);
    cell(one.timing.as_ref().map(figure.ours), if wrong { " WRONG" } else { "" })
}

fn theirs(answer: Option<&Answer>, figure: &Figure) -> String {
    let mark = match answer {
        Some(answer) if !answer.ok => " WRONG",
        Some(answer) if answer.is_near() => "~",
        _ => "",
    };
    cell(answer.map(figure.theirs), mark)
}

fn cell(value: Option<f64>, mark: &str) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| number(value) + mark)
}

/// The lowest figure of those whose answer is right or near.
fn best<'a>(peers: &'a [PeerResults], query: &str, figure: &Figure) -> Option<(&'a str, f64)> {
    let right = peers.iter().filter_map(|peer| {
        let answer = peer.answers.get(query).filter(|answer| answer.ok)?;
        Some((peer.system.as_str(), (figure.theirs)(answer)))
    });
    right.min_by(|(_, one), (_, other)| one.total_cmp(other))
}

fn notes(run: &Run) -> Vec<String> {
    let Run { queries, peers, .. } = run;
    let mut notes = Vec::new();
    if run.peers_reused {
        notes.push(REUSED.to_owned());
    }
    if queries.iter().any(|one| question(&one.form) == "Q12") {
        notes.push(ROLLUP.to_owned());
    }
    for one in queries {
        if let Some(error) = &one.error {
            notes.push(format!("{} n/a: {}", one.form, error.replace('\n', " ")));
        }
        if let Some(verdict) = one.verdict.as_ref().filter(|verdict| !verdict.ok) {
            notes.push(format!("{} WRONG: {}", one.form, verdict.note));
        }
    }
    for peer in peers {
        let asked = |query: &str| queries.iter().any(|one| question(&one.form) == query);
        for (query, answer) in peer.answers.iter().filter(|(query, _)| asked(query)) {
            if !answer.ok {
                notes.push(format!("{} {query} WRONG: {}", peer.system, answer.why));
            } else if answer.is_near() {
                notes.push(format!("~ {} {query}, near only: {}", peer.system, answer.why));
            }
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::{WARM, comparison, notes};
    use crate::queries::Run;
    use crate::queries::dataset::{Dataset, Load};
    use crate::queries::measure::{Measured, Timing, Verdict};
    use crate::queries::theirs::tests::example;

    fn run() -> Run {
        let timing = Timing {
            cold_ms: 9.0,
            warm_p50_ms: 1.0,
            warm_ms: vec![1.0],
            cpu_ms: 1.0,
            answer_bytes: 10,
            memory_peak_mib: 1.0,
        };
        let measured = |form: &str, timing, error, verdict| Measured {
            form: String::from(form),
            timing,
            error,
            verdict,
        };
        let wrong = Verdict { ok: false, rows: 1, note: "1 keys differ".to_owned() };
        Run {
            size: "S".to_owned(),
            data: Dataset::example(),
            load: Load {
                import_seconds: 1.0,
                durable_cpu: 1.0,
                stored_cpu: 1.0,
                settled_cpu: 1.0,
                bytes: 1,
                files: 1,
                memory_peak_mib: 1.0,
            },
            queries: vec![
                measured("Q1", Some(timing.clone()), None, None),
                measured("Q1-latest", None, Some("HTTP 400: no table\nno".to_owned()), None),
                measured("Q2", Some(timing), None, Some(wrong)),
            ],
            peers: vec![example("duckdb", 0.002, ""), example("victoriametrics", 0.004, "near")],
            peers_reused: true,
        }
    }

    #[test]
    fn ours_stands_beside_the_best_peer() {
        let table = comparison("Warm".to_owned(), &run(), &WARM).to_string();
        let cells: Vec<Vec<&str>> = table
            .lines()
            .skip(4)
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        let title = "last gpu_util of every GPU";
        let q1 = format!("Q1 {title}");
        assert_eq!(cells[0], [&q1, "1.00", "2.00", "4.00~", "duckdb", "2.00"]);
        let latest = format!("Q1-latest {title}");
        assert_eq!(cells[1], [&latest, "n/a", "2.00", "4.00~", "duckdb", "n/a"]);
        assert_eq!(cells[2], ["Q2", "1.00 WRONG", "n/a", "n/a", "n/a", "n/a"]);
    }

    #[test]
    fn what_failed_or_differs_is_told() {
        let told = [
            "The peers' figures are of an earlier run",
            "Q1-latest n/a: HTTP 400: no table no",
            "Q2 WRONG: 1 keys differ",
            "~ victoriametrics Q1, near only: near",
        ];
        assert_eq!(notes(&run()), told);
    }
}
