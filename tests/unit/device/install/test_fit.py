import pytest

from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import Reason
from sprat_device.contract.release import Release
from sprat_device.install.fit import Machine, at_least, choose_runtime, require_fit

RELEASE = Release(ModelName("digits"), "generic", 1, "sig", {"litert": "2.0", "tflite": "2.14"}, (), 100, 100)
BOARD = Machine("aarch64", 400_000, {"tflite": "2.14.0", "litert": "2.3.0"}, ("litert", "tflite"))


@pytest.mark.parametrize(
    ("found", "least", "answer"),
    [("2.14.0", "2.14", True), ("2.9", "2.14", False), ("2.14.1+cpu3", "2.14.1", True), ("3", "2.14.9", True)],
)
def test_versions_are_compared_by_number(found: str, least: str, answer: bool) -> None:
    assert at_least(found, least) is answer


def test_the_runtime_that_the_device_likes_best() -> None:
    assert choose_runtime({"tflite": "2.14", "litert": "2.0"}, BOARD) == "litert"
    assert choose_runtime({"tflite": "2.14", "litert": "9"}, BOARD) == "tflite"


def test_a_lacking_runtime_is_named_with_what_is_there() -> None:
    with pytest.raises(
        BundleRefused, match=r"needs onnx >= 1.31, this device has tflite 2.14.0, litert 2.3.0"
    ) as caught:
        choose_runtime({"onnx": "1.31"}, BOARD)
    assert caught.value.reason is Reason.WRONG_RUNTIME


def test_disk_that_is_too_full() -> None:
    with pytest.raises(BundleRefused) as caught:
        require_fit(RELEASE, BOARD, free_kib=99, missing_kib=100)
    assert caught.value.reason is Reason.NO_FLASH
    assert require_fit(RELEASE, BOARD, free_kib=100, missing_kib=100) == "litert"
