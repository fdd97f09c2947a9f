//! The output of a verb on standard output and standard error.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::CommandError;
use crate::names::printable;

/// The result of a verb that did its work.
pub(crate) struct Report {
    /// For a person, or the bytes of a signed PSBT.
    body: Zeroizing<Vec<u8>>,
    /// For a person, on standard error.
    note: String,
    /// For a program.
    json: Value,
    /// Whether a check found something wrong.
    wrong: bool,
}

impl Report {
    /// A report in both forms.
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Report::raw(text.into().into_bytes(), json)
    }

    /// A report whose form for standard output is bytes.
    pub(crate) fn raw(body: Vec<u8>, json: Value) -> Self {
        Report { body: Zeroizing::new(body), note: String::new(), json, wrong: false }
    }

    /// Adds a line on standard error, for a person only.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The verb did its work, but what it found is wrong: exit status 1.
    pub(crate) fn wrong(mut self, wrong: bool) -> Self {
        self.wrong = wrong;
        self
    }
}

/// Prints a verb's outcome and chooses the exit status.
pub(crate) fn print(outcome: Result<Report, CommandError>, json: bool) -> ExitCode {
    let (written, status) = match outcome {
        Ok(report) if json => (print_json(&report.json), u8::from(report.wrong)),
        Ok(report) => {
            let written = write_stdout(&report.body);
            if !report.note.is_empty() {
                eprintln!("{}", report.note);
            }
            (written, u8::from(report.wrong))
        }
        Err(error) if json => (print_json(&error.to_json()), error.status),
        Err(error) => {
            let rv = error.rv.as_deref().map(|rv| format!(" ({rv})")).unwrap_or_default();
            eprintln!("error: {}{rv}", printable(&error.what));
            if let Some(rule) = error.rule {
                eprintln!("rule: {rule}: {}", rule.sentence());
            }
            eprintln!("next: {}", printable(&error.next));
            (Ok(()), error.status)
        }
    };
    match written {
        // The reader of the output has read enough.
        Err(reason) if reason.kind() == ErrorKind::BrokenPipe => ExitCode::from(status),
        Err(reason) => {
            eprintln!("error: cannot write the answer to standard output: {reason}");
            eprintln!("next: check where standard output leads; what the command did stays done");
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::from(status),
    }
}

/// Lines of `name: value`, the values aligned.
pub(crate) fn details(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (name, value) in lines {
        let value = printable(value).trim_end().replace('\n', &format!("\n{:width$}", ""));
        text.push_str(&format!("{:width$}{value}\n", format!("{name}:")));
    }
    text
}

/// A table with a heading. The columns are two spaces apart.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(ToString::to_string).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell).replace('\n', ", ")).collect()).collect();
    let mut widths = vec![0; heading.len()];
    for row in std::iter::once(&heading).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(&rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `yes` or `no`, or `?` if the module does not say.
pub(crate) fn yes_no(truth: Option<bool>) -> String {
    match truth {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    }
    .into()
}

pub(crate) fn print_json(value: &Value) -> std::io::Result<()> {
    let mut line = Zeroizing::new(format!("{value:#}").into_bytes());
    line.push(b'\n');
    write_stdout(&line)
}

fn write_stdout(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_aligned_and_continued() {
        let text = details(&[("name", "alice".into()), ("policy", "a = 1\nb = 2\n".into())]);
        assert_eq!(text, "name:   alice\npolicy: a = 1\n        b = 2\n");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "x\ny".to_owned()], vec!["long".to_owned(), "z".to_owned()]];
        assert_eq!(table(&["N", "V"], &rows), "N     V\na     x, y\nlong  z\n");
    }
}
