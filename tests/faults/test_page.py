"""The page says what the tests have seen."""

import pytest

from tests.faults import page


def test_page_shows_what_the_tests_have_seen(rows, request):
    missing = page.missing(rows)
    if missing:
        pytest.skip(f"{len(missing)} faults were not provoked in this session, e.g. {missing[0]}")
    if request.config.getoption("--write-reliability", default=False):
        page.write_rows(rows)
    told = page.written(rows).splitlines()
    shown = page.rows_on_page().splitlines()
    assert shown == told, "docs/reliability.md is stale: python -m pytest tests/faults --write-reliability"


def test_messages_are_told_alike_wherever_and_whenever_the_tests_run():
    one = "error: /tmp/a-1/x0/checkpoints/demo/latest.pth is 3.2 GiB, by process 12 on box since 2024-01-02 03:04:05"
    two = "error: /home/me/checkpoints/demo/latest.pth is 900 MiB, by process 9 on pc since 2026-11-21 13:14:15"
    assert page.told_alike(one) == page.told_alike(two)
    assert page.told_alike(one) == "error: checkpoints/demo/latest.pth is # MiB, by process # on # since #"
    assert page.told_alike("G_GAN nan, G_FM 1.234e-05, lr -0.5, 3 updates") == "G_GAN nan, G_FM #, lr #, 3 updates"
