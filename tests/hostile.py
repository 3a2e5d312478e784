"""Projects that somebody made so that whoever opens them is harmed: one that is valid, and seeded
changes of its files.
"""

import contextlib
import copy
import json
import random
import signal

NESTED = 100_000
NUMBERS = (
    *(0, -1, 1.5, 10**9, 10**12, 10**15, 2**63, 10**39, 10**300, -(10**18), 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), "nan", "inf", "12"),
)
TEXTS = (
    *(
        "",
        "../../outside",
        "/outside",
        "..",
        "0000/../..",
        "trial_0000",
        "\x00",
        "a" * 5000,
    ),
    *("\x1b]0;title\x07", "<script>alert(1)</script>", "{0.__class__}", "%s%n", "0" * 300, "٣"),
)
OTHERS = (None, True, False, [], {}, [[]], {"": {}}, [None], ["nan"], {"a": float("nan")}, [1e400])
VALUES = (*NUMBERS, *TEXTS, *OTHERS)
RAW = (
    *(b"", b"\x00" * 50, b"\xff\xfe", b"null", b"7", b"[]", b"{}", b'""', b'{"record": []}'),
    *(b"[" * NESTED, b'{"record":' * NESTED, b"[" * NESTED + b"]" * NESTED),
    *(b"[" * 500 + b"]" * 500, b"1" * NESTED, b'{"record": "x", "y": ' + b"9" * 4000 + b"}"),
    *(b"NaN", b'{"record": NaN}', b'{"record": "epoch"}', b'{"record": "trial"}'),
)


class TooLongError(BaseException):
    """What was to end soon has not."""


@contextlib.contextmanager
def at_most(seconds):
    """Ends what takes longer."""

    def end(*_):
        raise TooLongError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def changed_json(content, chance):
    """A JSON value of which something is another."""
    made = copy.deepcopy(content)
    places = list(_places(made))
    for _ in range(chance.choice([1, 1, 1, 2])):
        parent, key = chance.choice(places)
        with contextlib.suppress(KeyError, IndexError):
            match chance.randrange(8):
                case 0:
                    del parent[key]
                case 1 if isinstance(parent, dict):
                    parent[chance.choice([*TEXTS, "objects", "domain", "has_default", "step"])] = (
                        chance.choice(VALUES)
                    )
                case 2 if isinstance(parent, list):
                    parent.insert(0, copy.deepcopy(parent[key]))
                case _:
                    parent[key] = copy.deepcopy(chance.choice(VALUES))
    return made


def _places(content):
    if isinstance(content, dict):
        found = list(content.items())
    elif isinstance(content, list):
        found = list(enumerate(content))
    else:
        return
    for key, value in found:
        yield content, key
        yield from _places(value)


def changed_lines(lines, seed):
    """A journal of which some lines are others; the same seed gives the same."""
    chance = random.Random(seed)
    lines = list(lines)
    for _ in range(chance.choice([1, 1, 2, 3])):
        place = chance.randrange(len(lines))
        match chance.randrange(12):
            case 0:
                lines[place] = chance.choice(RAW)
            case 1:
                lines.insert(place, lines[chance.randrange(len(lines))])
            case 2:
                other = chance.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            case 3 if len(lines) > 1:
                del lines[place]
            case 4:
                at = chance.randrange(len(lines[place]) + 1)
                lines[place] = lines[place][:at] + chance.randbytes(2) + lines[place][at + 1 :]
            case _:
                with contextlib.suppress(ValueError, RecursionError, IndexError):
                    lines[place] = json.dumps(
                        changed_json(json.loads(lines[place]), chance)
                    ).encode()
    return lines


def changed_file(contents, seed):
    """The name of one of several JSON files, and another text for it."""
    chance = random.Random(seed)
    name = chance.choice(sorted(contents))
    if chance.randrange(10) == 0:
        return name, chance.choice(RAW)
    return name, json.dumps(changed_json(contents[name], chance)).encode()
