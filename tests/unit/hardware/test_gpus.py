"""The table of known GPUs: names that people type, names that `nvidia-smi` reports, figures that hang together."""

import pytest

from dianoia.base.errors import ConfigError
from dianoia.hardware.gpus import GPUS, UNKNOWN, gpu_named, gpu_reported


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("H100", "H100"),
        ("h100 80gb", "H100"),
        ("H100-SXM", "H100"),
        ("H100-PCIe", "H100-PCIe"),
        ("A100", "A100-80GB"),
        ("A100-40GB", "A100-40GB"),
        ("a100_40g", "A100-40GB"),
        ("NVIDIA A100 80 GB", "A100-80GB"),
        ("RTX 4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        ("4090", "RTX 4090"),
        ("RTX A6000", "A6000"),
        ("RTX 6000 Ada", "RTX 6000 Ada"),
        ("V100", "V100-32GB"),
        ("Tesla T4", "T4"),
        ("l40s", "L40S"),
    ],
)
def test_a_name_as_people_type_it(typed: str, name: str) -> None:
    assert gpu_named(typed).name == name


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_every_name_of_the_table_means_itself(gpu: object) -> None:
    assert gpu_named(gpu.name) is gpu  # type: ignore[attr-defined]
    assert gpu_named(gpu.name.lower().replace("-", " ")) is gpu  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("H1000", "'H100'"),
        ("H100-PCI", "'H100-PCIE'"),
        ("A100-20GB", "'A100-80GB'"),
        ("RTX 4080", "'RTX 4090'"),
    ],
)
def test_an_unknown_name_has_the_nearest_one(typed: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gpu_named(typed)
    message = str(caught.value)
    assert message.startswith(f"--for {typed}: ") and "B200, H200" in message
    assert f"did you mean {hint}?" in message


@pytest.mark.parametrize("typed", ["", "  ", "80GB", "RTX", "GPU", "MI300X", "toaster"])
def test_what_names_no_gpu_is_refused(typed: str) -> None:
    with pytest.raises(ConfigError, match="no GPU of that name is known"):
        gpu_named(typed)


@pytest.mark.parametrize(
    ("reported", "mebibytes", "name"),
    [
        ("NVIDIA H100 80GB HBM3", 81559, "H100"),
        ("NVIDIA H100 PCIe", 81559, "H100-PCIe"),
        ("NVIDIA H100 NVL", 95830, "H100-NVL"),
        ("NVIDIA H200", 143771, "H200"),
        ("NVIDIA GH200 480GB", 97871, "GH200"),
        ("NVIDIA A100-SXM4-80GB", 81920, "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", 40960, "A100-40GB"),
        ("NVIDIA A100-PCIE-40GB", 40960, "A100-40GB"),
        ("NVIDIA A100 80GB PCIe", 81920, "A100-80GB"),
        ("NVIDIA GeForce RTX 4090", 24564, "RTX 4090"),
        ("NVIDIA RTX A6000", 49140, "A6000"),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "RTX 6000 Ada"),
        ("NVIDIA A10", 23028, "A10"),
        ("NVIDIA A10G", 23028, "A10G"),
        ("NVIDIA L4", 23034, "L4"),
        ("NVIDIA L40S", 46068, "L40S"),
        ("Tesla V100-SXM2-16GB", 16384, "V100-16GB"),
        ("Tesla T4", 15360, "T4"),
    ],
)
def test_a_name_as_the_driver_reports_it(reported: str, mebibytes: int, name: str) -> None:
    gpu = gpu_reported(reported, mebibytes * 2**20)
    assert gpu is not None and gpu.name == name
    # The table's memory is a lower limit of what a card reports, ECC of the small ones aside.
    assert gpu.memory * 1e9 == pytest.approx(mebibytes * 2**20, rel=0.08)


def test_a_driver_may_report_what_the_table_does_not_know() -> None:
    assert gpu_reported("NVIDIA GeForce GTX 1060", 6e9) is None
    assert gpu_reported("Quadro RTX 6000", 24e9) is None
    assert gpu_reported("", 24e9) is None


def test_the_figures_hang_together() -> None:
    assert len({gpu.name for gpu in GPUS}) == len(GPUS)
    for gpu in GPUS:
        assert gpu.bfloat16 >= gpu.float32 > 0 and 16 <= gpu.memory <= 200, gpu.name
        assert 300 <= gpu.bandwidth <= 8000, gpu.name
    assert [gpu.name for gpu in GPUS if not gpu.has_bfloat16] == ["V100-32GB", "V100-16GB", "T4"]
    assert UNKNOWN.name == "A10"
