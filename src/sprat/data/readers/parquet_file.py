"""Parquet, column by column: numbers, text, times, and lists of one length (an array for each row).

Missing numbers become NaN (whole numbers then become float64), missing text an empty string. A time becomes seconds
since 1970 in UTC. `sprat data export` notes the shape of an array column in the field, so that it comes back as it was.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from sprat.data.table import MAX_BYTES, Column, needed
from sprat.errors import ContractError

SHAPE_KEY: Final = b"sprat.shape"


def read(path: Path) -> dict[str, Column]:
    """Return the columns by name, or raise ContractError."""
    parquet = needed("pyarrow.parquet", "Parquet", "pyarrow")
    arrow = needed("pyarrow", "Parquet", "pyarrow")
    try:
        with parquet.ParquetFile(path) as file:
            facts, schema = file.metadata, file.schema_arrow
            unpacked = max(
                sum(facts.row_group(group).total_byte_size for group in range(facts.num_row_groups)),
                8 * facts.num_rows * len(schema),  # a run of equal values shows few bytes and unpacks to many
            )
            if unpacked > MAX_BYTES or len(set(schema.names)) != len(schema):
                raise ContractError(
                    f"{len(schema)} columns of {unpacked} bytes; names must differ and {MAX_BYTES} bytes are allowed"
                )
            return {field.name: _column(arrow, file, field) for field in schema}
    except (arrow.ArrowException, OverflowError) as exc:
        raise ContractError(f"not a readable Parquet file: {' '.join(str(exc).split())[:200]}") from exc


def _column(arrow: Any, file: Any, field: Any) -> Column:
    read_ = file.read(columns=[field.name])
    if read_.num_columns != 1:
        raise ContractError(
            f"column {field.name!r} is of type {field.type}, expected numbers, text, times or lists of numbers"
        )
    values = read_.column(0).combine_chunks()
    if isinstance(values, arrow.ChunkedArray):
        values = arrow.concat_arrays(values.chunks) if values.num_chunks else arrow.array([], field.type)
    if arrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if _is_list(arrow, values.type):
        return _array(arrow, values, field)
    return _flat(arrow, values, field.name)


def _is_list(arrow: Any, kind: Any) -> bool:
    return any(is_(kind) for is_ in (arrow.types.is_list, arrow.types.is_large_list, arrow.types.is_fixed_size_list))


def _array(arrow: Any, values: Any, field: Any) -> Column:
    """Give an array column its rows; every list must have one length."""
    inside = _flat(arrow, values.flatten(), field.name)
    lengths = set(values.value_lengths().unique().to_pylist())
    if len(lengths) != 1 or None in lengths or inside.dtype.kind not in "biuf":
        raise ContractError(f"column {field.name!r}: found lists of {len(lengths)} lengths, expected numbers in one")
    noted = (field.metadata or {}).get(SHAPE_KEY)
    shape = [int(size) for size in json.loads(noted)] if noted else [lengths.pop()]
    if int(np.prod(shape)) * len(values) != inside.size or min(shape) < 0:
        raise ContractError(f"column {field.name!r}: its noted shape {shape} does not fit its lists")
    return inside.reshape(len(values), *shape)


def _flat(arrow: Any, values: Any, name: str) -> Column:
    kind = values.type
    types = arrow.types
    if types.is_timestamp(kind) or types.is_date(kind):
        micros = values.cast(arrow.timestamp("us", tz="UTC"), safe=False).cast(arrow.int64())
        return np.asarray(micros.cast(arrow.float64(), safe=False).to_numpy(zero_copy_only=False) / 1e6, np.float64)
    if types.is_string(kind) or types.is_large_string(kind):
        return np.asarray([value or "" for value in values.to_pylist()], np.str_)
    if types.is_decimal(kind):
        values = values.cast(arrow.float64())
    elif types.is_boolean(kind) and values.null_count:
        values = values.cast(arrow.uint8())
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise ContractError(f"column {name!r} is of type {kind}, expected numbers, text, times or lists of numbers")
    return np.asarray(values.to_numpy(zero_copy_only=False))
