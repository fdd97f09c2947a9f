#!/usr/bin/env bash
# server.sh: the boundary's process, started by hand or by systemd. install.sh sources it.
#
# It sets `server`, the process id.

server='' tracer='' listener=''
# The one thing that the server may do and other processes may not.
capabilities=0000000000000000

start_server() {
    heading "The boundary starts ($start)"
    if ! prlimit --memlock=unlimited true 2>/dev/null; then
        say "this machine lets nobody raise the limit of locked memory, so CAP_IPC_LOCK replaces LimitMEMLOCK"
        capabilities=0000000000004000
    fi
    if [ "$start" = by-hand ]; then
        start_by_hand
    else
        start_by_systemd
    fi
}

# Starts the unit's command as its user, in its folders, with its limits. A listener plays systemd.
start_by_hand() {
    local command privileges=(--bounding-set=-all --inh-caps=-all) limit=(--memlock=unlimited)
    if [ "$capabilities" != 0000000000000000 ]; then
        privileges=(--bounding-set=-all,+ipc_lock --inh-caps=-all,+ipc_lock --ambient-caps=-all,+ipc_lock) limit=()
    fi
    read -ra command <<<"$(unit_value ExecStart)"
    install -d -m 0755 -o countersign -g countersign /run/countersign
    install -d -m 0700 -o countersign -g countersign "$work/traced"
    "$python" -B "$root/debian/test/notified.py" "$work/notify.sock" >"$work/notified" &
    listener=$!
    wait_until "the listener plays systemd" test -S "$work/notify.sock"
    (
        umask "$(unit_value UMask)"
        cd /
        exec prlimit --core="$(unit_value LimitCORE)" "${limit[@]}" --nofile="$(unit_value LimitNOFILE)" \
            setpriv --reuid countersign --regid countersign --clear-groups --no-new-privs "${privileges[@]}" \
            env -i PATH=/usr/bin:/bin NOTIFY_SOCKET="$work/notify.sock" $(environment) \
            strace -f -qq -o "$work/traced/calls" -- "${command[@]}"
    ) 2>"$work/log" &
    tracer=$!
    wait_until "the boundary is ready: $(log_now)" by_hand_ready
    server=$(pgrep -P "$tracer")
}

by_hand_ready() {
    kill -0 "$tracer" 2>/dev/null || fail "the boundary ended: $(log_now)" "see above"
    grep -q READY=1 "$work/notified"
}

# The real filter kills the process at a forbidden call, so no such call goes unnoticed.
start_by_systemd() {
    mkdir -p /run/systemd/system/countersign.service.d
    {
        printf '[Service]\nSystemCallErrorNumber=kill\n'
        [ "$capabilities" = 0000000000000000 ] ||
            printf '%s=CAP_IPC_LOCK\n' CapabilityBoundingSet AmbientCapabilities
    } >/run/systemd/system/countersign.service.d/test.conf
    systemctl daemon-reload
    systemctl start countersign.service || fail "the unit does not start: $(log_now)" "see above"
    server=$(systemctl show --property MainPID --value countersign.service)
}

# Prints the value of a key in the installed unit.
unit_value() {
    sed -n "s/^$1=//p" "$unit" | tail -n 1
}

log_now() {
    if [ "$start" = by-hand ]; then
        cat "$work/log"
    else
        journalctl --no-pager -u countersign.service
    fi
}

# wait_until WHAT COMMAND…: tries the command for a minute.
wait_until() {
    local what=$1 tries
    shift
    for tries in $(seq 600); do
        ! "$@" || return 0
        sleep 0.1
    done
    fail "still not true after $((tries / 10)) seconds: $what" "see above"
}

check_server() {
    heading "What the process may do"
    status_is Uid "$(id -u countersign)"
    status_is NoNewPrivs 1
    status_is CapEff "$capabilities"
    status_is CapBnd "$capabilities"
    [ "$(awk '/^VmLck:/ { print $2 }' "/proc/$server/status")" -gt 10000 ] || fail "its memory is not locked" "correct serve"
    same "its core limit" "$(awk '/^Max core file size/ { print $5, $6 }' "/proc/$server/limits")" "0 0"
    # The process is not dumpable, so root owns the files that show its memory.
    same "the owner of its memory's file" "$(stat -c %U "/proc/$server/mem")" root
    same "the folder of its sockets" "$(stat -c '%a %U' /run/countersign)" "755 countersign"
    [ "$start" = by-hand ] || check_confinement
}

status_is() {
    same "its $1" "$(awk -v "key=$1:" '$1 == key { print $2 }' "/proc/$server/status")" "$2"
}

# What systemd takes away from the process, seen from inside the process's namespaces.
check_confinement() {
    status_is Seccomp 2
    [ "$(readlink "/proc/$server/ns/net")" != "$(readlink /proc/self/ns/net)" ] || fail "it has the network" "see the unit"
    same "what it sees in /home and /root" "$(inside_its_world sh -c 'ls -A /home /root 2>/dev/null | grep -v :$ | tr -d "\n"')" ""
    ! inside_its_world touch /var/lib/written 2>/dev/null || fail "it can write outside of its own folder" "see the unit"
    inside_its_world test -r /proc/sys/kernel/random/boot_id || fail "it cannot read the boot id" "see the unit"
    [ "$(inside_its_world stat -c %d /dev)" != "$(stat -c %d /dev)" ] || fail "it sees the machine's devices" "see the unit"
}

inside_its_world() {
    nsenter --target "$server" --mount -- "$@"
}

reload_server() {
    heading "After a SIGHUP it goes on"
    if [ "$start" = by-hand ]; then
        : >"$work/notified"
        kill -HUP "$server"
        wait_until "it is ready again" grep -q READY=1 "$work/notified"
        grep -q RELOADING=1 "$work/notified" || fail "it did not tell systemd that it reloads" "correct serve"
    else
        systemctl reload countersign.service
    fi
    administrator wallet list --so-pin-file "$work/so.pin" | grep treasury >/dev/null || fail "it does not go on" "correct serve"
}

stop_server() {
    local status=0
    heading "SIGTERM"
    if [ "$start" = by-systemd ]; then
        systemctl stop countersign.service
        same "how it ended" "$(systemctl show --property Result --value countersign.service)" success
        server=''
        return 0
    fi
    kill -TERM "$server"
    wait "$tracer" || status=$?
    same "its exit status" "$status" 0
    grep -q STOPPING=1 "$work/notified" || fail "it did not tell systemd that it stops" "correct serve"
    server='' tracer=''
    check_system_calls
}

# Runs only after a failure.
kill_server() {
    [ "$start" = by-hand ] ||
        systemctl stop countersign.service countersign-backend.socket countersign-administrators.socket 2>/dev/null
    rm -rf /run/systemd/system/countersign.service.d
    # If the server never became ready, its process id is not known. Killing strace would leave it running.
    [ -z "$tracer" ] || [ -n "$server" ] || server=$(pgrep -P "$tracer")
    [ -z "$server" ] || kill -KILL $server 2>/dev/null
    [ -z "$tracer" ] || { kill -KILL "$tracer"; wait "$tracer"; } 2>/dev/null
    [ -z "$listener" ] || end_process "$listener"
    server='' tracer='' listener=''
}

# Every system call, from the program's first to its last, passes the unit's filter.
check_system_calls() {
    local forbidden
    heading "The unit's filter of system calls"
    allowed_calls >"$work/allowed"
    sed -nE 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/p' "$work/traced/calls" | sort -u >"$work/made"
    [ "$(wc -l <"$work/made")" -gt 40 ] || fail "strace recorded too few calls" "see $work/traced/calls"
    forbidden=$(comm -13 "$work/allowed" "$work/made")
    [ -z "$forbidden" ] || fail "the unit forbids what the boundary calls: ${forbidden//$'\n'/ }" "correct debian/countersign.service"
    say "$(wc -l <"$work/made") different calls were made, all of them among the $(wc -l <"$work/allowed") allowed"
}

allowed_calls() {
    local line set=''
    while read -r line; do
        case $line in
            "~"*) set=$(comm -23 <(sort -u <<<"$set") <(expand ${line#"~"} | sort -u)) ;;
            *) set=$set$'\n'$(expand $line) ;;
        esac
    done < <(sed -n 's/^SystemCallFilter=//p' "$unit")
    # systemd allows these calls whatever the filter lists.
    { printf '%s\n' "$set"; expand @default; } | grep . | sort -u
}

# The calls in the named groups. A group may name other groups.
expand() {
    local name
    for name in "$@"; do
        case $name in
            @*) expand $(systemd-analyze syscall-filter "$name" | sed -nE 's/^ +(@?[a-z0-9_-]+)$/\1/p') ;;
            *) printf '%s\n' "$name" ;;
        esac
    done
}

# What only systemd does: an upgrade does not disturb a running boundary, and the sockets start one that is not running.
check_sockets_and_upgrade() {
    heading "An upgrade while it works"
    dpkg -i "$dir/countersign.deb" 2>&1 | tee "$work/upgrade"
    grep -q "still runs" "$work/upgrade" || fail "the upgrade does not say that the old one runs on" "correct debian/postinst"
    same "the process after the upgrade" "$(systemctl show --property MainPID --value countersign.service)" "$server"

    heading "Socket activation"
    systemctl stop countersign.service
    systemctl start countersign-backend.socket countersign-administrators.socket
    same "the unit" "$(systemctl is-active countersign.service || true)" inactive
    administrator wallet list --so-pin-file "$work/so.pin" | grep treasury >/dev/null || fail "no answer: $(log_now)" "see above"
    as "$backend" countersign wallet list --user-pin-file "$work/user.pin" | grep treasury >/dev/null || fail "no answer: $(log_now)" "see above"
    same "the unit" "$(systemctl is-active countersign.service)" active
    systemctl stop countersign.service
    as "$backend" countersign wallet list --user-pin-file "$work/user.pin" | grep treasury >/dev/null || fail "no answer: $(log_now)" "see above"
    systemctl stop countersign-backend.socket countersign-administrators.socket
    server=$(systemctl show --property MainPID --value countersign.service)
}
