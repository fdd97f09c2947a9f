#!/usr/bin/env bash
# The command line, together with the user: where a command asks for a code, this types the next one.
set -euo pipefail

case "${1:-} ${2:-}" in
    "user add")
        shown=$("$COUNTERSIGN_BUILT" "$@")
        printf '%s\n' "$shown"
        grep -Eo -m 1 'secret=[A-Z2-7]+' <<<"$shown" | head -n 1 | cut -d = -f 2 >"$STORY/secret"
        ;;
    "user confirm" | "key sign" | "sign "*)
        COUNTERSIGN_CODE=$("$SOURCES/tests/documents/next_code.sh") exec "$COUNTERSIGN_BUILT" "$@"
        ;;
    *) exec "$COUNTERSIGN_BUILT" "$@" ;;
esac
