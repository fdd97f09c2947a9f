#!/usr/bin/env bash
# asan.sh [CALLS] [TEST]: runs the random calls of tests/interface/misuse.rs under AddressSanitizer: 200,000 calls by default,
# with the engine in the test's own process. With `through_a_served` as TEST the calls go through a boundary.
#
# Stable Rust can do this with RUSTC_BOOTSTRAP=1. An instrumented module loads only into a process that has the runtime already.
# So the test and the command line are instrumented as well, and export the runtime's symbols, which a linker does only on
# request. The C code (SQLite, libsecp256k1) is instrumented, too. The backing token (SoftHSM2) is not, but it allocates through
# the runtime. Each process reports its leaks when it ends, except a child of fork(2).
set -euo pipefail

calls=${1:-200000}
name=${2:-in_the_process}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
host=$(rustc --print host-tuple)
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Clink-arg=-Wl,--export-dynamic"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/asan} COUNTERSIGN_MISUSE_CALLS=$calls
# The quarantine keeps freed memory for a while, to find later uses of it. It is small, so that the tests do not take it for a
# leak. SQLite's amalgamation has static tables that share a name, which looks like one table defined twice.
export ASAN_OPTIONS=detect_leaks=1:quarantine_size_mb=16:detect_odr_violation=0
export LSAN_OPTIONS=suppressions=$PWD/tests/misuse/leaks.txt:print_suppressions=0
cargo build --locked --target "$host" --lib --bins
cargo test --locked --target "$host" --test interface -- --nocapture "misuse::calls_at_random_gain_nothing_$name"
