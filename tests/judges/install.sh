#!/usr/bin/env bash
# install.sh: installs what tests/judges.rs runs in target/judges, once.
#
#   venv/                   python-pkcs11, PyKCS11 and pytest, as requirements.txt has them
#   python_pkcs11/, pykcs11/  their source distributions, with the suites in them
#   cryptoki/               the published crate, with its tests, and a line that tells them that the PINs are set
#   cryptoki.tests          a line for each of its test executables: name, path
#   pkcs11-check/           a Python environment with pkcs11-check, if there is Python 3.12 or later
#
# Further judges are tools that come as Debian packages.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../softhsm/lib.sh"

here=$root/tests/judges
judges=$root/target/judges
pkcs11_check=0.2.3
pins_are_set='    if env::var_os("PINS_ARE_SET").is_some() { return (pkcs11, slot); }'

main() {
    exec </dev/null
    need_rust
    need_packages softhsm2 opensc gnutls-bin libengine-pkcs11-openssl libnss3-tools openssh-client pkcs11-dump
    need_tool keytool default-jre-headless
    need_tool python3 python3
    mkdir -p "$judges"
    need_python_suites
    need_cryptoki
    need_pkcs11_check
}

# Wheels to run, and source distributions of the same version for the suites in them.
need_python_suites() {
    local venv=$judges/venv wanted=$here/requirements.txt suite
    if cmp -s "$wanted" "$judges/requirements.txt"; then
        return 0
    fi
    python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages python3-venv
    say "Installing python-pkcs11, PyKCS11 and their suites in target/judges"
    python3 -m venv --clear "$venv"
    quiet_pip "$venv" install -r "$wanted"
    for suite in python-pkcs11 pykcs11; do
        need_source "$venv" "$suite" "$(sed -n "s/^$suite==//p" "$wanted")"
    done
    # Last, so that an interrupted installation starts over.
    cp "$wanted" "$judges/requirements.txt"
}

quiet_pip() {
    "$1/bin/python" -m pip "$2" --quiet --disable-pip-version-check --no-input "${@:3}"
}

# need_source VENV NAME VERSION: unpacks a source distribution in the folder of its name.
need_source() {
    local folder=$judges/${2//-/_} download
    download=$(mktemp -d)
    quiet_pip "$1" download --no-deps --no-binary "$2" --dest "$download" "$2==$3"
    rm -rf "$folder"
    mkdir "$folder"
    tar -xzf "$download"/*.tar.gz --strip-components=1 -C "$folder"
    rm -r "$download"
}

# We depend on this crate ourselves, so cargo knows where its sources are.
need_cryptoki() {
    local source wanted copy=$judges/cryptoki
    source=$(cargo metadata --locked --format-version 1 --manifest-path "$root/Cargo.toml" | python3 -c '
import json, os, sys
[crate] = [crate for crate in json.load(sys.stdin)["packages"] if crate["name"] == "cryptoki"]
print(os.path.dirname(crate["manifest_path"]))')
    wanted=$(cat "$source/Cargo.toml" && printf '%s\n' "$pins_are_set")
    if [ "$(cat "$judges/cryptoki.installed" 2>/dev/null)" = "$wanted" ] && [ -s "$judges/cryptoki.tests" ]; then
        return 0
    fi
    say "Building the tests of cryptoki in target/judges"
    rm -rf "$copy"
    cp -R "$source" "$copy"
    let_pins_be_set "$copy/tests/common/mod.rs"
    cargo test --quiet --locked --no-run --manifest-path "$copy/Cargo.toml" --target-dir "$judges/cryptoki-target" \
        --message-format json | python3 -c '
import json, sys
for message in map(json.loads, sys.stdin):
    if message.get("executable") and message["target"]["kind"] == ["test"]:
        print(message["target"]["name"], message["executable"])' >"$judges/cryptoki.tests"
    printf '%s\n' "$wanted" >"$judges/cryptoki.installed"
}

# The suite's tests begin with C_InitToken and C_InitPIN and then log in as the user, all on one connection. No door of a boundary
# admits both roles. This is the one change that we make to a suite: it skips those calls if the variable says that they were made
# already.
let_pins_be_set() {
    sed -i "/^    let slot = pkcs11\.get_slots_with_token()/a\\$pins_are_set" "$1"
    [ "$(grep -c PINS_ARE_SET "$1")" = 1 ] || fail "$1 does not set the PINs at the place where this script looks" "see let_pins_be_set"
}

# Without a new enough Python, this judge is left out, and its tests say so.
need_pkcs11_check() {
    local venv=$judges/pkcs11-check python
    if [ "$(cat "$venv/installed" 2>/dev/null)" = "$pkcs11_check" ]; then
        return 0
    fi
    if ! python=$(newer_python); then
        say "No Python of 3.12 or later: pkcs11-check is left out"
        return 0
    fi
    say "Installing pkcs11-check in target/judges"
    "$python" -m venv --clear "$venv"
    quiet_pip "$venv" install "pkcs11-check==$pkcs11_check"
    printf '%s\n' "$pkcs11_check" >"$venv/installed"
}

newer_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9]*/bin/python; do
        if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

main "$@"
