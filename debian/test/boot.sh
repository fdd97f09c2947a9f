#!/usr/bin/env bash
# boot.sh FOLDER COMMAND…: boots a copy of this machine under systemd, and runs a command in it as root. Nothing that the command
# does remains: the copy keeps its writes in memory (overlayfs), in namespaces of its own. FOLDER is visible in the copy.
#
# If this machine does not allow such a copy, it prints the reason and ends with status 77.
set -euo pipefail

# shellcheck source=softhsm/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../softhsm/lib.sh"

machine=countersign-test-$$

main() {
    if [ "${1:-}" != in-own-mounts ]; then
        can_boot
        exec unshare --mount --propagation private bash "${BASH_SOURCE[0]}" in-own-mounts "$@"
    fi
    shift
    local folder=$1
    shift
    copy=$(mktemp -d)
    trap clean_up EXIT
    end_by_signals
    make_copy
    boot "$folder"
    run "$@"
}

# Ends with 77 if the machine lacks something, which is no defect of ours.
can_boot() {
    [ "$(id -u)" -eq 0 ] || not_here "this is not root"
    command -v systemd-nspawn >/dev/null || not_here "systemd-nspawn is not there (on Debian: systemd-container)"
    unshare --mount --propagation private bash -c 'mount -t tmpfs tmpfs /mnt && mkdir /mnt/up /mnt/work /mnt/root &&
        mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root &&
        mount -t cgroup2 none /mnt/root/mnt' 2>/dev/null ||
        not_here "this machine lets nobody mount an overlay of its root, or a cgroup2"
}

not_here() {
    say "not run here: $1"
    exit 77
}

make_copy() {
    mount -t tmpfs -o mode=0755 tmpfs "$copy"
    mkdir "$copy/up" "$copy/work" "$copy/root"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$copy/up,workdir=$copy/work" "$copy/root"
    # Under its own name, and without this machine's disks.
    : >"$copy/root/etc/machine-id"
    : >"$copy/root/etc/fstab"
    ln -sf /dev/null "$copy/root/etc/systemd/system/systemd-udevd.service"
    # If this machine is a container, this file stops packages from starting and stopping the services they install.
    rm -f "$copy/root/usr/sbin/policy-rc.d"
}

boot() {
    # What is built may be elsewhere, in memory (.ci/run).
    local built=()
    [ ! -L "$root/target" ] || built=(--bind-ro="$(realpath "$root/target")")
    # Boots only up to basic.target, without this machine's services.
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$copy/root" --machine="$machine" --register=no \
        --keep-unit --private-network --link-journal=no --console=pipe --bind-ro="$root" "${built[@]}" --bind="$1" \
        --capability=CAP_SYS_RESOURCE,CAP_IPC_LOCK --boot systemd.unit=basic.target </dev/null >"$copy/console" 2>&1 &
    container=$!
    local tries
    for tries in $(seq 600); do
        kill -0 "$container" 2>/dev/null || fail "the copy does not boot: $(cat "$copy/console")" "see above"
        # `degraded` means that a unit of this machine does not work in the copy. That is not our concern.
        init=$(pgrep -P "$container" | head -n 1) || true
        case $([ -z "$init" ] || inside systemctl is-system-running 2>/dev/null) in
            running | degraded) return 0 ;;
        esac
        sleep 0.1
    done
    fail "the copy has not booted after $((tries / 10)) seconds: $(cat "$copy/console")" "see above"
}

inside() {
    nsenter --target "$init" --mount --uts --ipc --net --pid --cgroup -- "$@"
}

run() {
    heading "In a copy of this machine, under $(inside systemctl --version | head -n 1)"
    inside env -C "$root" -i PATH="$PATH" HOME=/root COUNTERSIGN_PYTHON="${COUNTERSIGN_PYTHON:-}" "$@"
}

clean_up() {
    local status=$?
    trap '' HUP INT TERM
    set +e
    [ -z "${container:-}" ] || { kill -TERM "$container"; wait "$container"; } 2>/dev/null
    umount --lazy "$copy/root" "$copy"
    rmdir "$copy"
    return "$status"
}

main "$@"
