#!/usr/bin/env bash
# build.sh [--from FOLDER | --profile NAME] [--output FOLDER] [--fast]: makes the Debian package and prints its path.
#
#   --from FOLDER     packages what is there and builds neither library nor program: countersign, libcountersign.so and, if they
#                     are beside it, its bill of materials (libcountersign.so.cdx.json), its manifest and the officers' signatures
#                     (libcountersign.so.manifest, libcountersign.so.manifest.*.minisig)
#   --profile NAME    builds another profile of Cargo than release
#   --output FOLDER   where the package goes (target/debian)
#   --fast            compresses less, for tests
#
# It strips what it builds, and packages the symbols as countersign-dbgsym. It packages a FOLDER as it is, with its .debug files. It
# packages the library byte for byte, so that signatures made before or after hold. If there are none yet, the administrator puts
# them beside the installed library.
#
# COUNTERSIGN_MAINTAINER, as "Name <address>", names the package's maintainer.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../softhsm/lib.sh"

from='' profile=release output=$root/target/debian packing=(--no-build --no-strip --locked)
# Cargo.toml names this folder.
stage=$root/target/package

main() {
    parse "$@"
    cd "$root"
    need_rust
    need_tool dpkg-shlibdeps dpkg-dev
    need_tool objcopy binutils
    need_cargo_deb
    [ -n "$from" ] || build
    gather
    describe
    package
}

parse() {
    while [ "$#" -gt 0 ]; do
        case $1 in
            --from | --output)
                [ -n "${2:-}" ] || usage
                declare -g "${1#--}=$(realpath -m -- "$2")"
                shift 2
                ;;
            --profile)
                [ -n "${2:-}" ] || usage
                profile=$2
                shift 2
                ;;
            --fast)
                packing+=(--fast)
                shift
                ;;
            *) usage ;;
        esac
    done
    [ -z "$from" ] || [ "$profile" = release ] || usage
}

usage() {
    say "usage: debian/build.sh [--from FOLDER | --profile NAME] [--output FOLDER] [--fast]" >&2
    exit 2
}

build() {
    cargo build --profile "$profile" --locked --lib --bins </dev/null
    # Cargo names the folder after the profile, except for dev.
    local file built
    built=$(target_folder)/${profile/#dev/debug}
    from=$root/target/stripped
    rm -rf "$from"
    for file in countersign libcountersign.so; do
        split_debug "$built/$file" "$from"
    done
}

# Where Cargo builds: target, unless this user's or machine's configuration names another folder.
target_folder() {
    cargo metadata --format-version 1 --no-deps --locked | grep -o '"target_directory":"[^"]*"' | cut -d '"' -f 4
}

gather() {
    local file
    for file in countersign libcountersign.so; do
        [ -f "$from/$file" ] || fail "there is no $from/$file" "build it first, or name its folder with --from"
    done
    rm -rf "$stage"
    mkdir -p "$stage/bin" "$stage/lib" "$stage/man" "$stage/completions"
    cp "$from/countersign" "$stage/bin"
    cp "$from/libcountersign.so" "$stage/lib"
    gather_papers
    if [ -e "$from/libcountersign.so.manifest" ]; then
        gather_signatures
    fi
}

# Writes what is linked, and under which licences. An existing bill of materials stays as it is, because it may be signed.
gather_papers() {
    mkdir -p "$stage/doc"
    if [ -e "$from/libcountersign.so.cdx.json" ]; then
        cp "$from/libcountersign.so.cdx.json" "$stage/lib"
    else
        linked sbom >"$stage/lib/libcountersign.so.cdx.json"
    fi
    linked licences >"$stage/doc/THIRD-PARTY-LICENCES"
    bash "$root/debian/documents.sh" "$stage/doc"
}

gather_signatures() {
    local signatures=("$from"/libcountersign.so.manifest.*.minisig)
    [ -e "${signatures[0]}" ] || fail "no officer has signed $from/libcountersign.so.manifest" \
        "have the officers sign it (countersign plugin sign), or remove it"
    grep -Fq "$(sha256sum <"$from/libcountersign.so" | cut -d ' ' -f 1)" "$from/libcountersign.so.manifest" ||
        fail "$from/libcountersign.so.manifest belongs to another library" "put the library that the officers signed there"
    cp "$from/libcountersign.so.manifest" "${signatures[@]}" "$stage/lib"
    if grep -q '^sbom_sha256 = ' "$from/libcountersign.so.manifest"; then
        grep -Fqx "sbom_sha256 = \"$(sha256sum <"$stage/lib/libcountersign.so.cdx.json" | cut -d ' ' -f 1)\"" \
            "$from/libcountersign.so.manifest" || fail "$from/libcountersign.so.manifest names another bill of materials" \
            "put the libcountersign.so.cdx.json that the officers signed there"
    fi
    say "With the officers' signatures: ${signatures[*]##*/}"
}

# The program writes its own manual pages and completions, so they are as new as it is.
describe() {
    local shell
    "$stage/bin/countersign" man "$stage/man" >/dev/null
    for shell in bash zsh fish; do
        "$stage/bin/countersign" completions "$shell" >"$stage/completions/countersign.$shell"
    done
}

package() {
    local made
    # The files carry the date of the last commit, so that the same sources make the same package.
    if [ -z "${SOURCE_DATE_EPOCH:-}" ] && SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null); then
        export SOURCE_DATE_EPOCH
    fi
    mkdir -p "$output"
    if [ -n "${COUNTERSIGN_MAINTAINER:-}" ]; then
        case $COUNTERSIGN_MAINTAINER in
            ?*\ \<?*@?*.?*\>) ;;
            *) fail "COUNTERSIGN_MAINTAINER is \"$COUNTERSIGN_MAINTAINER\"" "write it as in: Name <name@example.org>" ;;
        esac
        packing+=(--maintainer "$COUNTERSIGN_MAINTAINER")
    else
        say "note: the package's maintainer (at countersign.invalid) cannot be reached. Set COUNTERSIGN_MAINTAINER to" \
            "\"Name <address>\" before you hand the package on"
    fi
    # Nothing is stripped: the officers sign the library byte by byte.
    made=$("$cargo_deb" "${packing[@]}" --output "$output/" | tail -n 1)
    cmp -s "$from/libcountersign.so" <(dpkg-deb --fsys-tarfile "$made" | tar -xO ./usr/lib/countersign/libcountersign.so) ||
        fail "the library in $made differs from the one that was built" "do not use it, and report this defect of the packaging"
    say "The package: $made"
    package_debug "$made"
    say "Next: sudo apt-get install $made"
}

# package_debug DEB: packages the symbols, where debuggers look for them, as Debian names and marks such packages.
package_debug() {
    local file id ids=() size made=${1/countersign_/countersign-dbgsym_} tree=$stage/dbgsym
    for file in countersign libcountersign.so; do
        [ -e "$from/$file.debug" ] || continue
        id=$(build_id "$from/$file")
        ids+=("$id")
        install -D -m 0644 "$from/$file.debug" "$tree/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug"
    done
    [ "${#ids[@]}" -gt 0 ] || return 0
    size=$(du --summarize --apparent-size "$tree" | cut -f 1)
    mkdir "$tree/DEBIAN"
    {
        say "Package: countersign-dbgsym"
        dpkg-deb --field "$1" Version Architecture Maintainer
        say "Depends: countersign (= $(dpkg-deb --field "$1" Version))"
        say "Section: debug"
        say "Priority: optional"
        say "Installed-Size: $size"
        say "Auto-Built-Package: debug-symbols"
        say "Build-Ids: ${ids[*]}"
        say "Description: debug symbols for countersign"
    } >"$tree/DEBIAN/control"
    find "$tree" -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-$(date +%s)}" {} +
    dpkg-deb --build --root-owner-group "$tree" "$made" >/dev/null
    say "Its debug symbols: $made"
}

main "$@"
