//! Texts that people approve: their lines, names and ids.
//!
//! Such a text is printable ASCII and newlines, and has one form. Names are in quotes, ids in lower-case hex. The readers
//! here take more than is printed: whoever reads a text prints it again, and compares.

mod quoted;

use core::str::FromStr;

use data_encoding::HEXLOWER;

use super::name::UserId;
pub(crate) use quoted::{quote, read_block, unquote, write_block};

/// Reads line by line; each line ends in a newline. It reads more than is printed: whoever calls it prints again, and compares.
pub(crate) struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Reader<'a> {
        Reader { rest: text }
    }

    pub(crate) fn line(&mut self) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        Some(line)
    }

    /// The next line, if it is this one.
    pub(crate) fn expect(&mut self, line: &str) -> Option<()> {
        (self.line()? == line).then_some(())
    }

    /// What the next line says, if it says it of `name`.
    pub(crate) fn value(&mut self, name: &str) -> Option<&'a str> {
        self.line()?.strip_prefix(name)?.strip_prefix(' ')
    }

    pub(crate) fn number<T: FromStr>(&mut self, name: &str) -> Option<T> {
        self.value(name)?.parse().ok()
    }

    pub(crate) fn quoted(&mut self, name: &str) -> Option<String> {
        let (text, rest) = unquote(self.value(name)?)?;
        rest.is_empty().then_some(text)
    }

    /// The lines that follow and are indented, without that.
    pub(crate) fn section(&mut self) -> Option<String> {
        let mut section = String::new();
        while self.rest.starts_with("  ") {
            section.push_str(self.line()?.strip_prefix("  ")?);
            section.push('\n');
        }
        Some(section)
    }

    /// Whether what follows begins so.
    pub(crate) fn has(&self, beginning: &str) -> bool {
        self.rest.starts_with(beginning)
    }

    /// The lines that follow, to the end.
    pub(crate) fn into_lines(self) -> Option<core::str::Split<'a, char>> {
        Some(self.rest.strip_suffix('\n')?.split('\n'))
    }

    /// Nothing follows.
    pub(crate) fn end(self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

/// A user by name and enrolment.
pub(crate) fn print_user(UserId { name, key }: &UserId) -> String {
    format!("{} {}", quote(name), HEXLOWER.encode(key))
}

/// Reads what [`print_user`] prints.
pub(crate) fn user(text: &str) -> Option<UserId> {
    let (name, key) = named(text)?;
    Some(UserId { name, key })
}

/// A quoted name, and the id behind it.
pub(crate) fn named<const N: usize>(text: &str) -> Option<(String, [u8; N])> {
    let (name, id) = unquote(text)?;
    Some((name, from_hex(id.strip_prefix(' ')?)?))
}

pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}
