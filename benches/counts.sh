#!/usr/bin/env bash
# counts.sh: counts the instructions of a signature for each script type and number of inputs, and compares them with the record.
#
#   bash benches/counts.sh           fails if a count is more than a tenth over its record
#   bash benches/counts.sh --record  writes benches/counts.toml anew
#
# callgrind counts instructions, so the machine may be busy. Another make of processor takes other branches here and there, which
# changes counts by a few per cent. Dependencies are built with the profile dev, which optimises them; our own code at level 1.
# Its counts are a few per cent over those of a release, which would take minutes to build.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../softhsm/lib.sh"

main() {
    cd "$root"
    need_rust
    need_packages valgrind python3
    local work counts
    work=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    end_by_signals
    counts=$(CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo build --locked --bench counts --message-format json-render-diagnostics </dev/null |
        python3 benches/counts.py executable)
    "$counts" make "$work"
    # Each call of the function begins and ends a count, which goes into a file of its own.
    valgrind --quiet --tool=callgrind --callgrind-out-file="$work/counted" --collect-atstart=no \
        --toggle-collect=counts::counted_section --dump-after=counts::counted_section \
        "$counts" count "$work" >"$work/names"
    python3 benches/counts.py compare "$work" benches/counts.toml "$@"
}

main "$@"
