#!/usr/bin/env bash
# A code that was not used yet, of a time step that is live now: the current one, or the next.
set -euo pipefail

now=$(($(date +%s) / 30))
last=$(cat "$STORY/last" 2>/dev/null || echo 0)
step=$((last < now ? now : last + 1))
[ "$step" -le "$((now + 1))" ] || { echo "this story uses more codes than there are in its time" >&2; exit 1; }
echo "$step" >"$STORY/last"
oathtool --totp --base32 --now "@$((step * 30))" - <"$STORY/secret"
