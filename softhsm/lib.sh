#!/usr/bin/env bash
# lib.sh: functions that the scripts of this folder share. They source it.
#
# It sets `root`, the folder of the checkout.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cargo_deb_version=3.8.0
cargo_deny_version=0.20.2

# say TEXT…: one line for the person who reads the output.
say() {
    printf '%s\n' "$*"
}

# heading TEXT…: the line over a part of the output.
heading() {
    printf '\n== %s\n' "$*"
}

# fail WHAT NEXT: prints what happened and what to do next, and ends the script.
fail() {
    printf 'error: %s\n' "$1" >&2
    printf 'next: %s\n' "$2" >&2
    exit 1
}

# as_root COMMAND…: runs a command as root, by sudo for an ordinary user.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "only root can install packages, and sudo is not installed" "run as root: $*"
    fi
}

# need_packages PACKAGE…: installs the Debian packages that are missing, and lists them. Without apt-get it can only list them.
need_packages() {
    local package missing=()
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "This machine has no apt-get. Continuing with what is installed. Needed (Debian's names): $*"
        return 0
    fi
    for package in "$@"; do
        if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            missing+=("$package")
        fi
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return 0
    fi
    say "Installing with apt-get: ${missing[*]}"
    apt_get update -qq
    apt_get install -y -qq --no-install-recommends "${missing[@]}"
}

# apt_get ARGUMENT…: runs apt-get as root. While another program holds one of apt's locks (unattended-upgrades does, on a fresh
# machine), it waits and runs apt-get again. DPkg::Lock::Timeout is not enough: it covers only dpkg's own locks. A lock on apt's
# lists or archives ends apt-get at once, before it has done anything.
apt_get() {
    local complaints status told='' until=$((SECONDS + ${COUNTERSIGN_APT_SECONDS:-1800}))
    complaints=$(mktemp)
    while :; do
        status=0
        as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -o DPkg::Lock::Timeout=5 "$@" \
            </dev/null 2>"$complaints" || status=$?
        if [ "$status" -eq 0 ] || ! is_locked "$complaints" || [ "$SECONDS" -ge "$until" ]; then
            break
        fi
        if [ -z "$told" ]; then
            say "Waiting: another program uses apt ($(grep -m 1 '^E: ' "$complaints"))"
            told=yes
        fi
        sleep 2
    done
    cat "$complaints" >&2
    rm -f "$complaints"
    if [ "$status" -ne 0 ]; then
        fail "apt-get $1 ended with status $status" "see its messages above, then run this again"
    fi
}

# is_locked FILE: whether apt-get complained only of locks that another program holds.
is_locked() {
    grep -Eq '^E: (Could not get lock|Unable to acquire the dpkg frontend lock)' "$1" &&
        ! grep '^E: ' "$1" | grep -Ev '^E: (Could not get lock|Unable to acquire|Unable to lock)' >/dev/null
}

# end_by_signals: makes Ctrl-C, a hangup and SIGTERM end the script by `exit`, so that its trap for EXIT cleans up.
end_by_signals() {
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# temporary_files_in_memory: puts the temporary files of what follows into memory, if there is room for them. The tests sync some
# hundred thousand times. What a killed process leaves behind is the same in memory as on a disk, and no test cuts the power. The
# script must call end_by_signals, and a later trap for EXIT remove $in_memory, too.
in_memory=
temporary_files_in_memory() {
    local memory=/dev/shm free
    free=$(df --output=avail -k "$memory" 2>/dev/null | tail -n 1) || return 0
    [ -w "$memory" ] && [ "${free:-0}" -ge 4000000 ] || return 0
    in_memory=$(mktemp -d "$memory/test.XXXXXX")
    # shellcheck disable=SC2064
    trap "rm -rf '$in_memory'" EXIT
    # Some tests run as another user.
    chmod 1777 "$in_memory"
    # And some load libraries and run programs from there.
    printf '#!/bin/sh\n' >"$in_memory/executable"
    chmod 755 "$in_memory/executable"
    if "$in_memory/executable" 2>/dev/null; then
        export TMPDIR=$in_memory
        say "Temporary files are in memory, in $in_memory"
    fi
}

# end_process PID: ends a process that the script started, and waits until it has ended.
end_process() {
    kill -TERM "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# need_tool COMMAND PACKAGE…: installs the packages if the command is missing.
need_tool() {
    local tool=$1
    shift
    if ! command -v "$tool" >/dev/null; then
        need_packages "$@"
    fi
    command -v "$tool" >/dev/null || fail "the command $tool is not installed" "install it (on Debian: $*)"
}

# need_rust: fails without a Rust toolchain, the one thing that the scripts do not install.
need_rust() {
    command -v cargo >/dev/null || fail "cargo is not installed" "install a Rust toolchain (https://rustup.rs), then run this again"
    # The C and C++ parts of the build: SQLite, libsecp256k1, and Bitcoin Core's consensus code.
    need_tool cc gcc libc6-dev
    need_tool c++ g++
}

# need_locked_memory: lets `countersign serve` lock its pages. An ordinary user may lock only a few megabytes; root may lock
# everything, whatever the limit. Call this first: it may start the script again.
need_locked_memory() {
    if [ "$(id -u)" -eq 0 ] || [ "$(ulimit -l)" = unlimited ] || [ "${COUNTERSIGN_MAY_LOCK:-}" = yes ]; then
        return 0
    fi
    say "Raising this script's limit of locked memory (prlimit), for countersign serve"
    if as_root prlimit --pid "$$" --memlock=unlimited:unlimited 2>/dev/null; then
        return 0
    fi
    say "This machine does not allow that, as some containers do not. Starting again with CAP_IPC_LOCK instead"
    # sudo keeps the environment, and no variable is on a command line. sudo sets its own PATH and HOME.
    exec sudo --preserve-env setpriv --reuid "$(id -u)" --regid "$(id -g)" --init-groups --inh-caps=+ipc_lock \
        --ambient-caps=+ipc_lock -- env PATH="$PATH" HOME="$HOME" COUNTERSIGN_MAY_LOCK=yes bash "$(realpath "$0")" "$@"
}

# split_debug FILE FOLDER: puts a stripped copy of FILE into FOLDER, and FILE.debug beside it, with the symbols and line tables
# that stripping removed. A debugger finds FILE.debug by the build id and by the name left in the stripped copy. The same FILE
# always gives the same two files.
split_debug() {
    local name=${1##*/}
    mkdir -p "$2"
    objcopy --only-keep-debug --compress-debug-sections "$1" "$2/$name.debug"
    chmod 0644 "$2/$name.debug"
    strip --strip-unneeded -o "$2/$name" "$1"
    (cd "$2" && objcopy --add-gnu-debuglink="$name.debug" "$name")
}

# build_id FILE: prints the build id, 40 hexadecimal digits.
build_id() {
    readelf --notes "$1" | sed -n 's/^ *Build ID: //p'
}

# linked sbom | licences: prints what is linked into the library, or the licences of everything that ships (tools/linked).
linked() {
    (cd "$root" && cargo run --quiet --locked -p linked -- "$1" </dev/null)
}

# build_tool FILE CRATE: builds the tool unless it is on the PATH or an earlier run built it.
build_tool() {
    if [ ! -x "$1" ]; then
        say "Building $2 in target/tools (some minutes, once)"
        # These tools run for seconds. Optimising them would take longer than it saves.
        CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            cargo install --locked --quiet --root "$root/target/tools" "$2"
    fi
}

# need_cargo_deny: sets `cargo_deny`, the tool that judges the dependencies.
need_cargo_deny() {
    cargo_deny=$(command -v cargo-deny || printf '%s\n' "$root/target/tools/bin/cargo-deny")
    build_tool "$cargo_deny" "cargo-deny@$cargo_deny_version"
}

# need_cargo_deb: sets `cargo_deb`, the tool that makes the Debian package.
need_cargo_deb() {
    # Always this version, because the officers' signatures hold only if it leaves the library's bytes alone.
    cargo_deb=$root/target/tools/bin/cargo-deb
    if ! "$cargo_deb" --version 2>/dev/null | grep -Fx "cargo-deb $cargo_deb_version" >/dev/null; then
        rm -f "$cargo_deb"
        build_tool "$cargo_deb" "cargo-deb@$cargo_deb_version"
    fi
}

# need_node_packages FOLDER [PACKAGE…]: installs the npm packages that the folder's lock file names, once. No package runs a
# script. The PACKAGEs named here are compiled, which their scripts would do.
need_node_packages() {
    local folder=$root/$1 name=$1
    shift
    need_tool node nodejs
    if cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed"; then
        return 0
    fi
    need_tool npm npm
    say "Installing the npm packages of $name in $name/node_modules"
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --silent </dev/null)
    compile_node_packages "$folder" "$@"
    # Last, so that an interrupted installation starts over.
    cp "$folder/package-lock.json" "$folder/node_modules/.installed"
}

# compile_node_packages FOLDER [PACKAGE…]: compiles with npm's node-gyp and the headers that came with this Node.js.
compile_node_packages() {
    local folder=$1 package prefix
    shift
    for package in "$@"; do
        need_tool make make
        need_tool c++ g++
        need_tool python3 python3
        prefix=$(node -p 'path.resolve(process.execPath, "../..")')
        # Debian has the headers in a package of their own.
        [ -e "$prefix/include/node/node_api.h" ] || need_packages libnode-dev
        (cd "$folder" && npm_config_nodedir=$prefix npm rebuild --silent "$package" </dev/null) ||
            fail "npm could not compile $package" "run npm rebuild $package in $folder to see why"
    done
}

# need_venv: makes a Python environment with the clients of tests/clients/requirements.txt, once, and sets `python` to its
# interpreter.
need_venv() {
    local venv=$root/target/venv wanted=$root/tests/clients/requirements.txt
    python=$venv/bin/python
    if [ -x "$python" ] && cmp -s "$wanted" "$venv/requirements.txt"; then
        return 0
    fi
    need_tool python3 python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages python3-venv
    say "Installing the Python clients (tests/clients/requirements.txt) in target/venv"
    mkdir -p "$root/target"
    python3 -m venv --clear "$venv"
    "$python" -m pip install --quiet --disable-pip-version-check --no-input -r "$wanted" </dev/null
    # Last, so that an interrupted installation starts over.
    cp "$wanted" "$venv/requirements.txt"
}
