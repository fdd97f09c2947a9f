//! Names and documents inside of a text of printable ASCII.
//!
//! Whatever else a name or a document holds is written by its number, as in `\u{e9}`: what a terminal shows is what is there, a letter
//! of another alphabet looks like none of ours, and no blank hides at the end of a line.

use core::fmt::Write as _;

/// The text in quotes.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    text.chars().for_each(|character| match character {
        '"' => quoted.push_str("\\\""),
        character => push(&mut quoted, character),
    });
    quoted.push('"');
    quoted
}

/// Reads a quoted text, and gives what follows it.
pub(crate) fn unquote(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut is_escaped = false;
    let end = inner.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })?;
    Some((unescape(&inner[..end])?, &inner[end + 1..]))
}

/// A document, line by line, each behind a bar: none of its lines is one of the text around it.
pub(crate) fn write_block(to: &mut String, document: &str) {
    for line in document.split('\n') {
        let until_blanks = line.trim_end_matches(' ').len();
        to.push_str(if line.is_empty() { "|" } else { "| " });
        for (at, character) in line.char_indices() {
            match character {
                ' ' if at >= until_blanks => to.push_str("\\u{20}"),
                character => push(to, character),
            }
        }
        to.push('\n');
    }
}

/// Reads what [`write_block`] wrote, line by line.
pub(crate) fn read_block<'a>(lines: impl Iterator<Item = &'a str>) -> Option<String> {
    let read = |line: &str| match line {
        "|" => Some(String::new()),
        line => unescape(line.strip_prefix("| ")?),
    };
    let lines: Vec<String> = lines.map(read).collect::<Option<_>>()?;
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn push(to: &mut String, character: char) {
    match character {
        '\\' => to.push_str("\\\\"),
        ' '..='~' => to.push(character),
        // Writing to a string does not fail.
        other => drop(write!(to, "\\u{{{:x}}}", u32::from(other))),
    }
}

/// Reads more ways to write a character than there are: whoever calls this writes the text again, and compares.
fn unescape(mut text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    while let Some((before, escape)) = text.split_once('\\') {
        plain.push_str(before);
        text = match escape.strip_prefix("u{") {
            Some(number) => {
                let (digits, rest) = number.split_once('}')?;
                plain.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                rest
            }
            None => {
                let mut characters = escape.chars();
                plain.push(characters.next().filter(|character| matches!(character, '\\' | '"'))?);
                characters.as_str()
            }
        };
    }
    plain.push_str(text);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn act_look_alikes_are_written_by_their_numbers() {
        assert_eq!(quote("alice"), "\"alice\"");
        // Cyrillic, a blank that does not break, a mark that turns the direction, an accent of its own and one composed.
        assert_eq!(quote("\u{430}lice"), "\"\\u{430}lice\"");
        assert_eq!(quote("a\u{a0}b\u{202e}"), "\"a\\u{a0}b\\u{202e}\"");
        assert_ne!(quote("e\u{301}"), quote("\u{e9}"));
        assert_eq!(quote("a\"b\\c"), r#""a\"b\\c""#);
    }

    #[test]
    fn act_look_alikes_crlf_and_blanks_at_the_end_of_a_line_are_to_be_seen() {
        let mut block = String::new();
        write_block(&mut block, "a = 1 \r\n\n  b\t \nold");
        assert_eq!(block, "| a = 1 \\u{d}\n|\n|   b\\u{9}\\u{20}\n| old\n");
        let mut last = String::new();
        write_block(&mut last, "a\n");
        assert_eq!(last, "| a\n|\n", "whether the last line ends is told");
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back_and_is_printable_ascii(text in "\\PC{0,20}|.{0,20}|[\\\\\"u{} \\n\\r\\t|]{0,20}", rest in ".{0,5}") {
            let quoted = quote(&text);
            prop_assert!(quoted.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            let followed = format!("{quoted}{rest}");
            prop_assert_eq!(unquote(&followed), Some((text.clone(), rest.as_str())));
            let mut block = String::new();
            write_block(&mut block, &text);
            prop_assert!(block.bytes().all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\n'));
            prop_assert!(block.lines().all(|line| line.starts_with('|') && !line.ends_with(' ')));
            prop_assert_eq!(read_block(block.lines()), Some(text));
        }
    }
}
