#!/bin/sh
# Prints the promtool program, which comes with Prometheus: the one that
# DISTPOOL_PROMTOOL names, or one in PATH, or one that is taken out of Debian's
# package and put into bin/. Otherwise says what to do, and fails.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/.."

for program in "${DISTPOOL_PROMTOOL:-promtool}" "$PWD/bin/promtool"; do
	if have "$program"; then
		printf '%s\n' "$program"
		exit 0
	fi
	if [ -n "${DISTPOOL_PROMTOOL:-}" ]; then
		say "DISTPOOL_PROMTOOL names '$DISTPOOL_PROMTOOL', which is no program that can be run."
		exit 1
	fi
done

# The package is not installed: it would bring a service.
if have apt-get && have dpkg-deb; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	say "taking promtool out of Debian's package prometheus"
	get() { (cd "$dir" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download prometheus >&2); }
	get || { can_install && apt-get -qq update >&2 && get; } || true
	if dpkg-deb -x "$dir"/prometheus_*.deb "$dir" && mkdir -p bin && mv "$dir/usr/bin/promtool" bin/; then
		printf '%s\n' "$PWD/bin/promtool"
		exit 0
	fi
	say "apt-get could not download the package prometheus: see its messages above."
fi
cat >&2 <<'END'
The tests of the alerts need promtool, 2.42 or newer, and there is none in PATH. Install one:
    Debian, Ubuntu   sudo apt-get install prometheus
    macOS            brew install prometheus
or name the program: make alerts DISTPOOL_PROMTOOL=/path/to/promtool
END
exit 1
