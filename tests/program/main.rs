//! The program `countersign`, the scripts, and the package that brings them to a machine.

mod command_line;
mod documents;
mod linked;
mod package;
mod scripts;
mod terminal;
mod usage;
mod vetted;
