#!/bin/sh
# Runs every fuzz target on a copy of its kept corpus, two at a time, and stops at the first finding: the C++ ones (libFuzzer) for
# SECONDS each (default 10), the Python ones (atheris) for three tenths of that.
# usage: run.sh BUILD PYTHON [SECONDS]     BUILD: see cpp/CMakeLists.txt; PYTHON: an interpreter that has Kedge
set -eu
build=${1:?usage: run.sh BUILD PYTHON [SECONDS]}
python=${2:?usage: run.sh BUILD PYTHON [SECONDS]}
seconds=${3:-10}
here=$(cd "$(dirname "$0")" && pwd)
targets="cpp/h2 cpp/frame cpp/request cpp/token cpp/answers"
if "$python" -c "import atheris" 2>/dev/null; then
  targets="$targets python/admin python/outcomes python/archive python/member python/evidence python/envelope python/yaml"
else
  echo "fuzz: atheris is not installed here (it has wheels for Linux on x86-64, CPython 3.11 to 3.13); the Python targets are left out"
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# shellcheck disable=SC2086  # words of a list
printf '%s\n' $targets | xargs -P 2 -I TARGET "$here/one.sh" TARGET "$build" "$python" "$seconds" "$scratch"
