"""safetensors written array by array, as the library and transformers read."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from gtr_jax.export import safetensors_files

library = pytest.importorskip(
  "safetensors.numpy", reason="needs the extra interop"
)
Part = safetensors_files.Part
TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_the_library_reads_what_is_written(tmp_path):
  path = tmp_path / "model.safetensors"
  scalar = jnp.float32(2.5)
  parts = {
    "table": Part(TABLE),
    "kernel": Part(jnp.asarray(TABLE), is_transposed=True),
    "a scalar": Part(scalar),
    "ünïcode": Part(TABLE[0]),
    "none": Part(np.zeros((0, 3), np.float32), is_transposed=True),
  }
  safetensors_files.write(path, parts)
  read = library.load_file(path)
  assert read.keys() == parts.keys()
  np.testing.assert_array_equal(read["table"], TABLE)
  np.testing.assert_array_equal(read["kernel"], TABLE.T)
  assert read["a scalar"] == 2.5 and read["none"].shape == (3, 0)
  content = path.read_bytes()
  size = int.from_bytes(content[:8], "little")
  assert size % 8 == 0
  header = json.loads(content[8 : 8 + size])
  assert header["__metadata__"] == {"format": "pt"}
  assert path.stat().st_mode & 0o044  # As any file, for others to read.
  assert list(tmp_path.iterdir()) == [path]


def test_bfloat16_keeps_its_bits(tmp_path):
  path = tmp_path / "model.safetensors"
  low = jnp.asarray(TABLE / 7, jnp.bfloat16)
  safetensors_files.write(path, {"low": Part(low, is_transposed=True)})
  content = path.read_bytes()
  size = int.from_bytes(content[:8], "little")
  assert json.loads(content[8 : 8 + size])["low"] == {
    "dtype": "BF16",
    "shape": [3, 4],
    "data_offsets": [0, 24],
  }
  read = np.frombuffer(content[8 + size :], jnp.bfloat16).reshape(3, 4)
  np.testing.assert_array_equal(read, np.asarray(low).T)


def test_many_arrays_are_several_files_and_an_index(tmp_path):
  parts = {f"part {number}": Part(TABLE + number) for number in range(5)}
  # Two fit; an array larger than a file has one for itself.
  parts["large"] = Part(np.ones((9, 9), np.float32))
  path = tmp_path / "model.safetensors"
  safetensors_files.write(path, parts, max_bytes=2 * TABLE.nbytes)
  names = [f"model-{n:05}-of-00004.safetensors" for n in (1, 2, 3, 4)]
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    *names,
    "model.safetensors.index.json",
  ]
  index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
  assert index["metadata"]["total_size"] == 5 * TABLE.nbytes + 81 * 4
  assert list(index["weight_map"].values()) == [
    *(names[n // 2] for n in range(5)),
    names[3],
  ]
  for name, part in parts.items():
    read = library.load_file(tmp_path / index["weight_map"][name])
    np.testing.assert_array_equal(read[name], part.array)
