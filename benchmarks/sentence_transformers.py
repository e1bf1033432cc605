"""The same model by sentence-transformers, as its users run it.

T5's encoder, mean pooling, a dense layer, unit length: the modules of its GTR
models.  `encode` reads texts; a train step is that of its trainer: the data
collator's padded batch, MultipleNegativesRankingLoss, clipped gradients, AdamW.
"""

import pathlib
import tempfile
from collections.abc import Callable

import sentence_transformers
import torch
import transformers
from sentence_transformers.sentence_transformer import (
  data_collator,
  losses,
  modules,
)

from benchmarks import peer, texts, training
from gtr_jax.data import vocabulary


def main() -> None:
  options = peer.flags().parse_args()
  torch.set_num_threads(options.threads)
  torch.manual_seed(0)
  tokens = texts.tokenizer(options.vocabulary)
  size = texts.fitting(training.SIZES[options.size], tokens)
  cases = work(size, tokens, options.batch_size, options.texts)
  version = sentence_transformers.__version__
  name = f"sentence-transformers {version}, torch {torch.__version__}"
  peer.serve(name, cases)


def work(
  size: training.Size,
  tokens: vocabulary.Tokenizer,
  batch_size: int | None,
  num_texts: int,
) -> dict[str, Callable[[], object]]:
  """A train step on texts, and encoding of passages."""
  model = _model(size, tokens)
  optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
  loss = losses.MultipleNegativesRankingLoss(model)
  trained = texts.pairs(size, batch_size or size.batch_size, tokens)
  collate = data_collator.SentenceTransformerDataCollator(model.preprocess)
  batch = collate(
    [
      {"query": query, "passage": passage}
      for query, passage in zip(*trained.values(), strict=True)
    ]
  )
  columns = [
    {
      name.removeprefix(f"{column}_"): tensor
      for name, tensor in batch.items()
      if name.startswith(f"{column}_")
    }
    for column in trained
  ]
  passages = texts.pairs(size, num_texts, tokens)["passage"]

  def step() -> None:
    model.train()
    optimizer.zero_grad()
    loss(columns, None).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()

  return {
    "pairs": step,
    "texts": lambda: model.encode(passages, show_progress_bar=False),
  }


def _model(
  size: training.Size, tokens: vocabulary.Tokenizer
) -> sentence_transformers.SentenceTransformer:
  config = transformers.T5Config(
    vocab_size=size.vocab_size,
    d_model=size.width,
    d_kv=size.head_dim,
    d_ff=size.mlp_dim,
    num_layers=size.layers,
    num_heads=size.heads,
    dropout_rate=0.0,
    feed_forward_proj="relu",
  )
  with tempfile.TemporaryDirectory() as folder:
    transformers.T5EncoderModel(config).save_pretrained(folder)
    spiece = pathlib.Path(folder, "spiece.model")
    spiece.write_bytes(tokens.model_bytes)
    transformers.T5Tokenizer.from_pretrained(folder).save_pretrained(folder)
    transformer = modules.Transformer(
      folder, max_seq_length=size.passage_length
    )
  return sentence_transformers.SentenceTransformer(
    modules=[
      transformer,
      modules.Pooling(size.width, "mean"),
      modules.Dense(
        size.width,
        size.projection_dim,
        bias=False,
        activation_function=torch.nn.Identity(),
      ),
      modules.Normalize(),
    ]
  )


if __name__ == "__main__":
  main()
