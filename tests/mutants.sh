#!/usr/bin/env bash
# mutants.sh [FILE…]: changes the code in many small ways, one at a time, and lists the changes that no test notices.
#
# It takes a minute or two for each change, so that nothing runs it but you: every week for the files that changed, and for all of
# them before a release. Without a FILE it takes the kernel, which decides whether something is signed. target/mutants.out/missed.txt has the
# changes that no test noticed. Each is a test to write, or code to remove. If a change behaves like the original, say so in a comment.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../softhsm/lib.sh"

cargo_mutants_version=27.1.0

main() {
    exec </dev/null
    cd "$root"
    need_rust
    # The kernel is a package of its own: without this only the library's files are changed.
    local tool=$root/target/tools/bin/cargo-mutants file selected=(--workspace)
    build_tool "$tool" "cargo-mutants@$cargo_mutants_version"
    if [ "$#" -eq 0 ]; then
        set -- 'src/kernel/**/*.rs'
    fi
    for file in "$@"; do
        selected+=(--file "$file")
    done
    # What needs no module and no token: the unit tests, and the kernel's own test crate.
    selected+=(--test-package countersign-kernel --test-package countersign -- --locked --lib --test kernel)
    "$tool" mutants --output target --minimum-test-timeout 300 "${selected[@]}" ||
        fail "some changes were not noticed, or could not be tested" "see target/mutants.out/missed.txt and timeout.txt"
}

main "$@"
