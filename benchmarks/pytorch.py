"""The same model in PyTorch, as sentence-transformers runs it.

transformers' T5EncoderModel, mean pooling, a dense layer, unit length; the
same loss; AdamW.
"""

from collections.abc import Callable

import numpy as np
import torch
import transformers

from benchmarks import peer, training

_BATCH = 32  # Of sentence-transformers' `encode`.


def main() -> None:
  options = peer.flags().parse_args()
  torch.set_num_threads(options.threads)
  torch.manual_seed(0)
  size = training.SIZES[options.size]
  peer.serve(
    f"torch {torch.__version__}, transformers {transformers.__version__}",
    work(size, options.encode_rows, options.texts),
  )


def work(
  size: training.Size, encode_rows: int, num_texts: int
) -> dict[str, Callable[[], None]]:
  """A train step on full rows, encoding of full passages, and of texts."""
  transformer = transformers.T5EncoderModel(
    transformers.T5Config(
      vocab_size=size.vocab_size,
      d_model=size.width,
      d_kv=size.head_dim,
      d_ff=size.mlp_dim,
      num_layers=size.layers,
      num_heads=size.heads,
      dropout_rate=0.0,
      feed_forward_proj="relu",
    )
  )
  dense = torch.nn.Linear(size.width, size.projection_dim, bias=False)
  params = [*transformer.parameters(), *dense.parameters()]
  optimizer = torch.optim.AdamW(params, lr=1e-3)
  batch = training.full_rows(size)
  queries = torch.tensor(batch["query_tokens"], dtype=torch.long)
  passages = torch.tensor(batch["passage_tokens"][:, 0], dtype=torch.long)
  repeated = np.resize(passages.numpy(), (encode_rows, size.passage_length))
  corpus = torch.tensor(repeated)

  def embed(tokens: torch.Tensor) -> torch.Tensor:
    mask = (tokens > 0).long()
    hidden = transformer(input_ids=tokens, attention_mask=mask)
    weights = mask[:, :, None].float()
    total = (hidden.last_hidden_state * weights).sum(1)
    pooled = dense(total / weights.sum(1).clamp(min=1e-9))
    return torch.nn.functional.normalize(pooled, dim=-1)

  def encode() -> None:
    with torch.inference_mode():
      for part in corpus.split(_BATCH):
        embed(part)

  def texts() -> None:
    """By length, as sentence-transformers does it."""
    source = training.source(size, num_texts).batch_at(0)
    tokens = torch.tensor(source["passage_tokens"][:, 0], dtype=torch.long)
    sizes = (tokens > 0).sum(1)
    with torch.inference_mode():
      for part in torch.argsort(-sizes).split(_BATCH):
        embed(tokens[part, : sizes[part].max()])

  def step() -> None:
    scores = embed(queries) @ embed(passages).T * 100
    own = torch.arange(len(scores))
    loss = torch.nn.functional.cross_entropy(scores, own)
    loss = loss + torch.nn.functional.cross_entropy(scores.T, own)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

  return {"encode": encode, "texts": texts, "step": step}


if __name__ == "__main__":
  main()
