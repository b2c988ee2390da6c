#!/bin/sh
# npm start: everything a new machine lacks, then the daemon in the foreground.
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh
setup
exec node packages/cli/bin/gangway.js up "$@"
