#!/usr/bin/env bash
# reproduce.sh [DIR]: builds the release twice, and checks that both builds are the same bytes.
#
# It builds the checked-out commit in two fresh clones with two target folders, in an environment that the caller cannot change. If
# both builds are equal, DIR (default: target/release-VERSION-COMMIT) gets
#   libcountersign.so   the library that officers sign and the boundary loads, stripped
#   countersign         the program, stripped
#   libcountersign.so.cdx.json  the library's bill of materials, whose digest is in the manifest
#   THIRD-PARTY-LICENCES        the licences of everything linked into either
#   *.debug             the symbols and line tables that stripping removed, for a debugger
#   SHA256SUMS          the digests of these files
#   BUILD               commit and compilers: the same commit with the same compilers gives the same bytes
#
# An officer runs this on their own machine before signing. It needs cargo, git, cc with binutils, and coreutils. It needs the network
# once, for the dependencies of Cargo.lock; the builds themselves are offline.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

files=(libcountersign.so countersign)
papers=(libcountersign.so.cdx.json THIRD-PARTY-LICENCES)

main() {
    exec </dev/null
    umask 022
    if [ "$#" -gt 1 ] || [ "${1-}" = --help ]; then
        say "usage: softhsm/reproduce.sh [DIR]" >&2
        exit 2
    fi
    need_commands cargo rustc git cc ar ld objcopy strip sha256sum
    local version commit out work
    commit=$(git -C "$root" rev-parse --verify HEAD) ||
        fail "$root is not a git checkout" "clone the repository and check the release out"
    version=$(cargo pkgid --manifest-path "$root/Cargo.toml" --offline)
    version=${version##*[#@]}
    out=${1:-$root/target/release-$version-${commit:0:12}}
    if [ -e "$out" ] && [ -n "$(ls -A "$out")" ]; then
        fail "the folder $out is not empty. Nothing was changed" "name another folder, or move this one away"
    fi
    if [ -n "$(git -C "$root" status --porcelain --untracked-files=no)" ]; then
        say "note: the build does not include uncommitted changes"
    fi
    work=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    end_by_signals
    heading "Countersign $version, commit $commit"
    rustc --version
    cc --version | head -n 1

    # The paths have different lengths, so that the builds are not equal just because of their layout.
    build "$work/a" "$commit"
    build "$work/another-folder" "$commit"
    compare "$work/a" "$work/another-folder"
    deliver "$work/a" "$out" "$version" "$commit"
}

need_commands() {
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null || fail "the command $command is not installed" "install it"
    done
}

# build FOLDER COMMIT: makes the release build in FOLDER/source and FOLDER/target.
build() {
    heading "Building in $1 (some minutes)"
    mkdir -p "$1"
    git clone --quiet --no-local --no-checkout "$root" "$1/source"
    git -C "$1/source" checkout --quiet --detach "$2"
    # Also replaces the time of compilation in C files (__DATE__).
    SOURCE_DATE_EPOCH=$(git -C "$1/source" log -1 --format=%ct)
    export SOURCE_DATE_EPOCH
    (
        cd "$1/source"
        clear_environment
        cargo fetch --quiet --locked
        set_flags "$1"
        cargo build --release --locked --offline --target-dir "$1/target"
        mkdir "$1/shipped"
        export CARGO_NET_OFFLINE=true CARGO_TARGET_DIR=$1/tools
        cargo run --quiet --locked -p linked -- sbom >"$1/shipped/libcountersign.so.cdx.json"
        cargo run --quiet --locked -p linked -- licences >"$1/shipped/THIRD-PARTY-LICENCES"
    )
    local file
    for file in "${files[@]}"; do
        split_debug "$1/target/release/$file" "$1/shipped"
    done
}

# Removes everything from the caller's environment that could change the result. Cargo's own configuration files stay: they say
# where the dependencies come from, and Cargo.lock pins what they are.
clear_environment() {
    local name
    for name in $(compgen -e); do
        case $name in
            CARGO_HOME | CARGO_HTTP_* | CARGO_NET_* | CARGO_REGISTRIES_* | CARGO_SOURCE_*) ;;
            CARGO_* | RUSTC* | RUSTFLAGS | RUSTDOC* | CC | CC_* | CXX* | AR | AR_* | RANLIB* | LD* | *CFLAGS* | *CPPFLAGS* | CPATH | \
                C_INCLUDE_PATH | LIBRARY_PATH | HOST_* | TARGET_* | CRATE_CC_* | PKG_CONFIG* | *SQLITE3* | GCC_* | COMPILER_PATH)
                unset "$name"
                ;;
        esac
    done
    export LC_ALL=C TZ=UTC
}

# set_flags FOLDER: keeps this machine's paths out of the result. Rust's own sources get the names that Rust's releases use.
set_flags() {
    local registry home rust maps=()
    home=${CARGO_HOME:-$HOME/.cargo}
    rust=$(rustc -vV)
    rust=${rust#*commit-hash: }
    # The compiler tries later mappings first.
    maps+=("$home=/cargo")
    for registry in "$home"/registry/src/*; do
        maps+=("$registry=/cargo/registry")
    done
    maps+=("$(rustc --print sysroot)/lib/rustlib/src/rust=/rustc/${rust%%$'\n'*}")
    maps+=("$1/target=/target" "$1/source=/countersign")
    # Cargo wants the unit separator between flags, because paths may contain spaces.
    CARGO_ENCODED_RUSTFLAGS=$(printf -- '--remap-path-prefix=%s\x1f' "${maps[@]}")
    CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\x1f'}
    CFLAGS=$(printf -- '-ffile-prefix-map=%s ' "${maps[@]}")
    export CARGO_ENCODED_RUSTFLAGS CFLAGS
}

# compare ONE OTHER: fails unless the files of both releases are the same and name no folder of this machine.
compare() {
    local file folder one other
    heading "Comparing"
    for file in "${files[@]}" "${files[@]/%/.debug}" "${papers[@]}"; do
        one=$(digest "$1/shipped/$file")
        other=$(digest "$2/shipped/$file")
        say "$file: $one and $other"
        if [ "$one" != "$other" ]; then
            trap - EXIT
            fail "the two builds of $file differ" \
                "compare $1/shipped/$file and $2/shipped/$file (diffoscope shows where), then remove $(dirname "$1")"
        fi
    done
    # Search the files as built, before anything is stripped or compressed.
    for file in "${files[@]}"; do
        for folder in "$(dirname "$1")" "${CARGO_HOME:-$HOME/.cargo}" "$(rustc --print sysroot)"; do
            if names "$1/target/release" "$file" "$folder/"; then
                fail "$file contains the path $folder of this machine, so another machine would build another file" \
                    "find what puts it there, and map it in softhsm/reproduce.sh (set_flags)"
            fi
        done
    done
}

digest() {
    local line
    line=$(sha256sum "$1")
    say "${line%% *}"
}

# names FOLDER FILE TEXT: whether the text is in the file. (Uses git, because grep may be missing.)
names() {
    local status=0
    (cd "$1" && git grep --no-index --text --quiet --fixed-strings -e "$3" -- "$2") || status=$?
    [ "$status" -le 1 ] || fail "git could not search $1/$2 for $3" "see its messages above"
    return "$status"
}

# deliver FOLDER OUT VERSION COMMIT: puts the release into the folder that the caller named.
deliver() {
    mkdir -p "$2"
    install -m 0644 "$1/shipped/libcountersign.so" "$1"/shipped/*.debug "${papers[@]/#/$1/shipped/}" "$2/"
    install -m 0755 "$1/shipped/countersign" "$2/"
    (cd "$2" && sha256sum "${files[@]}" "${files[@]/%/.debug}" "${papers[@]}" >SHA256SUMS)
    {
        say "version: $3"
        say "commit: $4"
        rustc -vV
        cc --version | head -n 1
        ld --version | head -n 1
    } >"$2/BUILD"
    heading "Both builds are identical. The release is in $2"
    cat "$2/SHA256SUMS"
}

main "$@"
