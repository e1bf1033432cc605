"""The memory of `gtr import`, beside the files that it reads.

A T5 1.1 encoder of random numbers is written in Hugging Face's format, in
several files, and imported by a process of its own that is watched: `RssAnon`
of /proc, the pages that are its own, and `VmHWM`, with those of files that it
has mapped.  The defaults are XXL's: 9 GB are written and as many read.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

import ml_dtypes
import numpy as np
from safetensors import numpy as safetensors

from benchmarks import runner

_MIB = 2**20
_VOCAB_SIZE = 32128
_HEAD_DIM = 64
_DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}
_INDEX = "model.safetensors.index.json"


def main(arguments: Sequence[str] | None = None) -> None:
  flags = argparse.ArgumentParser(description=__doc__)
  flags.add_argument("--layers", type=int, default=24)
  flags.add_argument("--width", type=int, default=4096)
  flags.add_argument("--mlp_dim", type=int, default=10240)
  flags.add_argument("--dtype", choices=tuple(_DTYPES), default="bfloat16")
  flags.add_argument("--shard_mib", type=int, default=2048)
  flags.add_argument("--folder", help="of the files; deleted at the end")
  options = flags.parse_args(arguments)
  with tempfile.TemporaryDirectory(dir=options.folder) as folder:
    theirs = pathlib.Path(folder, "theirs")
    files = _write(theirs, options)
    start = time.perf_counter()
    peaks = _watch(
      [sys.executable, "-m", "gtr_jax.run.main", "import", "--unchecked"]
      + ["--format=huggingface", f"--checkpoint={theirs}"]
      + [f"--output={folder}/model", "--initialize_missing"]
    )
  runner.show(
    "import: memory",
    peaks["RssAnon"] / _MIB,
    "MiB",
    with_pages_of_files=peaks["VmHWM"] / _MIB,
    largest_file=max(files) / _MIB,
    all_files=sum(files) / _MIB,
    seconds=time.perf_counter() - start,
    dtype=options.dtype,
  )


def _write(folder: pathlib.Path, options: argparse.Namespace) -> list[int]:
  """Writes the folder, one file after the other; their sizes in bytes."""
  folder.mkdir()
  shapes = _shapes(options.layers, options.width, options.mlp_dim)
  dtype = np.dtype(_DTYPES[options.dtype])
  places, sizes = {}, []
  numbers = np.random.default_rng(0).standard_normal(2**22, np.float32)
  numbers = numbers.astype(dtype)
  for number, part in enumerate(
    _parts(shapes, dtype.itemsize, options.shard_mib * _MIB)
  ):
    file = folder / f"model-{number:05d}.safetensors"
    arrays = {name: np.resize(numbers, shape) for name, shape in part.items()}
    safetensors.save_file(arrays, file, metadata={"format": "pt"})
    places |= dict.fromkeys(part, file.name)
    sizes.append(file.stat().st_size)
  (folder / _INDEX).write_text(json.dumps({"weight_map": places}))
  config = {"model_type": "t5", "feed_forward_proj": "gated-gelu"}
  (folder / "config.json").write_text(json.dumps(config))
  return sizes


def _shapes(
  layers: int, width: int, mlp_dim: int
) -> dict[str, tuple[int, ...]]:
  attention, mlp = "layer.0.SelfAttention", "layer.1.DenseReluDense"
  positions = f"encoder.block.0.{attention}.relative_attention_bias.weight"
  shapes: dict[str, tuple[int, ...]] = {
    "shared.weight": (_VOCAB_SIZE, width),
    positions: (32, width // _HEAD_DIM),
    "encoder.final_layer_norm.weight": (width,),
  }
  for layer in range(layers):
    block = f"encoder.block.{layer}"
    shapes |= {f"{block}.{attention}.{x}.weight": (width,) * 2 for x in "qkvo"}
    shapes |= {f"{block}.layer.{x}.layer_norm.weight": (width,) for x in (0, 1)}
    shapes |= {f"{block}.{mlp}.wi_{x}.weight": (mlp_dim, width) for x in (0, 1)}
    shapes[f"{block}.{mlp}.wo.weight"] = (width, mlp_dim)
  return shapes


def _parts(
  shapes: Mapping[str, tuple[int, ...]], itemsize: int, most: int
) -> Iterator[dict[str, tuple[int, ...]]]:
  """Arrays of one file each, in order, as transformers cuts them."""
  part, size = {}, 0
  for name, shape in shapes.items():
    added = math.prod(shape) * itemsize
    if part and size + added > most:
      yield part
      part, size = {}, 0
    part[name] = shape
    size += added
  yield part


def _watch(command: Sequence[str]) -> dict[str, int]:
  """The most bytes of each kind while a command runs.

  Raises:
    CalledProcessError: it fails.
  """
  peaks = {"RssAnon": 0, "VmHWM": 0}
  with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
    status = pathlib.Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
      lines = (line.split() for line in status.read_text().splitlines())
      found = {words[0].rstrip(":"): words[1:] for words in lines if words}
      for name in peaks.keys() & found.keys():
        peaks[name] = max(peaks[name], int(found[name][0]) * 1024)
      time.sleep(0.01)
  if process.returncode:
    raise subprocess.CalledProcessError(process.returncode, command)
  return peaks


if __name__ == "__main__":
  main()
