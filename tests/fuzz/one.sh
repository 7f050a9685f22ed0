#!/bin/sh
# Runs one fuzz target, LANGUAGE/NAME, for run.sh. 255 for a finding, at which xargs starts no more.
set -eu
target=$1 build=$2 python=$3 seconds=$4 scratch=$5
here=$(cd "$(dirname "$0")" && pwd)
name=${target#*/}
corpus="$here/${target%/*}/corpus/$name"
mine="$scratch/$name"
mkdir "$mine"
case $target in
  python/*)
    seconds=$(((seconds * 3 + 9) / 10))
    set -- "$python" "$here/python/${name}_fuzz.py"
    ;;
  *) set -- "$build/kedge_fuzz_$name" ;;
esac
set -- "$@" "$mine"
test ! -d "$corpus" || set -- "$@" "$corpus"
# New inputs go to the first directory; the kept corpus is only read. Findings are left in the current directory.
TMPDIR=$scratch "$@" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
  -artifact_prefix="kedge-fuzz-$name-" >"$mine.log" 2>&1 || {
  echo "fuzz $target: a finding"
  tail -60 "$mine.log"
  exit 255
}
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$mine.log")
covered=$(grep -oE "cov: [0-9]+" "$mine.log" | tail -1)
echo "fuzz $target for $seconds s: $runs runs, $covered"
