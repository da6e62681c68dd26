"""Unreadable images are named as long as one can read the list, counted beyond that, and too many are an error."""

from headstart.images.unreadable import SHOWN, Unreadable


def test_few_are_named_with_their_reasons(capsys):
    unreadable = Unreadable([("a.jpg", "truncated"), ("b.jpg", "not an image")])
    assert unreadable.report(images=1000, allowed=0.01) == 0
    assert capsys.readouterr().out == "  unreadable: a.jpg: truncated\n  unreadable: b.jpg: not an image\n"
    assert len(unreadable) == 2


def test_none_is_nothing_to_say(capsys):
    assert Unreadable().report(images=0, allowed=0.0) == 0
    assert capsys.readouterr().out == ""


def test_of_many_the_first_are_named_and_the_others_counted_by_reason(capsys):
    rows = [(f"{number}.jpg", "damaged" if number % 3 else "truncated") for number in range(SHOWN + 10)]
    unreadable = Unreadable(rows)
    assert unreadable.report(images=10_000, allowed=0.01) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:-1]] == [f"{path}:" for path, _ in rows[:SHOWN]]
    assert lines[-1] == "  … and 10 more (20 x damaged, 10 x truncated)"
    assert len(unreadable.first) == SHOWN


def test_more_than_are_allowed_end_with_exit_code_1_and_say_which_setting_allows_more(capsys):
    unreadable = Unreadable([(f"{number}.jpg", "truncated") for number in range(10)])
    assert unreadable.report(images=1000, allowed=0.01) == 0
    assert unreadable.report(images=999, allowed=0.01) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "More than 1.0% are unreadable: repair them, or allow more with --max-unreadable "
        "(with make: in EXTRACT_ARGS, PREDICT_ARGS or SIMILAR_ARGS)."
    )


def test_a_few_are_no_failure_whatever_their_share_unless_none_is_allowed():
    """One of 61 is more than 1%, but no reason to stop; all of one is."""
    one, four = (Unreadable([("a.jpg", "truncated")] * count) for count in (1, 4))
    assert [one.report(images, allowed=0.01) for images in (1, 9, 10, 61)] == [1, 1, 0, 0]
    assert [four.report(images, allowed=0.01) for images in (61, 399, 400)] == [1, 1, 0]
    assert one.report(images=1000, allowed=0.0) == 1
