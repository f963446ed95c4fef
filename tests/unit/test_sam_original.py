from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.core.errors import SkillFailed
from services.models.sam import Prompt, Segmenter, load_sam
from services.models.sam_original import config_of, converted, load_original

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
segment_anything = pytest.importorskip("segment_anything", reason="the reference that masks are compared with")

SIDE = 128


def small_original(seed: int = 0) -> Any:
    """segment-anything's own model, small, with random weights."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    width, patch = 32, 16
    grid = SIDE // patch
    model = Sam(
        image_encoder=ImageEncoderViT(
            depth=3,
            embed_dim=48,
            img_size=SIDE,
            mlp_ratio=2,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=3,
            patch_size=patch,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=(1,),
            window_size=5,
            out_chans=width,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=width, image_embedding_size=(grid, grid), input_image_size=(SIDE, SIDE), mask_in_chans=16
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=64, num_heads=8),
            transformer_dim=width,
            iou_head_depth=3,
            iou_head_hidden_dim=40,
        ),
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in [*model.named_parameters(), *model.named_buffers()]:
            if name.startswith("pixel_"):
                continue
            noise = torch.randn(weight.shape, generator=generator)
            if name.endswith("gaussian_matrix"):
                weight.copy_(noise)
            elif weight.dim() > 1:
                weight.copy_(noise * 2 / max(1, weight[0].numel()) ** 0.5)
            else:
                weight.copy_(0.1 * noise + ("norm" in name and name.endswith("weight")))
    return model.eval()


@pytest.fixture(scope="module")
def original() -> Any:
    return small_original()


@pytest.fixture(scope="module")
def file(original: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("sam") / "sam_small.pth"
    torch.save(original.state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def ours(file: str) -> Segmenter:
    model, processor = load_sam(file)
    return Segmenter(model.eval(), processor, "cpu")


def scene(width: int, height: int) -> Image.Image:
    coarse = np.random.default_rng(3).integers(0, 255, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def full_logits(ours: Segmenter, picture: Image.Image, prompt: Prompt, *, candidates: bool) -> tuple[Any, Any]:
    embedded = ours.embed([picture])
    masks, iou = ours.decode(embedded, [prompt], candidates=candidates)
    return ours.full_size(masks[0], embedded.inner[0], embedded.sizes[0]), iou[0]


def reference(original: Any, picture: Image.Image, **prompt: Any) -> tuple[Any, Any]:
    predictor = segment_anything.SamPredictor(original)
    predictor.set_image(np.asarray(picture))
    masks, iou, _ = predictor.predict(return_logits=True, **prompt)
    return torch.from_numpy(masks), torch.from_numpy(iou)


SIZES = [(128, 128), (200, 120), (90, 150), (400, 20), (300, 301)]


@pytest.mark.parametrize("size", SIZES)
def test_a_box_gives_the_masks_of_segment_anything(original: Any, ours: Segmenter, size: tuple[int, int]) -> None:
    picture, box = scene(*size), (0.2, 0.1, 0.75, 0.9)
    wanted, iou_wanted = reference(original, picture, box=np.array(box) * (*size, *size), multimask_output=False)
    masks, iou = full_logits(ours, picture, Prompt(0, box=box), candidates=False)
    assert masks.shape == wanted.shape == (1, size[1], size[0])
    torch.testing.assert_close(masks, wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(iou, iou_wanted, atol=1e-4, rtol=0)
    assert wanted.std() > 0.1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("points", "labels"),
    [(((0.3, 0.6),), (1,)), (((0.3, 0.6), (0.8, 0.2), (0.0, 1.0)), (1, 0, 1))],
    ids=["one point", "three points"],
)
def test_points_give_the_masks_of_segment_anything(
    original: Any,
    ours: Segmenter,
    size: tuple[int, int],
    points: tuple[tuple[float, float], ...],
    labels: tuple[int, ...],
) -> None:
    picture = scene(*size)
    wanted, iou_wanted = reference(
        original, picture, point_coords=np.array(points) * size, point_labels=np.array(labels), multimask_output=True
    )
    masks, iou = full_logits(ours, picture, Prompt(0, points=points, labels=labels), candidates=True)
    assert masks.shape == wanted.shape == (3, size[1], size[0])
    torch.testing.assert_close(masks, wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(iou, iou_wanted, atol=1e-4, rtol=0)
    best, iou_best = full_logits(ours, picture, Prompt(0, points=points, labels=labels), candidates=False)
    torch.testing.assert_close(best[0], wanted[iou_wanted.argmax()], atol=1e-4, rtol=0)
    assert float(iou_best) == pytest.approx(float(iou_wanted.max()), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "width", "depth", "heads", "global_blocks"),
    [
        ("vit_b", 768, 12, 12, [2, 5, 8, 11]),
        ("vit_l", 1024, 24, 16, [5, 11, 17, 23]),
        ("vit_h", 1280, 32, 16, [7, 15, 23, 31]),
    ],
)
def test_every_tensor_of_the_published_files_has_its_place(
    name: str, width: int, depth: int, heads: int, global_blocks: list[int]
) -> None:
    with torch.device("meta"):
        state = segment_anything.sam_model_registry[name]().state_dict()
    config = config_of(state)
    vision = config.vision_config
    assert (vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads) == (width, depth, heads)
    assert (vision.image_size, vision.patch_size, vision.window_size, vision.mlp_dim) == (1024, 16, 14, 4 * width)
    assert vision.global_attn_indexes == global_blocks
    with torch.device("meta"):
        model = transformers.SamModel(config)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert {key: tuple(value.shape) for key, value in converted(state).items()} == wanted


def test_the_configs_are_those_of_the_published_hub_checkpoints() -> None:
    """facebook/sam-vit-base has transformers' default configuration; the others differ in the image encoder alone."""
    with torch.device("meta"):
        state = segment_anything.sam_model_registry["vit_b"]().state_dict()
    default, ours = transformers.SamConfig().to_dict(), config_of(state).to_dict()
    ours["vision_config"]["global_attn_indexes"] = tuple(ours["vision_config"]["global_attn_indexes"])
    default["vision_config"]["global_attn_indexes"] = tuple(default["vision_config"]["global_attn_indexes"])
    differing = {
        (part, key)
        for part in ("vision_config", "prompt_encoder_config", "mask_decoder_config")
        for key in default[part]
        if default[part][key] != ours[part][key]
    }
    # The original's decoder has PyTorch's default here; the conversion on the hub has transformers'.
    assert differing == {("mask_decoder_config", "layer_norm_eps")}


def test_pictures_are_scaled_as_by_the_processor_of_the_hub_checkpoints(ours: Segmenter) -> None:
    processor = transformers.SamImageProcessor(
        size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE}, mask_pad_size={"height": 32, "width": 32}
    )
    for size in SIZES:
        given = processor(scene(*size), return_tensors="pt")
        assert ours.embed([scene(*size)]).inner[0] == tuple(given["reshaped_input_sizes"][0].tolist())


def test_another_models_file_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"backbone.conv.weight": torch.zeros(2, 2)}}, tmp_path / "other.pth")
    with pytest.raises(SkillFailed, match="no segment-anything weights: image_encoder"):
        load_original(str(tmp_path / "other.pth"))


def test_a_file_with_a_tensor_too_many_is_refused(original: Any, tmp_path: Path) -> None:
    torch.save(original.state_dict() | {"extra.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(SkillFailed, match="unexpected_keys extra"):
        load_original(str(tmp_path / "more.pth"))
