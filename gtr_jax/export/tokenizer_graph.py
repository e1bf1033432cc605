"""Text to token ids inside a TensorFlow graph, by tensorflow_text.

The same ids as `data.vocabulary.Tokenizer.encode` gives, which reads them by
the `sentencepiece` library.
"""

from typing import Any

import tensorflow as tf
import tensorflow_text

PAD_ID = 0


def sentencepiece(model_bytes: bytes) -> tensorflow_text.SentencepieceTokenizer:
  """The tokenizer of a SentencePiece model; graphs share its one copy."""
  return tensorflow_text.SentencepieceTokenizer(model=model_bytes)


def token_ids(
  tokenizer: tensorflow_text.SentencepieceTokenizer,
  texts: tf.Tensor,
  prompt: str,
  length: int,
  eos_id: int,
) -> tf.Tensor:
  """Token ids, int32 [n, l], as long as the longest text; 0 is padding.

  Args:
    texts: UTF-8 strings [n].
    prompt: put before every text.
    length: most tokens of a text, prompt and EOS included.
    eos_id: the last token of every text, also of one that is cut.
  """
  # A ragged tensor [n, (tokens)], int32.
  ids: Any = tokenizer.tokenize(tf.strings.join([prompt, texts]))
  # Where id 0 is <unk>, what is unknown is left out: it would be padding.
  ids = tf.ragged.boolean_mask(ids, tf.not_equal(ids, PAD_ID))
  eos = tf.fill([tf.shape(texts)[0], 1], eos_id)
  return tf.concat([ids[:, : length - 1], eos], axis=1).to_tensor(PAD_ID)
