#!/bin/sh
# Runs go test with the given arguments, with the race detector where it can
# work, and so that a missing redis-server fails tests instead of skipping them.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

# The race detector links C code.
compiler=$(go env CC)
compiler=${compiler%% *}
have "$compiler" || { can_install && install_packages gcc libc6-dev; } || true
race=-race
if ! have "$compiler"; then
	race=
	say "************************************************************************"
	say "* NO C COMPILER ($compiler): the tests run WITHOUT the race detector."
	say "* Install one (on Debian: sudo apt-get install gcc libc6-dev), and rerun."
	say "************************************************************************"
fi

if [ -n "$race" ]; then CGO_ENABLED=1; else CGO_ENABLED=0; fi
export CGO_ENABLED DISTPOOL_REQUIRE_REDIS=1
# shellcheck disable=SC2086 # no argument if empty
exec go test $race -shuffle=on -timeout=10m "$@"
