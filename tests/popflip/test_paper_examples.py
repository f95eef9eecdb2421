"""The paper's experiments in examples/, at tiny sizes: they run, repeat, stop and refuse."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'popflip[torch]'")

import _experiment as lab  # noqa: E402
import _images as images  # noqa: E402
import mnist_hybrid  # noqa: E402
import nanogpt  # noqa: E402
import vit  # noqa: E402
from PIL import Image  # noqa: E402
from torch_fixtures import one_thread  # noqa: E402, F401

KINDS = {"nanogpt": nanogpt.NanoGPT, "mnist_hybrid": mnist_hybrid.Mnist, "vit": vit.ViT}
GPT = "--text t.txt --width 8 --heads 2 --blocks 1 --context 8 --batch 4 --steps 4 --points 2 --characters 9 --k0 0.1"
DIGITS = "--dataset digits --epochs 1 --batch 500 --width 8 --k0 0.1"
TINY = {"nanogpt": GPT, "mnist_hybrid": f"{DIGITS} --hidden 2", "vit": f"{DIGITS} --patch 4 --heads 2 --blocks 1"}
TEXT = "the quick brown fox jumps over the lazy dog; " * 30
SECONDS = ("seconds", "cpu_seconds")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text(TEXT)
    return tmp_path


def run(name: str, arguments: str, code: int = 0) -> None:
    """Run a script within this process."""
    assert lab.main("", KINDS[name], arguments.split()) == code


def report(name: str, arguments: str = "", code: int = 0) -> dict:
    """The report of a run at a tiny size, without what depends on time."""
    run(name, f"{TINY[name]} --report r.json {arguments}", code)
    found = json.loads(Path("r.json").read_text())
    for each in found["runs"]:
        for key in SECONDS:
            assert each.pop(key, 1.0) > 0
    return found


# Results --------------------------------------------------------------------------------------------------------------

NORMS = 2 * 8 + 8  # of a block, and the last one
SIZES = {
    ("nanogpt", "fp32"): (len(set(TEXT)) * 8 + 8 * 8 + NORMS + 12 * 64, 0),
    ("nanogpt", "hybrid1"): (len(set(TEXT)) * 8 + 8 * 8 + NORMS + 4 * 64, 8 * 64),
    ("nanogpt", "hybrid2"): (len(set(TEXT)) * 8 + 8 * 8 + NORMS, 12 * 64),
    ("mnist_hybrid", "fp32"): (64 * 8 + 64 + 8 * 10, 0),
    ("mnist_hybrid", "hybrid"): (64 * 8 + 8 * 10, 64),
    ("mnist_hybrid", "ternary"): (0, 64 * 8 + 64 + 8 * 10),
    ("vit", "fp32"): (17 * 8 + 4 * 8 + 12 * 64 + NORMS + 8 + 90, 0),
    ("vit", "hybrid"): (17 * 8 + 4 * 8 + 4 * 64 + NORMS + 8 + 90, 8 * 64),
}
"""Floats and ternary weights of each script and mode."""


@pytest.mark.parametrize("name", KINDS)
def test_a_script_reports_every_mode(name, capsys):
    found = report(name, "--plot p.png")
    steps = 4 if name == "nanogpt" else 3
    measured = ["train_loss", "val_loss"] if name == "nanogpt" else ["test_loss", "test_accuracy"]
    assert {key: found[key] for key in ("experiment", "size", "steps", "device", "threads")} == {
        "experiment": name,
        "size": "small",
        "steps": steps,
        "device": "cpu",
        "threads": 1,
    }
    assert (found["metric"], found["recipe"]["votes"], found["recipe"]["width"]) == (measured[1], "float", 8)
    assert [(name, each["mode"]) for each in found["runs"]] == [key for key in SIZES if key[0] == name]
    for each in found["runs"]:
        floats, ternary = SIZES[name, each["mode"]]
        assert (each["float_parameters"], each["ternary_weights"]) == (floats, ternary)
        assert (each["seed"], each["finished"], each["steps"]) == (1, True, steps)
        assert (each["flips"] > 0) == (ternary > 0)
        assert each["updates"] == floats * steps + each["flips"]
        assert each["stored_bits"] == 32 * floats + 2 * ternary
        assert [point["step"] for point in each["history"]] == ([2, 4] if name == "nanogpt" else [1, 2, 3])
        assert all(list(point) == ["step", "batch_loss", *measured] for point in each["history"])
        assert ("text" in each) == (name == "nanogpt") and len(each.get("text", "nine char")) == 9
    assert Path("p.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    lines = capsys.readouterr().out.splitlines()[-len(found["runs"]) :]
    assert [line.partition(":")[0] for line in lines] == list(KINDS[name].modes)


@pytest.mark.parametrize("name", KINDS)
def test_the_same_seed_gives_the_same_run(name):
    """Whatever was run before it."""
    mode = list(KINDS[name].modes)[-1]
    both = report(name, f"--mode fp32 {mode} --seeds 3 4")
    alone = report(name, f"--mode {mode} --seed 4")
    assert alone["runs"] == [both["runs"][3]]
    assert both["runs"][1]["history"] != both["runs"][3]["history"]


def test_numbers_of_a_size_can_be_replaced():
    found = report("nanogpt", "--mode hybrid2 --votes int8 --no-bounded --shift 4 --k0 0.25 --lr 0.01 --dropout 0.1")
    assert found["recipe"] == {
        "batch": 4,
        "lr": 0.01,
        "warm_up": 100,
        "weight_decay": 0.1,
        "k0": 0.25,
        "shift": 4,
        "votes": "int8",
        "bounded": False,
        "points": 2,
        "blocks": 1,
        "heads": 2,
        "width": 8,
        "context": 8,
        "steps": 4,
        "dropout": 0.1,
        "characters": 9,
    }


def test_ternary_networks_learn():
    """Digits, all weights ternary; and a text, with ternary MLPs and attention."""
    run("mnist_hybrid", "--dataset digits --mode ternary --width 32 --epochs 6 --batch 64 --k0 0.01 --report r.json")
    assert json.loads(Path("r.json").read_text())["runs"][0]["history"][-1]["test_accuracy"] > 0.9
    found = report("nanogpt", "--mode hybrid2 --steps 100 --warm-up 10 --width 16 --batch 16 --lr 0.01 --k0 0.01")
    assert found["runs"][0]["history"][-1]["val_loss"] < 2


def test_the_learning_rate_rises_then_falls_to_a_tenth():
    assert [lab.rate(step, 4, 12) for step in (0, 1, 3, 4)] == [0.25, 0.5, 1.0, 1.0]
    assert lab.rate(8, 4, 12) == pytest.approx(0.55)
    assert [lab.rate(step, 4, 12) for step in (12, 99)] == pytest.approx([0.1, 0.1])
    assert lab.rate(0, 0, 1) == 1.0


def test_names_of_layers_say_which_weights_are_ternary():
    """Blocks end their residual branches with a smaller scale."""
    block = torch.nn.Sequential(lab.Block(8, 2))
    lab.initialise(block, 8, 4, ("*.fc", "*.proj"))
    assert [name for name, each in block[0].named_children() if type(each).__name__ == "GFTLinear"] == ["fc", "proj"]
    assert (block[0].fc.scale, block[0].proj.scale) == (0.5, 0.25 * 8**-0.5)


def test_attention_of_a_text_sees_no_later_letter():
    torch.manual_seed(1)
    block, x = lab.Block(8, 2, causal=True).eval(), torch.randn(1, 5, 8)
    other = torch.cat([x[:, :3], torch.randn(1, 2, 8)], 1)
    assert torch.allclose(block(x)[:, :3], block(other)[:, :3])
    assert not torch.allclose(lab.Block(8, 2).eval()(x)[:, :3], lab.Block(8, 2).eval()(other)[:, :3])


# Stopping -------------------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_what_there_is(monkeypatch):
    """In the second run, after its first measurement."""
    whole = report("nanogpt")
    calls, measure = [], lab.measure

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(lab, "measure", stopped)
    found = report("nanogpt", "--plot p.png", code=130)
    assert found["runs"][0] == whole["runs"][0]
    assert found["runs"][1]["history"] == whole["runs"][1]["history"][:1]
    assert [each["finished"] for each in found["runs"]] == [True, False]
    assert Path("p.png").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs signals as on Unix")
def test_a_script_that_is_stopped_writes_its_report(folder):
    command = [sys.executable, str(ROOT / "examples" / "nanogpt.py"), *GPT.split(), "--mode", "hybrid1"]
    options = ["--steps", "1000000", "--points", "1000000", "--report", "r.json"]
    with subprocess.Popen([*command, *options], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("hybrid1, seed 1, step 1 of 1000000: batch_loss ")
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read().endswith("stopped: the last run has no end\n\n")
    assert process.returncode == 130
    (stopped,) = json.loads(Path("r.json").read_text())["runs"]
    assert not stopped["finished"] and stopped["history"][0]["step"] == 1


# Refusing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("nanogpt", "--mode fp16", "argument --mode: invalid choice: 'fp16' (choose from "),
        ("nanogpt", "--size large", "argument --size: invalid choice: 'large' (choose from "),
        ("nanogpt", "--seed -1", "argument --seed/--seeds: -1 is outside 0 … 4294967295"),
        ("nanogpt", "--votes int3", "argument --votes: invalid choice: 'int3' (choose from "),
        ("nanogpt", "--device tpu", "--device: tpu cannot be used: "),
        ("nanogpt", "--heads 3", "--heads: 3 do not share a width of 8 evenly"),
        ("nanogpt", "--steps 0", "--steps: 0 is not a number above 0"),
        ("nanogpt", "--lr nan", "--lr: nan is not a number above 0"),
        ("nanogpt", "--dropout 1", "--dropout: 1.0 is not below 1"),
        ("nanogpt", "--k0 1.5", "--k0: 1.5 is not a whole number; below 1 it is a share"),
        ("nanogpt", "--shift 99", "--shift: "),
        ("nanogpt", "--context 9999", "--text: 1350 characters; with a context of 9999, more are needed"),
        ("nanogpt", "--text none.txt", "none.txt: no such file or directory"),
        ("nanogpt", "--plot p.gif", "--plot: p.gif ends in none of .png, .svg, .pdf"),
        ("nanogpt", "--report no/r.json", "--report: there is no folder no for r.json; create it first"),
        ("nanogpt", "--report p.png --plot p.png", "--plot: p.png is also the file of report"),
        ("vit", "--patch 3", "--patch: images of 8 × 8 pixels are no whole patches of 3"),
        ("vit", "--dataset shoes", "--dataset: 'shoes' is not one of digits, "),
        ("vit", "--dataset prototypes", "--dataset: prototypes holds no images; "),
        ("vit", "--dataset mnist --data-dir none", "none/mnist: train-images-idx3-ubyte.gz is not there; "),
        ("mnist_hybrid", "--hidden 0", "--hidden: 0 is not a number above 0"),
    ],
)
def test_bad_input_is_one_line(name, arguments, message, capsys):
    try:
        code = lab.main("", KINDS[name], [*TINY[name].split(), *arguments.split()])
    except SystemExit as error:  # argparse
        code = error.code
    assert code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"{name}.py: {message}")
    assert output.err.count("\n") == 1


# Folders of images ----------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(folder: Path) -> Path:
    """``shapes/``: two classes of images of one colour, of different sizes."""
    for part, count in (("train", 3), ("val", 2)):
        for shade, name in enumerate(("dark", "light")):
            (folder / "shapes" / part / name).mkdir(parents=True)
            for number in range(count):
                colour = (100 * shade + number, 7, 9)
                Image.new("RGB", (4 + number, 5), colour).save(folder / "shapes" / part / name / f"{number}.png")
    return folder / "shapes"


def test_a_folder_of_images_is_read_class_by_class(pictures):
    train, test = images.read_folders(pictures, 4)
    assert (train.x.shape, train.x.dtype, test.x.shape) == ((6, 3, 4, 4), torch.uint8, (4, 3, 4, 4))
    assert train.x[:, :, 0, 0].tolist() == [[0, 7, 9], [1, 7, 9], [2, 7, 9], [100, 7, 9], [101, 7, 9], [102, 7, 9]]
    assert (train.y.tolist(), test.y.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1])


def test_a_vision_transformer_learns_a_folder(pictures):
    found = report("vit", "--dataset shapes --pixels 8 --mode fp32 --epochs 30 --batch 6 --warm-up 1 --lr 0.01")
    assert found["runs"][0]["history"][-1]["test_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "val").rename(f / "other"), "--dataset: there is no folder shapes/test; shapes must hold "),
        (lambda f: (f / "val" / "dark").rename(f / "val" / "dim"), "--dataset: shapes/train has classes dark, light, "),
        (lambda f: (f / "val" / "dark" / "0.png").write_text("?"), "shapes/val/dark/0.png: not an image that can be "),
    ],
)
def test_a_folder_that_does_not_fit_is_one_line(pictures, spoil, message, capsys):
    spoil(pictures)
    run("vit", f"{TINY['vit']} --dataset shapes", 2)
    assert capsys.readouterr().err.startswith(f"vit.py: {message}")


def test_images_get_mean_0_and_deviation_1():
    options = lab.parser_of("", vit.ViT).parse_args(TINY["vit"].split())
    experiment = vit.ViT(lab.recipe_of(vit.ViT, options), torch.device("cpu"), options)
    x, y = next(experiment.batches(torch.Generator().manual_seed(1)))
    assert (x.shape, y.shape, experiment.steps) == ((500, 1, 8, 8), (500,), 3)
    whole = experiment._scaled(experiment.train.x)
    assert float(whole.mean()) == pytest.approx(0, abs=1e-5) and float(whole.std()) == pytest.approx(1, abs=1e-5)


def test_the_sizes_of_the_paper():
    """53.6 million parameters of the MNIST network, 10.8 million of nanoGPT."""
    with torch.device("meta"):
        model = nanogpt.GPT(nanogpt.SIZES["paper"], 65)
    assert sum(each.numel() for each in model.parameters()) == 10_745_088
    width = mnist_hybrid.SIZES["paper"].width
    assert 784 * width + 3 * width**2 + 10 * width == 53_583_872
