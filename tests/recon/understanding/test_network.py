"""The shipped network, its files, its adapters, its training."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import InputError
from data.images import save_image
from data.worlds.labels import CLASSES, batch, make_label_bank
from recon.understanding.adapters import Adapter, load_adapter, save_adapter
from recon.understanding.options import UnderstandingTraining
from recon.understanding.small.networks import SHIPPED, UnderstandingNetwork, load_network
from recon.understanding.small.predictor import Understander
from recon.understanding.tuning import read_labelled, train_adapter


def test_shipped_weights_are_small_and_know_worlds_they_never_saw() -> None:
    assert SHIPPED.stat().st_size <= 6_000_000
    bank = make_label_bank(range(95_000_000, 95_000_004), 128, 96, 2)
    asked = Understander.from_pretrained()
    photos = bank.rgb.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    said = asked.understand(photos)
    kind = bank.classes[:, None].expand(-1, 2, -1).flatten(0, 1).long().gather(1, bank.segment.flatten(0, 1)[:, 1::2, 1::2].flatten(1).long())
    thing = (said.thing.flatten(1) > 0) == (kind >= CLASSES.index("ceiling") + 1)
    assert thing.float().mean() > 0.8
    assert said.instance.shape[2:] == (48, 64)
    assert torch.allclose(said.normal.norm(dim=1), torch.ones(()), atol=1e-4)


def test_odd_sizes_are_answered_at_half_size() -> None:
    said = Understander(UnderstandingNetwork()).understand(torch.rand(1, 3, 53, 71))
    assert said.outline.shape[2:] == (27, 36)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_network(tmp_path / "none.safetensors")
    shutil.copy(SHIPPED, tmp_path / "a.safetensors")
    card = json.loads(SHIPPED.with_suffix(".json").read_text())
    (tmp_path / "a.json").write_text(json.dumps({**card, "version": 99}))
    with pytest.raises(InputError, match="version 99"):
        load_network(tmp_path / "a.safetensors")
    (tmp_path / "a.json").write_text(json.dumps(card))
    (tmp_path / "a.safetensors").write_bytes(SHIPPED.read_bytes()[:5000])
    with pytest.raises(InputError, match="intact copy"):
        load_network(tmp_path / "a.safetensors")


def test_training_lowers_the_loss_and_writes_what_can_be_loaded(tmp_path: Path) -> None:
    from recon.halves import Halves
    from recon.understanding.small.training import WEIGHTS, losses, train_understanding, trainings

    o = UnderstandingTraining(minutes=0.03, worlds=4, views=2, bank=(64, 64), sizes=((64, 64),), batch=2, samples=32, seed=97)
    list(train_understanding(o, tmp_path, torch.device("cpu")))
    load_network(tmp_path / "understanding.safetensors")
    assert trainings(tmp_path / "understanding.safetensors")[-1]["steps"] > 0
    torch.manual_seed(0)
    network, found = UnderstandingNetwork(), []
    halves = Halves([network], 1e-3, 0.0, 0.9, warm_up=1)
    labelled = batch(make_label_bank(range(9_700_000, 9_700_004), 64, 64, 2), 2, 2, (64, 64), torch.Generator().manual_seed(0))
    for _ in range(25):
        terms = losses(network(labelled.rgb), labelled, 32, torch.Generator().manual_seed(0))
        loss = sum(WEIGHTS[name] * term for name, term in terms.items())
        found.append(float(loss.detach()))
        halves.step(loss, 0.0)
    assert found[-1] < 0.8 * found[0]
    last = network.out.weight.detach().clone()
    halves.finish()
    assert not torch.equal(network.out.weight, last), "what is kept is the mean, not the last"


def labelled_folder(folder: Path, count: int = 3) -> Path:
    """Photos whose right half is label 1."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    g = np.random.default_rng(0)
    for i in range(count):
        photo = g.integers(0, 60, (96, 128, 3)).astype(np.uint8)
        label = np.zeros((96, 128), np.uint8)
        at = 40 + 20 * i
        photo[:, at:] += 150
        label[:, at:] = 1
        label[:4] = 255
        save_image(folder / "images" / f"{i}.png", photo)
        save_image(folder / "labels" / f"{i}.png", label)
    (folder / "names.json").write_text('["dark", "bright"]')
    return folder


def test_an_adapter_begins_as_nothing_and_leaves_the_network_alone(tmp_path: Path) -> None:
    network = load_network()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    photo = torch.rand(1, 3, 64, 64)
    plain = network.raw(photo)
    adapter = Adapter(network, ("a", "b"))
    assert adapter.count <= 0.05 * sum(p.numel() for p in network.parameters())
    with adapter.on(network):
        assert torch.allclose(network.raw(photo), plain, atol=1e-5)
    torch.manual_seed(0)
    rows = list(train_adapter(UnderstandingTraining(steps=20, labels=labelled_folder(tmp_path / "set")), tmp_path, torch.device("cpu")))
    assert rows[-1]["step"] == 20
    trained = load_adapter(tmp_path / "adapter.safetensors", network)
    assert trained.names == ("dark", "bright")
    with trained.on(network):
        assert not torch.allclose(network.raw(photo), plain, atol=1e-3)
    assert torch.equal(network.raw(photo), plain), "off again"
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    asked = Understander(network)
    asked.adapt(tmp_path / "adapter.safetensors")
    test = torch.cat([torch.rand(1, 3, 96, 64) * 0.2, torch.rand(1, 3, 96, 64) * 0.2 + 0.6], dim=3)
    labels = asked.scores(asked.understand(test), test).maps[0].argmax(0)
    assert labels[:, 40:].float().mean() > labels[:, :24].float().mean() + 0.2


def test_labels_that_cannot_be_learned_from_are_refused(tmp_path: Path) -> None:
    folder = labelled_folder(tmp_path / "set")
    (folder / "names.json").write_text('["only one"]')
    with pytest.raises(InputError, match="does not name the labels"):
        read_labelled(folder)
    (folder / "names.json").write_text('["a", "b"]')
    for path in (folder / "labels").iterdir():
        save_image(path, np.full((96, 128), 255, np.uint8))
    with pytest.raises(InputError, match="say nothing"):
        read_labelled(folder)
    wrong = np.full((96, 128), 7, np.uint8)
    save_image(folder / "labels" / "1.png", wrong)
    with pytest.raises(InputError, match="label 7, but names.json has 2"):
        read_labelled(folder)
    save_image(folder / "labels" / "1.png", wrong[:50])
    with pytest.raises(InputError, match="Label the photo at its own size"):
        read_labelled(folder)
    (folder / "labels" / "1.png").unlink()
    with pytest.raises(InputError, match="has no labels"):
        read_labelled(folder)


def test_an_adapter_of_another_network_is_refused(tmp_path: Path) -> None:
    from recon.understanding.small.networks import UnderstandingOptions

    other = UnderstandingNetwork(UnderstandingOptions(decoder=(48, 32, 24)))
    save_adapter(Adapter(other, ("a", "b")), tmp_path / "x.safetensors", {})
    with pytest.raises(InputError, match="another network"):
        load_adapter(tmp_path / "x.safetensors", load_network())
    with pytest.raises(InputError, match="cannot be read"):
        load_adapter(tmp_path / "none.safetensors", load_network())
