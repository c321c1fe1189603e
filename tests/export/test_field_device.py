"""Which GPU an exported script sees."""

from __future__ import annotations

import os

import pytest
import torch

from autotune.errors import Unsupported
from autotune.export.templates.device import rank_device, select_device


@pytest.mark.parametrize(
    ("visible", "device", "rank", "expected"),
    [
        (None, "cuda:0", 0, "0"),
        (None, "cuda:1", 2, "3"),
        ("5", "cuda:0", 0, "5"),
        ("5, 7", "cuda:0", 1, "7"),
        ("GPU-8932f937", "cuda", 0, "GPU-8932f937"),
        ("5", "cpu", 0, ""),
        ("5,-1,7", "cuda:0", 0, "5"),
    ],
)
def test_field_a_script_sees_its_gpu_only(
    visible: str | None, device: str, rank: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    set_visible(visible, monkeypatch)
    select_device(device, rank)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == expected


@pytest.mark.parametrize(
    ("visible", "device"), [("", "cuda:0"), ("5", "cuda:1"), ("-1", "cuda:0"), ("5,-1,7", "cuda:1")]
)
def test_field_a_gpu_that_is_not_visible_is_not_used(
    visible: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_visible(visible, monkeypatch)
    with pytest.raises(Unsupported, match="CUDA_VISIBLE_DEVICES") as caught:
        select_device(device, 0)
    assert "unset CUDA_VISIBLE_DEVICES" in str(caught.value.hint)


def test_processes_of_a_host_see_the_gpus_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """DistributedDataParallel takes the rank for the number of the GPU."""
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    set_visible("3,5,7", monkeypatch)
    assert select_device("cuda:1", 1, 2) == torch.device("cuda:1")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7"


def test_a_rank_whose_launcher_chose_the_gpus_sees_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    set_visible("4,5", monkeypatch)
    assert rank_device("cuda:3", 1) == torch.device("cuda:1")
    assert chosen == [torch.device("cuda:1")]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5"
    assert rank_device("cpu", 1) == torch.device("cpu")


def set_visible(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value or "")
    if value is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
