"""The interpreter that tflite-runtime and LiteRT share: one API, two packages, kernels of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy.typing as npt

from sprat_device.board.settings.runtime import RuntimeSettings
from sprat_device.contract.errors import MachineLacks
from sprat_device.inference.runtimes.raw import RawSession, RawTensor, Tensors, dtype_name, not_loadable, run_failed

# What the interpreters raise for a file they cannot parse, an operator they lack and a kernel that fails.
_ERRORS = (ValueError, RuntimeError, TypeError, OSError)


class InterpreterSession:
    """A raw session over a `.tflite` file; the batch stays what the artifact fixed."""

    def __init__(self, make: Callable[[], Any], *, runtime: str, version: str) -> None:
        self.version = version
        self._runtime = runtime
        self._make = make
        self._interpreter = interpreter = make()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        names_in, names_out = _signature(interpreter)
        self.inputs = tuple(_tensor(detail, names_in) for detail in inputs)
        self.outputs = tuple(_tensor(detail, names_out) for detail in outputs)
        self._input_places = [(detail["name"], detail["index"]) for detail in inputs]
        self._output_places = [(detail["name"], detail["index"]) for detail in outputs]

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[Any]]:
        """Run once; copies go in and out, since the interpreter's own memory must not be held across a run."""
        interpreter = self._interpreter
        try:
            for name, place in self._input_places:
                interpreter.set_tensor(place, inputs[name])
            interpreter.invoke()
            return {name: interpreter.get_tensor(place) for name, place in self._output_places}
        except _ERRORS as exc:
            raise run_failed(self._runtime, exc) from exc

    def clear(self) -> None:
        """Empty the variable tensors of kernels such as a fused LSTM."""
        try:
            self._interpreter.reset_all_variables()
        except _ERRORS as exc:
            raise run_failed(self._runtime, exc) from exc

    def restart(self) -> None:
        """Begin with a new interpreter: `reset_all_variables` leaves a stream's resource variables as they are."""
        self._interpreter = self._make()


def load(library: Any, artifact: Path, settings: RuntimeSettings, *, runtime: str, version: str) -> RawSession:
    """Build an interpreter and its tensors; MachineLacks where XNNPACK was asked for and takes no kernel."""
    kinds = library.OpResolverType
    kind = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if settings.xnnpack == "off" else kinds.AUTO

    def ready() -> Any:
        try:
            interpreter = library.Interpreter(
                model_path=str(artifact), num_threads=settings.threads, experimental_op_resolver_type=kind
            )
            interpreter.allocate_tensors()
        except _ERRORS as exc:
            raise not_loadable(runtime, version, exc) from exc
        if settings.xnnpack == "on" and not _delegated(interpreter):
            raise MachineLacks(
                f"runtime.xnnpack: on, but {runtime} {version} gives none of this artifact's kernels to XNNPACK; "
                "set it to auto"
            )
        return interpreter

    return InterpreterSession(ready, runtime=runtime, version=version)


def _delegated(interpreter: Any) -> bool:
    return any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())  # there is no public way to tell


def _tensor(detail: dict[str, Any], aliases: dict[int, str]) -> RawTensor:
    # The allocated shape has 1 where the signature leaves a dimension open.
    open_shape = detail.get("shape_signature", ())
    shape = open_shape if len(open_shape) == len(detail["shape"]) else detail["shape"]
    scale, zero_point = detail["quantization"]
    return RawTensor(
        name=detail["name"],
        dtype=dtype_name(detail["dtype"]),
        shape=tuple(int(n) for n in shape),
        scale=float(scale),
        zero_point=int(zero_point),
        alias=aliases.get(detail["index"], ""),
    )


def _signature(interpreter: Any) -> tuple[dict[int, str], dict[int, str]]:
    """Map tensor places to the names of the only signature; an artifact may have none."""
    signatures = interpreter._get_full_signature_list()  # the public list leaves the places out
    if len(signatures) != 1:
        return {}, {}
    (signature,) = signatures.values()
    return tuple({place: name for name, place in signature[side].items()} for side in ("inputs", "outputs"))  # type: ignore[return-value]
