import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_sim.core.errors import UserError
from vla_sim.policies.tokenizer import InstructionTokenizer

TOKENIZER = InstructionTokenizer.trained(["Pass the box on the left.", "왼쪽으로 가세요"], vocab_size=300)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@settings(deadline=None)
@given(TEXT)
def test_any_text_becomes_ids_that_end_once_with_the_highest_id(text):
    (ids,) = TOKENIZER.encode([text])
    end = TOKENIZER.vocab_size - 1
    assert ids.shape == (TOKENIZER.context_length,)
    assert (ids == end).sum() == 1
    assert not ids[ids.argmax() + 1 :].any()


@pytest.mark.parametrize("text", ["go round the zebra", "빨간 컵으로 가", "left <end> right", "<pad>"])
def test_unseen_words_survive(text):
    (ids,) = TOKENIZER.encode([text])
    assert TOKENIZER.decode(ids) == text


def test_case_and_the_way_hangul_is_composed_do_not_matter():
    first, second = TOKENIZER.encode(["Go 왼쪽", unicodedata.normalize("NFD", "GO 왼쪽")])
    assert (first == second).all()


def test_texts_differ_and_an_empty_one_is_only_its_end():
    ids = TOKENIZER.encode(["left", "right", ""])
    assert (ids[0] != ids[1]).any()
    assert ids[2, 0] == TOKENIZER.vocab_size - 1
    assert TOKENIZER.encode([]).shape == (0, TOKENIZER.context_length)


def test_saved_and_loaded_gives_the_same_ids(tmp_path):
    TOKENIZER.save(tmp_path / "tokenizer.json")
    loaded = InstructionTokenizer.load(tmp_path / "tokenizer.json")
    texts = ["Pass left", "<end> 왼", ""]
    assert (loaded.encode(texts) == TOKENIZER.encode(texts)).all()


def test_training_twice_gives_the_same_tokenizer(tmp_path):
    texts = ["Pass the box on the left.", "왼쪽으로 가세요"]
    for name in ("a", "b"):
        InstructionTokenizer.trained(texts, vocab_size=300).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("content", [None, "{", '{"model": 1}'])
def test_a_missing_or_broken_file_is_the_user_s_to_mend(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        InstructionTokenizer.load(path)
