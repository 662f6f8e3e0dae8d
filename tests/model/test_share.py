"""Batches that processes share: whose clips, and random numbers that depend on the clip alone.

What the processes say to each other is tested in tests/training/test_distributed.py.
"""

import pytest
import torch
from torch import nn

from srcid.model.share import Share, averaged, own, shared, whole


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_every_clip_belongs_to_one_process(ranks):
    clips = torch.arange(16)
    parts = [clips[Share(rank, ranks, len(clips)).own] for rank in range(ranks)]
    assert torch.equal(torch.cat(parts), clips)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_has_all_and_asks_nobody():
    features = {"left": torch.randn(3, 2, 4), "right": torch.randn(3, 2, 5)}
    for function in (own, whole):
        assert all(found is features[m] for m, found in function(features).items())
    assert averaged(features, {"left": 1, "right": 2}) == features


DRAWS = {
    "dropout": nn.Dropout(0.4),
    "attention": nn.TransformerEncoderLayer(8, 2, 16, dropout=0.4, batch_first=True),
    "normal": torch.randn_like,
    "uniform": lambda x: torch.rand(x.shape[:2]) < 0.3,
    "steps first": lambda x: nn.functional.dropout(x.transpose(0, 1).contiguous().transpose(0, 1), 0.4),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_what_a_clip_draws_does_not_depend_on_who_has_it(draw):
    x = torch.randn(7, 3, 8)
    torch.manual_seed(1)
    alone, after = draw(x), torch.rand(1)
    for rank in range(3):
        share = Share(rank, 3, len(x))
        torch.manual_seed(1)
        with shared(share):
            found = draw(x[share.own])
        torch.testing.assert_close(found, alone[share.own])
        assert torch.equal(torch.rand(1), after)  # the next draws are those of one process too


def test_random_numbers_of_anything_but_clips_are_refused():
    with shared(Share(0, 2, 8)), pytest.raises(RuntimeError, match=r"shape \(5, 8\) are not those of clips"):
        torch.randn_like(torch.zeros(5, 8))
