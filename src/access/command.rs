//! `warpline token`: makes tokens, lists them, and takes them back.
//!
//! It works on the file; a server that uses it takes the change up within seconds.

use super::tokens::{Role, TokenFile};
use crate::Failure;
use crate::serve::ServeOptions;
use chrono::Utc;
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  warpline token add grafana --role read --data /var/lib/warpline
  warpline token add agents --role write --config warpline.toml
  warpline token list
  warpline token remove grafana

The first token locks a server that is started after it was made: from then on nobody reads or
writes without one, nor when the last one was removed. A token that is taken back lets nobody in;
connections that stand stay until they end.";

/// Make, list and take back the tokens that a server asks for.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TokenOptions {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Make a token and print it: it can be read this once
    Add {
        /// Its name, which is its user over the PostgreSQL wire
        name: String,
        /// What it is for
        #[arg(long, value_enum)]
        role: Role,
        /// The tenant whose rows it is for: kept with it, and not enforced by this version
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        #[command(flatten)]
        server: ServeOptions,
    },
    /// Show names, roles and when they were made
    List {
        #[command(flatten)]
        server: ServeOptions,
    },
    /// Take one back
    Remove {
        name: String,
        #[command(flatten)]
        server: ServeOptions,
    },
}

pub fn run(options: TokenOptions) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match options.action {
        Action::Add { name, role, tenant, server } => {
            let path = server.configuration()?.server.tokens_file();
            let _lock = TokenFile::lock(&path)?;
            let mut file = TokenFile::read(&path)?;
            if tenant.is_some() {
                eprintln!("the tenant is kept with the token; this version does not enforce it");
            }
            let token = file.add(&name, role, tenant, Utc::now())?;
            file.write(&path)?;
            writeln!(out, "{token}")?;
        }
        Action::List { server } => {
            let file = TokenFile::read(&server.configuration()?.server.tokens_file())?;
            for entry in file.entries() {
                let role = format!("{:?}", entry.role).to_lowercase();
                let tenant = entry.tenant.as_deref().unwrap_or("-");
                writeln!(out, "{:<24} {role:<6} {tenant:<16} {}", entry.name, entry.created)?;
            }
        }
        Action::Remove { name, server } => {
            let path = server.configuration()?.server.tokens_file();
            let _lock = TokenFile::lock(&path)?;
            let mut file = TokenFile::read(&path)?;
            file.remove(&name)?;
            file.write(&path)?;
        }
    }
    Ok(())
}
