"""Python sources → what is written in them for people, read with `ast`.

Nothing is imported or run.
"""

import ast
import os
import re
import threading
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMMENT = re.compile(r"(\s*)#+:? ?(.*)")
_PARSING = threading.Lock()
MIN_TEXT_CHARACTERS = 200  # of a string in a table that counts as a document
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

Node = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Definition:
  """A module, class or function and the texts around it.

  Attributes:
    module: dotted name of its module, such as json.decoder.
    name: its name inside the module, dotted; empty for the module itself.
    docstring: as written, or empty.
    parameters: of a function, without self and cls.
    comment: the block of comments right above it, or empty.
    remarks: blocks of comments inside it, not those of inner definitions.
    messages: of the exceptions that it raises.
  """

  module: str
  name: str
  docstring: str
  parameters: tuple[str, ...] = ()
  comment: str = ""
  remarks: tuple[str, ...] = ()
  messages: tuple[str, ...] = ()

  @property
  def full_name(self) -> str:
    return f"{self.module}.{self.name}".rstrip(".")


@dataclass(frozen=True)
class _Scope:
  """A definition's place in its source.

  Attributes:
    lines: of its decorators and itself, from 1.
    statements: simple ones, those of inner scopes left out.
  """

  name: str
  node: Node
  lines: range
  statements: list[ast.stmt]


def find_files(root: Path, skipped: frozenset[str]) -> list[Path]:
  """Sources below `root`, sorted; nothing that has a name in `skipped`."""
  found = []
  for folder, folders, files in os.walk(root):
    folders[:] = sorted(set(folders) - skipped)
    found += [
      Path(folder, file)
      for file in files
      if file.endswith(".py") and file.removesuffix(".py") not in skipped
    ]
  return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def module_name(path: Path, root: Path) -> str:
  parts = path.relative_to(root).with_suffix("").parts
  return ".".join(part for part in parts if part != "__init__")


def read_definitions(path: Path, root: Path) -> list[Definition]:
  """Definitions of a source, outer before inner; none if it does not parse."""
  try:
    with tokenize.open(path) as file:
      source = file.read()
    # Python 3.11 counts the depth of all threads' trees together and fails; the
    # filters of warnings are those of all threads too.
    with _PARSING, warnings.catch_warnings(action="ignore"):  # invalid escapes
      tree = ast.parse(source)
  except (OSError, SyntaxError, ValueError, RecursionError):
    return []
  lines = source.split("\n")
  module = module_name(path, root)
  scopes = list(_scopes(tree, "", range(1, len(lines) + 1)))
  above, inside = _place_comments(scopes, lines)
  found = [
    Definition(
      module=module,
      name=scope.name,
      docstring=ast.get_docstring(scope.node, clean=False) or "",
      parameters=_parameters(scope.node),
      comment=above.get(scope.name, ""),
      remarks=tuple(inside.get(scope.name, ())),
      messages=tuple(_messages(scope.statements)),
    )
    for scope in scopes
  ]
  return found + list(_table_texts(scopes[0].statements, module))


def _scopes(node: Node, name: str, lines: range) -> Iterator[_Scope]:
  """The scope of a node, then all those inside it."""
  statements: list[ast.stmt] = []
  inner: list[ast.stmt] = []
  _sort_statements(node.body, statements, inner)
  yield _Scope(name, node, lines, statements)
  for child in inner:
    if isinstance(child, (ast.ClassDef, *FUNCTIONS)):
      decorators = [decorator.lineno for decorator in child.decorator_list]
      first = min([child.lineno, *decorators])
      child_lines = range(first, (child.end_lineno or first) + 1)
      child_name = f"{name}.{child.name}".lstrip(".")
      yield from _scopes(child, child_name, child_lines)


def _sort_statements(
  body: list[ast.stmt], simple: list[ast.stmt], scopes: list[ast.stmt]
) -> None:
  """Sorts statements and those in their blocks; expressions are not walked."""
  for node in body:
    if isinstance(node, (ast.ClassDef, *FUNCTIONS)):
      scopes.append(node)
      continue
    blocks = [
      block
      for owner in (node, *getattr(node, "handlers", ()))
      for name in ("body", "orelse", "finalbody")
      if (block := getattr(owner, name, None))
    ]
    blocks += [case.body for case in getattr(node, "cases", ())]
    for block in blocks:
      _sort_statements(block, simple, scopes)
    if not blocks:
      simple.append(node)


def _parameters(node: Node) -> tuple[str, ...]:
  if not isinstance(node, FUNCTIONS):
    return ()
  arguments = node.args
  every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
  return tuple(a.arg for a in every if a.arg not in ("self", "cls"))


def _messages(statements: list[ast.stmt]) -> Iterator[str]:
  """Texts of raised exceptions, without the values formatted into them."""
  for node in statements:
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
      for argument in node.exc.args:
        yield " ".join(
          part.value
          for part in ast.walk(argument)
          if isinstance(part, ast.Constant) and isinstance(part.value, str)
        )


def _table_texts(
  statements: list[ast.stmt], module: str
) -> Iterator[Definition]:
  """Long texts in tables, such as the language reference in `pydoc_data`."""
  for node in statements:
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Dict):
      continue
    for key, value in zip(node.value.keys, node.value.values, strict=True):
      if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
        text = value.value
        if isinstance(text, str) and len(text) >= MIN_TEXT_CHARACTERS:
          yield Definition(module, str(key.value), text)


def _place_comments(
  scopes: list[_Scope], lines: list[str]
) -> tuple[dict[str, str], dict[str, list[str]]]:
  """Blocks of comments by the name of the scope below them or around them."""
  owners = [""] * (len(lines) + 2)
  inner_lines: set[int] = set()  # a string there may look like a comment
  for scope in scopes:  # inner scopes come later and overwrite outer ones
    owners[scope.lines.start : scope.lines.stop] = [scope.name] * len(
      scope.lines
    )
    for node in scope.statements:
      inner_lines.update(range(node.lineno + 1, (node.end_lineno or 0) + 1))
  below = {scope.lines.start: scope.name for scope in scopes[1:]}
  above: dict[str, str] = {}
  inside: dict[str, list[str]] = {}
  for last_line, text in _comments(lines, inner_lines):
    if last_line + 1 in below:
      above[below[last_line + 1]] = text
    else:
      inside.setdefault(owners[last_line], []).append(text)
  return above, inside


def _comments(
  lines: list[str], inner_lines: set[int]
) -> Iterator[tuple[int, str]]:
  """Last line and text of every run of comment lines of one indent."""
  run: list[str] = []
  indent = ""
  for number, line in enumerate([*lines, ""], start=1):
    match = None if number in inner_lines else COMMENT.fullmatch(line)
    if run and (match is None or match[1] != indent):
      yield number - 1, "\n".join(run)
      run = []
    if match:
      indent = match[1]
      run.append(match[2])
