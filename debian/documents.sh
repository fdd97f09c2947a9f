#!/usr/bin/env bash
# documents.sh FOLDER: writes the documents as the package has them, under /usr/share/doc/countersign. Links to files that are not
# in the package (sources, tests) become plain text. Links to the header lead to where it is installed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
absent='CONTRIBUTING\.md|LICENSE|debian/|src/|tests/|softhsm/|benches/|deny\.toml'

main() {
    if [ "$#" -ne 1 ]; then
        echo "usage: debian/documents.sh FOLDER" >&2
        exit 2
    fi
    local file
    cd "$root"
    for file in README.md SECURITY.md CHANGELOG.md examples/README.md docs/*.md docs/decisions/*.md; do
        mkdir -p "$1/$(dirname "$file")"
        sed -E \
            -e "s#\[([^]]*)\]\((\.\./)*($absent)[^)]*\)#\1#g" \
            -e "s#\]\((\.\./)*include/countersign\.h\)#](/usr/include/countersign.h)#g" \
            "$file" >"$1/$file"
    done
}

main "$@"
