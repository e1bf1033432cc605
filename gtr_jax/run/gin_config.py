"""Reading gin files as T5X does, and refusing what gin takes in silence."""

import contextlib
import difflib
import inspect
import logging
import pathlib
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import gin
from gin import config as gin_internals

import gtr_jax

# In a wheel the configs lie inside the package, in a checkout beside it.
_PACKAGE = pathlib.Path(gtr_jax.__file__).parent
CONFIG_ROOT = next(
  path
  for path in (_PACKAGE / "gin_configs", _PACKAGE.parent / "gin_configs")
  if path.is_dir() or path.parent == _PACKAGE.parent
)
# What gin raises for a mistake in a config.
_MISTAKES = (ValueError, SyntaxError, TypeError, NameError, AttributeError)
_VALUE = "gtr_jax_value_of_macro"
_MACRO = re.compile(r"%([A-Z]\w*)")
_NO_PARAMETER = re.compile(
  r"Configurable '([^']*)' doesn't have a parameter named '([^']*)'"
)
_NO_CONFIGURABLE = re.compile(
  r"No configurable matching (?:reference )?'@?([^'()]*)"
)


def _value_of_macro(value: Any) -> Any:
  return value


gin.external_configurable(_value_of_macro, name=_VALUE)


def parse(
  files: Sequence[str],
  bindings: Sequence[str],
  search_paths: Iterable[str] = (),
  placeholders: Mapping[str, str] = types.MappingProxyType({}),
) -> None:
  """Reads files, then bindings, into gin.

  Args:
    files: paths or short names.
    bindings: NAME=VALUE, as on the command line.
    search_paths: folders in which files are looked for too.
    placeholders: values of macros that are required and not set.

  Raises:
    ValueError: in one line, for a file that is not found, a syntax error, an
      unknown configurable, parameter or macro (with the nearest names), a
      macro that nothing uses, or one that is still required.
  """
  gin.clear_config()
  for path in [*search_paths, str(CONFIG_ROOT)]:
    if path:
      gin.add_config_file_search_path(path)
  try:
    with _quiet():
      parsed = gin.parse_config_files_and_bindings(
        list(files), _checked(bindings), finalize_config=False
      )
  except OSError as error:
    names = ", ".join(sorted(_short_names()))
    raise ValueError(
      f"{_line(error)} Known short names: {names}" if files else _line(error)
    ) from error
  except _MISTAKES as error:
    raise ValueError(f"gin: {_line(error)}{_nearest(str(error))}") from error
  except ImportError as error:
    raise ValueError(f"gin: cannot import: {_line(error)}") from error
  _fill(placeholders)
  _refuse_strange_macros(
    _named_in_files(parsed) | set(_MACRO.findall(" ".join(bindings)))
  )


def macro_of_file(path: pathlib.Path, name: str) -> Any:
  """What a macro of a config file stands for, built.

  Raises:
    ValueError: in one line, if the file cannot be read or has no such macro.
  """
  gin.clear_config()
  try:
    gin.parse_config_file(str(path))
    if name not in macro_names():
      raise ValueError(f"it sets no {name}")
    with gin.unlock_config():
      gin.parse_config(f"{_VALUE}.value = %{name}")
    return gin.get_configurable(_VALUE)()
  except (*_MISTAKES, ImportError) as error:
    raise ValueError(f"{path}: {_line(_unwrapped(error))}") from error


def macros_of_file(path: pathlib.Path) -> dict[str, Any]:
  """What a config file sets each macro to, not built.

  Raises:
    ValueError: in one line, if the file cannot be read.
  """
  gin.clear_config()
  try:
    gin.parse_config_file(str(path))
  except (*_MISTAKES, ImportError) as error:
    raise ValueError(f"{path}: {_line(_unwrapped(error))}") from error
  return {name: macro_value(name) for name in macro_names()}


def call(function: Callable[..., Any]) -> Any:
  """Calls a function with the arguments that the config binds.

  What it raises comes as it was raised, not in gin's wrapping.
  """
  try:
    return gin.get_configurable(function)()
  except Exception as error:
    original = _unwrapped(error)
    raise original from original.__cause__


def bound_arguments(function: Callable[..., Any]) -> dict[str, Any]:
  """The arguments that the config binds, built, without the call."""
  try:
    return gin.get_bindings(function)
  except Exception as error:
    original = _unwrapped(error)
    raise original from original.__cause__


def operative_config() -> str:
  """What the run used: every binding that was in force."""
  return gin.operative_config_str(max_line_length=79)


def macro_names() -> list[str]:
  """Names of the macros that are set."""
  return sorted(
    scope
    for scope, selector in gin_internals._CONFIG
    if selector == "gin.macro"
  )


def macro_value(name: str) -> Any:
  """What a macro is set to, not built."""
  return gin_internals._CONFIG[(name, "gin.macro")].get("value")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """gin logs an error for each folder in which it does not find a file."""
  logger = logging.getLogger()
  level = logger.level
  logger.setLevel(logging.CRITICAL)
  try:
    yield
  finally:
    logger.setLevel(level)


def _checked(bindings: Sequence[str]) -> list[str]:
  for binding in bindings:
    name, equals, value = binding.partition("=")
    if not equals or not name.strip() or not value.strip():
      raise ValueError(
        f"--gin.{binding}: a binding is --gin.NAME=VALUE, such as"
        " --gin.BATCH_SIZE=256"
      )
    if "@" in value or "%" in value:
      continue  # A reference; only a whole config can tell what it names.
    try:
      gin_internals.parse_value(value.strip())
    except (SyntaxError, ValueError) as error:
      raise ValueError(
        f"--gin.{binding}: {value.strip()!r} is no gin value; strings need"
        f" quotes of their own: --gin.{name}=\"'…'\""
      ) from error
  return list(bindings)


def _fill(placeholders: Mapping[str, str]) -> None:
  for name, value in placeholders.items():
    if name in macro_names() and _is_required(macro_value(name)):
      gin.bind_parameter(
        f"{name}/macro.value", gin_internals.parse_value(value)
      )


def _named_in_files(includes: Iterable[Any]) -> set[str]:
  """Macros that files refer to, also where a later binding overrides that."""
  named = set()
  for file in includes:
    for prefix in ("", *gin_internals._LOCATION_PREFIXES):
      path = pathlib.Path(prefix, file.filename)
      if path.is_file():
        named |= set(_MACRO.findall(path.read_text()))
        break
    named |= _named_in_files(file.includes)
  return named


def _refuse_strange_macros(named: set[str]) -> None:
  """gin takes a misspelt macro in silence; here it is a mistake.

  Args:
    named: macros that something refers to, in force or overridden.
  """
  used = set(_references(list(gin_internals._CONFIG.values())))
  defined = macro_names()
  for name in defined:
    if name not in used | named:
      near = difflib.get_close_matches(name, sorted(used), 3, 0.5)
      hint = (
        f"; did you mean {' or '.join(near)}?"
        if near
        else (f"; known are {', '.join(sorted(used))}")
      )
      raise ValueError(f"gin: nothing uses the macro {name}{hint}")
  missing = sorted(
    name
    for name in used
    if name not in defined or _is_required(macro_value(name))
  )
  if missing:
    flags = " ".join(f"--gin.{name}=…" for name in missing)
    raise ValueError(f"gin: {', '.join(missing)} must be set: {flags}")


def _nearest(message: str) -> str:
  """ "; did you mean …?", where gin says that there is no such name."""
  configurables = {
    selector: configurable.wrapped
    for selector, configurable in gin_internals._REGISTRY.items()
  }
  if found := _NO_PARAMETER.search(message):
    owner, name = found.groups()
    known = [
      parameter
      for selector, wrapped in configurables.items()
      if selector.endswith(owner)
      for parameter in inspect.signature(wrapped).parameters
    ]
  elif found := _NO_CONFIGURABLE.search(message):
    name = found.group(1)
    # As users write them: the last two parts of the full name.
    known = [".".join(selector.split(".")[-2:]) for selector in configurables]
    known += [
      f"{module.__name__.split('.')[-1]}.{attribute}"
      for module in _config_modules()
      for attribute in vars(module)
      if not attribute.startswith("_")
    ]
  else:
    return ""
  near = difflib.get_close_matches(name, set(known), 3, 0.5)
  return f"; did you mean {' or '.join(near)}?" if near else ""


def _config_modules() -> list[types.ModuleType]:
  """Our own modules that a config can have imported so far."""
  return [
    module
    for name, module in list(sys.modules.items())
    if name.startswith("gtr_jax.")
  ]


def _is_required(value) -> bool:
  return (
    isinstance(value, gin_internals.ConfigurableReference)
    and value.scoped_selector == "gin.REQUIRED/gin.constant"
  )


def _references(value) -> Iterator[str]:
  """Names of all macros that a value refers to, however deep."""
  if isinstance(value, gin_internals.ConfigurableReference):
    scopes, _, selector = value.scoped_selector.rpartition("/")
    if selector == "gin.macro":
      yield scopes
  elif isinstance(value, dict):
    for item in value.values():
      yield from _references(item)
  elif isinstance(value, list | tuple):
    for item in value:
      yield from _references(item)


def _short_names() -> Iterator[str]:
  for path in CONFIG_ROOT.rglob("*.gin"):
    name = path.relative_to(CONFIG_ROOT).as_posix()
    if not name.startswith("t5x/"):  # For T5X's programs.
      yield name


def _unwrapped(error: BaseException) -> BaseException:
  """What was raised within a configurable.

  gin raises a copy of it with a page of context in the message and without
  attributes, such as the name of the file that an OSError is about.
  """
  while (
    getattr(type(error).__init__, "__module__", None) == "gin.utils"
    and error.__context__ is not None
  ):
    error = error.__context__
  return error


def _line(error: BaseException) -> str:
  return " ".join(str(error).split())
