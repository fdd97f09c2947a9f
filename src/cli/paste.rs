//! Text that a person pastes at the terminal, of any length.
//!
//! In canonical mode a terminal accepts lines of 4,095 characters and silently drops the rest (termios(3),
//! "Canonical and noncanonical mode"). A PSBT is longer. So this changes the mode while it reads. It restores
//! the mode on every way out: at the end, on an error, on a panic, when the process is stopped, and on every
//! signal that ends it and can be caught.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Reads standard input, a terminal, up to the end-of-file character (Ctrl-D): at most `most` bytes and one
/// more.
pub(crate) fn read(most: u64) -> io::Result<Vec<u8>> {
    let terminal = Arc::new(Terminal::of(io::stdin().as_fd().try_clone_to_owned()?)?);
    // Signals first, so that the mode is restored even if one comes right after the change.
    watch(&terminal)?;
    terminal.read(most)
}

/// Gives signals their usual effect, after the terminal's mode was restored. This stays in place after the
/// reading, because a handler cannot be removed.
fn watch(terminal: &Arc<Terminal>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT])?;
    let terminal = Arc::clone(terminal);
    std::thread::Builder::new().name("terminal".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGCONT {
                let _ = terminal.set(Mode::Again);
                continue;
            }
            let _ = terminal.set(Mode::Paused);
            // Ends the process, or stops it until SIGCONT.
            let _ = emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// A terminal whose mode can be changed and restored.
struct Terminal {
    file: OwnedFd,
    before: Termios,
    is_reading: Mutex<bool>,
}

/// The desired mode of the terminal.
enum Mode {
    /// Every character at once.
    Reading,
    /// The original mode.
    Before,
    /// The original mode while the process is stopped.
    Paused,
    /// Every character at once again, if that was desired before.
    Again,
}

impl Terminal {
    fn of(file: OwnedFd) -> io::Result<Terminal> {
        let before = tcgetattr(&file)?;
        Ok(Terminal { file, before, is_reading: Mutex::new(false) })
    }

    fn set(&self, mode: Mode) -> io::Result<()> {
        let mut is_reading = self.is_reading.lock().unwrap_or_else(PoisonError::into_inner);
        let set = match mode {
            Mode::Reading => true,
            Mode::Again if *is_reading => true,
            Mode::Before | Mode::Paused if *is_reading => false,
            Mode::Before | Mode::Paused | Mode::Again => return Ok(()),
        };
        if set {
            let mut raw = self.before.clone();
            // The terminal still echoes input, but without notation for control characters, and still
            // generates signals.
            raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHOCTL);
            raw.special_codes[SpecialCodeIndex::VMIN] = 1;
            raw.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(&self.file, OptionalActions::Now, &raw)?;
        } else {
            tcsetattr(&self.file, OptionalActions::Now, &self.before)?;
        }
        match mode {
            Mode::Reading => *is_reading = true,
            Mode::Before => *is_reading = false,
            Mode::Paused | Mode::Again => {}
        }
        Ok(())
    }

    fn read(&self, most: u64) -> io::Result<Vec<u8>> {
        self.set(Mode::Reading)?;
        let _given_back = GivenBack(self);
        let mut typed = Typed::new(&self.before);
        let mut buffer = [0; 4096];
        while typed.text.len() as u64 <= most {
            let read = match rustix::io::read(&self.file, &mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for byte in &buffer[..read] {
                match typed.take(*byte) {
                    Step::On => {}
                    // Failing to echo is no reason to stop.
                    Step::Show(shown) => drop(rustix::io::write(&self.file, shown)),
                    Step::End => return Ok(typed.text),
                }
            }
        }
        Ok(typed.text)
    }
}

struct GivenBack<'a>(&'a Terminal);

impl Drop for GivenBack<'_> {
    fn drop(&mut self) {
        let _ = self.0.set(Mode::Before);
    }
}

/// The text so far, with the editing that a line offers: erase, kill, end of file.
struct Typed {
    text: Vec<u8>,
    erase: u8,
    kill: u8,
    end: u8,
    escape: Escape,
}

/// The position within the sequence of a cursor or function key (ECMA-48, "CSI").
enum Escape {
    Outside,
    Begun,
    Inside,
}

/// What to do after a character.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    On,
    Show(&'static [u8]),
    End,
}

const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
const ESCAPE: u8 = 0x1b;

impl Typed {
    fn new(terminal: &Termios) -> Typed {
        let code = |index| terminal.special_codes[index];
        Typed {
            text: Vec::new(),
            erase: code(SpecialCodeIndex::VERASE),
            kill: code(SpecialCodeIndex::VKILL),
            end: code(SpecialCodeIndex::VEOF),
            escape: Escape::Outside,
        }
    }

    fn take(&mut self, byte: u8) -> Step {
        match self.escape {
            Escape::Begun if byte == b'[' => self.escape = Escape::Inside,
            Escape::Inside if !(0x40..=0x7e).contains(&byte) => {}
            Escape::Begun | Escape::Inside => self.escape = Escape::Outside,
            Escape::Outside if byte == ESCAPE => self.escape = Escape::Begun,
            // A character code of 0 is switched off.
            Escape::Outside if byte != 0 && byte == self.end => return Step::End,
            Escape::Outside if byte != 0 && byte == self.kill => {
                let line = self.text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                self.text.truncate(line);
                return Step::Show(b"\n");
            }
            Escape::Outside if byte == self.erase && byte != 0 || matches!(byte, BACKSPACE | DELETE) => {
                if self.text.last().is_none_or(|last| *last == b'\n') {
                    return Step::On;
                }
                self.text.pop();
                // The terminal has echoed a backspace already.
                return Step::Show(if byte == BACKSPACE { b" \x08" } else { b"\x08 \x08" });
            }
            Escape::Outside => self.text.push(byte),
        }
        Step::On
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(input: &[u8]) -> (Vec<u8>, bool) {
        let mut typed = Typed { text: vec![], erase: DELETE, kill: 0x15, end: 0x04, escape: Escape::Outside };
        let is_over = input.iter().any(|byte| typed.take(*byte) == Step::End);
        (typed.text, is_over)
    }

    #[test]
    fn a_line_can_be_edited_and_ended() {
        for (input, text) in [
            (&b"cHNi\n"[..], &b"cHNi\n"[..]),
            (b"cHNx\x7fi\n", b"cHNi\n"),
            (b"cHNx\x08i\n", b"cHNi\n"),
            (b"\x7f\x7fcHNi", b"cHNi"),
            (b"one\nwrong\x15two\n", b"one\ntwo\n"),
            (b"one\n\x7ftwo", b"one\ntwo"),
            (b"cH\x1b[D\x1b[1;5CNi\x1b[3~", b"cHNi"),
            (b"cH\x1bxNi", b"cHNi"),
        ] {
            assert_eq!(typed(input), (text.to_vec(), false), "{input:?}");
        }
        assert_eq!(typed(b"cHNi\x04more"), (b"cHNi".to_vec(), true));
    }
}
