#!/usr/bin/env bash
# release.sh FROM DIR: makes a release as officers do, from the build in FROM, and its package, for the tests of this folder.
#
# In DIR: officers/N.pub and N.key of three officers; release/ with the files that two of them signed; countersign.deb; and
# countersign-dbgsym.deb.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../softhsm/lib.sh"

main() {
    local from=$1 dir=$2
    export COUNTERSIGN_OFFICER_PASSWORD=of-no-use-but-here
    countersign=$from/countersign
    library=$dir/release/libcountersign.so
    mkdir -p "$dir/officers" "$dir/deb"
    split_debug "$from/countersign" "$dir/release"
    split_debug "$from/libcountersign.so" "$dir/release"
    linked sbom >"$library.cdx.json"
    make_officers "$dir/officers"
    "$countersign" plugin manifest --library "$library" --floor "$(version_of "$countersign")"
    "$countersign" plugin sign --library "$library" --secret-key "$dir/officers/1.key"
    "$countersign" plugin sign --library "$library" --secret-key "$dir/officers/2.key"
    COUNTERSIGN_MAINTAINER='Tester <tester@example.org>' bash "$root/debian/build.sh" --from "$dir/release" --output "$dir/deb" --fast
    mv "$dir"/deb/countersign_*.deb "$dir/countersign.deb"
    mv "$dir"/deb/countersign-dbgsym_*.deb "$dir/countersign-dbgsym.deb"
}

make_officers() {
    local officer
    for officer in 1 2 3; do
        "$countersign" plugin keygen --secret-key "$1/$officer.key" --public-key "$1/$officer.pub"
    done
}

version_of() {
    "$1" --version | cut -d ' ' -f 2
}

main "$@"
