"""ONNX Runtime on the CPU, with a bounded number of threads that do not spin."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.board import packages
from sprat_device.board.settings.runtime import RuntimeSettings
from sprat_device.contract.errors import MachineLacks
from sprat_device.inference.runtimes.raw import RawSession, RawTensor, Tensors, not_loadable, run_failed

_NAMES: Final = {
    "tensor(float16)": "float16", "tensor(float)": "float32", "tensor(double)": "float64", "tensor(int8)": "int8",
    "tensor(uint8)": "uint8", "tensor(int16)": "int16", "tensor(int32)": "int32", "tensor(int64)": "int64",
    "tensor(bool)": "bool", "tensor(string)": "string",
}  # fmt: skip
_LEVELS: Final = {
    "off": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED", "all": "ORT_ENABLE_ALL",
}  # fmt: skip


class OnnxSession:
    """A raw session over a `.onnx` file."""

    def __init__(self, session: Any, *, version: str, errors: tuple[type[Exception], ...]) -> None:
        self.version = version
        self._run = session.run
        self._errors = errors
        self.inputs = tuple(_tensor(each) for each in session.get_inputs())
        self.outputs = tuple(_tensor(each) for each in session.get_outputs())
        self._names = [each.name for each in self.outputs]

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[Any]]:
        """Run once; outputs that are no tensors (zipmap's dictionaries) are an error."""
        try:
            answers = self._run(self._names, inputs)
        except self._errors as exc:
            raise run_failed("onnx", exc) from exc
        # Labels that are texts come as an array of objects.
        plain = (np.asarray(answer, np.str_) if answer.dtype.kind == "O" else answer for answer in answers)
        return dict(zip(self._names, plain, strict=True))

    def clear(self) -> None:
        """Do nothing: an ONNX graph keeps nothing between two runs."""

    def restart(self) -> None:
        """Do nothing: an ONNX graph keeps nothing between two runs."""


def load(artifact: Path, settings: RuntimeSettings) -> RawSession:
    """Load one `.onnx` artifact."""
    onnxruntime = library()
    errors = _errors()
    found = packages.version("onnxruntime") or ""
    try:
        session = onnxruntime.InferenceSession(
            str(artifact), sess_options=_options(onnxruntime, settings), providers=["CPUExecutionProvider"]
        )
    except errors as exc:
        raise not_loadable("onnx", found, exc) from exc
    unfit = [each.name for each in (*session.get_inputs(), *session.get_outputs()) if each.type not in _NAMES]
    if unfit:
        raise not_loadable("onnx", found, TypeError(f"{unfit[0]!r} is no tensor; export without zipmap"))
    return OnnxSession(session, version=found, errors=errors)


def library() -> Any:
    """Import the package, or say what to install."""
    # From 1.29 on its Linux builds keep a database in the user's cache and tell its maker about sessions and models.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as exc:
        raise MachineLacks(f"onnx: onnxruntime cannot be imported ({exc}); install sprat-device[onnx]") from exc


def _options(onnxruntime: Any, settings: RuntimeSettings) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = settings.onnx_inter_threads
    modes = onnxruntime.ExecutionMode
    options.execution_mode = modes.ORT_PARALLEL if settings.onnx_inter_threads > 1 else modes.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[settings.onnx_optimisation])
    options.enable_cpu_mem_arena = settings.onnx_arena
    options.enable_mem_pattern = settings.onnx_memory_pattern
    options.log_severity_level = 3
    # Threads that wait in a loop would take the cores from everything else on a small board.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _errors() -> tuple[type[Exception], ...]:
    """List what ONNX Runtime raises: classes of its own, without a common base below Exception."""
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = [each for each in vars(state).values() if isinstance(each, type) and issubclass(each, Exception)]
    return (*own, ValueError, RuntimeError, TypeError)


def _tensor(each: Any) -> RawTensor:
    shape = tuple(n if isinstance(n, int) and n > 0 else -1 for n in each.shape)
    return RawTensor(name=each.name, dtype=_NAMES[each.type], shape=shape)
