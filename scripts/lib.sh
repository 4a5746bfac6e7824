# shellcheck shell=sh
# Functions for the scripts of this folder, which source it. POSIX shell.

# have NAME: is there a program of that name?
have() { command -v "$1" >/dev/null 2>&1; }

# say TEXT...: a line for people, on standard error.
say() { printf '%s\n' "$*" >&2; }

# can_install: may packages be installed here, and with apt-get?
can_install() { [ "$(id -u)" = 0 ] && have apt-get; }

# install_packages NAME...: install Debian packages, without starting the
# services that they bring: a redis-server package would start one on port 6379.
# Called in a subshell, so that its trap is its own.
install_packages() (
	say "installing $* with apt-get"
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap 'rm -f "$policy"' EXIT
		trap 'exit 1' INT TERM
		printf '#!/bin/sh\nexit 101\n' >"$policy" # 101: action forbidden by policy
		chmod +x "$policy"
	fi
	export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
	lock='-o DPkg::Lock::Timeout=120'
	# shellcheck disable=SC2086 # two words
	apt-get $lock -qq update >&2 &&
		apt-get $lock -qq install -y --no-install-recommends "$@" >&2
)
