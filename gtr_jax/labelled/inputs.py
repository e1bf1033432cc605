"""Which file is what: by its name, in a folder or named one by one."""

import pathlib
import re
from collections.abc import Mapping, Sequence

from gtr_jax.files import streams

# Role: what a file's name looks like, without .gz and the like.
Patterns = Mapping[str, str]
Files = dict[str, list[pathlib.Path]]


def find(
  inputs: Sequence[str | pathlib.Path],
  in_folder: Patterns,
  by_name: Patterns,
  due: str,
) -> Files:
  """The files of each role.

  Args:
    inputs: folders and files.
    in_folder: files that are taken from a folder; others in it are not looked
      at.
    by_name: files that are named by the user.
    due: what an error says was due.

  Raises:
    ValueError: nothing there, a file of no known name, two files for one
      passage of the data.
  """
  found: Files = {}
  for path in map(pathlib.Path, inputs):
    if path.is_dir():
      _take_folder(path, in_folder, found, due)
    elif not path.exists():
      raise ValueError(f"{path}: no such file or folder: check the path")
    else:
      role = role_of(path, by_name)
      if role is None:
        raise ValueError(
          f"{path}: its name does not tell what it is: due were {due}"
        )
      _add(found, role, path)
  return found


def role_of(path: pathlib.Path, patterns: Patterns) -> str | None:
  name = streams.stem(path)
  matching = (r for r, form in patterns.items() if re.fullmatch(form, name))
  return next(matching, None)


def single(files: Files, role: str, due: str) -> pathlib.Path:
  """The one file of a role.

  Raises:
    ValueError: there is none, or several.
  """
  paths = files.get(role, [])
  if len(paths) == 1:
    return paths[0]
  if not paths:
    raise ValueError(f"there is no file of {role}: {due}")
  raise ValueError(
    f"{paths[0]} and {paths[1]} both hold {role}: name the one to take"
  )


def optional(files: Files, role: str) -> pathlib.Path | None:
  return single(files, role, "") if files.get(role) else None


def listed(
  inputs: Sequence[str | pathlib.Path], ending: str
) -> list[pathlib.Path]:
  """Files that are named, and those of folders whose names end so.

  Raises:
    ValueError: no such file, or a folder without one; a file without a byte, or
      named twice.
  """
  found: list[pathlib.Path] = []
  for path in map(pathlib.Path, inputs):
    if path.is_dir():
      files = [p for p in sorted(path.iterdir()) if p.is_file()]
      files = [p for p in files if streams.stem(p).endswith(ending)]
      if not files:
        raise ValueError(f"{path}: holds no {ending} file: one was due")
      found += files
    elif path.exists():
      found.append(path)
    else:
      raise ValueError(f"{path}: no such file or folder: check the path")
  seen: dict[pathlib.Path, pathlib.Path] = {}
  for path in found:
    whole = path.resolve()
    if whole in seen:
      raise ValueError(
        f"{path}: is the same file as {seen[whole]}: name it once"
      )
    if path.is_file() and not path.stat().st_size:
      raise ValueError(f"{path}:1: the file is empty: copy it again")
    seen[whole] = path
  return found


def _take_folder(
  folder: pathlib.Path, patterns: Patterns, found: Files, due: str
) -> None:
  before = sum(map(len, found.values()))
  for path in sorted(folder.iterdir()):
    role = role_of(path, patterns) if path.is_file() else None
    if role is not None:
      _add(found, role, path)
  if sum(map(len, found.values())) == before:
    raise ValueError(f"{folder}: holds none of the files that were due: {due}")


def _add(found: Files, role: str, path: pathlib.Path) -> None:
  paths = found.setdefault(role, [])
  if path not in paths:
    paths.append(path)
