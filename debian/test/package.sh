#!/usr/bin/env bash
# package.sh: checks what the package installs, before anything is configured. install.sh sources it.

check_contents() {
    local file
    heading "What is in the package"
    dpkg-deb -c "$dir/countersign.deb" | awk '{ print $1, $2, $6 }' >"$work/contents"
    for file in "-rwxr-xr-x 0/0 ./usr/bin/countersign" \
        "-rw-r--r-- 0/0 ./usr/lib/countersign/libcountersign.so" \
        "-rw-r--r-- 0/0 ./usr/lib/countersign/libcountersign.so.manifest" \
        "-rw-r--r-- 0/0 ./usr/lib/countersign/libcountersign.so.cdx.json" \
        "-rw-r--r-- 0/0 ./usr/share/doc/countersign/THIRD-PARTY-LICENCES" \
        "-rw-r--r-- 0/0 ./usr/lib/systemd/system/countersign.service" \
        "-rw-r--r-- 0/0 ./usr/lib/systemd/system/countersign-backend.socket" \
        "-rw-r--r-- 0/0 ./usr/lib/systemd/system/countersign-administrators.socket" \
        "-rw-r--r-- 0/0 ./usr/share/p11-kit/modules/countersign.module" \
        "-rw-r--r-- 0/0 ./usr/share/man/man1/countersign.1.gz" \
        "-rw-r--r-- 0/0 ./usr/share/man/man1/countersign-user.1.gz" \
        "-rw-r--r-- 0/0 ./usr/share/man/man1/countersign-user-add.1.gz" \
        "-rw-r--r-- 0/0 ./usr/share/man/man5/countersign.toml.5.gz" \
        "-rw-r--r-- 0/0 ./usr/share/doc/countersign/copyright" \
        "-rw-r--r-- 0/0 ./usr/share/doc/countersign/changelog.Debian.gz" \
        "-rw-r--r-- 0/0 ./usr/share/doc/countersign/examples/boundary.toml" \
        "-rw-r--r-- 0/0 ./usr/share/doc/countersign/README.md" \
        "-rw-r--r-- 0/0 ./usr/share/doc/countersign/docs/deploying.md" \
        "-rw-r--r-- 0/0 ./usr/share/doc/countersign/docs/decisions/README.md" \
        "-rw-r--r-- 0/0 ./usr/include/countersign.h"; do
        grep -Fqx -- "$file" "$work/contents" || fail "the package has no \"$file\"" "correct Cargo.toml"
    done
    [ "$(grep -c '\.minisig$' "$work/contents")" -eq 2 ] || fail "the package lacks a signature" "correct debian/build.sh"
    ! grep -v ' 0/0 ' "$work/contents" || fail "the package has files that do not belong to root" "correct Cargo.toml"
    ! grep -E '^-.{7}w|^-r.{2}s|^-.{5}s' "$work/contents" || fail "a file is writable by all, or setuid" "correct Cargo.toml"
    field Version | grep -Fx "$("$dir/release/countersign" --version | cut -d ' ' -f 2)-1" >/dev/null ||
        fail "the package is of version $(field Version)" "give Cargo.toml and debian/changelog the same version"
    dpkg-deb --fsys-tarfile "$dir/countersign.deb" | tar -xO ./usr/share/doc/countersign/changelog.Debian.gz | zcat |
        head -n 1 | grep -F "($(field Version))" >/dev/null ||
        fail "debian/changelog is not of version $(field Version)" "add an entry to it"
    field Depends | grep adduser >/dev/null || fail "the package does not depend on adduser" "correct Cargo.toml"
    same "its maintainer" "$(field Maintainer)" "Tester <tester@example.org>"
    check_debug_symbols
}

# Program and library are stripped. The other package has their symbols, under their build ids.
check_debug_symbols() {
    local file id
    for file in usr/bin/countersign usr/lib/countersign/libcountersign.so; do
        dpkg-deb --fsys-tarfile "$dir/countersign.deb" | tar -xO "./$file" >"$work/stripped"
        ! readelf --sections --wide "$work/stripped" | grep -E ' \.(symtab|debug_[a-z]+) ' ||
            fail "$file is not stripped" "correct split_debug in softhsm/lib.sh"
        readelf --string-dump=.gnu_debuglink "$work/stripped" | grep -F "${file##*/}.debug" >/dev/null ||
            fail "$file does not name its debug file" "correct split_debug in softhsm/lib.sh"
        id=$(build_id "$work/stripped")
        [ "${#id}" -eq 40 ] || fail "$file has no build id: \"$id\"" "correct build.rs"
        dpkg-deb --fsys-tarfile "$dir/countersign-dbgsym.deb" |
            tar -xO "./usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug" >"$work/symbols" ||
            fail "countersign-dbgsym has nothing for $file" "correct debian/build.sh"
        same "the build id of the symbols of $file" "$(build_id "$work/symbols")" "$id"
        readelf --sections --wide "$work/symbols" | grep ' \.symtab ' >/dev/null ||
            fail "countersign-dbgsym has no symbols of $file" "correct split_debug in softhsm/lib.sh"
    done
    same "the package that the symbols belong to" "$(dpkg-deb --field "$dir/countersign-dbgsym.deb" Depends)" \
        "countersign (= $(field Version))"
}

field() {
    dpkg-deb -f "$dir/countersign.deb" "$1"
}

check_installation() {
    heading "User, folders, modes"
    same "the user" "$(getent passwd countersign | cut -d : -f 6,7)" /nonexistent:/usr/sbin/nologin
    same "$state" "$(stat -c '%a %U %G' "$state")" "700 countersign countersign"
    same "$configuration" "$(stat -c '%a %U %G' "$configuration")" "755 root root"
    [ ! -e "$configuration/boundary.toml" ] || fail "the package configures a boundary" "correct Cargo.toml"
    cmp "$dir/release/libcountersign.so" /usr/lib/countersign/libcountersign.so ||
        fail "the installed library is not the one that was signed" "correct debian/build.sh: nothing may be stripped"
    countersign plugin verify --library /usr/lib/countersign/libcountersign.so --threshold 1 \
        --officer "$(tail -n 1 "$dir/officers/1.pub")" | grep '^sbom: .*: as signed$' >/dev/null ||
        fail "the installed bill of materials is not the one that was signed" "correct debian/build.sh"
    same "the units" "$(systemctl --root=/ is-enabled countersign.service countersign-backend.socket countersign-administrators.socket |
        sort -u)" disabled
}

same() {
    [ "$2" = "$3" ] || fail "$1: \"$2\" instead of \"$3\"" "correct the package"
}

# Every page renders without a warning and has its name. The configuration's page names every key of the configuration's code.
check_manual() {
    local page key keys
    heading "Manual pages"
    for page in /usr/share/man/man1/countersign*.1.gz /usr/share/man/man5/countersign.toml.5.gz; do
        LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l "$page" >"$work/page" 2>"$work/warnings" </dev/null
        [ ! -s "$work/warnings" ] || fail "$page: $(cat "$work/warnings")" "correct the page"
        grep -q '^NAME' "$work/page" || fail "$page has no NAME" "correct the page"
    done
    # Compare without emphasis and hyphens.
    LC_ALL=C.UTF-8 MANWIDTH=1000 man --no-hyphenation --no-justification countersign.toml 2>/dev/null </dev/null | col -b >"$work/page"
    keys=$(documented_keys)
    [ "$(wc -w <<<"$keys")" -ge 10 ] || fail "not all keys were found in src/shell/config: $keys" "correct debian/test/package.sh"
    for key in $keys; do
        grep -Eq "(^|[^a-z_])${key//[\[\].]/.}([^a-z_]|$)" "$work/page" ||
            fail "countersign.toml(5) does not name $key" "describe it in debian/countersign.toml.5"
    done
}

# The keys and tables that the comments of src/shell/config describe.
documented_keys() {
    find "$root/src/shell" \( -name config.rs -o -path '*/config/*.rs' \) -exec sed -n 's|^//! ||p' {} + |
        grep -Eo '^\[[a-z._]+\]|(^|, |  )[a-z_]+ = ' | tr -d ', =' | sort -u
}

# Every link of the installed documents leads to an installed file.
check_documents() {
    local file target
    heading "Documents"
    find /usr/share/doc/countersign -name '*.md' -print0 | while IFS= read -r -d '' file; do
        sed -n 's/`[^`]*`//g; s/](/\n](/g; p' "$file" | sed -En 's|^\]\(([^)#]+).*|\1|p' | while IFS= read -r target; do
            [[ $target != https://* ]] || continue
            (cd "$(dirname "$file")" && [ -e "$target" ]) || fail "$file links to $target" "correct debian/documents.sh"
        done
    done
}

# Each shell loads its completion script, and completes with it.
check_completions() {
    local replies
    heading "Completions"
    replies=$(bash -c '. /usr/share/bash-completion/completions/countersign
        COMP_WORDS=(countersign user a) COMP_CWORD=2
        $(complete -p countersign | grep -o "\-F [^ ]*" | cut -d " " -f 2) countersign a user
        echo "${COMPREPLY[*]}"')
    same "bash completes \"countersign user a\" by" "$replies" add
    zsh -n /usr/share/zsh/vendor-completions/_countersign
    replies=$(HOME=$work fish -c 'complete --do-complete "countersign user a"' | cut -f 1)
    same "fish completes \"countersign user a\" by" "$replies" add
}

check_unit() {
    local exposure
    heading "The unit"
    systemd-analyze verify "$unit" /usr/lib/systemd/system/countersign-*.socket
    exposure=$(systemd-analyze security --offline=true --no-pager "$unit" | grep -o 'exposure level.*' | grep -Eo '[0-9]+\.[0-9]+')
    say "exposure: $exposure"
    awk -v "exposure=$exposure" 'BEGIN { exit !(exposure > 0 && exposure < 2) }' ||
        fail "systemd-analyze security gives $exposure" "harden debian/countersign.service"
    systemd-analyze verify "$(drop_in tcp)" "$(drop_in vsock)"
}

# Shows the unit with an example's drop-in, under its own name.
drop_in() {
    mkdir -p "$work/$1"
    cp "$unit" "$work/$1/countersign.service"
    cat "/usr/share/doc/countersign/examples/$1.conf" >>"$work/$1/countersign.service"
    say "$work/$1/countersign.service"
}

# The modules that p11-kit loads and initialises, for a user without a configuration.
p11_kit_modules() {
    (cd / && env -i PATH=/usr/bin:/bin HOME=/nonexistent p11-kit list-modules 2>/dev/null) | grep -v '^ ' | cut -d : -f 1
}

# Before anything is configured, p11-kit's other users notice nothing.
check_p11_kit_unconfigured() {
    heading "p11-kit, nothing configured"
    same "p11-kit's modules" "$(p11_kit_modules)" "$modules_before"
}

check_p11_kit_configured() {
    heading "p11-kit, as the backend"
    as "$backend" p11-kit list-modules >"$work/modules"
    grep -q '^countersign:' "$work/modules" || fail "p11-kit does not list it: $(cat "$work/modules")" \
        "correct debian/countersign.module"
    # A program that the module file does not name does not get the module.
    cp /usr/bin/p11-kit "$work/another-program"
    as "$backend" "$work/another-program" list-modules >"$work/modules"
    [ -s "$work/modules" ] && ! grep -q '^countersign:' "$work/modules" ||
        fail "p11-kit loads it into every program" "correct debian/countersign.module"
}
