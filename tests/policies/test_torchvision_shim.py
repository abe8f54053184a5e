import subprocess
import sys

from vla_sim.policies import torchvision_shim


def test_open_clip_can_be_imported_and_without_warnings():
    code = "from vla_sim.policies.torchvision_shim import *; make_torchvision_importable(); import open_clip.model"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


def test_nothing_is_defined_where_torchvision_fits_its_torch(monkeypatch):
    import torch

    monkeypatch.setattr(torchvision_shim, "_compiled_operators_load", lambda: True)
    monkeypatch.setattr(torch.library, "Library", lambda *_: (_ for _ in ()).throw(AssertionError("defined")))
    assert torchvision_shim.make_torchvision_importable.__wrapped__() is None
