#!/bin/sh
# Runs every fuzz target for SECONDS_EACH seconds (default 10) on a copy of its kept corpus; fails on the first finding.
# usage: run.sh <build directory> [seconds]     The build: see CMakeLists.txt beside this file.
set -eu
build=${1:?usage: run.sh BUILD_DIRECTORY [SECONDS]}
seconds=${2:-10}
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for name in h2 frame request token; do
  mkdir "$scratch/$name"
  echo "fuzz $name for $seconds s"
  # New inputs go to the first directory; the kept corpus is only read. Findings are left in the current directory.
  "$build/kedge_fuzz_$name" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="kedge-fuzz-$name-" "$scratch/$name" "$here/corpus/$name" >"$scratch/$name.log" 2>&1 || {
    tail -40 "$scratch/$name.log"
    exit 1
  }
  grep -E "stat::number_of_executed_units|cov:" "$scratch/$name.log" | tail -2
done
