#!/bin/sh
# Makes the commit and the tags of a release, and pushes nothing:
#
#   scripts/release.sh v0.2.0
#
# All modules are released together, in one version. A nested module's tag has its
# folder before the version: cmd/v0.2.0.
set -eu
cd "$(dirname "$0")/.."

fail() { printf '%s\n' "$*" >&2 && exit 1; }

version=${1:-}
printf '%s\n' "$version" | grep -Eq '^v(0|1)\.[0-9]+\.[0-9]+(-[0-9a-z.-]+)?$' ||
	fail "'$version' is not a version: use scripts/release.sh v0.2.0"
[ -z "$(git status --porcelain)" ] || fail 'the work tree has changes: commit or undo them first'

tags=
for dir in $(./scripts/modules.sh released); do
	tag=$version
	[ "$dir" = . ] || tag=$dir/$version
	! git rev-parse -q --verify "refs/tags/$tag" >/dev/null || fail "there is a tag $tag already"
	! grep -q '^replace' "$dir/go.mod" || fail "$dir/go.mod has a replace line: go install refuses such a module"
	tags="$tags $tag"
done

./scripts/modules.sh pin "$version"
git diff --quiet || git commit -q -a -m "Release $version"
for tag in $tags; do
	git tag -a -m "distpool $version" "$tag"
done
echo "The tags are made. When .ci/run has passed on this commit, push it with them:"
echo "  git push --atomic origin HEAD$tags"
