#!/bin/sh
# Makes sure that there is a redis-server program for the tests: the one that
# DISTPOOL_REDIS_SERVER names, or one in PATH, or one that apt-get installs, if
# this is root on a system with apt-get. Otherwise says what to do, and fails.
set -eu
. "$(dirname "$0")/lib.sh"

if [ -n "${DISTPOOL_REDIS_SERVER:-}" ]; then
	have "$DISTPOOL_REDIS_SERVER" && exit 0
	say "DISTPOOL_REDIS_SERVER names '$DISTPOOL_REDIS_SERVER', which is no program that can be run."
	say "Correct it, or unset it to use the redis-server in PATH."
	exit 1
fi
have redis-server && exit 0

if can_install; then
	install_packages redis-server && have redis-server && exit 0
	say "apt-get could not install redis-server: see its messages above."
fi
cat >&2 <<'END'
The tests need a redis-server program, 6.2 or newer, and there is none in PATH.
They start and stop servers of their own; nothing has to run. Install one:
    Debian, Ubuntu   sudo apt-get install redis-server
    Fedora           sudo dnf install redis      (or valkey)
    Alpine           sudo apk add redis
    macOS            brew install redis
or name the program: make test DISTPOOL_REDIS_SERVER=/path/to/redis-server
Without one, `go test ./...` runs what of the library needs no real server.
END
exit 1
