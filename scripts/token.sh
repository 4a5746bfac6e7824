#!/bin/sh
# Makes the file .env (or the one that is named) with a token for the monitor,
# unless it has one. docker compose reads it.
set -eu
cd "$(dirname "$0")/.."
file=${1:-.env}
if [ -f "$file" ] && grep -q '^DISTPOOL_MONITOR_TOKEN=.' "$file"; then
	exit 0
fi
umask 077
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
printf 'DISTPOOL_MONITOR_TOKEN=%s\n' "$token" >>"$file"
echo "made a token for the monitor: see $file" >&2
