#!/bin/sh
# Tables on a machine with a GPU that reaches no network, from the repository's root, with the folder that
# `python -m experiments.offline` made:
#     sh experiments/offline.sh KIT NAME... [--seeds 0 1 2] [--jobs 18] [--minutes 9]
# The same line continues. PYTHON: an interpreter that has torch, instead of python3. The code is copied into KIT first, so that
# a change of the repository does not reach runs that have begun.
set -eu
kit=$1; shift
python=${PYTHON:-python3}
if ! test -d "$kit/code"; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$kit/site" "$kit"/wheels/*.whl
    mkdir "$kit/code"
    cp -r src experiments benchmarks "$kit/code"
fi
here=$(cd "$kit" && pwd)
export PYTHONPATH="$here/site:$here/code/src:$here/code" CRVAE_CACHE="$here/cache" OMP_NUM_THREADS=1
"$python" -m experiments.offline "$kit"
if command -v nvidia-cuda-mps-control >/dev/null; then
    nvidia-cuda-mps-control -d || true # it runs already
fi
exec "$python" -m experiments.tables --budget gpu --jobs 18 "$@"
