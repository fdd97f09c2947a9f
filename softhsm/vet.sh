#!/usr/bin/env bash
# vet.sh: fails unless each dependency has a review, or an exemption that says it has none (supply-chain/).
#
# It builds cargo-vet in target/tools, which takes some minutes. After that it needs no network. Run it before a release and when
# you change a dependency. tests/program/vetted.rs compares the records with Cargo.lock at every change.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cargo_vet_version=0.10.3

main() {
    exec </dev/null
    cd "$root"
    need_rust
    PATH=$PATH:$root/target/tools/bin
    build_tool "$(command -v cargo-vet || printf '%s\n' "$root/target/tools/bin/cargo-vet")" "cargo-vet@$cargo_vet_version"
    cargo vet --locked --frozen ||
        fail "a dependency has neither a review nor an exemption" \
            "read it, then run: cargo vet certify NAME VERSION; or, without a review: cargo vet add-exemption NAME VERSION"
}

main "$@"
