"""lightweight-gan 1.2.1 (PyPI), which refuses to start without CUDA, on the CPU."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def module() -> ModuleType:
    """`lightweight_gan.lightweight_gan` with the CPU written in CUDA's place."""
    spec = find_spec("lightweight_gan")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).with_name("lightweight_gan.py").read_text()
    for gpu, cpu in (
        ("assert torch.cuda.is_available()", "assert True"),
        ("f'cuda:{self.rank}'", "'cpu'"),
        (".cuda(self.rank)", ""),
        ("self.cuda(rank)", ""),
    ):
        assert gpu in source
        source = source.replace(gpu, cpu)
    package = ModuleType("lightweight_gan")  # its __init__ imports what refuses
    package.__path__ = [str(Path(spec.origin).parent)]  # type: ignore[attr-defined]
    sys.modules["lightweight_gan"] = package
    made = ModuleType("lightweight_gan.lightweight_gan")
    made.__dict__["__package__"] = "lightweight_gan"
    exec(compile(source, "lightweight_gan.py", "exec"), made.__dict__)
    return made
