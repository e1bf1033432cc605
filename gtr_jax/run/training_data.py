"""The batches of a stage, as gin binds them."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

from gtr_jax.data import examples, mixing_rates, packed, pipeline, task_names
from gtr_jax.data import vocabulary as vocabulary_lib
from gtr_jax.files import lines
from gtr_jax.run import model_directory, other_libraries
from gtr_jax.tasks import catalogue
from gtr_jax.types import TowerName

TrainingBatches = pipeline.PairBatches | packed.PackedBatches


@dataclasses.dataclass(frozen=True)
class TrainingData:
  """Where the pairs come from and how a batch is made of them.

  Attributes:
    task: an embedded task, a SeqIO task or mixture, or JSONL paths; several
      names are mixed by their sizes, a mapping gives their rates.
    feature_lengths: tokens a text: {"query": 64, "passage": 256}.
    batch_size: queries of the global batch.
    num_negatives: hard negatives a query; a row with fewer is padded.
    vocab_size: rows of the model's token table.
    vocabulary: path of a SentencePiece model; None takes the initial
      checkpoint's, or trains one on the data.
    query_prompt: put before every query.
    passage_prompt: put before every passage.
    on_bad_line: "error" stops at a bad line, "skip" counts and reports.
    packing: whether texts share rows; the loss is the same.
    packed_lengths: tokens of a packed row, by tower; None takes those of a
      text at most.
    homogeneous_batches: whether every batch of a mixture is of one task.
    mixture_temperature: T of rates by size, n^(1/T).
    mixture_maximum: most pairs that a task counts as; None: no limit.
    task_prompts: of tasks with prompts of their own: {name: (query, passage)}.
    data_dir: folder of the tasks that have names; None takes the environment's
      GTR_DATA_DIR.
    examples_dir: where tokenised examples are kept, for several models perhaps;
      None takes the model directory.
  """

  task: mixing_rates.Tasks
  feature_lengths: Mapping[str, int]
  batch_size: int
  num_negatives: int
  vocab_size: int
  vocabulary: str | None = None
  query_prompt: str = ""
  passage_prompt: str = ""
  on_bad_line: lines.OnBadLine = "error"
  packing: bool = False
  packed_lengths: Mapping[TowerName, int] | None = None
  homogeneous_batches: bool = False
  mixture_temperature: float = 1.0
  mixture_maximum: int | None = None
  task_prompts: Mapping[str, mixing_rates.Prompts] = dataclasses.field(
    default_factory=dict
  )
  data_dir: str | None = None
  examples_dir: str | None = None

  def open(
    self,
    directory: pathlib.Path,
    seed: int,
    inherited: pathlib.Path | None,
    say: Callable[[str], None],
    share: tuple[int, int] = (0, 1),
    num_devices: int = 1,
  ) -> tuple[TrainingBatches, vocabulary_lib.Tokenizer]:
    """Batches of this process, and the tokenizer.

    Examples are kept in the directory; the tokenizer is the caller's to save,
    once it is known that the run may go on there.

    Args:
      directory: the model directory.
      seed: of the order, and of the choice of positives and negatives.
      inherited: a vocabulary folder, or a SentencePiece model, to use where
        `vocabulary` is None.
      say: takes lines for the user.
      share: which part of each global batch is this process's, of how many.
      num_devices: among which each global batch is divided.

    Raises:
      ValueError: for bad data, or a vocabulary that does not fit the model or
        the one that this directory was trained with.
    """
    kept = self.examples_dir or directory / "examples"
    data, tokenizer = examples.open_tasks(
      self.task,
      examples.Opening(
        lengths=self.feature_lengths,
        vocab_size=self.vocab_size,
        directory=pathlib.Path(kept).expanduser(),
        query_prompt=self.query_prompt,
        passage_prompt=self.passage_prompt,
        names=self.names(),
        on_bad_line=self.on_bad_line,
        report=say,
      ),
      self._tokenizer(directory, inherited),
      self.mixing(),
    )
    if tokenizer.vocab_size > self.vocab_size:
      raise ValueError(
        f"the vocabulary has {tokenizer.vocab_size} pieces, the model"
        f" {self.vocab_size} rows; set NUM_EMBEDDINGS to at least as many"
      )
    batches = pipeline.PairBatches(
      data,
      batch_size=self.batch_size,
      num_negatives=self.num_negatives,
      seed=seed,
      process_index=share[0],
      process_count=share[1],
    )
    if not self.packing:
      return batches, tokenizer
    return packed.PackedBatches(
      batches, num_devices, self.packed_lengths, report=say
    ), tokenizer

  def names(self) -> task_names.Names:
    """Tasks and mixtures by their names."""
    return catalogue.names(self.data_dir)

  def mixing(self) -> mixing_rates.Mixing:
    """How several tasks become batches."""
    return mixing_rates.Mixing(
      homogeneous=self.homogeneous_batches,
      temperature=self.mixture_temperature,
      maximum=self.mixture_maximum,
      prompts=self.task_prompts,
    )

  def _tokenizer(
    self, directory: pathlib.Path, inherited: pathlib.Path | None
  ) -> vocabulary_lib.Tokenizer | None:
    """The one asked for, checked against the one trained with so far."""
    own = directory / model_directory.VOCABULARY
    # Without the settings, which come last, a save was cut short.
    is_whole = (own / vocabulary_lib.SETTINGS_FILE).is_file()
    before = vocabulary_lib.load_directory(own) if is_whole else None
    if self.vocabulary is None:
      if before is None and inherited is not None:
        before = (
          vocabulary_lib.load_directory(inherited)
          if inherited.is_dir()
          else other_libraries.inherited_tokenizer(inherited)
        )
      return before and vocabulary_lib.Tokenizer(
        before.model_bytes,
        self.query_prompt or before.query_prompt,
        self.passage_prompt or before.passage_prompt,
      )
    asked = vocabulary_lib.load(
      self.vocabulary, self.query_prompt, self.passage_prompt
    )
    if before is not None and asked.sha256 != before.sha256:
      raise ValueError(
        f"{self.vocabulary}: is another vocabulary than {own}, with which this"
        " model was trained; choose another MODEL_DIR"
      )
    return asked
