#!/usr/bin/env bash
# counts.sh: the instructions of a signature, for each script type and number of inputs, beside those that are recorded.
#
#   bash benches/counts.sh           fails where one is more than a tenth over its record
#   bash benches/counts.sh --record  writes benches/counts.toml anew
#
# callgrind counts, so the machine may be busy. A processor of another make takes other code here and there, which is some per
# cent. The dependencies are those of the tests (the profile dev, which optimises them), and what is ours is compiled at level 1:
# its counts are a few per cent over those of a release, whose build takes minutes.
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
    # Every call of the function begins and ends a count of its own: one file for each.
    valgrind --quiet --tool=callgrind --callgrind-out-file="$work/counted" --collect-atstart=no \
        --toggle-collect=counts::counted_section --dump-after=counts::counted_section \
        "$counts" count "$work" >"$work/names"
    python3 benches/counts.py compare "$work" benches/counts.toml "$@"
}

main "$@"
