//! The program `countersign`, the scripts, and the Debian package.

mod act;
mod acts;
mod command_line;
mod documents;
mod heir;
mod linked;
mod officers;
mod package;
mod proposals;
mod rooms;
mod scripts;
mod terminal;
mod usage;
mod vetted;
