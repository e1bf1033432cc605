"""A SentencePiece unigram model as Hugging Face's tokenizer.json.

Written so that the same text gives the same ids, which is more than the usual
conversion does: all of the text goes through one best path, white space is
treated by SentencePiece's rules, and a text that spells "</s>" or "<0x41>" does
not get that piece, since SentencePiece never matches these.
"""

import importlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from gtr_jax.export import fast_normalizer
from gtr_jax.files import optional

TOKENIZER_FILE = "tokenizer.json"
SETTINGS_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
VOCABULARY_FILE = "spiece.model"
_SPACE = "\u2581"
# Below any sum of pieces, so that no best path has one of them.
_NEVER = -1e6
# Classes that protobuf makes at run time; no checker of types knows them.
_schema: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
_PIECE = _schema.ModelProto.SentencePiece
# Characters of which one is in no vocabulary.
_UNKNOWN = ("\uf8ff", "\U0010fffd", "\U000ffffd")


def write(model_bytes: bytes, length: int, directory: pathlib.Path) -> None:
  """Writes tokenizer.json, its two settings files and spiece.model.

  Args:
    model_bytes: the SentencePiece model; EOS is put behind every text.
    length: tokens of a text at most, as the settings say it.
    directory: where to.

  Raises:
    ValueError: a model that is no unigram model, or one whose id 0 is that of
      unknown pieces (there it would be padding and a token).
  """
  model = _schema.ModelProto.FromString(model_bytes)
  _check(model)
  special = {
    "pad_token": _name(model, 0),
    "eos_token": _name(model, model.trainer_spec.eos_id),
    "unk_token": _name(model, model.trainer_spec.unk_id),
  }
  _tokenizer(model).save(str(directory / TOKENIZER_FILE))
  (directory / VOCABULARY_FILE).write_bytes(model_bytes)
  _write_json(directory / SPECIAL_TOKENS_FILE, special)
  _write_json(
    directory / SETTINGS_FILE,
    {
      **special,
      "clean_up_tokenization_spaces": False,
      "model_max_length": length,
      # transformers 4 adds token types unless told, which T5 does not take.
      "model_input_names": ["input_ids", "attention_mask"],
      # A text that spells "</s>" has no EOS in it.
      "split_special_tokens": True,
      "tokenizer_class": "PreTrainedTokenizerFast",
    },
  )


def _check(model: Any) -> None:
  trainer, normalizer = model.trainer_spec, model.normalizer_spec
  if trainer.model_type != _schema.TrainerSpec.UNIGRAM:
    kind = _schema.TrainerSpec.ModelType.Name(trainer.model_type)
    raise ValueError(
      f"the vocabulary is a {kind} model; only UNIGRAM ones, such as T5's,"
      " become a tokenizer.json"
    )
  if trainer.unk_id == 0:
    raise ValueError(
      "id 0 of the vocabulary is the unknown piece: other libraries would take"
      " it for a token where it is left out here; train one with --pad_id=0"
    )
  if not normalizer.escape_whitespaces or trainer.treat_whitespace_as_suffix:
    raise ValueError(
      "the vocabulary does not mark white space in front of words, which is"
      " all that becomes a tokenizer.json"
    )


def _name(model: Any, id_: int) -> str:
  return model.pieces[id_].piece


def _tokenizer(model: Any) -> Any:
  tokenizers = optional.load("tokenizers", "interop")
  trainer = model.trainer_spec
  tokenizer = tokenizers.Tokenizer(
    tokenizers.models.Unigram(
      [(piece.piece, score) for piece, score in _scores(model)],
      unk_id=trainer.unk_id,
      byte_fallback=trainer.byte_fallback,
    )
  )
  replaced, split = _disguises(model)
  tokenizer.normalizer = _normalizer(tokenizers, model, replaced)
  if split:
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
      [tokenizers.pre_tokenizers.Split(mark, "isolated") for mark in split]
    )
  eos = _name(model, trainer.eos_id)
  tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
    single=f"$A {eos}",
    pair=f"$A {eos} $B {eos}",
    special_tokens=[(eos, trainer.eos_id)],
  )
  steps = [
    tokenizers.decoders.ByteFallback(),
    tokenizers.decoders.Metaspace(_SPACE, prepend_scheme="always"),
  ]
  tokenizer.decoder = tokenizers.decoders.Sequence(steps)
  return tokenizer


def _scores(model: Any) -> list[tuple[Any, float]]:
  normal = [p.score for p in model.pieces if p.type == _PIECE.NORMAL]
  best = max(normal, default=0.0)
  return [(piece, _score(piece, best)) for piece in model.pieces]


def _score(piece: Any, best: float) -> float:
  if piece.type == _PIECE.NORMAL:
    return piece.score
  if piece.type == _PIECE.USER_DEFINED:
    return len(piece.piece) * best - 0.1  # As SentencePiece prefers them.
  return _NEVER


def _disguises(
  model: Any,
) -> tuple[Mapping[str, str], Sequence[str]]:
  """Keeps texts from matching pieces that SentencePiece does not match.

  The score of such a piece keeps it off the best path, but where one of its
  characters is unknown: that costs more.  Such a character becomes another one
  that is unknown too, or, if unknown ones are spelled in bytes, a text of its
  own.

  Returns:
    (characters and what they become, characters that stand alone)
  """
  known = {p.piece for p in model.pieces if p.type == _PIECE.NORMAL}
  spelled = {
    character
    for p in model.pieces
    if p.type not in (_PIECE.NORMAL, _PIECE.USER_DEFINED)
    for character in p.piece
  }
  marks = sorted(spelled - known)
  if model.trainer_spec.byte_fallback:
    return {}, marks
  everything = "".join(known)
  stranger = next(c for c in _UNKNOWN if c not in everything)
  return dict.fromkeys(marks, stranger), []


def _normalizer(
  tokenizers: Any, model: Any, replaced: Mapping[str, str]
) -> Any:
  """SentencePiece's normalisation, as a sequence of `tokenizers`'."""
  spec, parts = model.normalizer_spec, tokenizers.normalizers
  steps = fast_normalizer.steps(spec.precompiled_charsmap)
  if spec.remove_extra_whitespaces:
    steps.append(parts.Replace(tokenizers.Regex(" {2,}"), " "))
    edges = tokenizers.Regex(f"^ +|[ {_SPACE}]+$")
    steps.append(parts.Replace(edges, ""))
  steps += [parts.Replace(mark, other) for mark, other in replaced.items()]
  if spec.add_dummy_prefix:
    steps.append(parts.Prepend(_SPACE))
  steps.append(parts.Replace(" ", _SPACE))
  return parts.Sequence(steps)


def _write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
  path.write_text(text, encoding="utf-8")
