#!/usr/bin/env bash
# test.sh: every check and every test, on a Debian machine with a Rust toolchain.
#
# It installs what it needs: Debian packages, Python clients in target/venv, npm packages beside the code that needs them, other
# people's suites in target/judges (tests/judges/README.md), and cargo-deny, cargo-fuzz and cargo-deb in target/tools. The last
# line is `N passed, N failed`, summed over all tests. The exit status is 0 only if everything passed.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cargo_fuzz_version=0.13.2
fuzz_seconds=60
misuse_calls=1000000
misuse_calls_served=100000

main() {
    exec </dev/null
    cd "$root"
    need_locked_memory
    # Each thing is built once here, so what would make a second build shorter only costs time and space.
    export CARGO_INCREMENTAL=0
    heading "Preparing: packages, clients in Python and JavaScript, judges, cargo-deny, cargo-fuzz, cargo-deb"
    need_rust
    need_components
    need_packages softhsm2 opensc oathtool binutils strace faketime minisign codespell valgrind
    # The examples' clients: a PKCS#11 header for C, Go with the sources of miekg/pkcs11, Java with its own wrapper, GnuTLS's
    # p11tool, OpenSSL and libp11's engine.
    need_packages libp11-kit-dev golang-go golang-github-miekg-pkcs11-dev openjdk-17-jdk-headless gnutls-bin openssl \
        libengine-pkcs11-openssl
    # The test of the Debian package needs these to install it and to look into it.
    need_packages adduser dpkg-dev fish man-db p11-kit procps systemd systemd-container util-linux zsh
    need_venv
    need_node_packages tests/clients/makers/bitcoinjs
    need_node_packages examples/nodejs pkcs11js
    bash tests/judges/install.sh
    need_cargo_deny
    need_cargo_fuzz
    need_cargo_deb
    step "Spelling (.codespellrc has the words that are right)" codespell
    heading "The Rust version that Cargo.toml declares"
    check_rust_version
    step "Format" cargo fmt --all --check
    step "Lints" cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" step "Documentation" cargo doc --locked --no-deps
    step "Licences, duplicates and sources of the dependencies" \
        "$cargo_deny" --locked --all-features check --hide-inclusion-graph licenses bans sources
    heading "Advisories on the dependencies"
    advisories
    heading "Reviews of the dependencies"
    reviews
    # tests/program/linked.rs lists the crates that must not be there.
    step "What is linked into the library" cargo tree --locked -p countersign -e normal --depth 1
    step "Fuzzing, $fuzz_seconds seconds for each target" bash tests/fuzz/run.sh "$fuzz_seconds"
    step "Instructions of a signature, beside their record" bash benches/counts.sh
    build_modules
    end_by_signals
    temporary_files_in_memory
    misuse
    run_tests
}

# misuse: makes many more random calls than the tests do in a normal run. Both tests run at once and print the seeds that repeat
# them.
misuse() {
    COUNTERSIGN_MISUSE_CALLS=$misuse_calls COUNTERSIGN_MISUSE_CALLS_SERVED=$misuse_calls_served \
        step "Misuse, $misuse_calls calls in the process of the engine and $misuse_calls_served through a boundary" \
        cargo test --locked --test interface -- misuse::calls_at_random --show-output
}

# step TITLE COMMAND…: a check that must pass before the tests are worth running.
step() {
    heading "$1"
    shift
    "$@" || fail "this check failed: $*" "fix what it reports above, then run softhsm/test.sh again"
}

# check_rust_version: whether the code builds with the version that Cargo.toml declares. That is the version we develop with, so
# usually every other step checks it. With a later toolchain, this step uses the declared version if it is installed.
check_rust_version() {
    local declared used
    declared=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    used=$(rustc --version | cut -d ' ' -f 2)
    if [ "${used%.*}" = "$declared" ]; then
        say "Rust $declared, as declared, builds everything below"
    elif command -v rustup >/dev/null && rustup toolchain list | grep "^$declared" >/dev/null; then
        step "Build with Rust $declared" cargo "+$declared" check --locked --workspace --all-features --target-dir target/declared
    else
        say "NOT CHECKED: this is Rust $used, and Rust $declared is not installed (rustup toolchain install $declared)"
    fi
}

# advisories: a dependency with an advisory fails. A database that cannot be fetched does not.
advisories() {
    local status=0
    bash softhsm/advisories.sh || status=$?
    [ "$status" -eq 0 ] || [ "$status" -eq 3 ] ||
        fail "this check failed: softhsm/advisories.sh" "fix what it reports above, then run softhsm/test.sh again"
}

# reviews: runs cargo-vet if softhsm/vet.sh has built it. A test compares the records with Cargo.lock in any case.
reviews() {
    if [ -x target/tools/bin/cargo-vet ] || command -v cargo-vet >/dev/null; then
        bash softhsm/vet.sh || fail "this check failed: softhsm/vet.sh" "fix what it reports above, then run softhsm/test.sh again"
    else
        say "NOT CHECKED by cargo-vet, which is not built (softhsm/vet.sh); tests/program/vetted.rs checks that each is recorded"
    fi
}

need_components() {
    if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
        command -v rustup >/dev/null || fail "rustfmt or clippy is not installed" "install both for this Rust toolchain"
        rustup component add rustfmt clippy
    fi
}

need_cargo_fuzz() {
    PATH=$PATH:$root/target/tools/bin
    build_tool "$(command -v cargo-fuzz || printf '%s\n' "$root/target/tools/bin/cargo-fuzz")" \
        "cargo-fuzz@$cargo_fuzz_version"
}

# Builds two modules: one that panics on request, which the test of the panic boundary loads, and the one that users get. Both
# builds write libcountersign.so, so the first is moved aside before the second build.
build_modules() {
    local target
    target=$(cargo metadata --format-version 1 --no-deps --locked |
        "$python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
    step "Build, with the forced panic" cargo build --locked --features forced-panic
    mkdir -p "$target/forced-panic"
    cp "$target/debug/libcountersign.so" "$target/forced-panic/libcountersign.so"
    step "Build" cargo build --locked
}

# Unit, integration and documentation tests; tests/interface/clients.rs runs the Python clients.
run_tests() {
    local log status=0 passed failed
    log=$(mktemp)
    # shellcheck disable=SC2064
    trap "rm -rf '$log' '$in_memory'" EXIT
    heading "Tests"
    cargo test --locked --no-fail-fast 2>&1 | tee "$log" || status=$?
    read -r passed failed < <(awk '/^test result:/ { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }' "$log")
    # A test that does not compile, or that ends its process, leaves no summary to count.
    if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        failed=1
    fi
    printf '\n%s passed, %s failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

main "$@"
