"""``build_dataloader``: batches of a dataset, with the classic attribute names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from neuropil.compat.connectomics.config import Cfg
from neuropil.compat.connectomics.data.augmentation import Compose
from neuropil.compat.connectomics.data.dataset.build import get_dataset
from neuropil.compat.connectomics.data.dataset.volume import ClassicDataset


class TestBatch:
    """Samples to predict: positions ``pos``, a list, and ``out_input``, float32 [batch, 1, z, y, x]."""

    __test__ = False  # pytest would take it for a test

    def __init__(self, batch: Sequence[tuple[Any, ...]]) -> None:
        self.pos = [sample[0] for sample in batch]
        self.out_input = _stacked([sample[1] for sample in batch])

    def pin_memory(self) -> TestBatch:
        """The batch in pinned memory, which is copied to a GPU faster."""
        self.out_input = self.out_input.pin_memory()
        return self


class TrainBatch(TestBatch):
    """Samples to train on; ``out_target_l`` has a tensor for each target, ``out_weight_ls`` a list of them.

    Without labels both are lists of None, one for each sample.
    """

    def __init__(self, batch: Sequence[tuple[Any, ...]]) -> None:
        super().__init__(batch)
        targets, weights = [sample[2] for sample in batch], [sample[3] for sample in batch]
        labelled = targets[0] is not None
        self.out_target_l = [_stacked(one) for one in zip(*targets, strict=True)] if labelled else targets
        self.out_weight_ls = (
            [[_stacked(one) for one in zip(*of_target, strict=True)] for of_target in zip(*weights, strict=True)]
            if labelled
            else weights
        )

    def pin_memory(self) -> TrainBatch:
        """The batch in pinned memory, which is copied to a GPU faster."""
        super().pin_memory()
        if isinstance(self.out_target_l[0], Tensor):
            self.out_target_l = [target.pin_memory() for target in self.out_target_l]
            self.out_weight_ls = [[weight.pin_memory() for weight in of_one] for of_one in self.out_weight_ls]
        return self


def build_dataloader(
    cfg: Cfg,
    augmentor: Compose | None,
    mode: Literal["train", "val", "test"] = "train",
    dataset: ClassicDataset | None = None,
    rank: int | None = None,
) -> DataLoader[Any]:
    """Batches of the dataset of a configuration, or of another one, drawn by ``SYSTEM.NUM_CPUS`` workers.

    ``SOLVER.SAMPLES_PER_BATCH`` samples (``INFERENCE.SAMPLES_PER_BATCH`` to predict); without a launcher (``rank`` is
    None) as many for each of ``SYSTEM.NUM_GPUS``. In training they come in a random order.

    Args:
        cfg, augmentor, mode: as for ``get_dataset``.
        dataset: instead of that of the configuration.
        rank: number of this process, where a launcher started several.

    Raises:
        NeuropilError: as ``get_dataset``.
    """
    data = get_dataset(cfg, augmentor, mode, rank) if dataset is None else dataset
    section = cfg.INFERENCE if mode == "test" else cfg.SOLVER
    copies = max(1, int(cfg.SYSTEM.NUM_GPUS)) if rank is None else 1
    return DataLoader(
        data,
        batch_size=int(section.SAMPLES_PER_BATCH) * copies,
        shuffle=mode == "train",
        num_workers=int(cfg.SYSTEM.NUM_CPUS),
        collate_fn=TestBatch if mode == "test" else TrainBatch,
        pin_memory=torch.cuda.is_available(),
    )


def _stacked(arrays: Sequence[Any]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
