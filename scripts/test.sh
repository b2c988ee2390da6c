#!/bin/sh
# npm test [-- filter]: everything a new machine lacks, then the tests.
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh
setup sudo curl procps python3 chromium nginx caddy sshfs
exec node_modules/.bin/vitest run "$@"
