//! `countersign audit export`: the chain as JSON lines, to keep or read elsewhere.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;

use clap::Args;
use countersign::kernel::utc::to_iso;
use countersign::ports::LedgerError;
use countersign::shell::inspection::{self, Verified};
use data_encoding::HEXLOWER;
use serde_json::json;

use super::line;
use crate::Global;
use crate::destination::Destination;
use crate::error::CommandError;
use crate::inside::{Inside, explain};
use crate::output::Report;

/// Export the audit chain as JSON lines, and verify it on the way.
///
/// Run it inside the boundary, with the module's configuration. It needs no PIN and works while the module is in use. To continue an
/// earlier export, start from the sequence after the last one. The command verifies the whole chain each time, as "audit verify" does.
/// If the chain does not hold, the exit status is 1, and a file named by --out stays as it was. Lines go to standard output as they are
/// read, so after an error they are proved only up to that error.
#[derive(Args)]
#[command(after_help = line::FIELDS)]
pub(crate) struct Export {
    /// The first link to write
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,
    /// Where the lines go, whole or not at all; - is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
}

/// The reason why an export ends early.
enum Failure {
    Ledger(LedgerError),
    Write(io::Error),
}

impl From<io::Error> for Failure {
    fn from(reason: io::Error) -> Failure {
        Failure::Write(reason)
    }
}

impl Export {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let destination = Destination::prepare(Some(&self.out))?;
        let to_standard = matches!(destination, Destination::Standard);
        if to_standard && global.json {
            return Err(CommandError::new(
                "with --json standard output is one JSON object, so it cannot take the lines as well",
                "name a file for the lines with --out, or leave --json out",
            ));
        }
        let inside = Inside::open()?;
        let written = match destination {
            Destination::File(file) => file.commit_by(|out| self.stream(&inside, out)),
            Destination::Standard => self.stream(&inside, &mut BufWriter::new(io::stdout().lock())),
        };
        let (verified, lines) = match written {
            Ok(written) => written,
            // The reader of the output has read enough.
            Err(Failure::Write(reason)) if to_standard && reason.kind() == ErrorKind::BrokenPipe => {
                return Ok(Report::new("", json!({})));
            }
            Err(failure) => return Err(self.explain(failure)),
        };
        Ok(self.report(&verified, lines, to_standard))
    }

    /// Writes the lines as they are read, so that a chain of any length passes through.
    fn stream(&self, inside: &Inside, out: &mut impl Write) -> Result<(Verified, u64), Failure> {
        let (mut lines, mut broken) = (0, None);
        let verified = inspection::audit(&inside.store, &inside.backing, |link| {
            if link.sequence >= self.from {
                line::write(link, out).map_err(|reason| {
                    let told = LedgerError::Closed(reason.to_string());
                    broken = Some(reason);
                    told
                })?;
                lines += 1;
            }
            Ok(())
        });
        if let Some(reason) = broken {
            return Err(Failure::Write(reason));
        }
        // Even if the chain does not hold, because the error is about the lines read so far.
        let flushed = out.flush();
        let verified = verified.map_err(Failure::Ledger)?;
        flushed?;
        Ok((verified, lines))
    }

    fn explain(&self, failure: Failure) -> CommandError {
        match failure {
            Failure::Ledger(error) => explain(error),
            Failure::Write(reason) => CommandError::new(
                format!("the export to {} failed: {reason}", self.out.display()),
                "check that place, and export again; nothing else was changed",
            ),
        }
    }

    fn report(&self, verified: &Verified, lines: u64, to_standard: bool) -> Report {
        let text = format!(
            "{lines} links from {} on; the chain holds up to link {} of {}.",
            self.from,
            verified.newest,
            to_iso(verified.time)
        );
        let json = json!({ "export": {
            "out": self.out.display().to_string(),
            "from": self.from,
            "lines": lines,
            "newest": verified.newest,
            "head": HEXLOWER.encode(&verified.head),
            "anchored": verified.anchored,
        } });
        if to_standard {
            Report::new("", json).note(text)
        } else {
            Report::new(format!("{text}\nThe lines are in {}.\n", self.out.display()), json)
        }
    }
}
