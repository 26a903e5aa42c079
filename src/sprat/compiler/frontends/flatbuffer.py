"""What a `.tflite` says of itself, read in the worker process: a hostile file may crash its parser.

A file may come without a signature (its tensors' own names are used), with several outputs, and with state between runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sprat.compiler.frontends import outputs
from sprat.compiler.frontends.states import MEMORIES, VARIABLES
from sprat.compiler.workers.work import Lowered, TensorFacts
from sprat.errors import SpratError

MAX_SIZE: Final = 512 * 1024 * 1024


class Unreadable(SpratError):
    """The file is no `.tflite` that this project handles; the message says why."""

    exit_code = 2


def open_file(artifact: bytes, *, reference: bool = False) -> Any:
    """Return an interpreter with its tensors allocated, on TensorFlow's optimised or reference kernels; Unreadable says why not."""
    if artifact[4:8] != b"TFL3":
        raise Unreadable(f"not a .tflite: its mark is {artifact[4:8]!r}, expected b'TFL3'")
    if len(artifact) > MAX_SIZE:
        raise Unreadable(f".tflite of {len(artifact)} bytes, at most {MAX_SIZE} are read")
    kinds = tf.lite.experimental.OpResolverType
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tf.lite.Interpreter announces its successor on every use
            interpreter = tf.lite.Interpreter(
                model_content=artifact,
                experimental_op_resolver_type=kinds.BUILTIN_REF
                if reference
                else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as exc:
        raise Unreadable(f"no interpreter takes this .tflite ({' '.join(str(exc).split())[:200]})") from exc
    return interpreter


def lowered(artifact: bytes, options: Mapping[str, Any]) -> Lowered:
    """Read inputs, outputs and operators; Unreadable for a file that leaves a dimension open or has many signatures."""
    interpreter = open_file(artifact)
    ins, outs = places(interpreter)
    return Lowered(
        artifact,
        tuple(_facts(detail, ins) for detail in interpreter.get_input_details()),
        tuple(_facts(detail, outs) for detail in interpreter.get_output_details()),
        options,
        ops(interpreter),
        quantized=quantized(interpreter),
    )


def run(
    interpreter: Any, inputs: Mapping[str, npt.NDArray[Any]], answer: tuple[str, ...] = (), *, beside: str = ""
) -> npt.NDArray[Any]:
    """Run rows [n, ...] one by one and return the answers [n, width] in their unit, float32, without what stands beside them."""
    ins, outs = places(interpreter)
    feeds = [(ins.get(one["index"], one["name"]), one) for one in interpreter.get_input_details()]
    takes = [(outs.get(one["index"], one["name"]), one) for one in interpreter.get_output_details()]
    rows = []
    for row in range(len(next(iter(inputs.values())))):
        for name, detail in feeds:
            interpreter.set_tensor(detail["index"], _quantized(inputs[name][row : row + 1], detail))
        interpreter.invoke()
        found = {name: _in_unit(interpreter.get_tensor(one["index"]), one) for name, one in takes}
        rows.append(outputs.joined(found, answer, beside=beside))
    return np.concatenate(rows)


def _quantized(batch: npt.NDArray[Any], detail: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Return a reading as the tensor takes it, in the same steps as the device does it."""
    scale, zero_point = detail["quantization"]
    if not scale:
        return batch.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    steps = np.rint(np.asarray(batch, np.float32) / np.float32(scale) + np.float32(zero_point))
    tensor: npt.NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(detail["dtype"])
    return tensor


def _in_unit(tensor: npt.NDArray[Any], detail: Mapping[str, Any]) -> npt.NDArray[Any]:
    scale, zero_point = detail["quantization"]
    if not scale:
        return tensor.astype(np.float32)
    return (tensor.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def output_names(interpreter: Any) -> list[str]:
    """Return the names of the outputs: the signature's, or the tensors' own."""
    _, outs = places(interpreter)
    return [outs.get(one["index"], one["name"]) for one in interpreter.get_output_details()]


def is_stateful(interpreter: Any) -> bool:
    """Tell whether a run begins where the last one ended."""
    return bool((VARIABLES | MEMORIES) & set(ops(interpreter)))


def ops(interpreter: Any) -> tuple[str, ...]:
    """Return the operators in use."""
    return tuple(sorted({op["op_name"] for op in interpreter._get_ops_details()}))


def quantized(interpreter: Any) -> int:
    """Count the tensors that hold fewer bits than float32: quantized ones, and float16 weights."""
    return sum(
        1
        for detail in interpreter.get_tensor_details()
        if detail["dtype"] is np.float16 or len(detail["quantization_parameters"]["scales"])
    )


def places(interpreter: Any) -> tuple[dict[int, str], dict[int, str]]:
    """Return the names of inputs and of outputs by tensor index: the only signature's, or none where there is none."""
    signatures = interpreter._get_full_signature_list()  # the public list leaves the places out
    if len(signatures) > 1:
        names = ", ".join(sorted(signatures))
        raise Unreadable(
            f"the .tflite has {len(signatures)} signatures ({names}), expected one; export one of them alone"
        )
    if not signatures:
        return {}, {}
    (signature,) = signatures.values()
    named = [{place: name for name, place in signature[side].items()} for side in ("inputs", "outputs")]
    return named[0], named[1]


def _facts(detail: Mapping[str, Any], names: Mapping[int, str]) -> TensorFacts:
    name = names.get(detail["index"], detail["name"])
    # The allocated shape has 1 where the file leaves a dimension open; only the batch may be open.
    said = [int(size) for size in detail["shape_signature"]]
    open_places = [place for place, size in enumerate(said) if place and size < 1]
    if open_places:
        raise Unreadable(
            f"tensor {name!r} leaves dimension {open_places[0]} of {said} open; export the model with a fixed shape"
        )
    return TensorFacts(
        name=name,
        dtype=np.dtype(detail["dtype"]).name,
        shape=tuple(int(n) for n in detail["shape"]),
        scale=float(detail["quantization"][0]),
        zero_point=int(detail["quantization"][1]),
    )
