"""Where a network is trained, tried with devices that are not there: with fakes of what torch finds."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from training.config import TrainConfig
from training.data import Dataset, Part, Split
from training.errors import TrainingError
from training.loop.batches import AT_ONCE, gathered_together, one_ahead
from training.loop.distributed import backends
from training.loop.train import Trained, begin, train
from training.networks import architecture
from training.networks.device import choose_device, describe, explained, ieee_float32

CPU = torch.device("cpu")


class Machine:
    """What torch would find on one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch

    def has(self, kind: str | None, count: int = 1, *, built: str | None = None) -> None:
        """So many accelerators of a kind, or none and a build of torch for another kind."""

        def current(check_available: bool = False) -> torch.device | None:
            name = kind if kind or check_available else built
            return torch.device(name) if name else None

        self.patch.setattr(torch.accelerator, "current_accelerator", current)
        self.patch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
        self.patch.setattr(torch.accelerator, "device_count", lambda: count if kind else 0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_gpu_and_auto_are_what_torch_finds(machine: Machine, kind: str) -> None:
    machine.has(kind)
    assert [choose_device(name) for name in ("auto", "gpu", kind)] == [torch.device(kind)] * 3
    assert choose_device("cpu") == CPU


def test_several_processes_take_a_gpu_each(machine: Machine) -> None:
    machine.has("cuda", 2)
    for name in ("auto", "gpu", "cuda"):
        assert choose_device(name, 1) == torch.device("cuda", 1)
    with pytest.raises(TrainingError, match="cuda:0 is one GPU, and several processes take one each; use cuda"):
        choose_device("cuda:0", 0)
    with pytest.raises(TrainingError, match="there is no cuda:2; the last one is cuda:1"):
        choose_device("auto", 2)
    machine.has("mps")
    assert choose_device("auto", 0) == CPU
    with pytest.raises(TrainingError, match=r"there is no GPU here: .*; use cpu or auto"):
        choose_device("gpu", 0)


@pytest.mark.parametrize("index", [2, 258])
def test_a_gpu_that_is_not_there_is_refused(machine: Machine, index: int) -> None:
    """torch takes cuda:258 for cuda:2, and cuda:256 for cuda:0."""
    machine.has("cuda", 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(TrainingError, match=f"there is no cuda:{index}; the last one is cuda:1"):
        choose_device(f"cuda:{index}")


def test_a_kind_that_is_not_there_is_refused_with_what_is(machine: Machine) -> None:
    machine.has("cuda")
    with pytest.raises(
        TrainingError, match=r"there is no xpu here: torch .* is a build for cuda, .*; use cuda or auto"
    ):
        choose_device("xpu:0")
    machine.has(None, built="cuda")
    with pytest.raises(
        TrainingError, match=r"no GPU here: torch .* is a build for cuda, and finds none; use cpu or auto"
    ):
        choose_device("gpu")
    assert describe(choose_device("auto"), torch.float32).endswith("is a build for cuda, and finds none), float32")
    machine.has(None)
    with pytest.raises(TrainingError, match=r"no cuda here: torch .* is a build for the CPU alone; use cpu or auto"):
        choose_device("cuda")
    assert describe(choose_device("auto"), torch.float32) == "cpu, float32"


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:-1", "cuda:01", "cpu:0", "GPU", ""])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(TrainingError, match=r"device: expected auto, cpu, gpu, .* or mps; found"):
        choose_device(name)


def test_gloo_joins_the_cpu_and_the_accelerator_has_its_own(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"gloo"}
    monkeypatch.setattr(torch.distributed, "is_backend_available", lambda name: name in there)
    for kind in (None, "mps"):
        machine.has(kind)
        assert backends() == "cpu:gloo"
    machine.has("cuda")
    assert backends() == "cpu:gloo,cuda:gloo"  # as on Windows
    there |= {"nccl", "xccl"}
    assert backends() == "cpu:gloo,cuda:nccl"
    machine.has("xpu")
    assert backends() == "cpu:gloo,xpu:xccl"


@pytest.mark.parametrize(
    "reported",
    [
        "CUDA out of memory. Tried to allocate 29.53 GiB. GPU 0 has a total capacity of 23.57 GiB",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 17.93 GB, other allocations: 384.00 KB, max allowed: 18.13 GB)",
        "Invalid buffer size: 37.25 GiB",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
        "Storage size calculation overflowed with sizes=[1000000000000000000, 64]",
    ],
)
def test_memory_that_is_too_small_names_what_may_help(reported: str) -> None:
    wanted = r"the memory of cuda:1 is too small for this network and data; --batch-size below 32, .*--hidden.*--device"
    with pytest.raises(TrainingError, match=wanted), explained(TrainConfig(batch_size=32), torch.device("cuda", 1)):
        raise RuntimeError(reported)


def test_other_errors_are_not_taken_for_memory() -> None:
    with pytest.raises(RuntimeError, match="device-side assert"), explained(TrainConfig(), torch.device("cuda", 1)):
        raise RuntimeError("CUDA error: device-side assert triggered")


@pytest.mark.parametrize("units", [10**18, 10**20])
def test_a_layer_beyond_all_memory_is_refused(digits: Dataset, split: Split, units: int) -> None:
    with pytest.raises(TrainingError, match="the memory of cpu is too small"):
        quick(digits, split, hidden=(units,))


def quick(digits: Dataset, split: Split, **settings: object) -> Trained:
    config = TrainConfig.model_validate({"hidden": (8,), "epochs": 1, "device": "cpu", **settings})
    return train(config, digits, split, lambda _: None)


class Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how often a tensor's value is read, for which the host waits for a GPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "settings", [{}, {"noise": "learned"}, {"dropout": "learned", "noise": "learned"}, {"precision": "bfloat16"}]
)
def test_a_pass_waits_for_the_device_once(settings: dict[str, Any]) -> None:
    """For its loss, at the end: not at each of its six steps."""
    inputs = np.random.default_rng(0).normal(size=(96, 3)).astype(np.float32)
    data = Dataset("sums", inputs, inputs.sum(axis=1, keepdims=True), ("a", "b", "c"), (), one_unit=False)
    config = TrainConfig.model_validate({"hidden": (8,), "batch_size": 16, **settings})
    run, _ = begin(config, data, Part(data.inputs, data.targets), CPU)
    with Reads() as reads:
        run.one_pass()
    assert reads.count == 1


def test_products_of_float32_are_in_float32() -> None:
    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision
    assert before == "tf32"  # torch's default, without which this would show nothing
    with ieee_float32():
        assert [cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision] == ["ieee", "ieee"]
    assert cudnn.conv.fp32_precision == cudnn.rnn.fp32_precision == before
    assert cudnn.allow_tf32  # read by torch itself, and refused where the two differ


def test_validation_takes_no_more_rows_at_once_than_a_step(digits: Dataset, split: Split) -> None:
    seen: list[int] = []
    config = TrainConfig(hidden=(8,), batch_size=16)
    run, _ = begin(config, digits, split.train, CPU)
    run.network.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    rows = torch.from_numpy(split.validation.inputs), torch.from_numpy(split.validation.targets)
    loss, score, _ = run.validate(rows)
    assert max(seen) <= 17
    assert sum(seen) == len(rows[0])
    with torch.no_grad():
        answers = run.network(rows[0])
    assert loss == pytest.approx(nn.functional.cross_entropy(answers, rows[1]).item(), rel=1e-5)
    assert score == pytest.approx((answers.argmax(dim=1) == rows[1]).float().mean().item())


@pytest.mark.parametrize(("pixels", "batch", "together"), [(8, 64, AT_ONCE), (224, 64, 2), (4096, 64, 1)])
def test_batches_gathered_together_are_bounded_in_bytes(pixels: int, batch: int, together: int) -> None:
    with FakeTensorMode():
        inputs = torch.zeros(1000, 1, pixels, pixels)
    found = gathered_together(inputs, batch)
    assert found == together


def test_the_next_set_is_there_before_one_is_used() -> None:
    done: list[str] = []

    def made() -> Iterator[int]:
        for number in range(3):
            done.append(f"made {number}")
            yield number

    done.extend(f"used {number}" for number in one_ahead(made()))
    assert done == ["made 0", "made 1", "used 0", "made 2", "used 1", "used 2"]
    assert list(one_ahead([])) == []


class Scaled(nn.Module):
    """By a tensor that is neither parameter nor buffer, and stays where it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 8), nn.Dropout(0.5), nn.Linear(8, 10))
        self.scale = torch.ones(64)

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.layers(rows * self.scale)
        return out


class Buffered(Scaled):
    """The same, as it should be."""

    def __init__(self) -> None:
        super().__init__()
        del self.scale
        self.register_buffer("scale", torch.ones(64))


class Counting(Buffered):
    """Cannot be differentiated: it goes through numpy."""

    def forward(self, rows: Tensor) -> Tensor:
        return torch.from_numpy(super().forward(rows).numpy())


def test_a_module_is_tried_where_it_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the device meta have no values, and meet none of the CPU's."""
    monkeypatch.setattr(architecture, "random_states", lambda _: [])
    monkeypatch.setattr(architecture, "restore_random", lambda *_: None)
    meta, rows = torch.device("meta"), torch.ones(4, 64)
    with pytest.raises(
        TrainingError, match=r"module own:net: answers on the CPU, and fails .* on meta .*register_buffer"
    ):
        architecture.check_trains(Scaled().to(meta), rows, meta, torch.float32, "module own:net")
    architecture.check_trains(Buffered().to(meta), rows, meta, torch.float32, "module own:net")


def test_a_module_that_cannot_be_differentiated_is_refused(digits: Dataset, split: Split) -> None:
    with pytest.raises(
        TrainingError, match=r"Counting: answers on the CPU, and fails in a training step on cpu in float32"
    ):
        quick(digits, split, module=f"{__name__}:Counting")


def test_trying_a_module_changes_nothing(digits: Dataset, split: Split) -> None:
    network = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 10)).eval()
    before, state = {name: value.clone() for name, value in network.state_dict().items()}, torch.get_rng_state()
    architecture.check_trains(network, torch.from_numpy(split.train.inputs), CPU, torch.float32, "net")
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
