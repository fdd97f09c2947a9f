#!/usr/bin/env bash
# make.sh VERSION: makes a store with the checked-out release in tests/stores/VERSION, for the tests of later releases.
#
# Run it once, when VERSION is released, because only that release can write such a store. It needs root, or a system that lets
# users make namespaces: the store must not name this boot of the machine, because the test that reads the store may have another
# clock.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

[ "$#" -eq 1 ] && [ -n "$1" ] || { echo "usage: tests/stores/make.sh VERSION" >&2; exit 2; }
folder=$PWD/tests/stores/$1
[ ! -e "$folder" ] || { echo "$folder is there already; nothing was changed" >&2; exit 1; }

cargo build
cargo test --test engine --no-run
namespace=(unshare --mount)
[ "$(id -u)" -eq 0 ] || namespace+=(--map-root-user)
COUNTERSIGN_KEEP_STORE=$folder "${namespace[@]}" bash -c '
    mount --bind /dev/null /proc/sys/kernel/random/boot_id
    exec cargo test --test engine a_store_that_is_kept_for_later_goes_on_working'
echo "Kept in $folder; add a test to tests/engine/stores.rs, and commit both"
