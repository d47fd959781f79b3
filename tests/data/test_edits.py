"""Before/after pairs of procedural worlds: what the sentence says is what changed."""

import numpy as np
import torch

from data.worlds import layout as L
from data.worlds.bank import make_bank
from data.worlds.edits.filters import FILTERS, Views, color_weight, hue, luminance, painted, rgb
from data.worlds.edits.pairs import batch, make_edit_bank
from data.worlds.edits.rerendered import Tables, any_edit, color_name
from data.worlds.edits.words import COLORS


def test_pairs_of_a_bank_change_and_are_the_same_again() -> None:
    bank = make_edit_bank(range(880_000_000, 880_000_006), 48, 1, 2)
    one, two = (batch(bank, 12, (48, 32), torch.Generator().manual_seed(3), np.random.default_rng(3)) for _ in range(2))
    assert one.before.shape == (12, 3, 32, 48)
    assert len(one.instructions) == 12
    assert torch.equal(one.after, two.after)
    assert one.instructions == two.instructions
    assert (one.changed.flatten(1).mean(1) > 0).float().mean() > 0.7
    assert one.after.min() >= 0
    assert one.after.max() <= 1


def test_nothing_is_painted_in_the_colour_that_it_has() -> None:
    worlds = make_bank(range(880_000_010, 880_000_014), 32, 32, 1).worlds
    g, seen = np.random.default_rng(0), 0
    for w in range(4):
        tables = Tables(*(t[w].numpy() for t in (worlds.headers, worlds.objects, worlds.primitives, worlds.materials)))
        for _ in range(60):
            after, instruction = any_edit(tables, 0, g)
            if instruction.kind != "thing_color":
                continue
            for row in np.flatnonzero(tables.primitives[:, L.PAINT] != after.primitives[:, L.PAINT]):
                first = next(t for t in range(tables.things) if tables.parts(t).start <= row < tables.parts(t).stop)
                old = tables.materials[int(tables.primitives[tables.parts(first).start, L.PAINT])]
                assert color_name(tables.shown(old[L.COLOR_A : L.COLOR_A + 3])) != instruction.to
                seen += 1
    assert seen > 20


def test_every_colour_is_its_own_name() -> None:
    for name, value in COLORS.items():
        flat = rgb(*value, like=torch.zeros(1)).expand(1, 3, 4, 4)
        assert float(color_weight(flat, name).mean()) > 0.5, name


def test_hue_of_primaries() -> None:
    x = torch.eye(3).view(3, 3, 1, 1)
    torch.testing.assert_close(hue(x)[0].flatten(), torch.tensor([0, 1 / 3, 2 / 3]))


def test_paint_stays_where_it_is_put() -> None:
    x = torch.rand(1, 3, 8, 8)
    weight = torch.zeros(1, 1, 8, 8)
    weight[..., :4] = 1
    out = painted(x, weight, rgb(*COLORS["blue"], like=x))
    assert torch.equal(out[..., 4:], x[..., 4:])
    assert (out[:, 2, :, :4].mean() > 1.5 * out[:, 0, :, :4].mean()).item()


def test_filters_do_what_they_are_called() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 32, 32, generator=g) * 0.6 + 0.2
    views = Views(x, torch.rand(4, 1, 32, 32, generator=g) + 1, torch.zeros(4, 1, 32, 32), torch.ones(4, 1, 32, 32, dtype=torch.bool))
    made = {name: FILTERS[kind, name](views, g).clamp(0, 1) for kind, name in FILTERS}
    mean = lambda y: float(luminance(y).mean())  # noqa: E731
    assert mean(made["night"]) < 0.6 * mean(x)
    assert mean(made["darker"]) < mean(x) < mean(made["brighter"])
    assert made["bw"].std(1).max() < 1e-5
    assert made["contrast_up"].std() > x.std() > made["contrast_down"].std()
    assert made["warmer"][:, 0].mean() / made["warmer"][:, 2].mean() > x[:, 0].mean() / x[:, 2].mean()
    assert all(y.shape == x.shape for y in made.values())
