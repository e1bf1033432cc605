"""Archives as they are downloaded, .tar.gz and .zip, unpacked once."""

import pathlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from gtr_jax.files import folders, lines, whole
from gtr_jax.labelled import text_store_writer

_MARKER = ".unpacked"
_ENDINGS = (".tar.gz", ".tgz", ".tar", ".zip")
_PIECE_BYTES = 1 << 20


def unpacked(
  paths: Sequence[str | pathlib.Path], cache: pathlib.Path
) -> list[pathlib.Path]:
  """The paths, with archives replaced by the folders of their files.

  Only plain files are taken, by their last name, so nothing is written anywhere
  else.

  Raises:
    lines.BadLineError: an archive is cut or damaged.
  """
  return [
    _unpack(path, cache)
    if path.name.endswith(_ENDINGS) and path.is_file()
    else path
    for path in map(pathlib.Path, paths)
  ]


def _unpack(path: pathlib.Path, cache: pathlib.Path) -> pathlib.Path:
  facts = {"archive": text_store_writer.file_facts(path)}
  folder = cache / text_store_writer.fingerprint_of(facts) / path.name
  folders.make_once(folder, _MARKER, lambda empty: _extract(path, empty))
  return folder


def _extract(path: pathlib.Path, folder: pathlib.Path) -> None:
  members = _of_zip(path) if path.suffix == ".zip" else _of_tar(path)
  try:
    for member, content in members:
      name = pathlib.PurePosixPath(member).name
      if not name or name.startswith("."):
        continue
      if (folder / name).exists():
        raise lines.BadLineError(
          f"{path}: holds two files named {name}: unpack it, and name the files"
        )
      with (folder / name).open("wb") as stream:
        shutil.copyfileobj(content, stream, _PIECE_BYTES)
  except (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # A way to compress that zipfile does not know.
    RuntimeError,  # A password.
  ) as error:
    raise _broken(path, error) from None
  except OSError as error:
    if error.errno is not None:  # The disk's, not the archive's.
      raise
    raise _broken(path, error) from None
  whole.write(folder / _MARKER, b"")


def _broken(path: pathlib.Path, error: Exception) -> lines.BadLineError:
  return lines.BadLineError(
    f"{path}: the archive is broken ({error}): copy the file again"
  )


def _of_tar(path: pathlib.Path) -> Iterator[tuple[str, IO[bytes]]]:
  """Names and contents of plain files, in one reading."""
  with tarfile.open(path, "r|*") as archive:
    for member in archive:
      content = archive.extractfile(member) if member.isfile() else None
      if content is not None:
        yield member.name, content


def _of_zip(path: pathlib.Path) -> Iterator[tuple[str, IO[bytes]]]:
  with zipfile.ZipFile(path) as archive:
    for member in archive.infolist():
      if not member.is_dir():
        with archive.open(member) as content:
          yield member.filename, content
