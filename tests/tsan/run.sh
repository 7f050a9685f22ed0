#!/bin/sh
# The C++ tests, and a server in Python under real load, with ThreadSanitizer; fails on the first report that has our code
# in it. Two to three minutes on two cores.
# usage: run.sh BUILD_DIRECTORY PYTHON [SECONDS_OF_LOAD]     The build is one by clang with KEDGE_SANITIZE=thread.
set -eu
build=$(cd "${1:?usage: run.sh BUILD_DIRECTORY PYTHON [SECONDS]}" && pwd)
python=${2:?usage: run.sh BUILD_DIRECTORY PYTHON [SECONDS]}
seconds=${3:-20}
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Of GCC: the one of clang does not live through the start of Python. Both speak the same interface.
runtime=$(gcc -print-file-name=libtsan.so)

# The sanitizer's map of memory has no room for every layout the kernel may draw.
setarch "$(uname -m)" -R ctest --test-dir "$build" --output-on-failure --exclude-regex sketch

# The package with the instrumented extensions instead of the installed ones.
mkdir "$scratch/kedge"
for part in "$root"/src/kedge/*; do
  case $part in *.so) ;; *) ln -s "$part" "$scratch/kedge/" ;; esac
done
cp "$build"/cpp/bindings/_dataplane.*.so "$build"/cpp/bindings/_kernel.*.so "$scratch/kedge/"
# An editable install looks for the package before any path is looked at.
cat >"$scratch/sitecustomize.py" <<'END'
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if not type(finder).__module__.startswith("_editable_")]
END

mkfifo "$scratch/orders" "$scratch/said"
PYTHONPATH="$scratch:$root/tests/support" \
  TSAN_OPTIONS="suppressions=$here/server.supp log_path=$scratch/report exitcode=0 history_size=4" \
  setarch "$(uname -m)" -R env LD_PRELOAD="$runtime" "$python" -X faulthandler "$here/server.py" "$scratch" <"$scratch/orders" >"$scratch/said" &
server=$!
exec 3>"$scratch/orders"
read -r address <"$scratch/said" || { wait $server; exit 1; }
PYTHONPATH="$root/src:$root/tests/support" "$python" "$here/clients.py" "$address" "$seconds" "$scratch"
exec 3>&-
wait $server
if cat "$scratch"/report.* 2>/dev/null | grep -q ThreadSanitizer; then
  cat "$scratch"/report.*
  exit 1
fi
echo "no data race in $seconds s of load"
