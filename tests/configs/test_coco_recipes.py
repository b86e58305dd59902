"""The GPU recipes: size, normalization, pretrained weights that fit, and steps on a CPU."""

import argparse
from pathlib import Path
from unittest import mock

import pytest
import torch
import yaml
from mmdet.registry import MODELS, OPTIM_WRAPPERS
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from cellseg.cli.arguments import add_runner_arguments
from cellseg.engine.run_config import enable_amp, load_config
from tests.configs.small_models import shrink_model, skip_without_backbone, write_image
from tests.engine.toy_training import ToyModel

CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs" / "cell"
RECIPES = {  # the COCO model whose weights each starts from
    "mask-rcnn_x101-32x8d_coco": "mask_rcnn/mask-rcnn_x101-32x8d_fpn_ms-poly-3x_coco.py",
    "cascade-mask-rcnn_x101-64x4d_coco": (
        "cascade_rcnn/cascade-mask-rcnn_x101-64x4d_fpn_ms-3x_coco.py"
    ),
    "cascade-mask-rcnn_swin-s_coco": "swin/mask-rcnn_swin-s-p4-w7_fpn_amp-ms-crop-3x_coco.py",
    "cascade-mask-rcnn_convnext-s_coco": (
        "convnext/cascade-mask-rcnn_convnext-s-p4-w7_fpn_4conv1fc-giou_amp-ms-crop-3x_coco.py"
    ),
    "mask-rcnn_r50-rsb_coco": "resnet_strikes_back/mask-rcnn_r50-rsb-pre_fpn_1x_coco.py",
}


def load(name: str) -> Config:
    return Config.fromfile(CONFIG_DIR / f"{name}.py")


def find_stock(name: str) -> Path:
    """Find mmdet's config of the weights that a recipe starts from."""
    import mmdet

    return Path(mmdet.__file__).parent / ".mim" / "configs" / RECIPES[name]


def load_stock(name: str) -> Config:
    """Read that config, without the packages that it wants."""
    return Config.fromfile(find_stock(name), import_custom_modules=False)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_always_normalizes_as_its_weights_were_trained(name: str) -> None:
    ours, stock = (cfg.model.data_preprocessor for cfg in (load(name), load_stock(name)))
    for key in ("mean", "std", "bgr_to_rgb"):
        assert ours[key] == stock[key]


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_always_starts_from_the_weights_that_mmdet_publishes_for_that_config(
    name: str,
) -> None:
    stock = find_stock(name)
    (listing,) = stock.parent.glob("metafile.yml")
    models = yaml.safe_load(listing.read_text("utf-8"))["Models"]
    (model,) = (model for model in models if Path(model["Config"]).name == stock.name)
    assert load(name).load_from == model["Weights"]


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_always_has_what_it_promises(name: str) -> None:
    cfg = load(name)
    anchors = cfg.model.rpn_head.anchor_generator
    assert [2 * stride for stride in anchors.strides] == [8, 16, 32, 64, 128]
    assert (anchors.scales, anchors.ratios) == ([2], [0.5, 1.0, 2.0])
    assert cfg.model.test_cfg.rcnn.max_per_img == 1000
    assert cfg.optim_wrapper.type == "AmpOptimWrapper"
    assert "EMAHook" in [hook.type for hook in cfg.custom_hooks]
    assert cfg.load_from.startswith("https://")
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert [step.type for step in loader.dataset.pipeline] == [
            "LoadCellImage",
            "LimitedResize",
            "PackDetInputs",
        ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="--amp keeps fp16 where there is a GPU")
@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(
    ("flags", "wrapper"),
    [
        (["--amp"], "CpuAmpOptimWrapper"),
        (["--cfg-options", "optim_wrapper.type=OptimWrapper"], "OptimWrapper"),
    ],
)
def test_recipe_when_there_is_no_gpu_then_the_flags_that_it_names_work(
    name: str, flags: list[str], wrapper: str
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default=CONFIG_DIR / f"{name}.py")
    parser.add_argument("--amp", action="store_true")
    add_runner_arguments(parser)
    args = parser.parse_args(flags)
    cfg = load_config(args)
    if args.amp:
        enable_amp(cfg)
    cfg.optim_wrapper.pop("constructor", None)  # ConvNeXt's wants a ConvNeXt, not a toy
    with OPTIM_WRAPPERS.switch_scope_and_registry("mmdet"):
        built = build_optim_wrapper(ToyModel(), cfg.optim_wrapper)
    assert type(built).__name__ == wrapper
    assert type(built.optimizer) is torch.optim.AdamW


class LoadedWeights(Hook):
    """Keep what a recipe starts from: the model's weights, and the average's, before a step."""

    priority = "LOW"
    parts = ("backbone", "neck", "rpn_head")

    def before_train(self, runner: Runner) -> None:
        average = next(hook for hook in runner.hooks if isinstance(hook, EMAHook)).ema_model.module
        self.model, self.average = (
            {key: value.clone() for key, value in model.state_dict().items() if self.holds(key)}
            for model in (runner.model, average)
        )

    def holds(self, key: str) -> bool:
        return key.startswith(self.parts)


def save_stock_weights(name: str, path: Path) -> dict[str, torch.Tensor]:
    """Save random weights of the COCO model of a recipe; return those that it takes over."""
    init_default_scope("mmdet")
    cfg = load_stock(name).model
    cfg.backbone.init_cfg = None
    torch.manual_seed(1)
    weights = MODELS.build(cfg).state_dict()
    torch.save({"meta": {}, "state_dict": weights}, path)
    return {key: value for key, value in weights.items() if LoadedWeights().holds(key)}


def build_runner(name: str, work_dir: Path, weights: Path) -> Runner:
    """Build the Runner of a recipe: two steps on crops of 96 px, in float32 as a CPU takes them."""
    cfg = load(name)
    size_px = 96
    for number, num_cells in enumerate((4, 0)):
        write_image(work_dir / "data" / str(number), 64, 64, num_cells)
    data = cfg.train_dataloader.dataset
    data.update(data_root=str(work_dir / "data"), num_folds=0, cache=False)
    next(step for step in data.pipeline if step.type == "RandomCrop").crop_size = (size_px, size_px)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=2)
    for key in ("val", "test"):
        cfg.update({f"{key}_{part}": None for part in ("cfg", "dataloader", "evaluator")})
    cfg.optim_wrapper.type = "OptimWrapper"
    cfg.default_hooks.checkpoint = None  # gigabytes
    # memory goes back to the other tests
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != "KeepMemoryHook"]
    cfg.visualizer.update(name=name, vis_backends=[dict(type="LocalVisBackend")])
    cfg.randomness, cfg.log_level = dict(seed=0), "WARNING"
    cfg.work_dir, cfg.load_from, cfg.experiment_name = str(work_dir), str(weights), name
    shrink_model(cfg.model, size_px)
    with mock.patch("mmengine.runner.runner.collect_env", return_value={}):  # runs compilers
        return Runner.from_cfg(cfg)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_recipe_when_trained_on_a_cpu_then_starts_from_coco_takes_two_steps_and_tests(
    name: str, tmp_path: Path
) -> None:
    skip_without_backbone(load(name).model)
    path, loaded = tmp_path / "coco.pth", LoadedWeights()
    stock = save_stock_weights(name, path)
    runner = build_runner(name, tmp_path, path)
    runner.register_hook(loaded)
    trainable = sum(p.numel() for p in runner.model.parameters() if p.requires_grad)
    assert trainable < 200e6
    runner.train()
    path.unlink()
    for weights in (loaded.model, loaded.average):
        assert weights.keys() == stock.keys()
        assert [key for key, value in weights.items() if not torch.equal(value, stock[key])] == []
    check_steps(runner, stock)
    runner.model.eval()
    with torch.no_grad():
        outputs = runner.model.test_step(next(iter(runner.train_dataloader)))
    assert all(isinstance(output.pred_instances.masks, list) for output in outputs)


def check_steps(runner: Runner, stock: dict[str, torch.Tensor]) -> None:
    """Check that optimizer, warm-up and weight average of the recipe took two steps."""
    assert runner.iter == 2
    optimizer = runner.optim_wrapper.optimizer
    assert type(optimizer) is torch.optim.AdamW
    assert {int(state["step"]) for state in optimizer.state.values()} == {2}
    rates = [group["lr"] for group in optimizer.param_groups]
    assert 0.009e-4 < max(rates) < 0.02e-4  # a hundredth, at the start
    is_convnext = "convnext" in runner.experiment_name
    assert (min(rates) == max(rates)) == (not is_convnext)  # its deeper layers learn faster
    undecayed = {group["weight_decay"] for group in optimizer.param_groups}
    assert undecayed == ({0.05} if "x101" in runner.experiment_name else {0.0, 0.05})
    average = next(hook for hook in runner.hooks if isinstance(hook, EMAHook)).ema_model
    assert int(average.steps) == 2
    for model in (runner.model, average.module):
        weight = model.rpn_head.rpn_conv.weight
        assert torch.isfinite(weight).all()
        assert 0 < (weight - stock["rpn_head.rpn_conv.weight"]).abs().max() < 1e-4
