#!/bin/sh
# The Go modules of this repository. go.work lists them, and joins them for all
# that runs in a clone. CONTRIBUTING.md says which they are, and why.
#
#   scripts/modules.sh list             the folders of the modules, the root's first
#   scripts/modules.sh released         the modules that a release tags
#   scripts/modules.sh patterns ./...   the pattern, and one for each module below it
#   scripts/modules.sh build-vet        builds and vets all
#   scripts/modules.sh tidy             go mod tidy in each module
#   scripts/modules.sh check-tidy       fails where tidy would change a file
#   scripts/modules.sh pinned           the version that the modules require of each other
#   scripts/modules.sh pin VERSION      changes it
set -eu
cd "$(dirname "$0")/.."
GO=${GO:-go}
root=github.com/distpool/distpool

list() { awk '/^use \(/ {in_use = 1; next} /^\)/ {in_use = 0} in_use {sub(/^[ \t]*(\.\/)?/, ""); print}' go.work; }

# The modules that a user may import or install, and what these need.
released() { printf '%s\n' . metrics traces internal/monitor internal/cli cmd; }

# patterns PATTERN...: ./... means one module to go, so those below it are added.
patterns() {
	[ $# -gt 0 ] || set -- ./...
	for pattern; do
		printf '%s ' "$pattern"
		case $pattern in ./*...) ;; *) continue ;; esac
		for dir in $(list); do
			case ./$dir/... in
			"$pattern" | ././...) ;;
			"${pattern%...}"*) printf './%s/... ' "$dir" ;;
			esac
		done
	done
}

path() { if [ "$1" = . ]; then echo $root; else echo "$root/$1"; fi; }

# tidied DIR FOLDER: writes the tidy go.mod and go.sum of the module into the folder.
# go mod tidy does not read go.work, and the siblings are published, if at all, in
# other versions: replace lines lead to them, in the copy alone.
tidied() {
	cp "$1/go.mod" "$2/go.mod"
	if [ -f "$1/go.sum" ]; then cp "$1/go.sum" "$2/go.sum"; fi
	for sibling in $(released); do
		[ "$sibling" = "$1" ] || $GO mod edit -replace="$(path "$sibling")=$PWD/$sibling" "$2/go.mod"
	done
	(cd "$1" && GOWORK=off GOFLAGS= $GO mod tidy -modfile="$2/go.mod")
	for sibling in $(released); do
		$GO mod edit -dropreplace="$(path "$sibling")" "$2/go.mod"
	done
}

# tidy COMMAND: for each file of each module, COMMAND TIDY FILE.
tidy() {
	temporary=$(mktemp -d)
	trap 'rm -rf "$temporary"' EXIT
	failed=0
	for dir in $(list); do
		rm -f "$temporary"/*
		tidied "$dir" "$temporary"
		for file in go.mod go.sum; do
			"$@" "$temporary/$file" "$dir/$file" || failed=1
		done
	done
	return $failed
}

copy_changed() { cmp -s "$1" "$2" || cp "$1" "$2"; }

difference() {
	diff -u "$2" "$1" && return
	echo "$2 is not tidy: run make tidy" >&2
	return 1
}

# pinned is the version that the modules require of each other.
pinned() { sed -n "s,^[[:space:]]*$root \\(v[^ ]*\\) => .*,\\1,p" go.work; }

pin() {
	for sibling in $(released); do
		for dir in $(list); do
			if grep -q "^[[:space:]]*$(path "$sibling") v" "$dir/go.mod"; then
				$GO mod edit -require="$(path "$sibling")@$1" "$dir/go.mod"
			fi
		done
	done
	text=$(sed "s,\($root[^ ]*\) v[^ ]* =>,\1 $1 =>," go.work)
	printf '%s\n' "$text" >go.work
}

[ $# -gt 0 ] || set -- list
case $1 in
list | released | pinned) "$1" ;;
patterns) shift && patterns "$@" ;;
build-vet)
	# shellcheck disable=SC2046 # one word for each module
	$GO build $(patterns) && $GO vet $(patterns)
	;;
tidy) tidy copy_changed ;;
check-tidy) tidy difference ;;
pin) pin "$2" ;;
*)
	sed -n '5,12s/^# *//p' "$0" >&2
	exit 2
	;;
esac
