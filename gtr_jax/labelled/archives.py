"""Archives as they are downloaded: .tar.gz files, unpacked once."""

import pathlib
import shutil
import tarfile
import zlib
from collections.abc import Sequence

from gtr_jax.files import folders, lines, whole
from gtr_jax.labelled import text_store_writer

_MARKER = ".unpacked"
_ENDINGS = (".tar.gz", ".tgz", ".tar")


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
  try:
    with tarfile.open(path, "r|*") as archive:
      for member in archive:
        content = archive.extractfile(member) if member.isfile() else None
        name = pathlib.PurePosixPath(member.name).name
        if content is None or name.startswith("."):
          continue
        if (folder / name).exists():
          raise lines.BadLineError(f"{path}: holds two files named {name}")
        with (folder / name).open("wb") as stream:
          shutil.copyfileobj(content, stream, 1 << 20)
  except (tarfile.TarError, EOFError, zlib.error) as error:
    raise lines.BadLineError(
      f"{path}: the archive is broken ({error}): copy the file again"
    ) from None
  except OSError as error:
    if error.errno is not None:  # The disk's, not the archive's.
      raise
    raise lines.BadLineError(
      f"{path}: the archive is broken ({error}): copy the file again"
    ) from None
  whole.write(folder / _MARKER, b"")
