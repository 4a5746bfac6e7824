#!/bin/sh
# Vets and builds every program under examples/, each folder on its own, as its
# reader would, and runs those that need nothing but themselves. One that serves
# until it is stopped says so by a line "//examples:serves" in its main.go, and is
# run by its own test.
set -eu
cd "$(dirname "$0")/.."

found=
for dir in examples/*/; do
	[ -n "$(find "$dir" -name '*.go' | head -n 1)" ] || continue
	found=1
	printf '%s\n' "${dir%/}"
	go vet "./$dir..."
	go build -o /dev/null "./$dir..."
	if [ -f "$dir/main.go" ] && ! grep -q '^//examples:serves$' "$dir/main.go"; then
		env -u REDIS_URL go run "./$dir" >/dev/null
	fi
done
[ -n "$found" ] || printf 'there are no examples yet\n'
