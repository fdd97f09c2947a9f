#!/usr/bin/env bash
# setup.sh DIR: makes the backing token of Countersign, a SoftHSM2 token in a folder of its own.
#
# In DIR (made, mode 0700):
#   tokens/            the token "countersign-backing"
#   softhsm2.conf      SoftHSM2's configuration, which names tokens/
#   backing-so.pin     the token's SO PIN, random, mode 0600
#   backing-user.pin   the token's user PIN, random, mode 0600
#   countersign.toml   Countersign's configuration, which names all of these
#   env                to be sourced: exports SOFTHSM2_CONF and COUNTERSIGN_CONF
#
# These PINs open the backing token. Nobody needs to type them, and nobody outside the boundary may have them. Administrators and
# backends have Countersign's own PINs, which `countersign init` sets.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

label=countersign-backing

main() {
    if [ "$#" -ne 1 ] || [ -z "$1" ]; then
        say "usage: softhsm/setup.sh DIR" >&2
        exit 2
    fi
    umask 077
    refuse_odd_names "$1"
    refuse_existing "$1"
    need_tool softhsm2-util softhsm2
    need_tool script bsdutils
    local module dir
    module=$(softhsm_module)
    mkdir -p "$1"
    dir=$(cd "$1" && pwd)
    refuse_odd_names "$dir"
    chmod 0700 "$dir"
    mkdir -p "$dir/tokens"
    write_softhsm_configuration "$dir"
    random_pin >"$dir/backing-so.pin"
    random_pin >"$dir/backing-user.pin"
    initialise_token "$dir"
    write_configuration "$dir" "$module"
    say "Made the backing token \"$label\" in $dir"
    say "Next: . $dir/env"
}

# The path goes into three files with three grammars, so a path that one of them would have to quote is refused.
refuse_odd_names() {
    case $1 in
        *[\"\'\\\#\$\`]* | *$'\n'*)
            fail "the path of the folder has a quote, a backslash, #, \$ or a line break in it" "choose another folder"
            ;;
    esac
}

refuse_existing() {
    local found
    for found in "$1"/tokens/* "$1/countersign.toml" "$1"/countersign.db*; do
        if [ -e "$found" ]; then
            fail "$1 already holds a token or its configuration ($found). Nothing was changed" \
                "use that token (. $1/env), or name another folder. Removing the token destroys every wallet in it"
        fi
    done
}

# Debian installs it under /usr/lib/softhsm and under the multiarch folder.
softhsm_module() {
    local candidate
    for candidate in /usr/lib/softhsm /usr/lib/*/softhsm /usr/local/lib/softhsm /usr/local/lib/*/softhsm \
        /usr/lib64/softhsm /usr/lib64/pkcs11; do
        if [ -r "$candidate/libsofthsm2.so" ]; then
            printf '%s\n' "$candidate/libsofthsm2.so"
            return 0
        fi
    done
    fail "there is no libsofthsm2.so under /usr/lib or /usr/local/lib" "install SoftHSM2 (on Debian: softhsm2)"
}

write_softhsm_configuration() {
    cat >"$1/softhsm2.conf" <<END
directories.tokendir = $1/tokens
objectstore.backend = file
log.level = ERROR
slots.removable = false
END
}

# 128 bits, as 32 hexadecimal digits.
random_pin() {
    od -An -v -N16 -tx1 /dev/urandom | tr -d ' \n'
    printf '\n'
}

# softhsm2-util takes PINs either as arguments, which every user of the machine could read in the process list, or at a terminal,
# but not from a pipe. So `script` (an essential package of Debian) gives it a terminal, and the PINs come from files through a
# pipe. The terminal's output echoes the PINs, so only error lines of it are kept.
initialise_token() {
    local answer
    if ! answer=$(cat "$1/backing-so.pin" "$1/backing-so.pin" "$1/backing-user.pin" "$1/backing-user.pin" |
        SOFTHSM2_CONF=$1/softhsm2.conf \
            script --quiet --return --command "softhsm2-util --init-token --free --label $label" /dev/null 2>&1); then
        printf '%s\n' "$answer" | grep '^ERROR' >&2 || true
        fail "softhsm2-util could not initialise the token in $1/tokens" "see the error above, remove $1, and run this again"
    fi
}

write_configuration() {
    cat >"$1/countersign.toml" <<END
# Countersign over a SoftHSM2 token. Made by softhsm/setup.sh.
[backing]
module = "$2"
token = "$label"
pin_file = "$1/backing-user.pin"

[store]
path = "$1/countersign.db"
END
    cat >"$1/env" <<END
export SOFTHSM2_CONF='$1/softhsm2.conf'
export COUNTERSIGN_CONF='$1/countersign.toml'
END
}

main "$@"
