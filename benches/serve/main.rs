//! The cost of the way into the boundary, compared with the same calls in this process.
//!
//! `cargo build --release && chrt -r 1 cargo bench --bench serve` prints ratios, each taken in one run. Quote
//! the ratios, not the microseconds. Clients use the real client, `target/release/libcountersign.so`; the
//! boundary is the server of `countersign serve` in this process. `-- latency`, `-- rate` and `-- idle` print
//! one table only.

mod caller;
mod idle;
mod latency;
#[path = "../measure/mod.rs"]
mod measure;
mod rate;
mod served;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, socket] = &arguments[..]
        && role == idle::CLIENTS
    {
        return idle::connect_all(socket.as_ref());
    }
    let asked: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|argument| *argument == name);
    if is_asked("latency") {
        latency::print();
    }
    if is_asked("rate") {
        rate::print();
    }
    if is_asked("idle") {
        idle::print();
    }
}
