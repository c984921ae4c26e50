"""Types of arguments, and the text that gives a value back."""

import argparse

UNITS = {"s": 1, "m": 60, "h": 3600}


class Number:
    """An argument type: a number of a kind, `int` or `float`, from `low` to `high`."""

    def __init__(self, kind: type, low: int, high: int):
        self.kind = kind
        self.range = low, high
        self.metavar = "N" if kind is int else "X"

    def __call__(self, text: str):
        low, high = self.range
        try:
            number = self.kind(text)
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            what = "whole number" if self.kind is int else "number"
            raise argparse.ArgumentTypeError(f"'{text}' is not a {what} from {low} to {high:,}")
        return number


positive = Number(int, 1, 10**9)
whole = Number(int, 0, 10**9)
features = Number(int, 1, 2**16)
share = Number(float, 0, 1)
not_negative = Number(float, 0, 10**9)
seed = Number(int, 0, 2**31 - 1)
blocks = Number(int, 0, 100)
processes = Number(int, 1, 256)
side = Number(int, 1, 2**14)  # pixels


def devices(text: str) -> int | None:
    """How many; `None` for all."""
    return None if text == "all" else positive(text)


devices.metavar = "N"


def seconds(text: str) -> int:
    """30s, 5m or 2h."""
    number, unit = text[:-1], text[-1:]
    if unit in UNITS and number.isdecimal() and len(number) < 8 and int(number) > 0:
        return int(number) * UNITS[unit]
    raise argparse.ArgumentTypeError(f"'{text}' is not a time; give e.g. 30s, 5m or 2h")


def interval(text: str) -> dict[str, int]:
    """A time, or a number of steps."""
    return {"steps": positive(text)} if text.isdecimal() else {"seconds": seconds(text)}


def image_size(text: str) -> tuple[int, int]:
    """64 or 45x61: (height, width)."""
    sides = text.lower().split("x")
    try:
        height, width = side(sides[0]), side(sides[-1])
    except argparse.ArgumentTypeError:
        sides = []
    if len(sides) not in (1, 2):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not an image size; give e.g. 64, or 45x61 (height x width), up to {side.range[1]:,}"
        )
    return height, width


def levels(text: str) -> list[list[int]]:
    """4x4x16,8x8x8 (height x width x channels of each level) or 40,40 (latents of each)."""
    try:
        return [[features(number) for number in level.lower().split("x")] for level in text.split(",")]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"'{text}' are no levels; give e.g. 4x4x16,8x8x8, or 40,40") from None


def temperature(text: str) -> float | list[float]:
    """0.7, or one for each level: 0.7,1."""
    numbers = [not_negative(part) for part in text.split(",")]
    return numbers if len(numbers) > 1 else numbers[0]


def as_text(value) -> str:
    """What one of these types read, as text again; of anything else a text that they refuse."""
    match value:
        case [[*_], *_]:
            return ",".join("x".join(map(str, level)) for level in value)
        case [height, width]:
            return f"{height}x{width}"
        case {"steps": number}:
            return str(number)
        case {"seconds": number}:
            return f"{number}s"
    return str(value)


def as_arguments(parser: argparse.ArgumentParser, flags: dict) -> list[str]:
    """The arguments from which the parser makes these flags again, or of which it says what is wrong."""
    options = {action.dest: action for action in parser._actions if action.dest != "help"}
    arguments = []
    for name, value in flags.items():
        if name not in options:
            parser.error(f"unknown flag '{name}'")
        option = options[name].option_strings[0]
        if options[name].nargs == 0 and value is True:
            arguments.append(option)
        elif value is not None and not (options[name].nargs == 0 and value is False):
            arguments.append(f"{option}={as_text(value)}")
    return arguments
