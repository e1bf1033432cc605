"""The language of a text, by CLD2: its tables are inside the library."""

import re
from collections.abc import Iterable
from typing import Any

from gtr_jax.files import optional

UNKNOWN = ""
MAX_CHARACTERS = 2000  # What follows in a text is not looked at.

# What CLD2 refuses: control characters, half characters, noncharacters.
_REFUSED = re.compile(
  "[\\x00-\\x08\\x0b\\x0e-\\x1f\\x7f-\\x9f\\ud800-\\udfff\\ufdd0-\\ufdef"
  "\\ufffe\\uffff"
  + "".join(
    f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}"
    for plane in range(1, 17)
  )
  + "]"
)


def detect(texts: Iterable[str]) -> list[str]:
  """ISO 639 codes ("en"); "" where the text is too short or mixed to tell.

  Raises:
    ValueError: pycld2 is not installed.
  """
  library = optional.load("pycld2", "data")
  return [_detect(library, text) for text in texts]


def check(codes: Iterable[str]) -> None:
  """Raises ValueError unless `detect` may return each of these codes."""
  known = {
    _primary(code) for _, code in optional.load("pycld2", "data").LANGUAGES
  }
  for code in codes:
    if code not in known:
      raise ValueError(
        f"no language has the code {code!r}: give ISO 639 codes, as en or de"
      )


def _detect(library: Any, text: str) -> str:
  plain = _REFUSED.sub(" ", text[:MAX_CHARACTERS])
  is_reliable, _, found = library.detect(plain, isPlainText=True)
  code = _primary(found[0][1])
  # Codes that begin with x name a script, or play: there is no such language.
  named = is_reliable and code != "un" and not code.startswith(("xx", "zz"))
  return code if named else UNKNOWN


def _primary(code: str) -> str:
  """The language of a code that names a script too: zh of zh-Hant."""
  return code.split("-")[0]
