#!/usr/bin/env bash
# asan.sh [CALLS] [TEST]: the calls at random of tests/interface/misuse.rs under AddressSanitizer, 200,000 unless told otherwise, with the
# engine in the test's own process; `through_a_served` as TEST takes the one through a boundary.
#
# Stable Rust does, with RUSTC_BOOTSTRAP=1. A module that is instrumented loads only where the runtime is already: so the test
# and the command line are instrumented as well, and export the runtime's symbols, which a linker does not do unless it is
# asked. The parts in C (SQLite, libsecp256k1) are, too; the backing token (SoftHSM2) is not, but what it allocates is the
# runtime's. What is never freed is told at the end of each process; a child of fork(2) ends without that.
set -euo pipefail

calls=${1:-200000}
name=${2:-in_the_process}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
host=$(rustc --print host-tuple)
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Clink-arg=-Wl,--export-dynamic"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/asan} COUNTERSIGN_MISUSE_CALLS=$calls
# What was freed is kept for a while, to find whoever uses it still: little enough that it is not taken for a leak.
# SQLite's one source has static tables of one name, which look like one table defined twice.
export ASAN_OPTIONS=detect_leaks=1:quarantine_size_mb=16:detect_odr_violation=0
export LSAN_OPTIONS=suppressions=$PWD/tests/misuse/leaks.txt:print_suppressions=0
cargo build --locked --target "$host" --lib --bins
cargo test --locked --target "$host" --test interface -- --nocapture "misuse::calls_at_random_gain_nothing_$name"
