"""Members of a list by name, with the number that a name may bring: "mlp", "iwae:5"."""

from collections.abc import Mapping

from keras_ae.errors import InputError, one_of


def get_member(identifier, known: Mapping[str, type], what: str, **settings):
    """The member of that name, made with its number, or the given one as it is.

    Args:
        identifier: a name, or a name and a number, as "iwae:5"; or what is no text.
        known: name -> class. A class whose name may bring a number says with `number` which argument that is,
            and of which kind: `number = ("draws", int)`; and in words, where the kind is neither `int` nor `float`.
        what: the kind of member, for messages.
        settings: more arguments of the class.

    Raises:
        InputError: no such name; or a number that the member does not take.

    >>> class Stripes:
    ...     number = ("width", int)
    ...     def __init__(self, width=2):
    ...         self.width = width
    >>> get_member("stripes:7", {"stripes": Stripes}, "pattern").width
    7
    """
    if not isinstance(identifier, str):
        return identifier
    name, colon, text = identifier.partition(":")
    one_of(name, known, what)
    member = known[name]
    if not colon:
        return member(**settings)
    argument, kind, *words = getattr(member, "number", None) or (None, None)
    if argument is None:
        raise InputError(f"the {what} {name} takes no number; leave out ':{text}'")
    try:
        number = kind(text)
    except ValueError:
        words = words or ["a whole number" if kind is int else "a number"]
        raise InputError(f"the {what} '{identifier}' is not possible; give {words[0]} of {argument}") from None
    return member(**{argument: number}, **settings)


def name_of(member, known: Mapping[str, type]) -> str:
    """What `get_member` makes the member of: its name in the list, and its number. The name of its class where it is
    in no list.

    >>> name_of(2.5, {"number": float})
    'number'
    """
    kind = type(member)
    name = next((name for name, one in known.items() if one is kind), kind.__name__)
    number = getattr(kind, "number", None)
    if not number or name not in known:
        return name
    value = getattr(member, number[0])
    return f"{name}:{'x'.join(map(str, value)) if isinstance(value, tuple) else format(value, 'g')}"
