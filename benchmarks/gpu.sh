#!/bin/sh
# The same table on a machine with a GPU, in under 9 minutes. From a bare machine with this repository:
#     sh benchmarks/gpu.sh [OUT.json]
# Contestants that use fp32 use it truly: TF32 is off by default in torch for matrix products.
set -eu
cd "$(dirname "$0")/.."
out=${1:-runs/performance-gpu.json}
test -x .venv/bin/python || python3 -m venv --system-site-packages .venv
.venv/bin/python -c "import crvae" 2>/dev/null || .venv/bin/pip install --quiet -e .
.venv/bin/python -c "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 'gpu.sh: torch finds no GPU')"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
timeout 530 .venv/bin/python -m benchmarks --rounds 10 --sections latency,memory,growth,steps,compile --out "$out"
