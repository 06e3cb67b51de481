//! Statements asked one after the other: at a terminal with a line editor and a history that is
//! kept, from a pipe as they come.
//!
//! A statement ends with `;`. A line that begins with `\` where none is open says something to the
//! shell. At a terminal an error is told and the next statement asked, and Ctrl-C gives up the
//! statement that runs; a pipe ends with its first error.

mod pending;

use super::{Client, Format, answer};
use crate::Failure;
use clap::ValueEnum;
use pending::{Pending, Said};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use std::io::IsTerminal;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, BufReader};

const FIRST: &str = "warpline> ";
const NEXT: &str = "       -> ";
const HISTORY_FILE: &str = "sql_history";

const HELP: &str = "\
Statements end with ; and each stands alone: nothing that one SETs is kept.
  \\format table|json|csv   how answers are written
  \\timing                  tell how long they take, or stop telling
  \\q                       leave, as Ctrl-D does
For \\d and the like use psql, which speaks to the PostgreSQL port.";

pub(super) async fn run(client: Client, format: Format, timing: bool) -> Result<(), Failure> {
    let mut shell = Shell { client, format, timing };
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        shell.at_terminal().await
    } else {
        shell.at_pipe().await
    }
}

struct Shell {
    client: Client,
    format: Format,
    timing: bool,
}

/// Whether the shell goes on.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    Leave,
}

impl Shell {
    async fn at_pipe(&mut self) -> Result<(), Failure> {
        let mut pending = Pending::default();
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            for said in pending.take(&line)? {
                if self.obey(said).await? == Then::Leave {
                    return Ok(());
                }
            }
        }
        if let Some(statement) = pending.rest() {
            self.obey(Said::Ask(statement)).await?;
        }
        Ok(())
    }

    async fn at_terminal(&mut self) -> Result<(), Failure> {
        let mut editor = DefaultEditor::new()?;
        let history = history_file();
        if let Some(file) = &history {
            // The first time there is none.
            let _ = editor.load_history(file);
        }
        eprintln!("Statements end with ; and \\? helps.");
        let mut pending = Pending::default();
        loop {
            let prompt = if pending.is_empty() { FIRST } else { NEXT };
            let line = match tokio::task::block_in_place(|| editor.readline(prompt)) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => {
                    pending = Pending::default();
                    continue;
                }
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let all = pending.take(&line).unwrap_or_else(|error| {
                eprintln!("{error}");
                Vec::new()
            });
            for said in all {
                if let Said::Ask(statement) = &said {
                    editor.add_history_entry(format!("{statement};"))?;
                    // Where it cannot be kept the shell works all the same.
                    let _ = history.as_ref().map(|file| editor.append_history(file));
                }
                if self.tell(said).await == Then::Leave {
                    return Ok(());
                }
            }
        }
    }

    /// Obeys, or tells why not.
    async fn tell(&mut self, said: Said) -> Then {
        let outcome = tokio::select! {
            outcome = self.obey(said) => outcome,
            _ = tokio::signal::ctrl_c() => Err("given up".into()),
        };
        outcome.unwrap_or_else(|error| {
            eprintln!("{error}");
            Then::GoOn
        })
    }

    async fn obey(&mut self, said: Said) -> Result<Then, Failure> {
        match said {
            Said::Ask(statement) => {
                answer(&self.client, &statement, self.format, self.timing).await?;
            }
            Said::Format(format) => self.format = Format::from_str(&format, true)?,
            Said::Timing => {
                self.timing = !self.timing;
                eprintln!("Timing is {}.", if self.timing { "on" } else { "off" });
            }
            Said::Help => eprintln!("{HELP}"),
            Said::Unknown(word) => return Err(format!("{word} is not known: see \\?").into()),
            Said::Leave => return Ok(Then::Leave),
        }
        Ok(Then::GoOn)
    }
}

/// Where the history is kept; nowhere for a user without a home.
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    let folder = state.join("warpline");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join(HISTORY_FILE))
}
