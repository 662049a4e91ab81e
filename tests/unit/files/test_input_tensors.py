"""Inputs that are made on this machine: random values, arrays in files, images."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarking.errors import CaseError
from benchmarking.files import arrays, input_tensors
from benchmarking.specs.expand import InputBlob
from benchmarking.specs.model import ImageSpec, RandomSpec
from benchmarking.specs.tensor_types import NUMPY_NAMES, RANGES, is_whole


def drawn(shape=(1000,), type_="float", name="data", **random):
    return input_tensors.made(InputBlob(name, shape, type_, random=RandomSpec(**random)), None)


def read(path, shape, type_="float", image=None):
    return input_tensors.made(InputBlob("data", shape, type_, image=image and ImageSpec(**image)), path)


# --- random values ------------------------------------------------------------------------------------------


def test_values_hang_on_the_seed_and_the_name_only(monkeypatch):
    first = drawn((10, 7), seed=3)
    assert np.array_equal(first, drawn((10, 7), seed=3))
    assert not np.array_equal(first, drawn((10, 7), seed=4))
    assert not np.array_equal(first, drawn((10, 7), seed=3, name="other"))
    monkeypatch.setattr(input_tensors, "BLOCK", 16)
    assert np.array_equal(first, drawn((10, 7), seed=3))
    assert first.dtype == np.float32
    assert drawn((2,), "double", seed=7).tolist() == [0.36114486402149726, 0.0015017194570690062]
    assert drawn((3,), "int", seed=7, minimum=0, maximum=1000).tolist() == [373, 968, 673]


@pytest.mark.parametrize("type_", [name for name in RANGES if is_whole(name) and name != "bool"])
def test_whole_numbers_reach_both_ends_of_their_range(type_):
    low, high = RANGES[type_]
    few = drawn(type_=type_, minimum=high - 1, maximum=high)
    assert {*few.tolist()} == {high - 1, high}
    every = drawn(type_=type_, minimum=low, maximum=high)
    assert every.dtype == NUMPY_NAMES[type_]
    assert every.min() < low / 2 + high / 8


def test_other_distributions():
    assert {*drawn(type_="bool").tolist()} == {False, True}
    uniform = drawn(minimum=-2, maximum=5)
    assert -2 <= uniform.min() < -1.5
    assert 4.5 < uniform.max() <= 5
    normal = drawn((100_000,), type_="double", distribution="normal", mean=3, deviation=2)
    assert (normal.mean(), normal.std()) == (pytest.approx(3, abs=0.05), pytest.approx(2, abs=0.05))
    bounded = drawn(distribution="normal", minimum=-1, maximum=1)
    assert (bounded.min(), bounded.max()) == (-1, 1)
    assert np.isfinite(drawn(type_="float16", distribution="normal", deviation=60_000)).all()
    assert drawn(()).shape == ()


# --- arrays -------------------------------------------------------------------------------------------------


def test_an_array_that_is_fed_as_it_is_stays_where_it_is(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    assert read(tmp_path / "x.npy", (2, 3)) is None
    (tmp_path / "x.txt").write_text("1 2 3")
    assert read(tmp_path / "x.txt", (3,)) is None


def test_arrays_are_brought_into_type_and_shape(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6))
    assert read(tmp_path / "x.npy", (2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read(tmp_path / "x.npy", (6,), "uint8_t").dtype == np.uint8
    np.savez_compressed(tmp_path / "x.npz", data=np.ones(2), other=np.zeros(3))
    assert read(tmp_path / "x.npz", (2,)).tolist() == [1, 1]
    np.savez(tmp_path / "one.npz", np.array(["a", "bc"]))
    assert read(tmp_path / "one.npz", (2,), "string").tolist() == ["a", "bc"]


def npz(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def damaged(compression):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("a.npy", bytes(range(256)) * 40)
    content = stream.getvalue()
    at = content.index(b"a.npy") + len("a.npy") + 12
    return content[:at] + b"\xa5" * 28 + content[at + 28 :]


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


HUGE = b"\x93NUMPY\x01\x00v\x00" + (
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }".ljust(117) + b"\n"
)


@pytest.mark.parametrize(
    ("content", "type_", "problem"),
    [
        (npy(np.zeros(3)), "float", "it has 3 values of the shape .3.; 'data' of the shape .2. needs 2"),
        (npy(np.array(["a", "b"])), "float", "it contains <U1, but 'data' takes float"),
        (npy(np.zeros(2)), "string", "it contains float64, but 'data' takes string"),
        (npy(np.array([1, 300])), "uint8_t", "not whole numbers from 0 to 255"),
        (npy(np.array([1, 0.5])), "int", "not whole numbers from"),
        (npy(np.array([1, np.nan])), "int64_t", "not whole numbers from"),
        (npy(np.array([1, 2.0**63])), "int64_t", "not whole numbers from"),
        (npy(np.array([1, 2.0**31])), "int", "not whole numbers from"),
        (npy(np.array([1, 1e39])), "float", "it contains values that float does not hold"),
        (npy(np.array([-65536, 1])), "float16", "it contains values that float16 does not hold"),
        (npy(np.array([1j, 2j])), "float", "it contains complex128"),
        (
            npy(np.array([print, 2], dtype=object)),
            "float",
            "NumPy cannot read it: Object arrays cannot be loaded",
        ),
        (HUGE, "float", "NumPy cannot read it"),
        (npz(a=b"", b=b""), "float", "it has the arrays 'a', 'b', and none is called 'data'"),
        (npz(), "float", "it has the arrays none"),
        (npz(a=HUGE), "float", "NumPy cannot read it"),
        (npz(a=npy(np.zeros(2)))[:-9], "float", "it is not an .npz file"),
        (b"PK" + bytes(100), "float", "it is not an .npz file"),
        (damaged(zipfile.ZIP_DEFLATED), "float", "it is not an .npz file"),
        (damaged(zipfile.ZIP_BZIP2), "float", "it is not an .npz file"),
        (damaged(zipfile.ZIP_LZMA), "float", "it is not an .npz file"),
    ],
)
def test_what_is_not_the_array_is_one_line(tmp_path, content, type_, problem):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(CaseError, match=problem) as caught:
        read(path, (2,), type_)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_values_at_the_ends_of_a_type_are_fed_as_they_are(tmp_path):
    np.save(tmp_path / "x.npy", np.array([np.inf, np.nan, -65504]))
    np.testing.assert_array_equal(read(tmp_path / "x.npy", (3,), "float16"), [np.inf, np.nan, -65504])
    np.save(tmp_path / "y.npy", np.array([2**63 - 1, -(2**63)], dtype=object).astype(np.int64).reshape(1, 2))
    assert read(tmp_path / "y.npy", (2,), "int64_t").tolist() == [2**63 - 1, -(2**63)]


def test_what_an_archive_unpacks_to_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "LARGEST_BYTES", 1000)
    path = tmp_path / "x.npz"
    path.write_bytes(npz(a=npy(np.zeros(500))))
    with pytest.raises(CaseError, match="an array in it is larger than 1,000 bytes"):
        read(path, (500,))
    path.write_bytes(npy(np.zeros(500)))
    with pytest.raises(CaseError, match="it is larger than 1,000 bytes"):
        read(path, (500,))


# --- images -------------------------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path):
    """Left red, right blue; 4 x 2 pixels."""
    image = Image.new("RGB", (4, 2), (255, 0, 0))
    image.paste((0, 0, 255), (2, 0, 4, 2))
    image.save(tmp_path / "x.png")
    return tmp_path / "x.png"


def test_an_image_in_every_layout(picture):
    chw = read(picture, (1, 3, 2, 4), image={"layout": "NCHW"})
    assert chw.dtype == np.float32
    assert chw[0, 0].tolist() == [[1, 1, 0, 0]] * 2
    assert chw[0, 2].tolist() == [[0, 0, 1, 1]] * 2
    hwc = read(picture, (2, 4, 3), image={"layout": "HWC"})
    assert np.array_equal(hwc.transpose(2, 0, 1), chw[0])
    bgr = read(picture, (3, 2, 4), image={"layout": "CHW", "colors": "BGR"})
    assert np.array_equal(bgr[::-1], chw[0])
    grey = read(picture, (1, 1, 2, 4), image={"layout": "NCHW"})
    assert np.unique(grey).tolist() == pytest.approx([0.114, 0.299], abs=0.005)


def test_the_values_of_pixels(picture):
    raw = read(picture, (1, 2, 4, 3), "uint8_t", image={"layout": "NHWC"})
    assert raw[0, 0].tolist() == [[255, 0, 0]] * 2 + [[0, 0, 255]] * 2
    normal = read(
        picture,
        (1, 3, 2, 4),
        image={"layout": "NCHW", "white": 255, "mean": [5, 0, 55], "std": [2, 1, 4]},
    )
    assert normal[0, :, 0, 0].tolist() == [125, 0, -13.75]
    assert normal[0, :, 0, 3].tolist() == [-2.5, 0, 50]


def test_an_image_is_stretched_or_cropped(picture):
    stretched = read(picture, (3, 2, 2), image={"layout": "CHW"})
    assert stretched[0, 0].tolist() == pytest.approx([1, 0], abs=0.2)
    cropped = read(picture, (3, 2, 2), image={"layout": "CHW", "resize": "crop"})
    assert cropped[0].tolist() == [[1, 0], [1, 0]]


def png_of(width, height):
    """A few bytes that say that they are an image of that size."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(10))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (png_of(100_000, 100_000), "not an image that can be read|more than"),
        (png_of(10_000, 8_000), "it has more than 67,108,864 pixels"),
        (png_of(100, 100), "not an image that can be read"),
        (b"GIF89a" + bytes(50), "not an image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image that can be read"),
        (b"", "not an image that can be read"),
    ],
)
def test_what_is_not_an_image_is_one_line(tmp_path, content, problem):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(CaseError, match=problem) as caught:
        read(path, (3, 2, 2), image={"layout": "CHW"})
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_are_one_line_or_fine(tmp_path_factory, data):
    stream = io.BytesIO()
    Image.new("RGB", (4, 2)).save(stream, data.draw(st.sampled_from(input_tensors.IMAGE_FORMATS)))
    whole = bytearray(
        data.draw(st.sampled_from([npy(np.zeros(24)), npz(a=npy(np.zeros(24))), stream.getvalue()]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("inputs") / "x"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    for image in (None, {"layout": "CHW"}):
        try:
            read(path, (3, 2, 4), image=image)
        except CaseError as error:
            assert "\n" not in str(error)
