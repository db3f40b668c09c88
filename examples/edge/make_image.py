"""Write one of the test images as the program on the board reads it: make_image.py NUMBER FILE."""

import sys
from pathlib import Path

import numpy as np

number, path = int(sys.argv[1]), Path(sys.argv[2])
with np.load(Path(__file__).parents[1] / "digits/test.npz") as data:
    image, label = data["images"][number], data["labels"][number]
(image.astype(np.float32) / 16).tofile(path)
np.savez(path.with_suffix(".npz"), image=image[None].astype(np.float32) / 16)
print(f"{path}: a {label}")
