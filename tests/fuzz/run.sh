#!/usr/bin/env bash
# run.sh [SECONDS] [TARGET…]: fuzzes each target, by default for a minute. `psbt` takes a PSBT the whole way, with the testkit as
# seeds. `frames` takes the bytes that come over a connection. `acts` takes the text of an act,
# `statements` that of a statement, and `passkeys` the answer of a passkey.
#
# It needs cargo-fuzz (cargo install cargo-fuzz). Stable Rust will do: there is no sanitizer, because the fuzzed code is safe
# Rust. Findings are in target/fuzz/artifacts.
set -euo pipefail

seconds=${1:-60}
targets=("${@:2}")
[ "${#targets[@]}" -gt 0 ] || targets=(psbt frames acts statements passkeys)
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$folder/../../target/fuzz
mkdir -p "$target/artifacts"
cd "$folder"
cargo run --quiet --locked -p countersign --example fuzz-seeds "$target/seeds"
# All targets run at once, and each keeps one processor busy. Their output is shown when they have ended.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
# Optimised like a release, without the link-time optimisation that takes minutes.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=none
declare -A running
for name in "${targets[@]}"; do
    mkdir -p "$target/corpus/$name"
    # The limit is the length of a large PSBT of the testkit. Longer inputs would leave time for fewer of them.
    cargo fuzz run --fuzz-dir "$folder" --target-dir "$target/build" --sanitizer none "$name" \
        "$target/corpus/$name" "$target/seeds/$name" -- -max_total_time="$seconds" -max_len=16384 -timeout=20 \
        -artifact_prefix="$target/artifacts/" -verbosity=0 -print_final_stats=1 >"$target/$name.log" 2>&1 &
    running[$name]=$!
done
status=0
for name in "${targets[@]}"; do
    wait "${running[$name]}" || status=$?
    cat "$target/$name.log"
done
exit "$status"
