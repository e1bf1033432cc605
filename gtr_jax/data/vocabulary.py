"""Text to token ids and back, by the `sentencepiece` library.

Works without TensorFlow.  Ids are those of the SentencePiece model with EOS at
the end; id 0 is padding and never stands for a piece of a text.
"""

import hashlib
import heapq
import io
import json
import pathlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import sentencepiece

from gtr_jax.files import whole
from gtr_jax.types import TowerName

PAD_ID = 0
MODEL_FILE = "sentencepiece.model"
SETTINGS_FILE = "tokenizer.json"


# Not frozen: `types.TokenRows` has `vocab_size` as a plain attribute.
@dataclass(eq=False)
class Tokenizer:
  """A SentencePiece model with a prompt for each tower.

  Attributes:
    model_bytes: the model file's content.
    query_prompt, passage_prompt: text put before every text of that tower.
    vocab_size: pieces in the model; ids are below it.

  Raises:
    ValueError: not a SentencePiece model, one without EOS, or one whose id 0
      is an ordinary piece.  Id 0 may be a control piece (T5's <pad>) or
      <unk> (SentencePiece's own default); then what is unknown is left out
      of the ids, so that nothing in a text becomes padding.
  """

  model_bytes: bytes = field(repr=False)
  query_prompt: str = ""
  passage_prompt: str = ""
  vocab_size: int = field(init=False)
  _processor: sentencepiece.SentencePieceProcessor = field(
    init=False, repr=False
  )

  def __post_init__(self):
    self._processor = _processor(self.model_bytes)
    self.vocab_size = self._processor.vocab_size()

  @property
  def eos_id(self) -> int:
    return self._processor.eos_id()

  @property
  def sha256(self) -> str:
    """Of the model file; names the vocabulary, without the prompts."""
    return hashlib.sha256(self.model_bytes).hexdigest()

  def agrees_with(self, other: "Tokenizer") -> bool:
    """Whether the same id is the same piece in both, as far as both go."""
    shared = range(min(self.vocab_size, other.vocab_size))
    pieces = self._processor.id_to_piece(list(shared))
    return (
      pieces == other._processor.id_to_piece(list(shared))
      and self.eos_id == other.eos_id
    )

  def encode(
    self, texts: Sequence[str], length: int, tower: TowerName
  ) -> tuple[list[np.ndarray], int]:
    """Token ids of each text: int32 [at most length], the last one EOS.

    Args:
      texts: an empty one becomes EOS alone (after its prompt, if any).
      length: most tokens a text may have, prompt and EOS included.
      tower: whose prompt to put first.

    Returns:
      One row a text, and how many texts were cut to fit.
    """
    if length < 1:
      raise ValueError(f"length is {length}: give 1 token or more, EOS is one")
    prompt = self._prompt(tower)
    if prompt:
      texts = [prompt + text for text in texts]
    rows, num_cut, eos = [], 0, self.eos_id
    for ids in _encode_batch(self._processor, texts):
      if PAD_ID in ids:
        ids = [token for token in ids if token != PAD_ID]
      num_cut += len(ids) >= length
      rows.append(np.array([*ids[: length - 1], eos], np.int32))
    return rows, num_cut

  def decode(self, ids: Sequence[int] | np.ndarray) -> str:
    """The text of token ids; padding and EOS say nothing."""
    silent = (PAD_ID, self.eos_id)
    return self._processor.decode(
      [int(token) for token in ids if token not in silent]
    )

  def _prompt(self, tower: TowerName) -> str:
    if tower not in ("query", "passage"):
      raise ValueError(f"tower is {tower!r}: it is 'query' or 'passage'")
    return self.query_prompt if tower == "query" else self.passage_prompt


def load(
  path: str | pathlib.Path, query_prompt: str = "", passage_prompt: str = ""
) -> Tokenizer:
  """The tokenizer of any SentencePiece model file, such as T5's."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise ValueError(
      f"{path}: no such vocabulary: give a SentencePiece model file"
    )
  try:
    return Tokenizer(path.read_bytes(), query_prompt, passage_prompt)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None


def train(
  texts: Iterable[str],
  vocab_size: int,
  *,
  seed: int = 0,
  max_characters: int = 10_000_000,
  query_prompt: str = "",
  passage_prompt: str = "",
) -> Tokenizer:
  """A unigram model of texts, laid out as T5's: pad 0, EOS 1, unknown 2.

  Characters that the model does not know become bytes, so any text survives
  `decode(encode(text))`; the 256 bytes count in `vocab_size`.  The same texts
  and seed give the same model.

  Args:
    texts: read once; only a sample is held in memory.
    vocab_size: pieces at most; little text gives fewer.
    seed: of the sample.
    max_characters: size of the sample, of texts cut to their first 1,000.

  Source: Kudo, 2018 (https://arxiv.org/abs/1804.10959).
  """
  sample = _sample(texts, max_characters, seed)
  if not any(text.strip() for text in sample):
    raise ValueError("no text to train a vocabulary from: give texts")
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(sample),
      model_writer=model,
      model_type="unigram",
      vocab_size=vocab_size,
      hard_vocab_limit=False,
      byte_fallback=True,
      pad_id=PAD_ID,
      eos_id=1,
      unk_id=2,
      bos_id=-1,
      # Sums over threads round differently for another number of threads.
      num_threads=1,
      minloglevel=2,
    )
  except RuntimeError as error:
    reason = str(error).rpartition("]")[2].strip()  # After the C++ place.
    raise ValueError(
      f"no vocabulary of {vocab_size} pieces from this text: {reason or error}"
    ) from None
  return Tokenizer(model.getvalue(), query_prompt, passage_prompt)


def save(tokenizer: Tokenizer, directory: str | pathlib.Path) -> None:
  """Writes the two files that `load_directory` reads.

  The settings come last and name the model by its hash: a save cut short is
  found out, not half read.
  """
  directory = pathlib.Path(directory)
  settings = {
    "query_prompt": tokenizer.query_prompt,
    "passage_prompt": tokenizer.passage_prompt,
    "sha256": tokenizer.sha256,
  }
  whole.write(directory / MODEL_FILE, tokenizer.model_bytes)
  whole.write(
    directory / SETTINGS_FILE, (json.dumps(settings, indent=2) + "\n").encode()
  )


def load_directory(directory: str | pathlib.Path) -> Tokenizer:
  """The tokenizer that `save` wrote, prompts included."""
  path = pathlib.Path(directory) / SETTINGS_FILE
  try:
    settings = json.loads(path.read_text())
    prompts = settings["query_prompt"], settings["passage_prompt"]
    sha256 = settings["sha256"]
  except FileNotFoundError:
    raise ValueError(
      f"{path}: no such file: give the vocabulary folder of a model"
    ) from None
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(f"{path}: not a tokenizer's settings ({error})") from None
  tokenizer = load(path.with_name(MODEL_FILE), *prompts)
  if tokenizer.sha256 != sha256:
    raise ValueError(
      f"{path}: names another {MODEL_FILE} than the one beside it: copy both"
      " files again"
    )
  return tokenizer


def pad(rows: Sequence[np.ndarray], length: int) -> np.ndarray:
  """Rows of ids as one array, int32 [n, length], zeros behind each."""
  padded = np.zeros((len(rows), length), np.int32)
  for row, ids in zip(padded, rows, strict=True):
    if len(ids) > length:
      raise ValueError(
        f"a row has {len(ids)} tokens where {length} fit: encode it with"
        f" length={length}"
      )
    row[: len(ids)] = ids
  return padded


# In characters: at four bytes each they still pass SentencePiece's limit of
# 4,192 bytes, beyond which it leaves a text out without a word.
_MAX_TRAINING_TEXT = 1_000


def _sample(texts: Iterable[str], max_characters: int, seed: int) -> list[str]:
  """Texts of lowest random rank that fit into `max_characters`, in order."""
  ranks = random.Random(seed)
  kept: list[tuple[float, int, str]] = []  # A heap: the highest rank on top.
  num_characters = 0
  for position, text in enumerate(texts):
    text = text[:_MAX_TRAINING_TEXT]
    heapq.heappush(kept, (-ranks.random(), position, text))
    num_characters += len(text)
    while num_characters > max_characters and len(kept) > 1:
      num_characters -= len(heapq.heappop(kept)[2])
  return [text for _, _, text in sorted(kept, key=lambda entry: entry[1])]


def _processor(
  model_bytes: bytes,
) -> sentencepiece.SentencePieceProcessor:
  not_a_model = "not a SentencePiece model: give a .model file, such as T5's"
  # The library takes an empty model without a word and fails much later.
  if not model_bytes:
    raise ValueError(not_a_model)
  try:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
  except RuntimeError:
    raise ValueError(not_a_model) from None
  if processor.eos_id() < 0:
    raise ValueError(
      "the model has no EOS piece, every text ends with one: train it with"
      " --eos_id"
    )
  in_no_text = (
    processor.is_control(PAD_ID)
    or processor.is_unused(PAD_ID)
    or processor.is_unknown(PAD_ID)
  )
  if processor.eos_id() == PAD_ID or not in_no_text:
    raise ValueError(
      f"id 0 of the model is {processor.id_to_piece(PAD_ID)!r}, id 0 must be"
      " padding: train it with --pad_id=0"
    )
  return processor


def _encode_batch(
  processor: sentencepiece.SentencePieceProcessor, texts: Sequence[str]
) -> list[list[int]]:
  try:
    return processor.encode(list(texts), out_type=int)
  except TypeError:
    raise ValueError(
      "a text is no string, or holds half of a character (a lone surrogate):"
      " give valid Unicode text"
    ) from None
