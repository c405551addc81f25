"""Numbers as a person reads them."""

from __future__ import annotations

import pytest

from relumine_server.detection import number_words


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (-0.001, "0%"), (0.001, "<1%"), (0.238, "24%"), (0.999, ">99%"), (1.0, "100%"), (12.5, "1,250%")],
)
def test_a_percentage_never_rounds_some_to_none_or_to_all(share, text):
    assert number_words.percent(share) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(3840, "3,840"), (999_999, "999,999"), (3_840_000, "3.84 million"), (2.5e9, "2.5 billion"), (1e12, "1 trillion"),
     (2**53, "9.01 quadrillion"), (1e19, "1.0e+19")],
)  # fmt: skip
def test_a_large_count_is_a_word(number, text):
    assert number_words.count(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0, "0"), (0.05, "0.05"), (3e-7, "3e-07"), (0.123456, "0.123"), (50_000, "50,000"), (1e6, "1,000,000"),
     (1e10, "1e+10")],
)  # fmt: skip
def test_a_rate_has_three_digits_that_count(value, text):
    assert number_words.rate(value) == text


@pytest.mark.parametrize(
    ("pair", "texts"),
    [((0.05, 0.3), ("0.05", "0.30")), ((0.1, 1), ("0.1", "1.0")), ((0.0096, 0.8), ("0.0096", "0.8")),
     ((0.1, 10_000), ("0.1", "10,000")), ((1e-7, 0.1), ("1e-07", "0.1")), ((0.05, 0.05), ("0.05", "0.05"))],
)  # fmt: skip
def test_two_rates_are_written_alike(pair, texts):
    assert number_words.rate_pair(*pair) == texts


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (45, "45 s"), (180, "3 min"), (7200, "2.0 h"), (864_000, "10 days")]
)
def test_a_duration_is_in_its_largest_sensible_unit(seconds, text):
    assert number_words.duration(seconds) == text
