"""PyTorch's side of training_step.py: takes BATCHES.npz and n_cell_dim, then the index of a batch on each line."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torch import nn

CLASSES, INPUT, WINDOW, DROPOUT, RELU_CLIP, CLIP_NORM = 29, 26, 19, 0.05, 20.0, 5.0


class DeepSpeech(nn.Module):
    """The network of 2016, as PyTorch's users would write it."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.window = nn.Conv1d(INPUT, cells, WINDOW, padding=WINDOW // 2)
        self.dense2, self.dense3 = nn.Linear(cells, cells), nn.Linear(cells, 2 * cells)
        self.lstm = nn.LSTM(2 * cells, cells, bidirectional=True)
        self.dense5, self.dense6 = nn.Linear(2 * cells, cells), nn.Linear(cells, CLASSES)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return [T, B, 29] log probabilities for [B, T, 26] features."""
        layer = self.end(self.window(features.transpose(1, 2)).permute(2, 0, 1))  # [T, B, n_hidden_1]
        layer = self.end(self.dense3(self.end(self.dense2(layer))))
        layer = self.end(self.dense5(self.lstm(layer)[0]))
        return self.dense6(layer).log_softmax(2)

    def end(self, values: torch.Tensor) -> torch.Tensor:
        return self.dropout(values.clamp(0, RELU_CLIP))


def main() -> None:
    """Answer each index with the CPU-milliseconds of a step over that batch."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    arrays = np.load(sys.argv[1])
    batches = [
        [torch.from_numpy(arrays[f"{name}{number}"]) for name in ("features", "lengths", "labels", "counts")]
        for number in range(len(arrays) // 4)
    ]
    network = DeepSpeech(int(sys.argv[2]))
    loss_of = nn.CTCLoss(blank=CLASSES - 1, reduction="sum")
    adam = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
    for line in sys.stdin:
        features, lengths, labels, counts = batches[int(line)]
        started = time.process_time()
        adam.zero_grad()
        loss = loss_of(network(features), labels.long(), lengths.long(), counts) / len(features)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        adam.step()
        loss.item()
        print(1000 * (time.process_time() - started), flush=True)


if __name__ == "__main__":
    main()
