"""Runtimes to measure beside, one file each; the extra ``peers`` of the package installs them all."""

# Importing a peer's file adds its row; it imports the runtime itself only when a model is made ready.
from . import mnn, ncnn, onnxruntime, openvino, torch
from .peer import PEERS, Subject

__all__ = ["PEERS", "Subject", "mnn", "ncnn", "onnxruntime", "openvino", "torch"]
