"""Which arithmetic a device gets."""

from __future__ import annotations

import pytest
import torch

from crvae import devices

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch):
    """Makes the CPU one of this name and with these instructions."""

    def be(name: str, amx: bool, avx512_bf16: bool) -> None:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name}, raising=False)

    return be


@pytest.mark.parametrize(
    ("name", "amx", "avx512_bf16", "expected"),
    [
        ("Intel Xeon", True, True, True),
        ("Intel Xeon", False, True, False),
        ("AMD EPYC 9354", False, True, True),
        ("AMD EPYC 7003", False, False, False),
        ("", False, True, True),
    ],
)
def test_bf16_is_taken_where_it_is_faster(processor, name, amx, avx512_bf16, expected):
    processor(name, amx, avx512_bf16)
    assert devices.bf16_is_faster(CPU) is expected
    with devices.quick_arithmetic(CPU):
        assert torch.is_autocast_enabled("cpu") is expected


def test_a_torch_that_does_not_tell_the_processor_is_no_obstacle(processor, monkeypatch):
    processor("Intel Xeon", False, True)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert devices.bf16_is_faster(CPU)


def test_what_is_neither_a_cpu_nor_cuda_computes_in_fp32(processor):
    processor("Intel Xeon", True, True)
    assert not devices.bf16_is_faster(torch.device("mps"))
