#!/usr/bin/env bash
# advisories.sh: whether a known weakness (RustSec) or a yanked version is among the dependencies.
#
# It needs the network, for today's database of advisories. Exit status: 0 nothing is known, 1 something is, 3 the database could
# not be fetched, so that nothing was checked. `softhsm/test.sh` goes on after 3, and says so: run this where there is a network,
# every day and before each release.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
    exec </dev/null
    cd "$root"
    need_rust
    need_cargo_deny
    if ! GIT_TERMINAL_PROMPT=0 timeout 120 "$cargo_deny" fetch db >/dev/null 2>&1; then
        say "NOT CHECKED: the database of advisories cannot be fetched from here. Run softhsm/advisories.sh where it can be."
        exit 3
    fi
    "$cargo_deny" --locked --all-features check --hide-inclusion-graph --disable-fetch advisories ||
        fail "a dependency has an advisory" "update it, or give the reason why it does not concern us in deny.toml"
    say "No dependency has an advisory."
}

main "$@"
