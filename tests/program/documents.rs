//! The documents: every link leads somewhere, and every command is run, or the document says why not.
//!
//! A fenced block of `sh` or `python` is run by [`commands`]. A comment in the line above it can change that:
//!
//! - `<!-- run by FILE, FILE -->`: those tests run it, and name the document;
//! - `<!-- not run: REASON -->`: nothing runs it;
//! - `<!-- test: WORDS -->`: it is run after the words, which call a function of `tests/documents/story.sh`;
//! - `<!-- with a node: WORDS -->`, `<!-- with a node and its wallet: WORDS -->`: the same if there is a node of
//!   Bitcoin Core, with the functions of `tests/documents/node.sh`.
//!
//! To run these by hand: `cargo build && cargo test --test program documents`. `COUNTERSIGN_PYTHON` names an
//! interpreter other than the one that `softhsm/test.sh` makes in `target/venv`.

mod commands;
mod links;
mod markdown;
