#!/usr/bin/env bash
# install.sh by-hand|by-systemd DIR: installs the package that release.sh made in DIR, sets a boundary up as docs/deploying.md
# says, signs through it as another Unix user, and removes everything again.
#
#   by-hand       on this machine, which it leaves as it found it, also after a failure. Without systemd: it starts the server with
#                 the unit's command, as the unit's user, in the unit's folders, and compares every system call that the server
#                 makes with the unit's filter.
#   by-systemd    in a machine that boot.sh made, which systemd runs, with all of the unit's restrictions.
#
# It needs root. The last line is "done".
set -euo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=softhsm/lib.sh
. "$here/../../softhsm/lib.sh"
# shellcheck source=debian/test/package.sh
. "$here/package.sh"
# shellcheck source=debian/test/server.sh
. "$here/server.sh"
# shellcheck source=debian/test/signing.sh
. "$here/signing.sh"

python=${COUNTERSIGN_PYTHON:-$root/target/venv/bin/python}
state=/var/lib/countersign configuration=/etc/countersign
unit=/usr/lib/systemd/system/countersign.service
# Users that every Debian machine has: one who may call, one who may not.
backend=daemon stranger=games

main() {
    start=$1 dir=$2
    [ "$(id -u)" -eq 0 ] || fail "this is not root" "run it as root"
    refuse_an_installation
    before=$(traces)
    modules_before=$(p11_kit_modules)
    work=$(mktemp -d)
    chmod 0755 "$work"
    trap clean_up EXIT
    end_by_signals

    check_contents
    heading "dpkg -i"
    dpkg -i "$dir/countersign.deb"
    check_installation
    check_manual
    check_documents
    check_completions
    check_unit
    check_p11_kit_unconfigured

    configure
    start_server
    check_server
    sign_through_it
    check_p11_kit_configured
    reload_server
    [ "$start" = by-hand ] || check_sockets_and_upgrade
    stop_server

    remove_package
    clean_up
    trap - EXIT
    end_by_signals
    [ "$(traces)" = "$before" ] || fail "the test left something on this machine: $(diff <(traces) <(cat <<<"$before"))" "see above"
    say "done"
}

# Fails rather than touch an installation that belongs to somebody.
refuse_an_installation() {
    local found
    found=$(traces)
    [ -z "$found" ] || fail "Countersign is on this machine already: ${found//$'\n'/ }" \
        "run this on another machine; if an earlier test left it, remove it by hand"
}

# Everything that this test could leave behind.
traces() {
    getent passwd countersign || true
    getent group countersign || true
    dpkg-query -W -f='${Package} ${db:Status-Status}\n' countersign 2>/dev/null || true
    find /etc /run /usr/bin /usr/include /usr/lib /usr/share /var/lib -xdev -name '*countersign*' -not -path '/run/user/*' || true
}

clean_up() {
    local status=$?
    trap '' HUP INT TERM
    set +e
    kill_server
    dpkg -P countersign >/dev/null 2>&1
    rm -rf "$state" "$configuration" /run/countersign /usr/lib/countersign
    getent passwd countersign >/dev/null && deluser --quiet --system countersign >/dev/null 2>&1
    rm -rf "$work"
    set -e
    return "$status"
}

configure() {
    heading "A boundary, set up as docs/deploying.md says"
    as_documented 1
    inside plugin verify
}

# as_documented N: runs the Nth block of docs/deploying.md whose mark names this script. The script plays root, sed plays the
# editor, and the functions of server.sh start the server.
as_documented() {
    local commands
    commands=$(awk -v wanted="$1" '/^<!-- run by debian\/test\/install.sh -->$/ { marked = 1; next }
        marked { marked = 0; inside = (++blocks == wanted); next }
        /^```$/ { inside = 0 }
        inside' "$root/docs/deploying.md")
    [ -n "$commands" ] || fail "docs/deploying.md has no block $1 for this script" "correct its marks"
    (
        sudo() {
            [ "$1" = systemctl ] || "$@"
        }
        sudoedit() {
            sed -i -e "s|^officers = .*|officers = [$(officers)]|" -e "s|\"custodian\"|\"$backend\"|" "$1"
        }
        cd /
        eval "$commands"
    )
}

officers() {
    # The second line of minisign's file is the key.
    sed -sn '2s/.*/"&"/p' "$dir"/officers/1.pub "$dir"/officers/2.pub "$dir"/officers/3.pub | paste -sd ,
}

# Runs the command line as the boundary's own user, with its configuration.
inside() {
    runuser -u countersign -- env -i PATH=/usr/bin:/bin $(environment) countersign --config "$configuration/boundary.toml" "$@"
}

environment() {
    grep -v '^#' /etc/default/countersign | grep '='
}

remove_package() {
    heading "dpkg -r, dpkg -P"
    echo keys >"$state/kept"
    [ "$start" = by-hand ] || systemctl start countersign.service
    dpkg -r countersign
    [ "$start" = by-hand ] || same "the unit after dpkg -r" "$(systemctl is-active countersign.service || true)" inactive
    [ ! -e /usr/bin/countersign ] || fail "dpkg -r left /usr/bin/countersign" "correct the package"
    [ -e "$state/kept" ] || fail "dpkg -r removed $state" "correct debian/postrm"
    dpkg -P countersign 2>&1 | tee "$work/purge"
    [ -e "$state/kept" ] && [ -e "$state/countersign.db" ] && [ -e "$configuration/boundary.toml" ] ||
        fail "dpkg -P removed what is in $state or $configuration: wallets' keys, or what opens them" "correct debian/postrm"
    grep -q "kept $state" "$work/purge" || fail "dpkg -P does not say that it kept $state" "correct debian/postrm"
    [ ! -e /etc/default/countersign ] || fail "dpkg -P left /etc/default/countersign" "correct the package"
}

main "$@"
