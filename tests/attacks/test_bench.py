"""The bench: cells are kept, interrupted suites go on, reports say what was found, and nonsense is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from app.robustness import spread
from attacks import NeRFool
from attacks.bench import cells as cells_module
from attacks.bench.cells import cells_of
from attacks.bench.page import chart
from attacks.bench.report import board, write_report
from attacks.bench.running import run_suite
from attacks.bench.suite import Suite, SuiteOptions
from attacks.sanity import promise_kept, repeats, suspicions
from data.errors import InputError
from tests.attacks.toy import ToyVictim, toy_case
from tests.conftest import SAMPLE, drain

LOAD_VICTIM = cells_module.load_victim
OPTIONS = SuiteOptions(method=("pgd", "nerfool+"), eps=(0.0, 4.0, 8.0), seeds=2, steps=6, rays=64, targets=2)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The bench over the toy renderer; counts the cells that were run."""
    victim, case, count = ToyVictim(), toy_case(), {"runs": 0}
    singles = [replace(case, targets=(t,), looks={}) for t in case.targets]
    monkeypatch.setattr(cells_module, "load_victim", lambda *a: victim)
    monkeypatch.setattr("attacks.bench.running.prepared_scene", lambda *a: None)

    def cases(cell: cells_module.Cell, device: str) -> list:
        count["runs"] += 1
        return singles if cell.setting == "view" else [case]

    monkeypatch.setattr(cells_module, "cases_for", cases)
    return count


def test_every_cell_is_kept_and_an_interrupted_suite_goes_on(toy: dict[str, int], tmp_path: Path) -> None:
    suite = Suite((Path("toy"),), tmp_path, OPTIONS)
    work = run_suite(suite)
    while toy["runs"] < 5:
        next(work)
    work.close()
    kept = len(list((tmp_path / "cells").glob("*.json")))
    assert kept >= 4
    rows = drain(run_suite(suite))
    assert len(rows) == len(cells_of(suite.scenes, OPTIONS)) == len(list((tmp_path / "cells").glob("*.json")))
    # The interrupted cell is the only one that was begun twice.
    assert toy["runs"] <= len(rows) + 1
    again = toy["runs"]
    assert drain(run_suite(suite)) == rows
    assert toy["runs"] == again
    drain(run_suite(replace(suite, overwrite=True)))
    assert toy["runs"] == again + len(rows)


def test_a_cell_cut_in_two_is_run_again(toy: dict[str, int], tmp_path: Path) -> None:
    suite = Suite((Path("toy"),), tmp_path, OPTIONS)
    rows = drain(run_suite(suite))
    first = next((tmp_path / "cells").glob("*pgd*e8-s0*.json"))
    first.write_text(first.read_text()[:100])
    before = toy["runs"]
    again = drain(run_suite(suite))
    assert toy["runs"] == before + 1

    def numbers(found: list) -> list:
        return [r["views"] for r in found]

    assert numbers(again) == numbers(rows)


def test_controls_are_in_every_suite_in_the_setting_of_its_attacks() -> None:
    cells = cells_of((Path("a"), Path("b")), OPTIONS)
    found = {(c.method, c.setting) for c in cells}
    assert found == {("pgd", "view"), ("nerfool+", "universal")} | {(m, s) for m in ("uniform", "gaussian", "random-sign") for s in ("view", "universal")}
    assert len({c.key for c in cells}) == len(cells)
    assert sum(c.method == "pgd" and c.scene == "a" for c in cells) == 1 + 2 * 2


def test_gradients_that_stop_at_the_cascade_are_cells_of_their_own(toy: dict[str, int], tmp_path: Path) -> None:
    """And reach the victim, defended or not; the usual ones keep the names that they had."""
    stopped = replace(OPTIONS, follow=0.0)
    assert not {c.key for c in cells_of((Path("a"),), OPTIONS)} & {c.key for c in cells_of((Path("a"),), stopped)}
    for defence in ("none", "robust-weights", "more-views"):
        assert LOAD_VICTIM("general", defence, "cpu", replace(stopped, look=64)).model.options.follow == 0
        assert LOAD_VICTIM("general", defence, "cpu", replace(OPTIONS, look=64)).model.options.follow == 1
    suite = Suite((Path("toy"),), tmp_path, replace(stopped, method=("pgd",), eps=(8.0,), seeds=1))
    write_report(suite, drain(run_suite(suite)), {}, "lumigraph attack toy")
    assert "with a share of 0." in (tmp_path / "leaderboard.html").read_text()


def test_the_report_has_all_figures_and_says_what_to_doubt(toy: dict[str, int], tmp_path: Path) -> None:
    suite = Suite((Path("toy"),), tmp_path, OPTIONS)
    rows = drain(run_suite(suite))
    content = write_report(suite, rows, {}, "lumigraph attack toy")
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["command"] == "lumigraph attack toy"
    assert stored["board"] == content["board"]
    entry = next(b for b in content["board"] if b["method"] == "pgd" and b["eps"] == 8)
    noise = next(b for b in content["board"] if b["method"] == "random-sign" and b["setting"] == "view" and b["eps"] == 8)
    assert entry["loss"] > 0
    assert entry["psnr"] < noise["psnr"]
    assert entry["seeds"] == 2
    assert entry["worst_psnr"] <= entry["psnr"]
    assert entry["photo_linf"] == pytest.approx(8 / 255, abs=1e-6)
    zero = next(b for b in content["board"] if b["method"] == "pgd" and b["eps"] == 0)
    assert zero["loss"] == 0
    assert zero["psnr_clean"] == 100
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(len(r["views"]) for r in rows)
    page = (tmp_path / "leaderboard.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    assert page.count("data:image/png;base64") > 6
    assert "random-sign" in page


def planted(method: str, eps: float, psnr: float, flags: tuple[str, ...] = (), setting: str = "view") -> dict:
    cell = {"scene": "s", "victim": "v", "defence": "none", "method": method, "setting": setting, "eps": eps, "seed": 0}
    return {"cell": cell, "flags": list(flags), "views": [{"psnr_clean": psnr}]}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([planted("pgd", 8, 20.0), planted("square", 8, 15.0)], "black box beats"),
        ([planted("pgd", 4, 20.0), planted("pgd", 8, 25.0)], "damage falls"),
        ([planted("pgd", 8, 25.0), planted("fgsm", 8, 20.0)], "one step does more"),
        ([planted("pgd", 0, 60.0)], "at epsilon 0 the render"),
        ([{**planted("pgd", 0, 100.0), "identical": False}], "at epsilon 0 the photos"),
        ([planted("pgd", 8, 30.0), planted("random-sign", 8, 25.0)], "less damage than random signs"),
        ([planted("pgd", 8, 20.0, ("gradients were zero in more than 5 % of the steps",))], "gradients were zero"),
    ],
)
def test_signs_of_masked_gradients_are_seen(rows: list[dict], words: str) -> None:
    found = suspicions(rows)[("s", "v", "none")]
    assert len(found) == 1
    assert words in found[0]


def test_attacks_that_cannot_cross_their_ball_are_doubted() -> None:
    case, victim = toy_case(), ToyVictim()
    for steps, doubted in ((2, True), (40, False)):
        attack = NeRFool(victim, steps=steps, alpha=1e-3, rays=16)
        assert any("cannot cross" in flag for flag in cells_module.oddities(attack(case), attack)) == doubted


def test_honest_figures_are_not_doubted() -> None:
    rows = [planted("pgd", e, p) for e, p in ((0, 100.0), (2, 30.0), (4, 25.0), (8, 20.0))]
    rows += [planted("random-sign", e, p) for e, p in ((0, 100.0), (2, 40.0), (4, 35.0), (8, 30.0))]
    rows += [planted("fgsm", 8, 25.0), planted("square", 8, 28.0)]
    assert suspicions(rows)[("s", "v", "none")] == []


def test_gradients_are_checked_against_differences() -> None:
    case = toy_case()

    def loss(victim: ToyVictim):
        return lambda images: (victim.look(case, images).picture_ - 0.3).square().mean()

    assert promise_kept(loss(ToyVictim()), case.photos) == pytest.approx(1, abs=0.02)
    assert promise_kept(loss(ToyVictim(masked=True)), case.photos) == 0
    assert repeats(loss(ToyVictim()), case.photos)
    assert not repeats(loss(ToyVictim(noisy=True)), case.photos, 1e-6)


def test_means_ignore_what_is_not_known() -> None:
    row = planted("pgd", 8, 20.0)
    view = dict.fromkeys(("psnr", "ssim", "lpips", "psnr_clean", "ssim_clean", "lpips_clean", "depth", "opacity", "lost", "chamfer"), 1.0) | {"depth_truth": None}
    row |= {"scene_name": "s", "views": [view, {**view, "psnr": None}], "perceptibility": [dict.fromkeys(("linf", "l2", "psnr", "ssim", "lpips"), 0.0)], "seconds": 1.0, "weights": "", "device": "CPU"}
    entry = board([row])[0]
    assert entry["psnr"] == 1.0
    assert np.isnan(entry["depth_truth"])


def test_a_chart_draws_every_line() -> None:
    svg = chart("t", {"a": [(0.0, 1.0), (8.0, 2.0)], "b": [(0.0, 1.0), (8.0, 0.5)]})
    assert svg.count("<polyline") == 2
    assert ">nan" not in svg


def test_lists_are_written_with_commas_or_blanks() -> None:
    assert spread(["s", "--eps", "0,2,4", "--method", "pgd,fgsm", "apgd", "--out", "a,b"]) == ["s", "--eps", "0", "2", "4", "--method", "pgd", "fgsm", "apgd", "--out", "a,b"]
    assert spread(["--eps=0,8", "--option", "a.b=1,2"]) == ["--eps", "0", "8", "--option", "a.b=1,2"]


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"method": ("pdg",)}, "did you mean pgd"), ({"defence": ("wall",)}, "no defence 'wall'"), ({"eps": (300.0,)}, "0 to 255"), ({"eps": (-1.0,)}, "0 to 255"),
        ({"steps": 0}, "1 or more"), ({"seeds": 0}, "too small"), ({"option": ("pgd=1",)}, "METHOD.OPTION=VALUE"), ({"method": ("targeted",)}, "picture"),
        ({"rays": 0}, "1 or more"), ({"follow": 2.0}, "no share"), ({"method": ()}, "at least one method"),
    ],
)  # fmt: skip
def test_a_suite_without_sense_is_refused(options: dict, answer: str) -> None:
    with pytest.raises(InputError, match=answer):
        cells_of((Path("toy"),), replace(OPTIONS, **options))


def test_what_only_a_cell_can_know_is_refused_there(toy: dict[str, int], tmp_path: Path) -> None:
    for options, answer in (({"views": 30}, "source views are to be changed"), ({"option": ("pgd.alfa=1",)}, "no option 'alfa'")):
        with pytest.raises(InputError, match=answer):
            drain(run_suite(Suite((Path("toy"),), tmp_path, replace(OPTIONS, eps=(8.0,), **options))))
    with pytest.raises(InputError, match="no victim 'nobody'"):
        LOAD_VICTIM("nobody", "none", "cpu", OPTIONS)


@pytest.mark.parametrize(("words", "answer"), [(["--eps", "300"], "0 to 255"), (["--method", "pdg"], "did you mean pgd")])
def test_bad_input_ends_with_2_and_a_sentence(words: list[str], answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", str(SAMPLE), "--out", str(tmp_path / "o"), "--device", "cpu", *words]) == 2
    told = capsys.readouterr().err
    assert answer in told
    assert "Traceback" not in told


def test_a_scene_without_poses_cannot_be_attacked(shared_scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", str(shared_scenes / "kitchen_unposed"), "--out", str(tmp_path / "o"), "--eps", "8"]) == 2
    assert "no camera poses" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_attacks_the_bundled_sample(tmp_path: Path) -> None:
    """The whole way on real photos with the shipped weights, by a suite file; random signs do less damage than the attack."""
    suite = tmp_path / "suite.toml"
    suite.write_text(
        f'scenes = ["{SAMPLE}"]\nout = "{tmp_path / "out"}"\ndevice = "cpu"\n'
        '[options]\nmethod = ["pgd"]\neps = [0, 8]\nseeds = 1\nsteps = 6\nrays = 192\nside = 72\nlook = 72\ntargets = 1\nbranches = true\noption = ["pgd.alpha=0.008"]\n'
    )
    done = subprocess.run([sys.executable, "-m", "app.cli", "attack", "--config", str(suite), "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    entries = {(b["method"], b["eps"]): b for b in json.loads(done.stdout)["board"]}
    assert entries["pgd", 8]["psnr_clean"] < entries["random-sign", 8]["psnr_clean"] - 2
    assert entries["pgd", 0]["psnr_clean"] == 100
    assert not entries["pgd", 8]["unreliable"]
    assert 0 < entries["pgd", 8]["lpips"] < 10
    page = (tmp_path / "out" / "leaderboard.html").read_text()
    assert "Which branch does the damage" in page


def test_a_mesh_is_compared_with_the_one_from_the_clean_photos(tmp_path: Path) -> None:
    """The bundled sample: the same mesh twice is no distance, a black photo set moves it."""
    import torch

    from attacks.case import prepared, read_universal
    from attacks.meshes import compared, mesh_of, spread
    from attacks.victims.general import GeneralVictim
    from attacks.victims.protocol import clean_look
    from data.readers import read_scene

    case = read_universal(prepared(read_scene(SAMPLE, SAMPLE), 96, tmp_path), 5, 8, 1)
    victim = GeneralVictim.load(side=96)
    clean = mesh_of(clean_look(victim, case), case)
    assert len(clean.faces) > 300
    same = compared(clean, clean)
    assert same.chamfer < 0.01
    assert same.area == 1
    points = spread(clean, 2000)
    assert (points >= clean.vertices.min(0) - 1e-9).all()
    assert (points <= clean.vertices.max(0) + 1e-9).all()
    with torch.no_grad():
        noise = torch.rand(case.photos.shape, generator=torch.Generator().manual_seed(0))
        broken = compared(mesh_of(victim.look(case, noise), case), clean)
    assert not broken.chamfer < 2 * same.chamfer  # further away, or no surface at all
