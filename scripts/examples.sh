#!/bin/sh
# Vets and builds every program under examples/, each on its own, as its reader
# would.
set -eu
cd "$(dirname "$0")/.."

found=
for dir in examples/*/; do
	ls "$dir"*.go >/dev/null 2>&1 || continue
	found=1
	printf '%s\n' "${dir%/}"
	go vet "./$dir..."
	go build -o /dev/null "./$dir..."
done
[ -n "$found" ] || printf 'there are no examples yet\n'
