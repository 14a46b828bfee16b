#!/bin/sh
# The same table on a machine with a GPU, in under 9 minutes. From a bare machine with this repository:
#     sh benchmarks/gpu.sh [OUT.json]
# PYTHON: an interpreter that has crvae, instead of .venv. SECTIONS and ROUNDS: less of it.
# Contestants that use fp32 use it truly: TF32 is off by default in torch for matrix products.
set -eu
cd "$(dirname "$0")/.."
out=${1:-runs/performance-gpu.json}
python=${PYTHON:-.venv/bin/python}
if ! "$python" -c "import crvae" 2>/dev/null; then
    python=.venv/bin/python
    test -x $python || python3 -m venv --system-site-packages .venv
    $python -c "import crvae" 2>/dev/null || $python -m pip install --quiet -e .
fi
"$python" -c "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 'gpu.sh: torch finds no GPU')"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
timeout 530 "$python" -m benchmarks --rounds "${ROUNDS:-10}" --sections "${SECTIONS:-latency,memory,growth,steps,compile}" --out "$out"
