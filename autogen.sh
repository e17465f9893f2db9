#!/bin/sh
# Makes ./configure from configure.ac. Needed once in a git checkout, never in a release tarball.
set -e
cd "$(dirname "$0")"
mkdir -p m4 build-aux
exec autoreconf --install --force --warnings=all
