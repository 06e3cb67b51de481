//! Statements asked one after the other: at a terminal with a line editor and a history that is
//! kept, from a pipe as they come.
//!
//! A statement ends with the line that ends with `;`. A line that begins with `\` says something to
//! the shell. At a terminal an error is told and the next statement asked, and Ctrl-C gives up the
//! statement that runs; a pipe ends with its first error.

use super::{Format, answer};
use crate::Failure;
use clap::ValueEnum;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use std::io::IsTerminal;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, BufReader};
use warpline_ingest::Remote;

const FIRST: &str = "warpline> ";
const NEXT: &str = "       -> ";
const HISTORY_FILE: &str = "sql_history";

const HELP: &str = "\
Statements end with ; at the end of a line. Each stands alone: nothing that one SETs is kept.
  \\format table|json|csv   how answers are written
  \\timing                  tell how long they take, or stop telling
  \\q                       leave, as Ctrl-D does
For \\d and the like use psql, which speaks to the PostgreSQL port.";

pub(super) async fn run(server: Remote, format: Format, timing: bool) -> Result<(), Failure> {
    let mut shell = Shell { server, format, timing };
    if std::io::stdin().is_terminal() {
        return shell.at_terminal().await;
    }
    let mut pending = Pending::default();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(said) = pending.take(&line) {
            match said {
                Said::Leave => return Ok(()),
                said => shell.obey(said).await?,
            }
        }
    }
    match pending.rest() {
        Some(statement) => shell.obey(Said::Ask(statement)).await,
        None => Ok(()),
    }
}

struct Shell {
    server: Remote,
    format: Format,
    timing: bool,
}

impl Shell {
    async fn at_terminal(&mut self) -> Result<(), Failure> {
        let mut editor = DefaultEditor::new()?;
        let history = history_file();
        if let Some(file) = &history {
            // The first time there is none.
            let _ = editor.load_history(file);
        }
        println!("Statements end with ; and \\? helps.");
        let mut pending = Pending::default();
        loop {
            let prompt = if pending.is_empty() { FIRST } else { NEXT };
            let line = match tokio::task::block_in_place(|| editor.readline(prompt)) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => {
                    pending = Pending::default();
                    continue;
                }
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error.into()),
            };
            let Some(said) = pending.take(&line) else { continue };
            if let Said::Leave = said {
                break;
            }
            if let Said::Ask(statement) = &said {
                editor.add_history_entry(statement.as_str())?;
            }
            let outcome = tokio::select! {
                outcome = self.obey(said) => outcome,
                _ = tokio::signal::ctrl_c() => Err("given up".into()),
            };
            if let Err(error) = outcome {
                eprintln!("{error}");
            }
        }
        if let Some(file) = &history {
            editor.save_history(file)?;
        }
        Ok(())
    }

    async fn obey(&mut self, said: Said) -> Result<(), Failure> {
        match said {
            Said::Ask(statement) => {
                return answer(&self.server, &statement, self.format, self.timing).await;
            }
            Said::Format(format) => self.format = Format::from_str(&format, true)?,
            Said::Timing => {
                self.timing = !self.timing;
                eprintln!("Timing is {}.", if self.timing { "on" } else { "off" });
            }
            Said::Help => eprintln!("{HELP}"),
            Said::Unknown(word) => return Err(format!("{word} is not known: see \\?").into()),
            Said::Leave => {}
        }
        Ok(())
    }
}

/// What lines come to.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Ask(String),
    Format(String),
    Timing,
    Help,
    Leave,
    Unknown(String),
}

impl Said {
    /// What a line says that begins with a backslash.
    fn of(line: &str) -> Self {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "\\q" => Self::Leave,
            "\\?" => Self::Help,
            "\\timing" => Self::Timing,
            "\\format" => Self::Format(rest.trim().to_owned()),
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// Lines of a statement that has not ended.
#[derive(Debug, Default)]
struct Pending {
    text: String,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// What has been said with this line; `None` where it goes on.
    fn take(&mut self, line: &str) -> Option<Said> {
        if self.is_empty() && line.trim_start().starts_with('\\') {
            return Some(Said::of(line.trim()));
        }
        self.text.push_str(line);
        self.text.push('\n');
        if self.ends() { self.rest().map(Said::Ask) } else { None }
    }

    /// The last statement needs no end.
    fn rest(&mut self) -> Option<String> {
        let text = std::mem::take(&mut self.text);
        let statement = text.trim().trim_end_matches(';').trim_end();
        (!statement.is_empty()).then(|| statement.to_owned())
    }

    /// Whether the text ends with a semicolon that stands outside quotes.
    fn ends(&self) -> bool {
        let mut quote = None;
        for one in self.text.chars().filter(|one| ['\'', '"'].contains(one)) {
            match quote {
                None => quote = Some(one),
                Some(open) if open == one => quote = None,
                Some(_) => {}
            }
        }
        quote.is_none() && self.text.trim_end().ends_with(';')
    }
}

/// Where the history is kept; nowhere for a user without a home.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".local/state"))
    })?;
    let folder = state.join("warpline");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join(HISTORY_FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> (Vec<Said>, Option<String>) {
        let mut pending = Pending::default();
        let all = lines.iter().filter_map(|line| pending.take(line)).collect();
        (all, pending.rest())
    }

    #[test]
    fn a_statement_ends_with_a_semicolon_outside_quotes() {
        let ask = |text: &str| Said::Ask(text.to_owned());
        let lines = ["SELECT 1;", "", "SELECT ';", "', \"a", "';\"  ; ", ";", "SELECT 2"];
        let asked = vec![ask("SELECT 1"), ask("SELECT ';\n', \"a\n';\"")];
        assert_eq!(said(&lines), (asked, Some("SELECT 2".to_owned())));
        assert_eq!(said(&["SELECT \\q", ";"]), (vec![ask("SELECT \\q")], None));
    }

    #[test]
    fn a_backslash_speaks_to_the_shell() {
        let lines = ["\\timing", " \\format  csv ", "\\?", "\\d gpu", "\\q"];
        let format = Said::Format("csv".to_owned());
        let unknown = Said::Unknown("\\d".to_owned());
        let all = vec![Said::Timing, format, Said::Help, unknown, Said::Leave];
        assert_eq!(said(&lines), (all, None));
    }
}
