#!/usr/bin/env bash
# run.sh [SECONDS]: fuzzes the PSBT on its whole way, from the testkit as seeds, for a minute unless told otherwise.
#
# It needs cargo-fuzz (cargo install cargo-fuzz). Stable Rust does: no sanitizer is used, as the parser is safe Rust. What it finds is left in target/fuzz/artifacts.
set -euo pipefail

seconds=${1:-60}
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$folder/../../target/fuzz
mkdir -p "$target/corpus" "$target/artifacts"
cd "$folder"
cargo run --quiet --locked --target-dir "$target/build" --bin seeds "$target/seeds"
# No input is longer than a large PSBT of the testkit, so that many are tried.
exec cargo fuzz run --fuzz-dir "$folder" --target-dir "$target/build" --sanitizer none psbt \
    "$target/corpus" "$target/seeds" -- -max_total_time="$seconds" -max_len=16384 -timeout=20 \
    -artifact_prefix="$target/artifacts/" -verbosity=0 -print_final_stats=1
