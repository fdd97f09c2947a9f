#!/usr/bin/env bash
# advisories.sh: fails if a dependency has a known weakness (RustSec) or a yanked version.
#
# It fetches today's database of advisories, so it needs the network. Exit status: 0 no advisory, 1 an advisory, 3 the database
# could not be fetched and nothing was checked. After 3 `softhsm/test.sh` prints a note and goes on. Run this script on a machine
# with a network every day and before each release.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
    exec </dev/null
    cd "$root"
    need_rust
    need_cargo_deny
    if ! GIT_TERMINAL_PROMPT=0 timeout 120 "$cargo_deny" fetch db >/dev/null 2>&1; then
        say "NOT CHECKED: this machine cannot fetch the database of advisories. Run softhsm/advisories.sh on a machine that can."
        exit 3
    fi
    "$cargo_deny" --locked --all-features check --hide-inclusion-graph --disable-fetch advisories ||
        fail "a dependency has an advisory" "update it, or give the reason why it does not concern us in deny.toml"
    say "No dependency has an advisory."
}

main "$@"
