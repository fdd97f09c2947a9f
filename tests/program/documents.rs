//! The documents: every link leads somewhere, and every command is run or says why it is not.
//!
//! A fenced block of `sh` or `python` is run by [`commands`], unless the line above it is a comment:
//!
//! - `<!-- run by FILE, FILE -->`: those tests run it, and name the document;
//! - `<!-- not run: REASON -->`: nothing runs it;
//! - `<!-- test: WORDS -->`: it is run, after the function of `tests/documents/story.sh` that the words call.
//!
//! To run these by hand: `cargo build && cargo test --test program documents`. `COUNTERSIGN_PYTHON` names another interpreter than the one
//! that `softhsm/test.sh` makes in `target/venv`.

mod commands;
mod links;
mod markdown;
