import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from policy_fakes import TEXTS

from vla_sim.core.errors import UserError
from vla_sim.policies.images import shrink
from vla_sim.policies.models.normalisation import build_normalisation
from vla_sim.policies.models.resampler import build_resampler
from vla_sim.policies.models.specs import ResamplerSpec
from vla_sim.policies.models.stem import PIXEL_MEAN, PIXEL_STD, ConvStem, prepared, stem_patch_px
from vla_sim.policies.models.texts import kosmos2_prompt, load_tokenizer

SIZES = {"queries": 7, "width": 24, "heads": 4, "head_width": 5, "depth": 2}


@pytest.mark.parametrize("kind", ["mobile", "perceiver"])
@pytest.mark.parametrize(("tokens", "inputs"), [(1, 24), (49, 24), (256, 10)])
def test_resamplers_give_their_queries_whatever_comes_in(kind, tokens, inputs):
    resampler = build_resampler(ResamplerSpec(kind, **SIZES), inputs).eval()
    x = torch.randn(3, tokens, inputs)
    with torch.no_grad():
        out = resampler(x)
        torch.testing.assert_close(resampler(x[1:2]), out[1:2], atol=1e-5, rtol=0)
        # Attention has no places: the order of the patches is not seen, their contents are.
        torch.testing.assert_close(resampler(x.flip(1)), out, atol=1e-5, rtol=0)
        assert not torch.allclose(resampler(torch.randn_like(x)), out, atol=1e-4)
    assert out.shape == (3, 7, 24)


def test_placed_queries_answer_for_what_is_at_their_place():
    resampler = build_resampler(ResamplerSpec(**{**SIZES, "queries": 9}, placed=True), 24).eval()
    before = torch.randn(1, 36, 24)
    after = before.clone()
    after[0, 0] = torch.randn(24)  # the patch in the upper left corner
    with torch.no_grad():
        changed = (resampler(after) - resampler(before)).abs().sum(dim=-1)[0]
    assert changed.argmax() == 0
    assert changed[0] > 10 * changed[8]


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"queries": 10}, "square number of queries"), ({"queries": 9, "kind": "perceiver"}, "mobile resampler")],
)
def test_placed_queries_form_a_square(fields, message):
    with pytest.raises(ValueError, match=message):
        ResamplerSpec(**{**SIZES, **fields}, placed=True)


def test_the_users_resampler_has_their_sizes():
    spec = ResamplerSpec()
    resampler = build_resampler(spec, 768)
    assert (spec.queries, spec.width, spec.heads, spec.ratio, spec.dropout) == (64, 768, 8, 2, 0.1)
    assert isinstance(resampler.project, torch.nn.Identity)
    assert 0.019 < resampler.queries.std() < 0.021


def test_l2_normalisation_gives_unit_vectors_and_the_bottleneck_does_not():
    x = torch.randn(5, 3, 8) * 10
    torch.testing.assert_close(build_normalisation("l2", 8)(x).norm(dim=-1), torch.ones(5, 3))
    assert not build_normalisation("l2", 8)(torch.zeros(1, 8)).any()
    bottleneck = build_normalisation("bottleneck", 8)
    assert (bottleneck(x).norm(dim=-1) - 1).abs().min() > 0.1
    torch.nn.init.zeros_(bottleneck.bottleneck[2].weight)
    torch.nn.init.zeros_(bottleneck.bottleneck[2].bias)
    torch.testing.assert_close(bottleneck(x), torch.nn.functional.layer_norm(x, (8,), eps=1e-6))
    assert build_normalisation("", 8)(x) is x


def test_pictures_are_shrunken_as_everywhere_and_normalised():
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    expected = (shrink(images, 96) / 255 - PIXEL_MEAN) / PIXEL_STD
    ours = prepared(torch.from_numpy(images), 96)
    np.testing.assert_allclose(ours.permute(0, 2, 3, 1), expected, atol=1e-5)
    # What training has shrunken before is not shrunken again.
    assert torch.equal(prepared(torch.from_numpy(shrink(images, 96)), 96), ours)
    assert prepared(torch.from_numpy(images), 224, torch.bfloat16).dtype == torch.bfloat16


def test_at_224_pixels_they_are_those_of_clip_s_own_processor():
    from vla_sim.policies.models import hub  # noqa: F401

    processing = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    theirs = processing.CLIPImageProcessorPil()(image, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(prepared(torch.from_numpy(image)[None], 224), theirs, atol=1e-4, rtol=0)


def test_a_stem_gives_one_token_a_patch():
    stem = ConvStem((4, 8, 8), 16)
    assert stem_patch_px((4, 8, 8)) == 16
    assert stem(torch.randn(2, 3, 96, 96)).shape == (2, 16, 6, 6)


def test_the_instruction_is_in_kosmos2_s_prompt():
    assert kosmos2_prompt(" go left ") == "<grounding>An image of a robot go left"


def test_texts_of_kosmos2_carry_the_prompt_and_clip_s_do_not(build, read, vla_tokenizer):
    rows = read(build("both-small"), TEXTS[:1])
    assert vla_tokenizer.decode(rows["clip.ids"][0]) == TEXTS[0].lower()
    assert vla_tokenizer.decode(rows["kosmos2.ids"][0]) == kosmos2_prompt(TEXTS[0]).lower()
    assert rows["clip.mask"].sum() < rows["kosmos2.mask"].sum() < 48


def hub_tokenizer(path):
    """Like CLIP's: a start, an end that is also the padding, and no word for what it does not know."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {"<s>": 0, "go": 1, "left": 2, "right": 3, "</s>": 4, "?": 5}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<s>", 0), ("</s>", 4)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    path.write_text(tokenizer.to_str())
    return path


def test_a_hub_s_tokenizer_is_padded_cut_and_framed_as_asked(tmp_path):
    path = hub_tokenizer(tmp_path / "tokenizer.json")
    clip = load_tokenizer(path, context_length=5, pad_id=4, special_tokens=True)
    ids, mask = clip.read(["go left", "go go go go go go"])
    assert ids.tolist() == [[0, 1, 2, 4, 4], [0, 1, 1, 1, 4]]
    assert mask.tolist() == [[True, True, True, True, False], [True] * 5]
    bare = load_tokenizer(path, context_length=3, pad_id=4, special_tokens=False)
    assert bare.read(["go left"])[0].tolist() == [[1, 2, 4]]
    assert clip.vocab_size == 6


def test_tokenizers_that_cannot_be_read_are_refused(tmp_path, vla_tokenizer):
    path = tmp_path / "tokenizer.json"
    for content, message in ((None, "is missing"), ("{", "cannot be read"), ("[]", "cannot be read")):
        if content is not None:
            path.write_text(content)
        with pytest.raises(UserError, match=message):
            load_tokenizer(path, context_length=48, pad_id=0, special_tokens=True)
    vla_tokenizer.save(path)
    assert json.loads(path.read_text())["added_tokens"]
    with pytest.raises(UserError, match="48 places, the model 20"):
        load_tokenizer(path, context_length=20, pad_id=0, special_tokens=True)


def test_importing_the_package_loads_neither_torch_nor_transformers():
    code = "import sys, vla_sim, vla_sim.policies.models, vla_sim.policies.models.specs, vla_sim.policies.chunking"
    probe = f"{code}; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout.strip() == "[]"
