"""Image classification: a photo in, its best names out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Shaped
from pydantic import Field

from glia.core.card import Card
from glia.core.fields import ClassScore
from glia.core.task import Request, Task
from glia.data.image import Image
from glia.data.resize import ImagePreprocessing, pixels_for


class ImageClassification(Task):
    """Name what an image shows."""

    name = "image-classification"
    metrics = ("top1", "top5")
    card_needs = ("labels", "size", "mean", "std", "colour")
    evaluation = {"top_k": 5}

    class Input(Request):
        """A picture and how many names to give it."""

        image: Image = Field(description="The picture to classify.")
        top_k: int = Field(5, ge=1, le=1000, description="How many classes to return.")

    Output = list[ClassScore]

    def preprocess(self, x: Input, card: Card) -> dict[str, Shaped[np.ndarray, "a b c"]]:
        """One picture to the numbers that the network takes; no batch axis, the batcher adds it."""
        return {card.graph().inputs["image"]: pixels_for(x.image, card.read_preprocessing(ImagePreprocessing))}

    def postprocess(self, y: Mapping[str, Shaped[np.ndarray, "..."]], x: Input, card: Card) -> list[ClassScore]:
        """Logits or probabilities, as the card says, to the `top_k` labels, best first."""
        (tensor,) = card.graph().outputs.values()
        scores = np.asarray(y[tensor], np.float64).reshape(-1)
        if card.activation == "logits":
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        best = np.argsort(-scores, kind="stable")[: x.top_k]
        return [ClassScore(label=card.labels[i], score=float(np.clip(scores[i], 0, 1))) for i in best]
