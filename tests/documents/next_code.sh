#!/usr/bin/env bash
# A code that the story has not used yet, of the current time step or the next.
set -euo pipefail

now=$(($(date +%s) / 30))
last=$(cat "$STORY/last" 2>/dev/null || echo 0)
step=$((last < now ? now : last + 1))
[ "$step" -le "$((now + 1))" ] || { echo "this story uses codes faster than the time steps pass" >&2; exit 1; }
echo "$step" >"$STORY/last"
oathtool --totp --base32 --now "@$((step * 30))" - <"$STORY/secret"
