from __future__ import annotations

import importlib
import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from forensics.cli.app import main
from forensics.flows import doctor
from forensics.flows.doctor import examine


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["forensics", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().out

    return run


def _by_name(checks):
    return {check.name: check for check in checks}


def test_doctor_names_devices_weights_codecs_and_disk(run):
    code, out = run("doctor")
    assert code == 0
    for name in ("Python", "CPU", "torch", "CUDA", "ONNX Runtime", "faiss", "codec JPEG", "weights clip", "disk"):
        assert name in out


def test_doctor_as_json(run, tmp_path, monkeypatch):
    monkeypatch.setenv("FORENSICS_WEIGHTS", str(tmp_path))
    code, out = run("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)}
    assert code == 0
    assert set(checks["torch"]) == {"name", "state", "detail", "fix"}
    assert checks["weights sscd-disc-mixup"]["state"] == "missing"
    assert checks["weights sscd-disc-mixup"]["fix"] == "forensics weights fetch sscd-disc-mixup"
    assert f"FORENSICS_WEIGHTS={tmp_path}" in checks["settings"]["detail"]


def test_two_faiss_wheels_are_an_error_that_names_them(monkeypatch, run):
    def both(name):
        return version("faiss-cpu") if name in ("faiss-cpu", "faiss-gpu") else version(name)

    monkeypatch.setattr(doctor, "version", both)
    check = _by_name(examine(Path()))["faiss"]
    assert check.state == "error"
    assert "faiss-cpu and faiss-gpu are both installed" in check.detail
    assert "pip uninstall faiss-cpu faiss-gpu" in check.fix
    assert run("doctor")[0] == 1


def test_a_pair_of_torch_and_torchvision_that_does_not_import_is_an_error(monkeypatch):
    def broken(name):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return importlib.import_module(name)

    # not in importlib itself: whatever is imported meanwhile would keep the broken function for good
    monkeypatch.setattr(doctor, "importlib", SimpleNamespace(import_module=broken))
    check = _by_name(examine(Path()))["torch"]
    assert check.state == "error"
    assert "nms does not exist" in check.detail
    assert "pip install" in check.fix


def test_settings_that_nothing_reads_are_pointed_out(monkeypatch):
    monkeypatch.setenv("FORENSICS_THREDS", "2")
    warnings = [check for check in examine(Path()) if check.name == "settings" and check.state == "warning"]
    assert "FORENSICS_THREDS" in warnings[0].detail


def test_a_wrong_setting_is_reported_not_raised(monkeypatch):
    monkeypatch.setenv("FORENSICS_DEVICE", "tpu")
    assert _by_name(examine(Path()))["CUDA"].state == "error"
    monkeypatch.setenv("FORENSICS_THREADS", "x")
    assert any("FORENSICS_THREADS" in check.detail and check.state == "error" for check in examine(Path()))
