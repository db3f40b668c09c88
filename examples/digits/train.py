"""Train the demo's network and export it: ``python examples/digits/train.py`` (needs torch and scikit-learn).

A small residual network learns scikit-learn's handwritten digits (8 x 8 pixels, 1797 of them) in less than a minute on
a processor. Three tenths of the images, chosen before training and never seen by it, are the test set of the demo. The
same versions of the libraries write the same files.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

SEED = 7
EPOCHS = 40
BATCH = 64
PIXEL_MAX = 16.0


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch normalization, and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        return torch.relu(self.body(x) + self.shortcut(x))


class DigitsResNet(nn.Module):
    """Images [N, 1, 8, 8] with pixels from 0 to 1 in, scores [N, 10] out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.blocks = nn.Sequential(Block(32, 32, 1), Block(32, 64, 2), Block(64, 64, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return a score for each digit."""
        scores: Tensor = self.classify(torch.flatten(self.pool(self.blocks(self.stem(images))), 1))
        return scores


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the images, each moved by up to one pixel along both axes."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    offsets = torch.randint(0, 3, (len(images), 2), generator=generator).tolist()
    return torch.stack([padded[i, :, y : y + 8, x : x + 8] for i, (y, x) in enumerate(offsets)])


def train(images: Tensor, labels: Tensor) -> DigitsResNet:
    """Return a network trained on images [N, 1, 8, 8] and labels [N]."""
    generator = torch.Generator().manual_seed(SEED)
    model = DigitsResNet()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
            scores = model(shifted(images[chosen], generator))
            loss = nn.functional.cross_entropy(scores, labels[chosen], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    return model


def main() -> None:
    """Train, measure on the test set, and write ``digits.onnx`` and ``test.npz``."""
    parser = argparse.ArgumentParser(description="Train the demo's network and export it.")
    parser.add_argument("--dir", type=Path, default=Path(__file__).parent, help="folder to write to")
    folder: Path = parser.parse_args().dir
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    digits = load_digits()
    pixels = digits.images.astype("uint8")[:, None]
    split = train_test_split(pixels, digits.target, test_size=0.3, random_state=SEED, stratify=digits.target)
    train_pixels, test_pixels, train_labels, test_labels = split
    model = train(torch.from_numpy(train_pixels / np.float32(PIXEL_MAX)), torch.from_numpy(train_labels))
    with torch.no_grad():
        guesses = model(torch.from_numpy(test_pixels / np.float32(PIXEL_MAX))).argmax(1).numpy()
    print(f"test accuracy {np.mean(guesses == test_labels):.2%} on {len(test_labels)} images")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.zeros(1, 1, 8, 8),),
            str(folder / "digits.onnx"),
            input_names=["image"],
            output_names=["scores"],
            opset_version=17,
            dynamo=False,
        )
    np.savez_compressed(folder / "test.npz", images=test_pixels, labels=test_labels.astype("uint8"))


if __name__ == "__main__":
    main()
