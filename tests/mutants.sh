#!/usr/bin/env bash
# mutants.sh [FILE…]: changes the code in many small ways, one at a time, and lists the changes that no test notices.
#
# Each change takes a minute or two, so CI does not run this. Run it every week for the files that changed, and for all of them
# before a release. Without a FILE it takes the kernel, which decides whether something is signed. target/mutants.out/missed.txt
# lists the changes that no test noticed. Each of them is a test to write or code to remove. If a change behaves like the
# original, say so in a comment.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../softhsm/lib.sh"

cargo_mutants_version=27.1.0

main() {
    exec </dev/null
    cd "$root"
    need_rust
    # The kernel is a package of its own. Without this, only the library's files would be changed.
    local tool=$root/target/tools/bin/cargo-mutants file selected=(--workspace)
    build_tool "$tool" "cargo-mutants@$cargo_mutants_version"
    if [ "$#" -eq 0 ]; then
        set -- 'src/kernel/**/*.rs'
    fi
    for file in "$@"; do
        selected+=(--file "$file")
    done
    # Only the tests that need no module and no token: the unit tests and the kernel's test crate.
    selected+=(--test-package countersign-kernel --test-package countersign --test-package countersign-plugin
        --test-package countersign-server -- --locked --lib --test kernel)
    "$tool" mutants --output target --minimum-test-timeout 300 "${selected[@]}" ||
        fail "some changes were not noticed, or could not be tested" "see target/mutants.out/missed.txt and timeout.txt"
}

main "$@"
