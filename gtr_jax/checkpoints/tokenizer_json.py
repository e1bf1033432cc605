"""The SentencePiece model that a T5 tokenizer.json was made of.

transformers 5 saves no spiece.model.  Pieces, scores and the normalisation's
table are in tokenizer.json too; what T5's models are set to does the rest.
"""

import base64
import binascii
import importlib
import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

FILE = "tokenizer.json"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, IndexError)


def sentence_piece(path: pathlib.Path) -> bytes:
  """A SentencePiece model with the ids of a unigram tokenizer.json.

  Special tokens become control pieces, which no text spells; those at the end,
  T5's <extra_id_0> and others, are left out, as they are in T5's own model.
  Texts are read by SentencePiece's own rules, as T5X reads them.

  Raises:
    ValueError: no such file, a broken one, or another kind of tokenizer.
  """
  try:
    content = json.loads(path.read_bytes())
    kind = content["model"]["type"]
    if kind == "Unigram":
      return _model(content).SerializeToString()
  except (*_MALFORMED, OSError, binascii.Error) as error:
    raise ValueError(
      f"{path}: broken or cut, no tokenizer ({error!r:.200})"
    ) from None
  raise ValueError(
    f"{path}: holds a {kind} tokenizer, T5's are Unigram; give the"
    " SentencePiece model with --vocabulary"
  )


def _model(content: Mapping[str, Any]) -> Any:
  # Classes that protobuf makes at run time; no checker of types knows them.
  schema: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
  model, kinds = schema.ModelProto(), schema.ModelProto.SentencePiece
  stored = content["model"]
  unknown, bytes_too = stored["unk_id"], stored.get("byte_fallback", False)
  special = {
    token["content"] for token in content["added_tokens"] if token["special"]
  }
  eos, vocab = _eos(content), stored["vocab"]
  size = max(n for n, (piece, _) in enumerate(vocab) if piece not in special)
  for number, (piece, score) in enumerate(vocab[: size + 1]):
    kind = kinds.NORMAL
    if number == unknown:
      kind = kinds.UNKNOWN
    elif piece in special or number in (0, eos):
      kind = kinds.CONTROL
    elif bytes_too and _BYTE.fullmatch(piece):
      kind = kinds.BYTE
    model.pieces.add(piece=piece, score=score, type=kind)
  trainer = model.trainer_spec
  trainer.model_type = schema.TrainerSpec.UNIGRAM
  trainer.vocab_size = len(model.pieces)
  trainer.byte_fallback = bytes_too
  trainer.pad_id, trainer.eos_id, trainer.unk_id = 0, eos, unknown
  trainer.pad_piece = model.pieces[0].piece
  trainer.eos_piece = model.pieces[eos].piece
  trainer.unk_piece = model.pieces[unknown].piece
  trainer.bos_id = -1
  normalizer = model.normalizer_spec
  normalizer.name = "nmt_nfkc"
  for table in _tables(content.get("normalizer")):
    normalizer.precompiled_charsmap = table
  normalizer.add_dummy_prefix = True
  normalizer.remove_extra_whitespaces = True
  normalizer.escape_whitespaces = True
  return model


def _eos(content: Mapping[str, Any]) -> int:
  """The id that the template puts behind a text."""
  template = content["post_processor"]
  name = template["single"][-1]["SpecialToken"]["id"]
  return int(template["special_tokens"][name]["ids"][0])


def _tables(normalizer: Mapping[str, Any] | None) -> Iterator[bytes]:
  """The normalisation's table, wherever it is among the steps."""
  if normalizer is None:
    return
  if normalizer["type"] == "Precompiled":
    yield base64.b64decode(normalizer["precompiled_charsmap"], validate=True)
  for step in normalizer.get("normalizers", ()):
    yield from _tables(step)
