"""The state of a training run and one step of it; :mod:`srcid.training.loop` holds the loop around it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from srcid.features import FeatureStore, batch_rows
from srcid.model.network import SRCID
from srcid.model.output import LayerOutput, describe
from srcid.model.share import Share, shared
from srcid.optimiser import Adam
from srcid.params import Params
from srcid.training import checkpoint
from srcid.training.ranks import Ranks
from srcid.training.recorded import Recorded
from srcid.training.requirements import TrainingError, check_training, pick_device
from srcid.training.warmstart import WarmStart

Metrics = dict[str, Any]
_VALIDATION_CLIPS = 400  # enough for three digits of agreement; keeps validation a small share of an epoch


class Trainer:
    """All state of a training run, and one step of it.

    Args:
        store: features with the splits ``train`` and ``val``.
        params: all options.
        ranks: this process among those that train together; None: it is alone.

    Raises:
        TrainingError: the store does not fit the parameters, or the device is absent.
    """

    def __init__(self, store: FeatureStore, params: Params, ranks: Ranks | None = None) -> None:
        self.store, self.params, self.ranks = store, params, ranks or Ranks()
        check_training(store, params, self.ranks)
        self.device = pick_device(params.device)
        self.dtype = torch.float64 if params.precision == "float64" else torch.float32
        self.rows = store.splits["train"]
        self.clips = min(params.batch_size, len(self.rows))
        self.per_epoch = max(1, len(self.rows) // params.batch_size)
        self.steps = params.epochs * self.per_epoch
        torch.manual_seed(params.seed)
        self.network = SRCID(store.shapes, params).to(self.device, self.dtype).train()
        self.parameters, self.club_parameters = self.network.main_parameters(), self.network.club_parameters()
        self.clipped = [list(m.parameters()) for m in self.network.modules_to_clip()]  # asked for once: walks take time
        self.main = Adam(self.parameters, lr=params.lr, fused=True)
        club = [{"params": self.club_parameters}]  # where a method has none, a group may be empty and a list may not
        self.club = Adam(club, lr=params.club_lr, fused=True, capturable=self.device.type == "cuda")
        self.fit = self._fitting()
        self.warm = WarmStart(params, self.steps, self.per_epoch)
        self.step = 0

    @property
    def done(self) -> bool:
        """Whether the last step has been taken."""
        return self.step >= self.steps

    def tensors(
        self, rows: np.ndarray, share: Share | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
        """Return (features, masks) of the clips ``rows`` on the device; masks are None when all steps are valid.

        Features are those of this process's ``share``, masks those of all.
        """
        read = self.store.batch(rows if share is None else rows[share.own])
        features = {m: self._sent(torch.from_numpy(x)).to(self.dtype) for m, x in read.items()}
        masks = {m: torch.from_numpy(np.ascontiguousarray(self.store.masks[m][rows])) for m in features}
        if all(bool(mask.all()) for mask in masks.values()):
            return features, None
        return features, {m: mask.to(self.device) for m, mask in masks.items()}

    def _sent(self, x: Tensor) -> Tensor:
        """Return x on the device; to a GPU from memory that it reads by itself, while this process goes on."""
        return x.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else x

    def batches(self) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor] | None]]:
        """Yield the batches from the current step to the last, reading one ahead.

        Each epoch draws a new order from (seed, epoch) and leaves out the last clips that fill no batch, other
        ones each time.
        """

        first = self.step  # read now: it moves while we iterate

        def planned() -> Iterator[np.ndarray]:
            for epoch in range(first // self.per_epoch, self.params.epochs):
                parts = batch_rows(self.rows, self.clips, seed=self.params.seed, drop_last=True, epoch=epoch)
                yield from parts[first % self.per_epoch if epoch == first // self.per_epoch else 0 :]

        with ThreadPoolExecutor(1) as reader:
            ahead = None
            for rows in planned():
                ready, ahead = ahead, reader.submit(self.tensors, rows, self.ranks.share(self.clips))
                if ready is not None:
                    yield ready.result()
            if ahead is not None:
                yield ahead.result()

    def autocast(self) -> contextlib.AbstractContextManager:
        """bfloat16 autocast of the forward pass where asked for; losses stay in float32."""
        enabled = self.params.precision == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def fit_club(self, outputs: list[LayerOutput]) -> dict[str, Tensor]:
        """Fit the CLUB networks by maximum likelihood on detached features.

        Returns the last log-likelihoods, and before the first step, on clips that are new to this fit, the skill:
        the log-likelihood over that of an independent Gaussian.
        """
        pairs = {}
        for layer, output in zip(self.network.layers, outputs, strict=False):
            if layer.watches_club:
                masks = output.masks or {}
                for m, (x, y) in layer.club_pairs(output).items():
                    pairs[layer.index, m] = (x.detach(), y.detach(), masks.get(m))
        return self.fit(pairs) if pairs else {}

    def _fitting(self) -> Callable[..., dict[str, Tensor]]:
        """:meth:`_fit`, recorded where there is a GPU."""
        return Recorded(self._fit) if self.device.type == "cuda" else self._fit

    def _fit(self, pairs: Mapping[tuple[int, str], tuple[Tensor, Tensor, Tensor | None]]) -> dict[str, Tensor]:
        """Fit the CLUB network of each (layer, modality) to its (x, y, mask); waits for no GPU."""
        clubs = {(k, m): self.network.layers[k - 1].club[m] for k, m in pairs}
        scaled = {key: (x, clubs[key].scaled(y, mask), mask) for key, (x, y, mask) in pairs.items()}
        likelihoods: dict[tuple[int, str], Tensor] = {}
        skills: dict[str, Tensor] = {}
        for _ in range(self.params.club_steps):
            likelihoods = {key: clubs[key].log_likelihood(*given, scaled=True) for key, given in scaled.items()}
            skills = skills or {
                f"skill/{k}/{m}": likelihoods[k, m].detach() - clubs[k, m].independent(*scaled[k, m][1:], scaled=True)
                for k, m in pairs
            }
            self.club.zero_grad(set_to_none=True)
            (-sum(likelihoods.values())).backward()
            self.club.step()
        return {f"likelihood/{k}/{m}": value.detach() for (k, m), value in likelihoods.items()} | skills

    def learning_rate(self) -> float:
        """Learning rate of the current step."""
        p = self.params
        warmed = min(1.0, (self.step + 1) / (p.warmup_steps + 1))
        if p.schedule == "cosine":
            warmed *= 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        return p.lr * warmed

    def advance(self, features: dict[str, Tensor], masks: dict[str, Tensor] | None) -> Metrics:
        """Take one step on a batch of :meth:`batches`; return its metrics as tensors and numbers.

        Raises:
            TrainingError: a loss or gradient is not finite. Encoders and decoders are those of the step before;
                codebooks and CLUB networks may have moved: go on from a checkpoint.
        """
        share = self.ranks.share(self.clips)
        with self.autocast(), shared(share):
            outputs = self.network(features, masks, self.warm.layers_open)
        likelihoods = self.fit_club(outputs)
        for p in self.club_parameters:
            p.requires_grad_(False)
        with shared(share):
            total, parts = self.network.losses(outputs)
        if not torch.isfinite(total):
            raise TrainingError(self._culprit(features, parts))
        self.main.zero_grad(set_to_none=True)
        total.backward()
        for p in self.club_parameters:
            p.requires_grad_(True)
        self.ranks.average_gradients(self.parameters)
        norm = self.clip()
        if not torch.isfinite(norm):
            raise TrainingError(
                f"step {self.step}: the gradient is not finite though the losses are; lower lr ({self.params.lr})"
            )
        rate = self.learning_rate()
        for group in self.main.param_groups:
            group["lr"] = rate
        self.main.step()
        if self.device.type == "cuda":  # where sums are taken in any order, so that their last bits differ
            self.ranks.follow_first([*self.network.buffers(), *self.club_parameters])
        metrics = {"loss/total": total, **parts, **likelihoods, "lr": rate, "grad_norm": norm}
        metrics["layers_open"] = self.warm.layers_open
        metrics |= {f"opened_by/{k}": why for k, why in enumerate(self.warm.reasons, 1) if k > 1 and why}
        self._watch(parts, metrics)
        self.step += 1
        if self.step % self.params.log_every == 0 or self.done:
            metrics.update(describe(outputs))
        return metrics

    def _watch(self, parts: dict[str, Tensor], metrics: Metrics) -> None:
        layer = self.warm.layers_open
        if layer == self.params.layers:
            return
        found = {name.split("/")[2]: v.detach() for name, v in parts.items() if name.startswith(f"mi/{layer}/")}
        values = torch.stack(list(found.values())) if found else torch.empty(0)
        self.ranks.follow_first([values])  # a layer opens everywhere or nowhere
        if not self.warm.update(self.step, dict(zip(found, values.tolist(), strict=True))):
            metrics |= {f"mi_smoothed/{layer}/{m}": fast for m, (fast, _, _) in self.warm.averages.items()}
            metrics |= {f"mi_change/{layer}/{m}": change for m, change in self.warm.changes().items()}

    def clip(self) -> Tensor:
        """Clip gradients as asked; return their total norm before."""
        p = self.params
        if p.clip == "module":
            learning = [part for part in self.clipped if any(weight.grad is not None for weight in part)]
            return torch.stack([nn.utils.clip_grad_norm_(part, p.clip_norm) for part in learning]).norm()
        limit = p.clip_norm if p.clip == "global" else math.inf
        return nn.utils.clip_grad_norm_(self.parameters, limit)

    def _culprit(self, features: dict[str, Tensor], parts: dict[str, Tensor]) -> str:
        bad = [name for name, value in parts.items() if not torch.isfinite(value)]
        where = [m for m, x in features.items() if self.ranks.any(not torch.isfinite(x).all())]
        source = f"the features of {where} hold NaN or infinite values" if where else "the features are finite"
        return (
            f"step {self.step}: the loss is not finite; culprits: {', '.join(bad) or 'their sum'}; {source}. "
            f"What was saved before stays; try a lower lr (now {self.params.lr}) or clip_norm ({self.params.clip_norm})"
        )

    @torch.no_grad()
    def validate(self) -> Metrics:
        """Return what (up to 400 of) the validation clips say of codes, reconstruction, rate and CLUB's skill."""
        rows = self.store.splits["val"][:_VALIDATION_CLIPS]
        self.network.eval()
        sums: dict[str, float] = {}
        for start in range(0, len(rows), self.params.batch_size):
            chunk = rows[start : start + self.params.batch_size]
            share = self.ranks.share(len(chunk))
            features, masks = self.tensors(chunk, share)
            with self.autocast(), shared(share):
                outputs = self.network(features, masks, self.warm.layers_open)
                found = describe(outputs)
                for layer, output in zip(self.network.layers, outputs, strict=False):
                    found |= {f"rate/{layer.index}/{m}": value for m, value in output.rate.items()}
                    for m, (x, y) in layer.club_pairs(output).items() if layer.watches_club else ():
                        club, mask = layer.club[m], (output.masks or {}).get(m)
                        skill = club.log_likelihood(x, y, mask) - club.independent(y, mask)
                        found[f"skill/{layer.index}/{m}"] = skill
                    found |= {f"recon/{layer.index}/{m}": error for m, error in output.errors().items()}
            for name, value in found.items():
                sums[f"val/{name}"] = sums.get(f"val/{name}", 0.0) + float(value) * len(chunk) / len(rows)
        self.network.train()
        return sums

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that the next step depends on, by its name in a checkpoint."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= checkpoint.flatten_optimizer("main", self.main.state_dict())
        tensors |= checkpoint.flatten_optimizer("club", self.club.state_dict())
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return tensors

    def agree(self) -> None:
        """Make sure that all processes hold the same state, bit by bit.

        Raises:
            TrainingError: they do not; the message names the tensors.
        """
        found = self.ranks.differing(self.state())
        if found:
            raise TrainingError(
                f"step {self.step}: the {self.ranks.count} processes do not agree on {', '.join(found[:3])}"
                f"{f' and {len(found) - 3} more tensors' if len(found) > 3 else ''}; nothing was saved, and what was "
                "saved before stays; run all on machines of one kind, or with processes=1"
            )

    def save(self, folder: Path) -> None:
        """Write a checkpoint of everything the next step depends on."""
        state = {
            "params": self.params.model_dump(mode="json"),
            "shapes": {m: list(shape) for m, shape in self.store.shapes.items()},
            "store": self.store.checksum,
            "warm": self.warm.state(),
        }
        checkpoint.save(folder, self.step, self.state(), state)

    def restore(self, folder: Path) -> None:
        """Continue from the checkpoint in ``folder``.

        Raises:
            TrainingError: it belongs to other parameters or other data.
        """
        step, tensors, state = checkpoint.load(folder)
        if not 0 <= step <= self.steps:
            raise TrainingError(f"{folder} says that it is at step {step} of {self.steps}; delete it to start again")
        mine = self.params.model_dump(mode="json")
        with checkpoint.read_from(folder):
            differing = sorted(k for k in mine if state["params"].get(k) != mine[k])
            checksum = state["store"]
        if differing:
            raise TrainingError(
                f"{folder} was trained with other parameters ({', '.join(differing)}); choose another run name"
            )
        if checksum != self.store.checksum:
            raise TrainingError(f"{folder} was trained on other data (checksums differ); choose another run name")
        with checkpoint.read_from(folder):
            checkpoint.put(self.network, tensors)
            for name, optimizer in (("main", self.main), ("club", self.club)):
                optimizer.load_state_dict(checkpoint.restore_optimizer(name, tensors, optimizer.state_dict()))
            self.fit = self._fitting()  # what was recorded changes memory that has been given up
            torch.set_rng_state(tensors["random.cpu"])
            if self.device.type == "cuda" and "random.cuda" in tensors:
                torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
            self.warm = WarmStart(self.params, self.steps, self.per_epoch, **state["warm"])
        self.step = step
