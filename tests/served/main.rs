//! `countersign serve`: its transport, the wall between two Unix users, and the signed module that it loads.

mod plugin;
mod transport;
mod wall;
