"""Which arithmetic a device gets."""

from __future__ import annotations

import pytest
import torch

from crvae import devices

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch):
    """Makes the CPU one with these instructions, on which a product takes so long in bf16, and 1 in fp32."""

    def be(amx: bool, avx512_bf16: bool, bf16_seconds: float) -> None:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
        monkeypatch.setattr(devices, "_seconds", {torch.bfloat16: bf16_seconds, torch.float32: 1.0}.__getitem__)
        devices._cpu_is_faster_by_bf16.cache_clear()

    yield be
    devices._cpu_is_faster_by_bf16.cache_clear()


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "bf16_seconds", "expected"),
    [
        pytest.param(True, True, 2.0, True, id="AMX is not asked"),
        pytest.param(False, True, 0.5, True, id="AVX512-BF16 that doubles the speed"),
        pytest.param(False, True, 2.0, False, id="AVX512-BF16 that halves it"),
        pytest.param(False, False, 0.5, False, id="without either fp32, whatever the clock says"),
    ],
)
def test_bf16_is_taken_where_it_is_faster(processor, amx, avx512_bf16, bf16_seconds, expected):
    processor(amx, avx512_bf16, bf16_seconds)
    assert devices.bf16_is_faster(CPU) is expected
    with devices.quick_arithmetic(CPU):
        assert torch.is_autocast_enabled("cpu") is expected


def test_the_processor_is_asked_once(processor, monkeypatch):
    processor(False, True, 2.0)
    asked = []
    monkeypatch.setattr(devices, "_seconds", lambda dtype: asked.append(dtype) or 1.0)
    assert not devices.bf16_is_faster(CPU)
    assert not devices.bf16_is_faster(CPU)
    assert asked == [torch.bfloat16, torch.float32]


def test_a_product_takes_time_in_either_arithmetic():
    assert devices._seconds(torch.float32) > 0
    assert devices._seconds(torch.bfloat16) > 0


def test_what_is_neither_a_cpu_nor_cuda_computes_in_fp32(processor):
    processor(True, True, 0.5)
    assert not devices.bf16_is_faster(torch.device("mps"))
